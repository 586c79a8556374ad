//! What each topic takes in and gives out is counted, over all shards, for so many topics and no more, until they are deleted.

use super::{check, check_with};
use hayate_engine::broker::RunningShard;
use hayate_tests::broker_sim::{Client, Topic, records_of, values};
use std::collections::BTreeMap;

fn totals(running: &[RunningShard]) -> BTreeMap<String, [u64; 4]> {
    running[0].shard.metrics.topics.totals()
}

/// Produces two values to each partition; how many bytes that was.
async fn fill(client: &mut Client, topic: &Topic, partitions: i32) -> u64 {
    let mut bytes = 0;
    for partition in 0..partitions {
        let records = records_of(&["one", "two"]);
        bytes += records.len() as u64;
        client.produce_records(topic, partition, records).await.expect("appended");
    }
    bytes
}

#[test]
fn what_goes_in_and_out_is_counted_by_topic() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let (orders, quiet) = (client.create_topic("orders", 4).await, client.create_topic("quiet", 4).await);
        let produced = fill(&mut client, &orders, 4).await;
        assert_eq!(totals(&running), [("orders".to_owned(), [produced, 8, 0, 0])].into());
        let mut fetched = 0;
        for partition in 0..4 {
            let response = client.fetch(&orders, &[(partition, 1)], 1, 0).await;
            fetched +=
                response.responses[0].partitions[0].records.as_ref().map_or(0, |records| records.len());
            assert_eq!(values(&response, partition), ["one", "two"], "whole batches come");
        }
        client.fetch(&quiet, &[(0, 0)], 0, 0).await;
        assert_eq!(totals(&running)["orders"], [produced, 8, fetched as u64, 4], "from the wanted offset on");
        let all: u64 = running.iter().map(|shard| shard.shard.metrics.produced_bytes.get()).sum();
        assert_eq!(all, produced);
        let all: u64 = running.iter().map(|shard| shard.shard.metrics.fetched_bytes.get()).sum();
        assert_eq!(all, fetched as u64);
        assert!(client.produce_records(&orders, 9, records_of(&["x"])).await.is_err());
        assert_eq!(totals(&running)["orders"][0], produced, "what is refused is not counted");
    });
}

#[test]
fn a_deleted_topic_takes_its_series_with_it() {
    check(3, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        for _ in 0..2 {
            let topic = client.create_topic("t", 6).await;
            let produced = fill(&mut client, &topic, 6).await;
            assert_eq!(totals(&running), [("t".to_owned(), [produced, 12, 0, 0])].into(), "anew each time");
            client.delete_topic("t").await;
            assert_eq!(totals(&running), BTreeMap::new());
        }
    });
}

#[test]
fn topics_beyond_the_limit_share_a_series() {
    check_with(
        2,
        |options| options.metrics_topics_max = 2,
        |bench| async move {
            let running = bench.start().await;
            let mut client = bench.client().await;
            let mut produced = Vec::new();
            for name in ["a", "b", "c", "d"] {
                let topic = client.create_topic(name, 3).await;
                produced.push(fill(&mut client, &topic, 3).await);
            }
            let shared = [produced[2] + produced[3], 12, 0, 0];
            let own = |topic: &str, place: usize| (topic.to_owned(), [produced[place], 6, 0, 0]);
            assert_eq!(totals(&running), [("(other)".to_owned(), shared), own("a", 0), own("b", 1)].into());
            client.delete_topic("a").await;
            let topic = client.create_topic("e", 3).await;
            fill(&mut client, &topic, 3).await;
            let topics: Vec<String> = totals(&running).into_keys().collect();
            assert_eq!(topics, ["(other)", "b", "e"], "what a deleted one leaves is taken by a new one");
        },
    );
}
