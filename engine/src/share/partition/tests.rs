//! Lines of script against one share partition, and random lives that are checked against what members were told.

use super::*;
use hayate_rt::random::Prng;
use std::collections::BTreeSet;

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> MonoTime {
    MonoTime::from_nanos(seconds * SECOND)
}

/// A partition and the moment.
struct World {
    partition: SharePartition,
    now: u64,
    written: Vec<String>,
}

fn world(deliveries_max: i16, locks_max: i64, batches: &[(i64, i64, i8, i16)]) -> World {
    let batches: Vec<StateBatch> = batches
        .iter()
        .map(|&(first_offset, last_offset, delivery_state, delivery_count)| StateBatch {
            first_offset,
            last_offset,
            delivery_state,
            delivery_count,
        })
        .collect();
    let limits = ShareLimits { deliveries_max, locks_max };
    let partition = SharePartition::new(limits, 0, 0, &batches).expect("sound batches");
    World { partition, now: 0, written: Vec::new() }
}

fn range(text: &str) -> (i64, i64) {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    (first.parse().expect("an offset"), last.parse().expect("an offset"))
}

impl World {
    /// `fetch MEMBER MAX RANGE...`, where `!` before a range is a batch without records; `ack MEMBER RANGE=TYPES...`; `write [fails]`;
    /// `wait SECONDS`; `leave MEMBER`; `log OFFSET`.
    fn line(&mut self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let what = words.next().expect("a word");
        let words: Vec<&str> = words.collect();
        let done = match what {
            "fetch" => self.fetch(&words),
            "ack" => self.ack(&words),
            "write" => self.write(words.first() != Some(&"fails")),
            "wait" => {
                self.now += words[0].parse::<u64>().expect("seconds");
                self.partition.expire(at(self.now)).to_string()
            }
            "leave" => self.partition.release(words[0]).to_string(),
            "log" => self.partition.follow_log_start(words[0].parse().expect("an offset")).to_string(),
            _ => panic!("{line}"),
        };
        self.partition.check();
        format!("{done} | {} {}", self.partition.start(), self.partition.end()).trim().to_owned()
    }

    fn fetch(&mut self, words: &[&str]) -> String {
        let Some(from) = self.partition.next_offset() else { return "full".to_owned() };
        let found = words[2..].iter().map(|word| {
            let (first, last) = range(word.trim_start_matches('!'));
            Found { first, last, is_delivered: !word.starts_with('!') }
        });
        let found: Vec<Found> = found.filter(|batch| batch.last >= from).collect();
        let bounds = (words[1].parse().expect("a number"), 100);
        let acquired = self.partition.acquire(&words[0].into(), at(self.now + 30), from, &found, bounds);
        let shown = acquired.iter().map(|run| format!("{}-{}x{}", run.first, run.last, run.deliveries));
        shown.collect::<Vec<_>>().join(" ")
    }

    fn ack(&mut self, words: &[&str]) -> String {
        let batches = words[1..].iter().map(|word| {
            let (offsets, types) = word.split_once('=').expect("types");
            let (first, last) = range(offsets);
            let types: Vec<i8> = types.bytes().map(|digit| (digit - b'0') as i8).collect();
            AckBatch::of(first, last, &types)
        });
        let acked = batches.collect::<Result<Vec<_>, _>>();
        match acked.and_then(|batches| self.partition.acknowledge(words[0], &batches)) {
            Ok(number) => format!("waits {number}"),
            Err(code) => code.name().to_owned(),
        }
    }

    fn write(&mut self, succeeds: bool) -> String {
        let Some(writing) = self.partition.begin_write() else { return "nothing".to_owned() };
        self.partition.written(writing.number, succeeds, at(self.now));
        let batches = writing.batches.iter().map(|batch| {
            let StateBatch { first_offset, last_offset, delivery_state, delivery_count } = batch;
            format!(" {first_offset}-{last_offset}={delivery_state}x{delivery_count}")
        });
        let shown =
            format!("from {} done {}{}", writing.start, writing.complete, batches.collect::<String>());
        self.written.push(shown.clone());
        shown
    }
}

#[track_caller]
fn check(mut world: World, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, expected) = line.split_once("=>").expect("an expectation");
        assert_eq!(world.line(input), expected.trim(), "{input}");
    }
}

#[test]
fn what_is_accepted_is_gone_once_it_is_written() {
    check(
        world(5, 100, &[]),
        "fetch a 500 0-9 10-19      => 0-19x1 | 0 20
         fetch b 500 20-29          => 20-29x1 | 0 30
         ack a 0-4=1 5-9=1          => waits 1 | 0 30
         write                      => from 10 done 0 | 10 30
         ack b 20-29=1              => waits 2 | 10 30
         write                      => from 10 done 10 20-29=2x1 | 10 30
         ack a 10-19=1              => waits 3 | 10 30
         write                      => from 30 done 0 | 30 30
         write                      => nothing | 30 30
         ack a 10-19=1              => waits 0 | 30 30",
    );
}

#[test]
fn what_is_given_back_comes_again_until_it_has_come_too_often() {
    check(
        world(2, 100, &[]),
        "fetch a 500 0-2            => 0-2x1 | 0 3
         ack a 0-2=213              => waits 1 | 0 3
         fetch b 500 3-3            => 3-3x1 | 0 4
         write                      => from 0 done 2 0-0=0x1 1-1=2x1 2-2=4x1 | 0 4
         fetch b 500 0-2            => 0-0x2 | 0 4
         ack b 0=2 3=0              => waits 2 | 0 4
         write                      => from 4 done 0 | 4 4",
    );
}

#[test]
fn locks_end_and_sessions_do() {
    check(
        world(2, 100, &[]),
        "fetch a 500 0-9            => 0-9x1 | 0 10
         wait 29                    => false | 0 10
         wait 1                     => true | 0 10
         ack a 0-9=1                => INVALID_RECORD_STATE | 0 10
         write                      => from 0 done 0 0-9=0x1 | 0 10
         fetch b 500 0-9            => 0-9x2 | 0 10
         leave a                    => false | 0 10
         leave b                    => true | 10 10
         write                      => nothing | 10 10",
    );
}

#[test]
fn a_write_that_fails_changes_nothing() {
    check(
        world(5, 100, &[]),
        "fetch a 500 0-9            => 0-9x1 | 0 10
         ack a 0-9=1                => waits 1 | 0 10
         ack a 0-9=1                => INVALID_RECORD_STATE | 0 10
         write fails                => from 10 done 0 | 0 10
         ack a 0-9=1                => waits 2 | 0 10
         wait 30                    => false | 0 10
         write fails                => from 10 done 0 | 0 10
         fetch b 500 0-9            => 0-9x2 | 0 10",
    );
}

#[test]
fn a_member_settles_all_that_it_names_or_nothing() {
    check(
        world(5, 100, &[]),
        "fetch a 500 0-9            => 0-9x1 | 0 10
         ack b 0-9=1                => INVALID_RECORD_STATE | 0 10
         ack a 0-10=1               => INVALID_REQUEST | 0 10
         ack a 5-9=1 0-4=1          => INVALID_REQUEST | 0 10
         ack a 0-9=12               => INVALID_REQUEST | 0 10
         ack a 0-9=4                => INVALID_REQUEST | 0 10
         ack a 9-0=1                => INVALID_REQUEST | 0 10
         ack a 0-4=1 5-9=2          => waits 1 | 0 10",
    );
}

#[test]
fn only_so_much_is_under_way_and_whole_batches_are_delivered() {
    check(
        world(5, 20, &[]),
        "fetch a 5 0-9 10-19        => 0-9x1 | 0 10
         fetch a 500 10-24 25-30    => 10-24x1 | 0 25
         fetch a 500 25-30          => full | 0 25
         ack a 0-9=1                => waits 1 | 0 25
         write                      => from 10 done 0 | 10 25
         fetch a 500 25-30 31-40    => 25-30x1 | 10 31",
    );
}

#[test]
fn holes_markers_and_what_the_log_has_no_more_are_passed_over() {
    check(
        world(5, 100, &[]),
        "fetch a 500 3-5 !6-6 9-9   => 3-5x1 9-9x1 | 3 10
         fetch a 500 !10-10         => | 3 11
         log 5                      => true | 5 11
         log 4                      => false | 5 11
         ack a 3-5=1                => waits 1 | 5 11
         write                      => from 9 done 1 | 9 11
         log 20                     => true | 20 20",
    );
}

#[test]
fn what_was_written_is_known_again() {
    check(
        world(5, 100, &[(3, 4, 2, 1), (5, 6, 0, 2), (7, 9, 4, 5)]),
        "fetch a 500 0-9 10-14      => 0-2x1 5-6x3 10-14x1 | 0 15
         ack a 0-2=1 5-6=1          => waits 1 | 0 15
         write                      => from 10 done 0 | 10 15",
    );
    let bad = |batches: &[(i64, i64, i8, i16)]| {
        let batches: Vec<_> = batches
            .iter()
            .map(|&(first_offset, last_offset, delivery_state, delivery_count)| StateBatch {
                first_offset,
                last_offset,
                delivery_state,
                delivery_count,
            })
            .collect();
        SharePartition::new(ShareLimits::default(), 0, 0, &batches).err()
    };
    for batches in [&[(0, 9, 1, 1)][..], &[(5, 4, 0, 1)], &[(0, 9, 0, 1), (9, 12, 0, 1)]] {
        assert_eq!(bad(batches), Some(ErrorCode::CorruptMessage), "{batches:?}");
    }
}

/// What the coordinator has, and what members were told.
#[derive(Default)]
struct Told {
    start: i64,
    batches: Vec<StateBatch>,
    /// Offsets that a member was told are accepted or rejected.
    settled: BTreeSet<i64>,
}

#[test]
fn where_a_group_begins_is_written_before_it_is_forgotten() {
    let mut partition = SharePartition::beginning(ShareLimits::default(), 1, 7);
    assert!(!partition.is_idle(), "nobody else knows it");
    let failing = partition.begin_write().expect("its beginning is news");
    assert_eq!((failing.start, failing.complete, failing.batches.len()), (7, 0, 0));
    partition.written(failing.number, false, at(0));
    assert!(!partition.is_idle() && partition.begin_write().is_none(), "it waits for the next write");

    let found = [Found { first: 7, last: 9, is_delivered: true }];
    let member: Rc<str> = "a".into();
    assert_eq!(partition.acquire(&member, at(30), 7, &found, (10, 10)).len(), 1);
    assert!(partition.release("a"), "and is given back");
    let writing = partition.begin_write().expect("what was given back");
    assert_eq!(writing.start, 7);
    partition.written(writing.number, true, at(0));
    assert!(partition.is_idle());
}

#[test]
fn nothing_settled_comes_again_and_everything_else_does_whatever_crashes() {
    for seed in 0..200 {
        live(seed);
    }
}

/// A random life over a log of batches of three offsets; at its end everything is fetched and accepted.
fn live(seed: u64) {
    let mut random = Prng::new(seed);
    let mut draw = |below: u64| random.below(below);
    let limits = ShareLimits { deliveries_max: 100, locks_max: 30 };
    let mut told = Told::default();
    let mut partition = SharePartition::new(limits, 0, 0, &[]).expect("nothing");
    let mut held: Vec<(Rc<str>, Acquired)> = Vec::new();
    let mut now = 0;
    for step in 0..400 {
        let closing = step >= 300;
        let member: Rc<str> = ["a", "b", "c"][draw(3) as usize].into();
        match if closing { [0, 1, 4][draw(3) as usize] } else { draw(8) } {
            0 => fetch(&mut partition, &told, &member, at(now + 5), &mut held),
            1 | 2 => settle(&mut partition, &mut told, &mut held, closing, draw(3), at(now)),
            3 => _ = partition.release(&member),
            4 => {
                now += 1 + draw(3) + if closing { 5 } else { 0 };
                partition.expire(at(now));
            }
            5 => {
                // The leader is gone, with what it had not written.
                partition = SharePartition::new(limits, 0, told.start, &told.batches).expect("as written");
                held.clear();
            }
            _ => write(&mut partition, &mut told, draw(4) > 0, at(now)),
        }
        partition.check();
    }
    assert!(partition.start() > 60, "the life of {seed} comes to {}", partition.start());
}

fn fetch(
    partition: &mut SharePartition,
    told: &Told,
    member: &Rc<str>,
    until: MonoTime,
    held: &mut Vec<(Rc<str>, Acquired)>,
) {
    let Some(from) = partition.next_offset() else { return };
    let found: Vec<Found> = (from / 3..from / 3 + 3)
        .map(|batch| Found { first: batch * 3, last: batch * 3 + 2, is_delivered: true })
        .collect();
    for acquired in partition.acquire(member, until, from, &found, (5, 100)) {
        let again = (acquired.first..=acquired.last).find(|offset| told.settled.contains(offset));
        assert_eq!(again, None, "what was settled comes again");
        held.push((member.clone(), acquired));
    }
}

fn write(partition: &mut SharePartition, told: &mut Told, succeeds: bool, now: MonoTime) {
    let Some(writing) = partition.begin_write() else { return };
    if succeeds {
        assert!(writing.start >= told.start, "the start goes on");
        told.start = writing.start;
        told.batches =
            crate::coordinator::share_state::batches::combine(&told.batches, &writing.batches, writing.start);
    }
    partition.written(writing.number, succeeds, now);
}

fn settle(
    partition: &mut SharePartition,
    told: &mut Told,
    held: &mut Vec<(Rc<str>, Acquired)>,
    closing: bool,
    kind: u64,
    now: MonoTime,
) {
    let Some((member, acquired)) = held.pop() else { return };
    let kind = if closing {
        AckType::Accept
    } else {
        [AckType::Accept, AckType::Release, AckType::Reject][kind as usize]
    };
    let batch = AckBatch { first: acquired.first, last: acquired.last, types: vec![kind] };
    let Ok(number) = partition.acknowledge(&member, &[batch]) else { return };
    let before = told.start;
    write(partition, told, true, now);
    let is_final = matches!(kind, AckType::Accept | AckType::Reject);
    if number > 0 && is_final {
        assert!(told.start >= before);
        told.settled.extend(acquired.first..=acquired.last);
    }
}
