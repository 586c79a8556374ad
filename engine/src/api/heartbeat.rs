//! Heartbeat: a member of a classic group lives, and hears whether it is to join again. Source: Kafka's
//! `KafkaApis.handleHeartbeatRequest`.

use super::coordinators::{ask_named_group, later};
use super::{Later, RequestContext};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

pub(super) async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let request: HeartbeatRequest = context.decode(body)?;
    let group = request.group_id.to_string();
    let asked = ask_named_group(&context, &group, GroupRequest::Heartbeat { request }).await;
    Ok(later(async move {
        let beaten = asked.answer(&context, |answer| match answer {
            GroupAnswer::Heartbeat(response) => Some(response),
            _ => None,
        });
        // While it is loaded nobody is fenced: a member that hears of a load would join again.
        let response = match beaten.await {
            Ok(response) => response,
            Err(ErrorCode::CoordinatorLoadInProgress) => HeartbeatResponse::default(),
            Err(code) => HeartbeatResponse::default().with_error_code(code.code()),
        };
        context.count_code(response.error_code);
        context.answer(&response)
    }))
}
