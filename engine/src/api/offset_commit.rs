//! OffsetCommit: how far a group has read. Topics and partitions that do not exist are refused here, the rest is the coordinator's.
//! Source: Kafka's `KafkaApis.handleOffsetCommitRequest`.

use super::coordinators::{ask_group, later, response_error};
use super::{Later, RequestContext, topics};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use crate::coordinator::offsets::commit_refused;
use crate::metadata::image::TopicImage;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_net::wire::{codec, offsets};
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use std::sync::Arc;

/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = offsets::VERSION;

pub(super) async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let (version, decoded_bytes_max) = (context.version(), context.decoded_bytes_max(&body));
    let mut request = codec::decode_offset_commit(version, body, decoded_bytes_max)?;
    let refused = take_refused(&context, &mut request);
    if request.topics.is_empty() {
        return Ok(super::done(answer(&context, &OffsetCommitResponse::default().with_topics(refused))));
    }
    let group = request.group_id.to_string();
    // Its names keep the frame alive no longer than the request itself.
    let shape = request.clone();
    let asked = ask_group(&context, &group, GroupRequest::OffsetCommit { request, version }).await;
    Ok(later(async move {
        let committed = asked.answer(&context, |answer| match answer {
            GroupAnswer::OffsetCommit(response) => Some(response),
            _ => None,
        });
        let committed = committed.await.unwrap_or_else(|code| commit_refused(&shape, response_error(code)));
        let topics = merged(refused, committed.topics, version >= TOPIC_IDS_SINCE);
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        partitions.for_each(|partition| context.count_code(partition.error_code));
        answer(&context, &OffsetCommitResponse::default().with_topics(topics))
    }))
}

fn answer(context: &RequestContext, response: &OffsetCommitResponse) -> Result<Answer, WireError> {
    match context.version() {
        offsets::VERSION => {
            context.send(offsets::encode_commit_response(context.head.correlation_id, response)?)
        }
        _ => context.answer(response),
    }
}

/// Takes out what does not exist, and answers it; gives the rest names and ids both.
fn take_refused(
    context: &RequestContext,
    request: &mut OffsetCommitRequest,
) -> Vec<OffsetCommitResponseTopic> {
    let view = context.shard.view();
    let by_id = context.version() >= TOPIC_IDS_SINCE;
    let mut refused = Vec::new();
    for topic in &mut request.topics {
        let image =
            if by_id { view.image.topic_by_id(&topic.topic_id) } else { view.image.topic(&topic.name) };
        let unknown = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        if let Some(missing) = missing(topic, image, unknown) {
            put(&mut refused, missing, by_id);
        }
        if let Some(image) = image {
            (topic.name, topic.topic_id) = (topics::topic_name(&image.name), image.id);
            topic.partitions.retain(|partition| image.partitions.contains_key(&partition.partition_index));
        } else {
            topic.partitions.clear();
        }
    }
    request.topics.retain(|topic| !topic.partitions.is_empty());
    refused
}

/// The answer to those of a topic's partitions that do not exist; `None` when all do.
fn missing(
    topic: &OffsetCommitRequestTopic,
    image: Option<&Arc<TopicImage>>,
    unknown: ErrorCode,
) -> Option<OffsetCommitResponseTopic> {
    let code = if image.is_some() { ErrorCode::UnknownTopicOrPartition } else { unknown };
    let exists = |index: i32| image.is_some_and(|image| image.partitions.contains_key(&index));
    let missing = topic.partitions.iter().filter(|partition| !exists(partition.partition_index));
    let partitions: Vec<_> = missing
        .map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
        })
        .collect();
    let answer =
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id);
    (!partitions.is_empty()).then(|| answer.with_partitions(partitions))
}

/// What was refused here comes first, and what is committed of the same topics stands with it. Where nothing was refused, the answer is as the
/// request: a topic that stood there twice does so here.
fn merged(
    refused: Vec<OffsetCommitResponseTopic>,
    committed: Vec<OffsetCommitResponseTopic>,
    by_id: bool,
) -> Vec<OffsetCommitResponseTopic> {
    if refused.is_empty() {
        return committed;
    }
    let mut topics = refused;
    committed.into_iter().for_each(|answered| put(&mut topics, answered, by_id));
    topics
}

/// Puts the answers to partitions to those of their topic.
fn put(topics: &mut Vec<OffsetCommitResponseTopic>, answered: OffsetCommitResponseTopic, by_id: bool) {
    let is_same = |topic: &&mut OffsetCommitResponseTopic| {
        if by_id { topic.topic_id == answered.topic_id } else { topic.name == answered.name }
    };
    match topics.iter_mut().find(is_same) {
        Some(topic) => topic.partitions.extend(answered.partitions),
        None => topics.push(answered),
    }
}

#[cfg(test)]
mod tests {
    use super::{OffsetCommitResponsePartition, OffsetCommitResponseTopic, merged, topics};

    fn answers(told: &[(&str, i32)]) -> Vec<OffsetCommitResponseTopic> {
        let topic = |&(name, partition): &(&str, i32)| {
            let partition = OffsetCommitResponsePartition::default().with_partition_index(partition);
            let topic = OffsetCommitResponseTopic::default().with_name(topics::topic_name(name));
            topic.with_partitions(vec![partition])
        };
        told.iter().map(topic).collect()
    }

    #[test]
    fn a_topic_that_was_refused_in_part_stands_once_and_others_as_often_as_in_the_request() {
        type Told = &'static [(&'static str, i32)];
        let table: [(Told, Told, &[(&str, &[i32])]); 3] = [
            (&[], &[("a", 0), ("a", 1)], &[("a", &[0]), ("a", &[1])]),
            (&[("a", 9)], &[("a", 0), ("a", 1)], &[("a", &[9, 0, 1])]),
            (&[("b", 9)], &[("a", 0), ("a", 1)], &[("b", &[9]), ("a", &[0, 1])]),
        ];
        for (refused, committed, expected) in table {
            let merged = merged(answers(refused), answers(committed), false);
            let told: Vec<(&str, Vec<i32>)> = merged
                .iter()
                .map(|topic| {
                    let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
                    (topic.name.as_str(), partitions.collect())
                })
                .collect();
            let expected: Vec<(&str, Vec<i32>)> =
                expected.iter().map(|(name, partitions)| (*name, partitions.to_vec())).collect();
            assert_eq!(told, expected, "{refused:?} and {committed:?}");
        }
    }
}
