//! Writing: what the share coordinator is told, and what stands when it has it.

use super::{Beginning, Outcome, Run, SharePartition, State, released};
use crate::coordinator::records::share_state::StateBatch;
use hayate_rt::MonoTime;

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writing {
    /// Its number.
    pub number: u64,
    /// Where the group is once it is written.
    pub start: i64,
    /// From there on, so many offsets need no delivery any more.
    pub complete: i64,
    /// What is new.
    pub batches: Vec<StateBatch>,
}

impl SharePartition {
    /// The number of the write that what is settled now waits for.
    pub(super) fn next_write(&self) -> u64 {
        self.writes + 1
    }

    /// Begins the next write, if there is something to write and none is under way.
    pub fn begin_write(&mut self) -> Option<Writing> {
        let number = self.next_write();
        let is_settled = |run: &Run| matches!(run.state, State::Settling(_, _, write) if write == number);
        let has_news = self.beginning == Beginning::Chosen
            || !self.unwritten.is_empty()
            || self.runs.values().any(is_settled);
        if self.under_way.is_some() || !has_news {
            return None;
        }
        let freed = std::mem::take(&mut self.unwritten);
        let is_freed = |first: i64, last: i64| freed.iter().any(|(from, to)| *from <= last && first <= *to);
        let outcome_of = |run: &Run| match run.state {
            State::Settled(outcome) => Some((outcome, false)),
            State::Settling(_, outcome, write) if write == number => Some((outcome, true)),
            State::Settling(..) | State::Acquired(_) => None,
        };
        let is_final = |run: &Run| outcome_of(run).is_some_and(|(outcome, _)| outcome.is_final());
        let start = self.runs.iter().find(|(_, run)| !is_final(run)).map_or(self.end, |(first, _)| *first);
        let (mut complete, mut batches) = (0, Vec::new());
        for (first, run) in self.runs.range(start..) {
            let Some((outcome, is_new)) = outcome_of(run) else { continue };
            complete += if outcome.is_final() { run.last - first + 1 } else { 0 };
            if is_new || is_freed(*first, run.last) {
                batches.push(StateBatch {
                    first_offset: *first,
                    last_offset: run.last,
                    delivery_state: outcome.number(),
                    delivery_count: run.deliveries,
                });
            }
        }
        self.under_way = Some(number);
        self.writes = number;
        if self.beginning == Beginning::Chosen {
            self.beginning = Beginning::Told;
        }
        Some(Writing { number, start, complete, batches })
    }

    /// The write is done, or has failed: what waited for it stands, or is as it was before. Locks that have ended meanwhile are
    /// over then.
    pub fn written(&mut self, number: u64, succeeded: bool, now: MonoTime) {
        if self.under_way != Some(number) {
            return;
        }
        self.under_way = None;
        if succeeded {
            self.beginning = Beginning::Written;
        }
        let mut freed = Vec::new();
        for (first, run) in &mut self.runs {
            let State::Settling(lock, outcome, write) = &run.state else { continue };
            if *write != number {
                continue;
            }
            run.state = match (succeeded, outcome) {
                (true, outcome) => State::Settled(*outcome),
                (false, _) if lock.until > now => State::Acquired(lock.clone()),
                (false, Outcome::Available | Outcome::Acknowledged | Outcome::Archived) => {
                    freed.push((*first, run.last));
                    State::Settled(released(run.deliveries, &self.limits))
                }
            };
        }
        self.unwritten.append(&mut freed);
        self.advance();
    }
}
