//! What a group is, for those who look at it from outside: metrics and pages. Copies, made while the coordinator does nothing else.

use super::classic::ClassicGroup;
use super::modern::ConsumerGroup;
use super::{Group, Groups, Rebalances, subscription};
use crate::coordinator::offsets::OffsetCounters;
use crate::metadata::image::MetadataImage;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The most offsets of one group that are copied, and the most members.
pub(super) const PARTS_MAX: usize = 10_000;
/// The protocol type whose assignments can be read.
const CONSUMER: &str = "consumer";

/// A group at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFigures {
    /// `classic`, `consumer`, `share`.
    pub kind: &'static str,
    /// As `ListGroups` has it.
    pub state: &'static str,
    /// What kind of clients it is of: `consumer`, `connect`; empty if it has never had members.
    pub protocol_type: String,
    /// How its members assign, once they have agreed.
    pub protocol: String,
    /// Counts its rebalances.
    pub generation: i32,
    /// Its members.
    pub members: Vec<MemberFigures>,
    /// The next offsets to read, by topic and partition.
    pub committed: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberFigures {
    /// Its id.
    pub id: String,
    /// Its name over restarts, of a static member.
    pub instance: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// Does it lead the group?
    pub leads: bool,
    /// What it is to read, by topic; empty for what is no consumer.
    pub assigned: BTreeMap<String, Vec<i32>>,
}

/// What has happened since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// To rebalances.
    pub rebalances: Rebalances,
    /// To offsets.
    pub offsets: OffsetCounters,
}

impl Groups {
    /// What has happened since this was called last.
    pub fn take_counts(&mut self) -> GroupCounts {
        GroupCounts {
            rebalances: std::mem::take(&mut self.rebalances),
            offsets: self.offsets.take_counters(),
        }
    }

    /// The group that comes after `after` in the order of ids, and its figures; topics have the names that they have in `image`.
    pub fn figures_after(&self, after: Option<&str>, image: &MetadataImage) -> Option<(&str, GroupFigures)> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (id, group) = self.groups.range::<str, _>((begin, Bound::Unbounded)).next()?;
        let mut figures = match group {
            Group::Classic(group) => of_classic(group),
            Group::Consumer(group) => of_consumer(group, image),
            Group::Share(group) => group.figures(),
        };
        for (topic, partition, offset) in self.offsets.of_group(id).take(PARTS_MAX) {
            match figures.committed.get_mut(topic) {
                Some(partitions) => _ = partitions.insert(partition, offset.offset),
                None => _ = figures.committed.insert(topic.into(), [(partition, offset.offset)].into()),
            }
        }
        Some((id, figures))
    }
}

impl GroupFigures {
    /// About how long it took to copy, in parts of equal size.
    pub fn parts(&self) -> usize {
        1 + self.members.len() + self.committed.values().map(BTreeMap::len).sum::<usize>()
    }
}

fn of_classic(group: &ClassicGroup) -> GroupFigures {
    let consumes = group.protocol_type.as_deref() == Some(CONSUMER);
    let members = group.members.iter().take(PARTS_MAX).map(|(id, member)| MemberFigures {
        id: id.to_string(),
        instance: member.instance.as_deref().map(Into::into),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        leads: group.leader.as_ref() == Some(id),
        assigned: if consumes { subscription::assigned(&member.assignment) } else { BTreeMap::new() },
    });
    GroupFigures {
        kind: "classic",
        state: group.state.name(),
        protocol_type: group.protocol_type.as_deref().unwrap_or_default().into(),
        protocol: group.protocol.as_deref().unwrap_or_default().into(),
        generation: group.generation,
        members: members.collect(),
        committed: BTreeMap::new(),
    }
}

fn of_consumer(group: &ConsumerGroup, image: &MetadataImage) -> GroupFigures {
    let members = group.members.values().take(PARTS_MAX).map(|member| {
        let named = member.assigned.iter().filter_map(|(topic, numbers)| {
            let topic = image.topic_by_id(topic)?;
            Some((topic.name.to_string(), numbers.iter().copied().collect()))
        });
        MemberFigures {
            id: member.id.to_string(),
            instance: member.instance.as_deref().map(Into::into),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
            leads: false,
            assigned: named.collect(),
        }
    });
    GroupFigures {
        kind: "consumer",
        state: group.state().name(),
        protocol_type: CONSUMER.into(),
        protocol: String::new(),
        generation: group.epoch,
        members: members.collect(),
        committed: BTreeMap::new(),
    }
}
