//! Share groups (KIP-932).
//!
//! Source: Kafka's schemas `ShareGroup…`.

use super::modern::TopicPartitions;
use super::schema::{Field, Value, message};
use crate::primitives::{DecodeError, Reader, Writer};
use uuid::Uuid;

message! {
    /// A member of a share group, as it told of itself.
    ShareGroupMemberMetadataValue {
        /// Its rack.
        rack_id: Option<String>,
        /// Its client's name.
        client_id: String,
        /// Its client's address.
        client_host: String,
        /// The topics that it is subscribed to; Kafka sorts them.
        subscribed_topic_names: Vec<String>,
    }
}

impl Value for ShareGroupMemberMetadataValue {}

message! {
    /// A share group.
    ShareGroupMetadataValue {
        /// Its epoch, which grows with each change of its members and their topics.
        epoch: i32,
        /// Of the topics that it is subscribed to: it differs when they have changed (KIP-1101).
        metadata_hash: i64,
    }
}

impl Value for ShareGroupMetadataValue {}

message! {
    /// What a member of a share group has.
    ShareGroupCurrentMemberAssignmentValue {
        /// The epoch that its heartbeats must name.
        member_epoch: i32,
        /// The one before, which it may name if it has not heard of the bump.
        previous_member_epoch: i32,
        /// 0: stable; a member of a share group knows no other state (Kafka's `MemberState`).
        state: i8,
        /// What it has.
        assigned_partitions: Vec<TopicPartitions>,
    }
}

impl Value for ShareGroupCurrentMemberAssignmentValue {}

message! {
    /// Of which partitions a share group has state with the share coordinator.
    ShareGroupStatePartitionMetadataValue {
        /// Those whose state is being set up.
        initializing_topics: Vec<NamedTopicPartitions>,
        /// Those that have state.
        initialized_topics: Vec<NamedTopicPartitions>,
        /// Topics whose state is being deleted.
        deleting_topics: Vec<NamedTopic>,
    }
}

impl Value for ShareGroupStatePartitionMetadataValue {}

message! {
    /// Partitions of a topic, with its name (`TopicPartitionsInfo`).
    NamedTopicPartitions {
        /// The topic's id.
        topic_id: Uuid,
        /// Its name.
        topic_name: String,
        /// The partitions' numbers.
        partitions: Vec<i32>,
    }
}

message! {
    /// A topic by id and name (`TopicInfo`).
    NamedTopic {
        /// Its id.
        topic_id: Uuid,
        /// Its name.
        topic_name: String,
    }
}
