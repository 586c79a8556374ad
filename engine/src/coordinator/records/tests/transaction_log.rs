//! What the fixtures of `__transaction_state` hold.

use super::*;
use crate::coordinator::records::transaction_log::{
    TransactionLogRecord, TransactionLogValue, TransactionPartitions,
};

fn ongoing() -> TransactionLogValue {
    let partitions =
        |topic: &str, partition_ids| TransactionPartitions { topic: topic.into(), partition_ids };
    TransactionLogValue {
        producer_id: 1 << 33,
        producer_epoch: 258,
        transaction_timeout_ms: 60_000,
        transaction_status: 1,
        transaction_partitions: Some(vec![partitions("t", vec![0, 1, 258]), partitions("u", vec![])]),
        transaction_last_update_timestamp_ms: LATER_MS,
        transaction_start_timestamp_ms: THEN_MS,
        previous_producer_id: -1,
        next_producer_id: -1,
        client_transaction_version: 0,
        next_producer_epoch: -1,
    }
}

fn empty() -> TransactionLogValue {
    TransactionLogValue {
        producer_id: 0,
        producer_epoch: 0,
        transaction_timeout_ms: 0,
        transaction_status: 0,
        transaction_partitions: None,
        transaction_last_update_timestamp_ms: 0,
        transaction_start_timestamp_ms: -1,
        ..ongoing()
    }
}

impl Codec for TransactionLogRecord {
    const FIXTURES: &str = include_str!("../fixtures/transaction_state.txt");
    const KINDS: &[u16] = &[0];

    fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        TransactionLogRecord::encode(self)
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, DecodeError> {
        TransactionLogRecord::decode(key, value)
    }

    fn value_at(&self, version: u16) -> Result<Bytes, EncodeError> {
        match self {
            TransactionLogRecord::TransactionLog(_, Some(value)) => encode_value_at(value, version),
            other => panic!("no value: {other:?}"),
        }
    }

    fn expected(fixture: &Fixture) -> Self {
        let value = match fixture.subject() {
            "transaction" => ongoing(),
            "transaction-2" => TransactionLogValue {
                previous_producer_id: 7,
                next_producer_id: 8,
                client_transaction_version: 2,
                next_producer_epoch: 3,
                ..ongoing()
            },
            "transaction-empty" => empty(),
            "transaction-without-partitions" => TransactionLogValue {
                transaction_partitions: Some(vec![]),
                transaction_start_timestamp_ms: 0,
                ..empty()
            },
            other => panic!("no expectation for fixture {other}"),
        };
        TransactionLogRecord::TransactionLog("tränsaction".into(), fixture.holds(value))
    }

    fn is_written(fixture: &Fixture) -> bool {
        fixture.version != Some(0)
    }
}
