//! Uniform, where members subscribe to different topics: what a member has and still subscribes to it keeps; what is left goes to the
//! subscriber that has least; then partitions move from who has most to who has least, topic by topic, until no move helps.
//!
//! After Kafka's `UniformHeterogeneousAssignmentBuilder`. Its table of ranges of equally loaded members is an ordered set here.

use super::{GroupSpec, NoSuchTopic, Partitions};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use uuid::Uuid;

/// The most passes over all topics.
const PASSES_MAX: usize = 16;

/// A member's place in the order of ids.
type Place = usize;

struct Topic {
    id: Uuid,
    subscribers: Vec<Place>,
    /// By partition.
    owners: Vec<Option<Place>>,
}

struct Builder {
    /// By place, how many partitions it has.
    loads: Vec<usize>,
    topics: Vec<Topic>,
}

pub(super) fn assign(group: &GroupSpec<'_>) -> Result<BTreeMap<Rc<str>, Partitions>, NoSuchTopic> {
    let mut builder = Builder { loads: vec![0; group.members.len()], topics: topics(group)? };
    builder.keep(group);
    builder.assign_free();
    builder.balance();
    Ok(builder.finish(group))
}

fn topics(group: &GroupSpec<'_>) -> Result<Vec<Topic>, NoSuchTopic> {
    let mut subscribers: BTreeMap<Uuid, Vec<Place>> = BTreeMap::new();
    for (place, member) in group.members.values().enumerate() {
        member.topics.iter().for_each(|topic| subscribers.entry(*topic).or_default().push(place));
    }
    let topics = subscribers.into_iter().map(|(id, subscribers)| {
        let count = usize::try_from(group.count(&id)?).unwrap_or(0);
        Ok(Topic { id, subscribers, owners: vec![None; count] })
    });
    let mut topics: Vec<Topic> = topics.collect::<Result<_, _>>()?;
    topics.sort_by(in_order);
    Ok(topics)
}

/// First the topics of which each subscriber has most to get, then those with few subscribers.
fn in_order(one: &Topic, other: &Topic) -> Ordering {
    let per_subscriber = |topic: &Topic, by: &Topic| topic.owners.len() as u64 * by.subscribers.len() as u64;
    per_subscriber(other, one)
        .cmp(&per_subscriber(one, other))
        .then(one.subscribers.len().cmp(&other.subscribers.len()))
        .then(one.id.cmp(&other.id))
}

impl Builder {
    fn keep(&mut self, group: &GroupSpec<'_>) {
        for topic in &mut self.topics {
            for (place, member) in group.members.values().enumerate() {
                let kept = member.target.get(&topic.id).filter(|_| member.topics.contains(&topic.id));
                for number in kept.into_iter().flatten() {
                    let owner = usize::try_from(*number).ok().and_then(|at| topic.owners.get_mut(at));
                    if let Some(owner @ None) = owner {
                        *owner = Some(place);
                        self.loads[place] += 1;
                    }
                }
            }
        }
    }

    fn assign_free(&mut self) {
        let Builder { loads, topics } = self;
        for topic in topics {
            let mut ordered: BTreeSet<(usize, Place)> =
                topic.subscribers.iter().map(|place| (loads[*place], *place)).collect();
            for owner in topic.owners.iter_mut().filter(|owner| owner.is_none()) {
                let Some((load, place)) = ordered.pop_first() else { break };
                *owner = Some(place);
                loads[place] = load + 1;
                ordered.insert((load + 1, place));
            }
        }
    }

    /// Moves partitions until a whole pass moves none.
    fn balance(&mut self) {
        for _ in 0..PASSES_MAX {
            let Builder { loads, topics } = self;
            let moved =
                topics.iter_mut().map(|topic| balance_topic(topic, loads)).fold(0, usize::saturating_add);
            if moved == 0 {
                break;
            }
        }
    }

    fn finish(self, group: &GroupSpec<'_>) -> BTreeMap<Rc<str>, Partitions> {
        let ids: Vec<&Rc<str>> = group.members.keys().collect();
        let mut assigned: BTreeMap<Rc<str>, Partitions> =
            ids.iter().map(|id| ((*id).clone(), Partitions::new())).collect();
        for topic in &self.topics {
            for (number, owner) in (0..).zip(&topic.owners) {
                let owner = owner.and_then(|place| assigned.get_mut(ids[place]));
                if let Some(partitions) = owner {
                    partitions.entry(topic.id).or_default().insert(number);
                }
            }
        }
        assigned
    }
}

/// Moves partitions of one topic from who has most in all to who has least; returns how many.
fn balance_topic(topic: &mut Topic, loads: &mut [usize]) -> usize {
    let mut owned: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
    for (number, owner) in topic.owners.iter().enumerate() {
        owner.iter().for_each(|place| owned.entry(*place).or_default().push(number));
    }
    let mut givers: BTreeSet<(usize, Place)> = owned.keys().map(|place| (loads[*place], *place)).collect();
    let mut takers: BTreeSet<(usize, Place)> =
        topic.subscribers.iter().map(|place| (loads[*place], *place)).collect();
    let mut moved = 0;
    while let (Some((most, giver)), Some((least, taker))) = (givers.pop_last(), takers.first().copied()) {
        if most <= least + 1 {
            break;
        }
        // Its last partition goes; who has none of this topic left gives no more.
        let Some(number) = owned.get_mut(&giver).and_then(Vec::pop) else { continue };
        topic.owners[number] = Some(taker);
        takers.remove(&(most, giver));
        takers.remove(&(least, taker));
        (loads[giver], loads[taker]) = (most - 1, least + 1);
        takers.extend([(most - 1, giver), (least + 1, taker)]);
        givers.insert((most - 1, giver));
        if givers.remove(&(least, taker)) {
            givers.insert((least + 1, taker));
        }
        moved += 1;
    }
    moved
}
