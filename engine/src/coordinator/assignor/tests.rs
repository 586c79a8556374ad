//! Tables of groups, and random ones against what must hold.

use super::*;
use hayate_rt::random::Prng;

fn topic(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// `1:0-2 2:5`: partitions 0 to 2 of topic 1, and partition 5 of topic 2.
fn partitions(text: &str) -> Partitions {
    let mut parsed = Partitions::new();
    for part in text.split_whitespace() {
        let (id, range) = part.split_once(':').expect("a topic");
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let numbers: std::ops::RangeInclusive<i32> =
            first.parse().expect("a number")..=last.parse().expect("a number");
        parsed.entry(topic(id.parse().expect("a topic's number"))).or_default().extend(numbers);
    }
    parsed
}

/// A member: its id, instance id, topics, and what it is to have so far.
type Told<'a> = (&'a str, Option<&'a str>, &'a [u128], &'a str);

fn assigned(assignor: Assignor, counts: &[i32], told: &[Told<'_>]) -> Vec<Partitions> {
    let targets: Vec<Partitions> = told.iter().map(|told| partitions(told.3)).collect();
    let members = told.iter().zip(&targets).map(|((id, instance, topics, _), target)| {
        let topics = Rc::new(topics.iter().map(|number| topic(*number)).collect());
        (Rc::from(*id), MemberSpec { instance: *instance, topics, target })
    });
    let count = |id: &Uuid| counts.get(usize::try_from(id.as_u128()).ok()?.checked_sub(1)?).copied();
    let group = GroupSpec { members: members.collect(), count: &count };
    let assigned = assignor.assign(&group).expect("all topics exist");
    told.iter().map(|(id, ..)| assigned.get(*id).cloned().unwrap_or_default()).collect()
}

fn check(assignor: Assignor, counts: &[i32], told: &[Told<'_>], expected: &[&str]) {
    let expected: Vec<Partitions> = expected.iter().map(|text| partitions(text)).collect();
    assert_eq!(assigned(assignor, counts, told), expected, "{assignor:?} {counts:?} {told:?}");
}

#[test]
fn ranges_follow_the_order_of_members() {
    let range = Assignor::Range;
    check(range, &[7], &[("b", None, &[1], ""), ("a", None, &[1], "")], &["1:4-6", "1:0-3"]);
    check(range, &[3, 3], &[("a", None, &[1, 2], ""), ("b", None, &[1, 2], "")], &["1:0-1 2:0-1", "1:2 2:2"]);
    check(range, &[1], &[("a", None, &[1], ""), ("b", None, &[1], "1:0")], &["1:0", ""]);
    // Static members come first, by their instance ids, whatever their member ids are.
    let told: [Told<'_>; 3] =
        [("z", Some("i1"), &[1], ""), ("a", None, &[1], ""), ("y", Some("i2"), &[1], "")];
    check(range, &[6], &told, &["1:0-1", "1:4-5", "1:2-3"]);
    let told: [Told<'_>; 3] = [("a", None, &[1, 2], ""), ("b", None, &[1], ""), ("c", None, &[2], "")];
    check(range, &[4, 3], &told, &["1:0-1 2:0-1", "1:2-3", "2:2"]);
    check(range, &[4], &[("a", None, &[], ""), ("b", None, &[1], "")], &["", "1:0-3"]);
}

#[test]
fn members_that_subscribe_alike_have_equally_many_and_keep_what_they_have() {
    let uniform = Assignor::Uniform;
    check(uniform, &[3], &[("a", None, &[1], ""), ("b", None, &[1], "")], &["1:0-1", "1:2"]);
    check(uniform, &[6], &[("a", None, &[1], "1:0-5"), ("b", None, &[1], "")], &["1:0-2", "1:3-5"]);
    check(uniform, &[6], &[("a", None, &[1], "1:3-5"), ("b", None, &[1], "1:0-2")], &["1:3-5", "1:0-2"]);
    check(uniform, &[4, 2], &[("a", None, &[2], "1:0-1 2:0"), ("b", None, &[2], "1:2-3")], &["2:0", "2:1"]);
    check(uniform, &[2], &[("a", None, &[], "1:0"), ("b", None, &[], "1:1")], &["", ""]);
    // A topic has grown.
    check(uniform, &[5], &[("a", None, &[1], "1:0"), ("b", None, &[1], "1:1")], &["1:0 1:2-3", "1:1 1:4"]);
}

#[test]
fn members_that_subscribe_differently_are_balanced_as_far_as_their_topics_allow() {
    let uniform = Assignor::Uniform;
    check(uniform, &[3, 3], &[("a", None, &[1], ""), ("b", None, &[1, 2], "")], &["1:0-2", "2:0-2"]);
    let told: [Told<'_>; 2] = [("a", None, &[1], ""), ("b", None, &[1, 2], "1:0-3 2:0-1")];
    check(uniform, &[4, 2], &told, &["1:1-3", "1:0 2:0-1"]);
    check(uniform, &[2, 1], &[("a", None, &[1], "1:0-1"), ("b", None, &[2], "")], &["1:0-1", "2:0"]);
}

#[test]
fn a_topic_that_does_not_exist_is_no_assignment() {
    for assignor in Assignor::ALL {
        for topics in [[[9, 1], [9, 1]], [[1, 1], [9, 1]]] {
            let target = Partitions::new();
            let members = topics.iter().zip(["a", "b"]).map(|(topics, id)| {
                let topics = Rc::new(topics.iter().map(|number| topic(*number)).collect());
                (Rc::from(id), MemberSpec { instance: None, topics, target: &target })
            });
            let count = |id: &Uuid| (*id == topic(1)).then_some(3);
            let group = GroupSpec { members: members.collect(), count: &count };
            assert_eq!(assignor.assign(&group), Err(NoSuchTopic(topic(9))));
        }
    }
}

/// Every partition of a topic with a subscriber has one owner, who subscribes to it; returns how many each member has.
fn check_whole(group: &GroupSpec<'_>, assigned: &BTreeMap<Rc<str>, Partitions>) -> Vec<usize> {
    let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
    for (id, partitions) in assigned {
        for (topic, numbers) in partitions {
            assert!(!numbers.is_empty() && group.members[id].topics.contains(topic));
            for number in numbers {
                assert!(owners.insert((*topic, *number), id).is_none(), "one owner");
            }
        }
    }
    let topics: BTreeSet<Uuid> =
        group.members.values().flat_map(|member| member.topics.iter().copied()).collect();
    let all: i32 = topics.iter().map(|topic| (group.count)(topic).expect("it exists")).sum();
    assert_eq!(owners.len(), all as usize, "nothing is left over");
    assigned.values().map(|partitions| partitions.values().map(BTreeSet::len).sum()).collect()
}

#[test]
fn random_groups_are_assigned_whole_and_balanced_and_settle() {
    for seed in 0..400 {
        let mut random = Prng::new(seed);
        let counts: Vec<i32> = (0..1 + random.below(4)).map(|_| random.below(9) as i32).collect();
        let count = |id: &Uuid| counts.get(usize::try_from(id.as_u128()).ok()?.checked_sub(1)?).copied();
        let alike = random.below(2) == 0;
        let pick = |random: &mut Prng| {
            let ids = (1..=counts.len() as u128).filter(|_| random.below(3) > 0);
            Rc::new(ids.map(topic).collect::<BTreeSet<Uuid>>())
        };
        let common = pick(&mut random);
        let mut before: BTreeMap<Rc<str>, Partitions> = BTreeMap::new();
        for assignor in [Assignor::Uniform, Assignor::Range, Assignor::Uniform] {
            let ids: Vec<Rc<str>> =
                (0..1 + random.below(6)).map(|number| format!("m{number}").into()).collect();
            let topics = ids.iter().map(|id| {
                let topics = if alike { common.clone() } else { pick(&mut random) };
                (id.clone(), topics)
            });
            let topics: BTreeMap<Rc<str>, _> = topics.collect();
            let nothing = Partitions::new();
            for round in 0..2 {
                let members = topics.iter().map(|(id, topics)| {
                    let target = before.get(id).unwrap_or(&nothing);
                    (id.clone(), MemberSpec { instance: None, topics: topics.clone(), target })
                });
                let group = GroupSpec { members: members.collect(), count: &count };
                let assigned = assignor.assign(&group).expect("all topics exist");
                let loads = check_whole(&group, &assigned);
                if alike && assignor == Assignor::Uniform {
                    let (least, most) = (loads.iter().min(), loads.iter().max());
                    assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "seed {seed}");
                }
                drop(group);
                assert!(round == 0 || assigned == before, "seed {seed}: nothing moves without a cause");
                before = assigned;
            }
        }
    }
}
