//! Where a real broker says that the time of requests went: each request is in each stage that it goes through, nothing of its time is
//! lost, and `hayate-perf explain` tells it.

use hayate_perf::cli::{Asked, parse};
use hayate_tests::broker::{Broker, Client, Setup, fresh_folder};
use hayate_tests::broker_sim::{self as requests, Topic, checked, name, records_of};
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

/// How often a count is looked at that is about to come.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How often at most.
const LOOKS_MAX: usize = 5_000;

struct Scene {
    broker: Broker,
    client: Client,
    topic: Topic,
}

impl Scene {
    fn start(shards: u16, partitions: i32) -> Scene {
        let broker = Setup::default().set("shards", shards).start();
        let mut client = Client::connect(broker.addresses().kafka, "explained").expect("it listens");
        let new = CreatableTopic::default()
            .with_name(name("explained"))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let created =
            client.ask(7, &CreateTopicsRequest::default().with_topics(vec![new])).expect("an answer");
        assert_eq!(checked(created.topics[0].error_code), Ok(()));
        let topic = Topic { name: "explained".to_owned(), id: created.topics[0].topic_id };
        Scene { broker, client, topic }
    }

    fn produce(&mut self, partition: i32) {
        let request = requests::Client::produce_in(13, &self.topic, partition, records_of(&["a record"]));
        let produced = self.client.ask(13, &request).expect("an answer");
        assert_eq!(checked(produced.responses[0].partition_responses[0].error_code), Ok(()));
    }

    /// The samples once so many requests of a kind are counted: a request is when its answer is with the kernel.
    fn counted(&self, request: &str, count: f64) -> BTreeMap<String, f64> {
        let series = format!("hayate_request_duration_seconds_count{{request=\"{request}\"}}");
        for _ in 0..LOOKS_MAX {
            let samples = self.broker.metrics();
            if samples.get(&series) == Some(&count) {
                return samples;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        panic!("{series} is not {count}: {:?}", self.broker.metrics().get(&series));
    }

    /// Runs `explain`; its document, and how it ended.
    fn explain(&self, options: &str) -> (Value, Result<(), String>) {
        let file = fresh_folder().join("explained.json");
        let address = self.broker.addresses().http;
        let line =
            format!("hayate-perf explain --bootstrap-http {address} {options} --json {}", file.display());
        let job = match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Asked::Do(job)) => job,
            other => panic!("{line}: {other:?}"),
        };
        let ended = job.run().map_err(|error| error.to_string());
        let document = fs::read_to_string(&file).ok().map(|text| serde_json::from_str(&text).expect("JSON"));
        fs::remove_dir_all(file.parent().expect("a folder")).expect("the folder goes");
        (document.unwrap_or(Value::Null), ended)
    }
}

/// Counts and sums in seconds of a kind's stages.
fn stages(samples: &BTreeMap<String, f64>, request: &str) -> BTreeMap<String, (f64, f64)> {
    let begin = format!("hayate_request_stage_seconds_count{{request=\"{request}\",stage=\"");
    let counts = samples.iter().filter_map(|(series, count)| {
        let stage = series.strip_prefix(&begin)?.strip_suffix("\"}")?;
        let sum = samples[&series.replace("_count{", "_sum{")];
        Some((stage.to_owned(), (*count, sum)))
    });
    counts.collect()
}

/// The stages of a kind must make up its whole time, but for what comes before it begins.
fn check_whole(samples: &BTreeMap<String, f64>, request: &str) {
    let whole = samples[&format!("hayate_request_duration_seconds_sum{{request=\"{request}\"}}")];
    let stages = stages(samples, request);
    let sum: f64 = stages.iter().filter(|(stage, _)| *stage != "receive").map(|(_, (_, sum))| sum).sum();
    assert!((sum - whole).abs() <= whole / 1000.0, "{request}: {sum} of {whole} s: {stages:?}");
}

#[test]
fn each_request_is_in_each_of_its_stages_and_nothing_of_its_time_is_lost() {
    const REQUESTS: i32 = 40;
    let mut scene = Scene::start(1, 1);
    (0..REQUESTS).for_each(|_| scene.produce(0));
    let samples = scene.counted("Produce", f64::from(REQUESTS));
    let produce = stages(&samples, "Produce");
    let expected = ["append", "flush_queue", "flush_wait", "queue", "receive", "respond", "send", "validate"];
    assert_eq!(produce.keys().collect::<Vec<_>>(), expected, "with one shard there is no hop");
    for (stage, (count, _)) in &produce {
        assert_eq!(*count, f64::from(REQUESTS), "{stage}");
    }
    let longest = produce.values().map(|(_, sum)| *sum).fold(0.0, f64::max);
    let (_, flush_seconds) = produce["flush_wait"];
    assert!(flush_seconds > 0.0 && flush_seconds >= longest / 10.0, "{produce:?}");
    check_whole(&samples, "Produce");
    check_whole(&samples, "CreateTopics");
    let create: Vec<_> = stages(&samples, "CreateTopics").into_keys().collect();
    assert_eq!(create, ["handle", "queue", "receive", "respond", "send"]);
}

#[test]
fn what_nobody_waits_for_is_in_no_stage() {
    let mut scene = Scene::start(1, 1);
    scene.produce(0);
    let unanswered =
        requests::Client::produce_in(13, &scene.topic, 0, records_of(&["a record"])).with_acks(0);
    scene.client.send_request(13, &unanswered).expect("it is taken");
    let samples = scene.counted("Produce", 2.0);
    let produce = stages(&samples, "Produce");
    for (stage, count) in
        [("append", 2.0), ("respond", 2.0), ("flush_queue", 1.0), ("flush_wait", 1.0), ("send", 1.0)]
    {
        assert_eq!(produce[stage].0, count, "{stage}");
    }
}

#[test]
fn a_fetch_waits_for_bytes_and_then_reads() {
    let mut scene = Scene::start(1, 1);
    scene.produce(0);
    let there = requests::Client::fetch_request(&scene.topic, &[(0, 0)], 1, 10_000);
    scene.client.ask(17, &there).expect("an answer");
    let samples = scene.counted("Fetch", 1.0);
    let fetch: Vec<_> = stages(&samples, "Fetch").into_keys().collect();
    assert_eq!(fetch, ["queue", "read", "receive", "respond", "send"], "what is there is not waited for");
    let patient = requests::Client::fetch_request(&scene.topic, &[(0, 1)], 1, 200);
    scene.client.ask(17, &patient).expect("an answer");
    let samples = scene.counted("Fetch", 2.0);
    let (count, seconds) = stages(&samples, "Fetch")["wait"];
    assert!(count == 1.0 && (0.19..5.0).contains(&seconds), "{seconds} s");
    check_whole(&samples, "Fetch");
}

#[test]
fn partitions_of_other_shards_take_a_hop() {
    const PARTITIONS: i32 = 6;
    let mut scene = Scene::start(2, PARTITIONS);
    (0..PARTITIONS).for_each(|partition| scene.produce(partition));
    let requests_sent = f64::from(PARTITIONS);
    let samples = scene.counted("Produce", requests_sent);
    let produce = stages(&samples, "Produce");
    let (hops, hop_seconds) = produce["hop"];
    assert!((1.0..requests_sent).contains(&hops) && hop_seconds > 0.0, "{produce:?}");
    assert_eq!((produce["append"].0, produce["flush_wait"].0), (requests_sent, requests_sent));
    check_whole(&samples, "Produce");
    for partition in 0..PARTITIONS {
        let fetch = requests::Client::fetch_request(&scene.topic, &[(partition, 0)], 1, 10_000);
        scene.client.ask(17, &fetch).expect("an answer");
    }
    let samples = scene.counted("Fetch", requests_sent);
    let (fetch_hops, _) = stages(&samples, "Fetch")["hop"];
    assert_eq!(fetch_hops, hops, "the same partitions are away");
    check_whole(&samples, "Fetch");
}

#[test]
fn explain_tells_what_was_counted() {
    const REQUESTS: i32 = 20;
    let mut scene = Scene::start(1, 1);
    (0..REQUESTS).for_each(|_| scene.produce(0));
    let samples = scene.counted("Produce", f64::from(REQUESTS));
    let (told, ended) = scene.explain("--for 0 --percentile 95");
    assert_eq!(ended, Ok(()));
    assert_eq!(told["total"]["count"], REQUESTS);
    for (stage, (count, sum)) in stages(&samples, "Produce") {
        let times = &told["stages"][&stage];
        let mean_ms = times["mean_ms"].as_f64().expect("a mean");
        assert_eq!(times["count"].as_f64(), Some(count), "{stage}");
        assert!((mean_ms * count / 1e3 - sum).abs() < 1e-9, "{stage}: {mean_ms} ms");
        let percentiles = ["p50_ms", "p95_ms", "p99_ms", "p99.9_ms"].map(|name| times[name].as_f64());
        assert!(percentiles.is_sorted() && percentiles[0] > Some(0.0), "{stage}: {percentiles:?}");
    }
    let dominating = told["dominating"].as_array().expect("stages");
    assert!(!dominating.is_empty() && !dominating.contains(&"receive".into()), "{told}");

    let said = scene.explain("--for 0.2").1.expect_err("nothing happens meanwhile");
    assert!(said.contains("no Produce request was answered in that time; there were: none"), "{said}");
    let said = scene.explain("--for 0 --request Heartbeat").1.expect_err("there was none");
    assert!(said.contains("ApiVersions") || said.contains("Produce"), "{said}");
    let kafka = format!("--for 0 --bootstrap-http {}", scene.broker.addresses().kafka);
    let line = format!("hayate-perf explain {kafka}");
    let Ok(Asked::Do(job)) = parse(line.split_whitespace().map(OsString::from)) else { panic!("{line}") };
    let said = job.run().expect_err("that listener speaks Kafka").to_string();
    assert!(said.contains("http.listeners"), "{said}");
}
