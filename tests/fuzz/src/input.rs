//! Inputs by number: the same target, seed and number give the same bytes, on every machine.

use crate::{Target, mutate};
use hayate_rt::random::{Prng, split_mix};

/// Input `number` of a run under `seed`.
pub fn nth(target: &Target, seed: u64, number: u64) -> Vec<u8> {
    let mut prng = Prng::new(mix(target.name, seed, number));
    let mut bytes = (target.sample)(&mut prng);
    for _ in 0..changes(&mut prng) {
        mutate::change(&mut bytes, target, &mut prng);
    }
    if prng.chance(7, 8) {
        (target.mend)(&mut bytes);
    }
    bytes
}

/// How many changes an input gets: none now and then, mostly one, sometimes many.
fn changes(prng: &mut Prng) -> u64 {
    match prng.below(16) {
        0 => 0,
        1..=9 => 1,
        10..=13 => 2,
        14 => 4,
        _ => 1 + prng.below(16),
    }
}

fn mix(name: &str, seed: u64, number: u64) -> u64 {
    let mut word = seed;
    for part in name.bytes().map(u64::from).chain([number]) {
        word = split_mix(&mut word) ^ part;
    }
    split_mix(&mut word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets;

    #[test]
    fn an_input_comes_again_by_its_number_and_another_number_gives_another() {
        for target in targets::ALL {
            let inputs: Vec<_> = (0..64).map(|number| nth(target, 1, number)).collect();
            let again: Vec<_> = (0..64).map(|number| nth(target, 1, number)).collect();
            assert_eq!(inputs, again, "{}", target.name);
            let other: Vec<_> = (0..64).map(|number| nth(target, 2, number)).collect();
            assert_ne!(inputs, other, "{}", target.name);
        }
    }

    #[test]
    fn samples_are_accepted() {
        for target in targets::ALL {
            let mut prng = Prng::new(1);
            let accepted = (0..200).filter(|_| (target.run)(&(target.sample)(&mut prng))).count();
            assert!(accepted >= 150, "{}: {accepted} of 200", target.name);
        }
    }
}
