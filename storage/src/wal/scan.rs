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
    /// The logs that this group or one behind it has frames of, when their headers could be read; otherwise any log of the WAL may be hit.
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
/// Files without a valid header hold nothing: a file is taken into use only after its header is durable. Unless one holds a group
/// that must stand behind such a header: then the header was there and is damaged, and with it the way to the file's groups is lost.
pub fn scan(files: &[Bytes]) -> WalScan {
    let mut found = scan_uses(files);
    let is_lost = |group: &GroupHeader| match newest_use(files) {
        // A crash may tear the header of a file that is used again: it holds groups of its earlier use, with lower LSNs.
        Some(newest) => group.wal_id == newest.wal_id && group.lsn > found.last_lsn,
        // The header that was being written is not the first of its WAL: another file then has one.
        None => true,
    };
    let headless = files.iter().filter(|bytes| FileHeader::decode(bytes).is_err());
    let lost = headless.flat_map(|bytes| group_headers(bytes)).any(|group| is_lost(&group));
    if lost && !matches!(found.end, WalEnd::Corrupt(_)) {
        found.end = WalEnd::Corrupt(Damage { lsn: found.last_lsn + 1, logs: None });
    }
    found
}

fn newest_use(files: &[Bytes]) -> Option<FileHeader> {
    let headers = files.iter().filter_map(|bytes| FileHeader::decode(bytes).ok());
    headers.max_by_key(|header| header.sequence)
}

/// The group headers that begin a block of `bytes`, whatever they are worth.
fn group_headers(bytes: &[u8]) -> impl Iterator<Item = GroupHeader> {
    bytes.chunks(BLOCK_BYTES).filter_map(|block| GroupHeader::decode(block).ok())
}

/// Reads the files that have a header.
fn scan_uses(files: &[Bytes]) -> WalScan {
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
            (true, Missing::Damaged(logs)) => {
                let lost = logs.is_some().then(|| self.logs_from(position, file, later)).flatten();
                WalEnd::Corrupt(Damage { lsn: self.next_lsn, logs: lost })
            }
            (true, Missing::Absent) => WalEnd::Corrupt(Damage { lsn: self.next_lsn, logs: None }),
            (false, Missing::Damaged(_)) => WalEnd::Torn,
            (false, Missing::Absent) if is_blank(&file[position..]) => WalEnd::Clean,
            (false, Missing::Absent) => WalEnd::Torn,
        }
    }

    /// The logs of the damaged group at `position` and of the groups behind it, none of which is replayed; `None` when one cannot be
    /// read.
    fn logs_from(
        &self,
        position: usize,
        file: &Bytes,
        later: &[(FileHeader, &Bytes)],
    ) -> Option<BTreeSet<LogId>> {
        let mut logs = self.logs_of_groups(&file.slice(position..))?;
        for (_, bytes) in later {
            logs.extend(self.logs_of_groups(&bytes.slice(BLOCK_BYTES.min(bytes.len())..))?);
        }
        Some(logs)
    }

    fn logs_of_groups(&self, bytes: &Bytes) -> Option<BTreeSet<LogId>> {
        let (mut logs, mut at) = (BTreeSet::new(), 0);
        while at < bytes.len() {
            let header = GroupHeader::decode(&bytes[at..]).ok();
            let Some(header) =
                header.filter(|group| group.wal_id == self.wal_id && group.lsn >= self.next_lsn)
            else {
                at += BLOCK_BYTES;
                continue;
            };
            let body = at + GROUP_HEADER_BYTES;
            let body = bytes.get(body..body.saturating_add(header.body_bytes as usize))?;
            logs.extend(logs_of_frames(body, header.frames)?);
            at += group_bytes(&header);
        }
        Some(logs)
    }

    /// Whether a group at any block of `bytes` names the missing LSN durable.
    fn is_named_durable(&self, bytes: &[u8]) -> bool {
        group_headers(bytes).any(|group| group.wal_id == self.wal_id && group.durable_lsn >= self.next_lsn)
    }
}

fn group_bytes(header: &GroupHeader) -> usize {
    block_ceil((GROUP_HEADER_BYTES + header.body_bytes as usize) as u64) as usize
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().take(FILE_HEADER_BYTES.max(GROUP_HEADER_BYTES)).all(|&byte| byte == 0)
}

/// The logs that the frames of a group's body are of, damaged or not; `None` when a frame's header cannot be read.
fn logs_of_frames(body: &[u8], count: u32) -> Option<BTreeSet<LogId>> {
    let (mut logs, mut at) = (BTreeSet::new(), 0usize);
    for _ in 0..count {
        let header = FrameHeader::decode(body.get(at..)?).ok()?;
        logs.insert(header.log);
        at = at.saturating_add(FRAME_HEADER_BYTES).saturating_add(header.payload_bytes as usize);
    }
    Some(logs)
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

#[cfg(test)]
mod tests {
    use super::super::group::{GroupBuilder, Placement};
    use super::*;
    use crate::batch::Offset;
    use std::ops::Range;

    const WAL: u64 = 7;
    const FILE_BYTES: usize = 16 * BLOCK_BYTES;

    /// A group of one frame: one block.
    fn group(wal_id: u64, lsn: u64) -> Bytes {
        let log = LogId { topic_id: [1; 16], partition: 0 };
        let mut group = GroupBuilder::new(FRAME_HEADER_BYTES).unwrap();
        group.truncate(Placement { log, segment_base: Offset(0), position: 0, next_offset: Offset(0) });
        group.finish(wal_id, lsn)
    }

    /// Use number `sequence` of a file, with groups of `lsns`.
    fn used(wal_id: u64, sequence: u64, lsns: Range<u64>) -> Vec<u8> {
        let header = FileHeader { wal_id, sequence, first_lsn: lsns.start, file_bytes: FILE_BYTES as u64 };
        let mut bytes = header.encode().to_vec();
        bytes.resize(BLOCK_BYTES, 0);
        lsns.for_each(|lsn| bytes.extend_from_slice(&group(wal_id, lsn)));
        bytes.resize(FILE_BYTES, 0);
        bytes
    }

    /// A group of a frame for each of these partitions.
    fn group_of(lsn: u64, partitions: &[i32]) -> Bytes {
        let mut group = GroupBuilder::new((FRAME_HEADER_BYTES + 4) * partitions.len()).unwrap();
        for &partition in partitions {
            let log = LogId { topic_id: [1; 16], partition };
            let place = Placement { log, segment_base: Offset(0), position: 0, next_offset: Offset(0) };
            group.extent(place, 0, b"rest");
        }
        group.finish(WAL, lsn)
    }

    #[test]
    fn a_damaged_group_takes_with_it_the_logs_of_those_behind_it() {
        let mut file = used(WAL, 1, 1..2);
        let groups = [group_of(2, &[3, 4]), group_of(3, &[5]), group_of(4, &[3])];
        for (number, bytes) in groups.iter().enumerate() {
            file[(2 + number) * BLOCK_BYTES..][..bytes.len()].copy_from_slice(bytes);
        }
        // The payload of partition 3's frame in the first of them.
        let payload_at = 2 * BLOCK_BYTES + GROUP_HEADER_BYTES + FRAME_HEADER_BYTES;
        let intact = scan(&[file.clone().into()]);
        assert_eq!((intact.last_lsn, intact.end), (4, WalEnd::Clean));
        file[payload_at] ^= 1;
        let WalEnd::Corrupt(damage) = scan(&[file.into()]).end else { panic!("durable, and damaged") };
        assert_eq!(damage.lsn, 2);
        let hit: Option<Vec<i32>> = damage.logs.map(|logs| logs.iter().map(|log| log.partition).collect());
        assert_eq!(hit, Some(vec![3, 4, 5]), "all that were not replayed");
    }

    /// The same file with its first sector gone bad.
    fn headless(mut file: Vec<u8>) -> Vec<u8> {
        file[..512].fill(0xa5);
        file
    }

    /// The highest LSN that counts, and how the WAL ends.
    fn check(files: Vec<Vec<u8>>, last_lsn: u64, end: WalEnd) {
        let files: Vec<Bytes> = files.into_iter().map(Bytes::from).collect();
        let scanned = scan(&files);
        assert_eq!((scanned.last_lsn, scanned.end), (last_lsn, end));
    }

    fn lost_from(lsn: u64) -> WalEnd {
        WalEnd::Corrupt(Damage { lsn, logs: None })
    }

    #[test]
    fn groups_behind_sound_headers_count() {
        check(vec![], 0, WalEnd::Clean);
        check(vec![used(WAL, 1, 1..4)], 3, WalEnd::Clean);
        check(vec![used(WAL, 2, 16..18), used(WAL, 1, 1..16)], 17, WalEnd::Clean);
    }

    #[test]
    fn groups_of_the_only_file_are_lost_with_its_header() {
        check(vec![headless(used(WAL, 1, 1..4))], 0, lost_from(1));
        check(vec![headless(used(WAL, 1, 1..4)), vec![0; FILE_BYTES]], 0, lost_from(1));
    }

    #[test]
    fn groups_of_the_newest_file_are_lost_with_its_header() {
        check(vec![used(WAL, 1, 1..16), headless(used(WAL, 2, 16..17))], 15, lost_from(16));
    }

    #[test]
    fn a_group_after_the_first_counts_as_lost_too() {
        let mut file = headless(used(WAL, 1, 1..5));
        file[BLOCK_BYTES..3 * BLOCK_BYTES].fill(0xa5);
        check(vec![file], 0, lost_from(1));
    }

    #[test]
    fn a_torn_header_of_a_file_without_groups_is_harmless() {
        check(vec![headless(vec![0; FILE_BYTES])], 0, WalEnd::Clean);
        check(vec![used(WAL, 1, 1..16), headless(used(WAL, 2, 16..16))], 15, WalEnd::Clean);
    }

    #[test]
    fn a_torn_header_of_a_file_used_again_is_harmless() {
        check(vec![headless(used(WAL, 1, 1..16)), used(WAL, 2, 16..31)], 30, WalEnd::Clean);
        let others = headless(used(WAL + 1, 1, 90..95));
        check(vec![others, used(WAL, 2, 16..31)], 30, WalEnd::Clean);
    }
}
