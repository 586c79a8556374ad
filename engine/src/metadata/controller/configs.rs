//! Setting and deleting configurations.
//!
//! Which keys and values are good is the caller's to say; here is what becomes a record. Specification:
//! `incrementalAlterConfigs` of Kafka's `ConfigurationControlManager` (KIP-339), its set and delete operations.

use kafka_protocol::ResponseError;

use super::{ApiError, Decision, Reply, Rules};
use crate::metadata::image::{ConfigKind, ConfigMap, ConfigResource, MetadataImage};
use crate::metadata::records::{ConfigRecord, MetadataRecord};

/// The longest value, in bytes: what a Kafka string holds.
const VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// Configurations to set and delete; each resource succeeds or fails alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlterConfigs {
    /// What to change, each resource once.
    pub changes: Vec<(ConfigResource, Vec<ConfigChange>)>,
    /// Whether to say only what would become of it.
    pub validate_only: bool,
}

/// One configuration to set or delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its key.
    pub name: String,
    /// Its new value; `None` deletes it.
    pub value: Option<String>,
}

/// What became of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlteredConfigs {
    /// The resource.
    pub resource: ConfigResource,
    /// Why nothing of it was changed.
    pub error: Option<ApiError>,
}

pub(super) fn decide(image: &MetadataImage, command: &AlterConfigs, rules: &Rules<'_>) -> Decision {
    let mut records = Vec::new();
    let mut results = Vec::with_capacity(command.changes.len());
    for (resource, changes) in &command.changes {
        let error = match alter(image, resource, changes, rules) {
            Ok(changed) => {
                records.extend(changed);
                None
            }
            Err(error) => Some(error),
        };
        results.push(AlteredConfigs { resource: resource.clone(), error });
    }
    if command.validate_only {
        records.clear();
    }
    Decision::atomic(records, Reply::AlterConfigs(results))
}

/// The record of one configuration.
pub(super) fn record(resource: &ConfigResource, name: &str, value: Option<&String>) -> ConfigRecord {
    ConfigRecord {
        resource_type: resource.kind.number(),
        resource_name: resource.name.clone(),
        name: name.to_owned(),
        value: value.cloned(),
    }
}

/// Whether `configs` are good for the resource as a whole.
pub(super) fn check(
    resource: &ConfigResource,
    configs: &ConfigMap,
    rules: &Rules<'_>,
) -> Result<(), ApiError> {
    let invalid = |message: String| ApiError::new(ResponseError::InvalidConfig, message);
    if configs.iter().any(|(name, value)| name.len() > VALUE_BYTES_MAX || value.len() > VALUE_BYTES_MAX) {
        return Err(invalid(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_BYTES_MAX} bytes."
        )));
    }
    (rules.check_configs)(resource, configs).map_err(invalid)
}

fn alter(
    image: &MetadataImage,
    resource: &ConfigResource,
    changes: &[ConfigChange],
    rules: &Rules<'_>,
) -> Result<Vec<MetadataRecord>, ApiError> {
    check_exists(image, resource)?;
    let before = image.config(resource).map(|configs| configs.as_ref().clone()).unwrap_or_default();
    let mut after = before.clone();
    for change in changes {
        match &change.value {
            Some(value) => after.insert(change.name.clone(), value.clone()),
            None => after.remove(&change.name),
        };
    }
    check(resource, &after, rules)?;
    // A broker's configuration is written even if it stays the same: it makes the broker read its key stores anew.
    let is_written = |name: &str| resource.kind == ConfigKind::Broker || before.get(name) != after.get(name);
    let mut names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let written = names.into_iter().filter(|name| is_written(name));
    Ok(written.map(|name| record(resource, name, after.get(name)).into()).collect())
}

fn check_exists(image: &MetadataImage, resource: &ConfigResource) -> Result<(), ApiError> {
    let name = &resource.name;
    match resource.kind {
        ConfigKind::Topic if image.topic(name).is_none() => {
            let message = format!("The topic '{name}' does not exist.");
            Err(ApiError::new(ResponseError::UnknownTopicOrPartition, message))
        }
        ConfigKind::Broker if !name.is_empty() => {
            let is_known = name.parse().is_ok_and(|id| image.broker(id).is_some());
            let message = || format!("No node with id {name} found.");
            is_known
                .then_some(())
                .ok_or_else(|| ApiError::new(ResponseError::BrokerIdNotRegistered, message()))
        }
        ConfigKind::Topic
        | ConfigKind::Broker
        | ConfigKind::BrokerLogger
        | ConfigKind::ClientMetrics
        | ConfigKind::Group => Ok(()),
    }
}
