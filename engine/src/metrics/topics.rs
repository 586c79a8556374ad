//! What goes into each topic and out of it, for as many topics as `metrics.topics.max` says; the others share one series.
//!
//! A topic gets a series of its own with its first records, if there is still one to be had, and keeps it until it is deleted. Each
//! shard counts in cells of its own. A partition asks for its topic's cells once: only then, and while the figures are added up to be
//! shown, is anything locked.

use super::cells::Counter;
use super::text::{MetricType, TextWriter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Topics that have series of their own when nothing is said.
pub const TOPICS_MAX_DEFAULT: usize = 1000;
/// The label of the rest. No topic can have this name.
const OTHERS: &str = "(other)";

/// One topic's cells on one shard. Only that shard's thread may count in them.
#[derive(Debug, Default)]
pub struct TopicCells {
    /// Bytes of records that were appended for producers.
    pub produced_bytes: Counter,
    /// Records that were appended for producers.
    pub produced_records: Counter,
    /// Bytes of records that were read for consumers.
    pub fetched_bytes: Counter,
    /// Offsets that were read for consumers: as many records, but where a topic is compacted.
    pub fetched_records: Counter,
}

/// Name, help, and the cell.
type Family = (&'static str, &'static str, fn(&TopicCells) -> &Counter);

const FAMILIES: [Family; 4] = [
    (
        "hayate_topic_produced_bytes_total",
        "Bytes of records appended for producers, by topic (Kafka: kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic).",
        |cells| &cells.produced_bytes,
    ),
    (
        "hayate_topic_produced_records_total",
        "Records appended for producers, by topic (Kafka: kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec,topic).",
        |cells| &cells.produced_records,
    ),
    (
        "hayate_topic_fetched_bytes_total",
        "Bytes of records read for consumers, by topic (Kafka: kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec,topic).",
        |cells| &cells.fetched_bytes,
    ),
    (
        "hayate_topic_fetched_records_total",
        "Offsets read for consumers, by topic. No counterpart in Kafka (kafka.server:type=BrokerTopicMetrics has none for records out).",
        |cells| &cells.fetched_records,
    ),
];

/// A topic's values, in the order of [`FAMILIES`].
type Totals = [u64; FAMILIES.len()];

/// The series of all topics.
#[derive(Debug)]
pub(super) struct TopicSeries {
    topics_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    named: BTreeMap<Uuid, Named>,
    /// Topics that came too late for a series of their own.
    late: BTreeSet<Uuid>,
    /// Their cells, by shard.
    others: BTreeMap<usize, Arc<TopicCells>>,
}

/// A topic with a series of its own.
#[derive(Debug)]
struct Named {
    topic: String,
    shards: BTreeMap<usize, Arc<TopicCells>>,
}

impl TopicSeries {
    pub(super) fn new(topics_max: usize) -> TopicSeries {
        TopicSeries { topics_max, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values by topic. A topic that was deleted and made again under its name may be there twice for a moment: added up.
    fn totals(&self) -> BTreeMap<String, Totals> {
        let state = self.lock();
        let named = state.named.values().map(|named| (named.topic.as_str(), &named.shards));
        let mut totals: BTreeMap<String, Totals> = BTreeMap::new();
        for (topic, shards) in named.chain((!state.others.is_empty()).then_some((OTHERS, &state.others))) {
            let total = totals.entry(topic.to_owned()).or_default();
            for cells in shards.values() {
                FAMILIES.iter().zip(&mut *total).for_each(|((.., cell), total)| *total += cell(cells).get());
            }
        }
        totals
    }

    pub(super) fn render(&self, text: &mut TextWriter) {
        let totals = self.totals();
        for (place, (name, help, _)) in FAMILIES.into_iter().enumerate() {
            text.family(name, MetricType::Counter, help);
            for (topic, values) in &totals {
                text.sample(&[("topic", topic)], values[place]);
            }
        }
    }
}

/// One shard's way to its topics' cells.
#[derive(Debug)]
pub struct ShardTopics {
    shard: usize,
    series: Arc<TopicSeries>,
}

impl Default for ShardTopics {
    fn default() -> ShardTopics {
        ShardTopics::new(0, Arc::new(TopicSeries::new(TOPICS_MAX_DEFAULT)))
    }
}

impl ShardTopics {
    pub(super) fn new(shard: usize, series: Arc<TopicSeries>) -> ShardTopics {
        ShardTopics { shard, series }
    }

    /// The cells of a topic on this shard: its own, or those that it shares with others.
    pub fn of(&self, id: Uuid, topic: &str) -> Arc<TopicCells> {
        let topics_max = self.series.topics_max;
        let mut state = self.series.lock();
        let state = &mut *state;
        if !state.named.contains_key(&id) && (state.late.contains(&id) || state.named.len() >= topics_max) {
            state.late.insert(id);
            return state.others.entry(self.shard).or_default().clone();
        }
        let named = || Named { topic: topic.to_owned(), shards: BTreeMap::new() };
        state.named.entry(id).or_insert_with(named).shards.entry(self.shard).or_default().clone()
    }

    /// This shard has no partition of the topic any more. When no shard has, its series is gone.
    pub fn forget(&self, id: Uuid) {
        let mut state = self.series.lock();
        state.late.remove(&id);
        if let Some(named) = state.named.get_mut(&id) {
            named.shards.remove(&self.shard);
            if named.shards.is_empty() {
                state.named.remove(&id);
            }
        }
    }

    /// Of all shards: bytes and records produced, bytes and records fetched, by topic.
    pub fn totals(&self) -> BTreeMap<String, [u64; 4]> {
        self.series.totals()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(topics_max: usize) -> [ShardTopics; 2] {
        let series = Arc::new(TopicSeries::new(topics_max));
        [0, 1].map(|shard| ShardTopics::new(shard, series.clone()))
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn shards_count_together_and_late_topics_share_a_series() {
        let [zero, one] = shards(2);
        for (shard, number, topic, bytes) in [
            (&zero, 1, "a", 1),
            (&one, 1, "a", 10),
            (&one, 2, "b", 100),
            (&zero, 3, "c", 1000),
            (&one, 4, "d", 5),
        ] {
            shard.of(id(number), topic).produced_bytes.add(bytes);
        }
        one.of(id(2), "b").fetched_records.add(7);
        let expected = [(OTHERS, [1005, 0, 0, 0]), ("a", [11, 0, 0, 0]), ("b", [100, 0, 0, 7])];
        assert_eq!(zero.totals(), expected.map(|(topic, totals)| (topic.to_owned(), totals)).into());
    }

    #[test]
    fn a_deleted_topic_makes_room_but_not_for_one_that_shares() {
        let [zero, one] = shards(1);
        let topics = || zero.totals().into_keys().collect::<Vec<_>>();
        zero.of(id(1), "a");
        one.of(id(1), "a");
        one.of(id(2), "b").produced_bytes.add(3);
        zero.forget(id(1));
        assert_eq!(topics(), [OTHERS, "a"], "the other shard has it still");
        one.forget(id(1));
        one.of(id(2), "b").produced_bytes.add(4);
        assert_eq!(topics(), [OTHERS], "one series a topic, for its whole life");
        zero.of(id(3), "c");
        assert_eq!(topics(), [OTHERS, "c"]);
        one.forget(id(2));
        assert_eq!(zero.totals()[OTHERS][0], 7, "what was counted stays");
    }

    #[test]
    fn a_topic_made_again_shows_once() {
        let [zero, _] = shards(5);
        zero.of(id(1), "a").fetched_bytes.add(1);
        zero.of(id(2), "a").fetched_bytes.add(2);
        assert_eq!(zero.totals()["a"], [0, 0, 3, 0]);
    }

    #[test]
    fn no_series_may_be_had_at_all() {
        let [zero, _] = shards(0);
        zero.of(id(1), "a").produced_records.add(2);
        assert_eq!(zero.totals(), BTreeMap::from([(OTHERS.to_owned(), [0, 2, 0, 0])]));
    }
}
