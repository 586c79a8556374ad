//! Who gets which partitions: every partition somebody, every member something, about equally much, and as little changed as can be.
//!
//! After Kafka's `SimpleAssignor`: where there are more members than partitions, several have the same. Members that subscribe to the
//! same topics share all of their partitions; else each topic is shared among its members on its own.

use super::Partitions;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A partition.
type One = (Uuid, i32);

/// What is assigned, by member.
type Assigned<'a> = BTreeMap<&'a str, BTreeSet<One>>;

/// What each member is to have. `members` gives for each the topics that it is subscribed to, `before` what it had.
pub(super) fn assign<'a>(
    members: &BTreeMap<&'a str, BTreeSet<Uuid>>,
    topics: &Partitions,
    before: impl Fn(&str) -> Option<&'a Partitions>,
) -> BTreeMap<&'a str, Partitions> {
    let had: Assigned<'a> = members
        .keys()
        .map(|member| {
            let ones = before(member).into_iter().flatten();
            let ones = ones.flat_map(|(topic, numbers)| numbers.iter().map(move |number| (*topic, *number)));
            (*member, ones.collect())
        })
        .collect();
    let mut assigned: Assigned<'a> = members.keys().map(|member| (*member, BTreeSet::new())).collect();
    let mut sets: Vec<&BTreeSet<Uuid>> = members.values().collect();
    sets.dedup();
    let pools: Vec<BTreeSet<Uuid>> = match sets[..] {
        [all] => vec![all.clone()],
        _ => members
            .values()
            .flatten()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|id| [id].into())
            .collect(),
    };
    for pool in pools {
        let of_pool: Vec<&'a str> =
            members.iter().filter(|(_, topics)| pool.is_subset(topics)).map(|(member, _)| *member).collect();
        let ones = pool.iter().filter_map(|topic| topics.get_key_value(topic));
        let ones = ones.flat_map(|(topic, numbers)| numbers.iter().map(move |number| (*topic, *number)));
        share(&of_pool, ones.collect(), &had, &mut assigned);
    }
    assigned.into_iter().map(|(member, ones)| (member, by_topic(ones))).collect()
}

fn by_topic(ones: BTreeSet<One>) -> Partitions {
    let mut partitions = Partitions::new();
    for (topic, number) in ones {
        partitions.entry(topic).or_default().insert(number);
    }
    partitions
}

/// Shares out the partitions of one pool.
fn share<'a>(members: &[&'a str], ones: BTreeSet<One>, had: &Assigned<'a>, assigned: &mut Assigned<'a>) {
    if members.is_empty() || ones.is_empty() {
        return;
    }
    // So many members a partition, so many partitions a member, at most.
    let sharing = members.len().div_ceil(ones.len());
    let each = ones.len().max(members.len()).div_ceil(members.len());
    let mut of_pool: BTreeMap<&'a str, usize> = members.iter().map(|member| (*member, 0)).collect();
    let mut shared: BTreeMap<One, usize> = ones.iter().map(|one| (*one, 0)).collect();
    let mut give = |member: &'a str,
                    one: One,
                    of_pool: &mut BTreeMap<&'a str, usize>,
                    shared: &mut BTreeMap<One, usize>| {
        if assigned.get_mut(member).is_some_and(|has| has.insert(one)) {
            *of_pool.entry(member).or_default() += 1;
            *shared.entry(one).or_default() += 1;
        }
    };
    for member in members {
        for one in had.get(member).into_iter().flatten().filter(|one| ones.contains(one)) {
            if shared[one] < sharing && of_pool[member] < each {
                give(member, *one, &mut of_pool, &mut shared);
            }
        }
    }
    let unshared: Vec<One> = shared.iter().filter(|(_, count)| **count == 0).map(|(one, _)| *one).collect();
    for one in unshared {
        let least = members.iter().min_by_key(|member| of_pool[**member]);
        if let Some(member) = least {
            give(member, one, &mut of_pool, &mut shared);
        }
    }
    let idle: Vec<&'a str> = members.iter().filter(|member| of_pool[**member] == 0).copied().collect();
    for member in idle {
        let least = shared.iter().min_by_key(|(_, count)| **count).map(|(one, _)| *one);
        if let Some(one) = least {
            give(member, one, &mut of_pool, &mut shared);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// Assigns among members with the numbers of their topics, given topics with their counts of partitions; shows `member: t-p …`.
    fn run(
        members: &[(&'static str, &[u128])],
        topics: &[(u128, i32)],
        before: &BTreeMap<&'static str, Partitions>,
    ) -> BTreeMap<&'static str, Partitions> {
        let members = members
            .iter()
            .map(|(member, topics)| (*member, topics.iter().map(|number| topic(*number)).collect()))
            .collect();
        let topics = topics.iter().map(|(number, count)| (topic(*number), (0..*count).collect())).collect();
        let before: &BTreeMap<&str, Partitions> = Box::leak(Box::new(before.clone()));
        assign(&members, &topics, |member| before.get(member))
    }

    fn shown(assigned: &BTreeMap<&'static str, Partitions>) -> Vec<String> {
        let show = |(member, partitions): (&&str, &Partitions)| {
            let ones = partitions.iter().flat_map(|(topic, numbers)| {
                numbers.iter().map(move |number| format!(" {}-{number}", topic.as_u128()))
            });
            format!("{member}:{}", ones.collect::<String>())
        };
        assigned.iter().map(show).collect()
    }

    #[test]
    fn every_partition_has_a_member_and_every_member_a_partition() {
        let none = BTreeMap::new();
        let check = |members: &[(&'static str, &[u128])], topics: &[(u128, i32)], expected: &[&str]| {
            assert_eq!(shown(&run(members, topics, &none)), expected);
        };
        check(&[("a", &[1])], &[(1, 3)], &["a: 1-0 1-1 1-2"]);
        check(&[("a", &[1]), ("b", &[1])], &[(1, 3)], &["a: 1-0 1-2", "b: 1-1"]);
        check(&[("a", &[1]), ("b", &[1]), ("c", &[1])], &[(1, 2)], &["a: 1-0", "b: 1-1", "c: 1-0"]);
        check(&[("a", &[1]), ("b", &[1, 2])], &[(1, 2), (2, 1)], &["a: 1-0", "b: 1-1 2-0"]);
        check(&[("a", &[9])], &[(1, 2)], &["a:"]);
        check(&[], &[(1, 2)], &[]);
    }

    #[test]
    fn members_keep_what_they_have_as_far_as_it_is_just() {
        let first = run(&[("a", &[1]), ("b", &[1])], &[(1, 4)], &BTreeMap::new());
        assert_eq!(shown(&first), ["a: 1-0 1-2", "b: 1-1 1-3"]);
        let alone = run(&[("b", &[1])], &[(1, 4)], &first);
        assert_eq!(shown(&alone), ["b: 1-0 1-1 1-2 1-3"]);
        let again = run(&[("b", &[1]), ("c", &[1])], &[(1, 4)], &alone);
        assert_eq!(shown(&again), ["b: 1-0 1-1", "c: 1-2 1-3"]);
        let third = run(&[("b", &[1]), ("c", &[1]), ("d", &[1])], &[(1, 2)], &again);
        assert_eq!(shown(&third), ["b: 1-0", "c: 1-1", "d: 1-0"]);
    }
}
