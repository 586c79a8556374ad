//! Consumer groups of the protocol of KIP-848.
//!
//! Source: Kafka's schemas `ConsumerGroup…`.

use super::modern::TopicPartitions;
use super::schema::{Field, Value, message};
use crate::primitives::{DecodeError, Reader, Writer};
use bytes::Bytes;
use uuid::Uuid;

message! {
    /// A consumer group.
    ConsumerGroupMetadataValue {
        /// Its epoch, which grows with each change of its members and their topics.
        epoch: i32,
    } tagged {
        /// Of the topics that it is subscribed to: it differs when they have changed (KIP-1101). 0 if not computed.
        0 metadata_hash: i64 [else 0],
    }
}

impl Value for ConsumerGroupMetadataValue {}

message! {
    /// The topics that a group was subscribed to: Kafka before 4.1 wrote it, later ones delete it (KIP-1101).
    ConsumerGroupPartitionMetadataValue {
        /// The topics.
        topics: Vec<TopicMetadata>,
    }
}

impl Value for ConsumerGroupPartitionMetadataValue {}

message! {
    /// A topic as Kafka before 4.1 remembered it.
    TopicMetadata {
        /// Its id.
        topic_id: Uuid,
        /// Its name.
        topic_name: String,
        /// How many partitions it had.
        num_partitions: i32,
        /// Where they were, if known.
        partition_metadata: Vec<PartitionMetadata>,
    }
}

message! {
    /// A partition as Kafka before 4.1 remembered it.
    PartitionMetadata {
        /// Its number.
        partition: i32,
        /// The racks of its replicas.
        racks: Vec<String>,
    }
}

message! {
    /// A member of a consumer group, as it told of itself.
    ConsumerGroupMemberMetadataValue {
        /// Its name over restarts, of a static member (KIP-345).
        instance_id: Option<String>,
        /// Its rack.
        rack_id: Option<String>,
        /// Its client's name.
        client_id: String,
        /// Its client's address.
        client_host: String,
        /// The topics that it is subscribed to by name; Kafka sorts them.
        subscribed_topic_names: Vec<String>,
        /// The expression by which it is subscribed to others.
        subscribed_topic_regex: Option<String>,
        /// How long it may take to give partitions back, milliseconds; −1 if not told.
        rebalance_timeout_ms: i32,
        /// The assignor that it prefers.
        server_assignor: Option<String>,
    } tagged {
        /// What else it told, if it speaks the classic protocol.
        0 classic_member_metadata: Option<ClassicMemberMetadata> [else None],
    }
}

impl Value for ConsumerGroupMemberMetadataValue {}

message! {
    /// What a member of a consumer group told that speaks the classic protocol.
    ClassicMemberMetadata {
        /// How long it may be silent, milliseconds.
        session_timeout_ms: i32,
        /// The protocols that it supports.
        supported_protocols: Vec<ClassicProtocol>,
    }
}

/// A struct that may be null stands behind a sign: negative for null.
impl Field for Option<ClassicMemberMetadata> {
    const BYTES_MIN: usize = 1;

    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError> {
        if r.i8()? < 0 { Ok(None) } else { ClassicMemberMetadata::read(r, version).map(Some) }
    }

    fn write(&self, w: &mut Writer, version: u16) {
        match self {
            None => w.i8(-1),
            Some(metadata) => {
                w.i8(1);
                metadata.write(w, version);
            }
        }
    }
}

message! {
    /// A protocol of a classic member.
    ClassicProtocol {
        /// Its name.
        name: String,
        /// What the member told with it.
        metadata: Bytes,
    }
}

message! {
    /// What a member of a consumer group has, and what it must give back.
    ConsumerGroupCurrentMemberAssignmentValue {
        /// The epoch that its heartbeats must name.
        member_epoch: i32,
        /// The one before, which it may name if it has not heard of the bump.
        previous_member_epoch: i32,
        /// 0 stable, 1 has partitions to give back, 2 waits for partitions of others (Kafka's `MemberState`).
        state: i8,
        /// What it has.
        assigned_partitions: Vec<TopicPartitions>,
        /// What it must give back.
        partitions_pending_revocation: Vec<TopicPartitions>,
    }
}

impl Value for ConsumerGroupCurrentMemberAssignmentValue {}

message! {
    /// An expression by which members of a group are subscribed.
    #[derive(PartialOrd, Ord)]
    ConsumerGroupRegularExpressionKey {
        /// The group.
        group: String,
        /// The expression.
        regular_expression: String,
    }
}

message! {
    /// What an expression matched.
    ConsumerGroupRegularExpressionValue {
        /// The topics' names; Kafka sorts them.
        topics: Vec<String>,
        /// The version of the metadata image that they were found in.
        version: i64,
        /// When they were found, milliseconds since the epoch.
        timestamp_ms: i64,
    }
}

impl Value for ConsumerGroupRegularExpressionValue {}
