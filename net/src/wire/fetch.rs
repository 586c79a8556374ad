//! Fetch requests, and their answers as ropes: our encoder writes everything but the records into one small buffer and
//! puts the records' own slices between the pieces of it, so that no record is copied on its way to a socket. Versions
//! 4..=18; topics have names up to 12 and ids from 13. Knows nothing of what records are. Source: Kafka's
//! FetchResponse.json; KIP-227 (sessions), KIP-392 (preferred replica), KIP-595 (divergence), KIP-951 (leader hints).

use bytes::Bytes;
use kafka_protocol::messages::FetchRequest;

use super::codec;
use super::produce::{LeaderHint, NodeEndpoint, write_endpoints, write_leader, write_topic_ref};
use super::rope::Rope;
use super::topic::TopicRef;
use super::writer::Writer;
use crate::error::{ErrorCode, WireError};

/// First version that is answered here.
pub const VERSION_MIN: i16 = 4;
/// Last version that is answered here.
pub const VERSION_MAX: i16 = 18;
const API_KEY: i16 = 1;
const FLEXIBLE_SINCE: i16 = 12;
const TOPIC_IDS_SINCE: i16 = 13;

/// Parses a request's body. Strings of the result share the frame's memory: copy them before storing them. `decoded_bytes_max` bounds the
/// heap that the result may take besides.
///
/// # Errors
/// As [`codec::decode_request`].
pub fn parse(api_version: i16, body: Bytes, decoded_bytes_max: u64) -> Result<FetchRequest, WireError> {
    codec::decode_body(API_KEY, api_version, body, decoded_bytes_max)
}

/// The answer to a fetch request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchResponse {
    /// How long the consumer was held back for its quota.
    pub throttle_time_ms: i32,
    /// Error of the whole request; sent from version 7.
    pub error: ErrorCode,
    /// The fetch session, 0 for none; sent from version 7, and must be 0 below.
    pub session_id: i32,
    /// What was read.
    pub topics: Vec<FetchedTopic>,
    /// Where the leaders live that the partitions name; sent from version 16.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// What was read of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic as the request named it.
    pub topic: TopicRef,
    /// Its partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// What was read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition.
    pub index: i32,
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// High watermark; −1 after an error.
    pub high_watermark: i64,
    /// Last stable offset; −1 when unknown.
    pub last_stable_offset: i64,
    /// First offset of the log; −1 when unknown. Sent from version 5.
    pub log_start_offset: i64,
    /// Where the reader's log departs from this one; sent from version 12.
    pub diverging_epoch: Option<EpochEnd>,
    /// Who leads the partition; sent from version 12.
    pub current_leader: Option<LeaderHint>,
    /// The snapshot to load instead of a log that begins later; sent from version 12.
    pub snapshot_id: Option<EpochEnd>,
    /// Aborted transactions within the records; `None` unless the reader wants committed ones only.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica to read from instead, −1 for none; sent from version 11, and must be −1 below.
    pub preferred_read_replica: i32,
    /// The records, in as many slices as they lie in.
    pub records: Vec<Bytes>,
}

impl FetchedPartition {
    /// A partition without records, and so far without an error or offsets.
    pub fn empty(index: i32) -> Self {
        Self {
            index,
            error: ErrorCode::None,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: Vec::new(),
        }
    }

    /// A partition that could not be read.
    pub fn failed(index: i32, error: ErrorCode) -> Self {
        Self { error, ..Self::empty(index) }
    }
}

/// An epoch and the offset behind its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The leader epoch.
    pub epoch: i32,
    /// The offset behind its last record.
    pub end_offset: i64,
}

/// A transaction whose records a committed reader leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Its first offset in the partition.
    pub first_offset: i64,
}

/// Encodes an answer as a whole frame, length prefix and header included, in pieces for a vectored send: the records'
/// slices as they were given, without copies, and what lies between them. No piece is empty.
///
/// # Errors
/// [`WireError::Unencodable`] when a field has no form in this version or the frame would pass 2 GiB;
/// [`WireError::UnsupportedVersion`].
pub fn encode_response(
    correlation_id: i32,
    api_version: i16,
    response: FetchResponse,
) -> Result<Vec<Bytes>, WireError> {
    if !(VERSION_MIN..=VERSION_MAX).contains(&api_version) {
        return Err(WireError::UnsupportedVersion { api_key: API_KEY, api_version });
    }
    let capacity = response_bytes_hint(&response);
    let writer = Writer::response(correlation_id, api_version >= FLEXIBLE_SINCE, capacity);
    let mut encoder = Encoder { rope: Rope::new(writer), version: api_version };
    encoder.response(response)?;
    encoder.rope.finish()
}

/// About how large an answer is without its records, so that its buffer seldom grows.
fn response_bytes_hint(response: &FetchResponse) -> usize {
    let partitions: usize = response.topics.iter().map(|topic| topic.partitions.len()).sum();
    32 + response.topics.len() * 64 + partitions * 64
}

/// An answer under construction.
struct Encoder {
    rope: Rope,
    version: i16,
}

impl Encoder {
    fn response(&mut self, response: FetchResponse) -> Result<(), WireError> {
        self.rope.writer.i32(response.throttle_time_ms);
        if self.version >= 7 {
            self.rope.writer.i16(response.error.code());
            self.rope.writer.i32(response.session_id);
        } else if response.session_id != 0 {
            return Err(codec::unencodable("fetch session below version 7"));
        }
        self.rope.writer.length(response.topics.len())?;
        for topic in response.topics {
            self.topic(topic)?;
        }
        if self.version >= 16 && !response.node_endpoints.is_empty() {
            self.rope.writer.uvarint(1);
            return self.rope.writer.tagged(0, |writer| write_endpoints(writer, &response.node_endpoints));
        }
        self.rope.writer.no_tags();
        Ok(())
    }

    fn topic(&mut self, topic: FetchedTopic) -> Result<(), WireError> {
        write_topic_ref(&mut self.rope.writer, &topic.topic, self.version >= TOPIC_IDS_SINCE)?;
        self.rope.writer.length(topic.partitions.len())?;
        for partition in topic.partitions {
            self.partition(partition)?;
        }
        self.rope.writer.no_tags();
        Ok(())
    }

    fn partition(&mut self, partition: FetchedPartition) -> Result<(), WireError> {
        self.rope.writer.i32(partition.index);
        self.rope.writer.i16(partition.error.code());
        self.rope.writer.i64(partition.high_watermark);
        self.rope.writer.i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.rope.writer.i64(partition.log_start_offset);
        }
        self.aborted_transactions(partition.aborted_transactions.as_deref())?;
        if self.version >= 11 {
            self.rope.writer.i32(partition.preferred_read_replica);
        } else if partition.preferred_read_replica != -1 {
            return Err(codec::unencodable("preferred read replica below version 11"));
        }
        let hints = (partition.diverging_epoch, partition.current_leader, partition.snapshot_id);
        self.rope.records(partition.records)?;
        match self.version {
            FLEXIBLE_SINCE.. => self.hints(hints),
            _ => Ok(()),
        }
    }

    fn aborted_transactions(&mut self, aborted: Option<&[AbortedTransaction]>) -> Result<(), WireError> {
        let Some(aborted) = aborted else {
            self.rope.writer.null_length();
            return Ok(());
        };
        self.rope.writer.length(aborted.len())?;
        for transaction in aborted {
            self.rope.writer.i64(transaction.producer_id);
            self.rope.writer.i64(transaction.first_offset);
            self.rope.writer.no_tags();
        }
        Ok(())
    }

    /// The tagged fields of a partition, each left out where it says nothing.
    fn hints(
        &mut self,
        (diverging_epoch, current_leader, snapshot_id): (
            Option<EpochEnd>,
            Option<LeaderHint>,
            Option<EpochEnd>,
        ),
    ) -> Result<(), WireError> {
        let present =
            [diverging_epoch.is_some(), current_leader.is_some(), snapshot_id.is_some()].map(u32::from);
        self.rope.writer.uvarint(present.iter().sum());
        if let Some(end) = diverging_epoch {
            self.rope.writer.tagged(0, |writer| write_diverging_epoch(writer, end))?;
        }
        if let Some(leader) = current_leader {
            self.rope.writer.tagged(1, |writer| write_leader(writer, leader))?;
        }
        if let Some(end) = snapshot_id {
            self.rope.writer.tagged(2, |writer| write_snapshot_id(writer, end))?;
        }
        Ok(())
    }
}

fn write_diverging_epoch(writer: &mut Writer, end: EpochEnd) -> Result<(), WireError> {
    writer.i32(end.epoch);
    writer.i64(end.end_offset);
    writer.no_tags();
    Ok(())
}

/// The same two as a diverging epoch, in the other order.
fn write_snapshot_id(writer: &mut Writer, end: EpochEnd) -> Result<(), WireError> {
    writer.i64(end.end_offset);
    writer.i32(end.epoch);
    writer.no_tags();
    Ok(())
}
