//! What is counted is what is shown, and what is shown is Prometheus' format.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// Reads the exposition format strictly: samples by name and labels, families by type.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut samples, mut types, mut open) = (BTreeMap::new(), BTreeMap::new(), String::new());
    let mut helped = BTreeSet::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help text");
            assert!(helped.insert(name.to_owned()), "{name} is helped once");
            assert!(!text.is_empty());
        } else if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a type");
            assert!(helped.contains(name) && types.insert(name.to_owned(), kind.to_owned()).is_none());
            open = name.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let is_histogram = types[&open] == "histogram";
            assert_eq!(if is_histogram { base.unwrap_or("") } else { name }, open, "{line}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert_eq!(series.contains('{'), series.ends_with('}'));
            assert!(
                samples.insert(series.to_owned(), value.parse().expect(line)).is_none(),
                "{series} twice"
            );
        }
    }
    (samples, types)
}

#[test]
fn what_was_counted_is_shown() {
    let metrics = Metrics::new(2);
    let (zero, one) = (metrics.shard(0), metrics.shard(1));
    let times = RequestTimes { dispatch_nanos: 10_000, wait_nanos: 400_000, send_nanos: 90_000 };
    let at = MonoTime::from_nanos;
    let mut stages = Stages::new(at(0), at(2_000));
    stages.until(Stage::Queue, at(3_000));
    stages.until(Stage::FlushWait, at(403_000));
    zero.request_done(0, &times, &stages);
    one.request_done(0, &times, &stages);
    one.request_done(1, &RequestTimes { wait_nanos: 500_000_000, ..times }, &Stages::new(at(0), at(0)));
    one.request_error(1, ErrorCode::OffsetOutOfRange);
    zero.request_error(1, ErrorCode::OffsetOutOfRange);
    zero.count_copy(CopyPath::Produce, 100);
    zero.protocol_error(ProtocolError::Body);
    zero.connections_opened.add(3);
    zero.connection_closed(CloseCause::Idle);
    one.task_overruns.reach(1);
    one.task_nanos_max.raise(12_500_000);
    one.publish_store(StoreStats { wal_groups: 7, wal_copied_bytes: 300, ..Default::default() });
    let process = ProcessFigures { cpu_nanos: 1_500_000_000, resident_bytes: 4096, ..Default::default() };
    let (samples, types) = parse(&metrics.render(&process));
    for (series, value) in [
        ("hayate_request_duration_seconds_count{request=\"Produce\"}", 2.0),
        ("hayate_request_duration_seconds_sum{request=\"Produce\"}", 0.001),
        ("hayate_request_duration_seconds_bucket{request=\"Produce\",le=\"0.0002\"}", 0.0),
        ("hayate_request_duration_seconds_bucket{request=\"Produce\",le=\"0.0005\"}", 2.0),
        ("hayate_request_duration_seconds_bucket{request=\"Produce\",le=\"+Inf\"}", 2.0),
        ("hayate_request_wait_seconds_sum{request=\"Fetch\"}", 0.5),
        ("hayate_request_stage_seconds_count{request=\"Produce\",stage=\"flush_wait\"}", 2.0),
        ("hayate_request_stage_seconds_sum{request=\"Produce\",stage=\"flush_wait\"}", 0.0008),
        (
            "hayate_request_stage_seconds_bucket{request=\"Produce\",stage=\"flush_wait\",le=\"0.000262144\"}",
            0.0,
        ),
        (
            "hayate_request_stage_seconds_bucket{request=\"Produce\",stage=\"flush_wait\",le=\"0.000524288\"}",
            2.0,
        ),
        ("hayate_request_stage_seconds_bucket{request=\"Produce\",stage=\"queue\",le=\"0.000001024\"}", 2.0),
        ("hayate_request_stage_seconds_bucket{request=\"Produce\",stage=\"queue\",le=\"+Inf\"}", 2.0),
        ("hayate_request_stage_seconds_count{request=\"Fetch\",stage=\"receive\"}", 1.0),
        ("hayate_request_errors_total{request=\"Fetch\",error=\"OFFSET_OUT_OF_RANGE\"}", 2.0),
        ("hayate_user_copy_bytes_total{path=\"produce\"}", 100.0),
        ("hayate_user_copy_bytes_total{path=\"fetch\"}", 0.0),
        ("hayate_user_copy_bytes_total{path=\"wal\"}", 300.0),
        ("hayate_flushes_total{shard=\"1\"}", 7.0),
        ("hayate_protocol_errors_total{kind=\"body\"}", 1.0),
        ("hayate_connections{shard=\"0\"}", 2.0),
        ("hayate_connections_closed_total{cause=\"idle\"}", 1.0),
        ("hayate_task_overruns_total{shard=\"1\"}", 1.0),
        ("hayate_task_max_seconds{shard=\"1\"}", 0.0125),
        ("process_cpu_seconds_total", 1.5),
        ("process_resident_memory_bytes", 4096.0),
        ("hayate_shards", 2.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    assert!(samples.keys().any(|series| series.starts_with("hayate_build_info{version=\"")));
    assert_eq!(types["hayate_request_duration_seconds"], "histogram");
    assert!(!samples.keys().any(|series| series.contains("\"append\"")), "no request was there");
}

#[test]
fn counters_are_named_total_and_ours_begin_with_hayate() {
    let (_, types) = parse(&Metrics::new(1).render(&ProcessFigures::default()));
    for (name, kind) in types {
        assert!(name.starts_with("hayate_") || name.starts_with("process_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
    }
}

#[test]
fn keys_and_codes_that_nobody_knows_are_counted_too() {
    let metrics = Metrics::new(1);
    let shard = metrics.shard(0);
    for key in [-5, 127, 4000] {
        let stages = Stages::new(MonoTime::default(), MonoTime::default());
        shard.request_done(key, &RequestTimes::default(), &stages);
        shard.request_error(key, ErrorCode::UnknownServerError);
    }
    let (samples, _) = parse(&metrics.render(&ProcessFigures::default()));
    assert_eq!(samples["hayate_request_duration_seconds_count{request=\"Unknown\"}"], 3.0);
    assert_eq!(
        samples["hayate_request_errors_total{request=\"Unknown\",error=\"UNKNOWN_SERVER_ERROR\"}"],
        3.0
    );
}
