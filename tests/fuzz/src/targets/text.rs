//! Text that people and tools write: configuration files, requests for metrics, names.

use crate::memory::taken;
use crate::targets::{choose, id, topic_name, word};
use hayate_engine::config::listeners::{parse_endpoint, parse_host_port, parse_protocols};
use hayate_engine::config::{Config, Given, Machine, Origin, keys, properties};
use hayate_engine::http::request::examine;
use hayate_engine::metadata::snapshot::file::SnapshotId;
use hayate_net::wire::topic::{topic_id_from_text, topic_id_to_text};
use hayate_rt::random::Prng;
use hayate_storage::batch::Offset;
use hayate_storage::names::{
    FileKind, FileName, FolderName, SegmentFile, TopicPartition, validate_topic_name,
};
use uuid::Uuid;

/// Keys whose values are resolved by asking the machine: not the parser's work.
const ASKS_THE_MACHINE: [&str; 4] = ["listeners", "advertised.listeners", "http.listeners", "log.dirs"];

/// A configuration file.
pub fn properties(prng: &mut Prng) -> Vec<u8> {
    let mut text = String::from("# a file\n");
    for _ in 0..prng.below(6) {
        let key = choose(keys::KEYS, prng).name;
        let value = choose(
            &["1", "true", "1048576", "producer", "delete", "lz4", "604800000", "\\u00e9", "a\\\nb"],
            prng,
        );
        let separator = choose(&["=", " = ", ":", " "], prng);
        text.push_str(&format!("{key}{separator}{value}\n"));
    }
    text.into_bytes()
}

/// What a start does with a file, but for what it asks the machine.
pub fn read_properties(bytes: &[u8]) -> bool {
    let (parsed, took) = taken(|| properties::parse(bytes));
    assert!(took.held_bytes_max <= 4096 + 96 * bytes.len(), "{took:?} for {} bytes", bytes.len());
    let Ok(parsed) = parsed else { return false };
    let given: Vec<Given> = parsed
        .into_iter()
        .filter(|property| !ASKS_THE_MACHINE.contains(&property.key.as_str()))
        .map(|property| Given {
            key: property.key,
            value: property.value,
            origin: Origin::CommandLine("--override"),
        })
        .collect();
    let machine = Machine { cores: 2, memory_bytes: 1 << 30 };
    match Config::resolve(&given, &machine) {
        Ok(config) => assert!(!config.settings.is_empty()),
        Err(errors) => assert!(errors.iter().all(|error| !error.to_string().is_empty())),
    }
    true
}

/// A request of a probe or a scraper.
pub fn http(prng: &mut Prng) -> Vec<u8> {
    if prng.chance(1, 4) {
        let body = word(prng, 20);
        return format!("PUT /loggers/a HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes();
    }
    let method = choose(&["GET", "HEAD", "POST"], prng);
    let path = choose(&["/metrics", "/ready?x=1", "/health", "/"], prng);
    let version = choose(&["HTTP/1.1", "HTTP/1.0"], prng);
    let end = choose(&["\r\n", "\n"], prng);
    format!("{method} {path} {version}{end}Host: {}{end}{end}", word(prng, 20)).into_bytes()
}

/// What the page server does with what it has received so far.
pub fn read_http(bytes: &[u8]) -> bool {
    let (request, took) = taken(|| examine(bytes));
    assert!(took.held_bytes_max <= 64 + 2 * bytes.len(), "{took:?}");
    let Some(Ok(request)) = request else { return false };
    assert!(bytes.ends_with(&request.body) || request.body.len() < bytes.len(), "{request:?}");
    assert!(request.path.starts_with('/') && !request.path.contains(['?', ' ', '\n']), "{request:?}");
    true
}

/// A name of a folder, a file, a topic, a listener or an id.
pub fn name(prng: &mut Prng) -> Vec<u8> {
    match prng.below(7) {
        0 => format!("{}-{}", topic_name(prng), prng.below(99)),
        1 => SegmentFile::live(Offset(prng.below(1 << 40).cast_signed()), FileKind::Log).to_string(),
        2 => topic_id_to_text(Uuid::from_bytes(id(prng))),
        3 => SnapshotId { end: Offset(7), epoch: hayate_storage::batch::LeaderEpoch(3) }.to_string(),
        4 => format!("PLAINTEXT://{}:9092", word(prng, 9)),
        5 => format!("A:{},B:SSL", word(prng, 9)),
        _ => format!("{}-{}.0123456789abcdef0123456789abcdef-delete", topic_name(prng), prng.below(9)),
    }
    .into_bytes()
}

/// Reads the bytes as each of them.
pub fn read_name(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let valid = validate_topic_name(text).is_ok();
    assert!(!valid || (!text.is_empty() && text.len() <= 249), "{text}");
    let partition = TopicPartition::from_folder_name(text);
    if let Some(partition) = &partition {
        assert_eq!(partition.folder_name(), text);
    }
    let _ = (FolderName::parse(text), FileName::parse(text), parse_host_port(text));
    let is_listener = parse_endpoint(text).is_ok() || parse_protocols(text).is_ok();
    let topic_id = topic_id_from_text(text);
    if let Some(topic_id) = topic_id {
        assert_eq!(topic_id_from_text(&topic_id_to_text(topic_id)), Some(topic_id));
    }
    let snapshot = SnapshotId::parse(text);
    assert!(snapshot.is_none_or(|snapshot| snapshot.to_string() == text));
    valid || is_listener || partition.is_some() || topic_id.is_some() || snapshot.is_some()
}
