//! How records make a consumer group, at a load and as they are written.
//!
//! After the `replay` methods of Apache Kafka 4.2's `GroupMetadataManager`. Compaction may leave records of what is long past: a partition
//! belongs to whom the later record gives it.

use super::member::partitions;
use super::{ConsumerGroup, Member, Resolved};
use crate::coordinator::assignor::Partitions;
use crate::coordinator::group::timers::Timers;
use crate::coordinator::records::GroupRecord;
use std::rc::Rc;

/// The consumer group that a record is of, and whether it makes the group if there is none; `None` for records of others.
pub(in crate::coordinator::group) fn id_of(record: &GroupRecord) -> Option<(&str, bool)> {
    match record {
        GroupRecord::ConsumerGroupMetadata(id, value) => Some((id, value.is_some())),
        GroupRecord::ConsumerGroupPartitionMetadata(id, value) => Some((id, value.is_some())),
        GroupRecord::ConsumerGroupTargetAssignmentMetadata(id, value) => Some((id, value.is_some())),
        GroupRecord::ConsumerGroupMemberMetadata(key, value) => Some((&key.group, value.is_some())),
        GroupRecord::ConsumerGroupTargetAssignmentMember(key, value) => Some((&key.group, value.is_some())),
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key, value) => Some((&key.group, value.is_some())),
        GroupRecord::ConsumerGroupRegularExpression(key, value) => Some((&key.group, value.is_some())),
        GroupRecord::OffsetCommit(..)
        | GroupRecord::GroupMetadata(..)
        | GroupRecord::ShareGroupMemberMetadata(..)
        | GroupRecord::ShareGroupMetadata(..)
        | GroupRecord::ShareGroupTargetAssignmentMetadata(..)
        | GroupRecord::ShareGroupTargetAssignmentMember(..)
        | GroupRecord::ShareGroupCurrentMemberAssignment(..)
        | GroupRecord::ShareGroupStatePartitionMetadata(..)
        | GroupRecord::Unknown(..) => None,
    }
}

impl ConsumerGroup {
    /// Takes in a record of the group. `false`: the group is gone.
    pub(in crate::coordinator::group) fn apply(&mut self, record: &GroupRecord, timers: &mut Timers) -> bool {
        match record {
            GroupRecord::ConsumerGroupMetadata(_, None) => return false,
            GroupRecord::ConsumerGroupMetadata(_, Some(value)) => {
                (self.epoch, self.metadata_hash) = (value.epoch, value.metadata_hash);
            }
            GroupRecord::ConsumerGroupPartitionMetadata(_, value) => self.has_old_metadata = value.is_some(),
            GroupRecord::ConsumerGroupTargetAssignmentMetadata(_, value) => {
                self.target_epoch = value.as_ref().map_or(-1, |value| value.assignment_epoch);
            }
            GroupRecord::ConsumerGroupMemberMetadata(key, Some(value)) => {
                self.update(&key.member_id, |member| member.follow(value));
            }
            GroupRecord::ConsumerGroupMemberMetadata(key, None) => self.remove(&key.member_id, timers),
            GroupRecord::ConsumerGroupTargetAssignmentMember(key, Some(value)) => {
                let target = Rc::new(partitions(&value.topic_partitions));
                self.targets.insert(key.member_id.as_str().into(), target);
            }
            GroupRecord::ConsumerGroupTargetAssignmentMember(key, None) => {
                self.targets.remove(key.member_id.as_str());
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment(key, value) => {
                if value.is_some() || self.members.contains_key(key.member_id.as_str()) {
                    self.update(&key.member_id, |member| member.come_to(value.as_ref()));
                }
            }
            GroupRecord::ConsumerGroupRegularExpression(key, Some(value)) => {
                self.resolved.insert(key.regular_expression.as_str().into(), Resolved::of_record(value));
            }
            GroupRecord::ConsumerGroupRegularExpression(key, None) => {
                self.resolved.remove(key.regular_expression.as_str());
            }
            GroupRecord::OffsetCommit(..)
            | GroupRecord::GroupMetadata(..)
            | GroupRecord::ShareGroupMemberMetadata(..)
            | GroupRecord::ShareGroupMetadata(..)
            | GroupRecord::ShareGroupTargetAssignmentMetadata(..)
            | GroupRecord::ShareGroupTargetAssignmentMember(..)
            | GroupRecord::ShareGroupCurrentMemberAssignment(..)
            | GroupRecord::ShareGroupStatePartitionMetadata(..)
            | GroupRecord::Unknown(..) => {}
        }
        true
    }

    /// Changes a member, a new one if there is none of that id, and what depends on it.
    fn update(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        let mut member = self.members.get(id).cloned().unwrap_or_else(|| Member::new(id));
        if self.members.contains_key(id) {
            self.release(&member);
        }
        change(&mut member);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        if !member.expression.is_empty() {
            *self.subscribed_by.entry(member.expression.clone()).or_default() += 1;
        }
        for partitions in [&member.assigned, &member.revoking] {
            self.own(&member.id, partitions);
        }
        self.members.insert(member.id.clone(), member);
    }

    fn remove(&mut self, id: &str, timers: &mut Timers) {
        let Some(member) = self.members.remove(id) else { return };
        self.release(&member);
        let instance = member.instance.as_deref();
        if let Some(instance) = instance.filter(|instance| self.instances.get(*instance) == Some(&member.id))
        {
            self.instances.remove(instance);
        }
        if let Some(mut alarms) = self.timers.remove(id) {
            alarms.cancel(timers);
        }
    }

    fn own(&mut self, id: &Rc<str>, partitions: &Partitions) {
        for (topic, numbers) in partitions {
            let owners = self.owners.entry(*topic).or_default();
            owners.extend(numbers.iter().map(|number| (*number, id.clone())));
        }
    }

    /// Takes back what depends on a member as it was.
    fn release(&mut self, member: &Member) {
        if let Some(count) = self.subscribed_by.get_mut(&member.expression) {
            *count -= 1;
            if *count == 0 {
                self.subscribed_by.remove(&member.expression);
            }
        }
        let held = member.assigned.iter().chain(member.revoking.iter());
        for (topic, numbers) in held {
            let Some(owners) = self.owners.get_mut(topic) else { continue };
            for number in numbers {
                if owners.get(number) == Some(&member.id) {
                    owners.remove(number);
                }
            }
            if owners.is_empty() {
                self.owners.remove(topic);
            }
        }
    }
}
