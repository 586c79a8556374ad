//! What became of a run: what was counted, interval by interval and all in all; told, written down, and judged.

use super::Times;
use crate::PerfError;
use crate::clock::SECOND;
use crate::gauge::Gauge;
use crate::machine::{Watched, environment};
use crate::plan::{Plan, Workload};
use crate::report::{Document, IntervalLog, line, side, summary};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// A run that reaches less of its rate than this did not keep it.
const KEPT_SHARE: f64 = 0.99;

/// What became of a run.
pub struct Outcome {
    /// What it was.
    pub workload: Workload,
    /// When it measured.
    pub times: Times,
    /// What producers have counted.
    pub produced: Gauge,
    /// What consumers have counted.
    pub consumed: Gauge,
    /// When the last thread came to its end, in nanoseconds of the run's clock.
    pub ended_at: u64,
    /// Why it came to its end too soon.
    pub wrong: Option<PerfError>,
    /// The processes that are watched.
    pub processes: Vec<Watched>,
    intervals: Vec<Value>,
    hlog: Option<IntervalLog>,
}

impl Outcome {
    /// Of a run that begins now.
    pub fn begin(plan: &Plan, times: Times) -> Outcome {
        Outcome {
            workload: plan.workload,
            times,
            produced: Gauge::default(),
            consumed: Gauge::default(),
            ended_at: 0,
            wrong: None,
            processes: plan.pids.iter().map(|pid| Watched::begin(*pid)).collect(),
            intervals: Vec::new(),
            hlog: plan.hlog.as_deref().map(IntervalLog::new),
        }
    }

    /// The warm-up is over: what processes use counts from now on, as records do.
    pub fn begin_measuring(&mut self) {
        self.processes.iter_mut().for_each(Watched::count_from_now);
    }

    /// Its sides by name, and what they have counted.
    pub fn sides(&self) -> impl Iterator<Item = (&'static str, &Gauge)> {
        let consumed = if self.workload == Workload::EndToEnd { "e2e" } else { "consume" };
        let produces = self.workload.produces().then_some(("produce", &self.produced));
        let consumes = self.workload.consumes().then_some((consumed, &self.consumed));
        produces.into_iter().chain(consumes)
    }

    /// Ends an interval: tells of it, and adds it to all.
    pub fn close(&mut self, since: u64, now: u64, produced: Gauge, consumed: Gauge) {
        let span = now.saturating_sub(since).max(1);
        let interval = Outcome {
            produced,
            consumed,
            intervals: Vec::new(),
            hlog: None,
            wrong: None,
            processes: Vec::new(),
            ..*self
        };
        let seconds = span as f64 / SECOND as f64;
        let from_start = |at: u64| at.saturating_sub(self.times.start) as f64 / SECOND as f64;
        let mut told = json!({ "since_seconds": from_start(since), "seconds": seconds });
        for (name, gauge) in interval.sides() {
            if !gauge.is_empty() {
                eprintln!("{:6.1} s  {}", from_start(now), line(name, gauge, seconds));
            }
            told[name] = side(gauge, seconds);
            if let Some(hlog) = &mut self.hlog {
                hlog.add(Duration::from_nanos(since), Duration::from_nanos(span), name, &gauge.latencies);
            }
        }
        told["processes"] = self.processes.iter_mut().map(|process| process.interval(seconds)).collect();
        self.intervals.push(told);
        self.produced.add(&interval.produced);
        self.consumed.add(&interval.consumed);
    }

    /// How long was measured: what a topic holds may be read sooner than the duration.
    pub fn seconds(&self) -> f64 {
        let end = match self.workload {
            Workload::Consume => self.ended_at.min(self.times.end),
            Workload::Produce | Workload::EndToEnd => self.times.end,
        };
        end.saturating_sub(self.times.measured_from).max(1) as f64 / SECOND as f64
    }

    /// Lines for people.
    pub fn summary(&self) -> String {
        let mut text: String =
            self.sides().map(|(name, gauge)| summary(name, gauge, self.seconds())).collect();
        for process in &self.processes {
            writeln!(text, "{process}").expect("a string takes all");
        }
        text
    }

    /// The document of it, but for what was measured elsewhere.
    pub fn document(&self, plan: &Plan) -> Document {
        let mut document = Document::default();
        document.set("workload", json!(plan.workload.name()));
        document.set("plan", json!(format!("{plan:?}")));
        document.set("command", json!(std::env::args().collect::<Vec<_>>()));
        document.set("environment", environment());
        for (name, gauge) in self.sides() {
            document.set(name, side(gauge, self.seconds()));
        }
        document.set("processes", self.processes.iter().map(Watched::whole).collect());
        document.set("intervals", Value::Array(self.intervals.clone()));
        document
    }

    /// Writes the files that a plan asks for.
    ///
    /// # Errors
    /// [`PerfError::File`].
    pub fn write(&self, plan: &Plan) -> Result<(), PerfError> {
        if let Some(path) = &plan.json {
            self.document(plan).write(path)?;
        }
        self.hlog.as_ref().map_or(Ok(()), IntervalLog::write)
    }

    /// Whether all went as it was asked for.
    ///
    /// # Errors
    /// What did not.
    pub fn verdict(self, plan: &Plan) -> Result<(), PerfError> {
        let (produced, seconds) = (self.produced.records, self.seconds());
        let refused = self.produced.refusals() + self.consumed.refusals();
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if refused > 0 {
            return Err(PerfError::Incomplete(format!("{refused} refusals: the figures are of the rest")));
        }
        let kept = produced as f64 / seconds;
        match plan.rate {
            Some(rate) if plan.workload.produces() && kept < rate * KEPT_SHARE => {
                Err(PerfError::Incomplete(format!("the rate was not kept: {kept:.0} of {rate:.0} records/s")))
            }
            Some(_) | None => Ok(()),
        }
    }
}
