//! The records of `__consumer_offsets`: keys and values as types, and their codec.
//!
//! It knows fields and versions, not what they mean. Source: the message schemas of Apache Kafka 4.2
//! (`group-coordinator/src/main/resources/common/message/*.json`) and `GroupCoordinatorRecordHelpers`, which says in which
//! versions they are written.

mod classic;
mod schema;

pub use crate::primitives::{DecodeError, EncodeError};
pub use classic::{GroupMetadataValue, MemberMetadata, OffsetCommitKey, OffsetCommitValue};
pub use schema::UnknownRecord;

pub mod txn;

use bytes::Bytes;
use schema::{decode_key, decode_kind, decode_value, encode_key, encode_value, records};

records! {
    /// One record of `__consumer_offsets`. A value that is `None` is a tombstone.
    GroupRecord {
        /// A committed offset. Kafka before 0.9 wrote it as kind 0.
        1 | 0 OffsetCommit(OffsetCommitKey, OffsetCommitValue),
        /// A classic group, by its id.
        2 GroupMetadata(String, GroupMetadataValue),
    }
}

#[cfg(test)]
mod tests;
