//! ShareGroupDescribe: share groups, each from its own coordinator. Source: Kafka's `KafkaApis.handleShareGroupDescribe`.

use super::coordinators::ask_group;
use super::describe_groups::GROUP_OPERATIONS;
use super::{RequestContext, share};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::share_group_describe_response::DescribedGroup;
use kafka_protocol::messages::{GroupId, ShareGroupDescribeRequest, ShareGroupDescribeResponse};

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: ShareGroupDescribeRequest = context.decode(body)?;
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for group in &request.group_ids {
        let mut described =
            describe(&context, group).await.unwrap_or_else(|code| refused(group.clone(), code));
        context.count_code(described.error_code);
        if request.include_authorized_operations && described.error_code == 0 {
            described.authorized_operations = GROUP_OPERATIONS;
        }
        groups.push(described);
    }
    context.answer(&ShareGroupDescribeResponse::default().with_groups(groups))
}

async fn describe(context: &RequestContext, group: &GroupId) -> Result<DescribedGroup, ErrorCode> {
    share::check_enabled(context)?;
    let request = GroupRequest::ShareDescribe { groups: vec![group.to_string()] };
    let asked = ask_group(context, group, request).await;
    let described = asked.answer(context, |answer| match answer {
        GroupAnswer::ShareDescribe(mut groups) => groups.pop(),
        _ => None,
    });
    described.await
}

fn refused(group: GroupId, code: ErrorCode) -> DescribedGroup {
    DescribedGroup::default().with_group_id(group).with_error_code(code.code())
}
