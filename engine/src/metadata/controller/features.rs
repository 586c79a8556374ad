//! Changing the finalized levels of features.
//!
//! All of a command's changes are made, or none. Specification: `updateFeatures` of Kafka's `FeatureControlManager`
//! (KIP-584, KIP-778) and `QuorumFeatures`.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;

use super::{ApiError, Outcome};
use crate::metadata::features::{KRAFT_VERSION, is_known, loses_metadata, supported_levels};
use crate::metadata::image::{METADATA_VERSION, MetadataImage};
use crate::metadata::records::FeatureLevelRecord;

/// Which way a level may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    /// Up.
    Upgrade,
    /// Down, if that loses nothing.
    SafeDowngrade,
    /// Down.
    UnsafeDowngrade,
    /// A number that Kafka does not have.
    Unknown,
}

impl UpgradeType {
    /// The type with Kafka's number.
    #[must_use]
    pub fn from_number(number: i8) -> Self {
        match number {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
}

/// Levels to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateFeatures {
    /// The level that each feature shall have, and which way it may go there.
    pub updates: BTreeMap<String, (i16, UpgradeType)>,
    /// Whether to say only what would become of it.
    pub validate_only: bool,
}

pub(super) fn update(image: &MetadataImage, command: &UpdateFeatures) -> Outcome<()> {
    let mut records = Vec::with_capacity(command.updates.len());
    for (name, (level, upgrade_type)) in &command.updates {
        let invalid =
            |why: String| invalid(format!("Invalid update version {level} for feature {name}. {why}"));
        check(image, name, *level, *upgrade_type).map_err(invalid)?;
        match name.as_str() {
            METADATA_VERSION => check_metadata_version(image, *level, *upgrade_type)?,
            KRAFT_VERSION => continue,
            name if !is_known(name) => return Err(invalid(format!("Feature {name} not found."))),
            _ => {}
        }
        records.push(record(name, *level).into());
    }
    if command.validate_only {
        records.clear();
    }
    Ok((records, ()))
}

fn record(name: &str, level: i16) -> FeatureLevelRecord {
    FeatureLevelRecord { name: name.to_owned(), feature_level: level }
}

fn invalid(message: String) -> ApiError {
    ApiError::new(ResponseError::InvalidUpdateVersion, message)
}

/// What holds for every feature; the error is the end of a sentence.
fn check(image: &MetadataImage, name: &str, level: i16, upgrade_type: UpgradeType) -> Result<(), String> {
    if upgrade_type == UpgradeType::Unknown {
        return Err("The controller does not support the given upgrade type.".to_owned());
    }
    if level < 0 {
        return Err("A feature version cannot be less than 0.".to_owned());
    }
    check_supported(image, name, level)?;
    let current = image.feature_level(name);
    let is_upgrade = upgrade_type == UpgradeType::Upgrade;
    if level < current && is_upgrade {
        let message = "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                       unsafe downgrade.";
        return Err(message.to_owned());
    }
    if level > current && !is_upgrade {
        return Err("Can't downgrade to a newer version.".to_owned());
    }
    Ok(())
}

/// Whether this controller and every broker can run at that level.
fn check_supported(image: &MetadataImage, name: &str, level: i16) -> Result<(), String> {
    let here = format!("Local controller {}", image.controller().unwrap_or(-1));
    check_range(&here, supported_levels(name), level)?;
    for (id, broker) in image.brokers() {
        let registered = broker.features.iter().find(|feature| feature.name == name);
        let range = registered.map_or((0, 0), |f| (f.min_supported_version, f.max_supported_version));
        check_range(&format!("Broker {id}"), range, level)?;
    }
    Ok(())
}

fn check_range(who: &str, (min, max): (i16, i16), level: i16) -> Result<(), String> {
    match (min, max) {
        _ if (min..=max).contains(&level) => Ok(()),
        (_, 0) => Err(format!("{who} does not support this feature.")),
        (_, i16::MAX) => Err(format!("{who} only supports versions {min}+")),
        _ if min == max => Err(format!("{who} only supports versions {min}")),
        _ => Err(format!("{who} only supports versions {min}-{max}")),
    }
}

fn check_metadata_version(
    image: &MetadataImage,
    level: i16,
    upgrade_type: UpgradeType,
) -> Result<(), ApiError> {
    let current = image.feature_level(METADATA_VERSION);
    if level >= current || !loses_metadata(current, level) {
        return Ok(());
    }
    let why = match upgrade_type {
        UpgradeType::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
        UpgradeType::Upgrade | UpgradeType::SafeDowngrade | UpgradeType::Unknown => {
            "Refusing to perform the requested downgrade because it might delete metadata information."
        }
    };
    Err(invalid(format!("Unsupported metadata.version downgrade from {current} to {level}. {why}")))
}
