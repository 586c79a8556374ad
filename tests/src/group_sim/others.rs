//! Who uses groups without being a member: readers of offsets, committers without a group, transactions, administrators, and one who
//! looks who is a member.

use super::ledger::{Fate, Place};
use super::member::{REBALANCE_MS, SESSION_MS, code, commit_request};
use super::node::{Serving, Unheard};
use super::{GROUPS, Life, PARTITIONS, SIMPLE, TOPIC, text};
use hayate_engine::coordinator::group::{GroupAnswer, GroupRequest};
use hayate_net::error::ErrorCode;
use hayate_storage::batch::control::{EndTxnMarker, TxnOutcome};
use hayate_storage::batch::{NO_SEQUENCE, ProducerId};
use hayate_storage::log::TransactionEnd;
use hayate_storage::producers::TransactionVersion;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    GroupId, LeaveGroupRequest, OffsetDeleteRequest, TopicName, TxnOffsetCommitRequest,
};
use std::rc::Rc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);
/// How long a member that joins for the first time may take to hear of it.
pub(super) const NEW_MEMBER_MS: i32 = 2_000;
/// After so long a dynamic member is out that nobody is any more: its request waits for a rebalance, which gives it a session,
/// and another rebalance may wait for it.
const KEPT_MS_MAX: u64 = (2 * REBALANCE_MS + 2 * SESSION_MS + NEW_MEMBER_MS + 500) as u64;

impl Life {
    fn any_group(&self) -> &'static str {
        [GROUPS[0], GROUPS[1], SIMPLE, SIMPLE][self.rt.random_below(4) as usize]
    }

    fn any_place(&self, group: &'static str) -> Place {
        (group, self.rt.random_below(PARTITIONS as u64) as i32)
    }

    /// Reads all offsets of a group; false when it could not, or something is withheld.
    pub(super) async fn read(&self, group: &'static str, require_stable: bool) -> bool {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(TopicName(text(TOPIC)))
            .with_partition_indexes((0..PARTITIONS).collect());
        let request = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(Some(vec![topic]));
        let request = GroupRequest::OffsetFetch { request, require_stable, version: 9 };
        let sent = self.ledger.borrow_mut().tick();
        let answer = match self.node.ask(&self.rt, request, PATIENCE).await {
            Ok(GroupAnswer::OffsetFetch(answer)) => answer,
            Ok(other) => panic!("{other:?}"),
            Err(unheard) => {
                self.note_unheard(unheard);
                return false;
            }
        };
        assert_eq!(code(answer.error_code), ErrorCode::None);
        let mut all = true;
        for told in &answer.topics[0].partitions {
            match code(told.error_code) {
                ErrorCode::None => {
                    let value = (told.committed_offset != -1).then_some(told.committed_offset);
                    let place = (group, told.partition_index);
                    if self.ledger.borrow_mut().read(place, value, sent, self.now_ms()) {
                        self.rt.reached("an offset has expired");
                    }
                }
                ErrorCode::UnstableOffsetCommit if require_stable => {
                    self.rt.reached("withheld while a transaction is open");
                    all = false;
                }
                code => panic!("an offset is refused: {}", code.name()),
            }
        }
        all
    }

    /// Commits now and then to a group that has no members.
    pub(super) async fn commit_simply(self) {
        while !self.ends.get() {
            self.pause(20, 500).await;
            let place = self.any_place(SIMPLE);
            let value = self.ledger.borrow_mut().fresh_value();
            let outcome = self.commit(place, value, commit_request(SIMPLE, place.1, value)).await;
            match outcome {
                Ok(()) => self.rt.reached("committed without a group"),
                Err(ErrorCode::NetworkException) => {}
                Err(code) => panic!("a commit without a group is refused: {}", code.name()),
            }
            if self.rt.random_below(2) == 0 {
                let stable = self.rt.random_below(2) == 0;
                self.read(self.any_group(), stable).await;
            }
        }
        self.busy.set(self.busy.get() - 1);
    }

    /// Deletes offsets and groups, and takes static members out.
    pub(super) async fn administer(self) {
        while !self.ends.get() {
            self.pause(200, 2_500).await;
            match self.rt.random_below(4) {
                0 => self.delete_offset().await,
                1 => self.take_out().await,
                _ => self.delete_group(self.any_group()).await,
            }
        }
        self.busy.set(self.busy.get() - 1);
    }

    async fn delete_offset(&self) {
        let place = self.any_place(self.any_group());
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(place.1);
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(TopicName(text(TOPIC)))
            .with_partitions(vec![partition]);
        let request =
            OffsetDeleteRequest::default().with_group_id(GroupId(text(place.0))).with_topics(vec![topic]);
        let change = self.ledger.borrow_mut().send(place, None, self.now_ms());
        let asked = self.node.ask(&self.rt, GroupRequest::OffsetDelete { request }, PATIENCE).await;
        let fate = match asked {
            Ok(GroupAnswer::OffsetDelete(response)) => {
                let mut told = response.topics.iter().flat_map(|topic| &topic.partitions);
                let deleted = response.error_code == 0 && told.all(|told| told.error_code == 0);
                if deleted { Fate::Done } else { Fate::Refused }
            }
            Ok(other) => panic!("{other:?}"),
            Err(Unheard::Refused) => Fate::Refused,
            Err(Unheard::Lost | Unheard::GivenUp) => Fate::Open,
        };
        self.ledger.borrow_mut().hear(change, fate);
        if fate == Fate::Done {
            self.rt.reached("deleted offsets");
        }
    }

    async fn delete_group(&self, group: &'static str) {
        let sends = |partition| self.ledger.borrow_mut().send((group, partition), None, self.now_ms());
        let changes: Vec<_> = (0..PARTITIONS).map(sends).collect();
        let request = GroupRequest::Delete { groups: vec![group.to_owned()] };
        let fate = match self.node.ask(&self.rt, request, PATIENCE).await {
            Ok(GroupAnswer::Delete(deleted)) => match code(deleted[0].error_code) {
                ErrorCode::None => Fate::Done,
                ErrorCode::NonEmptyGroup | ErrorCode::GroupIdNotFound => Fate::Refused,
                code => panic!("a deletion is refused: {}", code.name()),
            },
            Ok(other) => panic!("{other:?}"),
            Err(Unheard::Refused) => Fate::Refused,
            Err(Unheard::Lost | Unheard::GivenUp) => Fate::Open,
        };
        let mut ledger = self.ledger.borrow_mut();
        changes.into_iter().for_each(|change| ledger.hear(change, fate));
        if fate != Fate::Refused {
            ledger.group_deleted(group);
        }
        if fate == Fate::Done {
            self.rt.reached("deleted a group");
        }
    }

    async fn take_out(&self) {
        let instance = super::life::INSTANCES[self.rt.random_below(2) as usize];
        let leaving = MemberIdentity::default().with_group_instance_id(Some(text(instance)));
        let request =
            LeaveGroupRequest::default().with_group_id(GroupId(text(GROUPS[1]))).with_members(vec![leaving]);
        let request = GroupRequest::Leave { request, version: 5 };
        if let Ok(GroupAnswer::Leave(response)) = self.node.ask(&self.rt, request, PATIENCE).await
            && response.members.iter().all(|member| member.error_code == 0)
        {
            self.rt.reached("taken out by an administrator");
        }
    }

    /// Commits offsets in transactions of one producer. What it has decided it carries out, however often it has to.
    pub(super) async fn transact(self, producer: i64) {
        while !self.ends.get() {
            self.pause(100, 900).await;
            let group = self.any_group();
            let place = self.any_place(group);
            let value = self.ledger.borrow_mut().fresh_value();
            self.undecided.borrow_mut().push(value);
            let change = self.ledger.borrow_mut().send(place, Some(value), self.now_ms());
            let committed = self.commit_in_transaction(producer, place, value).await;
            self.pause(1, 400).await;
            // What is not known to be there cannot be committed; but a commit in time may be aborted, too.
            let commits = committed && self.rt.random_below(3) > 0;
            self.decide(producer, commits).await;
            self.undecided.borrow_mut().retain(|undecided| *undecided != value);
            self.ledger.borrow_mut().hear(change, if commits { Fate::Done } else { Fate::Refused });
            self.rt.reached(if commits { "committed in a transaction" } else { "aborted in a transaction" });
        }
        self.busy.set(self.busy.get() - 1);
    }

    /// Whether the coordinator has taken it in.
    async fn commit_in_transaction(&self, producer: i64, (group, partition): Place, value: i64) -> bool {
        let Some(serving) = self.node.serving() else { return false };
        let batch = hayate_engine::partition::verification::FirstBatch {
            producer_id: ProducerId(producer),
            producer_epoch: 0,
            sequence: NO_SEQUENCE,
        };
        let version = TransactionVersion::Classic;
        let Ok(guard) = serving.partition.needs_verification(&batch, version, self.rt.wall_ms()) else {
            return false;
        };
        drop(serving);
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(value);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(TopicName(text(TOPIC)))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_producer_id(kafka_protocol::messages::ProducerId(producer))
            .with_producer_epoch(0)
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        let request = GroupRequest::TxnOffsetCommit { request, guard };
        match self.node.ask(&self.rt, request, PATIENCE).await {
            Ok(GroupAnswer::TxnOffsetCommit(response)) => response.topics[0].partitions[0].error_code == 0,
            Ok(other) => panic!("{other:?}"),
            Err(unheard) => {
                self.note_unheard(unheard);
                false
            }
        }
    }

    /// Has the marker written, until it is safe.
    async fn decide(&self, producer: i64, commits: bool) {
        let outcome = if commits { TxnOutcome::Commit } else { TxnOutcome::Abort };
        let end = TransactionEnd {
            producer_id: ProducerId(producer),
            producer_epoch: 0,
            marker: EndTxnMarker { outcome, coordinator_epoch: 0 },
            version: TransactionVersion::Classic,
        };
        loop {
            if let Some(serving) = self.node.serving()
                && let Ok(appending) = serving.partition.append_marker(&end)
                && self.is_safe(serving, appending).await
            {
                return;
            }
            self.rt.reached("a marker is written again");
            self.pause(5, 60).await;
        }
    }

    async fn is_safe(&self, serving: Rc<Serving>, appending: hayate_engine::partition::Appending) -> bool {
        drop(serving);
        let settled = self.rt.timeout(PATIENCE, appending.settled()).await;
        matches!(settled, Ok(Ok(_)))
    }

    /// How the groups are.
    pub(super) async fn describe(&self) -> Option<Vec<DescribedGroup>> {
        let groups = GROUPS.map(str::to_owned).to_vec();
        let request = GroupRequest::Describe { groups, version: 6 };
        match self.node.ask(&self.rt, request, PATIENCE).await {
            Ok(GroupAnswer::Describe(described)) => Some(described),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }

    /// Looks now and then who is a member.
    pub(super) async fn watch(self, is_faulty: bool) {
        while !self.ends.get() {
            self.pause(200, 800).await;
            let now_ms = self.now_ms();
            let Some(described) = self.describe().await else { continue };
            // Sessions begin anew with each load, and on a faulty disk loads come unseen.
            let since_ms = self.node.started_ms.get();
            let members = described.iter().flat_map(|group| &group.members);
            for member in members.filter(|member| member.group_instance_id.is_none() && !is_faulty) {
                let silent = self.ledger.borrow().silent_since(&member.member_id);
                let kept_ms = silent.map_or(0, |silent| now_ms.saturating_sub(silent.max(since_ms)));
                assert!(
                    kept_ms <= KEPT_MS_MAX,
                    "{} is a member {kept_ms} ms after its end",
                    member.member_id.as_str()
                );
            }
        }
        self.busy.set(self.busy.get() - 1);
    }
}
