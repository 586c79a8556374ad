//! The records of `__consumer_offsets`: keys and values as types, and their codec.
//!
//! It knows fields and versions, not what they mean. Source: the message schemas of Apache Kafka 4.2
//! (`group-coordinator/src/main/resources/common/message/*.json`) and `CoordinatorRecordSerde`: a key or value is its
//! schema's version as `i16`, then the message; the version of a key is the kind of the record.

pub mod txn;

use bytes::Bytes;
use uuid::Uuid;

/// Whose offset, of which partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetCommitKey {
    /// The group.
    pub group: String,
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitValue {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record that was read, −1 if not told.
    pub leader_epoch: i32,
    /// What the client wrote beside it.
    pub metadata: String,
    /// When it was committed, milliseconds since the epoch.
    pub commit_timestamp_ms: i64,
    /// When it expires, milliseconds since the epoch; −1: as the broker is set.
    pub expire_timestamp_ms: i64,
    /// The topic's id, nil if not known.
    pub topic_id: Uuid,
}

/// A classic group, as of its last rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadataValue {
    /// `consumer`, `connect`, or what its members call it; empty for none.
    pub protocol_type: String,
    /// Its generation.
    pub generation: i32,
    /// The protocol that its members agreed on.
    pub protocol: Option<String>,
    /// The member that assigns.
    pub leader: Option<String>,
    /// When it came into its state, milliseconds since the epoch; −1 if not known.
    pub current_state_timestamp_ms: i64,
    /// Its members.
    pub members: Vec<MemberMetadata>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id.
    pub member_id: String,
    /// Its name over restarts, of a static member (KIP-345).
    pub group_instance_id: Option<String>,
    /// Its client's name.
    pub client_id: String,
    /// Its client's address.
    pub client_host: String,
    /// How long it may take to join again, milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent, milliseconds.
    pub session_timeout_ms: i32,
    /// What it told with the group's protocol.
    pub subscription: Bytes,
    /// What it was assigned.
    pub assignment: Bytes,
}

/// One record of `__consumer_offsets`. A value that is `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// A committed offset.
    OffsetCommit(OffsetCommitKey, Option<OffsetCommitValue>),
    /// A classic group, by its id.
    GroupMetadata(String, Option<GroupMetadataValue>),
}
