//! Randomness: seeded by the kernel in a broker, by the run's seed in a simulation.

use crate::{Inner, Rt};

/// xoshiro256++ (Blackman and Vigna, 2018): fast, not secret. For jitter, choices and identifiers.
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// A generator whose whole sequence follows from `seed`.
    pub fn new(seed: u64) -> Prng {
        let mut word = seed;
        Prng { state: std::array::from_fn(|_| split_mix(&mut word)) }
    }

    /// A generator from 256 bits of entropy.
    pub(crate) fn from_words(state: [u64; 4]) -> Prng {
        if state == [0; 4] { Prng::new(0) } else { Prng { state } }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let c2 = c ^ a;
        let d2 = d ^ b;
        self.state = [a ^ d2, b ^ c2, c2 ^ (b << 17), d2.rotate_left(45)];
        result
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True `numerator` times in `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }
}

/// One step of splitmix64 (Steele, Lea, Flood 2014): spreads a small seed over many bits.
pub fn split_mix(word: &mut u64) -> u64 {
    *word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *word;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Rt {
    /// 64 random bits.
    pub fn random_u64(&self) -> u64 {
        match &self.inner {
            Inner::Kernel(rt) => rt.random_u64(),
            #[cfg(feature = "sim")]
            Inner::Sim(node) => node.random_u64(),
        }
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub fn random_below(&self, bound: u64) -> u64 {
        ((u128::from(self.random_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A random UUID (version 4, RFC 9562), big-endian.
    pub fn uuid(&self) -> [u8; 16] {
        let bits = (u128::from(self.random_u64()) << 64) | u128::from(self.random_u64());
        let mut bytes = bits.to_be_bytes();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence_and_another_does_not() {
        let draw = |seed| {
            let mut prng = Prng::new(seed);
            (0..16).map(|_| prng.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        let mut prng = Prng::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| prng.below(5)).collect();
        assert!(drawn.iter().all(|&n| n < 5));
        assert!(drawn.contains(&0) && drawn.contains(&4));
        assert_eq!(prng.below(0), 0);
    }
}
