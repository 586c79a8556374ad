//! The offset index of a segment: which position to read from for an offset. Lookups as Kafka's `OffsetIndex`.
//!
//! ```text
//!  .index, big-endian:  │ relative offset u32 │ position u32 │ …      8 bytes an entry, both strictly increasing
//! ```
//! An entry names the *last* offset of the batch that begins at its position: `kafka-dump-log` insists on that.

use super::{IndexError, SegmentBounds, entries, relative_offset};
use crate::batch::Offset;

/// Bytes of one entry.
pub const OFFSET_ENTRY_BYTES: usize = 8;

/// Positions are Java ints: no segment is larger.
const POSITION_MAX: u32 = i32::MAX as u32;

/// An offset and where in the segment its batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetPosition {
    pub offset: Offset,
    /// Bytes from the segment's begin, at most `i32::MAX`.
    pub position: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    relative: u32,
    position: u32,
}

/// The offset index of one segment, in memory: 8 bytes an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetIndex {
    base_offset: Offset,
    entries: Vec<Entry>,
}

impl OffsetIndex {
    #[must_use]
    pub const fn new(base_offset: Offset) -> OffsetIndex {
        OffsetIndex { base_offset, entries: Vec::new() }
    }

    /// Reads an index file.
    ///
    /// # Errors
    /// [`IndexError`] unless the size is whole, offsets and positions grow, and all lie in the segment. Zeroes that Kafka
    /// reserves in a file that it did not close are such an error.
    pub fn decode(bytes: &[u8], bounds: &SegmentBounds) -> Result<OffsetIndex, IndexError> {
        let raw = entries::<OFFSET_ENTRY_BYTES>(bytes)?;
        let mut index =
            OffsetIndex { base_offset: bounds.base_offset, entries: Vec::with_capacity(raw.len()) };
        for (number, [a, b, c, d, e, f, g, h]) in raw.iter().enumerate() {
            let entry = Entry {
                relative: u32::from_be_bytes([*a, *b, *c, *d]),
                position: u32::from_be_bytes([*e, *f, *g, *h]),
            };
            let read = index.absolute(entry);
            let inside = entry.relative <= POSITION_MAX
                && read.offset < bounds.end_offset
                && entry.position <= POSITION_MAX
                && u64::from(entry.position) < bounds.size_bytes;
            if !inside {
                return Err(IndexError::Beyond { entry: number });
            }
            index.push(entry)?;
        }
        Ok(index)
    }

    /// The bytes of the index file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_from(0)
    }

    /// The bytes from entry number `first` on: they belong at `first * 8` of the file.
    #[must_use]
    pub fn encode_from(&self, first: usize) -> Vec<u8> {
        let entries = self.entries.get(first..).unwrap_or_default();
        entries
            .iter()
            .flat_map(|entry| [entry.relative.to_be_bytes(), entry.position.to_be_bytes()])
            .flatten()
            .collect()
    }

    /// Adds the batch that ends with `offset` and begins at `position` (bytes).
    ///
    /// # Errors
    /// An offset or position that an entry cannot hold, or that does not lie behind the last entry's.
    pub fn append(&mut self, offset: Offset, position: u64) -> Result<(), IndexError> {
        let relative = relative_offset(offset, self.base_offset)?;
        let position = u32::try_from(position)
            .ok()
            .filter(|position| *position <= POSITION_MAX)
            .ok_or(IndexError::Position { position })?;
        self.push(Entry { relative, position })
    }

    fn push(&mut self, entry: Entry) -> Result<(), IndexError> {
        let grows = self
            .entries
            .last()
            .is_none_or(|last| entry.relative > last.relative && entry.position > last.position);
        if !grows {
            return Err(IndexError::Order { entry: self.entries.len() });
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The greatest entry at or below `offset`; the segment's begin when there is none.
    #[must_use]
    pub fn lookup(&self, offset: Offset) -> OffsetPosition {
        let above = self.entries.partition_point(|entry| self.absolute(*entry).offset <= offset);
        match above.checked_sub(1).and_then(|slot| self.entries.get(slot)) {
            Some(entry) => self.absolute(*entry),
            None => OffsetPosition { offset: self.base_offset, position: 0 },
        }
    }

    /// The first entry at or beyond `position` (bytes): everything before that position has smaller offsets.
    #[must_use]
    pub fn first_at_or_after(&self, position: u64) -> Option<OffsetPosition> {
        let slot = self.entries.partition_point(|entry| u64::from(entry.position) < position);
        self.entries.get(slot).map(|entry| self.absolute(*entry))
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
    pub fn last(&self) -> Option<OffsetPosition> {
        self.entries.last().map(|entry| self.absolute(*entry))
    }

    /// All entries, from the smallest offset.
    pub fn iter(&self) -> impl Iterator<Item = OffsetPosition> {
        self.entries.iter().map(|entry| self.absolute(*entry))
    }

    fn absolute(&self, entry: Entry) -> OffsetPosition {
        OffsetPosition { offset: self.base_offset.plus(i64::from(entry.relative)), position: entry.position }
    }
}
