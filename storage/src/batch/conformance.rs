//! The checks on produce, held against Apache Kafka's own answers: each case of `testdata/produce_verdicts.txt` goes through
//! [`validate`](super::validate) and the leader's changes, and must end in the same error code or the same stored bytes.
//! The file was written by Apache Kafka 4.2.1's own classes; `testdata/ProduceVerdicts.java` says how.

use super::compress::{Level, decompress};
use super::header::{Codec, HEADER_BYTES, set_base_offset, set_partition_leader_epoch};
use super::scan::verify;
use super::tests::unhex;
use super::validate::{Depth, ProduceRules, recompressed, restamp, validate};
use super::{BatchHeader, LeaderEpoch, Offset, TimestampType};

const VERDICTS: &str = include_str!("testdata/produce_verdicts.txt");
const NOW_MS: i64 = 1_700_000_000_000;
const LOG_END: Offset = Offset(3);
const EPOCH: LeaderEpoch = LeaderEpoch(5);

/// Where this broker's answer differs from Kafka's on purpose: the case, its code here, and why.
const DIFFERENCES: [(&str, i16, &str); 6] = [
    ("length-2147483647", 87, "Kafka overflows and answers −1; such a batch is unfinished"),
    ("codec-5", 76, "Kafka fails on the unknown codec and answers −1"),
    ("codec-6", 76, "as codec-5"),
    ("codec-7", 76, "as codec-5"),
    ("codec-5-version-3", 76, "as codec-5"),
    ("compacted-damaged-zstd", 87, "Kafka's decompressor fails and it answers −1"),
];

#[derive(Debug, PartialEq)]
enum Verdict {
    Stored(Vec<u8>),
    Error(i16),
}

struct Case<'a> {
    name: &'a str,
    rules: ProduceRules,
    produced: Vec<u8>,
    kafka: Verdict,
}

fn cases() -> impl Iterator<Item = Case<'static>> {
    VERDICTS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<_> = line.split(" | ").collect();
        let [name, version, config, produced, verdict] = fields[..] else { panic!("five fields in {line}") };
        let kafka = match verdict.split_once(' ') {
            Some(("stored", bytes)) => Verdict::Stored(unhex(bytes)),
            Some(("error", code)) => Verdict::Error(code.parse().unwrap()),
            _ => panic!("no verdict in {line}"),
        };
        Case { name, rules: rules(version, config), produced: unhex(produced), kafka }
    })
}

fn rules(version: &str, config: &str) -> ProduceRules {
    let mut rules = ProduceRules { produce_version: version.parse().unwrap(), ..ProduceRules::default() };
    for entry in config.split(',').filter(|entry| *entry != "-") {
        match entry.split_once('=').unwrap() {
            ("message.timestamp.type", "LogAppendTime") => {
                rules.timestamp_type = TimestampType::LogAppendTime
            }
            ("message.timestamp.before.max.ms", ms) => rules.timestamp_before_max_ms = ms.parse().unwrap(),
            ("message.timestamp.after.max.ms", ms) => rules.timestamp_after_max_ms = ms.parse().unwrap(),
            ("max.message.bytes", bytes) => rules.batch_bytes_max = bytes.parse().unwrap(),
            ("cleanup.policy", "compact") => rules.compacted = true,
            ("compression.type", "uncompressed") => rules.codec = Some(Codec::None),
            ("compression.type", "zstd") => rules.codec = Some(Codec::Zstd),
            other => panic!("unknown configuration {other:?}"),
        }
    }
    rules
}

/// What a leader does with a produced batch.
fn append(produced: &[u8], rules: &ProduceRules) -> Verdict {
    let valid = match validate(produced, rules, NOW_MS) {
        Ok(valid) => valid,
        Err(error) => return Verdict::Error(error.code()),
    };
    let mut batch = produced[..valid.header.total_bytes()].to_vec();
    if let Some(rewritten) = recompressed(&batch, &valid, rules, Level::Default).unwrap() {
        batch = rewritten.to_vec();
    }
    if let Some(stamp) = valid.stamp {
        restamp(&mut batch, stamp);
    }
    set_base_offset(&mut batch, LOG_END);
    set_partition_leader_epoch(&mut batch, EPOCH);
    Verdict::Stored(batch)
}

fn expected(case: Case<'_>) -> Verdict {
    match DIFFERENCES.iter().find(|(name, ..)| *name == case.name) {
        Some((_, code, _)) => Verdict::Error(*code),
        None => case.kafka,
    }
}

#[test]
fn every_verdict_is_kafkas() {
    let mut seen = 0;
    for case in cases() {
        let (name, verdict) = (case.name, append(&case.produced, &case.rules));
        assert_eq!(verdict, expected(case), "{name}");
        seen += 1;
    }
    assert!(seen >= 112, "{seen} cases");
}

#[test]
fn looking_at_every_record_changes_no_verdict() {
    for case in cases() {
        let rules = ProduceRules { depth: Depth::Records, ..case.rules };
        let (name, verdict) = (case.name, append(&case.produced, &rules));
        assert_eq!(verdict, expected(case), "{name}");
    }
}

#[test]
fn kafkas_compressed_bodies_unpack_to_its_plain_one() {
    let body_of = |name: &str| {
        let case = cases().find(|case| case.name == name).unwrap();
        let header = BatchHeader::parse(&case.produced).unwrap();
        verify(&header, &case.produced).unwrap();
        decompress(header.codec().unwrap(), &case.produced[HEADER_BYTES..], 1 << 20).unwrap()
    };
    let plain = body_of("good-none");
    for codec in Codec::ALL {
        assert_eq!(body_of(&format!("good-{}", codec.name())), plain, "{codec:?}");
    }
}
