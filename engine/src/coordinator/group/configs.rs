//! What a group may be set to by itself (KIP-848, KIP-932): the settings of resources of kind `GROUP`, over what the broker says for all.
//!
//! One table; what a kind of group adds is a line there, and what its settings say together stands in [`check`]. After Kafka's `GroupConfig`.

use super::GroupConfig;
use crate::metadata::controller::ApiError;
use crate::metadata::image::ConfigMap;
use crate::partition::topic_config::ConfigType;
use crate::share::settings::{self as share, OffsetReset};
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
    rule: Rule,
}

/// What a setting may be.
#[derive(Debug)]
enum Rule {
    /// A number: the least and the largest, and the broker's settings that say so.
    Within(fn(&GroupConfig) -> Bounds),
    /// What this takes.
    Text(fn(&str) -> bool),
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
        rule: Rule::Within(|config| Bounds {
            least: (config.consumer.heartbeat_ms_range.0, "group.consumer.min.heartbeat.interval.ms"),
            most: (config.consumer.heartbeat_ms_range.1, "group.consumer.max.heartbeat.interval.ms"),
        }),
    },
    GroupSetting {
        name: CONSUMER_SESSION,
        kind: ConfigType::Int,
        documentation: "The timeout to detect client failures when using the consumer group protocol.",
        default: |config| config.consumer.session_ms.to_string(),
        rule: Rule::Within(|config| Bounds {
            least: (config.consumer.session_ms_range.0, "group.consumer.min.session.timeout.ms"),
            most: (config.consumer.session_ms_range.1, "group.consumer.max.session.timeout.ms"),
        }),
    },
    GroupSetting {
        name: share::RESET,
        kind: ConfigType::Text,
        documentation: "Where a share group begins in a partition: earliest, latest, or by_duration: and a span.",
        default: |_| "latest".to_owned(),
        rule: Rule::Text(|value| OffsetReset::parse(value).is_some()),
    },
    GroupSetting {
        name: share::HEARTBEAT,
        kind: ConfigType::Int,
        documentation: "The heartbeat interval given to the members of a share group.",
        default: |config| config.shares.heartbeat_ms.to_string(),
        rule: Rule::Within(|config| Bounds {
            least: (config.shares.heartbeat_ms_range.0, "group.share.min.heartbeat.interval.ms"),
            most: (config.shares.heartbeat_ms_range.1, "group.share.max.heartbeat.interval.ms"),
        }),
    },
    GroupSetting {
        name: share::ISOLATION,
        kind: ConfigType::Text,
        documentation: "Whether a share group reads records of transactions that are open or aborted.",
        default: |_| "read_uncommitted".to_owned(),
        rule: Rule::Text(|value| {
            ["read_committed", "read_uncommitted"].contains(&value.to_ascii_lowercase().as_str())
        }),
    },
    GroupSetting {
        name: share::LOCK,
        kind: ConfigType::Int,
        documentation: "How long a member of a share group may keep a record.",
        default: |config| config.shares.lock_ms.to_string(),
        rule: Rule::Within(|config| Bounds {
            least: (config.shares.lock_ms_range.0, "group.share.min.record.lock.duration.ms"),
            most: (config.shares.lock_ms_range.1, "group.share.max.record.lock.duration.ms"),
        }),
    },
    GroupSetting {
        name: share::SESSION,
        kind: ConfigType::Int,
        documentation: "The timeout to detect client failures when using the share group protocol.",
        default: |config| config.shares.session_ms.to_string(),
        rule: Rule::Within(|config| Bounds {
            least: (config.shares.session_ms_range.0, "group.share.min.session.timeout.ms"),
            most: (config.shares.session_ms_range.1, "group.share.max.session.timeout.ms"),
        }),
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
        check_value(name, value, &setting.rule, config)?;
    }
    let number = |name: &str, default: i32| configs.get(name).map_or(Ok(default), |value| int(name, value));
    let session_ms = number(CONSUMER_SESSION, config.consumer.session_ms)?;
    if session_ms <= number(CONSUMER_HEARTBEAT, config.consumer.heartbeat_ms)? {
        return Err(invalid(format!("{CONSUMER_SESSION} must be greater than {CONSUMER_HEARTBEAT}")));
    }
    if number(share::SESSION, config.shares.session_ms)?
        <= number(share::HEARTBEAT, config.shares.heartbeat_ms)?
    {
        return Err(invalid(format!("{} must be greater than {}", share::SESSION, share::HEARTBEAT)));
    }
    Ok(())
}

fn check_value(name: &str, value: &str, rule: &Rule, config: &GroupConfig) -> Result<(), ApiError> {
    let Bounds { least, most } = match rule {
        Rule::Within(bounds) => bounds(config),
        Rule::Text(takes) if takes(value.trim()) => return Ok(()),
        Rule::Text(_) => return Err(invalid(format!("Invalid value {value} for configuration {name}"))),
    };
    match int(name, value)? {
        number if number < least.0 => {
            Err(invalid(format!("{name} must be greater than or equal to {}", least.1)))
        }
        number if number > most.0 => Err(invalid(format!("{name} must be less than or equal to {}", most.1))),
        _ => Ok(()),
    }
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
        assert_eq!(
            checked(&[(share::RESET, "by_duration:PT1H"), (share::ISOLATION, "read_committed")]),
            Ok(())
        );
        assert_eq!(checked(&[(CONSUMER_SESSION, "50000"), (CONSUMER_HEARTBEAT, "6000")]), Ok(()));
        for (name, value, words) in [
            (CONSUMER_SESSION, "44999", "greater than or equal to group.consumer.min.session.timeout.ms"),
            (CONSUMER_SESSION, "60001", "less than or equal to group.consumer.max.session.timeout.ms"),
            (CONSUMER_HEARTBEAT, "1", "greater than or equal to group.consumer.min.heartbeat.interval.ms"),
            (CONSUMER_HEARTBEAT, "15001", "less than or equal to group.consumer.max.heartbeat.interval.ms"),
            (CONSUMER_HEARTBEAT, "0", "Value must be at least 1"),
            (CONSUMER_HEARTBEAT, "soon", "Not a number of type INT"),
            (share::LOCK, "14999", "greater than or equal to group.share.min.record.lock.duration.ms"),
            (share::SESSION, "60001", "less than or equal to group.share.max.session.timeout.ms"),
            (share::RESET, "by_duration:soon", "Invalid value by_duration:soon"),
            (share::ISOLATION, "read_all", "Invalid value read_all"),
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
