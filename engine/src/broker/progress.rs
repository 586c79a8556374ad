//! How far a start or a stop is: nothing in the log while it is quick, a line with a percentage every second once it is not.
//!
//! At a start each shard logs for itself, one after another. A stop is all shards' at once: each notes how far it is
//! ([`StopProgress`]), and whoever waits for them all logs the sum.

use hayate_rt::{MonoTime, Rt};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a start says nothing, and how often it does then.
const EVERY: Duration = Duration::from_secs(1);

/// The lines of one start.
pub(super) struct ProgressLog {
    rt: Rt,
    next: MonoTime,
}

impl ProgressLog {
    /// The start begins.
    pub(super) fn new(rt: &Rt) -> ProgressLog {
        ProgressLog { rt: rt.clone(), next: rt.now() + EVERY }
    }

    /// `done` of `of` parts of `stage` are done; says so when it is time. Tells whether it did.
    pub(super) fn tell(&mut self, stage: &str, done: usize, of: usize) -> bool {
        let now = self.rt.now();
        let due = now >= self.next && of > 0;
        if due {
            self.next = now + EVERY;
            tracing::info!(stage, percent = done.min(of) * 100 / of, done, of, "starting");
        }
        due
    }
}

/// How far the stop of each shard is.
#[derive(Debug, Default)]
pub struct StopProgress {
    shards: Vec<ShardStop>,
}

/// How far the stop of one shard is.
#[derive(Debug, Default)]
pub struct ShardStop {
    connections: AtomicUsize,
    partitions: AtomicUsize,
    written: AtomicUsize,
}

impl StopProgress {
    /// No shard has begun.
    pub fn new(shards: u16) -> Arc<StopProgress> {
        Arc::new(StopProgress { shards: (0..shards).map(|_| ShardStop::default()).collect() })
    }

    /// The notes of a shard, by its number.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn shard(&self, number: usize) -> &ShardStop {
        &self.shards[number]
    }

    /// How far all of them are together.
    pub fn now(&self) -> Stopping {
        let sum = |cell: fn(&ShardStop) -> &AtomicUsize| {
            self.shards.iter().map(|shard| cell(shard).load(Ordering::Relaxed)).sum()
        };
        Stopping {
            connections: sum(|shard| &shard.connections),
            partitions: sum(|shard| &shard.partitions),
            written: sum(|shard| &shard.written),
        }
    }
}

impl ShardStop {
    /// So many connections have open requests, and so many partitions are to be written out behind them.
    pub(super) fn drains(&self, connections: usize, partitions: usize) {
        self.connections.store(connections, Ordering::Relaxed);
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    /// So many partitions of so many are written out.
    pub(super) fn writes(&self, written: usize, partitions: usize) {
        self.connections.store(0, Ordering::Relaxed);
        self.partitions.store(partitions, Ordering::Relaxed);
        self.written.store(written, Ordering::Relaxed);
    }
}

/// How far a stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// Connections with open requests.
    pub connections: usize,
    /// Partitions that are to be written out, and those that are.
    pub partitions: usize,
    /// Those that are written out.
    pub written: usize,
}

impl Stopping {
    /// The part of the work that is done, in hundredths: of the partitions, which take the time.
    pub fn percent(&self) -> usize {
        (self.written * 100).checked_div(self.partitions).unwrap_or(if self.connections == 0 {
            100
        } else {
            0
        })
    }
}

impl fmt::Display for Stopping {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.partitions - self.written.min(self.partitions);
        match self.connections {
            0 if left == 0 => out.write_str("closing files"),
            0 => write!(out, "writing out {left} of {} partitions", self.partitions),
            connections => {
                write!(
                    out,
                    "waiting for the requests of {connections} connections; then {left} partitions are written out"
                )
            }
        }
    }
}

#[cfg(test)]
mod stop_tests {
    use super::*;

    #[test]
    fn what_a_stop_waits_for_is_the_sum_of_the_shards() {
        let progress = StopProgress::new(2);
        let told = || (progress.now().to_string(), progress.now().percent());
        assert_eq!(told(), ("closing files".to_owned(), 100));
        progress.shard(0).drains(2, 30);
        progress.shard(1).drains(1, 10);
        let waits = "waiting for the requests of 3 connections; then 40 partitions are written out";
        assert_eq!(told(), (waits.to_owned(), 0));
        progress.shard(0).writes(10, 30);
        progress.shard(1).writes(0, 10);
        assert_eq!(told(), ("writing out 30 of 40 partitions".to_owned(), 25));
        progress.shard(0).writes(30, 30);
        progress.shard(1).writes(10, 10);
        assert_eq!(told(), ("closing files".to_owned(), 100));
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use hayate_rt::sim::{NodeId, Sim};

    #[test]
    fn a_quick_start_says_nothing_and_a_slow_one_something_each_second() {
        let sim = Sim::new(1);
        let rt = Rt::sim(sim.node(NodeId(1)));
        let told = sim.run(Duration::from_secs(60), async move {
            let mut progress = ProgressLog::new(&rt);
            let mut told = Vec::new();
            for done in 0..40 {
                if progress.tell("testing", done, 40) {
                    told.push(done);
                }
                rt.sleep(Duration::from_millis(100)).await;
            }
            assert!(!progress.tell("testing", 0, 0), "nothing to do is no progress");
            told
        });
        assert_eq!(told.unwrap(), [10, 20, 30]);
    }
}
