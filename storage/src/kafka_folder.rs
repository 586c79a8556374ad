//! A data folder of Apache Kafka's: its logs taken over as they lie there, and ours left as Kafka would have left its own.
//!
//! Taking over is two steps. [`Takeover::inspect`] reads, changes nothing, and says what is there: where each log ends, what
//! is torn, what is damaged. [`Takeover::settle`] then does what Kafka itself would do at a start (cut torn ends, finish what
//! compaction was doing) and writes our checkpoint, so Kafka can go on from the same folder at any point of it. Who owns the
//! folder is the caller's business. There is no write-ahead log for this data: behind Kafka's recovery point a batch counts
//! when its CRC is right and it follows the one before it.
//! Source: Kafka's `LogManager`, `LogLoader`, `LogSegment.recover`.

mod arrange;
mod inspect;
mod leave;
mod settle;
mod tail;
mod walk;

pub use leave::{LeaveError, check_settled, forget_ours, leave_for_kafka, settled_end};
pub use settle::BegunLog;
pub use walk::{WalkedLog, walk_log};

use crate::batch::Offset;
use crate::checkpoint::{
    CHECKPOINT_BYTES_MAX, CLEAN_SHUTDOWN, LOG_START_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
};
use crate::disk::{Disk, DiskError};
use crate::epochs::EpochCache;
use crate::error::StorageError;
use crate::log::Mark;
use crate::names::TopicPartition;
use crate::wal::format::LogId;
use arrange::Arrangement;
use hayate_rt::Rt;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A log that the cluster's metadata has on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedLog {
    /// The partition.
    pub partition: TopicPartition,
    /// Its topic's id, big-endian.
    pub topic_id: [u8; 16],
}

/// What was found of one log.
#[derive(Clone, Debug)]
pub struct FoundLog {
    partition: TopicPartition,
    id: LogId,
    /// `None`: there is no folder of this topic, and Kafka would make an empty one.
    content: Option<Content>,
}

/// A log that has a folder.
#[derive(Clone, Debug)]
struct Content {
    start: Offset,
    end: Mark,
    /// Bytes behind the end of the last segment that counts.
    torn_bytes: u64,
    /// Segments behind a torn one: no record in them can be reached.
    cut_off: Vec<Offset>,
    /// What makes the log useless until somebody has restored it.
    damage: Option<String>,
    /// At the end, in full; empty when there are none.
    producers: Vec<u8>,
    /// Those at the end, if the file does not hold them.
    epochs: Option<EpochCache>,
    /// Segments whose bytes may not be on the disk yet.
    unsynced: Vec<Offset>,
    /// Those of them in which transactions end.
    with_markers: BTreeSet<Offset>,
    /// What compaction and deletion left to be done.
    arrangement: Arrangement,
    has_identity: bool,
}

impl FoundLog {
    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The log's first offset and the one behind its last record; `None` when it has no folder.
    #[must_use]
    pub fn offsets(&self) -> Option<(Offset, Offset)> {
        self.content.as_ref().map(|content| (content.start, content.end.offset))
    }

    /// Bytes behind the last good batch that a stop in the middle of a write has left, and that go.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.content.as_ref().map_or(0, |content| content.torn_bytes)
    }

    /// How many segments lie behind a torn one; they are set aside.
    #[must_use]
    pub fn cut_off_segments(&self) -> usize {
        self.content.as_ref().map_or(0, |content| content.cut_off.len())
    }

    /// What is damaged: the partition will be offline, its bytes are kept.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.content.as_ref().and_then(|content| content.damage.as_deref())
    }
}

/// Everything that was found of a folder's logs.
#[derive(Debug)]
pub struct Takeover {
    data_dir: PathBuf,
    is_clean: bool,
    logs: Vec<FoundLog>,
}

impl Takeover {
    /// Looks through the logs of a folder that Kafka has left. `progress` hears how many are done.
    ///
    /// # Errors
    /// Those of the disk. What is wrong with a log is told in [`FoundLog::damage`].
    pub async fn inspect(
        rt: &Rt,
        disk: &Disk,
        data_dir: &Path,
        expected: &[ExpectedLog],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Takeover, StorageError> {
        let left = Left::read(disk, data_dir).await?;
        let mut logs = Vec::with_capacity(expected.len());
        for log in expected {
            progress(logs.len());
            logs.push(inspect::inspect(rt, disk, data_dir, &left, log).await?);
        }
        Ok(Takeover { data_dir: data_dir.to_owned(), is_clean: left.is_clean, logs })
    }

    /// Whether Kafka's last stop was clean.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_clean
    }

    /// The logs, in the order they were expected.
    #[must_use]
    pub fn logs(&self) -> &[FoundLog] {
        &self.logs
    }
}

/// What Kafka's last run said of all logs of a folder.
struct Left {
    is_clean: bool,
    recovery_points: OffsetCheckpoint,
    starts: OffsetCheckpoint,
}

impl Left {
    async fn read(disk: &Disk, data_dir: &Path) -> Result<Left, StorageError> {
        Ok(Left {
            is_clean: disk.exists(data_dir.join(CLEAN_SHUTDOWN)).await?,
            recovery_points: offsets(disk, &data_dir.join(RECOVERY_POINT_CHECKPOINT)).await?,
            starts: offsets(disk, &data_dir.join(LOG_START_CHECKPOINT)).await?,
        })
    }

    /// Up to which offset the log was flushed.
    fn recovery_point(&self, partition: &TopicPartition) -> Offset {
        self.recovery_points.offsets.get(partition).copied().unwrap_or(Offset::ZERO)
    }
}

/// As Kafka, which goes on without a checkpoint that it cannot read: more is then looked through.
async fn offsets(disk: &Disk, path: &Path) -> Result<OffsetCheckpoint, DiskError> {
    let Some(bytes) = disk.read_small(path, CHECKPOINT_BYTES_MAX).await? else {
        return Ok(OffsetCheckpoint::default());
    };
    let parsed = OffsetCheckpoint::parse(&bytes);
    Ok(parsed.unwrap_or_else(|cause| {
        tracing::warn!(file = %path.display(), %cause, "a checkpoint of Kafka's cannot be read: gone on without it");
        OffsetCheckpoint::default()
    }))
}

#[cfg(all(test, feature = "sim"))]
mod tests;
