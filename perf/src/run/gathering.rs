//! A run under way: its threads, and what they tell, gathered interval by interval.

use super::Times;
use super::outcome::Outcome;
use super::prepared::Prepared;
use crate::PerfError;
use crate::clock::Clock;
use crate::gauge::Gauge;
use crate::load::thread::{Figures, INTERVAL, Run, Shared, Side, Worker, drive};
use crate::plan::Workload;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long after an interval its figures are awaited.
const TELLING: u64 = INTERVAL / 10;
/// Figures of threads that wait to be gathered.
const FIGURES_MAX: usize = 1024;
/// How long threads may be silent before a run is given up: more than their grace.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The threads of a run.
pub struct Running {
    clock: Clock,
    shared: Arc<Shared>,
    figures: flume::Receiver<Figures>,
    threads: usize,
    outcome: Outcome,
}

impl Running {
    /// Starts the threads.
    pub fn start(prepared: Prepared<'_>, times: Times) -> Running {
        let count = |worker: &&Worker| matches!(worker.side, Side::Producer(_));
        let producers = prepared.threads.values().flatten().filter(count).count() as u64;
        let shared = Arc::new(Shared { producers: AtomicU64::new(producers), ..Shared::default() });
        let (told, figures) = flume::bounded(FIGURES_MAX);
        let run = Run {
            clock: prepared.clock,
            end: times.end,
            follows: prepared.plan.workload == Workload::EndToEnd,
            subscriptions: prepared.plan.subscriptions as u64,
            shared: shared.clone(),
            figures: told,
        };
        let threads = prepared.threads.len();
        for (number, (_, workers)) in prepared.threads.into_iter().enumerate() {
            let (run, core) =
                (run.clone(), prepared.plan.cores.get(number % prepared.plan.cores.len().max(1)).copied());
            std::thread::spawn(move || {
                if let Some(id) = core {
                    core_affinity::set_for_current(core_affinity::CoreId { id });
                }
                drive(&run, workers);
            });
        }
        Running {
            clock: prepared.clock,
            shared,
            figures,
            threads,
            outcome: Outcome::begin(prepared.plan, times),
        }
    }

    /// Gathers until every thread has come to its end, and tells of each second.
    pub fn gather(self) -> Outcome {
        let mut gathered = self.outcome;
        let mut left = self.threads;
        let mut until = (self.clock.now() / INTERVAL + 1) * INTERVAL;
        let (mut produced, mut consumed) = (Gauge::default(), Gauge::default());
        let mut warm_up_until = Some(gathered.times.measured_from);
        while left > 0 {
            if let Some(_over) = warm_up_until.take_if(|over| *over <= self.clock.now()) {
                gathered.begin_measuring();
            }
            let next = (until + TELLING).min(warm_up_until.unwrap_or(u64::MAX));
            let wait = next.saturating_sub(self.clock.now());
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
            if now > gathered.times.end + u64::try_from(SILENCE_MAX.as_nanos()).unwrap_or(u64::MAX) {
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
