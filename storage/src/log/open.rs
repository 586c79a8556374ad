//! Making and opening logs. Opening believes the checkpoint, which recovery has brought up to date: where the log ends,
//! and the producer state there. It looks at names and sizes, never through the data.

use super::files::{SMALL_BYTES_MAX, aborted_of, path_of};
use super::{FlushTimes, LogInner, LogState, Mark, Stored};
use crate::batch::Offset;
use crate::checkpoint::PartitionMetadata;
use crate::checkpoint::partition_metadata::PARTITION_METADATA_BYTES_MAX;
use crate::chunk::block_ceil;
use crate::disk::{DirEntry, Disk, OpenMode};
use crate::epochs::EpochCache;
use crate::error::StorageError;
use crate::foreign::{is_of_log, name_foreign};
use crate::index::{OffsetIndex, SegmentBounds, TimeIndex, TxnIndex};
use crate::names::{FileKind, FileName, FileStage, FolderMark, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use crate::producers::ProducerState;
use crate::recovery::DAMAGE_MARK;
use crate::segment::{Aborted, Segment, Stage};
use crate::store::{LogSpec, Shared};
use crate::wal::format::LogId;
use hayate_rt::notify::{Lock, Notify};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::rc::Rc;

/// More than any leader epoch file of a sane log.
const EPOCHS_BYTES_MAX: usize = 16 << 20;
/// More than any index that Kafka's settings allow.
const INDEX_BYTES_MAX: usize = 64 << 20;

/// What the checkpoint says of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogStart {
    pub(crate) start: Offset,
    pub(crate) high_watermark: Offset,
    /// The log's end.
    pub(crate) end: Mark,
    /// Producer state at the end, in full; empty when there is none.
    pub(crate) producers: Vec<u8>,
}

impl LogStart {
    /// Whether no checkpoint has ever named the log.
    pub(crate) fn is_new(&self) -> bool {
        self.end.offset == Offset::ZERO && self.start == Offset::ZERO && self.high_watermark == Offset::NONE
    }

    /// With its start at or before its end. A checkpoint may say otherwise of a log that was cut by damage, or that had records deleted
    /// which were not durable yet.
    fn bounded(self) -> LogStart {
        LogStart { start: self.start.min(self.end.offset), ..self }
    }

    /// Of a log without a record.
    pub(crate) fn empty() -> LogStart {
        let end = Mark { offset: Offset::ZERO, segment: Offset::ZERO, pos: 0 };
        LogStart { start: Offset::ZERO, high_watermark: Offset::NONE, end, producers: Vec::new() }
    }
}

impl LogInner {
    /// Makes the folder of a new log and its identity, durably. Data in the way is never deleted: see [`make_way`].
    ///
    /// # Errors
    /// Those of the disk; [`StorageError::Foreign`] when the folder holds data that is nobody's.
    pub(crate) async fn create(shared: &Rc<Shared>, spec: LogSpec) -> Result<Rc<LogInner>, StorageError> {
        let folder = shared.config.data_dir.join(spec.partition.folder_name());
        make_way(shared, &spec, &folder).await?;
        shared.disk.create_dir_all(&folder).await?;
        if damage(shared, &folder).await?.is_none() {
            let identity = PartitionMetadata { topic_id: spec.topic_id };
            shared.disk.replace_small(folder.join(PARTITION_METADATA), identity.render().as_bytes()).await?;
        }
        LogInner::open(shared, spec, LogStart::empty()).await
    }

    /// Opens a log whose files end where `start` says.
    pub(crate) async fn open(
        shared: &Rc<Shared>,
        spec: LogSpec,
        start: LogStart,
    ) -> Result<Rc<LogInner>, StorageError> {
        let folder = shared.config.data_dir.join(spec.partition.folder_name());
        let now_ms = shared.rt.wall_ms();
        let start = start.bounded();
        let failed = damage(shared, &folder).await?;
        let segments = list_segments(shared, &folder, &start, now_ms, failed.is_some()).await?;
        let mut epochs = match read_epochs(&shared.disk, &folder).await {
            // It is offline already, and keeps no other from starting.
            Err(StorageError::Corrupt(_)) if failed.is_some() => EpochCache::new(),
            read => read?,
        };
        epochs.truncate_from_end(start.end.offset);
        let producers = decode_producers(shared, &start, &folder)?;
        let state = LogState {
            config: spec.config,
            segments,
            chunks: VecDeque::new(),
            chunk_bytes: 0,
            start: start.start,
            stored: Stored { start: start.start, end_segment: start.end.segment },
            end: start.end.offset,
            walled: start.end,
            flushed: start.end,
            accounted: start.end,
            high_watermark: start.high_watermark.max(start.start).min(start.end.offset),
            epochs,
            epochs_changed: false,
            flushed_producers: producers.clone(),
            producers,
            unflushed: VecDeque::new(),
            // What a crash left of a file is brought in order with the next checkpoint.
            aborted_changed: true,
            kept_aborted: VecDeque::new(),
            accounted_producers: start.producers,
            control: VecDeque::new(),
            cuts_fed: 0,
            cuts_durable: 0,
            queued: false,
            direct: false,
            direct_since: None,
            flush_times: FlushTimes::default(),
            oldest_wal: None,
            truncations: 0,
            truncating: false,
            failed,
            on_progress: None,
        };
        Ok(Rc::new(LogInner {
            id: LogId { topic_id: spec.topic_id, partition: spec.partition.partition },
            partition: spec.partition,
            folder,
            shared: shared.clone(),
            state: RefCell::new(state),
            files: Lock::default(),
            flushed: Notify::default(),
        }))
    }
}

/// Sees to it that a log about to be made, which no checkpoint names, does not cut data that isn't its own. With its identity beside
/// them, bytes are what a crash left of its own first appends. With another's, the folder is a deleted topic's of the same name, or was
/// copied in: it is set aside. So is one that holds nothing but the mark of damage, which says nothing of the new log.
async fn make_way(shared: &Shared, spec: &LogSpec, folder: &Path) -> Result<(), StorageError> {
    if !shared.disk.exists(folder).await? {
        return Ok(());
    }
    if !holds_batches(shared, folder).await? && damage(shared, folder).await?.is_none() {
        return Ok(());
    }
    let identity =
        shared.disk.read_small(folder.join(PARTITION_METADATA), PARTITION_METADATA_BYTES_MAX).await?;
    let identity = identity.and_then(|bytes| PartitionMetadata::parse(&bytes).ok());
    match identity {
        Some(identity) if identity.topic_id == spec.topic_id => Ok(()),
        Some(_) if shared.is_foreign(&LogStart::empty()) => Err(foreign(folder)),
        Some(_) => set_aside(shared, spec, folder).await,
        None => Err(foreign(folder)),
    }
}

fn foreign(folder: &Path) -> StorageError {
    StorageError::Foreign(format!("{} holds data that no checkpoint names", folder.display()))
}

async fn holds_batches(shared: &Shared, folder: &Path) -> Result<bool, StorageError> {
    let is_data = |name: &str| {
        let FileName::Segment(file) = FileName::parse(name) else { return false };
        file.kind == FileKind::Log && file.stage == FileStage::Live
    };
    let entries = shared.disk.list(folder).await?;
    Ok(entries.iter().any(|entry| entry.len_bytes > 0 && is_data(&entry.name)))
}

async fn set_aside(shared: &Shared, spec: &LogSpec, folder: &Path) -> Result<(), StorageError> {
    let aside = spec.partition.marked_folder_name(FolderMark::Stray, shared.rt.uuid());
    tracing::warn!(folder = %folder.display(), aside, "a folder of another topic of this name was set aside");
    let data_dir = &shared.config.data_dir;
    shared.disk.rename(folder, data_dir.join(aside)).await?;
    Ok(shared.disk.sync_dir(data_dir).await?)
}

fn decode_producers(shared: &Shared, start: &LogStart, folder: &Path) -> Result<ProducerState, StorageError> {
    if start.producers.is_empty() {
        return Ok(ProducerState::new(shared.producer_expiration_ms.get()));
    }
    ProducerState::from_full(&start.producers, shared.rt.wall_ms(), shared.producer_expiration_ms.get())
        .ok_or_else(|| StorageError::Corrupt(format!("the checkpoint's producers of {}", folder.display())))
}

/// Why recovery, now or at an earlier start, took the log offline.
async fn damage(shared: &Shared, folder: &Path) -> Result<Option<StorageError>, StorageError> {
    let mark = shared.disk.read_small(folder.join(DAMAGE_MARK), 64 << 10).await?;
    Ok(mark.map(|what| StorageError::Corrupt(String::from_utf8_lossy(&what).into_owned())))
}

/// The leader epochs that a log's file holds.
pub(crate) async fn read_epochs(disk: &Disk, folder: &Path) -> Result<EpochCache, StorageError> {
    let path = folder.join(LEADER_EPOCH_CHECKPOINT);
    let Some(bytes) = disk.read_small(&path, EPOCHS_BYTES_MAX).await? else {
        return Ok(EpochCache::new());
    };
    EpochCache::parse(&bytes).map_err(|cause| StorageError::Corrupt(format!("{}: {cause}", path.display())))
}

/// The segments of a log by their files: those before the last are whole, the last ends where the checkpoint says. What a crash left
/// behind the end, of writes that nobody was told of, is taken away.
async fn list_segments(
    shared: &Shared,
    folder: &Path,
    start: &LogStart,
    now_ms: i64,
    is_damaged: bool,
) -> Result<Vec<Segment>, StorageError> {
    let mut segments = Vec::new();
    let mut with_aborted = BTreeSet::new();
    let entries = shared.disk.list(folder).await?;
    name_foreign(folder, &entries, is_of_log);
    for entry in &entries {
        let FileName::Segment(file) = FileName::parse(&entry.name) else { continue };
        // Of a damaged log every byte is kept, for whoever restores it.
        let is_behind = file.base_offset >= start.end.segment;
        if file.stage != FileStage::Live || (is_damaged && is_behind) {
            continue;
        }
        let path = folder.join(&entry.name);
        match (file.kind, file.base_offset.cmp(&start.end.segment)) {
            (FileKind::Log, Ordering::Less) => {
                segments.push(Segment::stored(file.base_offset, entry.len_bytes, Stage::Finished, now_ms));
            }
            (FileKind::TxnIndex, Ordering::Less | Ordering::Equal) if entry.len_bytes > 0 => {
                with_aborted.insert(file.base_offset);
            }
            (FileKind::Log, Ordering::Equal) => cut_leftover(shared, &path, entry.len_bytes, start).await?,
            (FileKind::OffsetIndex | FileKind::TimeIndex, Ordering::Equal) if entry.len_bytes > 0 => {
                check_index(shared, &path, file.kind, start).await?;
            }
            // A snapshot may be of the log's end. An index of a segment that begins there speaks of batches that are gone: making the
            // segment's file anew makes its removal durable.
            (_, Ordering::Greater)
                if file.base_offset > start.end.offset || file.kind != FileKind::Snapshot =>
            {
                remove_leftover(shared, &path, start).await?;
            }
            (_, Ordering::Less | Ordering::Equal | Ordering::Greater) => {}
        }
    }
    drop_expired(&mut segments, start);
    let first = segments.first().map_or(start.end.segment, |segment| segment.base);
    if first <= start.start && !is_damaged {
        remove_expired(shared, folder, &entries, first).await?;
    }
    let mut active = Segment::stored(start.end.segment, start.end.pos, Stage::Active, now_ms);
    if active.size == 0 {
        active = Segment::new(start.end.segment, 0, now_ms, 0);
        active.indexes = None;
    }
    for segment in segments.iter_mut().filter(|segment| with_aborted.contains(&segment.base)) {
        segment.aborted = Aborted::InFile;
    }
    if with_aborted.contains(&active.base) {
        load_aborted(shared, folder, start, &mut active).await?;
    }
    segments.push(active);
    Ok(segments)
}

/// The aborted transactions of the active segment. A crash may have left some of markers that are gone.
async fn load_aborted(
    shared: &Shared,
    folder: &Path,
    start: &LogStart,
    active: &mut Segment,
) -> Result<(), StorageError> {
    let path = path_of(folder, active.base, FileKind::TxnIndex);
    let bytes = shared.disk.read_small(&path, SMALL_BYTES_MAX).await?.unwrap_or_default();
    match TxnIndex::decode(&bytes, active.base) {
        Ok(index) => {
            active.aborted_stored = Some(index.entries().len());
            active.aborted = Aborted::Here(index);
            active.truncate_aborted(start.end.offset);
        }
        Err(cause) => {
            tracing::warn!(file = %path.display(), %cause, "transaction index rebuilt");
            active.aborted = Aborted::Here(aborted_of(&shared.disk, folder, active.base, start.end).await?);
            active.aborted_stored = None;
        }
    }
    Ok(())
}

/// Cuts blocks behind the log's end; the zeros of the last block may stay.
async fn cut_leftover(shared: &Shared, path: &Path, len: u64, start: &LogStart) -> Result<(), StorageError> {
    if len < start.end.pos {
        return Err(StorageError::Corrupt(format!(
            "{} has {len} bytes of {}",
            path.display(),
            start.end.pos
        )));
    }
    if shared.is_foreign(start) && len > 0 {
        return Err(StorageError::Foreign(format!("{} holds data that no checkpoint names", path.display())));
    }
    if len > block_ceil(start.end.pos) {
        let file = shared.disk.open(path, OpenMode::ReadWrite).await?;
        file.truncate(start.end.pos).await?;
        file.sync().await?;
    }
    Ok(())
}

/// Removes an index that speaks of batches behind the log's end: others will stand there.
async fn check_index(
    shared: &Shared,
    path: &Path,
    kind: FileKind,
    start: &LogStart,
) -> Result<(), StorageError> {
    let bounds = SegmentBounds {
        base_offset: start.end.segment,
        end_offset: start.end.offset,
        size_bytes: start.end.pos,
    };
    let Some(bytes) = shared.disk.read_small(path, INDEX_BYTES_MAX).await? else { return Ok(()) };
    let fits = match kind {
        FileKind::OffsetIndex => OffsetIndex::decode(&bytes, &bounds).is_ok(),
        _ => TimeIndex::decode(&bytes, &bounds).is_ok(),
    };
    if !fits {
        shared.disk.remove_file(path).await?;
    }
    Ok(())
}

async fn remove_leftover(shared: &Shared, path: &Path, start: &LogStart) -> Result<(), StorageError> {
    if shared.is_foreign(start) {
        return Err(StorageError::Foreign(format!(
            "{} belongs to data that no checkpoint names",
            path.display()
        )));
    }
    tracing::info!(file = %path.display(), "removed: lies behind the log's end");
    Ok(shared.disk.remove_file(path).await?)
}

/// A crash between a cut of the start and the removal of its segments leaves them behind.
fn drop_expired(segments: &mut Vec<Segment>, start: &LogStart) {
    segments.sort_by_key(|segment| segment.base);
    let bases: Vec<Offset> =
        segments.iter().skip(1).map(|segment| segment.base).chain([start.end.segment]).collect();
    let expired = bases.iter().take_while(|next| **next <= start.start).count();
    segments.drain(..expired.min(segments.len()));
}

/// Removes every file of the segments before `first`, which lie behind the durable start: a removal may have stopped half-way.
async fn remove_expired(
    shared: &Shared,
    folder: &Path,
    entries: &[DirEntry],
    first: Offset,
) -> Result<(), StorageError> {
    for entry in entries {
        let FileName::Segment(file) = FileName::parse(&entry.name) else { continue };
        if file.stage == FileStage::Live && file.base_offset < first {
            let path = folder.join(&entry.name);
            tracing::info!(file = %path.display(), "removed: lies before the log's start");
            shared.disk.remove_file(&path).await?;
        }
    }
    Ok(())
}
