//! Walking over the batches of a segment file, piece by piece, to its end or to the first bytes that are none that belong there.

use crate::batch::header::HEADER_BYTES;
use crate::batch::scan::{Checksums, Scanned};
use crate::batch::{BatchScan, Offset, ScanEnd};
use crate::disk::{DirEntry, Disk, File, OpenMode};
use crate::error::StorageError;
use crate::names::{FileKind, FileName, FileStage};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Bytes read at a time, unless a batch is larger.
const PIECE_BYTES: usize = 1 << 20;
/// A length above this is no batch's: no setting of Kafka's that anybody uses takes one.
const BATCH_BYTES_MAX: usize = 512 << 20;

/// How far a walk came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// Where the last good batch ends.
    pub(super) pos: u64,
    /// The offset behind it.
    pub(super) next: Offset,
    /// What stands there instead of a batch; `None` at the end of the file.
    pub(super) wrong: Option<Wrong>,
}

/// What stands where a batch should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Nothing was written there yet.
    Zeros,
    /// Something else.
    NoBatch(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Zeros => f.write_str("zeros"),
            Wrong::NoBatch(what) => f.write_str(what),
        }
    }
}

/// Where a walk begins, and what it demands.
pub(super) struct Walk {
    /// A batch begins here.
    pub(super) pos: u64,
    /// The file's size.
    pub(super) size: u64,
    /// No batch begins with a lower offset.
    pub(super) next: Offset,
    /// Whether every byte is looked at.
    pub(super) checksums: Checksums,
}

impl Walk {
    /// Shows every good batch, with its position, to `visit`.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) async fn run(
        self,
        file: &File,
        mut visit: impl FnMut(u64, &Scanned<'_>),
    ) -> Result<Walked, StorageError> {
        let Walk { pos, size, next, checksums } = self;
        let mut walked = Walked { pos, next, wrong: None };
        let mut want = PIECE_BYTES;
        while walked.pos < size && walked.wrong.is_none() {
            let (begin, span) = (walked.pos, (want as u64).min(size - walked.pos) as usize);
            let bytes = file.read_at(begin, span).await?;
            let mut scan = BatchScan::new(&bytes, checksums);
            for batch in scan.by_ref() {
                let header = &batch.header;
                if header.base_offset < walked.next || header.last_offset() < header.base_offset {
                    let base = header.base_offset;
                    let what = format!("a batch of offset {base} follows {}", walked.next);
                    walked.wrong = Some(Wrong::NoBatch(what));
                    break;
                }
                visit(begin + batch.position as u64, &batch);
                walked.pos = begin + (batch.position + batch.bytes.len()) as u64;
                walked.next = header.next_offset();
            }
            let Some(end) = scan.end().filter(|_| walked.wrong.is_none()) else { continue };
            match judge(end, bytes.len() as u64, begin, size) {
                Ok(next_want) => want = next_want,
                Err(wrong) => walked.wrong = Some(wrong),
            }
        }
        Ok(walked)
    }
}

/// How far a walk over a whole log came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkedLog {
    /// The log's end.
    pub end: Offset,
    /// Bytes of the last segment behind it, which are no batch.
    pub torn_bytes: u64,
}

/// Shows the batches of the log in `folder` to `visit`, from the segment that holds `from` on, up to the end that a stop in the middle
/// of a write has left.
///
/// # Errors
/// Those of the disk; [`StorageError::Corrupt`] when there is no such segment, or one before the last ends in bytes that are no batch.
pub async fn walk_log(
    disk: &Disk,
    folder: &Path,
    from: Offset,
    mut visit: impl FnMut(&Scanned<'_>),
) -> Result<WalkedLog, StorageError> {
    let entries = disk.list(folder).await?;
    let segments: BTreeMap<Offset, &DirEntry> = entries.iter().filter_map(segment).collect();
    let first = segments.range(..=from).next_back().map(|(base, _)| *base);
    let mut walked = WalkedLog { end: from, torn_bytes: 0 };
    let Some(first) = first else {
        return match segments.first_key_value() {
            None => Ok(walked),
            Some((base, _)) => Err(StorageError::Corrupt(format!(
                "{} begins at offset {base}, and offset {from} is needed",
                folder.display()
            ))),
        };
    };
    for (base, entry) in segments.range(first..) {
        if walked.torn_bytes > 0 {
            let what = format!("the segment before {} ends in bytes that are no batch", entry.name);
            return Err(StorageError::Corrupt(format!("{}: {what}", folder.display())));
        }
        let file = disk.open(folder.join(&entry.name), OpenMode::Read).await?;
        let size = entry.len_bytes;
        let walk = Walk { pos: 0, size, next: *base, checksums: Checksums::Verify };
        let of_segment = walk.run(&file, |_, batch| visit(batch)).await?;
        walked.end = walked.end.max(of_segment.next);
        walked.torn_bytes = size - of_segment.pos;
    }
    Ok(walked)
}

fn segment(entry: &DirEntry) -> Option<(Offset, &DirEntry)> {
    let FileName::Segment(file) = FileName::parse(&entry.name) else { return None };
    let is_live = !entry.is_dir && file.kind == FileKind::Log && file.stage == FileStage::Live;
    is_live.then_some((file.base_offset, entry))
}

/// How much to read next, after a piece of `len` bytes at `begin` ended so; or what is wrong.
fn judge(end: ScanEnd, len: u64, begin: u64, size: u64) -> Result<usize, Wrong> {
    let left = |position: usize| size - begin - position as u64;
    let is_last = begin + len >= size;
    match end {
        ScanEnd::Clean => Ok(PIECE_BYTES),
        ScanEnd::Torn { position, need_bytes, .. } if need_bytes as u64 > left(position) => {
            let have = left(position);
            Err(Wrong::NoBatch(format!("a batch of {need_bytes} bytes or more, of which there are {have}")))
        }
        ScanEnd::Torn { need_bytes, .. } if need_bytes > BATCH_BYTES_MAX => {
            Err(Wrong::NoBatch(format!("a batch of {need_bytes} bytes")))
        }
        ScanEnd::Torn { need_bytes, .. } => Ok(need_bytes.max(PIECE_BYTES)),
        // Few zeros at the end of a piece may begin an offset.
        ScanEnd::Blank { position } if !is_last && len - (position as u64) < HEADER_BYTES as u64 => {
            Ok(PIECE_BYTES)
        }
        ScanEnd::Blank { .. } => Err(Wrong::Zeros),
        ScanEnd::Corrupt { cause, .. } => Err(Wrong::NoBatch(format!("no batch: {cause:?}"))),
    }
}
