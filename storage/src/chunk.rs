//! Append chunks: the aligned memory that a partition's newest bytes are copied into once, written to the segment
//! from, and served to consumers from. A chunk is the cache.
//!
//! A chunk covers a range of one segment file, starting at a block boundary. Bytes are only ever added behind those
//! that were handed out, which is why slices of it can be shared while it still fills. Knows nothing of batches.
//!
//! ```text
//!   base_pos            valid_pos            end_pos            base_pos + capacity
//!   │ not loaded yet     │ readable, immutable │ free             │
//! ```

use crate::disk::{AlignedBuf, BLOCK_BYTES, DiskError};
use bytes::Bytes;
use std::cell::UnsafeCell;
use std::sync::Arc;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// `position` rounded down to a block.
pub fn block_floor(position: u64) -> u64 {
    position - position % BLOCK
}

/// `position` rounded up to a block.
pub fn block_ceil(position: u64) -> u64 {
    block_floor(position + (BLOCK - 1))
}

/// Memory that has one writer, the [`Chunk`], and any number of readers of ranges that the writer is done with.
struct Shared(UnsafeCell<AlignedBuf>);

// SAFETY: the buffer is plain memory that may be freed on any thread. Bytes at or behind the writer's end are touched by
// the writer alone; bytes before it never change while a `Bytes` covers them (`Chunk::fill_front` writes only bytes before
// `valid_pos`, which are never handed out). So no byte is written while another thread may read it.
unsafe impl Sync for Shared {}
// SAFETY: as above; `AlignedBuf` owns its memory and has no thread affinity.
unsafe impl Send for Shared {}

/// A range of a chunk that its writer is done with.
struct Range {
    memory: Arc<Shared>,
    from: usize,
    len: usize,
}

impl AsRef<[u8]> for Range {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `Chunk::slice` made this range inside the buffer and before the writer's end, where nothing is written
        // any more; the `Arc` keeps the memory alive.
        unsafe { std::slice::from_raw_parts((*self.memory.0.get()).as_ptr().add(self.from), self.len) }
    }
}

/// One aligned piece of a segment's newest bytes.
pub struct Chunk {
    memory: Arc<Shared>,
    capacity: usize,
    base_pos: u64,
    valid_pos: u64,
    end_pos: u64,
}

impl Chunk {
    /// A chunk whose next byte stands at `position` of the segment, with room for `room` bytes from there at least.
    ///
    /// # Errors
    /// [`DiskError::OutOfMemory`].
    pub fn new(position: u64, room: usize) -> Result<Chunk, DiskError> {
        let base_pos = block_floor(position);
        let capacity = block_ceil(position - base_pos + room as u64) as usize;
        let memory = Arc::new(Shared(UnsafeCell::new(AlignedBuf::zeroed(capacity)?)));
        Ok(Chunk { memory, capacity, base_pos, valid_pos: position, end_pos: position })
    }

    /// Bytes of memory that the chunk takes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Where in the segment the chunk's memory begins: a block boundary.
    pub fn base_pos(&self) -> u64 {
        self.base_pos
    }

    /// Where its readable bytes begin.
    pub fn valid_pos(&self) -> u64 {
        self.valid_pos
    }

    /// Where its readable bytes end, and the next are added.
    pub fn end_pos(&self) -> u64 {
        self.end_pos
    }

    /// Bytes that can still be added.
    pub fn room(&self) -> usize {
        self.capacity - (self.end_pos - self.base_pos) as usize
    }

    /// Copies `bytes` behind the end, lets `patch` change the copy, and only then makes it readable.
    ///
    /// # Panics
    /// When there is no room: the caller asks first.
    pub fn append(&mut self, bytes: &[u8], patch: impl FnOnce(&mut [u8])) {
        assert!(bytes.len() <= self.room(), "an append must fit its chunk");
        let at = (self.end_pos - self.base_pos) as usize;
        // SAFETY: `at..at + len` is inside the buffer (asserted) and behind the end, so no slice of it exists; `&mut self`
        // makes this the only writer.
        let copy = unsafe {
            let start = (*self.memory.0.get()).as_ptr().cast_mut().add(at);
            std::slice::from_raw_parts_mut(start, bytes.len())
        };
        copy.copy_from_slice(bytes);
        patch(copy);
        self.end_pos += bytes.len() as u64;
    }

    /// Fills the bytes before the readable ones, back to `base_pos`, with what the segment file holds there.
    ///
    /// # Panics
    /// When `front` is not exactly those bytes' length.
    pub fn fill_front(&mut self, front: &[u8]) {
        assert_eq!(
            front.len() as u64,
            self.valid_pos - self.base_pos,
            "the front is what lies before the valid bytes"
        );
        // SAFETY: these bytes lie before `valid_pos`, so no slice covers them; `&mut self` makes this the only writer.
        let target = unsafe {
            std::slice::from_raw_parts_mut((*self.memory.0.get()).as_ptr().cast_mut(), front.len())
        };
        target.copy_from_slice(front);
        self.valid_pos = self.base_pos;
    }

    /// The bytes of the segment from `from` to `to`, shared without a copy.
    ///
    /// # Panics
    /// When the range is not inside the readable bytes.
    pub fn slice(&self, from: u64, to: u64) -> Bytes {
        assert!(
            self.valid_pos <= from && from <= to && to <= self.end_pos,
            "slices lie inside the readable bytes"
        );
        let range = Range {
            memory: self.memory.clone(),
            from: (from - self.base_pos) as usize,
            len: (to - from) as usize,
        };
        Bytes::from_owner(range)
    }

    /// Borrowed form of [`Chunk::slice`].
    ///
    /// # Panics
    /// When the range is not inside the readable bytes.
    pub fn bytes(&self, from: u64, to: u64) -> &[u8] {
        assert!(
            self.valid_pos <= from && from <= to && to <= self.end_pos,
            "slices lie inside the readable bytes"
        );
        // SAFETY: the range is inside the buffer and before the writer's end; `&self` keeps the writer out.
        unsafe {
            let start = (*self.memory.0.get()).as_ptr().add((from - self.base_pos) as usize);
            std::slice::from_raw_parts(start, (to - from) as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_stays_as_it_was_while_the_chunk_fills() {
        let mut chunk = Chunk::new(5000, 1000).unwrap();
        chunk.append(b"first", |_| {});
        let first = chunk.slice(5000, 5005);
        chunk.append(b"second", |copy| copy[0] = b'S');
        assert_eq!(&first[..], b"first");
        assert_eq!(&chunk.slice(5000, 5011)[..], b"firstSecond");
        assert_eq!(chunk.base_pos(), 4096);
    }

    #[test]
    fn the_front_is_filled_from_the_file_and_completes_the_first_block() {
        let mut chunk = Chunk::new(4100, 10).unwrap();
        chunk.append(b"tail", |_| {});
        chunk.fill_front(b"head");
        assert_eq!(&chunk.slice(4096, 4104)[..], b"headtail");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the claim is about another thread")]
    fn slices_outlive_their_chunk_and_may_be_dropped_on_another_thread() {
        let mut chunk = Chunk::new(0, 4).unwrap();
        chunk.append(b"kept", |_| {});
        let slice = chunk.slice(0, 4);
        drop(chunk);
        std::thread::scope(|scope| {
            scope.spawn(move || assert_eq!(&slice[..], b"kept"));
        });
    }

    #[test]
    fn blocks_round_both_ways() {
        for (position, floor, ceil) in [(0, 0, 0), (1, 0, 4096), (4096, 4096, 4096), (4097, 4096, 8192)] {
            assert_eq!((block_floor(position), block_ceil(position)), (floor, ceil), "{position}");
        }
    }
}
