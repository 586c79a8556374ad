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
