//! A comparison under way: brokers started and stopped, paused and woken; loads and limits, step by step.

use super::broker::Broker;
use super::figures::{Figure, figures};
use super::file::{self, Comparison};
use super::folder::Folder;
use super::interrupt::Interrupt;
use super::process::Process;
use super::processes;
use super::results::{Failure, Limit, Results, Sample, Started};
use super::turns::{Step, Turn, steps};
use super::words::{Values, words};
use crate::PerfError;
use crate::plan::Plan;
use crate::report::side;
use crate::run::{Outcome, measure};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often a signal is looked for while a load runs.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a limit's command may take to end when it is stopped.
const LIMIT_STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A turn whose load was under way.
struct Taken {
    sample: Sample,
    /// What did not go well.
    why: Option<PerfError>,
    /// Whether its figures count: the load came to its end.
    counts: bool,
}

/// The comparison.
pub struct Contest<'a> {
    comparison: &'a Comparison,
    interrupt: &'a Interrupt,
    folder: &'a Folder,
    brokers: BTreeMap<usize, Broker>,
    /// Targets that cannot go on, and why.
    given_up: BTreeMap<usize, String>,
    starts: BTreeMap<usize, i64>,
}

impl<'a> Contest<'a> {
    /// One whose brokers live below a folder.
    pub fn new(comparison: &'a Comparison, interrupt: &'a Interrupt, folder: &'a Folder) -> Contest<'a> {
        Contest {
            comparison,
            interrupt,
            folder,
            brokers: BTreeMap::new(),
            given_up: BTreeMap::new(),
            starts: BTreeMap::new(),
        }
    }

    /// Takes all steps. What went wrong in a turn is in the results.
    ///
    /// # Errors
    /// Why it came to its end before that: a target does not start at all, or a signal has come.
    pub fn hold(mut self, results: &mut Results) -> Result<(), PerfError> {
        let comparison = self.comparison;
        if !comparison.restart {
            for target in 0..comparison.targets.len() {
                self.begin(target, results)?;
                self.rest(target);
            }
        }
        let limits: Vec<bool> =
            comparison.workloads.iter().map(|workload| workload.limit.is_some()).collect();
        for step in steps(comparison.rounds, comparison.warm_up_rounds, comparison.targets.len(), &limits) {
            self.interrupt.check()?;
            match step {
                Step::Limit { round, workload } => self.limit(round, workload, results),
                Step::Turn(turn) => self.take(turn, results),
            }
            self.interrupt.check()?;
        }
        Ok(())
    }

    fn begin(&mut self, target: usize, results: &mut Results) -> Result<(), PerfError> {
        let broker = Broker::begin(&self.comparison.targets[target], self.folder, self.interrupt)?;
        if let Some(seconds) = broker.start_seconds {
            let number = self.starts.entry(target).and_modify(|number| *number += 1).or_insert(1);
            results.starts.push(Started { target, number: *number, seconds });
            eprintln!("{} serves after {seconds:.2} s", self.comparison.targets[target].name);
        }
        self.brokers.insert(target, broker);
        Ok(())
    }

    /// Its turn is over.
    fn rest(&mut self, target: usize) {
        if self.comparison.restart {
            self.brokers.remove(&target);
        } else if self.comparison.pause_others
            && let Some(broker) = self.brokers.get_mut(&target)
        {
            broker.pause();
        }
    }

    fn take(&mut self, turn: Turn, results: &mut Results) {
        let taken = match self.given_up.get(&turn.target) {
            Some(why) => Err(PerfError::Incomplete(format!("left out: {why}"))),
            None => self.turn(turn, results),
        };
        let (why, partial) = match taken {
            Ok(Taken { sample, why, counts: true }) => {
                self.tell(&sample);
                results.samples.push(sample);
                (why, Value::Null)
            }
            Ok(Taken { sample, why, counts: false }) => (why, sample.sides),
            Err(why) => (Some(why), Value::Null),
        };
        if let Some(why) = why {
            let Turn { round, workload, target } = turn;
            fail(Failure { round, workload, target: Some(target), why: why.to_string(), partial }, results);
        }
    }

    fn tell(&self, sample: &Sample) {
        let Turn { round, workload, target } = sample.turn;
        let figure = |figure| sample.figures.get(&figure).copied().unwrap_or(0.0);
        eprintln!(
            "round {round:2}  {}, {}: {:.0} records/s, {:.2} MB/s",
            self.comparison.targets[target].name,
            self.comparison.workloads[workload].name,
            figure(Figure::Records),
            figure(Figure::Megabytes)
        );
    }

    /// One turn, from waking the broker to letting it rest.
    fn turn(&mut self, turn: Turn, results: &mut Results) -> Result<Taken, PerfError> {
        if self.comparison.sync {
            nix::unistd::sync();
        }
        let woken = match self.brokers.get_mut(&turn.target) {
            Some(broker) => broker.wake(self.interrupt),
            None => self.begin(turn.target, results),
        };
        let taken = woken.and_then(|()| self.settle()).and_then(|()| self.loads(turn));
        self.rest_or_give_up(turn.target, taken.as_ref().err());
        taken
    }

    /// Lets a broker that was just woken or started do what it has missed.
    fn settle(&self) -> Result<(), PerfError> {
        let deadline = Instant::now() + Duration::from_secs_f64(self.comparison.settle_seconds);
        while Instant::now() < deadline {
            self.interrupt.check()?;
            std::thread::sleep(LOOK_EVERY.min(deadline.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// After a turn: a target whose broker has ended, or does not start, has no more.
    fn rest_or_give_up(&mut self, target: usize, trouble: Option<&PerfError>) {
        let ended = match self.brokers.get_mut(&target) {
            Some(broker) => broker.check().err().map(|why| why.to_string()),
            None => trouble.map(PerfError::to_string),
        };
        match ended {
            Some(why) => {
                self.brokers.remove(&target);
                self.given_up.insert(target, why);
            }
            None => self.rest(target),
        }
    }

    /// The loads of a turn on a topic of its own, which goes after them.
    fn loads(&self, turn: Turn) -> Result<Taken, PerfError> {
        let Turn { round, workload, target } = turn;
        let topic =
            format!("hayate-perf-compare-{}-{}-{workload}-{target}", std::process::id(), round_name(round));
        let broker = self.brokers.get(&target).ok_or_else(|| missing(target))?;
        let taken = self.loads_on(turn, broker, &topic);
        let deleted = broker.delete(&topic);
        taken.map(|taken| Taken { why: taken.why.or(deleted.err()), ..taken })
    }

    /// Those that go before, and the one that is measured.
    fn loads_on(&self, turn: Turn, broker: &Broker, topic: &str) -> Result<Taken, PerfError> {
        let workload = &self.comparison.workloads[turn.workload];
        for line in &workload.before {
            let plan = plan(line, topic, broker)?;
            self.measured(&plan)?.verdict(&plan)?;
        }
        let plan = plan(&workload.run, topic, broker)?;
        broker.pid.into_iter().for_each(processes::reset_peak_memory);
        let outcome = self.measured(&plan)?;
        let (sample, broke_off) = (sample(turn, &outcome), outcome.wrong.is_some());
        let is_empty = outcome.sides().all(|(_, gauge)| gauge.records == 0);
        let nothing = || is_empty.then(|| PerfError::Incomplete("nothing was measured".to_owned()));
        let why = outcome.verdict(&plan).err().or_else(nothing);
        Ok(Taken { sample, why, counts: !broke_off && !is_empty })
    }

    /// Does a load on a thread of its own, so that a signal is heard meanwhile; then the load is left alone, and breaks off with its broker.
    fn measured(&self, plan: &Plan) -> Result<Outcome, PerfError> {
        let (told, outcome) = flume::bounded(1);
        let plan = plan.clone();
        std::thread::spawn(move || {
            let _ = told.send(measure(&plan));
        });
        loop {
            match outcome.recv_timeout(LOOK_EVERY) {
                Ok(outcome) => return outcome,
                Err(flume::RecvTimeoutError::Timeout) => self.interrupt.check()?,
                Err(flume::RecvTimeoutError::Disconnected) => {
                    return Err(PerfError::Incomplete("the load ended without a result".to_owned()));
                }
            }
        }
    }

    fn limit(&mut self, round: i64, workload: usize, results: &mut Results) {
        match self.limit_value(workload) {
            Ok(value) => results.limits.push(Limit { workload, round, value }),
            Err(why) => {
                let (why, partial) = (why.to_string(), Value::Null);
                fail(Failure { round, workload, target: None, why, partial }, results);
            }
        }
    }

    fn limit_value(&self, workload: usize) -> Result<f64, PerfError> {
        let workload = &self.comparison.workloads[workload];
        if self.comparison.sync {
            nix::unistd::sync();
        }
        let folder = Folder::below(self.folder.path(), "-limit")?;
        let values = Values::from([("dir", folder.path().display().to_string())]);
        let line = workload.limit.as_deref().unwrap_or_default();
        let words = words(line, &values).map_err(PerfError::Impossible)?;
        let log = self.folder.path().join("-limit.log");
        let process =
            Process::start("the limit's command", &words, &BTreeMap::new(), &log, LIMIT_STOP_PATIENCE)?;
        let said = process.finish(Duration::from_secs_f64(workload.limit_seconds), self.interrupt)?;
        last_number(&said)
            .ok_or_else(|| PerfError::Impossible("the limit's command ends with no number".to_owned()))
    }
}

/// Tells of a failure and counts it.
fn fail(failure: Failure, results: &mut Results) {
    eprintln!("hayate-perf: {}", results.describe(&failure));
    results.failures.push(failure);
}

/// A load against a broker.
fn plan(line: &str, topic: &str, broker: &Broker) -> Result<Plan, PerfError> {
    let plan = file::load(line, topic).map_err(PerfError::Impossible)?;
    let pids = broker.pid.into_iter().collect();
    Ok(Plan { bootstrap: broker.bootstrap.clone(), pids, ..plan })
}

fn missing(target: usize) -> PerfError {
    PerfError::Impossible(format!("target {target} does not run"))
}

/// A round as part of a topic's name.
fn round_name(round: i64) -> String {
    if round > 0 { format!("r{round}") } else { format!("w{}", -round) }
}

/// The number that a text ends with.
fn last_number(text: &str) -> Option<f64> {
    text.split_whitespace().next_back()?.parse().ok().filter(|number: &f64| number.is_finite())
}

fn sample(turn: Turn, outcome: &Outcome) -> Sample {
    let sides: Vec<_> = outcome.sides().collect();
    let seconds = outcome.seconds();
    let process = outcome.processes.first();
    let cpu_seconds = process.and_then(|process| process.cpu_seconds());
    let peak_rss_bytes = process.and_then(|process| process.peak_rss_bytes());
    let told: Map<String, Value> =
        sides.iter().map(|(name, gauge)| ((*name).to_owned(), side(gauge, seconds))).collect();
    Sample {
        turn,
        figures: figures(&sides, seconds, cpu_seconds, peak_rss_bytes),
        sides: Value::Object(told),
    }
}

#[cfg(test)]
mod tests {
    use super::last_number;

    #[test]
    fn a_limit_is_the_last_number_that_is_said() {
        for (text, number) in [
            ("read 5\nwrite 7.5\n", Some(7.5)),
            ("1e3", Some(1000.0)),
            ("", None),
            ("7.5 MB/s", None),
            ("inf", None),
        ] {
            assert_eq!(last_number(text), number, "{text}");
        }
    }
}
