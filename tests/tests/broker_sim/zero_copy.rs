//! Records reach the socket in the memory that they were appended to or read into: shown by addresses. Every buffer that is compared is
//! kept alive, so that a copy cannot have the address of what it was copied from.

use super::check;
use bytes::Bytes;
use hayate_engine::broker::RunningShard;
use hayate_engine::metrics::CopyPath;
use hayate_tests::broker_sim::{BROKER, Bench, Client, Topic, records_from, values};

const PARTITIONS: i32 = 4;
/// Batches of a partition.
const BATCHES: i64 = 60;
/// Stands in every record, and nowhere else in what a broker sends.
const MARK: &str = "<<a record that must not be moved>>";

fn value(partition: i32, number: i64) -> String {
    format!("{MARK}{partition}/{number}/{}", "x".repeat(1500))
}

async fn fill(client: &mut Client) -> Topic {
    let topic = client.create_topic("unmoved", PARTITIONS).await;
    for number in 0..BATCHES {
        for partition in 0..PARTITIONS {
            client.produce(&topic, partition, &[&value(partition, number)]).await.expect("it goes through");
        }
    }
    topic
}

/// Fetches, checks what came, and returns how many bytes of records that were.
async fn fetch(client: &mut Client, topic: &Topic, from: &[(i32, i64)]) -> usize {
    let fetched = client.fetch(topic, from, 1, 0).await;
    let mut bytes = 0;
    for (partition, offset) in from {
        let expected: Vec<_> = (*offset..BATCHES).map(|number| value(*partition, number)).collect();
        assert_eq!(values(&fetched, *partition), expected, "partition {partition}");
        bytes += records_from(&fetched, *partition).len();
    }
    bytes
}

fn has_mark(segment: &Bytes) -> bool {
    segment.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

fn lies_in(slice: &Bytes, buffer: &Bytes) -> bool {
    let (slice, buffer) = (slice.as_ptr_range(), buffer.as_ptr_range());
    buffer.start <= slice.start && slice.end <= buffer.end
}

/// What was sent of records lies in `sources`, and was `bytes` long. A segment carries either records or what stands around them.
fn assert_unmoved(bench: &Bench, sources: &[Bytes], bytes: usize) {
    let sent: Vec<Bytes> = bench.network.take_sent(BROKER).into_iter().filter(has_mark).collect();
    assert_eq!(sent.iter().map(Bytes::len).sum::<usize>(), bytes, "records go out in segments of their own");
    for slice in &sent {
        let at_home = sources.iter().any(|source| lies_in(slice, source));
        assert!(at_home, "{} bytes were sent from {:p}, a copy", slice.len(), slice.as_ptr());
    }
}

fn chunks(running: &[RunningShard]) -> Vec<Bytes> {
    let partitions = running.iter().flat_map(|running| running.shard.owner.partitions());
    partitions.flat_map(|partition| partition.log().chunk_bytes()).collect()
}

fn copied(running: &[RunningShard]) -> u64 {
    running.iter().map(|running| running.shard.metrics.copied_bytes(CopyPath::Fetch)).sum()
}

/// One partition; every one, so that several shards answer; and from the middle on.
fn fetches() -> Vec<Vec<(i32, i64)>> {
    let all = |offset: i64| (0..PARTITIONS).map(|partition| (partition, offset)).collect();
    vec![vec![(0, 0)], vec![(PARTITIONS - 1, BATCHES - 1)], all(0), all(BATCHES / 2)]
}

fn check_unmoved(shards: u16) {
    check(shards, |bench| async move {
        bench.network.keep_sent();
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = fill(&mut client).await;
        assert!(running.iter().all(|running| !running.shard.owner.partitions().is_empty()));
        for from in fetches() {
            bench.network.take_sent(BROKER);
            let bytes = fetch(&mut client, &topic, &from).await;
            assert_unmoved(&bench, &chunks(&running), bytes);
        }
        assert_eq!(copied(&running), 0);
        bench.stop(running).await;

        // Nothing is in memory after a start: the same fetches come from the disk.
        let running = bench.start().await;
        let mut client = bench.client().await;
        bench.disk.keep_read();
        let mut read = Vec::new();
        for from in fetches() {
            bench.network.take_sent(BROKER);
            let bytes = fetch(&mut client, &topic, &from).await;
            read.extend(bench.disk.take_read());
            assert_unmoved(&bench, &read, bytes);
        }
        assert_eq!((copied(&running), chunks(&running).len()), (0, 0));
        bench.stop(running).await;
    });
}

#[test]
fn records_leave_one_shard_from_where_they_lie() {
    check_unmoved(1);
}

#[test]
fn records_of_several_shards_leave_from_where_they_lie() {
    check_unmoved(3);
}
