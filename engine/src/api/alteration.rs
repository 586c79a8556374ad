//! What the two requests that change configurations share: every resource once, checked before the controller decides, and
//! what became of each. After Kafka's `ConfigAdminManager`.

use super::{RequestContext, broker_loggers, text};
use crate::config::dynamic;
use crate::metadata::controller::{AlterConfigs, Alteration, ApiError, Command, ConfigOperation, Reply};
use crate::metadata::image::{ConfigKind, ConfigResource, NodeId};
use crate::shard::calls::{ControlAnswer, ControlCall};
use hayate_net::error::ErrorCode;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The longest message: it may name whatever a client has sent.
const MESSAGE_BYTES_MAX: usize = 1000;

/// A resource of a request.
pub(super) struct Asked {
    /// Kafka's number of its kind.
    pub(super) resource_type: i8,
    /// Its name.
    pub(super) name: StrBytes,
    /// What is to become of it, or why that makes no sense.
    pub(super) wanted: Result<Alteration, ApiError>,
}

/// What became of a resource.
pub(super) struct Outcome {
    /// Kafka's number of its kind.
    pub(super) resource_type: i8,
    /// Its name.
    pub(super) name: StrBytes,
    /// 0 if it was changed.
    pub(super) code: i16,
    /// Why it was not.
    pub(super) message: Option<StrBytes>,
}

impl Outcome {
    fn refuse(&mut self, error: ApiError) {
        self.code = error.code.code();
        self.message = error.message.map(|message| text(shortened(message)));
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let fits = |at: &usize| message.is_char_boundary(*at);
        let at = (0..=MESSAGE_BYTES_MAX).rev().find(fits).unwrap_or(0);
        message.truncate(at);
    }
    message
}

/// An error for what a request may not say.
pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ResponseError::InvalidRequest, message)
}

/// Checks the configurations of one resource, each with whether it lacks a value that it needs.
pub(super) fn check_names<'a>(
    configs: impl Iterator<Item = (&'a StrBytes, bool)> + Clone,
) -> Result<(), ApiError> {
    let mut names: Vec<&StrBytes> = configs.clone().map(|(name, _)| name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let null: Vec<&str> = configs.filter(|(_, is_null)| *is_null).map(|(name, _)| name.as_str()).collect();
    if null.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("Null value not supported for : {}", null.join(", "))))
}

/// Changes what can be changed; what became of each resource, in the order of the request.
pub(super) async fn alter(
    context: &RequestContext,
    asked: impl Iterator<Item = Asked>,
    validate_only: bool,
) -> Vec<Outcome> {
    let (mut outcomes, mut changes, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for Asked { resource_type, name, wanted } in each_once(asked) {
        let planned = wanted.and_then(|wanted| plan(context, resource_type, &name, wanted, validate_only));
        let mut outcome = Outcome { resource_type, name, code: ErrorCode::None.code(), message: None };
        match planned {
            Ok(Some(change)) => {
                places.push(outcomes.len());
                changes.push(change);
            }
            Ok(None) => {}
            Err(error) => outcome.refuse(error),
        }
        outcomes.push(outcome);
    }
    if changes.is_empty() {
        return outcomes;
    }
    let idle = without_effect(&changes);
    let command = Command::AlterConfigs(AlterConfigs { changes, validate_only });
    match context.shard.control(ControlCall::Command(command)).await {
        ControlAnswer::Replied(Reply::AlterConfigs(results)) => {
            for (place, result) in places.into_iter().zip(results) {
                if let Some(error) = result.error {
                    outcomes[place].refuse(error);
                }
            }
        }
        _ => places.into_iter().for_each(|place| outcomes[place].code = ErrorCode::NotController.code()),
    }
    let is_done = outcomes.iter().all(|outcome| outcome.code == ErrorCode::None.code());
    if is_done && !validate_only && !idle.is_empty() {
        tracing::warn!(settings = idle.join("; "), "settings were set for brokers that have no effect here");
    }
    outcomes
}

/// Each resource at its first place: a frame that repeats one must not grow into as many answers.
fn each_once(asked: impl Iterator<Item = Asked>) -> Vec<Asked> {
    let mut places: BTreeMap<(i8, StrBytes), usize> = BTreeMap::new();
    let mut kept: Vec<Asked> = Vec::new();
    for asked in asked {
        match places.entry((asked.resource_type, asked.name.clone())) {
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(asked);
            }
            Entry::Occupied(place) => {
                kept[*place.get()].wanted = Err(invalid("Each resource must appear at most once."));
            }
        }
    }
    kept
}

/// What the controller is to change; `None` for levels of the log, which are changed here, unless all configurations are to be
/// replaced: that is not for them.
fn plan(
    context: &RequestContext,
    resource_type: i8,
    name: &str,
    wanted: Alteration,
    validate_only: bool,
) -> Result<Option<(ConfigResource, Alteration)>, ApiError> {
    let options = &context.shard.options;
    match (ConfigKind::from_number(resource_type), wanted) {
        (Some(ConfigKind::BrokerLogger), Alteration::Some(changes)) => {
            broker_loggers::alter(options, name, &changes, validate_only).map(|()| None)
        }
        (_, wanted) => Ok(Some((resource(options.node_id, resource_type, name)?, wanted))),
    }
}

/// The resource, if it has configurations that the controller keeps.
fn resource(here: NodeId, resource_type: i8, name: &str) -> Result<ConfigResource, ApiError> {
    match ConfigKind::from_number(resource_type) {
        Some(ConfigKind::Topic) => Ok(ConfigResource::topic(name)),
        Some(ConfigKind::Broker) if name.is_empty() => Ok(ConfigResource::default_broker()),
        Some(ConfigKind::Broker) => match name.parse::<NodeId>() {
            Ok(id) if id == here => Ok(ConfigResource::broker(id)),
            Ok(_) => Err(invalid(format!("Unexpected broker id, expected {here}, but received {name}"))),
            Err(_) => Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
        },
        Some(kind @ (ConfigKind::ClientMetrics | ConfigKind::Group)) => {
            Ok(ConfigResource { kind, name: name.to_owned() })
        }
        Some(ConfigKind::BrokerLogger) | None => {
            Err(invalid(format!("Unknown resource type {resource_type}")))
        }
    }
}

/// Settings of brokers that are set and mean nothing here, or some of them, each with the reason.
fn without_effect(changes: &[(ConfigResource, Alteration)]) -> Vec<String> {
    let of_brokers = changes.iter().filter(|(resource, _)| resource.kind == ConfigKind::Broker);
    let names = of_brokers.flat_map(|(_, alteration)| match alteration {
        Alteration::Some(changes) => {
            let set = changes.iter().filter(|change| change.operation != ConfigOperation::Delete);
            set.map(|change| change.name.as_str()).collect::<Vec<_>>()
        }
        Alteration::All(configs) => configs.keys().map(String::as_str).collect(),
    });
    dynamic::without_effect(names).into_iter().map(|(name, why)| format!("{name}: {why}")).collect()
}
