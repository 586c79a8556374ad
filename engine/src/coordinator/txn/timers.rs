//! What happens without a request: transactions that take too long are aborted, ids that nobody uses expire, markers are
//! ordered again.
//!
//! Looked for now and then, as Kafka does, and only while there is something to look for. A step does a bounded
//! part of the work and asks for the next at once.

use super::entry::Entry;
use super::init::server_version;
use super::{Moment, Transactions, TxnEffects, TxnLimits, next_offset};
use crate::coordinator::records::txn::{TxnRecord, TxnState};
use hayate_rt::MonoTime;
use hayate_storage::batch::control::TxnOutcome;
use std::ops::Bound;

/// At most so many transactions are aborted in one step.
const ABORTS_MAX: usize = 256;

/// At most so many transactional ids are looked at for their age in one step.
const LOOKS_MAX: usize = 4096;

/// When to look next.
#[derive(Debug, Default)]
pub(super) struct Timers {
    abort_at: Option<MonoTime>,
    expire_at: Option<MonoTime>,
    /// Where the search for ids that nobody uses goes on; `None` at the beginning.
    looked_at: Option<String>,
}

impl Transactions {
    /// Sees to it that what there is will be looked at.
    pub(super) fn arm(&mut self, now: MonoTime) {
        let TxnLimits { abort_interval, expiry_interval, .. } = self.limits;
        if !self.ongoing.is_empty() {
            self.timers.abort_at.get_or_insert(now + abort_interval);
        }
        if !self.entries.is_empty() {
            self.timers.expire_at.get_or_insert(now + expiry_interval);
        }
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<MonoTime> {
        let retry = self.retries.first().map(|(at, _)| *at);
        [self.timers.abort_at, self.timers.expire_at, retry].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn do_due(&mut self, moment: &Moment, effects: &mut TxnEffects) {
        self.order_failed_markers(moment, effects);
        if self.timers.abort_at.is_some_and(|at| at <= moment.now) {
            self.timers.abort_at = None;
            self.abort_timed_out(moment, effects);
        }
        if self.timers.expire_at.is_some_and(|at| at <= moment.now) {
            self.timers.expire_at = None;
            self.expire(moment, effects);
        }
        self.arm(moment.now);
    }

    fn abort_timed_out(&mut self, moment: &Moment, effects: &mut TxnEffects) {
        let due = self.ongoing.iter().take_while(|(deadline_ms, _)| *deadline_ms < moment.wall_ms);
        let due: Vec<String> = due.take(ABORTS_MAX).map(|(_, id)| id.clone()).collect();
        if due.len() == ABORTS_MAX {
            self.timers.abort_at = Some(moment.now);
        }
        for id in due {
            let Some(entry) = self.entries.get(&id) else { continue };
            let step = entry.fenced(server_version(moment), moment.wall_ms);
            self.counters.timed_out += 1;
            self.prepare(moment, &id, TxnOutcome::Abort, step, effects);
        }
    }

    fn expire(&mut self, moment: &Moment, effects: &mut TxnEffects) {
        let from = self.timers.looked_at.take();
        let from = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut looked_at = None;
        let mut expired = Vec::new();
        let mut looks = 0;
        for (id, entry) in self.entries.range::<str, _>((from, Bound::Unbounded)).take(LOOKS_MAX) {
            looks += 1;
            looked_at = Some(id);
            if is_expired(entry, moment.wall_ms, self.limits.expiration_ms) {
                expired.push(id.clone());
            }
        }
        if looks == LOOKS_MAX {
            self.timers.looked_at = looked_at.cloned();
            self.timers.expire_at = Some(moment.now);
        }
        for transactional_id in expired {
            let record = TxnRecord { transactional_id, value: None };
            self.apply(&record, next_offset(moment, effects));
            self.counters.expired += 1;
            effects.write(record);
        }
    }
}

/// Whether nobody has used a transactional id for long. One with a transaction stays.
fn is_expired(entry: &Entry, now_ms: i64, expiration_ms: i64) -> bool {
    let may_expire = match entry.value.state {
        TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort => true,
        TxnState::Ongoing
        | TxnState::PrepareCommit
        | TxnState::PrepareAbort
        | TxnState::Dead
        | TxnState::PrepareEpochFence => false,
    };
    may_expire && entry.value.last_update_ms <= now_ms.saturating_sub(expiration_ms)
}
