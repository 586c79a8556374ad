//! A consumer group of KIP-848: the coordinator assigns, and members come to their assignments one by one.
//!
//! Three epochs follow each other. The *group epoch* grows with each change of the members, of what they subscribe to, and of those topics;
//! the *target assignment* is computed for a group epoch and says what everybody is to have in the end; a *member epoch* is the target's
//! epoch that the member has come to. A partition has one owner: who is to give it back keeps it until it says so, and who is to get it
//! waits (`reconcile`). Here is what can be asked of a group; records make it (`apply`). After `ConsumerGroup` and `ModernGroup` of Apache
//! Kafka 4.2.

mod apply;
mod describe;
mod embedded;
mod expressions;
mod fence;
mod heartbeat;
mod join;
mod member;
mod metadata;
mod migrate;
mod policy;
mod reconcile;
mod records;
mod refusal;
mod serve;
mod target;

pub(super) use apply::id_of;
pub(super) use expressions::Resolved;
pub(super) use heartbeat::Beat;
pub(super) use member::{Member, MemberState};
pub(super) use metadata::TopicWatch;
pub use policy::{Assignors, ConsumerGroupConfig, MigrationPolicy};
pub(super) use refusal::Refusal;

use super::timers::{Handle, Timers};
use crate::coordinator::assignor::{Assignor, Partitions};
use crate::coordinator::records::GroupRecord;
use hayate_rt::MonoTime;
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use uuid::Uuid;

/// The protocol type of consumers.
pub(super) const CONSUMER: &str = "consumer";
/// First version of OffsetCommit that members of consumer groups may use.
const COMMITS_SINCE: i16 = 9;

/// What a consumer group waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConsumerState {
    /// For a member.
    Empty,
    /// For a target assignment of its epoch: the next heartbeat computes it.
    Assigning,
    /// For members to come to the target assignment.
    Reconciling,
    /// For nothing.
    Stable,
}

impl ConsumerState {
    /// Its name in `ListGroups` and `ConsumerGroupDescribe`.
    pub(super) fn name(self) -> &'static str {
        match self {
            ConsumerState::Empty => "Empty",
            ConsumerState::Assigning => "Assigning",
            ConsumerState::Reconciling => "Reconciling",
            ConsumerState::Stable => "Stable",
        }
    }
}

/// The alarms that are set for a member.
#[derive(Debug, Default)]
pub(super) struct MemberTimers {
    /// It is taken for lost.
    pub(super) session: Option<Handle>,
    /// It had its time to give partitions back.
    pub(super) rebalance: Option<Handle>,
    /// It had its time to join again (classic protocol).
    pub(super) join: Option<Handle>,
    /// It had its time to ask for its assignment (classic protocol).
    pub(super) sync: Option<Handle>,
}

/// A consumer group.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    pub(super) id: Rc<str>,
    pub(super) epoch: i32,
    /// Of the topics that it was subscribed to when the epoch was last written.
    pub(super) metadata_hash: i64,
    /// The epoch that the targets are of; −1 if there is none.
    pub(super) target_epoch: i32,
    pub(super) members: BTreeMap<Rc<str>, Member>,
    pub(super) targets: BTreeMap<Rc<str>, Rc<Partitions>>,
    /// Who has each partition, or has not given it back yet.
    owners: BTreeMap<Uuid, BTreeMap<i32, Rc<str>>>,
    /// Members by their instance ids.
    instances: BTreeMap<Box<str>, Rc<str>>,
    /// What expressions matched.
    pub(super) resolved: BTreeMap<Box<str>, Resolved>,
    /// How many members are subscribed by each expression.
    subscribed_by: BTreeMap<Box<str>, usize>,
    /// A record of Kafka before 4.1 is in the log that is to be deleted.
    pub(super) has_old_metadata: bool,
    /// The version of the topics that the metadata hash was last compared with.
    pub(super) checked: Option<i64>,
    /// Expressions are about to be resolved.
    pub(super) resolving: Option<Handle>,
    pub(super) timers: BTreeMap<Rc<str>, MemberTimers>,
    /// When the rebalance under way began.
    pub(super) rebalancing_since: Option<MonoTime>,
}

impl ConsumerGroup {
    /// A group without members.
    pub(super) fn empty(id: &str) -> ConsumerGroup {
        ConsumerGroup {
            id: id.into(),
            epoch: 0,
            metadata_hash: 0,
            target_epoch: 0,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            owners: BTreeMap::new(),
            instances: BTreeMap::new(),
            resolved: BTreeMap::new(),
            subscribed_by: BTreeMap::new(),
            has_old_metadata: false,
            checked: None,
            resolving: None,
            timers: BTreeMap::new(),
            rebalancing_since: None,
        }
    }

    /// What it waits for.
    pub(super) fn state(&self) -> ConsumerState {
        if self.members.is_empty() {
            ConsumerState::Empty
        } else if self.epoch > self.target_epoch {
            ConsumerState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target_epoch)) {
            ConsumerState::Stable
        } else {
            ConsumerState::Reconciling
        }
    }

    /// The member of that id.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`.
    pub(super) fn member(&self, id: &str) -> Result<&Member, Refusal> {
        self.members.get(id).ok_or_else(|| {
            let message = format!("Member {id} is not a member of group {}.", self.id);
            Refusal::new(ResponseError::UnknownMemberId, message)
        })
    }

    /// The member that has an instance id.
    pub(super) fn of_instance(&self, instance: &str) -> Option<&Member> {
        self.members.get(self.instances.get(instance)?)
    }

    /// Whose place a member takes that has its instance id under another member id.
    pub(super) fn predecessor(&self, member: &Member) -> Option<&Member> {
        let before = self.of_instance(member.instance.as_deref()?)?;
        (before.id != member.id).then_some(before)
    }

    /// What a member is to have; of one that takes another's place, what that one was to have.
    pub(super) fn target(&self, member: &Member) -> Rc<Partitions> {
        let of = match &member.instance {
            Some(instance) => self.instances.get(instance),
            None => Some(&member.id),
        };
        of.and_then(|id| self.targets.get(id)).cloned().unwrap_or_default()
    }

    /// Has somebody a partition, or not given it back yet?
    pub(super) fn is_owned(&self, topic: &Uuid, partition: i32) -> bool {
        self.owners.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// Is a member subscribed to a topic?
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        self.members.values().any(|member| self.subscribes(member, topic))
    }

    fn subscribes(&self, member: &Member, topic: &str) -> bool {
        member.topics.contains(topic) || self.matched(member).is_some_and(|topics| topics.contains(topic))
    }

    /// The topics that a member is subscribed to by an expression; `None` if it has none, or it is not resolved yet.
    pub(super) fn matched(&self, member: &Member) -> Option<&Rc<BTreeSet<Box<str>>>> {
        self.resolved.get(&member.expression).map(|resolved| &resolved.topics)
    }

    /// How many members are subscribed by an expression.
    pub(super) fn subscribed_by(&self, expression: &str) -> usize {
        self.subscribed_by.get(expression).copied().unwrap_or(0)
    }

    /// The expressions that members are subscribed by.
    pub(super) fn expressions(&self) -> impl Iterator<Item = &str> {
        self.subscribed_by.keys().map(|expression| &**expression)
    }

    /// The assignor that most members prefer, of equals the first by name, if one member comes to be another. A member without a wish
    /// has no vote, and a group without votes the broker's default.
    pub(super) fn preferred_assignor(&self, updated: Option<&Member>, default: Assignor) -> Assignor {
        let gone = updated.and_then(|updated| self.predecessor(updated));
        let is_out = |member: &&Member| {
            updated.is_none_or(|updated| updated.id != member.id)
                && gone.is_none_or(|gone| gone.id != member.id)
        };
        let voters = self.members.values().filter(is_out).chain(updated);
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        voters
            .filter_map(|member| member.assignor.as_deref())
            .for_each(|name| *votes.entry(name).or_default() += 1);
        let best = votes.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.and_then(|(name, _)| Assignor::of_name(name)).unwrap_or(default)
    }

    /// Does every member that is not among these speak the classic protocol, and one of these not?
    pub(super) fn all_classic_but(&self, others: &BTreeSet<Rc<str>>) -> bool {
        let (others, rest): (Vec<_>, Vec<_>) =
            self.members.values().partition(|member| others.contains(&member.id));
        rest.iter().all(|member| member.is_classic()) && others.iter().any(|member| !member.is_classic())
    }

    /// May one join that supports these protocols? All who speak the classic protocol must support one in common.
    pub(super) fn supports_classic<'a>(
        &self,
        protocol_type: &str,
        mut names: impl Iterator<Item = &'a str>,
    ) -> bool {
        let classic: Vec<&Member> = self.members.values().filter(|member| member.is_classic()).collect();
        protocol_type == CONSUMER && names.any(|name| classic.iter().all(|member| member.supports(name)))
    }

    /// Waits a member for a partition that another has not given back?
    pub(super) fn waits_for_others(&self, member: &Member) -> bool {
        if member.state != MemberState::UnreleasedPartitions {
            return false;
        }
        let target = self.targets.get(&member.id);
        let places = target.iter().flat_map(|target| target.iter());
        let mut missing = places.flat_map(|(topic, partitions)| {
            let has = member.assigned.get(topic);
            let missing =
                partitions.iter().filter(move |number| !has.is_some_and(|has| has.contains(number)));
            missing.map(move |number| (topic, *number))
        });
        missing.any(|(topic, number)| self.is_owned(topic, number))
    }

    /// May these offsets be committed? An epoch below zero is that of one who is no member.
    pub(super) fn validate_offset_commit(
        &self,
        id: &str,
        instance: Option<&str>,
        epoch: i32,
        transactional: bool,
        version: i16,
    ) -> Result<(), ResponseError> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        if transactional && epoch == -1 && id.is_empty() && instance.is_none() {
            return Ok(());
        }
        let member = self.members.get(id).ok_or(ResponseError::UnknownMemberId)?;
        if !transactional && !member.is_classic() && version < COMMITS_SINCE {
            return Err(ResponseError::UnsupportedVersion);
        }
        validate_epoch(member, epoch)
    }

    /// May one read these offsets? Who tells nothing of itself may.
    pub(super) fn validate_offset_fetch(&self, id: Option<&str>, epoch: i32) -> Result<(), ResponseError> {
        let Some(id) = id else {
            return if epoch < 0 { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        };
        validate_epoch(self.members.get(id).ok_or(ResponseError::UnknownMemberId)?, epoch)
    }

    /// What records make of the group, to be compared.
    #[cfg(test)]
    pub(super) fn hard_state(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        (
            (self.epoch, self.metadata_hash, self.target_epoch, self.has_old_metadata),
            (self.members.clone(), self.targets.clone(), self.owners.clone()),
            (self.instances.clone(), self.resolved.clone(), self.subscribed_by.clone()),
        )
    }

    /// The records by which the group goes.
    pub(super) fn tombstones(&self) -> Vec<GroupRecord> {
        records::group_gone(self, self.members.keys().map(|member| &**member))
    }

    /// Forgets all alarms: the group is gone.
    pub(super) fn cancel_timers(&mut self, timers: &mut Timers) {
        timers.cancel(&mut self.resolving);
        self.timers.values_mut().for_each(|member| member.cancel(timers));
    }
}

impl MemberTimers {
    pub(super) fn cancel(&mut self, timers: &mut Timers) {
        let MemberTimers { session, rebalance, join, sync } = self;
        [session, rebalance, join, sync].into_iter().for_each(|slot| timers.cancel(slot));
    }
}

fn validate_epoch(member: &Member, epoch: i32) -> Result<(), ResponseError> {
    match (epoch == member.epoch, member.is_classic()) {
        (true, _) => Ok(()),
        (false, true) => Err(ResponseError::IllegalGeneration),
        (false, false) => Err(ResponseError::StaleMemberEpoch),
    }
}
