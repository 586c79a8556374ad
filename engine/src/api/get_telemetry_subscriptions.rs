//! GetTelemetrySubscriptions (KIP-714): which of its metrics a client shall push, and how often. A client that has no instance id yet
//! gets one.

use super::{RequestContext, text};
use crate::telemetry::{ClientAttributes, Grant};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use hayate_net::wire::topic::topic_id_to_text;
use hayate_storage::batch::Codec;
use kafka_protocol::messages::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};
use uuid::Uuid;

/// What pushes may be compressed by, the best first.
const COMPRESSIONS: [Codec; 4] = [Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Snappy];
/// Of a client's name for itself that is kept.
const NAME_CHARS_MAX: usize = 128;

pub(super) fn serve(context: &RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: GetTelemetrySubscriptionsRequest = context.decode(body)?;
    let shard = &context.shard;
    let mut clients = shard.telemetry.borrow_mut();
    let view = shard.view();
    clients.follow(view.generation, &view.image);
    let mut instance_id = request.client_instance_id;
    while instance_id.is_nil() || (request.client_instance_id.is_nil() && clients.is_known(instance_id)) {
        instance_id = Uuid::from_bytes(shard.rt.uuid());
    }
    let client = attributes(context, instance_id);
    let granted = clients.get(instance_id, client, context.connection.number(), context.begun);
    let response = match granted {
        Ok(grant) => describe(context, instance_id, &grant),
        Err(code) => {
            context.count_error(code);
            GetTelemetrySubscriptionsResponse::default().with_error_code(code.code())
        }
    };
    context.answer(&response)
}

/// What subscriptions may tell the client by.
pub(super) fn attributes(context: &RequestContext, instance_id: Uuid) -> ClientAttributes {
    let short = |text: String| text.chars().take(NAME_CHARS_MAX).collect();
    let peer = context.connection.peer();
    let (software_name, software_version) = context.connection.software().unzip();
    ClientAttributes {
        instance_id: topic_id_to_text(instance_id),
        client_id: context.client_id.as_ref().map(|client_id| short(client_id.to_text())),
        software_name,
        software_version,
        source_address: peer.ip().to_string(),
        source_port: peer.port().to_string(),
    }
}

fn describe(context: &RequestContext, instance_id: Uuid, grant: &Grant) -> GetTelemetrySubscriptionsResponse {
    let bytes_max = i32::try_from(context.shard.options.telemetry_bytes_max).unwrap_or(i32::MAX);
    GetTelemetrySubscriptionsResponse::default()
        .with_client_instance_id(instance_id)
        .with_subscription_id(grant.subscription_id)
        .with_accepted_compression_types(COMPRESSIONS.iter().map(|codec| *codec as i8).collect())
        .with_push_interval_ms(grant.asked.interval_ms)
        .with_telemetry_max_bytes(bytes_max)
        .with_delta_temporality(true)
        .with_requested_metrics(grant.asked.metrics.iter().map(|metric| text(metric.clone())).collect())
}
