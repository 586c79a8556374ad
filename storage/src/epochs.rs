//! The leader epochs of one partition: at which offset each began, and the file that keeps them. Pure state, no IO.
//!
//! With it a follower, or a consumer, finds out where its log and the leader's part ways (KIP-101, KIP-279). Rules and text
//! are those of Kafka's `LeaderEpochFileCache` and `LeaderEpochCheckpointFile` (`leader-epoch-checkpoint`).
//!
//! Invariant: epochs and start offsets both grow strictly from entry to entry, none is negative.

use std::fmt;

use crate::batch::{LeaderEpoch, Offset};
use crate::checkpoint::{CheckpointError, FIRST_ENTRY_LINE, entry_lines, offset_number, text_of};

/// A leader epoch and the offset of the first record that it may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    /// 0 or more.
    pub epoch: LeaderEpoch,
    /// 0 or more.
    pub start_offset: Offset,
}

impl fmt::Display for EpochEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.epoch, self.start_offset)
    }
}

/// All epochs of a partition that still have records, or will get the next ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// A partition that never had a leader.
    #[must_use]
    pub const fn new() -> EpochCache {
        EpochCache { entries: Vec::new() }
    }

    /// Reads `leader-epoch-checkpoint`; an empty file has no epochs.
    ///
    /// # Errors
    /// [`CheckpointError`], for entries that do not grow too.
    pub fn parse(bytes: &[u8]) -> Result<EpochCache, CheckpointError> {
        let mut cache = EpochCache::new();
        for (line, text) in (FIRST_ENTRY_LINE..).zip(entry_lines(bytes)?) {
            let entry = epoch_entry(text).ok_or(CheckpointError::Line { line })?;
            if cache.entries.last().is_some_and(|last| !grows(last, &entry)) {
                return Err(CheckpointError::Order { line });
            }
            cache.entries.push(entry);
        }
        Ok(cache)
    }

    /// The text of `leader-epoch-checkpoint`.
    #[must_use]
    pub fn render(&self) -> String {
        text_of(self.entries.iter())
    }

    /// Records that `epoch` begins at `start_offset`; says whether that changed anything, so that the file must be written.
    ///
    /// As in Kafka, entries that contradict the new one (a later epoch, or one that begins at or behind its offset) go; an epoch
    /// that is already the latest is only ever moved to an earlier offset.
    ///
    /// # Panics
    /// When either is negative: callers pass what they have checked.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        assert!(epoch >= LeaderEpoch(0) && start_offset >= Offset::ZERO, "epoch {epoch} at {start_offset}");
        let entry = EpochEntry { epoch, start_offset };
        let known =
            self.latest().is_some_and(|last| last.epoch == epoch && last.start_offset <= start_offset);
        if known {
            return false;
        }
        while self.entries.pop_if(|last| !grows(last, &entry)).is_some() {}
        self.entries.push(entry);
        true
    }

    /// Where the records of `requested` end in a log that ends at `log_end`, and which epoch that is.
    ///
    /// - The latest epoch ends with the log.
    /// - A known one, or one between two known ones: the greatest epoch at or below it, with the start of the next.
    /// - One before all known ones: itself, with the start of the first.
    /// - `None` (Kafka's epoch −1, offset −1) for an undefined epoch and for one beyond the latest.
    #[must_use]
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if requested == LeaderEpoch::NONE {
            return None;
        }
        if self.latest_epoch() == Some(requested) {
            return Some((requested, log_end));
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= requested);
        let end = self.entries.get(higher)?.start_offset;
        let floor = higher.checked_sub(1).and_then(|slot| self.entries.get(slot));
        Some((floor.map_or(requested, |entry| entry.epoch), end))
    }

    /// Where a follower cuts its log when its leader answers that `epoch` ends at `offset` there: at that offset, or where the largest
    /// epoch at or below `epoch` ends here, whichever comes first; and which epoch that is. When it is not the leader's, the follower
    /// asks about it next (KIP-279).
    ///
    /// With an undefined epoch, and where no epochs are known, the offset alone decides, as before KIP-101.
    #[must_use]
    pub fn cut_point(&self, epoch: LeaderEpoch, offset: Offset) -> (Option<LeaderEpoch>, Offset) {
        if epoch == LeaderEpoch::NONE {
            return (None, offset);
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let known = higher.checked_sub(1).and_then(|slot| self.entries.get(slot));
        let end = self.entries.get(higher).map_or(offset, |next| next.start_offset.min(offset));
        (known.map(|entry| entry.epoch), end)
    }

    /// The epoch of the record at `offset`; `None` before the first known epoch.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let above = self.entries.partition_point(|entry| entry.start_offset <= offset);
        above.checked_sub(1).and_then(|slot| self.entries.get(slot)).map(|entry| entry.epoch)
    }

    /// Drops the epochs that begin at or behind `end_offset`, the log's new end; says whether there were any.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let keep = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let changed = end_offset >= Offset::ZERO && keep < self.entries.len();
        if changed {
            self.entries.truncate(keep);
        }
        changed
    }

    /// Drops the epochs that end at or before `start_offset`, the log's new start, and lets the one that holds it begin there;
    /// says whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let begun = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(last) = begun.checked_sub(1) else { return false };
        let unchanged = last == 0 && self.entries[0].start_offset == start_offset;
        self.entries.drain(..last);
        self.entries[0].start_offset = start_offset;
        !unchanged
    }

    /// Drops all epochs.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The entry of the latest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.latest().map(|entry| entry.epoch)
    }

    /// The entry of the earliest epoch.
    #[must_use]
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// All entries, from the earliest.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }
}

fn grows(earlier: &EpochEntry, later: &EpochEntry) -> bool {
    earlier.epoch < later.epoch && earlier.start_offset < later.start_offset
}

fn epoch_entry(line: &str) -> Option<EpochEntry> {
    let (epoch, offset) = line.split_once(' ')?;
    let epoch = i32::try_from(offset_number(epoch)?.0).ok()?;
    Some(EpochEntry { epoch: LeaderEpoch(epoch), start_offset: offset_number(offset)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::new();
        for (epoch, offset) in entries {
            assert!(cache.assign(LeaderEpoch(*epoch), Offset(*offset)));
        }
        cache
    }

    fn pairs(cache: &EpochCache) -> Vec<(i32, i64)> {
        cache.entries().iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect()
    }

    #[test]
    fn assigning_keeps_epochs_and_offsets_growing() {
        let known = [(1, 10), (3, 30), (5, 50)];
        for (epoch, offset, changed, expected) in [
            (6, 60, true, &[(1, 10), (3, 30), (5, 50), (6, 60)][..]),
            (5, 50, false, &known),
            (5, 99, false, &known),
            (5, 40, true, &[(1, 10), (3, 30), (5, 40)]),
            (5, 30, true, &[(1, 10), (5, 30)]),
            (6, 50, true, &[(1, 10), (3, 30), (6, 50)]),
            (6, 20, true, &[(1, 10), (6, 20)]),
            (4, 60, true, &[(1, 10), (3, 30), (4, 60)]),
            (3, 60, true, &[(1, 10), (3, 60)]),
            (0, 0, true, &[(0, 0)]),
        ] {
            let mut cache = cache(&known);
            assert_eq!(cache.assign(LeaderEpoch(epoch), Offset(offset)), changed, "{epoch} at {offset}");
            assert_eq!(pairs(&cache), expected, "{epoch} at {offset}");
        }
    }

    #[test]
    fn ends_of_epochs() {
        let known = cache(&[(2, 20), (4, 40), (5, 50)]);
        for (requested, expected) in [
            (-1, None),
            (0, Some((0, 20))),
            (1, Some((1, 20))),
            (2, Some((2, 40))),
            (3, Some((2, 40))),
            (4, Some((4, 50))),
            (5, Some((5, 99))),
            (6, None),
            (i32::MAX, None),
        ] {
            let found = known.end_offset_for(LeaderEpoch(requested), Offset(99));
            assert_eq!(found.map(|(epoch, end)| (epoch.0, end.0)), expected, "{requested}");
        }
        assert_eq!(EpochCache::new().end_offset_for(LeaderEpoch(0), Offset(99)), None);
    }

    #[test]
    fn cut_points_of_a_leaders_answers() {
        let known = cache(&[(2, 20), (4, 40), (5, 50)]);
        for (epoch, offset, expected) in [
            // The leader's epoch is known: the shorter of both histories of it counts.
            (4, 45, (Some(4), 45)),
            (4, 60, (Some(4), 50)),
            (5, 70, (Some(5), 70)),
            (2, 10, (Some(2), 10)),
            // It is not: what this log has of later epochs goes, and the leader is asked about the epoch before.
            (3, 60, (Some(2), 40)),
            (3, 30, (Some(2), 30)),
            (6, 60, (Some(5), 60)),
            (1, 60, (None, 20)),
            // The leader knows no epochs.
            (-1, 45, (None, 45)),
        ] {
            let (found, at) = known.cut_point(LeaderEpoch(epoch), Offset(offset));
            assert_eq!((found.map(|epoch| epoch.0), at.0), expected, "{epoch} to {offset}");
        }
        assert_eq!(EpochCache::new().cut_point(LeaderEpoch(3), Offset(9)), (None, Offset(9)));
    }

    #[test]
    fn epochs_of_offsets() {
        let known = cache(&[(2, 20), (4, 40)]);
        for (offset, expected) in
            [(0, None), (19, None), (20, Some(2)), (39, Some(2)), (40, Some(4)), (i64::MAX, Some(4))]
        {
            assert_eq!(known.epoch_at(Offset(offset)).map(|epoch| epoch.0), expected, "{offset}");
        }
    }

    #[test]
    fn truncation_at_the_end() {
        for (end, changed, expected) in [
            (-1, false, &[(2, 20), (4, 40)][..]),
            (41, false, &[(2, 20), (4, 40)]),
            (40, true, &[(2, 20)]),
            (21, true, &[(2, 20)]),
            (20, true, &[]),
            (0, true, &[]),
        ] {
            let mut cache = cache(&[(2, 20), (4, 40)]);
            assert_eq!(cache.truncate_from_end(Offset(end)), changed, "{end}");
            assert_eq!(pairs(&cache), expected, "{end}");
        }
    }

    #[test]
    fn truncation_at_the_start() {
        for (start, changed, expected) in [
            (0, false, &[(2, 20), (4, 40)][..]),
            (20, false, &[(2, 20), (4, 40)]),
            (21, true, &[(2, 21), (4, 40)]),
            (39, true, &[(2, 39), (4, 40)]),
            (40, true, &[(4, 40)]),
            (99, true, &[(4, 99)]),
        ] {
            let mut cache = cache(&[(2, 20), (4, 40)]);
            assert_eq!(cache.truncate_from_start(Offset(start)), changed, "{start}");
            assert_eq!(pairs(&cache), expected, "{start}");
        }
        assert!(!EpochCache::new().truncate_from_start(Offset(1)));
    }

    #[test]
    fn the_text_is_kafkas() {
        assert_eq!(cache(&[(0, 0), (7, 4711)]).render(), "0\n2\n0 0\n7 4711\n");
        assert_eq!(EpochCache::parse(b""), Ok(EpochCache::new()));
        for (text, expected) in [
            ("0\n1\n0\n", CheckpointError::Line { line: 3 }),
            ("0\n1\n0 0 0\n", CheckpointError::Line { line: 3 }),
            ("0\n1\n-1 0\n", CheckpointError::Line { line: 3 }),
            ("0\n1\n2147483648 0\n", CheckpointError::Line { line: 3 }),
            ("0\n1\n0 -1\n", CheckpointError::Line { line: 3 }),
            ("0\n2\n0 0\n0 1\n", CheckpointError::Order { line: 4 }),
            ("0\n2\n0 0\n1 0\n", CheckpointError::Order { line: 4 }),
            ("0\n2\n1 1\n0 2\n", CheckpointError::Order { line: 4 }),
        ] {
            assert_eq!(EpochCache::parse(text.as_bytes()), Err(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip_and_cuts(steps in proptest::collection::vec((0..100_000_i32, 0..1_000_000_000_i64), 0..10)) {
            let mut cache = EpochCache::new();
            for (epoch, offset) in steps {
                cache.assign(LeaderEpoch(epoch), Offset(offset));
            }
            prop_assert!(cache.entries().windows(2).all(|pair| grows(&pair[0], &pair[1])));
            let text = cache.render();
            prop_assert_eq!(EpochCache::parse(text.as_bytes()), Ok(cache));
            for cut in 1..text.len() {
                prop_assert!(EpochCache::parse(&text.as_bytes()[..cut]).is_err());
            }
        }
    }
}
