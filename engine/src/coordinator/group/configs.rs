//! What a group may be set to by itself (KIP-848, KIP-932): the settings of resources of kind `GROUP`, over what the broker says for all.
//!
//! One table; what a kind of group adds is a line there, and what its settings say together stands in [`check`]. After Kafka's `GroupConfig`.

use super::GroupConfig;
use crate::metadata::controller::ApiError;
use crate::metadata::image::ConfigMap;
use crate::partition::topic_config::ConfigType;
use kafka_protocol::ResponseError;

/// How long a member of a consumer group may be silent.
pub(super) const CONSUMER_SESSION: &str = "consumer.session.timeout.ms";
/// How often a member of a consumer group is to be heard.
pub(super) const CONSUMER_HEARTBEAT: &str = "consumer.heartbeat.interval.ms";

/// A setting of a group.
#[derive(Debug)]
pub struct GroupSetting {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// What it does, in a sentence.
    pub documentation: &'static str,
    /// Its value where the group says nothing.
    pub default: fn(&GroupConfig) -> String,
    /// The least and the largest value, and the broker's settings that say so.
    bounds: fn(&GroupConfig) -> Bounds,
}

struct Bounds {
    least: (i32, &'static str),
    most: (i32, &'static str),
}

/// All of them, by name.
pub const GROUP_SETTINGS: &[GroupSetting] = &[
    GroupSetting {
        name: CONSUMER_HEARTBEAT,
        kind: ConfigType::Int,
        documentation: "The heartbeat interval given to the members of a consumer group.",
        default: |config| config.consumer.heartbeat_ms.to_string(),
        bounds: |config| Bounds {
            least: (config.consumer.heartbeat_ms_range.0, "group.consumer.min.heartbeat.interval.ms"),
            most: (config.consumer.heartbeat_ms_range.1, "group.consumer.max.heartbeat.interval.ms"),
        },
    },
    GroupSetting {
        name: CONSUMER_SESSION,
        kind: ConfigType::Int,
        documentation: "The timeout to detect client failures when using the consumer group protocol.",
        default: |config| config.consumer.session_ms.to_string(),
        bounds: |config| Bounds {
            least: (config.consumer.session_ms_range.0, "group.consumer.min.session.timeout.ms"),
            most: (config.consumer.session_ms_range.1, "group.consumer.max.session.timeout.ms"),
        },
    },
];

fn invalid(message: String) -> ApiError {
    ApiError::new(ResponseError::InvalidConfig, message)
}

/// May a group be set to these?
///
/// # Errors
/// `INVALID_CONFIG` with the reason, in Kafka's words.
pub fn check(configs: &ConfigMap, config: &GroupConfig) -> Result<(), ApiError> {
    for (name, value) in configs {
        let setting = GROUP_SETTINGS.iter().find(|setting| setting.name == *name);
        let setting = setting.ok_or_else(|| invalid(format!("Unknown group config name: {name}")))?;
        let number = int(name, value)?;
        let Bounds { least, most } = (setting.bounds)(config);
        if number < least.0 {
            return Err(invalid(format!("{name} must be greater than or equal to {}", least.1)));
        }
        if number > most.0 {
            return Err(invalid(format!("{name} must be less than or equal to {}", most.1)));
        }
    }
    let number = |name: &str, default: i32| configs.get(name).map_or(Ok(default), |value| int(name, value));
    let session_ms = number(CONSUMER_SESSION, config.consumer.session_ms)?;
    if session_ms <= number(CONSUMER_HEARTBEAT, config.consumer.heartbeat_ms)? {
        return Err(invalid(format!("{CONSUMER_SESSION} must be greater than {CONSUMER_HEARTBEAT}")));
    }
    Ok(())
}

fn int(name: &str, value: &str) -> Result<i32, ApiError> {
    let because =
        |why: &str| invalid(format!("Invalid value {} for configuration {name}: {why}", value.trim()));
    match value.trim().parse() {
        Ok(number) if number >= 1 => Ok(number),
        Ok(_) => Err(because("Value must be at least 1")),
        Err(_) => Err(because("Not a number of type INT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_bounded_by_what_the_broker_says() {
        let config = GroupConfig::default();
        let checked = |configs: &[(&str, &str)]| {
            let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            check(&configs.collect(), &config).map_err(|error| error.message.unwrap_or_default())
        };
        assert_eq!(checked(&[]), Ok(()));
        assert_eq!(checked(&[(CONSUMER_SESSION, "50000"), (CONSUMER_HEARTBEAT, "6000")]), Ok(()));
        for (name, value, words) in [
            (CONSUMER_SESSION, "44999", "greater than or equal to group.consumer.min.session.timeout.ms"),
            (CONSUMER_SESSION, "60001", "less than or equal to group.consumer.max.session.timeout.ms"),
            (CONSUMER_HEARTBEAT, "1", "greater than or equal to group.consumer.min.heartbeat.interval.ms"),
            (CONSUMER_HEARTBEAT, "15001", "less than or equal to group.consumer.max.heartbeat.interval.ms"),
            (CONSUMER_HEARTBEAT, "0", "Value must be at least 1"),
            (CONSUMER_HEARTBEAT, "soon", "Not a number of type INT"),
            ("consumer.name", "x", "Unknown group config name: consumer.name"),
        ] {
            let error = checked(&[(name, value)]).expect_err(name);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn names_are_sorted_and_defaults_are_good() {
        assert!(GROUP_SETTINGS.windows(2).all(|pair| pair[0].name < pair[1].name));
        let config = GroupConfig::default();
        let defaults = GROUP_SETTINGS.iter();
        let defaults =
            defaults.map(|setting| (setting.name.to_owned(), (setting.default)(&config))).collect();
        assert!(check(&defaults, &config).is_ok());
    }
}
