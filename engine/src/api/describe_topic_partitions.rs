//! DescribeTopicPartitions (KIP-966): topics and who leads their partitions, page by page: a cursor says where the next page
//! begins. After Kafka's `DescribeTopicPartitionsRequestHandler` and `KRaftMetadataCache`.

use super::RequestContext;
use super::topics::{INTERNAL_TOPICS, TOPIC_OPERATIONS, broker_ids, offline_replicas, topic_name};
use crate::metadata::image::{PartitionImage, TopicImage};
use crate::shard::view::ClusterView;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::names::validate_topic_name;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use std::collections::BTreeSet;

pub(super) fn serve(context: &RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeTopicPartitionsRequest = context.decode(body)?;
    let view = context.shard.view();
    let response = match Page::of(&request, &view, context.shard.options.described_partitions_max) {
        Some(page) => page.describe(&view),
        None => {
            context.count_error(ErrorCode::InvalidRequest);
            refused(&request)
        }
    };
    context.answer(&response)
}

/// What one answer tells of.
struct Page<'a> {
    /// By name, from the cursor on.
    names: BTreeSet<&'a str>,
    /// Whether all topics are asked for: one that went meanwhile is then none to tell of.
    is_all: bool,
    /// Topic and partition that the page begins with; the partition is 0 or more.
    cursor: Option<(&'a str, i32)>,
    /// The most partitions of it, 1 or more.
    partitions_max: usize,
}

impl<'a> Page<'a> {
    /// `None` for a cursor that no answer gave.
    fn of(
        request: &'a DescribeTopicPartitionsRequest,
        view: &'a ClusterView,
        partitions_max: usize,
    ) -> Option<Page<'a>> {
        let cursor = request.cursor.as_ref();
        let cursor = cursor.map(|cursor| (cursor.topic_name.as_str(), cursor.partition_index));
        let from = cursor.map_or("", |(name, _)| name);
        let is_all = request.topics.is_empty();
        let names: BTreeSet<&str> = if is_all {
            view.image.topics().map(|topic| &*topic.name).filter(|name| *name >= from).collect()
        } else {
            request.topics.iter().map(|topic| topic.name.as_str()).filter(|name| *name >= from).collect()
        };
        if let Some((name, partition)) = cursor
            && (partition < 0 || !(is_all || names.contains(name)))
        {
            return None;
        }
        let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
        Some(Page { names, is_all, cursor, partitions_max: asked.min(partitions_max).max(1) })
    }

    fn describe(&self, view: &ClusterView) -> DescribeTopicPartitionsResponse {
        let mut response = DescribeTopicPartitionsResponse::default().with_next_cursor(None);
        let mut room = self.partitions_max;
        for name in &self.names {
            if room == 0 {
                response.next_cursor = Some(next(name, 0));
                break;
            }
            let Ok(topic) = view.topic_by_name(name) else {
                response.topics.extend((!self.is_all).then(|| unknown(name)));
                continue;
            };
            let first = self.cursor.filter(|(of, _)| of == name).map_or(0, |(_, partition)| partition);
            let (described, end) = describe_topic(view, topic, first, room);
            room -= described.partitions.len();
            response.topics.push(described);
            if let Some(end) = end {
                response.next_cursor = Some(next(name, end));
                break;
            }
        }
        response
    }
}

fn next(name: &str, partition: i32) -> Cursor {
    Cursor::default().with_topic_name(topic_name(name)).with_partition_index(partition)
}

/// A topic from partition `first` on, `room` partitions of it at most, and the first one that is left.
fn describe_topic(
    view: &ClusterView,
    topic: &TopicImage,
    first: i32,
    room: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let mut left = topic.partitions.range(first..);
    let partitions = left.by_ref().take(room).map(|(index, image)| describe_partition(view, *index, image));
    let described = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_is_internal(INTERNAL_TOPICS.contains(&topic.name.as_ref()))
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(TOPIC_OPERATIONS);
    (described, left.next().map(|(index, _)| *index))
}

fn describe_partition(
    view: &ClusterView,
    index: i32,
    partition: &PartitionImage,
) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(partition.leader))
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(broker_ids(&partition.replicas))
        .with_isr_nodes(broker_ids(&partition.isr))
        .with_eligible_leader_replicas(Some(broker_ids(&partition.elr)))
        .with_last_known_elr(Some(broker_ids(&partition.last_known_elr)))
        .with_offline_replicas(offline_replicas(view, partition))
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let code = match validate_topic_name(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(topic_name(name)))
        .with_is_internal(INTERNAL_TOPICS.contains(&name))
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
}

/// As Kafka refuses the whole: through each topic that is named, once.
fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let names: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
    let refuse = |name: &&str| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(ErrorCode::InvalidRequest.code())
            .with_name(Some(topic_name(name)))
    };
    let topics = names.iter().map(refuse).collect();
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(None)
}
