//! Hash maps whose iteration order does not depend on a random seed, so that replay is true.
//!
//! The hasher is fixed, hence open to chosen keys: use these for keys that we make (ids, slots), and ordered maps
//! for keys that come from a peer (names).

#![expect(clippy::disallowed_types, reason = "the one place that names the standard maps")]

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A `HashMap` with a fixed hasher.
pub type DetHashMap<K, V> = HashMap<K, V, BuildHasherDefault<FixedHasher>>;
/// A `HashSet` with a fixed hasher.
pub type DetHashSet<K> = HashSet<K, BuildHasherDefault<FixedHasher>>;

/// A multiply-rotate hasher over 64-bit words.
#[derive(Default, Clone, Copy)]
pub struct FixedHasher(u64);

impl FixedHasher {
    #[inline]
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        self.word(bytes.len() as u64);
    }

    fn write_u32(&mut self, value: u32) {
        self.word(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.word(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.word(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_maps_with_the_same_keys_iterate_alike() {
        let keys: Vec<u64> = (0..1000).map(|n| n * 7919).collect();
        let first: DetHashMap<u64, ()> = keys.iter().map(|&k| (k, ())).collect();
        let second: DetHashMap<u64, ()> = keys.iter().map(|&k| (k, ())).collect();
        assert!(first.keys().eq(second.keys()));
    }

    #[test]
    fn byte_strings_that_differ_in_trailing_zeros_hash_apart() {
        let hash = |bytes: &[u8]| {
            let mut hasher = FixedHasher::default();
            hasher.write(bytes);
            hasher.finish()
        };
        assert_ne!(hash(b"a"), hash(b"a\0"));
    }
}
