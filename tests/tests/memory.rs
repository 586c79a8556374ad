//! What clients cost a real broker in memory: ten thousand that do nothing, and one that asks for much and reads nothing. Prints the
//! figures.

use bytes::Bytes;
use hayate_net::client::encode_request;
use hayate_storage::batch::BatchBuilder;
use hayate_tests::broker::{Broker, Client, Setup};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use uuid::Uuid;

const MIB: f64 = 1_048_576.0;
const IDLE_CONNECTIONS: usize = 10_000;
const IDLE_CONNECTIONS_MIB_MAX: f64 = 200.0;
/// Descriptors besides the connections'.
const OTHER_FILES: u64 = 200;
const BUDGET_BYTES: usize = 256 << 20;
/// What a broker of one shard may take without any load, in MiB.
const IDLE_MIB_MAX: f64 = 48.0;
const GREEDY_REQUESTS: usize = 100;
const GREEDY_FETCH_BYTES: i32 = 50 << 20;
const BATCHES: usize = 56;
const BATCH_BYTES: usize = 1_000_000;
/// How long the broker is watched under the greedy client.
const WATCH_TIME: Duration = Duration::from_secs(8);
/// No answer to somebody else may take longer, however busy the machine is.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

fn resident_mib(broker: &Broker) -> f64 {
    broker.metrics()["process_resident_memory_bytes"] / MIB
}

/// This process, and the broker that it starts, may open so many files.
fn allow_files(count: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("known");
    assert!(hard >= count, "raise the hard limit of open files to {count}: ulimit -Hn says {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
}

fn name(name: &str) -> StrBytes {
    StrBytes::from_string(name.to_owned())
}

fn frame_of(request: &ApiVersionsRequest) -> Bytes {
    encode_request(1, "idle", 3, request).expect("encodable")
}

/// A connection that has asked for the broker's versions and got them.
fn idle_connection(broker: &Broker, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(broker.addresses().kafka).expect("the broker accepts");
    stream.write_all(request).expect("the broker reads");
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(prefix) as usize];
    stream.read_exact(&mut answer).expect("all of it");
    stream
}

#[test]
fn ten_thousand_idle_connections_take_little() {
    allow_files(IDLE_CONNECTIONS as u64 + OTHER_FILES);
    let broker = Setup::default().set("shards", 2).start();
    let before = resident_mib(&broker);
    let software = name("idle");
    let request = frame_of(
        &ApiVersionsRequest::default()
            .with_client_software_name(software.clone())
            .with_client_software_version(software),
    );
    let idle: Vec<TcpStream> = (0..IDLE_CONNECTIONS).map(|_| idle_connection(&broker, &request)).collect();
    let after = resident_mib(&broker);
    let each_kib = (after - before) * 1024.0 / IDLE_CONNECTIONS as f64;
    println!(
        "{IDLE_CONNECTIONS} idle connections: {after:.1} MiB resident in all (limit {IDLE_CONNECTIONS_MIB_MAX}), {before:.1} before, \
         {each_kib:.1} KiB each"
    );
    let metrics = broker.metrics();
    let shards = metrics.iter().filter(|(name, _)| name.starts_with("hayate_connections{"));
    let open: f64 = shards.map(|(_, count)| count).sum();
    assert!(open >= IDLE_CONNECTIONS as f64, "{open} are open");
    let mut client = Client::connect(broker.addresses().kafka, "busy").expect("one more");
    client.ask(12, &MetadataRequest::default().with_topics(None)).expect("it is served");
    assert!(after <= IDLE_CONNECTIONS_MIB_MAX);
    drop(idle);
}

fn create_topic(client: &mut Client, topic: &str) -> Uuid {
    let new = CreatableTopic::default()
        .with_name(TopicName(name(topic)))
        .with_num_partitions(1)
        .with_replication_factor(-1);
    let response = client.ask(7, &CreateTopicsRequest::default().with_topics(vec![new])).expect("an answer");
    assert_eq!(response.topics[0].error_code, 0);
    response.topics[0].topic_id
}

fn produce(client: &mut Client, topic: Uuid, value: &[u8]) -> i64 {
    let records = BatchBuilder::new().record(1_767_225_600_000, None, Some(value)).build();
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let data = TopicProduceData::default().with_topic_id(topic).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data]);
    let response = client.ask(13, &request).expect("an answer");
    let outcome = &response.responses[0].partition_responses[0];
    assert_eq!(outcome.error_code, 0);
    outcome.base_offset
}

fn fetch_request(topic: Uuid, offset: i64, bytes_max: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(bytes_max);
    let wanted = FetchTopic::default().with_topic_id(topic).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(bytes_max)
        .with_session_epoch(-1)
        .with_topics(vec![wanted])
}

/// Whoever asks for 100 × 50 MiB, and reads nothing. Its requests stay in the sockets when the broker reads no more of them.
fn greedy(broker: &Broker, topic: Uuid) -> TcpStream {
    let mut stream = TcpStream::connect(broker.addresses().kafka).expect("the broker accepts");
    let request = fetch_request(topic, 0, GREEDY_FETCH_BYTES);
    let frames: Vec<u8> = (0..GREEDY_REQUESTS as i32)
        .flat_map(|number| encode_request(number, "greedy", 17, &request).expect("encodable"))
        .collect();
    stream.write_all(&frames).expect("requests are small");
    stream
}

#[test]
fn a_client_that_asks_for_much_and_reads_nothing_takes_its_share() {
    // One shard: whoever else is served shares all of it with the greedy one.
    let broker = Setup::default().set("shards", 1).set("memory.budget", BUDGET_BYTES).start();
    let mut client = Client::connect(broker.addresses().kafka, "busy").expect("the broker accepts");
    let (much, calm) = (create_topic(&mut client, "much"), create_topic(&mut client, "calm"));
    let value = vec![b'x'; BATCH_BYTES];
    for _ in 0..BATCHES {
        produce(&mut client, much, &value);
    }
    let before = resident_mib(&broker);
    let _greedy = greedy(&broker, much);
    let (began, mut most, mut longest, mut served) = (Instant::now(), before, Duration::ZERO, 0);
    while began.elapsed() < WATCH_TIME {
        let asked = Instant::now();
        let offset = produce(&mut client, calm, b"calm");
        let fetched = client.ask(17, &fetch_request(calm, offset, 1 << 20)).expect("an answer");
        let records = fetched.responses[0].partitions[0].records.clone().unwrap_or_default();
        assert!(records.ends_with(b"calm\0"), "the record of offset {offset} comes back");
        (longest, served) = (longest.max(asked.elapsed()), served + 1);
        most = most.max(resident_mib(&broker));
    }
    let limit = IDLE_MIB_MAX + BUDGET_BYTES as f64 / MIB;
    println!(
        "100 fetches of 50 MiB that nobody reads: {most:.1} MiB resident at most (limit {limit:.0}), {before:.1} before; somebody else was \
         served {served} times meanwhile, within {longest:.1?}"
    );
    assert!(most <= limit && longest <= ANSWER_TIME_MAX && served > 10);
}
