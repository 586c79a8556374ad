//! OffsetDelete: an administrator deletes committed offsets of a group. Source: Kafka's `KafkaApis.handleOffsetDeleteRequest` (KIP-496).

use super::coordinators::{ask_named_group, later};
use super::{Later, RequestContext};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use bytes::Bytes;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

pub(super) async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let mut request: OffsetDeleteRequest = context.decode(body)?;
    let unknown = take_unknown(&context, &mut request);
    let group = request.group_id.to_string();
    let asked = ask_named_group(&context, &group, GroupRequest::OffsetDelete { request }).await;
    Ok(later(async move {
        let deleted = asked.answer(&context, |answer| match answer {
            GroupAnswer::OffsetDelete(response) => Some(response),
            _ => None,
        });
        let mut response = match deleted.await {
            Ok(response) => response,
            Err(code) => OffsetDeleteResponse::default().with_error_code(code.code()),
        };
        if response.error_code == ErrorCode::None.code() {
            merge(&mut response, unknown);
        }
        context.count_code(response.error_code);
        context.answer(&response)
    }))
}

/// Takes out the partitions that do not exist, and answers them.
fn take_unknown(
    context: &RequestContext,
    request: &mut OffsetDeleteRequest,
) -> Vec<OffsetDeleteResponseTopic> {
    let view = context.shard.view();
    let mut unknown = Vec::new();
    for topic in &mut request.topics {
        let image = view.image.topic(&topic.name);
        let exists = |index: i32| image.is_some_and(|image| image.partitions.contains_key(&index));
        let missing = topic.partitions.iter().filter(|partition| !exists(partition.partition_index));
        let missing: Vec<_> = missing
            .map(|partition| {
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(ErrorCode::UnknownTopicOrPartition.code())
            })
            .collect();
        if !missing.is_empty() {
            let answer = OffsetDeleteResponseTopic::default().with_name(topic.name.clone());
            put(&mut unknown, answer.with_partitions(missing));
        }
        topic.partitions.retain(|partition| exists(partition.partition_index));
    }
    request.topics.retain(|topic: &OffsetDeleteRequestTopic| !topic.partitions.is_empty());
    unknown
}

/// What was refused here comes before what the coordinator says, topic by topic; where nothing was, the answer is as the request.
fn merge(response: &mut OffsetDeleteResponse, mut topics: Vec<OffsetDeleteResponseTopic>) {
    if topics.is_empty() {
        return;
    }
    let answered = std::mem::take(&mut response.topics);
    answered.into_iter().for_each(|answered| put(&mut topics, answered));
    response.topics = topics;
}

/// Puts the answers to partitions to those of their topic.
fn put(topics: &mut Vec<OffsetDeleteResponseTopic>, answered: OffsetDeleteResponseTopic) {
    match topics.iter_mut().find(|topic| topic.name == answered.name) {
        Some(topic) => topic.partitions.extend(answered.partitions),
        None => topics.push(answered),
    }
}
