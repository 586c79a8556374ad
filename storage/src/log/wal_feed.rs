//! The log's side of the WAL: what it has for the next group, and what it learns when the group is durable.

use super::{Captured, Control, GroupTimes, LogInner, LogState, Mark, Unflushed};
use crate::batch::{BatchScan, Offset, scan::Checksums};
use crate::error::StorageError;
use crate::mutants::{Mutant, is_active};
use crate::wal::format::LogId;
use crate::wal::group::{GroupBuilder, Placement};
use hayate_rt::MonoTime;
use std::rc::Rc;

/// Why a log gave no more to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// It has nothing more.
    All,
    /// The group is full.
    Full,
}

/// How much of a log a group carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    /// The mark that the log is durable up to once the group is.
    reached: Option<Mark>,
    /// Cuts handed over so far.
    cuts: u64,
    /// When it was taken.
    taken: MonoTime,
    /// Bytes of batches in it.
    pub(crate) batch_bytes: u64,
}

impl LogInner {
    /// Queues the log for the next group, once.
    pub(crate) fn enqueue(self: &Rc<Self>) {
        let first = {
            let mut state = self.state.borrow_mut();
            let waits = state.direct && state.control.is_empty();
            !waits && !std::mem::replace(&mut state.queued, true)
        };
        if first {
            self.shared.enqueue(self.clone());
        }
    }

    /// Adds what the log has to `group`, which is made at `now` and goes into the WAL file of `sequence`.
    pub(crate) fn feed(&self, group: &mut GroupBuilder, sequence: u64, now: MonoTime) -> (Carried, Fed) {
        let mut state = self.state.borrow_mut();
        let taken = if state.direct { now } else { state.direct_since.take().unwrap_or(now) };
        let mut carried = Carried { reached: None, cuts: 0, taken, batch_bytes: 0 };
        let fed = state.feed_all(self.id, group, sequence, &mut carried);
        carried.cuts = state.cuts_fed;
        (carried, fed)
    }

    /// The group that carried this much of the log is durable since `now`.
    pub(crate) fn flushed_to(&self, carried: Carried, now: MonoTime) {
        {
            let mut state = self.state.borrow_mut();
            state.cuts_durable = carried.cuts;
            // A truncation meanwhile may have taken the log back behind the mark.
            let reached = carried.reached.filter(|mark| mark.offset <= state.end);
            if let Some(mark) = reached.filter(|mark| mark.offset > state.flushed.offset) {
                state.flushed = mark;
                state.flush_times.note(mark.offset, GroupTimes { taken: carried.taken, flushed: now });
                state.settle_producers();
            }
        }
        self.progress();
    }

    /// Queues the frame of a cut, behind the batches before it, and waits until it is durable. One at a time.
    pub(crate) async fn log_cut(self: &Rc<Self>, to: Mark) -> Result<(), StorageError> {
        let number = {
            let mut state = self.state.borrow_mut();
            state.control.push_back(Control::Truncate { to });
            state.cuts_fed + 1
        };
        self.enqueue();
        loop {
            let flushed = self.flushed.notified();
            self.check()?;
            if self.state.borrow().cuts_durable >= number {
                return Ok(());
            }
            flushed.await;
        }
    }

    /// Whether what waits is so much that it had better go straight to the segment.
    pub(crate) fn is_large(&self) -> bool {
        let state = self.state.borrow();
        !state.direct && state.pending_bytes() >= self.shared.config.direct_bytes_min
    }

    /// Takes the log off the queue until its pending bytes are in the segment.
    pub(crate) fn begin_direct(&self, now: MonoTime) {
        let mut state = self.state.borrow_mut();
        state.direct_since = Some(now);
        state.direct = true;
        state.queued = false;
    }

    /// Lets the log queue again, for the extent that its pending bytes became and for what came after them.
    pub(crate) fn end_direct(self: &Rc<Self>) {
        self.state.borrow_mut().direct = false;
        self.enqueue();
    }

    /// The log is no longer in the queue.
    pub(crate) fn unqueued(&self) {
        self.state.borrow_mut().queued = false;
    }

    /// Bytes of the first thing that waits.
    pub(crate) fn first_frame_bytes(&self) -> usize {
        self.state.borrow_mut().first_pending_bytes()
    }

    /// Bytes of all that waits.
    pub(crate) fn frames_bytes(&self) -> usize {
        let state = self.state.borrow();
        let controls: usize = state.control.iter().map(Control::payload_bytes).sum();
        controls + state.pending_bytes() as usize
    }
}

impl LogState {
    fn feed_all(&mut self, id: LogId, group: &mut GroupBuilder, sequence: u64, carried: &mut Carried) -> Fed {
        while let Some(control) = self.control.front() {
            // A cut follows the batches before it; all others go ahead of what waits.
            let is_cut = control.is_cut();
            let payload_bytes = control.payload_bytes();
            if (is_cut && !self.feed_runs(id, group, sequence, carried))
                || group.room().is_none_or(|room| room < payload_bytes)
            {
                return Fed::Full;
            }
            let Some(control) = self.control.pop_front() else { break };
            carried.reached = control.add(id, group).or(carried.reached);
            self.cuts_fed += u64::from(is_cut);
            self.oldest_wal.get_or_insert(sequence);
        }
        if !self.direct && !self.feed_runs(id, group, sequence, carried) {
            return Fed::Full;
        }
        Fed::All
    }

    /// Adds all batches that wait. False when the group is full before.
    fn feed_runs(
        &mut self,
        id: LogId,
        group: &mut GroupBuilder,
        sequence: u64,
        carried: &mut Carried,
    ) -> bool {
        while !self.is_all_walled() {
            let before = self.walled.pos;
            if !self.feed_run(id, group) {
                return false;
            }
            self.oldest_wal.get_or_insert(sequence);
            carried.reached = Some(self.walled);
            carried.batch_bytes += self.walled.pos - before;
        }
        true
    }

    /// Takes over what a crash can no longer take back.
    fn settle_producers(&mut self) {
        let flushed = self.flushed.offset;
        while let Some(Unflushed { header, marker }) =
            self.unflushed.pop_front_if(|batch| batch.header.next_offset() <= flushed)
        {
            match marker {
                None => self.flushed_producers.apply(&header, header.base_offset),
                Some(_) if is_active(Mutant::MarkerForgotten) => {}
                Some(marker) => {
                    self.flushed_producers.end_transaction(&header, &marker);
                }
            }
        }
        self.flushed_producers.on_high_watermark(self.high_watermark);
    }

    /// The flushed mark, and the producer state exactly there.
    pub(crate) fn captured(&self) -> Captured {
        let producers = &self.flushed_producers;
        let producers = if producers.is_empty() { Vec::new() } else { producers.encode_full() };
        Captured { mark: self.flushed, producers }
    }

    /// Steps over segment ends; whether nothing is left to hand over.
    fn is_all_walled(&mut self) -> bool {
        while let Some(segment) = self.segment(self.walled.segment) {
            if self.walled.pos < segment.size {
                return false;
            }
            let Some(next) = self.segment_after(self.walled.segment) else { return true };
            self.walled = Mark { offset: self.walled.offset, segment: next.base, pos: 0 };
        }
        true
    }

    /// Adds one run of batches, as long as chunk and group allow. False when not even one batch fits.
    fn feed_run(&mut self, id: LogId, group: &mut GroupBuilder) -> bool {
        let Mark { segment, pos, .. } = self.walled;
        let cached = self.chunk_at(segment, pos).expect("bytes that are not durable are in a chunk");
        let available = cached.chunk.bytes(pos, cached.chunk.end_pos());
        let run = group.room().and_then(|room| run_within(available, room));
        let Some((run_bytes, end_offset)) = run else { return false };
        let next_offset = if run_bytes == available.len() { cached.end_offset } else { end_offset };
        let place = Placement { log: id, segment_base: segment, position: pos, next_offset };
        group.batches(place, &available[..run_bytes]);
        self.walled = Mark { offset: next_offset, segment, pos: pos + run_bytes as u64 };
        true
    }

    /// Size of the first batch that is not walled, if any: a group must have room for it.
    pub(crate) fn first_pending_bytes(&mut self) -> usize {
        let cuts = self.control.front().is_some_and(Control::is_cut);
        if let Some(control) = self.control.front().filter(|_| !cuts) {
            return control.payload_bytes();
        }
        if (self.direct && !cuts) || self.is_all_walled() {
            return 0;
        }
        let Mark { segment, pos, .. } = self.walled;
        let batch = self.chunk_at(segment, pos).and_then(|cached| {
            let bytes = cached.chunk.bytes(pos, cached.chunk.end_pos());
            BatchScan::new(bytes, Checksums::Trust).next()
        });
        batch.map_or(0, |batch| batch.bytes.len())
    }
}

/// The longest run of whole batches in at most `room` bytes, and the offset after it.
fn run_within(bytes: &[u8], room: usize) -> Option<(usize, Offset)> {
    let mut run = None;
    for batch in BatchScan::new(bytes, Checksums::Trust) {
        let end = batch.position + batch.bytes.len();
        if end > room {
            break;
        }
        run = Some((end, batch.header.next_offset()));
    }
    run
}

impl Control {
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Control::Truncate { .. })
    }

    fn payload_bytes(&self) -> usize {
        match self {
            Control::Extent { rest, .. } => rest.len(),
            Control::Truncate { .. } => 0,
        }
    }

    /// Adds the frame; returns what the log is durable up to once it is, if it says anything of that.
    fn add(&self, id: LogId, group: &mut GroupBuilder) -> Option<Mark> {
        match self {
            Control::Extent { segment, pos, extent_bytes, rest, end } => {
                let place =
                    Placement { log: id, segment_base: *segment, position: *pos, next_offset: end.offset };
                group.extent(place, *extent_bytes as u32, rest);
                Some(*end)
            }
            Control::Truncate { to } => {
                let place =
                    Placement { log: id, segment_base: to.segment, position: to.pos, next_offset: to.offset };
                group.truncate(place);
                None
            }
        }
    }
}
