//! What coordinators read: records of the internal topics, and what a classic group's consumers tell each other. What is accepted can be
//! written again, and is read alike.
//!
//! A record is laid out so: `key length, u16 │ key │ value`, without a value when nothing is left.

use crate::memory::taken;
use crate::targets::{choose, id, noise, topic_name, word};
use bytes::Bytes;
use hayate_engine::coordinator::group::subscription::{add_topics, assigned};
use hayate_engine::coordinator::records::share_state::{
    SharePartitionKey, ShareSnapshotValue, ShareStateRecord, ShareUpdateValue, StateBatch,
};
use hayate_engine::coordinator::records::transaction_log::{
    TransactionLogRecord, TransactionLogValue, TransactionPartitions,
};
use hayate_engine::coordinator::records::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue, GroupMetadataValue, GroupRecord,
    MemberKey, MemberMetadata, NamedTopic, NamedTopicPartitions, OffsetCommitKey, OffsetCommitValue,
    PartitionMetadata, ShareGroupCurrentMemberAssignmentValue, ShareGroupMemberMetadataValue,
    ShareGroupMetadataValue, ShareGroupStatePartitionMetadataValue, TargetAssignmentMemberValue,
    TargetAssignmentMetadataValue, TopicMetadata, TopicPartitions,
};
use hayate_rt::random::Prng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use uuid::Uuid;

/// Memory that a record may take for each of its bytes, and besides.
const GROWTH_MAX: usize = 64;
const BASE_BYTES: usize = 8 << 10;

type Encoded = (Bytes, Option<Bytes>);

fn laid_out((key, value): Encoded) -> Vec<u8> {
    [&(key.len() as u16).to_be_bytes()[..], &key, &value.unwrap_or_default()].concat()
}

fn parts(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (key, value) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((key, (!value.is_empty()).then_some(value)))
}

/// The key's length, if a change made it point beyond the end.
pub fn mend(bytes: &mut Vec<u8>) {
    let rest = bytes.len().saturating_sub(2);
    if let Some((length, _)) = bytes.split_first_chunk_mut() {
        let told = usize::from(u16::from_be_bytes(*length));
        *length = (told.min(rest) as u16).to_be_bytes();
    }
}

/// Decodes a record, and again what it is written as.
fn read<T: Debug + PartialEq, E: Debug + PartialEq, W>(
    bytes: &[u8],
    decode: impl Fn(&[u8], Option<&[u8]>) -> Result<T, E>,
    encode: impl Fn(&T) -> Result<Encoded, W>,
) -> bool {
    let Some((key, value)) = parts(bytes) else { return false };
    let record = within_bounds(bytes, || decode(key, value));
    let Ok(record) = record else { return false };
    // A longer string than a record can have is read, and never written.
    if let Ok((key, value)) = encode(&record) {
        assert_eq!(decode(&key, value.as_deref()), Ok(record), "a record does not come back");
    }
    true
}

fn within_bounds<T>(bytes: &[u8], parse: impl FnOnce() -> T) -> T {
    let (parsed, took) = taken(parse);
    assert!(
        took.held_bytes_max <= BASE_BYTES + GROWTH_MAX * bytes.len(),
        "{took:?} for {} bytes",
        bytes.len()
    );
    parsed
}

fn list<T>(prng: &mut Prng, mut element: impl FnMut(&mut Prng) -> T) -> Vec<T> {
    (0..prng.below(4)).map(|_| element(prng)).collect()
}

fn option<T>(prng: &mut Prng, some: impl FnOnce(&mut Prng) -> T) -> Option<T> {
    prng.chance(1, 2).then(|| some(prng))
}

fn bytes(prng: &mut Prng) -> Bytes {
    noise(prng, 20).into()
}

fn number(prng: &mut Prng) -> i32 {
    prng.below(100) as i32
}

fn long(prng: &mut Prng) -> i64 {
    prng.below(1 << 50).cast_signed()
}

fn uuid(prng: &mut Prng) -> Uuid {
    Uuid::from_bytes(id(prng))
}

fn partitions(prng: &mut Prng) -> Vec<TopicPartitions> {
    list(prng, |prng| TopicPartitions { topic_id: uuid(prng), partitions: list(prng, number) })
}

fn member_key(prng: &mut Prng) -> MemberKey {
    MemberKey { group: word(prng, 9), member_id: word(prng, 9) }
}

fn commit(prng: &mut Prng) -> GroupRecord {
    let key = OffsetCommitKey { group: word(prng, 9), topic: topic_name(prng), partition: number(prng) };
    let expires = prng.chance(1, 4);
    let value = OffsetCommitValue {
        offset: long(prng),
        leader_epoch: if expires { -1 } else { number(prng) },
        metadata: word(prng, 20),
        commit_timestamp_ms: long(prng),
        expire_timestamp_ms: if expires { long(prng) } else { -1 },
        topic_id: if expires { Uuid::nil() } else { uuid(prng) },
    };
    GroupRecord::OffsetCommit(key, Some(value))
}

fn classic(prng: &mut Prng) -> GroupRecord {
    let member = |prng: &mut Prng| MemberMetadata {
        member_id: word(prng, 20),
        group_instance_id: option(prng, |prng| word(prng, 5)),
        client_id: word(prng, 9),
        client_host: word(prng, 9),
        rebalance_timeout_ms: number(prng),
        session_timeout_ms: number(prng),
        subscription: bytes(prng),
        assignment: bytes(prng),
    };
    let value = GroupMetadataValue {
        protocol_type: word(prng, 9),
        generation: number(prng),
        protocol: option(prng, |prng| word(prng, 9)),
        leader: option(prng, |prng| word(prng, 9)),
        current_state_timestamp_ms: long(prng),
        members: list(prng, member),
    };
    GroupRecord::GroupMetadata(word(prng, 9), Some(value))
}

fn consumer_member(prng: &mut Prng) -> GroupRecord {
    let protocol = |prng: &mut Prng| ClassicProtocol { name: word(prng, 9), metadata: bytes(prng) };
    let classic = |prng: &mut Prng| ClassicMemberMetadata {
        session_timeout_ms: number(prng),
        supported_protocols: list(prng, protocol),
    };
    let value = ConsumerGroupMemberMetadataValue {
        instance_id: option(prng, |prng| word(prng, 9)),
        rack_id: option(prng, |prng| word(prng, 9)),
        client_id: word(prng, 9),
        client_host: word(prng, 9),
        subscribed_topic_names: list(prng, topic_name),
        subscribed_topic_regex: option(prng, |prng| word(prng, 9)),
        rebalance_timeout_ms: number(prng),
        server_assignor: option(prng, |prng| word(prng, 9)),
        classic_member_metadata: option(prng, classic),
    };
    GroupRecord::ConsumerGroupMemberMetadata(member_key(prng), Some(value))
}

fn consumer(prng: &mut Prng) -> GroupRecord {
    match prng.below(5) {
        0 => consumer_member(prng),
        1 => {
            let value = ConsumerGroupMetadataValue { epoch: number(prng), metadata_hash: long(prng) };
            GroupRecord::ConsumerGroupMetadata(word(prng, 9), Some(value))
        }
        2 => {
            let partition = |prng: &mut Prng| PartitionMetadata {
                partition: number(prng),
                racks: list(prng, |prng| word(prng, 5)),
            };
            let topic = |prng: &mut Prng| TopicMetadata {
                topic_id: uuid(prng),
                topic_name: topic_name(prng),
                num_partitions: number(prng),
                partition_metadata: list(prng, partition),
            };
            let value = ConsumerGroupPartitionMetadataValue { topics: list(prng, topic) };
            GroupRecord::ConsumerGroupPartitionMetadata(word(prng, 9), Some(value))
        }
        3 => {
            let value = ConsumerGroupCurrentMemberAssignmentValue {
                member_epoch: number(prng),
                previous_member_epoch: number(prng),
                state: prng.below(4) as i8,
                assigned_partitions: partitions(prng),
                partitions_pending_revocation: partitions(prng),
            };
            GroupRecord::ConsumerGroupCurrentMemberAssignment(member_key(prng), Some(value))
        }
        _ => {
            let key =
                ConsumerGroupRegularExpressionKey { group: word(prng, 9), regular_expression: word(prng, 9) };
            let value = ConsumerGroupRegularExpressionValue {
                topics: list(prng, topic_name),
                version: long(prng),
                timestamp_ms: long(prng),
            };
            GroupRecord::ConsumerGroupRegularExpression(key, Some(value))
        }
    }
}

fn target(prng: &mut Prng) -> GroupRecord {
    if prng.chance(1, 2) {
        let value = TargetAssignmentMetadataValue { assignment_epoch: number(prng) };
        return GroupRecord::ShareGroupTargetAssignmentMetadata(word(prng, 9), Some(value));
    }
    let value = TargetAssignmentMemberValue { topic_partitions: partitions(prng) };
    GroupRecord::ConsumerGroupTargetAssignmentMember(member_key(prng), Some(value))
}

fn share(prng: &mut Prng) -> GroupRecord {
    let named = |prng: &mut Prng| NamedTopicPartitions {
        topic_id: uuid(prng),
        topic_name: topic_name(prng),
        partitions: list(prng, number),
    };
    match prng.below(4) {
        0 => {
            let value = ShareGroupMemberMetadataValue {
                rack_id: option(prng, |prng| word(prng, 9)),
                client_id: word(prng, 9),
                client_host: word(prng, 9),
                subscribed_topic_names: list(prng, topic_name),
            };
            GroupRecord::ShareGroupMemberMetadata(member_key(prng), Some(value))
        }
        1 => {
            let value = ShareGroupMetadataValue { epoch: number(prng), metadata_hash: long(prng) };
            GroupRecord::ShareGroupMetadata(word(prng, 9), Some(value))
        }
        2 => {
            let value = ShareGroupCurrentMemberAssignmentValue {
                member_epoch: number(prng),
                previous_member_epoch: number(prng),
                state: prng.below(3) as i8,
                assigned_partitions: partitions(prng),
            };
            GroupRecord::ShareGroupCurrentMemberAssignment(member_key(prng), Some(value))
        }
        _ => {
            let value = ShareGroupStatePartitionMetadataValue {
                initializing_topics: list(prng, named),
                initialized_topics: list(prng, named),
                deleting_topics: list(prng, |prng| NamedTopic {
                    topic_id: uuid(prng),
                    topic_name: topic_name(prng),
                }),
            };
            GroupRecord::ShareGroupStatePartitionMetadata(word(prng, 9), Some(value))
        }
    }
}

/// A record of `__consumer_offsets`.
pub fn group_record(prng: &mut Prng) -> Vec<u8> {
    let record = choose(&[commit, classic, consumer, target, share], prng)(prng);
    let (key, value) = record.encode().expect("encodable");
    laid_out((key, value.filter(|_| prng.chance(9, 10))))
}

/// What a load of groups does with a record.
pub fn read_group_record(bytes: &[u8]) -> bool {
    read(bytes, GroupRecord::decode, GroupRecord::encode)
}

/// A record of `__transaction_state`.
pub fn transaction_record(prng: &mut Prng) -> Vec<u8> {
    let partitions = |prng: &mut Prng| TransactionPartitions {
        topic: topic_name(prng),
        partition_ids: list(prng, number),
    };
    let value = TransactionLogValue {
        producer_id: long(prng),
        producer_epoch: number(prng) as i16,
        transaction_timeout_ms: number(prng),
        transaction_status: prng.below(8) as i8,
        transaction_partitions: option(prng, |prng| list(prng, partitions)),
        transaction_last_update_timestamp_ms: long(prng),
        transaction_start_timestamp_ms: long(prng),
        previous_producer_id: if prng.chance(1, 2) { -1 } else { long(prng) },
        next_producer_id: if prng.chance(1, 2) { -1 } else { long(prng) },
        client_transaction_version: prng.below(3) as i16,
        next_producer_epoch: if prng.chance(1, 2) { -1 } else { number(prng) as i16 },
    };
    let value = prng.chance(9, 10).then_some(value);
    let record = TransactionLogRecord::TransactionLog(word(prng, 9), value);
    laid_out(record.encode().expect("encodable"))
}

/// What a load of transactional ids does with a record.
pub fn read_transaction_record(bytes: &[u8]) -> bool {
    read(bytes, TransactionLogRecord::decode, TransactionLogRecord::encode)
}

/// A record of `__share_group_state`.
pub fn share_state_record(prng: &mut Prng) -> Vec<u8> {
    let key = SharePartitionKey { group: word(prng, 9), topic_id: uuid(prng), partition: number(prng) };
    let batch = |prng: &mut Prng| StateBatch {
        first_offset: long(prng),
        last_offset: long(prng),
        delivery_state: prng.below(5) as i8,
        delivery_count: number(prng) as i16,
    };
    let snapshot_epoch = number(prng);
    let delivery_complete_count = if prng.chance(1, 2) { -1 } else { number(prng) };
    let record = if prng.chance(1, 2) {
        let value = ShareSnapshotValue {
            snapshot_epoch,
            state_epoch: number(prng),
            leader_epoch: number(prng),
            start_offset: long(prng),
            create_timestamp_ms: long(prng),
            write_timestamp_ms: long(prng),
            state_batches: list(prng, batch),
            delivery_complete_count,
        };
        ShareStateRecord::ShareSnapshot(key, prng.chance(9, 10).then_some(value))
    } else {
        let value = ShareUpdateValue {
            snapshot_epoch,
            leader_epoch: number(prng),
            start_offset: long(prng),
            state_batches: list(prng, batch),
            delivery_complete_count,
        };
        ShareStateRecord::ShareUpdate(key, Some(value))
    };
    laid_out(record.encode().expect("encodable"))
}

/// What a load of the state of share groups does with a record.
pub fn read_share_state_record(bytes: &[u8]) -> bool {
    read(bytes, ShareStateRecord::decode, ShareStateRecord::encode)
}

/// A subscription or an assignment of consumers: a byte says which.
pub fn consumer_protocol(prng: &mut Prng) -> Vec<u8> {
    let is_assignment = prng.chance(1, 2);
    let version = prng.below(4) as i16;
    let mut bytes = vec![u8::from(is_assignment)];
    if is_assignment {
        let topics: BTreeMap<String, Vec<i32>> =
            list(prng, |prng| (topic_name(prng), list(prng, number))).into_iter().collect();
        bytes.extend(assignment(version, &topics));
    } else {
        let topics: BTreeSet<String> = list(prng, topic_name).into_iter().collect();
        bytes.extend(subscription(version, &topics));
        // What later versions append.
        bytes.extend(noise(prng, 12));
    }
    bytes
}

fn subscription(version: i16, topics: &BTreeSet<String>) -> Vec<u8> {
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.extend((topics.len() as i32).to_be_bytes());
    topics.iter().for_each(|topic| name(topic, &mut bytes));
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

fn assignment(version: i16, topics: &BTreeMap<String, Vec<i32>>) -> Vec<u8> {
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.extend((topics.len() as i32).to_be_bytes());
    for (topic, partitions) in topics {
        name(topic, &mut bytes);
        bytes.extend((partitions.len() as i32).to_be_bytes());
        bytes.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

fn name(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as i16).to_be_bytes());
    bytes.extend(text.bytes());
}

/// What a coordinator makes of what consumers tell. An assignment is read as far as it goes, so one without a topic counts as refused.
pub fn read_consumer_protocol(bytes: &[u8]) -> bool {
    let Some((kind, told)) = bytes.split_first() else { return false };
    if *kind == 1 {
        let topics = within_bounds(bytes, || assigned(told));
        assert_eq!(assigned(&assignment(0, &topics)), topics, "an assignment does not come back");
        return !topics.is_empty();
    }
    let mut topics = BTreeSet::new();
    if within_bounds(bytes, || add_topics(told, &mut topics)).is_none() {
        return false;
    }
    let mut again = BTreeSet::new();
    assert_eq!(add_topics(&subscription(0, &topics), &mut again), Some(()));
    assert_eq!(again, topics, "a subscription does not come back");
    true
}
