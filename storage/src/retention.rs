//! Which old segments go, and when the active one is rolled: pure decisions over sizes, offsets and times. Deletes nothing itself.
//!
//! Rules: Kafka's `UnifiedLog.deleteOldSegments` (log start, then size, then time, each from the oldest segment until one stays)
//! and `LogSegment.shouldRoll`. No segment goes that holds a record at or beyond the high watermark.

use crate::batch::Offset;
use crate::config::LogConfig;
use crate::index::offset::OFFSET_ENTRY_BYTES;
use crate::index::relative_offset;
use crate::index::time::TIME_ENTRY_BYTES;

/// A segment, as far as retention cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentSummary {
    pub base_offset: Offset,
    /// Bytes of batches.
    pub size_bytes: u64,
    /// The largest timestamp of its records, in milliseconds; where none has one, when the file was last written.
    pub largest_timestamp_ms: i64,
}

/// A log, as far as retention cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetentionInputs<'a> {
    /// All segments, oldest first; the last one is the active one.
    pub segments: &'a [SegmentSummary],
    pub log_start: Offset,
    pub log_end: Offset,
    pub high_watermark: Offset,
    pub now_ms: i64,
}

/// How many segments go, oldest first, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deletable {
    /// They hold nothing at or beyond the log's start.
    pub before_start: usize,
    /// The log is larger than `retention.bytes` without them.
    pub by_size: usize,
    /// All their records are older than `retention.ms`.
    pub by_time: usize,
}

impl Deletable {
    /// How many segments go in all. When it is all there are, the caller first rolls to an empty one.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.before_start + self.by_size + self.by_time
    }
}

/// Which segments may go now. An empty active segment never does.
///
/// Size and time count with `cleanup.policy` `delete` alone; what lies before the log's start goes with any policy.
#[must_use]
pub fn deletable(config: &LogConfig, inputs: &RetentionInputs<'_>) -> Deletable {
    let before_start = before_start(inputs);
    if !config.cleanup_policy.delete {
        return Deletable { before_start, ..Deletable::default() };
    }
    let by_size = config.retention_bytes.map_or(0, |limit| by_size(inputs, before_start, limit));
    let gone = before_start + by_size;
    let by_time = config.retention_ms.map_or(0, |limit_ms| by_time(inputs, gone, limit_ms));
    Deletable { before_start, by_size, by_time }
}

/// Where the log starts once the first `count` segments are gone.
///
/// # Panics
/// When there are fewer segments.
#[must_use]
pub fn start_after(inputs: &RetentionInputs<'_>, count: usize) -> Offset {
    assert!(count <= inputs.segments.len(), "{count} of {} segments go", inputs.segments.len());
    let first_left = inputs.segments.get(count).map_or(inputs.log_end, |segment| segment.base_offset);
    if count == 0 { inputs.log_start } else { first_left.max(inputs.log_start) }
}

/// Counts the segments from number `first` on that may go and that `goes` lets go, up to the first one that stays.
fn count_while(
    inputs: &RetentionInputs<'_>,
    first: usize,
    mut goes: impl FnMut(&SegmentSummary, Option<&SegmentSummary>) -> bool,
) -> usize {
    let left = inputs.segments.get(first..).unwrap_or_default();
    let nexts = left.iter().skip(1).map(Some).chain([None]);
    left.iter()
        .zip(nexts)
        .take_while(|(segment, next)| {
            let end = next.map_or(inputs.log_end, |next| next.base_offset);
            let empty_active = next.is_none() && segment.size_bytes == 0;
            !empty_active && end <= inputs.high_watermark && goes(segment, *next)
        })
        .count()
}

fn before_start(inputs: &RetentionInputs<'_>) -> usize {
    count_while(inputs, 0, |_, next| next.is_some_and(|next| next.base_offset <= inputs.log_start))
}

/// A segment goes as long as the log stays at or above the limit without it.
fn by_size(inputs: &RetentionInputs<'_>, first: usize, limit_bytes: u64) -> usize {
    let left = inputs.segments.get(first..).unwrap_or_default();
    let log_bytes: u64 = left.iter().map(|segment| segment.size_bytes).sum();
    let Some(mut excess_bytes) = log_bytes.checked_sub(limit_bytes) else { return 0 };
    count_while(inputs, first, |segment, _| match excess_bytes.checked_sub(segment.size_bytes) {
        Some(rest) => {
            excess_bytes = rest;
            true
        }
        None => false,
    })
}

fn by_time(inputs: &RetentionInputs<'_>, first: usize, limit_ms: i64) -> usize {
    count_while(inputs, first, |segment, _| {
        inputs.now_ms.saturating_sub(segment.largest_timestamp_ms) > limit_ms
    })
}

/// The active segment and the batch that is about to be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RollInputs {
    pub segment_base: Offset,
    /// Bytes of batches in the segment.
    pub segment_bytes: u64,
    /// The largest timestamp of the segment's first batch, in milliseconds.
    pub first_timestamp_ms: Option<i64>,
    /// When the segment was made, in milliseconds: counts where the first batch has no timestamp.
    pub created_ms: i64,
    /// The segment's share of `segment.jitter.ms`, in milliseconds.
    pub jitter_ms: i64,
    /// Bytes of the offset index.
    pub index_bytes: u64,
    pub batch_bytes: u64,
    /// The batch's largest timestamp, in milliseconds.
    pub batch_max_timestamp_ms: i64,
    pub batch_last_offset: Offset,
    pub now_ms: i64,
}

/// Whether the batch goes to a new segment: it does not fit this one, the segment is as old as `segment.ms` allows, an index is
/// full, or the offset is too far from the segment's base to be indexed.
///
/// An empty segment takes the batch, as a new one would be no better.
#[must_use]
pub fn must_roll(config: &LogConfig, inputs: &RollInputs) -> bool {
    let overflows = inputs.segment_bytes + inputs.batch_bytes > u64::from(config.segment_bytes);
    let old = waited_ms(inputs) > config.segment_ms.saturating_sub(inputs.jitter_ms);
    let far = relative_offset(inputs.batch_last_offset, inputs.segment_base).is_err();
    inputs.segment_bytes > 0 && (overflows || old || far || is_index_full(config, inputs.index_bytes))
}

/// How far the batch lies behind the segment's first one; by the broker's clock where that has no timestamp.
const fn waited_ms(inputs: &RollInputs) -> i64 {
    match inputs.first_timestamp_ms {
        Some(first_ms) if first_ms >= 0 => inputs.batch_max_timestamp_ms.saturating_sub(first_ms),
        _ => inputs.now_ms.saturating_sub(inputs.created_ms),
    }
}

/// Whether either index may be full. The time index has at most an entry for each of the offset index, larger ones, and keeps
/// room for the one that closing the segment adds; Kafka counts both, here the larger case stands for both.
fn is_index_full(config: &LogConfig, offset_index_bytes: u64) -> bool {
    let entries = offset_index_bytes / OFFSET_ENTRY_BYTES as u64;
    let max_bytes = u64::from(config.segment_index_bytes);
    let max_offsets = max_bytes / OFFSET_ENTRY_BYTES as u64;
    let max_times = (max_bytes / TIME_ENTRY_BYTES as u64).saturating_sub(1);
    entries >= max_offsets.min(max_times)
}

/// A new segment's share of `segment.jitter.ms`, in milliseconds: 0 up to, but not, the smaller of it and `segment.ms`.
#[must_use]
pub fn jitter_ms(config: &LogConfig, random: u64) -> i64 {
    match u64::try_from(config.segment_jitter_ms.min(config.segment_ms)) {
        Ok(limit_ms) if limit_ms > 0 => i64::try_from(random % limit_ms).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CleanupPolicy;
    use proptest::prelude::*;

    const NOW_MS: i64 = 1_000_000;

    /// Three segments of 10 offsets and 100 bytes each, and an active one; the log ends at 35.
    const SEGMENTS: [(i64, u64, i64); 4] = [(0, 100, 100), (10, 100, 200), (20, 100, 300), (30, 50, 400)];

    fn summaries(segments: &[(i64, u64, i64)]) -> Vec<SegmentSummary> {
        let summary = |(base, size_bytes, largest_timestamp_ms): &(i64, u64, i64)| SegmentSummary {
            base_offset: Offset(*base),
            size_bytes: *size_bytes,
            largest_timestamp_ms: *largest_timestamp_ms,
        };
        segments.iter().map(summary).collect()
    }

    fn inputs(segments: &[SegmentSummary], log_start: i64, high_watermark: i64) -> RetentionInputs<'_> {
        RetentionInputs {
            segments,
            log_start: Offset(log_start),
            log_end: Offset(35),
            high_watermark: Offset(high_watermark),
            now_ms: NOW_MS,
        }
    }

    fn config(retention_bytes: Option<u64>, retention_ms: Option<i64>) -> LogConfig {
        LogConfig { retention_bytes, retention_ms, ..LogConfig::default() }
    }

    fn check(config: &LogConfig, log_start: i64, high_watermark: i64, expected: (usize, usize, usize)) {
        let segments = summaries(&SEGMENTS);
        let found = deletable(config, &inputs(&segments, log_start, high_watermark));
        assert_eq!(
            (found.before_start, found.by_size, found.by_time),
            expected,
            "{config:?} {log_start} {high_watermark}"
        );
    }

    #[test]
    fn segments_before_the_start_go() {
        let keep = config(None, None);
        for (log_start, count) in [(0, 0), (9, 0), (10, 1), (19, 1), (29, 2), (30, 3), (35, 3)] {
            check(&keep, log_start, 35, (count, 0, 0));
            let compact = CleanupPolicy { delete: false, compact: true };
            check(
                &LogConfig { cleanup_policy: compact, ..config(Some(0), Some(0)) },
                log_start,
                35,
                (count, 0, 0),
            );
        }
        check(&keep, 30, 25, (2, 0, 0));
    }

    #[test]
    fn segments_beyond_the_size_go() {
        for (limit, count) in
            [(351, 0), (350, 0), (251, 0), (250, 1), (249, 1), (150, 2), (50, 3), (49, 3), (0, 4)]
        {
            check(&config(Some(limit), None), 0, 35, (0, count, 0));
        }
        check(&config(Some(0), None), 0, 34, (0, 3, 0));
        check(&config(Some(0), None), 0, 20, (0, 2, 0));
        check(&config(Some(150), None), 10, 35, (1, 1, 0));
    }

    #[test]
    fn segments_beyond_the_age_go() {
        let age = |timestamp_ms: i64| Some(NOW_MS - timestamp_ms);
        for (retention_ms, count) in [
            (age(100), 0),
            (age(101), 1),
            (age(201), 2),
            (age(301), 3),
            (age(401), 4),
            (Some(0), 4),
            (Some(i64::MAX), 0),
        ] {
            check(&config(None, retention_ms), 0, 35, (0, 0, count));
        }
        check(&config(Some(250), age(201)), 0, 35, (0, 1, 1));
        check(&config(None, Some(0)), 0, 29, (0, 0, 2));
    }

    #[test]
    fn a_young_segment_keeps_the_old_ones_behind_it() {
        let segments = summaries(&[(0, 100, 100), (10, 100, NOW_MS + 5), (20, 100, 300), (30, 50, i64::MIN)]);
        assert_eq!(deletable(&config(None, Some(1000)), &inputs(&segments, 0, 35)).total(), 1);
    }

    #[test]
    fn an_empty_active_segment_stays() {
        let segments = summaries(&[(0, 100, 100), (35, 0, 100)]);
        for config in [config(Some(0), None), config(None, Some(0))] {
            let inputs = inputs(&segments, 0, 35);
            assert_eq!(deletable(&config, &inputs).total(), 1);
            assert_eq!(start_after(&inputs, 1), Offset(35));
        }
    }

    #[test]
    fn the_log_starts_where_the_first_segment_left_does() {
        let segments = summaries(&SEGMENTS);
        for (log_start, count, start) in [(5, 0, 5), (5, 1, 10), (12, 1, 12), (5, 3, 30), (5, 4, 35)] {
            assert_eq!(start_after(&inputs(&segments, log_start, 35), count), Offset(start));
        }
    }

    fn roll_inputs() -> RollInputs {
        RollInputs {
            segment_base: Offset(1000),
            segment_bytes: 600,
            first_timestamp_ms: Some(5_000),
            created_ms: 50_000,
            jitter_ms: 0,
            index_bytes: 80,
            batch_bytes: 100,
            batch_max_timestamp_ms: 6_000,
            batch_last_offset: Offset(1100),
            now_ms: 50_500,
        }
    }

    #[test]
    fn what_makes_a_segment_roll() {
        let config = LogConfig {
            segment_bytes: 1000,
            segment_ms: 1000,
            segment_index_bytes: 240,
            ..LogConfig::default()
        };
        let base = roll_inputs();
        let far = Offset(1000 + i64::from(i32::MAX));
        for (inputs, expected) in [
            (base, false),
            (RollInputs { batch_bytes: 400, ..base }, false),
            (RollInputs { batch_bytes: 401, ..base }, true),
            (RollInputs { batch_bytes: 5000, segment_bytes: 0, ..base }, false),
            (RollInputs { batch_max_timestamp_ms: 6_001, ..base }, true),
            (RollInputs { batch_max_timestamp_ms: 6_001, segment_bytes: 0, ..base }, false),
            (RollInputs { jitter_ms: 1, ..base }, true),
            (RollInputs { batch_max_timestamp_ms: 0, ..base }, false),
            (RollInputs { first_timestamp_ms: None, now_ms: 51_000, ..base }, false),
            (RollInputs { first_timestamp_ms: None, now_ms: 51_001, ..base }, true),
            (RollInputs { first_timestamp_ms: Some(-1), now_ms: 51_001, ..base }, true),
            (RollInputs { now_ms: i64::MAX, ..base }, false),
            (RollInputs { first_timestamp_ms: Some(0), batch_max_timestamp_ms: i64::MAX, ..base }, true),
            (RollInputs { batch_last_offset: far, ..base }, false),
            (RollInputs { batch_last_offset: far.next(), ..base }, true),
            (RollInputs { batch_last_offset: Offset(999), ..base }, true),
            (RollInputs { index_bytes: 18 * 8, ..base }, false),
            (RollInputs { index_bytes: 19 * 8, ..base }, true),
        ] {
            assert_eq!(must_roll(&config, &inputs), expected, "{inputs:?}");
        }
    }

    #[test]
    fn jitter_stays_below_its_limit() {
        let jitter = |segment_jitter_ms, segment_ms, random| {
            jitter_ms(&LogConfig { segment_jitter_ms, segment_ms, ..LogConfig::default() }, random)
        };
        assert_eq!(jitter(0, 1000, 7), 0);
        assert_eq!(jitter(100, 1000, 107), 7);
        assert_eq!(jitter(5000, 1000, 1999), 999);
        assert_eq!(jitter(i64::MAX, i64::MAX, u64::MAX), 1);
    }

    proptest! {
        #[test]
        fn nothing_at_or_beyond_the_high_watermark_goes(
            sizes in proptest::collection::vec((0..200_u64, 0..2_000_000_i64), 1..8),
            start in 0..100_i64, watermark in 0..100_i64, bytes in 0..1000_u64, age_ms in 0..2_000_000_i64,
        ) {
            let segments: Vec<_> =
                (0..).zip(&sizes).map(|(number, (size, time))| (number * 10, *size, *time)).collect();
            let segments = summaries(&segments);
            let log_end = Offset(10 * sizes.len() as i64 - 5);
            let high_watermark = Offset(watermark).min(log_end);
            let inputs = RetentionInputs { log_end, high_watermark, ..inputs(&segments, start, 0) };
            let count = deletable(&config(Some(bytes), Some(age_ms)), &inputs).total();
            prop_assert!(count == 0 || start_after(&inputs, count) <= high_watermark.max(inputs.log_start));
        }
    }
}
