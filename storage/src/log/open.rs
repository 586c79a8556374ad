//! Making and opening logs. Opening believes the checkpoint, which recovery has brought up to date: where the log ends,
//! and the producer state there. It looks at names and sizes, never through the data.

use super::{Capture, LogInner, LogState, Mark};
use crate::batch::Offset;
use crate::checkpoint::PartitionMetadata;
use crate::epochs::EpochCache;
use crate::error::StorageError;
use crate::names::{FileKind, FileName, FileStage, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use crate::producers::ProducerState;
use crate::recovery::DAMAGE_MARK;
use crate::segment::{Segment, Stage};
use crate::store::{LogSpec, Shared};
use crate::wal::format::LogId;
use hayate_rt::notify::{Lock, Notify};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

/// More than any leader epoch file of a sane log.
const EPOCHS_BYTES_MAX: usize = 16 << 20;

/// What the checkpoint says of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogStart {
    pub(crate) start: Offset,
    pub(crate) high_watermark: Offset,
    /// The log's end.
    pub(crate) end: Mark,
    /// Producer state at the end, in Kafka's snapshot format.
    pub(crate) producers: Vec<u8>,
}

impl LogStart {
    /// Of a log without a record.
    pub(crate) fn empty() -> LogStart {
        let end = Mark { offset: Offset::ZERO, segment: Offset::ZERO, pos: 0 };
        LogStart { start: Offset::ZERO, high_watermark: Offset::ZERO, end, producers: Vec::new() }
    }
}

impl LogInner {
    /// Makes the folder of a new log and its identity, durably.
    pub(crate) async fn create(shared: &Rc<Shared>, spec: LogSpec) -> Result<Rc<LogInner>, StorageError> {
        let folder = shared.config.data_dir.join(spec.partition.folder_name());
        shared.disk.create_dir_all(&folder).await?;
        let identity = PartitionMetadata { topic_id: spec.topic_id };
        shared.disk.replace_small(folder.join(PARTITION_METADATA), identity.render().as_bytes()).await?;
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
        let segments = list_segments(shared, &folder, &start, now_ms).await?;
        let mut epochs = read_epochs(shared, &folder).await?;
        epochs.truncate_from_end(start.end.offset);
        let failed = damage(shared, &folder).await?;
        let producers = decode_producers(shared, &start, &folder)?;
        let state = LogState {
            config: spec.config,
            segments,
            chunks: VecDeque::new(),
            chunk_bytes: 0,
            start: start.start,
            end: start.end.offset,
            walled: start.end,
            flushed: start.end,
            accounted: start.end,
            high_watermark: start.high_watermark.min(start.end.offset),
            epochs,
            producers,
            accounted_producers: start.producers,
            capture: Capture::None,
            control: VecDeque::new(),
            controls_fed: 0,
            controls_durable: 0,
            queued: false,
            direct: false,
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

fn decode_producers(shared: &Shared, start: &LogStart, folder: &Path) -> Result<ProducerState, StorageError> {
    if start.producers.is_empty() {
        return Ok(ProducerState::new(shared.config.producer_expiration_ms));
    }
    ProducerState::from_snapshot(&start.producers, shared.rt.wall_ms(), shared.config.producer_expiration_ms)
        .map_err(|cause| StorageError::Corrupt(format!("producer state of {}: {cause}", folder.display())))
}

/// Why recovery, now or at an earlier start, took the log offline.
async fn damage(shared: &Shared, folder: &Path) -> Result<Option<StorageError>, StorageError> {
    let mark = shared.disk.read_small(folder.join(DAMAGE_MARK), 64 << 10).await?;
    Ok(mark.map(|what| StorageError::Corrupt(String::from_utf8_lossy(&what).into_owned())))
}

async fn read_epochs(shared: &Shared, folder: &Path) -> Result<EpochCache, StorageError> {
    let path = folder.join(LEADER_EPOCH_CHECKPOINT);
    let Some(bytes) = shared.disk.read_small(&path, EPOCHS_BYTES_MAX).await? else {
        return Ok(EpochCache::new());
    };
    EpochCache::parse(&bytes).map_err(|cause| StorageError::Corrupt(format!("{}: {cause}", path.display())))
}

/// The segments of a log by their files: those before the last are whole, the last ends where the checkpoint says.
async fn list_segments(
    shared: &Shared,
    folder: &Path,
    start: &LogStart,
    now_ms: i64,
) -> Result<Vec<Segment>, StorageError> {
    let mut segments = Vec::new();
    for entry in shared.disk.list(folder).await? {
        let FileName::Segment(file) = FileName::parse(&entry.name) else { continue };
        if file.kind != FileKind::Log
            || file.stage != FileStage::Live
            || file.base_offset >= start.end.segment
        {
            if file.kind == FileKind::Log && file.base_offset > start.end.segment {
                let name = folder.join(&entry.name);
                return Err(StorageError::Foreign(format!("{} lies behind the log's end", name.display())));
            }
            continue;
        }
        segments.push(Segment::stored(file.base_offset, entry.len_bytes, Stage::Finished, now_ms));
    }
    drop_expired(&mut segments, start);
    let mut active = Segment::stored(start.end.segment, start.end.pos, Stage::Active, now_ms);
    if active.size == 0 {
        active = Segment::new(start.end.segment, 0, now_ms, 0);
        active.indexes = None;
    }
    segments.push(active);
    Ok(segments)
}

/// A crash between a cut of the start and the removal of its segments leaves them behind.
fn drop_expired(segments: &mut Vec<Segment>, start: &LogStart) {
    segments.sort_by_key(|segment| segment.base);
    let bases: Vec<Offset> =
        segments.iter().skip(1).map(|segment| segment.base).chain([start.end.segment]).collect();
    let expired = bases.iter().take_while(|next| **next <= start.start).count();
    segments.drain(..expired.min(segments.len()));
}
