//! Setting and deleting configurations.
//!
//! Which keys and values are good is the caller's to say; here is what becomes a record. Specification:
//! `incrementalAlterConfigs` (KIP-339) and `legacyAlterConfigs` of Kafka's `ConfigurationControlManager`.

use kafka_protocol::ResponseError;

use super::create::name_fault;
use super::{ApiError, Decision, RECORDS_MAX, Reply, Rules};
use crate::metadata::image::{ConfigKind, ConfigMap, ConfigResource, MetadataImage};
use crate::metadata::records::{ConfigRecord, MetadataRecord};

/// The longest value, in bytes: what a Kafka string holds.
const VALUE_BYTES_MAX: usize = i16::MAX as usize;
/// The most bytes of names and values that one command may write: its records are one entry of the log.
const COMMAND_BYTES_MAX: usize = 4 << 20;

/// Configurations to change; each resource succeeds or fails alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlterConfigs {
    /// What to change, each resource once.
    pub changes: Vec<(ConfigResource, Alteration)>,
    /// Whether to say only what would become of it.
    pub validate_only: bool,
}

/// What is to become of one resource's configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// Some are changed, each named once; the others stay.
    Some(Vec<ConfigChange>),
    /// These are all that there shall be.
    All(ConfigMap),
}

/// One configuration to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its key.
    pub name: String,
    /// What to do with it.
    pub operation: ConfigOperation,
}

/// What is done with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOperation {
    /// It gets this value.
    Set(String),
    /// It falls back to its default.
    Delete,
    /// These words are added to its list, unless they are in it.
    Append(String),
    /// These words are taken out of its list.
    Subtract(String),
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
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut results = Vec::with_capacity(command.changes.len());
    for (resource, alteration) in &command.changes {
        let error = match alter(image, resource, alteration, rules) {
            Ok(changed) => {
                bytes += changed.iter().map(record_bytes).sum::<usize>();
                records.extend(changed.into_iter().map(MetadataRecord::from));
                None
            }
            Err(error) => Some(error),
        };
        results.push(AlteredConfigs { resource: resource.clone(), error });
    }
    if records.len() > RECORDS_MAX || bytes > COMMAND_BYTES_MAX {
        records.clear();
        let message = "Unable to perform excessively large batch operation.";
        let error = ApiError::new(ResponseError::PolicyViolation, message);
        results.iter_mut().for_each(|result| result.error = Some(error.clone()));
    }
    if command.validate_only {
        records.clear();
    }
    Decision::atomic(records, Reply::AlterConfigs(results))
}

fn record_bytes(record: &ConfigRecord) -> usize {
    record.resource_name.len() + record.name.len() + record.value.as_ref().map_or(0, String::len)
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
    if configs.iter().any(|(name, value)| name.len() > VALUE_BYTES_MAX || value.len() > VALUE_BYTES_MAX) {
        return Err(invalid(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_BYTES_MAX} bytes."
        )));
    }
    (rules.check_configs)(resource, configs)
}

fn invalid(message: String) -> ApiError {
    ApiError::new(ResponseError::InvalidConfig, message)
}

fn alter(
    image: &MetadataImage,
    resource: &ConfigResource,
    alteration: &Alteration,
    rules: &Rules<'_>,
) -> Result<Vec<ConfigRecord>, ApiError> {
    let nothing = ConfigMap::new();
    let before = image.config(resource).map_or(&nothing, |configs| configs.as_ref());
    let (mut names, after) = match alteration {
        Alteration::Some(changes) => {
            let names: Vec<&String> = changes.iter().map(|change| &change.name).collect();
            (names, changed(resource.kind, before, changes, rules)?)
        }
        Alteration::All(configs) => (configs.keys().chain(before.keys()).collect(), configs.clone()),
    };
    check_name(resource)?;
    check(resource, &after, rules)?;
    check_exists(image, resource)?;
    names.sort_unstable();
    names.dedup();
    // A broker's configuration is written even if it stays the same: it makes the broker read its key stores anew.
    let is_written =
        |name: &&String| resource.kind == ConfigKind::Broker || before.get(*name) != after.get(*name);
    let written = names.into_iter().filter(is_written);
    Ok(written.map(|name| record(resource, name, after.get(name))).collect())
}

/// `before` with every change made.
fn changed(
    kind: ConfigKind,
    before: &ConfigMap,
    changes: &[ConfigChange],
    rules: &Rules<'_>,
) -> Result<ConfigMap, ApiError> {
    let mut after = before.clone();
    for ConfigChange { name, operation } in changes {
        let value = match operation {
            ConfigOperation::Set(value) => value.clone(),
            ConfigOperation::Delete => {
                after.remove(name);
                continue;
            }
            ConfigOperation::Append(words) => {
                let mut list =
                    list(kind, name, &after, rules).ok_or_else(|| no_list(kind, name, "append"))?;
                for word in split(words) {
                    if !list.contains(&word) {
                        list.push(word);
                    }
                }
                list.join(",")
            }
            ConfigOperation::Subtract(words) => {
                let mut list =
                    list(kind, name, &after, rules).ok_or_else(|| no_list(kind, name, "subtract"))?;
                for word in split(words) {
                    if let Some(at) = list.iter().position(|listed| *listed == word) {
                        list.remove(at);
                    }
                }
                list.join(",")
            }
        };
        after.insert(name.clone(), value);
    }
    Ok(after)
}

/// The words of a list, by default those of its default; `None` for what is no list.
fn list(kind: ConfigKind, name: &str, configs: &ConfigMap, rules: &Rules<'_>) -> Option<Vec<String>> {
    let default = (rules.list_default)(kind, name)?;
    let value = configs.get(name).unwrap_or(&default);
    Some(value.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

/// As Java splits: without the empty words at the end, unless there is no comma at all.
fn split(words: &str) -> Vec<String> {
    if !words.contains(',') {
        return vec![words.to_owned()];
    }
    match words.trim_end_matches(',') {
        "" => Vec::new(),
        words => words.split(',').map(str::to_owned).collect(),
    }
}

/// Kafka's brokers refuse it for themselves, its controller for everybody else.
fn no_list(kind: ConfigKind, name: &str, operation: &str) -> ApiError {
    invalid(match kind {
        ConfigKind::Broker => format!("Config value {operation} is not allowed for config key: {name}"),
        ConfigKind::Topic | ConfigKind::BrokerLogger | ConfigKind::ClientMetrics | ConfigKind::Group => {
            let operation = operation.to_ascii_uppercase();
            format!("Can't {operation} to key {name} because its type is not LIST.")
        }
    })
}

fn check_name(resource: &ConfigResource) -> Result<(), ApiError> {
    if resource.kind != ConfigKind::Topic {
        return Ok(());
    }
    if resource.name.is_empty() {
        let message = "Default topic resources are not allowed.";
        return Err(ApiError::new(ResponseError::InvalidRequest, message));
    }
    match name_fault(&resource.name) {
        Some(why) => {
            let message = format!("Topic name is invalid: {why}");
            Err(ApiError::new(ResponseError::InvalidTopicException, message))
        }
        None => Ok(()),
    }
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
