//! A partition as the members of one share group share it: which offsets are available, acquired, settled, and by whom.
//!
//! Pure. From the start on, below which everything has been dealt with, up to the end, behind the last offset that was ever acquired, runs
//! of offsets are in one state each. What a member settles stands once it is written: until then it is the member's, and a write that
//! fails gives it back to its lock. What is freed otherwise, by a lock that ends or a session, is available at once and written with the
//! next write. One write is under way at a time. Where a group begins is written before anything is settled: Kafka's leader keeps it in
//! memory until then, and a crash lets the group begin elsewhere. After `SharePartition` of Apache Kafka 4.2 (KIP-932).

mod acknowledge;
mod acquire;
mod write;

pub use acknowledge::{AckBatch, AckType};
pub use acquire::{Acquired, Found};
pub use write::Writing;

use crate::coordinator::records::share_state::StateBatch;
use hayate_net::error::ErrorCode;
use hayate_rt::MonoTime;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What bounds a share partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareLimits {
    /// `group.share.delivery.count.limit`: how often a record is delivered at most.
    pub deliveries_max: i16,
    /// `group.share.partition.max.record.locks`: offsets from the start on that may be under way.
    pub locks_max: i64,
}

impl Default for ShareLimits {
    /// Kafka's defaults.
    fn default() -> ShareLimits {
        ShareLimits { deliveries_max: 5, locks_max: 2000 }
    }
}

/// Who may settle records, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lock {
    member: Rc<str>,
    until: MonoTime,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It may be delivered again.
    Available,
    /// It was processed.
    Acknowledged,
    /// It is not delivered again, processed or not.
    Archived,
}

impl Outcome {
    /// As records have it.
    fn number(self) -> i8 {
        match self {
            Outcome::Available => 0,
            Outcome::Acknowledged => 2,
            Outcome::Archived => 4,
        }
    }

    fn from_number(number: i8) -> Option<Outcome> {
        match number {
            0 => Some(Outcome::Available),
            2 => Some(Outcome::Acknowledged),
            4 => Some(Outcome::Archived),
            _ => None,
        }
    }

    fn is_final(self) -> bool {
        match self {
            Outcome::Available => false,
            Outcome::Acknowledged | Outcome::Archived => true,
        }
    }
}

/// How a run of offsets is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Whoever fetches next gets it, or nobody any more.
    Settled(Outcome),
    /// A member has it.
    Acquired(Lock),
    /// A member has settled it, which waits for the write of that number.
    Settling(Lock, Outcome, u64),
}

/// Offsets in one state; the first is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    last: i64,
    /// How often they have been delivered.
    deliveries: i16,
    state: State,
}

/// Who knows where the group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// Nobody else; it is to be written.
    Chosen,
    /// Nobody else, until the write that was begun is done. If that fails, the next one tells it.
    Told,
    /// The share coordinator.
    Written,
}

/// How far a share group is in a partition, as its leader knows.
#[derive(Debug)]
pub struct SharePartition {
    limits: ShareLimits,
    state_epoch: i32,
    /// Below it everything has been dealt with.
    start: i64,
    /// Behind the last offset that was ever acquired.
    end: i64,
    beginning: Beginning,
    /// From the start to the end without a hole.
    runs: BTreeMap<i64, Run>,
    /// Freed, and not written yet.
    unwritten: Vec<(i64, i64)>,
    /// The write that is under way.
    under_way: Option<u64>,
    /// How many writes have begun.
    writes: u64,
}

impl SharePartition {
    /// From what is written: where the group begins or goes on, and what is known from there on.
    ///
    /// # Errors
    /// 2 for what no coordinator writes.
    pub fn new(
        limits: ShareLimits,
        state_epoch: i32,
        start: i64,
        batches: &[StateBatch],
    ) -> Result<SharePartition, ErrorCode> {
        let mut partition = SharePartition::beginning(limits, state_epoch, start);
        partition.beginning = Beginning::Written;
        for batch in batches {
            let outcome = Outcome::from_number(batch.delivery_state).ok_or(ErrorCode::CorruptMessage)?;
            if batch.first_offset < partition.end || batch.last_offset < batch.first_offset {
                return Err(ErrorCode::CorruptMessage);
            }
            // What lies between was acquired when the state was written, and is free again.
            partition.extend(batch.first_offset - 1, 0, State::Settled(Outcome::Available));
            partition.extend(batch.last_offset, batch.delivery_count, State::Settled(outcome));
        }
        partition.advance();
        Ok(partition)
    }

    /// Where a group begins that has not read the partition yet.
    pub fn beginning(limits: ShareLimits, state_epoch: i32, start: i64) -> SharePartition {
        let (runs, unwritten) = (BTreeMap::new(), Vec::new());
        let (end, under_way, writes, beginning) = (start, None, 0, Beginning::Chosen);
        SharePartition { limits, state_epoch, start, end, beginning, runs, unwritten, under_way, writes }
    }

    /// The setup of its state.
    pub fn state_epoch(&self) -> i32 {
        self.state_epoch
    }

    /// Below it everything has been dealt with.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Behind the last offset that was ever acquired.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// When a lock ends.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let locks = self.runs.values().filter_map(|run| match &run.state {
            State::Acquired(lock) => Some(lock.until),
            State::Settled(_) | State::Settling(..) => None,
        });
        locks.min()
    }

    /// Whether nobody has anything of it and all is written: what is known here, the coordinator knows.
    pub fn is_idle(&self) -> bool {
        let is_settled = |run: &Run| matches!(run.state, State::Settled(_));
        let is_written = self.under_way.is_none() && self.unwritten.is_empty();
        is_written && self.beginning == Beginning::Written && self.runs.values().all(is_settled)
    }

    /// Locks whose time is over: their records are free at once.
    pub fn expire(&mut self, now: MonoTime) -> bool {
        let is_over = |run: &Run| matches!(&run.state, State::Acquired(lock) if lock.until <= now);
        self.free(is_over)
    }

    /// A member's session has ended: what it has is free at once.
    pub fn release(&mut self, member: &str) -> bool {
        let is_its = |run: &Run| matches!(&run.state, State::Acquired(lock) if *lock.member == *member);
        self.free(is_its)
    }

    fn free(&mut self, is_freed: impl Fn(&Run) -> bool) -> bool {
        let mut freed = Vec::new();
        for (first, run) in self.runs.iter_mut().filter(|(_, run)| is_freed(run)) {
            run.state = State::Settled(released(run.deliveries, &self.limits));
            freed.push((*first, run.last));
        }
        let any = !freed.is_empty();
        self.unwritten.append(&mut freed);
        self.advance();
        any
    }

    /// The log starts there: what lies before is gone.
    pub fn follow_log_start(&mut self, log_start: i64) -> bool {
        if log_start <= self.start {
            return false;
        }
        self.split(log_start);
        self.runs = self.runs.split_off(&log_start);
        self.start = log_start;
        self.end = self.end.max(log_start);
        self.advance();
        true
    }

    /// Appends a run up to `last`, if that is beyond the end.
    fn extend(&mut self, last: i64, deliveries: i16, state: State) {
        if last >= self.end {
            self.runs.insert(self.end, Run { last, deliveries, state });
            self.end = last + 1;
        }
    }

    /// Lets a run begin at `at`, if one contains it.
    fn split(&mut self, at: i64) {
        let Some((_, run)) = self.runs.range_mut(..at).next_back() else { return };
        if run.last >= at {
            let rest = run.clone();
            run.last = at - 1;
            self.runs.insert(at, rest);
        }
    }

    /// The runs of these offsets, cut at both ends.
    fn cut(&mut self, first: i64, last: i64) -> impl Iterator<Item = (&i64, &mut Run)> {
        self.split(first);
        self.split(last + 1);
        self.runs.range_mut(first..=last)
    }

    /// Moves the start over what has been dealt with.
    fn advance(&mut self) {
        while let Some(entry) = self.runs.first_entry() {
            match entry.get().state {
                State::Settled(outcome) if outcome.is_final() => self.start = entry.remove().last + 1,
                State::Settled(_) | State::Acquired(_) | State::Settling(..) => break,
            }
        }
        let start = self.start;
        self.unwritten.retain(|(_, last)| *last >= start);
    }

    /// What must hold at any time.
    #[cfg(test)]
    fn check(&self) {
        let mut next = self.start;
        for (first, run) in &self.runs {
            assert_eq!(*first, next, "runs follow each other");
            assert!(run.last >= *first);
            next = run.last + 1;
        }
        assert_eq!(next, self.end);
    }
}

/// What becomes of records that are given back after so many deliveries.
fn released(deliveries: i16, limits: &ShareLimits) -> Outcome {
    if deliveries >= limits.deliveries_max { Outcome::Archived } else { Outcome::Available }
}

#[cfg(test)]
mod tests;
