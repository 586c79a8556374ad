//! The control record that ends a transaction in a partition, with its time. Written by the transaction's coordinator, read at replay.
//! What stands in it, `batch::control` knows.

use super::ProducerError;
use crate::batch::BatchHeader;
use crate::batch::control::{EndTxnMarker, TxnOutcome};
use crate::batch::records::{Record, Records, body};

/// Control batches are small and never compressed; a larger one is none of ours.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The end of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndMarker {
    pub outcome: TxnOutcome,
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
        let EndTxnMarker { outcome, coordinator_epoch } =
            EndTxnMarker::from_record(record.key?, record.value?)?;
        Some(EndMarker { outcome, coordinator_epoch, timestamp_ms: record.timestamp_ms })
    }
}
