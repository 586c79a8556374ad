//! Settling: what members say of the records that they have.

use super::{Outcome, SharePartition, State, released};
use hayate_net::error::ErrorCode;

/// What a member says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckType {
    /// There is none of that offset.
    Gap,
    /// It was processed.
    Accept,
    /// It may be delivered again.
    Release,
    /// It is not to be delivered again.
    Reject,
}

impl AckType {
    /// By Kafka's number.
    pub fn from_number(number: i8) -> Option<AckType> {
        match number {
            0 => Some(AckType::Gap),
            1 => Some(AckType::Accept),
            2 => Some(AckType::Release),
            3 => Some(AckType::Reject),
            _ => None,
        }
    }
}

/// What a member says of some offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckBatch {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// Of all of them, or of each.
    pub types: Vec<AckType>,
}

impl AckBatch {
    /// From a request's fields.
    ///
    /// # Errors
    /// 42 for what says nothing.
    pub fn of(first: i64, last: i64, types: &[i8]) -> Result<AckBatch, ErrorCode> {
        let known: Option<Vec<AckType>> = types.iter().map(|number| AckType::from_number(*number)).collect();
        let types = known.ok_or(ErrorCode::InvalidRequest)?;
        let count = last.checked_sub(first).and_then(|span| span.checked_add(1));
        let each = i64::try_from(types.len()).ok();
        let fits = first >= 0 && count.is_some_and(|count| count >= 1) && (types.len() == 1 || each == count);
        if fits { Ok(AckBatch { first, last, types }) } else { Err(ErrorCode::InvalidRequest) }
    }

    /// The offsets from `start` on in runs of one type.
    fn runs(&self, start: i64) -> Vec<(i64, i64, AckType)> {
        if let [single] = self.types[..] {
            return if self.last < start {
                Vec::new()
            } else {
                vec![(self.first.max(start), self.last, single)]
            };
        }
        let mut runs: Vec<(i64, i64, AckType)> = Vec::new();
        for (offset, kind) in (self.first..).zip(&self.types).filter(|(offset, _)| *offset >= start) {
            match runs.last_mut() {
                Some((_, last, before)) if before == kind => *last = offset,
                _ => runs.push((offset, offset, *kind)),
            }
        }
        runs
    }
}

impl SharePartition {
    /// A member settles records: all of `batches`, or none. Returns the number of the write that they wait for, or 0 if all of them have
    /// been dealt with already.
    ///
    /// # Errors
    /// 42 for offsets out of order or never delivered, and 121 for records that the member does not have.
    pub fn acknowledge(&mut self, member: &str, batches: &[AckBatch]) -> Result<u64, ErrorCode> {
        if batches.windows(2).any(|pair| pair[1].first <= pair[0].last) {
            return Err(ErrorCode::InvalidRequest);
        }
        let runs: Vec<_> = batches.iter().flat_map(|batch| batch.runs(self.start)).collect();
        for (first, last, _) in &runs {
            self.check_has(member, *first, *last)?;
        }
        let (write, limits) = (self.next_write(), self.limits);
        for (first, last, kind) in &runs {
            for (_, run) in self.cut(*first, *last) {
                let outcome = match kind {
                    AckType::Accept => Outcome::Acknowledged,
                    AckType::Release => released(run.deliveries, &limits),
                    AckType::Reject | AckType::Gap => Outcome::Archived,
                };
                if let State::Acquired(lock) = &run.state {
                    run.state = State::Settling(lock.clone(), outcome, write);
                }
            }
        }
        Ok(if runs.is_empty() { 0 } else { write })
    }

    fn check_has(&self, member: &str, first: i64, last: i64) -> Result<(), ErrorCode> {
        if last >= self.end {
            return Err(ErrorCode::InvalidRequest);
        }
        let from = self.runs.range(..=first).next_back().map_or(first, |(at, _)| *at);
        let has = self.runs.range(from..=last).all(|(_, run)| match &run.state {
            State::Acquired(lock) => *lock.member == *member,
            State::Settled(_) | State::Settling(..) => false,
        });
        if has { Ok(()) } else { Err(ErrorCode::InvalidRecordState) }
    }
}
