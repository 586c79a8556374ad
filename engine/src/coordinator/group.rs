//! The groups of one partition of `__consumer_offsets`, with their offsets: which group a request goes to, what lists and
//! describes them, and how they go.
//!
//! Pure, a [`Machine`]. What a kind of group does stands in its room; here is only what holds for all of them. After
//! `GroupCoordinatorShard` and `GroupMetadataManager` of Apache Kafka 4.2.

mod admin;
mod classic;
pub mod configs;
mod figures;
mod join;
mod leave;
mod member;
mod modern;
mod offsets;
mod rebalance;
mod share;
mod step;
pub mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod timers;

pub use figures::{GroupCounts, GroupFigures, MemberFigures};
pub use modern::{Assignors, ConsumerGroupConfig, MigrationPolicy};
pub use share::{GroupOrder, StateOf};
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
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup as DescribedConsumerGroup;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::share_group_describe_response;
use kafka_protocol::messages::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse,
    SyncGroupRequest, SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use modern::{Beat, ConsumerGroup, TopicWatch};
use share::ShareGroup;
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
    /// To be a member of a consumer group, and to be taken for alive; or to leave it.
    ConsumerHeartbeat {
        /// As it came.
        request: Box<ConsumerGroupHeartbeatRequest>,
        /// Its version.
        version: i16,
        /// Whose it is.
        client: ClientInfo,
        /// Drawn for the id of a member that has none.
        fresh_id: Uuid,
    },
    /// How consumer groups are.
    ConsumerDescribe {
        /// Their ids.
        groups: Vec<String>,
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
    /// To be a member of a share group.
    ShareHeartbeat {
        /// As it came.
        request: ShareGroupHeartbeatRequest,
        /// Whose it is.
        client: ClientInfo,
    },
    /// How share groups are.
    ShareDescribe {
        /// Their ids.
        groups: Vec<String>,
    },
    /// Of which partitions a share group has state.
    SharePartitions {
        /// Its id.
        group: String,
    },
    /// To set where a share group is.
    AlterShareOffsets {
        /// As it came.
        request: AlterShareGroupOffsetsRequest,
    },
    /// To delete where a share group is.
    DeleteShareOffsets {
        /// As it came.
        request: DeleteShareGroupOffsetsRequest,
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
    /// What the member is to have.
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    /// The groups, in the order of the request.
    ConsumerDescribe(Vec<DescribedConsumerGroup>),
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
    /// Its epoch and its assignment.
    ShareHeartbeat(ShareGroupHeartbeatResponse),
    /// The groups, in the order of the request.
    ShareDescribe(Vec<share_group_describe_response::DescribedGroup>),
    /// The partitions, by topic.
    SharePartitions(Result<BTreeMap<Uuid, (String, Vec<i32>)>, ResponseError>),
    /// What became of each.
    AlterShareOffsets(AlterShareGroupOffsetsResponse),
    /// What became of each.
    DeleteShareOffsets(DeleteShareGroupOffsetsResponse),
}

/// A group, of one of the kinds.
#[derive(Debug)]
enum Group {
    /// Whose members assign among themselves.
    Classic(ClassicGroup),
    /// For which the coordinator assigns.
    Consumer(Box<ConsumerGroup>),
    /// Whose members share partitions.
    Share(ShareGroup),
}

/// The groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Groups {
    config: Rc<GroupConfig>,
    groups: BTreeMap<Rc<str>, Group>,
    timers: Timers,
    offsets: Offsets,
    rebalances: Rebalances,
    topics: TopicWatch,
    /// When expired offsets are looked for next.
    next_expiry: Option<MonoTime>,
    /// The orders that are being carried out, by their numbers.
    pending: BTreeMap<i64, (Rc<str>, share::Pending)>,
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
            topics: TopicWatch::default(),
            next_expiry: None,
            pending: BTreeMap::new(),
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
            Group::Consumer(group) => ("consumer", group.state().name()),
            Group::Share(group) => ("share", group.state()),
        })
    }

    /// The classic group of that id, and a step for it.
    fn classic<'a>(
        &'a mut self,
        id: &str,
        moment: &'a Moment,
        effects: &'a mut EffectsOf<Groups>,
    ) -> Option<(&'a mut ClassicGroup, Step<'a>)> {
        let Groups { config, groups, timers, rebalances, topics, pending, .. } = self;
        match groups.get_mut(id)? {
            Group::Classic(group) => {
                Some((group, Step { moment, config, timers, rebalances, topics, pending, effects }))
            }
            Group::Consumer(_) | Group::Share(_) => None,
        }
    }

    /// The share group of that id, and a step for it.
    fn share<'a>(
        &'a mut self,
        id: &str,
        moment: &'a Moment,
        effects: &'a mut EffectsOf<Groups>,
    ) -> Option<(&'a mut ShareGroup, Step<'a>)> {
        let Groups { config, groups, timers, rebalances, topics, pending, .. } = self;
        match groups.get_mut(id)? {
            Group::Share(group) => {
                Some((group, Step { moment, config, timers, rebalances, topics, pending, effects }))
            }
            Group::Classic(_) | Group::Consumer(_) => None,
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
        } else if matches!(self.groups.get(id.as_str()), Some(Group::Share(_))) {
            Some(ResponseError::InconsistentGroupProtocol)
        } else {
            None
        };
        if let Some(error) = refusal {
            return step::refuse_join(effects, join.waiting, &member, error);
        }
        match self.consumer(&id) {
            Some(group) if !group.members.is_empty() => return self.join_consumer(moment, &join, effects),
            // An empty one becomes a classic group, if somebody begins it.
            is_empty
                if !member.is_empty() && (is_empty.is_some() || !self.groups.contains_key(id.as_str())) =>
            {
                return step::refuse_join(effects, join.waiting, &member, ResponseError::UnknownMemberId);
            }
            Some(_) => self.forget(&id, effects),
            None => {}
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
        self.topics.follow(&moment.image);
        if let (Some((group, mut step)), Alarm::Session(member)) = (self.share(id, moment, effects), &alarm) {
            return group.session_due(member, &mut step);
        }
        let Some((group, mut step)) = self.classic(id, moment, effects) else {
            return self.ring_consumer(moment, id, alarm, effects);
        };
        match alarm {
            Alarm::Session(_) if is_active(Mutant::MemberKept) => {}
            Alarm::Session(member) => group.session_due(&member, &mut step),
            Alarm::Join => group.join_due(&mut step),
            Alarm::Sync => group.sync_due(&mut step),
            Alarm::Rebalance(..) | Alarm::MemberJoin(_) | Alarm::MemberSync(_) | Alarm::Expressions => {}
        }
    }

    /// Takes in a record of a group, at a load or as it is written. Those of offsets are the offsets' own.
    fn apply_group_record(&mut self, record: &GroupRecord) {
        if let GroupRecord::GroupMetadata(id, value) = record {
            return self.apply_group(id, value.as_ref());
        }
        // Kinds of groups that are not built yet, and of newer brokers, are passed over.
        let Some((id, makes)) = modern::id_of(record) else { return };
        if makes && self.consumer(id).is_none() {
            // A group that was known by its offsets alone becomes what its records say.
            self.drop_group(id);
            let group = ConsumerGroup::empty(id);
            self.groups.insert(group.id.clone(), Group::Consumer(Box::new(group)));
        }
        let Some((group, timers)) = self.consumer_and_timers(id) else { return };
        if !group.apply(record, timers) {
            self.drop_group(id);
        }
    }

    /// Forgets a group, and its alarms.
    fn drop_group(&mut self, id: &str) {
        match self.groups.remove(id) {
            Some(Group::Classic(mut group)) => group.cancel_timers(&mut self.timers),
            Some(Group::Consumer(mut group)) => group.cancel_timers(&mut self.timers),
            Some(Group::Share(mut group)) => group.cancel_timers(&mut self.timers),
            None => {}
        }
    }

    fn handle_share(
        &mut self,
        moment: &Moment,
        token: Token,
        request: GroupRequest,
        effects: &mut EffectsOf<Groups>,
    ) {
        match request {
            GroupRequest::ShareHeartbeat { request, client } => {
                self.share_heartbeat(moment, token, &request, &client, effects);
            }
            GroupRequest::ShareDescribe { groups } => {
                let described = groups.iter().map(|id| self.describe_share(moment, id)).collect();
                effects.answer(token, GroupAnswer::ShareDescribe(described));
            }
            GroupRequest::SharePartitions { group } => {
                effects.answer(token, GroupAnswer::SharePartitions(self.share_partitions(&group)));
            }
            GroupRequest::AlterShareOffsets { request } => {
                self.alter_share_offsets(moment, token, &request, effects);
            }
            GroupRequest::DeleteShareOffsets { request } => {
                self.delete_share_offsets(moment, token, &request, effects);
            }
            GroupRequest::Join { .. }
            | GroupRequest::Sync { .. }
            | GroupRequest::Heartbeat { .. }
            | GroupRequest::Leave { .. }
            | GroupRequest::List { .. }
            | GroupRequest::Describe { .. }
            | GroupRequest::Delete { .. }
            | GroupRequest::ConsumerHeartbeat { .. }
            | GroupRequest::ConsumerDescribe { .. }
            | GroupRequest::OffsetCommit { .. }
            | GroupRequest::TxnOffsetCommit { .. }
            | GroupRequest::OffsetFetch { .. }
            | GroupRequest::OffsetDelete { .. } => unreachable!("these are of no share group"),
        }
    }

    fn apply_group(&mut self, id: &str, value: Option<&super::records::GroupMetadataValue>) {
        match value {
            Some(value) => {
                if self.consumer(id).is_some() {
                    self.drop_group(id);
                }
                self.ensure_simple(id, None);
                if let Some(Group::Classic(group)) = self.groups.get_mut(id) {
                    group.apply(value, &mut self.timers);
                }
            }
            None => {
                // One of another kind has come after the group that the record is of.
                if matches!(self.groups.get(id), Some(Group::Classic(_))) {
                    self.drop_group(id);
                }
            }
        }
    }
}

impl Machine for Groups {
    type Record = GroupRecord;
    type Request = GroupRequest;
    type Answer = GroupAnswer;
    type Order = GroupOrder;

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
            record => match share::group_of(&record) {
                Some(id) => self.apply_share(id, &record),
                None => self.apply_group_record(&record),
            },
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
            match self.classic(&id, moment, effects) {
                Some((group, mut step)) => group.loaded(&mut step),
                None => self.consumer_loaded(moment, &id),
            }
            if let Some((group, mut step)) = self.share(&id, moment, effects) {
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
                    None => self.sync_consumer(moment, &request, waiting, effects),
                }
            }
            GroupRequest::Heartbeat { request } => {
                let outcome = match self.classic(&request.group_id, moment, effects) {
                    Some((group, mut step)) => group.heartbeat(&request, &mut step),
                    None => self.heartbeat_consumer(moment, &request),
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
                    None => self.leave_consumer_classic(moment, &request, version, effects),
                };
                effects.answer(token, GroupAnswer::Leave(response));
            }
            GroupRequest::ConsumerHeartbeat { request, version, client, fresh_id } => {
                self.beat(moment, token, &Beat { request, version, client, fresh_id }, effects);
            }
            GroupRequest::ConsumerDescribe { groups } => {
                let described = groups.iter().map(|id| self.describe_consumer(id, &moment.image)).collect();
                effects.answer(token, GroupAnswer::ConsumerDescribe(described));
            }
            GroupRequest::List { request } => effects.answer(token, GroupAnswer::List(self.list(&request))),
            GroupRequest::Describe { groups, version } => {
                let described = groups.iter().map(|id| self.describe(id, version)).collect();
                effects.answer(token, GroupAnswer::Describe(described));
            }
            GroupRequest::Delete { groups } => {
                if let [id] = &groups[..]
                    && self.delete_share_group(moment, token, id, effects)
                {
                    return;
                }
                let deleted = groups.iter().map(|id| self.delete(id, effects)).collect();
                effects.answer(token, GroupAnswer::Delete(deleted));
            }
            request @ (GroupRequest::OffsetCommit { .. }
            | GroupRequest::TxnOffsetCommit { .. }
            | GroupRequest::OffsetFetch { .. }
            | GroupRequest::OffsetDelete { .. }) => self.handle_offsets(moment, token, request, effects),
            request => self.handle_share(moment, token, request, effects),
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
