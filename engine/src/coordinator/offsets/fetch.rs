//! OffsetFetch: what was committed. Versions 1 to 7 ask for one group, later ones for many, each perhaps of another
//! coordinator: a group's request is the unit here, and the older shape is brought to it and back.
//!
//! Source: Kafka's schemas, `OffsetMetadataManager.fetchOffsets`, `fetchAllOffsets`, and `OffsetFetchResponse`.

use super::topics::get;
use super::{CommittedOffset, GroupOffsets, Offsets, Verdict};
use hayate_storage::batch::ProducerId;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeSet;
use uuid::Uuid;

/// From this version on a group's error is told once, beside no topics; before, beside each partition.
const GROUP_ERROR_VERSION_MIN: i16 = 2;
/// From this version on a request asks for many groups.
const GROUPS_VERSION_MIN: i16 = 8;

impl Offsets {
    /// Answers for a group. `verdict` is the group's: one that does not exist has no offsets, which is no error; any
    /// other refusal is told as the version tells it.
    ///
    /// An unknown offset is −1. If `require_stable`, partitions for which a transaction is open answer
    /// `UNSTABLE_OFFSET_COMMIT`. An offset of another topic of the same name is not shown to who tells the topic's id.
    pub fn fetch(
        &self,
        request: &OffsetFetchRequestGroup,
        require_stable: bool,
        verdict: Verdict,
        version: i16,
    ) -> OffsetFetchResponseGroup {
        let group = match verdict {
            Ok(()) => self.groups.get(&**request.group_id),
            Err(ResponseError::GroupIdNotFound) => None,
            Err(error) => return fetch_refused(request, error, version),
        };
        let topics = match &request.topics {
            Some(topics) => topics.iter().map(|topic| asked(group, topic, require_stable)).collect(),
            None => group.map_or(Vec::new(), |group| all(group, require_stable)),
        };
        OffsetFetchResponseGroup::default().with_group_id(request.group_id.clone()).with_topics(topics)
    }
}

/// The answer for a group that is refused whole.
pub fn fetch_refused(
    request: &OffsetFetchRequestGroup,
    error: ResponseError,
    version: i16,
) -> OffsetFetchResponseGroup {
    let answer = OffsetFetchResponseGroup::default().with_group_id(request.group_id.clone());
    if version >= GROUP_ERROR_VERSION_MIN {
        return answer.with_error_code(error.code());
    }
    let topics = request.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|&index| none(index, error.code()));
        topic_answer(topic.name.clone(), topic.topic_id, partitions.collect())
    });
    answer.with_topics(topics.collect())
}

/// What a request asks for, group by group.
pub fn fetch_requests(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= GROUPS_VERSION_MIN {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        topics.collect()
    });
    vec![OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_topics(topics)]
}

/// The answer to a request, from those for its groups; before version 8 there is one.
pub fn fetch_answer(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    let answer = OffsetFetchResponse::default();
    if version >= GROUPS_VERSION_MIN {
        return answer.with_groups(groups);
    }
    assert!(groups.len() == 1, "version {version} asks for one group, not {}", groups.len());
    let group = groups.remove(0);
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(partition.committed_leader_epoch)
                .with_metadata(partition.metadata)
                .with_error_code(partition.error_code)
        });
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    answer.with_topics(topics.collect()).with_error_code(group.error_code)
}

/// The partitions that were asked for.
fn asked(
    group: Option<&GroupOffsets>,
    topic: &OffsetFetchRequestTopics,
    require_stable: bool,
) -> OffsetFetchResponseTopics {
    let committed = group.map_or(&[][..], |group| group.committed.topic(&topic.name));
    let open = open(group, &topic.name, require_stable);
    let partitions = topic.partition_indexes.iter().map(|&index| {
        let offset = get(committed, index).filter(|offset| is_same(offset.topic_id, topic.topic_id));
        partition_answer(index, open, offset)
    });
    topic_answer(topic.name.clone(), topic.topic_id, partitions.collect())
}

/// All that a group has committed.
fn all(group: &GroupOffsets, require_stable: bool) -> Vec<OffsetFetchResponseTopics> {
    let topics = group.committed.topics().map(|(topic, committed)| {
        let open = open(Some(group), topic, require_stable);
        let partitions =
            committed.iter().map(|(index, offset)| partition_answer(*index, open, Some(offset))).collect();
        topic_answer(TopicName(StrBytes::from_string(topic.to_string())), Uuid::nil(), partitions)
    });
    topics.collect()
}

/// The partitions of a topic that are not stable, sorted, if the client wants to know.
fn open<'a>(
    group: Option<&'a GroupOffsets>,
    topic: &str,
    require_stable: bool,
) -> &'a [(i32, BTreeSet<ProducerId>)] {
    group.filter(|_| require_stable).map_or(&[], |group| group.open.topic(topic))
}

fn partition_answer<V>(
    index: i32,
    open: &[(i32, V)],
    offset: Option<&CommittedOffset>,
) -> OffsetFetchResponsePartitions {
    if get(open, index).is_some() {
        return none(index, ResponseError::UnstableOffsetCommit.code());
    }
    let Some(offset) = offset else { return none(index, 0) };
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(offset.offset)
        .with_committed_leader_epoch(offset.leader_epoch)
        .with_metadata(Some(StrBytes::from_string(offset.metadata().to_string())))
}

/// No offset.
fn none(index: i32, error_code: i16) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(-1)
        .with_committed_leader_epoch(-1)
        .with_metadata(Some(StrBytes::from_static_str("")))
        .with_error_code(error_code)
}

fn topic_answer(
    name: TopicName,
    topic_id: Uuid,
    partitions: Vec<OffsetFetchResponsePartitions>,
) -> OffsetFetchResponseTopics {
    OffsetFetchResponseTopics::default().with_name(name).with_topic_id(topic_id).with_partitions(partitions)
}

/// Whether two ids may be of one topic: one that is not known may be any.
fn is_same(one: Uuid, other: Uuid) -> bool {
    one.is_nil() || other.is_nil() || one == other
}
