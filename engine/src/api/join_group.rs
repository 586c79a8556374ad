//! JoinGroup: a member enters a classic group, and hears of the generation when all have. Source: Kafka's
//! `KafkaApis.handleJoinGroupRequest` and `GroupCoordinatorService.joinGroup`.

use super::coordinators::{ask_group, later};
use super::{Later, RequestContext};
use crate::coordinator::group::{ClientInfo, GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// First version in which a protocol's name may be absent.
const NULL_PROTOCOLS_SINCE: i16 = 7;

pub(super) async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let mut request: JoinGroupRequest = context.decode(body)?;
    if context.version() == 0 {
        request.rebalance_timeout_ms = request.session_timeout_ms;
    }
    let (group, member) = (request.group_id.to_string(), request.member_id.clone());
    let client_id = context.client_id.as_ref().map(|id| id.to_string()).unwrap_or_default();
    let client = ClientInfo { client_id, client_host: format!("/{}", context.connection.peer().ip()) };
    let (version, fresh_id) = (context.version(), Uuid::from_bytes(context.shard.rt.uuid()));
    let join = GroupRequest::Join { request, version, client, fresh_id };
    let asked = ask_group(&context, &group, join).await;
    Ok(later(async move {
        let joined = asked.answer(&context, |answer| match answer {
            GroupAnswer::Join(response) => Some(response),
            _ => None,
        });
        let mut response = joined.await.unwrap_or_else(|code| refused(member, code));
        if version < NULL_PROTOCOLS_SINCE && response.protocol_name.is_none() {
            response.protocol_name = Some(StrBytes::default());
        }
        context.count_code(response.error_code);
        context.answer(&response)
    }))
}

fn refused(member_id: StrBytes, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse::default().with_member_id(member_id).with_error_code(code.code())
}
