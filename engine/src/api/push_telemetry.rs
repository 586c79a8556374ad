//! PushTelemetry (KIP-714): the metrics of a client, compressed. They are shown with the broker's own.

use super::RequestContext;
use super::get_telemetry_subscriptions::attributes;
use crate::telemetry::Push;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use kafka_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};

pub(super) fn serve(context: &RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: PushTelemetryRequest = context.decode(body)?;
    let push = Push {
        instance_id: request.client_instance_id,
        subscription_id: request.subscription_id,
        is_terminating: request.terminating,
        compression: request.compression_type,
        metrics: &request.metrics,
    };
    let view = context.shard.view();
    let mut clients = context.shard.telemetry.borrow_mut();
    clients.follow(view.generation, &view.image);
    let client = attributes(context, push.instance_id);
    let code = match clients.push(&push, client, context.connection.number(), context.begun) {
        Ok(()) => 0,
        Err(code) => {
            context.count_error(code);
            code.code()
        }
    };
    context.answer(&PushTelemetryResponse::default().with_error_code(code))
}
