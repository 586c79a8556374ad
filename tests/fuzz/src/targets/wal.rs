//! The write-ahead log after a crash, and the guard of blocks that were being rewritten.
//!
//! Both files are mostly padding. An input is a file without it: pieces, each behind its length of two bytes, each of which begins a block
//! when the file is put together. So a change hits something that is read.

use crate::memory::taken;
use crate::targets::batches::{mend as mend_batches, segment};
use crate::targets::id;
use bytes::Bytes;
use hayate_rt::random::Prng;
use hayate_storage::batch::Offset;
use hayate_storage::disk::BLOCK_BYTES;
use hayate_storage::wal::WalNeed;
use hayate_storage::wal::format::{FRAME_HEADER_BYTES, FileHeader, GROUP_HEADER_BYTES, LogId};
use hayate_storage::wal::group::{GroupBuilder, Placement, headers_check};
use hayate_storage::wal::guard::decode;
use hayate_storage::wal::scan::{WalEnd, scan as scan_files};

/// More would only take time.
const PIECES_MAX: usize = 64;
const WAL_ID: u64 = 7;
const FILE_MAGIC: &[u8] = b"HWAL";
const GROUP_MAGIC: &[u8] = b"HGRP";
const FILE_HEADER_BYTES: usize = 44;
const GUARD_HEADER_BYTES: usize = 52;

/// Pieces of an input, as many as are looked at.
fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while let Some((length, behind)) = rest.split_first_chunk::<2>()
        && pieces.len() < PIECES_MAX
    {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (piece, left) = behind.split_at(length);
        pieces.push(piece);
        rest = left;
    }
    pieces
}

fn put(bytes: &mut Vec<u8>, piece: &[u8]) {
    bytes.extend((piece.len() as u16).to_be_bytes());
    bytes.extend(piece);
}

/// Applies `mend` to each piece, in place.
fn mend_pieces(bytes: &mut [u8], mend: impl Fn(&mut [u8])) {
    let mut rest = bytes;
    while let Some((length, behind)) = std::mem::take(&mut rest).split_first_chunk_mut::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (piece, left) = behind.split_at_mut(length);
        mend(piece);
        rest = left;
    }
}

/// Writes the checksum of all before its last four bytes into those.
fn seal(bytes: &mut [u8]) {
    if let Some((body, sum)) = bytes.split_last_chunk_mut::<4>() {
        *sum = crc32c::crc32c(body).to_le_bytes();
    }
}

/// One use of a file: header and groups, mostly with numbers that follow one another.
pub fn file(prng: &mut Prng) -> Vec<u8> {
    let mut bytes = vec![prng.below(4) as u8];
    let mut lsn = 1 + prng.below(3);
    for sequence in 1..=1 + prng.below(2) {
        let header = FileHeader { wal_id: WAL_ID, sequence, first_lsn: lsn, file_bytes: 1 << 20 };
        put(&mut bytes, &header.encode());
        for _ in 0..prng.below(4) {
            put(&mut bytes, &group(prng, lsn));
            lsn += 1;
        }
    }
    bytes
}

/// A group without its padding.
fn group(prng: &mut Prng, lsn: u64) -> Vec<u8> {
    let mut group = GroupBuilder::new(8 << 10).expect("memory");
    let mut used = GROUP_HEADER_BYTES;
    for _ in 0..=prng.below(3) {
        let log = LogId { topic_id: [prng.below(3) as u8; 16], partition: prng.below(3) as i32 };
        let position = prng.below(1 << 20);
        let place = Placement {
            log,
            segment_base: Offset(0),
            position,
            next_offset: Offset(prng.below(50).cast_signed()),
        };
        let payload = segment(prng);
        used += FRAME_HEADER_BYTES;
        match prng.below(4) {
            0 => group.truncate(place),
            1 => {
                group.extent(place, 4096, &payload);
                used += payload.len();
            }
            _ => {
                group.batches(place, &payload);
                used += payload.len();
            }
        }
    }
    group.finish(WAL_ID, lsn)[..used].to_vec()
}

/// Mends the checksums of headers and payloads.
pub fn mend(bytes: &mut Vec<u8>) {
    if let Some((_, rest)) = bytes.split_first_mut() {
        mend_pieces(rest, mend_piece);
    }
}

fn mend_piece(piece: &mut [u8]) {
    if piece.starts_with(FILE_MAGIC) && piece.len() >= FILE_HEADER_BYTES {
        seal(&mut piece[..FILE_HEADER_BYTES]);
    } else if piece.starts_with(GROUP_MAGIC) && piece.len() >= GROUP_HEADER_BYTES {
        seal(&mut piece[..GROUP_HEADER_BYTES]);
        mend_frames(&mut piece[GROUP_HEADER_BYTES..]);
    }
}

fn mend_frames(mut rest: &mut [u8]) {
    while let Some((header, behind)) = std::mem::take(&mut rest).split_first_chunk_mut::<FRAME_HEADER_BYTES>()
    {
        let told = u32::from_le_bytes([header[28], header[29], header[30], header[31]]) as usize;
        let (payload, left) = behind.split_at_mut(told.min(behind.len()));
        if header[0] == 1 {
            let mut batches = payload.to_vec();
            mend_batches(&mut batches);
            payload.copy_from_slice(&batches);
        }
        let check = if header[0] == 1 { headers_check(payload) } else { crc32c::crc32c(payload) };
        header[56..60].copy_from_slice(&check.to_le_bytes());
        seal(header);
        rest = left;
    }
}

/// The files that an input stands for: one begins with each file header.
fn put_together(pieces: &[&[u8]]) -> Vec<Bytes> {
    let mut files: Vec<Vec<u8>> = Vec::new();
    for piece in pieces {
        if files.is_empty() || piece.starts_with(FILE_MAGIC) {
            files.push(Vec::new());
        }
        let file = files.last_mut().expect("one was begun");
        file.extend_from_slice(piece);
        file.resize(file.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    files.into_iter().map(Bytes::from).collect()
}

/// What a start does with a WAL.
pub fn scan(bytes: &[u8]) -> bool {
    let Some((choice, rest)) = bytes.split_first() else { return false };
    let mut files = put_together(&pieces(rest));
    let needed = (choice % 4 == 0).then_some(WalNeed { wal_id: WAL_ID, sequence: 1 });
    let (found, took) = taken(|| scan_files(&files, needed));
    let file_bytes: usize = files.iter().map(Bytes::len).sum();
    assert!(took.held_bytes_max <= 4096 + 8 * file_bytes, "{took:?} for {file_bytes} bytes");
    for frame in &found.frames {
        assert_eq!(frame.payload.len(), frame.header.payload_bytes as usize);
        assert!(files.iter().any(|file| frame.payload.is_empty() || file.as_ptr_range().contains(&frame.payload.as_ptr())));
    }
    if are_told_apart(&files) {
        files.reverse();
        let again = scan_files(&files, needed);
        assert_eq!((again.frames.len(), again.last_lsn), (found.frames.len(), found.last_lsn));
        assert_eq!(again.end, found.end, "the order of the files matters");
    }
    found.end == WalEnd::Clean && !found.frames.is_empty()
}

/// Whether no two files claim the same place, as only one can have it.
fn are_told_apart(files: &[Bytes]) -> bool {
    let sequences =
        files.iter().filter_map(|file| FileHeader::decode(file).ok()).map(|header| header.sequence);
    let mut sequences: Vec<u64> = sequences.collect();
    sequences.sort_unstable();
    sequences.windows(2).all(|pair| pair[0] != pair[1])
}

/// Slots with blocks under guard: a header's piece, then the block's.
pub fn guard(prng: &mut Prng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=prng.below(3) {
        let block: Vec<u8> = (0..prng.below(100)).map(|at| at as u8).collect();
        let mut header = b"HTGD".to_vec();
        header.extend((block.len() as u32).to_le_bytes());
        header.extend(id(prng));
        header.extend((prng.below(9) as i32).to_le_bytes());
        header.extend(crc32c::crc32c(&block).to_le_bytes());
        header.extend(prng.below(1 << 40).to_le_bytes());
        header.extend((prng.below(99) * BLOCK_BYTES as u64).to_le_bytes());
        header.extend([0; 4]);
        seal(&mut header);
        put(&mut bytes, &header);
        put(&mut bytes, &block);
    }
    bytes
}

/// Mends the headers' checksums.
pub fn mend_guard(bytes: &mut Vec<u8>) {
    mend_pieces(bytes, |piece| {
        if piece.len() >= GUARD_HEADER_BYTES {
            seal(&mut piece[..GUARD_HEADER_BYTES]);
        }
    });
}

/// What recovery does with the guard's file.
pub fn read_guard(bytes: &[u8]) -> bool {
    let pieces = pieces(bytes);
    let mut file = Vec::new();
    for piece in &pieces {
        file.extend_from_slice(piece);
        file.resize(file.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    let file = Bytes::from(file);
    let (guarded, took) = taken(|| decode(&file));
    assert!(took.held_bytes_max <= 4096 + 2 * file.len(), "{took:?}");
    for block in &guarded {
        assert!(block.bytes.len() <= BLOCK_BYTES);
    }
    !guarded.is_empty() && guarded.len() == pieces.len() / 2
}
