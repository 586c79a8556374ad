//! The logs of one shard and what they share: the WAL and its writer, the materialiser that lets go of WAL files, the
//! memory budget, the checkpoint.
//!
//! ```text
//!  append ──▶ chunk ──▶ queue ──▶ writer: group ──▶ WAL file ──▶ acknowledged
//!               │                                       │ full
//!               └──▶ materialiser: segments ──▶ checkpoint ──▶ WAL file released
//! ```

mod budget;
pub(crate) mod checkpoint;
mod lifecycle;
mod materialiser;
mod retention;
mod writer;

pub use budget::StoreStats;
pub(crate) use budget::{Budget, Charge, Counters, ReadCache, ReadKey};
pub use checkpoint::reread_checkpoint;

use crate::config::LogConfig;
use crate::disk::{Disk, DiskError, DiskSpace};
use crate::error::StorageError;
use crate::log::{Log, LogInner, LogStart};
use crate::names::TopicPartition;
use crate::wal::guard::TailGuard;
use crate::wal::{WalConfig, WalFiles};
use bytes::Bytes;
use hayate_rt::Rt;
use hayate_rt::notify::{Lock, Notify};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// How long a full disk is waited for before it is tried again.
const SPACE_RETRY: Duration = Duration::from_millis(200);

/// Settings of one shard's store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data folder: partitions' folders, checkpoints, the WAL.
    pub data_dir: PathBuf,
    /// The shard's number: names its WAL and its checkpoint.
    pub shard: usize,
    /// Sizes of the WAL.
    pub wal: WalConfig,
    /// Appends of one partition that wait with so many bytes go straight to the segment.
    pub direct_bytes_min: u64,
    /// The most bytes that chunks and kept reads may take.
    pub memory_bytes: usize,
    /// The most bytes that may wait for their flush before [`Store::writable`] waits.
    pub unflushed_bytes_max: u64,
    /// How long after its deletion the files of a log are kept (`file.delete.delay.ms` of the broker).
    pub delete_delay: Duration,
    /// `producer.id.expiration.ms`, until [`Store::set_producer_expiration_ms`].
    pub producer_expiration_ms: i64,
}

impl StoreConfig {
    /// Defaults for `shard` of the data in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>, shard: usize) -> StoreConfig {
        StoreConfig {
            data_dir: data_dir.into(),
            shard,
            wal: WalConfig::default(),
            direct_bytes_min: 256 << 10,
            memory_bytes: 1 << 30,
            unflushed_bytes_max: 64 << 20,
            delete_delay: Duration::from_secs(60),
            producer_expiration_ms: crate::producers::EXPIRATION_MS_DEFAULT,
        }
    }
}

/// Which log, and how it is to behave.
#[derive(Clone, Debug)]
pub struct LogSpec {
    /// The partition.
    pub partition: TopicPartition,
    /// Its topic's id, big-endian.
    pub topic_id: [u8; 16],
    /// The settings.
    pub config: LogConfig,
}

/// One shard's logs. Cloning gives another handle.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Rc<Shared>,
    /// Shared by all handles of the store.
    _owner: Rc<Owner>,
}

/// Lets go of the logs with the last handle: they and what they share hold on to each other.
struct Owner(Rc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        let logs = std::mem::take(&mut *self.0.logs.borrow_mut());
        let queue = std::mem::take(&mut *self.0.queue.borrow_mut());
        drop((logs, queue));
    }
}

pub(crate) struct Shared {
    pub(crate) rt: Rt,
    pub(crate) disk: Disk,
    pub(crate) config: StoreConfig,
    pub(crate) wal: RefCell<WalFiles>,
    pub(crate) guard: Rc<TailGuard>,
    next_lsn: Cell<u64>,
    logs: RefCell<BTreeMap<TopicPartition, Rc<LogInner>>>,
    /// Logs that have something for the WAL, in the order of their asking.
    queue: RefCell<VecDeque<Rc<LogInner>>>,
    /// The queue is no longer empty, or the store is closing.
    work: Notify,
    /// A WAL file became free, or the disk has space again.
    freed: Notify,
    /// There is something to write out.
    pressure: Notify,
    making_file: Cell<bool>,
    checkpoint_lock: Lock,
    checkpoint_generation: Cell<u64>,
    pub(crate) budget: Rc<Budget>,
    reads: RefCell<ReadCache>,
    /// `producer.id.expiration.ms` in force.
    pub(crate) producer_expiration_ms: Cell<i64>,
    counters: Counters,
    no_space: Cell<bool>,
    /// Nothing more is taken.
    closing: Cell<bool>,
    /// The writer and the materialiser end.
    stopped: Cell<bool>,
    failed: RefCell<Option<Rc<DiskError>>>,
    /// `failed` was set.
    failure: Notify,
}

impl Shared {
    /// # Errors
    /// Why the log folder is offline.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        match &*self.failed.borrow() {
            Some(cause) => Err(StorageError::Offline(cause.clone())),
            None => Ok(()),
        }
    }

    /// # Errors
    /// [`StorageError::Closed`] once the store is closing.
    pub(crate) fn check_open(&self) -> Result<(), StorageError> {
        if self.closing.get() { Err(StorageError::Closed) } else { Ok(()) }
    }

    /// Whether anything can still be written.
    fn is_usable(&self) -> bool {
        self.check().is_ok() && self.check_open().is_ok()
    }

    /// # Errors
    /// [`StorageError::NoSpace`] while the disk is full, [`StorageError::Closed`] once the store is closing.
    pub(crate) fn check_space(&self) -> Result<(), StorageError> {
        self.check_open()?;
        if self.no_space.get() { Err(StorageError::NoSpace) } else { Ok(()) }
    }

    /// Whether the disk is full, as far as is known.
    pub(crate) fn is_full(&self) -> bool {
        self.no_space.get()
    }

    /// The disk was full: gives it time.
    pub(crate) async fn wait_for_space(&self) {
        self.set_no_space(true);
        self.rt.sleep(SPACE_RETRY).await;
    }

    /// Whether data of this log cannot be ours: no checkpoint names it, and the folder has none.
    pub(crate) fn is_foreign(&self, start: &LogStart) -> bool {
        start.is_new() && self.checkpoint_generation.get() == 0
    }

    pub(crate) fn enqueue(&self, log: Rc<LogInner>) {
        self.queue.borrow_mut().push_back(log);
        self.work.notify();
    }

    /// Takes this store's part of the log folder offline: an IO error leaves it unknown what is on disk, so nothing is retried. Whoever
    /// waits for [`Store::failed`] tells the folder's other stores.
    pub(crate) fn fail(&self, error: &StorageError) {
        let cause = match error {
            StorageError::Disk(cause) | StorageError::Offline(cause) => cause.clone(),
            StorageError::NoSpace
            | StorageError::Corrupt(_)
            | StorageError::Closed
            | StorageError::Cut
            | StorageError::Foreign(_) => Rc::new(self.unknown_failure(error)),
        };
        if self.failed.borrow().is_some() {
            return;
        }
        tracing::error!(%cause, folder = %self.config.data_dir.display(), "log folder taken offline; restart to recover it");
        *self.failed.borrow_mut() = Some(cause.clone());
        self.rt.reached("log folder offline");
        let logs: Vec<_> = self.logs.borrow().values().cloned().collect();
        for log in logs {
            log.fail(&StorageError::Offline(cause.clone()));
        }
        self.freed.notify();
        self.work.notify();
        self.pressure.notify();
        self.failure.notify();
    }

    /// What took the folder offline when it was no call of the disk.
    fn unknown_failure(&self, error: &StorageError) -> DiskError {
        tracing::error!(%error, "a log cannot go on");
        DiskError::Io { op: "keep logs in", path: self.config.data_dir.clone(), errno: libc::EIO }
    }

    /// Whether the disk is full, as somebody who writes has found out; appends are refused meanwhile.
    pub(crate) fn set_no_space(&self, full: bool) {
        if self.no_space.replace(full) == full {
            return;
        }
        if full {
            tracing::warn!("the disk is full: produce requests fail until there is space");
            self.rt.reached("disk full");
            let logs: Vec<_> = self.logs.borrow().values().cloned().collect();
            logs.iter().for_each(|log| log.progress());
        } else {
            tracing::info!("the disk has space again: producing resumes");
            self.rt.reached("space again");
        }
        self.freed.notify();
    }

    pub(crate) fn kept_read(&self, key: ReadKey, pos: u64) -> Option<Bytes> {
        self.reads.borrow_mut().get(key, pos)
    }

    pub(crate) fn keep_read(&self, key: ReadKey, pos: u64, bytes: Bytes) {
        self.reads.borrow_mut().put(key, pos, bytes);
    }

    pub(crate) fn forget_reads(&self, log: crate::wal::format::LogId) {
        self.reads.borrow_mut().forget(log);
    }

    pub(crate) fn begin_read_ahead(&self) -> bool {
        self.reads.borrow_mut().begin_read_ahead()
    }

    pub(crate) fn end_read_ahead(&self) {
        self.reads.borrow_mut().end_read_ahead();
    }
}

impl Store {
    /// The log of a partition, if this shard has it.
    pub fn log(&self, partition: &TopicPartition) -> Option<Log> {
        self.shared.logs.borrow().get(partition).map(|inner| Log { inner: inner.clone() })
    }

    /// All logs of this shard.
    pub fn logs(&self) -> Vec<Log> {
        self.shared.logs.borrow().values().map(|inner| Log { inner: inner.clone() }).collect()
    }

    /// Waits while too much is unflushed or held in memory: back-pressure for whoever appends.
    pub async fn writable(&self) {
        loop {
            let freed = self.shared.freed.notified();
            let waits =
                self.shared.is_behind() && self.shared.check().is_ok() && self.shared.check_space().is_ok();
            if !waits {
                return;
            }
            self.shared.count_stall();
            freed.await;
        }
    }

    /// Changes `producer.id.expiration.ms`, for the logs that are open and those to come.
    pub fn set_producer_expiration_ms(&self, expiration_ms: i64) {
        if self.shared.producer_expiration_ms.replace(expiration_ms) == expiration_ms {
            return;
        }
        for log in self.shared.logs.borrow().values() {
            let mut state = log.state.borrow_mut();
            state.producers.set_expiration_ms(expiration_ms);
            state.flushed_producers.set_expiration_ms(expiration_ms);
        }
    }

    /// Resolves with the cause when the disk has taken this store offline.
    pub async fn failed(&self) -> DiskError {
        loop {
            let failure = self.shared.failure.notified();
            if let Some(cause) = &*self.shared.failed.borrow() {
                return DiskError::clone(cause);
            }
            failure.await;
        }
    }

    /// Whether the disk has taken this store offline.
    pub fn is_offline(&self) -> bool {
        self.shared.failed.borrow().is_some()
    }

    /// How large the file system of the data folder is, and what it would still take.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn space(&self) -> Result<DiskSpace, DiskError> {
        self.shared.disk.space(&self.shared.config.data_dir).await
    }

    /// Takes this store offline for what befell another one in the same folder. Once is enough; the first cause stays.
    pub fn fail(&self, cause: &DiskError) {
        self.shared.fail(&StorageError::Disk(Rc::new(cause.clone())));
    }

    /// What was counted since the store was opened.
    pub fn stats(&self) -> StoreStats {
        self.shared.stats()
    }
}
