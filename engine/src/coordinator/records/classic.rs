//! Committed offsets, of groups of every type, and classic groups.
//!
//! Source: Kafka's schemas `OffsetCommitKey`, `OffsetCommitValue`, `GroupMetadataValue`.

use super::schema::{Field, Value, message};
use crate::primitives::{DecodeError, Reader, Writer};
use bytes::Bytes;
use uuid::Uuid;

message! {
    /// Whose offset, of which partition.
    #[derive(PartialOrd, Ord)]
    OffsetCommitKey {
        /// The group.
        group: String,
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
    }
}

message! {
    /// A committed offset.
    OffsetCommitValue {
        /// The next offset to read.
        offset: i64,
        /// Leader epoch of the last record that was read, −1 if not told; lost where [`Self::expire_timestamp_ms`] is set.
        leader_epoch: i32 [3..=4, else -1],
        /// What the client wrote beside it.
        metadata: String,
        /// When it was committed, milliseconds since the epoch.
        commit_timestamp_ms: i64,
        /// When it expires, milliseconds since the epoch; −1: as the broker is set.
        expire_timestamp_ms: i64 [1, else -1],
    } tagged {
        /// The topic's id, nil if not known; lost where [`Self::expire_timestamp_ms`] is set.
        0 topic_id: Uuid [else Uuid::nil()],
    }
}

impl Value for OffsetCommitValue {
    const VERSION_MAX: u16 = 4;
    const FLEXIBLE_FROM: u16 = 4;

    /// Only version 1 has a time of expiry; it knows neither leader epoch nor topic id.
    fn version_written(&self) -> u16 {
        if self.expire_timestamp_ms == -1 { 4 } else { 1 }
    }
}

message! {
    /// A classic group, as of its last rebalance.
    GroupMetadataValue {
        /// `consumer`, `connect`, or what its members call it; empty for none.
        protocol_type: String,
        /// Its generation.
        generation: i32,
        /// The protocol that its members agreed on.
        protocol: Option<String>,
        /// The member that assigns.
        leader: Option<String>,
        /// When it came into its state, milliseconds since the epoch; −1 if not known.
        current_state_timestamp_ms: i64 [2..=4, else -1],
        /// Its members.
        members: Vec<MemberMetadata>,
    }
}

impl Value for GroupMetadataValue {
    const VERSION_MAX: u16 = 4;
    const FLEXIBLE_FROM: u16 = 4;

    /// Version 4 is for readers alone, so that brokers of Kafka 3.5 can follow on newer ones (KIP-915).
    fn version_written(&self) -> u16 {
        3
    }
}

message! {
    /// A member of a classic group.
    MemberMetadata {
        /// Its id.
        member_id: String,
        /// Its name over restarts, of a static member (KIP-345).
        group_instance_id: Option<String> [3..=4, else None],
        /// Its client's name.
        client_id: String,
        /// Its client's address.
        client_host: String,
        /// How long it may take to join again, milliseconds; −1 if not known.
        rebalance_timeout_ms: i32 [1..=4, else -1],
        /// How long it may be silent, milliseconds.
        session_timeout_ms: i32,
        /// What it told with the group's protocol.
        subscription: Bytes,
        /// What it was assigned.
        assignment: Bytes,
    }
}
