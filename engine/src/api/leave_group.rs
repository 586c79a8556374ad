//! LeaveGroup: members leave a classic group, one or, by an administrator, many. Source: Kafka's `KafkaApis.handleLeaveGroupRequest`.

use super::coordinators::{ask_named_group, later};
use super::{Later, RequestContext};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

pub(super) async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let request: LeaveGroupRequest = context.decode(body)?;
    let (group, version) = (request.group_id.to_string(), context.version());
    let asked = ask_named_group(&context, &group, GroupRequest::Leave { request, version }).await;
    Ok(later(async move {
        let left = asked.answer(&context, |answer| match answer {
            GroupAnswer::Leave(response) => Some(response),
            _ => None,
        });
        let refused = |code: ErrorCode| LeaveGroupResponse::default().with_error_code(code.code());
        let response = left.await.unwrap_or_else(refused);
        context.count_code(response.error_code);
        context.answer(&response)
    }))
}
