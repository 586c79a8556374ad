//! Range: of each topic a member gets consecutive partitions. Members that subscribe alike get the same ones of topics that have
//! equally many.
//!
//! Members are taken in one order: static ones first, by their instance ids, so that one that comes back under a new member id gets
//! what it had; then the others by their member ids. After Kafka's `RangeAssignor`.

use super::{GroupSpec, MemberSpec, NoSuchTopic, Partitions};
use std::collections::BTreeMap;
use std::rc::Rc;
use uuid::Uuid;

/// How far the partitions of a topic have been handed out.
struct Topic {
    partitions: i32,
    /// What each member gets at least.
    quota: i32,
    /// How many members get one more.
    extra: i32,
    next: i32,
}

impl Topic {
    fn new(partitions: i32, members: usize) -> Topic {
        let members = i32::try_from(members).unwrap_or(i32::MAX);
        Topic { partitions, quota: partitions / members, extra: partitions % members, next: 0 }
    }

    /// The next member's part.
    fn take(&mut self) -> std::ops::Range<i32> {
        let more = i32::from(self.extra > 0);
        self.extra -= more;
        let start = self.next;
        self.next = (start + self.quota + more).min(self.partitions);
        start..self.next
    }
}

pub(super) fn assign(
    group: &GroupSpec<'_>,
    alike: bool,
) -> Result<BTreeMap<Rc<str>, Partitions>, NoSuchTopic> {
    let mut subscribers: BTreeMap<Uuid, usize> = BTreeMap::new();
    // Of members that subscribe alike the first speaks for all.
    let (speakers, each) = if alike { (1, group.members.len()) } else { (group.members.len(), 1) };
    for member in group.members.values().take(speakers) {
        member.topics.iter().for_each(|topic| *subscribers.entry(*topic).or_default() += each);
    }
    let topics = subscribers.into_iter();
    let topics = topics.map(|(topic, members)| Ok((topic, Topic::new(group.count(&topic)?, members))));
    let mut topics: BTreeMap<Uuid, Topic> = topics.collect::<Result<_, _>>()?;
    let mut assigned = BTreeMap::new();
    for (id, member) in in_order(group) {
        let mut partitions = Partitions::new();
        for topic in member.topics.iter() {
            let part = topics.get_mut(topic).map_or(0..0, Topic::take);
            if !part.is_empty() {
                partitions.insert(*topic, part.collect());
            }
        }
        assigned.insert(id.clone(), partitions);
    }
    Ok(assigned)
}

fn in_order<'a>(group: &'a GroupSpec<'_>) -> Vec<(&'a Rc<str>, &'a MemberSpec<'a>)> {
    let mut members: Vec<_> = group.members.iter().collect();
    members.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance, (*id).clone()));
    members
}
