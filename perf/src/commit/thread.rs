//! A thread that drives committers: a loop over their connections and the clock, which tells what it has measured once a second.

use super::committer::Committer;
use crate::PerfError;
use crate::clock::{Clock, SECOND};
use crate::gauge::Gauge;
use crate::link::Link;
use crate::trial::wait::{decode, send, sleep_exactly, wait};
use kafka_protocol::messages::OffsetCommitRequest;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long answers may take once nothing new is due.
const GRACE: u64 = 10 * SECOND;

/// A connection and what it commits.
pub struct Worker {
    /// The connection.
    pub link: Link,
    /// The version of its requests.
    pub version: i16,
    /// What it commits.
    pub committer: Committer,
}

/// What the threads of a run share.
#[derive(Clone)]
pub struct Run {
    /// The clock.
    pub clock: Clock,
    /// When nothing new is due, in nanoseconds.
    pub end: u64,
    /// All are to stop at once.
    pub stop: Arc<AtomicBool>,
    /// Where figures go: what was measured since the last ones, and with the very last how it ended.
    pub figures: flume::Sender<(Gauge, Option<Result<(), PerfError>>)>,
}

/// Drives the connections of one thread to their end.
pub fn drive(run: &Run, mut workers: Vec<Worker>) {
    sleep_exactly();
    let mut gauge = Gauge::default();
    let ended = run_to_end(run, &mut workers, &mut gauge);
    if ended.is_err() {
        run.stop.store(true, Ordering::Release);
    }
    // Nobody listens any more once a run is given up.
    let _ = run.figures.send((gauge, Some(ended)));
}

fn run_to_end(run: &Run, workers: &mut Vec<Worker>, gauge: &mut Gauge) -> Result<(), PerfError> {
    let mut seconds_told = run.clock.now() / SECOND;
    loop {
        let now = run.clock.now();
        if now / SECOND > seconds_told {
            seconds_told = now / SECOND;
            let _ = run.figures.send((gauge.take(), None));
        }
        for worker in workers.iter_mut() {
            work(run, worker, gauge)?;
        }
        let now = run.clock.now();
        workers.retain(|worker| !(worker.committer.is_done(now) && worker.link.is_flushed()));
        if workers.is_empty() || run.stop.load(Ordering::Acquire) {
            return Ok(());
        }
        if now >= run.end + GRACE {
            let missing: usize = workers.iter().map(|worker| worker.committer.unanswered()).sum();
            let after = GRACE / SECOND;
            return Err(PerfError::Incomplete(format!(
                "{missing} commits were not answered {after} s after the end"
            )));
        }
        let next = workers.iter().filter_map(|worker| worker.committer.wake_at(now)).min();
        let mut links: Vec<&mut Link> = workers.iter_mut().map(|worker| &mut worker.link).collect();
        wait(&mut links, next.map(|next| next.saturating_sub(now)))?;
    }
}

/// Takes in what came for a connection, and sends what is to be sent.
fn work(run: &Run, worker: &mut Worker, gauge: &mut Gauge) -> Result<(), PerfError> {
    while let Some(answer) = worker.link.next_answer()? {
        let now = run.clock.now();
        let response = decode::<OffsetCommitRequest>(&worker.link, &answer)?;
        let heard = worker.committer.on_answer(now, &response, gauge);
        let address = worker.link.address();
        heard.map_err(|cause| PerfError::Broke { address: address.to_owned(), cause })?;
    }
    worker.link.flush()?;
    while worker.link.is_flushed()
        && let Some(request) = worker.committer.next(run.clock.now())
    {
        send(&mut worker.link, worker.version, &request)?;
    }
    Ok(())
}
