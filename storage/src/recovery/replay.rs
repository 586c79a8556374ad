//! Puts a plan into the segments of one log: writes, cuts, and what follows from its batches, the producer state and the leader epochs
//! at the new end. Idempotent: a crash on the way is followed by the same again.

use super::Context;
use super::plan::{LogPlan, Write};
use crate::batch::scan::Scanned;
use crate::batch::{BatchHeader, LeaderEpoch, Offset};
use crate::chunk::{block_ceil, block_floor};
use crate::disk::{AlignedBuf, Durability, File, OpenMode};
use crate::epochs::EpochCache;
use crate::error::StorageError;
use crate::index::TxnIndex;
use crate::index::{AbortedTxn, OffsetIndex, SegmentBounds, TimeIndex};
use crate::log::files::{
    SMALL_BYTES_MAX, aborted_of, look_through, newest_snapshot, path_of, segment_bases, store_aborted,
};
use crate::log::{Mark, read_epochs};
use crate::mutants::{Mutant, is_active};
use crate::names::{FileKind, FileName, FileStage, LEADER_EPOCH_CHECKPOINT};
use crate::producers::ProducerState;
use crate::wal::format::LogId;
use crate::wal::guard::{Guard, Guarded, TailGuard};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// Largest single write, and read, while replaying.
const PIECE_BYTES: usize = 1 << 20;

/// Brings the segments in `folder` to what `plan` says; returns the producer state at the end, given that at the plan's base.
pub(super) async fn replay(
    context: &Context<'_>,
    folder: &Path,
    plan: &LogPlan,
    producers: &[u8],
    guard: Option<(LogId, &Rc<TailGuard>)>,
) -> Result<Vec<u8>, StorageError> {
    let _phase = context.rt.phase("recovering");
    let mut by_segment: BTreeMap<Offset, Vec<&Write>> = BTreeMap::new();
    for write in &plan.writes {
        by_segment.entry(write.segment).or_default().push(write);
    }
    let guarded = match guard {
        Some((log, guard)) => guard_front(context, folder, plan, log, guard).await?,
        None => None,
    };
    for (segment, writes) in by_segment {
        write_segment(context, folder, segment, &writes).await?;
    }
    if let Some(guarded) = guarded {
        guarded.release();
    }
    for (segment, size) in plan.sealed.iter().map(|(segment, size)| (*segment, *size)) {
        cut_file(context, folder, segment, size).await?;
    }
    cut_file(context, folder, plan.end.segment, plan.end.pos).await?;
    remove_later(context, folder, plan.end.segment).await?;
    trim_indexes(context, folder, plan).await?;
    learn(context, folder, plan, producers).await
}

/// The solid bytes of the block that the first write shares with them may be in no WAL: a crash here may damage them.
async fn guard_front(
    context: &Context<'_>,
    folder: &Path,
    plan: &LogPlan,
    log: LogId,
    guard: &Rc<TailGuard>,
) -> Result<Option<Guard>, StorageError> {
    let Some((pos, front_bytes)) = plan.exposed_front() else { return Ok(None) };
    let segment = plan.solid.0;
    let file = open_segment(context, folder, segment).await?;
    let bytes = file.read_at(pos, front_bytes).await?;
    let guarded = Guarded { log, segment, pos, bytes };
    Ok(Some(guard.protect(&guarded).await?))
}

async fn open_segment(context: &Context<'_>, folder: &Path, base: Offset) -> Result<File, StorageError> {
    let path = path_of(folder, base, FileKind::Log);
    let known = context.disk.exists(&path).await?;
    let mode = if known { OpenMode::ReadWrite } else { OpenMode::CreateNew };
    let file = context.disk.open(&path, mode).await?;
    // Also where it was there: a killed process may have made it and left its name to a crash.
    context.disk.sync_dir(folder).await?;
    Ok(file)
}

async fn write_segment(
    context: &Context<'_>,
    folder: &Path,
    base: Offset,
    writes: &[&Write],
) -> Result<(), StorageError> {
    let file = open_segment(context, folder, base).await?;
    let mut at = 0;
    while at < writes.len() {
        let len = run_len(&writes[at..]);
        write_run(&file, &writes[at..at + len]).await?;
        at += len;
    }
    Ok(file.sync().await?)
}

/// How many of the first writes follow one another closely enough to be one.
fn run_len(writes: &[&Write]) -> usize {
    let mut bytes = writes[0].bytes.len();
    let follows = writes.windows(2).take_while(|pair| {
        bytes += pair[1].bytes.len();
        pair[0].end() == pair[1].pos && bytes <= PIECE_BYTES
    });
    1 + follows.count()
}

/// Writes whole blocks: what the run does not cover of the first and the last stays as it is in the file.
async fn write_run(file: &File, run: &[&Write]) -> Result<(), StorageError> {
    let (from, to) = (run[0].pos, run[run.len() - 1].end());
    let (first, last) = (block_floor(from), block_ceil(to));
    let mut blocks = AlignedBuf::zeroed((last - first) as usize)?;
    let front = file.read_at(first, (from - first) as usize).await?;
    let back = file.read_at(to, (last - to) as usize).await?;
    let target = blocks.as_mut_slice();
    target[..front.len()].copy_from_slice(&front);
    for write in run {
        let at = (write.pos - first) as usize;
        target[at..at + write.bytes.len()].copy_from_slice(&write.bytes);
    }
    let at = (to - first) as usize;
    target[at..at + back.len()].copy_from_slice(&back);
    Ok(file.write_at(first, blocks.into_bytes(), Durability::Cached).await?)
}

/// Makes a segment file exactly `size` long, durably.
async fn cut_file(context: &Context<'_>, folder: &Path, base: Offset, size: u64) -> Result<(), StorageError> {
    let path = path_of(folder, base, FileKind::Log);
    if !context.disk.exists(&path).await? {
        return match size {
            0 => Ok(()),
            _ => Err(StorageError::Corrupt(format!("{} is gone", path.display()))),
        };
    }
    let file = context.disk.open(&path, OpenMode::ReadWrite).await?;
    let len = file.len().await?;
    if len < size {
        return Err(StorageError::Corrupt(format!("{} has {len} bytes of {size}", path.display())));
    }
    if len > size {
        file.truncate(size).await?;
    }
    Ok(file.sync().await?)
}

/// Removes what was made of segments behind the end: nothing in them was ever durable, or it was cut.
async fn remove_later(context: &Context<'_>, folder: &Path, last: Offset) -> Result<(), StorageError> {
    let mut removed = false;
    for entry in context.disk.list(folder).await? {
        let FileName::Segment(file) = FileName::parse(&entry.name) else { continue };
        if file.stage == FileStage::Live && file.base_offset > last {
            tracing::info!(file = %folder.join(&entry.name).display(), "removed: lies behind the log's end");
            context.disk.remove_file(folder.join(&entry.name)).await?;
            removed = true;
        }
    }
    if removed {
        context.disk.sync_dir(folder).await?;
    }
    Ok(())
}

/// Index entries may speak of batches that were never durable: only those before the untouched offset stay.
async fn trim_indexes(context: &Context<'_>, folder: &Path, plan: &LogPlan) -> Result<(), StorageError> {
    let touched = plan.sealed.keys().copied().chain([plan.base.segment, plan.end.segment]);
    for base in touched {
        let bounds = SegmentBounds { base_offset: base, end_offset: Offset::MAX, size_bytes: u64::MAX };
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = path_of(folder, base, kind);
            let Some(bytes) = context.disk.read_small(&path, SMALL_BYTES_MAX).await? else { continue };
            let trimmed = if kind == FileKind::OffsetIndex {
                OffsetIndex::decode(&bytes, &bounds).ok().map(|mut index| {
                    index.truncate_to(plan.untouched);
                    index.encode()
                })
            } else {
                TimeIndex::decode(&bytes, &bounds).ok().map(|mut index| {
                    index.truncate_to(plan.untouched);
                    index.encode()
                })
            };
            let trimmed = trimmed.unwrap_or_default();
            if trimmed != bytes {
                context.disk.replace_small(&path, &trimmed).await?;
            }
        }
    }
    Ok(())
}

/// What is learnt of batches while they are looked through.
struct Learnt {
    producers: ProducerState,
    /// Batches before this offset are in it.
    producers_from: Offset,
    epochs: EpochCache,
    epochs_from: Offset,
    /// Aborted transactions whose marker lies at or beyond `epochs_from`, by the segment that it is in.
    aborted: BTreeMap<Offset, Vec<AbortedTxn>>,
}

impl Learnt {
    fn take(&mut self, segment: Offset, batch: &Scanned<'_>) {
        let BatchHeader { base_offset, partition_leader_epoch: epoch, .. } = batch.header;
        if base_offset >= self.producers_from {
            // A batch that no leader writes is the reader's to report.
            let completed = self.producers.replay(&batch.header, batch.bytes).ok().flatten();
            let aborted = completed.and_then(|completed| completed.aborted());
            let is_new = base_offset >= self.epochs_from && !is_active(Mutant::AbortForgotten);
            if let Some(aborted) = aborted.filter(|_| is_new) {
                self.aborted.entry(segment).or_default().push(aborted);
            }
        }
        if base_offset >= self.epochs_from && epoch >= LeaderEpoch(0) {
            self.epochs.assign(epoch, base_offset);
        }
    }
}

/// Stores the leader epochs and the aborted transactions as they are at the plan's end, and returns the producer state there: from that
/// at its base if the log only grew, else from the newest snapshot before what was touched.
async fn learn(
    context: &Context<'_>,
    folder: &Path,
    plan: &LogPlan,
    producers: &[u8],
) -> Result<Vec<u8>, StorageError> {
    let segments = segment_bases(context.disk, folder).await?;
    let (producers, mut from) = if plan.cut {
        newest_snapshot(context.disk, folder, plan.untouched).await?
    } else {
        let full = ProducerState::from_full(producers, context.rt.wall_ms(), i64::MAX);
        (full.unwrap_or_else(|| ProducerState::new(i64::MAX)), plan.base)
    };
    let producers_from = from.offset;
    let holder = segments.iter().copied().rfind(|base| *base <= plan.untouched);
    let holder = holder.or(segments.first().copied());
    if plan.untouched < from.offset {
        let segment = holder.unwrap_or(from.segment).min(from.segment);
        from = Mark { offset: plan.untouched, segment, pos: 0 };
    }
    let mut epochs = read_epochs(context.disk, folder).await?;
    let stored = epochs.clone();
    epochs.truncate_from_end(plan.untouched);
    let (epochs_from, aborted) = (plan.untouched, BTreeMap::new());
    let mut learnt = Learnt { producers, producers_from, epochs, epochs_from, aborted };
    for base in segments.iter().copied().filter(|base| from.segment <= *base && *base <= plan.end.segment) {
        let pos = if base == from.segment { from.pos } else { 0 };
        let file = context.disk.open(path_of(folder, base, FileKind::Log), OpenMode::Read).await?;
        let size = if base == plan.end.segment { plan.end.pos } else { file.len().await? };
        look_through(&file, pos, size, &mut |batch| learnt.take(base, batch)).await?;
    }
    let Learnt { producers, epochs, mut aborted, .. } = learnt;
    if epochs != stored {
        let text = epochs.render();
        context.disk.replace_small(folder.join(LEADER_EPOCH_CHECKPOINT), text.as_bytes()).await?;
    }
    for base in segments.into_iter().filter(|base| Some(*base) >= holder) {
        let later = aborted.remove(&base).unwrap_or_default();
        settle_aborted(context, folder, plan, base, later).await?;
    }
    Ok(if producers.is_empty() { Vec::new() } else { producers.encode_full() })
}

/// Makes the transaction index of a segment hold what it had of before the untouched offset, and `later`.
async fn settle_aborted(
    context: &Context<'_>,
    folder: &Path,
    plan: &LogPlan,
    base: Offset,
    later: Vec<AbortedTxn>,
) -> Result<(), StorageError> {
    let path = path_of(folder, base, FileKind::TxnIndex);
    let stored = context.disk.read_small(&path, SMALL_BYTES_MAX).await?.unwrap_or_default();
    let index = match TxnIndex::decode(&stored, base) {
        Ok(mut index) => {
            index.truncate_to(plan.untouched);
            // Markers that do not follow each other are damage, which readers of the batches meet.
            for aborted in later {
                let _ = index.append(aborted);
            }
            index
        }
        Err(cause) => {
            tracing::warn!(file = %path.display(), %cause, "transaction index rebuilt");
            aborted_of(context.disk, folder, base, plan.end).await?
        }
    };
    let bytes = index.encode();
    if bytes == stored { Ok(()) } else { store_aborted(context.disk, folder, base, &bytes).await }
}
