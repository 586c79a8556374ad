//! The metadata quorum's log on disk: a partition log `__cluster_metadata-0` as Kafka's, one batch an entry, and raft's
//! hard state in a small file beside it. It knows entries, not what their records mean.
//!
//! The log has a store of its own, with a small WAL: it must be readable before anything else can be placed. It begins
//! behind its latest snapshot ([`snapshots`]).

mod snapshots;

pub(super) use snapshots::{START_FILE, SnapshotFailure};

use super::{BrokerOptions, StartError};
use crate::metadata::image::MetadataImage;
use crate::metadata::quorum::{HardState, Loaded, LogEntry};
use bytes::Bytes;
use hayate_rt::Rt;
use hayate_storage::batch::control::leader_change_batch;
use hayate_storage::batch::records::{Records, body};
use hayate_storage::batch::scan::{BatchScan, Checksums, Scanned};
use hayate_storage::batch::{BatchBuilder, BatchHeader, NO_TIMESTAMP_MS, Offset, ScanEnd, ValidBatch};
use hayate_storage::config::{CleanupPolicy, LogConfig};
use hayate_storage::disk::Disk;
use hayate_storage::error::{AppendError, StorageError};
use hayate_storage::log::Log;
use hayate_storage::names::TopicPartition;
use hayate_storage::store::{LogSpec, Store, StoreConfig};
use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

/// The log's topic, and its id in Kafka.
pub(super) const TOPIC: &str = "__cluster_metadata";
pub(super) const TOPIC_ID: [u8; 16] = 1u128.to_be_bytes();
/// The file of raft's hard state.
pub(super) const STATE_FILE: &str = "hayate.quorum";
const STATE_BYTES_MAX: usize = 4096;
/// Names the store's WAL; beyond the number of any shard.
const STORE_NUMBER: usize = 65_535;
/// Bytes that one read of the log takes.
const READ_BYTES: usize = 4 << 20;
/// Records unpack to no more: nothing here is compressed.
const UNPACKED_BYTES_MAX: usize = 64 << 20;
/// Pause between attempts while the disk is full.
const NO_SPACE_PAUSE: Duration = Duration::from_millis(100);

/// The log and the files beside it.
pub(super) struct MetadataLog {
    rt: Rt,
    disk: Disk,
    store: Store,
    log: Log,
    data_dir: PathBuf,
    node_id: i32,
    /// Bytes of entries that no snapshot accounts for.
    uncovered_bytes: Cell<u64>,
    /// The time of the last batch, in milliseconds.
    last_batch_ms: Cell<i64>,
}

/// What a start goes on from.
pub(super) struct Opened {
    /// The log.
    pub(super) log: MetadataLog,
    /// What the quorum goes on from.
    pub(super) loaded: Loaded,
    /// What lies before the first of its entries.
    pub(super) image: MetadataImage,
}

fn log_config(options: &BrokerOptions) -> LogConfig {
    LogConfig {
        segment_bytes: options.metadata_segment_bytes,
        cleanup_policy: CleanupPolicy { delete: false, compact: false },
        retention_ms: None,
        retention_bytes: None,
        max_message_bytes: 64 << 20,
        ..LogConfig::default()
    }
}

impl MetadataLog {
    /// Opens the log, or makes it; reads its latest snapshot, if there is one, and all entries behind that.
    ///
    /// # Errors
    /// [`StartError`]: what is there is damaged or cannot be read. It is kept.
    pub(super) async fn open(
        rt: &Rt,
        disk: &Disk,
        options: &BrokerOptions,
        cluster_id: &str,
    ) -> Result<Opened, StartError> {
        let config = StoreConfig {
            wal: options.metadata_wal,
            memory_bytes: 4 << 20,
            ..StoreConfig::new(options.data_dir.clone(), STORE_NUMBER)
        };
        let partition = TopicPartition { topic: TOPIC.to_owned(), partition: 0 };
        let spec = LogSpec { partition: partition.clone(), topic_id: TOPIC_ID, config: log_config(options) };
        let store = Store::open(rt.clone(), disk.clone(), config, vec![spec]).await?;
        let log = store.log(&partition).ok_or(StorageError::Closed)?;
        let log = MetadataLog {
            rt: rt.clone(),
            disk: disk.clone(),
            store,
            log,
            data_dir: options.data_dir.clone(),
            node_id: options.node_id,
            uncovered_bytes: Cell::new(0),
            last_batch_ms: Cell::new(NO_TIMESTAMP_MS),
        };
        let (start, image) = log.read_start(cluster_id).await?;
        let hard_state = log.read_state().await?;
        let entries = log.read_entries(start.offset.next(), start.index).await?;
        Ok(Opened { log, loaded: Loaded { hard_state, start, entries }, image })
    }

    /// The store that the log lies in.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    async fn read_state(&self) -> Result<Option<HardState>, StartError> {
        match self.disk.read_small(self.data_dir.join(STATE_FILE), STATE_BYTES_MAX).await? {
            None => Ok(None),
            Some(bytes) => Ok(Some(HardState::decode(&bytes)?)),
        }
    }

    /// The entries from `next` on; the one before it has raft's index `before`.
    async fn read_entries(&self, mut next: Offset, before: u64) -> Result<Vec<LogEntry>, StartError> {
        let end = self.log.offsets().end;
        let mut entries = Vec::new();
        while next < end {
            let read = self.log.read(next, end, READ_BYTES, true).await?;
            if read.next_offset <= next {
                return Err(StartError::Metadata(format!("nothing can be read at offset {next}")));
            }
            next = read.next_offset;
            let bytes = read.records.concat();
            self.count_batches(bytes.len(), decode_entries(&bytes, before, &mut entries)?);
        }
        Ok(entries)
    }

    fn count_batches(&self, bytes: usize, last_ms: i64) {
        self.uncovered_bytes.set(self.uncovered_bytes.get() + bytes as u64);
        self.last_batch_ms.set(last_ms);
    }

    /// Makes hard state and entries durable, in that order; where entries overlap the log, it is cut first. Waits while
    /// the disk is full.
    ///
    /// # Errors
    /// [`StorageError`]: the quorum cannot go on.
    pub(super) async fn persist(
        &self,
        hard_state: Option<HardState>,
        entries: &[LogEntry],
    ) -> Result<(), StorageError> {
        if let Some(state) = hard_state {
            self.write_state(&state.encode()).await?;
        }
        let Some(first) = entries.first() else { return Ok(()) };
        if first.base_offset < self.log.offsets().end {
            self.log.truncate_to(first.epoch, first.base_offset).await?;
        }
        for entry in entries {
            self.append(entry).await?;
        }
        self.log.flush().await
    }

    /// What is committed, for the log's own checkpoint.
    pub(super) fn set_committed(&self, end: Offset) {
        self.log.set_high_watermark(end);
    }

    async fn write_state(&self, bytes: &[u8]) -> Result<(), StorageError> {
        loop {
            match self.disk.replace_small(self.data_dir.join(STATE_FILE), bytes).await {
                Err(error) if error.is_no_space() => self.rt.sleep(NO_SPACE_PAUSE).await,
                outcome => return outcome.map_err(StorageError::from),
            }
        }
    }

    async fn append(&self, entry: &LogEntry) -> Result<(), StorageError> {
        let bytes = encode_entry(entry, self.node_id, self.rt.wall_ms());
        let header = BatchHeader::parse(&bytes).expect("a batch of our own making");
        let valid = ValidBatch { header, stamp: None, recompress: None };
        let appended = loop {
            match self.log.append(&bytes, &valid, entry.epoch) {
                Ok(appended) => break appended,
                Err(AppendError::Storage(StorageError::NoSpace)) => self.rt.sleep(NO_SPACE_PAUSE).await,
                Err(AppendError::Storage(error)) => return Err(error),
                Err(error @ (AppendError::Producer(_) | AppendError::LargerThanSegment { .. })) => {
                    unreachable!("no producer, and entries are bounded: {error}")
                }
            }
        };
        assert_eq!(appended.base_offset, entry.base_offset, "entries follow each other in the log");
        self.count_batches(bytes.len(), header.max_timestamp_ms);
        Ok(())
    }
}

fn encode_entry(entry: &LogEntry, node_id: i32, now_ms: i64) -> Bytes {
    if entry.opens_epoch() {
        return leader_change_batch(entry.base_offset, entry.epoch, now_ms, node_id, &[node_id], &[node_id]);
    }
    let batch = BatchBuilder::new().base_offset(entry.base_offset).leader_epoch(entry.epoch);
    entry.records.iter().fold(batch, |batch, value| batch.record(now_ms, None, Some(value))).build()
}

/// Adds the entries in `bytes` to those that follow raft's index `before`; the time of the last one.
fn decode_entries(bytes: &[u8], before: u64, entries: &mut Vec<LogEntry>) -> Result<i64, StartError> {
    let mut last_ms = NO_TIMESTAMP_MS;
    let mut scan = BatchScan::new(bytes, Checksums::Verify);
    for batch in scan.by_ref() {
        let index = before.saturating_add(entries.len() as u64 + 1);
        entries.push(decode_entry(&batch, index)?);
        last_ms = batch.header.max_timestamp_ms;
    }
    match scan.finish() {
        ScanEnd::Clean => Ok(last_ms),
        end @ (ScanEnd::Torn { .. } | ScanEnd::Blank { .. } | ScanEnd::Corrupt { .. }) => {
            Err(StartError::Metadata(format!("a batch cannot be read: {end:?}")))
        }
    }
}

fn decode_entry(batch: &Scanned<'_>, index: u64) -> Result<LogEntry, StartError> {
    let header = &batch.header;
    let damaged =
        |what: String| StartError::Metadata(format!("batch at offset {}: {what}", header.base_offset));
    let mut records = Vec::new();
    if !header.is_control() {
        let body =
            body(batch.bytes, header, UNPACKED_BYTES_MAX).map_err(|error| damaged(format!("{error:?}")))?;
        for record in Records::new(header, &body).map_err(|error| damaged(format!("{error:?}")))? {
            let record = record.map_err(|error| damaged(format!("{error:?}")))?;
            let value = record.value.ok_or_else(|| damaged("a record without a value".to_owned()))?;
            records.push(Bytes::copy_from_slice(value));
        }
    }
    Ok(LogEntry { index, epoch: header.partition_leader_epoch, base_offset: header.base_offset, records })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hayate_storage::batch::LeaderEpoch;

    #[test]
    fn entries_come_back_as_they_were() {
        let entry = |index, offset, records: &[&'static [u8]]| LogEntry {
            index,
            epoch: LeaderEpoch(3),
            base_offset: Offset(offset),
            records: records.iter().map(|value| Bytes::from_static(value)).collect(),
        };
        let written = [entry(1, 0, &[]), entry(2, 1, &[b"a", b"", b"ccc"]), entry(3, 4, &[b"d"])];
        let bytes: Vec<u8> =
            written.iter().flat_map(|entry| encode_entry(entry, 1, 1_000).to_vec()).collect();
        let mut read = Vec::new();
        assert_eq!(decode_entries(&bytes, 0, &mut read).unwrap(), 1_000);
        assert_eq!(read, written);
        let mut behind = Vec::new();
        decode_entries(&bytes, 7, &mut behind).unwrap();
        assert_eq!(behind.iter().map(|entry| entry.index).collect::<Vec<_>>(), [8, 9, 10]);
        assert!(decode_entries(&bytes[..bytes.len() - 1], 0, &mut Vec::new()).is_err());
    }
}
