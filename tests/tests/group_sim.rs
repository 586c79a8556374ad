//! Coordinators of groups under the simulator: lives at CI size. `simulate groups FROM..TO` lives as many as one wants.

use hayate_storage::mutants::Mutant;
use hayate_tests::campaign::Campaign;
use hayate_tests::group_sim::{MUST_REACH, run_seed};

const SEEDS: u64 = 5000;

#[test]
fn no_promise_is_broken_and_every_state_is_met() {
    let campaign = Campaign::run(0..SEEDS, &|seed| run_seed(seed, None), &|_, _| ());
    println!("{:#?}", campaign.counts);
    assert!(campaign.broken.is_empty(), "{:#?}", campaign.broken);
    let missed = campaign.missed(MUST_REACH);
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
    for (name, mutant) in Mutant::OF_GROUPS {
        let life =
            |seed: u64| Campaign::run(seed..seed + 1, &|seed| run_seed(seed, Some(mutant)), &|_, _| ());
        let caught = (0..SEEDS / 10).find(|&seed| !life(seed).broken.is_empty());
        println!("{name}: caught by seed {caught:?}");
        assert!(caught.is_some(), "{name} survives");
    }
}
