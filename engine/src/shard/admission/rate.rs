//! How many events a second there were of late: a sum over windows of a second each, and how long to wait when it is too much.
//! Pure. After Kafka's `Rate` and `QuotaUtils` with their default windows (`quota.window.num`, `quota.window.size.seconds`).

use hayate_rt::MonoTime;
use std::collections::VecDeque;
use std::time::Duration;

/// Windows that are kept, the current one included.
const WINDOWS: usize = 11;
const WINDOW: Duration = Duration::from_secs(1);
/// The least time that a sum is spread over, so that the first events are not a flood.
const SPAN_MIN: Duration = Duration::from_secs(WINDOWS as u64 - 1);
/// The longest that one event is held up.
const DELAY_MAX: Duration = WINDOW;

/// Events by the window that they fell into, oldest first; windows without any are left out.
#[derive(Debug, Default)]
pub(super) struct Rate {
    windows: VecDeque<(MonoTime, u64)>,
}

impl Rate {
    /// Counts an event at `now`, and says how long it must wait if there may be `rate_max` a second.
    pub(super) fn record(&mut self, now: MonoTime, rate_max: u32) -> Duration {
        self.windows.retain(|(began, _)| now.since(*began) < WINDOW * WINDOWS as u32);
        match self.windows.back_mut() {
            Some((began, count)) if now.since(*began) < WINDOW => *count += 1,
            Some(_) | None => self.windows.push_back((now, 1)),
        }
        self.delay(now, rate_max)
    }

    /// The time in which what is too much would have been allowed.
    fn delay(&self, now: MonoTime, rate_max: u32) -> Duration {
        let Some((oldest, _)) = self.windows.front() else { return Duration::ZERO };
        let span = now.since(*oldest).max(SPAN_MIN).as_secs_f64();
        let count: u64 = self.windows.iter().map(|(_, count)| count).sum();
        let too_many = count as f64 - f64::from(rate_max) * span;
        if too_many <= 0.0 {
            return Duration::ZERO;
        }
        let seconds = too_many / f64::from(rate_max);
        Duration::from_secs_f64(seconds.min(DELAY_MAX.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The delays of `count` events, `every_ms` apart, each of which waits for its own.
    fn delays(rate_max: u32, count: u32, every_ms: u64) -> Vec<u128> {
        let (mut rate, mut now) = (Rate::default(), MonoTime::from_nanos(1));
        let event = |_| {
            let delay = rate.record(now, rate_max);
            now = now + delay + Duration::from_millis(every_ms);
            delay.as_millis()
        };
        (0..count).map(event).collect()
    }

    #[test]
    fn ten_seconds_worth_may_come_at_once_and_the_rest_waits() {
        assert_eq!(delays(2, 20, 0), [0; 20]);
        assert_eq!(delays(2, 23, 0)[20..], [500, 1000, 1000]);
        assert_eq!(delays(1, 13, 0)[10..], [1000, 1000, 1000], "one is never held up for longer");
    }

    #[test]
    fn a_steady_rate_below_the_limit_never_waits() {
        assert!(delays(10, 500, 110).iter().all(|delay| *delay == 0));
        assert!(delays(10, 500, 90).iter().any(|delay| *delay > 0));
    }

    #[test]
    fn old_events_are_forgotten_and_nothing_may_come_at_rate_0() {
        let mut rate = Rate::default();
        let at = |seconds| MonoTime::from_nanos(1) + Duration::from_secs(seconds);
        (0..10).for_each(|_| assert_eq!(rate.record(at(0), 1), Duration::ZERO));
        assert_eq!(rate.record(at(20), 1), Duration::ZERO);
        assert_eq!(rate.windows.len(), 1);
        assert_eq!(rate.record(at(20), 0), DELAY_MAX);
    }
}
