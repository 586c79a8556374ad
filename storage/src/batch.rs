//! Kafka record batches (magic 2): the only place in the project that knows what is inside one. Pure code over byte slices: no IO,
//! no clock, no async; it must not know of logs, segments, requests or the network.
//!
//! The hot path touches the 61-byte header alone ([`header`], [`validate`], [`scan`]); records are decoded only where Kafka itself
//! must (compaction, lookups by timestamp, recompression), through a bounded, borrowing iterator ([`records`], [`compress`]).
//! The format is the one of KIP-98 (headers: KIP-82, zstd: KIP-110), as Apache Kafka 4.2 reads and writes it.

use std::fmt;

pub mod compress;
#[cfg(test)]
mod conformance;
pub mod control;
pub mod crc;
pub mod encode;
pub mod faults;
pub mod header;
pub mod lookup;
pub mod recompress;
pub mod records;
pub mod scan;
pub mod validate;

pub use encode::BatchBuilder;
pub use header::{BatchHeader, Codec, HEADER_BYTES, TimestampType};
pub use scan::{BatchScan, ScanEnd};
pub use validate::{BatchError, ProduceRules, ValidBatch};

/// The timestamp that Kafka writes where there is none.
pub const NO_TIMESTAMP_MS: i64 = -1;

/// The sequence number that Kafka writes in batches of producers without idempotence.
pub const NO_SEQUENCE: i32 = -1;

/// A record's position in its partition: 0 for the first one ever written, never reused.
///
/// Negative values never name a record; Kafka's protocol uses −1 for "none" ([`Offset::NONE`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of an empty partition.
    pub const ZERO: Offset = Offset(0);
    /// Kafka's "no offset".
    pub const NONE: Offset = Offset(-1);
    /// Above every offset that a partition can hold.
    pub const MAX: Offset = Offset(i64::MAX);

    /// This offset moved by `delta` records; stops at the ends of `i64` (offsets from disk may be hostile).
    #[must_use]
    pub const fn plus(self, delta: i64) -> Offset {
        Offset(self.0.saturating_add(delta))
    }

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Offset {
        self.plus(1)
    }

    /// How many offsets lie between `earlier` and this one; negative when this one is the earlier.
    #[must_use]
    pub const fn since(self, earlier: Offset) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a partition's leadership: grows with each new leader and after each unclean start (KIP-101).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// Kafka's "unknown leader epoch", −1: what clients write into the batches they produce.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity that the cluster hands to an idempotent or transactional producer (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// Kafka's "no producer id", −1: a producer without idempotence.
    pub const NONE: ProducerId = ProducerId(-1);

    /// Whether this names a producer. Kafka's rule: everything above −1 does.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 > Self::NONE.0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sequence number `increment` records after `sequence`: wraps from `i32::MAX` to 0, as Kafka's do.
///
/// `sequence` and `increment` are 0 or more; a negative one (hostile bytes) gives an unspecified number, no panic.
#[must_use]
pub const fn sequence_plus(sequence: i32, increment: i32) -> i32 {
    ((sequence as i64 + increment as i64) & i32::MAX as i64) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::test_runner::{Config, RngSeed};

    /// Property tests draw from a fixed seed, so that a failure shows again.
    pub(crate) fn seeded(cases: u32) -> Config {
        Config {
            cases,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(0x68_61_79_61_74_65),
            ..Config::default()
        }
    }

    /// The bytes of a hexadecimal fixture; white space is skipped.
    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    #[test]
    fn sequences_wrap_to_zero() {
        for (sequence, increment, expected) in
            [(0, 0, 0), (0, 4, 4), (i32::MAX, 1, 0), (i32::MAX, 0, i32::MAX), (i32::MAX - 1, 3, 1)]
        {
            assert_eq!(sequence_plus(sequence, increment), expected, "{sequence} + {increment}");
        }
    }

    #[test]
    fn offsets_stop_at_the_ends() {
        assert_eq!(Offset::MAX.next(), Offset::MAX);
        assert_eq!(Offset(7).plus(3), Offset(10));
        assert_eq!(Offset(10).since(Offset(7)), 3);
        assert_eq!(Offset(7).since(Offset(10)), -3);
        assert!(!ProducerId::NONE.is_some() && ProducerId(0).is_some());
    }
}
