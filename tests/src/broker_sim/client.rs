//! A small client over a simulated socket: one connection, one method a request.

use bytes::{Bytes, BytesMut};
use hayate_net::client::{Answer, ClientCore, ClientLimits};
use hayate_net::error::ErrorCode;
use hayate_net::frame::take_frame;
use hayate_net::socket::Socket;
use hayate_storage::batch::records::{Records, body};
use hayate_storage::batch::scan::{BatchScan, Checksums};
use hayate_storage::batch::{BatchBuilder, ScanEnd};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    FetchRequest, FetchResponse, ListOffsetsRequest, MetadataRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};
use std::collections::VecDeque;
use uuid::Uuid;

/// A topic as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
}

/// A client with one connection.
pub struct Client {
    socket: Socket,
    core: ClientCore,
    received: BytesMut,
}

/// A topic's name as requests carry it.
pub fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// A response's error code.
///
/// # Errors
/// The code, unless it is none.
pub fn checked(code: i16) -> Result<(), ErrorCode> {
    match ErrorCode::from_code(code).expect("a code of Kafka's") {
        ErrorCode::None => Ok(()),
        code => Err(code),
    }
}

/// One batch of records with these values.
pub fn records_of(values: &[&str]) -> Bytes {
    let batch = BatchBuilder::new();
    values
        .iter()
        .fold(batch, |batch, value| batch.record(1_767_225_600_000, None, Some(value.as_bytes())))
        .build()
}

/// The values of a partition's records, in order; every batch is checked.
pub fn values(response: &FetchResponse, partition: i32) -> Vec<String> {
    let mut values = Vec::new();
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    for fetched in partitions.filter(|fetched| fetched.partition_index == partition) {
        assert_eq!(checked(fetched.error_code), Ok(()), "partition {partition}");
        let records = fetched.records.clone().unwrap_or_default();
        let mut scan = BatchScan::new(&records, Checksums::Verify);
        for batch in scan.by_ref() {
            let body = body(batch.bytes, &batch.header, 64 << 20).expect("readable");
            for record in Records::new(&batch.header, &body).expect("readable") {
                let value = record.expect("readable").value.unwrap_or_default();
                values.push(String::from_utf8(value.to_vec()).expect("text"));
            }
        }
        assert_eq!(scan.finish(), ScanEnd::Clean);
    }
    values
}

/// The bytes of a partition's records.
pub fn records_from(response: &FetchResponse, partition: i32) -> Bytes {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let fetched = partitions.find(|fetched| fetched.partition_index == partition);
    fetched.and_then(|fetched| fetched.records.clone()).unwrap_or_default()
}

impl Client {
    /// On a connected socket.
    pub fn new(socket: Socket) -> Client {
        let core = ClientCore::new("simulated", ClientLimits::default());
        Client { socket, core, received: BytesMut::new() }
    }

    pub async fn send_raw(&mut self, bytes: Bytes) {
        self.socket.write_rope(&mut VecDeque::from([bytes])).await.expect("the connection is open");
    }

    /// Sends bytes as they are; `None` when the connection is lost.
    pub async fn try_send_raw(&mut self, bytes: Bytes) -> Option<()> {
        self.socket.write_rope(&mut VecDeque::from([bytes])).await.ok().map(drop)
    }

    /// The next frame, undecoded.
    pub async fn receive_raw(&mut self) -> Bytes {
        loop {
            if let Some(frame) = take_frame(&mut self.received, 1 << 20).expect("a valid frame") {
                return frame;
            }
            self.received.reserve(16 << 10);
            let count = self.socket.read_into(&mut self.received).await.expect("the connection is open");
            assert!(count > 0, "the broker closed the connection");
        }
    }

    /// Produces with acks 0.
    pub async fn send_unanswered(&mut self, topic: &Topic, partition: i32, records: Bytes) {
        let request = Self::produce_request(topic, partition, records).with_acks(0);
        let (_, frame) = self.core.request_unanswered(13, &request).expect("a valid request");
        self.send_raw(frame).await;
    }

    /// Sends a produce request, unless the connection is lost.
    pub async fn try_send_produce(&mut self, topic: &Topic, partition: i32, records: Bytes) -> Option<()> {
        let request = Self::produce_request(topic, partition, records);
        let (_, frame) = self.core.request(13, &request).ok()?;
        self.socket.write_rope(&mut VecDeque::from([frame])).await.ok().map(drop)
    }

    /// The answer to the oldest produce request; `None` when the connection is lost and nothing is known.
    pub async fn try_receive_produce(&mut self) -> Option<Result<i64, ErrorCode>> {
        let response = self.try_receive().await?.decode::<ProduceRequest>().expect("a valid answer");
        let outcome = &response.responses[0].partition_responses[0];
        Some(checked(outcome.error_code).map(|()| outcome.base_offset))
    }

    /// Produces one value; `None` when the connection is lost and nothing is known.
    pub async fn try_produce(
        &mut self,
        topic: &Topic,
        partition: i32,
        value: &str,
    ) -> Option<Result<i64, ErrorCode>> {
        self.try_send_produce(topic, partition, records_of(&[value])).await?;
        self.try_receive_produce().await
    }

    /// A fetch without a session; `None` when the connection is lost.
    pub async fn try_fetch(
        &mut self,
        topic: &Topic,
        from: &[(i32, i64)],
        max_wait_ms: i32,
    ) -> Option<FetchResponse> {
        self.try_ask(17, &Self::fetch_request(topic, from, 1, max_wait_ms)).await
    }

    async fn try_receive(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = self.core.next_answer(&mut self.received).expect("a valid answer") {
                return Some(answer);
            }
            self.received.reserve(16 << 10);
            if self.socket.read_into(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The frame of a produce request, for sending it in a way of one's own.
    pub fn produce_frame(&mut self, topic: &Topic, partition: i32, records: Bytes) -> Bytes {
        let request = Self::produce_request(topic, partition, records);
        self.core.request(13, &request).expect("a valid request").1
    }

    /// The frame of a fetch without a session.
    pub fn fetch_frame(&mut self, topic: &Topic, from: &[(i32, i64)]) -> Bytes {
        self.core.request(17, &Self::fetch_request(topic, from, 1, 0)).expect("a valid request").1
    }

    /// Takes at most `bytes_max` of what has arrived; false when the connection is lost.
    pub async fn read_some(&mut self, bytes_max: usize) -> bool {
        let mut part = BytesMut::with_capacity(bytes_max);
        let read = self.socket.read_into(&mut part).await;
        self.received.extend_from_slice(&part);
        matches!(read, Ok(1..))
    }

    /// The answer to a fetch, once all of it was taken.
    pub fn fetched(&mut self) -> Option<FetchResponse> {
        let answer = self.core.next_answer(&mut self.received).expect("a valid answer")?;
        Some(answer.decode::<FetchRequest>().expect("a valid answer"))
    }

    pub async fn is_closed(&mut self) -> bool {
        self.received.reserve(1024);
        matches!(self.socket.read_into(&mut self.received).await, Ok(0) | Err(_))
    }

    async fn send<R: Request>(&mut self, version: i16, request: &R) {
        let (_, frame) = self.core.request(version, request).expect("a valid request");
        self.send_raw(frame).await;
    }

    async fn receive(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.core.next_answer(&mut self.received).expect("a valid answer") {
                return answer;
            }
            self.received.reserve(16 << 10);
            let count = self.socket.read_into(&mut self.received).await.expect("the connection is open");
            assert!(count > 0, "the broker closed the connection");
        }
    }

    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive().await.decode::<R>().expect("a valid answer")
    }

    /// Sends a request whose answer is heard later, or never.
    pub async fn send_unheard<R: Request>(&mut self, version: i16, request: &R) {
        self.send(version, request).await;
    }

    /// The answer to a request that was sent before.
    pub async fn heard<R: Request>(&mut self) -> R::Response {
        self.receive().await.decode::<R>().expect("a valid answer")
    }

    fn create_request(topic: &str, partitions: i32) -> CreateTopicsRequest {
        let new = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(-1);
        CreateTopicsRequest::default().with_topics(vec![new])
    }

    fn delete_request(topic: &str) -> DeleteTopicsRequest {
        let state = DeleteTopicState::default().with_name(Some(name(topic)));
        DeleteTopicsRequest::default().with_topics(vec![state])
    }

    /// Asks; `None` when the connection is lost and nothing is known.
    pub async fn try_ask<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let (_, frame) = self.core.request(version, request).ok()?;
        self.socket.write_rope(&mut VecDeque::from([frame])).await.ok()?;
        Some(self.try_receive().await?.decode::<R>().expect("a valid answer"))
    }

    /// Deletes a partition's records before an offset, and says where it starts; `None` when the connection is lost and
    /// nothing is known.
    pub async fn try_delete_records(
        &mut self,
        topic: &Topic,
        partition: i32,
        before: i64,
    ) -> Option<Result<i64, ErrorCode>> {
        let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(before);
        let asked =
            DeleteRecordsTopic::default().with_name(name(&topic.name)).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![asked]).with_timeout_ms(30_000);
        let response = self.try_ask(2, &request).await?;
        let deleted = &response.topics[0].partitions[0];
        Some(checked(deleted.error_code).map(|()| deleted.low_watermark))
    }

    /// Where a partition's log starts.
    pub async fn earliest(&mut self, topic: &Topic, partition: i32) -> i64 {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(-2)
            .with_current_leader_epoch(-1);
        let asked = ListOffsetsTopic::default().with_name(name(&topic.name)).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
        let response = self.ask(10, &request).await;
        assert_eq!(checked(response.topics[0].partitions[0].error_code), Ok(()));
        response.topics[0].partitions[0].offset
    }

    /// Creates a topic; `None` when the connection is lost and nothing is known.
    pub async fn try_create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
    ) -> Option<Result<Topic, ErrorCode>> {
        let response = self.try_ask(7, &Self::create_request(topic, partitions)).await?;
        let created = &response.topics[0];
        Some(checked(created.error_code).map(|()| Topic { name: topic.to_owned(), id: created.topic_id }))
    }

    /// Gives a topic more partitions; `None` when the connection is lost and nothing is known.
    pub async fn try_create_partitions(&mut self, topic: &str, count: i32) -> Option<Result<(), ErrorCode>> {
        let growth =
            CreatePartitionsTopic::default().with_name(name(topic)).with_count(count).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![growth]);
        let response = self.try_ask(3, &request).await?;
        Some(checked(response.results[0].error_code))
    }

    /// Deletes a topic; `None` when the connection is lost and nothing is known.
    pub async fn try_delete_topic(&mut self, topic: &str) -> Option<Result<(), ErrorCode>> {
        let response = self.try_ask(6, &Self::delete_request(topic)).await?;
        Some(checked(response.responses[0].error_code))
    }

    pub async fn create_topic(&mut self, topic: &str, partitions: i32) -> Topic {
        let response = self.ask(7, &Self::create_request(topic, partitions)).await;
        let created = &response.topics[0];
        assert_eq!(checked(created.error_code), Ok(()), "{:?}", created.error_message);
        assert_eq!(created.num_partitions, partitions);
        Topic { name: topic.to_owned(), id: created.topic_id }
    }

    pub async fn delete_topic(&mut self, topic: &str) {
        let response = self.ask(6, &Self::delete_request(topic)).await;
        assert_eq!(checked(response.responses[0].error_code), Ok(()));
    }

    /// The topic and its count of partitions.
    pub async fn metadata_of(&mut self, topic: &str, create: bool) -> Result<(Topic, usize), ErrorCode> {
        let wanted = MetadataRequestTopic::default().with_name(Some(name(topic)));
        let request =
            MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(create);
        let response = self.ask(12, &request).await;
        assert_eq!(response.brokers.len(), 1);
        let described = &response.topics[0];
        checked(described.error_code)?;
        assert!(described.partitions.iter().all(|partition| partition.leader_id.0 == 1));
        Ok((Topic { name: topic.to_owned(), id: described.topic_id }, described.partitions.len()))
    }

    /// One partition's records.
    pub fn produce_request(topic: &Topic, partition: i32, records: Bytes) -> ProduceRequest {
        Self::produce_in(13, topic, partition, records)
    }

    /// A produce request as `version` names topics.
    pub fn produce_in(version: i16, topic: &Topic, partition: i32, records: Bytes) -> ProduceRequest {
        let partition = PartitionProduceData::default().with_index(partition).with_records(Some(records));
        let data = match version {
            13.. => TopicProduceData::default().with_topic_id(topic.id),
            _ => TopicProduceData::default().with_name(name(&topic.name)),
        };
        let data = data.with_partition_data(vec![partition]);
        ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![data])
    }

    pub async fn send_produce(&mut self, topic: &Topic, partition: i32, values: &[&str]) {
        self.send(13, &Self::produce_request(topic, partition, records_of(values))).await;
    }

    pub async fn receive_produce(&mut self) -> Result<i64, ErrorCode> {
        let response = self.receive().await.decode::<ProduceRequest>().expect("a valid answer");
        let outcome = &response.responses[0].partition_responses[0];
        checked(outcome.error_code).map(|()| outcome.base_offset)
    }

    pub async fn produce_records(
        &mut self,
        topic: &Topic,
        partition: i32,
        records: Bytes,
    ) -> Result<i64, ErrorCode> {
        self.send(13, &Self::produce_request(topic, partition, records)).await;
        self.receive_produce().await
    }

    /// The offset of the first value.
    pub async fn produce(
        &mut self,
        topic: &Topic,
        partition: i32,
        values: &[&str],
    ) -> Result<i64, ErrorCode> {
        self.produce_records(topic, partition, records_of(values)).await
    }

    pub fn fetch_request(
        topic: &Topic,
        from: &[(i32, i64)],
        min_bytes: i32,
        max_wait_ms: i32,
    ) -> FetchRequest {
        let partition = |(index, offset): &(i32, i64)| {
            FetchPartition::default()
                .with_partition(*index)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(1 << 20)
        };
        let wanted = FetchTopic::default()
            .with_topic_id(topic.id)
            .with_partitions(from.iter().map(partition).collect());
        FetchRequest::default()
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(min_bytes)
            .with_max_bytes(50 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![wanted])
    }

    /// Sends a fetch whose answer is not waited for.
    pub async fn send_fetch(&mut self, topic: &Topic, from: &[(i32, i64)], min_bytes: i32, max_wait_ms: i32) {
        let request = Self::fetch_request(topic, from, min_bytes, max_wait_ms);
        let (_, frame) = self.core.request_unanswered(17, &request).expect("a valid request");
        let _ = self.socket.write_rope(&mut VecDeque::from([frame])).await;
    }

    /// A fetch without a session, from each partition's offset.
    pub async fn fetch(
        &mut self,
        topic: &Topic,
        from: &[(i32, i64)],
        min_bytes: i32,
        max_wait_ms: i32,
    ) -> FetchResponse {
        let request = Self::fetch_request(topic, from, min_bytes, max_wait_ms);
        let response = self.ask(17, &request).await;
        assert_eq!(checked(response.error_code), Ok(()));
        response
    }
}
