//! Times counted finely enough for percentiles: sixteen buckets an octave.
//!
//! ```text
//!  bucket 0: up to 256 ns │ 1–16: up to 512 ns │ 17–32: up to 1,024 ns │ … up to 34 s │ 433: above
//! ```
//! A bucket holds the times above its lower bound and up to its upper one, so that powers of two are bounds of what Prometheus is shown,
//! and a percentile is off by 3 % at most. Written by one thread, as all cells are.

use super::cells::Counter;

/// Buckets of an octave, as a power of two.
const SUB_BITS: u32 = 4;
/// The first bucket's upper bound, as a power of two of nanoseconds.
const FIRST_BITS: u32 = 8;
/// The last bound, as a power of two: 34 s.
const LAST_BITS: u32 = 35;
/// Buckets, with the one for what is above the last bound.
const BUCKETS: usize = 2 + ((LAST_BITS - FIRST_BITS) as usize) * (1 << SUB_BITS);

/// The bounds that Prometheus is shown, as powers of two: 1 µs to 8.6 s.
pub(super) const SHOWN_BITS: std::ops::RangeInclusive<u32> = 10..=33;

/// The bucket of a time.
#[inline]
fn bucket_of(nanos: u64) -> usize {
    let before = nanos.saturating_sub(1); // bounds belong to the buckets below them
    if before < 1 << FIRST_BITS {
        return 0;
    }
    let octave = 63 - before.leading_zeros();
    let part = (before >> (octave - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    let bucket = 1 + (((octave - FIRST_BITS) << SUB_BITS) as usize) + part as usize;
    bucket.min(BUCKETS - 1)
}

/// The largest time in a bucket, in nanoseconds; `None` for the last one, which has no bound.
fn upper_nanos(bucket: usize) -> Option<u64> {
    let after_first = match bucket.checked_sub(1) {
        None => return Some(1 << FIRST_BITS),
        Some(after_first) => after_first as u64,
    };
    let octave = FIRST_BITS as u64 + (after_first >> SUB_BITS);
    let part = after_first & ((1 << SUB_BITS) - 1);
    (bucket < BUCKETS - 1).then(|| ((1 << SUB_BITS) + part + 1) << (octave - SUB_BITS as u64))
}

/// How often times fell into each bucket, and their sum.
#[derive(Debug)]
pub(super) struct FineHistogram {
    buckets: [Counter; BUCKETS],
    sum_nanos: Counter,
}

impl Default for FineHistogram {
    fn default() -> FineHistogram {
        FineHistogram { buckets: std::array::from_fn(|_| Counter::default()), sum_nanos: Counter::default() }
    }
}

impl FineHistogram {
    /// Counts one time.
    #[inline]
    pub(super) fn record(&self, nanos: u64) {
        self.buckets[bucket_of(nanos)].add(1);
        self.sum_nanos.add(nanos);
    }

    /// Adds what was counted here to `total`.
    pub(super) fn add_to(&self, total: &mut FineTimes) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        total.sum_nanos = total.sum_nanos.wrapping_add(self.sum_nanos.get());
    }
}

/// A bucket in which there is something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Times in it are longer than this, in nanoseconds.
    pub above_nanos: u64,
    /// And not longer than this; `None` without a bound.
    pub up_to_nanos: Option<u64>,
    /// How many there are.
    pub count: u64,
}

/// Fine histograms of several shards, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FineTimes {
    buckets: Vec<u64>,
    sum_nanos: u64,
}

impl Default for FineTimes {
    fn default() -> FineTimes {
        FineTimes { buckets: vec![0; BUCKETS], sum_nanos: 0 }
    }
}

impl FineTimes {
    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum in nanoseconds.
    pub fn sum_nanos(&self) -> u64 {
        self.sum_nanos
    }

    /// The buckets that are not empty, the shortest times first.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let filled = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(bucket, count)| Bucket {
            above_nanos: bucket.checked_sub(1).and_then(upper_nanos).unwrap_or(0),
            up_to_nanos: upper_nanos(bucket),
            count: *count,
        })
    }

    /// How many were not longer than a power of two of nanoseconds, one of [`SHOWN_BITS`].
    pub(super) fn up_to(&self, bits: u32) -> u64 {
        let buckets = 1 + (((bits - FIRST_BITS) as usize) << SUB_BITS);
        self.buckets[..buckets].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_belongs_to_the_bucket_below_it_and_no_time_is_far_from_one() {
        for bucket in 0..BUCKETS - 1 {
            let upper = upper_nanos(bucket).expect("a bound");
            assert_eq!((bucket_of(upper), bucket_of(upper + 1)), (bucket, bucket + 1), "{upper}");
            if let Some(lower) = bucket.checked_sub(1).and_then(upper_nanos) {
                assert!((upper - lower) as f64 <= lower as f64 / 16.0, "{lower} to {upper}");
            }
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX), upper_nanos(BUCKETS - 1)), (0, BUCKETS - 1, None));
        assert_eq!(upper_nanos(BUCKETS - 2), Some(1 << LAST_BITS));
    }

    #[test]
    fn what_prometheus_is_shown_is_exact() {
        let histogram = FineHistogram::default();
        let times = [0, 1023, 1024, 1025, 2048, 1 << 33, (1 << 33) + 1, u64::MAX / 4];
        times.iter().for_each(|nanos| histogram.record(*nanos));
        let mut total = FineTimes::default();
        histogram.add_to(&mut total);
        for bits in SHOWN_BITS {
            let due = times.iter().filter(|nanos| **nanos <= 1 << bits).count() as u64;
            assert_eq!(total.up_to(bits), due, "2^{bits} ns");
        }
        assert_eq!((total.count(), total.sum_nanos()), (8, times.iter().sum()));
        let (first, last) = (total.buckets().next(), total.buckets().last());
        assert_eq!(first, Some(Bucket { above_nanos: 0, up_to_nanos: Some(256), count: 1 }));
        assert_eq!(last, Some(Bucket { above_nanos: 1 << 35, up_to_nanos: None, count: 1 }));
    }
}
