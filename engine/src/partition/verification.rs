//! Transactions that are about to begin in a partition, until their coordinator has said that it knows of them (KIP-890). Pure.
//!
//! A marker that overtakes the coordinator's answer would leave the batch that waited for it in a transaction that nobody ends. So each
//! batch that would begin one is given a guard before the coordinator is asked, and is taken only with the guard that is still in force;
//! whatever is appended of the producer's transactions, a marker above all, ends it. The lowest sequence that asked is remembered, so
//! that no later batch goes ahead of one whose verification failed. After Kafka's `VerificationStateEntry` and `VerificationGuard`.
//!
//! ```text
//!  unknown ─begin─▶ asked (guard) ─batch with the guard, or a marker─▶ unknown
//! ```

use hayate_storage::batch::{BatchHeader, ProducerId};
use hayate_storage::producers::{ProducerEntry, ProducerError, TransactionVersion};
use std::collections::BTreeMap;

/// Producers that may be asked about at a time, a partition; of more, those that were asked about first are forgotten, and send again.
pub const ASKED_MAX: usize = 10_000;

/// What a batch shows that its transaction was verified. Each is used once in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guard(u64);

/// The batch of a transaction as far as its verification goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBatch {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The sequence of its first record; −1 of a coordinator's.
    pub sequence: i32,
}

impl FirstBatch {
    /// Of a batch with this header.
    pub fn of(header: &BatchHeader) -> FirstBatch {
        FirstBatch {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            sequence: header.base_sequence,
        }
    }
}

#[derive(Debug)]
struct Asked {
    guard: Guard,
    /// By the broker's clock, in milliseconds.
    since_ms: i64,
    epoch: i16,
    sequence_min: i32,
    version: TransactionVersion,
}

/// The producers of one partition that were asked about.
#[derive(Debug, Default)]
pub struct Verifications {
    asked: BTreeMap<ProducerId, Asked>,
    guards: u64,
}

impl Verifications {
    /// A batch is about to begin a transaction: the guard to come back with. A producer that is asked about already keeps its guard.
    /// Those asked about for `expiration_ms` are forgotten when there are many.
    pub fn begin(
        &mut self,
        batch: &FirstBatch,
        version: TransactionVersion,
        now_ms: i64,
        expiration_ms: i64,
    ) -> Guard {
        if self.asked.len() >= ASKED_MAX && !self.asked.contains_key(&batch.producer_id) {
            self.make_room(now_ms.saturating_sub(expiration_ms));
        }
        let guards = &mut self.guards;
        let asked = self.asked.entry(batch.producer_id).or_insert_with(|| {
            *guards += 1;
            let (epoch, sequence_min) = (batch.producer_epoch, batch.sequence);
            Asked { guard: Guard(*guards), since_ms: now_ms, epoch, sequence_min, version }
        });
        if batch.producer_epoch > asked.epoch {
            (asked.epoch, asked.sequence_min) = (batch.producer_epoch, batch.sequence);
        } else if batch.producer_epoch == asked.epoch {
            asked.sequence_min = asked.sequence_min.min(batch.sequence);
        }
        asked.guard
    }

    fn make_room(&mut self, expired_ms: i64) {
        self.asked.retain(|_, asked| asked.since_ms > expired_ms);
        if self.asked.len() >= ASKED_MAX {
            let mut guards: Vec<Guard> = self.asked.values().map(|asked| asked.guard).collect();
            let (_, median, _) = guards.select_nth_unstable(ASKED_MAX / 2);
            let median = *median;
            self.asked.retain(|_, asked| asked.guard > median);
        }
    }

    /// Whether a batch of the producer that comes with this guard may begin its transaction.
    pub fn admits(&self, producer_id: ProducerId, guard: Option<Guard>) -> bool {
        self.asked.get(&producer_id).is_some_and(|asked| Some(asked.guard) == guard)
    }

    /// Judges the sequence of a batch of a client that begins a transaction; `known` is what the log remembers of the producer.
    ///
    /// # Errors
    /// [`ProducerError::OutOfOrderSequence`]
    pub fn check_sequence(
        &self,
        batch: &FirstBatch,
        known: Option<&ProducerEntry>,
    ) -> Result<(), ProducerError> {
        let Some(asked) = self.asked.get(&batch.producer_id) else { return Ok(()) };
        let FirstBatch { producer_id, sequence, .. } = *batch;
        let last = known.and_then(ProducerEntry::last_batch);
        // Under version 2 a producer that nothing is known of begins a new epoch.
        if asked.version == TransactionVersion::EpochBump && sequence > 0 && last.is_none() {
            return Err(ProducerError::OutOfOrderSequence { producer_id, sequence, last_sequence: -1 });
        }
        if sequence > asked.sequence_min {
            let last_sequence = asked.sequence_min.saturating_sub(1);
            return Err(ProducerError::OutOfOrderSequence { producer_id, sequence, last_sequence });
        }
        Ok(())
    }

    /// Something of the producer's transactions was appended: no guard from before holds any more.
    pub fn settle(&mut self, producer_id: ProducerId) {
        self.asked.remove(&producer_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TransactionVersion::{Classic, EpochBump};

    fn batch(producer_id: i64, producer_epoch: i16, sequence: i32) -> FirstBatch {
        FirstBatch { producer_id: ProducerId(producer_id), producer_epoch, sequence }
    }

    const ONE: ProducerId = ProducerId(1);

    #[test]
    fn a_guard_holds_until_something_is_appended_and_never_again() {
        let mut verifications = Verifications::default();
        assert!(!verifications.admits(ONE, None), "nobody has asked");
        let first = verifications.begin(&batch(1, 0, 0), Classic, 0, 1000);
        assert!(verifications.admits(ONE, Some(first)));
        assert!(!verifications.admits(ONE, None) && !verifications.admits(ProducerId(2), Some(first)));
        assert_eq!(verifications.begin(&batch(1, 0, 5), Classic, 0, 1000), first, "as long as it holds");
        verifications.settle(ONE);
        assert!(!verifications.admits(ONE, Some(first)), "a marker came in between");
        let second = verifications.begin(&batch(1, 0, 0), Classic, 0, 1000);
        assert!(second != first && !verifications.admits(ONE, Some(first)));
    }

    #[test]
    fn no_batch_goes_ahead_of_one_that_asked_before() {
        let mut verifications = Verifications::default();
        for (epoch, sequence, admitted_max) in [(0, 7, 7), (0, 9, 7), (0, 5, 5), (1, 8, 8), (0, 0, 8)] {
            verifications.begin(&batch(1, epoch, sequence), Classic, 0, 1000);
            for sequence in [5, 7, 8, 9] {
                let judged = verifications.check_sequence(&batch(1, epoch, sequence), None);
                assert_eq!(judged.is_ok(), sequence <= admitted_max, "epoch {epoch}, sequence {sequence}");
            }
        }
        assert_eq!(verifications.check_sequence(&batch(2, 0, 99), None), Ok(()), "never asked");
    }

    #[test]
    fn under_version_2_an_unknown_producer_begins_with_0() {
        let mut verifications = Verifications::default();
        verifications.begin(&batch(1, 0, 3), EpochBump, 0, 1000);
        assert!(verifications.check_sequence(&batch(1, 0, 3), None).is_err());
        assert!(verifications.check_sequence(&batch(1, 0, 0), None).is_ok());
        assert!(verifications.check_sequence(&batch(1, 0, -1), None).is_ok(), "a coordinator's");
    }

    #[test]
    fn however_many_ask_their_number_is_bounded_and_the_latest_stay() {
        let mut verifications = Verifications::default();
        let all = 3 * ASKED_MAX as i64;
        for id in 0..all {
            let guard = verifications.begin(&batch(id, 0, 0), Classic, 0, i64::MAX);
            assert!(
                verifications.asked.len() <= ASKED_MAX && verifications.admits(ProducerId(id), Some(guard))
            );
        }
        verifications.begin(&batch(all, 0, 0), Classic, 5000, 1000);
        verifications.asked.values_mut().for_each(|asked| asked.since_ms = 0);
        for id in all..2 * all {
            verifications.begin(&batch(id, 0, 0), Classic, 5000, 1000);
        }
        assert!(verifications.asked.values().all(|asked| asked.since_ms == 5000), "those of before expired");
    }
}
