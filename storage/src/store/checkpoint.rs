//! The checkpoint: where each log ends as far as its segments go, so that a start looks neither through data nor further
//! back in the WAL. Every shard writes its own; recovery merges them into one. A file is replaced as a whole.
//!
//! ```text
//!  0 magic "HCKP" │ 4 version u32 │ 8 generation u64 │ 16 wal id u64 │ 24 needed from u64 │ 32 logs u32 │ entries …
//!    │ crc32c of all before
//!  entry: topic bytes u16 │ topic │ partition i32 │ topic id, 16 │ start i64 │ high watermark i64 │ end offset i64
//!         │ segment base i64 │ position u64 │ producer bytes u32 │ producers (in full)
//! ```
//! *needed from* is the sequence of the oldest file of the WAL *wal id* that the entries do not account for, and 0 in the merged
//! checkpoint, which has no WAL beside it; version 1 lacks both. All integers are little-endian. Of two entries for one log, that of the file with the higher generation counts.

use super::Shared;
use crate::batch::Offset;
use crate::disk::{Disk, DiskError};
use crate::error::StorageError;
use crate::log::{LogInner, LogStart, Mark, Stored};
use crate::names::TopicPartition;
use crate::wal::format::LogId;
use crate::wal::{WalNeed, shard_folder};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

/// The merged checkpoint, and the beginning of the names of the shards' own.
pub(crate) const CHECKPOINT: &str = "hayate.checkpoint";
const MAGIC: &[u8; 4] = b"HCKP";
const VERSION: u32 = 2;
/// Says nothing of the WAL.
const VERSION_WITHOUT_WAL: u32 = 1;
/// More than the checkpoint of any sane shard.
const BYTES_MAX: usize = 1 << 30;

/// One log's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) partition: TopicPartition,
    pub(crate) start: LogStart,
}

/// A checkpoint's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) generation: u64,
    /// What the entries leave to the shard's WAL; `None` when it is unknown, or there is no WAL.
    pub(crate) wal: Option<WalNeed>,
    pub(crate) entries: BTreeMap<LogId, Entry>,
}

impl Checkpoint {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        let WalNeed { wal_id, sequence } = self.wal.unwrap_or(WalNeed { wal_id: 0, sequence: 0 });
        bytes.extend_from_slice(&wal_id.to_le_bytes());
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for (id, entry) in &self.entries {
            encode_entry(&mut bytes, id, entry);
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when the bytes are damaged, cut or of another version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut reader = Reader(body);
        if reader.take::<4>()? != *MAGIC {
            return None;
        }
        let version = u32::from_le_bytes(reader.take()?);
        let generation = reader.number()?;
        let wal = match version {
            VERSION_WITHOUT_WAL => None,
            VERSION => {
                let need = WalNeed { wal_id: reader.number()?, sequence: reader.number()? };
                (need.sequence > 0).then_some(need)
            }
            _ => return None,
        };
        let logs = u32::from_le_bytes(reader.take()?);
        let mut entries = BTreeMap::new();
        for _ in 0..logs {
            let (id, entry) = decode_entry(&mut reader)?;
            entries.insert(id, entry);
        }
        reader.0.is_empty().then_some(Checkpoint { generation, wal, entries })
    }
}

/// Reads the bytes of a checkpoint and writes them again; `None` when they are damaged, cut or of another version.
pub fn reread_checkpoint(bytes: &[u8]) -> Option<Vec<u8>> {
    Checkpoint::decode(bytes).map(|checkpoint| checkpoint.encode())
}

fn encode_entry(bytes: &mut Vec<u8>, id: &LogId, entry: &Entry) {
    let topic = entry.partition.topic.as_bytes();
    let LogStart { start, high_watermark, end, producers } = &entry.start;
    bytes.extend_from_slice(&(topic.len() as u16).to_le_bytes());
    bytes.extend_from_slice(topic);
    bytes.extend_from_slice(&id.partition.to_le_bytes());
    bytes.extend_from_slice(&id.topic_id);
    for offset in [start, high_watermark, &end.offset, &end.segment] {
        bytes.extend_from_slice(&offset.0.to_le_bytes());
    }
    bytes.extend_from_slice(&end.pos.to_le_bytes());
    bytes.extend_from_slice(&(producers.len() as u32).to_le_bytes());
    bytes.extend_from_slice(producers);
}

fn decode_entry(reader: &mut Reader<'_>) -> Option<(LogId, Entry)> {
    let topic_bytes = u16::from_le_bytes(reader.take()?);
    let topic = std::str::from_utf8(reader.bytes(usize::from(topic_bytes))?).ok()?;
    let number = i32::from_le_bytes(reader.take()?);
    let partition = TopicPartition::new(topic, number).ok()?;
    let topic_id = reader.take()?;
    let (start, high_watermark) = (reader.offset()?, reader.offset()?);
    let (offset, segment) = (reader.offset()?, reader.offset()?);
    let end = Mark { offset, segment, pos: reader.number()? };
    let producer_bytes = u32::from_le_bytes(reader.take()?) as usize;
    let producers = reader.bytes(producer_bytes)?.to_vec();
    let start = LogStart { start, high_watermark, end, producers };
    Some((LogId { topic_id, partition: number }, Entry { partition, start }))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take()?))
    }

    fn offset(&mut self) -> Option<Offset> {
        Some(Offset(i64::from_le_bytes(self.take()?)))
    }
}

/// All checkpoints of a data folder.
pub(crate) struct Loaded {
    pub(crate) merged: Checkpoint,
    /// The files that they came from.
    pub(crate) parts: Vec<Part>,
}

/// One checkpoint file.
pub(crate) struct Part {
    pub(crate) name: String,
    wal: Option<WalNeed>,
    logs: BTreeSet<LogId>,
}

impl Loaded {
    /// What is needed of the WAL in the folder of this name, as far as that shard's checkpoint says.
    pub(crate) fn wal_need(&self, folder: &str) -> Option<WalNeed> {
        let name = part_name(folder);
        self.parts.iter().find(|part| part.name == name)?.wal
    }

    /// The logs that surely have nothing in the WAL in the folder of this name: another shard's checkpoint names them.
    pub(crate) fn logs_of_others(&self, folder: &str) -> BTreeSet<LogId> {
        let name = part_name(folder);
        let others = self.parts.iter().filter(|part| part.name != CHECKPOINT && part.name != name);
        others.flat_map(|part| part.logs.iter().copied()).collect()
    }
}

/// Reads all checkpoints of a data folder.
///
/// # Errors
/// [`StorageError::Corrupt`] when one is damaged: it was replaced as a whole, so this is no unfinished write.
pub(crate) async fn load(disk: &Disk, data_dir: &Path) -> Result<Loaded, StorageError> {
    let mut found = Vec::new();
    for entry in disk.list(data_dir).await? {
        let ours = entry.name == CHECKPOINT || entry.name.starts_with(&format!("{CHECKPOINT}.shard"));
        if entry.is_dir || !ours || entry.name.ends_with(".tmp") {
            continue;
        }
        let path = data_dir.join(&entry.name);
        let Some(bytes) = disk.read_small(&path, BYTES_MAX).await? else { continue };
        let checkpoint = Checkpoint::decode(&bytes);
        let checkpoint = checkpoint.ok_or_else(|| StorageError::Corrupt(path.display().to_string()))?;
        found.push((checkpoint, entry.name));
    }
    found.sort_by_key(|(checkpoint, _)| checkpoint.generation);
    let mut merged = Checkpoint::default();
    let mut parts = Vec::new();
    for (checkpoint, name) in found {
        let logs = checkpoint.entries.keys().copied().collect();
        parts.push(Part { name, wal: checkpoint.wal, logs });
        merged.generation = checkpoint.generation;
        merged.entries.extend(checkpoint.entries);
    }
    Ok(Loaded { merged, parts })
}

/// The name of a shard's own checkpoint.
pub(crate) fn shard_checkpoint(shard: usize) -> String {
    part_name(&shard_folder(shard))
}

/// The name of the checkpoint of the shard whose WAL's folder has that name.
fn part_name(folder: &str) -> String {
    format!("{CHECKPOINT}.{folder}")
}

impl Shared {
    /// Writes what the logs are accounted for, durably; says from which use of a WAL file on it needs the WAL.
    pub(crate) async fn write_checkpoint(&self) -> Result<u64, DiskError> {
        let _held = self.checkpoint_lock.acquire().await;
        let _phase = self.rt.phase("writing a checkpoint");
        let generation = self.checkpoint_generation.get() + 1;
        let logs: Vec<Rc<LogInner>> = self.logs.borrow().values().cloned().collect();
        let entries: BTreeMap<LogId, Entry> = logs.iter().map(|log| (log.id, log.entry())).collect();
        let oldest = logs.iter().filter_map(|log| log.state.borrow().oldest_wal).min();
        let wal = self.wal.borrow().need(oldest);
        let checkpoint = Checkpoint { generation, wal: Some(wal), entries };
        let bytes = checkpoint.encode();
        let path = self.config.data_dir.join(shard_checkpoint(self.config.shard));
        self.disk.replace_small(path, &bytes).await?;
        self.checkpoint_generation.set(generation);
        for log in logs {
            if let Some(Entry { start, .. }) = checkpoint.entries.get(&log.id) {
                let stored = Stored { start: start.start, end_segment: start.end.segment };
                log.state.borrow_mut().stored = stored;
            }
        }
        self.count_checkpoint();
        Ok(wal.sequence)
    }
}

impl LogInner {
    fn entry(self: &Rc<Self>) -> Entry {
        let state = self.state.borrow();
        let end = state.accounted;
        let start = LogStart {
            start: state.start,
            high_watermark: state.high_watermark,
            end,
            producers: state.accounted_producers.clone(),
        };
        Entry { partition: self.partition.clone(), start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let entry = |topic: &str, partition, pos| {
            let end = Mark { offset: Offset(70), segment: Offset(10), pos };
            let start =
                LogStart { start: Offset(5), high_watermark: Offset(60), end, producers: vec![1, 2, 3] };
            let id = LogId { topic_id: [partition as u8; 16], partition };
            (id, Entry { partition: TopicPartition::new(topic, partition).unwrap(), start })
        };
        let wal = Some(WalNeed { wal_id: 77, sequence: 3 });
        Checkpoint { generation: 9, wal, entries: [entry("a", 0, 4097), entry("b-c", 7, 0)].into() }
    }

    #[test]
    fn a_checkpoint_round_trips() {
        assert_eq!(Checkpoint::decode(&sample().encode()), Some(sample()));
        let empty = Checkpoint::default();
        assert_eq!(Checkpoint::decode(&empty.encode()), Some(empty));
    }

    #[test]
    fn a_checkpoint_of_the_first_version_says_nothing_of_the_wal() {
        let mut bytes = sample().encode();
        bytes.truncate(bytes.len() - 4);
        bytes[4] = 1;
        bytes.drain(16..32);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(Checkpoint::decode(&bytes), Some(Checkpoint { wal: None, ..sample() }));
    }

    #[test]
    fn a_checkpoint_cut_or_changed_at_any_byte_is_refused() {
        let bytes = sample().encode();
        for at in 0..bytes.len() {
            assert_eq!(Checkpoint::decode(&bytes[..at]), None, "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(Checkpoint::decode(&changed), None, "changed at {at}");
        }
    }
}
