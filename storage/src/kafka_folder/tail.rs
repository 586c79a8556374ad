//! The end of a log of Kafka's form, by bytes: where the last so many begin, and what its producers are known by from there on.
//!
//! Kafka's snapshots hold the last batch of a producer alone ([`crate::producers`]); the others are in the log, near its end as long as
//! their client may send them again. How far back is looked is bounded by [`TAIL_BYTES_MAX`], on each way.

use super::arrange::Piece;
use super::walk::Walk;
use crate::batch::header::HEADER_BYTES;
use crate::batch::scan::{Checksums, Scanned};
use crate::batch::{BatchHeader, Offset};
use crate::disk::{Disk, File, OpenMode};
use crate::error::StorageError;
use crate::index::{OffsetIndex, OffsetPosition, SegmentBounds};
use crate::log::Mark;
use crate::names::{FileKind, SegmentFile};
use crate::producers::ProducerState;
use std::collections::BTreeMap;
use std::path::Path;

/// More than any index or producer snapshot that Kafka's settings allow.
pub(super) const SMALL_BYTES_MAX: usize = 64 << 20;
/// A batch behind which so much was written is none that its client still waits for.
pub(super) const TAIL_BYTES_MAX: u64 = 64 << 20;
/// How much is looked through first, and by how much it grows when that was not enough.
const TAIL_BYTES_FIRST: u64 = 1 << 20;
const TAIL_GROWTH: u64 = 8;

/// Where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: Offset,
    pub(super) pos: u64,
    pub(super) offset: Offset,
}

/// A log's segments up to its end.
#[derive(Clone, Copy)]
pub(super) struct Laid<'a> {
    pub(super) disk: &'a Disk,
    pub(super) folder: &'a Path,
    pub(super) segments: &'a BTreeMap<Offset, Piece>,
    pub(super) end: Mark,
}

impl Laid<'_> {
    fn size(&self, base: Offset, piece: &Piece) -> u64 {
        if base == self.end.segment { self.end.pos } else { piece.len_bytes }
    }

    async fn open(&self, piece: &Piece) -> Result<File, StorageError> {
        Ok(self.disk.open(self.folder.join(&piece.name), OpenMode::Read).await?)
    }

    /// Where about the last `bytes` begin.
    pub(super) async fn tail(&self, bytes: u64) -> Result<Place, StorageError> {
        let Mark { segment, pos, offset } = self.end;
        let (mut place, mut left) = (Place { segment, pos, offset }, bytes);
        for (base, piece) in self.segments.range(..=segment).rev() {
            let size = self.size(*base, piece);
            if size > left {
                return self.near(*base, piece, size - left).await;
            }
            left -= size;
            place = Place { segment: *base, pos: 0, offset: *base };
        }
        Ok(place)
    }

    /// The first indexed batch at `pos` or behind it; the last one, or the segment's begin, when there is none.
    async fn near(&self, base: Offset, piece: &Piece, pos: u64) -> Result<Place, StorageError> {
        let begin = Place { segment: base, pos: 0, offset: base };
        let index = read_index(self.disk, self.folder, base, self.size(base, piece)).await?;
        let entry = index.and_then(|index| index.first_at_or_after(pos).or(index.last()));
        let Some(entry) = entry else { return Ok(begin) };
        let header = indexed_batch(&self.open(piece).await?, &entry).await?;
        let place = |header: BatchHeader| Place {
            pos: u64::from(entry.position),
            offset: header.base_offset,
            ..begin
        };
        Ok(header.map_or(begin, place))
    }

    /// Has `state` learn the batches from `from` on.
    pub(super) async fn replay(&self, from: Place, state: &mut ProducerState) -> Result<(), StorageError> {
        for (base, piece) in self.segments.range(from.segment..=self.end.segment) {
            let file = self.open(piece).await?;
            let pos = if *base == from.segment { from.pos } else { 0 };
            let size = self.size(*base, piece);
            let walk = Walk { pos, size, next: *base, checksums: Checksums::Trust };
            let replay = |_, batch: &Scanned<'_>| {
                if batch.header.base_offset >= from.offset {
                    // A batch that no leader writes is the reader's to report.
                    let _ = state.replay(&batch.header, batch.bytes);
                }
            };
            walk.run(&file, replay).await?;
        }
        Ok(())
    }

    /// Adds to `state`, the producers at the end as a snapshot has them, the batches before their last ones.
    pub(super) async fn recall(&self, state: &mut ProducerState) -> Result<(), StorageError> {
        let first = self.tail(TAIL_BYTES_MAX).await?;
        let mut bytes = TAIL_BYTES_FIRST;
        while state.lacks_from(first.offset) {
            let from = self.tail(bytes.min(TAIL_BYTES_MAX)).await?;
            let mut seen = ProducerState::new(i64::MAX);
            self.replay(from, &mut seen).await?;
            state.recall(&seen);
            if from == first {
                return Ok(());
            }
            bytes *= TAIL_GROWTH;
        }
        Ok(())
    }
}

/// The offset index of a segment of `size` bytes, if it has one that can be read.
pub(super) async fn read_index(
    disk: &Disk,
    folder: &Path,
    base: Offset,
    size: u64,
) -> Result<Option<OffsetIndex>, StorageError> {
    let path = folder.join(SegmentFile::live(base, FileKind::OffsetIndex).to_string());
    let bytes = disk.read_small(path, SMALL_BYTES_MAX).await?;
    let bounds = SegmentBounds { base_offset: base, end_offset: Offset::MAX, size_bytes: size };
    Ok(bytes.and_then(|bytes| OffsetIndex::decode(&bytes, &bounds).ok()))
}

/// The batch that an entry of the index names, if it tells the truth.
pub(super) async fn indexed_batch(
    file: &File,
    entry: &OffsetPosition,
) -> Result<Option<BatchHeader>, StorageError> {
    let head = file.read_at(u64::from(entry.position), HEADER_BYTES).await?;
    let header = BatchHeader::parse(&head).ok();
    Ok(header.filter(|header| header.last_offset() == entry.offset))
}
