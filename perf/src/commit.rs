//! `hayate-perf commit`: offset commits of groups without members at a fixed rate, and producing beside them.

pub mod committer;
pub mod thread;

use crate::PerfError;
use crate::cli::Job;
use crate::cli::options::{get, option, seconds};
use crate::clock::{Clock, SECOND};
use crate::cluster::{Cluster, Wanted};
use crate::gauge::Gauge;
use crate::link::Link;
use crate::machine::{Watched, environment};
use crate::pace::Pace;
use crate::plan::{self, Plan, Workload};
use crate::report;
use crate::run::{Outcome, caller, measure};
use crate::trial::admin::Admin;
use crate::trial::{Common, counted, document, nanos, rate};
use clap::{ArgMatches, Command, value_parser};
use committer::{Committer, Manner};
use kafka_protocol::messages::OffsetCommitRequest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use thread::{Run, Worker, drive};

/// What is counted.
const NOUN: &str = "offsets";
/// Between the last connection and the first commit.
const LEAD: u64 = SECOND / 5;
/// A run that reaches less of its rate than this did not keep it.
const KEPT_SHARE: f64 = 0.99;
/// How long after an interval its figures are awaited.
const TELLING: u64 = SECOND / 10;
/// Figures of threads that wait to be gathered.
const FIGURES_MAX: usize = 1024;
/// Bytes of the records that are produced beside.
const RECORD_BYTES: usize = 1024;

/// What commits are asked for.
#[derive(Clone, Debug)]
pub struct Commit {
    common: Common,
    topic: String,
    replication_factor: i16,
    /// Offsets a second of all groups together, 0 for none; infinite: as many as can be.
    rate: f64,
    groups: usize,
    partitions: i32,
    connections: usize,
    threads: usize,
    in_flight_max: usize,
    produce_rate: Option<f64>,
    warm_up: Duration,
    duration: Duration,
}

/// The subcommand.
pub fn command() -> Command {
    let count = |max| value_parser!(u64).range(1..=max);
    Command::new("commit")
        .about("Commit offsets; from when a request was meant to be sent until it is answered")
        .args(Common::args())
        .args([
            option("topic", "NAME", "The topic, made if it is missing").default_value("hayate-perf-commit"),
            option("replication-factor", "N", "Of a topic that is made; -1: the broker's default")
                .default_value("-1")
                .allow_negative_numbers(true)
                .value_parser(value_parser!(i16)),
            option(
                "rate",
                "N|max",
                "Offsets a second, of all groups; 0: none, only what --produce-rate says",
            )
            .default_value("max")
            .value_parser(rate),
            option("groups", "N", "Groups, without members; each commits in turn")
                .default_value("100")
                .value_parser(count(1_000_000)),
            option("partitions", "N", "Partitions of the topic, and offsets of a request")
                .default_value("1")
                .value_parser(value_parser!(i32).range(1..=100_000)),
            option("connections", "N", "Connections to each coordinator; they share the groups")
                .default_value("1")
                .value_parser(count(4096)),
            option("threads", "N", "Load threads").default_value("1").value_parser(count(4096)),
            option("max-in-flight", "N", "Requests of a connection that may await their answers")
                .default_value("100")
                .value_parser(count(1024)),
            option(
                "produce-rate",
                "N",
                "Records of 1 KiB a second, produced beside on a connection of their own",
            )
            .value_parser(crate::trial::finite_rate),
            option("duration", "SECONDS", "How long is measured").default_value("10").value_parser(seconds),
            option("warm-up", "SECONDS", "How long it goes before").default_value("2").value_parser(seconds),
        ])
}

impl Commit {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// What is mistaken, in one line.
    pub fn read(matches: &ArgMatches) -> Result<Commit, String> {
        let size = |name: &str| usize::try_from(get(matches, name, 1_u64)).unwrap_or(usize::MAX);
        let commit = Commit {
            common: Common::read(matches),
            topic: get(matches, "topic", String::new()),
            replication_factor: get(matches, "replication-factor", -1),
            rate: get(matches, "rate", f64::INFINITY),
            groups: size("groups"),
            partitions: get(matches, "partitions", 1),
            connections: size("connections"),
            threads: size("threads"),
            in_flight_max: size("max-in-flight"),
            produce_rate: matches.get_one("produce-rate").copied(),
            warm_up: get(matches, "warm-up", Duration::ZERO),
            duration: get(matches, "duration", Duration::from_secs(10)),
        };
        if commit.rate == 0.0 && commit.produce_rate.is_none() {
            return Err("--rate 0 and no --produce-rate: there is nothing to do".to_owned());
        }
        if commit.duration.is_zero() {
            return Err("--duration 0: there is nothing to measure".to_owned());
        }
        Ok(commit)
    }

    /// The load beside, as its own command line would have it.
    fn producing(&self) -> Result<Option<Plan>, PerfError> {
        let Some(rate) = self.produce_rate else { return Ok(None) };
        let words = [
            "produce".to_owned(),
            format!("--bootstrap-server={}", self.common.bootstrap.join(",")),
            format!("--topic={}", self.topic),
            format!("--rate={rate}"),
            format!("--record-size={RECORD_BYTES}"),
            "--linger-ms=0".to_owned(),
            format!("--warm-up={}", self.warm_up.as_secs_f64()),
            format!("--duration={}", self.duration.as_secs_f64()),
        ];
        let matches = plan::command(Workload::Produce).try_get_matches_from(words);
        let read = matches.map_err(|error| error.to_string());
        let read = read.and_then(|matches| plan::read(Workload::Produce, &matches));
        read.map(Some).map_err(PerfError::Impossible)
    }

    /// Connections, each with the groups that it commits for.
    fn connect(&self) -> Result<Vec<(Link, Vec<String>)>, PerfError> {
        if self.rate == 0.0 {
            return Ok(Vec::new());
        }
        let groups: Vec<String> = (0..self.groups).map(|number| format!("{}-{number}", self.topic)).collect();
        let coordinators = Admin::open(&self.common.bootstrap)?.coordinators(&groups)?;
        let shared = share(&coordinators, self.connections);
        let open = |(address, groups): (String, _)| Ok((Link::open(&address, &caller())?, groups));
        shared.into_iter().map(open).collect()
    }

    /// What each connection does, from `start` on.
    fn workers(&self, links: Vec<(Link, Vec<String>)>, start: u64) -> Result<Vec<Worker>, PerfError> {
        let measured_from = start + nanos(self.warm_up);
        let manner = Manner {
            topic: self.topic.clone(),
            partitions: self.partitions,
            in_flight_max: self.in_flight_max,
            end: measured_from + nanos(self.duration),
            measured_from,
        };
        let worker = |(number, (link, groups)): (usize, (Link, Vec<String>))| {
            let pace = self.pace(number, groups.len(), start);
            let version = link.versions.pick::<OffsetCommitRequest>();
            let version = version.map_err(|cause| crate::error::broke(link.address(), &cause))?;
            Ok(Worker { link, version, committer: Committer::new(groups, manner.clone(), pace) })
        };
        links.into_iter().enumerate().map(worker).collect()
    }

    /// The pace of a connection with so many of the groups; connections are out of step, so that requests come one by one. A run may have one
    /// request a connection more than its rate says, where that does not come out even.
    fn pace(&self, number: usize, groups: usize, start: u64) -> Pace {
        if self.rate.is_infinite() {
            return Pace::Closed { start };
        }
        let requests_per_second = self.rate / f64::from(self.partitions);
        let step = SECOND as f64 / requests_per_second * number as f64;
        let per_second = requests_per_second * groups as f64 / self.groups as f64;
        Pace::Open { start: start + (step as u64).min(nanos(self.duration) / 2), per_second }
    }
}

/// Splits groups over `connections` to each of their coordinators; who would have none is left out.
fn share(coordinators: &BTreeMap<String, String>, connections: usize) -> Vec<(String, Vec<String>)> {
    let mut by_address: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for (group, address) in coordinators {
        by_address.entry(address).or_default().push(group);
    }
    let mut shared = Vec::new();
    for (address, groups) in by_address {
        for number in 0..connections.min(groups.len()) {
            let some = groups.iter().skip(number).step_by(connections).map(|group| (*group).clone());
            shared.push((address.to_owned(), some.collect()));
        }
    }
    shared
}

/// What became of it.
struct Became {
    commits: Gauge,
    produced: Option<(Plan, Outcome)>,
    intervals: Vec<Value>,
    processes: Vec<Watched>,
    wrong: Option<PerfError>,
}

impl Job for Commit {
    fn run(&self) -> Result<(), PerfError> {
        let environment = environment();
        let mut cluster = Cluster::open(&self.common.bootstrap, &caller())?;
        cluster.topic(&Wanted {
            name: self.topic.clone(),
            partitions: Some(self.partitions),
            replication_factor: self.replication_factor,
            configs: Vec::new(),
        })?;
        let became = self.measure(self.connect()?)?;
        print!("{}", self.summary(&became));
        self.write(&became, environment)?;
        self.verdict(became)
    }
}

impl Commit {
    fn measure(&self, links: Vec<(Link, Vec<String>)>) -> Result<Became, PerfError> {
        let beside = self.producing()?;
        let clock = Clock::start();
        let start = clock.now() + LEAD;
        let workers = self.workers(links, start)?;
        let end = start + nanos(self.warm_up) + nanos(self.duration);
        let (told, figures) = flume::bounded(FIGURES_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let run = Run { clock, end, stop: stop.clone(), figures: told };
        let mut threads: BTreeMap<usize, Vec<Worker>> = BTreeMap::new();
        for (number, worker) in workers.into_iter().enumerate() {
            threads.entry(number % self.threads).or_default().push(worker);
        }
        let mut became = Became {
            commits: Gauge::default(),
            produced: None,
            intervals: Vec::new(),
            processes: self.common.watched(),
            wrong: None,
        };
        let beside = beside.map(|plan| std::thread::spawn(move || (measure(&plan), plan)));
        let handles: Vec<JoinHandle<()>> = threads
            .into_values()
            .map(|workers| {
                let run = run.clone();
                std::thread::spawn(move || drive(&run, workers))
            })
            .collect();
        drop(run);
        became.gather(clock, start, &figures);
        stop.store(true, Ordering::Release);
        handles.into_iter().for_each(|handle| became.joined(handle.join().ok()));
        if let Some(handle) = beside {
            became.produced_beside(handle.join().ok());
        }
        Ok(became)
    }

    fn summary(&self, became: &Became) -> String {
        let seconds = self.duration.as_secs_f64();
        let mut text = String::new();
        if self.rate > 0.0 {
            text += &counted::summary("commit", NOUN, &became.commits, seconds);
        }
        if let Some((_, outcome)) = &became.produced {
            text += &report::summary("produce", &outcome.produced, seconds);
        }
        became.processes.iter().fold(text, |text, process| format!("{text}{process}\n"))
    }

    fn write(&self, became: &Became, environment: Value) -> Result<(), PerfError> {
        let seconds = self.duration.as_secs_f64();
        let mut document = document("commit", self, environment);
        document.set("commit", counted::side(NOUN, &became.commits, seconds));
        if let Some((_, outcome)) = &became.produced {
            document.set("produce", report::side(&outcome.produced, seconds));
        }
        document.set("processes", became.processes.iter().map(Watched::whole).collect());
        document.set("intervals", Value::Array(became.intervals.clone()));
        self.common.write(&document)
    }

    fn verdict(&self, became: Became) -> Result<(), PerfError> {
        if let Some(wrong) = became.wrong {
            return Err(wrong);
        }
        let refused = became.commits.refusals();
        if refused > 0 {
            return Err(PerfError::Incomplete(format!(
                "{refused} offsets were refused: the figures are of the rest"
            )));
        }
        let due = self.rate * self.duration.as_secs_f64() * KEPT_SHARE;
        let request = f64::from(self.partitions);
        if self.rate.is_finite() && (became.commits.records as f64 + request) < due {
            let kept = became.commits.records as f64 / self.duration.as_secs_f64();
            return Err(PerfError::Incomplete(format!(
                "the rate was not kept: {kept:.0} of {:.0} offsets/s",
                self.rate
            )));
        }
        became.produced.map_or(Ok(()), |(plan, outcome)| outcome.verdict(&plan))
    }
}

impl Became {
    /// Gathers until every thread has come to its end, and tells of each second.
    fn gather(
        &mut self,
        clock: Clock,
        start: u64,
        figures: &flume::Receiver<(Gauge, Option<Result<(), PerfError>>)>,
    ) {
        let mut until = (clock.now() / SECOND + 1) * SECOND;
        let mut gauge = Gauge::default();
        loop {
            let wait = (until + TELLING).saturating_sub(clock.now());
            let (heard, is_over) = match figures.recv_timeout(Duration::from_nanos(wait)) {
                Ok(heard) => (Some(heard), false),
                Err(flume::RecvTimeoutError::Timeout) => (None, false),
                Err(flume::RecvTimeoutError::Disconnected) => (None, true),
            };
            if let Some((measured, ended)) = heard {
                gauge.add(&measured);
                if let Some(Err(error)) = ended {
                    self.wrong.get_or_insert(error);
                }
            }
            let now = clock.now();
            if is_over || now >= until + TELLING {
                self.close(start, until - SECOND, until.min(now), gauge.take());
                until += SECOND;
            }
            if is_over {
                return;
            }
        }
    }

    /// Ends an interval: tells of it, and adds it to all.
    fn close(&mut self, start: u64, since: u64, now: u64, gauge: Gauge) {
        let seconds = now.saturating_sub(since).max(1) as f64 / SECOND as f64;
        let from_start = |at: u64| at.saturating_sub(start) as f64 / SECOND as f64;
        if !gauge.is_empty() {
            eprintln!("{:6.1} s  {}", from_start(now), counted::line("commit", NOUN, &gauge, seconds));
        }
        let processes: Value = self.processes.iter_mut().map(|process| process.interval(seconds)).collect();
        self.intervals.push(json!({
            "since_seconds": from_start(since),
            "seconds": seconds,
            "commit": counted::side(NOUN, &gauge, seconds),
            "processes": processes,
        }));
        self.commits.add(&gauge);
    }

    fn joined(&mut self, ended: Option<()>) {
        if ended.is_none() {
            self.wrong.get_or_insert_with(|| PerfError::Incomplete("a load thread panicked".to_owned()));
        }
    }

    fn produced_beside(&mut self, ended: Option<(Result<Outcome, PerfError>, Plan)>) {
        match ended {
            Some((Ok(outcome), plan)) => self.produced = Some((plan, outcome)),
            Some((Err(error), _)) => drop(self.wrong.get_or_insert(error)),
            None => self.joined(None),
        }
        // Without commits nobody has looked at the processes since.
        self.processes.iter_mut().for_each(|process| drop(process.interval(1.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::{Commit, command, share};
    use crate::pace::Pace;
    use std::collections::BTreeMap;

    fn read(line: &str) -> Result<Commit, String> {
        let words = std::iter::once("commit").chain(line.split_whitespace());
        Commit::read(&command().try_get_matches_from(words).map_err(|error| error.to_string())?)
    }

    #[test]
    fn every_group_is_committed_for_by_one_connection_to_its_coordinator() {
        let coordinators: BTreeMap<String, String> =
            (0..10).map(|number| (format!("g{number}"), format!("broker{}", number % 3))).collect();
        for connections in [1, 2, 3, 20] {
            let shared = share(&coordinators, connections);
            let mut all: Vec<(String, String)> = shared
                .into_iter()
                .flat_map(|(address, groups)| groups.into_iter().map(move |group| (group, address.clone())))
                .collect();
            all.sort();
            assert_eq!(all, coordinators.clone().into_iter().collect::<Vec<_>>(), "{connections}");
        }
    }

    #[test]
    fn a_rate_of_offsets_is_one_of_requests_shared_by_groups() {
        let commit = read("--rate 1000 --partitions 5 --groups 10").expect("good");
        assert_eq!(commit.pace(0, 4, 7), Pace::Open { start: 7, per_second: 80.0 });
        assert_eq!(commit.pace(2, 6, 0), Pace::Open { start: 10_000_000, per_second: 120.0 });
        assert_eq!(read("--rate max").expect("good").pace(1, 1, 3), Pace::Closed { start: 3 });
    }

    #[test]
    fn mistakes_are_refused_and_the_load_beside_is_read() {
        for line in
            ["--rate 0", "--rate -1", "--groups 0", "--duration 0", "--produce-rate max", "--partitions 0"]
        {
            assert!(read(line).is_err(), "{line}");
        }
        let plan = read("--rate 0 --produce-rate 200 --duration 3").expect("good").producing();
        let plan = plan.expect("readable").expect("asked for");
        assert_eq!((plan.rate, plan.duration.as_secs(), plan.sizes.max), (Some(200.0), 3, 1024));
        assert!(read("").expect("good").producing().expect("none").is_none());
    }
}
