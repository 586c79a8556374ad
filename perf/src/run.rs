//! A run from its plan to its report: connects, starts the load threads, gathers what they tell, writes it down.

use crate::PerfError;
use crate::cli::{Plan, Workload};
use crate::clock::{Clock, SECOND};
use crate::cluster::{Cluster, EARLIEST, Found, LATEST, Wanted};
use crate::gauge::Gauge;
use crate::link::Link;
use crate::load::thread::{Figures, INTERVAL, Run, Shared, Side, Worker, drive};
use crate::load::{consumer, producer};
use crate::machine::{ProcessUse, environment, process_use};
use crate::pace::Pace;
use crate::payload::Payload;
use crate::report::{Document, IntervalLog, line, side, summary};
use hayate_net::client::blocking::Caller;
use hayate_storage::batch::scan::Checksums;
use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Between the last connection and the first record.
const LEAD: u64 = SECOND / 5;
/// How long after an interval its figures are awaited.
const TELLING: u64 = INTERVAL / 10;
/// Figures of threads that wait to be gathered.
const FIGURES_MAX: usize = 1024;
/// Bytes that a fetch may bring: Kafka's `fetch.max.bytes`.
const FETCH_BYTES_MAX: i32 = 50 << 20;
/// How long threads may be silent before a run is given up: more than their grace.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A run that reaches less of its rate than this did not keep it.
const KEPT_SHARE: f64 = 0.99;

fn caller() -> Caller {
    Caller {
        client_id: "hayate-perf".to_owned(),
        software: ("hayate-perf", env!("CARGO_PKG_VERSION")),
        connect_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
    }
}

/// Does what a plan asks for.
///
/// # Errors
/// [`PerfError`]; what was measured by then is written all the same.
pub fn run(plan: &Plan) -> Result<(), PerfError> {
    let mut cluster = Cluster::open(&plan.bootstrap, &caller())?;
    let found = match plan.workload.produces() {
        true => cluster.topic(&Wanted {
            name: plan.topic.clone(),
            partitions: plan.partitions,
            replication_factor: plan.replication_factor,
            configs: plan.topic_configs.clone(),
        })?,
        false => cluster.existing(&plan.topic)?,
    };
    let mut prepared = Prepared { plan, clock: Clock::start(), cluster, found, threads: BTreeMap::new() };
    let times = prepared.connect()?;
    let before: Vec<Option<ProcessUse>> = plan.pids.iter().map(|pid| process_use(*pid)).collect();
    let mut gathered = prepared.start(times).gather();
    let wrong = gathered.wrong.take();
    let reported = gathered.report(plan, &before);
    wrong.map_or(reported, Err)
}

/// When a run measures, in nanoseconds of its clock.
#[derive(Clone, Copy, Debug)]
struct Times {
    start: u64,
    measured_from: u64,
    end: u64,
}

struct Prepared<'a> {
    plan: &'a Plan,
    clock: Clock,
    cluster: Cluster,
    found: Found,
    /// The connections of each load thread, by its number: producers have the first ones.
    threads: BTreeMap<usize, Vec<Worker>>,
}

/// Partitions by their leader.
type ByLeader = BTreeMap<i32, Vec<i32>>;

impl<'a> Prepared<'a> {
    /// Opens all connections, and only then says when it begins.
    fn connect(&mut self) -> Result<Times, PerfError> {
        let mut links = Vec::new();
        if self.plan.workload.produces() {
            for number in 0..self.plan.producers {
                links.push((
                    number,
                    true,
                    self.links(share(self.found.leaders.keys().copied(), number, self.plan.producers))?,
                ));
            }
        }
        if self.plan.workload.consumes() {
            for number in 0..self.plan.consumers {
                links.push((
                    number,
                    false,
                    self.links(self.found.leaders.keys().copied().skip(number).step_by(self.plan.consumers))?,
                ));
            }
        }
        let starts = match self.plan.workload {
            Workload::Produce => BTreeMap::new(),
            Workload::Consume => self.cluster.offsets(&self.found, EARLIEST)?,
            Workload::EndToEnd => self.cluster.offsets(&self.found, LATEST)?,
        };
        let ends = match self.plan.workload {
            Workload::Consume => self.cluster.offsets(&self.found, LATEST)?,
            Workload::Produce | Workload::EndToEnd => BTreeMap::new(),
        };
        let times = self.times();
        for (number, produces, links) in links {
            for (link, partitions) in links {
                let side = match produces {
                    true => Side::Producer(self.producer(number, &link, partitions, times)?),
                    false => Side::Consumer(self.consumer(&link, &partitions, times, &starts, &ends)?),
                };
                let thread = number % self.plan.threads + if produces { 0 } else { self.plan.threads };
                self.threads.entry(thread).or_default().push(Worker { link, side });
            }
        }
        Ok(times)
    }

    fn times(&self) -> Times {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 4);
        let start = self.clock.now() + LEAD;
        // What a topic holds is read once, and each record counts.
        let warm_up = if self.plan.workload == Workload::Consume { 0 } else { nanos(self.plan.warm_up) };
        let measured_from = start + warm_up;
        Times { start, measured_from, end: measured_from + nanos(self.plan.duration) }
    }

    /// A connection to each leader of some partitions.
    fn links(&self, partitions: impl IntoIterator<Item = i32>) -> Result<Vec<(Link, Vec<i32>)>, PerfError> {
        let mut by_leader = ByLeader::new();
        for partition in partitions {
            by_leader.entry(self.found.leaders[&partition]).or_default().push(partition);
        }
        let open =
            |(leader, partitions)| Ok((Link::open(self.cluster.address(leader)?, &caller())?, partitions));
        by_leader.into_iter().map(open).collect()
    }

    fn producer(
        &mut self,
        number: usize,
        link: &Link,
        partitions: Vec<i32>,
        times: Times,
    ) -> Result<producer::Producer, PerfError> {
        let plan = self.plan;
        let lanes_in_all = plan.producers.max(self.found.leaders.len());
        let id = if plan.idempotence { Some(self.cluster.producer_id()?) } else { None };
        let manner = producer::Manner {
            acks: plan.acks,
            batch_bytes: plan.batch_bytes,
            linger: u64::try_from(plan.linger.as_nanos()).unwrap_or(u64::MAX),
            in_flight_max: plan.in_flight_max,
            request_bytes_max: plan.request_bytes_max,
            timeout_ms: 30_000,
            codec: plan.codec,
            keys: plan.keys,
            end: times.end,
            measured_from: times.measured_from,
        };
        let lane = |partition: i32| {
            let Some(rate) = plan.rate else { return (partition, Pace::Closed { start: times.start }) };
            let per_second = rate / lanes_in_all as f64;
            // Lanes are out of step, so that records come one by one.
            let step = SECOND as f64 / rate;
            let is_sharer = lanes_in_all == plan.producers;
            let place = if is_sharer { number } else { partition.unsigned_abs() as usize };
            (partition, Pace::Open { start: times.start + (step * place as f64) as u64, per_second })
        };
        let payload = Payload::new(plan.sizes, plan.random, plan.seed + number as u64);
        let (topic, lanes) = (self.found.topic.clone(), partitions.into_iter().map(lane));
        let version = self.version::<ProduceRequest>(link, 13)?;
        Ok(producer::Producer::new(topic, version, manner, id, payload, lanes))
    }

    fn consumer(
        &self,
        link: &Link,
        partitions: &[i32],
        times: Times,
        starts: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) -> Result<consumer::Consumer, PerfError> {
        let plan = self.plan;
        let manner = consumer::Manner {
            bytes_min: plan.fetch_bytes_min,
            wait_ms_max: plan.fetch_wait_ms_max,
            bytes_max: FETCH_BYTES_MAX,
            partition_bytes_max: plan.partition_fetch_bytes_max,
            checksums: if plan.check_crcs { Checksums::Verify } else { Checksums::Trust },
            measure: match plan.workload {
                Workload::EndToEnd => consumer::Measure::EndToEnd { from: times.measured_from },
                Workload::Consume | Workload::Produce => consumer::Measure::Fetches,
            },
        };
        let lane =
            |number: &i32| (*number, starts.get(number).copied().unwrap_or(0), ends.get(number).copied());
        let version = self.version::<FetchRequest>(link, 18)?;
        let lanes = partitions.iter().map(lane);
        Ok(consumer::Consumer::new(self.found.topic.clone(), version, manner, lanes))
    }

    /// The highest version that both sides know, one by names where the topic has no id.
    fn version<R: kafka_protocol::protocol::Request>(&self, link: &Link, max: i16) -> Result<i16, PerfError> {
        let max = if self.found.topic.id.is_nil() { 12 } else { max };
        let ours = hayate_net::wire::table::Versions { min: R::VERSIONS.min, max: max.min(R::VERSIONS.max) };
        let missing = || PerfError::Impossible(format!("{}: too old for this", link.address()));
        link.versions.common(R::KEY, ours).ok_or_else(missing)
    }

    /// Starts the threads.
    fn start(self, times: Times) -> Running {
        let count = |worker: &&Worker| matches!(worker.side, Side::Producer(_));
        let producers = self.threads.values().flatten().filter(count).count() as u64;
        let shared = Arc::new(Shared { producers: AtomicU64::new(producers), ..Shared::default() });
        let (told, figures) = flume::bounded(FIGURES_MAX);
        let run = Run {
            clock: self.clock,
            end: times.end,
            follows: self.plan.workload == Workload::EndToEnd,
            shared: shared.clone(),
            figures: told,
        };
        let threads = self.threads.len();
        for (number, (_, workers)) in self.threads.into_iter().enumerate() {
            let (run, core) =
                (run.clone(), self.plan.cores.get(number % self.plan.cores.len().max(1)).copied());
            std::thread::spawn(move || {
                if let Some(id) = core {
                    core_affinity::set_for_current(core_affinity::CoreId { id });
                }
                drive(&run, workers);
            });
        }
        Running {
            workload: self.plan.workload,
            clock: self.clock,
            times,
            shared,
            figures,
            threads,
            hlog: self.plan.hlog.as_deref().map(IntervalLog::new),
        }
    }
}

/// Number `number`'s part of the partitions when `count` share them; when there are more sharers than partitions, several have one.
fn share(partitions: impl ExactSizeIterator<Item = i32> + Clone, number: usize, count: usize) -> Vec<i32> {
    let all = partitions.len();
    if count >= all {
        return partitions.skip(number % all.max(1)).take(1).collect();
    }
    partitions.skip(number).step_by(count).collect()
}

struct Running {
    workload: Workload,
    clock: Clock,
    times: Times,
    shared: Arc<Shared>,
    figures: flume::Receiver<Figures>,
    threads: usize,
    hlog: Option<IntervalLog>,
}

/// What threads have told.
struct Gathered {
    workload: Workload,
    times: Times,
    produced: Gauge,
    consumed: Gauge,
    intervals: Vec<Value>,
    ended_at: u64,
    wrong: Option<PerfError>,
    hlog: Option<IntervalLog>,
}

impl Running {
    /// Gathers until every thread has come to its end, and tells of each second.
    fn gather(self) -> Gathered {
        let mut gathered = Gathered {
            workload: self.workload,
            times: self.times,
            produced: Gauge::default(),
            consumed: Gauge::default(),
            intervals: Vec::new(),
            ended_at: 0,
            wrong: None,
            hlog: self.hlog,
        };
        let mut left = self.threads;
        let mut until = (self.clock.now() / INTERVAL + 1) * INTERVAL;
        let (mut produced, mut consumed) = (Gauge::default(), Gauge::default());
        while left > 0 {
            let wait = (until + TELLING).saturating_sub(self.clock.now());
            match self.figures.recv_timeout(Duration::from_nanos(wait)) {
                Ok(figures) => {
                    produced.add(&figures.produced);
                    consumed.add(&figures.consumed);
                    if let Some(ended) = figures.ended {
                        left -= 1;
                        if let Err(error) = ended {
                            gathered.wrong.get_or_insert(error);
                        }
                    }
                }
                Err(flume::RecvTimeoutError::Disconnected) => break,
                Err(flume::RecvTimeoutError::Timeout) => {}
            }
            let now = self.clock.now();
            if now >= until + TELLING || left == 0 {
                gathered.close(until - INTERVAL, until.min(now), produced.take(), consumed.take());
                until += INTERVAL;
            }
            if now > self.times.end + u64::try_from(SILENCE_MAX.as_nanos()).unwrap_or(u64::MAX) {
                let silent = format!("{left} load threads do not come to their end");
                gathered.wrong.get_or_insert(PerfError::Incomplete(silent));
                break;
            }
        }
        self.shared.stop.store(true, Ordering::Release);
        gathered.ended_at = self.clock.now();
        gathered
    }
}

impl Gathered {
    fn sides(&self) -> [(&'static str, bool, &Gauge); 2] {
        [
            ("produce", self.workload.produces(), &self.produced),
            (
                if self.workload == Workload::EndToEnd { "e2e" } else { "consume" },
                self.workload.consumes(),
                &self.consumed,
            ),
        ]
    }

    /// Ends an interval: tells of it, and adds it to all.
    fn close(&mut self, since: u64, now: u64, produced: Gauge, consumed: Gauge) {
        let seconds = now.saturating_sub(since).max(1) as f64 / SECOND as f64;
        let mut interval =
            json!({ "since_seconds": since.saturating_sub(self.times.start) as f64 / SECOND as f64 });
        let names = self.sides().map(|(name, takes_part, _)| (name, takes_part));
        for ((name, takes_part), gauge) in names.into_iter().zip([&produced, &consumed]) {
            if !takes_part {
                continue;
            }
            if !gauge.is_empty() {
                eprintln!(
                    "{:6.1} s  {}",
                    now.saturating_sub(self.times.start) as f64 / SECOND as f64,
                    line(name, gauge, seconds)
                );
            }
            interval[name] = side(gauge, seconds);
            if let Some(hlog) = &mut self.hlog {
                hlog.add(
                    Duration::from_nanos(since),
                    Duration::from_nanos(now.saturating_sub(since)),
                    name,
                    &gauge.latencies,
                );
            }
        }
        self.intervals.push(interval);
        self.produced.add(&produced);
        self.consumed.add(&consumed);
    }

    /// How long was measured: what a topic holds may be read sooner than the duration.
    fn seconds(&self) -> f64 {
        let end = if self.workload == Workload::Consume {
            self.ended_at.min(self.times.end)
        } else {
            self.times.end
        };
        end.saturating_sub(self.times.measured_from).max(1) as f64 / SECOND as f64
    }

    /// Prints the summary, and writes the files.
    fn report(&self, plan: &Plan, before: &[Option<ProcessUse>]) -> Result<(), PerfError> {
        let seconds = self.seconds();
        let mut document = Document::default();
        document.set("workload", json!(plan.workload.name()));
        document.set("plan", json!(format!("{plan:?}")));
        document.set("command", json!(std::env::args().collect::<Vec<_>>()));
        document.set("environment", environment());
        for (name, takes_part, gauge) in self.sides() {
            if takes_part {
                print!("{}", summary(name, gauge, seconds));
                document.set(name, side(gauge, seconds));
            }
        }
        document.set("processes", processes(plan, before));
        document.set("intervals", Value::Array(self.intervals.clone()));
        if let Some(path) = &plan.json {
            document.write(path)?;
        }
        if let Some(hlog) = &self.hlog {
            hlog.write()?;
        }
        self.judge(plan, seconds)
    }

    /// Whether all went as it was asked for.
    fn judge(&self, plan: &Plan, seconds: f64) -> Result<(), PerfError> {
        let refused = self.produced.refusals() + self.consumed.refusals();
        if refused > 0 {
            return Err(PerfError::Incomplete(format!("{refused} refusals: the figures are of the rest")));
        }
        let kept = self.produced.records as f64 / seconds;
        match plan.rate {
            Some(rate) if plan.workload.produces() && kept < rate * KEPT_SHARE => {
                Err(PerfError::Incomplete(format!("the rate was not kept: {kept:.0} of {rate:.0} records/s")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What processes have used since the run began.
fn processes(plan: &Plan, before: &[Option<ProcessUse>]) -> Value {
    let told = plan.pids.iter().zip(before).map(|(pid, before)| match (before, process_use(*pid)) {
        (Some(before), Some(after)) => {
            let cpu = after.cpu_seconds - before.cpu_seconds;
            let peak = after.peak_rss_bytes;
            println!(
                "process {pid}: {cpu:.2} CPU seconds, {:.1} MiB at most",
                peak as f64 / f64::from(1 << 20)
            );
            json!({ "pid": pid, "cpu_seconds": cpu, "peak_rss_bytes": peak })
        }
        _ => json!({ "pid": pid, "gone": true }),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn every_partition_has_a_sharer_and_every_sharer_a_partition() {
        for (partitions, count) in [(1, 1), (16, 1), (16, 5), (5, 16), (3, 3)] {
            let shares: Vec<Vec<i32>> = (0..count)
                .map(|number| share((0..partitions).collect::<Vec<_>>().into_iter(), number, count))
                .collect();
            assert!(shares.iter().all(|share| !share.is_empty()), "{partitions} of {count}: {shares:?}");
            let mut all: Vec<i32> = shares.concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), partitions as usize, "{partitions} of {count}: {shares:?}");
        }
    }
}
