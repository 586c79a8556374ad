//! AlterConfigs: replaces all configurations of a resource. Deprecated in Kafka in favour of IncrementalAlterConfigs, and still what
//! older clients send.

use super::RequestContext;
use super::alteration::{self, Asked, Outcome};
use crate::metadata::controller::{Alteration, ApiError};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: AlterConfigsRequest = context.decode(body)?;
    let asked = request.resources.iter().map(|resource| Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name.clone(),
        wanted: wanted(resource),
    });
    let outcomes = alteration::alter(&context, asked, request.validate_only).await;
    let responses = outcomes.into_iter().map(describe).collect();
    context.answer(&AlterConfigsResponse::default().with_responses(responses))
}

/// Everything is copied: what refers to the request keeps its frame alive.
fn wanted(resource: &AlterConfigsResource) -> Result<Alteration, ApiError> {
    alteration::check_names(resource.configs.iter().map(|config| (&config.name, config.value.is_none())))?;
    let configs = resource.configs.iter().map(|config| {
        (config.name.to_string(), config.value.as_ref().map(ToString::to_string).unwrap_or_default())
    });
    Ok(Alteration::All(configs.collect()))
}

fn describe(outcome: Outcome) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(outcome.resource_type)
        .with_resource_name(outcome.name)
        .with_error_code(outcome.code)
        .with_error_message(outcome.message)
}
