//! The records of `__transaction_state`: a transactional id, and what was last known of its producer and transaction.
//!
//! It knows fields and versions, not what they mean. Source: `TransactionLogKey.json` and `TransactionLogValue.json` of
//! Apache Kafka 4.2, versions 0 (key) and 0–1 (value).

use hayate_storage::batch::ProducerId;
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
