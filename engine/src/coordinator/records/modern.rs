//! What consumer groups (KIP-848) and share groups (KIP-932) have in common: members, assignments.
//!
//! Source: Kafka's schemas `ConsumerGroup…` and `ShareGroup…`, where these have the same fields in both.

use super::schema::{Field, Value, message};
use crate::primitives::{DecodeError, Reader, Writer};
use uuid::Uuid;

message! {
    /// A member of a group.
    #[derive(PartialOrd, Ord)]
    MemberKey {
        /// The group.
        group: String,
        /// The member's id.
        member_id: String,
    }
}

message! {
    /// Partitions of a topic.
    TopicPartitions {
        /// The topic's id.
        topic_id: Uuid,
        /// The partitions' numbers.
        partitions: Vec<i32>,
    }
}

message! {
    /// How far a group's target assignment is.
    TargetAssignmentMetadataValue {
        /// The epoch of the group that it was computed for.
        assignment_epoch: i32,
    }
}

impl Value for TargetAssignmentMetadataValue {}

message! {
    /// What a member is to have in the end.
    TargetAssignmentMemberValue {
        /// Its partitions.
        topic_partitions: Vec<TopicPartitions>,
    }
}

impl Value for TargetAssignmentMemberValue {}
