//! DeleteRecords: the owners move the starts of their logs, and the answer waits until no crash takes that back. After
//! Kafka's `KafkaApis.handleDeleteRecordsRequest`, which waits for that only as far as replicas go.

use super::RequestContext;
use super::topics::{INTERNAL_TOPICS, ask_owners, topic_name};
use crate::partition::DeleteBefore;
use crate::placement::ShardId;
use crate::shard::calls::{DeletePart, PartitionCall};
use crate::shard::router::deleted;
use crate::shard::view::ClusterView;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::batch::Offset;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use std::collections::BTreeMap;

/// Offsets by topic and partition: of one that is named again the last offset counts, as in Kafka.
type Asked<'a> = BTreeMap<&'a str, BTreeMap<i32, i64>>;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DeleteRecordsRequest = context.decode(body)?;
    let asked = asked(&request);
    let view = context.shard.view();
    let mut parts = Vec::new();
    for (name, partitions) in &asked {
        parts.extend(partitions.iter().map(|(index, offset)| route(&view, name, *index, *offset)));
    }
    let outcomes = ask_owners(&context, parts, PartitionCall::DeleteRecords, deleted).await;
    let mut outcomes = outcomes.into_iter();
    let mut topics = Vec::with_capacity(asked.len());
    for (name, partitions) in &asked {
        let answers = partitions
            .keys()
            .map(|index| answer(*index, outcomes.next().unwrap_or(Err(ErrorCode::UnknownServerError))));
        let answers = answers.collect();
        topics.push(DeleteRecordsTopicResult::default().with_name(topic_name(name)).with_partitions(answers));
    }
    context.answer(&DeleteRecordsResponse::default().with_topics(topics))
}

fn asked(request: &DeleteRecordsRequest) -> Asked<'_> {
    let mut asked = Asked::new();
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let offsets = topic.partitions.iter().map(|partition| (partition.partition_index, partition.offset));
        asked.entry(&topic.name).or_default().extend(offsets);
    }
    asked
}

fn route(
    view: &ClusterView,
    name: &str,
    partition: i32,
    offset: i64,
) -> Result<(ShardId, DeletePart), ErrorCode> {
    let route = view.route(view.topic_by_name(name)?, partition)?;
    if INTERNAL_TOPICS.contains(&name) {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok((route.shard, DeletePart { key: route.key, before: DeleteBefore::from_offset(offset) }))
}

fn answer(partition: i32, outcome: Result<Offset, ErrorCode>) -> DeleteRecordsPartitionResult {
    let (code, low_watermark) = match outcome {
        Ok(start) => (ErrorCode::None, start),
        Err(code) => (code, Offset::NONE),
    };
    DeleteRecordsPartitionResult::default()
        .with_partition_index(partition)
        .with_low_watermark(low_watermark.0)
        .with_error_code(code.code())
}
