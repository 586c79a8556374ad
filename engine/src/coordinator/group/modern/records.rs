//! The records of a consumer group, as they are written.

use super::member::topic_partitions;
use super::{ConsumerGroup, Member, Refusal};
use crate::coordinator::assignor::Partitions;
use crate::coordinator::records::{
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionKey, GroupRecord, MemberKey,
    TargetAssignmentMemberValue, TargetAssignmentMetadataValue, TopicPartitions,
};
use kafka_protocol::ResponseError;

/// What a record takes beside its names and lists, at most.
const FIXED_BYTES: usize = 256;
/// What each text or list of a record takes beside what is in it, at most.
const LENGTH_BYTES: usize = 8;

/// The most bytes that a record of these may take. Kinds that are always small count as nothing.
pub(super) fn bytes_max(record: &GroupRecord) -> usize {
    let places = |topics: &[TopicPartitions]| {
        topics.iter().map(|topic| 16 + LENGTH_BYTES + 4 * topic.partitions.len()).sum::<usize>()
    };
    let texts = |names: &[String]| names.iter().map(|name| name.len() + LENGTH_BYTES).sum::<usize>();
    let listed = match record {
        GroupRecord::ConsumerGroupMemberMetadata(key, Some(told)) => {
            let classic = told.classic_member_metadata.iter().flat_map(|told| &told.supported_protocols);
            let protocols = classic.map(|told| told.name.len() + told.metadata.len() + 2 * LENGTH_BYTES);
            let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            key.member_id.len()
                + text(&told.instance_id)
                + text(&told.rack_id)
                + text(&told.subscribed_topic_regex)
                + texts(&told.subscribed_topic_names)
                + protocols.sum::<usize>()
        }
        GroupRecord::ConsumerGroupTargetAssignmentMember(_, Some(value)) => places(&value.topic_partitions),
        GroupRecord::ConsumerGroupCurrentMemberAssignment(_, Some(value)) => {
            places(&value.assigned_partitions) + places(&value.partitions_pending_revocation)
        }
        GroupRecord::ConsumerGroupRegularExpression(key, Some(value)) => {
            key.regular_expression.len() + texts(&value.topics)
        }
        GroupRecord::ConsumerGroupMemberMetadata(_, None)
        | GroupRecord::ConsumerGroupTargetAssignmentMember(_, None)
        | GroupRecord::ConsumerGroupCurrentMemberAssignment(_, None)
        | GroupRecord::ConsumerGroupRegularExpression(_, None)
        | GroupRecord::ConsumerGroupMetadata(..)
        | GroupRecord::ConsumerGroupPartitionMetadata(..)
        | GroupRecord::ConsumerGroupTargetAssignmentMetadata(..)
        | GroupRecord::OffsetCommit(..)
        | GroupRecord::GroupMetadata(..)
        | GroupRecord::ShareGroupMemberMetadata(..)
        | GroupRecord::ShareGroupMetadata(..)
        | GroupRecord::ShareGroupTargetAssignmentMetadata(..)
        | GroupRecord::ShareGroupTargetAssignmentMember(..)
        | GroupRecord::ShareGroupCurrentMemberAssignment(..)
        | GroupRecord::ShareGroupStatePartitionMetadata(..)
        | GroupRecord::Unknown(..) => return 0,
    };
    // Ids and names of clients are strings of the wire: at most 32,767 bytes each.
    listed + FIXED_BYTES + 3 * i16::MAX as usize
}

/// Would a partition take all of these? Each is a record of its own, which a batch must have room for.
///
/// # Errors
/// `UNKNOWN_SERVER_ERROR`, as Kafka's clients hear of records that are too large.
pub(super) fn check_sizes(written: &[GroupRecord], bytes: usize) -> Result<(), Refusal> {
    if written.iter().all(|record| bytes_max(record) <= bytes) {
        return Ok(());
    }
    let message = "The group's metadata do not fit into a record.";
    Err(Refusal::new(ResponseError::UnknownServerError, message))
}

fn key(group: &str, member: &str) -> MemberKey {
    MemberKey { group: group.into(), member_id: member.into() }
}

/// The epoch of a group, and the hash of its topics.
pub(super) fn epoch(group: &str, epoch: i32, metadata_hash: i64) -> GroupRecord {
    let value = ConsumerGroupMetadataValue { epoch, metadata_hash };
    GroupRecord::ConsumerGroupMetadata(group.into(), Some(value))
}

/// What a member told.
pub(super) fn told(group: &str, member: &Member) -> GroupRecord {
    GroupRecord::ConsumerGroupMemberMetadata(key(group, &member.id), Some(member.told()))
}

/// What a member has.
pub(super) fn progress(group: &str, member: &Member) -> GroupRecord {
    GroupRecord::ConsumerGroupCurrentMemberAssignment(key(group, &member.id), Some(member.progress()))
}

/// What a member is to have.
pub(super) fn target(group: &str, member: &str, target: &Partitions) -> GroupRecord {
    let value = TargetAssignmentMemberValue { topic_partitions: topic_partitions(target) };
    GroupRecord::ConsumerGroupTargetAssignmentMember(key(group, member), Some(value))
}

/// The epoch of the targets.
pub(super) fn target_epoch(group: &str, assignment_epoch: i32) -> GroupRecord {
    let value = TargetAssignmentMetadataValue { assignment_epoch };
    GroupRecord::ConsumerGroupTargetAssignmentMetadata(group.into(), Some(value))
}

/// An expression is no member's any more.
pub(super) fn no_expression(group: &str, expression: &str) -> GroupRecord {
    let key =
        ConsumerGroupRegularExpressionKey { group: group.into(), regular_expression: expression.into() };
    GroupRecord::ConsumerGroupRegularExpression(key, None)
}

/// A member goes. The order matters: what it has goes first.
pub(super) fn member_gone(group: &str, member: &str) -> [GroupRecord; 3] {
    [
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key(group, member), None),
        GroupRecord::ConsumerGroupTargetAssignmentMember(key(group, member), None),
        GroupRecord::ConsumerGroupMemberMetadata(key(group, member), None),
    ]
}

/// A group goes, with members of these ids.
pub(super) fn group_gone<'a>(
    group: &ConsumerGroup,
    members: impl Iterator<Item = &'a str> + Clone,
) -> Vec<GroupRecord> {
    let id = || String::from(&*group.id);
    let mut records = Vec::new();
    records.extend(
        members
            .clone()
            .map(|member| GroupRecord::ConsumerGroupCurrentMemberAssignment(key(&group.id, member), None)),
    );
    records.extend(
        members
            .clone()
            .map(|member| GroupRecord::ConsumerGroupTargetAssignmentMember(key(&group.id, member), None)),
    );
    records.push(GroupRecord::ConsumerGroupTargetAssignmentMetadata(id(), None));
    records
        .extend(members.map(|member| GroupRecord::ConsumerGroupMemberMetadata(key(&group.id, member), None)));
    records.extend(group.resolved.keys().map(|expression| no_expression(&group.id, expression)));
    if group.has_old_metadata {
        records.push(GroupRecord::ConsumerGroupPartitionMetadata(id(), None));
    }
    records.push(GroupRecord::ConsumerGroupMetadata(id(), None));
    records
}
