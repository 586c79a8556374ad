//! One segment of a log: its place, its sizes, its indexes in memory. What is written where and when is the log's
//! business; this knows nothing of the WAL.

use crate::batch::{BatchHeader, Offset};
use crate::disk::File;
use crate::index::{SegmentIndexes, TxnIndex};

/// The largest timestamp of a segment that cannot be read: never old enough to go.
pub(crate) const TIMESTAMP_UNKNOWN_MS: i64 = i64::MAX;

/// How far a segment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Takes appends.
    Active,
    /// Takes no more appends; its end is still to be written out, its file to be cut to size, its indexes to be stored.
    Sealed,
    /// All of it is in files, durably.
    Finished,
}

/// Where a segment's aborted transactions are: those whose marker lies in it.
#[derive(Debug)]
pub(crate) enum Aborted {
    /// In memory; the file may not have them yet.
    Here(TxnIndex),
    /// In the file alone: the segment takes no more appends.
    InFile,
}

impl Aborted {
    /// Of a segment that takes appends.
    pub(crate) fn active(&mut self) -> &mut TxnIndex {
        match self {
            Aborted::Here(index) => index,
            Aborted::InFile => unreachable!("what takes appends is in memory"),
        }
    }
}

pub(crate) struct Segment {
    pub(crate) base: Offset,
    /// Bytes of batches, wherever they are.
    pub(crate) size: u64,
    /// Bytes that are in the file, durably. Between this and `size` everything is in chunks.
    pub(crate) durable_pos: u64,
    pub(crate) stage: Stage,
    /// Opened when first written or read.
    pub(crate) file: Option<File>,
    /// `None` until loaded: a segment of an earlier run that nobody has read yet.
    pub(crate) indexes: Option<SegmentIndexes>,
    /// Bytes of the segment that the stored index files cover.
    pub(crate) indexed_bytes: u64,
    pub(crate) aborted: Aborted,
    /// How many of them the file has, the first ones; `None` if it may have others.
    pub(crate) aborted_stored: Option<usize>,
    /// Timestamp of the first batch of this run, for rolling by time.
    pub(crate) first_timestamp_ms: Option<i64>,
    /// Once it takes no more appends and retention has asked: what [`Segment::largest_timestamp_ms`] says, so that its indexes need not
    /// be in memory for that.
    pub(crate) largest_timestamp_ms: Option<i64>,
    /// When the segment was made or opened.
    pub(crate) created_ms: i64,
    /// Drawn when the segment was made: subtracted from `segment.ms`.
    pub(crate) jitter_ms: i64,
    /// Producer state as it was before the segment's first batch, to be stored when the segment before is finished.
    pub(crate) snapshot: Option<Vec<u8>>,
}

impl Segment {
    /// An empty active segment.
    pub(crate) fn new(base: Offset, interval_bytes: u32, now_ms: i64, jitter_ms: i64) -> Segment {
        Segment {
            base,
            size: 0,
            durable_pos: 0,
            stage: Stage::Active,
            file: None,
            indexes: Some(SegmentIndexes::new(base, interval_bytes)),
            indexed_bytes: 0,
            aborted: Aborted::Here(TxnIndex::default()),
            aborted_stored: Some(0),
            first_timestamp_ms: None,
            largest_timestamp_ms: None,
            created_ms: now_ms,
            jitter_ms,
            snapshot: None,
        }
    }

    /// A segment of an earlier run, of which `size` bytes count.
    pub(crate) fn stored(base: Offset, size: u64, stage: Stage, now_ms: i64) -> Segment {
        let mut segment = Segment::new(base, 0, now_ms, 0);
        segment.size = size;
        segment.durable_pos = size;
        segment.stage = stage;
        segment.indexes = None;
        segment
    }

    /// Forgets aborted transactions whose marker lies at or beyond `offset`; the segment takes appends.
    pub(crate) fn truncate_aborted(&mut self, offset: Offset) {
        let index = self.aborted.active();
        let before = index.entries().len();
        index.truncate_to(offset);
        if index.entries().len() < before {
            self.aborted_stored = None;
        }
    }

    /// Size of its transaction index as far as it is in memory.
    pub(crate) const fn aborted_bytes(&self) -> usize {
        match &self.aborted {
            Aborted::Here(index) => index.size_bytes(),
            Aborted::InFile => 0,
        }
    }

    /// Counts a batch that begins at the segment's end. `header` is as it stands in the log.
    pub(crate) fn push(&mut self, header: &BatchHeader) {
        self.first_timestamp_ms.get_or_insert(header.max_timestamp_ms);
        if let Some(indexes) = &mut self.indexes {
            // Rolling keeps offsets and positions within what an entry holds; an index without one is only slower.
            let noted = indexes.on_batch(header, self.size);
            debug_assert!(noted.is_ok(), "{noted:?}");
        }
        self.size += header.total_bytes() as u64;
    }
}

impl Segment {
    /// Lets go of the indexes, but for what retention by time asks of them.
    pub(crate) fn keep_timestamp_alone(&mut self) {
        self.largest_timestamp_ms = Some(self.largest_timestamp_ms());
        self.indexes = None;
    }

    /// For retention by time: the largest timestamp, or when the segment was made where no record has one. Where neither its indexes nor
    /// an earlier look at them tell, it is younger than any limit.
    pub(crate) fn largest_timestamp_ms(&self) -> i64 {
        match self.indexes.as_ref().map(SegmentIndexes::max_timestamp_ms) {
            Some(timestamp_ms) if timestamp_ms >= 0 => timestamp_ms,
            Some(_) => self.created_ms,
            None => self.largest_timestamp_ms.unwrap_or(TIMESTAMP_UNKNOWN_MS),
        }
    }
}
