//! The codecs against bytes that Apache Kafka wrote, against themselves, and against hostile bytes.
//!
//! The files in `fixtures` say how their bytes were made.

use super::schema::encode_value_at;
use super::*;
use uuid::Uuid;

const GROUP: &str = include_str!("fixtures/group.txt");

const COMMITTED_MS: i64 = 1_700_000_000_123;

/// A line of the fixtures.
struct Fixture {
    name: &'static str,
    /// `None` for a tombstone.
    version: Option<u16>,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

fn fixtures(text: &'static str) -> impl Iterator<Item = Fixture> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, version, key, value] = fields[..] else { panic!("four fields: {line}") };
        let value = (value != "-").then(|| from_hex(value));
        Fixture { name, version: version.parse().ok(), key: from_hex(key), value }
    })
}

fn offset_commit(version: Option<u16>) -> GroupRecord {
    let from = |since: u16| version >= Some(since);
    let key = OffsetCommitKey { group: "gröup".into(), topic: "a.b_c-D9".into(), partition: 7 };
    let value = OffsetCommitValue {
        offset: 1 << 33,
        leader_epoch: if from(3) { 5 } else { -1 },
        metadata: "mötadata".into(),
        commit_timestamp_ms: COMMITTED_MS,
        expire_timestamp_ms: if version == Some(1) { 1_800_000_000_456 } else { -1 },
        topic_id: Uuid::from_u128(if from(4) { 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10 } else { 0 }),
    };
    GroupRecord::OffsetCommit(key, version.map(|_| value))
}

fn plain_offset_commit() -> GroupRecord {
    let key = OffsetCommitKey { group: String::new(), topic: "t".into(), partition: 0 };
    let value = OffsetCommitValue {
        offset: 0,
        leader_epoch: -1,
        metadata: String::new(),
        commit_timestamp_ms: 0,
        expire_timestamp_ms: -1,
        topic_id: Uuid::nil(),
    };
    GroupRecord::OffsetCommit(key, Some(value))
}

fn group_metadata(version: Option<u16>) -> GroupRecord {
    let from = |since: u16| version >= Some(since);
    let dynamic = MemberMetadata {
        member_id: "c-1".into(),
        group_instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: if from(1) { 300_000 } else { -1 },
        session_timeout_ms: 45_000,
        subscription: Bytes::from_static(&[0, 1, 255]),
        assignment: Bytes::new(),
    };
    let fixed = MemberMetadata {
        member_id: "s-2".into(),
        group_instance_id: from(3).then(|| "s".into()),
        client_id: String::new(),
        client_host: "/::1".into(),
        rebalance_timeout_ms: if from(1) { 1 } else { -1 },
        session_timeout_ms: 6_000,
        subscription: Bytes::from_static(&[0; 200]),
        assignment: Bytes::from_static(&[9, 8, 7]),
    };
    let value = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 42,
        protocol: Some("range".into()),
        leader: Some("c-1".into()),
        current_state_timestamp_ms: if from(2) { COMMITTED_MS } else { -1 },
        members: vec![dynamic, fixed],
    };
    GroupRecord::GroupMetadata("gröup".into(), version.map(|_| value))
}

fn empty_group_metadata() -> GroupRecord {
    let value = GroupMetadataValue {
        protocol_type: String::new(),
        generation: 0,
        protocol: None,
        leader: None,
        current_state_timestamp_ms: -1,
        members: vec![],
    };
    GroupRecord::GroupMetadata("gröup".into(), Some(value))
}

/// What a line of the fixtures holds.
fn expected(fixture: &Fixture) -> GroupRecord {
    let name = fixture.name.trim_end_matches("-gone");
    match name {
        "offset-commit" | "legacy-offset-commit" => offset_commit(fixture.version),
        "offset-commit-plain" => plain_offset_commit(),
        "group-metadata" => group_metadata(fixture.version),
        "group-metadata-empty" => empty_group_metadata(),
        _ if name.starts_with("unknown-") => {
            let kind = u16::from_be_bytes([fixture.key[0], fixture.key[1]]);
            let key = Bytes::copy_from_slice(&fixture.key[2..]);
            GroupRecord::Unknown(UnknownRecord { kind, key, value: fixture.value.clone().map(Bytes::from) })
        }
        _ => panic!("no expectation for fixture {name}"),
    }
}

/// Whether Kafka 4.2 writes the record of that line in the version that the line has.
fn is_written(fixture: &Fixture) -> bool {
    match fixture.name {
        "offset-commit" => matches!(fixture.version, Some(1 | 4)),
        "offset-commit-plain" => fixture.version == Some(4),
        "group-metadata" | "group-metadata-empty" => fixture.version == Some(3),
        name => !name.starts_with("legacy-"),
    }
}

/// The value in a version that need not be the one that is written.
fn encode_at(record: &GroupRecord, version: u16) -> Bytes {
    let encoded = match record {
        GroupRecord::OffsetCommit(_, Some(value)) => encode_value_at(value, version),
        GroupRecord::GroupMetadata(_, Some(value)) => encode_value_at(value, version),
        other => other.encode().map(|(_, value)| value.expect("no tombstone")),
    };
    encoded.expect("encodes")
}

#[test]
fn bytes_of_kafka_decode_to_what_was_meant_and_encode_to_the_same_bytes() {
    for fixture in fixtures(GROUP) {
        let at = format!("{} {:?}", fixture.name, fixture.version);
        let record = expected(&fixture);
        assert_eq!(GroupRecord::decode(&fixture.key, fixture.value.as_deref()).as_ref(), Ok(&record), "{at}");
        let (key, value) = record.encode().expect("encodes");
        let written = (&*key, value.as_deref()) == (&*fixture.key, fixture.value.as_deref());
        assert_eq!(written, is_written(&fixture), "{at}: {value:?}");
        if let Some(version) = fixture.version {
            assert_eq!(Some(&*encode_at(&record, version)), fixture.value.as_deref(), "{at}");
        }
    }
}
