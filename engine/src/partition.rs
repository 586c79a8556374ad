//! One partition on the shard that leads it: its log, its leader epoch, its in-sync replicas and its high watermark.
//!
//! Appends and reads are judged here with Kafka's rules and error codes; bytes are the log's business, requests the
//! caller's. The high watermark is the least flushed end over the in-sync replicas, which so far is this node alone;
//! where flushing is relaxed it is the log's end. Whoever waits for records is woken when it moves. After Kafka's
//! `Partition`.

mod admin;
mod append;
pub mod judge;
mod read;
pub mod refusal;
mod settings;
pub mod topic_config;
mod transactions;
pub mod verification;

pub use admin::{ActiveProducer, DeleteBefore, LogSize};
pub use append::{Appending, Durability};
pub use read::{FetchFrom, Fetched, Isolation, LookupTime, Probed, TimedOffset};
pub use refusal::AppendFailure;
pub use settings::PartitionSettings;
pub use transactions::MarkerListener;

use crate::metrics::TopicCells;
use crate::placement::PartitionKey;
use crate::purgatory::{Watch, Watchers};
use hayate_net::error::ErrorCode;
use hayate_storage::batch::{LeaderEpoch, Offset};
use hayate_storage::log::Log;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use verification::Verifications;

/// Whether a partition serves requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionState {
    /// It does.
    Online,
    /// Its log or its log folder failed, or its bytes are damaged: error 56 until a restart.
    Offline,
}

/// A partition that this shard leads.
pub struct Partition {
    key: PartitionKey,
    log: Log,
    leader_epoch: Cell<LeaderEpoch>,
    high_watermark: Cell<Offset>,
    last_stable: Cell<Offset>,
    settings: RefCell<Rc<PartitionSettings>>,
    watchers: Watchers,
    /// Those that wait for committed records.
    committed_watchers: Watchers,
    verifications: RefCell<Verifications>,
    marker_listener: RefCell<Option<MarkerListener>>,
    closed: Cell<bool>,
    /// What its topic counts in on this shard.
    cells: OnceCell<Arc<TopicCells>>,
}

impl Partition {
    /// Takes the lead of `log` in `leader_epoch`.
    pub fn new(
        key: PartitionKey,
        log: Log,
        leader_epoch: LeaderEpoch,
        settings: Rc<PartitionSettings>,
    ) -> Rc<Partition> {
        let partition = Rc::new(Partition {
            key,
            high_watermark: Cell::new(log.offsets().high_watermark),
            last_stable: Cell::new(log.offsets().last_stable),
            log,
            leader_epoch: Cell::new(leader_epoch),
            settings: RefCell::new(settings),
            watchers: Watchers::default(),
            committed_watchers: Watchers::default(),
            verifications: RefCell::default(),
            marker_listener: RefCell::default(),
            closed: Cell::new(false),
            cells: OnceCell::new(),
        });
        let weak = Rc::downgrade(&partition);
        partition.log.on_progress(Rc::new(move || {
            if let Some(partition) = weak.upgrade() {
                partition.progress();
            }
        }));
        partition.progress();
        partition
    }

    /// Its name that is never used twice.
    pub fn key(&self) -> PartitionKey {
        self.key
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The epoch in which this node leads it.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch.get()
    }

    /// Everything before this offset is safe: no crash takes it back.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark.get()
    }

    /// Whether it serves requests.
    pub fn state(&self) -> PartitionState {
        match self.log.failure() {
            None => PartitionState::Online,
            Some(_) => PartitionState::Offline,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> Rc<PartitionSettings> {
        self.settings.borrow().clone()
    }

    /// Puts new settings in force.
    pub fn set_settings(&self, settings: Rc<PartitionSettings>) {
        self.log.update_config(settings.log.clone());
        *self.settings.borrow_mut() = settings;
        self.progress();
    }

    /// Begins a newer leader epoch of this node. The log writes it down with the first batch of it.
    pub fn set_leader_epoch(&self, epoch: LeaderEpoch) {
        if epoch > self.leader_epoch.get() {
            self.leader_epoch.set(epoch);
            self.disturbed();
        }
    }

    /// The topic is being deleted: requests that reach it from now on find nothing.
    pub fn close(&self) {
        self.closed.set(true);
        self.disturbed();
    }

    /// What its topic counts in, `made` with the first records; `None` once the topic is being deleted.
    pub fn topic_cells(&self, made: impl FnOnce() -> Arc<TopicCells>) -> Option<&TopicCells> {
        if self.closed.get() { None } else { Some(self.cells.get_or_init(made)) }
    }

    /// Lets a fetch wait for this partition.
    pub fn watch(&self, watch: Rc<Watch>, isolation: Isolation) {
        match isolation {
            Isolation::Uncommitted => self.watchers.add(watch),
            Isolation::Committed => self.committed_watchers.add(watch),
        }
    }

    fn disturbed(&self) {
        self.watchers.disturbed();
        self.committed_watchers.disturbed();
    }

    /// What a request of a client that believes in `epoch` gets to hear: [`ErrorCode::None`] when they agree.
    fn check_epoch(&self, epoch: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        if self.closed.get() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        match epoch {
            Some(believed) if believed < self.leader_epoch.get() => Err(ErrorCode::FencedLeaderEpoch),
            Some(believed) if believed > self.leader_epoch.get() => Err(ErrorCode::UnknownLeaderEpoch),
            Some(_) | None => Ok(()),
        }
    }

    /// Moves the high watermark to what is safe now, and the last stable offset with it, and wakes whoever waited for either.
    fn progress(&self) {
        if self.log.failure().is_some() {
            self.disturbed();
            return;
        }
        let offsets = self.log.offsets();
        let relaxed = self.settings.borrow().is_flush_relaxed();
        let safe = if relaxed { offsets.end } else { offsets.flushed };
        let before = self.high_watermark.get();
        if safe > before {
            self.high_watermark.set(safe);
            self.log.set_high_watermark(safe);
        }
        // It may move on its own, with the log's start.
        let stable = self.log.offsets().last_stable;
        let stable_before = self.last_stable.replace(stable);
        self.gained(&self.watchers, before, safe);
        self.gained(&self.committed_watchers, stable_before, stable);
    }

    fn gained(&self, watchers: &Watchers, from: Offset, to: Offset) {
        if from < to && !watchers.is_empty() {
            let from = from.max(self.log.offsets().start);
            watchers.gained(self.log.readable_bytes(from, to).unwrap_or(1));
        }
    }
}

/// Kafka's rule for codes that the storage layer names by number.
fn code_of(number: i16) -> ErrorCode {
    ErrorCode::from_code(number).unwrap_or(ErrorCode::UnknownServerError)
}
