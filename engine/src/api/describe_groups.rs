//! DescribeGroups: classic groups, each from its own coordinator. Source: Kafka's `KafkaApis.handleDescribeGroupsRequest`.

use super::RequestContext;
use super::coordinators::ask_group;
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

/// What a client may do with a group, as Kafka tells it where nothing is forbidden: bit n stands for operation n of Kafka's
/// `AclOperation`. Read, delete, describe, describe and alter configurations.
pub(super) const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeGroupsRequest = context.decode(body)?;
    let version = context.version();
    let mut asked = Vec::new();
    for group in &request.groups {
        let describe = GroupRequest::Describe { groups: vec![group.0.to_string()], version };
        asked.push((group.clone(), ask_group(&context, group, describe).await));
    }
    let mut groups = Vec::with_capacity(asked.len());
    for (group, asked) in asked {
        let described = asked.answer(&context, |answer| match answer {
            GroupAnswer::Describe(mut groups) => groups.pop(),
            _ => None,
        });
        let mut described = described.await.unwrap_or_else(|code| refused(group, code.code()));
        context.count_code(described.error_code);
        if request.include_authorized_operations && described.error_code == 0 {
            described.authorized_operations = GROUP_OPERATIONS;
        }
        groups.push(described);
    }
    context.answer(&DescribeGroupsResponse::default().with_groups(groups))
}

fn refused(group: GroupId, code: i16) -> DescribedGroup {
    DescribedGroup::default().with_group_id(group).with_error_code(code)
}
