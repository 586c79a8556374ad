//! The log's side of the WAL: what it has for the next group, and what it learns when the group is durable.

use super::{Capture, Captured, Control, LogInner, LogState, Mark};
use crate::batch::{BatchScan, Offset, scan::Checksums};
use crate::error::StorageError;
use crate::wal::format::LogId;
use crate::wal::group::{GroupBuilder, Placement};
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
    /// Control frames handed over so far.
    controls: u64,
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

    /// Adds what the log has to `group`, which goes into the WAL file of `sequence`.
    pub(crate) fn feed(&self, group: &mut GroupBuilder, sequence: u64) -> (Carried, Fed) {
        let mut state = self.state.borrow_mut();
        let mut carried = Carried { reached: None, controls: 0, batch_bytes: 0 };
        let fed = state.feed_all(self.id, group, sequence, &mut carried);
        if fed == Fed::All && !state.direct {
            state.capture_if_wanted();
        }
        carried.controls = state.controls_fed;
        (carried, fed)
    }

    /// The group that carried this much of the log is durable.
    pub(crate) fn flushed_to(&self, carried: Carried) {
        {
            let mut state = self.state.borrow_mut();
            state.controls_durable = carried.controls;
            // A truncation meanwhile may have taken the log back behind the mark.
            let reached = carried.reached.filter(|mark| mark.offset <= state.end);
            if let Some(mark) = reached.filter(|mark| mark.offset > state.flushed.offset) {
                state.flushed = mark;
            }
        }
        self.progress();
    }

    /// Queues a frame that goes ahead of the log's next batches, and waits until it is durable.
    pub(crate) async fn log_control(self: &Rc<Self>, control: Control) -> Result<(), StorageError> {
        let number = {
            let mut state = self.state.borrow_mut();
            state.control.push_back(control);
            state.controls_fed + state.control.len() as u64
        };
        self.enqueue();
        loop {
            let flushed = self.flushed.notified();
            self.check()?;
            if self.state.borrow().controls_durable >= number {
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
    pub(crate) fn begin_direct(&self) {
        let mut state = self.state.borrow_mut();
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
        let batches = if state.direct { 0 } else { state.pending_bytes() as usize };
        controls + batches
    }

    /// A durable mark, and the producer state exactly there: what the log can be accounted for up to.
    pub(crate) async fn capture(self: &Rc<Self>) -> Result<Captured, StorageError> {
        self.state.borrow_mut().capture = Capture::Wanted;
        loop {
            let flushed = self.flushed.notified();
            self.check()?;
            if let Some(captured) = self.state.borrow_mut().take_capture() {
                return Ok(captured);
            }
            flushed.await;
        }
    }
}

impl LogState {
    fn feed_all(&mut self, id: LogId, group: &mut GroupBuilder, sequence: u64, carried: &mut Carried) -> Fed {
        while let Some(control) = self.control.front() {
            if group.room() < control.payload_bytes() {
                return Fed::Full;
            }
            carried.reached = control.add(id, group).or(carried.reached);
            self.control.pop_front();
            self.controls_fed += 1;
            self.oldest_wal.get_or_insert(sequence);
        }
        while !self.direct && !self.is_all_walled() {
            let before = self.walled.pos;
            if !self.feed_run(id, group) {
                return Fed::Full;
            }
            self.oldest_wal.get_or_insert(sequence);
            carried.reached = Some(self.walled);
            carried.batch_bytes += self.walled.pos - before;
        }
        Fed::All
    }

    /// Takes the producer state at the moment when everything appended is handed over.
    pub(crate) fn capture_if_wanted(&mut self) {
        if matches!(self.capture, Capture::Wanted) {
            let captured = Captured { mark: self.end_mark(), producers: self.snapshot_bytes() };
            self.capture = Capture::Taken(captured);
        }
    }

    /// The producer state in Kafka's snapshot format; nothing when no producer is known.
    pub(crate) fn snapshot_bytes(&self) -> Vec<u8> {
        if self.producers.is_empty() { Vec::new() } else { self.producers.encode_snapshot() }
    }

    /// The capture, once it is durable.
    fn take_capture(&mut self) -> Option<Captured> {
        if self.flushed.offset == self.end {
            self.capture = Capture::None;
            return Some(Captured { mark: self.end_mark(), producers: self.snapshot_bytes() });
        }
        match std::mem::replace(&mut self.capture, Capture::None) {
            Capture::Taken(captured) if captured.mark.offset <= self.flushed.offset => Some(captured),
            other => {
                self.capture = if matches!(other, Capture::None) { Capture::Wanted } else { other };
                None
            }
        }
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
        let Some((run_bytes, end_offset)) = run_within(available, group.room()) else { return false };
        let next_offset = if run_bytes == available.len() { cached.end_offset } else { end_offset };
        let place = Placement { log: id, segment_base: segment, position: pos, next_offset };
        group.batches(place, &available[..run_bytes]);
        self.walled = Mark { offset: next_offset, segment, pos: pos + run_bytes as u64 };
        true
    }

    /// Size of the first batch that is not walled, if any: a group must have room for it.
    pub(crate) fn first_pending_bytes(&mut self) -> usize {
        if let Some(control) = self.control.front() {
            return control.payload_bytes();
        }
        if self.direct || self.is_all_walled() {
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
    fn payload_bytes(&self) -> usize {
        match self {
            Control::Image { bytes, .. } => bytes.len(),
            Control::Extent { rest, .. } => rest.len(),
            Control::Truncate { .. } => 0,
        }
    }

    /// Adds the frame; returns what the log is durable up to once it is, if it says anything of that.
    fn add(&self, id: LogId, group: &mut GroupBuilder) -> Option<Mark> {
        match self {
            Control::Image { segment, pos, bytes } => {
                let place =
                    Placement { log: id, segment_base: *segment, position: *pos, next_offset: Offset::ZERO };
                group.image(place, bytes);
                None
            }
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
