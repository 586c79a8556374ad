//! The records of `__consumer_offsets`: keys and values as types, and their codec.
//!
//! It knows fields and versions, not what they mean. Source: the message schemas of Apache Kafka 4.2
//! (`group-coordinator/src/main/resources/common/message/*.json`) and `GroupCoordinatorRecordHelpers`, which says in which
//! versions they are written. The records of the other internal topics are in [`transaction_log`] and [`share_state`].

mod classic;
mod consumer;
mod modern;
mod schema;
mod share;
pub mod share_state;
pub mod transaction_log;
pub mod txn;

pub use crate::primitives::{DecodeError, EncodeError};
pub use classic::{GroupMetadataValue, MemberMetadata, OffsetCommitKey, OffsetCommitValue};
pub use consumer::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue, PartitionMetadata, TopicMetadata,
};
pub use modern::{MemberKey, TargetAssignmentMemberValue, TargetAssignmentMetadataValue, TopicPartitions};
pub use schema::UnknownRecord;
pub use share::{
    NamedTopic, NamedTopicPartitions, ShareGroupCurrentMemberAssignmentValue, ShareGroupMemberMetadataValue,
    ShareGroupMetadataValue, ShareGroupStatePartitionMetadataValue,
};

use bytes::Bytes;
use schema::{decode_key, decode_kind, decode_value, encode_key, encode_value, records};

records! {
    /// One record of `__consumer_offsets`. A value that is `None` is a tombstone.
    GroupRecord {
        /// A committed offset. Kafka before 0.9 wrote it as kind 0.
        1 | 0 OffsetCommit(OffsetCommitKey, OffsetCommitValue),
        /// A classic group, by its id.
        2 GroupMetadata(String, GroupMetadataValue),
        /// A consumer group, by its id.
        3 ConsumerGroupMetadata(String, ConsumerGroupMetadataValue),
        /// The topics of a consumer group, by its id: of Kafka before 4.1, to be deleted.
        4 ConsumerGroupPartitionMetadata(String, ConsumerGroupPartitionMetadataValue),
        /// A member of a consumer group.
        5 ConsumerGroupMemberMetadata(MemberKey, ConsumerGroupMemberMetadataValue),
        /// The target assignment of a consumer group, by its id.
        6 ConsumerGroupTargetAssignmentMetadata(String, TargetAssignmentMetadataValue),
        /// What a member of a consumer group is to have.
        7 ConsumerGroupTargetAssignmentMember(MemberKey, TargetAssignmentMemberValue),
        /// What a member of a consumer group has.
        8 ConsumerGroupCurrentMemberAssignment(MemberKey, ConsumerGroupCurrentMemberAssignmentValue),
        /// A member of a share group.
        10 ShareGroupMemberMetadata(MemberKey, ShareGroupMemberMetadataValue),
        /// A share group, by its id.
        11 ShareGroupMetadata(String, ShareGroupMetadataValue),
        /// The target assignment of a share group, by its id.
        12 ShareGroupTargetAssignmentMetadata(String, TargetAssignmentMetadataValue),
        /// What a member of a share group is to have.
        13 ShareGroupTargetAssignmentMember(MemberKey, TargetAssignmentMemberValue),
        /// What a member of a share group has.
        14 ShareGroupCurrentMemberAssignment(MemberKey, ShareGroupCurrentMemberAssignmentValue),
        /// The partitions of which a share group has state, by its id.
        15 ShareGroupStatePartitionMetadata(String, ShareGroupStatePartitionMetadataValue),
        /// An expression by which members of a consumer group are subscribed.
        16 ConsumerGroupRegularExpression(ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue),
    }
}

#[cfg(test)]
mod tests;
