//! Reads write-ahead log files back after a crash: which groups count, and whether what follows them is an unfinished
//! write or damage. Pure: bytes in, frames and a verdict out.
//!
//! Groups count in the order of their LSN, without a gap, each as a whole. The first that is not there ends the log. If a
//! later group of the same WAL names that LSN durable, the end is **corruption**; otherwise it is a **torn tail**, which
//! nobody was told of.

use super::format::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader, FrameKind, GROUP_HEADER_BYTES,
};
use super::format::{GroupHeader, LogId};
use super::group::headers_check;
use crate::batch::{BatchScan, ScanEnd, scan::Checksums};
use crate::chunk::block_ceil;
use crate::disk::BLOCK_BYTES;
use crate::mutants::{Mutant, is_active};
use bytes::Bytes;
use std::collections::BTreeSet;

/// One frame that counts.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What it says.
    pub header: FrameHeader,
    /// A slice of the file's bytes.
    pub payload: Bytes,
}

/// How a WAL ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalEnd {
    /// Zeros, or groups of an earlier use, follow the last group.
    Clean,
    /// An unfinished group follows the last one; it was never durable.
    Torn,
    /// A group that was durable is damaged.
    Corrupt(Damage),
}

/// What is known of a damaged group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The group's number.
    pub lsn: u64,
    /// The logs whose frames are damaged, when the headers could be read; otherwise any log of the WAL may be hit.
    pub logs: Option<BTreeSet<LogId>>,
}

/// What a WAL holds.
#[derive(Debug)]
pub struct WalScan {
    /// The frames that count, in order.
    pub frames: Vec<Frame>,
    /// Highest LSN that counts; 0 when there is none.
    pub last_lsn: u64,
    /// How it ends.
    pub end: WalEnd,
}

/// Why a group is not there.
enum Missing {
    /// No header of this LSN.
    Absent,
    /// A header of this LSN, but damaged frames; the logs of those, as far as they can be read.
    Damaged(Option<BTreeSet<LogId>>),
}

/// Reads the files of one WAL: their whole contents, in any order.
///
/// Files without a valid header hold nothing: a file is taken into use only after its header is durable.
pub fn scan(files: &[Bytes]) -> WalScan {
    let mut uses: Vec<(FileHeader, &Bytes)> =
        files.iter().filter_map(|bytes| Some((FileHeader::decode(bytes).ok()?, bytes))).collect();
    uses.sort_by_key(|(header, _)| header.sequence);
    let Some(&(newest, _)) = uses.last() else {
        return WalScan { frames: Vec::new(), last_lsn: 0, end: WalEnd::Clean };
    };
    uses.retain(|(header, _)| header.wal_id == newest.wal_id);
    let mut reader = Reader { wal_id: newest.wal_id, next_lsn: uses[0].0.first_lsn, frames: Vec::new() };
    for (at, (header, bytes)) in uses.iter().enumerate() {
        let Err((position, missing)) = reader.read_file(bytes) else { continue };
        let continues = uses.get(at + 1).is_some_and(|(next, _)| next.first_lsn == reader.next_lsn);
        if continues && matches!(missing, Missing::Absent) {
            continue;
        }
        debug_assert!(header.sequence <= newest.sequence);
        let end = reader.judge(missing, position, bytes, uses.get(at + 1..).unwrap_or_default());
        return WalScan { frames: reader.frames, last_lsn: reader.next_lsn - 1, end };
    }
    WalScan { frames: reader.frames, last_lsn: reader.next_lsn - 1, end: WalEnd::Clean }
}

struct Reader {
    wal_id: u64,
    next_lsn: u64,
    frames: Vec<Frame>,
}

impl Reader {
    /// Reads groups until one is missing; fails with where that is and why. `Ok` when the file is full.
    fn read_file(&mut self, file: &Bytes) -> Result<(), (usize, Missing)> {
        let mut position = BLOCK_BYTES;
        while position < file.len() {
            let (header, frames) = self.read_group(file, position).map_err(|missing| (position, missing))?;
            self.frames.extend(frames);
            self.next_lsn = header.lsn + 1;
            position += group_bytes(&header);
        }
        Ok(())
    }

    fn read_group(&self, file: &Bytes, position: usize) -> Result<(GroupHeader, Vec<Frame>), Missing> {
        let header = GroupHeader::decode(&file[position..]).map_err(|_| Missing::Absent)?;
        let is_next = header.wal_id == self.wal_id && header.lsn == self.next_lsn;
        if !is_next && !is_active(Mutant::StaleTailAccepted) {
            return Err(Missing::Absent);
        }
        let body_at = position + GROUP_HEADER_BYTES;
        let body = body_at..body_at.saturating_add(header.body_bytes as usize);
        if body.end > file.len() {
            return Err(Missing::Damaged(None));
        }
        let (frames, damaged) = split_frames(&file.slice(body), header.frames);
        match damaged {
            None => Ok((header, frames)),
            Some(_) if is_active(Mutant::TornGroupHalfReplayed) => Ok((header, frames)),
            Some(logs) => Err(Missing::Damaged(logs)),
        }
    }

    /// Whether what is missing was ever durable.
    fn judge(
        &self,
        missing: Missing,
        position: usize,
        file: &Bytes,
        later: &[(FileHeader, &Bytes)],
    ) -> WalEnd {
        let named_durable = self.is_named_durable(&file[position..])
            || later.iter().any(|(_, bytes)| self.is_named_durable(&bytes[BLOCK_BYTES.min(bytes.len())..]))
            || later.iter().any(|(header, _)| header.first_lsn > self.next_lsn);
        match (named_durable, missing) {
            (true, Missing::Damaged(logs)) => WalEnd::Corrupt(Damage { lsn: self.next_lsn, logs }),
            (true, Missing::Absent) => WalEnd::Corrupt(Damage { lsn: self.next_lsn, logs: None }),
            (false, Missing::Damaged(_)) => WalEnd::Torn,
            (false, Missing::Absent) if is_blank(&file[position..]) => WalEnd::Clean,
            (false, Missing::Absent) => WalEnd::Torn,
        }
    }

    /// Whether a group at any block of `bytes` names the missing LSN durable.
    fn is_named_durable(&self, bytes: &[u8]) -> bool {
        bytes.chunks(BLOCK_BYTES).any(|block| {
            GroupHeader::decode(block)
                .is_ok_and(|group| group.wal_id == self.wal_id && group.durable_lsn >= self.next_lsn)
        })
    }
}

fn group_bytes(header: &GroupHeader) -> usize {
    block_ceil((GROUP_HEADER_BYTES + header.body_bytes as usize) as u64) as usize
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().take(FILE_HEADER_BYTES.max(GROUP_HEADER_BYTES)).all(|&byte| byte == 0)
}

/// The good frames of a group's body and, if some are not, the logs that those belong to (`Some(None)`: nobody can say).
fn split_frames(body: &Bytes, count: u32) -> (Vec<Frame>, Option<Option<BTreeSet<LogId>>>) {
    let mut frames = Vec::new();
    let mut damaged = BTreeSet::new();
    let mut at = 0;
    for _ in 0..count {
        let Some(header) = body.get(at..).and_then(|rest| FrameHeader::decode(rest).ok()) else {
            return (frames, Some(None));
        };
        let payload_at = at + FRAME_HEADER_BYTES;
        let payload_end = payload_at.saturating_add(header.payload_bytes as usize);
        if payload_end > body.len() {
            return (frames, Some(None));
        }
        let payload = body.slice(payload_at..payload_end);
        if is_intact(&header, &payload) {
            frames.push(Frame { header, payload });
        } else {
            damaged.insert(header.log);
        }
        at = payload_end;
    }
    (frames, if damaged.is_empty() { None } else { Some(Some(damaged)) })
}

fn is_intact(header: &FrameHeader, payload: &[u8]) -> bool {
    if is_active(Mutant::NoCrcAtRecovery) {
        return true;
    }
    match header.kind {
        FrameKind::Batches => {
            BatchScan::new(payload, Checksums::Verify).finish() == ScanEnd::Clean
                && headers_check(payload) == header.check
        }
        FrameKind::Extent | FrameKind::Truncate => crc32c::crc32c(payload) == header.check,
    }
}
