//! One partition's log on the shard that owns it: appends go to chunks and the WAL, reads come from chunks and segment
//! files, and three offsets say how far each has come.
//!
//! ```text
//!  start        accounted        flushed      walled      end
//!    │ segments    │ WAL + chunks   │ in flight  │ chunks   │
//! ```
//! *accounted*: in flushed segments and named by the checkpoint, so the WAL is not needed. *flushed*: durable. *walled*: handed to a
//! WAL group. The high watermark is the engine's to move; the log keeps it for the checkpoint. A borrow of the state never crosses an
//! await: IO is planned under a borrow, done without one, and its outcome noted under another.

mod aborted;
mod append;
pub(crate) mod files;
mod flush_times;
mod indexes;
mod materialise;
mod open;
mod read;
mod truncate;
mod wal_feed;

pub use append::{Appended, FlushTicket, TransactionEnd};
pub use flush_times::GroupTimes;
pub use read::{ReadResult, TimestampOffset};
pub use truncate::Truncation;

pub(crate) use flush_times::FlushTimes;
pub(crate) use open::{LogStart, read_epochs};
pub(crate) use wal_feed::{Carried, Fed};

use crate::batch::{BatchHeader, LeaderEpoch, Offset};
use crate::chunk::Chunk;
use crate::config::LogConfig;
use crate::epochs::EpochCache;
use crate::error::StorageError;
use crate::index::TxnIndex;
use crate::mutants::{Mutant, is_active};
use crate::names::TopicPartition;
use crate::producers::{EndMarker, ProducerState};
use crate::segment::Segment;
use crate::store::{Charge, Shared};
use crate::wal::format::LogId;
use hayate_rt::MonoTime;
use hayate_rt::notify::{Lock, Notify};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

/// A partition's log. Cloning gives another handle on the same log; it stays on its shard.
#[derive(Clone)]
pub struct Log {
    pub(crate) inner: Rc<LogInner>,
}

/// How far a log has come. `start ≤ last_stable ≤ high_watermark`, `flushed ≤ end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsets {
    /// First offset that can be read.
    pub start: Offset,
    /// Offset of the next record.
    pub end: Offset,
    /// Everything before this is durable here.
    pub flushed: Offset,
    /// What the engine last set.
    pub high_watermark: Offset,
    /// First offset of the oldest transaction that is open, or whose marker the high watermark has not passed; else the high watermark.
    pub last_stable: Offset,
}

/// Which batches count for what a log tells of its producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// All that were appended.
    All,
    /// Those that are durable.
    Flushed,
}

/// A batch boundary: an offset and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) offset: Offset,
    pub(crate) segment: Offset,
    pub(crate) pos: u64,
}

pub(crate) struct LogInner {
    pub(crate) id: LogId,
    pub(crate) partition: TopicPartition,
    pub(crate) folder: PathBuf,
    pub(crate) shared: Rc<Shared>,
    pub(crate) state: RefCell<LogState>,
    /// Held while files of the log are written, cut or removed.
    pub(crate) files: Lock,
    /// `flushed` moved, or the log failed.
    pub(crate) flushed: Notify,
}

/// What the checkpoint on disk says of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The log's start.
    pub(crate) start: Offset,
    /// The segment that the log's end is in.
    pub(crate) end_segment: Offset,
}

/// A frame that goes ahead of the log's next batches.
pub(crate) enum Control {
    /// An extent that is durable in its segment, the bytes behind it, and the log's end after them.
    Extent { segment: Offset, pos: u64, extent_bytes: u64, rest: bytes::Bytes, end: Mark },
    /// The log was cut here.
    Truncate { to: Mark },
}

/// A mark and the producer state exactly there.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) mark: Mark,
    pub(crate) producers: Vec<u8>,
}

/// A batch of a producer that a crash may still take back.
pub(crate) struct Unflushed {
    pub(crate) header: BatchHeader,
    /// What it ends, if it is a marker.
    pub(crate) marker: Option<EndMarker>,
}

pub(crate) struct CachedChunk {
    pub(crate) segment: Offset,
    /// The log's end offset at the chunk's end.
    pub(crate) end_offset: Offset,
    pub(crate) chunk: Chunk,
    pub(crate) _charge: Charge,
}

pub(crate) struct LogState {
    pub(crate) config: LogConfig,
    /// By base offset; never empty; the last is active.
    pub(crate) segments: Vec<Segment>,
    /// In log order; those that are in files can be dropped from the front.
    pub(crate) chunks: VecDeque<CachedChunk>,
    /// Size of the next chunk.
    pub(crate) chunk_bytes: usize,
    pub(crate) start: Offset,
    /// What the checkpoint on disk names: a restart begins with it, so no segment that it needs may go.
    pub(crate) stored: Stored,
    pub(crate) end: Offset,
    pub(crate) walled: Mark,
    pub(crate) flushed: Mark,
    pub(crate) accounted: Mark,
    pub(crate) high_watermark: Offset,
    pub(crate) epochs: EpochCache,
    /// Whether the file of the epochs lacks something. What it says of offsets before the checkpoint's end is always complete;
    /// recovery learns the rest from the batches.
    pub(crate) epochs_changed: bool,
    pub(crate) producers: ProducerState,
    /// The producer state at the flushed mark: what of `producers` a crash cannot take back.
    pub(crate) flushed_producers: ProducerState,
    /// Batches of producers between the two.
    pub(crate) unflushed: VecDeque<Unflushed>,
    /// Whether some transaction index on disk lacks something, or has too much.
    pub(crate) aborted_changed: bool,
    /// Transaction indexes of finished segments that were read last, the latest first.
    pub(crate) kept_aborted: VecDeque<(Offset, Rc<TxnIndex>)>,
    /// The producer state at the accounted mark, in full; empty when there is none.
    pub(crate) accounted_producers: Vec<u8>,
    pub(crate) control: VecDeque<Control>,
    /// Cuts handed to the WAL so far, and durable there.
    pub(crate) cuts_fed: u64,
    pub(crate) cuts_durable: u64,
    /// Whether the log waits in the queue of those that have something for the WAL.
    pub(crate) queued: bool,
    /// Whether its pending bytes are on their way to the segment directly.
    pub(crate) direct: bool,
    /// When they set out, until the group that carries their extent is taken.
    pub(crate) direct_since: Option<MonoTime>,
    /// When the last groups were taken and durable.
    pub(crate) flush_times: FlushTimes,
    /// Sequence of the oldest WAL file that holds bytes which are not accounted for.
    pub(crate) oldest_wal: Option<u64>,
    /// Grows with each truncation: positions planned before one are void.
    pub(crate) truncations: u64,
    /// Whether a truncation is on its way: nothing may be appended.
    pub(crate) truncating: bool,
    pub(crate) failed: Option<StorageError>,
    pub(crate) on_progress: Option<Rc<dyn Fn()>>,
}

impl LogState {
    pub(crate) fn active(&self) -> &Segment {
        self.segments.last().expect("a log always has an active segment")
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log always has an active segment")
    }

    /// The log's end as a mark.
    pub(crate) fn end_mark(&self) -> Mark {
        Mark { offset: self.end, segment: self.active().base, pos: self.active().size }
    }

    pub(crate) fn segment(&self, base: Offset) -> Option<&Segment> {
        let at = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        self.segments.get(at)
    }

    pub(crate) fn segment_mut(&mut self, base: Offset) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        self.segments.get_mut(at)
    }

    /// The segment that holds `offset`, for an offset inside the log.
    pub(crate) fn segment_of(&self, offset: Offset) -> &Segment {
        let after = self.segments.partition_point(|segment| segment.base <= offset);
        &self.segments[after.saturating_sub(1)]
    }

    /// The segment after `base`.
    pub(crate) fn segment_after(&self, base: Offset) -> Option<&Segment> {
        self.segments.get(self.segments.partition_point(|segment| segment.base <= base))
    }

    /// The chunk that holds `pos` of `segment` as a readable byte.
    pub(crate) fn chunk_at(&self, segment: Offset, pos: u64) -> Option<&CachedChunk> {
        let after =
            self.chunks.partition_point(|cached| (cached.segment, cached.chunk.end_pos()) <= (segment, pos));
        let cached = self.chunks.get(after)?;
        (cached.segment == segment && cached.chunk.valid_pos() <= pos).then_some(cached)
    }

    /// Bytes that no WAL group has taken yet.
    pub(crate) fn pending_bytes(&self) -> u64 {
        let from_walled = |segment: &Segment| match segment.base == self.walled.segment {
            true => segment.size - self.walled.pos,
            false => segment.size,
        };
        let newer = self.segments.iter().rev().take_while(|segment| segment.base >= self.walled.segment);
        newer.map(from_walled).sum()
    }
}

impl LogInner {
    /// Takes the log offline for good: every waiter hears of it.
    pub(crate) fn fail(&self, error: &StorageError) {
        self.state.borrow_mut().failed.get_or_insert_with(|| error.clone());
        self.progress();
    }

    /// Tells whoever waits that `flushed` moved or the log failed.
    pub(crate) fn progress(&self) {
        self.flushed.notify();
        let callback = self.state.borrow().on_progress.clone();
        if let Some(callback) = callback {
            callback();
        }
    }

    pub(crate) fn check(&self) -> Result<(), StorageError> {
        match &self.state.borrow().failed {
            Some(error) => Err(error.clone()),
            None => self.shared.check(),
        }
    }
}

impl Log {
    /// The readable part of each chunk, as it lies in memory: what a reader of appended bytes must be served from.
    #[cfg(feature = "sim")]
    pub fn chunk_bytes(&self) -> Vec<bytes::Bytes> {
        let state = self.inner.state.borrow();
        let chunks = state.chunks.iter().map(|cached| &cached.chunk);
        chunks.map(|chunk| chunk.slice(chunk.valid_pos(), chunk.end_pos())).collect()
    }

    /// Which partition this is.
    pub fn partition(&self) -> &TopicPartition {
        &self.inner.partition
    }

    /// The topic's id, big-endian.
    pub fn topic_id(&self) -> [u8; 16] {
        self.inner.id.topic_id
    }

    /// How far the log has come.
    pub fn offsets(&self) -> LogOffsets {
        let state = self.inner.state.borrow();
        let first_unstable = match is_active(Mutant::StableTooFar) {
            false => state.producers.first_unstable_offset(),
            true => None,
        };
        let stable = first_unstable.unwrap_or(Offset::MAX).max(state.start);
        LogOffsets {
            start: state.start,
            end: state.end,
            flushed: state.flushed.offset,
            high_watermark: state.high_watermark,
            last_stable: state.high_watermark.min(stable),
        }
    }

    /// Remembers the high watermark, which the engine decides on.
    pub fn set_high_watermark(&self, offset: Offset) {
        let mut state = self.inner.state.borrow_mut();
        state.high_watermark = offset;
        state.producers.on_high_watermark(offset);
        state.flushed_producers.on_high_watermark(offset);
    }

    /// Calls `callback` whenever `flushed` moved or the log failed.
    pub fn on_progress(&self, callback: Rc<dyn Fn()>) {
        self.inner.state.borrow_mut().on_progress = Some(callback);
    }

    /// Why the log is offline, if it is.
    pub fn failure(&self) -> Option<StorageError> {
        self.inner.check().err()
    }

    /// The settings in force.
    pub fn config(&self) -> LogConfig {
        self.inner.state.borrow().config.clone()
    }

    /// Puts new settings in force.
    pub fn update_config(&self, config: LogConfig) {
        self.inner.state.borrow_mut().config = config;
    }

    /// Bytes of batches that the log holds.
    pub fn size_bytes(&self) -> u64 {
        self.inner.state.borrow().segments.iter().map(|segment| segment.size).sum()
    }

    /// Looks at the producers that the log remembers: at all of them, or at what a crash cannot take back.
    pub fn with_producers<T>(&self, which: Remembered, look: impl FnOnce(&ProducerState) -> T) -> T {
        let state = self.inner.state.borrow();
        look(match which {
            Remembered::All => &state.producers,
            Remembered::Flushed => &state.flushed_producers,
        })
    }

    /// The newest leader epoch that the log knows of.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.inner.state.borrow().epochs.latest_epoch()
    }

    /// The epoch that `offset` was written in.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.inner.state.borrow().epochs.epoch_at(offset)
    }

    /// Where `epoch` ended, as Kafka answers OffsetForLeaderEpoch (KIP-101): the largest epoch not above it, and its end.
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.inner.state.borrow();
        state.epochs.end_offset_for(epoch, state.end)
    }

    /// Begins a leader epoch at the log's end, durably.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn begin_epoch(&self, epoch: LeaderEpoch) -> Result<(), StorageError> {
        self.inner.check()?;
        let _held = self.inner.files.acquire().await;
        {
            let mut state = self.inner.state.borrow_mut();
            let end = state.end;
            state.epochs.assign(epoch, end);
        }
        self.inner.store_epochs().await
    }

    /// Waits until everything appended so far is durable. It waits a full disk out.
    ///
    /// # Errors
    /// Those that took the log offline.
    pub async fn flush(&self) -> Result<(), StorageError> {
        loop {
            match self.ticket().await {
                Err(StorageError::Cut) => {}
                other => return other,
            }
        }
    }

    /// The same, but no longer than the disk has space: for a stop.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] too. What was not durable was not acknowledged.
    pub(crate) async fn flush_within_space(&self) -> Result<(), StorageError> {
        loop {
            match self.ticket().within_space().await {
                Err(StorageError::Cut) => {}
                other => return other,
            }
        }
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests;
