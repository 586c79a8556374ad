//! The control record that ends a transaction in a partition: commit or abort. Written by the transaction's coordinator, read at
//! replay. Source: Kafka's `ControlRecordType` and `EndTransactionMarker` (KIP-98).
//!
//! ```text
//!  key:    version i16 (0) │ type i16: 0 abort, 1 commit
//!  value:  version i16 (0) │ coordinator epoch i32            longer values are of later versions
//! ```

use super::ProducerError;
use crate::batch::BatchHeader;
use crate::batch::records::{Record, Records, body};

/// Control batches are small and never compressed; a larger one is none of ours.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Abort,
    Commit,
}

/// The end of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndMarker {
    pub outcome: Outcome,
    /// The leader epoch of the coordinator's partition: a marker of an older one is stale.
    pub coordinator_epoch: i32,
    /// The record's time, in milliseconds.
    pub timestamp_ms: i64,
}

impl EndMarker {
    /// The marker in a control batch; `None` when compaction has removed it.
    pub(super) fn of_batch(header: &BatchHeader, batch: &[u8]) -> Result<Option<EndMarker>, ProducerError> {
        let error = ProducerError::Marker { producer_id: header.producer_id, offset: header.base_offset };
        let body = body(batch, header, BODY_BYTES_MAX).map_err(|_| error)?;
        let mut records = Records::new(header, &body).map_err(|_| error)?;
        match records.next() {
            None => Ok(None),
            Some(record) => {
                record.ok().and_then(|record| EndMarker::of_record(&record)).map(Some).ok_or(error)
            }
        }
    }

    fn of_record(record: &Record<'_>) -> Option<EndMarker> {
        let ([0, 0, kind @ ..], value) = (record.key?.first_chunk::<4>()?, record.value?.first_chunk::<6>()?)
        else {
            return None;
        };
        let outcome = match i16::from_be_bytes(*kind) {
            0 => Outcome::Abort,
            1 => Outcome::Commit,
            _ => return None,
        };
        let [version_high, _, epoch @ ..] = value;
        let known = version_high.cast_signed() >= 0;
        let coordinator_epoch = i32::from_be_bytes(*epoch);
        known.then_some(EndMarker { outcome, coordinator_epoch, timestamp_ms: record.timestamp_ms })
    }

    /// Key and value of the record.
    #[must_use]
    pub fn to_record(&self) -> ([u8; 4], [u8; 6]) {
        let kind = match self.outcome {
            Outcome::Abort => 0,
            Outcome::Commit => 1,
        };
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        ([0, 0, 0, kind], [0, 0, a, b, c, d])
    }
}
