//! The records of `__transaction_state`: a transactional id, and what was last known of its producer and transaction.
//!
//! As the coordinator has it: numbers are states, partitions stand once. How it lies in the log is [`super::transaction_log`]'s.

use super::transaction_log::{TransactionLogRecord, TransactionLogValue, TransactionPartitions};
use crate::coordinator::{BadRecord, Encoded};
use crate::primitives::EncodeError;
use hayate_storage::batch::ProducerId;
use hayate_storage::batch::control::TxnOutcome;
use std::collections::{BTreeMap, BTreeSet};

/// Where a transaction stands. The numbers are those of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TxnState {
    /// No transaction yet.
    Empty = 0,
    /// One has begun.
    Ongoing = 1,
    /// It commits: its markers are being written.
    PrepareCommit = 2,
    /// It aborts: its markers are being written.
    PrepareAbort = 3,
    /// The last one committed, its markers are written.
    CompleteCommit = 4,
    /// The last one aborted, its markers are written.
    CompleteAbort = 5,
    /// The transactional id expires. In Kafka's numbering only, never written by this broker.
    Dead = 6,
    /// The epoch is being bumped to fence a producer out. In Kafka's numbering only, never written.
    PrepareEpochFence = 7,
}

/// What a transactional id stands for. `Value` of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnValue {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The id before it, of its last transaction; none: −1 (tag 0).
    pub previous_producer_id: ProducerId,
    /// The id that its client has been told to go on with, until the transaction that prepares is complete; none: −1
    /// (tag 1).
    pub next_producer_id: ProducerId,
    /// The producer's epoch; −1 before the first.
    pub producer_epoch: i16,
    /// The epoch that goes with `next_producer_id`, −1 if none (tag 3; KIP-939).
    pub next_producer_epoch: i16,
    /// How long a transaction may take, milliseconds.
    pub timeout_ms: i32,
    /// Where the transaction stands.
    pub state: TxnState,
    /// The partitions that are part of it, by topic. Written as null when the state is [`TxnState::Empty`], and null
    /// reads as none.
    pub partitions: BTreeMap<String, BTreeSet<i32>>,
    /// When this was last changed, milliseconds since the epoch.
    pub last_update_ms: i64,
    /// When the transaction began, milliseconds since the epoch; −1 if none has.
    pub start_ms: i64,
    /// The transaction protocol that its client spoke at the end: 0 to 2 (tag 2, default 0; KIP-890).
    pub client_transaction_version: i16,
}

/// One record of `__transaction_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnRecord {
    /// The key: the transactional id.
    pub transactional_id: String,
    /// The value; `None` is a tombstone: the id has expired.
    pub value: Option<TxnValue>,
}

impl TxnState {
    /// In which the markers of that outcome are being written.
    pub const fn preparing(outcome: TxnOutcome) -> TxnState {
        match outcome {
            TxnOutcome::Commit => TxnState::PrepareCommit,
            TxnOutcome::Abort => TxnState::PrepareAbort,
        }
    }

    /// In which they are written.
    pub const fn complete(outcome: TxnOutcome) -> TxnState {
        match outcome {
            TxnOutcome::Commit => TxnState::CompleteCommit,
            TxnOutcome::Abort => TxnState::CompleteAbort,
        }
    }

    /// The state of that number.
    fn from_number(number: i8) -> Option<TxnState> {
        Some(match number {
            0 => TxnState::Empty,
            1 => TxnState::Ongoing,
            2 => TxnState::PrepareCommit,
            3 => TxnState::PrepareAbort,
            4 => TxnState::CompleteCommit,
            5 => TxnState::CompleteAbort,
            6 => TxnState::Dead,
            7 => TxnState::PrepareEpochFence,
            _ => return None,
        })
    }
}

impl TxnRecord {
    /// The record as it lies in the log.
    ///
    /// # Errors
    /// [`EncodeError`] for what is too long.
    pub fn encode(&self) -> Result<Encoded, EncodeError> {
        let value = self.value.as_ref().map(to_log);
        let (key, value) =
            TransactionLogRecord::TransactionLog(self.transactional_id.clone(), value).encode()?;
        Ok(Encoded { key, value })
    }

    /// Reads a record; `None` for one of a kind that is of no use to a coordinator.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<TxnRecord>, BadRecord> {
        let decoded = TransactionLogRecord::decode(key, value);
        match decoded.map_err(|error| BadRecord(error.to_string()))? {
            TransactionLogRecord::TransactionLog(transactional_id, value) => {
                let value = value.map(from_log).transpose()?;
                Ok(Some(TxnRecord { transactional_id, value }))
            }
            TransactionLogRecord::Unknown(_) => Ok(None),
        }
    }
}

fn to_log(value: &TxnValue) -> TransactionLogValue {
    let partitions = value.partitions.iter().map(|(topic, ids)| TransactionPartitions {
        topic: topic.clone(),
        partition_ids: ids.iter().copied().collect(),
    });
    TransactionLogValue {
        producer_id: value.producer_id.0,
        producer_epoch: value.producer_epoch,
        transaction_timeout_ms: value.timeout_ms,
        transaction_status: value.state as i8,
        transaction_partitions: (value.state != TxnState::Empty).then(|| partitions.collect()),
        transaction_last_update_timestamp_ms: value.last_update_ms,
        transaction_start_timestamp_ms: value.start_ms,
        previous_producer_id: value.previous_producer_id.0,
        next_producer_id: value.next_producer_id.0,
        client_transaction_version: value.client_transaction_version,
        next_producer_epoch: value.next_producer_epoch,
    }
}

fn from_log(value: TransactionLogValue) -> Result<TxnValue, BadRecord> {
    let state = TxnState::from_number(value.transaction_status);
    let state = state.ok_or_else(|| BadRecord(format!("transaction status {}", value.transaction_status)))?;
    let mut partitions: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for told in value.transaction_partitions.into_iter().flatten() {
        partitions.entry(told.topic).or_default().extend(told.partition_ids);
    }
    Ok(TxnValue {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        producer_epoch: value.producer_epoch,
        next_producer_epoch: value.next_producer_epoch,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions,
        last_update_ms: value.transaction_last_update_timestamp_ms,
        start_ms: value.transaction_start_timestamp_ms,
        client_transaction_version: value.client_transaction_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: TxnState) -> TxnRecord {
        let partitions = if state == TxnState::Empty {
            BTreeMap::new()
        } else {
            BTreeMap::from([("t".to_owned(), BTreeSet::from([0, 3]))])
        };
        let value = TxnValue {
            producer_id: ProducerId(7),
            previous_producer_id: ProducerId(6),
            next_producer_id: ProducerId(-1),
            producer_epoch: 3,
            next_producer_epoch: -1,
            timeout_ms: 60_000,
            state,
            partitions,
            last_update_ms: 1_767_225_600_000,
            start_ms: 1_767_225_600_000,
            client_transaction_version: 2,
        };
        TxnRecord { transactional_id: "id".to_owned(), value: Some(value) }
    }

    #[test]
    fn every_state_comes_back_as_it_was_written_and_no_other_is_known() {
        for number in 0..8 {
            let state = TxnState::from_number(number).expect("a state");
            let record = record(state);
            let Encoded { key, value } = record.encode().expect("encodable");
            assert_eq!(TxnRecord::decode(&key, value.as_deref()), Ok(Some(record)));
        }
        let mut log = to_log(record(TxnState::Ongoing).value.as_ref().expect("a value"));
        for number in [-1, 8] {
            log.transaction_status = number;
            assert!(from_log(log.clone()).is_err(), "{number}");
        }
        let gone = TxnRecord { transactional_id: "id".to_owned(), value: None };
        let Encoded { key, value } = gone.encode().expect("encodable");
        assert_eq!(TxnRecord::decode(&key, value.as_deref()), Ok(Some(gone)));
    }
}
