//! The records of `__transaction_state`, and their codec.
//!
//! It knows fields and versions, not what they mean. Source: the message schemas of Apache Kafka 4.2
//! (`transaction-coordinator/src/main/resources/common/message/*.json`) and `TransactionLog`.

use super::schema::{
    Field, UnknownRecord, Value, decode_key, decode_kind, decode_value, encode_key, encode_value, message,
    records,
};
use crate::primitives::{DecodeError, EncodeError, Reader, Writer};
use bytes::Bytes;

records! {
    /// One record of `__transaction_state`. A value that is `None` is a tombstone.
    TransactionLogRecord {
        /// A transactional id and how its transaction stands.
        0 TransactionLog(String, TransactionLogValue),
    }
}

message! {
    /// How the transaction of a transactional id stands.
    TransactionLogValue {
        /// The producer's id.
        producer_id: i64,
        /// The producer's epoch.
        producer_epoch: i16,
        /// How long a transaction may be open, milliseconds.
        transaction_timeout_ms: i32,
        /// 0 empty, 1 ongoing, 2 commit prepared, 3 abort prepared, 4 committed, 5 aborted, 6 dead, 7 fencing prepared (Kafka's
        /// `TransactionState`).
        transaction_status: i8,
        /// The partitions that take part; Kafka writes `None` if the status is empty.
        transaction_partitions: Option<Vec<TransactionPartitions>>,
        /// When this last changed, milliseconds since the epoch.
        transaction_last_update_timestamp_ms: i64,
        /// When the transaction began, milliseconds since the epoch; −1 if there is none.
        transaction_start_timestamp_ms: i64,
    } tagged {
        /// The id under which the last transaction was completed, −1 for none; until its producer knows of the next (KIP-890).
        0 previous_producer_id: i64 [else -1],
        /// The id that the producer gets when the transaction is completed, −1 if it keeps its own.
        1 next_producer_id: i64 [else -1],
        /// The version of the transaction protocol that the client speaks (`transaction.version`).
        2 client_transaction_version: i16 [else 0],
        /// The epoch that goes with [`Self::next_producer_id`], −1 for none.
        3 next_producer_epoch: i16 [else -1],
    }
}

impl Value for TransactionLogValue {
    /// Version 1 came with `transaction.version` 1; its tagged fields have no place in version 0.
    const VERSION_MAX: u16 = 1;
    const FLEXIBLE_FROM: u16 = 1;
}

message! {
    /// Partitions of a topic that take part in a transaction (`PartitionsSchema`).
    TransactionPartitions {
        /// The topic's name.
        topic: String,
        /// The partitions' numbers.
        partition_ids: Vec<i32>,
    }
}
