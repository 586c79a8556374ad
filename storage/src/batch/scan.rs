//! Walks over batches that lie one after another in a byte range, and says how the range ends. What a damaged or unfinished end
//! means is the caller's to judge (recovery, reading, fetch slicing); this knows nothing of files or checkpoints.
//!
//! ```text
//!  │ batch │ batch │ batch │ rest        rest: nothing (clean) · a batch cut off (torn) · zeros (blank) · anything else (corrupt)
//! ```

use super::Offset;
use super::crc;
use super::header::{
    BATCH_LENGTH_MIN, BatchHeader, HEADER_BYTES, LENGTH_AT, LOG_OVERHEAD_BYTES, MAGIC, MAGIC_AT,
};

/// One batch that a scan came by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scanned<'a> {
    /// Bytes between the start of the range and the batch.
    pub position: usize,
    pub header: BatchHeader,
    /// The whole batch, header included.
    pub bytes: &'a [u8],
}

/// How a scan ended. `position` is where the batch would begin that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanEnd {
    /// The last batch ended where the range does.
    Clean,
    /// The range ends within a batch. `need_bytes` is its size, or the header's when even that is cut.
    Torn { position: usize, have_bytes: usize, need_bytes: usize },
    /// Zeros where a header should be: space that was set aside but not written.
    Blank { position: usize },
    /// Bytes that no batch begins with, or whose checksum is wrong.
    Corrupt { position: usize, cause: Corruption },
}

/// What is wrong with a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Corruption {
    /// `batchLength` is smaller than a header.
    BatchLength(i32),
    /// Not the record format of Kafka 4.
    Magic(i8),
    Crc {
        stored: u32,
        computed: u32,
    },
}

/// Whether a scan reads every byte or the headers alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksums {
    Verify,
    Trust,
}

/// Iterates over the batches of a byte range. After `None`, [`end`](BatchScan::end) says why.
#[derive(Clone, Debug)]
pub struct BatchScan<'a> {
    range: &'a [u8],
    position: usize,
    checksums: Checksums,
    end: Option<ScanEnd>,
}

impl<'a> BatchScan<'a> {
    #[must_use]
    pub fn new(range: &'a [u8], checksums: Checksums) -> BatchScan<'a> {
        BatchScan { range, position: 0, checksums, end: None }
    }

    /// Bytes of whole, good batches passed so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Why the scan ended; `None` while it has not.
    #[must_use]
    pub fn end(&self) -> Option<ScanEnd> {
        self.end
    }

    /// Passes over all batches that are left, and says why the scan ended.
    pub fn finish(&mut self) -> ScanEnd {
        loop {
            if let Some(end) = self.end {
                return end;
            }
            self.next();
        }
    }

    fn step(&self) -> Result<Scanned<'a>, ScanEnd> {
        let position = self.position;
        let left = self.range.get(position..).unwrap_or_default();
        let header = peek(left).map_err(|ending| ending.at(position))?;
        let bytes = left.get(..header.total_bytes()).ok_or(ScanEnd::Torn {
            position,
            have_bytes: left.len(),
            need_bytes: header.total_bytes(),
        })?;
        if self.checksums == Checksums::Verify {
            verify(&header, bytes).map_err(|cause| ScanEnd::Corrupt { position, cause })?;
        }
        Ok(Scanned { position, header, bytes })
    }
}

impl<'a> Iterator for BatchScan<'a> {
    type Item = Scanned<'a>;

    fn next(&mut self) -> Option<Scanned<'a>> {
        if self.end.is_some() {
            return None;
        }
        match self.step() {
            Ok(scanned) => {
                self.position += scanned.bytes.len();
                Some(scanned)
            }
            Err(end) => {
                self.end = Some(end);
                None
            }
        }
    }
}

/// Checks the CRC of one whole batch; `batch` holds exactly the batch.
///
/// # Errors
/// [`Corruption::Crc`].
pub fn verify(header: &BatchHeader, batch: &[u8]) -> Result<(), Corruption> {
    let computed = crc::batch_crc(batch);
    if computed == header.crc { Ok(()) } else { Err(Corruption::Crc { stored: header.crc, computed }) }
}

/// The first batch of `range` that reaches `target` (its last offset is `target` or more), as a fetch from `target` begins.
///
/// `None` when no whole batch does. Checksums are not looked at.
#[must_use]
pub fn find_offset(range: &[u8], target: Offset) -> Option<Scanned<'_>> {
    BatchScan::new(range, Checksums::Trust).find(|batch| batch.header.last_offset() >= target)
}

/// Why no header stands at the start of some bytes.
enum Ending {
    Clean,
    Torn { have_bytes: usize },
    Blank,
    Corrupt(Corruption),
}

impl Ending {
    fn at(self, position: usize) -> ScanEnd {
        match self {
            Ending::Clean => ScanEnd::Clean,
            Ending::Torn { have_bytes } => ScanEnd::Torn { position, have_bytes, need_bytes: HEADER_BYTES },
            Ending::Blank => ScanEnd::Blank { position },
            Ending::Corrupt(cause) => ScanEnd::Corrupt { position, cause },
        }
    }
}

/// Reads a header, judging also one that is cut short by the fields that are there.
fn peek(left: &[u8]) -> Result<BatchHeader, Ending> {
    if left.is_empty() {
        return Err(Ending::Clean);
    }
    let head = left.get(..HEADER_BYTES).unwrap_or(left);
    if head.iter().all(|byte| *byte == 0) {
        return Err(Ending::Blank);
    }
    if let Some(magic) = head.get(MAGIC_AT).map(|byte| byte.cast_signed())
        && magic != MAGIC
    {
        return Err(Ending::Corrupt(Corruption::Magic(magic)));
    }
    if let Some(length) = head
        .get(LENGTH_AT..LOG_OVERHEAD_BYTES)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_be_bytes)
        && length < BATCH_LENGTH_MIN
    {
        return Err(Ending::Corrupt(Corruption::BatchLength(length)));
    }
    BatchHeader::parse(head).map_err(|_| Ending::Torn { have_bytes: left.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use crate::batch::header::CRC_AT;

    /// Three batches of 1, 2 and 3 records at offsets 10, 11 and 13.
    fn three_batches() -> Vec<u8> {
        let mut offset = Offset(10);
        let mut range = Vec::new();
        for count in 1..=3 {
            let mut builder = BatchBuilder::new().base_offset(offset);
            (0..count).for_each(|index| builder.append(index, Some(b"key"), Some(b"value"), &[]));
            range.extend_from_slice(&builder.build());
            offset = offset.plus(count);
        }
        range
    }

    fn positions(range: &[u8]) -> Vec<usize> {
        BatchScan::new(range, Checksums::Trust).map(|batch| batch.position).collect()
    }

    /// Offsets of the batches that a scan with checksums passes, and how it ends.
    fn scan(range: &[u8]) -> (Vec<i64>, ScanEnd) {
        let mut scan = BatchScan::new(range, Checksums::Verify);
        let offsets = scan.by_ref().map(|batch| batch.header.base_offset.0).collect();
        (offsets, scan.end().unwrap())
    }

    #[test]
    fn whole_batches_are_clean() {
        let range = three_batches();
        assert_eq!(scan(&range), (vec![10, 11, 13], ScanEnd::Clean));
        assert_eq!(scan(&[]), (vec![], ScanEnd::Clean));
        let mut scan = BatchScan::new(&range, Checksums::Trust);
        assert_eq!(scan.finish(), ScanEnd::Clean);
        assert_eq!((scan.position(), scan.next()), (range.len(), None));
        let covered: Vec<u8> =
            BatchScan::new(&range, Checksums::Verify).flat_map(|batch| batch.bytes.to_vec()).collect();
        assert_eq!(covered, range);
    }

    #[test]
    fn a_cut_anywhere_is_torn_or_clean() {
        let range = three_batches();
        let starts = positions(&range);
        for cut in 0..range.len() {
            let (offsets, end) = scan(&range[..cut]);
            let whole = starts.iter().skip(1).filter(|start| **start <= cut).count();
            assert_eq!(offsets.len(), whole, "cut at {cut}");
            let position = starts[whole];
            let have_bytes = cut - position;
            let next = starts.get(whole + 1).copied().unwrap_or(range.len());
            match end {
                ScanEnd::Clean => assert_eq!(have_bytes, 0),
                ScanEnd::Torn { need_bytes, .. } => {
                    let expected = if have_bytes < HEADER_BYTES { HEADER_BYTES } else { next - position };
                    assert_eq!(end, ScanEnd::Torn { position, have_bytes, need_bytes });
                    assert_eq!(need_bytes, expected, "cut at {cut}");
                }
                // The first bytes of a base offset below 256 are zero, like space that was never written.
                ScanEnd::Blank { .. } => assert!(have_bytes <= 7, "cut at {cut}"),
                ScanEnd::Corrupt { .. } => panic!("cut at {cut}: {end:?}"),
            }
        }
    }

    #[test]
    fn what_follows_the_batches_is_named() {
        let good = three_batches();
        let position = good.len();
        for (rest, expected) in [
            (vec![0; 1], ScanEnd::Blank { position }),
            (vec![0; 4096], ScanEnd::Blank { position }),
            (vec![0xff; 20], ScanEnd::Corrupt { position, cause: Corruption::Magic(-1) }),
            (vec![0xff; 12], ScanEnd::Corrupt { position, cause: Corruption::BatchLength(-1) }),
            (vec![0xff; 8], ScanEnd::Torn { position, have_bytes: 8, need_bytes: HEADER_BYTES }),
        ] {
            let range = [good.as_slice(), &rest].concat();
            assert_eq!(scan(&range), (vec![10, 11, 13], expected));
        }
    }

    #[test]
    fn any_flipped_bit_under_the_checksum_is_corruption() {
        let range = three_batches();
        let position = positions(&range)[1];
        let (from, to) = (position + CRC_AT, positions(&range)[2]);
        for at in from..to {
            for bit in 0..8 {
                let mut bad = range.clone();
                bad[at] ^= 1 << bit;
                let (offsets, end) = scan(&bad);
                assert_eq!(offsets, [10]);
                assert!(
                    matches!(end, ScanEnd::Corrupt { position: found, cause: Corruption::Crc { .. } } if found == position)
                );
                assert_eq!(positions(&bad).len(), 3, "without checksums, headers alone are looked at");
            }
        }
    }

    #[test]
    fn impossible_lengths_are_corruption_and_long_ones_torn() {
        for (length, torn) in [(i32::MIN, false), (-1, false), (0, false), (48, false), (i32::MAX, true)] {
            let mut range = three_batches();
            range[LENGTH_AT..LOG_OVERHEAD_BYTES].copy_from_slice(&length.to_be_bytes());
            let expected = if torn {
                ScanEnd::Torn { position: 0, have_bytes: range.len(), need_bytes: 12 + i32::MAX as usize }
            } else {
                ScanEnd::Corrupt { position: 0, cause: Corruption::BatchLength(length) }
            };
            assert_eq!(scan(&range), (vec![], expected));
        }
    }

    #[test]
    fn a_fetch_begins_with_the_batch_that_holds_its_offset() {
        let range = three_batches();
        for (target, expected) in [
            (0, Some(10)),
            (10, Some(10)),
            (11, Some(11)),
            (12, Some(11)),
            (13, Some(13)),
            (15, Some(13)),
            (16, None),
        ] {
            let found = find_offset(&range, Offset(target)).map(|batch| batch.header.base_offset.0);
            assert_eq!(found, expected, "offset {target}");
        }
    }
}
