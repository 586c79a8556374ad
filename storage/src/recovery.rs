//! Finishing what a crash interrupted: the WALs of the last run are replayed into the segments, the checkpoint is brought
//! up to date, the WALs are removed. Runs before any store is opened, and leaves what a clean stop leaves.
//!
//! Idempotent: the order is segments, then the checkpoint, then the removal of the WALs, so a crash inside is followed by the same
//! again. Damage takes the logs offline that it may have hit: their folders are marked, and the WAL is kept beside them.

mod plan;
mod replay;

use crate::checkpoint::PartitionMetadata;
use crate::checkpoint::partition_metadata::PARTITION_METADATA_BYTES_MAX;
use crate::disk::{Disk, OpenMode};
use crate::error::StorageError;
use crate::log::LogStart;
use crate::names::{FolderName, PARTITION_METADATA, TopicPartition};
use crate::store::checkpoint::{CHECKPOINT, Checkpoint, Entry, Part, load};
use crate::wal::format::LogId;
use crate::wal::guard::{self, GUARD_FILE, Guarded, RECOVERY_GUARD_FILE, TailGuard};
use crate::wal::scan::{Damage, WalEnd, scan};
use crate::wal::{DONE_SUFFIX, WAL_FOLDER, WalNeed, discard};
use bytes::Bytes;
use hayate_rt::Rt;
use plan::LogPlan;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The file that marks a log as damaged, in its folder. Whoever has restored the data removes it.
pub const DAMAGE_MARK: &str = "hayate.damaged";
/// The file that says that a recovery has run and that nobody has acted on it yet: see [`acted_on`].
pub(crate) const UNCLEAN_MARK: &str = "hayate.unclean";

/// What recovery is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryStage {
    /// Reading the files of a shard's WAL.
    ReadingWal,
    /// Finishing the logs that it speaks of.
    Replaying,
}

/// How far recovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryProgress {
    /// With what.
    pub stage: RecoveryStage,
    /// Files or logs done.
    pub done: usize,
    /// Files or logs to do, of one shard.
    pub of: usize,
}

/// Whoever hears of it.
type Progress<'a> = dyn FnMut(RecoveryProgress) + 'a;

/// What recovery found.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// Whether the last run stopped cleanly: nothing had to be done, or it was done by a start that then failed before it said
    /// [`acted_on`].
    pub clean: bool,
    /// Logs whose segments were completed or cut.
    pub replayed: BTreeSet<TopicPartition>,
    /// Logs that are offline because something durable is damaged.
    pub damaged: BTreeMap<TopicPartition, String>,
    /// WALs that ended in an unfinished write.
    pub torn_tails: usize,
}

struct Context<'a> {
    rt: &'a Rt,
    disk: &'a Disk,
    data_dir: &'a Path,
}

/// Recovers the data folder.
///
/// # Errors
/// Those of the disk, and [`StorageError::Corrupt`] when the checkpoint itself is damaged.
pub async fn recover(
    rt: &Rt,
    disk: &Disk,
    data_dir: &Path,
    progress: &mut dyn FnMut(RecoveryProgress),
) -> Result<RecoveryReport, StorageError> {
    disk.create_dir_all(data_dir).await?;
    let clean = !disk.exists(data_dir.join(UNCLEAN_MARK)).await?;
    let mut report = RecoveryReport { clean, ..RecoveryReport::default() };
    let context = Context { rt, disk, data_dir };
    let mut checkpoints = load(disk, data_dir).await?;
    let wal = data_dir.join(WAL_FOLDER);
    let folders = if disk.exists(&wal).await? { disk.list(&wal).await? } else { Vec::new() };
    let (mut idle, mut damaged) = (true, false);
    for folder in folders.iter().filter(|entry| entry.is_dir && !entry.name.ends_with(DONE_SUFFIX)) {
        (idle, report.clean) = (false, false);
        let needed = checkpoints.wal_need(&folder.name);
        let others = checkpoints.logs_of_others(&folder.name);
        let old = OldWal::read(&context, wal.join(&folder.name), needed, others, progress).await?;
        damaged |= context.recover_wal(&old, &mut checkpoints.merged, &mut report, progress).await?;
    }
    finish(&context, &checkpoints.merged, &checkpoints.parts, damaged, idle).await?;
    Ok(report)
}

/// Notes, durably, that the last stop was not clean, until somebody has [`acted_on`] it.
pub(crate) async fn mark_unclean(disk: &Disk, data_dir: &Path) -> Result<(), StorageError> {
    Ok(disk.replace_small(data_dir.join(UNCLEAN_MARK), b"recovered\n").await?)
}

/// What follows from an unclean stop (new leader epochs) is durable: the next start need not think of it again.
///
/// # Errors
/// Those of the disk.
pub async fn acted_on(disk: &Disk, data_dir: &Path) -> Result<(), StorageError> {
    let mark = data_dir.join(UNCLEAN_MARK);
    if disk.exists(&mark).await? {
        disk.remove_file(&mark).await?;
        disk.sync_dir(data_dir).await?;
    }
    Ok(())
}

async fn read_files(
    context: &Context<'_>,
    folder: &Path,
    progress: &mut Progress<'_>,
) -> Result<Vec<Bytes>, StorageError> {
    let mut entries = context.disk.list(folder).await?;
    entries.retain(|entry| !entry.is_dir && entry.name.ends_with(".wal"));
    let mut files = Vec::new();
    for entry in &entries {
        progress(RecoveryProgress { stage: RecoveryStage::ReadingWal, done: files.len(), of: entries.len() });
        let file = context.disk.open(folder.join(&entry.name), OpenMode::Read).await?;
        // A killed process leaves writes behind that are read here and not flushed. What is acted on must still be there after the next crash.
        file.sync().await?;
        files.push(file.read_at(0, entry.len_bytes as usize).await?);
    }
    Ok(files)
}

/// What the last run left of one shard's WAL.
struct OldWal {
    folder: PathBuf,
    files: Vec<Bytes>,
    /// What the shard's checkpoint needs of them.
    needed: Option<WalNeed>,
    /// Logs that have nothing in it.
    others: BTreeSet<LogId>,
    /// Blocks that the run was rewriting.
    guarded: Vec<Guarded>,
    /// Blocks that a recovery was rewriting when it was interrupted.
    interrupted: Vec<Guarded>,
}

impl OldWal {
    async fn read(
        context: &Context<'_>,
        folder: PathBuf,
        needed: Option<WalNeed>,
        others: BTreeSet<LogId>,
        progress: &mut Progress<'_>,
    ) -> Result<OldWal, StorageError> {
        let files = read_files(context, &folder, progress).await?;
        let guarded = read_guard(context, folder.join(GUARD_FILE)).await?;
        let interrupted = read_guard(context, folder.join(RECOVERY_GUARD_FILE)).await?;
        Ok(OldWal { folder, files, needed, others, guarded, interrupted })
    }
}

async fn read_guard(context: &Context<'_>, path: PathBuf) -> Result<Vec<Guarded>, StorageError> {
    if !context.disk.exists(&path).await? {
        return Ok(Vec::new());
    }
    let file = context.disk.open(&path, OpenMode::Read).await?;
    file.sync().await?;
    let bytes = file.read_at(0, file.len().await? as usize).await?;
    Ok(guard::decode(&bytes))
}

/// Makes the result durable, then lets go of the WALs, and last of the shards' checkpoints: without what they say of a WAL, damage
/// that was found in it might not be found again after a crash in here.
async fn finish(
    context: &Context<'_>,
    checkpoint: &Checkpoint,
    parts: &[Part],
    damaged: bool,
    idle: bool,
) -> Result<(), StorageError> {
    let disk = context.disk;
    let is_merged = parts.iter().all(|part| part.name == CHECKPOINT);
    if idle && is_merged {
        return Ok(());
    }
    if !idle {
        // The WALs tell of the unclean stop; once they are gone, this does.
        mark_unclean(disk, context.data_dir).await?;
    }
    let generation = checkpoint.generation + 1;
    let merged = Checkpoint { generation, wal: None, entries: checkpoint.entries.clone() };
    disk.replace_small(context.data_dir.join(CHECKPOINT), &merged.encode()).await?;
    let wal = context.data_dir.join(WAL_FOLDER);
    if disk.exists(&wal).await? {
        if damaged {
            let id = uuid::Uuid::from_bytes(context.rt.uuid());
            disk.rename(&wal, context.data_dir.join(format!("{WAL_FOLDER}.damaged.{}", id.simple()))).await?;
        } else {
            discard(disk, &wal).await?;
        }
    }
    // Not before the WALs are gone for good.
    disk.sync_dir(context.data_dir).await?;
    for part in parts.iter().filter(|part| part.name != CHECKPOINT) {
        disk.remove_file(context.data_dir.join(&part.name)).await?;
    }
    Ok(disk.sync_dir(context.data_dir).await?)
}

impl Context<'_> {
    /// Replays one WAL; returns whether it is damaged.
    async fn recover_wal(
        &self,
        old: &OldWal,
        checkpoint: &mut Checkpoint,
        report: &mut RecoveryReport,
        progress: &mut Progress<'_>,
    ) -> Result<bool, StorageError> {
        let scanned = scan(&old.files, old.needed);
        let guarded: Vec<Guarded> = old.guarded.iter().chain(&old.interrupted).cloned().collect();
        if scanned.end == WalEnd::Torn {
            self.rt.reached("torn tail");
            report.torn_tails += 1;
        }
        let mut plans = plan::plan(&scanned.frames, &guarded, |log| {
            checkpoint.entries.get(log).map(|entry| &entry.start)
        });
        let known = self.known_logs(checkpoint, &plans).await?;
        if let WalEnd::Corrupt(damage) = &scanned.end {
            self.rt.reached("WAL damaged");
            spread_damage(damage, &known, &old.others, &mut plans, checkpoint);
        }
        let of = plans.len();
        let mut damaged = matches!(scanned.end, WalEnd::Corrupt(_));
        // What an interrupted recovery had under guard comes first: its guard is then free for the others.
        let interrupted = |id: &LogId| old.interrupted.iter().any(|guarded| guarded.log == *id);
        let (first, rest): (Vec<_>, Vec<_>) = plans.iter().partition(|(id, _)| interrupted(id));
        let mut guard = None;
        let pauses = first.len();
        for (done, (id, plan)) in first.into_iter().chain(rest).enumerate() {
            progress(RecoveryProgress { stage: RecoveryStage::Replaying, done, of });
            // A log without a folder was deleted.
            let Some(partition) = known.get(id) else { continue };
            if let Some(what) = &plan.damage {
                damaged = true;
                self.mark_damaged(partition, what).await?;
                report.damaged.insert(partition.clone(), what.clone());
            } else if !plan.is_idle() {
                if done >= pauses && guard.is_none() {
                    guard = Some(Rc::new(
                        TailGuard::create(self.disk, &old.folder.join(RECOVERY_GUARD_FILE)).await?,
                    ));
                }
                self.recover_log(id, partition, plan, checkpoint, guard.as_ref()).await?;
                report.replayed.insert(partition.clone());
            }
        }
        Ok(damaged)
    }

    async fn recover_log(
        &self,
        id: &LogId,
        partition: &TopicPartition,
        plan: &LogPlan,
        checkpoint: &mut Checkpoint,
        guard: Option<&Rc<TailGuard>>,
    ) -> Result<(), StorageError> {
        let folder = self.data_dir.join(partition.folder_name());
        let before = checkpoint.entries.get(id).map_or_else(LogStart::empty, |entry| entry.start.clone());
        let producers =
            replay::replay(self, &folder, plan, &before.producers, guard.map(|guard| (*id, guard))).await?;
        let start = LogStart {
            start: before.start.min(plan.end.offset),
            high_watermark: before.high_watermark.min(plan.end.offset),
            end: plan.end,
            producers,
        };
        checkpoint.entries.insert(*id, Entry { partition: partition.clone(), start });
        Ok(())
    }

    /// The partitions of all logs that the checkpoint or the WAL names and that have a folder.
    async fn known_logs(
        &self,
        checkpoint: &Checkpoint,
        plans: &BTreeMap<LogId, LogPlan>,
    ) -> Result<BTreeMap<LogId, TopicPartition>, StorageError> {
        let mut known = BTreeMap::new();
        let strangers = plans.keys().any(|id| !checkpoint.entries.contains_key(id));
        for entry in self.disk.list(self.data_dir).await? {
            let FolderName::Partition(partition) = FolderName::parse(&entry.name) else { continue };
            let id =
                checkpoint.entries.iter().find(|(_, entry)| entry.partition == partition).map(|(id, _)| *id);
            let id = match id {
                Some(id) if !strangers => Some(id),
                _ => self.identity(&partition).await?,
            };
            if let Some(id) = id {
                known.insert(id, partition);
            }
        }
        Ok(known)
    }

    async fn identity(&self, partition: &TopicPartition) -> Result<Option<LogId>, StorageError> {
        let path = self.data_dir.join(partition.folder_name()).join(PARTITION_METADATA);
        let Some(bytes) = self.disk.read_small(&path, PARTITION_METADATA_BYTES_MAX).await? else {
            return Ok(None);
        };
        let metadata = PartitionMetadata::parse(&bytes)
            .map_err(|cause| StorageError::Foreign(format!("{}: {cause}", path.display())))?;
        Ok(Some(LogId { topic_id: metadata.topic_id, partition: partition.partition }))
    }

    async fn mark_damaged(&self, partition: &TopicPartition, what: &str) -> Result<(), StorageError> {
        tracing::error!(%partition, what, "partition taken offline: durable data is damaged");
        let folder = self.data_dir.join(partition.folder_name());
        Ok(self.disk.replace_small(folder.join(DAMAGE_MARK), what.as_bytes()).await?)
    }
}

/// Marks the plans of the logs that what is damaged may have held.
fn spread_damage(
    damage: &Damage,
    known: &BTreeMap<LogId, TopicPartition>,
    others: &BTreeSet<LogId>,
    plans: &mut BTreeMap<LogId, LogPlan>,
    checkpoint: &Checkpoint,
) {
    let hit = match &damage.logs {
        Some(logs) => logs.clone(),
        None => known.keys().filter(|id| !others.contains(id)).copied().collect(),
    };
    for id in hit {
        let start = checkpoint.entries.get(&id).map(|entry| &entry.start);
        let plan = plans.entry(id).or_insert_with(|| LogPlan::new(start, 0));
        plan.damage =
            Some(format!("{} of the write-ahead log, which was durable, cannot be read", damage.lost));
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests;
