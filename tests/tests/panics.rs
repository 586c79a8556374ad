//! What a panic takes with it, in a real process with a deliberate defect: one connection while a request is decoded or answered; the
//! whole process anywhere in a partition, a log or the metadata, and the next start recovers.

use hayate_storage::mutants::TRIGGER;
use hayate_tests::broker::{Broker, Client, Setup, binary};
use hayate_tests::broker_sim::{self as requests, Topic, checked, name, records_of, values};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{ApiVersionsRequest, CreateTopicsRequest, MetadataRequest};
use kafka_protocol::protocol::StrBytes;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;

const PARTITIONS: i32 = 4;

/// A broker with a defect. It leaves no core file behind.
fn broken(defect: &str, shards: u16) -> Setup {
    let setup = Setup::default().broken(env!("CARGO_BIN_EXE_broken_broker"), defect).set("shards", shards);
    // SAFETY: one system call.
    unsafe { setup.before_exec(|| Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)) }
}

fn connect(broker: &Broker, client_id: &str) -> Client {
    Client::connect(broker.addresses().kafka, client_id).expect("the broker listens")
}

fn try_create(client: &mut Client, topic: &str) -> io::Result<Topic> {
    let new = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(PARTITIONS)
        .with_replication_factor(1);
    let response = client.ask(7, &CreateTopicsRequest::default().with_topics(vec![new]))?;
    assert_eq!(checked(response.topics[0].error_code), Ok(()));
    Ok(Topic { name: topic.to_owned(), id: response.topics[0].topic_id })
}

fn try_produce(client: &mut Client, topic: &Topic, partition: i32, value: &str) -> io::Result<i64> {
    let request = requests::Client::produce_in(13, topic, partition, records_of(&[value]));
    let response = client.ask(13, &request)?;
    let outcome = &response.responses[0].partition_responses[0];
    assert_eq!(checked(outcome.error_code), Ok(()));
    Ok(outcome.base_offset)
}

fn fetch(client: &mut Client, topic: &Topic, partition: i32) -> Vec<String> {
    let request = requests::Client::fetch_request(topic, &[(partition, 0)], 1, 0);
    values(&client.ask(17, &request).expect("an answer"), partition)
}

/// The sum of a counter over the shards.
fn count(broker: &Broker, counter: &str, label: &str) -> f64 {
    let samples = broker.metrics();
    let of_counter =
        samples.iter().filter(|(series, _)| series.starts_with(counter) && series.contains(label));
    of_counter.map(|(_, value)| value).sum()
}

/// One request of a client; the connection must end without an answer.
type Ask = fn(&mut Client, &Topic) -> io::Result<()>;

fn ask_versions(client: &mut Client, _: &Topic) -> io::Result<()> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    client.ask(3, &request).map(drop)
}

fn ask_metadata(client: &mut Client, _: &Topic) -> io::Result<()> {
    client.ask(12, &MetadataRequest::default().with_topics(None)).map(drop)
}

fn ask_produce(client: &mut Client, topic: &Topic) -> io::Result<()> {
    try_produce(client, topic, 1, "x").map(drop)
}

/// A panic over a request ends its connection alone. Versions are answered as the request begins, metadata when it is first looked at,
/// records in a task of their own.
fn check_contained(defect: &str) {
    let mut broker = broken(defect, 2).start();
    let mut other = connect(&broker, "other");
    let topic = try_create(&mut other, "sound").expect("an answer");
    let asks: [Ask; 3] = [ask_versions, ask_metadata, ask_produce];
    for (ask, panics) in asks.into_iter().zip(1u8..) {
        let mut unlucky = connect(&broker, TRIGGER);
        let ended = ask(&mut unlucky, &topic).expect_err("no answer");
        assert_eq!(ended.kind(), ErrorKind::UnexpectedEof, "{}", broker.log());
        assert_eq!(
            count(&broker, "hayate_contained_panics_total", ""),
            f64::from(panics),
            "{}",
            broker.log()
        );
        try_produce(&mut other, &topic, 0, "y").expect("other connections go on");
        try_produce(&mut connect(&broker, "new"), &topic, 0, "y").expect("and new ones come");
    }
    assert_eq!(fetch(&mut other, &topic, 0).len(), 6);
    assert_eq!(count(&broker, "hayate_connections_closed_total", "\"panic\""), 3.0);
    assert!(broker.log().contains("connection closed: a request panicked"), "{}", broker.log());
    broker.stop();
    assert!(broker.log().contains("clean=true"), "{}", broker.log());
}

#[test]
fn a_panic_while_decoding_ends_its_connection_alone() {
    check_contained("panic-in-decoding");
}

#[test]
fn a_panic_while_answering_ends_its_connection_alone() {
    check_contained("panic-in-answer");
}

/// `trigger` is not answered but ends the process at once, by SIGABRT; whatever was acknowledged before is there after a restart.
fn check_abort(defect: &str, shards: u16, trigger: impl Fn(&mut Client) -> io::Result<()>) {
    let mut broker = broken(defect, shards).start();
    let mut client = connect(&broker, "client");
    let topic = try_create(&mut client, "sound").expect("an answer");
    for partition in 0..PARTITIONS {
        for offset in 0..3 {
            let value = format!("{partition}/{offset}");
            assert_eq!(try_produce(&mut client, &topic, partition, &value).expect("an answer"), offset);
        }
    }
    let ended = trigger(&mut client).expect_err("no answer");
    assert_eq!(ended.kind(), ErrorKind::UnexpectedEof, "{}", broker.log());
    let status = broker.wait();
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{status}: {}", broker.log());
    assert!(broker.log().contains("aborting, the next start recovers"), "{}", broker.log());
    broker.restart();
    assert!(broker.log().contains("not clean"), "{}", broker.log());
    let mut client = connect(&broker, "client");
    for partition in 0..PARTITIONS {
        let expected: Vec<_> = (0..3).map(|offset| format!("{partition}/{offset}")).collect();
        assert_eq!(fetch(&mut client, &topic, partition), expected);
        assert_eq!(try_produce(&mut client, &topic, partition, "more").expect("an answer"), 3);
    }
    broker.stop();
}

/// On one shard the partition is the connection's own; on two, some are another's.
fn check_abort_on_append(defect: &str) {
    for (shards, partition) in [(1, 0), (2, 0), (2, 1), (2, 2), (2, 3)] {
        check_abort(defect, shards, |client| {
            let topic = try_create(client, TRIGGER).expect("an answer");
            try_produce(client, &topic, partition, "x").map(drop)
        });
    }
}

#[test]
fn a_panic_in_a_partition_ends_the_process() {
    check_abort_on_append("panic-in-partition");
}

#[test]
fn a_panic_in_a_log_ends_the_process() {
    check_abort_on_append("panic-in-log");
}

#[test]
fn a_panic_in_the_metadata_ends_the_process() {
    for shards in [1, 2] {
        check_abort("panic-in-metadata", shards, |client| try_create(client, TRIGGER).map(drop));
    }
}

#[test]
fn the_released_binary_knows_no_defect() {
    let knows = |binary: &std::path::Path| {
        let bytes = std::fs::read(binary).expect("the binary is there");
        bytes.windows(TRIGGER.len()).any(|window| window == TRIGGER.as_bytes())
    };
    assert!(knows(env!("CARGO_BIN_EXE_broken_broker").as_ref()), "the look finds it");
    assert!(!knows(binary()));
}
