//! `hayate-perf connections`: opens many connections at a fixed rate, holds them, and asks at the end which are alive.

pub mod crowd;
pub mod dial;
pub mod limits;

use crate::PerfError;
use crate::cli::Job;
use crate::cli::options::{get, many, option, seconds};
use crate::clock::{Clock, SECOND};
use crate::gauge::Gauge;
use crate::machine::{Watched, environment, process_use};
use crate::pace::Pace;
use crate::run::caller;
use crate::trial::wait::sleep_exactly;
use crate::trial::{Common, counted, document, finite_rate, nanos};
use clap::{ArgMatches, Command, value_parser};
use crowd::{Crowd, Route};
use hayate_net::client::blocking::Connection;
use kafka_protocol::messages::ApiVersionsRequest;
use serde_json::{Value, json};
use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

/// What is counted.
const NOUN: &str = "connections";
/// A run that reaches less of its rate than this did not keep it, unless it is late by little.
const KEPT_SHARE: f64 = 0.99;
const LATE_SECONDS: f64 = 0.1;

/// What connections are asked for.
#[derive(Clone, Debug)]
pub struct Connections {
    common: Common,
    connections: usize,
    connect_rate: f64,
    hold: Duration,
    local_addresses: Vec<IpAddr>,
}

/// The subcommand.
pub fn command() -> Command {
    Command::new("connections")
        .about("Open connections and hold them; from when one was meant to be opened until its ApiVersions is answered")
        .args(Common::args())
        .args([
            option("connections", "N", "Connections; the brokers of --bootstrap-server have them in turn")
                .default_value("1000")
                .value_parser(value_parser!(u64).range(1..=10_000_000)),
            option("connect-rate", "N", "Connections that are opened in a second")
                .default_value("1000")
                .value_parser(finite_rate),
            option("hold", "SECONDS", "How long they are held once all are open")
                .default_value("10")
                .value_parser(seconds),
            option("local-address", "IP,…", "Where they come from, in turn; by default as the kernel chooses, and of loopback as many as are needed")
                .value_delimiter(',')
                .value_parser(value_parser!(IpAddr)),
        ])
}

impl Connections {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// None: it is as the other subcommands'.
    pub fn read(matches: &ArgMatches) -> Result<Connections, String> {
        Ok(Connections {
            common: Common::read(matches),
            connections: usize::try_from(get(matches, "connections", 1_u64)).unwrap_or(usize::MAX),
            connect_rate: get(matches, "connect-rate", 1.0),
            hold: get(matches, "hold", Duration::ZERO),
            local_addresses: many(matches, "local-address"),
        })
    }

    fn routes(&self) -> Result<Vec<Route>, PerfError> {
        let targets = &self.common.bootstrap;
        let each = self.connections.div_ceil(targets.len().max(1));
        let ports = limits::ports();
        let route = |address: &String| {
            let unknown = |why: String| PerfError::Impossible(format!("{address} cannot be reached: {why}"));
            let mut found = address.to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
            let target = found.next().ok_or_else(|| unknown("the name has no address".to_owned()))?;
            Ok(Route { target, sources: limits::sources(target, each, ports, &self.local_addresses)? })
        };
        targets.iter().map(route).collect()
    }

    /// The version of `ApiVersions` that all brokers know.
    fn version(&self) -> Result<i16, PerfError> {
        let mut version = i16::MAX;
        for address in &self.common.bootstrap {
            let (_, _, versions) = Connection::open(address, &caller())?.into_parts();
            let common = versions.pick::<ApiVersionsRequest>();
            version = version.min(common.map_err(|cause| crate::error::broke(address, &cause))?);
        }
        Ok(version)
    }
}

/// A process, its memory before and with the connections.
struct Process {
    watched: Watched,
    pid: u32,
    rss_before: Option<u64>,
    rss_held: Option<u64>,
}

impl Process {
    fn begin(pid: u32) -> Process {
        let rss_before = process_use(pid).map(|used| used.rss_bytes);
        Process { watched: Watched::begin(pid), pid, rss_before, rss_held: None }
    }

    fn bytes_a_connection(&self, connections: usize) -> Option<f64> {
        Some((self.rss_held? as f64 - self.rss_before? as f64) / connections.max(1) as f64)
    }

    fn whole(&self, connections: usize) -> Value {
        let mut told = self.watched.whole();
        told["rss_before_bytes"] = json!(self.rss_before);
        told["rss_held_bytes"] = json!(self.rss_held);
        told["bytes_a_connection"] = json!(self.bytes_a_connection(connections));
        told
    }
}

/// What became of it.
struct Became {
    start: u64,
    /// What came before is told.
    told_until: u64,
    /// Connect and `ApiVersions`.
    opened: Gauge,
    opening_seconds: f64,
    held: usize,
    alive: Gauge,
    asking_seconds: f64,
    processes: Vec<Process>,
    intervals: Vec<Value>,
}

impl Job for Connections {
    fn run(&self) -> Result<(), PerfError> {
        let environment = environment();
        limits::raise_descriptors(self.connections)?;
        let (routes, version) = (self.routes()?, self.version()?);
        let clock = Clock::start();
        let mut crowd = Crowd::new(clock, routes, version)?;
        let mut became = Became {
            start: clock.now(),
            told_until: clock.now(),
            opened: Gauge::default(),
            opening_seconds: 0.0,
            held: 0,
            alive: Gauge::default(),
            asking_seconds: 0.0,
            processes: self.common.pids.iter().map(|pid| Process::begin(*pid)).collect(),
            intervals: Vec::new(),
        };
        let ended = self.measure(clock, &mut crowd, &mut became);
        print!("{}", self.summary(&crowd, &became));
        self.write(&crowd, &became, environment)?;
        ended.and_then(|()| self.verdict(&crowd, &became))
    }
}

impl Connections {
    fn measure(&self, clock: Clock, crowd: &mut Crowd, became: &mut Became) -> Result<(), PerfError> {
        sleep_exactly();
        let seconds_since = |since: u64, at: u64| at.saturating_sub(since).max(1) as f64 / SECOND as f64;
        became.start = clock.now();
        let pace = Pace::Open { start: became.start, per_second: self.connect_rate };
        let opened =
            crowd.open(self.connections, pace, &mut |crowd| became.close("open", clock.now(), crowd));
        became.close("open", clock.now(), crowd);
        became.opening_seconds = seconds_since(became.start, opened?);
        let held = crowd.hold(nanos(self.hold), &mut |crowd| became.close("hold", clock.now(), crowd));
        became.held = crowd.present;
        for process in &mut became.processes {
            process.rss_held = process_use(process.pid).map(|used| used.rss_bytes);
        }
        held?;
        let asking = clock.now();
        let asked = crowd.ask_all(&mut |crowd| became.close("alive", clock.now(), crowd));
        became.close("alive", clock.now(), crowd);
        became.asking_seconds = seconds_since(asking, clock.now());
        asked
    }

    fn summary(&self, crowd: &Crowd, became: &Became) -> String {
        let mut text = counted::summary("open", NOUN, &became.opened, became.opening_seconds);
        text += &format!(
            "held for {:.1} s: {} of {}; alive at the end: {}\n",
            self.hold.as_secs_f64(),
            became.held,
            became.opened.records,
            became.alive.records
        );
        text += &counted::percentiles("  latency of the answer", &became.alive);
        for (cause, count) in &crowd.lost {
            text += &format!("lost {count}: {cause}\n");
        }
        for process in &became.processes {
            text += &format!("{}", process.watched);
            if let Some(bytes) = process.bytes_a_connection(became.held) {
                text += &format!(", {:.2} KiB a connection", bytes / 1024.0);
            }
            text += "\n";
        }
        text
    }

    fn write(&self, crowd: &Crowd, became: &Became, environment: Value) -> Result<(), PerfError> {
        let mut document = document("connections", self, environment);
        document.set("asked", json!(self.connections));
        document.set("open", counted::side(NOUN, &became.opened, became.opening_seconds));
        document.set("held", json!(became.held));
        document.set("alive", counted::side(NOUN, &became.alive, became.asking_seconds.max(1e-9)));
        document.set("lost", json!(crowd.lost));
        let processes = became.processes.iter().map(|process| process.whole(became.held)).collect();
        document.set("processes", processes);
        document.set("intervals", Value::Array(became.intervals.clone()));
        self.common.write(&document)
    }

    fn verdict(&self, crowd: &Crowd, became: &Became) -> Result<(), PerfError> {
        let asked = self.connections as u64;
        let why = crowd.lost.iter().max_by_key(|(_, count)| **count).map(|(cause, _)| cause.as_str());
        let why = why.unwrap_or("no reason is known");
        if became.opened.records < asked {
            let opened = became.opened.records;
            return Err(PerfError::Incomplete(format!("{opened} of {asked} connections were opened: {why}")));
        }
        if became.alive.records < asked {
            let alive = became.alive.records;
            return Err(PerfError::Incomplete(format!(
                "{alive} of {asked} connections were alive at the end: {why}"
            )));
        }
        let due_seconds = (asked - 1) as f64 / self.connect_rate;
        if became.opening_seconds > due_seconds / KEPT_SHARE + LATE_SECONDS {
            let kept = asked as f64 / became.opening_seconds;
            return Err(PerfError::Incomplete(format!(
                "the rate was not kept: {kept:.0} of {:.0} connections/s",
                self.connect_rate
            )));
        }
        Ok(())
    }
}

impl Became {
    /// Ends an interval of a phase: tells of it, and adds it to all.
    fn close(&mut self, phase: &'static str, now: u64, crowd: &mut Crowd) {
        let gauge = crowd.gauge.take();
        let seconds = now.saturating_sub(self.told_until).max(1) as f64 / SECOND as f64;
        self.told_until = now;
        let lost: u64 = crowd.lost.values().sum();
        let at = now.saturating_sub(self.start) as f64 / SECOND as f64;
        let line = match phase {
            "hold" => "hold".to_owned(),
            phase => counted::line(phase, NOUN, &gauge, seconds),
        };
        eprintln!("{at:6.1} s  {line}, {} there, {lost} lost", crowd.present);
        let processes: Value =
            self.processes.iter_mut().map(|process| process.watched.interval(seconds)).collect();
        self.intervals.push(json!({
            "phase": phase,
            "until_seconds": at,
            "seconds": seconds,
            "connections": gauge.records,
            "present": crowd.present,
            "lost": lost,
            "processes": processes,
        }));
        match phase {
            "alive" => self.alive.add(&gauge),
            _ => self.opened.add(&gauge),
        }
    }
}
