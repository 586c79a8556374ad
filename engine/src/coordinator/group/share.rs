//! Share groups (KIP-932): their members, what these are assigned, and of which partitions the group has state.
//!
//! A member is given its assignment at once, for others may have the same partitions. Assigned is only what has state with the share
//! coordinator: whoever subscribes has the state set up first ([`states`]). After `ShareGroup` and the share part of
//! `GroupMetadataManager` of Apache Kafka 4.2.

mod admin;
mod assign;
mod heartbeat;
mod states;

pub(super) use states::Pending;
pub use states::{GroupOrder, StateOf};

use super::step::Step;
use super::timers::{Handle, Timers};
use super::{Group, Groups};
use crate::coordinator::records::{
    GroupRecord, NamedTopic, NamedTopicPartitions, ShareGroupCurrentMemberAssignmentValue,
    ShareGroupMemberMetadataValue, ShareGroupStatePartitionMetadataValue, TopicPartitions,
};
use hayate_rt::MonoTime;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use uuid::Uuid;

/// Partitions by topic.
pub(super) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// A member.
#[derive(Clone, Debug)]
pub(super) struct ShareMember {
    /// What it told of itself.
    pub(super) told: ShareGroupMemberMetadataValue,
    /// The epoch that its heartbeats must name, and the one before; 0 while it has none.
    pub(super) epoch: i32,
    previous_epoch: i32,
    /// What it has.
    pub(super) assigned: Partitions,
    session: Option<Handle>,
}

/// Of which partitions the group has state with the share coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct States {
    /// Being set up.
    initializing: BTreeMap<Uuid, (String, BTreeSet<i32>)>,
    /// Set up.
    initialized: BTreeMap<Uuid, (String, BTreeSet<i32>)>,
    /// Being deleted.
    deleting: BTreeMap<Uuid, String>,
}

/// A share group.
#[derive(Debug)]
pub(super) struct ShareGroup {
    pub(super) id: Rc<str>,
    /// Grows with each change of members and topics.
    pub(super) epoch: i32,
    metadata_hash: i64,
    /// The epoch that the target assignment is of.
    assignment_epoch: i32,
    pub(super) members: BTreeMap<Rc<str>, ShareMember>,
    target: BTreeMap<String, Partitions>,
    states: States,
    /// When a setup was ordered last; one that takes too long is ordered again.
    setup_since: Option<MonoTime>,
}

fn named(topics: &[NamedTopicPartitions]) -> BTreeMap<Uuid, (String, BTreeSet<i32>)> {
    let topics = topics.iter();
    let named = topics.map(|topic| {
        (topic.topic_id, (topic.topic_name.clone(), topic.partitions.iter().copied().collect()))
    });
    named.collect()
}

fn to_named(topics: &BTreeMap<Uuid, (String, BTreeSet<i32>)>) -> Vec<NamedTopicPartitions> {
    let topics = topics.iter().filter(|(_, (_, partitions))| !partitions.is_empty());
    let named = topics.map(|(topic_id, (topic_name, partitions))| NamedTopicPartitions {
        topic_id: *topic_id,
        topic_name: topic_name.clone(),
        partitions: partitions.iter().copied().collect(),
    });
    named.collect()
}

fn partitions(topics: &[TopicPartitions]) -> Partitions {
    topics.iter().map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect())).collect()
}

fn to_topics(partitions: &Partitions) -> Vec<TopicPartitions> {
    let topics = partitions.iter().filter(|(_, numbers)| !numbers.is_empty());
    let topics = topics.map(|(topic_id, numbers)| TopicPartitions {
        topic_id: *topic_id,
        partitions: numbers.iter().copied().collect(),
    });
    topics.collect()
}

impl States {
    fn of(value: &ShareGroupStatePartitionMetadataValue) -> States {
        let deleting = value.deleting_topics.iter();
        States {
            initializing: named(&value.initializing_topics),
            initialized: named(&value.initialized_topics),
            deleting: deleting.map(|topic| (topic.topic_id, topic.topic_name.clone())).collect(),
        }
    }

    fn to_value(&self) -> ShareGroupStatePartitionMetadataValue {
        let deleting = self.deleting.iter();
        let deleting = deleting
            .map(|(topic_id, topic_name)| NamedTopic { topic_id: *topic_id, topic_name: topic_name.clone() });
        ShareGroupStatePartitionMetadataValue {
            initializing_topics: to_named(&self.initializing),
            initialized_topics: to_named(&self.initialized),
            deleting_topics: deleting.collect(),
        }
    }

    fn has_initialized(&self, topic: &Uuid, partition: i32) -> bool {
        self.initialized.get(topic).is_some_and(|(_, partitions)| partitions.contains(&partition))
    }
}

impl ShareMember {
    fn new(told: ShareGroupMemberMetadataValue) -> ShareMember {
        ShareMember { told, epoch: 0, previous_epoch: 0, assigned: Partitions::new(), session: None }
    }
}

impl ShareGroup {
    /// Without members.
    pub(super) fn new(id: &str) -> ShareGroup {
        ShareGroup {
            id: id.into(),
            epoch: 0,
            metadata_hash: 0,
            assignment_epoch: 0,
            members: BTreeMap::new(),
            target: BTreeMap::new(),
            states: States::default(),
            setup_since: None,
        }
    }

    /// As Kafka names it.
    pub(super) fn state(&self) -> &'static str {
        if self.members.is_empty() { "Empty" } else { "Stable" }
    }

    /// Takes in a record of the group: at a load, or as it is written.
    pub(super) fn apply(&mut self, record: &GroupRecord, timers: &mut Timers) {
        match record {
            GroupRecord::ShareGroupMemberMetadata(key, value) => {
                self.apply_member(&key.member_id, value.as_ref(), timers);
            }
            GroupRecord::ShareGroupMetadata(_, Some(value)) => {
                (self.epoch, self.metadata_hash) = (value.epoch, value.metadata_hash);
            }
            GroupRecord::ShareGroupTargetAssignmentMetadata(_, value) => {
                self.assignment_epoch = value.as_ref().map_or(0, |value| value.assignment_epoch);
            }
            GroupRecord::ShareGroupTargetAssignmentMember(key, Some(value)) => {
                self.target.insert(key.member_id.clone(), partitions(&value.topic_partitions));
            }
            GroupRecord::ShareGroupTargetAssignmentMember(key, None) => {
                self.target.remove(&key.member_id);
            }
            GroupRecord::ShareGroupCurrentMemberAssignment(key, value) => {
                self.apply_assignment(&key.member_id, value.as_ref());
            }
            GroupRecord::ShareGroupStatePartitionMetadata(_, value) => {
                self.states = value.as_ref().map(States::of).unwrap_or_default();
            }
            // The group's own tombstone takes all of it; the others are no share group's.
            _ => {}
        }
    }

    fn apply_member(&mut self, id: &str, value: Option<&ShareGroupMemberMetadataValue>, timers: &mut Timers) {
        match (value, self.members.get_mut(id)) {
            (Some(told), Some(member)) => member.told = told.clone(),
            (Some(told), None) => {
                self.members.insert(id.into(), ShareMember::new(told.clone()));
            }
            (None, _) => {
                if let Some(mut member) = self.members.remove(id) {
                    timers.cancel(&mut member.session);
                }
            }
        }
    }

    fn apply_assignment(&mut self, id: &str, value: Option<&ShareGroupCurrentMemberAssignmentValue>) {
        let Some(member) = self.members.get_mut(id) else { return };
        match value {
            Some(value) => {
                member.epoch = value.member_epoch;
                member.previous_epoch = value.previous_member_epoch;
                member.assigned = partitions(&value.assigned_partitions);
            }
            None => {
                (member.epoch, member.previous_epoch) = (0, 0);
                member.assigned.clear();
            }
        }
    }

    /// Writes a record of the group.
    fn write(&mut self, record: GroupRecord, step: &mut Step<'_>) {
        self.apply(&record, step.timers);
        step.effects.write(record);
    }

    fn write_states(&mut self, states: &States, step: &mut Step<'_>) {
        let record =
            GroupRecord::ShareGroupStatePartitionMetadata(self.id.to_string(), Some(states.to_value()));
        self.write(record, step);
    }

    /// Forgets all alarms: the group is gone.
    pub(super) fn cancel_timers(&mut self, timers: &mut Timers) {
        self.members.values_mut().for_each(|member| timers.cancel(&mut member.session));
    }

    /// The coordinator has been loaded: members have their time to tell of themselves.
    pub(super) fn loaded(&mut self, step: &mut Step<'_>) {
        let ids: Vec<Rc<str>> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.keep_alive(id, step));
    }

    fn keep_alive(&mut self, id: &Rc<str>, step: &mut Step<'_>) {
        let settings = step.config.shares.of_group(&step.moment.image, &self.id);
        if let Some(member) = self.members.get_mut(id) {
            step.set_session(&mut member.session, &self.id, id, settings.session_ms);
        }
    }
}

impl Groups {
    /// Takes in a record of a share group.
    pub(super) fn apply_share(&mut self, id: &str, record: &GroupRecord) {
        if let GroupRecord::ShareGroupMetadata(_, None) = record {
            if let Some(Group::Share(mut group)) = self.groups.remove(id) {
                group.cancel_timers(&mut self.timers);
            }
            return;
        }
        if is_tombstone(record) && !self.groups.contains_key(id) {
            return;
        }
        let group = self.groups.entry(id.into()).or_insert_with(|| Group::Share(ShareGroup::new(id)));
        if let Group::Share(group) = group {
            group.apply(record, &mut self.timers);
        }
    }
}

/// Whether a record of a share group only removes something.
fn is_tombstone(record: &GroupRecord) -> bool {
    matches!(
        record,
        GroupRecord::ShareGroupMemberMetadata(_, None)
            | GroupRecord::ShareGroupMetadata(_, None)
            | GroupRecord::ShareGroupTargetAssignmentMetadata(_, None)
            | GroupRecord::ShareGroupTargetAssignmentMember(_, None)
            | GroupRecord::ShareGroupCurrentMemberAssignment(_, None)
            | GroupRecord::ShareGroupStatePartitionMetadata(_, None)
    )
}

/// The share group that a record is of, if it is one's.
pub(super) fn group_of(record: &GroupRecord) -> Option<&str> {
    match record {
        GroupRecord::ShareGroupMemberMetadata(key, _)
        | GroupRecord::ShareGroupTargetAssignmentMember(key, _)
        | GroupRecord::ShareGroupCurrentMemberAssignment(key, _) => Some(&key.group),
        GroupRecord::ShareGroupMetadata(id, _)
        | GroupRecord::ShareGroupTargetAssignmentMetadata(id, _)
        | GroupRecord::ShareGroupStatePartitionMetadata(id, _) => Some(id),
        _ => None,
    }
}
