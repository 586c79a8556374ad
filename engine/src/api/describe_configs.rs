//! DescribeConfigs: what is set for topics and for this broker, where it comes from, and what it falls back to. After Kafka's
//! `ConfigHelper`.

use super::{RequestContext, text};
use crate::broker::BrokerOptions;
use crate::metadata::image::{ConfigKind, ConfigMap, ConfigResource};
use crate::partition::topic_config::{ConfigType, TOPIC_CONFIGS, TopicConfig};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::names::validate_topic_name;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use std::collections::BTreeSet;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Set for the topic.
    Topic,
    /// Set in the broker's file or on its command line.
    StaticBroker,
    /// The default.
    Default,
}

/// Kafka's number of a source.
pub(super) fn source_number(source: Source) -> i8 {
    match source {
        Source::Topic => 1,
        Source::StaticBroker => 4,
        Source::Default => 5,
    }
}

/// One setting of the broker itself, as its configuration knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Its name.
    pub name: String,
    /// The value in force; `None` for one that must not be shown, or that is not set and has no default.
    pub value: Option<String>,
    /// What it is without being set.
    pub default: Option<String>,
    /// Whether the file or the command line set it.
    pub is_set: bool,
    /// Whether its value is a secret.
    pub is_sensitive: bool,
    /// Its type.
    pub kind: ConfigType,
    /// What it does, in a sentence.
    pub documentation: String,
}

/// A configuration, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: Source,
    /// Name, value and source of everything that could have set it, the one in force first.
    synonyms: Vec<(String, String, Source)>,
    kind: ConfigType,
    documentation: &'static str,
}

pub(super) fn serve(context: &RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeConfigsRequest = context.decode(body)?;
    let describe = |resource: &DescribeConfigsResource| {
        let described = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe_resource(context, resource, &request) {
            Ok(configs) => described.with_configs(configs),
            Err((code, message)) => {
                described.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        }
    };
    // Each once: a frame that repeats one resource must not grow into as many answers.
    let mut seen = BTreeSet::new();
    let first = |resource: &&DescribeConfigsResource| {
        seen.insert((resource.resource_type, resource.resource_name.clone()))
    };
    let results = request.resources.iter().filter(first).map(describe).collect();
    context.answer(&DescribeConfigsResponse::default().with_results(results))
}

type Refusal = (ErrorCode, String);

fn describe_resource(
    context: &RequestContext,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let is_asked = |name: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == name),
        Some(_) | None => true,
    };
    let options = &context.shard.options;
    match ConfigKind::from_number(resource.resource_type) {
        Some(ConfigKind::Topic) => {
            let configs = topic_configs(context, &resource.resource_name)?;
            let described =
                describe_topic(&configs, options).into_iter().filter(|config| is_asked(config.name));
            Ok(described.map(|config| show(config, request)).collect())
        }
        Some(ConfigKind::Broker) => {
            check_broker(&resource.resource_name, options)?;
            let described = options.broker_configs.iter().filter(|config| is_asked(&config.name));
            let described = described.filter(|_| !resource.resource_name.is_empty());
            Ok(described.map(|config| show_broker(config, request)).collect())
        }
        Some(ConfigKind::BrokerLogger | ConfigKind::ClientMetrics | ConfigKind::Group) | None => {
            let message = format!("Unsupported resource type: {}", resource.resource_type);
            Err((ErrorCode::InvalidRequest, message))
        }
    }
}

fn topic_configs(context: &RequestContext, name: &str) -> Result<ConfigMap, Refusal> {
    validate_topic_name(name).map_err(|error| (ErrorCode::InvalidTopicException, error.to_string()))?;
    let view = context.shard.view();
    view.topic_by_name(name).map_err(|code| (code, format!("Topic {name} does not exist")))?;
    let configs = view.image.config(&ConfigResource::topic(name));
    Ok(configs.map(|configs| configs.as_ref().clone()).unwrap_or_default())
}

fn check_broker(name: &str, options: &BrokerOptions) -> Result<(), Refusal> {
    if name.is_empty() || name.parse() == Ok(options.node_id) {
        return Ok(());
    }
    let message =
        format!("Unexpected broker id, expected {} or empty string, but received {name}", options.node_id);
    Err((ErrorCode::InvalidRequest, message))
}

/// Every configuration that a topic with these has.
pub(super) fn describe_topic(configs: &ConfigMap, options: &BrokerOptions) -> Vec<Described> {
    TOPIC_CONFIGS.iter().map(|config| describe_one(config, configs, options)).collect()
}

/// The value is the one in force, whatever says so. As in Kafka, a setting of the broker under another name (say
/// `log.retention.hours`) is no synonym: only the first name behind the default is shown.
fn describe_one(config: &'static TopicConfig, configs: &ConfigMap, options: &BrokerOptions) -> Described {
    let inherited = config.render(&options.topic_defaults);
    let mut synonyms = Vec::new();
    if let Some(value) = configs.get(config.name) {
        synonyms.push((config.name.to_owned(), value.clone(), Source::Topic));
    }
    let find = |name: &'static str| options.broker_configs.iter().find(move |known| known.name == name);
    if let Some(behind) = config.synonym.and_then(find) {
        if behind.is_set {
            synonyms.push((behind.name.clone(), inherited.clone(), Source::StaticBroker));
        }
        if let Some(default) = &behind.default {
            synonyms.push((behind.name.clone(), default.clone(), Source::Default));
        }
    }
    let value = configs.get(config.name).cloned().unwrap_or(inherited);
    let source = synonyms.first().map_or(Source::Default, |(_, _, source)| *source);
    Described {
        name: config.name,
        value,
        source,
        synonyms,
        kind: config.kind,
        documentation: config.documentation,
    }
}

fn show(config: Described, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonym = |(name, value, source): (String, String, Source)| {
        DescribeConfigsSynonym::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
            .with_source(source_number(source))
    };
    let synonyms = if request.include_synonyms { config.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult::default()
        .with_name(text(config.name))
        .with_value(Some(text(config.value)))
        .with_config_source(source_number(config.source))
        .with_synonyms(synonyms.into_iter().map(synonym).collect())
        .with_config_type(config.kind as i8)
        .with_documentation(request.include_documentation.then(|| text(config.documentation)))
}

fn show_broker(config: &BrokerConfig, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let source = if config.is_set { Source::StaticBroker } else { Source::Default };
    let shown = |value: &Option<String>| value.clone().filter(|_| !config.is_sensitive).map(text);
    let synonym = |value: &Option<String>, source| {
        DescribeConfigsSynonym::default()
            .with_name(text(config.name.clone()))
            .with_value(shown(value))
            .with_source(source_number(source))
    };
    let mut synonyms = Vec::new();
    if request.include_synonyms && config.is_set {
        synonyms.push(synonym(&config.value, Source::StaticBroker));
    }
    if request.include_synonyms && config.default.is_some() {
        synonyms.push(synonym(&config.default, Source::Default));
    }
    DescribeConfigsResourceResult::default()
        .with_name(text(config.name.clone()))
        .with_value(shown(&config.value))
        .with_read_only(true)
        .with_config_source(source_number(source))
        .with_is_sensitive(config.is_sensitive)
        .with_synonyms(synonyms)
        .with_config_type(config.kind as i8)
        .with_documentation(request.include_documentation.then(|| text(config.documentation.clone())))
}
