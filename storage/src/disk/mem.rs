//! Heap memory whose address and length suit direct IO. Plain memory, not a registered arena: it may be freed on any
//! thread, so it can back `Bytes` that travel between shards without a copy. Knows nothing of files.

use super::BLOCK_BYTES;
use super::error::DiskError;
use bytes::Bytes;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Owned memory at a multiple of [`BLOCK_BYTES`], a multiple of it long. It need not be initialised.
struct Blocks {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: `Blocks` owns its memory alone and has no interior mutability; the global allocator frees from any thread.
unsafe impl Send for Blocks {}
// SAFETY: a shared reference gives no way to write.
unsafe impl Sync for Blocks {}

impl Blocks {
    /// # Errors
    /// [`DiskError::OutOfMemory`].
    fn new(len: usize, zeroed: bool) -> Result<Blocks, DiskError> {
        assert!(len > 0 && len.is_multiple_of(BLOCK_BYTES), "{len} bytes are not whole blocks");
        let refused = DiskError::OutOfMemory { bytes: len };
        let Ok(layout) = Layout::from_size_align(len, BLOCK_BYTES) else { return Err(refused) };
        // SAFETY: the layout's size is not zero, as asserted.
        let ptr = unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
        NonNull::new(ptr).map(|ptr| Blocks { ptr, len }).ok_or(refused)
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        let layout =
            Layout::from_size_align(self.len, BLOCK_BYTES).expect("it was valid when it was allocated");
        // SAFETY: `ptr` came from the global allocator with this very layout and is freed once.
        unsafe { dealloc(self.ptr.as_ptr(), layout) }
    }
}

/// A zeroed, writable buffer for direct IO: address and length are multiples of [`BLOCK_BYTES`].
pub struct AlignedBuf {
    blocks: Blocks,
}

impl AlignedBuf {
    /// `len` zeroes.
    ///
    /// # Errors
    /// [`DiskError::OutOfMemory`] when the allocator refuses.
    ///
    /// # Panics
    /// When `len` is zero or not a multiple of [`BLOCK_BYTES`].
    pub fn zeroed(len: usize) -> Result<AlignedBuf, DiskError> {
        Ok(AlignedBuf { blocks: Blocks::new(len, true)? })
    }

    /// Length in bytes; never zero.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.blocks.len
    }

    /// The address of the first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.blocks.ptr.as_ptr()
    }

    /// The whole buffer.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `zeroed` initialised all `len` bytes; they live and stay unwritten as long as `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.blocks.ptr.as_ptr(), self.blocks.len) }
    }

    /// The whole buffer, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.blocks.ptr.as_ptr(), self.blocks.len) }
    }

    /// Freezes the buffer; no copy. The memory is freed when the last slice of it is gone.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// A buffer that the kernel is to fill. Not zeroed first: that would cost as much as a copy.
pub(super) struct Unfilled {
    blocks: Blocks,
}

impl Unfilled {
    /// Room for `len` bytes; panics and fails as [`AlignedBuf::zeroed`].
    pub(super) fn new(len: usize) -> Result<Unfilled, DiskError> {
        Ok(Unfilled { blocks: Blocks::new(len, false)? })
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        self.blocks.len
    }

    /// Where the byte at `offset` goes.
    pub(super) fn ptr_at(&mut self, offset: usize) -> *mut u8 {
        assert!(offset < self.blocks.len, "{offset} lies beyond the buffer");
        // SAFETY: `offset` lies within the allocation.
        unsafe { self.blocks.ptr.as_ptr().add(offset) }
    }

    /// The first `filled` bytes, frozen; no copy.
    ///
    /// # Safety
    /// The first `filled` bytes must have been written, and nobody may write to them any more.
    pub(super) unsafe fn into_bytes(self, filled: usize) -> Bytes {
        assert!(filled <= self.blocks.len, "{filled} bytes in a buffer of {}", self.blocks.len);
        Bytes::from_owner(Filled { blocks: self.blocks, filled })
    }
}

/// A buffer whose first `filled` bytes are initialised and final.
struct Filled {
    blocks: Blocks,
    filled: usize,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `Unfilled::into_bytes` requires that these bytes are written and final.
        unsafe { std::slice::from_raw_parts(self.blocks.ptr.as_ptr(), self.filled) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_freeze_without_a_copy() {
        let mut buf = AlignedBuf::zeroed(3 * BLOCK_BYTES).unwrap();
        assert_eq!(buf.as_ptr() as usize % BLOCK_BYTES, 0);
        assert!(buf.as_slice().iter().all(|&byte| byte == 0));
        buf.as_mut_slice()[BLOCK_BYTES] = 7;
        let address = buf.as_ptr();
        let bytes = buf.into_bytes();
        assert_eq!((bytes.as_ptr(), bytes.len(), bytes[BLOCK_BYTES]), (address, 3 * BLOCK_BYTES, 7));
    }

    #[test]
    fn refused_memory_is_an_error() {
        let huge = (isize::MAX as usize) & !(BLOCK_BYTES - 1);
        assert_eq!(AlignedBuf::zeroed(huge).err(), Some(DiskError::OutOfMemory { bytes: huge }));
    }

    #[test]
    fn frozen_buffers_are_freed_on_any_thread() {
        fn assert_send<T: Send + Sync>(_: &T) {}
        assert_send(&AlignedBuf::zeroed(BLOCK_BYTES).unwrap());
        assert_send(&AlignedBuf::zeroed(BLOCK_BYTES).unwrap().into_bytes());
    }
}
