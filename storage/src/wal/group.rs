//! Builds the bytes of one group: header, frames, padding to a block. Pure.

use super::format::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, GROUP_HEADER_BYTES, GroupHeader, LogId};
use crate::batch::{BatchScan, HEADER_BYTES, Offset, scan::Checksums};
use crate::chunk::block_ceil;
use crate::disk::{AlignedBuf, DiskError};
use bytes::Bytes;

/// Where a frame's bytes stand in their log.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Whose log.
    pub log: LogId,
    /// Base offset of the segment.
    pub segment_base: Offset,
    /// Position in the segment file.
    pub position: u64,
    /// The log's end offset after these bytes.
    pub next_offset: Offset,
}

/// A group under construction, in memory that is written as it stands.
pub struct GroupBuilder {
    memory: AlignedBuf,
    used: usize,
    frames: u32,
    payload_bytes: usize,
}

/// CRC-32C over the headers of the batches in `payload`: they hold the CRC of what follows them, so that they vouch for every byte
/// without a second pass over it.
pub fn headers_check(payload: &[u8]) -> u32 {
    BatchScan::new(payload, Checksums::Trust)
        .fold(0, |crc, batch| crc32c::crc32c_append(crc, &batch.bytes[..HEADER_BYTES]))
}

impl GroupBuilder {
    /// An empty group with room for `body_bytes` of frames.
    ///
    /// # Errors
    /// [`DiskError::OutOfMemory`].
    pub fn new(body_bytes: usize) -> Result<GroupBuilder, DiskError> {
        let capacity = block_ceil((GROUP_HEADER_BYTES + body_bytes) as u64) as usize;
        Ok(GroupBuilder {
            memory: AlignedBuf::zeroed(capacity)?,
            used: GROUP_HEADER_BYTES,
            frames: 0,
            payload_bytes: 0,
        })
    }

    /// Bytes of payload that one more frame can carry; `None` when not even an empty one fits.
    pub fn room(&self) -> Option<usize> {
        (self.memory.len() - self.used).checked_sub(FRAME_HEADER_BYTES)
    }

    /// Bytes that the finished group takes at most.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Bytes of payload added so far: each was copied once.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Adds whole batches.
    pub fn batches(&mut self, place: Placement, payload: &[u8]) {
        self.frame(FrameKind::Batches, place, 0, payload, headers_check(payload));
    }

    /// Adds an extent that is durable in its segment, and the bytes behind it.
    pub fn extent(&mut self, place: Placement, extent_bytes: u32, payload: &[u8]) {
        self.frame(FrameKind::Extent, place, extent_bytes, payload, crc32c::crc32c(payload));
    }

    /// Adds a cut.
    pub fn truncate(&mut self, place: Placement) {
        self.frame(FrameKind::Truncate, place, 0, &[], 0);
    }

    fn frame(&mut self, kind: FrameKind, place: Placement, extent_bytes: u32, payload: &[u8], check: u32) {
        assert!(self.room().is_some_and(|room| payload.len() <= room), "a frame must fit its group");
        let position = u32::try_from(place.position).expect("a segment holds less than 2 GiB, as Kafka's");
        let header = FrameHeader {
            kind,
            log: place.log,
            segment_base: place.segment_base,
            position,
            extent_bytes,
            payload_bytes: payload.len() as u32,
            next_offset: place.next_offset,
            check,
        };
        let target = &mut self.memory.as_mut_slice()[self.used..];
        target[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
        target[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + payload.len()].copy_from_slice(payload);
        self.used += FRAME_HEADER_BYTES + payload.len();
        self.frames += 1;
        self.payload_bytes += payload.len();
    }

    /// The group's bytes: whole blocks.
    pub fn finish(mut self, wal_id: u64, lsn: u64) -> Bytes {
        let header = GroupHeader {
            wal_id,
            lsn,
            durable_lsn: lsn - 1,
            body_bytes: (self.used - GROUP_HEADER_BYTES) as u32,
            frames: self.frames,
        };
        self.memory.as_mut_slice()[..GROUP_HEADER_BYTES].copy_from_slice(&header.encode());
        let blocks = block_ceil(self.used as u64) as usize;
        self.memory.into_bytes().slice(..blocks)
    }
}
