//! The perf harness's trials against real brokers: commits, connections, numbers of partitions, rebalances.

#[path = "perf/command.rs"]
mod command;

use command::perf;
use hayate_tests::broker::{Broker, Setup};
use serde_json::Value;
use std::time::Duration;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The percentiles of a side are there, and in order.
fn assert_latencies(side: &Value) {
    let at = |name: &str| number(&side["latency_ms"][name]);
    assert!(0.0 < at("p50") && at("p50") <= at("p99") && at("p99") <= at("max"), "{side}");
}

#[test]
fn offsets_are_committed_at_a_rate_and_records_produced_beside() {
    let broker = Broker::start();
    let (at, pid) = (broker.bootstrap(), broker.pid());
    let load = "--groups 8 --partitions 5 --connections 2 --produce-rate 50 --warm-up 0 --duration 2";
    let (told, ended) = perf(&format!("commit --bootstrap-server {at} --pid {pid} --rate 500 {load}"));
    assert_eq!(ended, Ok(()));
    assert_eq!((&told["commit"]["offsets"], &told["produce"]["records"]), (&1000.into(), &100.into()));
    assert_latencies(&told["commit"]);
    assert_latencies(&told["produce"]);
    assert!(number(&told["processes"][0]["cpu_seconds"]) > 0.0);
    let intervals = told["intervals"].as_array().expect("intervals");
    assert_eq!(intervals.iter().map(|each| number(&each["commit"]["offsets"])).sum::<f64>(), 1000.0);

    let (told, ended) = perf(&format!("commit --bootstrap-server {at} --rate 0 {load}"));
    assert_eq!(ended, Ok(()));
    assert_eq!((&told["commit"]["offsets"], &told["produce"]["records"]), (&0.into(), &100.into()));

    let (told, ended) =
        perf(&format!("commit --bootstrap-server {at} --partitions 5 --rate max --warm-up 0 --duration 1"));
    assert_eq!(ended, Ok(()));
    assert!(number(&told["commit"]["offsets"]) > 100.0 && told.get("produce").is_none());
}

#[test]
fn connections_are_opened_held_and_alive() {
    let broker = Broker::start();
    let (at, pid) = (broker.bootstrap(), broker.pid());
    let (told, ended) = perf(&format!(
        "connections --bootstrap-server {at} --pid {pid} --connections 200 --connect-rate 200 --hold 0.5"
    ));
    assert_eq!(ended, Ok(()));
    assert_eq!((&told["open"]["connections"], &told["alive"]["connections"]), (&200.into(), &200.into()));
    assert_eq!(told["held"], 200);
    assert_latencies(&told["open"]);
    assert!(told["processes"][0]["bytes_a_connection"].is_number(), "{told}");
    // Several local addresses do, too.
    let (told, ended) = perf(&format!(
        "connections --bootstrap-server {at} --connections 40 --connect-rate 100 --hold 0 --local-address 127.0.0.1,127.0.0.3"
    ));
    assert_eq!((ended, &told["alive"]["connections"]), (Ok(()), &40.into()));
}

#[test]
fn connections_that_a_broker_does_not_take_are_told() {
    let broker = Setup::default().set("max.connections.per.ip", 50).start();
    let (told, ended) = perf(&format!(
        "connections --bootstrap-server {} --connections 80 --connect-rate 400 --hold 0.2",
        broker.bootstrap()
    ));
    let why = ended.expect_err("the broker takes fewer");
    assert!(why.contains(" of 80 connections"), "{why}");
    assert!((20.0..80.0).contains(&number(&told["alive"]["connections"])), "{told}");
}

#[test]
fn partitions_are_told_count_by_count_and_their_topics_go() {
    let broker = Broker::start();
    let (at, pid) = (broker.bootstrap(), broker.pid());
    let line = format!(
        "partitions --bootstrap-server {at} --pid {pid} --counts 1,20 --rate 200 --warm-up 0 --duration 1"
    );
    // A second time: it does not find topics of the first.
    for _ in 0..2 {
        let (told, ended) = perf(&line);
        assert_eq!(ended, Ok(()));
        let counts = told["counts"].as_array().expect("a list");
        assert_eq!(counts.iter().map(|row| number(&row["partitions"])).collect::<Vec<_>>(), [1.0, 20.0]);
        for row in counts {
            assert_eq!(row["produce"]["records"], 200);
            assert_latencies(&row["produce"]);
            assert!(number(&row["leaders_seconds"]) > 0.0 && number(&row["p50_ratio"]) > 0.0, "{row}");
            assert!(number(&row["processes"][0]["cpu_seconds"]) >= 0.0);
        }
        assert_eq!(counts[0]["p50_ratio"], 1.0);
    }
    assert_eq!(perf(&format!("{line} --keep")).1, Ok(()));
    let why = perf(&line).1.expect_err("the topics are there");
    assert!(why.contains("TOPIC_ALREADY_EXISTS"), "{why}");
}

fn quick_groups() -> Broker {
    Setup::default()
        .set("group.initial.rebalance.delay.ms", 200)
        .set("group.consumer.min.heartbeat.interval.ms", 100)
        .set("group.consumer.heartbeat.interval.ms", 200)
        .start()
}

#[test]
fn rebalances_are_timed_in_both_protocols() {
    let broker = quick_groups();
    for protocol in ["classic", "consumer"] {
        let (told, ended) = perf(&format!(
            "rebalance --bootstrap-server {} --protocol {protocol} --group {protocol} --members 5 --partitions 7 --rounds 2 \
             --topic rebalanced --heartbeat-interval-ms 200",
            broker.bootstrap()
        ));
        assert_eq!(ended, Ok(()), "{protocol}");
        for step in ["all_join", "one_leaves", "one_joins"] {
            assert_eq!(told[step]["rounds"], 2, "{protocol}: {step}");
            assert_latencies(&told[step]);
        }
        let rounds = told["rounds"].as_array().expect("a list");
        if protocol == "classic" {
            // The broker's delay is part of it.
            assert!(rounds.iter().all(|round| number(&round["all_join"]) >= 200.0), "{told}");
        }
    }
}

#[test]
fn a_broker_that_dies_ends_a_trial_and_what_was_measured_is_kept() {
    for line in [
        "commit --rate 500 --groups 3 --warm-up 0 --duration 30",
        "connections --connections 50 --connect-rate 100 --hold 30",
        "rebalance --members 2 --rounds 1000 --heartbeat-interval-ms 100",
    ] {
        let mut broker = quick_groups();
        let words = format!("{line} --bootstrap-server {}", broker.bootstrap());
        let running = std::thread::spawn(move || perf(&words));
        std::thread::sleep(Duration::from_secs(4));
        broker.kill();
        let (told, ended) = running.join().expect("it ends");
        let why = ended.expect_err(line);
        assert!(why.contains("lost") || why.contains("alive at the end"), "{line}: {why}");
        let measured = match line.split_whitespace().next() {
            Some("commit") => &told["commit"]["offsets"],
            Some("connections") => &told["open"]["connections"],
            _ => &told["all_join"]["rounds"],
        };
        assert!(number(measured) > 0.0, "{line}: {told}");
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let broker = Broker::start();
    let at = broker.bootstrap();
    for workload in ["commit", "connections", "partitions", "rebalance"] {
        let said = perf(&format!("{workload} --bootstrap-server 127.0.0.1:1")).1.expect_err(workload);
        assert!(said.contains("cannot be reached"), "{workload}: {said}");
    }
    let many = format!("connections --bootstrap-server {at} --connections 70000 --local-address 127.0.0.1");
    let said = perf(&many).1.expect_err("one address has not so many ports");
    // Which of both is short depends on the machine.
    assert!(
        said.contains("file descriptors are needed") || said.contains("need 3 local addresses"),
        "{said}"
    );
    let rate =
        perf(&format!("commit --bootstrap-server {at} --partitions 3 --rate 30 --warm-up 0 --duration 1")).1;
    assert_eq!(rate, Ok(()));
    let said =
        perf(&format!("commit --bootstrap-server {at} --partitions 5 --rate 30")).1.expect_err("it has 3");
    assert!(said.contains("has 3 partitions, not 5"), "{said}");
}
