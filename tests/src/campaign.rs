//! Many simulated lives, on as many threads as there are cores: each is a world of its own.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What came of one seed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The first broken promise, if one was.
    pub broken: Option<String>,
    /// Faults and states reached, with how often.
    pub counts: BTreeMap<String, u64>,
    /// Digest of all that happened.
    pub trace: u64,
    /// Steps of the simulator.
    pub steps: u64,
}

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Campaign {
    /// The broken promises, by seed.
    pub broken: BTreeMap<u64, String>,
    /// Faults and states reached, with how often.
    pub counts: BTreeMap<String, u64>,
}

impl Campaign {
    /// Runs `live` for every seed in `seeds`; tells `on_broken` of each life that breaks a promise, as soon as it does.
    pub fn run(
        seeds: Range<u64>,
        live: &(dyn Fn(u64) -> Outcome + Sync),
        on_broken: &(dyn Fn(u64, &str) + Sync),
    ) -> Campaign {
        let (next, campaign) = (AtomicU64::new(seeds.start), Mutex::new(Campaign::default()));
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return;
                }
                let outcome = caught(|| live(seed));
                campaign.lock().expect("nobody panics with the lock held").add(seed, outcome, on_broken);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        campaign.into_inner().expect("nobody panics with the lock held")
    }

    fn add(&mut self, seed: u64, outcome: Outcome, on_broken: &dyn Fn(u64, &str)) {
        for (what, count) in outcome.counts {
            *self.counts.entry(what).or_default() += count;
        }
        if let Some(what) = outcome.broken {
            on_broken(seed, &what);
            self.broken.insert(seed, what);
        }
    }

    /// What of `wanted` no life has met.
    pub fn missed<'a>(&self, wanted: &[&'a str]) -> Vec<&'a str> {
        wanted.iter().filter(|what| !self.counts.contains_key(**what)).copied().collect()
    }
}

/// A life that panics is broken: its code's own assertion does not hold.
fn caught(live: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(live)).unwrap_or_else(|panic| Outcome {
        broken: Some(format!("panicked: {}", words(panic.as_ref()))),
        ..Outcome::default()
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("in other words")
}
