//! What records hold: values of given sizes, of which a given part cannot be compressed, from a seed; the same in each run.

use hayate_rt::random::Prng;
use std::fmt;
use std::str::FromStr;

/// Different values that a load goes through at most, and the memory that they may take.
const VALUES_MAX: usize = 4096;
const POOL_BYTES_MAX: usize = 32 << 20;
/// Bytes at the beginning of a value in which a load notes when it was meant to be sent.
pub const STAMP_BYTES: usize = 8;

/// How large values are, in bytes: `1024`, or each equally often of `100..2000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The least.
    pub min: usize,
    /// The most.
    pub max: usize,
}

impl Sizes {
    /// The largest value that may be asked for.
    pub const BYTES_MAX: usize = 16 << 20;

    /// Their mean.
    pub fn mean(&self) -> f64 {
        (self.min + self.max) as f64 / 2.0
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let number =
            |word: &str| word.parse::<usize>().map_err(|_| format!("{word:?} is no number of bytes"));
        let sizes = Sizes { min: number(min)?, max: number(max)? };
        if sizes.min < STAMP_BYTES || sizes.max > Sizes::BYTES_MAX || sizes.min > sizes.max {
            return Err(format!("sizes go from {STAMP_BYTES} to {}, the smaller first", Sizes::BYTES_MAX));
        }
        Ok(sizes)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min == self.max {
            true => write!(out, "{}", self.min),
            false => write!(out, "{}..{}", self.min, self.max),
        }
    }
}

/// Values, gone through in turn.
#[derive(Clone, Debug)]
pub struct Payload {
    values: Vec<Vec<u8>>,
    next: usize,
}

impl Payload {
    /// Values of `sizes`; of each the share `random`, 0 to 1, is noise, the rest is one byte over and over.
    pub fn new(sizes: Sizes, random: f64, seed: u64) -> Payload {
        let mut prng = Prng::new(seed);
        let count = (POOL_BYTES_MAX / sizes.max).clamp(16, VALUES_MAX);
        let values = (0..count).map(|_| {
            let size = sizes.min + prng.below((sizes.max - sizes.min) as u64 + 1) as usize;
            let noise = (size as f64 * random) as usize;
            let mut value = vec![b'.'; size];
            value.iter_mut().take(noise).for_each(|byte| *byte = prng.next_u64() as u8);
            value
        });
        Payload { values: values.collect(), next: 0 }
    }

    /// The next value, to stamp.
    pub fn draw(&mut self) -> &mut [u8] {
        let number = self.next;
        self.next = (number + 1) % self.values.len();
        &mut self.values[number]
    }

    /// How large the next value is.
    pub fn peek_bytes(&self) -> usize {
        self.values[self.next].len()
    }
}

/// Notes a time in a value.
pub fn stamp(value: &mut [u8], at: u64) {
    value[..STAMP_BYTES].copy_from_slice(&at.to_be_bytes());
}

/// The time that was noted in a value.
pub fn stamped(value: &[u8]) -> Option<u64> {
    value.first_chunk::<STAMP_BYTES>().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::{Payload, Sizes, stamp, stamped};

    #[test]
    fn sizes_are_read_as_they_are_written_and_bad_ones_refused() {
        for (text, min, max) in [("8", 8, 8), ("100..2000", 100, 2000)] {
            let sizes: Sizes = text.parse().expect(text);
            assert_eq!((sizes.min, sizes.max, sizes.to_string()), (min, max, text.to_owned()));
        }
        for text in ["", "7", "x", "9..8", "-1", "8..", "8..16777217"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_have_their_sizes_their_noise_and_come_again_from_the_same_seed() {
        let sizes = Sizes { min: 100, max: 300 };
        let (mut one, mut other) = (Payload::new(sizes, 0.5, 7), Payload::new(sizes, 0.5, 7));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..5000 {
            let size = one.peek_bytes();
            let value = one.draw().to_vec();
            assert_eq!(value, other.draw());
            assert!(value.len() == size && (100..=300).contains(&size));
            assert!(value[size / 2 + 1..].iter().all(|byte| *byte == b'.'));
            seen.insert(size);
        }
        assert!(seen.len() > 150, "few sizes: {}", seen.len());
    }

    #[test]
    fn a_stamp_is_read_as_it_was_noted() {
        let mut value = vec![0; 9];
        stamp(&mut value, 0x0102_0304_0506_0708);
        assert_eq!(stamped(&value), Some(0x0102_0304_0506_0708));
        assert_eq!(stamped(&value[..7]), None);
    }
}
