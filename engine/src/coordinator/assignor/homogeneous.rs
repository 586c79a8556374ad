//! Uniform, where all members subscribe alike: everybody has as many partitions as everybody else, or one more, and keeps what it has
//! of them.
//!
//! After Kafka's `UniformHomogeneousAssignmentBuilder`.

use super::{GroupSpec, NoSuchTopic, Partitions};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use uuid::Uuid;

pub(super) fn assign(group: &GroupSpec<'_>) -> Result<BTreeMap<Rc<str>, Partitions>, NoSuchTopic> {
    let Some(topics) = group.members.values().next().map(|member| member.topics.clone()) else {
        return Ok(BTreeMap::new());
    };
    let (mut free, total) = unassigned(group, &topics)?;
    let members = group.members.len();
    let (quota, mut extra) = (total / members, total % members);
    let mut assigned = BTreeMap::new();
    let mut unfilled: Vec<(Rc<str>, usize)> = Vec::new();
    for (id, member) in &group.members {
        let more = usize::from(extra > 0);
        extra -= more;
        let (kept, room) = keep(member.target, &topics, quota + more, &mut free);
        if room > 0 {
            unfilled.push((id.clone(), room));
        }
        assigned.insert(id.clone(), kept);
    }
    let mut free = free.into_iter();
    for (id, room) in unfilled {
        let partitions: &mut Partitions = assigned.entry(id).or_default();
        for (topic, partition) in free.by_ref().take(room) {
            partitions.entry(topic).or_default().insert(partition);
        }
    }
    assert!(free.next().is_none(), "the members' quotas are as many as the partitions");
    Ok(assigned)
}

/// The partitions that nobody is to have so far, and how many there are in all.
fn unassigned(
    group: &GroupSpec<'_>,
    topics: &BTreeSet<Uuid>,
) -> Result<(Vec<(Uuid, i32)>, usize), NoSuchTopic> {
    let targets = group.members.values().flat_map(|member| member.target);
    let taken: BTreeSet<(Uuid, i32)> =
        targets.flat_map(|(topic, partitions)| partitions.iter().map(|number| (*topic, *number))).collect();
    let (mut free, mut total) = (Vec::new(), 0);
    for topic in topics {
        let count = group.count(topic)?;
        total += usize::try_from(count).unwrap_or(0);
        free.extend((0..count).map(|number| (*topic, number)).filter(|place| !taken.contains(place)));
    }
    Ok((free, total))
}

/// What a member keeps of its target, and how many more it may get. What it has too many of is free.
fn keep(
    target: &Partitions,
    topics: &BTreeSet<Uuid>,
    quota: usize,
    free: &mut Vec<(Uuid, i32)>,
) -> (Partitions, usize) {
    let mut room = quota;
    let mut kept = Partitions::new();
    for (topic, partitions) in target.iter().filter(|(topic, _)| topics.contains(*topic)) {
        let staying: BTreeSet<i32> = partitions.iter().copied().take(room).collect();
        free.extend(partitions.iter().skip(room).map(|number| (*topic, *number)));
        room -= staying.len();
        if !staying.is_empty() {
            kept.insert(*topic, staying);
        }
    }
    (kept, room)
}
