//! When each record is meant to be sent: pure.

use crate::clock::SECOND;

/// The pace of one lane of records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// At a fixed rate, whatever becomes of the records before.
    Open {
        /// When the first is due, in nanoseconds.
        start: u64,
        /// Records a second, above 0.
        per_second: f64,
    },
    /// As soon as there is room.
    Closed {
        /// But not before, in nanoseconds.
        start: u64,
    },
}

impl Pace {
    /// When record `number`, from 0, is meant to be sent; `now` where that is whenever it is sent.
    pub fn intended(&self, number: u64, now: u64) -> u64 {
        match *self {
            Pace::Open { start, per_second } => start + (number as f64 * SECOND as f64 / per_second) as u64,
            Pace::Closed { start } => now.max(start),
        }
    }

    /// How many records are due by `now`, all in all, of those that come before `end`.
    pub fn due(&self, now: u64, end: u64) -> u64 {
        match *self {
            Pace::Open { start, per_second } => {
                let by = now.min(end.saturating_sub(1));
                if by < start {
                    return 0;
                }
                let mut count = ((by - start) as f64 * per_second / SECOND as f64) as u64;
                // Rounding may be off by one on either side.
                while count > 0 && self.intended(count - 1, now) > by {
                    count -= 1;
                }
                while self.intended(count, now) <= by {
                    count += 1;
                }
                count
            }
            Pace::Closed { start } if (start..end).contains(&now) => u64::MAX,
            Pace::Closed { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    const END: u64 = u64::MAX;

    #[test]
    fn each_record_is_due_from_its_own_time_on() {
        for per_second in [0.5, 3.0, 999.0, 123_456.7, 5_000_000.0] {
            let pace = Pace::Open { start: 17, per_second };
            for number in [0, 1, 2, 7, 1_000, 123_457] {
                let at = pace.intended(number, 0);
                assert_eq!(pace.due(at, END), number + 1, "{per_second}/s, record {number}");
                assert_eq!(pace.due(at - 1, END), number, "{per_second}/s, before record {number}");
            }
        }
    }

    #[test]
    fn nothing_is_due_before_the_start_nor_from_the_end_on() {
        let pace = Pace::Open { start: 1_000_000_000, per_second: 10.0 };
        assert_eq!(pace.due(999_999_999, END), 0);
        assert_eq!(pace.due(u64::MAX, 2_000_000_000), 10);
        let closed = Pace::Closed { start: 4 };
        assert_eq!([3, 4, 5, 6].map(|now| closed.due(now, 6)), [0, u64::MAX, u64::MAX, 0]);
    }
}
