//! The indexes of segments: loaded when a segment of an earlier run is first needed, rebuilt from its batches where the
//! stored ones cannot be believed, stored when a segment is finished and at a clean stop.

use super::LogInner;
use crate::batch::{BatchScan, Offset, scan::Checksums};
use crate::error::StorageError;
use crate::index::{OffsetIndex, SegmentBounds, SegmentIndexes, TimeIndex};
use crate::names::FileKind;

/// Bytes read at a time while indexes are rebuilt.
const REBUILD_READ_BYTES: usize = 1 << 20;
/// More than any index that Kafka's settings allow.
const INDEX_BYTES_MAX: usize = 64 << 20;

impl LogInner {
    /// Loads or rebuilds the indexes of a segment, unless they are in memory.
    pub(crate) async fn ensure_indexes(&self, base: Offset) -> Result<(), StorageError> {
        let Some((bounds, interval)) = self.missing_indexes(base) else { return Ok(()) };
        let stored = self.read_indexes(&bounds, interval).await?;
        let mut indexes = stored.unwrap_or_else(|| SegmentIndexes::new(base, interval));
        let from = u64::from(indexes.last_indexed().position);
        let mut at = from;
        // Appends meanwhile make the segment longer; the last look and the handing over happen without an await between.
        loop {
            let bytes = {
                let mut state = self.state.borrow_mut();
                let Some(segment) = state.segment_mut(base) else { return Ok(()) };
                if segment.indexes.is_some() {
                    return Ok(());
                }
                if at >= segment.size {
                    segment.indexes = Some(indexes);
                    return Ok(());
                }
                let cached =
                    state.chunk_at(base, at).map(|cached| cached.chunk.slice(at, cached.chunk.end_pos()));
                cached.ok_or_else(|| state.segment(base).map_or(at, |segment| segment.durable_pos))
            };
            let bytes = match bytes {
                Ok(cached) => cached,
                Err(cold_end) => self.read_for_rebuild(base, at, cold_end).await?,
            };
            let indexed = u64::from(indexes.offsets().last().map_or(0, |last| last.position));
            at += note_batches(&mut indexes, &bytes, at, indexed)?;
        }
    }

    fn missing_indexes(&self, base: Offset) -> Option<(SegmentBounds, u32)> {
        let state = self.state.borrow();
        let segment = state.segment(base).filter(|segment| segment.indexes.is_none())?;
        let end_offset = state.segment_after(base).map_or(state.end, |next| next.base);
        let bounds = SegmentBounds { base_offset: base, end_offset, size_bytes: segment.size };
        Some((bounds, state.config.index_interval_bytes))
    }

    async fn read_indexes(
        &self,
        bounds: &SegmentBounds,
        interval: u32,
    ) -> Result<Option<SegmentIndexes>, StorageError> {
        let disk = &self.shared.disk;
        let offsets =
            disk.read_small(self.segment_path(bounds.base_offset, FileKind::OffsetIndex), INDEX_BYTES_MAX);
        let times =
            disk.read_small(self.segment_path(bounds.base_offset, FileKind::TimeIndex), INDEX_BYTES_MAX);
        let (Some(offsets), Some(times)) = (offsets.await?, times.await?) else { return Ok(None) };
        let decoded = (OffsetIndex::decode(&offsets, bounds), TimeIndex::decode(&times, bounds));
        match decoded {
            (Ok(offsets), Ok(times)) => Ok(Some(SegmentIndexes::from_parts(offsets, times, interval))),
            (Err(cause), _) | (_, Err(cause)) => {
                tracing::warn!(partition = %self.partition, segment = %bounds.base_offset, %cause, "index rebuilt");
                Ok(None)
            }
        }
    }

    async fn read_for_rebuild(
        &self,
        base: Offset,
        at: u64,
        cold_end: u64,
    ) -> Result<bytes::Bytes, StorageError> {
        let file = self.segment_file(base).await?;
        let mut len = REBUILD_READ_BYTES;
        loop {
            let want = len.min((cold_end - at) as usize);
            let bytes = file.read_at(at, want).await?;
            let whole = BatchScan::new(&bytes, Checksums::Trust).next().is_some();
            if whole {
                return Ok(bytes);
            }
            if want < len || bytes.len() < want {
                return Err(StorageError::Corrupt(format!("{} at position {at}", file.path().display())));
            }
            len *= 2;
        }
    }

    /// Writes the index files of a segment.
    pub(crate) async fn store_indexes(&self, base: Offset) -> Result<(), StorageError> {
        self.ensure_indexes(base).await?;
        let encoded = {
            let mut state = self.state.borrow_mut();
            state.segment_mut(base).and_then(|segment| {
                let indexes = segment.indexes.as_mut()?;
                // A last entry that does not fit leaves the index sparse, not wrong.
                let _ = indexes.finish();
                segment.indexed_bytes = segment.size;
                Some((indexes.offsets().encode(), indexes.times().encode()))
            })
        };
        let Some((offsets, times)) = encoded else { return Ok(()) };
        let disk = &self.shared.disk;
        disk.replace_small(self.segment_path(base, FileKind::OffsetIndex), &offsets).await?;
        disk.replace_small(self.segment_path(base, FileKind::TimeIndex), &times).await?;
        Ok(())
    }
}

/// Notes the whole batches in `bytes`, which begin at `at`; those at or before the last entry are known. Returns the bytes passed.
fn note_batches(
    indexes: &mut SegmentIndexes,
    bytes: &[u8],
    at: u64,
    indexed: u64,
) -> Result<u64, StorageError> {
    let mut scan = BatchScan::new(bytes, Checksums::Trust);
    for batch in scan.by_ref() {
        let position = at + batch.position as u64;
        if position > indexed || position == 0 {
            let noted = indexes.on_batch(&batch.header, position);
            noted.map_err(|cause| StorageError::Corrupt(format!("batch at position {position}: {cause}")))?;
        }
    }
    match scan.position() {
        0 => Err(StorageError::Corrupt(format!("no batch at position {at}"))),
        passed => Ok(passed as u64),
    }
}
