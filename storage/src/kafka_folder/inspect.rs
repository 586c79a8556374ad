//! One log of Kafka's: where it begins and ends, and the producers and leader epochs at its end. Reads, changes nothing.
//!
//! After a clean stop the last segment alone is looked through, from its last index entry on: what is wrong there is damage.
//! After any other, every segment from the one that holds the recovery point is, as Kafka does: the first bytes that are no
//! batch end the log, if they lie behind the recovery point; before it they were flushed once, and are damage. Of the other
//! segments the first bytes are looked at, so that records of an older format than Kafka 4's are found now.

use super::arrange::{Arrangement, Piece, arrange};
use super::tail::{Laid, Place, SMALL_BYTES_MAX, indexed_batch, read_index};
use super::walk::{Walk, Walked, Wrong};
use super::{Content, ExpectedLog, FoundLog, Left};
use crate::batch::header::HEADER_BYTES;
use crate::batch::scan::Checksums;
use crate::batch::{BatchScan, LeaderEpoch, Offset, ScanEnd};
use crate::checkpoint::PartitionMetadata;
use crate::checkpoint::partition_metadata::PARTITION_METADATA_BYTES_MAX;
use crate::disk::{Disk, File, OpenMode};
use crate::epochs::EpochCache;
use crate::error::StorageError;
use crate::log::{Mark, read_epochs};
use crate::names::{FileKind, PARTITION_METADATA, SegmentFile};
use crate::producers::ProducerState;
use crate::wal::format::LogId;
use hayate_rt::Rt;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Looks at one log.
pub(super) async fn inspect(
    rt: &Rt,
    disk: &Disk,
    data_dir: &Path,
    left: &Left,
    log: &ExpectedLog,
) -> Result<FoundLog, StorageError> {
    let id = LogId { topic_id: log.topic_id, partition: log.partition.partition };
    let folder = data_dir.join(log.partition.folder_name());
    let found = |content| FoundLog { partition: log.partition.clone(), id, content };
    if !disk.exists(&folder).await? {
        return Ok(found(None));
    }
    let identity = disk.read_small(folder.join(PARTITION_METADATA), PARTITION_METADATA_BYTES_MAX).await?;
    let identity = identity.map(|bytes| PartitionMetadata::parse(&bytes));
    if matches!(&identity, Some(Ok(identity)) if identity.topic_id != log.topic_id) {
        // Another topic's of that name: it is set aside when the log is made.
        return Ok(found(None));
    }
    let entries = disk.list(&folder).await?;
    let arrangement = arrange(disk, &folder, &entries).await?;
    let start = left.starts.offsets.get(&log.partition).copied();
    let flushed = left.recovery_point(&log.partition);
    let mut looking = Looking::new(disk, folder, arrangement, start);
    looking.has_identity = identity.is_some();
    if let Some(Err(cause)) = identity {
        looking.damage = Some(cause.to_string());
    }
    looking.find_end(left.is_clean, flushed).await?;
    looking.check_formats().await?;
    looking.learn_epochs().await?;
    let producers = looking.producers(rt).await?;
    Ok(found(Some(looking.finish(producers))))
}

/// What is known so far of a log.
struct Looking<'a> {
    disk: &'a Disk,
    folder: PathBuf,
    arrangement: Arrangement,
    start: Offset,
    end: Mark,
    torn_bytes: u64,
    cut_off: Vec<Offset>,
    damage: Option<String>,
    unsynced: Vec<Offset>,
    with_markers: BTreeSet<Offset>,
    /// Leader epochs of the batches that were walked over, where each begins.
    seen: Vec<(LeaderEpoch, Offset)>,
    epochs: Option<EpochCache>,
    has_identity: bool,
}

impl<'a> Looking<'a> {
    fn new(disk: &'a Disk, folder: PathBuf, arrangement: Arrangement, start: Option<Offset>) -> Self {
        let first = arrangement.segments.keys().next().copied();
        let start = start.unwrap_or(Offset::ZERO).max(first.unwrap_or(Offset::ZERO));
        Looking {
            disk,
            folder,
            arrangement,
            start,
            end: Mark { offset: start, segment: start, pos: 0 },
            torn_bytes: 0,
            cut_off: Vec::new(),
            damage: None,
            unsynced: Vec::new(),
            with_markers: BTreeSet::new(),
            seen: Vec::new(),
            epochs: None,
            has_identity: false,
        }
    }

    /// Finds the log's end; everything before the offset `flushed`, the recovery point, was on the disk once.
    async fn find_end(&mut self, is_clean: bool, flushed: Offset) -> Result<(), StorageError> {
        let segments: Vec<(Offset, Piece)> =
            self.arrangement.segments.iter().map(|(base, piece)| (*base, piece.clone())).collect();
        let first = match is_clean {
            true => segments.len().saturating_sub(1),
            false => segments.iter().rposition(|(base, _)| *base <= flushed).unwrap_or(0),
        };
        for (at, (base, piece)) in segments.iter().enumerate().skip(first) {
            let walked = match is_clean {
                true => self.walk_tail(*base, piece).await?,
                false => {
                    self.unsynced.push(*base);
                    self.walk(*base, piece, 0, *base).await?
                }
            };
            self.end = Mark { offset: walked.next, segment: *base, pos: walked.pos };
            let Some(wrong) = walked.wrong else { continue };
            self.torn_bytes = piece.len_bytes - walked.pos;
            // Space set aside (`preallocate`) is no damage where nothing more was written.
            let is_damage = if is_clean { wrong != Wrong::Zeros } else { walked.next < flushed };
            if is_damage {
                let (pos, next) = (walked.pos, walked.next);
                self.damage = Some(format!(
                    "position {pos} of segment {base}, where offset {next} was flushed: {wrong}"
                ));
            }
            self.cut_off = segments[at + 1..].iter().map(|(base, _)| *base).collect();
            break;
        }
        let end = self.end.offset;
        if self.damage.is_none() && end < self.start.max(flushed) {
            let start = self.start;
            self.damage = Some(format!(
                "it ends at offset {end}, but begins at {start} and was flushed up to {flushed}"
            ));
        }
        Ok(())
    }

    async fn walk(
        &mut self,
        base: Offset,
        piece: &Piece,
        pos: u64,
        next: Offset,
    ) -> Result<Walked, StorageError> {
        let file = self.open(piece).await?;
        let (seen, with_markers) = (&mut self.seen, &mut self.with_markers);
        let walk = Walk { pos, size: piece.len_bytes, next: next.max(base), checksums: Checksums::Verify };
        walk.run(&file, |_, batch| {
            if batch.header.is_control() {
                with_markers.insert(base);
            }
            let epoch = batch.header.partition_leader_epoch;
            if epoch >= LeaderEpoch(0) && seen.last().is_none_or(|(last, _)| *last < epoch) {
                seen.push((epoch, batch.header.base_offset));
            }
        })
        .await
    }

    /// Walks from the last batch that the offset index names, if it tells the truth; else from the segment's begin.
    async fn walk_tail(&mut self, base: Offset, piece: &Piece) -> Result<Walked, StorageError> {
        let index = read_index(self.disk, &self.folder, base, piece.len_bytes).await?;
        if let Some(last) = index.and_then(|index| index.last())
            && let Some(header) = indexed_batch(&self.open(piece).await?, &last).await?
        {
            let walked = self.walk(base, piece, u64::from(last.position), header.base_offset).await?;
            if walked.wrong.is_none() {
                return Ok(walked);
            }
        }
        self.walk(base, piece, 0, base).await
    }

    async fn open(&self, piece: &Piece) -> Result<File, StorageError> {
        Ok(self.disk.open(self.folder.join(&piece.name), OpenMode::Read).await?)
    }

    /// Demands of the segments that were not walked over that they begin with a batch of theirs.
    async fn check_formats(&mut self) -> Result<(), StorageError> {
        for (base, piece) in self.arrangement.segments.clone() {
            if base >= self.end.segment || self.damage.is_some() {
                return Ok(());
            }
            if piece.len_bytes == 0 {
                continue;
            }
            let head = self.open(&piece).await?.read_at(0, HEADER_BYTES).await?;
            let mut scan = BatchScan::new(&head, Checksums::Trust);
            let begins = scan.next().map(|batch| batch.header.base_offset);
            let is_sound = match scan.end() {
                None | Some(ScanEnd::Clean) => begins.is_some_and(|offset| offset >= base),
                // A whole header, of a batch that is longer than that.
                Some(ScanEnd::Torn { have_bytes, .. }) => have_bytes == HEADER_BYTES,
                Some(ScanEnd::Blank { .. } | ScanEnd::Corrupt { .. }) => false,
            };
            if !is_sound {
                let end = scan.end();
                self.damage =
                    Some(format!("segment {base} does not begin with a batch of Kafka 4's: {end:?}"));
                self.end = Mark { offset: base, segment: base, pos: 0 };
            }
        }
        Ok(())
    }

    /// Adds the epochs of batches that Kafka had not come to note.
    async fn learn_epochs(&mut self) -> Result<(), StorageError> {
        let mut epochs = match read_epochs(self.disk, &self.folder).await {
            Ok(epochs) => epochs,
            Err(StorageError::Corrupt(cause)) => {
                self.damage.get_or_insert(cause);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let stored = epochs.clone();
        for (epoch, offset) in &self.seen {
            if epochs.latest_epoch().is_none_or(|latest| latest < *epoch) {
                epochs.assign(*epoch, *offset);
            }
        }
        epochs.truncate_from_end(self.end.offset);
        self.epochs = (epochs != stored).then_some(epochs);
        Ok(())
    }

    /// The producers at the end: from the newest snapshot that can be read and the batches behind it, with those before their last ones
    /// that the end of the log still has.
    async fn producers(&self, rt: &Rt) -> Result<Vec<u8>, StorageError> {
        if self.damage.is_some() {
            return Ok(Vec::new());
        }
        let (mut state, from) = self.newest_snapshot(rt).await?;
        let Looking { disk, folder, end, arrangement: Arrangement { segments, .. }, .. } = self;
        let laid = Laid { disk, folder, segments, end: *end };
        if from < end.offset {
            let segment = segments.keys().rfind(|base| **base <= from).copied().unwrap_or(from);
            laid.replay(Place { segment, pos: 0, offset: from }, &mut state).await?;
        }
        laid.recall(&mut state).await?;
        Ok(if state.is_empty() { Vec::new() } else { state.encode_full() })
    }

    async fn newest_snapshot(&self, rt: &Rt) -> Result<(ProducerState, Offset), StorageError> {
        for offset in self.arrangement.snapshots.iter().rev().filter(|offset| **offset <= self.end.offset) {
            let path = self.folder.join(SegmentFile::live(*offset, FileKind::Snapshot).to_string());
            let Some(bytes) = self.disk.read_small(path, SMALL_BYTES_MAX).await? else { continue };
            if let Ok(state) = ProducerState::from_snapshot(&bytes, rt.wall_ms(), i64::MAX) {
                return Ok((state, *offset));
            }
        }
        Ok((ProducerState::new(i64::MAX), Offset::ZERO))
    }

    fn finish(self, producers: Vec<u8>) -> Content {
        Content {
            start: self.start,
            end: self.end,
            torn_bytes: self.torn_bytes,
            cut_off: self.cut_off,
            damage: self.damage,
            producers,
            epochs: self.epochs,
            unsynced: self.unsynced,
            with_markers: self.with_markers,
            arrangement: self.arrangement,
            has_identity: self.has_identity,
        }
    }
}
