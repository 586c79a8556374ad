//! Values of topic configurations: from text, and back.

use hayate_storage::batch::{Codec, TimestampType};
use hayate_storage::config::{CleanupPolicy, CompressionType};
use std::fmt;

/// Why a configuration is refused, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No configuration has this name.
    Unknown(String),
    /// The value is not one of the type or out of its range.
    Invalid {
        /// Name of the configuration.
        name: String,
        /// The value as given.
        value: String,
        /// What it should be.
        expected: String,
    },
}

impl ConfigError {
    fn invalid(value: &str, expected: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { name: String::new(), value: value.to_owned(), expected: expected.into() }
    }

    /// The same, for the configuration of that name.
    pub(super) fn of(self, name: &str) -> ConfigError {
        match self {
            ConfigError::Unknown(name) => ConfigError::Unknown(name),
            ConfigError::Invalid { value, expected, .. } => {
                ConfigError::Invalid { name: name.to_owned(), value, expected }
            }
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unknown(name) => write!(out, "Unknown topic config name: {name}"),
            ConfigError::Invalid { name, value, expected } => {
                write!(out, "Invalid value {value} for configuration {name}: {expected}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// First and last number allowed.
pub(super) struct Range {
    min: i64,
    max: i64,
}

impl Range {
    pub(super) const fn new(min: i64, max: i64) -> Range {
        Range { min, max }
    }

    pub(super) const fn at_least(min: i64) -> Range {
        Range { min, max: i64::MAX }
    }
}

pub(super) fn number(value: &str, range: Range) -> Result<i64, ConfigError> {
    let number: i64 = value.parse().map_err(|_| ConfigError::invalid(value, "Not a number"))?;
    if number < range.min {
        return Err(ConfigError::invalid(value, format!("Value must be at least {}", range.min)));
    }
    if number > range.max {
        return Err(ConfigError::invalid(value, format!("Value must be no more than {}", range.max)));
    }
    Ok(number)
}

pub(super) fn boolean(value: &str) -> Result<bool, ConfigError> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Ok(true),
        _ if value.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(ConfigError::invalid(value, "Expected value to be either true or false")),
    }
}

pub(super) fn choice(value: &str, choices: &[&str]) -> Result<(), ConfigError> {
    if choices.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::invalid(value, format!("String must be one of: {}", choices.join(", "))))
}

pub(super) fn ratio(value: &str) -> Result<(), ConfigError> {
    match value.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
        Ok(_) | Err(_) => Err(ConfigError::invalid(value, "Value must be between 0 and 1")),
    }
}

pub(super) fn gzip_level(value: &str) -> Result<i32, ConfigError> {
    let level = number(value, Range::new(-1, 9))?;
    match level {
        0 => Err(ConfigError::invalid(value, "Value must be between 1 and 9 or equal to -1")),
        level => Ok(level as i32),
    }
}

pub(super) fn cleanup_policy(value: &str) -> Result<CleanupPolicy, ConfigError> {
    let mut policy = CleanupPolicy { delete: false, compact: false };
    for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "delete" => policy.delete = true,
            "compact" => policy.compact = true,
            _ => return Err(ConfigError::invalid(value, "String must be one of: compact, delete")),
        }
    }
    Ok(policy)
}

pub(super) fn cleanup_policy_text(policy: CleanupPolicy) -> String {
    let words = [(policy.compact, "compact"), (policy.delete, "delete")];
    words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect::<Vec<_>>().join(",")
}

const COMPRESSIONS: [(&str, CompressionType); 6] = [
    ("uncompressed", CompressionType::Broker(Codec::None)),
    ("zstd", CompressionType::Broker(Codec::Zstd)),
    ("lz4", CompressionType::Broker(Codec::Lz4)),
    ("snappy", CompressionType::Broker(Codec::Snappy)),
    ("gzip", CompressionType::Broker(Codec::Gzip)),
    ("producer", CompressionType::Producer),
];

pub(super) fn compression(value: &str) -> Result<CompressionType, ConfigError> {
    let found = COMPRESSIONS.iter().find(|(name, _)| *name == value);
    found.map(|(_, kind)| *kind).ok_or_else(|| {
        let names: Vec<&str> = COMPRESSIONS.iter().map(|(name, _)| *name).collect();
        ConfigError::invalid(value, format!("String must be one of: {}", names.join(", ")))
    })
}

pub(super) fn compression_text(kind: CompressionType) -> &'static str {
    COMPRESSIONS.iter().find(|(_, listed)| *listed == kind).map_or("producer", |(name, _)| name)
}

pub(super) fn timestamp_type(value: &str) -> Result<TimestampType, ConfigError> {
    match value {
        "CreateTime" => Ok(TimestampType::CreateTime),
        "LogAppendTime" => Ok(TimestampType::LogAppendTime),
        _ => Err(ConfigError::invalid(value, "String must be one of: CreateTime, LogAppendTime")),
    }
}

pub(super) fn timestamp_type_text(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}
