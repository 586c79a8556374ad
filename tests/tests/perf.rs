//! The perf harness against real brokers: it counts what happened, every record once, and says so when something did not.

#[path = "perf/command.rs"]
mod command;

use command::perf;
use hayate_tests::broker::Broker;
use serde_json::Value;
use std::time::Duration;

fn records(side: &Value) -> u64 {
    side["records"].as_u64().expect("a count")
}

fn ms(side: &Value, percentile: &str) -> f64 {
    side["latency_ms"][percentile].as_f64().expect("a latency")
}

#[test]
fn what_was_produced_at_a_rate_is_consumed() {
    let broker = Broker::start();
    let at = broker.bootstrap();
    let (produced, ended) = perf(&format!(
        "produce --bootstrap-server {at} --partitions 3 --producers 2 --rate 3000 --record-size 20..400 --warm-up 0 --duration 2 --pid {}",
        broker.pid()
    ));
    assert_eq!(ended, Ok(()));
    assert_eq!(records(&produced["produce"]), 6000);
    assert!(
        ms(&produced["produce"], "p50") > 0.0
            && ms(&produced["produce"], "p50") <= ms(&produced["produce"], "max")
    );
    assert!(produced["processes"][0]["cpu_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    let (consumed, ended) = perf(&format!("consume --bootstrap-server {at} --consumers 2 --threads 2"));
    assert_eq!((ended, records(&consumed["consume"])), (Ok(()), 6000));
    let intervals = produced["intervals"].as_array().expect("intervals");
    assert_eq!(intervals.iter().map(|each| records(&each["produce"])).sum::<u64>(), 6000);
}

#[test]
fn every_record_is_read_once_however_it_is_packed() {
    let broker = Broker::start();
    let at = broker.bootstrap();
    for (number, manner) in [
        "--linger-ms 0",
        "--compression-type zstd --random 0.3 --keys 7",
        "--acks 1 --producers 3 --consumers 3 --batch-size 300 --max-in-flight 1",
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!(
            "e2e --bootstrap-server {at} --topic t{number} --partitions 2 --rate 2000 --record-size 100 --warm-up 0 --duration 1 {manner}"
        );
        let (told, ended) = perf(&line);
        assert_eq!(ended, Ok(()), "{manner}");
        assert_eq!((records(&told["produce"]), records(&told["e2e"])), (2000, 2000), "{manner}");
        assert_eq!(told["e2e"]["bytes"], 200_000, "{manner}");
    }
}

#[test]
fn as_fast_as_can_be_is_counted_too() {
    let broker = Broker::start();
    let at = broker.bootstrap();
    let (produced, ended) = perf(&format!("produce --bootstrap-server {at} --warm-up 0 --duration 1"));
    assert_eq!(ended, Ok(()));
    let (consumed, ended) = perf(&format!("consume --bootstrap-server {at}"));
    assert_eq!((ended, records(&consumed["consume"])), (Ok(()), records(&produced["produce"])));
}

#[test]
fn a_search_ends_at_the_highest_rate_that_keeps_its_latency() {
    let broker = Broker::start();
    let line = |more: &str| {
        format!(
            "search --bootstrap-server {} --warm-up 0 --duration 0.5 --pause 0 --record-size 50 {more}",
            broker.bootstrap()
        )
    };
    let (told, ended) = perf(&line("--rate 1000 --limit-ms 5000 --max-rate 4000"));
    assert_eq!(ended, Ok(()));
    assert_eq!(told["rate"], 4000.0);
    let rates: Vec<f64> = told["trials"]
        .as_array()
        .expect("trials")
        .iter()
        .map(|trial| trial["rate"].as_f64().expect("a rate"))
        .collect();
    assert_eq!(rates, [1000.0, 2000.0, 4000.0, 4000.0]);
    assert_eq!(records(&told["trials"][1]["sides"]["e2e"]), 1000);
    // Nobody answers in a microsecond.
    let (told, ended) = perf(&line("--of produce --limit-ms 0.001 --rate 4"));
    assert!(ended.expect_err("too slow").contains("not even the lowest rate"));
    assert_eq!(told["rate"], Value::Null);
}

#[test]
fn a_broker_that_dies_ends_the_run_and_what_was_measured_is_kept() {
    let mut broker = Broker::start();
    let line =
        format!("produce --bootstrap-server {} --rate 1000 --warm-up 0 --duration 20", broker.bootstrap());
    let running = std::thread::spawn(move || perf(&line));
    std::thread::sleep(Duration::from_secs(2));
    broker.kill();
    let (told, ended) = running.join().expect("it ends");
    let why = ended.expect_err("the broker is gone");
    assert!(why.contains("connection is lost"), "{why}");
    assert!((100..3000).contains(&records(&told["produce"])), "{told}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let broker = Broker::start();
    let at = broker.bootstrap();
    assert_eq!(
        perf(&format!("produce --bootstrap-server {at} --partitions 2 --rate 10 --warm-up 0 --duration 0.5"))
            .1,
        Ok(())
    );
    for (line, why) in [
        ("produce --bootstrap-server 127.0.0.1:1 --rate 10".to_owned(), "cannot be reached"),
        (format!("produce --bootstrap-server {at} --partitions 5 --rate 10"), "has 2 partitions, not 5"),
        (format!("consume --bootstrap-server {at} --topic none"), "UNKNOWN_TOPIC_OR_PARTITION"),
        (
            format!(
                "produce --bootstrap-server {at} --topic small --topic-config max.message.bytes=100 --rate 10 --record-size 500 --warm-up 0 --duration 0.5"
            ),
            "refusals",
        ),
    ] {
        let said = perf(&line).1.expect_err(&line);
        assert!(said.contains(why), "{line}: {said}");
    }
}
