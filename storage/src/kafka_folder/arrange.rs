//! Which files of a log's folder count once what compaction and deletion had under way is finished, as Kafka finishes it.
//!
//! ```text
//!  X.log.deleted    on its way out                        goes
//!  X.log.cleaned    a compacted segment in the making     goes, and with it every swap file from its offset on
//!  X.log.swap       compacted, to replace what it covers  takes its name; the segments that it was made from go
//! ```
//! Source: Kafka's `LogLoader.load`, `UnifiedLog.replaceSegments`.

use super::walk::Walk;
use crate::batch::Offset;
use crate::batch::scan::Checksums;
use crate::disk::{DirEntry, Disk, OpenMode};
use crate::error::StorageError;
use crate::names::{FileKind, FileName, FileStage, SegmentFile};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

/// A segment's file as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) name: String,
    pub(super) len_bytes: u64,
}

/// One step; all of them again, after a crash in their middle, come to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Remove(String),
    Rename(String, String),
}

/// What counts, and what is to be done so that it has its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrangement {
    /// By base offset.
    pub(super) segments: BTreeMap<Offset, Piece>,
    /// Offsets of the producer snapshots.
    pub(super) snapshots: Vec<Offset>,
    pub(super) steps: Vec<Step>,
}

/// The files of a segment, with how far each is.
fn files(entries: &[DirEntry]) -> impl Iterator<Item = (SegmentFile, &DirEntry)> {
    entries.iter().filter(|entry| !entry.is_dir).filter_map(|entry| match FileName::parse(&entry.name) {
        FileName::Segment(file) => Some((file, entry)),
        _ => None,
    })
}

/// Reads where each swap file ends, no more.
pub(super) async fn arrange(
    disk: &Disk,
    folder: &Path,
    entries: &[DirEntry],
) -> Result<Arrangement, StorageError> {
    let at_stage = |stage| files(entries).filter(move |(file, _)| file.stage == stage);
    let cleaned_from = at_stage(FileStage::Cleaned).map(|(file, _)| file.base_offset).min();
    let is_void = |file: &SegmentFile| cleaned_from.is_some_and(|from| file.base_offset >= from);
    let mut covered: Option<(Offset, Offset)> = None;
    for (file, entry) in at_stage(FileStage::Swap).filter(|(file, _)| !is_void(file)) {
        if file.kind == FileKind::Log {
            let end = end_of(disk, &folder.join(&entry.name), file.base_offset, entry.len_bytes).await?;
            let (from, to) = covered.unwrap_or((file.base_offset, end));
            covered = Some((from.min(file.base_offset), to.max(end)));
        }
    }
    let mut arrangement = Arrangement::default();
    let is_covered = |base: Offset| covered.is_some_and(|(from, to)| (from..to).contains(&base));
    for (file, entry) in files(entries) {
        let piece = Piece { name: entry.name.clone(), len_bytes: entry.len_bytes };
        match file.stage {
            FileStage::Live if file.kind == FileKind::Snapshot => {
                arrangement.snapshots.push(file.base_offset);
            }
            FileStage::Live if is_covered(file.base_offset) => {
                arrangement.steps.push(Step::Remove(entry.name.clone()));
            }
            FileStage::Live if file.kind == FileKind::Log => {
                arrangement.segments.insert(file.base_offset, piece);
            }
            FileStage::Swap if !is_void(&file) => arrangement.swap(file, piece),
            FileStage::Live => {}
            FileStage::Deleted | FileStage::Cleaned | FileStage::Swap => {
                arrangement.steps.push(Step::Remove(entry.name.clone()));
            }
        }
    }
    arrangement.order();
    Ok(arrangement)
}

impl Arrangement {
    fn swap(&mut self, file: SegmentFile, piece: Piece) {
        let live = SegmentFile::live(file.base_offset, file.kind).to_string();
        self.steps.push(Step::Rename(piece.name.clone(), live));
        if file.kind == FileKind::Log {
            self.segments.insert(file.base_offset, piece);
        }
    }

    /// What is replaced goes before what replaces it. Of what replaces it the logs come last, the later before the earlier: what is left
    /// of them after a crash must not cover one that has its name already.
    fn order(&mut self) {
        self.steps.sort_by_key(|step| match step {
            Step::Remove(name) => (0, Reverse(name.clone())),
            Step::Rename(from, _) => (1 + u8::from(from.ends_with(".log.swap")), Reverse(from.clone())),
        });
        // The file that takes a name must not be one that was to go: a swap of the same base replaces it by its rename.
        let taken: Vec<String> = self.steps.iter().filter_map(Step::target).collect();
        self.steps.retain(|step| !matches!(step, Step::Remove(name) if taken.contains(name)));
        self.snapshots.sort_unstable();
    }
}

impl Step {
    fn target(&self) -> Option<String> {
        match self {
            Step::Remove(_) => None,
            Step::Rename(_, to) => Some(to.clone()),
        }
    }
}

async fn end_of(disk: &Disk, path: &Path, base: Offset, size: u64) -> Result<Offset, StorageError> {
    let file = disk.open(path, OpenMode::Read).await?;
    let walk = Walk { pos: 0, size, next: base, checksums: Checksums::Trust };
    Ok(walk.run(&file, |_, _| {}).await?.next)
}
