//! DescribeCluster (KIP-700): the brokers and who controls them.

use super::topics::CLUSTER_OPERATIONS;
use super::{RequestContext, text};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

/// Endpoint types of KIP-919.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn serve(context: &RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeClusterRequest = context.decode(body)?;
    if let Some((code, message)) = refusal(request.endpoint_type) {
        let refused = DescribeClusterResponse::default().with_error_code(code.code());
        return context.answer(&refused.with_error_message(Some(text(message))));
    }
    let view = context.shard.view();
    let shown = view
        .image
        .brokers()
        .filter(|(_, broker)| broker.is_active() || (request.include_fenced_brokers && broker.fenced));
    let brokers = shown.filter_map(|(id, broker)| {
        let endpoint = broker.endpoint(context.listener())?;
        let described = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(id))
            .with_host(text(endpoint.host.clone()))
            .with_port(i32::from(endpoint.port))
            .with_rack(broker.rack.clone().map(text))
            .with_is_fenced(broker.fenced);
        Some(described)
    });
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(text(view.image.cluster_id()))
        .with_controller_id(BrokerId(view.image.controller().unwrap_or(-1)))
        .with_brokers(brokers.collect());
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    context.answer(&response)
}

/// Why endpoints of that type are not told of here, in Kafka's words.
fn refusal(endpoint_type: i8) -> Option<(ErrorCode, String)> {
    match endpoint_type {
        BROKERS => None,
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            Some((ErrorCode::MismatchedEndpointType, message.to_owned()))
        }
        other => Some((ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"))),
    }
}
