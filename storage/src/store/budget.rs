//! Memory and figures of a store: what chunks take and which may go, cold reads that are kept, counters.

use super::Shared;
use crate::batch::Offset;
use crate::log::LogInner;
use crate::wal::format::LogId;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

/// Share of the memory that kept reads may take: one part in so many.
const READS_SHARE: usize = 4;
/// Reads ahead under way at once.
const READ_AHEADS_MAX: usize = 8;

/// What chunks take.
#[derive(Default)]
pub(crate) struct Budget {
    chunk_bytes: Cell<usize>,
    /// The logs of chunks, oldest chunk first.
    order: RefCell<VecDeque<Weak<LogInner>>>,
}

/// A chunk's share of the budget; returned when dropped.
pub(crate) struct Charge {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.chunk_bytes.set(self.budget.chunk_bytes.get() - self.bytes);
    }
}

/// Names a segment whose bytes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadKey {
    pub(crate) log: LogId,
    pub(crate) segment: Offset,
}

/// Cold reads that a next reader may want, newest last.
pub(crate) struct ReadCache {
    kept: VecDeque<(ReadKey, u64, Bytes)>,
    bytes: usize,
    bytes_max: usize,
    read_aheads: usize,
}

impl ReadCache {
    pub(crate) fn new(memory_bytes: usize) -> ReadCache {
        ReadCache { kept: VecDeque::new(), bytes: 0, bytes_max: memory_bytes / READS_SHARE, read_aheads: 0 }
    }

    /// The kept bytes from `pos` on.
    pub(crate) fn get(&mut self, key: ReadKey, pos: u64) -> Option<Bytes> {
        let covers = |(kept, from, bytes): &&(ReadKey, u64, Bytes)| {
            *kept == key && (*from..*from + bytes.len() as u64).contains(&pos)
        };
        let (_, from, bytes) = self.kept.iter().rev().find(covers)?;
        Some(bytes.slice((pos - from) as usize..))
    }

    pub(crate) fn put(&mut self, key: ReadKey, pos: u64, bytes: Bytes) {
        self.bytes += bytes.len();
        self.kept.push_back((key, pos, bytes));
        while self.bytes > self.bytes_max {
            let Some((_, _, oldest)) = self.kept.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    pub(crate) fn forget(&mut self, log: LogId) {
        self.kept.retain(|(key, ..)| key.log != log);
        self.bytes = self.kept.iter().map(|(_, _, bytes)| bytes.len()).sum();
    }

    pub(crate) fn begin_read_ahead(&mut self) -> bool {
        let may = self.read_aheads < READ_AHEADS_MAX;
        self.read_aheads += usize::from(may);
        may
    }

    pub(crate) fn end_read_ahead(&mut self) {
        self.read_aheads -= 1;
    }
}

/// What a store counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// WAL groups made durable: each is one flush.
    pub wal_groups: u64,
    /// Bytes written to the WAL, padding included.
    pub wal_bytes: u64,
    /// Bytes of batches appended. Each was copied once into its chunk.
    pub appended_bytes: u64,
    /// Bytes of batches copied a second time, into a WAL group.
    pub wal_copied_bytes: u64,
    /// Bytes written into segments.
    pub materialised_bytes: u64,
    /// Appends that went straight to the segment.
    pub direct_appends: u64,
    /// Reads served from memory.
    pub cache_hits: u64,
    /// Reads that went to a file.
    pub cache_misses: u64,
    /// Times that somebody waited for memory, flushes or WAL space.
    pub stalls: u64,
    /// Bytes that chunks take now.
    pub chunk_bytes: u64,
    /// Bytes that kept reads take now.
    pub kept_read_bytes: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    stats: Cell<StoreStats>,
    flushed_bytes: Cell<u64>,
}

impl Counters {
    fn update(&self, change: impl FnOnce(&mut StoreStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}

impl Shared {
    /// Takes a chunk's share of the budget.
    pub(crate) fn charge(&self, bytes: usize) -> Charge {
        self.budget.chunk_bytes.set(self.budget.chunk_bytes.get() + bytes);
        Charge { budget: self.budget.clone(), bytes }
    }

    /// A log got another chunk: lets old ones go if memory runs short.
    pub(crate) fn chunk_made(&self, log: &Rc<LogInner>) {
        self.budget.order.borrow_mut().push_back(Rc::downgrade(log));
        self.evict();
    }

    /// Drops the oldest chunks that are in files, while there are too many.
    pub(crate) fn evict(&self) {
        let limit = self.chunk_bytes_max();
        let mut tries = self.budget.order.borrow().len();
        while self.budget.chunk_bytes.get() > limit && tries > 0 {
            tries -= 1;
            let Some(oldest) = self.budget.order.borrow_mut().pop_front() else { break };
            let Some(log) = oldest.upgrade() else { continue };
            if !log.drop_oldest_chunk() {
                self.budget.order.borrow_mut().push_back(oldest);
            }
        }
        if self.budget.chunk_bytes.get() > limit {
            self.pressure.notify();
        }
    }

    fn chunk_bytes_max(&self) -> usize {
        self.config.memory_bytes - self.config.memory_bytes / READS_SHARE
    }

    /// Whether too much waits for its flush, or memory is short although everything that can go has gone.
    pub(crate) fn is_behind(&self) -> bool {
        self.unflushed_bytes() > self.config.unflushed_bytes_max || self.is_memory_short()
    }

    pub(crate) fn is_memory_short(&self) -> bool {
        self.budget.chunk_bytes.get() > self.chunk_bytes_max()
    }

    fn unflushed_bytes(&self) -> u64 {
        self.counters.stats.get().appended_bytes.saturating_sub(self.counters.flushed_bytes.get())
    }

    pub(crate) fn count_appended(&self, bytes: usize) {
        self.counters.update(|stats| stats.appended_bytes += bytes as u64);
    }

    /// Counts a group: bytes written with padding, payload copied into it, and the batches among that.
    pub(crate) fn count_group(&self, written: usize, copied: usize, batch_bytes: u64) {
        self.counters.update(|stats| {
            stats.wal_groups += 1;
            stats.wal_bytes += written as u64;
            stats.wal_copied_bytes += copied as u64;
        });
        self.count_flushed(batch_bytes);
    }

    pub(crate) fn count_flushed(&self, bytes: u64) {
        let flushed = self.counters.flushed_bytes.get() + bytes;
        self.counters.flushed_bytes.set(flushed.min(self.counters.stats.get().appended_bytes));
    }

    pub(crate) fn count_direct(&self, bytes: u64) {
        self.counters.update(|stats| stats.direct_appends += 1);
        self.count_flushed(bytes);
    }

    pub(crate) fn count_materialised(&self, bytes: u64) {
        self.counters.update(|stats| stats.materialised_bytes += bytes);
    }

    pub(crate) fn count_hit(&self) {
        self.counters.update(|stats| stats.cache_hits += 1);
    }

    pub(crate) fn count_miss(&self) {
        self.counters.update(|stats| stats.cache_misses += 1);
    }

    pub(crate) fn count_stall(&self) {
        self.counters.update(|stats| stats.stalls += 1);
    }

    pub(crate) fn count_checkpoint(&self) {
        self.counters.update(|stats| stats.checkpoints += 1);
    }

    pub(crate) fn stats(&self) -> StoreStats {
        let mut stats = self.counters.stats.get();
        stats.chunk_bytes = self.budget.chunk_bytes.get() as u64;
        stats.kept_read_bytes = self.reads.borrow().bytes as u64;
        stats
    }
}

impl LogInner {
    /// Drops the log's oldest chunk if its bytes are durable in the segment. False when it has to stay.
    fn drop_oldest_chunk(&self) -> bool {
        let Ok(mut state) = self.state.try_borrow_mut() else { return false };
        let Some(oldest) = state.chunks.front() else { return true };
        let durable = state.segment(oldest.segment).is_none_or(|s| s.durable_pos >= oldest.chunk.end_pos());
        // What the WAL has not taken yet is read from chunks, wherever else it may be.
        let walled = (oldest.segment, oldest.chunk.end_pos()) <= (state.walled.segment, state.walled.pos);
        if durable && walled {
            state.chunks.pop_front();
            state.chunk_bytes = 0;
        }
        durable && walled
    }
}
