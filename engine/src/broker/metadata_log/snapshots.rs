//! Snapshots of the metadata on disk, and where the log begins behind one.
//!
//! A snapshot is a file in the log's folder, named as Kafka's; `hayate.quorum.start`, beside raft's hard state, says which
//! one counts. Each step is durable before the next one: the snapshot; that file; the log's start, with the segments
//! before it; then the other snapshots go. A crash between two steps leaves more than is needed, never less: a snapshot that
//! does not count is ignored, and removed after the next one.

use super::{MetadataLog, TOPIC};
use crate::broker::StartError;
use crate::metadata::image::{MetadataImage, Position};
use crate::metadata::quorum::LogStart;
use crate::metadata::records::EncodeError;
use crate::metadata::snapshot::file::{self, SNAPSHOT_BYTES_MAX, SnapshotId};
use hayate_storage::disk::DiskError;
use hayate_storage::error::StorageError;
use hayate_storage::names::TopicPartition;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The file that says where the log begins.
pub(in crate::broker) const START_FILE: &str = "hayate.quorum.start";
const START_BYTES_MAX: usize = 16 << 10;

/// Why no snapshot was taken; what was there before still counts.
#[derive(Debug)]
pub(in crate::broker) enum SnapshotFailure {
    /// A record cannot be written.
    Encode(EncodeError),
    /// No entry of the log ends where the image does: a transaction of metadata is open.
    InTransaction,
    /// It would be larger than what is read back: its bytes.
    TooLarge(usize),
    /// The disk or the log refuses.
    Storage(StorageError),
}

impl fmt::Display for SnapshotFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "{error}"),
            Self::InTransaction => write!(f, "a transaction of metadata is open"),
            Self::TooLarge(bytes) => write!(f, "{bytes} bytes exceed {SNAPSHOT_BYTES_MAX}"),
            Self::Storage(error) => write!(f, "{error}"),
        }
    }
}

impl From<StorageError> for SnapshotFailure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<DiskError> for SnapshotFailure {
    fn from(error: DiskError) -> Self {
        Self::Storage(error.into())
    }
}

fn position_of(start: &LogStart) -> Position {
    Position { offset: start.offset, epoch: start.epoch }
}

impl MetadataLog {
    fn folder(&self) -> PathBuf {
        self.data_dir.join(TopicPartition { topic: TOPIC.to_owned(), partition: 0 }.folder_name())
    }

    /// Bytes of entries that no snapshot accounts for.
    pub(in crate::broker) fn uncovered_bytes(&self) -> u64 {
        self.uncovered_bytes.get()
    }

    /// Where the log begins, and the image of what lies before.
    pub(super) async fn read_start(&self, cluster_id: &str) -> Result<(LogStart, MetadataImage), StartError> {
        let path = self.data_dir.join(START_FILE);
        let damaged = |what: String| StartError::Metadata(format!("{}: {what}", path.display()));
        let start = match self.disk.read_small(&path, START_BYTES_MAX).await? {
            Some(bytes) => Some(LogStart::decode(&bytes).map_err(|error| damaged(error.to_string()))?),
            None => None,
        };
        let (start, image) = match start {
            Some(start) => {
                let image = self.read_snapshot(cluster_id, position_of(&start)).await?;
                (start, image)
            }
            None => (LogStart::empty(vec![self.node_id]), MetadataImage::empty(cluster_id)),
        };
        let (next, log) = (start.offset.next(), self.log.offsets());
        if log.start > next || log.end < next {
            return Err(damaged(format!(
                "the entries from offset {next} on are needed, the log holds those from {} to {}",
                log.start, log.end
            )));
        }
        Ok((start, image))
    }

    async fn read_snapshot(&self, cluster_id: &str, at: Position) -> Result<MetadataImage, StartError> {
        let path = self.folder().join(SnapshotId::of(at).to_string());
        let shown = path.display().to_string();
        let damaged = |what: String| StartError::Metadata(format!("{shown}: {what}"));
        let bytes = self.disk.read_small(&path, SNAPSHOT_BYTES_MAX).await?;
        let bytes =
            bytes.ok_or_else(|| damaged("the snapshot that the log begins with is missing".into()))?;
        let cluster_id = cluster_id.to_owned();
        let decoded = self.rt.offload(move || file::decode(&cluster_id, &bytes, at)).await;
        decoded.map_err(|error| damaged(error.to_string()))
    }

    /// Makes a snapshot of `image` durable, then that the log begins behind it: `start`, which is where the image is.
    ///
    /// # Errors
    /// [`SnapshotFailure`]. Either start may then be on disk; both have their snapshot and their entries.
    pub(in crate::broker) async fn write_snapshot(
        &self,
        image: Arc<MetadataImage>,
        start: &LogStart,
    ) -> Result<(), SnapshotFailure> {
        assert_eq!(image.position(), position_of(start), "the snapshot is of what the log forgets");
        let path = self.folder().join(SnapshotId::of(image.position()).to_string());
        let (last_ms, now_ms) = (self.last_batch_ms.get(), self.rt.wall_ms());
        let encoding = move || file::encode(&image, last_ms, now_ms);
        let bytes = self.rt.offload(encoding).await.map_err(SnapshotFailure::Encode)?;
        if bytes.len() > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotFailure::TooLarge(bytes.len()));
        }
        self.disk.replace(path, bytes).await?;
        self.disk.replace_small(self.data_dir.join(START_FILE), &start.encode()).await?;
        Ok(())
    }

    /// Drops what a snapshot accounts for, once [`MetadataLog::write_snapshot`] is done: the segments before `start`, and
    /// every other snapshot.
    ///
    /// # Errors
    /// [`SnapshotFailure`]: something is left, for the next time.
    pub(in crate::broker) async fn drop_before(&self, start: &LogStart) -> Result<(), SnapshotFailure> {
        self.uncovered_bytes.set(0);
        self.log.advance_start(start.offset.next()).await?;
        let (folder, kept) = (self.folder(), SnapshotId::of(position_of(start)).to_string());
        let mut removed = false;
        for entry in self.disk.list(&folder).await? {
            let of_snapshot = SnapshotId::parse(entry.name.strip_suffix(".tmp").unwrap_or(&entry.name));
            if of_snapshot.is_some() && !entry.is_dir && entry.name != kept {
                self.disk.remove_file(folder.join(&entry.name)).await?;
                removed = true;
            }
        }
        if removed {
            self.disk.sync_dir(&folder).await?;
        }
        Ok(())
    }
}
