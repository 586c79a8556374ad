//! Random requests against a reference that has no state but the log: what is committed is worked out anew from the
//! log's definition each time.

use super::world::{
    Logged, Spec, World, assert_sound, commit_request, delete_request, fetch_request, id, replay,
    txn_commit_request, visible,
};
use super::*;
use hayate_rt::random::Prng;

const GROUPS: [&str; 2] = ["g", "h"];
const TOPICS: [&str; 2] = ["bar", "foo"];
const PARTITIONS: u64 = 2;
const PRODUCERS: u64 = 3;
const STEPS: usize = 60;
const SEEDS: u64 = 400;

type Place = (&'static str, &'static str, i32);

fn places() -> Vec<Place> {
    let topics = GROUPS.iter().flat_map(|&group| TOPICS.iter().map(move |&topic| (group, topic)));
    topics.flat_map(|(group, topic)| (0..PARTITIONS as i32).map(move |at| (group, topic, at))).collect()
}

/// What the log says of one partition's offset.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said<'a> {
    /// Where the winning record stands, and what it says.
    committed: Option<(usize, &'a OffsetCommitValue)>,
    /// The records of open transactions, each the last of its producer.
    pending: BTreeMap<ProducerId, (usize, &'a OffsetCommitValue)>,
}

/// By definition: of the records after the last tombstone, those count that no transaction holds, or one that was
/// committed, by the first marker of their producer after them; the last of them wins.
fn said<'a>(log: &'a [Logged], place: Place) -> Said<'a> {
    let mut said = Said::default();
    for (at, logged) in log.iter().enumerate() {
        let Logged::Record(producer, key, value) = logged else { continue };
        if (&*key.group, &*key.topic, key.partition) != place {
            continue;
        }
        let Some(value) = value else {
            said = Said::default();
            continue;
        };
        let end = producer.map(|producer| end(&log[at..], producer));
        match (producer, end) {
            (None, _) | (_, Some(Some(true))) => said.committed = Some((at, value)),
            (Some(producer), Some(None)) => {
                said.pending.insert(*producer, (at, value));
            }
            _ => {}
        }
    }
    said
}

/// How the transaction ends that a producer has open where the log begins.
fn end(log: &[Logged], producer: ProducerId) -> Option<bool> {
    log.iter().find_map(|logged| match logged {
        Logged::Marker(ended, committed) if *ended == producer => Some(*committed),
        _ => None,
    })
}

/// A random walk of requests.
struct Walk {
    world: World,
    prng: Prng,
    /// Each commit has an offset of its own.
    next_offset: i64,
}

impl Walk {
    fn below(&mut self, bound: u64) -> usize {
        self.prng.below(bound) as usize
    }

    fn place(&mut self) -> Place {
        let places = places();
        places[self.below(places.len() as u64)]
    }

    /// Up to three partitions to commit, each once, all of one group.
    fn specs(&mut self) -> (&'static str, Vec<Spec>) {
        let (group, ..) = self.place();
        let mut specs: Vec<Spec> = Vec::new();
        for _ in 0..=self.below(3) {
            let (_, topic, partition) = self.place();
            if specs.iter().all(|spec| (spec.topic.as_str(), spec.partition) != (topic, partition)) {
                let metadata = [None, Some("m".to_string())][self.below(2)].clone();
                specs.push(Spec { metadata, ..spec(topic, partition, self.next_offset) });
                self.next_offset += 1;
            }
        }
        (group, specs)
    }

    fn step(&mut self) {
        self.world.moment.wall_ms += self.below(30) as i64;
        match self.below(12) {
            0..3 => self.commit(),
            3..6 => self.txn_commit(),
            6..9 => {
                let (producer, committed) = (ProducerId(self.below(PRODUCERS) as i64), self.below(2) == 0);
                self.world.end(producer, committed);
            }
            9 => self.delete(),
            10 => self.expire(),
            _ => self.topic_deleted_or_group(),
        }
    }

    fn commit(&mut self) {
        let (group, specs) = self.specs();
        let retention = [-1, -1, 40][self.below(3)];
        let request = commit_request(group, retention, id(self.below(3) as u128), &specs);
        let before = self.world.log.len();
        self.world.step(|offsets, moment, limits, effects| {
            offsets.commit(moment, &request, Ok(()), limits, effects)
        });
        assert_eq!(self.world.log.len(), before + specs.len());
    }

    fn txn_commit(&mut self) {
        let (group, specs) = self.specs();
        let request = txn_commit_request(self.below(PRODUCERS) as i64, group, &specs);
        let before = self.world.log.len();
        self.world.step(|offsets, moment, limits, effects| {
            offsets.txn_commit(moment, &request, None, Ok(()), limits, effects)
        });
        assert_eq!(self.world.log.len(), before + specs.len());
    }

    fn delete(&mut self) {
        let (group, specs) = self.specs();
        let expected = self.wanted(|place, said| {
            let asked = specs.iter().any(|spec| (group, &*spec.topic, spec.partition) == place);
            asked && place.1 != "bar" && exists(said)
        });
        let request = delete_request(group, &specs);
        let before = self.world.log.len();
        self.world
            .step(|offsets, _, _, effects| offsets.delete(&request, Ok(()), |topic| topic == "bar", effects));
        self.assert_buried(before, expected);
    }

    fn expire(&mut self) {
        let (group, ..) = self.place();
        let (now, since) = (self.world.moment.wall_ms, self.world.moment.wall_ms - self.below(200) as i64);
        let expiry = [Expiry::Never, Expiry::SinceCommit, Expiry::Since(since)][self.below(3)];
        let retention = self.world.limits.retention_ms;
        let expected = self.wanted(|place, said| {
            let Some((_, value)) = said.committed else { return false };
            let base = if expiry == Expiry::SinceCommit { value.commit_timestamp_ms } else { since };
            let own = value.expire_timestamp_ms;
            let due = if own == -1 { now - base >= retention } else { now >= own };
            place.0 == group && expiry != Expiry::Never && due && said.pending.is_empty()
        });
        let before = self.world.log.len();
        let none_left = self.world.step(|offsets, moment, limits, effects| {
            offsets.expire(moment, group, expiry, |_| false, limits, effects)
        });
        self.assert_buried(before, expected);
        assert_eq!(none_left, self.wanted(|place, said| place.0 == group && exists(said)).is_empty());
    }

    fn topic_deleted_or_group(&mut self) {
        let (group, topic, _) = self.place();
        let before = self.world.log.len();
        if self.below(2) == 0 {
            let expected = self.wanted(|place, said| place.0 == group && exists(said));
            let gone = self.world.step(|offsets, _, _, effects| offsets.delete_group(group, effects));
            assert_eq!(gone, expected.len());
            self.assert_buried(before, expected);
        } else {
            let deleted = id(1);
            let expected = self.wanted(|place, said| {
                let mut pending = said.pending.values().map(|(_, value)| value.topic_id);
                let dead = |id: Uuid| id.is_nil() || id == deleted;
                let committed = said.committed.map(|(_, value)| dead(value.topic_id));
                place.1 == topic && committed.unwrap_or_else(|| pending.any(dead))
            });
            let topics = [(topic.to_string(), deleted)];
            self.world.step(|offsets, _, _, effects| offsets.topics_deleted(&topics, effects));
            self.assert_buried(before, expected);
        }
    }

    /// The places that a rule picks by what the log says of them.
    fn wanted(&self, rule: impl Fn(Place, &Said<'_>) -> bool) -> Vec<Place> {
        let picked = |place: &Place| rule(*place, &said(&self.world.log, *place));
        places().into_iter().filter(picked).collect()
    }

    /// The step that began at `before` has written these tombstones, in whatever order, and nothing else.
    fn assert_buried(&self, before: usize, expected: Vec<Place>) {
        let written: BTreeSet<_> = self.world.log[before..]
            .iter()
            .map(|logged| match logged {
                Logged::Record(None, key, None) => (&*key.group, &*key.topic, key.partition),
                other => panic!("not a tombstone: {other:?}"),
            })
            .collect();
        assert_eq!(self.world.log.len() - before, expected.len());
        assert_eq!(written, expected.into_iter().collect());
    }

    /// The machine shows what the log says.
    fn assert_agrees(&self) {
        for place in places() {
            let said = said(&self.world.log, place);
            let (group, topic, partition) = place;
            let kept = self.world.offsets.get(group, topic, partition).map(|kept| kept.offset);
            assert_eq!(kept, said.committed.map(|(_, value)| value.offset), "{place:?}");
            assert_eq!(
                self.world.offsets.is_pending(group, topic, partition),
                !said.pending.is_empty(),
                "{place:?}"
            );
            self.assert_fetched(place, &said);
        }
    }

    fn assert_fetched(&self, (group, topic, partition): Place, said: &Said<'_>) {
        let request = fetch_request(group, id(0), Some(vec![spec(topic, partition, -1)]));
        for stable in [false, true] {
            let answer = self.world.offsets.fetch(&request, stable, Ok(()), 9);
            let told = &answer.topics[0].partitions[0];
            let expected = match (stable && !said.pending.is_empty(), said.committed) {
                (true, _) => (ResponseError::UnstableOffsetCommit.code(), -1, ""),
                (false, None) => (0, -1, ""),
                (false, Some((_, value))) => (0, value.offset, &*value.metadata),
            };
            let metadata = told.metadata.as_ref().map_or("null", |metadata| metadata.as_str());
            assert_eq!((told.error_code, told.committed_offset, metadata), expected);
        }
    }

    /// Compaction keeps, in place, each tombstone and winner, what is pending, and the markers; that leads to the same.
    fn assert_survives_compaction(&self) {
        let log = &self.world.log;
        let kept: BTreeSet<usize> = places()
            .into_iter()
            .flat_map(|place| {
                let said = said(log, place);
                said.committed
                    .into_iter()
                    .chain(said.pending.into_values())
                    .map(|(at, _)| at)
                    .collect::<Vec<_>>()
            })
            .collect();
        let stays = |at: usize, logged: &Logged| match logged {
            Logged::Record(_, _, Some(_)) => kept.contains(&at),
            Logged::Record(_, _, None) | Logged::Marker(..) => true,
        };
        let compacted: Vec<Logged> = log
            .iter()
            .enumerate()
            .filter(|(at, logged)| stays(*at, logged))
            .map(|(_, logged)| logged.clone())
            .collect();
        assert_eq!(visible(&self.world.offsets), visible(&replay(&compacted)));
    }

    /// No commit goes unless by a tombstone, and none gives way to an earlier one; none was aborted.
    fn assert_nothing_went_back(&self, before: &BTreeMap<Place, usize>) -> BTreeMap<Place, usize> {
        let log = &self.world.log;
        let now: BTreeMap<Place, usize> = places()
            .into_iter()
            .filter_map(|place| said(log, place).committed.map(|(at, _)| (place, at)))
            .collect();
        for (place, at) in before {
            let buried = |logged: &Logged| {
                matches!(logged, Logged::Record(_, key, None)
                    if (&*key.group, &*key.topic, key.partition) == *place)
            };
            assert!(
                now.get(place).is_some_and(|now| now >= at) || log[*at..].iter().any(buried),
                "{place:?}"
            );
        }
        now
    }
}

fn exists(said: &Said<'_>) -> bool {
    said.committed.is_some() || !said.pending.is_empty()
}

#[test]
fn random_requests_agree_with_the_log_and_its_replays() {
    let (mut committed, mut pending, mut overtaken) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut walk = Walk { world: World::new(), prng: Prng::new(seed), next_offset: 100 };
        let mut before = BTreeMap::new();
        for _ in 0..STEPS {
            walk.step();
            walk.assert_agrees();
            before = walk.assert_nothing_went_back(&before);
        }
        assert_sound(&walk.world);
        walk.assert_survives_compaction();
        committed += walk.world.offsets.kept();
        pending += walk.world.offsets.transactions.len();
        overtaken += overtaken_in(&walk.world.log);
    }
    assert!(committed > 100 && pending > 100 && overtaken > 100, "{committed} {pending} {overtaken}");
}

/// How many committed records of transactions were overtaken before their marker: the rare case that matters.
fn overtaken_in(log: &[Logged]) -> usize {
    let later = |at: usize, key: &OffsetCommitKey, marker: usize| {
        let same = |logged: &Logged| matches!(logged, Logged::Record(None, other, Some(_)) if other == key);
        log[at + 1..marker].iter().any(same)
    };
    let overtaken = |(at, logged): &(usize, &Logged)| match logged {
        Logged::Record(Some(producer), key, Some(_)) => {
            let marker = (*at..log.len()).find(|&end| log[end] == Logged::Marker(*producer, true));
            marker.is_some_and(|marker| later(*at, key, marker))
        }
        _ => false,
    };
    log.iter().enumerate().filter(overtaken).count()
}
