//! ConsumerGroupDescribe: consumer groups, each from its own coordinator. Source: Kafka's `KafkaApis.handleConsumerGroupDescribe`.

use super::RequestContext;
use super::consumer_group_heartbeat::has_consumer_groups;
use super::coordinators::ask_named_group;
use super::describe_groups::GROUP_OPERATIONS;
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId};
use std::collections::BTreeSet;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: ConsumerGroupDescribeRequest = context.decode(body)?;
    // Each once: a frame that repeats one must not grow into as many answers.
    let mut seen = BTreeSet::new();
    let wanted = request.group_ids.iter().filter(|group| seen.insert((*group).clone()));
    let has_any = has_consumer_groups(&context);
    let mut asked = Vec::new();
    for group in wanted {
        let describe = GroupRequest::ConsumerDescribe { groups: vec![group.0.to_string()] };
        let question = if has_any { Some(ask_named_group(&context, group, describe).await) } else { None };
        asked.push((group.clone(), question));
    }
    let mut groups = Vec::with_capacity(asked.len());
    for (group, question) in asked {
        let described = match question {
            Some(question) => {
                let described = question.answer(&context, |answer| match answer {
                    GroupAnswer::ConsumerDescribe(mut groups) => groups.pop(),
                    _ => None,
                });
                described.await
            }
            None => Err(ErrorCode::UnsupportedVersion),
        };
        let mut described = described.unwrap_or_else(|code| refused(group, code));
        context.count_code(described.error_code);
        if request.include_authorized_operations && described.error_code == 0 {
            described.authorized_operations = GROUP_OPERATIONS;
        }
        groups.push(described);
    }
    context.answer(&ConsumerGroupDescribeResponse::default().with_groups(groups))
}

fn refused(group: GroupId, code: ErrorCode) -> DescribedGroup {
    DescribedGroup::default().with_group_id(group).with_error_code(code.code())
}
