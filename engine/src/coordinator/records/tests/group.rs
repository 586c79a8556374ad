//! What the fixtures of `__consumer_offsets` hold, and what the codec refuses.

use super::*;
use crate::coordinator::records::*;
use uuid::Uuid;

fn group() -> String {
    "gröup".into()
}

fn member() -> MemberKey {
    MemberKey { group: group(), member_id: "m-1".into() }
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.into()).collect()
}

fn partitions(topic: u128, partitions: &[i32]) -> TopicPartitions {
    TopicPartitions { topic_id: id(topic), partitions: partitions.into() }
}

fn offset_commit(version: Option<u16>) -> GroupRecord {
    let from = |since: u16| version >= Some(since);
    let key = OffsetCommitKey { group: group(), topic: "a.b_c-D9".into(), partition: 7 };
    let value = OffsetCommitValue {
        offset: 1 << 33,
        leader_epoch: if from(3) { 5 } else { -1 },
        metadata: "mötadata".into(),
        commit_timestamp_ms: THEN_MS,
        expire_timestamp_ms: if version == Some(1) { 1_800_000_000_456 } else { -1 },
        topic_id: id(if from(4) { 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10 } else { 0 }),
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

fn classic_members(version: Option<u16>) -> Vec<MemberMetadata> {
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
    vec![dynamic, fixed]
}

fn group_metadata(version: Option<u16>) -> GroupMetadataValue {
    GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 42,
        protocol: Some("range".into()),
        leader: Some("c-1".into()),
        current_state_timestamp_ms: if version >= Some(2) { THEN_MS } else { -1 },
        members: classic_members(version),
    }
}

fn empty_group_metadata() -> GroupMetadataValue {
    GroupMetadataValue {
        protocol_type: String::new(),
        generation: 0,
        protocol: None,
        leader: None,
        current_state_timestamp_ms: -1,
        members: vec![],
    }
}

fn partition_metadata() -> Vec<TopicMetadata> {
    let partition = |partition, racks: &[&str]| PartitionMetadata { partition, racks: names(racks) };
    vec![TopicMetadata {
        topic_id: id(3),
        topic_name: "t".into(),
        num_partitions: 2,
        partition_metadata: vec![partition(0, &["a", "b"]), partition(1, &[])],
    }]
}

fn consumer_member(fixture: &Fixture) -> ConsumerGroupMemberMetadataValue {
    let text = |text: &str| fixture.or_plain(text, "").to_owned();
    let option = |text: &str| fixture.or_plain(Some(text.to_owned()), None);
    let protocol =
        |name: &str, metadata| ClassicProtocol { name: name.into(), metadata: Bytes::from_static(metadata) };
    let classic = ClassicMemberMetadata {
        session_timeout_ms: 45_000,
        supported_protocols: vec![protocol("range", &[0, 1]), protocol("", &[])],
    };
    ConsumerGroupMemberMetadataValue {
        instance_id: option("i"),
        rack_id: option("räck"),
        client_id: text("c"),
        client_host: text("/127.0.0.1"),
        subscribed_topic_names: fixture.or_plain(names(&["a", "b"]), vec![]),
        subscribed_topic_regex: option("x.*"),
        rebalance_timeout_ms: fixture.or_plain(300_000, -1),
        server_assignor: option("uniform"),
        classic_member_metadata: fixture.name.ends_with("-classic").then_some(classic),
    }
}

fn target_of_member(fixture: &Fixture) -> Option<TargetAssignmentMemberValue> {
    let topic_partitions = fixture.or_plain(vec![partitions(3, &[0, 1, 258]), partitions(4, &[])], vec![]);
    fixture.holds(TargetAssignmentMemberValue { topic_partitions })
}

fn target(fixture: &Fixture) -> Option<TargetAssignmentMetadataValue> {
    fixture.holds(TargetAssignmentMetadataValue { assignment_epoch: 11 })
}

fn current_of_consumer(fixture: &Fixture) -> ConsumerGroupCurrentMemberAssignmentValue {
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: fixture.or_plain(11, 0),
        previous_member_epoch: fixture.or_plain(10, 0),
        state: fixture.or_plain(3, 0),
        assigned_partitions: fixture.or_plain(vec![partitions(3, &[0, 1, 258])], vec![]),
        partitions_pending_revocation: fixture.or_plain(vec![partitions(4, &[])], vec![]),
    }
}

fn regular_expression(fixture: &Fixture) -> GroupRecord {
    let key = ConsumerGroupRegularExpressionKey { group: group(), regular_expression: "x.*".into() };
    let value = ConsumerGroupRegularExpressionValue {
        topics: fixture.or_plain(names(&["x", "xy"]), vec![]),
        version: fixture.or_plain(99, 0),
        timestamp_ms: fixture.or_plain(THEN_MS, 0),
    };
    GroupRecord::ConsumerGroupRegularExpression(key, fixture.holds(value))
}

fn expected_of_a_consumer_group(fixture: &Fixture, subject: &str) -> GroupRecord {
    match subject {
        "metadata" => {
            let epoch = fixture.or_plain(10, 0);
            let metadata_hash = fixture.or_plain(-2, 0);
            let value = ConsumerGroupMetadataValue { epoch, metadata_hash };
            GroupRecord::ConsumerGroupMetadata(group(), fixture.holds(value))
        }
        "partition-metadata" => {
            let topics = fixture.or_plain(partition_metadata(), vec![]);
            let value = ConsumerGroupPartitionMetadataValue { topics };
            GroupRecord::ConsumerGroupPartitionMetadata(group(), fixture.holds(value))
        }
        "member-metadata" | "member-metadata-classic" => {
            GroupRecord::ConsumerGroupMemberMetadata(member(), fixture.holds(consumer_member(fixture)))
        }
        "target-assignment-metadata" => {
            GroupRecord::ConsumerGroupTargetAssignmentMetadata(group(), target(fixture))
        }
        "target-assignment-member" => {
            GroupRecord::ConsumerGroupTargetAssignmentMember(member(), target_of_member(fixture))
        }
        "current-member-assignment" => GroupRecord::ConsumerGroupCurrentMemberAssignment(
            member(),
            fixture.holds(current_of_consumer(fixture)),
        ),
        "regular-expression" => regular_expression(fixture),
        other => panic!("no expectation for fixture {other}"),
    }
}

fn share_member(fixture: &Fixture) -> ShareGroupMemberMetadataValue {
    ShareGroupMemberMetadataValue {
        rack_id: fixture.or_plain(Some("räck".into()), None),
        client_id: fixture.or_plain("c", "").into(),
        client_host: fixture.or_plain("/127.0.0.1", "").into(),
        subscribed_topic_names: fixture.or_plain(names(&["a", "b"]), vec![]),
    }
}

fn current_of_share(fixture: &Fixture) -> ShareGroupCurrentMemberAssignmentValue {
    ShareGroupCurrentMemberAssignmentValue {
        member_epoch: fixture.or_plain(11, 0),
        previous_member_epoch: fixture.or_plain(10, 0),
        state: fixture.or_plain(1, 0),
        assigned_partitions: fixture.or_plain(vec![partitions(3, &[0, 1, 258])], vec![]),
    }
}

fn state_partitions(fixture: &Fixture) -> ShareGroupStatePartitionMetadataValue {
    let named = |number, name: &str, partitions| NamedTopicPartitions {
        topic_id: id(number),
        topic_name: name.into(),
        partitions,
    };
    let deleting = NamedTopic { topic_id: id(5), topic_name: "v".into() };
    ShareGroupStatePartitionMetadataValue {
        initializing_topics: fixture.or_plain(vec![named(3, "t", vec![0, 1])], vec![]),
        initialized_topics: fixture.or_plain(vec![named(3, "t", vec![2]), named(4, "u", vec![])], vec![]),
        deleting_topics: fixture.or_plain(vec![deleting], vec![]),
    }
}

fn expected_of_a_share_group(fixture: &Fixture, subject: &str) -> GroupRecord {
    match subject {
        "metadata" => {
            let value = ShareGroupMetadataValue { epoch: 10, metadata_hash: -2 };
            GroupRecord::ShareGroupMetadata(group(), fixture.holds(value))
        }
        "member-metadata" => {
            GroupRecord::ShareGroupMemberMetadata(member(), fixture.holds(share_member(fixture)))
        }
        "target-assignment-metadata" => {
            GroupRecord::ShareGroupTargetAssignmentMetadata(group(), target(fixture))
        }
        "target-assignment-member" => {
            GroupRecord::ShareGroupTargetAssignmentMember(member(), target_of_member(fixture))
        }
        "current-member-assignment" => {
            GroupRecord::ShareGroupCurrentMemberAssignment(member(), fixture.holds(current_of_share(fixture)))
        }
        "state-partition-metadata" => {
            let value = fixture.holds(state_partitions(fixture));
            GroupRecord::ShareGroupStatePartitionMetadata(group(), value)
        }
        other => panic!("no expectation for fixture {other}"),
    }
}

impl Codec for GroupRecord {
    const FIXTURES: &str = include_str!("../fixtures/group.txt");
    const KINDS: &[u16] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16];

    fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        GroupRecord::encode(self)
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, DecodeError> {
        GroupRecord::decode(key, value)
    }

    /// All values but two have one version.
    fn value_at(&self, version: u16) -> Result<Bytes, EncodeError> {
        match self {
            GroupRecord::OffsetCommit(_, Some(value)) => encode_value_at(value, version),
            GroupRecord::GroupMetadata(_, Some(value)) => encode_value_at(value, version),
            other => other.encode().map(|(_, value)| value.expect("no tombstone")),
        }
    }

    fn expected(fixture: &Fixture) -> Self {
        let subject = fixture.subject();
        match subject {
            "offset-commit" | "legacy-offset-commit" => return offset_commit(fixture.version),
            "offset-commit-plain" => return plain_offset_commit(),
            "group-metadata" => {
                return GroupRecord::GroupMetadata(group(), fixture.holds(group_metadata(fixture.version)));
            }
            "group-metadata-empty" => {
                return GroupRecord::GroupMetadata(group(), Some(empty_group_metadata()));
            }
            _ => {}
        }
        let subject = subject.trim_end_matches("-plain");
        if let Some(subject) = subject.strip_prefix("consumer-group-") {
            expected_of_a_consumer_group(fixture, subject)
        } else if let Some(subject) = subject.strip_prefix("share-group-") {
            expected_of_a_share_group(fixture, subject)
        } else {
            assert!(subject.starts_with("unknown-"), "no expectation for fixture {subject}");
            GroupRecord::Unknown(fixture.unknown())
        }
    }

    fn is_written(fixture: &Fixture) -> bool {
        match fixture.name {
            "offset-commit" => matches!(fixture.version, Some(1 | 4)),
            "offset-commit-plain" => fixture.version == Some(4),
            "group-metadata" | "group-metadata-empty" => fixture.version == Some(3),
            name => !name.starts_with("legacy-"),
        }
    }
}

/// The value of a record of `kind` whose key holds `strings` empty strings.
fn decode(kind: u8, strings: usize, value: &str) -> Result<GroupRecord, DecodeError> {
    let key = [vec![0, kind], vec![0; 2 * strings]].concat();
    GroupRecord::decode(&key, Some(&from_hex(&value.replace(' ', ""))))
}

#[test]
fn hostile_values_are_refused() {
    let refused = |kind, strings, value: &str, error| assert_eq!(decode(kind, strings, value), Err(error));
    refused(2, 1, "", DecodeError::Truncated);
    refused(2, 1, "0005", DecodeError::UnsupportedVersion { api_key: 2, version: 5 });
    refused(2, 1, "ffff", DecodeError::UnsupportedVersion { api_key: 2, version: u16::MAX });
    refused(3, 1, "0001", DecodeError::UnsupportedVersion { api_key: 3, version: 1 });
    // A classic group: no type; 2^31 − 1 members; null members; a member whose assignment ends too late.
    refused(2, 1, "0000 ffff", DecodeError::Null);
    let classic = "0000 0000 00000000 ffff ffff";
    refused(2, 1, &format!("{classic} 7fffffff"), DecodeError::Length(i32::MAX as u32));
    refused(2, 1, &format!("{classic} ffffffff"), DecodeError::Null);
    let member = "0000 0000 0000 00000000 00000000";
    refused(2, 1, &format!("{classic} 00000001 {member} 7fffffff"), DecodeError::Truncated);
    // The same in the flexible encoding, where 2^32 − 2 can be claimed.
    refused(2, 1, "0004 01 00000000 00 00 0000000000000000 ffffffff0f", DecodeError::Length(u32::MAX - 1));
    // A target assignment: more topics than fit, then a topic with more partitions than fit.
    refused(7, 2, "0000 ffffffff0f", DecodeError::Length(u32::MAX - 1));
    let topic = "00000000000000000000000000000003";
    refused(7, 2, &format!("0000 02 {topic} ffffffff0f 00 00"), DecodeError::Length(u32::MAX - 1));
}

#[test]
fn what_tags_hold_is_read_whole() {
    let group = |metadata_hash| {
        let value = ConsumerGroupMetadataValue { epoch: 1, metadata_hash };
        Ok(GroupRecord::ConsumerGroupMetadata(String::new(), Some(value)))
    };
    assert_eq!(decode(3, 1, "0000 00000001 01 00 08 0000000000000007"), group(7));
    // An unknown tag is skipped, as KIP-482 wants.
    assert_eq!(decode(3, 1, "0000 00000001 02 00 08 0000000000000007 09 02 abcd"), group(7));
    assert_eq!(decode(3, 1, "0000 00000001 01 00 09 000000000000000700"), Err(DecodeError::TagSize(0)));
    assert_eq!(decode(3, 1, "0000 00000001 01 00 07 00000000000000"), Err(DecodeError::Truncated));
    // A struct that may be null: absent, or told to be null.
    let plain = "0000 00 00 01 01 01 00 ffffffff 00";
    assert_eq!(decode(5, 2, &format!("{plain} 01 00 01 ff")), decode(5, 2, &format!("{plain} 00")));
    assert!(decode(5, 2, &format!("{plain} 00")).is_ok());
}

#[test]
fn keys_of_unknown_kinds_are_kept_and_none_is_not_a_key() {
    for kind in [9, 17, 23, 99, 0x8000, u16::MAX] {
        let unknown =
            UnknownRecord { kind, key: Bytes::from_static(b"\x07"), value: Some(Bytes::from_static(b"x")) };
        let [high, low] = kind.to_be_bytes();
        assert_eq!(GroupRecord::decode(&[high, low, 7], Some(b"x")), Ok(GroupRecord::Unknown(unknown)));
    }
    assert_eq!(GroupRecord::decode(&[], None), Err(DecodeError::Truncated));
    assert_eq!(GroupRecord::decode(&[0, 2, 0x80, 0], None), Err(DecodeError::Null));
    assert_eq!(GroupRecord::decode(&[0, 2, 0, 1, 0xff], None), Err(DecodeError::Utf8));
}

#[test]
fn a_string_that_is_too_long_is_not_written() {
    let long = |length: usize| GroupRecord::GroupMetadata("x".repeat(length), None).encode();
    assert!(long(32_767).is_ok());
    assert_eq!(long(32_768), Err(EncodeError::StringTooLong(32_768)));
    let GroupRecord::OffsetCommit(key, Some(mut value)) = plain_offset_commit() else { panic!("a commit") };
    value.metadata = "x".repeat(32_768);
    assert_eq!(GroupRecord::OffsetCommit(key, Some(value)).encode(), Err(EncodeError::StringTooLong(32_768)));
}
