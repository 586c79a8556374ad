//! What a load thread counts: latencies, records, bytes, refusals. A thread has its own and gives it away once a second; nobody waits.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Latencies are kept to three digits, in nanoseconds.
const DIGITS: u8 = 3;
/// What takes longer counts as this.
const LATENCY_MAX: u64 = 24 * 3600 * crate::clock::SECOND;

/// Latencies in nanoseconds.
pub type Latencies = Histogram<u64>;

/// An empty set of latencies.
pub fn latencies() -> Latencies {
    Histogram::new(DIGITS).expect("three digits are possible")
}

/// What is measured of one side of a load.
#[derive(Clone, Debug)]
pub struct Gauge {
    /// From when a record was meant to be sent, or a request was, until what the side waits for.
    pub latencies: Latencies,
    /// Records of which that came.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Records of batches that the broker refused, by Kafka's code.
    pub refused: BTreeMap<i16, u64>,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge { latencies: latencies(), records: 0, bytes: 0, refused: BTreeMap::new() }
    }
}

impl Gauge {
    /// Notes `count` records of one latency.
    pub fn note(&mut self, latency: u64, count: u64) {
        self.latencies.record_n(latency.min(LATENCY_MAX), count).expect("it grows as it needs");
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Gauge) {
        self.latencies.add(&other.latencies).expect("gauges grow as they need");
        self.records += other.records;
        self.bytes += other.bytes;
        for (code, count) in &other.refused {
            *self.refused.entry(*code).or_default() += count;
        }
    }

    /// Records that were refused.
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.latencies.is_empty() && self.refused.is_empty()
    }

    /// What was noted since it was last taken.
    pub fn take(&mut self) -> Gauge {
        std::mem::take(self)
    }
}
