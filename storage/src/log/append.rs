//! Appending: judge the producer's sequence, roll if the segment is full, copy the batch into a chunk once, give it its
//! offset and epoch there, and queue the log for the next WAL group. No await, no IO: the order of calls is the order of
//! the log.

use super::{CachedChunk, GroupTimes, Log, LogInner, LogState, Unflushed};
use crate::batch::control::EndTxnMarker;
use crate::batch::header::{set_base_offset, set_partition_leader_epoch};
use crate::batch::validate::{Stamp, ValidBatch, restamp};
use crate::batch::{BatchHeader, LeaderEpoch, NO_TIMESTAMP_MS, Offset, ProducerId, TimestampType};
use crate::chunk::{Chunk, block_floor};
use crate::disk::DiskError;
use crate::error::{AppendError, StorageError};
use crate::producers::{EndMarker, TransactionVersion, Verdict};
use crate::retention::{RollInputs, jitter_ms, must_roll};
use crate::segment::{Segment, Stage};
use crate::store::Shared;
use hayate_rt::MonoTime;
use std::cell::RefMut;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Sizes that the chunks of a log go through as it gets hot.
const CHUNK_BYTES_MIN: usize = 8 << 10;
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// What became of a batch.
#[derive(Debug)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// The broker's time if the topic uses log-append time, else −1. Of a duplicate the original's greatest time.
    pub log_append_time_ms: i64,
    /// First offset of the log.
    pub log_start_offset: Offset,
    /// Whether the batch was there already; the offsets are then the original's.
    pub duplicate: bool,
    /// When it was judged, and its copying into a chunk began.
    pub entered: MonoTime,
    /// Resolves when the batch is durable.
    pub durable: FlushTicket,
}

/// The end of a transaction, as its coordinator decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionEnd {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// How it ended, and the coordinator's epoch.
    pub marker: EndTxnMarker,
    /// The coordinator's rules.
    pub version: TransactionVersion,
}

/// Resolves when the log is durable up to an offset, or failed.
#[must_use = "an append may be acknowledged only when its ticket has resolved"]
pub struct FlushTicket {
    log: Rc<LogInner>,
    end: Offset,
    /// Cuts that the log had seen when the ticket was made.
    truncations: u64,
    waiting: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Whether a full disk ends the wait: what was appended may still become durable.
    ends_when_full: bool,
}

impl std::fmt::Debug for FlushTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FlushTicket({} up to {})", self.log.partition, self.end)
    }
}

impl FlushTicket {
    fn new(log: Rc<LogInner>, state: &LogState, end: Offset) -> FlushTicket {
        FlushTicket { log, end, truncations: state.truncations, waiting: None, ends_when_full: true }
    }

    /// The same ticket, whose wait a full disk ends.
    pub(super) fn within_space(self) -> FlushTicket {
        FlushTicket { ends_when_full: true, ..self }
    }

    /// Once it has resolved: the WAL group that made durable what was appended at `since`; `None` when nothing had to be waited for.
    pub fn group_since(&self, since: MonoTime) -> Option<GroupTimes> {
        self.log.state.borrow().flush_times.of(self.end, since)
    }

    fn outcome(&self) -> Option<Result<(), StorageError>> {
        let (flushed, truncations) = {
            let state = self.log.state.borrow();
            (state.flushed.offset, state.truncations)
        };
        match flushed >= self.end {
            _ if truncations != self.truncations => Some(Err(StorageError::Cut)),
            true => Some(Ok(())),
            false if self.ends_when_full && self.log.shared.is_full() => Some(Err(StorageError::NoSpace)),
            false => self.log.check().err().map(Err),
        }
    }
}

impl Future for FlushTicket {
    type Output = Result<(), StorageError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(outcome) = self.outcome() {
                return Poll::Ready(outcome);
            }
            if self.waiting.is_none() {
                let log = self.log.clone();
                self.waiting = Some(Box::pin(async move { log.flushed.notified().await }));
            }
            let waiting = self.waiting.as_mut().expect("set above");
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
    }
}

impl Log {
    /// A ticket for everything appended so far. It waits a full disk out.
    pub fn ticket(&self) -> FlushTicket {
        let state = self.inner.state.borrow();
        FlushTicket { ends_when_full: false, ..FlushTicket::new(self.inner.clone(), &state, state.end) }
    }

    /// Appends one validated batch, the first bytes of `records`. It gets the log's end as its base offset and `epoch`.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    ///
    /// # Panics
    /// When the batch still has to be recompressed: the caller does that, and validates the result.
    pub fn append(
        &self,
        records: &[u8],
        batch: &ValidBatch,
        epoch: LeaderEpoch,
    ) -> Result<Appended, AppendError> {
        assert!(batch.recompress.is_none(), "recompress before appending");
        let state = self.appendable()?;
        if let Some(duplicate) = state.judge_producer(&batch.header)? {
            return Ok(self.duplicate(&state, duplicate));
        }
        self.enter(state, &records[..batch.header.total_bytes()], batch, None, epoch)
    }

    /// Appends the marker that ends a transaction; it need not have a record here.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn append_marker(&self, end: &TransactionEnd, epoch: LeaderEpoch) -> Result<Appended, AppendError> {
        let state = self.appendable()?;
        let TransactionEnd { producer_id, producer_epoch, marker, version } = *end;
        let EndTxnMarker { outcome, coordinator_epoch } = marker;
        let judged = state.producers.check_marker(producer_id, producer_epoch, coordinator_epoch, version);
        judged.map_err(AppendError::Producer)?;
        let timestamp_ms = self.inner.shared.rt.wall_ms();
        let batch = marker.to_batch(state.end, epoch, timestamp_ms, producer_id, producer_epoch);
        let header = BatchHeader::parse(&batch).expect("our own batch has a good header");
        let timestamp_type = state.config.message_timestamp_type;
        let stamp = (timestamp_type == TimestampType::LogAppendTime)
            .then_some(Stamp { timestamp_type, max_timestamp_ms: timestamp_ms });
        let valid = ValidBatch { header, stamp, recompress: None };
        let marker = EndMarker { outcome, coordinator_epoch, timestamp_ms };
        self.enter(state, &batch, &valid, Some(marker), epoch)
    }

    /// # Errors
    /// Why nothing can be appended now.
    fn appendable(&self) -> Result<RefMut<'_, LogState>, AppendError> {
        self.inner.check()?;
        self.inner.shared.check_space()?;
        let state = self.inner.state.borrow_mut();
        if state.truncating { Err(AppendError::Storage(StorageError::Closed)) } else { Ok(state) }
    }

    /// Gives a batch that was judged its place. `marker` is what it holds if it ends a transaction.
    fn enter(
        &self,
        mut state: RefMut<'_, LogState>,
        bytes: &[u8],
        batch: &ValidBatch,
        marker: Option<EndMarker>,
        epoch: LeaderEpoch,
    ) -> Result<Appended, AppendError> {
        let inner = &self.inner;
        let (entered, now_ms) = (inner.shared.rt.now(), inner.shared.rt.wall_ms());
        let max_timestamp_ms =
            batch.stamp.map_or(batch.header.max_timestamp_ms, |stamp| stamp.max_timestamp_ms);
        let new_chunk = state.make_room(inner, &batch.header, max_timestamp_ms, now_ms)?;
        let header = BatchHeader { max_timestamp_ms, ..batch.header };
        let base_offset = state.push(bytes, header, batch.stamp, marker, epoch);
        let appended = Appended {
            base_offset,
            last_offset: state.end.plus(-1),
            log_append_time_ms: append_time(batch),
            log_start_offset: state.start,
            duplicate: false,
            entered,
            durable: FlushTicket::new(inner.clone(), &state, state.awaited_end()),
        };
        drop(state);
        inner.shared.count_appended(bytes.len());
        if new_chunk {
            inner.shared.chunk_made(inner);
        }
        inner.enqueue();
        Ok(appended)
    }

    /// As in Kafka, its append time is the original's greatest time, whoever gave it.
    fn duplicate(&self, state: &LogState, original: Original) -> Appended {
        Appended {
            base_offset: original.base_offset,
            last_offset: original.last_offset,
            log_append_time_ms: original.timestamp_ms,
            log_start_offset: state.start,
            duplicate: true,
            entered: self.inner.shared.rt.now(),
            durable: FlushTicket::new(self.inner.clone(), state, original.last_offset.next()),
        }
    }
}

/// The batch that a duplicate repeats.
struct Original {
    base_offset: Offset,
    last_offset: Offset,
    timestamp_ms: i64,
}

fn append_time(batch: &ValidBatch) -> i64 {
    match batch.stamp {
        Some(stamp) if stamp.timestamp_type == TimestampType::LogAppendTime => stamp.max_timestamp_ms,
        Some(_) | None => NO_TIMESTAMP_MS,
    }
}

impl LogState {
    /// What an append waits for: its own end, or nothing where flushing is relaxed (`flush.messages` above 1).
    fn awaited_end(&self) -> Offset {
        if self.config.flush_messages > 1 { self.flushed.offset } else { self.end }
    }

    fn judge_producer(&self, header: &BatchHeader) -> Result<Option<Original>, AppendError> {
        if !header.producer_id.is_some() {
            return Ok(None);
        }
        match self.producers.check(header).map_err(AppendError::Producer)? {
            Verdict::New => Ok(None),
            Verdict::Duplicate { base_offset, last_offset, timestamp_ms } => {
                Ok(Some(Original { base_offset, last_offset, timestamp_ms }))
            }
        }
    }

    /// Rolls to a new segment if this one is full, and sees to it that the last chunk has room for the batch. True
    /// when that took a new chunk.
    fn make_room(
        &mut self,
        inner: &LogInner,
        header: &BatchHeader,
        max_timestamp_ms: i64,
        now_ms: i64,
    ) -> Result<bool, AppendError> {
        let batch_bytes = header.total_bytes();
        if batch_bytes > self.config.segment_bytes as usize {
            return Err(AppendError::LargerThanSegment { batch_bytes });
        }
        if self.is_roll_due(header, max_timestamp_ms, now_ms) {
            self.roll(inner, now_ms);
        }
        let segment = self.active().base;
        let fits = self
            .chunks
            .back()
            .is_some_and(|last| last.segment == segment && last.chunk.room() >= batch_bytes);
        if fits {
            return Ok(false);
        }
        let cached = self.next_chunk(batch_bytes, &inner.shared).map_err(StorageError::from)?;
        self.chunks.push_back(cached);
        Ok(true)
    }

    fn is_roll_due(&self, header: &BatchHeader, max_timestamp_ms: i64, now_ms: i64) -> bool {
        let segment = self.active();
        let index_bytes = segment.indexes.as_ref().map_or(0, |indexes| indexes.offsets().len() * 8);
        // Kafka lets that of transactions grow; here it is in memory.
        let index_bytes = index_bytes.max(segment.aborted_bytes());
        let inputs = RollInputs {
            segment_base: segment.base,
            segment_bytes: segment.size,
            first_timestamp_ms: segment.first_timestamp_ms,
            created_ms: segment.created_ms,
            jitter_ms: segment.jitter_ms,
            index_bytes: index_bytes as u64,
            batch_bytes: header.total_bytes() as u64,
            batch_max_timestamp_ms: max_timestamp_ms,
            batch_last_offset: self.end.plus(i64::from(header.last_offset_delta)),
            now_ms,
        };
        must_roll(&self.config, &inputs)
    }

    /// Seals the active segment and begins another at the log's end. No IO: the files follow when the bytes are written out.
    pub(crate) fn roll(&mut self, inner: &LogInner, now_ms: i64) {
        inner.shared.rt.reached("segment rolled");
        let jitter_ms = jitter_ms(&self.config, inner.shared.rt.random_u64());
        let base = self.end;
        self.active_mut().stage = Stage::Sealed;
        let mut segment = Segment::new(base, self.config.index_interval_bytes, now_ms, jitter_ms);
        segment.snapshot = Some(self.producers.encode_snapshot());
        self.segments.push(segment);
    }

    fn next_chunk(&mut self, batch_bytes: usize, shared: &Shared) -> Result<CachedChunk, DiskError> {
        let (segment, position) = (self.active().base, self.active().size);
        let room = self.chunk_bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX).max(batch_bytes);
        // The chunk before may end inside a block, which this one then begins with, as far as it is there.
        let before = self.chunks.back().filter(|last| last.segment == segment);
        let shared_from = before.map_or(position, |last| last.chunk.valid_pos().max(block_floor(position)));
        let mut chunk = Chunk::new(shared_from, room + (position - shared_from) as usize)?;
        if let Some(last) = before.filter(|_| shared_from < position) {
            chunk.append(last.chunk.bytes(shared_from, position), |_| {});
        }
        self.chunk_bytes = (self.chunk_bytes * 2).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
        let _charge = shared.charge(chunk.capacity());
        Ok(CachedChunk { segment, end_offset: self.end, chunk, _charge })
    }

    /// Copies the batch into the last chunk, where it gets offset and epoch, and counts it everywhere.
    fn push(
        &mut self,
        bytes: &[u8],
        header: BatchHeader,
        stamp: Option<Stamp>,
        marker: Option<EndMarker>,
        epoch: LeaderEpoch,
    ) -> Offset {
        let base = self.end;
        let header = BatchHeader { base_offset: base, partition_leader_epoch: epoch, ..header };
        let end = header.next_offset();
        let cached = self.chunks.back_mut().expect("room was made");
        cached.chunk.append(bytes, |copy| {
            if let Some(stamp) = stamp {
                restamp(copy, stamp);
            }
            set_base_offset(copy, base);
            set_partition_leader_epoch(copy, epoch);
        });
        cached.end_offset = end;
        self.active_mut().push(&header);
        self.epochs_changed |= self.epochs.assign(epoch, base);
        if header.producer_id.is_some() {
            match &marker {
                None => self.producers.apply(&header, base),
                Some(marker) => {
                    let completed = self.producers.end_transaction(&header, marker);
                    self.note_completed(completed);
                }
            }
            self.unflushed.push_back(Unflushed { header, marker });
        }
        self.end = end;
        base
    }
}
