//! The partitions that one shard owns, and how it serves calls on them, from its own connections or from other shards.
//!
//! [`Owner::start`] does what must happen in the order of the calls (appending, above all) before it returns, and leaves
//! the waiting to a future. Nothing here calls another shard. A panic here aborts: see [`super::panics`].

use super::calls::{
    Append, AppendedAt, DeletePart, EpochPart, LookupPart, MarkerPart, Outcomes, PartitionAnswer,
    PartitionCall, Probe, ReadPart, ReadPartAnswer, VerifyPart,
};
use super::panics::{vital, vital_future};
use super::view::ClusterView;
use crate::metrics::{AppendTimes, CopyPath, ShardMetrics, TopicCells};
use crate::partition::verification::Guard;
use crate::partition::{AppendFailure, Appending, Durability, Fetched, Partition, Probed};
use crate::placement::{PartitionKey, ShardId};
use crate::purgatory::Watch;
use hayate_net::error::ErrorCode;
use hayate_rt::notify::Notify;
use hayate_rt::{MonoTime, Rt};
use hayate_storage::batch::{LeaderEpoch, Offset};
use hayate_storage::disk::DiskSpace;
use hayate_storage::store::Store;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long an append may wait for its flush: as long as Kafka's producers wait for an answer by default.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);

/// The partitions of one shard.
pub struct Owner {
    rt: Rt,
    shard: ShardId,
    partitions: RefCell<BTreeMap<PartitionKey, Rc<Partition>>>,
    /// Partitions whose log could not be opened or made.
    unopened: RefCell<BTreeSet<PartitionKey>>,
    applied: RefCell<Rc<ClusterView>>,
    followed: Notify,
    store: RefCell<Option<Store>>,
    metrics: Arc<ShardMetrics>,
}

/// A call that has begun.
pub enum Started {
    /// Its answer.
    Done(PartitionAnswer),
    /// What is left of it: disk, or waiting for a flush.
    Later(Pin<Box<dyn Future<Output = PartitionAnswer>>>),
}

impl Started {
    /// The same after one look at whether it can be answered now. Does not wait.
    pub async fn now(self) -> Started {
        match self {
            Started::Done(answer) => Started::Done(answer),
            Started::Later(mut rest) => match poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx))).await {
                Poll::Ready(answer) => Started::Done(answer),
                Poll::Pending => Started::Later(rest),
            },
        }
    }

    /// Waits for the answer.
    pub async fn finish(self) -> PartitionAnswer {
        match self {
            Started::Done(answer) => answer,
            Started::Later(rest) => rest.await,
        }
    }
}

impl Owner {
    /// Owns nothing yet, and serves what `view` says.
    pub fn new(rt: Rt, shard: ShardId, view: ClusterView, metrics: Arc<ShardMetrics>) -> Rc<Owner> {
        Rc::new(Owner {
            rt,
            shard,
            partitions: RefCell::default(),
            unopened: RefCell::default(),
            applied: RefCell::new(Rc::new(view)),
            followed: Notify::default(),
            store: RefCell::default(),
            metrics,
        })
    }

    /// Counts payload bytes that were copied for a peer.
    pub fn count_copy(&self, path: CopyPath, bytes: usize) {
        self.metrics.count_copy(path, bytes);
    }

    /// Which shard this is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Monotonic time now.
    pub fn now(&self) -> MonoTime {
        self.rt.now()
    }

    /// A call of this shard to another waits for a credit.
    pub fn mailbox_full(&self) {
        self.rt.reached("mailbox full");
        self.metrics.mailbox_waits.add(1);
    }

    /// The partitions' logs lie in `store`.
    pub fn set_store(&self, store: Store) {
        *self.store.borrow_mut() = Some(store);
    }

    /// Waits while too much here is appended and not yet flushed: back-pressure for whoever appends.
    pub async fn writable(&self) {
        let store = self.store.borrow().clone();
        if let Some(store) = store {
            store.writable().await;
        }
    }

    /// How large the file system of the data folder is, and what it would still take.
    ///
    /// # Errors
    /// 56 when the folder is offline.
    pub async fn disk_space(&self) -> Result<DiskSpace, ErrorCode> {
        let store = self.store.borrow().clone();
        let store = store.filter(|store| !store.is_offline()).ok_or(ErrorCode::KafkaStorageError)?;
        store.space().await.map_err(|_| ErrorCode::KafkaStorageError)
    }

    /// A partition, if this shard owns it.
    pub fn partition(&self, key: PartitionKey) -> Option<Rc<Partition>> {
        self.partitions.borrow().get(&key).cloned()
    }

    /// All partitions, by key.
    pub fn partitions(&self) -> Vec<Rc<Partition>> {
        self.partitions.borrow().values().cloned().collect()
    }

    /// Takes a partition on.
    pub fn insert(&self, partition: Rc<Partition>) {
        let previous = self.partitions.borrow_mut().insert(partition.key(), partition);
        assert!(previous.is_none(), "a partition is taken on once");
    }

    /// Lets a partition go; requests find nothing from now on.
    pub fn remove(&self, key: PartitionKey) -> Option<Rc<Partition>> {
        let partition = self.partitions.borrow_mut().remove(&key)?;
        partition.close();
        let first = PartitionKey { partition: i32::MIN, ..key };
        let next = self.partitions.borrow().range(first..).next().map(|(next, _)| next.topic_id);
        if next != Some(key.topic_id) {
            self.metrics.topics.forget(key.topic_id);
        }
        Some(partition)
    }

    /// Whether some partition's log could not be opened or made.
    pub fn has_unopened(&self) -> bool {
        !self.unopened.borrow().is_empty()
    }

    /// The view that this shard serves.
    pub fn view(&self) -> Rc<ClusterView> {
        self.applied.borrow().clone()
    }

    /// Everything that `view` says is served from now on, but for the partitions that could not be opened.
    pub fn set_view(&self, view: ClusterView, unopened: BTreeSet<PartitionKey>) {
        *self.unopened.borrow_mut() = unopened;
        *self.applied.borrow_mut() = Rc::new(view);
        self.followed.notify();
    }

    /// Resolves once a view of this generation or a later one is served.
    pub async fn follows(&self, generation: u64) {
        loop {
            let followed = self.followed.notified();
            if self.view().generation >= generation {
                return;
            }
            followed.await;
        }
    }

    /// Begins to serve a call. Appends have their place in the log when this returns.
    pub fn start(self: &Rc<Self>, call: PartitionCall) -> Started {
        match call {
            PartitionCall::Append(append) => self.append(append),
            PartitionCall::Verify(parts) => {
                Started::Done(PartitionAnswer::Verify(vital(|| self.verify(&parts))))
            }
            PartitionCall::WriteMarkers(parts) => self.write_markers(&parts),
            PartitionCall::Probe(probe) => {
                Started::Done(PartitionAnswer::Probe(vital(|| self.probe(&probe))))
            }
            PartitionCall::Read(parts) => {
                let owner = self.clone();
                let read = async move { PartitionAnswer::Read(owner.read(&parts).await) };
                Started::Later(Box::pin(vital_future(read)))
            }
            PartitionCall::Lookup(parts) => {
                let owner = self.clone();
                let lookup = async move { PartitionAnswer::Lookup(owner.lookup(&parts).await) };
                Started::Later(Box::pin(vital_future(lookup)))
            }
            PartitionCall::EpochEnds(parts) => {
                Started::Done(PartitionAnswer::EpochEnds(vital(|| self.epoch_ends(&parts))))
            }
            PartitionCall::DeleteRecords(parts) => {
                let owner = self.clone();
                let delete =
                    async move { PartitionAnswer::DeleteRecords(owner.delete_records(&parts).await) };
                Started::Later(Box::pin(vital_future(delete)))
            }
            PartitionCall::Sizes(keys) => {
                let size = |key: &PartitionKey| self.find(*key).map(|partition| partition.log_size());
                Started::Done(PartitionAnswer::Sizes(vital(|| keys.iter().map(size).collect())))
            }
            PartitionCall::Producers(keys) => {
                let producers = |key: &PartitionKey| self.find(*key)?.active_producers();
                Started::Done(PartitionAnswer::Producers(vital(|| keys.iter().map(producers).collect())))
            }
            PartitionCall::Follow(generation) => {
                let owner = self.clone();
                Started::Later(Box::pin(async move {
                    owner.follows(generation).await;
                    PartitionAnswer::Follow
                }))
            }
        }
    }

    fn find(&self, key: PartitionKey) -> Result<Rc<Partition>, ErrorCode> {
        self.partition(key).ok_or_else(|| match self.unopened.borrow().contains(&key) {
            true => ErrorCode::KafkaStorageError,
            false => ErrorCode::NotLeaderOrFollower,
        })
    }

    fn append(&self, append: Append) -> Started {
        let now_ms = self.rt.wall_ms();
        let mut times = AppendTimes::default();
        let outcomes: Vec<_> = vital(|| {
            let one = |part: &super::calls::AppendPart| {
                let partition = self.find(part.key)?;
                let version = append.produce_version;
                let appending =
                    partition.append(&part.records, part.verdict.as_deref(), part.guard, version, now_ms)?;
                times.note_copy(appending.entered, self.rt.now());
                self.count_appended(&partition, &appending, part.records.len());
                Ok(appending)
            };
            append.parts.iter().map(one).collect()
        });
        if append.durability == Durability::None {
            let answers = outcomes.into_iter().map(|outcome| outcome.map(|appending| place(&appending)));
            return Started::Done(PartitionAnswer::Append(answers.collect(), times));
        }
        let rt = self.rt.clone();
        let settled = async move {
            let answers = settle(rt, outcomes, &mut times).await;
            PartitionAnswer::Append(answers, times)
        };
        Started::Later(Box::pin(vital_future(settled)))
    }

    fn verify(&self, parts: &[VerifyPart]) -> Vec<Result<Option<Guard>, AppendFailure>> {
        let now_ms = self.rt.wall_ms();
        let one =
            |part: &VerifyPart| self.find(part.key)?.needs_verification(&part.batch, part.version, now_ms);
        parts.iter().map(one).collect()
    }

    fn write_markers(&self, parts: &[MarkerPart]) -> Started {
        let append = |part: &MarkerPart| self.find(part.key)?.append_marker(&part.end);
        let outcomes: Vec<_> = vital(|| parts.iter().map(append).collect());
        let rt = self.rt.clone();
        let settled = async move {
            let settled = settle(rt, outcomes, &mut AppendTimes::default()).await.into_iter();
            let offsets =
                settled.map(|outcome| outcome.map(|at| at.base_offset).map_err(|failure| failure.code));
            PartitionAnswer::WriteMarkers(offsets.collect())
        };
        Started::Later(Box::pin(vital_future(settled)))
    }

    /// The cells of the topic. They are looked for once a partition.
    fn cells<'a>(&self, partition: &'a Partition) -> Option<&'a TopicCells> {
        partition.topic_cells(|| {
            let topic = partition.log().partition().topic.as_str();
            self.metrics.topics.of(partition.key().topic_id, topic)
        })
    }

    fn count_appended(&self, partition: &Partition, appending: &Appending, bytes: usize) {
        let (bytes, records) = (bytes as u64, appending.records().unsigned_abs());
        self.metrics.produced_bytes.add(bytes);
        self.metrics.produced_records.add(records);
        if let Some(cells) = self.cells(partition) {
            cells.produced_bytes.add(bytes);
            cells.produced_records.add(records);
        }
        if appending.rewritten_bytes > 0 {
            self.metrics.count_copy(CopyPath::Produce, appending.rewritten_bytes);
        }
    }

    fn probe(&self, probe: &Probe) -> Outcomes<Probed> {
        let outcomes: Outcomes<Probed> =
            probe.parts.iter().map(|part| self.find(part.key)?.probe(&part.from)).collect();
        if let Some(order) = &probe.watch {
            let readable: u64 = outcomes
                .iter()
                .zip(&probe.parts)
                .map(|(outcome, part)| outcome.as_ref().map_or(0, |probed| part.counted_bytes(probed)))
                .sum();
            let settled = outcomes.iter().any(|outcome| match outcome {
                Ok(probed) => probed.diverging.is_some(),
                Err(_) => true,
            });
            if !settled && let Some(missing_bytes) = order.missing_bytes(readable) {
                self.watch(&probe.parts, &Watch::new(order.slot.clone(), missing_bytes));
            }
        }
        outcomes
    }

    fn watch(&self, parts: &[super::calls::FetchPart], watch: &Rc<Watch>) {
        for part in parts {
            if let Some(partition) = self.partition(part.key) {
                partition.watch(watch.clone(), part.from.isolation);
            }
        }
    }

    async fn read(&self, parts: &[ReadPart]) -> Outcomes<ReadPartAnswer> {
        let mut outcomes = Vec::with_capacity(parts.len());
        for wanted in parts {
            outcomes.push(match self.find(wanted.part.key) {
                Ok(partition) => self.read_part(&partition, wanted).await,
                Err(code) => Err(code),
            });
        }
        outcomes
    }

    async fn read_part(&self, partition: &Partition, wanted: &ReadPart) -> Result<ReadPartAnswer, ErrorCode> {
        let read = partition.read(wanted.part.from, wanted.max_bytes, wanted.at_least_one).await;
        let Fetched { probed, records, offsets, aborted } = read?;
        if offsets > 0
            && let Some(cells) = self.cells(partition)
        {
            cells.fetched_bytes.add(records.iter().map(|slice| slice.len() as u64).sum());
            cells.fetched_records.add(offsets);
        }
        Ok(ReadPartAnswer { probed, records, aborted })
    }

    async fn lookup(&self, parts: &[LookupPart]) -> Outcomes<crate::partition::TimedOffset> {
        let mut outcomes = Vec::with_capacity(parts.len());
        for part in parts {
            outcomes.push(match self.find(part.key) {
                Ok(partition) => partition.offset_at(part.time, part.current_epoch, part.isolation).await,
                Err(code) => Err(code),
            });
        }
        outcomes
    }

    async fn delete_records(&self, parts: &[DeletePart]) -> Outcomes<Offset> {
        let begin = |part: &DeletePart| self.find(part.key)?.delete_records(part.before);
        let begun: Vec<_> = parts.iter().map(begin).collect();
        let mut outcomes = Vec::with_capacity(parts.len());
        for deleting in begun {
            outcomes.push(match deleting {
                Ok(deleting) => deleting.await,
                Err(code) => Err(code),
            });
        }
        outcomes
    }

    fn epoch_ends(&self, parts: &[EpochPart]) -> Outcomes<(LeaderEpoch, Offset)> {
        let one = |part: &EpochPart| self.find(part.key)?.epoch_end(part.epoch, part.current_epoch);
        parts.iter().map(one).collect()
    }
}

fn place(appending: &Appending) -> AppendedAt {
    AppendedAt {
        base_offset: appending.base_offset,
        log_append_time_ms: appending.log_append_time_ms,
        log_start_offset: appending.log_start_offset,
    }
}

/// Waits until every append is as safe as its producer wants it. The request's own `timeout.ms` bounds, in Kafka, the wait for other
/// replicas, of which there are none; that for this disk is bounded here, and only a disk that is stuck takes so long. What was
/// appended may then still become safe.
async fn settle(
    rt: Rt,
    outcomes: Vec<Result<Appending, AppendFailure>>,
    times: &mut AppendTimes,
) -> Vec<Result<AppendedAt, AppendFailure>> {
    let deadline = rt.now() + FLUSH_PATIENCE;
    let mut answers = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        answers.push(match outcome {
            Ok(appending) => {
                let at = place(&appending);
                match rt.timeout(deadline.since(rt.now()), appending.settled()).await {
                    Ok(settled) => {
                        settled.map(|group| times.note_group(group)).map(|()| at).map_err(AppendFailure::from)
                    }
                    Err(_) => {
                        rt.reached("append timed out");
                        Err(ErrorCode::RequestTimedOut.into())
                    }
                }
            }
            Err(failure) => Err(failure),
        });
    }
    answers
}
