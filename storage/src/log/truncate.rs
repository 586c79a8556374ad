//! Cutting a log: its end, when another leader's history replaces it; its start, when records expire or are deleted.
//!
//! A cut at the end is a frame in the WAL before any file is touched, so that a crash on the way either keeps the old end
//! or finishes the cut; bytes behind it never come back. A cut at the start is in the checkpoint before any file goes.

use super::{CachedChunk, Log, LogInner, LogState, Mark};
use crate::batch::{BatchScan, LeaderEpoch, Offset, scan::Checksums};
use crate::chunk::Chunk;
use crate::disk::DiskError;
use crate::error::{ReadError, StorageError};
use crate::names::{FileKind, LEADER_EPOCH_CHECKPOINT};
use crate::producers::ProducerState;
use crate::segment::Stage;
use crate::store::Shared;
use std::rc::Rc;

/// Bytes read at a time while producer state is rebuilt.
const REPLAY_READ_BYTES: usize = 1 << 20;

/// What a cut found and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The log's end.
    pub end: Offset,
    /// The largest epoch, of those asked about and those before, that the log knew.
    pub epoch: Option<LeaderEpoch>,
}

impl Log {
    /// Cuts the log as a follower does when its leader says that `epoch` ends at `offset` there ([`EpochCache::cut_point`]): so that it
    /// ends at or before that, at the start of the batch that holds it. Durable on return. Does nothing when the log ends earlier; never
    /// cuts before the log's start.
    ///
    /// [`EpochCache::cut_point`]: crate::epochs::EpochCache::cut_point
    ///
    /// # Errors
    /// Those that take the log offline; [`StorageError::Closed`] while another cut is under way.
    pub async fn truncate_to(&self, epoch: LeaderEpoch, offset: Offset) -> Result<Truncation, StorageError> {
        let inner = &self.inner;
        inner.check()?;
        inner.shared.check_open()?;
        let (epoch, offset) = {
            let mut state = inner.state.borrow_mut();
            if std::mem::replace(&mut state.truncating, true) {
                return Err(StorageError::Closed);
            }
            state.epochs.cut_point(epoch, offset)
        };
        let cut = inner.truncate(offset).await;
        inner.state.borrow_mut().truncating = false;
        inner.flushed.notify(); // a closing store waits for it
        if let Err(error) = &cut {
            inner.fail(error);
        }
        cut.map(|()| Truncation { end: self.offsets().end, epoch })
    }

    /// Moves the log's start up to `offset`, durably, and removes the segments that end before it. The start moves with the call;
    /// whoever moves those of many logs before waiting for the first has them all made durable at once.
    ///
    /// # Errors
    /// Those of the disk; the start has then moved, but may not be durable. The next call makes it so, whatever its offset.
    pub fn advance_start(&self, offset: Offset) -> impl Future<Output = Result<(), StorageError>> + use<> {
        let inner = self.inner.clone();
        let moved = inner.move_start(offset);
        async move { inner.settle_start(moved?).await }
    }
}

impl LogInner {
    fn move_start(&self, offset: Offset) -> Result<Offset, StorageError> {
        self.check()?;
        self.shared.check_open()?;
        let mut state = self.state.borrow_mut();
        state.start = state.start.max(offset.min(state.end));
        Ok(state.start)
    }

    /// Makes the start durable, unless a checkpoint that was written meanwhile has.
    async fn settle_start(self: &Rc<Self>, to: Offset) -> Result<(), StorageError> {
        let is_stored = {
            let state = self.state.borrow();
            to <= state.stored.start && !state.awaits_checkpoint()
        };
        if !is_stored {
            self.shared.write_checkpoint().await?;
        }
        {
            let mut state = self.state.borrow_mut();
            state.epochs_changed |= state.epochs.truncate_from_start(to);
        }
        // Also when the start stays: what was not accounted for at an earlier call may be by now.
        if self.state.borrow().expired() == 0 {
            return Ok(());
        }
        self.remove_expired_segments().await
    }

    /// The start of the batch that holds `offset`; `None` when the log ends at or before it.
    async fn boundary_before(self: &Rc<Self>, offset: Offset) -> Result<Option<Mark>, StorageError> {
        let (offset, end) = {
            let state = self.state.borrow();
            (offset.max(state.start), state.end)
        };
        if offset >= end {
            return Ok(None);
        }
        let found = self.batch_holding(offset).await;
        let (segment, pos, offset) = found.map_err(|error| match error {
            ReadError::Storage(error) => error,
            ReadError::Corrupt { .. } | ReadError::Undecodable { .. } | ReadError::OutOfRange { .. } => {
                StorageError::Corrupt(error.to_string())
            }
        })?;
        Ok(Some(Mark { offset, segment, pos }))
    }

    /// The cut is in the WAL before anything is taken away: from then on a crash finishes it.
    async fn truncate(self: &Rc<Self>, offset: Offset) -> Result<(), StorageError> {
        let Some(mark) = self.boundary_before(offset).await? else { return Ok(()) };
        let _phase = self.shared.rt.phase("truncating");
        self.log_cut(mark).await?;
        let _held = self.files.acquire().await;
        self.bring_aborted(mark.segment).await?;
        let dropped = self.state.borrow_mut().cut_end(mark, &self.shared)?;
        // Together with the cut: a read under way sees the one and keeps nothing, a later one finds nothing of what is gone.
        self.shared.forget_reads(self.id);
        self.shared.guard.forget(self.id).await?;
        // A full disk is waited out: there is no way back behind the cut.
        let mut waited = false;
        while let Err(error) = self.finish_cut(mark, &dropped).await {
            match error {
                StorageError::NoSpace => self.shared.wait_for_space().await,
                other => return Err(other),
            }
            waited = true;
        }
        if waited {
            self.shared.set_no_space(false);
        }
        Ok(())
    }

    async fn finish_cut(self: &Rc<Self>, mark: Mark, dropped: &[Offset]) -> Result<(), StorageError> {
        for base in dropped {
            self.remove_segment_files(*base).await?;
        }
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            self.remove_file(mark.segment, kind).await?;
        }
        self.shared.disk.sync_dir(&self.folder).await?;
        self.store_aborted(mark.offset).await?;
        let path = self.segment_path(mark.segment, FileKind::Log);
        if self.shared.disk.exists(&path).await? {
            let file = self.segment_file(mark.segment).await?;
            if file.len().await? > mark.pos {
                file.truncate(mark.pos).await?;
                file.sync().await?;
            }
        }
        let producers = self.rebuild_producers(mark).await?;
        {
            let mut state = self.state.borrow_mut();
            let mut producers = producers;
            producers.on_high_watermark(state.high_watermark);
            state.flushed_producers = producers.clone();
            state.producers = producers;
            state.unflushed.clear();
        }
        self.store_epochs().await
    }

    /// Makes the leader epochs durable. The caller holds the `files` lock.
    pub(crate) async fn store_epochs(&self) -> Result<(), StorageError> {
        let text = {
            let mut state = self.state.borrow_mut();
            state.epochs_changed = false;
            state.epochs.render()
        };
        let path = self.folder.join(LEADER_EPOCH_CHECKPOINT);
        let stored = self.shared.disk.replace_small(path, text.as_bytes()).await;
        self.state.borrow_mut().epochs_changed |= stored.is_err();
        Ok(stored?)
    }

    /// Producer state as of `mark`, from the newest snapshot before it and the batches behind that.
    pub(crate) async fn rebuild_producers(
        self: &Rc<Self>,
        mark: Mark,
    ) -> Result<ProducerState, StorageError> {
        let bases: Vec<Offset> = {
            let state = self.state.borrow();
            state.segments.iter().map(|segment| segment.base).filter(|base| *base <= mark.offset).collect()
        };
        let (now_ms, expiration_ms) = (self.shared.rt.wall_ms(), self.shared.producer_expiration_ms.get());
        let mut producers = ProducerState::new(expiration_ms);
        let mut from = bases.first().copied().unwrap_or(mark.offset);
        for base in bases.iter().rev() {
            let path = self.segment_path(*base, FileKind::Snapshot);
            let Some(bytes) = self.shared.disk.read_small(path, 64 << 20).await? else { continue };
            if let Ok(decoded) = ProducerState::from_snapshot(&bytes, now_ms, expiration_ms) {
                (producers, from) = (decoded, *base);
                break;
            }
        }
        self.replay_producers(&mut producers, from, mark.offset).await?;
        // It may have changed meanwhile.
        producers.set_expiration_ms(self.shared.producer_expiration_ms.get());
        Ok(producers)
    }

    async fn replay_producers(
        self: &Rc<Self>,
        producers: &mut ProducerState,
        mut from: Offset,
        end: Offset,
    ) -> Result<(), StorageError> {
        let log = Log { inner: self.clone() };
        from = from.max(log.offsets().start);
        while from < end {
            let read = log.read(from, end, REPLAY_READ_BYTES, true).await;
            let read = read.map_err(|error| StorageError::Corrupt(error.to_string()))?;
            if read.records.is_empty() {
                return Ok(());
            }
            for bytes in &read.records {
                for batch in BatchScan::new(bytes, Checksums::Trust) {
                    let replayed = producers.replay(&batch.header, batch.bytes);
                    replayed
                        .map_err(|cause| StorageError::Corrupt(format!("{}: {cause}", self.partition)))?;
                }
            }
            from = read.next_offset;
        }
        Ok(())
    }

    /// Removes the segments that end at or before the log's start, the active one excepted.
    pub(crate) async fn remove_expired_segments(self: &Rc<Self>) -> Result<(), StorageError> {
        let _held = self.files.acquire().await;
        let expired: Vec<Offset> = {
            let mut state = self.state.borrow_mut();
            let count = state.expired();
            let gone: Vec<Offset> = state.segments.drain(..count).map(|segment| segment.base).collect();
            state.chunks.retain(|cached| !gone.contains(&cached.segment));
            gone
        };
        for base in &expired {
            self.remove_segment_files(*base).await?;
        }
        Ok(())
    }

    pub(crate) async fn remove_segment_files(&self, base: Offset) -> Result<(), StorageError> {
        for kind in FileKind::ALL {
            self.remove_file(base, kind).await?;
        }
        Ok(())
    }

    async fn remove_file(&self, base: Offset, kind: FileKind) -> Result<(), StorageError> {
        match self.shared.disk.remove_file(self.segment_path(base, kind)).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl LogState {
    /// Whether segments before the start could go if the checkpoint on disk were newer.
    fn awaits_checkpoint(&self) -> bool {
        let next_ends = self.segments.get(1).is_some_and(|next| next.base <= self.start);
        let first = self.segments.first().map_or(Offset::ZERO, |segment| segment.base);
        next_ends && self.stored.end_segment <= first && first < self.accounted.segment
    }

    /// How many segments end at or before the start that a checkpoint names, and may go.
    fn expired(&self) -> usize {
        let before = self.segments.iter().skip(1).take_while(|next| next.base <= self.stored.start).count();
        // A restart would begin with the segment of the stored end, and the WAL speaks of those behind it.
        let oldest = self.stored.end_segment.min(self.accounted.segment);
        self.segments.iter().take(before).take_while(|segment| segment.base < oldest).count()
    }

    /// Takes the log back to `mark` in memory; returns the segments that are gone.
    fn cut_end(&mut self, mark: Mark, shared: &Shared) -> Result<Vec<Offset>, DiskError> {
        self.truncations += 1;
        let kept = self.segments.partition_point(|segment| segment.base <= mark.segment);
        let dropped = self.segments.drain(kept..).map(|segment| segment.base).collect();
        let interval = self.config.index_interval_bytes;
        let active = self.active_mut();
        active.size = mark.pos;
        active.durable_pos = active.durable_pos.min(mark.pos);
        active.stage = Stage::Active;
        active.indexed_bytes = 0;
        active.largest_timestamp_ms = None;
        active.truncate_aborted(mark.offset);
        // Rebuilt at the next read: the largest timestamp may have gone.
        active.indexes = (mark.pos == 0).then(|| crate::index::SegmentIndexes::new(mark.segment, interval));
        self.aborted_changed = true;
        self.kept_aborted.clear();
        self.cut_chunks(mark, shared)?;
        for reached in [&mut self.walled, &mut self.flushed, &mut self.accounted] {
            if reached.offset > mark.offset {
                *reached = mark;
            }
        }
        self.end = mark.offset;
        self.high_watermark = self.high_watermark.min(mark.offset);
        self.epochs.truncate_from_end(mark.offset);
        Ok(dropped)
    }

    /// Drops cached bytes behind the mark. What is left of a chunk that spans it is copied: slices of its rest may be out.
    fn cut_chunks(&mut self, mark: Mark, shared: &Shared) -> Result<(), DiskError> {
        let mut spanning = None;
        while let Some(last) = self.chunks.back() {
            if (last.segment, last.chunk.end_pos()) <= (mark.segment, mark.pos) {
                break;
            }
            let spans = last.segment == mark.segment && last.chunk.valid_pos() < mark.pos;
            let popped = self.chunks.pop_back();
            // Of several the first: the others begin with a copy of its end.
            spanning = if spans { popped } else { spanning };
        }
        let Some(CachedChunk { chunk: spanning, .. }) = spanning else { return Ok(()) };
        let from = spanning.valid_pos();
        let kept = spanning.bytes(from, mark.pos);
        let mut chunk = Chunk::new(from, kept.len())?;
        chunk.append(kept, |_| {});
        let _charge = shared.charge(chunk.capacity());
        self.chunks.push_back(CachedChunk { segment: mark.segment, end_offset: mark.offset, chunk, _charge });
        Ok(())
    }
}
