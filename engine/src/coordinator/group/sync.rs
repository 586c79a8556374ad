//! SyncGroup and Heartbeat of a classic group: the leader hands out assignments, everybody hears of its own, and lives.
//!
//! After `GroupMetadataManager.classicGroupSync` and `classicGroupHeartbeat` of Apache Kafka 4.2; KIP-559.

use super::classic::{ClassicGroup, ClassicState};
use super::member::Member;
use super::{Step, Waiting, sync_answer};
use bytes::Bytes;
use hayate_rt::MonoTime;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{HeartbeatRequest, SyncGroupRequest};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a member takes in a group's record beside its names, at most: lengths and timeouts.
const MEMBER_BYTES: usize = 64;

impl ClassicGroup {
    /// A member asks for its assignment; the leader brings everybody's.
    pub(super) fn sync(&mut self, request: &SyncGroupRequest, waiting: Waiting, step: &mut Step<'_>) {
        if let Err(error) = self.validate_sync(request) {
            return step.refuse_sync(waiting, error);
        }
        let id = request.member_id.as_str();
        match self.state {
            ClassicState::Empty => step.refuse_sync(waiting, ResponseError::UnknownMemberId),
            ClassicState::Preparing { .. } => step.refuse_sync(waiting, ResponseError::RebalanceInProgress),
            ClassicState::Completing => {
                self.park_sync(id, waiting, step);
                if self.leads(id) {
                    self.assign(request, step);
                }
            }
            ClassicState::Stable => {
                self.has_synced(id, step);
                let assignment = self.members.get(id).map(|member| member.assignment.clone());
                step.answer_sync(waiting, sync_answer(self, assignment.unwrap_or_default()));
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ResponseError> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |told: &Option<StrBytes>, own: &Option<Box<str>>| {
            told.as_ref().is_some_and(|told| own.as_deref() != Some(told.as_str()))
        };
        let differ = differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol);
        if differ { Err(ResponseError::InconsistentGroupProtocol) } else { Ok(()) }
    }

    /// Lets a member's SyncGroup wait. One that waited before has been given up by its client.
    fn park_sync(&mut self, id: &str, waiting: Waiting, step: &mut Step<'_>) {
        let before = self.members.get_mut(id).and_then(|member| member.syncing.replace(waiting));
        if let Some(given_up) = before {
            step.refuse_sync(given_up, ResponseError::RebalanceInProgress);
        }
        self.has_synced(id, step);
    }

    fn has_synced(&mut self, id: &str, step: &mut Step<'_>) {
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            step.timers.cancel(&mut self.sync_timer);
        }
    }

    /// Writes the leader's assignments. Who is not in it gets nothing.
    fn assign(&mut self, request: &SyncGroupRequest, step: &mut Step<'_>) {
        let told = request.assignments.iter();
        let told: BTreeMap<&str, &Bytes> =
            told.map(|told| (told.member_id.as_str(), &told.assignment)).collect();
        if self.record_bytes(&told) > step.config.record_bytes_max {
            return self.call_off_too_large(step);
        }
        self.write(step, |id, _| told.get(id).map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default());
        self.note_completed(step.moment.now, step);
        self.answer_syncs(None, step);
    }

    /// About the size of the group's record with these assignments.
    fn record_bytes(&self, told: &BTreeMap<&str, &Bytes>) -> usize {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let of_member = |(id, member): (&Rc<str>, &Member)| {
            let assignment = told.get(&**id).map_or(0, |bytes| bytes.len());
            let names = id.len() + member.client_id.len() + member.client_host.len();
            MEMBER_BYTES + names + member.metadata(protocol).len() + assignment
        };
        self.members.iter().map(of_member).sum()
    }

    /// No partition takes a record so large: the members are told, and try again.
    fn call_off_too_large(&mut self, step: &mut Step<'_>) {
        self.answer_syncs(Some(ResponseError::UnknownServerError), step);
        self.prepare_rebalance(step);
    }

    fn note_completed(&mut self, now: MonoTime, step: &mut Step<'_>) {
        step.rebalances.completed += 1;
        if let Some(since) = self.rebalancing_since.take() {
            step.rebalances.spent += now.since(since);
        }
    }

    /// A member lives.
    pub(super) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        step: &mut Step<'_>,
    ) -> Result<(), ResponseError> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if self.state == ClassicState::Empty {
            return Err(ResponseError::UnknownMemberId);
        }
        self.keep_alive(&request.member_id, step);
        match self.state {
            ClassicState::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            ClassicState::Empty | ClassicState::Completing | ClassicState::Stable => Ok(()),
        }
    }

    /// The group was replayed: its members' sessions begin, and a group that has become too large rebalances.
    pub(super) fn loaded(&mut self, step: &mut Step<'_>) {
        for id in self.ids(|_| true) {
            self.keep_alive(&id, step);
        }
        if self.members.len() > step.config.size_max {
            self.prepare_rebalance(step);
        }
    }
}
