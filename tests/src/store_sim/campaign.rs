//! Many lives, on as many threads as there are cores: each life is a world of its own.

use super::{Outcome, run_seed};
use hayate_storage::mutants::Mutant;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Campaign {
    /// The broken promises, by seed.
    pub broken: BTreeMap<u64, String>,
    /// Faults and states reached, with how often.
    pub counts: BTreeMap<String, u64>,
}

/// Lives every life in `seeds`; tells `on_broken` of each that breaks a promise, as soon as it does.
pub fn run_campaign(
    seeds: Range<u64>,
    mutant: Option<Mutant>,
    on_broken: &(dyn Fn(u64, &str) + Sync),
) -> Campaign {
    let (next, campaign) = (AtomicU64::new(seeds.start), Mutex::new(Campaign::default()));
    let live = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let lived = catch_unwind(|| run_seed(seed, mutant));
            let outcome = lived.unwrap_or_else(|_| Outcome::panicked());
            let mut campaign = campaign.lock().expect("no life panics with the lock held");
            for (what, count) in outcome.counts {
                *campaign.counts.entry(what).or_default() += count;
            }
            if let Some(what) = outcome.broken {
                on_broken(seed, &what);
                campaign.broken.insert(seed, what);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(live))));
    campaign.into_inner().expect("no life panics with the lock held")
}
