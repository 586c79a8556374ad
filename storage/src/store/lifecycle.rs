//! Opening, growing, shrinking and closing a store.

use super::checkpoint;
use super::{Budget, Counters, LogSpec, Owner, ReadCache, Shared, Store, StoreConfig, materialiser, writer};
use crate::disk::Disk;
use crate::error::StorageError;
use crate::log::{Log, LogInner};
use crate::names::{FileKind, FolderMark, TopicPartition};
use crate::wal::format::LogId;
use crate::wal::guard::{GUARD_FILE, TailGuard};
use crate::wal::{WAL_FOLDER, WalFiles, discard, shard_folder};
use hayate_rt::notify::{Lock, Notify};
use hayate_rt::{Queue, Rt};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

impl Store {
    /// Opens the logs of a shard. [`recover`](crate::recovery::recover) must have run on the data folder since the last start: the
    /// checkpoint is believed. A log that neither the checkpoint nor the disk knows is made.
    ///
    /// # Errors
    /// Those of the disk; [`StorageError::Foreign`] or [`StorageError::Corrupt`] when the folder is not what the checkpoint says.
    pub async fn open(
        rt: Rt,
        disk: Disk,
        config: StoreConfig,
        logs: Vec<LogSpec>,
    ) -> Result<Store, StorageError> {
        Store::open_telling(rt, disk, config, logs, &mut |_, _| ()).await
    }

    /// As [`Store::open`]; `progress` hears how many logs are open, of how many.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_telling(
        rt: Rt,
        disk: Disk,
        config: StoreConfig,
        logs: Vec<LogSpec>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Store, StorageError> {
        disk.create_dir_all(&config.data_dir).await?;
        let checkpoint = checkpoint::load(&disk, &config.data_dir).await?.merged;
        let folder = config.data_dir.join(WAL_FOLDER).join(shard_folder(config.shard));
        let wal = WalFiles::create(&disk, &folder, rt.random_u64(), config.wal).await?;
        let guard = TailGuard::create(&disk, &folder.join(GUARD_FILE)).await?;
        let shared = Rc::new(Shared::new(rt, disk, config, wal, guard, checkpoint.generation));
        let of = logs.len();
        for (done, spec) in logs.into_iter().enumerate() {
            progress(done, of);
            let id = LogId { topic_id: spec.topic_id, partition: spec.partition.partition };
            let partition = spec.partition.clone();
            let log = match checkpoint.entries.get(&id) {
                Some(entry) => LogInner::open(&shared, spec, entry.start.clone()).await?,
                None => LogInner::create(&shared, spec).await?,
            };
            shared.logs.borrow_mut().insert(partition, log);
        }
        // From now on a log without an entry is one that this broker made.
        shared.write_checkpoint().await?;
        let store = Store { _owner: Rc::new(Owner(shared.clone())), shared };
        store.start_tasks();
        Ok(store)
    }

    fn start_tasks(&self) {
        let rt = &self.shared.rt;
        rt.spawn(Queue::Foreground, writer::run(self.shared.clone())).detach();
        rt.spawn(Queue::Background, materialiser::run(self.shared.clone())).detach();
    }

    /// Makes a log, durably. Making one that is there already gives that one.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn create_log(&self, spec: LogSpec) -> Result<Log, StorageError> {
        self.shared.check()?;
        if let Some(log) = self.log(&spec.partition).filter(|log| log.topic_id() == spec.topic_id) {
            return Ok(log);
        }
        let partition = spec.partition.clone();
        let inner = LogInner::create(&self.shared, spec).await?;
        self.shared.logs.borrow_mut().insert(partition, inner.clone());
        Ok(Log { inner })
    }

    /// Deletes a log: out of sight at once and durably, its files after the delay.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn delete_log(&self, partition: &TopicPartition) -> Result<(), StorageError> {
        let Some(inner) = self.shared.logs.borrow_mut().remove(partition) else { return Ok(()) };
        inner.fail(&StorageError::Closed);
        let held = inner.files.acquire().await;
        let shared = &self.shared;
        let gone = partition.marked_folder_name(FolderMark::Delete, shared.rt.uuid());
        let gone = shared.config.data_dir.join(gone);
        shared.disk.rename(&inner.folder, &gone).await?;
        shared.disk.sync_dir(&shared.config.data_dir).await?;
        drop(held);
        shared.forget_reads(inner.id);
        shared.write_checkpoint().await?;
        let later = shared.clone();
        let removing = async move {
            later.rt.sleep(later.config.delete_delay).await;
            if let Err(error) = later.disk.remove_dir_all(&gone).await {
                tracing::warn!(folder = %gone.display(), %error, "deleted log could not be removed; remove it by hand");
            }
        };
        shared.rt.spawn(Queue::Background, removing).detach();
        Ok(())
    }

    /// Stops: everything appended becomes durable in segments with their indexes and snapshots, the WAL is removed. The next start
    /// finds a clean folder.
    ///
    /// # Errors
    /// Those of the disk; the WAL then stays, and the next start recovers.
    pub async fn close(&self) -> Result<(), StorageError> {
        self.close_telling(&mut |_, _| ()).await
    }

    /// As [`Store::close`]; `progress` hears how many logs are written out, of how many.
    ///
    /// # Errors
    /// As [`Store::close`].
    pub async fn close_telling(&self, progress: &mut dyn FnMut(usize, usize)) -> Result<(), StorageError> {
        let shared = &self.shared;
        shared.check()?;
        shared.closing.set(true);
        // One that is damaged stays as it is, and keeps the others from nothing. One that failed with records in the WAL needs the WAL:
        // its error ends this.
        let logs: Vec<Log> = self.logs().into_iter().filter(|log| !log.inner.is_left_alone()).collect();
        for log in &logs {
            log.flush_within_space().await?;
        }
        for (done, log) in logs.iter().enumerate() {
            progress(done, logs.len());
            log.inner.cut_finished().await?;
            log.inner.close().await?;
        }
        progress(logs.len(), logs.len());
        shared.write_checkpoint().await?;
        shared.stopped.set(true);
        shared.work.notify();
        shared.pressure.notify();
        let wal = shared.config.data_dir.join(WAL_FOLDER).join(shard_folder(shared.config.shard));
        Ok(discard(&shared.disk, &wal).await?)
    }
}

impl LogInner {
    /// Whether the log is offline with all that it ever took in its segments: nothing of it is in the WAL.
    fn is_left_alone(&self) -> bool {
        let state = self.state.borrow();
        let in_segments = state.oldest_wal.is_none() && state.accounted.offset == state.end;
        state.failed.is_some() && in_segments && state.control.is_empty()
    }

    /// Waits for a cut that began before the store was closing: it changes files and needs its frame in the WAL.
    async fn cut_finished(&self) -> Result<(), StorageError> {
        loop {
            let changed = self.flushed.notified();
            self.check()?;
            if !self.state.borrow().truncating {
                return Ok(());
            }
            if self.shared.is_full() {
                return Err(StorageError::NoSpace);
            }
            changed.await;
        }
    }

    /// Leaves the log as Kafka would: segments cut to size, indexes and the producer snapshot stored.
    async fn close(self: &Rc<Self>) -> Result<(), StorageError> {
        self.account().await?;
        let _held = self.files.acquire().await;
        let (active, end) = {
            let state = self.state.borrow();
            (state.active().base, state.end_mark())
        };
        let file = self.segment_file(active).await?;
        if file.len().await? != end.pos {
            file.truncate(end.pos).await?;
            file.sync().await?;
        }
        self.store_indexes_of_sound(active).await?;
        let snapshot = {
            let state = self.state.borrow();
            (!state.flushed_producers.is_empty()).then(|| state.flushed_producers.encode_snapshot())
        };
        if let Some(snapshot) = snapshot {
            let path = self.segment_path(end.offset, FileKind::Snapshot);
            self.shared.disk.replace_small(path, &snapshot).await?;
        }
        self.store_epochs().await
    }
}

impl Shared {
    fn new(
        rt: Rt,
        disk: Disk,
        config: StoreConfig,
        wal: WalFiles,
        guard: TailGuard,
        generation: u64,
    ) -> Shared {
        let reads = ReadCache::new(config.memory_bytes);
        let producer_expiration_ms = Cell::new(config.producer_expiration_ms);
        Shared {
            rt,
            disk,
            config,
            wal: RefCell::new(wal),
            guard: Rc::new(guard),
            next_lsn: Cell::new(1),
            logs: RefCell::new(BTreeMap::new()),
            queue: RefCell::new(VecDeque::new()),
            work: Notify::default(),
            freed: Notify::default(),
            pressure: Notify::default(),
            making_file: Cell::new(false),
            checkpoint_lock: Lock::default(),
            checkpoint_generation: Cell::new(generation),
            budget: Rc::new(Budget::default()),
            reads: RefCell::new(reads),
            producer_expiration_ms,
            counters: Counters::default(),
            no_space: Cell::new(false),
            closing: Cell::new(false),
            stopped: Cell::new(false),
            failed: RefCell::new(None),
            failure: Notify::default(),
        }
    }
}
