//! The two clocks: monotonic time for deadlines and measurements, wall time for what users see.

use crate::{Inner, Rt};
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in monotonic time: nanoseconds since an arbitrary start of this process or simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MonoTime(u64);

impl MonoTime {
    /// From nanoseconds since the start.
    pub const fn from_nanos(nanos: u64) -> MonoTime {
        MonoTime(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this, or zero if `earlier` is later.
    pub fn since(self, earlier: MonoTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonoTime {
    type Output = MonoTime;

    fn add(self, span: Duration) -> MonoTime {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        MonoTime(self.0.saturating_add(nanos))
    }
}

impl Sub for MonoTime {
    type Output = Duration;

    fn sub(self, earlier: MonoTime) -> Duration {
        self.since(earlier)
    }
}

impl Rt {
    /// Monotonic time now.
    #[inline]
    pub fn now(&self) -> MonoTime {
        match &self.inner {
            Inner::Kernel(rt) => rt.now(),
            #[cfg(feature = "sim")]
            Inner::Sim(node) => node.now(),
        }
    }

    /// Wall time now, in milliseconds since the Unix epoch (Kafka's timestamp unit).
    #[inline]
    pub fn wall_ms(&self) -> i64 {
        match &self.inner {
            Inner::Kernel(rt) => rt.wall_ms(),
            #[cfg(feature = "sim")]
            Inner::Sim(node) => node.wall_ms(),
        }
    }
}
