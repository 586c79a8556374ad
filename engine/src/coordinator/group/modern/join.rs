//! Members of a consumer group that speak the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup (KIP-848, "Online Migration").
//!
//! Such a member is brought to its target as the others are: it hears by REBALANCE_IN_PROGRESS that there is something to do, gives back and
//! gets with its next JoinGroup and SyncGroup, and its generation is its member epoch. After `classicGroupJoinToConsumerGroup` and its
//! siblings of Apache Kafka 4.2's `GroupMetadataManager`.

use super::expressions::Update;
use super::heartbeat::{Caller, Change, Planned, check_instance, new_member_id, unknown_instance};
use super::{CONSUMER, ConsumerGroup, Member, MemberState, Refusal, embedded, records};
use crate::coordinator::group::join::{Join, KNOWN_MEMBER_ID_VERSION};
use crate::coordinator::group::step::{self, Waiting, millis, text};
use crate::coordinator::group::timers::Alarm;
use crate::coordinator::group::{GroupAnswer, Groups, leave};
use crate::coordinator::records::{ClassicMemberMetadata, ClassicProtocol};
use crate::coordinator::{EffectsOf, Moment};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use std::collections::BTreeSet;
use std::rc::Rc;

impl Groups {
    /// One joins a consumer group with the classic protocol.
    pub(in crate::coordinator::group) fn join_consumer(
        &mut self,
        moment: &Moment,
        join: &Join,
        effects: &mut EffectsOf<Groups>,
    ) {
        self.topics.follow(&moment.image);
        match self.try_join_consumer(moment, join, effects) {
            Ok(response) => effects.answer(join.waiting.token, GroupAnswer::Join(response)),
            Err(refusal) => step::refuse_join(effects, join.waiting, "", refusal.error),
        }
    }

    fn try_join_consumer(
        &mut self,
        moment: &Moment,
        join: &Join,
        effects: &mut EffectsOf<Groups>,
    ) -> Result<JoinGroupResponse, Refusal> {
        let request = &join.request;
        let group = self.existing_consumer(&request.group_id)?;
        let unknown = request.member_id.is_empty();
        let fresh = new_member_id(join.fresh_id);
        let id = if unknown { &fresh } else { request.member_id.as_str() };
        group.check_room(id, self.config.consumer.size_max)?;
        let mut names = request.protocols.iter().map(|protocol| protocol.name.as_str());
        if !group.supports_classic(&request.protocol_type, &mut names) {
            let message = format!("Member {id}'s protocols are not supported.");
            return Err(Refusal::new(ResponseError::InconsistentGroupProtocol, message));
        }
        let instance = request.group_instance_id.as_deref();
        if unknown && instance.is_none() && join.waiting.version >= KNOWN_MEMBER_ID_VERSION {
            let response = JoinGroupResponse::default().with_generation_id(-1).with_member_id(text(id));
            return Ok(response.with_error_code(ResponseError::MemberIdRequired.code()));
        }
        let (planned, downgrades) = self.plan_join(moment, join, id, effects)?;
        let (group_id, member) = (request.group_id.as_str(), &planned.member);
        if downgrades {
            self.downgrade(moment, group_id, &BTreeSet::new(), planned.bumps, effects);
        } else {
            self.follow_plan(moment, group_id, &planned);
            self.set_session(moment, group_id, &member.id, request.session_timeout_ms);
            self.await_sync(moment, group_id, &member.id, request.rebalance_timeout_ms);
            self.note_stable(moment.now, group_id);
        }
        let protocol = request.protocols.first().map(|protocol| text(&protocol.name));
        Ok(JoinGroupResponse::default()
            .with_member_id(text(&member.id))
            .with_generation_id(member.epoch)
            .with_protocol_type(Some(text(CONSUMER)))
            .with_protocol_name(protocol))
    }

    /// Writes what a join brings about. Says also whether the group is to become a classic one: the last member that did not speak
    /// the classic protocol comes back and does.
    fn plan_join(
        &mut self,
        moment: &Moment,
        join: &Join,
        id: &str,
        effects: &mut EffectsOf<Groups>,
    ) -> Result<(Planned, bool), Refusal> {
        let request = &join.request;
        let group = self.existing_consumer(&request.group_id)?;
        let instance = request.group_instance_id.as_deref();
        let mut written = Vec::new();
        let joins = instance.is_none() || request.member_id.is_empty();
        let member = group.caller(&Caller { id, instance, epoch: None, joins }, &mut written)?;
        let replaced = instance.and_then(|instance| group.of_instance(instance));
        let downgrades = replaced
            .is_some_and(|replaced| self.may_downgrade(group, &BTreeSet::from([replaced.id.clone()]), true));
        let told = request.protocols.first().and_then(|protocol| embedded::subscription(&protocol.metadata));
        let told = told.ok_or_else(|| {
            let message = "Malformed embedded consumer protocol in subscription deserialization.";
            Refusal::new(ResponseError::UnknownServerError, message)
        })?;
        let mut updated = member.clone();
        tell(&mut updated, join, &told);
        let owned = embedded::by_id(&told.owned, &moment.image);
        let scene = self.scene(moment);
        let change = Change { group, scene: &scene, member: &member, owned: Some(&owned) };
        let bumps_for = |update| update != Update::None;
        let planned = if downgrades {
            let subscribed = change.subscribe(&updated, bumps_for, &mut written)?;
            let target = (group.target_epoch, &*group.target(&updated));
            let member = match subscribed.bumps {
                true => updated,
                false => change.reconcile(updated, target, subscribed.changed, &mut written)?.0,
            };
            let (bumps, checks) = (subscribed.bumps, subscribed.checks);
            Planned { member, bumps, checks, reconciles: false, resolves: false, tells_assignment: false }
        } else {
            change.plan(updated, bumps_for, &mut written)?
        };
        records::check_sizes(&written, self.config.record_bytes_max)?;
        self.write_all(written, effects);
        Ok((planned, downgrades))
    }

    /// A member has joined, and is to ask for its assignment in time.
    fn await_sync(&mut self, moment: &Moment, id: &str, member: &Rc<str>, timeout_ms: i32) {
        let Some((group, timers)) = self.consumer_and_timers(id) else { return };
        let alarms = group.timers.entry(member.clone()).or_default();
        timers.cancel(&mut alarms.join);
        let due = moment.now + millis(timeout_ms);
        timers.set(&mut alarms.sync, due, &group.id, Alarm::MemberSync(member.clone()));
    }

    /// A member has been told to join again, and is to do so in time.
    fn await_join(&mut self, moment: &Moment, id: &str, member: &Rc<str>, timeout_ms: i32) {
        let Some((group, timers)) = self.consumer_and_timers(id) else { return };
        let alarms = group.timers.entry(member.clone()).or_default();
        if alarms.join.is_none() {
            let due = moment.now + millis(timeout_ms);
            timers.set(&mut alarms.join, due, &group.id, Alarm::MemberJoin(member.clone()));
        }
    }

    /// A member asks for its assignment.
    pub(in crate::coordinator::group) fn sync_consumer(
        &mut self,
        moment: &Moment,
        request: &SyncGroupRequest,
        waiting: Waiting,
        effects: &mut EffectsOf<Groups>,
    ) {
        match self.try_sync_consumer(moment, request) {
            Ok(assignment) => {
                let response = SyncGroupResponse::default()
                    .with_protocol_type(request.protocol_type.clone())
                    .with_protocol_name(request.protocol_name.clone())
                    .with_assignment(assignment);
                effects.answer(waiting.token, GroupAnswer::Sync(response));
            }
            Err(error) => step::refuse_sync(effects, waiting, error),
        }
    }

    fn try_sync_consumer(
        &mut self,
        moment: &Moment,
        request: &SyncGroupRequest,
    ) -> Result<Bytes, ResponseError> {
        let id = request.group_id.as_str();
        let group = self.consumer(id).ok_or(ResponseError::UnknownMemberId)?;
        let instance = request.group_instance_id.as_deref();
        let (member, told) = classic_member(group, &request.member_id, instance, request.generation_id)?;
        let protocol = told.supported_protocols.first();
        let differs = request.protocol_type.as_ref().is_some_and(|told| told.as_str() != CONSUMER)
            || request
                .protocol_name
                .as_ref()
                .is_some_and(|told| protocol.is_none_or(|protocol| protocol.name != told.as_str()));
        if differs {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let (member_id, rebalance_ms) = (member.id.clone(), member.rebalance_timeout_ms);
        if group.target_epoch > member.epoch && member.state != MemberState::UnrevokedPartitions {
            self.await_join(moment, id, &member_id, rebalance_ms);
            return Err(ResponseError::RebalanceInProgress);
        }
        let version = protocol.and_then(|protocol| embedded::version_of(&protocol.metadata));
        let assignment =
            embedded::write_assignment(&member.assigned, version.unwrap_or_default(), &moment.image);
        let session_ms = told.session_timeout_ms;
        if let Some((group, timers)) = self.consumer_and_timers(id) {
            timers.cancel(&mut group.timers.entry(member_id.clone()).or_default().sync);
        }
        self.set_session(moment, id, &member_id, session_ms);
        Ok(assignment)
    }

    /// A member lives.
    ///
    /// # Errors
    /// `REBALANCE_IN_PROGRESS` tells it to join again: there is a new target, it is to give something back, or what it waits for is free.
    pub(in crate::coordinator::group) fn heartbeat_consumer(
        &mut self,
        moment: &Moment,
        request: &HeartbeatRequest,
    ) -> Result<(), ResponseError> {
        let id = request.group_id.as_str();
        let group = self.consumer(id).ok_or(ResponseError::UnknownMemberId)?;
        let instance = request.group_instance_id.as_deref();
        let (member, told) = classic_member(group, &request.member_id, instance, request.generation_id)?;
        let is_called = member.epoch < group.target_epoch
            || match member.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !group.waits_for_others(member),
                MemberState::Stable | MemberState::Unknown(_) => false,
            };
        let (member_id, rebalance_ms) = (member.id.clone(), member.rebalance_timeout_ms);
        let session_ms = told.session_timeout_ms;
        self.set_session(moment, id, &member_id, session_ms);
        if is_called {
            self.await_join(moment, id, &member_id, rebalance_ms);
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(())
    }

    /// Members leave, or an administrator takes them out, whatever protocol they speak.
    pub(in crate::coordinator::group) fn leave_consumer_classic(
        &mut self,
        moment: &Moment,
        request: &LeaveGroupRequest,
        version: i16,
        effects: &mut EffectsOf<Groups>,
    ) -> LeaveGroupResponse {
        let Some(group) = self.consumer(&request.group_id) else { return leave::no_group(request, version) };
        let members = leave::named(request, version);
        let mut gone = BTreeSet::new();
        let outcomes = members.iter().map(|named| {
            let left = leaving(group, named).map(|member| _ = gone.insert(member.id.clone()));
            leave::outcome(named, left)
        });
        let outcomes: Vec<_> = outcomes.collect();
        self.fence(moment, &request.group_id, &gone, effects);
        leave::answer(outcomes, version)
    }
}

/// Brings a member to what its JoinGroup tells.
fn tell(member: &mut Member, join: &Join, told: &embedded::Subscription) {
    let request: &JoinGroupRequest = &join.request;
    if let Some(instance) = request.group_instance_id.as_deref() {
        member.instance = Some(instance.into());
    }
    if !told.rack.is_empty() {
        member.rack = Some(told.rack.as_str().into());
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    member.tell_topics(told.topics.iter().map(String::as_str));
    // One who speaks the classic protocol cannot subscribe by an expression.
    member.expression = Box::default();
    member.client_id = join.client.client_id.as_str().into();
    member.client_host = join.client.client_host.as_str().into();
    let protocols = request.protocols.iter().map(|protocol| ClassicProtocol {
        name: protocol.name.to_string(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    let (session_timeout_ms, supported_protocols) = (request.session_timeout_ms, protocols.collect());
    member.classic = Some(Rc::new(ClassicMemberMetadata { session_timeout_ms, supported_protocols }));
}

/// The member that calls, if it speaks the classic protocol and knows its generation.
fn classic_member<'a>(
    group: &'a ConsumerGroup,
    id: &str,
    instance: Option<&str>,
    generation: i32,
) -> Result<(&'a Member, &'a ClassicMemberMetadata), ResponseError> {
    let member = match instance {
        None => group.members.get(id).ok_or(ResponseError::UnknownMemberId)?,
        Some(instance) => {
            let member = group.of_instance(instance).ok_or(ResponseError::UnknownMemberId)?;
            check_instance(member, id, instance).map_err(|refusal| refusal.error)?;
            member
        }
    };
    let told = member.classic.as_deref().ok_or(ResponseError::UnknownMemberId)?;
    if member.epoch == generation { Ok((member, told)) } else { Err(ResponseError::IllegalGeneration) }
}

/// The member that one of LeaveGroup's names means.
fn leaving<'a>(group: &'a ConsumerGroup, named: &MemberIdentity) -> Result<&'a Member, ResponseError> {
    let Some(instance) = named.group_instance_id.as_deref() else {
        return group.members.get(named.member_id.as_str()).ok_or(ResponseError::UnknownMemberId);
    };
    let member = group.of_instance(instance).ok_or_else(|| unknown_instance(instance).error)?;
    // An administrator does not know the ids of members.
    if !named.member_id.is_empty() {
        check_instance(member, &named.member_id, instance).map_err(|refusal| refusal.error)?;
    }
    Ok(member)
}
