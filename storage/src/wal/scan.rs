//! Reads write-ahead log files back after a crash: which groups count, and whether what follows them is an unfinished
//! write or damage. Pure: bytes in, frames and a verdict out.
//!
//! Groups count in the order of their LSN, without a gap, each as a whole. The first that is not there ends the log. If a
//! later group of the same WAL names that LSN durable, the end is **corruption**; otherwise it is a **torn tail**, which
//! nobody was told of.
//!
//! The checkpoint names the oldest file that is needed: one that is missing from there on is corruption too. It holds what is
//! durable, and without its header it looks like a file that was let go and was about to be used again.

use super::WalNeed;
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
use std::fmt;

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
    /// Something that was durable is damaged.
    Corrupt(Damage),
}

/// The first of what cannot be read although it was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The group of this number.
    Group(u64),
    /// The header of the file of this sequence, or the file.
    File(u64),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Group(lsn) => write!(f, "group {lsn}"),
            Lost::File(sequence) => write!(f, "file {sequence}"),
        }
    }
}

/// What is known of damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins.
    pub lost: Lost,
    /// The logs that what is lost, or not replayed because of it, has frames of, when their headers could be read; otherwise any log of
    /// the WAL may be hit.
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

/// A file that was taken into use, and what its header says.
type Use<'a> = (FileHeader, &'a Bytes);

/// Reads the files of one WAL: their whole contents, in any order; `needed` is what the checkpoint says of it, if it says anything.
///
/// Files without a valid header hold nothing: a file is taken into use only after its header is durable. Unless the checkpoint needs
/// it, or one holds a group that must stand behind such a header: then the header was there and is damaged, and with it the way to the
/// file's groups is lost.
pub fn scan(files: &[Bytes], needed: Option<WalNeed>) -> WalScan {
    let uses = needed_uses(files, needed);
    let mut found = scan_uses(&uses);
    let wal_id = needed.map(|needed| needed.wal_id).or(uses.first().map(|(header, _)| header.wal_id));
    let is_lost = |group: &GroupHeader| match wal_id {
        // A crash may tear the header of a file that is used again: it holds groups of its earlier use, with lower LSNs.
        Some(wal_id) => group.wal_id == wal_id && group.lsn > found.last_lsn,
        // The header that was being written is not the first of its WAL: another file then has one.
        None => true,
    };
    let headless = files.iter().filter(|bytes| FileHeader::decode(bytes).is_err());
    let has_lost = headless.flat_map(|bytes| group_headers(bytes)).any(|group| is_lost(&group));
    let lost = match (missing_use(&uses, needed), &found.end) {
        (Some(sequence), _) => Lost::File(sequence),
        (None, WalEnd::Corrupt(damage)) if has_lost => damage.lost,
        (None, WalEnd::Clean | WalEnd::Torn) if has_lost => Lost::Group(found.last_lsn + 1),
        (None, WalEnd::Clean | WalEnd::Torn | WalEnd::Corrupt(_)) => return found,
    };
    found.end = WalEnd::Corrupt(Damage { lost, logs: None });
    found
}

/// The uses of files of one life of the WAL, oldest first, from the oldest that is needed.
fn needed_uses(files: &[Bytes], needed: Option<WalNeed>) -> Vec<Use<'_>> {
    let mut uses: Vec<Use<'_>> =
        files.iter().filter_map(|bytes| Some((FileHeader::decode(bytes).ok()?, bytes))).collect();
    uses.sort_by_key(|(header, _)| header.sequence);
    let newest = uses.last().map(|(header, _)| WalNeed { wal_id: header.wal_id, sequence: 0 });
    let from = needed.or(newest);
    uses.retain(|(header, _)| {
        from.is_some_and(|from| header.wal_id == from.wal_id && header.sequence >= from.sequence)
    });
    uses
}

/// The first use that is needed and not there: every one from the oldest needed to the newest known was made durable, one by one.
fn missing_use(uses: &[Use<'_>], needed: Option<WalNeed>) -> Option<u64> {
    let mut expected = needed?.sequence;
    for (header, _) in uses {
        if header.sequence != expected {
            return Some(expected);
        }
        expected = expected.saturating_add(1);
    }
    uses.is_empty().then_some(expected)
}

/// The group headers that begin a block of `bytes`, whatever they are worth.
fn group_headers(bytes: &[u8]) -> impl Iterator<Item = GroupHeader> {
    bytes.chunks(BLOCK_BYTES).filter_map(|block| GroupHeader::decode(block).ok())
}

/// Reads the groups of files in the order of their use.
fn scan_uses(uses: &[Use<'_>]) -> WalScan {
    let (Some((first, _)), Some((newest, _))) = (uses.first(), uses.last()) else {
        return WalScan { frames: Vec::new(), last_lsn: 0, end: WalEnd::Clean };
    };
    let mut reader = Reader { wal_id: newest.wal_id, next_lsn: first.first_lsn, frames: Vec::new() };
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
                let hit = logs.is_some().then(|| self.logs_from(position, file, later)).flatten();
                WalEnd::Corrupt(Damage { lost: Lost::Group(self.next_lsn), logs: hit })
            }
            (true, Missing::Absent) => {
                WalEnd::Corrupt(Damage { lost: Lost::Group(self.next_lsn), logs: None })
            }
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
        let intact = scan(&[file.clone().into()], None);
        assert_eq!((intact.last_lsn, intact.end), (4, WalEnd::Clean));
        file[payload_at] ^= 1;
        let WalEnd::Corrupt(damage) = scan(&[file.into()], None).end else { panic!("durable, and damaged") };
        assert_eq!(damage.lost, Lost::Group(2));
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
        check_needed(None, files, last_lsn, end);
    }

    /// The same beside a checkpoint that needs the files from this use on.
    fn check_needed(sequence: Option<u64>, files: Vec<Vec<u8>>, last_lsn: u64, end: WalEnd) {
        let files: Vec<Bytes> = files.into_iter().map(Bytes::from).collect();
        let scanned = scan(&files, sequence.map(|sequence| WalNeed { wal_id: WAL, sequence }));
        assert_eq!((scanned.last_lsn, scanned.end), (last_lsn, end), "needed from {sequence:?}");
    }

    fn lost_from(lsn: u64) -> WalEnd {
        WalEnd::Corrupt(Damage { lost: Lost::Group(lsn), logs: None })
    }

    fn lost_file(sequence: u64) -> WalEnd {
        WalEnd::Corrupt(Damage { lost: Lost::File(sequence), logs: None })
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

    #[test]
    fn a_header_that_the_checkpoint_needs_is_lost() {
        let (first, second) = (|| used(WAL, 1, 1..16), || used(WAL, 2, 16..31));
        // Of the oldest needed file, of one in the middle, of the newest, of the only one.
        check_needed(Some(1), vec![headless(first()), second()], 30, lost_file(1));
        let third = used(WAL, 3, 31..40);
        check_needed(Some(1), vec![first(), headless(second()), third], 15, lost_file(2));
        check_needed(Some(1), vec![first(), headless(second())], 15, lost_from(16));
        check_needed(Some(2), vec![first(), headless(second())], 0, lost_file(2));
        check_needed(Some(1), vec![headless(used(WAL, 1, 1..1))], 0, lost_file(1));
        // A whole file is gone, or all are.
        check_needed(Some(1), vec![second()], 30, lost_file(1));
        check_needed(Some(2), vec![], 0, lost_file(2));
        check_needed(Some(1), vec![used(WAL + 1, 1, 1..16)], 0, lost_file(1));
    }

    #[test]
    fn a_header_that_no_checkpoint_needs_is_harmless() {
        let second = || used(WAL, 2, 16..31);
        check_needed(Some(2), vec![headless(used(WAL, 1, 1..16)), second()], 30, WalEnd::Clean);
        // A crash between the checkpoint and the release leaves older files: whole, or some of them.
        check_needed(Some(2), vec![used(WAL, 1, 1..16), second()], 30, WalEnd::Clean);
        let rotten_between = vec![used(WAL, 1, 1..16), headless(second()), used(WAL, 3, 31..40)];
        check_needed(Some(3), rotten_between, 39, WalEnd::Clean);
        // A file is about to be used for the first time, or again.
        check_needed(Some(2), vec![second(), headless(vec![0; FILE_BYTES])], 30, WalEnd::Clean);
        check_needed(Some(1), vec![used(WAL, 1, 1..16), second(), vec![0; FILE_BYTES]], 30, WalEnd::Clean);
    }

    #[test]
    fn a_lost_file_takes_every_log_with_it_also_where_a_group_is_damaged() {
        let mut damaged = used(WAL, 1, 1..4);
        damaged[2 * BLOCK_BYTES + GROUP_HEADER_BYTES..][..FRAME_HEADER_BYTES].fill(0);
        check(vec![damaged, headless(used(WAL, 2, 16..31))], 1, lost_from(2));
    }
}
