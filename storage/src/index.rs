//! The indexes of a segment, byte for byte as Apache Kafka keeps them: offset to position and timestamp to offset, both sparse, and
//! the aborted transactions. Pure code over bytes: no IO; it must not know of files, logs or configuration.
//!
//! Indexes are no source of truth: whatever is wrong with one is a typed error, upon which the caller rebuilds the first two from the
//! segment's batches through [`SegmentIndexes`], the same code that fills them while batches are appended. Design: Kafka's
//! `OffsetIndex`, `TimeIndex` and `LogSegment`; the files have the size that Kafka trims them to at a clean stop.

use std::fmt;

use crate::batch::{BatchHeader, NO_TIMESTAMP_MS, Offset};

pub mod offset;
pub mod time;
pub mod txn;

pub use offset::{OffsetIndex, OffsetPosition};
pub use time::{TimeIndex, TimestampOffset};
pub use txn::{AbortedTxn, Search, TxnIndex};

/// What a segment's entries must lie within to be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentBounds {
    /// The segment's base offset: entries hold offsets relative to it.
    pub base_offset: Offset,
    /// The offset after the segment's last record.
    pub end_offset: Offset,
    /// Bytes of batches in the segment.
    pub size_bytes: u64,
}

/// Why an index cannot be believed, or an entry not be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IndexError {
    /// The file's size is no multiple of an entry's: a write was cut short.
    Size { bytes: usize, entry_bytes: usize },
    /// Entry number `entry` does not lie behind the one before it.
    Order { entry: usize },
    /// Entry number `entry` points outside of the segment.
    Beyond { entry: usize },
    /// The offset is below the segment's base, or more than `i32::MAX` above it.
    Offset { offset: Offset, base_offset: Offset },
    /// The position does not fit the four bytes (31 bits in Kafka) that an entry has for it.
    Position { position: u64 },
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexError::Size { bytes, entry_bytes } => {
                write!(f, "{bytes} bytes are no whole number of entries of {entry_bytes}; rebuild the index")
            }
            IndexError::Order { entry } => {
                write!(f, "entry {entry} does not come after the one before it; rebuild the index")
            }
            IndexError::Beyond { entry } => {
                write!(f, "entry {entry} points outside of the segment; rebuild the index")
            }
            IndexError::Offset { offset, base_offset } => {
                write!(
                    f,
                    "offset {offset} cannot be kept relative to base offset {base_offset}; roll the segment"
                )
            }
            IndexError::Position { position } => {
                write!(f, "position {position} is beyond what an index entry can hold; roll the segment")
            }
        }
    }
}

impl std::error::Error for IndexError {}

/// `offset` relative to `base_offset`, when an entry can hold it: 0 to `i32::MAX`.
pub(crate) fn relative_offset(offset: Offset, base_offset: Offset) -> Result<u32, IndexError> {
    let delta = offset.since(base_offset);
    i32::try_from(delta)
        .ok()
        .and_then(|delta| u32::try_from(delta).ok())
        .ok_or(IndexError::Offset { offset, base_offset })
}

/// Cuts a file into entries of `N` bytes.
///
/// # Errors
/// [`IndexError::Size`] when bytes are left over.
fn entries<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], IndexError> {
    match bytes.as_chunks::<N>() {
        (entries, []) => Ok(entries),
        _ => Err(IndexError::Size { bytes: bytes.len(), entry_bytes: N }),
    }
}

/// Says which batches get an index entry: the first one after more than `interval_bytes` of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexInterval {
    interval_bytes: u64,
    since_entry_bytes: u64,
}

impl IndexInterval {
    /// Starts counting at 0, as Kafka does for a new segment and for one that it opens again.
    #[must_use]
    pub const fn new(interval_bytes: u32) -> IndexInterval {
        IndexInterval { interval_bytes: interval_bytes as u64, since_entry_bytes: 0 }
    }

    /// Counts a batch of `batch_bytes` and says whether it gets an entry (of its own position).
    pub const fn entry_due(&mut self, batch_bytes: usize) -> bool {
        let due = self.since_entry_bytes > self.interval_bytes;
        if due {
            self.since_entry_bytes = 0;
        }
        self.since_entry_bytes += batch_bytes as u64;
        due
    }

    /// Starts over at 0: after a truncation.
    pub const fn restart(&mut self) {
        self.since_entry_bytes = 0;
    }
}

/// Both indexes of one segment with what is needed to grow them, batch by batch: while appending and when rebuilding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentIndexes {
    offsets: OffsetIndex,
    times: TimeIndex,
    interval: IndexInterval,
    /// The largest timestamp so far, with the last offset of the first batch that has it.
    max: Option<TimestampOffset>,
}

impl SegmentIndexes {
    /// Empty indexes of a segment without batches.
    #[must_use]
    pub fn new(base_offset: Offset, interval_bytes: u32) -> SegmentIndexes {
        SegmentIndexes::from_parts(OffsetIndex::new(base_offset), TimeIndex::new(base_offset), interval_bytes)
    }

    /// Indexes read from disk. As in Kafka, the largest timestamp is taken to be that of the last time entry, which is true of
    /// a segment that was closed ([`finish`](Self::finish)); batches behind it must be offered again.
    #[must_use]
    pub fn from_parts(offsets: OffsetIndex, times: TimeIndex, interval_bytes: u32) -> SegmentIndexes {
        assert_eq!(offsets.base_offset(), times.base_offset(), "both indexes are of one segment");
        let max = times.last();
        SegmentIndexes { offsets, times, interval: IndexInterval::new(interval_bytes), max }
    }

    /// Takes note of a batch that begins at `position` (bytes) of the segment. `header` is as it stands in the log.
    ///
    /// Returns whether entries were due.
    ///
    /// # Errors
    /// [`IndexError`] when the batch cannot be indexed (offset or position too large, or before the last entry's).
    pub fn on_batch(&mut self, header: &BatchHeader, position: u64) -> Result<bool, IndexError> {
        let last_offset = header.last_offset();
        relative_offset(last_offset, self.offsets.base_offset())?;
        if header.max_timestamp_ms > self.max_timestamp_ms() {
            self.max = Some(TimestampOffset { timestamp_ms: header.max_timestamp_ms, offset: last_offset });
        }
        let due = self.interval.entry_due(header.total_bytes());
        if due {
            self.offsets.append(last_offset, position)?;
            self.finish()?;
        }
        Ok(due)
    }

    /// Adds the largest timestamp to the time index, if its last entry is older: due when a segment is closed or rolled.
    /// Retention by time and lookups by timestamp count on it. Returns whether an entry was added.
    ///
    /// # Errors
    /// [`IndexError`] as [`TimeIndex::maybe_append`].
    pub fn finish(&mut self) -> Result<bool, IndexError> {
        match self.max {
            Some(max) => self.times.maybe_append(max.timestamp_ms, max.offset),
            None => Ok(false),
        }
    }

    /// Drops all entries at and beyond `offset`. The caller then offers the batches that are left behind
    /// [`last_indexed`](Self::last_indexed) again, so that the largest timestamp is right.
    pub fn truncate_to(&mut self, offset: Offset) {
        self.offsets.truncate_to(offset);
        self.times.truncate_to(offset);
        self.interval.restart();
        self.max = self.times.last();
    }

    /// A position at or before the first batch that may hold a record of `timestamp_ms` or later and of `from` or beyond.
    #[must_use]
    pub fn position_for_timestamp(&self, timestamp_ms: i64, from: Offset) -> OffsetPosition {
        self.offsets.lookup(self.times.lookup(timestamp_ms).offset.max(from))
    }

    /// The batch from which on the largest timestamp must be sought after a restart or a truncation.
    #[must_use]
    pub fn last_indexed(&self) -> OffsetPosition {
        let base = self.offsets.base_offset();
        self.offsets.lookup(self.times.last().map_or(base, |last| last.offset))
    }

    /// The largest timestamp of the segment, in milliseconds; −1 when no batch has one.
    #[must_use]
    pub fn max_timestamp_ms(&self) -> i64 {
        self.max.map_or(NO_TIMESTAMP_MS, |max| max.timestamp_ms)
    }

    /// The largest timestamp and the last offset of the first batch that has it.
    #[must_use]
    pub const fn max_timestamp(&self) -> Option<TimestampOffset> {
        self.max
    }

    #[must_use]
    pub const fn offsets(&self) -> &OffsetIndex {
        &self.offsets
    }

    #[must_use]
    pub const fn times(&self) -> &TimeIndex {
        &self.times
    }
}

#[cfg(test)]
mod tests;
