//! ConsumerGroupHeartbeat: a member of a consumer group joins, lives, hears what it is to have, and leaves (KIP-848). Source: Kafka's
//! `KafkaApis.handleConsumerGroupHeartbeat`.

use super::coordinators::{ask_group, later};
use super::{Later, RequestContext, text};
use crate::coordinator::group::{ClientInfo, GroupAnswer, GroupRequest};
use crate::metadata::features::GROUP_VERSION;
use bytes::Bytes;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use uuid::Uuid;

/// The least level of the feature at which there are consumer groups.
const GROUP_VERSION_MIN: i16 = 1;

/// Has the cluster consumer groups?
pub(super) fn has_consumer_groups(context: &RequestContext) -> bool {
    context.shard.view().image.feature_level(GROUP_VERSION) >= GROUP_VERSION_MIN
}

pub(super) async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let request: ConsumerGroupHeartbeatRequest = context.decode(body)?;
    if !has_consumer_groups(&context) {
        context.count_error(ErrorCode::UnsupportedVersion);
        return Ok(super::done(context.answer(&refused(ErrorCode::UnsupportedVersion))));
    }
    if request.group_id.is_empty() {
        // Nobody coordinates it, and it is wrong in itself.
        let answer =
            refused(ErrorCode::InvalidRequest).with_error_message(Some(text("GroupId can't be empty.")));
        context.count_error(ErrorCode::InvalidRequest);
        return Ok(super::done(context.answer(&answer)));
    }
    let group = request.group_id.to_string();
    let client_id = context.client_id.as_ref().map(|id| id.to_string()).unwrap_or_default();
    let client = ClientInfo { client_id, client_host: format!("/{}", context.connection.peer().ip()) };
    let (version, fresh_id) = (context.version(), Uuid::from_bytes(context.shard.rt.uuid()));
    let request = Box::new(request);
    let heartbeat = GroupRequest::ConsumerHeartbeat { request, version, client, fresh_id };
    let asked = ask_group(&context, &group, heartbeat).await;
    Ok(later(async move {
        let beaten = asked.answer(&context, |answer| match answer {
            GroupAnswer::ConsumerHeartbeat(response) => Some(response),
            _ => None,
        });
        let response = beaten.await.unwrap_or_else(refused);
        context.count_code(response.error_code);
        context.answer(&response)
    }))
}

fn refused(code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default().with_error_code(code.code())
}
