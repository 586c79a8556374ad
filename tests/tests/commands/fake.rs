//! A cluster of two brokers, played by threads: one partition, whose leader moves as the test says, and answers that get lost. Knows as
//! much of the protocol as the commands ask for.

use bytes::{Bytes, BytesMut};
use hayate_net::error::ErrorCode;
use hayate_net::frame::{RequestFrame, take_frame};
use hayate_net::wire::codec::{decode_body, encode_response, split_request};
use hayate_storage::batch::records::{Records, body};
use hayate_storage::batch::scan::{BatchScan, Checksums};
use hayate_storage::batch::{BatchBuilder, Offset};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, InitProducerIdResponse, ListOffsetsResponse,
    MetadataResponse, ProduceRequest, ProduceResponse, ProducerId, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the leader does with a produce or fetch request; without one it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// It serves.
    Serve,
    /// The other broker leads from now on.
    Move,
    /// It serves, and the answer gets lost with its connection.
    LoseAnswer,
}

struct State {
    leader: usize,
    /// For the coming requests, the next one last.
    tricks: Vec<Trick>,
    /// Values in their order, with the sequence numbers that they came with.
    records: Vec<(Vec<u8>, i32)>,
    seen: Vec<String>,
}

/// The two brokers.
pub struct Fake {
    addresses: [SocketAddr; 2],
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// Plays these tricks in their order. The topic holds `values` already.
    pub fn start(tricks: &[Trick], values: &[&str]) -> Fake {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let addresses = [0, 1].map(|node: usize| listeners[node].local_addr().expect("bound"));
        let records = values.iter().map(|value| (value.as_bytes().to_vec(), -1)).collect();
        let tricks = tricks.iter().rev().copied().collect();
        let state = Arc::new(Mutex::new(State { leader: 0, tricks, records, seen: Vec::new() }));
        for (node, listener) in listeners.into_iter().enumerate() {
            let state = state.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let state = state.clone();
                    std::thread::spawn(move || serve(node, stream, addresses, &state));
                }
            });
        }
        Fake { addresses, state }
    }

    /// The first broker's address.
    pub fn address(&self) -> String {
        self.addresses[0].to_string()
    }

    /// The values that the topic holds, with their sequence numbers.
    pub fn records(&self) -> Vec<(String, i32)> {
        let state = self.state.lock().expect("no broker panicked");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        state.records.iter().map(|(value, sequence)| (text(value), *sequence)).collect()
    }

    /// Which broker was asked to produce or fetch, and what became of it.
    pub fn seen(&self) -> Vec<String> {
        self.state.lock().expect("no broker panicked").seen.clone()
    }
}

/// Serves a connection until one side ends it.
fn serve(node: usize, mut stream: TcpStream, addresses: [SocketAddr; 2], state: &Mutex<State>) {
    let mut received = BytesMut::new();
    let mut part = [0; 4096];
    loop {
        while let Some(frame) = take_frame(&mut received, 64 << 20).expect("a valid frame") {
            let frame = split_request(frame).expect("a valid request");
            match answer(node, &frame, addresses, state) {
                Some(answer) => stream.write_all(&answer).unwrap_or_default(),
                None => return,
            }
        }
        match stream.read(&mut part) {
            Ok(count @ 1..) => received.extend_from_slice(&part[..count]),
            Ok(_) | Err(_) => return,
        }
    }
}

/// `None` ends the connection.
fn answer(
    node: usize,
    frame: &RequestFrame,
    addresses: [SocketAddr; 2],
    state: &Mutex<State>,
) -> Option<Bytes> {
    let (id, version) = (frame.head.correlation_id, frame.head.api_version);
    let mut state = state.lock().expect("no broker panicked");
    let answer = match frame.head.api_key {
        0 => encode_response(id, version, &produce(node, version, frame.body.clone(), &mut state)?),
        1 => encode_response(id, version, &fetch(node, version, frame.body.clone(), &mut state)?),
        2 => encode_response(id, version, &offsets()),
        3 => encode_response(id, version, &metadata(addresses, state.leader)),
        18 => encode_response(id, version, &versions()),
        22 => {
            encode_response(id, version, &InitProducerIdResponse::default().with_producer_id(ProducerId(7)))
        }
        other => panic!("nobody asks for {other}"),
    };
    Some(answer.expect("encodable"))
}

fn versions() -> ApiVersionsResponse {
    let one = |(key, max)| ApiVersion::default().with_api_key(key).with_min_version(0).with_max_version(max);
    let served = [(0, 12), (1, 12), (2, 7), (3, 12), (18, 4), (22, 4)];
    ApiVersionsResponse::default().with_api_keys(served.into_iter().map(one).collect())
}

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str("t"))
}

fn metadata(addresses: [SocketAddr; 2], leader: usize) -> MetadataResponse {
    let broker = |(node, address): (usize, SocketAddr)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node as i32))
            .with_host(StrBytes::from_string(address.ip().to_string()))
            .with_port(address.port().into())
    };
    let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(leader as i32));
    let topic = MetadataResponseTopic::default().with_name(Some(topic())).with_partitions(vec![partition]);
    MetadataResponse::default()
        .with_brokers(addresses.into_iter().enumerate().map(broker).collect())
        .with_topics(vec![topic])
}

fn offsets() -> ListOffsetsResponse {
    let partition = ListOffsetsPartitionResponse::default().with_offset(0);
    let topic = ListOffsetsTopicResponse::default().with_name(topic()).with_partitions(vec![partition]);
    ListOffsetsResponse::default().with_topics(vec![topic])
}

/// What becomes of a request at a broker; plays the next trick if that is the leader.
fn judge(node: usize, what: &str, state: &mut State) -> (ErrorCode, Trick) {
    let mut trick = Trick::Serve;
    if node == state.leader {
        trick = state.tricks.pop().unwrap_or(Trick::Serve);
    }
    if trick == Trick::Move {
        state.leader = 1 - state.leader;
    }
    let code = if node == state.leader { ErrorCode::None } else { ErrorCode::NotLeaderOrFollower };
    state.seen.push(format!("{what} {node} {} {trick:?}", code.name()));
    (code, trick)
}

fn produce(node: usize, version: i16, body: Bytes, state: &mut State) -> Option<ProduceResponse> {
    let request: ProduceRequest = decode_body(0, version, body, u64::MAX).expect("decodable");
    let (mut code, trick) = judge(node, "produce", state);
    let records = request.topic_data[0].partition_data[0].records.clone().unwrap_or_default();
    if code.is_none() && !append(&records, state) {
        code = ErrorCode::DuplicateSequenceNumber;
    }
    if trick == Trick::LoseAnswer {
        return None;
    }
    let partition = PartitionProduceResponse::default().with_error_code(code.code());
    let topic = TopicProduceResponse::default().with_name(topic()).with_partition_responses(vec![partition]);
    Some(ProduceResponse::default().with_responses(vec![topic]))
}

/// Appends a batch, unless it is there already.
fn append(records: &[u8], state: &mut State) -> bool {
    let batch = BatchScan::new(records, Checksums::Verify).next().expect("a whole batch");
    let body = body(batch.bytes, &batch.header, 1 << 20).expect("readable");
    let last = state.records.last().map_or(-1, |(_, sequence)| *sequence);
    let records: Vec<_> = Records::new(&batch.header, &body).expect("readable").map(Result::unwrap).collect();
    let is_new = records[0].sequence == last + 1;
    if is_new {
        let value =
            |record: &hayate_storage::batch::records::Record<'_>| record.value.unwrap_or_default().to_vec();
        state.records.extend(records.iter().map(|record| (value(record), record.sequence)));
    }
    is_new
}

fn fetch(node: usize, version: i16, body: Bytes, state: &mut State) -> Option<FetchResponse> {
    let request: FetchRequest = decode_body(1, version, body, u64::MAX).expect("decodable");
    let (code, trick) = judge(node, "fetch", state);
    if trick == Trick::LoseAnswer {
        return None;
    }
    let offset = request.topics[0].partitions[0].fetch_offset as usize;
    let partition = PartitionData::default().with_error_code(code.code());
    let partition = match state.records.get(offset) {
        // One record an answer.
        Some((value, _)) if code.is_none() => {
            let batch =
                BatchBuilder::new().base_offset(Offset(offset as i64)).record(5, None, Some(value)).build();
            partition.with_records(Some(batch)).with_high_watermark(state.records.len() as i64)
        }
        _ => partition.with_high_watermark(state.records.len() as i64).with_records(Some(Bytes::new())),
    };
    let topic = FetchableTopicResponse::default().with_topic(topic()).with_partitions(vec![partition]);
    Some(FetchResponse::default().with_responses(vec![topic]))
}
