//! The store under the simulator: seeds at CI size.

use hayate_storage::mutants::Mutant;
use hayate_tests::store_sim::{MUST_REACH, run_seed};
use std::collections::BTreeMap;

const SEEDS: u64 = 340;

#[test]
fn no_promise_is_broken_and_every_fault_is_met() {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let outcome = run_seed(seed, None);
        assert_eq!(outcome.broken, None, "seed {seed}");
        for (what, count) in outcome.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{counts:#?}");
    let missed: Vec<_> = MUST_REACH.iter().filter(|what| !counts.contains_key(**what)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    for seed in 0..10 {
        let (first, second) = (run_seed(seed, None), run_seed(seed, None));
        assert_eq!((first.trace, first.steps), (second.trace, second.steps), "seed {seed}");
        assert_eq!(first.counts, second.counts, "seed {seed}");
    }
}

#[test]
fn every_mutant_is_caught() {
    for (name, mutant) in Mutant::ALL {
        let caught = (0..400).find(|&seed| run_seed(seed, Some(mutant)).broken.is_some());
        println!("{name}: caught by seed {caught:?}");
        assert!(caught.is_some(), "{name} survives");
    }
}
