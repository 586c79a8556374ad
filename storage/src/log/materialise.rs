//! Writing a log's bytes from chunks into its segment files, and what must hold before and after.
//!
//! Whole blocks are written as they lie in the chunks; the last, partial block only when the log must be accounted for
//! (`Until::Mark`), as a padded copy. A block that was written before and is about to be rewritten with a longer content is put
//! under guard first, since a torn rewrite may damage it. Order always: segment, flush, then whoever relies
//! on it. One task at a time writes the files of a log.

use super::{Control, LogInner, LogState, Mark};
use crate::batch::Offset;
use crate::chunk::{block_ceil, block_floor};
use crate::disk::{AlignedBuf, BLOCK_BYTES, Durability, File, OpenMode};
use crate::error::StorageError;
use crate::mutants::{Mutant, is_active};
use crate::names::{FileKind, SegmentFile};
use crate::segment::Stage;
use crate::wal::guard::{Guard, Guarded};
use bytes::Bytes;
use std::path::PathBuf;
use std::rc::Rc;

/// Largest single write into a segment: small enough not to starve the WAL.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// How far to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Up to a mark that is flushed, the partial last block included: the WAL is not needed for it afterwards.
    Mark(Mark),
    /// The whole blocks up to a mark; what is behind the last one goes to the WAL.
    Blocks(Mark),
}

/// One segment's share of the work, planned under a borrow.
struct SegmentPlan {
    segment: Offset,
    /// Position of the first write; a block boundary.
    from: u64,
    /// Bytes before `from + front_bytes` that are in the file already.
    front_bytes: u64,
    /// Bytes of batches up to here are in the file afterwards.
    to: u64,
    /// Whether the segment takes no more appends and is to be finished.
    finish: bool,
}

impl LogInner {
    /// Writes out what `until` says. The caller holds the `files` lock.
    pub(crate) async fn materialise(self: &Rc<Self>, until: Until) -> Result<(), StorageError> {
        let truncations = self.state.borrow().truncations;
        let (Until::Mark(target) | Until::Blocks(target)) = until;
        loop {
            self.check()?;
            let Some(plan) = self.state.borrow().plan_segment(target, until) else { break };
            self.write_segment(&plan).await?;
            {
                let mut state = self.state.borrow_mut();
                assert_eq!(state.truncations, truncations, "the files lock keeps truncations out");
                if let Some(segment) = state.segment_mut(plan.segment) {
                    segment.durable_pos = segment.durable_pos.max(plan.to);
                }
            }
            if plan.finish {
                self.finish_segment(plan.segment).await?;
            }
        }
        Ok(())
    }

    /// Writes the log out up to the flushed mark, so that the WAL is not needed for it. What the next checkpoint says follows.
    pub(crate) async fn account(self: &Rc<Self>) -> Result<(), StorageError> {
        let _held = self.files.acquire().await;
        let active = self.shared.wal.borrow().active_sequence();
        let captured = self.state.borrow().captured();
        self.materialise(Until::Mark(captured.mark)).await?;
        self.store_aborted(captured.mark.offset).await?;
        if self.state.borrow().epochs_changed {
            self.store_epochs().await?;
        }
        let mut state = self.state.borrow_mut();
        let settled =
            state.flushed == captured.mark && state.end == captured.mark.offset && state.control.is_empty();
        // Until a cut that is in the WAL is finished, its frame stays.
        let cutting = state.truncating && state.control.is_empty();
        if !cutting {
            // What is behind the mark was handed to the active file or a later one. Never back to an earlier: it may be let go by now.
            state.oldest_wal = state.oldest_wal.filter(|_| !settled).map(|oldest| oldest.max(active));
        }
        state.accounted = captured.mark;
        state.accounted_producers = captured.producers;
        Ok(())
    }

    async fn write_segment(self: &Rc<Self>, plan: &SegmentPlan) -> Result<(), StorageError> {
        if plan.to == plan.from + plan.front_bytes {
            return Ok(());
        }
        let _phase = self.shared.rt.phase("materialising");
        let file = self.segment_file(plan.segment).await?;
        let guard = match plan.front_bytes {
            0 => None,
            _ => Some(self.secure_front(plan, &file).await?),
        };
        let pieces = self.state.borrow().pieces(plan)?;
        let written = write_pieces(&file, plan.from, pieces).await;
        // A write that a full disk cut short has rewritten the guarded block all the same.
        if !is_active(Mutant::ReleaseBeforeFlush) {
            file.sync().await?;
        }
        if let Some(guard) = guard {
            guard.release();
        }
        written?;
        self.shared.count_materialised(plan.to - plan.from);
        Ok(())
    }

    /// Makes sure that the block about to be rewritten is complete in its chunk and under guard.
    async fn secure_front(self: &Rc<Self>, plan: &SegmentPlan, file: &File) -> Result<Guard, StorageError> {
        let valid_end = plan.from + plan.front_bytes;
        let front = file.read_at(plan.from, plan.front_bytes as usize).await?;
        if front.len() as u64 != plan.front_bytes {
            let path = file.path().display();
            return Err(StorageError::Corrupt(format!(
                "{path} ends before position {valid_end}, which was durable"
            )));
        }
        self.state.borrow_mut().load_front(plan, &front);
        self.shared.rt.reached("block guarded");
        let guarded = Guarded { log: self.id, segment: plan.segment, pos: plan.from, bytes: front };
        Ok(self.shared.guard.protect(&guarded).await?)
    }

    /// The segment's file, made if it is not there yet: durable under its name before anything relies on it.
    pub(crate) async fn segment_file(&self, base: Offset) -> Result<File, StorageError> {
        let (known, durable_pos) = {
            let state = self.state.borrow();
            state.segment(base).map_or((None, 0), |segment| (segment.file.clone(), segment.durable_pos))
        };
        if let Some(file) = known {
            return Ok(file);
        }
        let path = self.segment_path(base, FileKind::Log);
        let disk = &self.shared.disk;
        let file = if disk.exists(&path).await? {
            disk.open(&path, OpenMode::ReadWrite).await?
        } else if durable_pos > 0 {
            return Err(StorageError::Corrupt(format!("{} is gone", path.display())));
        } else {
            disk.open(&path, OpenMode::CreateNew).await?
        };
        // A killed process may have made the file and left its name to a crash.
        if durable_pos == 0 {
            disk.sync_dir(&self.folder).await?;
        }
        if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
            segment.file = Some(file.clone());
        }
        Ok(file)
    }

    pub(crate) fn segment_path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.folder.join(SegmentFile::live(base, kind).to_string())
    }

    /// Cuts a sealed segment's file to size and stores its indexes and the producer state that follows it.
    async fn finish_segment(self: &Rc<Self>, base: Offset) -> Result<(), StorageError> {
        let _phase = self.shared.rt.phase("rolling");
        let file = self.segment_file(base).await?;
        let size = self.state.borrow().segment(base).map_or(0, |segment| segment.size);
        file.truncate(size).await?;
        file.sync().await?;
        self.store_indexes_of_sound(base).await?;
        self.leave_aborted_in_file(base).await?;
        let snapshot = {
            let state = self.state.borrow();
            state.segment_after(base).and_then(|next| Some((next.base, next.snapshot.clone()?)))
        };
        if let Some((next, bytes)) = snapshot {
            self.shared.disk.replace_small(&self.segment_path(next, FileKind::Snapshot), &bytes).await?;
        }
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.segment_mut(base) {
            segment.stage = Stage::Finished;
        }
        Ok(())
    }

    /// Stores the indexes of a segment. They are made from its batches: a damaged one is for its readers to meet, and holds up neither
    /// this log nor the others of the shard.
    pub(crate) async fn store_indexes_of_sound(self: &Rc<Self>, base: Offset) -> Result<(), StorageError> {
        let stored = self.store_indexes(base).await;
        let Err(error @ StorageError::Corrupt(_)) = stored else { return stored };
        tracing::error!(partition = %self.partition, segment = %base, %error, "a segment is damaged and gets no index");
        if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
            segment.indexed_bytes = segment.size;
        }
        Ok(())
    }

    /// Writes the pending bytes of the log into its segment, durably, and then tells the WAL of the extent instead of the bytes.
    ///
    /// Returns how many bytes that were.
    pub(crate) async fn append_directly(self: &Rc<Self>) -> Result<u64, StorageError> {
        let _phase = self.shared.rt.phase("direct append");
        let _held = self.files.acquire().await;
        let (end, from) = {
            let state = self.state.borrow();
            (state.end_mark(), state.walled)
        };
        if from.offset == end.offset {
            return Ok(0);
        }
        self.materialise(Until::Blocks(end)).await?;
        let mut state = self.state.borrow_mut();
        // A cut on its way has had the batches themselves put into the WAL.
        if state.walled != from {
            return Ok(0);
        }
        let extents = state.extents(from, end);
        let bytes = extents.iter().map(Control::covered_bytes).sum();
        // A cut that waits comes after what it cuts.
        let at = state.control.iter().position(Control::is_cut).unwrap_or(state.control.len());
        for (number, extent) in extents.into_iter().enumerate() {
            state.control.insert(at + number, extent);
        }
        state.walled = end;
        Ok(bytes)
    }
}

async fn write_pieces(file: &File, mut at: u64, pieces: Vec<Bytes>) -> Result<(), StorageError> {
    for piece in pieces {
        let len = piece.len() as u64;
        file.write_at(at, piece, Durability::Cached).await?;
        at += len;
    }
    Ok(())
}

impl Control {
    /// Bytes of the log that an extent stands for.
    fn covered_bytes(&self) -> u64 {
        match self {
            Control::Extent { extent_bytes, rest, .. } => extent_bytes + rest.len() as u64,
            Control::Truncate { .. } => 0,
        }
    }
}

impl LogState {
    /// The first segment that has something to write, and what.
    fn plan_segment(&self, target: Mark, until: Until) -> Option<SegmentPlan> {
        let upto = self.segments.iter().take_while(|segment| segment.base <= target.segment);
        for segment in upto {
            let is_last = segment.base == target.segment;
            let sealed = segment.stage == Stage::Sealed && (!is_last || target.pos == segment.size);
            let end = if is_last { target.pos } else { segment.size };
            let to = match until {
                Until::Blocks(_) if !sealed => block_floor(end),
                Until::Blocks(_) | Until::Mark(_) => end,
            };
            if to <= segment.durable_pos && !sealed {
                continue;
            }
            let to = to.max(segment.durable_pos);
            let from = if to == segment.durable_pos { to } else { block_floor(segment.durable_pos) };
            let front_bytes = segment.durable_pos - from;
            return Some(SegmentPlan { segment: segment.base, from, front_bytes, to, finish: sealed });
        }
        None
    }

    /// Completes the first block of the chunks that begin inside it.
    fn load_front(&mut self, plan: &SegmentPlan, front: &[u8]) {
        let position = plan.from + plan.front_bytes;
        for cached in self.chunks.iter_mut().filter(|cached| cached.segment == plan.segment) {
            let (base, valid) = (cached.chunk.base_pos(), cached.chunk.valid_pos());
            if base == plan.from && valid <= position {
                cached.chunk.fill_front(&front[..(valid - base) as usize]);
            }
        }
    }

    /// The bytes to write, block by block: shared slices of chunks, then a padded copy of a partial last block.
    fn pieces(&self, plan: &SegmentPlan) -> Result<Vec<Bytes>, StorageError> {
        let mut pieces = Vec::new();
        let mut at = plan.from;
        let whole_end = block_floor(plan.to);
        while at < whole_end {
            let cached = self.chunk_holding(plan.segment, at);
            let until = block_floor(cached.chunk.end_pos()).min(whole_end).min(at + WRITE_BYTES_MAX as u64);
            pieces.push(cached.chunk.slice(at, until));
            at = until;
        }
        if at < plan.to {
            let tail = self.chunk_holding(plan.segment, at).chunk.bytes(at, plan.to);
            let mut block = AlignedBuf::zeroed(BLOCK_BYTES)?;
            block.as_mut_slice()[..tail.len()].copy_from_slice(tail);
            pieces.push(block.into_bytes());
        }
        debug_assert_eq!(
            block_ceil(plan.to),
            plan.from + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>()
        );
        Ok(pieces)
    }

    /// The chunk that holds the whole block at `pos`, or its readable beginning: of two that touch the block, the later one, which
    /// begins with it.
    fn chunk_holding(&self, segment: Offset, pos: u64) -> &super::CachedChunk {
        let holds = |cached: &&super::CachedChunk| {
            cached.segment == segment && cached.chunk.valid_pos() <= pos && pos < cached.chunk.end_pos()
        };
        self.chunks.iter().rev().find(holds).expect("bytes that are not in the file are in a chunk")
    }

    /// What the WAL must know of bytes from `from` to `end` that are in the segments as far as whole blocks go.
    fn extents(&self, from: Mark, end: Mark) -> Vec<Control> {
        let touched = self.segments.iter().filter(|s| from.segment <= s.base && s.base <= end.segment);
        let extent = |segment: &crate::segment::Segment| {
            let pos = if segment.base == from.segment { from.pos } else { 0 };
            let is_last = segment.base == end.segment;
            let size = if is_last { end.pos } else { segment.size };
            let durable = segment.durable_pos.clamp(pos, size);
            let rest = if durable < size {
                self.chunk_holding(segment.base, durable).chunk.slice(durable, size)
            } else {
                Bytes::new()
            };
            let offset =
                if is_last { Some(end.offset) } else { self.segment_after(segment.base).map(|s| s.base) };
            let end = Mark { offset: offset.unwrap_or(end.offset), segment: segment.base, pos: size };
            Control::Extent { segment: segment.base, pos, extent_bytes: durable - pos, rest, end }
        };
        touched.map(extent).collect()
    }
}
