//! SyncGroup: a classic group's leader hands out what each member gets, and each member hears of its own. Source: Kafka's
//! `KafkaApis.handleSyncGroupRequest`.

use super::coordinators::{ask_named_group, later};
use super::{Later, RequestContext};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

/// First version that must name the protocol (KIP-559).
const PROTOCOLS_SINCE: i16 = 5;

pub(super) async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let request: SyncGroupRequest = context.decode(body)?;
    let version = context.version();
    let lacks_protocol = request.protocol_type.is_none() || request.protocol_name.is_none();
    if version >= PROTOCOLS_SINCE && lacks_protocol {
        return Ok(super::done(context.answer(&refused(ErrorCode::InconsistentGroupProtocol))));
    }
    let group = request.group_id.to_string();
    let asked = ask_named_group(&context, &group, GroupRequest::Sync { request, version }).await;
    Ok(later(async move {
        let synced = asked.answer(&context, |answer| match answer {
            GroupAnswer::Sync(response) => Some(response),
            _ => None,
        });
        let response = synced.await.unwrap_or_else(refused);
        context.count_code(response.error_code);
        context.answer(&response)
    }))
}

fn refused(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(code.code())
}
