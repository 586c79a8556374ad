//! Committed offsets: those of all groups of one partition of `__consumer_offsets`, and those that open transactions
//! will commit.
//!
//! Pure, as the machine is that it serves. It knows no members: what a group says to a request comes in as its
//! [`Verdict`]. It knows topics by their names: whether they exist, and who may see them, is settled before.
//! A transaction's offsets wait by its producer until its marker; of two commits the later record wins, whatever
//! the order of the markers. After Apache Kafka 4.2's `OffsetMetadataManager`; KIP-98 and KIP-447 (transactions),
//! KIP-211 (expiry), KIP-848 (topic ids).

mod commit;
mod fetch;
mod remove;
#[cfg(test)]
mod tests;
mod topics;

pub use commit::{commit_refused, txn_commit_refused};
pub use fetch::{fetch_answer, fetch_refused, fetch_requests};
pub use remove::{Expiry, delete_refused};

use super::Effects;
use super::records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use hayate_storage::batch::ProducerId;
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use topics::{Names, Topics};
use uuid::Uuid;

/// What a group says to a request for its offsets.
pub type Verdict = Result<(), ResponseError>;

/// How large an offset may be, and how long it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetLimits {
    /// `offset.metadata.max.bytes`: the most metadata beside an offset, in UTF-16 units, as Kafka counts.
    pub metadata_max: usize,
    /// `offsets.retention.minutes`, in milliseconds: how long an offset stays that nobody uses.
    pub retention_ms: i64,
}

impl Default for OffsetLimits {
    fn default() -> OffsetLimits {
        OffsetLimits { metadata_max: 4096, retention_ms: 7 * 24 * 60 * 60 * 1000 }
    }
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffsetCounters {
    /// Offsets that commits have written, those of transactions too (Kafka's `offset-commit-count`).
    pub committed: u64,
    /// Offsets that have expired (Kafka's `offset-expiration-count`).
    pub expired: u64,
    /// Offsets that were deleted by request (Kafka's `offset-deletion-count`).
    pub deleted: u64,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// When it was committed, milliseconds since the epoch.
    pub commit_timestamp_ms: i64,
    /// Where its record stands among all that were applied: the later wins.
    order: u64,
    /// The topic's id, nil if not known.
    pub topic_id: Uuid,
    /// Leader epoch of the last record that was read, −1 if not told.
    pub leader_epoch: i32,
    /// What few offsets have.
    extra: Option<Box<Extra>>,
}

/// What few offsets have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Extra {
    metadata: Box<str>,
    /// −1: none of its own.
    expire_timestamp_ms: i64,
}

/// An offset takes this much, and its metadata if it has any.
const OFFSET_BYTES: usize = 64;
const _: () = assert!(size_of::<(i32, CommittedOffset)>() == OFFSET_BYTES);

impl CommittedOffset {
    fn new(value: &OffsetCommitValue, order: u64) -> CommittedOffset {
        let extra = (!value.metadata.is_empty() || value.expire_timestamp_ms != -1).then(|| {
            let metadata = value.metadata.as_str().into();
            Box::new(Extra { metadata, expire_timestamp_ms: value.expire_timestamp_ms })
        });
        CommittedOffset {
            offset: value.offset,
            commit_timestamp_ms: value.commit_timestamp_ms,
            order,
            topic_id: value.topic_id,
            leader_epoch: value.leader_epoch,
            extra,
        }
    }

    /// What the client wrote beside it.
    pub fn metadata(&self) -> &str {
        self.extra.as_ref().map_or("", |extra| &extra.metadata)
    }

    /// When it expires, milliseconds since the epoch; `None`: as the broker is set.
    pub fn expire_timestamp_ms(&self) -> Option<i64> {
        self.extra.as_ref().map(|extra| extra.expire_timestamp_ms).filter(|&at| at != -1)
    }
}

/// What a group has.
#[derive(Debug, Default)]
struct GroupOffsets {
    committed: Topics<CommittedOffset>,
    /// The producers whose open transactions have an offset for the partition; never empty.
    open: Topics<BTreeSet<ProducerId>>,
}

/// The offsets of the groups of one partition of `__consumer_offsets`.
#[derive(Debug, Default)]
pub struct Offsets {
    /// None of them is empty.
    groups: BTreeMap<Rc<str>, GroupOffsets>,
    /// By producer and group, what its open transaction will commit; none of them is empty.
    transactions: BTreeMap<ProducerId, BTreeMap<Rc<str>, Topics<CommittedOffset>>>,
    names: Names,
    /// How many records were applied.
    applied: u64,
    kept: usize,
    counters: OffsetCounters,
}

impl Offsets {
    /// Takes in a record of an offset, in the order of the log: at a load, or as it is written.
    ///
    /// `producer` is the one in whose transaction the record stands; a tombstone takes effect at once all the same.
    pub fn apply(
        &mut self,
        producer: Option<ProducerId>,
        key: &OffsetCommitKey,
        value: Option<&OffsetCommitValue>,
    ) {
        self.applied += 1;
        let Some(value) = value else { return self.forget(key) };
        let offset = CommittedOffset::new(value, self.applied);
        match producer.filter(|producer| *producer != ProducerId::NONE) {
            None => self.keep(key, offset),
            Some(producer) => self.keep_pending(producer, key, offset),
        }
    }

    /// A transaction has ended, and its marker stands in the partition: what it wanted to commit is committed, if no
    /// later record has, or dropped.
    pub fn complete_transaction(&mut self, producer: ProducerId, committed: bool) {
        let Some(groups) = self.transactions.remove(&producer) else { return };
        for (group, topics) in groups {
            for (topic, partitions) in topics.into_topics() {
                for (partition, offset) in partitions {
                    self.settle(producer, &group, &topic, partition, committed.then_some(offset));
                }
                self.names.give_back(topic);
            }
            self.prune(&group);
        }
    }

    /// How many offsets are committed (Kafka's `NumOffsets`).
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// What has been done since the partition was loaded, or since this was asked last.
    pub fn take_counters(&mut self) -> OffsetCounters {
        std::mem::take(&mut self.counters)
    }

    /// Every committed offset: group, topic, partition; in that order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, i32, &CommittedOffset)> {
        self.groups.iter().flat_map(|(group, offsets)| {
            offsets
                .committed
                .iter()
                .map(move |(topic, partition, offset)| (&**group, topic, partition, offset))
        })
    }

    /// A group's committed offsets, by topic and partition.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        self.groups.get(group).into_iter().flat_map(|offsets| offsets.committed.iter())
    }

    /// A committed offset.
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.groups.get(group)?.committed.get(topic, partition)
    }

    /// Whether a group has an offset, committed or in an open transaction: it must not be forgotten then.
    pub fn has_any(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Whether an open transaction has an offset for the partition.
    pub fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.groups.get(group).is_some_and(|offsets| offsets.open.get(topic, partition).is_some())
    }

    fn pending(
        &self,
        producer: ProducerId,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Option<&CommittedOffset> {
        self.transactions.get(&producer)?.get(group)?.get(topic, partition)
    }

    fn keep(&mut self, key: &OffsetCommitKey, offset: CommittedOffset) {
        let group = entry(&mut self.groups, &key.group);
        if group.committed.insert(&mut self.names, &key.topic, key.partition, offset).is_none() {
            self.kept += 1;
        }
    }

    fn keep_pending(&mut self, producer: ProducerId, key: &OffsetCommitKey, offset: CommittedOffset) {
        let group = entry(&mut self.groups, &key.group);
        group.open.get_or_default(&mut self.names, &key.topic, key.partition).insert(producer);
        let groups = self.transactions.entry(producer).or_default();
        entry(groups, &key.group).insert(&mut self.names, &key.topic, key.partition, offset);
    }

    /// A tombstone: the offset goes, and what open transactions would have committed in its place.
    fn forget(&mut self, key: &OffsetCommitKey) {
        let Some(group) = self.groups.get_mut(&*key.group) else { return };
        if group.committed.remove(&mut self.names, &key.topic, key.partition).is_some() {
            self.kept -= 1;
        }
        let producers = group.open.remove(&mut self.names, &key.topic, key.partition);
        for producer in producers.unwrap_or_default() {
            self.forget_pending(producer, key);
        }
        self.prune(&key.group);
    }

    fn forget_pending(&mut self, producer: ProducerId, key: &OffsetCommitKey) {
        let Some(groups) = self.transactions.get_mut(&producer) else { return };
        let Some(offsets) = groups.get_mut(&*key.group) else { return };
        offsets.remove(&mut self.names, &key.topic, key.partition);
        if offsets.is_empty() {
            groups.remove(&*key.group);
        }
        if groups.is_empty() {
            self.transactions.remove(&producer);
        }
    }

    /// Ends a transaction for one partition; `offset` is what it commits.
    fn settle(
        &mut self,
        producer: ProducerId,
        group: &str,
        topic: &str,
        partition: i32,
        offset: Option<CommittedOffset>,
    ) {
        let Some(offsets) = self.groups.get_mut(group) else { return };
        if let Some(producers) = offsets.open.get_mut(topic, partition) {
            producers.remove(&producer);
            if producers.is_empty() {
                offsets.open.remove(&mut self.names, topic, partition);
            }
        }
        let Some(offset) = offset else { return };
        let earlier = offsets.committed.get(topic, partition);
        if earlier.is_some_and(|earlier| earlier.order > offset.order) {
            return;
        }
        if offsets.committed.insert(&mut self.names, topic, partition, offset).is_none() {
            self.kept += 1;
        }
    }

    /// Forgets a group that has nothing left.
    fn prune(&mut self, group: &str) {
        let empty = |offsets: &GroupOffsets| offsets.committed.is_empty() && offsets.open.is_empty();
        if self.groups.get(group).is_some_and(empty) {
            self.groups.remove(group);
        }
    }

    /// Writes the record of an offset, and applies it.
    fn write<A, O>(
        &mut self,
        key: OffsetCommitKey,
        value: Option<OffsetCommitValue>,
        effects: &mut Effects<GroupRecord, A, O>,
    ) {
        self.apply(None, &key, value.as_ref());
        effects.write(GroupRecord::OffsetCommit(key, value));
    }
}

/// A group's entry in a map; new if it has none.
fn entry<'a, V: Default>(groups: &'a mut BTreeMap<Rc<str>, V>, group: &str) -> &'a mut V {
    if !groups.contains_key(group) {
        groups.insert(Rc::from(group), V::default());
    }
    groups.get_mut(group).expect("it was there, or has been inserted")
}
