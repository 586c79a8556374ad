//! JoinGroup: a member enters a classic group, and hears of the generation when all have. Source: Kafka's
//! `KafkaApis.handleJoinGroupRequest` and `GroupCoordinatorService.joinGroup`.

use super::coordinators::{ask_named_group, later};
use super::{Later, RequestContext};
use crate::coordinator::group::{ClientInfo, GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// From this version on a protocol that there is none of has no name; before, an empty one.
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
    let asked = ask_named_group(&context, &group, join).await;
    Ok(later(async move {
        let joined = asked.answer(&context, |answer| match answer {
            GroupAnswer::Join(response) => Some(response),
            _ => None,
        });
        let mut response = joined.await.unwrap_or_else(|code| refused(member, code));
        response.protocol_name = protocol_name(response.protocol_name, version);
        context.count_code(response.error_code);
        context.answer(&response)
    }))
}

/// The protocol as the version tells it.
fn protocol_name(name: Option<StrBytes>, version: i16) -> Option<StrBytes> {
    match name.filter(|name| !name.is_empty()) {
        None if version < NULL_PROTOCOLS_SINCE => Some(StrBytes::default()),
        name => name,
    }
}

fn refused(member_id: StrBytes, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse::default().with_member_id(member_id).with_error_code(code.code())
}

#[cfg(test)]
mod tests {
    use super::protocol_name;
    use kafka_protocol::protocol::StrBytes;

    #[test]
    fn a_protocol_that_there_is_none_of_is_empty_before_it_may_be_null() {
        let name = |name: &'static str| Some(StrBytes::from_static_str(name));
        for (told, version, expected) in [
            (None, 6, name("")),
            (name(""), 6, name("")),
            (name("range"), 6, name("range")),
            (None, 7, None),
            (name(""), 7, None),
            (name("range"), 7, name("range")),
        ] {
            assert_eq!(protocol_name(told.clone(), version), expected, "{told:?} in version {version}");
        }
    }
}
