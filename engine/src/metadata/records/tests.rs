//! The codec against bytes that Apache Kafka wrote, against itself, and against hostile bytes.
//!
//! `fixtures.txt` says how its bytes were made.

use proptest::prelude::*;
use uuid::Uuid;

use super::arbitrary::{record, seeded};
use super::*;

const FIXTURES: &str = include_str!("fixtures.txt");

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn endpoint(name: &str, host: &str, port: u16, security_protocol: i16) -> BrokerEndpoint {
    BrokerEndpoint { name: name.into(), host: host.into(), port, security_protocol }
}

fn feature(name: &str, min_supported_version: i16, max_supported_version: i16) -> BrokerFeature {
    BrokerFeature { name: name.into(), min_supported_version, max_supported_version }
}

fn full_partition() -> PartitionRecord {
    PartitionRecord {
        partition_id: 7,
        topic_id: id(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        replicas: vec![1, 2, 3],
        isr: vec![1, 3],
        removing_replicas: vec![2],
        adding_replicas: vec![],
        leader: 3,
        leader_recovery_state: 1,
        leader_epoch: 5,
        partition_epoch: 9,
        directories: vec![id(1), id(0), id(1 << 100)],
        eligible_leader_replicas: Some(vec![2]),
        last_known_elr: Some(vec![]),
    }
}

fn full_change() -> PartitionChangeRecord {
    PartitionChangeRecord {
        isr: Some(vec![1]),
        leader: 1,
        replicas: Some(vec![1, 2]),
        removing_replicas: Some(vec![]),
        adding_replicas: Some(vec![2]),
        leader_recovery_state: 0,
        directories: Some(vec![id(1), id(2)]),
        eligible_leader_replicas: Some(vec![]),
        last_known_elr: Some(vec![3]),
        ..PartitionChangeRecord::of(id(42), 130)
    }
}

fn full_broker() -> RegisterBrokerRecord {
    RegisterBrokerRecord {
        broker_id: 1,
        is_migrating_zk_broker: false,
        incarnation_id: id(77),
        broker_epoch: 1 << 33,
        endpoints: vec![endpoint("PLAINTEXT", "localhost", 9092, 0), endpoint("S", "::1", 65535, 3)],
        features: vec![feature("metadata.version", 1, 29)],
        rack: Some("räck".into()),
        fenced: true,
        in_controlled_shutdown: true,
        log_dirs: vec![id(5)],
    }
}

/// What the line of that name in the fixtures holds.
fn expected(name: &str) -> MetadataRecord {
    let epoch = (1, 12);
    match name {
        "topic" => TopicRecord { name: "a.b_c-D9".into(), topic_id: id(3) }.into(),
        "remove-topic" => RemoveTopicRecord { topic_id: id(3) }.into(),
        "partition-v2" => full_partition().into(),
        "partition-v1" => {
            PartitionRecord { eligible_leader_replicas: None, last_known_elr: None, ..full_partition() }
                .into()
        }
        "partition-v0" => PartitionRecord {
            eligible_leader_replicas: None,
            last_known_elr: None,
            leader_recovery_state: 0,
            directories: vec![],
            ..full_partition()
        }
        .into(),
        "change-v2" => full_change().into(),
        "change-v1-leader" => {
            PartitionChangeRecord { leader: 1, ..PartitionChangeRecord::of(id(42), 0) }.into()
        }
        "change-v0-nothing" => PartitionChangeRecord::of(id(42), 0).into(),
        "clear-elr" => ClearElrRecord { topic_name: "t".into() }.into(),
        "register-broker-v3" => full_broker().into(),
        "register-broker-v0" => RegisterBrokerRecord {
            rack: None,
            endpoints: vec![],
            features: vec![],
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: vec![],
            ..full_broker()
        }
        .into(),
        "registration-change-v2" => BrokerRegistrationChangeRecord {
            broker_id: 1,
            broker_epoch: 12,
            fenced: -1,
            in_controlled_shutdown: 1,
            log_dirs: vec![id(5), id(6)],
        }
        .into(),
        "unregister-broker" => UnregisterBrokerRecord { broker_id: epoch.0, broker_epoch: epoch.1 }.into(),
        "fence-broker" => FenceBrokerRecord { broker_id: epoch.0, broker_epoch: epoch.1 }.into(),
        "unfence-broker" => UnfenceBrokerRecord { broker_id: epoch.0, broker_epoch: epoch.1 }.into(),
        other => expected_of_the_cluster(other),
    }
}

fn expected_of_the_cluster(name: &str) -> MetadataRecord {
    let config = |value: Option<&str>| ConfigRecord {
        resource_type: 2,
        resource_name: "t".into(),
        name: "retention.ms".into(),
        value: value.map(Into::into),
    };
    match name {
        "register-controller" => RegisterControllerRecord {
            controller_id: 1,
            incarnation_id: id(77),
            zk_migration_ready: false,
            endpoints: vec![endpoint("CONTROLLER", "localhost", 9093, 0)],
            features: vec![feature("kraft.version", 0, 1)],
        }
        .into(),
        "config-set" => config(Some("1000")).into(),
        "config-delete" => config(None).into(),
        "feature-level" => FeatureLevelRecord { name: "metadata.version".into(), feature_level: 25 }.into(),
        "producer-ids" => {
            ProducerIdsRecord { broker_id: 1, broker_epoch: 12, next_producer_id: 1_000_000_007_000 }.into()
        }
        "zk-migration-state" => ZkMigrationStateRecord { zk_migration_state: 3 }.into(),
        "no-op" => NoOpRecord.into(),
        "begin-transaction" => BeginTransactionRecord { name: Some("bootstrap".into()) }.into(),
        "begin-transaction-unnamed" => BeginTransactionRecord { name: None }.into(),
        "end-transaction" => EndTransactionRecord.into(),
        "abort-transaction" => AbortTransactionRecord { reason: Some("why".into()) }.into(),
        other => panic!("no expectation for fixture {other}"),
    }
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

fn fixtures() -> impl Iterator<Item = (&'static str, u16, Vec<u8>)> {
    FIXTURES.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
        let mut fields = line.split_whitespace();
        let mut field = || fields.next().expect("name, version and hex");
        (field(), field().parse().expect("a version"), from_hex(field()))
    })
}

#[test]
fn bytes_of_kafka_decode_to_what_was_meant_and_encode_to_the_same_bytes() {
    let mut kinds: Vec<u16> = Vec::new();
    for (name, version, bytes) in fixtures() {
        if name.starts_with("opaque-") {
            let record = MetadataRecord::decode(&bytes).expect(name);
            assert!(matches!(record, MetadataRecord::Opaque(_)), "{name}");
            assert_eq!(record.encode().expect(name), bytes, "{name}");
            continue;
        }
        let record = expected(name);
        assert_eq!(MetadataRecord::decode(&bytes).expect(name), record, "{name}");
        assert_eq!(record.encode_at(version).expect(name), bytes, "{name}");
        kinds.push(record.api_key());
    }
    for (api_key, _) in VERSIONS {
        assert!(kinds.contains(api_key), "no fixture for kind {api_key}");
    }
}

#[test]
fn a_record_cut_short_or_followed_by_more_is_refused() {
    for (name, _, bytes) in fixtures().filter(|(name, ..)| !name.starts_with("opaque-")) {
        for cut in 0..bytes.len() {
            assert!(MetadataRecord::decode(&bytes[..cut]).is_err(), "{name} cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(MetadataRecord::decode(&longer), Err(DecodeError::Trailing(1)), "{name}");
    }
}

#[test]
fn hostile_bytes_are_refused() {
    let check = |hex: &str, error: DecodeError| {
        assert_eq!(MetadataRecord::decode(&from_hex(hex)), Err(error), "{hex}")
    };
    check("020200", DecodeError::FrameVersion(2));
    check("01808004", DecodeError::FrameNumber(65536));
    check("01ffffffff1f", DecodeError::Varint);
    check("01808080808001", DecodeError::Varint);
    check("010201", DecodeError::UnsupportedVersion { api_key: 2, version: 1 });
    // A topic whose name is null, too long, not UTF-8.
    check("01020000", DecodeError::Null);
    check("010200818002", DecodeError::Length(32768));
    check("01020002ff00000000000000000000000000000000", DecodeError::Utf8);
    // A registration change with 2^32 - 2 log directories, tags out of order, a tag twice, and a tag too long.
    let change = "011102 00000001 0000000000000001".replace(' ', "");
    check(&format!("{change}010205ffffffff0f"), DecodeError::Length(u32::MAX - 1));
    check(&format!("{change}02010101000101"), DecodeError::TagOrder(0));
    check(&format!("{change}02000101000101"), DecodeError::TagOrder(0));
    check(&format!("{change}0100020100"), DecodeError::TagSize(0));
    check(
        "0111000000000100000000000000010101010100".get(..38).expect("hex"),
        DecodeError::TagNotInVersion(1),
    );
}

#[test]
fn an_unknown_tag_is_skipped() {
    let bytes = from_hex("011402016303abcdef");
    assert_eq!(
        MetadataRecord::decode(&bytes),
        Err(DecodeError::UnsupportedVersion { api_key: 20, version: 2 })
    );
    let bytes = from_hex("011400016303abcdef");
    assert_eq!(MetadataRecord::decode(&bytes), Ok(NoOpRecord.into()));
}

#[test]
fn what_a_version_cannot_carry_is_not_dropped_silently() {
    let refuse =
        |record: MetadataRecord, version: u16| record.encode_at(version).expect_err("must be refused");
    let missing = EncodeError::FieldNotInVersion;
    assert_eq!(refuse(full_partition().into(), 1), missing("eligible_leader_replicas"));
    assert_eq!(refuse(full_change().into(), 1), missing("eligible_leader_replicas"));
    assert_eq!(refuse(full_broker().into(), 2), missing("log_dirs"));
    assert_eq!(refuse(full_broker().into(), 4), EncodeError::UnsupportedVersion { api_key: 0, version: 4 });
    let long = TopicRecord { name: "x".repeat(32768), topic_id: id(1) };
    assert_eq!(refuse(long.into(), 0), EncodeError::StringTooLong(32768));
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn every_record_comes_back(record in record()) {
        let bytes = record.encode().expect("encodes");
        prop_assert_eq!(MetadataRecord::decode(&bytes).expect("decodes"), record);
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = MetadataRecord::decode(&noise);
    }

    #[test]
    fn one_flipped_byte_never_panics(record in record(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = record.encode().expect("encodes").to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = MetadataRecord::decode(&bytes);
    }
}
