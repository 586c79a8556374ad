//! What both indexes promise, told in tables: lookups, truncation, what is refused, and the bytes.

use super::*;
use crate::batch::{BatchBuilder, Codec};
use proptest::prelude::*;

const BASE: Offset = Offset(1000);

fn bounds(end_offset: i64, size_bytes: u64) -> SegmentBounds {
    SegmentBounds { base_offset: BASE, end_offset: Offset(end_offset), size_bytes }
}

fn offset_index(entries: &[(i64, u64)]) -> OffsetIndex {
    let mut index = OffsetIndex::new(BASE);
    for (offset, position) in entries {
        index.append(Offset(*offset), *position).unwrap();
    }
    index
}

fn time_index(entries: &[(i64, i64)]) -> TimeIndex {
    let mut index = TimeIndex::new(BASE);
    for (timestamp_ms, offset) in entries {
        assert!(index.maybe_append(*timestamp_ms, Offset(*offset)).unwrap());
    }
    index
}

#[test]
fn offsets_are_looked_up_as_the_greatest_entry_below() {
    let index = offset_index(&[(1005, 100), (1010, 200), (1020, 300)]);
    for (target, offset, position) in [
        (0, 1000, 0),
        (1000, 1000, 0),
        (1004, 1000, 0),
        (1005, 1005, 100),
        (1009, 1005, 100),
        (1010, 1010, 200),
        (1019, 1010, 200),
        (1020, 1020, 300),
        (i64::MAX, 1020, 300),
    ] {
        assert_eq!(
            index.lookup(Offset(target)),
            OffsetPosition { offset: Offset(offset), position },
            "{target}"
        );
    }
    assert_eq!(OffsetIndex::new(BASE).lookup(Offset(5000)), OffsetPosition { offset: BASE, position: 0 });
}

#[test]
fn positions_are_bounded_from_above() {
    let index = offset_index(&[(1005, 100), (1010, 200)]);
    for (position, expected) in
        [(0, Some(1005)), (100, Some(1005)), (101, Some(1010)), (201, None), (u64::MAX, None)]
    {
        assert_eq!(index.first_at_or_after(position).map(|entry| entry.offset.0), expected, "{position}");
    }
}

#[test]
fn times_are_looked_up_as_the_greatest_entry_below() {
    let index = time_index(&[(10, 1005), (20, 1010), (30, 1010)]);
    for (target, timestamp_ms, offset) in [
        (i64::MIN, -1, 1000),
        (9, -1, 1000),
        (10, 10, 1005),
        (29, 20, 1010),
        (30, 30, 1010),
        (i64::MAX, 30, 1010),
    ] {
        assert_eq!(
            index.lookup(target),
            TimestampOffset { timestamp_ms, offset: Offset(offset) },
            "{target}"
        );
    }
}

#[test]
fn truncation_drops_what_lies_at_and_beyond_the_offset() {
    for (to, left) in
        [(0, 0), (1000, 0), (1005, 0), (1006, 1), (1010, 1), (1011, 2), (1020, 2), (1021, 3), (9999, 3)]
    {
        let mut offsets = offset_index(&[(1005, 100), (1010, 200), (1020, 300)]);
        offsets.truncate_to(Offset(to));
        assert_eq!(offsets.len(), left, "{to}");
        let mut times = time_index(&[(1, 1005), (2, 1010), (3, 1020)]);
        times.truncate_to(Offset(to));
        assert_eq!(times.len(), left, "{to}");
    }
}

#[test]
fn entries_must_grow_and_fit() {
    let mut index = offset_index(&[(1005, 100)]);
    for (offset, position, expected) in [
        (1005, 200, IndexError::Order { entry: 1 }),
        (1006, 100, IndexError::Order { entry: 1 }),
        (999, 200, IndexError::Offset { offset: Offset(999), base_offset: BASE }),
        (1000 + (1 << 31), 200, IndexError::Offset { offset: Offset(1000 + (1 << 31)), base_offset: BASE }),
        (1006, 1 << 31, IndexError::Position { position: 1 << 31 }),
    ] {
        assert_eq!(index.append(Offset(offset), position), Err(expected));
    }
    index.append(Offset(1000 + i64::from(i32::MAX)), i32::MAX as u64).unwrap();

    let mut times = time_index(&[(10, 1005)]);
    assert_eq!(times.maybe_append(10, Offset(1006)), Ok(false));
    assert_eq!(times.maybe_append(9, Offset(1006)), Err(IndexError::Order { entry: 1 }));
    assert_eq!(times.maybe_append(11, Offset(1004)), Err(IndexError::Order { entry: 1 }));
    assert!(matches!(times.maybe_append(11, Offset(0)), Err(IndexError::Offset { .. })));
    assert_eq!(TimeIndex::new(BASE).maybe_append(-1, Offset(1005)), Ok(false));
}

#[test]
fn bytes_are_kafkas() {
    let offsets = offset_index(&[(1005, 0x0102), (1000 + i64::from(i32::MAX), i32::MAX as u64)]);
    let bytes = offsets.encode();
    assert_eq!(bytes, [0, 0, 0, 5, 0, 0, 1, 2, 0x7f, 255, 255, 255, 0x7f, 255, 255, 255]);
    assert_eq!(offsets.encode_from(1), bytes[8..]);
    assert!(offsets.encode_from(3).is_empty());
    let times = time_index(&[(0x0102, 1005)]);
    assert_eq!(times.encode(), [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 5]);
}

#[test]
fn what_cannot_be_true_is_refused() {
    let offset =
        |entries: &[[u32; 2]]| entries.iter().flatten().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    for (bytes, expected) in [
        (vec![0; 7], IndexError::Size { bytes: 7, entry_bytes: 8 }),
        (vec![0; 16], IndexError::Order { entry: 1 }),
        (offset(&[[5, 100], [5, 200]]), IndexError::Order { entry: 1 }),
        (offset(&[[5, 100], [6, 100]]), IndexError::Order { entry: 1 }),
        (offset(&[[50, 100]]), IndexError::Beyond { entry: 0 }),
        (offset(&[[5, 1000]]), IndexError::Beyond { entry: 0 }),
        (offset(&[[5, 100], [u32::MAX, 200]]), IndexError::Beyond { entry: 1 }),
    ] {
        assert_eq!(OffsetIndex::decode(&bytes, &bounds(1050, 1000)), Err(expected), "{bytes:?}");
    }
    let time = |entries: &[(i64, u32)]| {
        entries
            .iter()
            .flat_map(|(t, o)| [&t.to_be_bytes()[..], &o.to_be_bytes()[..]].concat())
            .collect::<Vec<u8>>()
    };
    for (bytes, expected) in [
        (vec![0; 13], IndexError::Size { bytes: 13, entry_bytes: 12 }),
        (vec![0; 24], IndexError::Order { entry: 1 }),
        (time(&[(-1, 1)]), IndexError::Order { entry: 0 }),
        (time(&[(5, 1), (5, 2)]), IndexError::Order { entry: 1 }),
        (time(&[(5, 2), (6, 1)]), IndexError::Order { entry: 1 }),
        (time(&[(5, 50)]), IndexError::Beyond { entry: 0 }),
        (time(&[(5, u32::MAX)]), IndexError::Beyond { entry: 0 }),
    ] {
        assert_eq!(TimeIndex::decode(&bytes, &bounds(1050, 1000)), Err(expected), "{bytes:?}");
    }
}

#[test]
fn an_entry_is_due_behind_more_than_the_interval() {
    let mut interval = IndexInterval::new(100);
    let due: Vec<bool> = [60, 40, 1, 90, 10, 1, 500, 1].map(|bytes| interval.entry_due(bytes)).into();
    assert_eq!(due, [false, false, false, true, false, false, true, true]);
    interval.restart();
    assert!(!interval.entry_due(1));
}

fn header(base_offset: i64, records: i64, timestamp_ms: i64) -> BatchHeader {
    let mut batch = BatchBuilder::new().codec(Codec::None).base_offset(Offset(base_offset));
    for _ in 0..records {
        batch = batch.record(timestamp_ms, None, Some(&[7; 40]));
    }
    BatchHeader::parse(&batch.build()).unwrap()
}

/// Offers batches of two records each with these timestamps; the interval lets every second batch through.
fn indexes_of(timestamps_ms: &[i64]) -> (SegmentIndexes, u64) {
    let bytes = header(0, 2, 0).total_bytes();
    let mut indexes = SegmentIndexes::new(BASE, u32::try_from(bytes).unwrap());
    let mut position = 0;
    for (number, timestamp_ms) in timestamps_ms.iter().enumerate() {
        let batch = header(BASE.0 + 2 * number as i64, 2, *timestamp_ms);
        indexes.on_batch(&batch, position).unwrap();
        position += batch.total_bytes() as u64;
    }
    (indexes, position)
}

#[test]
fn a_segment_is_indexed_batch_by_batch() {
    let (mut indexes, end) = indexes_of(&[10, 30, 20, 5, 40, 50]);
    let batch = u32::try_from(end / 6).unwrap();
    let offsets: Vec<_> = indexes.offsets().iter().map(|entry| (entry.offset.0, entry.position)).collect();
    assert_eq!(offsets, [(1005, 2 * batch), (1009, 4 * batch)]);
    let times = |indexes: &SegmentIndexes| {
        indexes.times().iter().map(|e| (e.timestamp_ms, e.offset.0)).collect::<Vec<_>>()
    };
    assert_eq!(times(&indexes), [(30, 1003), (40, 1009)]);
    assert_eq!(indexes.max_timestamp(), Some(TimestampOffset { timestamp_ms: 50, offset: Offset(1011) }));
    assert_eq!(indexes.finish(), Ok(true));
    assert_eq!(indexes.finish(), Ok(false));
    assert_eq!(times(&indexes), [(30, 1003), (40, 1009), (50, 1011)]);
    for (timestamp_ms, from, position) in [(0, 0, 0), (30, 0, 0), (35, 1006, 2 * batch), (40, 0, 4 * batch)] {
        assert_eq!(indexes.position_for_timestamp(timestamp_ms, Offset(from)).position, position);
    }
    indexes.truncate_to(Offset(1009));
    assert_eq!((indexes.max_timestamp_ms(), indexes.last_indexed().position), (30, 0));
}

#[test]
fn batches_without_timestamps_leave_the_time_index_empty() {
    let (mut indexes, _) = indexes_of(&[-1, -1, -1]);
    assert_eq!(indexes.finish(), Ok(false));
    assert_eq!((indexes.offsets().len(), indexes.times().len(), indexes.max_timestamp_ms()), (1, 0, -1));
}

#[test]
fn a_batch_too_far_from_the_base_is_refused() {
    let mut indexes = SegmentIndexes::new(BASE, 4096);
    for base_offset in [0, BASE.0 + i64::from(i32::MAX), i64::MAX - 1] {
        assert!(matches!(indexes.on_batch(&header(base_offset, 2, 1), 0), Err(IndexError::Offset { .. })));
    }
    assert_eq!(indexes, SegmentIndexes::new(BASE, 4096));
}

prop_compose! {
    fn growing(steps: usize)(deltas in proptest::collection::vec((1..1000_u32, 1..1000_u32), 0..steps)) -> Vec<(i64, u64)> {
        let mut last = (BASE.0, 0);
        deltas.into_iter().map(|(a, b)| { last = (last.0 + i64::from(a), last.1 + u64::from(b)); last }).collect()
    }
}

proptest! {
    #[test]
    fn offset_indexes_round_trip(entries in growing(40)) {
        let index = offset_index(&entries);
        let (end, size) = entries.last().map_or((BASE.0, 0), |(offset, position)| (offset + 1, position + 1));
        let bytes = index.encode();
        prop_assert_eq!(OffsetIndex::decode(&bytes, &bounds(end, size)), Ok(index));
        for cut in 0..bytes.len() {
            let whole = cut % 8 == 0;
            prop_assert_eq!(OffsetIndex::decode(&bytes[..cut], &bounds(end, size)).is_ok(), whole);
        }
        if !entries.is_empty() {
            prop_assert!(OffsetIndex::decode(&bytes, &bounds(end - 1, size)).is_err());
            prop_assert!(OffsetIndex::decode(&bytes, &bounds(end, size - 1)).is_err());
        }
    }

    #[test]
    fn time_indexes_round_trip(entries in growing(40)) {
        let entries: Vec<_> = entries.into_iter().map(|(offset, time)| (time.cast_signed(), offset)).collect();
        let index = time_index(&entries);
        let end = entries.last().map_or(BASE.0, |(_, offset)| offset + 1);
        let bytes = index.encode();
        prop_assert_eq!(TimeIndex::decode(&bytes, &bounds(end, 0)), Ok(index));
        for cut in 0..bytes.len() {
            prop_assert_eq!(TimeIndex::decode(&bytes[..cut], &bounds(end, 0)).is_ok(), cut % 12 == 0);
        }
    }

    #[test]
    fn garbage_is_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), base in any::<i64>()) {
        let bounds = SegmentBounds { base_offset: Offset(base), end_offset: Offset::MAX, size_bytes: u64::MAX };
        let _ = OffsetIndex::decode(&bytes, &bounds);
        let _ = TimeIndex::decode(&bytes, &bounds);
    }

    #[test]
    fn lookups_agree_with_a_scan(entries in growing(40), target in 900..30_000_i64) {
        let index = offset_index(&entries);
        let expected = index.iter().filter(|entry| entry.offset.0 <= target).last();
        prop_assert_eq!(index.lookup(Offset(target)), expected.unwrap_or(OffsetPosition { offset: BASE, position: 0 }));
    }
}
