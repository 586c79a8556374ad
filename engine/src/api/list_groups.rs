//! ListGroups: the groups of every coordinator of this broker. Source: Kafka's `KafkaApis.handleListGroupsRequest`.

use super::RequestContext;
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use crate::coordinator::topics::OFFSETS_TOPIC;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: ListGroupsRequest = context.decode(body)?;
    let coordination = context.shard.coordination.clone();
    let mut asked = Vec::new();
    for (shard, number) in coordination.all(OFFSETS_TOPIC) {
        let request = GroupRequest::List { request: request.clone() };
        asked.push(coordination.ask_groups_of(shard, number, request).await);
    }
    let mut response = ListGroupsResponse::default();
    for answering in asked {
        match answering.answer().await {
            Ok(GroupAnswer::List(part)) => response.groups.extend(part.groups),
            // Whoever leads that partition now tells of its groups.
            Ok(_) | Err(ErrorCode::NotCoordinator) => {}
            Err(code) => response.error_code = code.code(),
        }
    }
    context.count_code(response.error_code);
    context.answer(&response)
}
