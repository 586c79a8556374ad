//! The cells that are counted in: one thread writes a cell, any thread reads it.
//!
//! An addition is a plain load and a plain store. With a second writer, counts would be lost (never torn): that is why
//! each shard has its own cells.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Takes over a number that is counted elsewhere; it never goes back.
    pub fn reach(&self, total: u64) {
        self.0.store(self.get().max(total), Ordering::Relaxed);
    }

    /// The number now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces the number.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Replaces the number if `value` is larger.
    pub fn raise(&self, value: u64) {
        self.set(self.get().max(value));
    }

    /// The number now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of times, in nanoseconds: 1, 2, 5 a decade from 50 µs to 10 s.
pub(super) const BOUNDS_NANOS: [u64; 17] = {
    let micro = 1_000;
    let milli = 1_000 * micro;
    let second = 1_000 * milli;
    [
        50 * micro,
        100 * micro,
        200 * micro,
        500 * micro,
        milli,
        2 * milli,
        5 * milli,
        10 * milli,
        20 * milli,
        50 * milli,
        100 * milli,
        200 * milli,
        500 * milli,
        second,
        2 * second,
        5 * second,
        10 * second,
    ]
};

/// How often times fell into each bucket, and their sum.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One a bound, and one for what is above the last.
    buckets: [Counter; BOUNDS_NANOS.len() + 1],
    sum_nanos: Counter,
}

impl Histogram {
    /// Counts one time.
    #[inline]
    pub fn record(&self, nanos: u64) {
        let bucket = BOUNDS_NANOS.partition_point(|bound| *bound < nanos);
        self.buckets[bucket].add(1);
        self.sum_nanos.add(nanos);
    }

    /// Adds what was counted here to `total`.
    pub(super) fn add_to(&self, total: &mut Times) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        total.sum_nanos = total.sum_nanos.wrapping_add(self.sum_nanos.get());
    }
}

/// Histograms of several shards, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) buckets: [u64; BOUNDS_NANOS.len() + 1],
    pub(super) sum_nanos: u64,
}

impl Times {
    /// How many times were counted.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_bucket_whose_bound_it_does_not_pass() {
        let histogram = Histogram::default();
        for nanos in [0, 50_000, 50_001, 10_000_000_000, 10_000_000_001, u64::MAX / 4] {
            histogram.record(nanos);
        }
        let mut times = Times::default();
        histogram.add_to(&mut times);
        assert_eq!((times.buckets[0], times.buckets[1], times.buckets[16], times.buckets[17]), (2, 1, 1, 2));
        assert_eq!(times.count(), 6);
    }

    #[test]
    fn counters_add_and_gauges_replace() {
        let (counter, gauge) = (Counter::default(), Gauge::default());
        counter.add(2);
        counter.add(3);
        gauge.set(7);
        gauge.raise(3);
        assert_eq!((counter.get(), gauge.get()), (5, 7));
        gauge.set(1);
        assert_eq!(gauge.get(), 1);
    }
}
