//! DescribeConfigs: what is set for topics, for brokers and their logs, where it comes from, and what it falls back to. After Kafka's
//! `ConfigHelper`.

use super::{RequestContext, broker_loggers, text};
use crate::broker::BrokerOptions;
use crate::config::dynamic;
use crate::coordinator::group::configs::{GROUP_SETTINGS, GroupSetting};
use crate::metadata::controller::name_fault;
use crate::metadata::image::{ConfigKind, ConfigMap, ConfigResource};
use crate::partition::PartitionSettings;
use crate::partition::topic_config::{ConfigType, TOPIC_CONFIGS, TopicConfig};
use crate::shard::settings::defaults_in;
use crate::shard::view::ClusterView;
use crate::telemetry::{self, CLIENT_METRICS_CONFIGS, ClientMetricsConfig};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Set for the topic.
    Topic,
    /// Set for the broker while it runs.
    DynamicBroker,
    /// Set for all brokers while they run.
    DynamicDefaultBroker,
    /// Set in the broker's file or on its command line.
    StaticBroker,
    /// The default.
    Default,
    /// Set for a subscription to clients' metrics.
    ClientMetrics,
    /// Set for a group.
    Group,
}

/// Kafka's number of a source.
pub(super) fn source_number(source: Source) -> i8 {
    match source {
        Source::Topic => 1,
        Source::DynamicBroker => 2,
        Source::DynamicDefaultBroker => 3,
        Source::StaticBroker => 4,
        Source::Default => 5,
        Source::ClientMetrics => 7,
        Source::Group => 8,
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

/// Something that could have set a value.
#[derive(Clone, Debug)]
struct Synonym<'a> {
    name: &'a str,
    value: Cow<'a, str>,
    source: Source,
}

/// A configuration, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct Described<'a> {
    pub(super) name: &'a str,
    /// `None` for one that must not be shown, or that is not set and has no default.
    pub(super) value: Option<String>,
    pub(super) source: Source,
    /// Everything that could have set it, the one in force first.
    synonyms: Vec<Synonym<'a>>,
    is_read_only: bool,
    is_sensitive: bool,
    /// `None` where nobody here knows it.
    kind: Option<ConfigType>,
    documentation: &'a str,
}

/// What is set for topics that set nothing themselves, layer by layer.
pub(super) struct Layers<'a> {
    options: &'a BrokerOptions,
    /// For this broker, while it runs.
    broker: Option<&'a ConfigMap>,
    /// For all brokers, while they run.
    cluster: Option<&'a ConfigMap>,
    /// What comes of them all.
    topic_defaults: PartitionSettings,
}

pub(super) fn serve(context: &RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeConfigsRequest = context.decode(body)?;
    let view = context.shard.view();
    let layers = Layers::of(&view, &context.shard.options);
    let describe = |resource: &DescribeConfigsResource| {
        let described = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe_resource(&view, &layers, resource, &request) {
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
    let results = match request.resources.iter().any(is_of_unknown_kind) {
        true => request.resources.iter().filter(first).map(refused).collect(),
        false => request.resources.iter().filter(first).map(describe).collect(),
    };
    context.answer(&DescribeConfigsResponse::default().with_results(results))
}

fn is_of_unknown_kind(resource: &DescribeConfigsResource) -> bool {
    ConfigKind::from_number(resource.resource_type).is_none()
}

/// One resource of a kind that nobody knows spoils the whole request, as in Kafka, whose words these are.
fn refused(resource: &DescribeConfigsResource) -> DescribeConfigsResult {
    let message = "This most likely occurs because of a request being malformed by the client library or the message was sent to \
                   an incompatible broker. See the broker logs for more details.";
    DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
        .with_error_code(ErrorCode::InvalidRequest.code())
        .with_error_message(Some(text(message)))
}

type Refusal = (ErrorCode, String);

fn describe_resource(
    view: &ClusterView,
    layers: &Layers<'_>,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let is_asked = |name: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == name),
        Some(_) | None => true,
    };
    let described = match ConfigKind::from_number(resource.resource_type) {
        Some(ConfigKind::Topic) => describe_topic(topic_configs(view, &resource.resource_name)?, layers),
        Some(ConfigKind::Broker) if resource.resource_name.is_empty() => describe_all_brokers(layers),
        Some(ConfigKind::Broker) => {
            check_broker(&resource.resource_name, layers.options)?;
            describe_broker(layers)
        }
        Some(ConfigKind::BrokerLogger) => {
            broker_loggers::check_described(&resource.resource_name, layers.options.node_id)?;
            return Ok(broker_loggers::describe(&layers.options.loggers, is_asked));
        }
        Some(ConfigKind::ClientMetrics) if resource.resource_name.is_empty() => {
            let message = "Client metrics subscription name must not be empty".to_owned();
            return Err((ErrorCode::InvalidRequest, message));
        }
        Some(kind @ ConfigKind::ClientMetrics) => {
            let resource = ConfigResource { kind, name: resource.resource_name.to_string() };
            describe_client_metrics(view.image.config(&resource).map(AsRef::as_ref))
        }
        Some(ConfigKind::Group) if resource.resource_name.is_empty() => {
            return Err((ErrorCode::InvalidRequest, "Group name must not be empty".to_owned()));
        }
        Some(kind @ ConfigKind::Group) => {
            let resource = ConfigResource { kind, name: resource.resource_name.to_string() };
            describe_group(view.image.config(&resource).map(AsRef::as_ref), layers.options)
        }
        None => {
            let message = format!("Unsupported resource type: {}", resource.resource_type);
            return Err((ErrorCode::InvalidRequest, message));
        }
    };
    Ok(described
        .into_iter()
        .filter(|config| is_asked(config.name))
        .map(|config| show(config, request))
        .collect())
}

fn topic_configs<'a>(view: &'a ClusterView, name: &str) -> Result<Option<&'a ConfigMap>, Refusal> {
    if let Some(why) = name_fault(name) {
        return Err((ErrorCode::InvalidTopicException, format!("Topic name is invalid: {why}")));
    }
    view.topic_by_name(name).map_err(|code| (code, format!("Topic {name} does not exist")))?;
    Ok(view.image.config(&ConfigResource::topic(name)).map(|configs| configs.as_ref()))
}

fn check_broker(name: &str, options: &BrokerOptions) -> Result<(), Refusal> {
    let message = match name.parse::<i32>() {
        Ok(id) if id == options.node_id => return Ok(()),
        Ok(_) => {
            format!("Unexpected broker id, expected {} or empty string, but received {name}", options.node_id)
        }
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err((ErrorCode::InvalidRequest, message))
}

impl<'a> Layers<'a> {
    /// The layers in `view` over what `options` say.
    pub(super) fn of(view: &'a ClusterView, options: &'a BrokerOptions) -> Layers<'a> {
        let set_for = |resource: &ConfigResource| view.image.config(resource).map(|configs| configs.as_ref());
        Layers {
            options,
            broker: set_for(&ConfigResource::broker(view.node_id)),
            cluster: set_for(&ConfigResource::default_broker()),
            topic_defaults: defaults_in(&view.image, view.node_id, &options.topic_defaults),
        }
    }

    fn known(&self, name: &str) -> Option<&'a BrokerConfig> {
        self.options.broker_configs.iter().find(|known| known.name == name)
    }

    /// Everything that could have set a broker's setting. As in Kafka it begins with what goes by the setting's own name: what goes
    /// by another alone (say `log.retention.hours`) is no synonym.
    fn synonyms(&self, name: &'a str) -> Vec<Synonym<'a>> {
        let names = dynamic::synonyms(name);
        let mut found = Vec::new();
        for (configs, source) in
            [(self.broker, Source::DynamicBroker), (self.cluster, Source::DynamicDefaultBroker)]
        {
            let set = names.iter().filter_map(|name| configs?.get_key_value(*name));
            found.extend(set.map(|(name, value)| Synonym { name, value: value.as_str().into(), source }));
        }
        let known = || names.iter().filter_map(|name| self.known(name));
        let synonym = |known: &'a BrokerConfig, value: &'a Option<String>, source| {
            value.as_deref().map(|value| Synonym { name: &known.name, value: value.into(), source })
        };
        let set = known().filter(|known| known.is_set);
        found.extend(set.filter_map(|known| synonym(known, &known.value, Source::StaticBroker)));
        found.extend(known().filter_map(|known| synonym(known, &known.default, Source::Default)));
        found.into_iter().skip_while(|synonym| synonym.name != name).collect()
    }

    /// The value of a setting in force. What is set by one of its names takes back what lower layers set by the others.
    fn value(&self, config: &'a BrokerConfig) -> Option<&'a str> {
        let names = dynamic::synonyms(&config.name);
        for configs in [self.broker, self.cluster].into_iter().flatten() {
            if let Some(value) = configs.get(&config.name) {
                return Some(value);
            }
            if names.iter().any(|name| configs.contains_key(*name)) {
                return config.default.as_deref();
            }
        }
        config.value.as_deref()
    }
}

/// Every configuration that a topic with these has.
pub(super) fn describe_topic<'a>(configs: Option<&'a ConfigMap>, layers: &Layers<'a>) -> Vec<Described<'a>> {
    TOPIC_CONFIGS.iter().map(|config| describe_of_topic(config, configs, layers)).collect()
}

/// The value is the one in force, whatever says so.
fn describe_of_topic<'a>(
    config: &'static TopicConfig,
    configs: Option<&'a ConfigMap>,
    layers: &Layers<'a>,
) -> Described<'a> {
    let own = configs.and_then(|configs| configs.get(config.name));
    let own = own.map(|value| config.as_parsed(value));
    let own_synonym =
        own.clone().map(|value| Synonym { name: config.name, value: value.into(), source: Source::Topic });
    let behind = config.synonym.map(|behind| layers.synonyms(behind)).unwrap_or_default();
    let synonyms: Vec<Synonym<'a>> = own_synonym.into_iter().chain(behind).collect();
    Described {
        name: config.name,
        value: Some(own.unwrap_or_else(|| config.render(&layers.topic_defaults))),
        source: source_of(&synonyms),
        synonyms,
        is_read_only: false,
        is_sensitive: false,
        kind: Some(config.kind),
        documentation: config.documentation,
    }
}

fn source_of(synonyms: &[Synonym<'_>]) -> Source {
    synonyms.first().map_or(Source::Default, |synonym| synonym.source)
}

/// A subscription to clients' metrics; one that nobody made has its defaults.
fn describe_client_metrics(configs: Option<&ConfigMap>) -> Vec<Described<'_>> {
    let describe = |config: &'static ClientMetricsConfig| {
        let own = configs.and_then(|configs| configs.get(config.name));
        let own = own.map(|value| Synonym {
            name: config.name,
            value: Cow::Borrowed(value),
            source: Source::ClientMetrics,
        });
        let synonyms: Vec<_> = own.into_iter().collect();
        Described {
            name: config.name,
            value: Some(telemetry::render(config, configs)),
            source: source_of(&synonyms),
            synonyms,
            is_read_only: false,
            is_sensitive: false,
            kind: Some(config.kind),
            documentation: config.documentation,
        }
    };
    CLIENT_METRICS_CONFIGS.iter().map(describe).collect()
}

/// A group; one that is set to nothing has what the broker says for all.
fn describe_group<'a>(configs: Option<&'a ConfigMap>, options: &BrokerOptions) -> Vec<Described<'a>> {
    let describe = |setting: &'static GroupSetting| {
        let own = configs.and_then(|configs| configs.get(setting.name));
        let (value, source) = match own {
            Some(own) => (own.trim().to_owned(), Source::Group),
            None => ((setting.default)(&options.groups), Source::Default),
        };
        Described {
            name: setting.name,
            value: Some(value.clone()),
            source,
            synonyms: vec![Synonym { name: setting.name, value: value.into(), source }],
            is_read_only: false,
            is_sensitive: false,
            kind: Some(setting.kind),
            documentation: setting.documentation,
        }
    };
    GROUP_SETTINGS.iter().map(describe).collect()
}

/// This broker's settings: those of the table, and whatever else is set while it runs.
fn describe_broker<'a>(layers: &Layers<'a>) -> Vec<Described<'a>> {
    let options = layers.options;
    let listed = options.broker_configs.iter();
    let mut described: Vec<_> =
        listed.map(|known| describe_of_broker(&known.name, layers.value(known), layers)).collect();
    let mut others = BTreeSet::new();
    for (name, _) in [layers.broker, layers.cluster].into_iter().flatten().flatten() {
        if layers.known(name).is_none() && others.insert(name) {
            let value = [layers.broker, layers.cluster].into_iter().flatten().find_map(|set| set.get(name));
            described.push(describe_of_broker(name, value.map(String::as_str), layers));
        }
    }
    described
}

/// What is set for all brokers while they run.
fn describe_all_brokers<'a>(layers: &Layers<'a>) -> Vec<Described<'a>> {
    let set = layers.cluster.into_iter().flatten();
    let described = set.map(|(name, value)| {
        let mut described = describe_of_broker(name, Some(value.as_str()), layers);
        described.synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
        described.source = source_of(&described.synonyms);
        described
    });
    described.collect()
}

fn describe_of_broker<'a>(name: &'a str, value: Option<&str>, layers: &Layers<'a>) -> Described<'a> {
    let known = layers.known(name);
    let is_sensitive = known.map_or_else(|| dynamic::is_secret(name), |known| known.is_sensitive);
    let synonyms = layers.synonyms(name);
    Described {
        name,
        value: value.filter(|_| !is_sensitive).map(str::to_owned),
        source: source_of(&synonyms),
        synonyms,
        is_read_only: !dynamic::is_dynamic(name),
        is_sensitive,
        kind: known.map(|known| known.kind).or_else(|| dynamic::kind_elsewhere(name)),
        documentation: known.map_or("", |known| &known.documentation),
    }
}

/// Kafka's number of a type that is not known.
const UNKNOWN_TYPE: i8 = 0;

fn show(config: Described<'_>, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonym = |synonym: &Synonym<'_>| {
        DescribeConfigsSynonym::default()
            .with_name(text(synonym.name))
            .with_value((!config.is_sensitive).then(|| text(&*synonym.value)))
            .with_source(source_number(synonym.source))
    };
    let shown = if request.include_synonyms { config.synonyms.as_slice() } else { &[] };
    let synonyms = shown.iter().map(synonym).collect();
    DescribeConfigsResourceResult::default()
        .with_name(text(config.name))
        .with_value(config.value.map(text))
        .with_read_only(config.is_read_only)
        .with_config_source(source_number(config.source))
        .with_is_sensitive(config.is_sensitive)
        .with_synonyms(synonyms)
        .with_config_type(config.kind.map_or(UNKNOWN_TYPE, |kind| kind as i8))
        .with_documentation(request.include_documentation.then(|| text(config.documentation)))
}
