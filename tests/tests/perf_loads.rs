//! Loads of several topics and subscriptions against a real broker: each subscription reads each record of each topic once.

#[path = "perf/command.rs"]
mod command;

use command::perf;
use hayate_tests::broker::{Broker, fresh_folder};
use serde_json::Value;
use std::fs;

fn records(side: &Value) -> u64 {
    side["records"].as_u64().expect("a count")
}

#[test]
fn each_subscription_reads_every_record_of_every_topic() {
    let broker = Broker::start();
    let at = broker.bootstrap();
    let load =
        "--topics 3 --partitions 2 --producers 2 --warm-up 0 --duration 1 --rate 1500 --record-size 100";
    let (told, ended) = perf(&format!(
        "e2e --bootstrap-server {at} --topic many {load} --subscriptions 2 --consumers 4 --threads 2"
    ));
    assert_eq!(ended, Ok(()));
    assert_eq!((records(&told["produce"]), records(&told["e2e"])), (1500, 3000));
    // All of the topics together hold what was produced, and none of them all of it.
    let (told, ended) = perf(&format!("consume --bootstrap-server {at} --topic many --topics 3"));
    assert_eq!((ended, records(&told["consume"])), (Ok(()), 1500));
    for number in 0..3 {
        let (told, ended) = perf(&format!("consume --bootstrap-server {at} --topic many-{number}"));
        assert_eq!((ended, records(&told["consume"])), (Ok(()), 500), "{number}");
    }
    let (told, ended) =
        perf(&format!("consume --bootstrap-server {at} --topic many --topics 3 --subscriptions 3"));
    assert_eq!((ended, records(&told["consume"])), (Ok(()), 4500));
}

#[test]
fn a_topic_that_is_missing_among_several_is_named() {
    let broker = Broker::start();
    let at = broker.bootstrap();
    let load = format!("produce --bootstrap-server {at} --topic some --topics 2 --rate 10");
    assert_eq!(perf(&format!("{load} --warm-up 0 --duration 0.5")).1, Ok(()));
    let why =
        perf(&format!("consume --bootstrap-server {at} --topic some --topics 3")).1.expect_err("missing");
    assert!(why.contains("some-2") && why.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{why}");
}

#[test]
fn a_workload_file_of_the_openmessaging_benchmark_is_run() {
    let broker = Broker::start();
    let folder = fresh_folder();
    fs::create_dir_all(&folder).expect("a folder");
    let (workload, driver) = (folder.join("workload.yaml"), folder.join("driver.yaml"));
    let text = "name: 2 topics / 1 partition\ntopics: 2\npartitionsPerTopic: 1\nmessageSize: 100\n\
        payloadFile: payload/payload-100b.data\nsubscriptionsPerTopic: 2\nconsumerPerSubscription: 1\n\
        producersPerTopic: 1\nproducerRate: 1000\nconsumerBacklogSizeGB: 0\ntestDurationMinutes: 5\n";
    fs::write(&workload, text).expect("a file");
    let text = format!(
        "name: Kafka\nreplicationFactor: 1\ncommonConfig: |\n  bootstrap.servers={}\nproducerConfig: |\n  linger.ms=0\n",
        broker.bootstrap()
    );
    fs::write(&driver, text).expect("a file");
    let line =
        format!("omb {} --driver {} -- --duration 1 --warm-up 0", workload.display(), driver.display());
    let (told, ended) = perf(&line);
    assert_eq!(ended, Ok(()));
    assert_eq!((records(&told["produce"]), records(&told["e2e"])), (1000, 2000));
    fs::remove_dir_all(&folder).expect("the folder goes");
}
