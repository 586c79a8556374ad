//! Bringing Kafka's logs to where they were found to end, and writing down that they end there.
//!
//! Log by log, each step durable before the next and the same again after a crash: finish what compaction had under way; set
//! segments behind a torn one aside; cut the torn end; flush; make the indexes of aborted transactions anew where Kafka had not come to
//! finish them; write leader epochs that were missing. Kafka would do the same,
//! so it can still go on from the folder. Last comes our checkpoint, which counts for nothing until the caller says whose the folder is.

use super::arrange::Step;
use super::{Content, FoundLog, Takeover};
use crate::batch::Offset;
use crate::checkpoint::PartitionMetadata;
use crate::disk::{Disk, OpenMode};
use crate::error::StorageError;
use crate::log::files::{aborted_of, path_of, store_aborted};
use crate::log::{LogStart, Mark};
use crate::names::{FileKind, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, SegmentFile, TopicPartition};
use crate::recovery::{DAMAGE_MARK, mark_unclean};
use crate::store::checkpoint::{CHECKPOINT, Checkpoint, Entry};
use crate::wal::format::LogId;
use std::collections::BTreeMap;
use std::path::Path;

/// Begins the name of a segment that was set aside.
const CUT_PREFIX: &str = "hayate.cut.";

/// A log of the caller's own in the folder that begins, empty, at an offset: what lies before goes once it is opened.
#[derive(Clone, Debug)]
pub struct BegunLog {
    /// The partition.
    pub partition: TopicPartition,
    /// Its topic's id, big-endian.
    pub topic_id: [u8; 16],
    /// Its first offset, and its end.
    pub start: Offset,
}

impl Takeover {
    /// Does what is to be done with each log and writes the checkpoint; `begun` is one more log in it. The next start takes the last
    /// stop for an unclean one, so that new leader epochs begin.
    ///
    /// # Errors
    /// Those of the disk; the same again goes on from there.
    pub async fn settle(
        &self,
        disk: &Disk,
        begun: BegunLog,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), StorageError> {
        let mut entries = BTreeMap::new();
        for (done, log) in self.logs.iter().enumerate() {
            progress(done);
            let Some(content) = &log.content else { continue };
            settle(disk, &self.data_dir, log, content).await?;
            entries.insert(log.id, entry(log, content));
        }
        let id = LogId { topic_id: begun.topic_id, partition: begun.partition.partition };
        let end = Mark { offset: begun.start, segment: begun.start, pos: 0 };
        let start = LogStart { start: begun.start, high_watermark: begun.start, end, producers: Vec::new() };
        entries.insert(id, Entry { partition: begun.partition, start });
        mark_unclean(disk, &self.data_dir).await?;
        let checkpoint = Checkpoint { generation: 1, wal: None, entries };
        Ok(disk.replace_small(self.data_dir.join(CHECKPOINT), &checkpoint.encode()).await?)
    }
}

fn entry(log: &FoundLog, content: &Content) -> Entry {
    let Content { start, end, producers, .. } = content;
    let (start, producers) = (*start, producers.clone());
    let start = LogStart { start, high_watermark: end.offset, end: *end, producers };
    Entry { partition: log.partition.clone(), start }
}

async fn settle(disk: &Disk, data_dir: &Path, log: &FoundLog, content: &Content) -> Result<(), StorageError> {
    let folder = data_dir.join(log.partition.folder_name());
    if let Some(what) = &content.damage {
        return Ok(disk.replace_small(folder.join(DAMAGE_MARK), what.as_bytes()).await?);
    }
    if disk.exists(folder.join(DAMAGE_MARK)).await? {
        // Of an earlier time that the folder was ours: it is sound now.
        disk.remove_file(folder.join(DAMAGE_MARK)).await?;
    }
    for step in &content.arrangement.steps {
        take(disk, &folder, step).await?;
    }
    for base in &content.cut_off {
        set_aside(disk, &folder, *base).await?;
    }
    disk.sync_dir(&folder).await?;
    cut(disk, &folder, content).await?;
    for base in &content.unsynced {
        if *base <= content.end.segment {
            let path = folder.join(SegmentFile::live(*base, FileKind::Log).to_string());
            disk.open(path, OpenMode::ReadWrite).await?.sync().await?;
            settle_aborted(disk, &folder, content, *base).await?;
        }
    }
    if let Some(epochs) = &content.epochs {
        disk.replace_small(folder.join(LEADER_EPOCH_CHECKPOINT), epochs.render().as_bytes()).await?;
    }
    if !content.has_identity {
        let identity = PartitionMetadata { topic_id: log.id.topic_id };
        disk.replace_small(folder.join(PARTITION_METADATA), identity.render().as_bytes()).await?;
    }
    Ok(())
}

/// The transaction index of a segment that Kafka may not have finished, from its batches: as Kafka makes it anew at such a start.
async fn settle_aborted(
    disk: &Disk,
    folder: &Path,
    content: &Content,
    base: Offset,
) -> Result<(), StorageError> {
    let has_file = disk.exists(path_of(folder, base, FileKind::TxnIndex)).await?;
    if !has_file && !content.with_markers.contains(&base) {
        return Ok(());
    }
    let index = aborted_of(disk, folder, base, content.end).await?;
    store_aborted(disk, folder, base, &index.encode()).await
}

async fn take(disk: &Disk, folder: &Path, step: &Step) -> Result<(), StorageError> {
    match step {
        Step::Remove(name) => disk.remove_file(folder.join(name)).await?,
        Step::Rename(from, to) => {
            disk.rename(folder.join(from), folder.join(to)).await?;
            // The order of names decides what they cover: see `arrange`.
            disk.sync_dir(folder).await?;
        }
    }
    Ok(())
}

/// Its records are behind a gap; the bytes are kept, and its indexes go.
async fn set_aside(disk: &Disk, folder: &Path, base: Offset) -> Result<(), StorageError> {
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex] {
        let path = folder.join(SegmentFile::live(base, kind).to_string());
        if disk.exists(&path).await? {
            disk.remove_file(path).await?;
        }
    }
    let name = SegmentFile::live(base, FileKind::Log).to_string();
    let aside = folder.join(format!("{CUT_PREFIX}{name}"));
    tracing::warn!(file = %aside.display(), "a segment behind a torn one was set aside: its records cannot be reached");
    Ok(disk.rename(folder.join(name), aside).await?)
}

async fn cut(disk: &Disk, folder: &Path, content: &Content) -> Result<(), StorageError> {
    let Mark { segment, pos, .. } = content.end;
    if content.torn_bytes == 0 {
        return Ok(());
    }
    let path = folder.join(SegmentFile::live(segment, FileKind::Log).to_string());
    let bytes = content.torn_bytes;
    tracing::warn!(file = %path.display(), position = pos, bytes, "cut: the end is no whole batch");
    let file = disk.open(path, OpenMode::ReadWrite).await?;
    file.truncate(pos).await?;
    Ok(file.sync().await?)
}
