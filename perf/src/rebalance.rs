//! `hayate-perf rebalance`: how long a group takes until all its members have their assignments: all at once, when one leaves, when one joins.

pub mod assignment;
pub mod classic;
pub mod consumer;
pub mod member;
pub mod party;

use crate::PerfError;
use crate::cli::Job;
use crate::cli::options::{get, millis, option};
use crate::clock::{Clock, SECOND};
use crate::cluster::{Cluster, Wanted};
use crate::connections::limits::raise_descriptors;
use crate::gauge::Gauge;
use crate::link::Link;
use crate::machine::{Watched, environment};
use crate::run::caller;
use crate::trial::admin::Admin;
use crate::trial::wait::sleep_exactly;
use crate::trial::{Common, counted, document, nanos};
use clap::{ArgMatches, Command, value_parser};
use classic::Classic;
use consumer::Consumer;
use member::{Manner, Member};
use party::{Party, Seat};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a step of a round may take.
const PATIENCE: u64 = 120 * SECOND;
/// How long members may take to leave when something went wrong.
const LEAVING_PATIENCE: u64 = 5 * SECOND;
/// How long members may take to join again.
const REBALANCE_MS: i32 = 60_000;
/// Part of a heartbeat's interval by which rounds are apart: they fall everywhere in it, and the same in each run.
const GOLDEN: f64 = 0.618_033_988_75;

/// Which protocol groups have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JoinGroup and SyncGroup; a member makes the assignment.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848); the broker makes it.
    Consumer,
}

/// What rebalances are asked for.
#[derive(Clone, Debug)]
pub struct Rebalance {
    common: Common,
    protocol: Protocol,
    group: String,
    topic: String,
    partitions: i32,
    replication_factor: i16,
    members: usize,
    rounds: u64,
    heartbeat: Duration,
    session_ms: i32,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "classic" => Ok(Protocol::Classic),
        "consumer" => Ok(Protocol::Consumer),
        _ => Err("classic or consumer".to_owned()),
    }
}

/// The subcommand.
pub fn command() -> Command {
    Command::new("rebalance")
        .about("Members come and go; how long it takes until the last of them has its assignment")
        .args(Common::args())
        .args([
            option("protocol", "classic|consumer", "Kafka's group.protocol")
                .default_value("classic")
                .value_parser(protocol),
            option("group", "NAME", "The group, which must be empty; it is removed at the end")
                .default_value("hayate-perf-rebalance"),
            option("topic", "NAME", "The topic, made if it is missing")
                .default_value("hayate-perf-rebalance"),
            option("partitions", "N", "Partitions of the topic; by default as many as there are members")
                .value_parser(value_parser!(i32).range(1..=100_000)),
            option("replication-factor", "N", "Of a topic that is made; -1: the broker's default")
                .default_value("-1")
                .allow_negative_numbers(true)
                .value_parser(value_parser!(i16)),
            option("members", "N", "Members, each with a connection of its own")
                .default_value("10")
                .value_parser(value_parser!(u64).range(2..=10_000)),
            option("rounds", "N", "In each all join, one leaves, one joins, and all leave")
                .default_value("5")
                .value_parser(value_parser!(u64).range(1..=1_000_000)),
            option(
                "heartbeat-interval-ms",
                "MS",
                "Kafka's, of the classic protocol: members learn of a change by it",
            )
            .default_value("3000")
            .value_parser(millis),
            option("session-timeout-ms", "MS", "Kafka's, of the classic protocol")
                .default_value("45000")
                .value_parser(value_parser!(i32).range(1..)),
        ])
}

impl Rebalance {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// What is mistaken, in one line.
    pub fn read(matches: &ArgMatches) -> Result<Rebalance, String> {
        let members = get(matches, "members", 2_u64);
        let heartbeat = get(matches, "heartbeat-interval-ms", Duration::from_secs(3));
        if heartbeat.is_zero() {
            return Err("--heartbeat-interval-ms goes above 0".to_owned());
        }
        Ok(Rebalance {
            common: Common::read(matches),
            protocol: get(matches, "protocol", Protocol::Classic),
            group: get(matches, "group", String::new()),
            topic: get(matches, "topic", String::new()),
            partitions: get(matches, "partitions", i32::try_from(members).unwrap_or(i32::MAX)),
            replication_factor: get(matches, "replication-factor", -1),
            members: usize::try_from(members).unwrap_or(usize::MAX),
            rounds: get(matches, "rounds", 1),
            heartbeat,
            session_ms: get(matches, "session-timeout-ms", 45_000),
        })
    }

    fn member(&self, number: usize) -> Member {
        let manner = Manner {
            group: self.group.clone(),
            topic: self.topic.clone(),
            partitions: self.partitions,
            session_ms: self.session_ms,
            heartbeat: nanos(self.heartbeat),
            rebalance_ms: REBALANCE_MS,
        };
        match self.protocol {
            Protocol::Classic => Member::Classic(Classic::new(manner)),
            Protocol::Consumer => {
                // A group may know the members of an earlier run.
                let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
                Member::Consumer(Consumer::new(manner, format!("hayate-perf-{began}-{number}")))
            }
        }
    }

    /// The members, connected to their coordinator at `address`.
    fn party(&self, clock: Clock, address: &str) -> Result<Party, PerfError> {
        let seat = |number| Ok(Seat { link: Link::open(address, &caller())?, member: self.member(number) });
        let seats: Result<Vec<Seat>, PerfError> = (0..self.members).map(seat).collect();
        Ok(Party::new(clock, seats?, self.partitions))
    }
}

/// How long the steps of a round took, in nanoseconds; those that were done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Round {
    /// From the first join of an empty group to the last assignment.
    all_join: Option<u64>,
    /// From when one leaves until the last of the others has its assignment.
    one_leaves: Option<u64>,
    /// From when one joins until the last of all has its assignment.
    one_joins: Option<u64>,
}

impl Round {
    fn steps(&self) -> [(&'static str, Option<u64>); 3] {
        [("all_join", self.all_join), ("one_leaves", self.one_leaves), ("one_joins", self.one_joins)]
    }

    fn line(&self) -> String {
        let told = self.steps().map(|(name, nanos)| {
            let ms =
                nanos.map_or_else(|| "not done".to_owned(), |nanos| format!("{:.3} ms", nanos as f64 / 1e6));
            format!("{} {ms}", name.replace('_', " "))
        });
        told.join(", ")
    }

    fn told(&self) -> Value {
        self.steps()
            .into_iter()
            .map(|(name, nanos)| (name.to_owned(), json!(nanos.map(|nanos| nanos as f64 / 1e6))))
            .collect()
    }
}

/// Goes through one round, as far as it can.
fn play(clock: Clock, party: &mut Party, number: u64, round: &mut Round) -> Result<(), PerfError> {
    let last = party.seats.len() - 1;
    let began = clock.now();
    party.seats.iter_mut().for_each(|seat| seat.member.join());
    let (generation, at) = party.settle(0..last + 1, i32::MIN, began + PATIENCE)?;
    round.all_join = Some(at.saturating_sub(began));

    let share = (number as f64 * GOLDEN).fract();
    let pause = |party: &Party| clock.now() + (party.seats[0].member.heartbeat() as f64 * share) as u64;
    party.idle(pause(party))?;
    let began = clock.now();
    party.seats[last].member.leave();
    let (generation, at) = party.settle(0..last, generation, began + PATIENCE)?;
    round.one_leaves = Some(at.saturating_sub(began));

    party.idle(pause(party))?;
    let began = clock.now();
    party.seats[last].member.join();
    let (_, at) = party.settle(0..last + 1, generation, began + PATIENCE)?;
    round.one_joins = Some(at.saturating_sub(began));
    party.disband(clock.now() + PATIENCE)
}

/// The steps over all rounds, by name.
fn gauges(rounds: &[Round]) -> [(&'static str, Gauge); 3] {
    let gauge = |step: fn(&Round) -> Option<u64>| {
        let mut gauge = Gauge::default();
        for nanos in rounds.iter().filter_map(step) {
            gauge.note(nanos, 1);
            gauge.records += 1;
        }
        gauge
    };
    [
        ("all_join", gauge(|round| round.all_join)),
        ("one_leaves", gauge(|round| round.one_leaves)),
        ("one_joins", gauge(|round| round.one_joins)),
    ]
}

impl Job for Rebalance {
    fn run(&self) -> Result<(), PerfError> {
        let mut document = document("rebalance", self, environment());
        raise_descriptors(self.members)?;
        let mut cluster = Cluster::open(&self.common.bootstrap, &caller())?;
        cluster.topic(&Wanted {
            name: self.topic.clone(),
            partitions: Some(self.partitions),
            replication_factor: self.replication_factor,
            configs: Vec::new(),
        })?;
        let found = Admin::open(&self.common.bootstrap)?.coordinators(std::slice::from_ref(&self.group))?;
        let missing = || PerfError::Impossible(format!("group {} has no coordinator", self.group));
        let coordinator = found.get(&self.group).ok_or_else(missing)?;
        let clock = Clock::start();
        sleep_exactly();
        let mut party = self.party(clock, coordinator)?;
        let mut processes = self.common.watched();
        let mut rounds = Vec::new();
        let ended = self.rounds(clock, &mut party, &mut processes, &mut rounds);
        let ended = ended.and(self.clean(clock, &mut party, coordinator));
        let seconds = clock.now() as f64 / SECOND as f64;
        self.tell(&rounds, &processes);
        for (name, gauge) in gauges(&rounds) {
            document.set(name, counted::side("rounds", &gauge, seconds));
        }
        document.set("rounds", rounds.iter().map(Round::told).collect());
        document.set("processes", processes.iter().map(Watched::whole).collect());
        self.common.write(&document)?;
        ended
    }
}

impl Rebalance {
    fn rounds(
        &self,
        clock: Clock,
        party: &mut Party,
        processes: &mut [Watched],
        rounds: &mut Vec<Round>,
    ) -> Result<(), PerfError> {
        for number in 0..self.rounds {
            let mut round = Round::default();
            let ended = play(clock, party, number, &mut round);
            processes.iter_mut().for_each(|process| drop(process.interval(1.0)));
            let seconds = clock.now() as f64 / SECOND as f64;
            eprintln!("{seconds:6.1} s  round {}: {}", number + 1, round.line());
            rounds.push(round);
            ended?;
        }
        Ok(())
    }

    /// Lets nobody and nothing be left of the group.
    fn clean(&self, clock: Clock, party: &mut Party, coordinator: &str) -> Result<(), PerfError> {
        party.disband(clock.now() + LEAVING_PATIENCE)?;
        let coordinator = coordinator.to_owned();
        Admin::open(&[coordinator])?.delete_groups(std::slice::from_ref(&self.group))
    }

    fn tell(&self, rounds: &[Round], processes: &[Watched]) {
        println!("{} members, {} partitions, {} rounds", self.members, self.partitions, rounds.len());
        for (name, gauge) in gauges(rounds) {
            print!("{}", counted::percentiles(&name.replace('_', " "), &gauge));
        }
        processes.iter().for_each(|process| println!("{process}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, Rebalance, Round, command, gauges};

    fn read(line: &str) -> Result<Rebalance, String> {
        let words = std::iter::once("rebalance").chain(line.split_whitespace());
        Rebalance::read(&command().try_get_matches_from(words).map_err(|error| error.to_string())?)
    }

    #[test]
    fn what_is_not_said_is_as_kafkas_clients_have_it() {
        let asked = read("--members 12").expect("good");
        assert_eq!(
            (asked.heartbeat.as_secs(), asked.session_ms, asked.protocol),
            (3, 45_000, Protocol::Classic)
        );
        assert_eq!((asked.partitions, asked.members), (12, 12));
        assert_eq!(read("--partitions 3 --protocol consumer").expect("good").partitions, 3);
        for line in ["--members 1", "--protocol new", "--rounds 0", "--heartbeat-interval-ms 0"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn steps_that_were_not_done_do_not_count() {
        let whole =
            Round { all_join: Some(3_000_000), one_leaves: Some(1_000_000), one_joins: Some(2_000_000) };
        let half = Round { all_join: Some(5_000_000), ..Round::default() };
        let counts = gauges(&[whole, half]).map(|(name, gauge)| (name, gauge.records));
        assert_eq!(counts, [("all_join", 2), ("one_leaves", 1), ("one_joins", 1)]);
        assert_eq!(half.line(), "all join 5.000 ms, one leaves not done, one joins not done");
        assert!(half.told()["one_leaves"].is_null() && half.told()["all_join"] == 5.0);
    }
}
