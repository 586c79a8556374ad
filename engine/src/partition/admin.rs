//! What administrators ask of a partition: to delete records, how large it is, who writes to it idempotently.

use super::{Partition, code_of};
use hayate_net::error::ErrorCode;
use hayate_storage::batch::{Offset, ProducerId};
use hayate_storage::log::Remembered;

/// Which records go, as DeleteRecords names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteBefore {
    /// −1: all that consumers may see.
    HighWatermark,
    /// All before this offset.
    Offset(Offset),
}

impl DeleteBefore {
    /// From a request's `offset`.
    pub fn from_offset(offset: i64) -> DeleteBefore {
        if offset == -1 { DeleteBefore::HighWatermark } else { DeleteBefore::Offset(Offset(offset)) }
    }
}

/// How large a partition's log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSize {
    /// Bytes of batches in its segments.
    pub bytes: u64,
    /// How far its end lies behind the high watermark: 0 on a leader.
    pub offset_lag: i64,
}

/// An idempotent producer of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// The epoch of its last batch.
    pub epoch: i16,
    /// The sequence of its last record; −1 when none of this epoch is remembered.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch, in milliseconds.
    pub last_timestamp_ms: i64,
    /// The epoch of the coordinator that ended its last transaction; −1 for none.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins.
    pub open_from: Option<Offset>,
}

impl Partition {
    /// Deletes records from the log's start on, durably; returns where the log starts from then on. One that starts later
    /// already stays as it is. They are gone with the call; of many partitions, all may be called before the first is
    /// waited for. After Kafka's `Partition.deleteRecordsOnLeader` and `UnifiedLog.maybeIncrementLogStartOffset`.
    ///
    /// # Errors
    /// 44 for a topic that is compacted and nothing else, 1 for an offset that consumers may not see yet, 6 and 56.
    pub fn delete_records(
        &self,
        before: DeleteBefore,
    ) -> Result<impl Future<Output = Result<Offset, ErrorCode>> + use<>, ErrorCode> {
        self.check_readable(None)?;
        let policy = self.settings().log.cleanup_policy;
        if policy.compact && !policy.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let high_watermark = self.high_watermark();
        let to = match before {
            DeleteBefore::HighWatermark => high_watermark,
            DeleteBefore::Offset(offset) => offset,
        };
        if !(Offset::ZERO..=high_watermark).contains(&to) {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        // What is durable when the call returns; by then another one may have moved it on.
        let start = self.log.offsets().start.max(to);
        let advancing = self.log.advance_start(to);
        // Who waits for the end of a transaction may wait for what is gone.
        self.progress();
        self.committed_watchers.disturbed();
        Ok(async move { advancing.await.map(|()| start).map_err(|error| code_of(error.code())) })
    }

    /// How large its log is, also of one that is offline.
    pub fn log_size(&self) -> LogSize {
        let end = self.log.offsets().end;
        LogSize { bytes: self.log.size_bytes(), offset_lag: (self.high_watermark().0 - end.0).max(0) }
    }

    /// Its idempotent producers, by id. Where acknowledged means flushed, a producer is told of once its batch is.
    ///
    /// # Errors
    /// 6 and 56.
    pub fn active_producers(&self) -> Result<Vec<ActiveProducer>, ErrorCode> {
        self.check_readable(None)?;
        let relaxed = self.settings().is_flush_relaxed();
        let which = if relaxed { Remembered::All } else { Remembered::Flushed };
        Ok(self.log.with_producers(which, |producers| {
            let active = producers.iter().map(|(producer_id, entry)| ActiveProducer {
                producer_id,
                epoch: entry.epoch,
                last_sequence: entry.last_sequence(),
                last_timestamp_ms: entry.last_timestamp_ms,
                coordinator_epoch: entry.coordinator_epoch,
                open_from: entry.open_from,
            });
            active.collect()
        }))
    }
}
