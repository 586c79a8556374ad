//! Finds records by time inside one batch, for ListOffsets. Decompresses with a cap; knows nothing of indexes or segments, which
//! find the batch. The rules are Kafka's `FileRecords.searchForTimestamp` and `RecordBatch.offsetOfMaxTimestamp` (KIP-734).

use super::Offset;
use super::header::BatchHeader;
use super::records::{Record, Records, RecordsError, body};

/// A record's place and time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetAtTime {
    pub offset: Offset,
    pub timestamp_ms: i64,
}

/// The first record of `batch` at `start` or behind it whose timestamp is `target_ms` or later.
///
/// `batch` begins with `header`. Batches whose `max_timestamp_ms` is earlier are answered without a look at the records.
///
/// # Errors
/// [`RecordsError`] when the records before the answer cannot be read, or unpack to more than `cap_bytes`.
pub fn first_at_or_after(
    batch: &[u8],
    header: &BatchHeader,
    target_ms: i64,
    start: Offset,
    cap_bytes: usize,
) -> Result<Option<OffsetAtTime>, RecordsError> {
    if header.max_timestamp_ms < target_ms {
        return Ok(None);
    }
    first_record(batch, header, cap_bytes, |record| {
        record.timestamp_ms >= target_ms && record.offset >= start
    })
}

/// The first record of `batch` that carries the batch's greatest timestamp; `None` when none does (an empty batch).
///
/// # Errors
/// [`RecordsError`] when the records before the answer cannot be read, or unpack to more than `cap_bytes`.
pub fn offset_of_max_timestamp(
    batch: &[u8],
    header: &BatchHeader,
    cap_bytes: usize,
) -> Result<Option<OffsetAtTime>, RecordsError> {
    first_record(batch, header, cap_bytes, |record| record.timestamp_ms == header.max_timestamp_ms)
}

fn first_record(
    batch: &[u8],
    header: &BatchHeader,
    cap_bytes: usize,
    wanted: impl Fn(&Record<'_>) -> bool,
) -> Result<Option<OffsetAtTime>, RecordsError> {
    let body = body(batch, header, cap_bytes)?;
    for record in Records::new(header, &body)? {
        let record = record?;
        if wanted(&record) {
            return Ok(Some(OffsetAtTime { offset: record.offset, timestamp_ms: record.timestamp_ms }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::header::{Codec, HEADER_BYTES};
    use crate::batch::{BatchBuilder, NO_TIMESTAMP_MS};

    const CAP_BYTES: usize = 1 << 20;

    fn batch(times_ms: &[i64], shape: impl Fn(BatchBuilder) -> BatchBuilder) -> bytes::Bytes {
        let mut builder = shape(BatchBuilder::new().base_offset(Offset(100)));
        times_ms.iter().for_each(|time| builder.append(*time, None, Some(b"v"), &[]));
        builder.build()
    }

    fn at(offset: i64, timestamp_ms: i64) -> Option<OffsetAtTime> {
        Some(OffsetAtTime { offset: Offset(offset), timestamp_ms })
    }

    #[test]
    fn lookups_by_time_answer_as_kafkas() {
        for codec in Codec::ALL {
            let batch = batch(&[5, 9, 7, 9, 3], |builder| builder.codec(codec));
            let header = BatchHeader::parse(&batch).unwrap();
            let first =
                |target, start| first_at_or_after(&batch, &header, target, Offset(start), CAP_BYTES).unwrap();
            for (target_ms, start, expected) in [
                (0, 0, at(100, 5)),
                (5, 100, at(100, 5)),
                (6, 100, at(101, 9)),
                (6, 102, at(102, 7)),
                (9, 102, at(103, 9)),
                (3, 104, at(104, 3)),
                (5, 104, None),
                (10, 0, None),
                (NO_TIMESTAMP_MS, 105, None),
            ] {
                assert_eq!(first(target_ms, start), expected, "{codec:?} {target_ms} from {start}");
            }
            assert_eq!(offset_of_max_timestamp(&batch, &header, CAP_BYTES), Ok(at(101, 9)));
        }
    }

    #[test]
    fn under_log_append_time_every_record_counts_as_the_batch() {
        let batch = batch(&[5, 9], |builder| builder.log_append_time(50));
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(first_at_or_after(&batch, &header, 20, Offset(101), CAP_BYTES), Ok(at(101, 50)));
        assert_eq!(offset_of_max_timestamp(&batch, &header, CAP_BYTES), Ok(at(100, 50)));
    }

    #[test]
    fn an_empty_batch_has_no_answer_and_a_damaged_one_an_error() {
        let empty = BatchBuilder::new().last_offset_delta(4).build();
        let header = BatchHeader::parse(&empty).unwrap();
        assert_eq!(offset_of_max_timestamp(&empty, &header, CAP_BYTES), Ok(None));

        let batch = batch(&[5, 9], |builder| builder);
        let header = BatchHeader::parse(&batch).unwrap();
        let cut = &batch[..batch.len() - 1];
        assert_eq!(first_at_or_after(cut, &header, 0, Offset::ZERO, CAP_BYTES), Err(RecordsError::Short));
        let mut damaged = batch.to_vec();
        damaged[HEADER_BYTES] = 0x7e;
        assert!(matches!(
            first_at_or_after(&damaged, &header, 0, Offset::ZERO, CAP_BYTES),
            Err(RecordsError::Record { index: 0 })
        ));
    }
}
