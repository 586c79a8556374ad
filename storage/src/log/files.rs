//! Looking through a log's files while it is not open, or apart from what is open: its segments, its newest producer snapshot, its
//! batches, and what they say of aborted transactions. Reads, changes nothing.

use super::Mark;
use crate::batch::scan::{Checksums, Scanned};
use crate::batch::{BatchScan, Offset};
use crate::disk::{Disk, File, OpenMode};
use crate::error::StorageError;
use crate::index::TxnIndex;
use crate::names::{FileKind, FileName, FileStage, SegmentFile};
use crate::producers::ProducerState;
use std::path::{Path, PathBuf};

/// Largest single read.
const PIECE_BYTES: usize = 1 << 20;
/// More than any index or snapshot that Kafka's settings allow.
pub(crate) const SMALL_BYTES_MAX: usize = 64 << 20;

/// The file of a segment.
pub(crate) fn path_of(folder: &Path, base: Offset, kind: FileKind) -> PathBuf {
    folder.join(SegmentFile::live(base, kind).to_string())
}

/// The segments of a log by their files, in order.
pub(crate) async fn segment_bases(disk: &Disk, folder: &Path) -> Result<Vec<Offset>, StorageError> {
    let entries = disk.list(folder).await?;
    let bases = entries.iter().filter_map(|entry| match FileName::parse(&entry.name) {
        FileName::Segment(file) if file.kind == FileKind::Log && file.stage == FileStage::Live => {
            Some(file.base_offset)
        }
        _ => None,
    });
    let mut bases: Vec<Offset> = bases.collect();
    bases.sort_unstable();
    Ok(bases)
}

/// The producers at the begin of the last segment at or before `end` whose snapshot can be read, and where that is; nobody is expired.
pub(crate) async fn newest_snapshot(
    disk: &Disk,
    folder: &Path,
    end: Offset,
) -> Result<(ProducerState, Mark), StorageError> {
    let bases = segment_bases(disk, folder).await?;
    for base in bases.iter().rev().filter(|base| **base <= end) {
        let bytes = disk.read_small(path_of(folder, *base, FileKind::Snapshot), SMALL_BYTES_MAX).await?;
        let decode = |bytes: Vec<u8>| ProducerState::from_snapshot(&bytes, 0, i64::MAX).ok();
        if let Some(state) = bytes.and_then(decode) {
            return Ok((state, Mark { offset: *base, segment: *base, pos: 0 }));
        }
    }
    let first = bases.first().copied().unwrap_or(Offset::ZERO);
    Ok((ProducerState::new(i64::MAX), Mark { offset: first, segment: first, pos: 0 }))
}

/// Shows the batches of a segment file from `pos` up to `size` to `visit`.
///
/// # Errors
/// Those of the disk; [`StorageError::Corrupt`] where no batch is.
pub(crate) async fn look_through(
    file: &File,
    mut pos: u64,
    size: u64,
    visit: &mut dyn FnMut(&Scanned<'_>),
) -> Result<(), StorageError> {
    let mut want = PIECE_BYTES;
    while pos < size {
        let span = want.min((size - pos) as usize);
        let bytes = file.read_at(pos, span).await?;
        let mut scan = BatchScan::new(&bytes, Checksums::Trust);
        scan.by_ref().for_each(|batch| visit(&batch));
        match scan.position() as u64 {
            0 if (span as u64) < size - pos => want *= 2,
            0 => return Err(StorageError::Corrupt(format!("{} at position {pos}", file.path().display()))),
            passed => pos += passed,
        }
    }
    Ok(())
}

/// The transaction index of `segment`, from the batches of a log that ends at `end`: those of earlier segments too, from the last
/// producer snapshot on, since a transaction may have begun there.
///
/// # Errors
/// As [`look_through`].
pub(crate) async fn aborted_of(
    disk: &Disk,
    folder: &Path,
    segment: Offset,
    end: Mark,
) -> Result<TxnIndex, StorageError> {
    let (mut producers, from) = newest_snapshot(disk, folder, segment).await?;
    let mut index = TxnIndex::default();
    let bases = segment_bases(disk, folder).await?;
    for base in bases.into_iter().filter(|base| (from.segment..=segment).contains(base)) {
        let file = disk.open(path_of(folder, base, FileKind::Log), OpenMode::Read).await?;
        let size = if base == end.segment { end.pos } else { file.len().await? };
        let mut take = |batch: &Scanned<'_>| {
            // A batch that no leader writes is the reader's to report.
            let completed = producers.replay(&batch.header, batch.bytes).ok().flatten();
            if let Some(aborted) = completed.and_then(|completed| completed.aborted())
                && base == segment
            {
                // Markers that do not follow each other are damage, which readers of the batches meet.
                let _ = index.append(aborted);
            }
        };
        look_through(&file, 0, size, &mut take).await?;
    }
    Ok(index)
}

/// Makes the file of a transaction index hold this, durably; there is none of an empty one.
///
/// # Errors
/// Those of the disk.
pub(crate) async fn store_aborted(
    disk: &Disk,
    folder: &Path,
    segment: Offset,
    bytes: &[u8],
) -> Result<(), StorageError> {
    let path = path_of(folder, segment, FileKind::TxnIndex);
    if !bytes.is_empty() {
        return Ok(disk.replace_small(path, bytes).await?);
    }
    if disk.exists(&path).await? {
        disk.remove_file(path).await?;
        disk.sync_dir(folder).await?;
    }
    Ok(())
}
