//! ShareGroupHeartbeat: a member of a share group joins, lives or leaves. Source: Kafka's `KafkaApis.handleShareGroupHeartbeat`.

use super::coordinators::ask_group;
use super::find_coordinator::ensure;
use super::{RequestContext, share};
use crate::coordinator::group::{ClientInfo, GroupAnswer, GroupRequest};
use crate::coordinator::topics::SHARE_TOPIC;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: ShareGroupHeartbeatRequest = context.decode(body)?;
    let response = beat(&context, request)
        .await
        .unwrap_or_else(|code| ShareGroupHeartbeatResponse::default().with_error_code(code.code()));
    context.count_code(response.error_code);
    context.answer(&response)
}

async fn beat(
    context: &RequestContext,
    request: ShareGroupHeartbeatRequest,
) -> Result<ShareGroupHeartbeatResponse, ErrorCode> {
    share::check_enabled(context)?;
    // Where the group's states will be.
    ensure(&context.shard, SHARE_TOPIC).await?;
    let client_id = context.client_id.as_ref().map(|id| id.to_string()).unwrap_or_default();
    let client = ClientInfo { client_id, client_host: format!("/{}", context.connection.peer().ip()) };
    let group = request.group_id.to_string();
    let asked = ask_group(context, &group, GroupRequest::ShareHeartbeat { request, client }).await;
    let beaten = asked.answer(context, |answer| match answer {
        GroupAnswer::ShareHeartbeat(response) => Some(response),
        _ => None,
    });
    beaten.await
}
