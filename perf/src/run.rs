//! A run from its plan to its report: connects, starts the load threads, gathers what they tell, writes it down.

mod gathering;
mod outcome;
mod prepared;

pub use outcome::Outcome;

use crate::PerfError;
use crate::clock::Clock;
use crate::cluster::{Cluster, Found, Wanted};
use crate::plan::Plan;
use gathering::Running;
use hayate_net::client::blocking::Caller;
use prepared::Prepared;
use std::time::Duration;

/// How this harness calls brokers.
pub fn caller() -> Caller {
    Caller {
        client_id: "hayate-perf".to_owned(),
        software: ("hayate-perf", env!("CARGO_PKG_VERSION")),
        connect_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
    }
}

/// When a run measures, in nanoseconds of its clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When the first record is due.
    pub start: u64,
    /// From when on it is measured.
    pub measured_from: u64,
    /// From when on nothing new is sent.
    pub end: u64,
}

/// Does what a plan asks for, and tells of it.
///
/// # Errors
/// [`PerfError`]; what was measured by then is written all the same.
pub fn run(plan: &Plan) -> Result<(), PerfError> {
    let outcome = measure(plan)?;
    print!("{}", outcome.summary());
    outcome.write(plan)?;
    outcome.verdict(plan)
}

/// Does what a plan asks for.
///
/// # Errors
/// [`PerfError`], when the load cannot begin. How it ends is for [`Outcome::verdict`] to say.
pub fn measure(plan: &Plan) -> Result<Outcome, PerfError> {
    let mut cluster = Cluster::open(&plan.bootstrap, &caller())?;
    let found = topics(plan, &mut cluster)?;
    let mut prepared = Prepared::new(plan, Clock::start(), cluster, &found);
    let times = prepared.connect(&found)?;
    Ok(Running::start(prepared, times).gather())
}

/// The topics of a plan: made where they are missing and it produces.
fn topics(plan: &Plan, cluster: &mut Cluster) -> Result<Vec<Found>, PerfError> {
    let topic = |name: String| match plan.workload.produces() {
        true => cluster.topic(&Wanted {
            name,
            partitions: plan.partitions,
            replication_factor: plan.replication_factor,
            configs: plan.topic_configs.clone(),
        }),
        false => cluster.existing(&name),
    };
    plan.topic_names().into_iter().map(topic).collect()
}
