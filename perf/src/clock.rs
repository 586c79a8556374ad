//! The clock of a run: nanoseconds since its beginning, the same for all threads, and the wall time that records carry.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

/// Copied to each thread.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    began_wall_ms: u64,
}

impl Clock {
    /// One that begins now.
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), began_wall_ms: u64::try_from(wall.as_millis()).unwrap_or(0) }
    }

    /// Nanoseconds since its beginning.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since the Unix epoch at a time of this clock.
    pub fn wall_ms(&self, at: u64) -> i64 {
        i64::try_from(self.began_wall_ms + at / 1_000_000).unwrap_or(i64::MAX)
    }
}
