//! What came of a comparison: every sample, and what did not come to one. Grows turn by turn; tables, documents and plots are made of it.

use super::figures::{Cells, Figure, Point, Row, Spread, summarise};
use super::file::Comparison;
use super::processes::file_system;
use super::turns::Turn;
use crate::PerfError;
use crate::machine::environment;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A load average above this, before anything began, is somebody else's.
const LOAD_AVERAGE_QUIET: f64 = 0.5;
/// File systems that lie in memory.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// A turn that was measured.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Which.
    pub turn: Turn,
    /// Its figures.
    pub figures: BTreeMap<Figure, f64>,
    /// The sides of its load, as a single run tells of them.
    pub sides: Value,
}

/// A broker that was started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Started {
    /// The target, by its place in the file.
    pub target: usize,
    /// Its how manieth start this was, from 1.
    pub number: i64,
    /// How long it took.
    pub seconds: f64,
}

/// A physical limit that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The workload, by its place in the file.
    pub workload: usize,
    /// The round.
    pub round: i64,
    /// The command's number.
    pub value: f64,
}

/// What went wrong in a round.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The round.
    pub round: i64,
    /// The workload, by its place in the file.
    pub workload: usize,
    /// The target, by its place in the file; `None` for a limit.
    pub target: Option<usize>,
    /// Why.
    pub why: String,
    /// What was measured all the same: of a load that broke off, in no summary.
    pub partial: Value,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Results {
    /// What was asked for.
    pub comparison: Comparison,
    /// The machine, before anything began.
    pub environment: Value,
    /// Turns.
    pub samples: Vec<Sample>,
    /// Starts.
    pub starts: Vec<Started>,
    /// Limits.
    pub limits: Vec<Limit>,
    /// Failures.
    pub failures: Vec<Failure>,
}

impl Results {
    /// Of a comparison that begins now, its targets' folders below `folder`.
    pub fn begin(comparison: &Comparison, folder: &Path) -> Results {
        let mut environment = environment();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        environment["file_system"] = json!(file_system(&mounts, &folder.display().to_string()));
        Results {
            comparison: comparison.clone(),
            environment,
            samples: Vec::new(),
            starts: Vec::new(),
            limits: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// What a reader must know before the figures.
    pub fn warnings(&self) -> Vec<String> {
        let load = self.environment["load_average_before"].as_f64().unwrap_or(0.0);
        let busy = (load > LOAD_AVERAGE_QUIET).then(|| {
            format!(
                "the machine was busy with something else (load average {load:.2}): not a result to quote"
            )
        });
        let kind = self.environment["file_system"].as_str().unwrap_or_default();
        let is_started = self.comparison.targets.iter().any(|target| target.start.is_some());
        let in_memory = (IN_MEMORY.contains(&kind) && is_started).then(|| {
            format!("the targets' folders lie in memory ({kind}): no flush reaches a disk; set folder")
        });
        busy.into_iter().chain(in_memory).collect()
    }

    /// The values that count, one by one.
    pub fn points(&self) -> Vec<Point> {
        let counted = self.samples.iter().filter(|sample| sample.turn.counts());
        let measured = counted.flat_map(|sample| {
            let Turn { round, workload, target } = sample.turn;
            let row = Row::Workload(workload);
            sample.figures.iter().map(move |(figure, value)| Point {
                figure: *figure,
                row,
                target,
                round,
                value: *value,
            })
        });
        let starts = self.starts.iter().map(|start| Point {
            figure: Figure::Start,
            row: Row::Start,
            target: start.target,
            round: start.number,
            value: start.seconds,
        });
        measured.chain(starts).collect()
    }

    /// Medians, ranges and ratios.
    pub fn cells(&self) -> Cells {
        summarise(&self.points(), self.comparison.baseline())
    }

    /// The limit of a workload over its rounds.
    pub fn limit(&self, workload: usize) -> Option<Spread> {
        Spread::of(self.limits.iter().filter(|limit| limit.workload == workload).map(|limit| limit.value))
    }

    /// A failure in one line.
    pub fn describe(&self, failure: &Failure) -> String {
        let workload = &self.comparison.workloads[failure.workload].name;
        let who = failure.target.map_or("the limit", |target| &self.comparison.targets[target].name);
        format!("{who} in round {}, {workload}: {}", failure.round, failure.why)
    }

    /// Whether all went well.
    ///
    /// # Errors
    /// How much did not, and the first of it.
    pub fn verdict(&self) -> Result<(), PerfError> {
        let Some(first) = self.failures.first() else { return Ok(()) };
        let count = self.failures.len();
        Err(PerfError::Incomplete(format!("failed turns: {count}; the first: {}", self.describe(first))))
    }
}
