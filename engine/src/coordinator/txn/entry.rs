//! What is known of one transactional id, and the steps that it can take.
//!
//! A step is a function of what is known, never a change: it gives the next value, which is written and then applied like
//! any record. After Apache Kafka 4.2's `TransactionMetadata`; who may take which step is the business of the requests.

use super::markers::Markers;
use crate::coordinator::records::txn::{TxnState, TxnValue};
use hayate_net::error::ErrorCode;
use hayate_storage::batch::control::TxnOutcome;
use hayate_storage::batch::{Offset, ProducerId};
use std::collections::{BTreeMap, BTreeSet};

/// Partitions by topic.
pub type Partitions = BTreeMap<String, BTreeSet<i32>>;

/// The last epoch that a producer can be told: one above remains to fence it with.
pub const EPOCH_LAST: i16 = i16::MAX - 1;

/// The transaction protocol whose ends bump the epoch (KIP-890).
pub const EPOCH_BUMPING: i16 = 2;

/// Whether a producer id has no epoch left to hand out.
pub const fn is_exhausted(epoch: i16) -> bool {
    epoch >= EPOCH_LAST
}

/// What is known of one transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its last record.
    pub value: TxnValue,
    /// The epoch before the producer's, which a client may still name when it asks again (KIP-360); −1 for none. Not in
    /// the records: a load forgets it, as in Kafka.
    pub last_epoch: i16,
    /// Where its last record stands: names the transaction that prepares to end.
    pub offset: Offset,
    /// The markers that are being written, while it prepares.
    pub markers: Option<Box<Markers>>,
}

/// The next record of a transactional id.
#[derive(Debug)]
pub struct Step {
    pub value: TxnValue,
    pub last_epoch: i16,
}

impl Step {
    /// The first: a producer id that nobody had.
    pub fn first(fresh: ProducerId, timeout_ms: i32, now_ms: i64) -> Step {
        let value = TxnValue {
            producer_id: fresh,
            previous_producer_id: fresh,
            next_producer_id: ProducerId::NONE,
            producer_epoch: 0,
            next_producer_epoch: -1,
            timeout_ms,
            state: TxnState::Empty,
            partitions: Partitions::new(),
            last_update_ms: now_ms,
            start_ms: -1,
            client_transaction_version: 0,
        };
        Step { value, last_epoch: -1 }
    }
}

impl Entry {
    /// What a record tells.
    pub fn of(value: TxnValue, offset: Offset) -> Entry {
        Entry { value, last_epoch: -1, offset, markers: None }
    }

    /// The outcome that is being carried out: until it is, nothing else happens to the transactional id.
    pub fn preparing(&self) -> Option<TxnOutcome> {
        match self.value.state {
            TxnState::PrepareCommit => Some(TxnOutcome::Commit),
            TxnState::PrepareAbort => Some(TxnOutcome::Abort),
            TxnState::Empty
            | TxnState::Ongoing
            | TxnState::CompleteCommit
            | TxnState::CompleteAbort
            | TxnState::Dead
            | TxnState::PrepareEpochFence => None,
        }
    }

    /// Whether a transaction is open. A fence that was never finished leaves one open; Kafka does not write any.
    pub fn is_ongoing(&self) -> bool {
        matches!(self.value.state, TxnState::Ongoing | TxnState::PrepareEpochFence)
    }

    /// When the transaction has taken too long, milliseconds since the epoch. A two-phase commit (KIP-939) may take forever.
    pub fn deadline_ms(&self) -> i64 {
        match self.value.timeout_ms {
            i32::MAX => i64::MAX,
            timeout_ms => self.value.start_ms.saturating_add(i64::from(timeout_ms)),
        }
    }

    fn step(&self, state: TxnState, now_ms: i64) -> TxnValue {
        TxnValue {
            state,
            previous_producer_id: self.value.producer_id,
            last_update_ms: now_ms,
            ..self.value.clone()
        }
    }

    fn emptied(&self, timeout_ms: i32, now_ms: i64) -> TxnValue {
        let value = self.step(TxnState::Empty, now_ms);
        TxnValue { timeout_ms, partitions: Partitions::new(), start_ms: -1, ..value }
    }

    /// Its producer begins anew: the epoch goes up, which shuts out the one before. A producer that names the epoch
    /// before, because it never heard of the bump, is told the present one.
    ///
    /// # Errors
    /// `PRODUCER_FENCED`: it names another epoch than the present one and the one before.
    pub fn bumped(&self, timeout_ms: i32, named: Option<i16>, now_ms: i64) -> Result<Step, ErrorCode> {
        let present = self.value.producer_epoch;
        let (producer_epoch, last_epoch) = match named {
            None => (present.saturating_add(1), -1),
            Some(named) if present == -1 || named == present => (present.saturating_add(1), present),
            Some(named) if named == self.last_epoch => (present, self.last_epoch),
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        Ok(Step { value: TxnValue { producer_epoch, ..self.emptied(timeout_ms, now_ms) }, last_epoch })
    }

    /// Its producer begins anew under another id, as its own has no epoch left. `told`: whether it named its last epoch,
    /// and may do so again.
    pub fn renamed(&self, fresh: ProducerId, timeout_ms: i32, told: bool, now_ms: i64) -> Step {
        let value = self.emptied(timeout_ms, now_ms);
        let last_epoch = if told { self.value.producer_epoch } else { -1 };
        Step { value: TxnValue { producer_id: fresh, producer_epoch: 0, ..value }, last_epoch }
    }

    /// Its transaction goes on with `partitions` (all of them), or begins.
    pub fn extended(&self, partitions: Partitions, client_version: i16, now_ms: i64) -> Step {
        let value = self.step(TxnState::Ongoing, now_ms);
        let start_ms = if self.is_ongoing() { value.start_ms } else { now_ms };
        let client_transaction_version = client_version;
        Step {
            value: TxnValue { partitions, start_ms, client_transaction_version, ..value },
            last_epoch: self.last_epoch,
        }
    }

    /// Its transaction is to end, by a protocol that bumps the epoch or not; `next` goes on as its producer, if it names one.
    /// One that has not begun is begun and ended.
    pub fn prepared(&self, outcome: TxnOutcome, client_version: i16, next: ProducerId, now_ms: i64) -> Step {
        let value = self.step(TxnState::preparing(outcome), now_ms);
        let start_ms = if self.is_ongoing() { value.start_ms } else { now_ms };
        let (producer_epoch, last_epoch) = if client_version >= EPOCH_BUMPING {
            (value.producer_epoch.saturating_add(1), value.producer_epoch)
        } else {
            (value.producer_epoch, self.last_epoch)
        };
        let client_transaction_version = client_version;
        let next_producer_id = next;
        let value =
            TxnValue { producer_epoch, next_producer_id, start_ms, client_transaction_version, ..value };
        Step { value, last_epoch }
    }

    /// Its transaction is aborted and its producer shut out: by another that begins, or as it took too long. No producer
    /// is ever told the epoch that this leaves.
    pub fn fenced(&self, server_version: i16, now_ms: i64) -> Step {
        let present = self.value.producer_epoch;
        // Past the last there is none to bump to: the markers then carry the present one.
        if server_version >= EPOCH_BUMPING && present < i16::MAX {
            return self.prepared(TxnOutcome::Abort, server_version, ProducerId::NONE, now_ms);
        }
        let step = self.prepared(TxnOutcome::Abort, 0, ProducerId::NONE, now_ms);
        let producer_epoch = present.saturating_add(1);
        Step { value: TxnValue { producer_epoch, ..step.value }, last_epoch: -1 }
    }

    /// Its markers are written.
    pub fn completed(&self, outcome: TxnOutcome, now_ms: i64) -> Step {
        let value = self.step(TxnState::complete(outcome), now_ms);
        let (producer_id, producer_epoch) = told(&value);
        let next_producer_id = ProducerId::NONE;
        let partitions = Partitions::new();
        let value = TxnValue { producer_id, producer_epoch, next_producer_id, partitions, ..value };
        Step { value, last_epoch: self.last_epoch }
    }
}

/// The identity that a producer goes on with when its transaction is complete.
pub fn told(value: &TxnValue) -> (ProducerId, i16) {
    if value.client_transaction_version >= EPOCH_BUMPING && value.next_producer_id.is_some() {
        return (value.next_producer_id, 0);
    }
    (value.producer_id, value.producer_epoch)
}
