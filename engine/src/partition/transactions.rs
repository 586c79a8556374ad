//! Transactions in a partition: which batches may begin one, and the markers that end them. After Kafka's
//! `Partition.maybeStartTransactionVerification` and `UnifiedLog.analyzeAndValidateProducerState`.

use super::append::Appending;
use super::refusal::AppendFailure;
use super::verification::{FirstBatch, Guard};
use super::{Partition, PartitionState};
use hayate_net::error::ErrorCode;
use hayate_storage::batch::control::TxnOutcome;
use hayate_storage::batch::{BatchHeader, Offset, ProducerId};
use hayate_storage::error::AppendError;
use hayate_storage::log::{Remembered, TransactionEnd};
use hayate_storage::mutants::{Mutant, is_active};
use hayate_storage::producers::{ProducerError, TransactionVersion, Verdict};
use std::rc::Rc;

/// Whoever hears of a marker: the producer, its epoch, whether its transaction was committed, and where the marker lies.
pub type MarkerListener = Rc<dyn Fn(ProducerId, i16, bool, Offset)>;

impl Partition {
    /// Calls `listener` for each marker once it is appended, in the order of the log, before it is safe. There is one at most.
    pub fn on_marker(&self, listener: MarkerListener) {
        *self.marker_listener.borrow_mut() = Some(listener);
    }

    /// Whether the coordinator must be asked before this batch of a transaction is appended, since it would begin it here: then with the
    /// guard that the batch has to come with. `None` when the transaction is known here already, or this broker does not ask.
    ///
    /// # Errors
    /// 47 for a stale epoch, which the coordinator need not be asked about, 6 and 56.
    pub fn needs_verification(
        &self,
        batch: &FirstBatch,
        version: TransactionVersion,
        now_ms: i64,
    ) -> Result<Option<Guard>, AppendFailure> {
        self.check_readable(None)?;
        let (known_epoch, is_open, expiration_ms) = self.log.with_producers(Remembered::All, |producers| {
            let known_epoch = producers.get(batch.producer_id).map(|entry| entry.epoch);
            let is_open = producers.is_open(batch.producer_id, batch.producer_epoch);
            (known_epoch, is_open, producers.expiration_ms())
        });
        if let Some(current_epoch) = known_epoch.filter(|known| batch.producer_epoch < *known) {
            return Err(AppendError::Producer(stale(batch, current_epoch)).into());
        }
        // Whoever only verifies need not; under version 2 asking is what makes the coordinator know of the partition.
        let asks = self.settings().verifies_transactions || version == TransactionVersion::EpochBump;
        let asks = asks && !is_active(Mutant::UnverifiedTaken);
        if is_open || !asks {
            return Ok(None);
        }
        Ok(Some(self.verifications.borrow_mut().begin(batch, version, now_ms, expiration_ms)))
    }

    /// Judges a batch of a transaction that is about to be appended: one that begins it must have been verified, so that nothing is
    /// appended to a transaction that its coordinator does not know, and that nobody would end.
    pub(super) fn check_verified(
        &self,
        header: &BatchHeader,
        guard: Option<Guard>,
    ) -> Result<(), ProducerError> {
        let is_duplicate = self.log.with_producers(Remembered::All, |producers| {
            matches!(producers.check(header), Ok(Verdict::Duplicate { .. }))
        });
        if is_duplicate { Ok(()) } else { self.check_new(&FirstBatch::of(header), guard) }
    }

    /// As [`Partition::check_verified`], for a batch that is no duplicate.
    fn check_new(&self, batch: &FirstBatch, guard: Option<Guard>) -> Result<(), ProducerError> {
        let verifications = self.verifications.borrow();
        self.log.with_producers(Remembered::All, |producers| {
            if producers.is_open(batch.producer_id, batch.producer_epoch) {
                return Ok(());
            }
            let known = producers.get(batch.producer_id);
            if let Some(known) = known.filter(|known| batch.producer_epoch < known.epoch) {
                return Err(stale(batch, known.epoch));
            }
            let asks = self.settings().verifies_transactions && !is_active(Mutant::UnverifiedTaken);
            if asks && !verifications.admits(batch.producer_id, guard) {
                return Err(ProducerError::Unverified { producer_id: batch.producer_id });
            }
            verifications.check_sequence(batch, known)
        })
    }

    /// Whether [`Partition::append_own`] would take a batch of this transaction now.
    ///
    /// # Errors
    /// 47 for a stale epoch, 48 for a transaction that was not verified or has a marker since, 6 and 56.
    pub fn admits_own(&self, batch: &FirstBatch, guard: Option<Guard>) -> Result<(), AppendFailure> {
        self.check_readable(None)?;
        self.check_new(batch, guard).map_err(|error| AppendError::Producer(error).into())
    }

    /// Ends a transaction of a producer as its coordinator has decided, whether it has records here or not. Does not wait.
    ///
    /// # Errors
    /// 47 for a marker of an earlier epoch, or of one that version 2 has left behind; 52 for one of a coordinator that another has
    /// followed; 6 and 56. Nothing was appended then.
    pub fn append_marker(&self, end: &TransactionEnd) -> Result<Appending, AppendFailure> {
        self.check_epoch(None)?;
        if self.state() == PartitionState::Offline {
            return Err(ErrorCode::KafkaStorageError.into());
        }
        let appended = self.log.append_marker(end, self.leader_epoch())?;
        self.verifications.borrow_mut().settle(end.producer_id);
        let is_committed = end.marker.outcome == TxnOutcome::Commit;
        let listener = self.marker_listener.borrow().clone();
        if let Some(listener) = listener {
            listener(end.producer_id, end.producer_epoch, is_committed, appended.base_offset);
        }
        Ok(self.appending(appended, 0))
    }
}

fn stale(batch: &FirstBatch, current_epoch: i16) -> ProducerError {
    let (producer_id, epoch) = (batch.producer_id, batch.producer_epoch);
    ProducerError::InvalidEpoch { producer_id, epoch, current_epoch }
}
