//! A classic group: its members, what they agreed on, and how its record makes it.
//!
//! Here is what can be asked of a group and the small changes that keep its parts in step with each other; the protocol
//! that uses them stands in `join`, `rebalance`, `sync` and `leave`. After `ClassicGroup` of Apache Kafka 4.2, with its
//! `Dead` left out: a group that is gone is not in the map.

use super::member::{Member, Protocol};
use super::timers::{Handle, Timers};
use super::{Step, Waiting, subscription};
use crate::coordinator::records::{GroupMetadataValue, GroupRecord, MemberMetadata};
use bytes::Bytes;
use hayate_rt::MonoTime;
use hayate_storage::mutants::{Mutant, is_active};
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

/// What a classic group waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicState {
    /// For a member: it has none. Its offsets are kept.
    Empty,
    /// For all members to join: those it had, and, if it was empty (`initial`), whoever comes within a delay.
    Preparing {
        /// It was empty before.
        initial: bool,
    },
    /// For the leader's assignments.
    Completing,
    /// For nothing: every member may have its assignment.
    Stable,
}

impl ClassicState {
    /// Its name in `ListGroups` and `DescribeGroups`.
    pub fn name(self) -> &'static str {
        match self {
            ClassicState::Empty => "Empty",
            ClassicState::Preparing { .. } => "PreparingRebalance",
            ClassicState::Completing => "CompletingRebalance",
            ClassicState::Stable => "Stable",
        }
    }
}

/// When offsets of a group expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetExpiry {
    /// Not while the group is as it is.
    Never,
    /// By the time since they were committed.
    SinceCommit,
    /// By the time since this: milliseconds since the epoch.
    Since(i64),
}

/// The delay of a first rebalance: how long the group waits now, and how long it may wait again for further members.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitialDelay {
    pub(super) delay_ms: i32,
    pub(super) remaining_ms: i32,
}

/// A classic group.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    pub(super) id: Rc<str>,
    pub(super) state: ClassicState,
    /// Since when, milliseconds since the epoch.
    pub(super) state_since_ms: Option<i64>,
    pub(super) protocol_type: Option<Box<str>>,
    pub(super) protocol: Option<Box<str>>,
    pub(super) generation: i32,
    pub(super) leader: Option<Rc<str>>,
    pub(super) members: BTreeMap<Rc<str>, Member>,
    /// Members by their instance ids.
    instances: BTreeMap<Box<str>, Rc<str>>,
    /// Ids that were given out and not joined with yet (KIP-394), until they lapse.
    pending: BTreeMap<Rc<str>, Option<Handle>>,
    /// Members that have not asked for their assignment in this generation.
    pub(super) pending_sync: BTreeSet<Rc<str>>,
    /// How many members' JoinGroup waits.
    joined: usize,
    /// How many members support a protocol.
    supported: BTreeMap<Box<str>, usize>,
    subscribed: Option<BTreeSet<String>>,
    /// A member came after the first rebalance was begun.
    pub(super) new_member_added: bool,
    pub(super) initial: Option<InitialDelay>,
    pub(super) join_timer: Option<Handle>,
    pub(super) sync_timer: Option<Handle>,
    /// When the rebalance under way began.
    pub(super) rebalancing_since: Option<MonoTime>,
}

impl ClassicGroup {
    /// A group without members.
    pub(super) fn empty(id: &str, state_since_ms: Option<i64>) -> ClassicGroup {
        ClassicGroup {
            id: id.into(),
            state: ClassicState::Empty,
            state_since_ms,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            joined: 0,
            supported: BTreeMap::new(),
            subscribed: None,
            new_member_added: false,
            initial: None,
            join_timer: None,
            sync_timer: None,
            rebalancing_since: None,
        }
    }

    /// Brings the group to what its record says, at a load or as the record is written; what records do not tell (what
    /// waits, other protocols of members) stays for the members that stay.
    pub(super) fn apply(&mut self, value: &GroupMetadataValue, timers: &mut Timers) {
        let staying: BTreeSet<&str> = value.members.iter().map(|member| member.member_id.as_str()).collect();
        let gone: Vec<Rc<str>> =
            self.members.keys().filter(|id| !staying.contains(&***id)).cloned().collect();
        for id in gone {
            self.remove(&id, timers);
        }
        self.generation = value.generation;
        self.protocol_type = (!value.protocol_type.is_empty()).then(|| value.protocol_type.as_str().into());
        self.protocol = value.protocol.as_deref().map(Into::into);
        for member in &value.members {
            self.apply_member(member, value.protocol.as_deref().unwrap_or_default());
        }
        let instances = self.members.iter();
        let instances = instances.filter_map(|(id, member)| Some((member.instance.clone()?, id.clone())));
        self.instances = instances.collect();
        let leader = value.leader.as_deref().and_then(|leader| self.members.get_key_value(leader));
        self.leader = leader.map(|(id, _)| id.clone());
        self.state_since_ms =
            (value.current_state_timestamp_ms != -1).then_some(value.current_state_timestamp_ms);
        self.state = if self.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
        self.subscribed = self.compute_subscribed();
    }

    fn apply_member(&mut self, record: &MemberMetadata, protocol: &str) {
        let id: Rc<str> = match self.members.get_key_value(record.member_id.as_str()) {
            Some((id, member)) => {
                let id = id.clone();
                let known = member.protocols.iter().any(|told| *told.name == *protocol);
                if !known || member.metadata(protocol) != record.subscription {
                    let subscription = record.subscription.clone();
                    self.set_protocols(&id, vec![Protocol { name: protocol.into(), metadata: subscription }]);
                }
                id
            }
            None => {
                let id: Rc<str> = record.member_id.as_str().into();
                self.insert(id.clone(), Member::of_record(record, protocol));
                id
            }
        };
        if let Some(member) = self.members.get_mut(&id) {
            member.follow(record);
        }
    }

    /// Writes the group as it is now, its members with these assignments.
    pub(super) fn write(&mut self, step: &mut Step<'_>, assignment: impl Fn(&str, &Member) -> Bytes) {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter();
        let members = members.map(|(id, member)| member.to_record(id, protocol, assignment(id, member)));
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.as_deref().unwrap_or_default().into(),
            generation: self.generation,
            protocol: self.protocol.as_deref().map(Into::into),
            leader: self.leader.as_deref().map(Into::into),
            current_state_timestamp_ms: self.state_since_ms.unwrap_or(-1),
            members: members.collect(),
        };
        self.apply(&value, step.timers);
        step.effects.write(GroupRecord::GroupMetadata(self.id.as_ref().into(), Some(value)));
    }

    /// Comes into a state of which no record tells.
    pub(super) fn enter(&mut self, state: ClassicState, step: &Step<'_>) {
        self.state = state;
        self.state_since_ms = Some(step.moment.wall_ms);
    }

    /// The members' vote: the protocol that most members like best among those that all support; of equals
    /// the first by name.
    pub(super) fn select_protocol(&self) -> Option<Box<str>> {
        let all = self.members.len();
        let supported = |protocol: &&Protocol| self.supported.get(&protocol.name) == Some(&all);
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.protocols.iter().find(supported) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        let best = votes.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map(|(name, _)| name.into())
    }

    /// Agrees on what the members of the coming generation use.
    pub(super) fn agree(&mut self) {
        self.protocol = self.select_protocol();
        self.subscribed = self.compute_subscribed();
    }

    /// May one that supports these be a member?
    pub(super) fn supports<'a>(&self, protocol_type: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
        let all = self.members.len();
        match self.state {
            ClassicState::Empty => !protocol_type.is_empty() && names.next().is_some(),
            ClassicState::Preparing { .. } | ClassicState::Completing | ClassicState::Stable => {
                self.protocol_type.as_deref() == Some(protocol_type)
                    && names.any(|name| self.supported.get(name).copied().unwrap_or(0) == all)
            }
        }
    }

    /// Adds a member; of a group without members it sets the protocol type.
    pub(super) fn add(&mut self, id: &Rc<str>, member: Member, protocol_type: &str, timers: &mut Timers) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.into());
        }
        if let Some(mut lapse) = self.pending.remove(id) {
            timers.cancel(&mut lapse);
        }
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        self.insert(id.clone(), member);
    }

    fn insert(&mut self, id: Rc<str>, member: Member) {
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        count(&mut self.supported, &member.protocols);
        self.joined += usize::from(member.joining.is_some());
        let before = self.members.insert(id, member);
        assert!(before.is_none(), "a member is added once");
    }

    /// Takes a member out, with what of it waits; or forgets an id that was given out.
    pub(super) fn remove(&mut self, id: &str, timers: &mut Timers) -> Option<Member> {
        if let Some(mut lapse) = self.pending.remove(id) {
            timers.cancel(&mut lapse);
        }
        self.pending_sync.remove(id);
        let mut member = self.members.remove(id)?;
        timers.cancel(&mut member.session);
        self.joined -= usize::from(member.joining.is_some());
        discount(&mut self.supported, &member.protocols);
        if let Some(instance) = &member.instance
            && self.instances.get(instance).is_some_and(|of| **of == *id)
        {
            self.instances.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Gives a static member, returned under a new id, the place of its old one. Returns the member as it was: what of it
    /// waits is to be answered.
    pub(super) fn replace(&mut self, old: &str, new: &Rc<str>, timers: &mut Timers) -> Option<Member> {
        let leads = self.leads(old);
        let was_pending_sync = self.pending_sync.contains(old);
        let before = self.remove(old, timers)?;
        self.insert(new.clone(), before.successor());
        if leads {
            self.leader = Some(new.clone());
        }
        if was_pending_sync {
            self.pending_sync.insert(new.clone());
        }
        Some(before)
    }

    /// Sets what a member supports.
    pub(super) fn set_protocols(&mut self, id: &str, protocols: Vec<Protocol>) {
        if let Some(member) = self.members.get_mut(id) {
            discount(&mut self.supported, &member.protocols);
            count(&mut self.supported, &protocols);
            member.protocols = protocols;
        }
    }

    /// Lets a member's JoinGroup wait. Returns the one that waited before, which its client has given up.
    pub(super) fn park_join(&mut self, id: &str, waiting: Waiting) -> Option<Waiting> {
        let before = self.members.get_mut(id)?.joining.replace(waiting);
        self.joined += usize::from(before.is_none());
        before
    }

    /// Takes a member's JoinGroup that waits, to answer it.
    pub(super) fn take_join(&mut self, id: &str) -> Option<Waiting> {
        let waiting = self.members.get_mut(id)?.joining.take();
        self.joined -= usize::from(waiting.is_some());
        waiting
    }

    /// Gives out an id.
    pub(super) fn reserve(&mut self, id: Rc<str>, step: &mut Step<'_>, session_timeout_ms: i32) {
        let mut lapse = None;
        step.set_session(&mut lapse, &self.id, &id, session_timeout_ms);
        self.pending.insert(id, lapse);
    }

    /// How many ids have been given out, and not been joined with.
    pub(super) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Has this id been given out, and not been joined with?
    pub(super) fn is_pending(&self, id: &str) -> bool {
        self.pending.contains_key(id)
    }

    /// Is this the leader?
    pub(super) fn leads(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// The member that has an instance id.
    pub(super) fn of_instance(&self, instance: &str) -> Option<&Rc<str>> {
        self.instances.get(instance)
    }

    /// How many members' JoinGroup waits.
    pub(super) fn joined(&self) -> usize {
        self.joined
    }

    /// Do all members, and all who were given an id, wait in JoinGroup?
    pub(super) fn all_joined(&self) -> bool {
        self.joined == self.members.len() && self.pending.is_empty()
    }

    /// The longest time that a member asks to be given in a rebalance.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).fold(0, i32::max)
    }

    /// Begins a member's session anew.
    pub(super) fn keep_alive(&mut self, id: &str, step: &mut Step<'_>) {
        if let Some((id, member)) = self.members.get_key_value(id) {
            let (id, timeout_ms) = (id.clone(), member.session_timeout_ms);
            self.keep_alive_for(&id, step, timeout_ms);
        }
    }

    /// Begins a member's session anew, for once with another timeout.
    pub(super) fn keep_alive_for(&mut self, id: &Rc<str>, step: &mut Step<'_>, timeout_ms: i32) {
        if let Some(member) = self.members.get_mut(id) {
            step.set_session(&mut member.session, &self.id, id, timeout_ms);
        }
    }

    /// Forgets all alarms: the group is gone.
    pub(super) fn cancel_timers(&mut self, timers: &mut Timers) {
        timers.cancel(&mut self.join_timer);
        timers.cancel(&mut self.sync_timer);
        self.members.values_mut().for_each(|member| timers.cancel(&mut member.session));
        self.pending.values_mut().for_each(|lapse| timers.cancel(lapse));
    }

    /// Is the sender of a request a member, and the one that has its instance id?
    pub(super) fn validate_member(&self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            match self.of_instance(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(known) if **known != *id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// May these offsets be committed? A generation below zero is that of one who is no member.
    pub(super) fn validate_offset_commit(
        &self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        transactional: bool,
    ) -> Result<(), ResponseError> {
        let empty = self.state == ClassicState::Empty;
        if generation < 0 && empty {
            return Ok(());
        }
        if generation >= 0 || !id.is_empty() || instance.is_some() {
            self.validate_member(id, instance)?;
            if generation != self.generation && !is_active(Mutant::StaleGenerationTaken) {
                return Err(ResponseError::IllegalGeneration);
            }
        } else if !transactional && !empty {
            return Err(ResponseError::UnknownMemberId);
        }
        if !transactional && self.state == ClassicState::Completing {
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(())
    }

    /// May offsets of topics that nobody subscribes to be deleted?
    pub(super) fn validate_offset_delete(&self) -> Result<(), ResponseError> {
        match self.state {
            ClassicState::Empty => Ok(()),
            ClassicState::Preparing { .. } | ClassicState::Completing | ClassicState::Stable => {
                self.uses_consumer_protocol().then_some(()).ok_or(ResponseError::NonEmptyGroup)
            }
        }
    }

    /// When the group's offsets expire.
    pub(super) fn offset_expiry(&self) -> OffsetExpiry {
        if self.protocol_type.is_none() {
            return OffsetExpiry::SinceCommit;
        }
        match self.state {
            ClassicState::Empty => self.state_since_ms.map_or(OffsetExpiry::SinceCommit, OffsetExpiry::Since),
            ClassicState::Stable if self.uses_consumer_protocol() && self.subscribed.is_some() => {
                OffsetExpiry::SinceCommit
            }
            ClassicState::Stable | ClassicState::Preparing { .. } | ClassicState::Completing => {
                OffsetExpiry::Never
            }
        }
    }

    /// May a member read this topic? One of a consumer group may, if its subscription is not known.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        self.subscribed
            .as_ref()
            .map_or_else(|| self.uses_consumer_protocol(), |topics| topics.contains(topic))
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The topics of all members; `None` if it is not known.
    fn compute_subscribed(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol = self.protocol.as_deref()?;
        for member in self.members.values() {
            subscription::add_topics(&member.metadata(protocol), &mut topics)?;
        }
        Some(topics)
    }
}

fn count(supported: &mut BTreeMap<Box<str>, usize>, protocols: &[Protocol]) {
    for protocol in protocols {
        *supported.entry(protocol.name.clone()).or_default() += 1;
    }
}

fn discount(supported: &mut BTreeMap<Box<str>, usize>, protocols: &[Protocol]) {
    for protocol in protocols {
        if let Some(members) = supported.get_mut(&protocol.name) {
            *members -= 1;
            if *members == 0 {
                supported.remove(&protocol.name);
            }
        }
    }
}
