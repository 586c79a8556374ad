//! JoinGroup of a classic group: who may come in, under which id, and whether the group rebalances for it.
//!
//! After `GroupMetadataManager.classicGroupJoin…` of Apache Kafka 4.2; KIP-62 (rebalance timeout), KIP-345 (static
//! members), KIP-394 (member id required from version 4), KIP-814 (a leader that skips the assignment, from version 9).

use super::classic::{ClassicGroup, ClassicState};
use super::member::{Member, protocols_of};
use super::{ClientInfo, Step, Waiting, text};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::JoinGroupRequest;
use kafka_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use std::rc::Rc;
use uuid::Uuid;

/// From this version on a member first asks for its id, then joins with it.
pub(super) const KNOWN_MEMBER_ID_VERSION: i16 = 4;
/// From this version on a leader can be told not to assign.
const SKIP_ASSIGNMENT_VERSION: i16 = 9;
/// The longest client or instance id that goes into a member id: with a UUID it fits strings of the wire (32,767).
const MEMBER_ID_PREFIX_MAX: usize = i16::MAX as usize - 64;

/// A JoinGroup request with what comes along.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) request: Box<JoinGroupRequest>,
    pub(super) waiting: Waiting,
    pub(super) client: ClientInfo,
    pub(super) fresh_id: Uuid,
}

impl Join {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.request.protocols.iter().map(|protocol| protocol.name.as_str())
    }

    /// An id for a new member.
    fn new_id(&self) -> Rc<str> {
        let of = self.request.group_instance_id.as_deref().unwrap_or(&self.client.client_id);
        let of = &of[..of.floor_char_boundary(MEMBER_ID_PREFIX_MAX)];
        format!("{of}-{}", self.fresh_id.hyphenated()).into()
    }
}

impl ClassicGroup {
    /// A member, or one that wants to be, joins.
    pub(super) fn join(&mut self, join: Join, step: &mut Step<'_>) {
        let id = join.request.member_id.clone();
        if !self.accepts(&id, step) {
            self.remove(&id, step.timers);
            step.refuse_join(join.waiting, "", ResponseError::GroupMaxSizeReached);
        } else if !self.supports(&join.request.protocol_type, join.names()) {
            step.refuse_join(join.waiting, &id, ResponseError::InconsistentGroupProtocol);
        } else if !id.is_empty() {
            self.join_known(&id, join, step);
        } else if join.request.group_instance_id.is_some() {
            self.join_static(join, step);
        } else {
            self.join_dynamic(join, step);
        }
    }

    /// Has the group room for the member? While it prepares, those that wait count: they came first.
    fn accepts(&self, id: &str, step: &Step<'_>) -> bool {
        let known = self.members.get(id);
        match self.state {
            ClassicState::Empty => true,
            ClassicState::Preparing { .. } => {
                known.is_some_and(|member| member.joining.is_some()) || self.joined() < step.config.size_max
            }
            ClassicState::Completing | ClassicState::Stable => {
                known.is_some() || self.members.len() < step.config.size_max
            }
        }
    }

    fn join_dynamic(&mut self, join: Join, step: &mut Step<'_>) {
        let id = join.new_id();
        if join.waiting.version >= KNOWN_MEMBER_ID_VERSION && self.pending_len() >= step.config.pending_max {
            step.refuse_join(join.waiting, "", ResponseError::GroupMaxSizeReached);
        } else if join.waiting.version >= KNOWN_MEMBER_ID_VERSION {
            self.reserve(id.clone(), step, join.request.session_timeout_ms);
            step.refuse_join(join.waiting, &id, ResponseError::MemberIdRequired);
        } else {
            self.add_and_rebalance(id, join, step);
        }
    }

    fn join_static(&mut self, join: Join, step: &mut Step<'_>) {
        let instance = join.request.group_instance_id.as_deref().unwrap_or_default();
        let id = join.new_id();
        match self.of_instance(instance).cloned() {
            Some(old) => self.replace_and_rebalance(&old, &id, join, step),
            None => self.add_and_rebalance(id, join, step),
        }
    }

    fn add_and_rebalance(&mut self, id: Rc<str>, join: Join, step: &mut Step<'_>) {
        if self.state == (ClassicState::Preparing { initial: true }) {
            self.new_member_added = true;
        }
        let member = Member::joining(&join.request, &join.client.client_id, &join.client.client_host);
        self.add(&id, member, &join.request.protocol_type, step.timers);
        self.park_join(&id, join.waiting);
        self.keep_alive_for(&id, step, step.config.new_member_join_timeout_ms);
        self.rebalance_or_complete(step);
    }

    fn join_known(&mut self, id: &str, join: Join, step: &mut Step<'_>) {
        if self.is_pending(id) {
            if join.request.group_instance_id.is_some() {
                return step.refuse_join(join.waiting, "", ResponseError::UnknownServerError);
            }
            return self.add_and_rebalance(id.into(), join, step);
        }
        if let Err(error) = self.validate_member(id, join.request.group_instance_id.as_deref()) {
            let response = JoinGroupResponse::default().with_member_id(text(id));
            return step.answer_join(join.waiting, response.with_error_code(error.code()));
        }
        let unchanged = self.members.get(id).is_some_and(|member| member.matches(&join.request.protocols));
        match self.state {
            ClassicState::Preparing { .. } => self.update_and_rebalance(id, join, step),
            ClassicState::Completing if unchanged => self.repeat_join(id, join.waiting, step),
            ClassicState::Stable if unchanged && !self.leads(id) => self.repeat_join(id, join.waiting, step),
            ClassicState::Completing | ClassicState::Stable => self.update_and_rebalance(id, join, step),
            ClassicState::Empty => step.refuse_join(join.waiting, id, ResponseError::UnknownMemberId),
        }
    }

    /// Answers a member that the group need not rebalance for, as it was answered before.
    fn repeat_join(&mut self, id: &str, waiting: Waiting, step: &mut Step<'_>) {
        let response = self.joined_response(id);
        step.answer_join(waiting, response);
    }

    fn update_and_rebalance(&mut self, id: &str, join: Join, step: &mut Step<'_>) {
        self.update(id, join, step);
        self.rebalance_or_complete(step);
    }

    /// Takes over what a member tells, and lets its request wait.
    fn update(&mut self, id: &str, join: Join, step: &mut Step<'_>) {
        self.set_protocols(id, protocols_of(&join.request.protocols));
        if let Some(member) = self.members.get_mut(id) {
            member.rebalance_timeout_ms = join.request.rebalance_timeout_ms;
            member.session_timeout_ms = join.request.session_timeout_ms;
        }
        if let Some(given_up) = self.park_join(id, join.waiting) {
            step.refuse_join(given_up, id, ResponseError::RebalanceInProgress);
        }
    }

    /// A static member returns under a new id: the old one is fenced. A group that is stable stays so, if it would agree
    /// on the same protocol.
    fn replace_and_rebalance(&mut self, old: &str, id: &Rc<str>, join: Join, step: &mut Step<'_>) {
        let leader = self.leader.clone();
        if let Some(before) = self.replace(old, id, step.timers) {
            if let Some(waiting) = before.joining {
                let fenced = JoinGroupResponse::default().with_member_id(text(old));
                step.answer_join(waiting, fenced.with_error_code(ResponseError::FencedInstanceId.code()));
            }
            if let Some(waiting) = before.syncing {
                step.refuse_sync(waiting, ResponseError::FencedInstanceId);
            }
        }
        self.keep_alive(id, step);
        let version = join.waiting.version;
        self.update(id, join, step);
        match self.state {
            ClassicState::Stable if self.select_protocol() == self.protocol => {
                self.write(step, |_, member| member.assignment.clone());
                self.answer_returned(id, version, leader.as_deref(), step);
            }
            ClassicState::Stable => self.rebalance_or_complete(step),
            ClassicState::Completing => self.prepare_rebalance(step),
            ClassicState::Preparing { .. } | ClassicState::Empty => self.maybe_complete_join(step),
        }
    }

    /// Answers a static member that returned to a stable group. Before KIP-814 it must not take itself for the leader,
    /// for it would assign anew.
    fn answer_returned(&mut self, id: &str, version: i16, leader_before: Option<&str>, step: &mut Step<'_>) {
        let Some(waiting) = self.take_join(id) else { return };
        let mut response = self.joined_response(id);
        if version >= SKIP_ASSIGNMENT_VERSION {
            response.skip_assignment = self.leads(id);
        } else {
            response.members.clear();
            response.leader = text(leader_before.unwrap_or_default());
        }
        step.answer_join(waiting, response);
    }

    /// What a member is told that has joined the generation: the leader also of the others.
    pub(super) fn joined_response(&self, id: &str) -> JoinGroupResponse {
        let members = if self.leads(id) { self.told_members() } else { Vec::new() };
        JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_type(self.protocol_type.as_deref().map(text))
            .with_protocol_name(self.protocol.as_deref().map(text))
            .with_leader(text(self.leader.as_deref().unwrap_or_default()))
            .with_member_id(text(id))
            .with_members(members)
    }

    fn told_members(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let told = self.members.iter().map(|(id, member)| {
            JoinGroupResponseMember::default()
                .with_member_id(text(id))
                .with_group_instance_id(member.instance.as_deref().map(text))
                .with_metadata(member.metadata(protocol))
        });
        told.collect()
    }
}
