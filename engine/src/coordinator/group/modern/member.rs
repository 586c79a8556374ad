//! A member of a consumer group: what it told, how far it has come, and what it has.
//!
//! It knows nothing of its group. After `ConsumerGroupMember` of Apache Kafka 4.2.

use crate::coordinator::assignor::Partitions;
use crate::coordinator::records::{
    ClassicMemberMetadata, ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue,
    TopicPartitions,
};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The epoch of a static member that has left and may come back.
pub(in crate::coordinator::group) const LEFT_EPOCH: i32 = -2;
/// The epoch of a member whose record of what it has was deleted: it is about to go.
pub(super) const GONE_EPOCH: i32 = -1;

/// How far a member is on its way to what it is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::coordinator::group) enum MemberState {
    /// It has all that it can have at its epoch.
    Stable,
    /// It has been asked to give partitions back, and stays at its epoch until it has.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given back.
    UnreleasedPartitions,
    /// A later version wrote something else: the member must begin anew.
    Unknown(i8),
}

impl MemberState {
    fn of_number(number: i8) -> MemberState {
        match number {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            other => MemberState::Unknown(other),
        }
    }

    fn number(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown(number) => number,
        }
    }
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::coordinator::group) struct Member {
    pub(in crate::coordinator::group) id: Rc<str>,
    pub(in crate::coordinator::group) epoch: i32,
    /// The one before: the member may not have heard of the step.
    pub(in crate::coordinator::group) previous_epoch: i32,
    pub(in crate::coordinator::group) state: MemberState,
    /// Its name over restarts, of a static member.
    pub(in crate::coordinator::group) instance: Option<Box<str>>,
    pub(in crate::coordinator::group) rack: Option<Box<str>>,
    pub(in crate::coordinator::group) client_id: Box<str>,
    pub(in crate::coordinator::group) client_host: Box<str>,
    /// How long it may take to give partitions back; −1 if not told.
    pub(in crate::coordinator::group) rebalance_timeout_ms: i32,
    /// The topics that it is subscribed to by name.
    pub(in crate::coordinator::group) topics: Rc<BTreeSet<Box<str>>>,
    /// The expression by which it is subscribed to others; empty for none.
    pub(in crate::coordinator::group) expression: Box<str>,
    /// The assignor that it prefers.
    pub(in crate::coordinator::group) assignor: Option<Box<str>>,
    /// What else it told, if it speaks the classic protocol.
    pub(in crate::coordinator::group) classic: Option<Rc<ClassicMemberMetadata>>,
    /// What it has.
    pub(in crate::coordinator::group) assigned: Rc<Partitions>,
    /// What it has been asked to give back.
    pub(in crate::coordinator::group) revoking: Rc<Partitions>,
}

impl Member {
    /// One that is new, and has told nothing.
    pub(in crate::coordinator::group) fn new(id: &str) -> Member {
        Member {
            id: id.into(),
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            instance: None,
            rack: None,
            client_id: Box::default(),
            client_host: Box::default(),
            rebalance_timeout_ms: -1,
            topics: Rc::default(),
            expression: Box::default(),
            assignor: None,
            classic: None,
            assigned: Rc::default(),
            revoking: Rc::default(),
        }
    }

    /// The same static member under another id; it joins.
    pub(super) fn successor(&self, id: &str) -> Member {
        Member { id: id.into(), epoch: 0, previous_epoch: 0, ..self.clone() }
    }

    /// Does it speak the classic protocol?
    pub(in crate::coordinator::group) fn is_classic(&self) -> bool {
        self.classic.is_some()
    }

    /// Does it support a protocol of the classic protocol?
    pub(super) fn supports(&self, name: &str) -> bool {
        let protocols = self.classic.iter().flat_map(|classic| &classic.supported_protocols);
        protocols.into_iter().any(|protocol| protocol.name == name)
    }

    /// Is there nothing to do for it at this epoch of the target?
    pub(super) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// Comes to an epoch, and remembers the one before.
    pub(super) fn enter(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// Takes over what a record says that the member told.
    pub(super) fn follow(&mut self, told: &ConsumerGroupMemberMetadataValue) {
        self.instance = told.instance_id.as_deref().map(Into::into);
        self.rack = told.rack_id.as_deref().map(Into::into);
        self.client_id = told.client_id.as_str().into();
        self.client_host = told.client_host.as_str().into();
        self.topics = Rc::new(told.subscribed_topic_names.iter().map(|name| name.as_str().into()).collect());
        self.expression = told.subscribed_topic_regex.as_deref().unwrap_or_default().into();
        self.rebalance_timeout_ms = told.rebalance_timeout_ms;
        self.assignor = told.server_assignor.as_deref().map(Into::into);
        self.classic = told.classic_member_metadata.clone().map(Rc::new);
    }

    /// What is recorded of what the member told.
    pub(super) fn told(&self) -> ConsumerGroupMemberMetadataValue {
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance.as_deref().map(Into::into),
            rack_id: self.rack.as_deref().map(Into::into),
            client_id: self.client_id.as_ref().into(),
            client_host: self.client_host.as_ref().into(),
            subscribed_topic_names: self.topics.iter().map(|name| name.as_ref().into()).collect(),
            subscribed_topic_regex: Some(self.expression.as_ref().into()),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.as_deref().map(Into::into),
            classic_member_metadata: self.classic.as_deref().cloned(),
        }
    }

    /// Takes over what a record says that the member has; without one it has nothing, and is about to go.
    pub(super) fn come_to(&mut self, value: Option<&ConsumerGroupCurrentMemberAssignmentValue>) {
        let Some(value) = value else {
            (self.epoch, self.previous_epoch) = (GONE_EPOCH, GONE_EPOCH);
            (self.assigned, self.revoking) = (Rc::default(), Rc::default());
            return;
        };
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::of_number(value.state);
        self.assigned = Rc::new(partitions(&value.assigned_partitions));
        self.revoking = Rc::new(partitions(&value.partitions_pending_revocation));
    }

    /// What is recorded of what the member has.
    pub(in crate::coordinator::group) fn progress(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.number(),
            assigned_partitions: topic_partitions(&self.assigned),
            partitions_pending_revocation: topic_partitions(&self.revoking),
        }
    }
}

/// Partitions as records have them; none of a topic is nothing.
pub(super) fn partitions(recorded: &[TopicPartitions]) -> Partitions {
    let each = recorded.iter().filter(|topic| !topic.partitions.is_empty());
    each.map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect())).collect()
}

/// The reverse.
pub(super) fn topic_partitions(partitions: &Partitions) -> Vec<TopicPartitions> {
    let each = partitions.iter();
    each.map(|(topic, numbers)| TopicPartitions {
        topic_id: *topic,
        partitions: numbers.iter().copied().collect(),
    })
    .collect()
}
