//! The records of `__share_group_state`, and their codec: how far share groups are in partitions (KIP-932).
//!
//! It knows fields and versions, not what they mean. Source: the message schemas of Apache Kafka 4.2
//! (`share-coordinator/src/main/resources/common/message/*.json`).

use super::schema::{
    Field, UnknownRecord, Value, decode_key, decode_kind, decode_value, encode_key, encode_value, message,
    records,
};
use crate::primitives::{DecodeError, EncodeError, Reader, Writer};
use bytes::Bytes;
use uuid::Uuid;

records! {
    /// One record of `__share_group_state`. A value that is `None` is a tombstone.
    ShareStateRecord {
        /// The whole state of a partition.
        0 ShareSnapshot(SharePartitionKey, ShareSnapshotValue),
        /// What changed since the snapshot.
        1 ShareUpdate(SharePartitionKey, ShareUpdateValue),
    }
}

message! {
    /// A partition as a share group sees it.
    #[derive(PartialOrd, Ord)]
    SharePartitionKey {
        /// The group.
        group: String,
        /// The topic's id.
        topic_id: Uuid,
        /// The partition.
        partition: i32,
    }
}

message! {
    /// The whole state of a share group in a partition.
    ShareSnapshotValue {
        /// Counts the snapshots; updates name the one that they change.
        snapshot_epoch: i32,
        /// Grows when the state is set up anew.
        state_epoch: i32,
        /// Epoch of the leader that told it.
        leader_epoch: i32,
        /// Below it everything has been dealt with.
        start_offset: i64,
        /// When the state was set up, milliseconds since the epoch.
        create_timestamp_ms: i64,
        /// When it was written, milliseconds since the epoch.
        write_timestamp_ms: i64,
        /// What is known of offsets from the start on.
        state_batches: Vec<StateBatch>,
    } tagged {
        /// From the start offset on, so many offsets need no delivery any more (KIP-1226); −1 if not known.
        0 delivery_complete_count: i32 [else -1],
    }
}

impl Value for ShareSnapshotValue {}

message! {
    /// A change of the state of a share group in a partition.
    ShareUpdateValue {
        /// The snapshot that it changes.
        snapshot_epoch: i32,
        /// Epoch of the leader that told it.
        leader_epoch: i32,
        /// Below it everything has been dealt with; −1 if that did not change.
        start_offset: i64,
        /// What changed of offsets from the start on.
        state_batches: Vec<StateBatch>,
    } tagged {
        /// From the start offset on, so many offsets need no delivery any more (KIP-1226); −1 if not known.
        0 delivery_complete_count: i32 [else -1],
    }
}

impl Value for ShareUpdateValue {}

message! {
    /// Offsets in the same state.
    StateBatch {
        /// The first.
        first_offset: i64,
        /// The last.
        last_offset: i64,
        /// 0 available, 2 acknowledged, 4 archived.
        delivery_state: i8,
        /// How often they have been delivered.
        delivery_count: i16,
    }
}
