//! What an idle broker costs: the time until an empty one serves, its memory, its CPU. Prints the figures.
//!
//! A debug build is not held to the time that a released one must keep.

#[path = "start/listeners.rs"]
mod listeners;

use hayate_tests::broker::{Broker, Setup, is_released};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const START_TIME_MAX: Duration = Duration::from_millis(100);
const STARTS: usize = 5;
const RESIDENT_BYTES_MAX: f64 = (32 << 20) as f64;
const RESIDENT_BYTES_MAX_PER_SHARD: f64 = (16 << 20) as f64;
const IDLE_CPU_MAX: f64 = 0.02;
/// A request: length, ApiVersions (18) version 0, correlation id, no client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
/// How long the idle broker is watched.
const IDLE_TIME: Duration = Duration::from_secs(4);

#[test]
fn an_empty_broker_starts_at_once() {
    let mut times: Vec<Duration> = (0..STARTS).map(|_| Broker::start().ready_after()).collect();
    times.sort_unstable();
    println!("empty start, two shards, until /ready: {times:.1?}, median {:.1?}", times[STARTS / 2]);
    if is_released() {
        assert!(times[STARTS / 2] <= START_TIME_MAX);
    } else {
        println!("a debug build: not held to {START_TIME_MAX:?}");
    }
}

#[test]
fn an_idle_broker_is_small_and_still() {
    for shards in [1, 2] {
        let broker = Setup::default().set("shards", shards).start();
        let (before, began) = (cpu_seconds(&broker), Instant::now());
        std::thread::sleep(IDLE_TIME);
        let load = (cpu_seconds(&broker) - before) / began.elapsed().as_secs_f64();
        let resident_bytes = broker.metrics()["process_resident_memory_bytes"];
        let limit = RESIDENT_BYTES_MAX + f64::from(shards) * RESIDENT_BYTES_MAX_PER_SHARD;
        println!(
            "idle, {shards} shards: {:.1} MiB resident (limit {:.0}), {:.2} % of a core (limit {:.0})",
            resident_bytes / 1048576.0,
            limit / 1048576.0,
            load * 100.0,
            IDLE_CPU_MAX * 100.0
        );
        assert!(resident_bytes <= limit && load <= IDLE_CPU_MAX);
    }
}

fn cpu_seconds(broker: &Broker) -> f64 {
    broker.metrics()["process_cpu_seconds_total"]
}

#[test]
fn a_start_tells_that_it_is_ready_and_a_stop_that_it_is_clean() {
    let mut broker = Broker::start();
    assert_eq!(broker.page("/health").status, 200);
    assert_eq!(broker.page("/ready").body, "ready\n");
    let metrics = broker.metrics();
    assert_eq!(metrics["hayate_shards"], 2.0);
    assert!(metrics.keys().any(|name| name.starts_with("hayate_build_info{version=")));
    for _ in 0..3 {
        broker.stop();
        let log = broker.log();
        assert!(log.contains("stopped") && log.contains("clean=true"), "{log}");
        broker.restart();
        assert!(!broker.log().contains("not clean"), "{}", broker.log());
    }
    broker.kill();
    broker.restart();
    assert!(broker.log().contains("not clean"), "{}", broker.log());
}

/// A connection whose peer asks and asks, and reads nothing: until the broker can write no more.
fn stubborn_peer(broker: &Broker) -> TcpStream {
    let mut stream = TcpStream::connect(broker.addresses().kafka).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let many = API_VERSIONS.repeat(1000);
    while stream.write(&many).is_ok() {}
    stream
}

#[test]
fn requests_that_a_stop_leaves_unread_do_not_reset_the_connection() {
    let mut broker = Broker::start();
    let mut stream = stubborn_peer(&broker);
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    broker.signal(Signal::SIGTERM);
    wait_for_log(&mut broker, "stopping: ");
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    // A socket that was closed with these, or those before them, unread answers with a reset, which the next write finds.
    for _ in 0..3 {
        stream.write_all(&API_VERSIONS).expect("the broker takes what it does not answer");
    }
    drop(stream);
    assert_eq!(broker.wait().code(), Some(0), "{}", broker.log());
    let mut left = &answers[..];
    while let Some((length, rest)) = left.split_first_chunk() {
        left = &rest[u32::from_be_bytes(*length) as usize..];
    }
    assert!(left.is_empty() && !answers.is_empty(), "the last answer is whole");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in [(Signal::SIGTERM, Signal::SIGINT), (Signal::SIGINT, Signal::SIGTERM)] {
        let mut broker = Broker::start();
        let _peer = stubborn_peer(&broker);
        broker.signal(first);
        wait_for_log(&mut broker, "stopping: ");
        assert_eq!(broker.page("/ready").body, "stopping\n");
        broker.signal(second);
        assert_eq!(broker.wait().code(), Some(128 + second as i32), "{}", broker.log());
        assert!(broker.log().contains("second signal"), "{}", broker.log());
    }
}

#[test]
fn a_slow_stop_says_every_second_what_it_waits_for() {
    let mut broker = Broker::start();
    let _peer = stubborn_peer(&broker);
    broker.signal(Signal::SIGTERM);
    wait_for_log(&mut broker, "still stopping: waiting for the requests of 1 connections");
    broker.signal(Signal::SIGTERM);
    assert_eq!(broker.wait().code(), Some(128 + Signal::SIGTERM as i32), "{}", broker.log());
}

#[track_caller]
fn wait_for_log(broker: &mut Broker, text: &str) {
    while !broker.log().contains(text) {
        assert!(broker.has_ended().is_none(), "{}", broker.log());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn logs_are_json_when_asked_for() {
    let mut broker = Setup::default().environment("HAYATE_LOG_FORMAT", "json").launch();
    wait_for_log(&mut broker, "\"ready\"");
    let log = broker.log();
    assert!(log.lines().all(|line| line.starts_with("{\"timestamp\":\"20") && line.ends_with('}')), "{log}");
}
