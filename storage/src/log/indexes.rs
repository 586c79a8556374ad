//! The indexes of segments: loaded when a segment of an earlier run is first needed, rebuilt from its batches where the
//! stored ones cannot be believed, stored when a segment is finished and at a clean stop.

use super::LogInner;
use crate::batch::{BatchScan, Offset, ScanEnd, scan::Checksums};
use crate::error::StorageError;
use crate::index::{OffsetIndex, SegmentBounds, SegmentIndexes, TimeIndex};
use crate::names::FileKind;
use crate::segment::{Segment, Stage, TIMESTAMP_UNKNOWN_MS};

/// Bytes read at a time while indexes are rebuilt.
const REBUILD_READ_BYTES: usize = 1 << 20;
/// More than any index that Kafka's settings allow.
const INDEX_BYTES_MAX: usize = 64 << 20;

/// Indexes that are to be loaded, and the state of the log that they are to fit.
struct Missing {
    bounds: SegmentBounds,
    interval: u32,
    truncations: u64,
}

impl LogInner {
    /// Loads or rebuilds the indexes of a segment, unless they are in memory.
    pub(crate) async fn ensure_indexes(&self, base: Offset) -> Result<(), StorageError> {
        while let Some(missing) = self.missing_indexes(base) {
            self.load_indexes(base, &missing).await?;
        }
        Ok(())
    }

    /// Learns a segment's largest timestamp, for retention. Of a finished one that alone is kept, not the indexes: they would take
    /// memory for all data there is. The last entry of the stored time index would not do: recovery may have left it without its end.
    ///
    /// # Errors
    /// As [`ensure_indexes`](Self::ensure_indexes).
    pub(crate) async fn learn_largest_timestamp(&self, base: Offset) -> Result<(), StorageError> {
        let is_known =
            |segment: &Segment| segment.indexes.is_some() || segment.largest_timestamp_ms.is_some();
        if self.state.borrow().segment(base).is_none_or(is_known) {
            return Ok(());
        }
        let loaded = self.ensure_indexes(base).await;
        let mut state = self.state.borrow_mut();
        let Some(segment) = state.segment_mut(base).filter(|segment| segment.stage == Stage::Finished) else {
            return loaded;
        };
        match &loaded {
            Ok(()) => segment.keep_timestamp_alone(),
            // It stays damaged: to look through it at each pass helps nobody.
            Err(StorageError::Corrupt(_)) => segment.largest_timestamp_ms = Some(TIMESTAMP_UNKNOWN_MS),
            Err(_) => {}
        }
        loaded
    }

    /// Loads once; a cut meanwhile makes the result void.
    async fn load_indexes(&self, base: Offset, missing: &Missing) -> Result<(), StorageError> {
        let stored = self.read_indexes(&missing.bounds, missing.interval).await?;
        let mut indexes = stored.unwrap_or_else(|| SegmentIndexes::new(base, missing.interval));
        let mut at = u64::from(indexes.last_indexed().position);
        // Appends meanwhile make the segment longer; the last look and the handing over happen without an await between.
        loop {
            let found = {
                let mut state = self.state.borrow_mut();
                let void = state.truncations != missing.truncations;
                let Some(segment) = state.segment_mut(base).filter(|s| !void && s.indexes.is_none()) else {
                    return Ok(());
                };
                if at >= segment.size {
                    segment.indexes = Some(indexes);
                    return Ok(());
                }
                let durable_pos = segment.durable_pos;
                let cached = state.chunk_at(base, at);
                cached.map(|cached| cached.chunk.slice(at, cached.chunk.end_pos())).ok_or(durable_pos)
            };
            let bytes = match found {
                Ok(cached) => cached,
                Err(durable_pos) => self.read_for_rebuild(base, at, durable_pos).await?,
            };
            let indexed = indexes.offsets().last().map(|last| u64::from(last.position));
            at += note_batches(&mut indexes, &bytes, at, indexed)?;
        }
    }

    fn missing_indexes(&self, base: Offset) -> Option<Missing> {
        let state = self.state.borrow();
        let segment = state.segment(base).filter(|segment| segment.indexes.is_none())?;
        let end_offset = state.segment_after(base).map_or(state.end, |next| next.base);
        let bounds = SegmentBounds { base_offset: base, end_offset, size_bytes: segment.size };
        Some(Missing { bounds, interval: state.config.index_interval_bytes, truncations: state.truncations })
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
        durable_pos: u64,
    ) -> Result<bytes::Bytes, StorageError> {
        let file = self.segment_file(base).await?;
        let mut len = REBUILD_READ_BYTES;
        loop {
            let want = len.min((durable_pos - at) as usize);
            let bytes = file.read_at(at, want).await?;
            let mut scan = BatchScan::new(&bytes, Checksums::Trust);
            if scan.next().is_some() {
                return Ok(bytes);
            }
            // A damaged length must not make this read what is not there.
            let goes_on = matches!(scan.end(), Some(ScanEnd::Torn { need_bytes, .. }) if need_bytes as u64 <= durable_pos - at);
            if !goes_on || want < len || bytes.len() < want {
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
    indexed: Option<u64>,
) -> Result<u64, StorageError> {
    let mut scan = BatchScan::new(bytes, Checksums::Trust);
    for batch in scan.by_ref() {
        let position = at + batch.position as u64;
        if indexed.is_none_or(|indexed| position > indexed) {
            let noted = indexes.on_batch(&batch.header, position);
            noted.map_err(|cause| StorageError::Corrupt(format!("batch at position {position}: {cause}")))?;
        }
    }
    match scan.position() {
        0 => Err(StorageError::Corrupt(format!("no batch at position {at}"))),
        passed => Ok(passed as u64),
    }
}
