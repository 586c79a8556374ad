//! What a WAL says of each log, folded into what is to be done with its segments. Pure: checkpoint and frames in, plans out.
//!
//! Frames are physical: bytes and where they stand. A frame that the checkpoint covers changes nothing; the others must
//! continue the log without a gap, or something that was durable is missing and the log is damaged. Frames older than the last cut of
//! a log may contradict a checkpoint that was taken after it; the cut settles it.

use crate::batch::Offset;
use crate::chunk::block_floor;
use crate::disk::BLOCK_BYTES;
use crate::log::{LogStart, Mark};
use crate::wal::format::{FrameHeader, FrameKind, LogId};
use crate::wal::guard::Guarded;
use crate::wal::scan::Frame;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Bytes to be put into a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) segment: Offset,
    pub(super) pos: u64,
    pub(super) bytes: Bytes,
}

impl Write {
    pub(super) fn end(&self) -> u64 {
        self.pos + self.bytes.len() as u64
    }
}

/// What is to be done with one log.
#[derive(Clone, Debug)]
pub(super) struct LogPlan {
    /// Where the checkpoint says that the log ends.
    pub(super) base: Mark,
    /// Where it ends really.
    pub(super) end: Mark,
    /// Segment and position up to which the bytes are durable in the segments, and perhaps nowhere else.
    pub(super) solid: (Offset, u64),
    /// In the order of the WAL; later ones win.
    pub(super) writes: Vec<Write>,
    /// Final sizes of segments that were sealed behind the checkpoint.
    pub(super) sealed: BTreeMap<Offset, u64>,
    /// Everything before this offset is as it was when indexes and snapshots were stored.
    pub(super) untouched: Offset,
    /// Whether the log was cut.
    pub(super) cut: bool,
    /// What is missing, if something is.
    pub(super) damage: Option<String>,
    /// Cuts that are still to come.
    cuts_left: usize,
}

impl LogPlan {
    pub(super) fn new(start: Option<&LogStart>, cuts_left: usize) -> LogPlan {
        let base = start.map_or(LogStart::empty().end, |start| start.end);
        LogPlan {
            base,
            end: base,
            solid: (base.segment, base.pos),
            writes: Vec::new(),
            sealed: BTreeMap::new(),
            untouched: base.offset,
            cut: false,
            damage: None,
            cuts_left,
        }
    }

    fn apply(&mut self, frame: &Frame) {
        if self.damage.is_some() {
            return;
        }
        match frame.header.kind {
            FrameKind::Batches | FrameKind::Extent => self.extend(frame),
            FrameKind::Truncate => self.cut_at(&frame.header),
        }
    }

    fn extend(&mut self, frame: &Frame) {
        let header = &frame.header;
        let pos = u64::from(header.position);
        let payload_pos = pos + u64::from(header.extent_bytes);
        let to = Mark {
            offset: header.next_offset,
            segment: header.segment_base,
            pos: payload_pos + u64::from(header.payload_bytes),
        };
        if (to.segment, to.pos) <= (self.end.segment, self.end.pos) {
            return;
        }
        let continues = to.segment == self.end.segment && pos <= self.end.pos;
        let begins = pos == 0 && to.segment == self.end.offset && to.segment > self.end.segment;
        if !continues && !begins {
            return self.gap(header);
        }
        if begins {
            self.sealed.insert(self.end.segment, self.end.pos);
        }
        if header.kind == FrameKind::Extent {
            // The direct append wrote all blocks before its end, those of earlier frames too.
            self.solid = self.solid.max((to.segment, payload_pos));
            self.writes.clear();
        }
        self.write_behind_solid(Write {
            segment: to.segment,
            pos: payload_pos,
            bytes: frame.payload.clone(),
        });
        self.end = to;
    }

    /// Takes what is not in the segment already: solid bytes are not written again, their blocks would need a guard.
    fn write_behind_solid(&mut self, mut write: Write) {
        let (segment, solid) = self.solid;
        if write.segment == segment && write.pos < solid {
            write.bytes = write.bytes.slice((solid.min(write.end()) - write.pos) as usize..);
            write.pos = solid;
        }
        if !write.bytes.is_empty() {
            self.writes.push(write);
        }
    }

    /// Frames before a cut may speak of what a later checkpoint no longer knows.
    fn gap(&mut self, header: &FrameHeader) {
        if self.cuts_left == 0 {
            let (position, segment) = (header.position, header.segment_base);
            self.damage = Some(format!(
                "records are missing between offset {} and position {position} of segment {segment}",
                self.end.offset
            ));
        }
    }

    /// Puts the block that holds the last solid bytes back before anything else is written: only these may be nowhere but in the segment.
    /// An older image of it, or one of another block, is of no use.
    fn restore(&mut self, guarded: &Guarded) {
        let (segment, solid) = self.solid;
        let is_last = guarded.segment == segment && guarded.pos == block_floor(solid);
        let mut write = Write { segment, pos: guarded.pos, bytes: guarded.bytes.clone() };
        if is_last && write.end() >= solid {
            write.bytes.truncate((solid - write.pos) as usize);
            if !write.bytes.is_empty() {
                self.writes.insert(0, write);
            }
        }
    }

    fn cut_at(&mut self, header: &FrameHeader) {
        self.cuts_left = self.cuts_left.saturating_sub(1);
        self.cut = true;
        let to = Mark {
            offset: header.next_offset,
            segment: header.segment_base,
            pos: u64::from(header.position),
        };
        if (to.segment, to.pos) > (self.end.segment, self.end.pos) && self.cuts_left == 0 {
            return self.gap(header);
        }
        self.writes.retain_mut(|write| {
            if write.segment == to.segment && write.end() > to.pos {
                write.bytes.truncate(to.pos.saturating_sub(write.pos) as usize);
            }
            write.segment <= to.segment && !write.bytes.is_empty()
        });
        self.sealed.retain(|segment, _| *segment < to.segment);
        self.untouched = self.untouched.min(to.offset);
        self.solid = self.solid.min((to.segment, to.pos));
        self.end = to;
    }

    /// The block of the last solid bytes, if it is about to be rewritten and those bytes are not all among the writes: where it begins,
    /// and how many bytes count.
    pub(super) fn exposed_front(&self) -> Option<(u64, usize)> {
        let (segment, solid) = self.solid;
        let block = block_floor(solid);
        let front = (solid - block) as usize;
        let in_segment = || self.writes.iter().filter(|write| write.segment == segment);
        let rewritten =
            in_segment().any(|write| write.pos < block + BLOCK_BYTES as u64 && write.end() > block);
        let restored = in_segment().any(|write| write.pos <= block && write.end() >= solid);
        (front > 0 && rewritten && !restored).then_some((block, front))
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.writes.is_empty() && self.sealed.is_empty() && !self.cut && self.end == self.base
    }
}

/// Folds the frames of one WAL over what the checkpoint says; blocks that a rewrite may have damaged are put back first.
pub(super) fn plan<'a>(
    frames: &[Frame],
    guarded: &[Guarded],
    starts: impl Fn(&LogId) -> Option<&'a LogStart>,
) -> BTreeMap<LogId, LogPlan> {
    let mut cuts: BTreeMap<LogId, usize> = BTreeMap::new();
    for frame in frames.iter().filter(|frame| frame.header.kind == FrameKind::Truncate) {
        *cuts.entry(frame.header.log).or_default() += 1;
    }
    let mut plans: BTreeMap<LogId, LogPlan> = BTreeMap::new();
    for frame in frames {
        let log = frame.header.log;
        let cuts_left = cuts.get(&log).copied().unwrap_or_default();
        plans.entry(log).or_insert_with(|| LogPlan::new(starts(&log), cuts_left)).apply(frame);
    }
    for guarded in guarded {
        let start = || LogPlan::new(starts(&guarded.log), 0);
        plans.entry(guarded.log).or_insert_with(start).restore(guarded);
    }
    plans
}

#[cfg(test)]
mod tests;
