//! OffsetCommit and OffsetFetch in version 10, which names topics by id and which the decoder's crate lacks: into the crate's own types,
//! which have the field, and from them. Every other version is the crate's. The guard has passed what is read here. Source: Kafka's
//! OffsetCommitRequest.json, OffsetCommitResponse.json, OffsetFetchRequest.json and OffsetFetchResponse.json; KIP-848.

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponsePartitions;
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::codec::undecodable;
use super::reader::{ReadError, Reader};
use super::writer::Writer;
use crate::error::WireError;

/// The version of both that is read and written here.
pub const VERSION: i16 = 10;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;

/// Whether a request is read here, and its answer written.
pub fn is_ours(api_key: i16, api_version: i16) -> bool {
    matches!(api_key, OFFSET_COMMIT | OFFSET_FETCH) && api_version == VERSION
}

/// Reads the body of an OffsetCommit; its strings share the frame's memory.
pub(super) fn read_commit(body: Bytes) -> Result<OffsetCommitRequest, WireError> {
    Body::new(&body).commit().map_err(undecodable)
}

/// Reads the body of an OffsetFetch.
pub(super) fn read_fetch(body: Bytes) -> Result<OffsetFetchRequest, WireError> {
    Body::new(&body).fetch().map_err(undecodable)
}

/// What the guard lets pass can only be wrong in its text.
#[derive(Debug)]
enum Unread {
    Shape(ReadError),
    NotUtf8,
}

impl std::fmt::Display for Unread {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unread::Shape(error) => write!(out, "{error:?}"),
            Unread::NotUtf8 => out.write_str("text that is not UTF-8"),
        }
    }
}

impl From<ReadError> for Unread {
    fn from(error: ReadError) -> Self {
        Unread::Shape(error)
    }
}

struct Body<'a> {
    bytes: &'a Bytes,
    reader: Reader<'a>,
}

impl<'a> Body<'a> {
    fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, reader: Reader::new(bytes) }
    }

    fn commit(&mut self) -> Result<OffsetCommitRequest, Unread> {
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(self.text()?))
            .with_generation_id_or_member_epoch(self.reader.i32()?)
            .with_member_id(self.text()?)
            .with_group_instance_id(self.nullable_text()?)
            .with_topics(self.list(Self::commit_topic)?);
        self.end(request)
    }

    fn commit_topic(&mut self) -> Result<OffsetCommitRequestTopic, Unread> {
        let topic = OffsetCommitRequestTopic::default()
            .with_topic_id(self.reader.uuid()?)
            .with_partitions(self.list(Self::commit_partition)?);
        self.end(topic)
    }

    fn commit_partition(&mut self) -> Result<OffsetCommitRequestPartition, Unread> {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(self.reader.i32()?)
            .with_committed_offset(self.reader.i64()?)
            .with_committed_leader_epoch(self.reader.i32()?)
            .with_committed_metadata(self.nullable_text()?);
        self.end(partition)
    }

    fn fetch(&mut self) -> Result<OffsetFetchRequest, Unread> {
        let request = OffsetFetchRequest::default()
            .with_groups(self.list(Self::fetch_group)?)
            .with_require_stable(self.reader.i8()? != 0);
        self.end(request)
    }

    fn fetch_group(&mut self) -> Result<OffsetFetchRequestGroup, Unread> {
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(self.text()?))
            .with_member_id(self.nullable_text()?)
            .with_member_epoch(self.reader.i32()?)
            .with_topics(self.nullable_list(Self::fetch_topic)?);
        self.end(group)
    }

    fn fetch_topic(&mut self) -> Result<OffsetFetchRequestTopics, Unread> {
        let topic = OffsetFetchRequestTopics::default()
            .with_topic_id(self.reader.uuid()?)
            .with_partition_indexes(self.list(|body| Ok(body.reader.i32()?))?);
        self.end(topic)
    }

    /// The tagged fields that end each struct: none is known.
    fn end<T>(&mut self, value: T) -> Result<T, Unread> {
        self.reader.skip_tagged_fields()?;
        Ok(value)
    }

    fn list<T>(&mut self, element: impl Fn(&mut Self) -> Result<T, Unread>) -> Result<Vec<T>, Unread> {
        Ok(self.nullable_list(element)?.unwrap_or_default())
    }

    fn nullable_list<T>(
        &mut self,
        element: impl Fn(&mut Self) -> Result<T, Unread>,
    ) -> Result<Option<Vec<T>>, Unread> {
        // The guard has held the count against the bytes that remain, and what it takes against the limit.
        let Some(count) = self.reader.length(true)? else {
            return Ok(None);
        };
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(element(self)?);
        }
        Ok(Some(items))
    }

    fn text(&mut self) -> Result<StrBytes, Unread> {
        Ok(self.nullable_text()?.unwrap_or_default())
    }

    fn nullable_text(&mut self) -> Result<Option<StrBytes>, Unread> {
        let Some(length) = self.reader.text_length(true)? else {
            return Ok(None);
        };
        let start = self.reader.position();
        self.reader.take(length)?;
        let text = StrBytes::from_utf8(self.bytes.slice(start..start + length));
        text.map(Some).map_err(|_| Unread::NotUtf8)
    }
}

/// Encodes the answer to an OffsetCommit of version 10 as a whole frame.
///
/// # Errors
/// [`WireError::Unencodable`] when the frame would pass 2 GiB.
pub fn encode_commit_response(
    correlation_id: i32,
    response: &OffsetCommitResponse,
) -> Result<Bytes, WireError> {
    let mut writer = Writer::response(correlation_id, true, 64 + response.topics.len() * 64);
    writer.i32(response.throttle_time_ms);
    writer.length(response.topics.len())?;
    for topic in &response.topics {
        writer.uuid(topic.topic_id);
        writer.length(topic.partitions.len())?;
        for partition in &topic.partitions {
            writer.i32(partition.partition_index);
            writer.i16(partition.error_code);
            writer.no_tags();
        }
        writer.no_tags();
    }
    writer.no_tags();
    Ok(writer.finish(0)?.freeze())
}

/// Encodes the answer to an OffsetFetch of version 10 as a whole frame.
///
/// # Errors
/// [`WireError::Unencodable`] when the frame would pass 2 GiB, or metadata 32,767 bytes.
pub fn encode_fetch_response(
    correlation_id: i32,
    response: &OffsetFetchResponse,
) -> Result<Bytes, WireError> {
    let mut writer = Writer::response(correlation_id, true, 64 + response.groups.len() * 128);
    writer.i32(response.throttle_time_ms);
    writer.length(response.groups.len())?;
    for group in &response.groups {
        writer.text(&group.group_id)?;
        writer.length(group.topics.len())?;
        for topic in &group.topics {
            writer.uuid(topic.topic_id);
            writer.length(topic.partitions.len())?;
            for partition in &topic.partitions {
                write_fetched(&mut writer, partition)?;
            }
            writer.no_tags();
        }
        writer.i16(group.error_code);
        writer.no_tags();
    }
    writer.no_tags();
    Ok(writer.finish(0)?.freeze())
}

fn write_fetched(writer: &mut Writer, partition: &OffsetFetchResponsePartitions) -> Result<(), WireError> {
    writer.i32(partition.partition_index);
    writer.i64(partition.committed_offset);
    writer.i32(partition.committed_leader_epoch);
    writer.nullable_text(partition.metadata.as_deref())?;
    writer.i16(partition.error_code);
    writer.no_tags();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Body, encode_commit_response, encode_fetch_response, read_commit};
    use bytes::Bytes;
    use kafka_protocol::messages::offset_commit_response::{
        OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    };
    use kafka_protocol::messages::offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
    };
    use kafka_protocol::messages::{GroupId, OffsetCommitResponse, OffsetFetchResponse};
    use kafka_protocol::protocol::StrBytes;
    use uuid::Uuid;

    // What kafka-clients 4.2.1 writes of the values below.
    const COMMIT: &str = "026700000007026d0269020102030405060708090a0b0c0d0e0f100300000003000000000000002a0000000502780000000004000000000000002bffffffff00000000";
    const FETCH: &str = "030267026d00000007020102030405060708090a0b0c0d0e0f10030000000300000004000004616c6c00ffffffff00000100";
    const COMMITTED: &str = "00000001020102030405060708090a0b0c0d0e0f1002000000030019000000";
    const FETCHED: &str = "00000001020267020102030405060708090a0b0c0d0e0f100300000003000000000000002a00000005027800000000000004ffffffffffffffffffffffff000064000000100000";
    const ID: Uuid = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

    fn bytes(hex: &str) -> Bytes {
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn text(value: &'static str) -> StrBytes {
        StrBytes::from_static_str(value)
    }

    #[test]
    fn a_commit_is_read_as_kafka_writes_it() {
        let body = bytes(COMMIT);
        let read = read_commit(body.clone()).expect("Kafka's own");
        assert_eq!((&*read.group_id.0, read.generation_id_or_member_epoch, &*read.member_id), ("g", 7, "m"));
        assert_eq!(read.group_instance_id.as_deref(), Some("i"));
        assert_eq!((read.topics.len(), read.topics[0].topic_id, &*read.topics[0].name.0), (1, ID, ""));
        let partitions: Vec<_> = read.topics[0]
            .partitions
            .iter()
            .map(|partition| {
                let metadata = partition.committed_metadata.as_deref();
                let epoch = partition.committed_leader_epoch;
                (partition.partition_index, partition.committed_offset, epoch, metadata)
            })
            .collect();
        assert_eq!(partitions, [(3, 42, 5, Some("x")), (4, 43, -1, None)]);
        for length in 0..body.len() {
            assert!(read_commit(body.slice(..length)).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_fetch_is_read_whole() {
        let body = bytes(FETCH);
        let mut reader = Body::new(&body);
        let read = reader.fetch().expect("Kafka's own");
        assert_eq!(reader.reader.remaining(), 0);
        assert!(read.require_stable);
        let groups: Vec<_> = read
            .groups
            .iter()
            .map(|group| (&*group.group_id.0, group.member_id.as_deref(), group.member_epoch))
            .collect();
        assert_eq!(groups, [("g", Some("m"), 7), ("all", None, -1)]);
        let topics = read.groups[0].topics.as_ref().expect("some topics");
        assert_eq!((topics[0].topic_id, &*topics[0].partition_indexes), (ID, &[3, 4][..]));
        assert_eq!(read.groups[1].topics, None);
    }

    #[test]
    fn answers_are_written_as_kafka_writes_them() {
        // Length, correlation id, tags of the header.
        let body = |frame: Bytes| frame.slice(9..);
        let partition = OffsetCommitResponsePartition::default().with_partition_index(3).with_error_code(25);
        let topic = OffsetCommitResponseTopic::default().with_topic_id(ID).with_partitions(vec![partition]);
        let committed = OffsetCommitResponse::default().with_throttle_time_ms(1).with_topics(vec![topic]);
        assert_eq!(body(encode_commit_response(7, &committed).expect("encodable")), bytes(COMMITTED));

        let partitions = vec![
            OffsetFetchResponsePartitions::default()
                .with_partition_index(3)
                .with_committed_offset(42)
                .with_committed_leader_epoch(5)
                .with_metadata(Some(text("x"))),
            OffsetFetchResponsePartitions::default()
                .with_partition_index(4)
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1)
                .with_metadata(None)
                .with_error_code(100),
        ];
        let topic = OffsetFetchResponseTopics::default().with_topic_id(ID).with_partitions(partitions);
        let group = OffsetFetchResponseGroup::default()
            .with_group_id(GroupId(text("g")))
            .with_topics(vec![topic])
            .with_error_code(16);
        let fetched = OffsetFetchResponse::default().with_throttle_time_ms(1).with_groups(vec![group]);
        assert_eq!(body(encode_fetch_response(7, &fetched).expect("encodable")), bytes(FETCHED));
    }
}
