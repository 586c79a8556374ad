//! DeleteGroups: empty groups and all they committed, each at its own coordinator. Source: Kafka's `KafkaApis.handleDeleteGroupsRequest`.

use super::RequestContext;
use super::coordinators::ask_group;
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use std::collections::BTreeSet;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DeleteGroupsRequest = context.decode(body)?;
    let mut asked = Vec::new();
    let mut seen = BTreeSet::new();
    for group in request.groups_names.iter().filter(|group| seen.insert((*group).clone())) {
        let delete = GroupRequest::Delete { groups: vec![group.0.to_string()] };
        asked.push((group.clone(), ask_group(&context, group, delete).await));
    }
    let mut results = Vec::with_capacity(asked.len());
    for (group, asked) in asked {
        let deleted = asked.answer(&context, |answer| match answer {
            GroupAnswer::Delete(mut results) => results.pop(),
            _ => None,
        });
        let refused = |code: hayate_net::error::ErrorCode| {
            DeletableGroupResult::default().with_group_id(group.clone()).with_error_code(code.code())
        };
        let result = deleted.await.unwrap_or_else(refused);
        context.count_code(result.error_code);
        results.push(result);
    }
    context.answer(&DeleteGroupsResponse::default().with_results(results))
}
