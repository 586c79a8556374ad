//! Retention: one pass over the logs of a shard, on the engine's call.

use super::Store;
use crate::batch::Offset;
use crate::error::StorageError;
use crate::log::Log;
use crate::retention::{RetentionInputs, SegmentSummary, deletable, start_after};

impl Store {
    /// Moves the start of every log up to what its retention settings leave, and removes the segments before it. Of a log that is
    /// offline everything is kept.
    pub async fn run_retention(&self) {
        for log in self.logs().into_iter().filter(|log| log.failure().is_none()) {
            if let Err(error) = retain(&log).await {
                tracing::warn!(partition = %log.partition(), %error, "retention");
            }
        }
    }
}

async fn retain(log: &Log) -> Result<(), StorageError> {
    let inner = &log.inner;
    let bases: Vec<Offset> = inner.state.borrow().segments.iter().map(|segment| segment.base).collect();
    for base in bases {
        learn_timestamp(log, base).await?;
    }
    let now_ms = inner.shared.rt.wall_ms();
    let to = {
        let mut state = inner.state.borrow_mut();
        state.producers.expire(now_ms);
        // What checkpoints and snapshots are made of.
        state.flushed_producers.expire(now_ms);
        let segments: Vec<SegmentSummary> = state
            .segments
            .iter()
            .map(|segment| SegmentSummary {
                base_offset: segment.base,
                size_bytes: segment.size,
                largest_timestamp_ms: segment.largest_timestamp_ms(),
            })
            .collect();
        let inputs = RetentionInputs {
            segments: &segments,
            log_start: state.start,
            log_end: state.end,
            high_watermark: state.high_watermark,
            now_ms,
        };
        let count = deletable(&state.config, &inputs).total();
        let to = start_after(&inputs, count);
        if count == segments.len() && count > 0 {
            state.roll(inner, now_ms);
        }
        to
    };
    log.advance_start(to).await
}

/// A segment that cannot be read keeps neither the log's other segments nor itself from going by size; by time it stays.
async fn learn_timestamp(log: &Log, base: Offset) -> Result<(), StorageError> {
    match log.inner.learn_largest_timestamp(base).await {
        Err(error @ (StorageError::Corrupt(_) | StorageError::Disk(_))) => {
            tracing::warn!(partition = %log.partition(), segment = %base, %error, "the segment's age is unknown");
            Ok(())
        }
        other => other,
    }
}
