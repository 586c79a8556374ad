//! The time index of a segment: from which offset on to search for a timestamp. Lookups as Kafka's `TimeIndex`.
//!
//! ```text
//!  .timeindex, big-endian:  │ timestamp i64, ms │ relative offset u32 │ …      12 bytes an entry
//! ```
//! An entry says: no record up to this offset is younger than this timestamp. Timestamps grow strictly, offsets never shrink.

use super::{IndexError, SegmentBounds, entries, relative_offset};
use crate::batch::{NO_TIMESTAMP_MS, Offset};

/// Bytes of one entry.
pub const TIME_ENTRY_BYTES: usize = 12;

/// A timestamp and the last offset of the batch that brought it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    /// Milliseconds since 1970; −1: none.
    pub timestamp_ms: i64,
    pub offset: Offset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    timestamp_ms: i64,
    relative: u32,
}

/// The time index of one segment, in memory: 16 bytes an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeIndex {
    base_offset: Offset,
    entries: Vec<Entry>,
}

impl TimeIndex {
    #[must_use]
    pub const fn new(base_offset: Offset) -> TimeIndex {
        TimeIndex { base_offset, entries: Vec::new() }
    }

    /// Reads an index file.
    ///
    /// # Errors
    /// [`IndexError`] unless the size is whole, timestamps grow from 0, offsets do not shrink, and all lie in the segment.
    pub fn decode(bytes: &[u8], bounds: &SegmentBounds) -> Result<TimeIndex, IndexError> {
        let raw = entries::<TIME_ENTRY_BYTES>(bytes)?;
        let mut index = TimeIndex { base_offset: bounds.base_offset, entries: Vec::with_capacity(raw.len()) };
        for (number, [a, b, c, d, e, f, g, h, i, j, k, l]) in raw.iter().enumerate() {
            let entry = Entry {
                timestamp_ms: i64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
                relative: u32::from_be_bytes([*i, *j, *k, *l]),
            };
            let offset = index.absolute(entry).offset;
            if entry.relative > i32::MAX as u32 || offset >= bounds.end_offset {
                return Err(IndexError::Beyond { entry: number });
            }
            if !index.push(entry)? {
                return Err(IndexError::Order { entry: number });
            }
        }
        Ok(index)
    }

    /// The bytes of the index file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_from(0)
    }

    /// The bytes from entry number `first` on: they belong at `first * 12` of the file.
    #[must_use]
    pub fn encode_from(&self, first: usize) -> Vec<u8> {
        let entries = self.entries.get(first..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(entries.len() * TIME_ENTRY_BYTES);
        for entry in entries {
            bytes.extend_from_slice(&entry.timestamp_ms.to_be_bytes());
            bytes.extend_from_slice(&entry.relative.to_be_bytes());
        }
        bytes
    }

    /// Adds an entry if `timestamp_ms` is above the last one's (above −1 for the first); says whether it did.
    ///
    /// # Errors
    /// An offset that an entry cannot hold, or a smaller timestamp or offset than the last entry's.
    pub fn maybe_append(&mut self, timestamp_ms: i64, offset: Offset) -> Result<bool, IndexError> {
        let relative = relative_offset(offset, self.base_offset)?;
        self.push(Entry { timestamp_ms, relative })
    }

    fn push(&mut self, entry: Entry) -> Result<bool, IndexError> {
        let Some(last) = self.entries.last() else {
            let dated = entry.timestamp_ms > NO_TIMESTAMP_MS;
            self.entries.extend(dated.then_some(entry));
            return Ok(dated);
        };
        if entry.timestamp_ms < last.timestamp_ms || entry.relative < last.relative {
            return Err(IndexError::Order { entry: self.entries.len() });
        }
        let grows = entry.timestamp_ms > last.timestamp_ms;
        self.entries.extend(grows.then_some(entry));
        Ok(grows)
    }

    /// The greatest entry at or below `timestamp_ms`; no timestamp and the segment's base offset when there is none.
    #[must_use]
    pub fn lookup(&self, timestamp_ms: i64) -> TimestampOffset {
        let above = self.entries.partition_point(|entry| entry.timestamp_ms <= timestamp_ms);
        match above.checked_sub(1).and_then(|slot| self.entries.get(slot)) {
            Some(entry) => self.absolute(*entry),
            None => TimestampOffset { timestamp_ms: NO_TIMESTAMP_MS, offset: self.base_offset },
        }
    }

    /// Drops all entries at and beyond `offset`.
    pub fn truncate_to(&mut self, offset: Offset) {
        let keep = self.entries.partition_point(|entry| self.absolute(*entry).offset < offset);
        self.entries.truncate(keep);
    }

    #[must_use]
    pub const fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// The number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[must_use]
    pub fn last(&self) -> Option<TimestampOffset> {
        self.entries.last().map(|entry| self.absolute(*entry))
    }

    /// All entries, from the oldest timestamp.
    pub fn iter(&self) -> impl Iterator<Item = TimestampOffset> {
        self.entries.iter().map(|entry| self.absolute(*entry))
    }

    fn absolute(&self, entry: Entry) -> TimestampOffset {
        TimestampOffset {
            timestamp_ms: entry.timestamp_ms,
            offset: self.base_offset.plus(i64::from(entry.relative)),
        }
    }
}
