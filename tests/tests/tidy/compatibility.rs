//! README.md tells which requests are served, in which versions, beside Apache Kafka's. The table there is written from
//! the broker's own (`hayate_engine::api::SERVED`) and from `kafka_requests.txt`, what Kafka announces; it may not be
//! written by hand. To write it anew: `HAYATE_WRITE=1 cargo test -p hayate-tests --test tidy compatibility`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hayate_engine::api::SERVED;

use crate::tree::{Finding, assert_none, assert_one, root, tree};

const README: &str = "README.md";
const KAFKA: &str = "tests/tests/tidy/kafka_requests.txt";
const BEGIN: &str = "<!-- requests: written by tests/tests/tidy/compatibility.rs -->\n";
const END: &str = "<!-- requests: end -->\n";

/// First and last version of a request, by its number.
type Versions = BTreeMap<i16, (i16, i16)>;

/// A request as Kafka announces it.
struct Request<'a> {
    key: i16,
    name: &'a str,
    versions: (i16, i16),
}

/// The headings of Kafka's list, each with its requests.
fn groups(kafka: &str) -> Vec<(&str, Vec<Request<'_>>)> {
    let mut groups: Vec<(&str, Vec<Request<'_>>)> = Vec::new();
    for line in kafka.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (request(line), groups.last_mut()) {
            (Some(request), Some((_, requests))) => requests.push(request),
            _ => groups.push((line, Vec::new())),
        }
    }
    groups
}

/// `3 Metadata 0 13`; a heading is none.
fn request(line: &str) -> Option<Request<'_>> {
    let mut words = line.split(' ');
    let key = words.next()?.parse().ok()?;
    let name = words.next()?;
    let versions = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Request { key, name, versions })
}

fn range((min, max): (i16, i16)) -> String {
    if min == max { min.to_string() } else { format!("{min} to {max}") }
}

/// The table as it stands in the README, between its two marks.
fn table(kafka: &str, served: &Versions) -> String {
    let mut text = String::from("\n| request | Hayate | Apache Kafka 4.2 |\n|---|---|---|\n");
    for (group, requests) in groups(kafka) {
        let here = requests.iter().filter(|request| served.contains_key(&request.key)).count();
        let _ = writeln!(text, "| **{group}** | {here} of {} | |", requests.len());
        for Request { key, name, versions } in requests {
            let ours = served.get(&key).map_or_else(|| "–".to_owned(), |versions| range(*versions));
            let _ = writeln!(text, "| {name} ({key}) | {ours} | {} |", range(versions));
        }
    }
    text.push('\n');
    text
}

/// What lies between the marks, and where.
fn between(readme: &str) -> Option<std::ops::Range<usize>> {
    let begin = readme.find(BEGIN)? + BEGIN.len();
    let end = begin + readme[begin..].find(END)?;
    Some(begin..end)
}

fn stale(readme: &str, table: &str) -> Vec<Finding> {
    let Some(range) = between(readme) else {
        return vec![Finding::new(README, format!("lacks the lines {BEGIN:?} and {END:?}"))];
    };
    if readme[range] == *table {
        return Vec::new();
    }
    vec![Finding::new(README, "the table of requests is not what is served: see the test's file")]
}

/// What is served and Kafka does not announce, or in versions that Kafka lacks.
fn beyond(kafka: &str, served: &Versions) -> Vec<Finding> {
    let known: Versions = groups(kafka)
        .into_iter()
        .flat_map(|(_, requests)| requests)
        .map(|request| (request.key, request.versions))
        .collect();
    let is_within = |key: &i16, (min, max): &(i16, i16)| {
        known.get(key).is_some_and(|(kafka_min, kafka_max)| min >= kafka_min && max <= kafka_max)
    };
    let beyond = served.iter().filter(|(key, versions)| !is_within(key, versions));
    beyond.map(|(key, _)| Finding::new(KAFKA, format!("has no such versions of request {key}"))).collect()
}

fn served() -> Versions {
    SERVED.iter().map(|spec| (spec.key, (spec.version_min, spec.version_max))).collect()
}

#[test]
fn the_readme_tells_what_is_served() {
    let table = table(tree().text(KAFKA), &served());
    let readme = tree().text(README);
    if std::env::var_os("HAYATE_WRITE").is_some()
        && let Some(range) = between(readme)
    {
        let mut readme = readme.to_owned();
        readme.replace_range(range, &table);
        std::fs::write(root().join(README), readme).expect("README.md can be written");
        return;
    }
    assert_none(stale(readme, &table));
    assert_one(stale(&format!("{BEGIN}old\n{END}"), &table), "not what is served");
    assert_one(stale("", &table), "lacks the lines");
}

#[test]
fn nothing_is_served_that_kafka_lacks() {
    assert_none(beyond(tree().text(KAFKA), &served()));
    assert_one(beyond("Topics\n3 Metadata 0 13\n", &Versions::from([(3, (0, 14))])), "request 3");
    assert_one(beyond("", &Versions::from([(3, (0, 13))])), "request 3");
}

#[test]
fn a_row_a_request_under_its_heading() {
    let text = table("Topics\n3 Metadata 0 13\n75 More 0 0\n", &Versions::from([(3, (1, 12))]));
    let rows: Vec<&str> = text.lines().skip(3).collect();
    assert_eq!(
        rows,
        ["| **Topics** | 1 of 2 | |", "| Metadata (3) | 1 to 12 | 0 to 13 |", "| More (75) | – | 0 |", ""]
    );
}
