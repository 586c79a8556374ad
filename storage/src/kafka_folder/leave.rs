//! Leaving our logs as Kafka would have left its own: what it reads before it opens them, from our checkpoint.
//!
//! Segments, indexes, snapshots and leader epochs are Kafka's already after a clean stop. Kafka also wants to know how far
//! each log was flushed, where it begins, and whether the stop was clean. Its snapshots hold the last batch of each producer; so that
//! it knows all that a client may send again, the newest one is taken away, and it looks through the end of the log from an older one on.
//! What it then loads is decided by `ProducerStateManager.removeStraySnapshots`, `truncateAndReload` and `UnifiedLog.rebuildProducerState`:
//!
//! ```text
//!  kept: snapshots at the begin of a segment, and the newest of the others if it lies behind the last segment's
//!  gone: those at the log's start or before it, but what follows is read then, which without any snapshot it would not be
//! ```

use super::arrange::{Arrangement, arrange};
use super::offsets;
use super::tail::{Laid, SMALL_BYTES_MAX, TAIL_BYTES_MAX};
use crate::batch::Offset;
use crate::checkpoint::partition_metadata::PARTITION_METADATA_BYTES_MAX;
use crate::checkpoint::{
    CLEAN_SHUTDOWN, CLEANER_CHECKPOINT, CleanShutdown, LOG_START_CHECKPOINT, OffsetCheckpoint,
    PartitionMetadata, RECOVERY_POINT_CHECKPOINT, REPLICATION_CHECKPOINT,
};
use crate::disk::Disk;
use crate::error::StorageError;
use crate::log::LogStart;
use crate::names::{FileKind, PARTITION_METADATA, SegmentFile, TopicPartition};
use crate::producers::ProducerState;
use crate::recovery::{DAMAGE_MARK, UNCLEAN_MARK};
use crate::store::checkpoint::{CHECKPOINT, Entry, load};
use crate::wal::{DONE_SUFFIX, WAL_FOLDER};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// Why a folder cannot be left to Kafka now.
#[derive(Debug)]
pub enum LeaveError {
    /// A write-ahead log holds what the segments lack.
    Unsettled,
    /// A damaged write-ahead log is kept in that folder, which Kafka takes for a partition's that it cannot name.
    Kept(String),
    /// The disk, or our checkpoint.
    Storage(StorageError),
}

impl fmt::Display for LeaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaveError::Unsettled => {
                f.write_str("the last stop was not clean: start the broker and stop it, then try again")
            }
            LeaveError::Kept(name) => {
                write!(
                    f,
                    "{name} holds a damaged write-ahead log, and Kafka does not start beside it: move it elsewhere"
                )
            }
            LeaveError::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LeaveError {}

impl<E: Into<StorageError>> From<E> for LeaveError {
    fn from(error: E) -> LeaveError {
        LeaveError::Storage(error.into())
    }
}

/// Checks that the segments hold everything. To be called before anything is opened.
///
/// # Errors
/// [`LeaveError`]
pub async fn check_settled(disk: &Disk, data_dir: &Path) -> Result<(), LeaveError> {
    let kept = format!("{WAL_FOLDER}.damaged.");
    if let Some(kept) = disk.list(data_dir).await?.into_iter().find(|entry| entry.name.starts_with(&kept)) {
        return Err(LeaveError::Kept(kept.name));
    }
    let wal = data_dir.join(WAL_FOLDER);
    let folders = if disk.exists(&wal).await? { disk.list(&wal).await? } else { Vec::new() };
    let is_live = |name: &str| !name.ends_with(DONE_SUFFIX);
    if folders.iter().any(|entry| entry.is_dir && is_live(&entry.name)) {
        return Err(LeaveError::Unsettled);
    }
    Ok(())
}

/// Where the log of that partition ends; `None` when there is none.
///
/// # Errors
/// [`LeaveError`]
pub async fn settled_end(
    disk: &Disk,
    data_dir: &Path,
    partition: &TopicPartition,
) -> Result<Option<Offset>, LeaveError> {
    let logs = logs(disk, data_dir).await?;
    Ok(logs.iter().find(|log| log.partition == *partition).map(|log| log.start.end.offset))
}

/// What our checkpoints say of the logs that lie in the folder. They may name logs that were deleted since, and whose name another topic
/// has now.
async fn logs(disk: &Disk, data_dir: &Path) -> Result<Vec<Entry>, StorageError> {
    let mut logs = Vec::new();
    for (id, entry) in load(disk, data_dir).await?.merged.entries {
        let path = data_dir.join(entry.partition.folder_name()).join(PARTITION_METADATA);
        let identity = disk.read_small(path, PARTITION_METADATA_BYTES_MAX).await?;
        let identity = identity.and_then(|bytes| PartitionMetadata::parse(&bytes).ok());
        if identity.is_some_and(|identity| identity.topic_id == id.topic_id) {
            logs.push(entry);
        }
    }
    Ok(logs)
}

/// Writes what Kafka reads at its start, durably: its three offset checkpoints, and that the stop was clean. `without` is a log that
/// Kafka keeps no offsets of there.
///
/// # Errors
/// [`LeaveError`]
pub async fn leave_for_kafka(
    disk: &Disk,
    data_dir: &Path,
    without: &TopicPartition,
    broker_epoch: i64,
) -> Result<(), LeaveError> {
    let mut logs = logs(disk, data_dir).await?;
    logs.retain(|log| log.partition != *without);
    let offsets = |of: fn(&LogStart) -> Offset| OffsetCheckpoint {
        offsets: logs.iter().map(|log| (log.partition.clone(), of(&log.start))).collect(),
    };
    for (name, offsets) in [
        (RECOVERY_POINT_CHECKPOINT, offsets(|start| start.end.offset)),
        (REPLICATION_CHECKPOINT, offsets(|start| start.high_watermark.max(Offset::ZERO))),
        (LOG_START_CHECKPOINT, offsets(|start| start.start)),
    ] {
        disk.replace_small(data_dir.join(name), offsets.render().as_bytes()).await?;
    }
    leave_cleaned(disk, data_dir, &logs).await?;
    for log in &logs {
        let folder = data_dir.join(log.partition.folder_name());
        leave_producers(disk, &folder, &log.start, TAIL_BYTES_MAX).await?;
    }
    let wal = data_dir.join(WAL_FOLDER);
    if disk.exists(&wal).await? {
        disk.remove_dir_all(&wal).await?;
        disk.sync_dir(data_dir).await?;
    }
    let marker = CleanShutdown { broker_epoch };
    Ok(disk.replace_small(data_dir.join(CLEAN_SHUTDOWN), marker.render().as_bytes()).await?)
}

/// How far Kafka's cleaner came is worth what it was as long as the log is there: of one that is gone, Kafka forgets it too.
async fn leave_cleaned(disk: &Disk, data_dir: &Path, logs: &[Entry]) -> Result<(), StorageError> {
    let path = data_dir.join(CLEANER_CHECKPOINT);
    if !disk.exists(&path).await? {
        return Ok(());
    }
    let mut cleaned = offsets(disk, &path).await?;
    let ends: BTreeMap<&TopicPartition, Offset> =
        logs.iter().map(|log| (&log.partition, log.start.end.offset)).collect();
    cleaned.offsets.retain(|partition, offset| ends.get(partition).is_some_and(|end| *offset <= *end));
    Ok(disk.replace_small(path, cleaned.render().as_bytes()).await?)
}

/// Makes a snapshot the newest from which on Kafka sees every batch that a producer may send again, of those in the last `tail_bytes`.
pub(super) async fn leave_producers(
    disk: &Disk,
    folder: &Path,
    log: &LogStart,
    tail_bytes: u64,
) -> Result<(), StorageError> {
    let Some(producers) = ProducerState::from_full(&log.producers, 0, i64::MAX) else { return Ok(()) };
    if producers.is_empty() || disk.exists(folder.join(DAMAGE_MARK)).await? {
        return Ok(());
    }
    let Arrangement { segments, snapshots, .. } = arrange(disk, folder, &disk.list(folder).await?).await?;
    let laid = Laid { disk, folder, segments: &segments, end: log.end };
    let floor = laid.tail(tail_bytes).await?.offset.max(log.start);
    let Some(needed) = producers.replay_from(floor) else { return Ok(()) };
    let Some(at) = snapshot_for(&segments.into_keys().collect(), log.start, needed) else { return Ok(()) };
    let path = |at| folder.join(SegmentFile::live(at, FileKind::Snapshot).to_string());
    if !is_snapshot(disk, &path(at)).await? {
        disk.replace_small(path(at), &producers.as_of(at).encode_snapshot()).await?;
    }
    for later in snapshots.into_iter().filter(|snapshot| *snapshot > at) {
        disk.remove_file(path(later)).await?;
    }
    Ok(disk.sync_dir(folder).await?)
}

/// Where Kafka takes a snapshot from before `needed` for its newest, in a log with these segments. One at the log's start it does not
/// take, but it reads on from there.
fn snapshot_for(segments: &BTreeSet<Offset>, start: Offset, needed: Offset) -> Option<Offset> {
    let (first, last) = (*segments.first()?, *segments.last()?);
    let at = if needed > last { needed } else { *segments.range(..=needed).next_back()? };
    Some(if at > start { at } else { first })
}

async fn is_snapshot(disk: &Disk, path: &Path) -> Result<bool, StorageError> {
    let bytes = disk.read_small(path, SMALL_BYTES_MAX).await?;
    Ok(bytes.is_some_and(|bytes| ProducerState::from_snapshot(&bytes, 0, i64::MAX).is_ok()))
}

/// Removes what we know of the logs in a folder that is Kafka's, or becomes so.
///
/// # Errors
/// Those of the disk.
pub async fn forget_ours(disk: &Disk, data_dir: &Path) -> Result<(), StorageError> {
    for entry in disk.list(data_dir).await? {
        if !entry.is_dir && (entry.name.starts_with(CHECKPOINT) || entry.name == UNCLEAN_MARK) {
            disk.remove_file(data_dir.join(&entry.name)).await?;
        }
    }
    Ok(disk.sync_dir(data_dir).await?)
}
