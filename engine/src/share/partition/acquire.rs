//! Delivering: which offsets a member gets of what was read.

use super::{Lock, Outcome, Run, SharePartition, State};
use hayate_rt::MonoTime;
use std::rc::Rc;

/// A batch that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its first offset.
    pub first: i64,
    /// Its last offset.
    pub last: i64,
    /// Whether it holds records for consumers: no markers, nothing of an aborted transaction.
    pub is_delivered: bool,
}

/// Offsets that a member has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// How often they have been delivered, this time included.
    pub deliveries: i16,
}

impl Acquired {
    fn len(&self) -> i64 {
        self.last - self.first + 1
    }
}

impl SharePartition {
    /// From where to read for the next delivery; `None` while as much is under way as may be.
    pub fn next_offset(&self) -> Option<i64> {
        let is_available = |run: &Run| matches!(run.state, State::Settled(Outcome::Available));
        let available = self.runs.iter().find(|(_, run)| is_available(run)).map(|(first, _)| *first);
        let has_room = self.end - self.start < self.limits.locks_max;
        available.or_else(|| has_room.then_some(self.end))
    }

    /// Gives a member what is available of `found`, which was read from `from` on: whole batches until there are `records_max`, in
    /// pieces of about `piece` offsets. Offsets that the log has no more are skipped for ever.
    pub fn acquire(
        &mut self,
        member: &Rc<str>,
        until: MonoTime,
        from: i64,
        found: &[Found],
        (records_max, piece): (i64, i64),
    ) -> Vec<Acquired> {
        let lock = Lock { member: member.clone(), until };
        let mut acquired: Vec<Acquired> = Vec::new();
        let mut next = from.max(self.start);
        for batch in found {
            let count: i64 = acquired.iter().map(Acquired::len).sum();
            let has_room = batch.first.max(next) < self.end || self.end - self.start < self.limits.locks_max;
            if count >= records_max || !has_room {
                break;
            }
            if batch.last < next {
                continue;
            }
            let first = batch.first.max(next);
            self.archive(next, first - 1);
            match batch.is_delivered {
                true => self.take(first, batch.last, &lock, piece, &mut acquired),
                false => self.archive(first, batch.last),
            }
            next = batch.last + 1;
        }
        self.advance();
        acquired
    }

    /// Gives what is available of these offsets.
    fn take(&mut self, first: i64, last: i64, lock: &Lock, piece: i64, acquired: &mut Vec<Acquired>) {
        let end = self.end;
        self.extend(last, 0, State::Settled(Outcome::Available));
        debug_assert!(first <= end || last < end, "nothing is passed over");
        for (from, run) in self.cut(first, last) {
            if run.state != State::Settled(Outcome::Available) {
                continue;
            }
            run.deliveries = run.deliveries.saturating_add(1);
            run.state = State::Acquired(lock.clone());
            let new = Acquired { first: *from, last: run.last, deliveries: run.deliveries };
            match acquired.last_mut() {
                Some(before)
                    if before.last + 1 == new.first
                        && before.deliveries == new.deliveries
                        && before.len() + new.len() <= piece =>
                {
                    before.last = new.last;
                }
                _ => acquired.push(new),
            }
        }
    }

    /// These offsets hold nothing for consumers: what is available of them never will be.
    fn archive(&mut self, first: i64, last: i64) {
        if first > last {
            return;
        }
        self.extend(last, 0, State::Settled(Outcome::Available));
        for (_, run) in self.cut(first, last) {
            if run.state == State::Settled(Outcome::Available) {
                run.state = State::Settled(Outcome::Archived);
            }
        }
    }
}
