//! IncrementalAlterConfigs (KIP-339): sets and deletes configurations, and changes lists word by word. The controller decides, and
//! the answer waits until every shard goes by it.

use super::alteration::{self, Asked, Outcome};
use super::{RequestContext, broker_loggers};
use crate::metadata::controller::{Alteration, ApiError, ConfigChange, ConfigOperation};
use crate::metadata::image::ConfigKind;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

/// Kafka's numbers of the operations.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: IncrementalAlterConfigsRequest = context.decode(body)?;
    let asked = request.resources.iter().map(|resource| Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name.clone(),
        wanted: wanted(resource),
    });
    let outcomes = alteration::alter(&context, asked, request.validate_only).await;
    let responses = outcomes.into_iter().map(describe).collect();
    context.answer(&IncrementalAlterConfigsResponse::default().with_responses(responses))
}

fn wanted(resource: &AlterConfigsResource) -> Result<Alteration, ApiError> {
    let lacks_value = |config: &AlterableConfig| config.value.is_none() && config.config_operation != DELETE;
    alteration::check_names(resource.configs.iter().map(|config| (&config.name, lacks_value(config))))?;
    let changes: Result<_, _> =
        resource.configs.iter().map(|config| change(resource.resource_type, config)).collect();
    changes.map(Alteration::Some)
}

/// Everything is copied: what refers to the request keeps its frame alive.
fn change(resource_type: i8, config: &AlterableConfig) -> Result<ConfigChange, ApiError> {
    let value = || config.value.as_ref().map(ToString::to_string).unwrap_or_default();
    let operation = match config.config_operation {
        SET => ConfigOperation::Set(value()),
        DELETE => ConfigOperation::Delete,
        APPEND => ConfigOperation::Append(value()),
        SUBTRACT => ConfigOperation::Subtract(value()),
        other if resource_type == ConfigKind::BrokerLogger.number() => {
            return Err(broker_loggers::not_allowed(&format!("Unknown operation type {other} is")));
        }
        other => return Err(alteration::invalid(format!("Unknown operations type {other}"))),
    };
    Ok(ConfigChange { name: config.name.to_string(), operation })
}

fn describe(outcome: Outcome) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(outcome.resource_type)
        .with_resource_name(outcome.name)
        .with_error_code(outcome.code)
        .with_error_message(outcome.message)
}
