//! Groups: how many in which state, what happens to them, and, for as many as `metrics.groups.max` says, how they are and how far behind.
//!
//! The shards that coordinate groups publish copies of them, a part each second; the shards that lead what they read publish where it
//! ends. Lag is computed as it is shown, from both. Nothing here is asked of a shard, so that it shows while shards are busy.

use super::cells::{Counter, Gauge};
use super::text::{MetricType, TextWriter};
use crate::coordinator::group::{GroupCounts, GroupFigures};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Groups that are shown one by one when nothing is said.
pub const GROUPS_MAX_DEFAULT: usize = 1000;

/// What one shard counts as a coordinator of groups.
#[derive(Debug, Default)]
pub struct GroupCells {
    rebalances: Counter,
    rebalance_nanos: Counter,
    commits: Counter,
    expirations: Counter,
    deletions: Counter,
    /// Partitions whose coordinator serves.
    pub active: Gauge,
    /// Partitions whose coordinator is loaded, or has failed and will be.
    pub loading: Gauge,
    /// Offsets that are kept.
    pub offsets: Gauge,
    states: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// The groups of all shards.
    pub series: Arc<GroupSeries>,
}

impl GroupCells {
    /// Cells of a shard, beside those of others.
    pub(super) fn new(series: Arc<GroupSeries>) -> GroupCells {
        GroupCells { series, ..GroupCells::default() }
    }

    /// Adds what has happened.
    pub fn count(&self, counts: &GroupCounts) {
        self.rebalances.add(counts.rebalances.completed);
        self.rebalance_nanos.add(u64::try_from(counts.rebalances.spent.as_nanos()).unwrap_or(u64::MAX));
        self.commits.add(counts.offsets.committed);
        self.expirations.add(counts.offsets.expired);
        self.deletions.add(counts.offsets.deleted);
    }

    /// How many groups there are now, by kind and state. Never waits: while they are being read, this is left out.
    pub fn publish_states(&self, states: BTreeMap<(&'static str, &'static str), u64>) {
        if let Ok(mut published) = self.states.try_lock() {
            *published = states;
        }
    }
}

type Cell = fn(&GroupCells) -> u64;

const FAMILIES: [(&str, MetricType, &str, Cell); 7] = [
    (
        "hayate_group_rebalances_total",
        MetricType::Counter,
        "Rebalances of groups that have come to their assignments (Kafka: kafka.server:type=group-coordinator-metrics \
         group-completed-rebalance-count).",
        |cells| cells.rebalances.get(),
    ),
    (
        "hayate_offset_commits_total",
        MetricType::Counter,
        "Offsets committed, by partition of a topic (Kafka: kafka.server:type=group-coordinator-metrics offset-commit-count).",
        |cells| cells.commits.get(),
    ),
    (
        "hayate_offset_expirations_total",
        MetricType::Counter,
        "Committed offsets that have expired (Kafka: kafka.server:type=group-coordinator-metrics offset-expiration-count).",
        |cells| cells.expirations.get(),
    ),
    (
        "hayate_offset_deletions_total",
        MetricType::Counter,
        "Committed offsets deleted by request (Kafka: kafka.server:type=group-coordinator-metrics offset-deletion-count).",
        |cells| cells.deletions.get(),
    ),
    (
        "hayate_committed_offsets",
        MetricType::Gauge,
        "Committed offsets kept (Kafka: kafka.coordinator.group:type=GroupMetadataManager,name=NumOffsets).",
        |cells| cells.offsets.get(),
    ),
    (
        "hayate_group_coordinators",
        MetricType::Gauge,
        "Partitions of __consumer_offsets whose coordinator serves (Kafka: kafka.server:type=group-coordinator-metrics \
         num-partitions, state=active).",
        |cells| cells.active.get(),
    ),
    (
        "hayate_group_coordinators_loading",
        MetricType::Gauge,
        "Partitions of __consumer_offsets whose coordinator is being loaded (Kafka: kafka.server:type=group-coordinator-metrics \
         num-partitions, state=loading and failed).",
        |cells| cells.loading.get(),
    ),
];

/// Writes all of it, of every shard.
pub(super) fn render<'a>(
    text: &mut TextWriter,
    shards: impl Iterator<Item = &'a GroupCells> + Clone,
    series: &GroupSeries,
) {
    for (name, kind, help, value) in FAMILIES {
        text.single(name, kind, help, shards.clone().map(value).sum());
    }
    let help = "Time that they took together, from the first member's cause to the assignments. No counterpart in Kafka.";
    text.family("hayate_group_rebalance_seconds_total", MetricType::Counter, help);
    text.seconds(&[], shards.clone().map(|cells| cells.rebalance_nanos.get()).sum());
    let mut states: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for cells in shards {
        for (state, count) in &*cells.states.lock().unwrap_or_else(PoisonError::into_inner) {
            *states.entry(*state).or_default() += count;
        }
    }
    let help = "Groups, by kind and state (Kafka: kafka.server:type=group-coordinator-metrics group-count, consumer-group-count, \
                share-group-count, and kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsStable and so on).";
    text.family("hayate_groups", MetricType::Gauge, help);
    for ((kind, state), count) in states {
        text.sample(&[("kind", kind), ("state", state)], count);
    }
    series.render(text);
}

/// Where partitions end: by topic and partition, the offset after the last record that can be read.
type Ends = BTreeMap<String, BTreeMap<i32, Option<i64>>>;

/// Groups, one by one.
#[derive(Debug)]
pub struct GroupSeries {
    groups_max: usize,
    state: Mutex<State>,
}

impl Default for GroupSeries {
    fn default() -> GroupSeries {
        GroupSeries::new(GROUPS_MAX_DEFAULT)
    }
}

#[derive(Debug, Default)]
struct State {
    /// By the partition that coordinates them, and their ids.
    groups: BTreeMap<i32, BTreeMap<String, GroupFigures>>,
    /// Of every partition that one of them has committed an offset of.
    ends: Ends,
}

/// What became of the groups between two ids.
#[derive(Debug, Default)]
pub struct Passage {
    /// After this id; `None`: from the first.
    pub after: Option<String>,
    /// These are there, in order.
    pub groups: Vec<(String, GroupFigures)>,
    /// And these are all, up to the last id.
    pub is_last: bool,
}

impl GroupSeries {
    pub(super) fn new(groups_max: usize) -> GroupSeries {
        GroupSeries { groups_max, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the groups of a passage through those that a partition coordinates.
    pub fn publish(&self, coordinator: i32, passage: Passage) {
        let mut state = self.lock();
        let State { groups, ends } = &mut *state;
        let mut shown: usize = groups.values().map(BTreeMap::len).sum();
        let here = groups.entry(coordinator).or_default();
        let last = passage.groups.last().map(|(id, _)| id.clone());
        let is_in = |id: &str| {
            passage.after.as_deref().is_none_or(|after| id > after)
                && (passage.is_last || last.as_deref().is_some_and(|last| id <= last))
        };
        shown -= here.len();
        here.retain(|id, _| !is_in(id));
        shown += here.len();
        for (id, figures) in passage.groups {
            if shown >= self.groups_max {
                break;
            }
            for (topic, partitions) in &figures.committed {
                let ends = ends.entry(topic.clone()).or_default();
                partitions.keys().for_each(|partition| _ = ends.entry(*partition).or_default());
            }
            shown += 1;
            here.insert(id, figures);
        }
    }

    /// Forgets what no coordinator on this node shows any more: those partitions that it leads remain.
    pub fn retain(&self, leads: impl Fn(i32) -> bool) {
        let mut state = self.lock();
        let State { groups, ends } = &mut *state;
        groups.retain(|coordinator, groups| leads(*coordinator) && !groups.is_empty());
        let figures = groups.values().flat_map(BTreeMap::values);
        let committed = figures.flat_map(|group| &group.committed);
        let committed: BTreeSet<(&str, i32)> = committed
            .flat_map(|(topic, partitions)| partitions.keys().map(|partition| (topic.as_str(), *partition)))
            .collect();
        ends.retain(|topic, partitions| {
            partitions.retain(|partition, _| committed.contains(&(topic.as_str(), *partition)));
            !partitions.is_empty()
        });
    }

    /// Where the partitions of a shard end: topic, partition, end. What no group has read of is left out.
    pub fn publish_ends<'a>(&self, partitions: impl Iterator<Item = (&'a str, i32, i64)>) {
        let mut state = self.lock();
        if state.ends.is_empty() {
            return;
        }
        for (topic, partition, end) in partitions {
            if let Some(known) = state.ends.get_mut(topic).and_then(|ends| ends.get_mut(&partition)) {
                *known = Some(end);
            }
        }
    }

    /// Looks at every group in the order of ids, with what looks up ends.
    pub fn each(&self, mut look: impl FnMut(&str, &GroupFigures, &dyn Fn(&str, i32) -> Option<i64>)) {
        let state = self.lock();
        let end = |topic: &str, partition: i32| *state.ends.get(topic)?.get(&partition)?;
        let sorted: BTreeMap<&String, &GroupFigures> = state.groups.values().flatten().collect();
        sorted.into_iter().for_each(|(id, figures)| look(id, figures, &end));
    }

    fn render(&self, text: &mut TextWriter) {
        let help = "Members of a group. No counterpart in Kafka (kafka-consumer-groups --describe --state shows it).";
        text.family("hayate_group_members", MetricType::Gauge, help);
        self.each(|id, figures, _| text.sample(&[("group", id)], figures.members.len() as u64));
        let help = "Records between the committed offset of a group and the end of the partition (Kafka: \
                    kafka.consumer:type=consumer-fetch-manager-metrics records-lag, which only clients have).";
        text.family("hayate_group_lag_records", MetricType::Gauge, help);
        self.each(|id, figures, end| {
            for (topic, partition, lag) in lags(figures, end) {
                let labels = [("group", id), ("topic", topic), ("partition", &partition.to_string())];
                text.sample(&labels, lag);
            }
        });
    }
}

/// How far a group is behind, by topic and partition; nothing of those whose end is not known.
fn lags(
    figures: &GroupFigures,
    end: impl Fn(&str, i32) -> Option<i64>,
) -> impl Iterator<Item = (&str, i32, u64)> {
    let committed = figures.committed.iter();
    let each = committed.flat_map(|(topic, partitions)| {
        partitions.iter().map(move |(partition, offset)| (topic.as_str(), *partition, *offset))
    });
    each.filter_map(move |(topic, partition, offset)| {
        Some((topic, partition, u64::try_from(end(topic, partition)? - offset).unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(offsets: &[(&str, i32, i64)]) -> GroupFigures {
        let mut figures = GroupFigures { kind: "classic", state: "Stable", ..GroupFigures::default() };
        for (topic, partition, offset) in offsets {
            figures.committed.entry((*topic).into()).or_default().insert(*partition, *offset);
        }
        figures
    }

    fn passage(after: Option<&str>, groups: &[(&str, GroupFigures)], is_last: bool) -> Passage {
        let groups = groups.iter().map(|(id, figures)| ((*id).into(), figures.clone())).collect();
        Passage { after: after.map(Into::into), groups, is_last }
    }

    fn ids(series: &GroupSeries) -> Vec<String> {
        let mut ids = Vec::new();
        series.each(|id, _, _| ids.push(id.into()));
        ids
    }

    fn lag(series: &GroupSeries) -> Vec<(String, String, i32, u64)> {
        let mut all = Vec::new();
        series.each(|id, figures, end| {
            all.extend(
                lags(figures, end).map(|(topic, partition, lag)| (id.into(), topic.into(), partition, lag)),
            );
        });
        all
    }

    #[test]
    fn a_passage_replaces_what_it_passed() {
        let series = GroupSeries::default();
        let [a, b, c] = ["a", "b", "c"].map(|id| (id, group(&[])));
        series.publish(0, passage(None, &[a.clone(), b.clone(), c.clone()], true));
        series.publish(1, passage(None, &[("z", group(&[]))], true));
        series.publish(0, passage(None, std::slice::from_ref(&a), false));
        assert_eq!(ids(&series), ["a", "b", "c", "z"], "what was not passed stays");
        series.publish(0, passage(Some("a"), &[c], true));
        assert_eq!(ids(&series), ["a", "c", "z"]);
        series.publish(0, passage(Some("a"), &[], true));
        assert_eq!(ids(&series), ["a", "z"]);
        series.retain(|coordinator| coordinator == 1);
        assert_eq!(ids(&series), ["z"]);
    }

    #[test]
    fn only_so_many_groups_are_shown() {
        let series = GroupSeries::new(2);
        let [a, b, c] = ["a", "b", "c"].map(|id| (id, group(&[])));
        series.publish(0, passage(None, &[b.clone(), c.clone()], true));
        series.publish(1, passage(None, &[a], true));
        assert_eq!(ids(&series), ["b", "c"]);
        series.publish(0, passage(None, &[c], true));
        series.publish(1, passage(None, &[("d", group(&[]))], true));
        assert_eq!(ids(&series), ["c", "d"], "who goes makes room");
    }

    #[test]
    fn lag_is_what_the_end_is_ahead_and_never_negative() {
        let series = GroupSeries::default();
        series.publish_ends([("t", 0, 5)].into_iter());
        series.publish(0, passage(None, &[("g", group(&[("t", 0, 7), ("t", 1, 3), ("u", 0, 1)]))], true));
        series.publish_ends([("t", 0, 10), ("t", 1, 2), ("v", 0, 9)].into_iter());
        let expected = [("g", "t", 0, 3), ("g", "t", 1, 0)];
        let expected = expected.map(|(id, topic, partition, lag)| (id.into(), topic.into(), partition, lag));
        assert_eq!(lag(&series), expected, "the end of u is not known");
        series.publish(0, passage(None, &[("g", group(&[("u", 0, 1)]))], true));
        series.retain(|_| true);
        let mut text = TextWriter::default();
        series.publish_ends([("t", 0, 10), ("u", 0, 1)].into_iter());
        series.render(&mut text);
        let text = text.finish();
        assert!(
            text.contains("hayate_group_lag_records{group=\"g\",topic=\"u\",partition=\"0\"} 0\n"),
            "{text}"
        );
        assert!(text.contains("hayate_group_members{group=\"g\"} 0\n"), "{text}");
        assert!(!text.contains("topic=\"t\""), "{text}");
    }
}
