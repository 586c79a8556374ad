//! What the hot path's bodies cost: nanoseconds per call of our produce parser, the guard, and the fetch rope beside the
//! crate's copying encoder. Run with `cargo bench -p hayate-net`; prints the median of 21 rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use hayate_net::wire::fetch::{self, FetchResponse, FetchedPartition, FetchedTopic};
use hayate_net::wire::topic::TopicRef;
use hayate_net::wire::{guard, produce};
use kafka_protocol::messages::{self, TopicName, fetch_response, metadata_request, produce_request};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

const ROUNDS: usize = 21;
const CALLS: u32 = 20_000;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time, outside the simulator")]
fn now() -> Instant {
    Instant::now()
}

fn bench<T>(name: &str, calls: u32, mut call: impl FnMut() -> T) {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = now();
            (0..calls).for_each(|_| drop(black_box(call())));
            now() - start
        })
        .collect();
    rounds.sort();
    println!("{name:<44} {:>9} ns", (rounds[ROUNDS / 2] / calls).as_nanos());
}

fn encoded(message: &impl Encodable, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    message.encode(&mut body, version).expect("encodable");
    body.freeze()
}

fn produce_body(partitions: i32, records: &Bytes) -> Bytes {
    let partition = |index| {
        produce_request::PartitionProduceData::default().with_index(index).with_records(Some(records.clone()))
    };
    let topic = produce_request::TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str("a-topic-of-some-length")))
        .with_partition_data((0..partitions).map(partition).collect());
    encoded(&messages::ProduceRequest::default().with_topic_data(vec![topic]), 9)
}

fn bench_produce(records: &Bytes) {
    for partitions in [1, 16] {
        let body = produce_body(partitions, records);
        bench(&format!("produce v9, {partitions} partitions: ours"), CALLS, || {
            produce::parse(9, &body, u64::MAX)
        });
        bench(&format!("produce v9, {partitions} partitions: guard and crate"), CALLS, || {
            guard::check(0, 9, &body, u64::MAX).expect("valid");
            messages::ProduceRequest::decode(&mut body.clone(), 9)
        });
    }
}

fn bench_guard() {
    let topic = |index: i32| {
        let name = StrBytes::from_string(format!("topic-{index}"));
        metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(name)))
    };
    let request = messages::MetadataRequest::default().with_topics(Some((0..100).map(topic).collect()));
    let body = encoded(&request, 12);
    bench("metadata v12, 100 topics: guard", CALLS / 10, || guard::check(3, 12, &body, u64::MAX));
    bench("metadata v12, 100 topics: crate", CALLS / 10, || {
        messages::MetadataRequest::decode(&mut body.clone(), 12)
    });
}

fn bench_fetch(records: &Bytes) {
    let name = || StrBytes::from_static_str("a-topic-of-some-length");
    bench(&format!("fetch v12, {} bytes: rope", records.len()), CALLS / 10, || {
        let partition = FetchedPartition { records: vec![records.clone()], ..FetchedPartition::empty(0) };
        let topic = FetchedTopic { topic: TopicRef::Name(name()), partitions: vec![partition] };
        fetch::encode_response(1, 12, FetchResponse { topics: vec![topic], ..FetchResponse::default() })
    });
    bench(&format!("fetch v12, {} bytes: crate, copying", records.len()), CALLS / 10, || {
        let partition = fetch_response::PartitionData::default().with_records(Some(records.clone()));
        let topic = fetch_response::FetchableTopicResponse::default()
            .with_topic(TopicName(name()))
            .with_partitions(vec![partition]);
        let mut frame = BytesMut::new();
        frame.put_i64(0);
        messages::FetchResponse::default()
            .with_responses(vec![topic])
            .encode(&mut frame, 12)
            .expect("encodable");
        frame
    });
}

fn main() {
    bench_produce(&Bytes::from(vec![7; 1 << 14]));
    bench_guard();
    bench_fetch(&Bytes::from(vec![7; 1 << 14]));
    bench_fetch(&Bytes::from(vec![7; 1 << 20]));
}
