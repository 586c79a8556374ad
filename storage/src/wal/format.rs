//! What the bytes of a write-ahead log file mean: file header, group header, frame header. Pure.
//!
//! A file is a header block and then groups. A group is what one write carries: a header, then frames, padded to a
//! block. A group counts as a whole or not at all. All integers are little-endian.
//!
//! ```text
//! file    │ header, 4096 │ group │ group │ … │ zeros or the groups of an earlier use, with lower LSNs
//!
//! file header            0 magic "HWAL" │ 4 version u32 │ 8 wal id u64 │ 16 sequence u64 │ 24 first LSN u64 │ 32 file bytes u64
//!                       40 crc32c of 0..40
//!
//! group header, 48       0 magic "HGRP" │ 4 body bytes u32 │ 8 wal id u64 │ 16 LSN u64 │ 24 durable LSN u64 │ 32 frames u32
//!                       36 reserved u64 │ 44 crc32c of 0..44
//!
//! frame header, 64       0 kind u8, 7 reserved │ 8 topic id, 16 │ 24 partition i32 │ 28 payload bytes u32 │ 32 segment base i64
//!                       40 position u32 │ 44 extent bytes u32 │ 48 next offset i64 │ 56 check u32 │ 60 crc32c of 0..60
//! ```
//!
//! *LSN* numbers the groups of one WAL from 1. *Durable LSN* is the highest that was known durable when the group was written;
//! one write is in flight at a time, so it is LSN − 1. The topic id doubles as the incarnation of the log: a topic created anew has
//! another.

use crate::batch::Offset;

/// Magic number of a WAL file.
const FILE_MAGIC: [u8; 4] = *b"HWAL";
/// Magic number of a group.
const GROUP_MAGIC: [u8; 4] = *b"HGRP";
/// Version of the format.
const VERSION: u32 = 1;
/// Bytes of a file header that mean something; the header takes a block.
pub const FILE_HEADER_BYTES: usize = 44;
/// Bytes of a group header.
pub const GROUP_HEADER_BYTES: usize = 48;
/// Bytes of a frame header.
pub const FRAME_HEADER_BYTES: usize = 64;

const _: () = assert!(GROUP_HEADER_BYTES + FRAME_HEADER_BYTES < crate::disk::BLOCK_BYTES);

/// The header of a WAL file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Names one life of a shard's WAL: drawn anew at each start.
    pub wal_id: u64,
    /// Orders the uses of files: grows by one whenever a file is taken into use.
    pub sequence: u64,
    /// LSN of the first group.
    pub first_lsn: u64,
    /// Size of the file.
    pub file_bytes: u64,
}

/// The header of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// As in the file header.
    pub wal_id: u64,
    /// Number of the group.
    pub lsn: u64,
    /// Highest LSN known durable when this was written.
    pub durable_lsn: u64,
    /// Bytes of frames behind the header, without padding.
    pub body_bytes: u32,
    /// How many frames.
    pub frames: u32,
}

/// What a frame says of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// The payload is whole batches that stand at the position.
    Batches,
    /// `extent_bytes` at the position are durable in the segment; the payload follows them.
    Extent,
    /// The log was cut at the position.
    Truncate,
}

impl FrameKind {
    const fn to_byte(self) -> u8 {
        match self {
            FrameKind::Batches => 1,
            FrameKind::Extent => 2,
            FrameKind::Truncate => 3,
        }
    }

    const fn from_byte(byte: u8) -> Option<FrameKind> {
        match byte {
            1 => Some(FrameKind::Batches),
            2 => Some(FrameKind::Extent),
            3 => Some(FrameKind::Truncate),
            _ => None,
        }
    }
}

/// Names a log inside a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The topic's id; its incarnation too.
    pub topic_id: [u8; 16],
    /// The partition's number.
    pub partition: i32,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame says.
    pub kind: FrameKind,
    /// Whose log.
    pub log: LogId,
    /// Base offset of the segment.
    pub segment_base: Offset,
    /// Position in the segment file that the frame begins at.
    pub position: u32,
    /// For `Extent`: bytes in the segment before the payload. Else 0.
    pub extent_bytes: u32,
    /// Bytes behind the header.
    pub payload_bytes: u32,
    /// The log's end offset after this frame.
    pub next_offset: Offset,
    /// CRC-32C of what vouches for the payload: of the batch headers (which hold each batch's own CRC) for `Batches`, of the payload
    /// itself for the others.
    pub check: u32,
}

/// Bytes are not a header of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAHeader;

fn put(target: &mut [u8], at: usize, bytes: &[u8]) {
    target[at..at + bytes.len()].copy_from_slice(bytes);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// The first `N` bytes if their last four are the CRC of those before.
fn sealed<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], NotAHeader> {
    let head: &[u8; N] = bytes.first_chunk().ok_or(NotAHeader)?;
    if crc32c::crc32c(&head[..N - 4]) == u32_at(head, N - 4) { Ok(head) } else { Err(NotAHeader) }
}

/// LSNs count from 1, and never get so far that the next one is none.
fn check_lsn(lsn: u64) -> Result<(), NotAHeader> {
    if lsn == 0 || lsn == u64::MAX { Err(NotAHeader) } else { Ok(()) }
}

fn seal<const N: usize>(mut head: [u8; N]) -> [u8; N] {
    let crc = crc32c::crc32c(&head[..N - 4]);
    put(&mut head, N - 4, &crc.to_le_bytes());
    head
}

impl FileHeader {
    /// Its bytes.
    pub fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut head = [0; FILE_HEADER_BYTES];
        put(&mut head, 0, &FILE_MAGIC);
        put(&mut head, 4, &VERSION.to_le_bytes());
        put(&mut head, 8, &self.wal_id.to_le_bytes());
        put(&mut head, 16, &self.sequence.to_le_bytes());
        put(&mut head, 24, &self.first_lsn.to_le_bytes());
        put(&mut head, 32, &self.file_bytes.to_le_bytes());
        seal(head)
    }

    /// Reads a header from the start of `bytes`.
    ///
    /// # Errors
    /// [`NotAHeader`] when it is short, of another version or damaged, or its LSN is none.
    pub fn decode(bytes: &[u8]) -> Result<FileHeader, NotAHeader> {
        let head: &[u8; FILE_HEADER_BYTES] = sealed(bytes)?;
        if head[..4] != FILE_MAGIC || u32_at(head, 4) != VERSION {
            return Err(NotAHeader);
        }
        check_lsn(u64_at(head, 24))?;
        Ok(FileHeader {
            wal_id: u64_at(head, 8),
            sequence: u64_at(head, 16),
            first_lsn: u64_at(head, 24),
            file_bytes: u64_at(head, 32),
        })
    }
}

impl GroupHeader {
    /// Its bytes.
    pub fn encode(&self) -> [u8; GROUP_HEADER_BYTES] {
        let mut head = [0; GROUP_HEADER_BYTES];
        put(&mut head, 0, &GROUP_MAGIC);
        put(&mut head, 4, &self.body_bytes.to_le_bytes());
        put(&mut head, 8, &self.wal_id.to_le_bytes());
        put(&mut head, 16, &self.lsn.to_le_bytes());
        put(&mut head, 24, &self.durable_lsn.to_le_bytes());
        put(&mut head, 32, &self.frames.to_le_bytes());
        seal(head)
    }

    /// Reads a header from the start of `bytes`.
    ///
    /// # Errors
    /// [`NotAHeader`] when it is short or damaged, or its LSN is none.
    pub fn decode(bytes: &[u8]) -> Result<GroupHeader, NotAHeader> {
        let head: &[u8; GROUP_HEADER_BYTES] = sealed(bytes)?;
        if head[..4] != GROUP_MAGIC {
            return Err(NotAHeader);
        }
        check_lsn(u64_at(head, 16))?;
        Ok(GroupHeader {
            body_bytes: u32_at(head, 4),
            wal_id: u64_at(head, 8),
            lsn: u64_at(head, 16),
            durable_lsn: u64_at(head, 24),
            frames: u32_at(head, 32),
        })
    }
}

impl FrameHeader {
    /// Its bytes.
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut head = [0; FRAME_HEADER_BYTES];
        head[0] = self.kind.to_byte();
        put(&mut head, 8, &self.log.topic_id);
        put(&mut head, 24, &self.log.partition.to_le_bytes());
        put(&mut head, 28, &self.payload_bytes.to_le_bytes());
        put(&mut head, 32, &self.segment_base.0.to_le_bytes());
        put(&mut head, 40, &self.position.to_le_bytes());
        put(&mut head, 44, &self.extent_bytes.to_le_bytes());
        put(&mut head, 48, &self.next_offset.0.to_le_bytes());
        put(&mut head, 56, &self.check.to_le_bytes());
        seal(head)
    }

    /// Reads a header from the start of `bytes`.
    ///
    /// # Errors
    /// [`NotAHeader`] when it is short, damaged or of an unknown kind.
    pub fn decode(bytes: &[u8]) -> Result<FrameHeader, NotAHeader> {
        let head: &[u8; FRAME_HEADER_BYTES] = sealed(bytes)?;
        Ok(FrameHeader {
            kind: FrameKind::from_byte(head[0]).ok_or(NotAHeader)?,
            log: LogId { topic_id: array_at(head, 8), partition: u32_at(head, 24).cast_signed() },
            payload_bytes: u32_at(head, 28),
            segment_base: Offset(u64_at(head, 32).cast_signed()),
            position: u32_at(head, 40),
            extent_bytes: u32_at(head, 44),
            next_offset: Offset(u64_at(head, 48).cast_signed()),
            check: u32_at(head, 56),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_frame() -> impl Strategy<Value = FrameHeader> {
        (1..=3u8, any::<[u8; 16]>(), any::<i32>(), any::<(i64, u32, u32, u32, i64, u32)>()).prop_map(
            |(kind, topic_id, partition, (base, position, extent_bytes, payload_bytes, next, check))| {
                FrameHeader {
                    kind: FrameKind::from_byte(kind).unwrap(),
                    log: LogId { topic_id, partition },
                    segment_base: Offset(base),
                    position,
                    extent_bytes,
                    payload_bytes,
                    next_offset: Offset(next),
                    check,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn frames_round_trip_and_every_flipped_bit_is_noticed(frame in any_frame(), bit in 0..FRAME_HEADER_BYTES * 8) {
            let mut bytes = frame.encode();
            prop_assert_eq!(FrameHeader::decode(&bytes), Ok(frame));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(FrameHeader::decode(&bytes), Err(NotAHeader));
        }

        #[test]
        fn groups_and_files_round_trip(words in any::<(u64, u64, u64, u32, u32)>(), lsn in 1..u64::MAX) {
            let (wal_id, other, file_bytes, body_bytes, frames) = words;
            let group = GroupHeader { wal_id, lsn, durable_lsn: other, body_bytes, frames };
            prop_assert_eq!(GroupHeader::decode(&group.encode()), Ok(group));
            let file = FileHeader { wal_id, sequence: other, first_lsn: lsn, file_bytes };
            prop_assert_eq!(FileHeader::decode(&file.encode()), Ok(file));
        }
    }

    #[test]
    fn numbers_that_no_group_has_are_refused() {
        for lsn in [0, u64::MAX] {
            let group = GroupHeader { wal_id: 1, lsn, durable_lsn: 0, body_bytes: 0, frames: 0 };
            assert_eq!(GroupHeader::decode(&group.encode()), Err(NotAHeader));
            let file = FileHeader { wal_id: 1, sequence: 1, first_lsn: lsn, file_bytes: 0 };
            assert_eq!(FileHeader::decode(&file.encode()), Err(NotAHeader));
        }
    }

    #[test]
    fn headers_cut_at_any_byte_are_refused() {
        let group = GroupHeader { wal_id: 1, lsn: 2, durable_lsn: 1, body_bytes: 3, frames: 4 }.encode();
        let file = FileHeader { wal_id: 1, sequence: 2, first_lsn: 3, file_bytes: 4 }.encode();
        assert!((0..group.len()).all(|cut| GroupHeader::decode(&group[..cut]).is_err()));
        assert!((0..file.len()).all(|cut| FileHeader::decode(&file[..cut]).is_err()));
        assert_eq!(GroupHeader::decode(&[0; 64]), Err(NotAHeader));
    }
}
