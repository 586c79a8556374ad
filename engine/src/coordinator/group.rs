//! The groups of one partition of `__consumer_offsets`, with their offsets: which group a request goes to, what lists and
//! describes them, and how they go.
//!
//! Pure, a [`Machine`]. What a kind of group does stands in its room; here is only what holds for all of them. After
//! `GroupCoordinatorShard` and `GroupMetadataManager` of Apache Kafka 4.2.

mod admin;
mod classic;
mod figures;
mod join;
mod leave;
mod member;
mod offsets;
mod rebalance;
mod step;
pub mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod timers;

pub use figures::{GroupCounts, GroupFigures, MemberFigures};
pub use step::{ClientInfo, GroupConfig, Rebalances};

use super::offsets::Offsets;
use super::records::GroupRecord;
use super::{BadRecord, EffectsOf, Encoded, Machine, Moment, Replayed, Token};
use crate::partition::verification::Guard;
use classic::ClassicGroup;
use hayate_rt::MonoTime;
use hayate_storage::batch::ProducerId;
use hayate_storage::mutants::{Mutant, is_active};
use join::Join;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, SyncGroupRequest, SyncGroupResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use std::collections::BTreeMap;
use std::rc::Rc;
use step::{Step, Waiting, sync_answer, text};
use timers::{Alarm, Timers};
use uuid::Uuid;

/// What the coordinator of a group is asked. Versions are those of the requests.
#[derive(Debug)]
pub enum GroupRequest {
    /// To be a member of a classic group.
    Join {
        /// As it came.
        request: JoinGroupRequest,
        /// Its version.
        version: i16,
        /// Whose it is.
        client: ClientInfo,
        /// Drawn for the id of a new member.
        fresh_id: Uuid,
    },
    /// For a member's assignment.
    Sync {
        /// As it came.
        request: SyncGroupRequest,
        /// Its version.
        version: i16,
    },
    /// To be taken for alive.
    Heartbeat {
        /// As it came.
        request: HeartbeatRequest,
    },
    /// To leave.
    Leave {
        /// As it came.
        request: LeaveGroupRequest,
        /// Its version.
        version: i16,
    },
    /// Which groups there are.
    List {
        /// As it came.
        request: ListGroupsRequest,
    },
    /// How classic groups are.
    Describe {
        /// Their ids.
        groups: Vec<String>,
        /// The request's version.
        version: i16,
    },
    /// To delete groups.
    Delete {
        /// Their ids.
        groups: Vec<String>,
    },
    /// To commit offsets.
    OffsetCommit {
        /// With names and ids of topics that exist.
        request: OffsetCommitRequest,
        /// Its version.
        version: i16,
    },
    /// To commit offsets in a transaction.
    TxnOffsetCommit {
        /// With names of topics that exist.
        request: TxnOffsetCommitRequest,
        /// What the verification of the transaction began with, if it was verified.
        guard: Option<Guard>,
    },
    /// Which offsets are committed.
    OffsetFetch {
        /// One group's part of the request, with names of topics.
        request: OffsetFetchRequestGroup,
        /// Whether what a transaction may change is withheld.
        require_stable: bool,
        /// The request's version.
        version: i16,
    },
    /// To delete offsets.
    OffsetDelete {
        /// With topics that exist.
        request: OffsetDeleteRequest,
    },
}

/// The answer to a [`GroupRequest`], of the same name.
#[derive(Debug)]
pub enum GroupAnswer {
    /// The generation, when it begins.
    Join(JoinGroupResponse),
    /// The assignment, when it is known.
    Sync(SyncGroupResponse),
    /// Whether the group rebalances.
    Heartbeat(HeartbeatResponse),
    /// Who has left.
    Leave(LeaveGroupResponse),
    /// The groups.
    List(ListGroupsResponse),
    /// The groups, in the order of the request.
    Describe(Vec<DescribedGroup>),
    /// What became of each.
    Delete(Vec<DeletableGroupResult>),
    /// What became of each.
    OffsetCommit(OffsetCommitResponse),
    /// What became of each.
    TxnOffsetCommit(TxnOffsetCommitResponse),
    /// The offsets.
    OffsetFetch(OffsetFetchResponseGroup),
    /// What became of each.
    OffsetDelete(OffsetDeleteResponse),
}

/// A group, of one of the kinds.
#[derive(Debug)]
enum Group {
    /// Whose members assign among themselves.
    Classic(ClassicGroup),
}

/// The groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Groups {
    config: Rc<GroupConfig>,
    groups: BTreeMap<Rc<str>, Group>,
    timers: Timers,
    offsets: Offsets,
    rebalances: Rebalances,
    /// When expired offsets are looked for next.
    next_expiry: Option<MonoTime>,
}

impl Groups {
    /// None yet.
    pub fn new(config: Rc<GroupConfig>) -> Groups {
        Groups {
            config,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            offsets: Offsets::default(),
            rebalances: Rebalances::default(),
            next_expiry: None,
        }
    }

    /// The committed offsets.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// The kinds and states of all groups, as Kafka names them.
    pub fn states(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.groups.values().map(|group| match group {
            Group::Classic(group) => ("classic", group.state.name()),
        })
    }

    /// The classic group of that id, and a step for it.
    fn classic<'a>(
        &'a mut self,
        id: &str,
        moment: &'a Moment,
        effects: &'a mut EffectsOf<Groups>,
    ) -> Option<(&'a mut ClassicGroup, Step<'a>)> {
        let Groups { config, groups, timers, rebalances, .. } = self;
        match groups.get_mut(id)? {
            Group::Classic(group) => Some((group, Step { moment, config, timers, rebalances, effects })),
        }
    }

    /// Makes a group that the partition knows by its offsets alone, if there is none of that id.
    fn ensure_simple(&mut self, id: &str, since_ms: Option<i64>) {
        if !self.groups.contains_key(id) {
            let group = ClassicGroup::empty(id, since_ms);
            self.groups.insert(group.id.clone(), Group::Classic(group));
        }
    }

    fn join(&mut self, moment: &Moment, join: Join, effects: &mut EffectsOf<Groups>) {
        let id = join.request.group_id.to_string();
        let session = join.request.session_timeout_ms;
        let member = join.request.member_id.clone();
        let refusal = if id.is_empty() {
            Some(ResponseError::InvalidGroupId)
        } else if !(self.config.session_min_ms..=self.config.session_max_ms).contains(&session) {
            Some(ResponseError::InvalidSessionTimeout)
        } else if !member.is_empty() && !self.groups.contains_key(id.as_str()) {
            Some(ResponseError::UnknownMemberId)
        } else {
            None
        };
        if let Some(error) = refusal {
            return step::refuse_join(effects, join.waiting, &member, error);
        }
        let is_new = !self.groups.contains_key(id.as_str());
        self.ensure_simple(&id, Some(moment.wall_ms));
        let Some((group, mut step)) = self.classic(&id, moment, effects) else { return };
        if is_new {
            group.write(&mut step, |_, _| bytes::Bytes::new());
        }
        group.join(join, &mut step);
    }

    fn ring(&mut self, moment: &Moment, id: &str, alarm: Alarm, effects: &mut EffectsOf<Groups>) {
        let Some((group, mut step)) = self.classic(id, moment, effects) else { return };
        match alarm {
            Alarm::Session(_) if is_active(Mutant::MemberKept) => {}
            Alarm::Session(member) => group.session_due(&member, &mut step),
            Alarm::Join => group.join_due(&mut step),
            Alarm::Sync => group.sync_due(&mut step),
        }
    }

    fn apply_group(&mut self, id: &str, value: Option<&super::records::GroupMetadataValue>) {
        match value {
            Some(value) => {
                self.ensure_simple(id, None);
                if let Some(Group::Classic(group)) = self.groups.get_mut(id) {
                    group.apply(value, &mut self.timers);
                }
            }
            None => {
                if let Some(Group::Classic(mut group)) = self.groups.remove(id) {
                    group.cancel_timers(&mut self.timers);
                }
            }
        }
    }
}

impl Machine for Groups {
    type Record = GroupRecord;
    type Request = GroupRequest;
    type Answer = GroupAnswer;
    type Order = ();

    fn encode(record: &GroupRecord) -> Encoded {
        // Names come from requests, whose strings are bounded as those of records are.
        let (key, value) = record.encode().expect("what a request could carry, a record can");
        Encoded { key, value }
    }

    fn replay(&mut self, record: Replayed<'_>) -> Result<(), BadRecord> {
        let decoded = GroupRecord::decode(record.key, record.value);
        match decoded.map_err(|error| BadRecord(error.to_string()))? {
            GroupRecord::OffsetCommit(key, value) => {
                let producer = record.producer.map(|(producer, _)| producer);
                self.offsets.apply(producer, &key, value.as_ref());
                if value.is_some() {
                    self.ensure_simple(&key.group, None);
                }
            }
            GroupRecord::GroupMetadata(id, value) => self.apply_group(&id, value.as_ref()),
            // Kinds of groups that are not built yet, and of newer brokers.
            _ => {}
        }
        Ok(())
    }

    fn marker(&mut self, producer: ProducerId, committed: bool) {
        let committed = committed || is_active(Mutant::AbortedOffsetsKept);
        self.offsets.complete_transaction(producer, committed);
    }

    fn loaded(&mut self, moment: &Moment, effects: &mut EffectsOf<Groups>) {
        let ids: Vec<Rc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            if let Some((group, mut step)) = self.classic(&id, moment, effects) {
                group.loaded(&mut step);
            }
        }
        self.next_expiry = Some(moment.now + self.config.expiry_check);
    }

    fn handle(
        &mut self,
        moment: &Moment,
        token: Token,
        request: GroupRequest,
        effects: &mut EffectsOf<Groups>,
    ) {
        match request {
            GroupRequest::Join { request, version, client, fresh_id } => {
                let waiting = Waiting { token, version };
                self.join(moment, Join { request: Box::new(request), waiting, client, fresh_id }, effects);
            }
            GroupRequest::Sync { request, version } => {
                let waiting = Waiting { token, version };
                match self.classic(&request.group_id, moment, effects) {
                    Some((group, mut step)) => group.sync(&request, waiting, &mut step),
                    None => step::refuse_sync(effects, waiting, ResponseError::UnknownMemberId),
                }
            }
            GroupRequest::Heartbeat { request } => {
                let outcome = match self.classic(&request.group_id, moment, effects) {
                    Some((group, mut step)) => group.heartbeat(&request, &mut step),
                    None => Err(ResponseError::UnknownMemberId),
                };
                let code = outcome.err().map_or(0, |error| error.code());
                effects.answer(
                    token,
                    GroupAnswer::Heartbeat(HeartbeatResponse::default().with_error_code(code)),
                );
            }
            GroupRequest::Leave { request, version } => {
                let response = match self.classic(&request.group_id, moment, effects) {
                    Some((group, mut step)) => group.leave(&request, version, &mut step),
                    None => leave::no_group(&request, version),
                };
                effects.answer(token, GroupAnswer::Leave(response));
            }
            GroupRequest::List { request } => effects.answer(token, GroupAnswer::List(self.list(&request))),
            GroupRequest::Describe { groups, version } => {
                let described = groups.iter().map(|id| self.describe(id, version)).collect();
                effects.answer(token, GroupAnswer::Describe(described));
            }
            GroupRequest::Delete { groups } => {
                let deleted = groups.iter().map(|id| self.delete(id, effects)).collect();
                effects.answer(token, GroupAnswer::Delete(deleted));
            }
            request => self.handle_offsets(moment, token, request, effects),
        }
    }

    fn on_time(&mut self, moment: &Moment, effects: &mut EffectsOf<Groups>) {
        let set_by = self.timers.set_by_now();
        while let Some((id, alarm)) = self.timers.pop(moment.now, set_by) {
            self.ring(moment, &id, alarm, effects);
        }
        if self.next_expiry.is_some_and(|due| due <= moment.now) {
            self.next_expiry = Some(moment.now + self.config.expiry_check);
            self.expire(moment, effects);
        }
    }

    fn next_deadline(&self) -> Option<MonoTime> {
        self.timers.next().into_iter().chain(self.next_expiry).min()
    }
}
