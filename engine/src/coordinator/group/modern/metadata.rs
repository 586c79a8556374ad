//! What a consumer group knows of the topics that it is subscribed to: which exist, and a hash that tells when they have changed.
//!
//! After `TopicIds`, `ModernGroup.computeMetadataHash` and `Utils.computeTopicHash` of Apache Kafka 4.2; KIP-1101. The hashes are Kafka's
//! (XXH3 over the same bytes), so that a group that is taken over does not rebalance for that.

use super::{ConsumerGroup, Member};
use crate::metadata::image::{MetadataImage, TopicImage};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use twox_hash::XxHash3_64;
use uuid::Uuid;

/// First byte of what is hashed of a topic: says what follows.
const TOPIC_MAGIC: u8 = 0;

/// Watches the cluster's topics, for all groups of a partition.
#[derive(Debug, Default)]
pub(in crate::coordinator::group) struct TopicWatch {
    image: Option<Arc<MetadataImage>>,
    /// The version of the image in which topics were last seen to have changed.
    pub(super) version: i64,
    /// The version of the image in which topics were last seen to have been created.
    pub(super) created: i64,
    /// Hashes of topics, as long as these are as they were.
    hashes: RefCell<BTreeMap<Uuid, (Arc<TopicImage>, i64)>>,
}

impl TopicWatch {
    /// Goes by an image.
    pub(in crate::coordinator::group) fn follow(&mut self, image: &Arc<MetadataImage>) {
        let version = image.position().offset.0;
        match &self.image {
            Some(before) if before.has_topics_of(image) => return,
            Some(before) => {
                self.version = version;
                if image.topics().any(|topic| before.topic_by_id(&topic.id).is_none()) {
                    self.created = version;
                }
            }
            None => (self.version, self.created) = (version, version),
        }
        self.hashes.get_mut().retain(|id, _| image.topic_by_id(id).is_some());
        self.image = Some(image.clone());
    }

    /// The hash of topics by these names.
    pub(in crate::coordinator::group) fn hash<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        image: &MetadataImage,
    ) -> i64 {
        let hashes: Vec<u8> = names
            .flat_map(|name| image.topic(name).map_or(0, |topic| self.topic_hash(topic, image)).to_le_bytes())
            .collect();
        if hashes.is_empty() { 0 } else { XxHash3_64::oneshot(&hashes).cast_signed() }
    }

    fn topic_hash(&self, topic: &Arc<TopicImage>, image: &MetadataImage) -> i64 {
        let mut hashes = self.hashes.borrow_mut();
        if let Some((_, hash)) = hashes.get(&topic.id).filter(|(known, _)| Arc::ptr_eq(known, topic)) {
            return *hash;
        }
        let hash = topic_hash(topic, |node| image.broker(node)?.rack.as_deref());
        hashes.insert(topic.id, (topic.clone(), hash));
        hash
    }
}

fn topic_hash<'a>(topic: &TopicImage, rack: impl Fn(i32) -> Option<&'a str>) -> i64 {
    let (high, low) = topic.id.as_u64_pair();
    let mut bytes = vec![TOPIC_MAGIC];
    bytes.extend(high.to_le_bytes());
    bytes.extend(low.to_le_bytes());
    put_text(&mut bytes, &topic.name);
    bytes.extend(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX).to_le_bytes());
    for (number, partition) in &topic.partitions {
        bytes.extend(number.to_le_bytes());
        let mut racks: Vec<&str> = partition.replicas.iter().filter_map(|node| rack(*node)).collect();
        racks.sort_unstable();
        for rack in racks {
            bytes.extend(units(rack).to_le_bytes());
            put_text(&mut bytes, rack);
        }
    }
    XxHash3_64::oneshot(&bytes).cast_signed()
}

/// Text as Kafka's hash takes it: its UTF-16 units, then how many they are.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    text.encode_utf16().for_each(|unit| bytes.extend(unit.to_le_bytes()));
    bytes.extend(units(text).to_le_bytes());
}

fn units(text: &str) -> i32 {
    i32::try_from(text.encode_utf16().count()).unwrap_or(i32::MAX)
}

/// What a member is subscribed to: names, and an expression.
type Told = (Rc<BTreeSet<Box<str>>>, Box<str>);

/// The ids of topics, for members that subscribe alike computed once.
pub(super) struct TopicIds<'a> {
    group: &'a ConsumerGroup,
    image: &'a MetadataImage,
    known: BTreeMap<Told, Rc<BTreeSet<Uuid>>>,
}

impl<'a> TopicIds<'a> {
    pub(super) fn new(group: &'a ConsumerGroup, image: &'a MetadataImage) -> TopicIds<'a> {
        TopicIds { group, image, known: BTreeMap::new() }
    }

    /// The topics that a member is subscribed to, and which exist.
    pub(super) fn of(&mut self, member: &Member) -> Rc<BTreeSet<Uuid>> {
        let key = (member.topics.clone(), member.expression.clone());
        let (group, image) = (self.group, self.image);
        let ids = self.known.entry(key).or_insert_with(|| {
            let matched = group.matched(member).into_iter().flat_map(|topics| topics.iter());
            let names = member.topics.iter().chain(matched);
            Rc::new(names.filter_map(|name| image.topic_id(name)).collect())
        });
        ids.clone()
    }
}

impl ConsumerGroup {
    /// The names of all topics that the group is subscribed to, if one member comes to be another and some go.
    pub(super) fn subscribed_names<'a>(
        &'a self,
        updated: Option<&'a Member>,
        gone: &BTreeSet<Rc<str>>,
    ) -> BTreeSet<&'a str> {
        let before = updated.and_then(|updated| self.predecessor(updated));
        let stays = |member: &&Member| {
            !gone.contains(&member.id)
                && updated.is_none_or(|updated| updated.id != member.id)
                && before.is_none_or(|before| before.id != member.id)
        };
        let members = self.members.values().filter(stays).chain(updated);
        let mut names = BTreeSet::new();
        let mut expressions = BTreeSet::new();
        for member in members {
            names.extend(member.topics.iter().map(|name| &**name));
            expressions.insert(&*member.expression);
        }
        let resolved = expressions.into_iter().filter_map(|expression| self.resolved.get(expression));
        names.extend(resolved.flat_map(|resolved| resolved.topics.iter().map(|name| &**name)));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::image::{PartitionEpoch, PartitionImage};
    use hayate_storage::batch::LeaderEpoch;

    fn topic(id: u128, name: &str, replicas: &[&[i32]]) -> TopicImage {
        let partition = |replicas: &&[i32]| PartitionImage {
            replicas: replicas.to_vec(),
            isr: replicas.to_vec(),
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            directories: Vec::new(),
            leader: replicas.first().copied().unwrap_or(-1),
            recovering: false,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
        };
        let partitions = (0..).zip(replicas.iter().map(partition)).collect();
        TopicImage { name: name.into(), id: Uuid::from_u128(id), partitions }
    }

    #[test]
    fn hashes_are_those_of_kafka() {
        // Computed with hash4j, which Kafka uses.
        let id = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210;
        let racks = topic(id, "topic-ä", &[&[1], &[2, 1]]);
        let rack = |node| Some(if node == 1 { "r1" } else { "r2" });
        assert_eq!(topic_hash(&racks, rack), -3_793_060_857_380_002_506);
        let large = topic(1 << 64 | 2, "t", &[&[][..]; 1000]);
        assert_eq!(topic_hash(&large, |_| None), 5_094_120_087_422_953_958);
        let both: Vec<u8> =
            [-3_793_060_857_380_002_506_i64, 7].iter().flat_map(|hash| hash.to_le_bytes()).collect();
        assert_eq!(XxHash3_64::oneshot(&both).cast_signed(), -984_502_357_155_159_426);
    }
}
