//! Reading: where an offset stands, what may be handed out, and from where. Hot bytes are slices of chunks, cold ones
//! slices of aligned reads that are kept for the next reader and read ahead; nothing is copied. Only whole batches leave,
//! and cold ones only after their CRC was checked.

use super::{Log, LogInner, LogState};
use crate::batch::lookup::{OffsetAtTime, first_at_or_after, offset_of_max_timestamp};
use crate::batch::records::RecordsError;
use crate::batch::{BatchHeader, BatchScan, LeaderEpoch, Offset, ScanEnd, scan::Checksums};
use crate::disk::File;
use crate::error::{ReadError, StorageError};
use crate::store::ReadKey;
use bytes::Bytes;
use std::rc::Rc;

/// The smallest and the usual size of a cold read.
const COLD_READ_BYTES_MIN: usize = 64 << 10;
const COLD_READ_BYTES: usize = 512 << 10;
/// The most bytes that one batch may unpack to in a lookup by timestamp.
const LOOKUP_BYTES_MAX: usize = 256 << 20;

/// What a read returns.
#[derive(Clone, Debug)]
pub struct ReadResult {
    /// Whole batches, one after another.
    pub records: Vec<Bytes>,
    /// Their size.
    pub bytes: usize,
    /// The offset after the last of them; the asked one when there are none.
    pub next_offset: Offset,
}

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp in milliseconds.
    pub timestamp_ms: i64,
    /// Its offset.
    pub offset: Offset,
    /// The epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// A place to go on reading from.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    segment: Offset,
    pos: u64,
}

/// Where the bytes at a cursor are.
enum Region {
    /// Readable bytes from the cursor on, and the log's end offset behind them.
    Hot(Bytes, Offset),
    /// In the file, up to a position; read at most so much.
    Cold { file_end: u64 },
    /// The segment ends here; the next begins.
    Next(Offset),
    /// The log ends here.
    End,
}

impl LogState {
    fn region(&self, at: Cursor) -> Region {
        let Some(segment) = self.segment(at.segment) else { return Region::End };
        if at.pos >= segment.size {
            return self.segment_after(at.segment).map_or(Region::End, |next| Region::Next(next.base));
        }
        match self.chunk_at(at.segment, at.pos) {
            Some(cached) => {
                Region::Hot(cached.chunk.slice(at.pos, cached.chunk.end_pos()), cached.end_offset)
            }
            None => Region::Cold { file_end: segment.durable_pos },
        }
    }

    fn check_range(&self, offset: Offset) -> Result<(), ReadError> {
        if offset < self.start || offset > self.end {
            return Err(ReadError::OutOfRange { offset, start: self.start, end: self.end });
        }
        Ok(())
    }
}

/// A run of whole batches cut out of a region.
struct Run {
    bytes: Bytes,
    next_offset: Offset,
    /// Whether the run ended because of a limit, not because the region did.
    limited: bool,
}

/// Whole batches from the start of `region` that end before `limit` and fit `max_bytes`; the first may be larger if `force_first`.
fn cut(region: &Bytes, limit: Offset, max_bytes: usize, force_first: bool) -> Option<Run> {
    let mut end = 0;
    let mut next_offset = Offset::ZERO;
    let mut limited = false;
    for batch in BatchScan::new(region, Checksums::Trust) {
        let batch_end = batch.position + batch.bytes.len();
        let fits = batch_end <= max_bytes || (force_first && batch.position == 0);
        if batch.header.next_offset() > limit || !fits {
            limited = true;
            break;
        }
        (end, next_offset) = (batch_end, batch.header.next_offset());
    }
    (end > 0 || limited).then(|| Run { bytes: region.slice(..end), next_offset, limited })
}

impl Log {
    /// Bytes that a read from `offset` could return now, ending before `limit`. For cold data an estimate from the index.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] outside of start and end, or what took the log offline.
    pub fn readable_bytes(&self, offset: Offset, limit: Offset) -> Result<u64, ReadError> {
        self.inner.check()?;
        let state = self.inner.state.borrow();
        state.check_range(offset)?;
        if offset >= limit {
            return Ok(0);
        }
        let (first, last) = (state.segment_of(offset), state.segment_of(limit.plus(-1)));
        let from = state.position_near(first.base, offset);
        let to = if limit == state.flushed.offset && last.base == state.flushed.segment {
            state.flushed.pos
        } else if limit == state.end {
            last.size
        } else {
            state.position_near(last.base, limit)
        };
        if first.base == last.base {
            return Ok(to.saturating_sub(from).max(1));
        }
        let between = state.segments.iter().filter(|s| first.base < s.base && s.base < last.base);
        Ok(first.size.saturating_sub(from) + between.map(|s| s.size).sum::<u64>() + to)
    }

    /// Whole batches from the one that holds `offset`, ending before `limit`, at most `max_bytes` unless `at_least_one`
    /// asks for a first batch that is larger.
    ///
    /// # Errors
    /// [`ReadError`]. Damage behind the first batch ends the result; the next read reports it.
    pub async fn read(
        &self,
        offset: Offset,
        limit: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<ReadResult, ReadError> {
        let inner = &self.inner;
        inner.check()?;
        inner.state.borrow().check_range(offset)?;
        let mut result = ReadResult { records: Vec::new(), bytes: 0, next_offset: offset };
        if offset >= limit {
            return Ok(result);
        }
        let truncations = inner.state.borrow().truncations;
        let mut cursor = inner.locate(offset).await?;
        loop {
            let force_first = at_least_one && result.records.is_empty();
            let left = max_bytes.saturating_sub(result.bytes);
            if (left == 0 && !force_first) || result.next_offset >= limit {
                return Ok(result);
            }
            let run = match inner.next_run(&mut cursor, limit, left, force_first).await {
                Ok(Some(run)) => run,
                Ok(None) => return Ok(result),
                Err(_) if !result.records.is_empty() => return Ok(result),
                Err(error) => return Err(error),
            };
            if inner.state.borrow().truncations != truncations {
                return Err(ReadError::Storage(StorageError::Closed));
            }
            if run.bytes.is_empty() {
                return Ok(result);
            }
            cursor.pos += run.bytes.len() as u64;
            result.bytes += run.bytes.len();
            result.next_offset = run.next_offset;
            result.records.push(run.bytes);
            if run.limited {
                return Ok(result);
            }
        }
    }

    /// The first record at or after `ts_ms`, before `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn offset_for_timestamp(
        &self,
        ts_ms: i64,
        limit: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let inner = &self.inner;
        let bases: Vec<Offset> = inner.state.borrow().segments.iter().map(|segment| segment.base).collect();
        for base in bases {
            inner.ensure_indexes(base).await?;
            let from = {
                let state = inner.state.borrow();
                let indexes = state.segment(base).and_then(|segment| segment.indexes.as_ref());
                let indexes = indexes.filter(|indexes| indexes.max_timestamp_ms() >= ts_ms);
                indexes.map(|indexes| indexes.position_for_timestamp(ts_ms, state.start))
            };
            let Some(from) = from else { continue };
            let cursor = Cursor { segment: base, pos: u64::from(from.position) };
            let wanted = |header: &BatchHeader| header.max_timestamp_ms >= ts_ms;
            let start = inner.state.borrow().start;
            let find = move |batch: &[u8], header: &BatchHeader| {
                first_at_or_after(batch, header, ts_ms, start, LOOKUP_BYTES_MAX)
            };
            if let Some(found) = inner.find_record(cursor, limit, wanted, find).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record that carries the log's greatest timestamp, before `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn offset_of_max_timestamp(&self, limit: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        let inner = &self.inner;
        let bases: Vec<Offset> = inner.state.borrow().segments.iter().map(|segment| segment.base).collect();
        let mut best: Option<(i64, Offset, Offset)> = None;
        for base in bases {
            inner.ensure_indexes(base).await?;
            let state = inner.state.borrow();
            let max = state.segment(base).and_then(|segment| segment.indexes.as_ref()?.max_timestamp());
            if let Some(max) = max.filter(|max| best.is_none_or(|(best_ms, ..)| max.timestamp_ms > best_ms)) {
                best = Some((max.timestamp_ms, base, max.offset));
            }
        }
        let Some((timestamp_ms, base, offset)) = best else { return Ok(None) };
        let pos = inner.state.borrow().position_near(base, offset);
        let cursor = Cursor { segment: base, pos };
        let wanted = |header: &BatchHeader| header.max_timestamp_ms == timestamp_ms;
        inner
            .find_record(cursor, limit, wanted, |batch, header| {
                offset_of_max_timestamp(batch, header, LOOKUP_BYTES_MAX)
            })
            .await
    }
}

impl LogState {
    /// A position at or before the batch that holds `offset`: exact where the bytes are in chunks.
    fn position_near(&self, base: Offset, offset: Offset) -> u64 {
        let Some(segment) = self.segment(base) else { return 0 };
        let indexed = segment.indexes.as_ref().map_or(0, |indexes| indexes.offsets().lookup(offset).position);
        let mut pos = u64::from(indexed);
        while let Some(cached) = self.chunk_at(base, pos) {
            let bytes = cached.chunk.bytes(pos, cached.chunk.end_pos());
            let mut scan = BatchScan::new(bytes, Checksums::Trust);
            if let Some(batch) = scan.find(|batch| batch.header.next_offset() > offset) {
                return pos + batch.position as u64;
            }
            pos = cached.chunk.end_pos();
        }
        pos
    }
}

impl LogInner {
    /// The batch that holds `offset`: its segment, position and base offset.
    pub(super) async fn batch_holding(
        self: &Rc<Self>,
        offset: Offset,
    ) -> Result<(Offset, u64, Offset), ReadError> {
        let mut cursor = self.locate(offset).await?;
        let run = self.next_run(&mut cursor, Offset::MAX, 0, true).await?;
        let first = run.as_ref().and_then(|run| BatchScan::new(&run.bytes, Checksums::Trust).next());
        let first = first.ok_or(ReadError::Corrupt { position: cursor.pos })?;
        Ok((cursor.segment, cursor.pos, first.header.base_offset))
    }

    /// Where the batch begins that holds `offset`, or the first behind it.
    async fn locate(self: &Rc<Self>, offset: Offset) -> Result<Cursor, ReadError> {
        let base = self.state.borrow().segment_of(offset).base;
        self.ensure_indexes(base).await?;
        let mut cursor = Cursor { segment: base, pos: self.state.borrow().position_near(base, offset) };
        loop {
            let region = self.state.borrow().region(cursor);
            let bytes = match region {
                Region::Hot(..) | Region::End => return Ok(cursor),
                Region::Next(base) => return Ok(Cursor { segment: base, pos: 0 }),
                Region::Cold { file_end } => self.read_cold(cursor, file_end, COLD_READ_BYTES_MIN).await?,
            };
            let mut scan = BatchScan::new(&bytes, Checksums::Trust);
            if let Some(batch) = scan.find(|batch| batch.header.next_offset() > offset) {
                return Ok(Cursor { segment: base, pos: cursor.pos + batch.position as u64 });
            }
            let passed = scan.position() as u64;
            if passed == 0 {
                return Err(ReadError::Corrupt { position: cursor.pos });
            }
            cursor.pos += passed;
            if let Region::Hot(..) = self.state.borrow().region(cursor) {
                return Ok(Cursor { segment: base, pos: self.state.borrow().first_reaching(cursor, offset) });
            }
        }
    }

    /// The next whole batches at the cursor, which steps over segment ends. `None` at the end of the log.
    async fn next_run(
        self: &Rc<Self>,
        cursor: &mut Cursor,
        limit: Offset,
        left: usize,
        force_first: bool,
    ) -> Result<Option<Run>, ReadError> {
        loop {
            let region = self.state.borrow().region(*cursor);
            match region {
                Region::End => return Ok(None),
                Region::Next(base) => *cursor = Cursor { segment: base, pos: 0 },
                Region::Hot(bytes, end_offset) => {
                    self.shared.count_hit();
                    if end_offset <= limit && bytes.len() <= left {
                        return Ok(Some(Run { bytes, next_offset: end_offset, limited: false }));
                    }
                    return Ok(cut(&bytes, limit, left, force_first));
                }
                Region::Cold { file_end } => {
                    let bytes = self.read_cold(*cursor, file_end, left).await?;
                    let intact = intact_prefix(&bytes, cursor.pos)?;
                    return Ok(cut(&intact, limit, left, force_first));
                }
            }
        }
    }

    /// Bytes of the file from the cursor on: at least one whole batch, not beyond `file_end`. Kept and read ahead.
    async fn read_cold(self: &Rc<Self>, at: Cursor, file_end: u64, want: usize) -> Result<Bytes, ReadError> {
        let key = ReadKey { log: self.id, segment: at.segment };
        let kept = self.shared.kept_read(key, at.pos).filter(|bytes| holds_batch(bytes));
        if let Some(kept) = kept {
            self.shared.count_hit();
            return Ok(kept);
        }
        self.shared.count_miss();
        let truncations = self.state.borrow().truncations;
        let file = self.segment_file(at.segment).await?;
        let mut len = want.clamp(COLD_READ_BYTES_MIN, COLD_READ_BYTES);
        loop {
            let span = len.min((file_end - at.pos) as usize);
            let bytes = file.read_at(at.pos, span).await?;
            if let ScanEnd::Torn { position: 0, need_bytes, .. } = first_end(&bytes) {
                // What remains of the segment is the most that a batch can take: a longer one has a damaged length.
                if need_bytes as u64 > file_end - at.pos || span as u64 == file_end - at.pos {
                    return Err(ReadError::Corrupt { position: at.pos });
                }
                len = need_bytes.max(len * 2);
                continue;
            }
            if self.keep_read(key, at.pos, &bytes, truncations) {
                self.read_ahead(&file, key, at.pos + bytes.len() as u64, file_end);
            }
            return Ok(bytes);
        }
    }

    /// Keeps a read that was begun after so many cuts; not if there was another meanwhile, which takes such bytes out of the cache:
    /// other batches may stand in their place by now. Whether it was kept.
    fn keep_read(&self, key: ReadKey, pos: u64, bytes: &Bytes, truncations: u64) -> bool {
        let is_current = self.state.borrow().truncations == truncations;
        if is_current {
            self.shared.keep_read(key, pos, bytes.clone());
        }
        is_current
    }

    /// Reads what follows in the background, for a reader that goes on.
    fn read_ahead(self: &Rc<Self>, file: &File, key: ReadKey, pos: u64, file_end: u64) {
        if pos >= file_end || !self.shared.begin_read_ahead() {
            return;
        }
        let (log, file, truncations) = (self.clone(), file.clone(), self.state.borrow().truncations);
        let span = COLD_READ_BYTES.min((file_end - pos) as usize);
        let reading = async move {
            // A failure shows when a reader gets there.
            if let Ok(bytes) = file.read_at(pos, span).await {
                log.keep_read(key, pos, &bytes, truncations);
            }
            log.shared.end_read_ahead();
        };
        self.shared.rt.spawn(hayate_rt::Queue::Foreground, reading).detach();
    }

    /// Looks through batches from the cursor to the end of its segment for a record that `find` finds. What a batch unpacks to its
    /// producer has decided: that happens off the shard's thread, and takes nothing with it when it goes wrong.
    async fn find_record(
        self: &Rc<Self>,
        mut cursor: Cursor,
        limit: Offset,
        wanted: impl Fn(&BatchHeader) -> bool,
        find: impl Fn(&[u8], &BatchHeader) -> Result<Option<OffsetAtTime>, RecordsError> + Copy + Send + 'static,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let segment = cursor.segment;
        while let Some(run) = self.next_run(&mut cursor, limit, COLD_READ_BYTES, true).await? {
            if cursor.segment != segment || run.bytes.is_empty() {
                return Ok(None);
            }
            for batch in BatchScan::new(&run.bytes, Checksums::Trust).filter(|batch| wanted(&batch.header)) {
                let position = cursor.pos + batch.position as u64;
                let (bytes, header) = (run.bytes.slice_ref(batch.bytes), batch.header);
                let found = self.shared.rt.compute(move || find(&bytes, &header)).await;
                let found = found.map_err(|_| ReadError::Undecodable { position })?;
                let found = found.map_err(|_| ReadError::Corrupt { position })?;
                if let Some(found) = found.filter(|found| found.offset < limit) {
                    return Ok(Some(TimestampOffset {
                        timestamp_ms: found.timestamp_ms,
                        offset: found.offset,
                        leader_epoch: batch.header.partition_leader_epoch,
                    }));
                }
            }
            cursor.pos += run.bytes.len() as u64;
        }
        Ok(None)
    }
}

impl LogState {
    /// From a cursor in hot bytes: the first batch that reaches `offset`.
    fn first_reaching(&self, from: Cursor, offset: Offset) -> u64 {
        let mut pos = from.pos;
        while let Some(cached) = self.chunk_at(from.segment, pos) {
            let bytes = cached.chunk.bytes(pos, cached.chunk.end_pos());
            let mut scan = BatchScan::new(bytes, Checksums::Trust);
            if let Some(batch) = scan.find(|batch| batch.header.next_offset() > offset) {
                return pos + batch.position as u64;
            }
            pos = cached.chunk.end_pos();
        }
        pos
    }
}

fn holds_batch(bytes: &[u8]) -> bool {
    BatchScan::new(bytes, Checksums::Trust).next().is_some()
}

/// How a scan of the first batch ends.
fn first_end(bytes: &[u8]) -> ScanEnd {
    let mut scan = BatchScan::new(bytes, Checksums::Trust);
    match scan.next() {
        Some(_) => ScanEnd::Clean,
        None => scan.end().unwrap_or(ScanEnd::Clean),
    }
}

/// The batches at the start of `bytes` whose CRC holds.
fn intact_prefix(bytes: &Bytes, position: u64) -> Result<Bytes, ReadError> {
    let mut scan = BatchScan::new(bytes, Checksums::Verify);
    let _ = scan.finish();
    match scan.position() {
        0 => Err(ReadError::Corrupt { position }),
        passed => Ok(bytes.slice(..passed)),
    }
}
