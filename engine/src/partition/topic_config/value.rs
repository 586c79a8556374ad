//! Values of topic configurations: from text, and back.

use super::ConfigType;
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
    /// Anything else, in words of its own.
    Other(String),
}

impl ConfigError {
    fn invalid(value: &str, expected: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { name: String::new(), value: value.to_owned(), expected: expected.into() }
    }

    /// The same, for the configuration of that name.
    pub(super) fn of(self, name: &str) -> ConfigError {
        match self {
            ConfigError::Unknown(_) | ConfigError::Other(_) => self,
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
            ConfigError::Other(words) => out.write_str(words),
        }
    }
}

impl std::error::Error for ConfigError {}

/// First and last number allowed, and what Kafka calls the type.
pub(super) struct Range {
    min: i64,
    max: i64,
    type_name: &'static str,
}

impl Range {
    /// Of 32 bits.
    pub(super) const fn int(min: i32, max: i32) -> Range {
        Range { min: min as i64, max: max as i64, type_name: "INT" }
    }

    /// Of 64 bits.
    pub(super) const fn long(min: i64) -> Range {
        Range { min, max: i64::MAX, type_name: "LONG" }
    }
}

pub(super) fn number(value: &str, range: Range) -> Result<i64, ConfigError> {
    let not_a_number = || ConfigError::invalid(value, format!("Not a number of type {}", range.type_name));
    let number: i64 = value.parse().map_err(|_| not_a_number())?;
    if range.type_name == "INT" && i32::try_from(number).is_err() {
        return Err(not_a_number());
    }
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

/// Whether old segments go to a remote tier: there is none.
pub(super) fn no_tiers(value: &str) -> Result<(), ConfigError> {
    let words = "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.";
    if boolean(value)? { Err(ConfigError::Other(words.to_owned())) } else { Ok(()) }
}

pub(super) fn ratio(value: &str) -> Result<(), ConfigError> {
    match double(value) {
        Some(ratio) if ratio < 0.0 => Err(ConfigError::invalid(value, "Value must be at least 0")),
        Some(ratio) if ratio > 1.0 => Err(ConfigError::invalid(value, "Value must be no more than 1")),
        Some(_) => Ok(()),
        None => Err(ConfigError::invalid(value, "Not a number of type DOUBLE")),
    }
}

/// As Java reads a number: it may say that it is one of floating point.
fn double(value: &str) -> Option<f64> {
    let digits = value.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(value);
    let is_number = digits.ends_with(|last: char| last.is_ascii_digit() || last == '.');
    if is_number || digits == value { digits.parse().ok() } else { None }
}

/// As Java writes a number.
fn double_text(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        let text = format!("{number:E}");
        return if text.contains('.') { text } else { text.replace('E', ".0E") };
    }
    format!("{number:?}")
}

/// A value that was accepted, read by its type and written anew.
pub(super) fn as_parsed(kind: ConfigType, value: &str) -> String {
    match kind {
        ConfigType::Boolean => value.to_ascii_lowercase(),
        ConfigType::Double => double(value).map_or_else(|| value.to_owned(), double_text),
        ConfigType::Short | ConfigType::Int | ConfigType::Long => {
            value.parse::<i64>().map_or_else(|_| value.to_owned(), |number| number.to_string())
        }
        ConfigType::List => value.split(',').map(str::trim).collect::<Vec<_>>().join(","),
        ConfigType::Text => value.to_owned(),
    }
}

/// `*`, or partitions and brokers as `0:1,1:2`.
pub(super) fn replica_list(name: &str, value: &str) -> Result<(), ConfigError> {
    let is_pair = |word: &str| {
        let pair = word.trim().split_once(':');
        pair.is_some_and(|(partition, broker)| {
            partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
        })
    };
    let pairs = value.trim_end_matches(',');
    if pairs.is_empty() || value == "*" || pairs.split(',').all(is_pair) {
        return Ok(());
    }
    let expected = format!(
        "{name} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    );
    let words: Vec<&str> = value.split(',').map(str::trim).collect();
    Err(ConfigError::invalid(&format!("[{}]", words.join(", ")), expected))
}

pub(super) fn gzip_level(value: &str) -> Result<i32, ConfigError> {
    match number(value, Range::int(i32::MIN, i32::MAX))? {
        level @ (-1 | 1..=9) => Ok(level as i32),
        _ => Err(ConfigError::invalid(value, "Value must be between 1 and 9 or equal to -1")),
    }
}

pub(super) fn cleanup_policy(value: &str) -> Result<CleanupPolicy, ConfigError> {
    let mut policy = CleanupPolicy { delete: false, compact: false };
    let words = value.split(',').map(str::trim);
    for word in words.filter(|_| !value.is_empty()) {
        match word {
            "" => {
                let words = "Configuration 'cleanup.policy' values must not be empty.";
                return Err(ConfigError::Other(words.to_owned()));
            }
            "delete" => policy.delete = true,
            "compact" => policy.compact = true,
            _ => return Err(ConfigError::invalid(word, "String must be one of: compact, delete")),
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
