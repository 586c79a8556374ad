//! Figures of groups on a real broker: what ten thousand idle groups take of memory, what commits at a fixed rate do to the latency of
//! producing, and how long a rebalance of a hundred members takes.
//!
//! `group_figures [memory|commits|rebalance]...` prints them; without a word all. `HAYATE_BINARY` names the broker, which should be a
//! released one. They judge nothing: machines differ.

use bytes::Bytes;
use hayate_storage::batch::BatchBuilder;
use hayate_tests::broker::{Broker, Client, Setup};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, ProduceRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

const KIB: f64 = 1024.0;
const GROUPS: usize = 10_000;
const PARTITIONS: i32 = 5;
const MEMBERS: usize = 100;
/// How many requests of one connection are under way at a time.
const IN_FLIGHT: usize = 100;
/// How long each rate is measured, and how often by turns.
const SPAN: Duration = Duration::from_secs(15);
const ROUNDS: usize = 9;
const WARM_UP: Duration = Duration::from_secs(2);
/// What producing is measured beside: offsets a request, and requests a second.
const COMMITS: [(i32, u32); 2] = [(5, 10_000), (1, 50_000)];
/// Records of 1 KiB that are produced in a second, one at a time.
const PRODUCED_A_SECOND: u32 = 200;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wants = |word: &str| words.is_empty() || words.iter().any(|given| given == word);
    if wants("memory") {
        memory();
    }
    if wants("commits") {
        commits();
    }
    if wants("rebalance") {
        rebalance();
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn connect(broker: &Broker) -> Client {
    Client::connect(broker.addresses().kafka, "figures").expect("the broker accepts")
}

/// A broker with a topic, and its coordinators.
fn started(setup: Setup) -> (Broker, Client, Uuid) {
    let broker = setup.start();
    let mut client = connect(&broker);
    let new = CreatableTopic::default()
        .with_name(TopicName(text("t")))
        .with_num_partitions(PARTITIONS)
        .with_replication_factor(-1);
    let created = client.ask(7, &CreateTopicsRequest::default().with_topics(vec![new])).expect("an answer");
    let id = created.topics[0].topic_id;
    find_coordinator(&mut client);
    (broker, client, id)
}

fn find_coordinator(client: &mut Client) {
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    while client.ask(6, &find).expect("an answer").coordinators[0].error_code != 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn group(number: usize) -> GroupId {
    GroupId(text(&format!("group-{number:05}")))
}

fn commit_request(number: usize, partitions: i32, offset: i64) -> OffsetCommitRequest {
    let one = |partition| {
        OffsetCommitRequestPartition::default().with_partition_index(partition).with_committed_offset(offset)
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions((0..partitions).map(one).collect());
    OffsetCommitRequest::default()
        .with_group_id(group(number))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

fn hear_commit(client: &mut Client) -> bool {
    let answer = client.heard::<OffsetCommitRequest>().expect("an answer");
    answer.topics.iter().flat_map(|topic| &topic.partitions).all(|told| told.error_code == 0)
}

/// Every group commits so many partitions once.
fn commit_all(client: &mut Client, partitions: i32) {
    for first in (0..GROUPS).step_by(IN_FLIGHT) {
        for number in first..first + IN_FLIGHT {
            client.send_request(8, &commit_request(number, partitions, 1)).expect("the broker reads");
        }
        for _ in 0..IN_FLIGHT {
            assert!(hear_commit(client), "a commit is refused");
        }
    }
}

/// Memory that is the process's own, bar what its files take in the cache.
fn anonymous_kib(broker: &Broker) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a field of Linux");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// The broker's memory, once it stays the same.
fn settled_kib(broker: &Broker) -> f64 {
    let mut before = anonymous_kib(broker);
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = anonymous_kib(broker);
        if (now - before).abs() < 64.0 {
            return now;
        }
        before = now;
    }
}

fn memory() {
    let (mut broker, mut client, _) = started(Setup::default());
    let before = settled_kib(&broker);
    commit_all(&mut client, 1);
    // The figures of groups take their place, too.
    broker.metrics();
    let after = settled_kib(&broker);
    println!(
        "memory: {GROUPS} groups with one offset: {:.2} KiB a group ({:.1} MiB before, {:.1} after), with what of the log is kept",
        (after - before) / GROUPS as f64,
        before / KIB,
        after / KIB
    );
    drop(client);
    broker.stop();
    broker.restart();
    find_coordinator(&mut connect(&broker));
    let loaded = settled_kib(&broker);
    let (mut other, client, _) = started(Setup::default());
    drop(client);
    other.stop();
    other.restart();
    find_coordinator(&mut connect(&other));
    let empty = settled_kib(&other);
    println!(
        "memory: the same, loaded by a restart: {:.2} KiB a group ({:.1} MiB, {:.1} without groups)",
        (loaded - empty) / GROUPS as f64,
        loaded / KIB,
        empty / KIB
    );
}

fn produce(client: &mut Client, topic: Uuid, value: &[u8]) -> Duration {
    let records = BatchBuilder::new().record(1_767_225_600_000, None, Some(value)).build();
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let data = TopicProduceData::default().with_topic_id(topic).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data]);
    let sent = Instant::now();
    let answer = client.ask(13, &request).expect("an answer");
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    sent.elapsed()
}

/// Latencies of producing at a fixed rate, in order. One that comes late is counted from when it was due.
fn produce_for(client: &mut Client, topic: Uuid, span: Duration) -> Vec<Duration> {
    let (began, value) = (Instant::now(), vec![b'x'; 1024]);
    let mut latencies = Vec::new();
    for number in 0.. {
        let due = began + Duration::from_secs(1) * number / PRODUCED_A_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if began.elapsed() >= span {
            break;
        }
        let late = due.elapsed();
        latencies.push(late + produce(client, topic, &value));
    }
    latencies.sort();
    latencies
}

/// The latency that a share of them does not exceed, in milliseconds.
fn at(latencies: &[Duration], share: f64) -> f64 {
    latencies[(latencies.len() as f64 * share) as usize].as_secs_f64() * 1e3
}

fn told(latencies: &[Duration]) -> String {
    let [p50, p99, most] = [0.5, 0.99, 0.9999].map(|share| at(latencies, share));
    format!("p50 {p50:.2} ms, p99 {p99:.2} ms, at most {most:.2} ms of {}", latencies.len())
}

/// Commits at a fixed rate of requests until it is told to stop.
fn commit_steadily(
    mut client: Client,
    partitions: i32,
    requests_a_second: u32,
    done: &AtomicU64,
    ends: &AtomicBool,
) {
    let began = Instant::now();
    let mut sent = 0;
    while !ends.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * f64::from(requests_a_second)) as usize;
        let now = (due - sent).min(IN_FLIGHT);
        if now == 0 {
            std::thread::sleep(Duration::from_micros(500));
            continue;
        }
        for number in sent..sent + now {
            let request = commit_request(number % GROUPS, partitions, number as i64);
            client.send_request(8, &request).expect("the broker reads");
        }
        sent += now;
        for _ in 0..now {
            assert!(hear_commit(&mut client), "a commit is refused");
            done.fetch_add(partitions.unsigned_abs().into(), Ordering::Relaxed);
        }
    }
}

/// Latencies of producing while two connections commit so many offsets a request, so many requests a second; and the offsets a second.
fn produce_beside(
    broker: &Broker,
    client: &mut Client,
    topic: Uuid,
    (partitions, requests_a_second): (i32, u32),
) -> (Vec<Duration>, f64) {
    let (done, ends) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let client = connect(broker);
            let (done, ends) = (&done, &ends);
            scope.spawn(move || commit_steadily(client, partitions, requests_a_second / 2, done, ends));
        }
        std::thread::sleep(WARM_UP);
        let before = done.load(Ordering::Relaxed);
        let latencies = produce_for(client, topic, SPAN);
        let rate = (done.load(Ordering::Relaxed) - before) as f64 / SPAN.as_secs_f64();
        ends.store(true, Ordering::Relaxed);
        (latencies, rate)
    })
}

/// Producing alone and beside commits by turns, for the machine's own pace changes from minute to minute.
fn commits() {
    let (broker, mut client, topic) = started(Setup::default());
    commit_all(&mut client, PARTITIONS);
    produce_for(&mut client, topic, WARM_UP);
    let mut alone = Vec::new();
    let mut beside = COMMITS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        alone.push(produce_for(&mut client, topic, SPAN));
        println!("commits: producing alone: {}", told(alone.last().expect("just pushed")));
        for (load, rounds) in COMMITS.into_iter().zip(&mut beside) {
            let (latencies, rate) = produce_beside(&broker, &mut client, topic, load);
            let (partitions, requests) = load;
            println!(
                "commits: {partitions} offsets a request, {requests} requests a second asked for, {rate:.0} offsets a second made: {}",
                told(&latencies)
            );
            rounds.push(latencies);
        }
    }
    let p99 = |rounds: &[Vec<Duration>]| {
        let mut all: Vec<f64> = rounds.iter().map(|latencies| at(latencies, 0.99)).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!("commits: median p99 of {ROUNDS} rounds: alone {:.2} ms", p99(&alone));
    for ((partitions, requests), rounds) in COMMITS.into_iter().zip(&beside) {
        println!(
            "commits: median p99 of {ROUNDS} rounds: beside {requests} requests a second of {partitions} offsets {:.2} ms, {:+.0} %",
            p99(rounds),
            (p99(rounds) / p99(&alone) - 1.0) * 100.0
        );
    }
}

/// A member with a connection of its own.
struct Member {
    client: Client,
    joined: JoinGroupResponse,
}

impl Member {
    fn join_request(&self) -> JoinGroupRequest {
        let metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
        let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(metadata);
        JoinGroupRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(60_000)
            .with_member_id(self.joined.member_id.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }

    fn sync_request(&self) -> SyncGroupRequest {
        let assign = |member: &kafka_protocol::messages::join_group_response::JoinGroupResponseMember| {
            SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id.clone())
                .with_assignment(Bytes::from_static(&[0; 64]))
        };
        SyncGroupRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id(self.joined.generation_id)
            .with_member_id(self.joined.member_id.clone())
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(self.joined.members.iter().map(assign).collect())
    }
}

/// All join, and ask for their assignments as soon as they have; when the first was answered, and when the last had its assignment.
fn join_all(members: &mut [Member]) -> (Instant, Instant) {
    for member in members.iter_mut() {
        member.client.send_request(9, &member.join_request()).expect("the broker reads");
    }
    let mut first = None;
    for member in members.iter_mut() {
        member.joined = member.client.heard::<JoinGroupRequest>().expect("an answer");
        assert_eq!(member.joined.error_code, 0, "{:?}", member.joined);
        first.get_or_insert_with(Instant::now);
        member.client.send_request(5, &member.sync_request()).expect("the broker reads");
    }
    for member in members.iter_mut() {
        assert_eq!(member.client.heard::<SyncGroupRequest>().expect("an answer").error_code, 0);
    }
    (first.expect("somebody joined"), Instant::now())
}

fn rebalance() {
    let (broker, ..) = started(Setup::default());
    let member = |_| Member { client: connect(&broker), joined: JoinGroupResponse::default() };
    let mut members: Vec<Member> = (0..MEMBERS).map(member).collect();
    let began = Instant::now();
    for member in &mut members {
        let named = member.client.ask(9, &member.join_request()).expect("an answer");
        member.joined.member_id = named.member_id;
    }
    let (first, last) = join_all(&mut members);
    println!(
        "rebalance: {MEMBERS} members join an empty group: {:.3} s in all (3 s of delay, and once more as members came), \
         {:.3} s from the delay's end to the last assignment",
        (last - began).as_secs_f64(),
        (last - first).as_secs_f64()
    );
    let mut gone = members.pop().expect("there are members");
    let leaving = MemberIdentity::default().with_member_id(gone.joined.member_id.clone());
    let request = LeaveGroupRequest::default().with_group_id(GroupId(text("g"))).with_members(vec![leaving]);
    let began = Instant::now();
    assert_eq!(gone.client.ask(5, &request).expect("an answer").error_code, 0);
    for member in &mut members {
        let beat = HeartbeatRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id(member.joined.generation_id)
            .with_member_id(member.joined.member_id.clone());
        assert_eq!(member.client.ask(4, &beat).expect("an answer").error_code, 27);
    }
    let (_, last) = join_all(&mut members);
    println!(
        "rebalance: one leaves, {} go on: {:.3} s until the last has its assignment",
        members.len(),
        (last - began).as_secs_f64()
    );
}
