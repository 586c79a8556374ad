//! Offsets with the log that they write, driven by lines of script.
//!
//! A line is `request => answer`. After each, a second machine replays the log, and must show the same.

use crate::coordinator::offsets::*;
use crate::coordinator::records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use crate::coordinator::{Effects, Moment};
use crate::metadata::image::MetadataImage;
use hayate_rt::MonoTime;
use hayate_storage::batch::{Offset, ProducerId};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetDeleteRequest, TopicName, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::sync::Arc;
use uuid::Uuid;

/// What stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Logged {
    /// A record, and the producer of its transaction.
    Record(Option<ProducerId>, OffsetCommitKey, Option<OffsetCommitValue>),
    /// The end of a transaction, and whether it was committed.
    Marker(ProducerId, bool),
}

/// One partition of a topic in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<String>,
}

impl Spec {
    /// `TOPIC-PARTITION[=OFFSET[@EPOCH][+METADATA]]`
    fn parse(text: &str) -> Spec {
        let (place, rest) = text.split_once('=').unwrap_or((text, "-1"));
        let (topic, partition) = place.rsplit_once('-').unwrap_or_else(|| panic!("a partition: {text}"));
        let (rest, metadata) =
            rest.split_once('+').map_or((rest, None), |(rest, metadata)| (rest, Some(metadata)));
        let (offset, epoch) = rest.split_once('@').unwrap_or((rest, "-1"));
        Spec {
            topic: topic.to_string(),
            partition: number(partition),
            offset: number(offset),
            leader_epoch: number(epoch),
            metadata: metadata.map(str::to_string),
        }
    }
}

fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().unwrap_or_else(|_| panic!("a number: {text}"))
}

/// The words of a line: `NAME=VALUE` where the name is an option, and the others.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        self.0.remove(0)
    }

    fn option(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|word| word.split('=').next() == Some(name))?;
        let word = self.0.remove(at);
        Some(word.split_once('=').map_or("", |(_, value)| value))
    }

    fn specs(&self) -> Vec<Spec> {
        self.0.iter().map(|word| Spec::parse(word)).collect()
    }

    fn verdict(&mut self) -> Verdict {
        match self.option("verdict") {
            None => Ok(()),
            Some(name) => Err(error_named(name)),
        }
    }
}

fn error_named(name: &str) -> ResponseError {
    let errors = (1..=130).filter_map(ResponseError::try_from_code);
    errors
        .into_iter()
        .find(|error| format!("{error:?}") == name)
        .unwrap_or_else(|| panic!("an error: {name}"))
}

/// A number as an id of a topic; 0 is none.
pub(super) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(super) fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

pub(super) fn topic_name(text: &str) -> TopicName {
    TopicName(str_bytes(text))
}

pub(super) fn group_id(text: &str) -> GroupId {
    GroupId(str_bytes(text))
}

/// Offsets, and the log of what they wrote.
pub(super) struct World {
    pub offsets: Offsets,
    pub log: Vec<Logged>,
    pub moment: Moment,
    pub limits: OffsetLimits,
}

impl World {
    pub(super) fn new() -> World {
        World {
            offsets: Offsets::default(),
            log: Vec::new(),
            moment: Moment {
                now: MonoTime::from_nanos(0),
                wall_ms: 1_000,
                image: Arc::new(MetadataImage::empty("cluster")),
                log_end: Offset(0),
            },
            limits: OffsetLimits { metadata_max: 8, retention_ms: 100 },
        }
    }

    /// Takes a step, and puts what it writes into the log.
    pub(super) fn step<T>(
        &mut self,
        step: impl FnOnce(&mut Offsets, &Moment, &OffsetLimits, &mut Effects<GroupRecord, ()>) -> T,
    ) -> T {
        let mut effects = Effects::default();
        let answer = step(&mut self.offsets, &self.moment, &self.limits, &mut effects);
        for write in effects.writes {
            assert!(!write.records.is_empty(), "a write has a record");
            for record in write.records {
                let GroupRecord::OffsetCommit(key, value) = record else { panic!("an offset: {record:?}") };
                self.log.push(Logged::Record(write.producer.map(|(producer, _)| producer), key, value));
            }
        }
        answer
    }

    pub(super) fn end(&mut self, producer: ProducerId, committed: bool) {
        self.offsets.complete_transaction(producer, committed);
        self.log.push(Logged::Marker(producer, committed));
    }

    fn line(&mut self, line: &str) -> String {
        let mut words = Words(line.split_whitespace().collect());
        let logged = self.log.len();
        let answer = match words.next() {
            "at" => {
                self.moment.wall_ms = number(words.next());
                String::new()
            }
            "commit" => self.commit(words),
            "txn" => self.txn(words),
            "marker" => {
                self.end(ProducerId(number(words.next())), words.next() == "commit");
                String::new()
            }
            "fetch" => self.fetch(words),
            "kept" => self.offsets.kept().to_string(),
            other => self.removal(other, words) + &buried(&self.log[logged..]),
        };
        answer.trim().to_string()
    }

    fn removal(&mut self, what: &str, mut words: Words<'_>) -> String {
        match what {
            "delete" => self.delete(words),
            "delete-group" => {
                self.step(|offsets, _, _, effects| offsets.delete_group(words.next(), effects)).to_string()
            }
            "topic-deleted" => {
                let topics = [(words.next().to_string(), id(number(words.next())))];
                self.step(|offsets, _, _, effects| offsets.topics_deleted(&topics, effects));
                String::new()
            }
            "expire" => self.expire(words),
            _ => panic!("not understood: {what}"),
        }
    }

    fn commit(&mut self, mut words: Words<'_>) -> String {
        let verdict = words.verdict();
        let retention = words.option("retention").map_or(-1, number);
        let topic_id = id(words.option("id").map_or(0, number));
        let request = commit_request(words.next(), retention, topic_id, &words.specs());
        let answer = self.step(|offsets, moment, limits, effects| {
            offsets.commit(moment, &request, verdict, limits, effects)
        });
        let topics = answer.topics.iter().flat_map(|topic| {
            assert_eq!(topic.topic_id, topic_id);
            topic
                .partitions
                .iter()
                .map(|partition| told(&topic.name, partition.partition_index, partition.error_code))
        });
        topics.collect::<Vec<_>>().join(" ")
    }

    fn txn(&mut self, mut words: Words<'_>) -> String {
        let verdict = words.verdict();
        let request = txn_commit_request(number(words.next()), words.next(), &words.specs());
        let answer = self.step(|offsets, moment, limits, effects| {
            offsets.txn_commit(moment, &request, None, verdict, limits, effects)
        });
        let topics = answer.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|partition| told(&topic.name, partition.partition_index, partition.error_code))
        });
        topics.collect::<Vec<_>>().join(" ")
    }

    fn fetch(&mut self, mut words: Words<'_>) -> String {
        let verdict = words.verdict();
        let require_stable = words.option("stable").is_some();
        let version = words.option("version").map_or(9, number);
        let topic_id = id(words.option("id").map_or(0, number));
        let all = words.option("*").is_some();
        let request = fetch_request(words.next(), topic_id, (!all).then(|| words.specs()));
        fetched(&self.offsets.fetch(&request, require_stable, verdict, version))
    }

    fn delete(&mut self, mut words: Words<'_>) -> String {
        let verdict = words.verdict();
        let subscribed = words.option("subscribed");
        let request = delete_request(words.next(), &words.specs());
        let answer = self.step(|offsets, _, _, effects| {
            offsets.delete(&request, verdict, |topic| subscribed == Some(topic), effects)
        });
        let topics = answer.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|partition| told(&topic.name, partition.partition_index, partition.error_code))
        });
        let whole = error(answer.error_code);
        topics.chain(whole.map(|error| format!("!{error}"))).collect::<Vec<_>>().join(" ")
    }

    fn expire(&mut self, mut words: Words<'_>) -> String {
        let subscribed = words.option("subscribed");
        let since = words.option("since").map(|since| Expiry::Since(number(since)));
        let expiry = since
            .or(words.option("never").map(|_| Expiry::Never))
            .or(words.option("since-commit").map(|_| Expiry::SinceCommit))
            .expect("an expiry");
        let is_subscribed = |topic: &str| subscribed == Some(topic);
        let none_left = self.step(|offsets, moment, limits, effects| {
            offsets.expire(moment, words.next(), expiry, is_subscribed, limits, effects)
        });
        if none_left { "none left".to_string() } else { "some left".to_string() }
    }
}

pub(super) fn commit_request(
    group: &str,
    retention: i64,
    topic_id: Uuid,
    specs: &[Spec],
) -> OffsetCommitRequest {
    let topics = specs.iter().map(|spec| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(spec.partition)
            .with_committed_offset(spec.offset)
            .with_committed_leader_epoch(spec.leader_epoch)
            .with_committed_metadata(spec.metadata.as_deref().map(str_bytes));
        OffsetCommitRequestTopic::default()
            .with_name(topic_name(&spec.topic))
            .with_topic_id(topic_id)
            .with_partitions(vec![partition])
    });
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_retention_time_ms(retention)
        .with_topics(topics.collect())
}

pub(super) fn txn_commit_request(producer: i64, group: &str, specs: &[Spec]) -> TxnOffsetCommitRequest {
    let topics = specs.iter().map(|spec| {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(spec.partition)
            .with_committed_offset(spec.offset)
            .with_committed_leader_epoch(spec.leader_epoch)
            .with_committed_metadata(spec.metadata.as_deref().map(str_bytes));
        TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name(&spec.topic))
            .with_partitions(vec![partition])
    });
    TxnOffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_producer_id(producer.into())
        .with_producer_epoch(3)
        .with_topics(topics.collect())
}

pub(super) fn fetch_request(
    group: &str,
    topic_id: Uuid,
    specs: Option<Vec<Spec>>,
) -> OffsetFetchRequestGroup {
    let topics = specs.map(|specs| {
        let topics = specs.iter().map(|spec| {
            OffsetFetchRequestTopics::default()
                .with_name(topic_name(&spec.topic))
                .with_topic_id(topic_id)
                .with_partition_indexes(vec![spec.partition])
        });
        topics.collect()
    });
    OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(topics)
}

pub(super) fn delete_request(group: &str, specs: &[Spec]) -> OffsetDeleteRequest {
    let topics = specs.iter().map(|spec| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(spec.partition);
        OffsetDeleteRequestTopic::default()
            .with_name(topic_name(&spec.topic))
            .with_partitions(vec![partition])
    });
    OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(topics.collect())
}

fn error(code: i16) -> Option<ResponseError> {
    (code != 0).then(|| ResponseError::try_from_code(code).expect("a code of Kafka's"))
}

fn told(topic: &str, partition: i32, code: i16) -> String {
    let error = error(code).map_or(String::new(), |error| format!(":{error:?}"));
    format!("{topic}-{partition}{error}")
}

/// What a fetch answered: `TOPIC-PARTITION=OFFSET@EPOCH+METADATA`, `=none`, or `:ERROR`.
pub(super) fn fetched(answer: &OffsetFetchResponseGroup) -> String {
    let topics = answer.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let place = told(&topic.name, partition.partition_index, partition.error_code);
            let metadata = partition.metadata.as_ref().expect("metadata are never null");
            let epoch = partition.committed_leader_epoch;
            if partition.error_code != 0 || partition.committed_offset == -1 {
                assert_eq!((partition.committed_offset, epoch, metadata.as_str()), (-1, -1, ""));
                return if partition.error_code == 0 { place + "=none" } else { place };
            }
            let epoch = if epoch == -1 { String::new() } else { format!("@{epoch}") };
            let metadata = if metadata.is_empty() { String::new() } else { format!("+{metadata}") };
            format!("{place}={}{epoch}{metadata}", partition.committed_offset)
        })
    });
    let whole = error(answer.error_code).map(|error| format!("!{error:?}"));
    topics.chain(whole).collect::<Vec<_>>().join(" ")
}

/// The tombstones that were written.
fn buried(log: &[Logged]) -> String {
    let places = log.iter().map(|logged| match logged {
        Logged::Record(None, key, None) => format!(" -{}/{}-{}", key.group, key.topic, key.partition),
        other => panic!("a tombstone outside transactions: {other:?}"),
    });
    places.collect()
}

/// What a log leads to.
pub(super) fn replay(log: &[Logged]) -> Offsets {
    let mut offsets = Offsets::default();
    for logged in log {
        match logged {
            Logged::Record(producer, key, value) => offsets.apply(*producer, key, value.as_ref()),
            Logged::Marker(producer, committed) => offsets.complete_transaction(*producer, *committed),
        }
    }
    offsets
}

/// All that can be seen of offsets, and of what is pending.
pub(super) fn visible(offsets: &Offsets) -> Vec<String> {
    let show = |group: &str, topic: &str, partition: i32, offset: &CommittedOffset| {
        let CommittedOffset { offset: at, commit_timestamp_ms, topic_id, leader_epoch, .. } = offset;
        let rest = (offset.metadata(), offset.expire_timestamp_ms());
        format!("{group}/{topic}-{partition}={at}@{leader_epoch} {commit_timestamp_ms} {topic_id} {rest:?}")
    };
    let committed =
        offsets.iter().map(|(group, topic, partition, offset)| show(group, topic, partition, offset));
    let pending = offsets.transactions.iter().flat_map(|(producer, groups)| {
        groups.iter().flat_map(move |(group, topics)| {
            topics.iter().map(move |(topic, partition, offset)| {
                assert!(offsets.is_pending(group, topic, partition));
                format!("{producer:?} {}", show(group, topic, partition, offset))
            })
        })
    });
    committed.chain(pending).collect()
}

/// What must hold of offsets at any time, and that their log leads to them.
pub(super) fn assert_sound(world: &World) {
    let offsets = &world.offsets;
    assert_eq!(offsets.kept(), offsets.iter().count());
    let open: usize =
        offsets.groups.values().flat_map(|group| group.open.iter()).map(|(_, _, open)| open.len()).sum();
    let of_groups = offsets.transactions.values().flat_map(|groups| groups.values());
    assert_eq!(open, of_groups.map(|topics| topics.iter().count()).sum::<usize>());
    let names = offsets.groups.values().flat_map(|group| {
        group.committed.topics().map(|(name, _)| name).chain(group.open.topics().map(|(name, _)| name))
    });
    assert_eq!(offsets.names.len(), names.collect::<BTreeSet<_>>().len(), "no name is left behind");
    assert_eq!(visible(offsets), visible(&replay(&world.log)), "a replay shows the same");
}

/// Runs a script: each line is `request => answer`; lines that begin with `#` say why.
pub(super) fn check(script: &str) {
    let mut world = World::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (request, expected) = line.split_once("=>").unwrap_or((line, ""));
        assert_eq!(world.line(request), expected.trim(), "{line}\nin{script}");
        assert_sound(&world);
    }
}
