//! Apache Kafka's KRaft metadata records: the types and the codec of what stands in the cluster's metadata log.
//!
//! It knows bytes and fields, not what they mean for the cluster; that is [`super::image`]'s. Source: the message
//! schemas of Apache Kafka 4.2 (`metadata/src/main/resources/common/metadata/*.json`) and `MetadataRecordSerde`.
//!
//! The value of one metadata record:
//!
//! ```text
//! ┌────────────────┬─────────┬─────────┬──────────────────────────────────────────┐
//! │ frame version  │ api key │ version │ message in the flexible encoding (KIP-482)│
//! │ uvarint, 1     │ uvarint │ uvarint │ fields, then a section of tagged fields   │
//! └────────────────┴─────────┴─────────┴──────────────────────────────────────────┘
//! ```

mod broker;
mod cluster;
mod topic;

use bytes::Bytes;

pub use crate::primitives::{DecodeError, EncodeError};
pub use broker::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, FenceBrokerRecord, RegisterBrokerRecord,
    RegisterControllerRecord, UnfenceBrokerRecord, UnregisterBrokerRecord,
};
pub use cluster::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, FeatureLevelRecord, ProducerIdsRecord,
    ZkMigrationStateRecord,
};
pub use topic::{
    ClearElrRecord, LEADER_UNCHANGED, NO_LEADER, PartitionChangeRecord, PartitionRecord, RemoveTopicRecord,
    TopicRecord,
};

use crate::primitives::{Reader, Writer};

/// The only version of the frame in front of a message (`MetadataRecordSerde`).
const FRAME_VERSION: u32 = 1;

/// What a kind of record must offer: its schema's number and versions, and both directions of the codec.
trait Message: Sized {
    /// `apiKey` of the schema.
    const API_KEY: u16;
    /// The highest of the schema's `validVersions`; they all start at 0.
    const VERSION_MAX: u16;

    /// Appends the fields of `version`; `version` is at most [`Self::VERSION_MAX`].
    fn write(&self, w: &mut Writer, version: u16);

    /// Reads the fields of `version`; `version` is at most [`Self::VERSION_MAX`].
    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError>;
}

/// A record of a kind that we do not interpret: kept as it came, so that it survives a restart and an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueRecord {
    /// The schema's `apiKey`.
    pub api_key: u16,
    /// The version the message is written in.
    pub version: u16,
    /// The message behind the frame.
    pub body: Bytes,
}

macro_rules! metadata_records {
    ($( $(#[$doc:meta])* $variant:ident($record:ty) ),+ $(,)?) => {
        /// One metadata record.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum MetadataRecord {
            $( $(#[$doc])* $variant($record), )+
            /// A kind that we keep without interpreting it: ACLs, quotas, credentials, delegation tokens.
            Opaque(OpaqueRecord),
        }

        impl MetadataRecord {
            /// The `apiKey` of the record's schema.
            #[must_use]
            pub fn api_key(&self) -> u16 {
                match self {
                    $( Self::$variant(_) => <$record as Message>::API_KEY, )+
                    Self::Opaque(opaque) => opaque.api_key,
                }
            }

            /// The version of the schema in which [`Self::encode`] writes the record: the highest, as Kafka does
            /// since `metadata.version` 23 (4.0-IV1).
            #[must_use]
            pub fn version(&self) -> u16 {
                match self {
                    $( Self::$variant(_) => <$record as Message>::VERSION_MAX, )+
                    Self::Opaque(opaque) => opaque.version,
                }
            }

            fn write(&self, w: &mut Writer, version: u16) {
                match self {
                    $( Self::$variant(record) => record.write(w, version), )+
                    Self::Opaque(opaque) => w.raw(&opaque.body),
                }
            }

            fn read(r: &mut Reader<'_>, api_key: u16, version: u16) -> Result<Self, DecodeError> {
                match api_key {
                    $( <$record as Message>::API_KEY => {
                        if version > <$record as Message>::VERSION_MAX {
                            return Err(DecodeError::UnsupportedVersion { api_key, version });
                        }
                        Ok(Self::$variant(<$record as Message>::read(r, version)?))
                    } )+
                    _ => Ok(Self::Opaque(OpaqueRecord { api_key, version, body: Bytes::copy_from_slice(r.rest()) })),
                }
            }
        }

        $( impl From<$record> for MetadataRecord {
            fn from(record: $record) -> Self {
                Self::$variant(record)
            }
        } )+

        #[cfg(test)]
        const VERSIONS: &[(u16, u16)] =
            &[ $( (<$record as Message>::API_KEY, <$record as Message>::VERSION_MAX), )+ ];
    };
}

metadata_records! {
    /// A broker (or a new incarnation of it) joined, fenced at first.
    RegisterBroker(RegisterBrokerRecord),
    /// A broker was taken out of the cluster for good.
    UnregisterBroker(UnregisterBrokerRecord),
    /// A topic was created; its partitions follow.
    Topic(TopicRecord),
    /// A partition in full.
    Partition(PartitionRecord),
    /// One configuration of a topic, a broker or the cluster was set or deleted.
    Config(ConfigRecord),
    /// Some fields of a partition changed.
    PartitionChange(PartitionChangeRecord),
    /// A broker may not lead (the kind of old logs; today a registration change).
    FenceBroker(FenceBrokerRecord),
    /// A broker may lead (the kind of old logs; today a registration change).
    UnfenceBroker(UnfenceBrokerRecord),
    /// A topic and all its partitions were deleted.
    RemoveTopic(RemoveTopicRecord),
    /// The finalized level of a feature, `metadata.version` foremost.
    FeatureLevel(FeatureLevelRecord),
    /// A block of producer ids was handed out.
    ProducerIds(ProducerIdsRecord),
    /// A broker was fenced or unfenced, shuts down, or lost a log directory.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    /// Nothing: it keeps the log moving.
    NoOp(NoOpRecord),
    /// A leftover of migrations from ZooKeeper; Kafka 4 reads it and does nothing.
    ZkMigrationState(ZkMigrationStateRecord),
    /// The records up to the next end or abort take effect together (KIP-868).
    BeginTransaction(BeginTransactionRecord),
    /// The open transaction takes effect.
    EndTransaction(EndTransactionRecord),
    /// The open transaction never happened.
    AbortTransaction(AbortTransactionRecord),
    /// A controller told its endpoints (KIP-919).
    RegisterController(RegisterControllerRecord),
    /// Eligible leader replicas of a topic, or of all, are forgotten (KIP-966).
    ClearElr(ClearElrRecord),
}

pub use cluster::{EndTransactionRecord, NoOpRecord};

impl MetadataRecord {
    /// The record as the value of a record in the metadata log, in the version that Kafka 4.2 writes.
    ///
    /// # Errors
    /// A string longer than the 32,767 bytes that a Kafka string may have, or a field that no version of its kind
    /// carries.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        self.encode_at(self.version())
    }

    /// As [`Self::encode`], in a given version.
    ///
    /// # Errors
    /// As [`Self::encode`]; also a version that the kind has not, or that cannot carry what the record holds.
    pub fn encode_at(&self, version: u16) -> Result<Bytes, EncodeError> {
        if version > self.version() {
            return Err(EncodeError::UnsupportedVersion { api_key: self.api_key(), version });
        }
        let mut w = Writer::new();
        w.uvarint(FRAME_VERSION);
        w.uvarint(u32::from(self.api_key()));
        w.uvarint(u32::from(version));
        self.write(&mut w, version);
        w.finish()
    }

    /// The record in the value of one record of the metadata log.
    ///
    /// Tagged fields that Kafka 4.2 does not define are skipped, as KIP-482 wants. Memory taken is bounded by a small
    /// multiple of `value`'s length.
    ///
    /// # Errors
    /// Whatever is not exactly one record: see [`DecodeError`].
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(value);
        let frame_version = r.uvarint()?;
        if frame_version != FRAME_VERSION {
            return Err(DecodeError::FrameVersion(frame_version));
        }
        let api_key = frame_number(r.uvarint()?)?;
        let version = frame_number(r.uvarint()?)?;
        let record = Self::read(&mut r, api_key, version)?;
        r.finish()?;
        Ok(record)
    }
}

/// Api keys and versions are `int16` in Kafka's frames: what lies above is no record.
fn frame_number(number: u32) -> Result<u16, DecodeError> {
    match u16::try_from(number) {
        Ok(number) if number <= i16::MAX.unsigned_abs() => Ok(number),
        _ => Err(DecodeError::FrameNumber(number)),
    }
}

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
mod tests;
