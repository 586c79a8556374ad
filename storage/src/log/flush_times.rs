//! When the last WAL groups that carried something of a log were taken and were durable: what a flush ticket tells of its wait. Pure.

use crate::batch::Offset;
use hayate_rt::MonoTime;

/// Groups that are remembered: few, for each log keeps them. A ticket looks its group up when its task next runs, and only on a shard
/// that is overrun more than one group may have come between; the wait is then told of a later one.
const GROUPS: usize = 2;
/// Reached by a group that there was not.
const NOWHERE: Offset = Offset(i64::MIN);

/// The way of one WAL group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupTimes {
    /// When the writer took what the log had; for what went straight to its segment, when that began.
    pub taken: MonoTime,
    /// When the group was durable.
    pub flushed: MonoTime,
}

/// The last groups of one log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushTimes {
    /// Where the log was durable up to, oldest group first from `next` on.
    groups: [(Offset, GroupTimes); GROUPS],
    next: usize,
}

impl Default for FlushTimes {
    fn default() -> FlushTimes {
        FlushTimes { groups: [(NOWHERE, GroupTimes::default()); GROUPS], next: 0 }
    }
}

impl FlushTimes {
    /// The log is durable up to `end`, by a group of these times.
    pub(crate) fn note(&mut self, end: Offset, times: GroupTimes) {
        self.groups[self.next] = (end, times);
        self.next = (self.next + 1) % GROUPS;
    }

    /// The group by which the log, at `since` or later, became durable up to `end`. `None` when it was so before, or too long ago.
    pub(crate) fn of(&self, end: Offset, since: MonoTime) -> Option<GroupTimes> {
        let (newer, older) = self.groups.split_at(self.next);
        let mut groups = older.iter().chain(newer);
        let carries = |group: &&(Offset, GroupTimes)| group.0 >= end && group.1.flushed >= since;
        groups.find(carries).map(|(_, times)| *times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(taken: u64, flushed: u64) -> GroupTimes {
        GroupTimes { taken: MonoTime::from_nanos(taken), flushed: MonoTime::from_nanos(flushed) }
    }

    #[test]
    fn the_first_group_that_reached_an_offset_is_told() {
        let mut recent = FlushTimes::default();
        for number in 1..=6 {
            recent.note(Offset(number * 10), times(number as u64 * 100, number as u64 * 100 + 50));
        }
        for (end, since, told) in [
            (60, 0, Some(times(600, 650))),
            (51, 0, Some(times(600, 650))),
            (50, 0, Some(times(500, 550))),
            (1, 0, Some(times(500, 550))),   // the oldest that is remembered
            (1, 600, Some(times(600, 650))), // those before had nothing of it
            (60, 651, None),
            (61, 0, None),
        ] {
            assert_eq!(recent.of(Offset(end), MonoTime::from_nanos(since)), told, "{end} since {since}");
        }
        assert_eq!(FlushTimes::default().of(Offset(0), MonoTime::default()), None);
    }
}
