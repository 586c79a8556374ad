//! `hayate configs`. What concerns one broker or its log is asked of that broker, the rest of any.

use super::CommandError;
use super::cluster::{Cluster, text};
use crate::cli::{Change, Configs, Entity, EntityKind};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use std::io::{self, Write};

pub(super) fn run(cluster: &mut Cluster, asked: &Configs, out: &mut impl Write) -> Result<(), CommandError> {
    match asked {
        Configs::Describe { entity, keys, all } => {
            let configs = describe(cluster, entity, keys)?;
            let shown = configs.iter().filter(|config| *all || !keys.is_empty() || is_set(config));
            shown.into_iter().try_for_each(|config| show(config, out)).map_err(CommandError::Output)
        }
        Configs::Alter { entity, changes, validate_only } => alter(cluster, entity, changes, *validate_only),
    }
}

/// What is set for a resource, as `name=value` by commas.
pub(super) fn set_for(cluster: &mut Cluster, kind: EntityKind, name: &str) -> Result<String, CommandError> {
    let configs = describe(cluster, &Entity { kind, name: name.to_owned() }, &[])?;
    let set = configs.iter().filter(|config| config.config_source == Source::Topic.number());
    let pairs = set.map(|config| format!("{}={}", config.name.as_str(), value(&config.value)));
    Ok(pairs.collect::<Vec<_>>().join(","))
}

/// Where a value comes from, in Kafka's words.
#[derive(Clone, Copy)]
enum Source {
    Topic,
    Broker,
    DefaultBroker,
    Static,
    Default,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl Source {
    const ALL: [Source; 8] = [
        Source::Topic,
        Source::Broker,
        Source::DefaultBroker,
        Source::Static,
        Source::Default,
        Source::BrokerLogger,
        Source::ClientMetrics,
        Source::Group,
    ];

    const fn number(self) -> i8 {
        self as i8 + 1
    }

    const fn name(self) -> &'static str {
        match self {
            Source::Topic => "DYNAMIC_TOPIC_CONFIG",
            Source::Broker => "DYNAMIC_BROKER_CONFIG",
            Source::DefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Source::Static => "STATIC_BROKER_CONFIG",
            Source::Default => "DEFAULT_CONFIG",
            Source::BrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Source::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Source::Group => "DYNAMIC_GROUP_CONFIG",
        }
    }

    fn named(number: i8) -> &'static str {
        Source::ALL.into_iter().find(|source| source.number() == number).map_or("UNKNOWN", Source::name)
    }
}

/// Whether somebody set it while the cluster runs.
fn is_set(config: &DescribeConfigsResourceResult) -> bool {
    ![Source::Static.number(), Source::Default.number()].contains(&config.config_source)
}

fn value(value: &Option<StrBytes>) -> &str {
    value.as_ref().map_or("null", |value| value.as_str())
}

fn show(config: &DescribeConfigsResourceResult, out: &mut impl Write) -> io::Result<()> {
    let synonym = |synonym: &DescribeConfigsSynonym| {
        format!("{}:{}={}", Source::named(synonym.source), synonym.name.as_str(), value(&synonym.value))
    };
    let synonyms: Vec<String> = config.synonyms.iter().map(synonym).collect();
    let (name, shown, sensitive) = (config.name.as_str(), value(&config.value), config.is_sensitive);
    write!(out, "{name}={shown} sensitive={sensitive} source={}", Source::named(config.config_source))?;
    if !synonyms.is_empty() {
        write!(out, " synonyms={{{}}}", synonyms.join(", "))?;
    }
    writeln!(out)
}

fn describe(
    cluster: &mut Cluster,
    entity: &Entity,
    keys: &[String],
) -> Result<Vec<DescribeConfigsResourceResult>, CommandError> {
    let keys = (!keys.is_empty()).then(|| keys.iter().map(|key| text(key)).collect());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(entity.kind.number())
        .with_resource_name(text(&entity.name))
        .with_configuration_keys(keys);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let response = ask(cluster, entity, &request)?;
    let missing = || CommandError::Impossible(format!("{}: the broker does not tell of it", what(entity)));
    let mut result = response.results.into_iter().next().ok_or_else(missing)?;
    CommandError::check(|| what(entity), result.error_code, result.error_message.as_deref())?;
    result.configs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(result.configs)
}

fn alter(
    cluster: &mut Cluster,
    entity: &Entity,
    changes: &[Change],
    validate_only: bool,
) -> Result<(), CommandError> {
    let config = |change: &Change| {
        let (key, operation, value) = match change {
            Change::Set(key, value) => (key, 0, Some(value)),
            Change::Delete(key) => (key, 1, None),
            Change::Append(key, word) => (key, 2, Some(word)),
            Change::Subtract(key, word) => (key, 3, Some(word)),
        };
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(operation)
            .with_value(value.map(|value| text(value)))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(entity.kind.number())
        .with_resource_name(text(&entity.name))
        .with_configs(changes.iter().map(config).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let response = ask(cluster, entity, &request)?;
    let answers = response.responses.iter();
    let failed = answers.filter_map(|one| {
        CommandError::check(|| what(entity), one.error_code, one.error_message.as_deref()).err()
    });
    CommandError::all(failed.collect())
}

fn ask<R: Request>(cluster: &mut Cluster, entity: &Entity, request: &R) -> Result<R::Response, CommandError> {
    match (entity.kind, entity.name.parse::<i32>()) {
        (EntityKind::Broker | EntityKind::BrokerLogger, Ok(id)) => Ok(cluster.node(id)?.ask(request)?),
        _ => cluster.ask_any(request),
    }
}

fn what(entity: &Entity) -> String {
    let Entity { kind, name } = entity;
    if name.is_empty() { format!("every {}", kind.name()) } else { format!("{} {name}", kind.name()) }
}
