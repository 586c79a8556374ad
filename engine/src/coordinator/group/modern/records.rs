//! The records of a consumer group, as they are written.

use super::member::topic_partitions;
use super::{ConsumerGroup, Member};
use crate::coordinator::assignor::Partitions;
use crate::coordinator::records::{
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionKey, GroupRecord, MemberKey,
    TargetAssignmentMemberValue, TargetAssignmentMetadataValue,
};

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
