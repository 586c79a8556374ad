//! Produce requests and their answers, by our own parsers and encoders: a request's records come out as slices of the
//! frame, and go into one, uncopied and undecoded. Versions 3..=13; topics have names up to 12 and ids from 13. Knows nothing of what
//! records are. Source: Kafka's ProduceRequest.json and ProduceResponse.json; KIP-467 (record errors), KIP-951 (leader
//! hints).
//!
//! ```text
//! transactional_id | acks i16 | timeout_ms i32 | [ topic | [ index i32 | records ] ]
//! ```
//! Lengths and counts are compact, and each struct ends in tagged fields, from version 9.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::guard::{GuardError, GuardFault};
use super::reader::{ReadError, Reader};
use super::rope::Rope;
use super::topic::TopicRef;
use super::writer::Writer;
use crate::error::{ErrorCode, WireError};

/// First version that is parsed here.
pub const VERSION_MIN: i16 = 3;
/// Last version that is parsed here.
pub const VERSION_MAX: i16 = 13;
const FLEXIBLE_SINCE: i16 = 9;
const TOPIC_IDS_SINCE: i16 = 13;

/// A produce request; its strings and records share the frame's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceRequest {
    /// Of a transactional producer.
    pub transactional_id: Option<StrBytes>,
    /// What the producer waits for, as sent: 0, 1 and −1 are the valid ones.
    pub acks: i16,
    /// How long it waits for the other replicas, in milliseconds, as sent.
    pub timeout_ms: i32,
    /// What is to be appended.
    pub topics: Vec<ProduceTopic>,
}

/// One topic of a produce request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceTopic {
    /// Which topic.
    pub topic: TopicRef,
    /// Its partitions.
    pub partitions: Vec<ProducePartition>,
}

/// What is to be appended to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducePartition {
    /// The partition, as sent.
    pub index: i32,
    /// The record batches, unexamined; `None` where the producer sent null.
    pub records: Option<Bytes>,
}

/// Parses a request's body; bytes behind it are ignored, as in Kafka. `decoded_bytes_limit` bounds the heap that the parsed form may take besides the frame.
///
/// # Errors
/// [`WireError::Guard`] for a body that breaks its schema, [`WireError::UnsupportedVersion`], and
/// [`WireError::Undecodable`] for a name that is not UTF-8.
pub fn parse(api_version: i16, body: &Bytes, decoded_bytes_limit: u64) -> Result<ProduceRequest, WireError> {
    if !(VERSION_MIN..=VERSION_MAX).contains(&api_version) {
        return Err(WireError::UnsupportedVersion { api_key: 0, api_version });
    }
    let mut parser = Parser {
        body,
        reader: Reader::new(body),
        version: api_version,
        flexible: api_version >= FLEXIBLE_SINCE,
        decoded_bytes: 0,
        decoded_bytes_limit,
    };
    parser.request()
}

struct Parser<'a> {
    body: &'a Bytes,
    reader: Reader<'a>,
    version: i16,
    flexible: bool,
    decoded_bytes: u64,
    decoded_bytes_limit: u64,
}

impl Parser<'_> {
    fn request(&mut self) -> Result<ProduceRequest, WireError> {
        let transactional_id = self.text("transactional_id")?;
        let acks = self.reader.i16();
        let acks = self.read("acks", acks)?;
        let timeout_ms = self.reader.i32();
        let timeout_ms = self.read("timeout_ms", timeout_ms)?;
        let topics = self.list("topic_data", self.topic_bytes_min(), Self::topic)?;
        self.skip_tags()?;
        Ok(ProduceRequest { transactional_id, acks, timeout_ms, topics })
    }

    fn topic(&mut self) -> Result<ProduceTopic, WireError> {
        let topic = if self.version >= TOPIC_IDS_SINCE {
            let id = self.reader.uuid();
            TopicRef::Id(self.read("topic_id", id)?)
        } else {
            TopicRef::Name(self.text("name")?.ok_or(self.fault("name", GuardFault::Null))?)
        };
        let partition_bytes_min = if self.flexible { 6 } else { 8 };
        let partitions = self.list("partition_data", partition_bytes_min, Self::partition)?;
        self.skip_tags()?;
        Ok(ProduceTopic { topic, partitions })
    }

    fn partition(&mut self) -> Result<ProducePartition, WireError> {
        let index = self.reader.i32();
        let index = self.read("index", index)?;
        let length = self.reader.length(self.flexible);
        let records = match self.read("records", length)? {
            Some(length) => Some(self.slice("records", length)?),
            None => None,
        };
        self.skip_tags()?;
        Ok(ProducePartition { index, records })
    }

    /// The fewest bytes that a topic takes: its name's length or its id, its count of partitions, its count of tags.
    fn topic_bytes_min(&self) -> usize {
        match self.version {
            TOPIC_IDS_SINCE.. => 18,
            FLEXIBLE_SINCE.. => 3,
            _ => 6,
        }
    }

    /// An array whose elements take at least `element_bytes_min` on the wire each.
    fn list<T>(
        &mut self,
        field: &'static str,
        element_bytes_min: usize,
        element: impl Fn(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = self.reader.length(self.flexible);
        let count = self.read(field, count)?.ok_or(self.fault(field, GuardFault::Null))?;
        let remaining = self.reader.remaining();
        if count > remaining / element_bytes_min {
            return Err(self.fault(field, GuardFault::CountTooLarge { count, remaining }));
        }
        self.decoded_bytes += (count * size_of::<T>()) as u64;
        if self.decoded_bytes > self.decoded_bytes_limit {
            let decoded_bytes_limit = self.decoded_bytes_limit;
            return Err(self.fault(field, GuardFault::DecodedTooLarge { decoded_bytes_limit }));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(element(self)?);
        }
        Ok(items)
    }

    fn text(&mut self, field: &'static str) -> Result<Option<StrBytes>, WireError> {
        let length = self.reader.text_length(self.flexible);
        let Some(length) = self.read(field, length)? else {
            return Ok(None);
        };
        let bytes = self.slice(field, length)?;
        StrBytes::from_utf8(bytes).map(Some).map_err(super::codec::undecodable)
    }

    fn slice(&mut self, field: &'static str, length: usize) -> Result<Bytes, WireError> {
        let start = self.reader.position();
        let taken = self.reader.take(length).map(|_| ());
        self.read(field, taken)?;
        Ok(self.body.slice(start..start + length))
    }

    fn skip_tags(&mut self) -> Result<(), WireError> {
        if !self.flexible {
            return Ok(());
        }
        let skipped = self.reader.skip_tagged_fields();
        self.read("tags", skipped)
    }

    fn read<T>(&self, field: &'static str, value: Result<T, ReadError>) -> Result<T, WireError> {
        value.map_err(|error| self.fault(field, error.into()))
    }

    fn fault(&self, field: &'static str, fault: GuardFault) -> WireError {
        WireError::Guard(GuardError { at: self.reader.position(), field, fault })
    }
}

/// Encodes a request as a whole frame, length prefix and header included, in pieces for a vectored send: the records as they were given,
/// without copies, and what lies between them. No piece is empty.
///
/// # Errors
/// [`WireError::Unencodable`] for strings above 32,767 bytes, a topic reference that the version cannot carry, records that are null, and
/// a frame that would pass 2 GiB; [`WireError::UnsupportedVersion`].
pub fn encode_request(
    correlation_id: i32,
    client_id: &str,
    api_version: i16,
    request: ProduceRequest,
) -> Result<Vec<Bytes>, WireError> {
    if !(VERSION_MIN..=VERSION_MAX).contains(&api_version) {
        return Err(WireError::UnsupportedVersion { api_key: 0, api_version });
    }
    let flexible = api_version >= FLEXIBLE_SINCE;
    let mut rope = Rope::new(Writer::request(0, api_version, correlation_id, client_id, flexible)?);
    rope.writer.nullable_text(request.transactional_id.as_deref())?;
    rope.writer.i16(request.acks);
    rope.writer.i32(request.timeout_ms);
    rope.writer.length(request.topics.len())?;
    for topic in request.topics {
        write_topic_ref(&mut rope.writer, &topic.topic, api_version >= TOPIC_IDS_SINCE)?;
        rope.writer.length(topic.partitions.len())?;
        for partition in topic.partitions {
            rope.writer.i32(partition.index);
            rope.records(Some(partition.records.ok_or_else(|| super::codec::unencodable("no records"))?))?;
            rope.writer.no_tags();
        }
        rope.writer.no_tags();
    }
    rope.writer.no_tags();
    rope.finish()
}

/// The answer to a produce request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProduceResponse {
    /// What became of each topic.
    pub topics: Vec<TopicOutcome>,
    /// How long the producer was held back for its quota.
    pub throttle_time_ms: i32,
    /// Where the leaders live that the partitions name; sent from version 10.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// What became of one topic's partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOutcome {
    /// The topic as the request named it.
    pub topic: TopicRef,
    /// Its partitions.
    pub partitions: Vec<PartitionOutcome>,
}

/// What became of one partition's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOutcome {
    /// The partition.
    pub index: i32,
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// Offset of the first record; −1 after an error.
    pub base_offset: i64,
    /// When the broker stamped the records; −1 unless it does.
    pub log_append_time_ms: i64,
    /// First offset of the log; −1 when unknown. Sent from version 5.
    pub log_start_offset: i64,
    /// The records at fault; sent from version 8.
    pub record_errors: Vec<RecordError>,
    /// What is wrong with the whole batch; sent from version 8.
    pub error_message: Option<String>,
    /// Where to produce instead; sent from version 10.
    pub current_leader: Option<LeaderHint>,
}

impl PartitionOutcome {
    /// An outcome without an error.
    pub fn appended(index: i32, base_offset: i64, log_append_time_ms: i64, log_start_offset: i64) -> Self {
        Self { base_offset, log_append_time_ms, log_start_offset, ..Self::failed(index, ErrorCode::None) }
    }

    /// An outcome that is an error and nothing else.
    pub fn failed(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            error_message: None,
            current_leader: None,
        }
    }
}

/// A record that kept its batch from being appended (KIP-467).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Its index in the batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: Option<String>,
}

/// Who leads a partition (KIP-951).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderHint {
    /// Its broker id.
    pub leader_id: i32,
    /// Its epoch.
    pub leader_epoch: i32,
}

/// Where a broker listens (KIP-951).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// Its broker id.
    pub node_id: i32,
    /// Its host name or address.
    pub host: String,
    /// Its port, 1..=65535.
    pub port: i32,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// Encodes an answer as a whole frame, length prefix and header included.
///
/// # Errors
/// [`WireError::Unencodable`] for strings above 32,767 bytes and a topic reference that the version cannot carry;
/// [`WireError::UnsupportedVersion`].
pub fn encode_response(
    correlation_id: i32,
    api_version: i16,
    response: &ProduceResponse,
) -> Result<Bytes, WireError> {
    if !(VERSION_MIN..=VERSION_MAX).contains(&api_version) {
        return Err(WireError::UnsupportedVersion { api_key: 0, api_version });
    }
    let mut writer =
        Writer::response(correlation_id, api_version >= FLEXIBLE_SINCE, response_bytes_hint(response));
    writer.length(response.topics.len())?;
    for topic in &response.topics {
        write_topic(&mut writer, api_version, topic)?;
    }
    writer.i32(response.throttle_time_ms);
    if api_version >= 10 && !response.node_endpoints.is_empty() {
        writer.uvarint(1);
        writer.tagged(0, |writer| write_endpoints(writer, &response.node_endpoints))?;
    } else {
        writer.no_tags();
    }
    Ok(writer.finish(0)?.freeze())
}

/// About how large an answer is, so that its buffer seldom grows.
fn response_bytes_hint(response: &ProduceResponse) -> usize {
    let partitions: usize = response.topics.iter().map(|topic| topic.partitions.len()).sum();
    32 + response.topics.len() * 64 + partitions * 48
}

fn write_topic(writer: &mut Writer, version: i16, topic: &TopicOutcome) -> Result<(), WireError> {
    write_topic_ref(writer, &topic.topic, version >= TOPIC_IDS_SINCE)?;
    writer.length(topic.partitions.len())?;
    for partition in &topic.partitions {
        write_partition(writer, version, partition)?;
    }
    writer.no_tags();
    Ok(())
}

fn write_partition(writer: &mut Writer, version: i16, partition: &PartitionOutcome) -> Result<(), WireError> {
    writer.i32(partition.index);
    writer.i16(partition.error.code());
    writer.i64(partition.base_offset);
    writer.i64(partition.log_append_time_ms);
    if version >= 5 {
        writer.i64(partition.log_start_offset);
    }
    if version >= 8 {
        writer.length(partition.record_errors.len())?;
        for error in &partition.record_errors {
            writer.i32(error.batch_index);
            writer.nullable_text(error.message.as_deref())?;
            writer.no_tags();
        }
        writer.nullable_text(partition.error_message.as_deref())?;
    }
    match partition.current_leader {
        Some(leader) if version >= 10 => {
            writer.uvarint(1);
            writer.tagged(0, |writer| write_leader(writer, leader))
        }
        _ => {
            writer.no_tags();
            Ok(())
        }
    }
}

/// Writes a topic by id or by name, as the version wants it; shared with fetch.
pub(crate) fn write_topic_ref(writer: &mut Writer, topic: &TopicRef, by_id: bool) -> Result<(), WireError> {
    match topic {
        TopicRef::Id(id) if by_id => {
            writer.uuid(*id);
            Ok(())
        }
        TopicRef::Name(name) if !by_id => writer.text(name),
        TopicRef::Id(_) | TopicRef::Name(_) => {
            Err(super::codec::unencodable("topic named by what its version does not carry"))
        }
    }
}

/// Writes a leader hint; shared with fetch.
pub(crate) fn write_leader(writer: &mut Writer, leader: LeaderHint) -> Result<(), WireError> {
    writer.i32(leader.leader_id);
    writer.i32(leader.leader_epoch);
    writer.no_tags();
    Ok(())
}

/// Writes the list of endpoints; shared with fetch.
pub(crate) fn write_endpoints(writer: &mut Writer, endpoints: &[NodeEndpoint]) -> Result<(), WireError> {
    writer.length(endpoints.len())?;
    for endpoint in endpoints {
        writer.i32(endpoint.node_id);
        writer.text(&endpoint.host)?;
        writer.i32(endpoint.port);
        writer.nullable_text(endpoint.rack.as_deref())?;
        writer.no_tags();
    }
    Ok(())
}
