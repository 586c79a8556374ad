//! How far a start is, in the log: nothing while it is quick, a line with a percentage every second once it is not.

use hayate_rt::{MonoTime, Rt};
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
