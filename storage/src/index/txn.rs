//! The transaction index of a segment: the aborted transactions whose marker lies in it, so that readers of committed records alone
//! know which to leave out. Byte for byte Kafka's `TransactionIndex` and `AbortedTxn`; there is no file where nothing was aborted.
//!
//! ```text
//!  .txnindex, big-endian, 34 bytes an entry, by last offset:
//!     version i16 (0) │ producer id i64 │ first offset i64 │ last offset i64 │ last stable offset i64
//! ```
//! Unlike the other two it cannot be made from its segment's batches alone: a transaction may begin in an earlier one.

use super::{IndexError, entries};
use crate::batch::{Offset, ProducerId};

/// Bytes of one entry.
pub const ABORTED_ENTRY_BYTES: usize = 34;

/// The version of an entry.
const VERSION: i16 = 0;

/// A transaction that was aborted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTxn {
    pub producer_id: ProducerId,
    /// Offset of its first record in the partition.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// Where the next transaction that was open then begins, or the offset after the marker: what is aborted later begins no earlier.
    pub last_stable_offset: Offset,
}

/// What a search has found so far of aborted transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Search {
    /// No later entry can overlap the range.
    Done,
    /// The next segment's entries may.
    GoesOn,
}

/// The transaction index of one segment, in memory: 32 bytes an entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TxnIndex {
    entries: Vec<AbortedTxn>,
}

impl TxnIndex {
    /// Reads an index file of the segment that begins with `base_offset`.
    ///
    /// # Errors
    /// [`IndexError`] unless the size is whole, the version known, and each marker lies in the segment, behind the one before it and
    /// behind its transaction's first record.
    pub fn decode(bytes: &[u8], base_offset: Offset) -> Result<TxnIndex, IndexError> {
        let raw = entries::<ABORTED_ENTRY_BYTES>(bytes)?;
        let mut index = TxnIndex { entries: Vec::with_capacity(raw.len()) };
        for (number, bytes) in raw.iter().enumerate() {
            let (version, entry) = read_entry(bytes);
            let inside = entry.last_offset >= base_offset
                && entry.first_offset >= Offset::ZERO
                && entry.first_offset < entry.last_offset;
            if version != VERSION || !inside {
                return Err(IndexError::Beyond { entry: number });
            }
            index.append(entry)?;
        }
        Ok(index)
    }

    /// The bytes of the index file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(&VERSION.to_be_bytes());
            bytes.extend_from_slice(&entry.producer_id.0.to_be_bytes());
            bytes.extend_from_slice(&entry.first_offset.0.to_be_bytes());
            bytes.extend_from_slice(&entry.last_offset.0.to_be_bytes());
            bytes.extend_from_slice(&entry.last_stable_offset.0.to_be_bytes());
        }
        bytes
    }

    /// Adds a transaction.
    ///
    /// # Errors
    /// [`IndexError::Order`] when its marker does not lie behind the last one's.
    pub fn append(&mut self, aborted: AbortedTxn) -> Result<(), IndexError> {
        if self.entries.last().is_some_and(|last| last.last_offset >= aborted.last_offset) {
            return Err(IndexError::Order { entry: self.entries.len() });
        }
        self.entries.push(aborted);
        Ok(())
    }

    /// Adds to `found` the transactions with a record or the marker in `from..to`, by last offset.
    pub fn collect(&self, from: Offset, to: Offset, found: &mut Vec<AbortedTxn>) -> Search {
        let first = self.entries.partition_point(|entry| entry.last_offset < from);
        for entry in self.entries.get(first..).unwrap_or_default() {
            if entry.first_offset < to {
                found.push(*entry);
            }
            if entry.last_stable_offset >= to {
                return Search::Done;
            }
        }
        Search::GoesOn
    }

    /// Drops the transactions whose marker lies at or beyond `offset`.
    pub fn truncate_to(&mut self, offset: Offset) {
        let keep = self.entries.partition_point(|entry| entry.last_offset < offset);
        self.entries.truncate(keep);
    }

    /// The transactions, by last offset.
    #[must_use]
    pub fn entries(&self) -> &[AbortedTxn] {
        &self.entries
    }

    /// The size of the index file, in bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.entries.len() * ABORTED_ENTRY_BYTES
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn read_entry(bytes: &[u8; ABORTED_ENTRY_BYTES]) -> (i16, AbortedTxn) {
    let (version, fields) = bytes.split_at(size_of::<i16>());
    let version = version.first_chunk().map_or(-1, |version| i16::from_be_bytes(*version));
    let (fields, _) = fields.as_chunks::<{ size_of::<i64>() }>();
    let field = |number: usize| fields.get(number).map_or(-1, |field| i64::from_be_bytes(*field));
    let entry = AbortedTxn {
        producer_id: ProducerId(field(0)),
        first_offset: Offset(field(1)),
        last_offset: Offset(field(2)),
        last_stable_offset: Offset(field(3)),
    };
    (version, entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(producer_id: i64, first: i64, last: i64, stable: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(producer_id),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(stable),
        }
    }

    fn index(entries: &[AbortedTxn]) -> TxnIndex {
        let mut index = TxnIndex::default();
        entries.iter().for_each(|entry| index.append(*entry).unwrap());
        index
    }

    /// Two transactions that overlap, one apart, one that began in an earlier segment.
    fn sample() -> TxnIndex {
        index(&[
            aborted(4, 90, 100, 101),
            aborted(1, 110, 130, 120),
            aborted(2, 120, 140, 141),
            aborted(3, 150, 160, 161),
        ])
    }

    #[test]
    fn entries_are_kafkas_byte_for_byte() {
        let bytes = index(&[aborted(0x0102, 0x11, 0x22, 0x33)]).encode();
        let expected = [&[0, 0][..], &[0, 0, 0, 0, 0, 0, 1, 2], &[0, 0, 0, 0, 0, 0, 0, 0x11]].concat();
        assert_eq!(bytes[..18], expected);
        assert_eq!(bytes[18..], [[0, 0, 0, 0, 0, 0, 0, 0x22], [0, 0, 0, 0, 0, 0, 0, 0x33]].concat());
    }

    #[test]
    fn a_file_round_trips_and_a_damaged_one_is_refused() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), sample().size_bytes());
        assert_eq!(TxnIndex::decode(&bytes, Offset(100)), Ok(sample()));
        for cut in (0..bytes.len()).filter(|cut| cut % ABORTED_ENTRY_BYTES != 0) {
            assert!(matches!(TxnIndex::decode(&bytes[..cut], Offset(100)), Err(IndexError::Size { .. })));
        }
        assert_eq!(TxnIndex::decode(&bytes, Offset(101)), Err(IndexError::Beyond { entry: 0 }));
        for (change, expected) in [
            (1, IndexError::Beyond { entry: 0 }),
            (10, IndexError::Beyond { entry: 0 }),
            (17, IndexError::Beyond { entry: 0 }),
            (34 + 24, IndexError::Order { entry: 2 }),
        ] {
            let mut bad = bytes.clone();
            bad[change] = 0x7f;
            assert_eq!(TxnIndex::decode(&bad, Offset(100)), Err(expected), "byte {change}");
        }
    }

    #[test]
    fn a_search_finds_what_overlaps_and_knows_when_to_stop() {
        let index = sample();
        for (from, to, expected, search) in [
            (0, 50, &[][..], Search::Done),
            (100, 101, &[4], Search::Done),
            (101, 110, &[], Search::Done),
            (101, 111, &[1], Search::Done),
            (125, 126, &[1, 2], Search::Done),
            (131, 145, &[2], Search::Done),
            (141, 200, &[3], Search::GoesOn),
            (161, 200, &[], Search::GoesOn),
        ] {
            let mut found = Vec::new();
            assert_eq!(index.collect(Offset(from), Offset(to), &mut found), search, "{from}..{to}");
            let ids: Vec<i64> = found.iter().map(|aborted| aborted.producer_id.0).collect();
            assert_eq!(ids, expected, "{from}..{to}");
        }
    }

    #[test]
    fn a_truncation_goes_by_the_marker() {
        for (offset, left) in [(100, 0), (101, 1), (130, 1), (140, 2), (161, 4)] {
            let mut index = sample();
            index.truncate_to(Offset(offset));
            assert_eq!(index.entries().len(), left, "{offset}");
        }
    }
}
