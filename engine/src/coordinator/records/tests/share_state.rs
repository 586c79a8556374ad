//! What the fixtures of `__share_group_state` hold.

use super::*;
use crate::coordinator::records::share_state::{
    SharePartitionKey, ShareSnapshotValue, ShareStateRecord, ShareUpdateValue, StateBatch,
};
use uuid::Uuid;

fn batches() -> Vec<StateBatch> {
    let batch = |first_offset, last_offset, delivery_state, delivery_count| StateBatch {
        first_offset,
        last_offset,
        delivery_state,
        delivery_count,
    };
    vec![batch(1 << 33, (1 << 33) + 9, 2, 5), batch(0, 0, 0, 0)]
}

fn snapshot(fixture: &Fixture) -> ShareSnapshotValue {
    ShareSnapshotValue {
        snapshot_epoch: fixture.or_plain(1, 0),
        state_epoch: fixture.or_plain(2, 0),
        leader_epoch: fixture.or_plain(3, 0),
        start_offset: fixture.or_plain(1 << 33, 0),
        create_timestamp_ms: fixture.or_plain(THEN_MS, 0),
        write_timestamp_ms: fixture.or_plain(LATER_MS, 0),
        state_batches: fixture.or_plain(batches(), vec![]),
        delivery_complete_count: fixture.or_plain(4, -1),
    }
}

fn update(fixture: &Fixture) -> ShareUpdateValue {
    ShareUpdateValue {
        snapshot_epoch: fixture.or_plain(1, 0),
        leader_epoch: fixture.or_plain(3, 0),
        start_offset: fixture.or_plain(1 << 33, 0),
        state_batches: fixture.or_plain(batches(), vec![]),
        delivery_complete_count: fixture.or_plain(4, -1),
    }
}

impl Codec for ShareStateRecord {
    const FIXTURES: &str = include_str!("../fixtures/share_state.txt");
    const KINDS: &[u16] = &[0, 1];

    fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        ShareStateRecord::encode(self)
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, DecodeError> {
        ShareStateRecord::decode(key, value)
    }

    fn value_at(&self, version: u16) -> Result<Bytes, EncodeError> {
        match self {
            ShareStateRecord::ShareSnapshot(_, Some(value)) => encode_value_at(value, version),
            ShareStateRecord::ShareUpdate(_, Some(value)) => encode_value_at(value, version),
            other => panic!("no value: {other:?}"),
        }
    }

    fn expected(fixture: &Fixture) -> Self {
        let key = SharePartitionKey { group: "gröup".into(), topic_id: Uuid::from_u128(3), partition: 7 };
        match fixture.subject() {
            "share-snapshot" | "share-snapshot-plain" => {
                ShareStateRecord::ShareSnapshot(key, fixture.holds(snapshot(fixture)))
            }
            "share-update" | "share-update-plain" => {
                ShareStateRecord::ShareUpdate(key, fixture.holds(update(fixture)))
            }
            other => panic!("no expectation for fixture {other}"),
        }
    }

    fn is_written(_fixture: &Fixture) -> bool {
        true
    }
}
