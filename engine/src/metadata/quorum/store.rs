//! The part of the log that raft reads, in memory: every entry since the last snapshot, and where each ends.
//!
//! It is written before its bytes are durable; raft is told of durability apart from it. Raft counts entries and the log
//! counts records: both counts are kept here. It knows no file.

use hayate_storage::batch::Offset;
use raft::eraftpb::{ConfState, Entry, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use super::entry::{LogEntry, decode_payload, encode_payload, offset_count};
use super::{HardState, LoadError, Loaded, LogStart, epoch, raft_entry, raft_id, term};

/// The entries after `start`, in order and without a gap.
pub(super) struct Store {
    start: LogStart,
    hard_state: HardState,
    entries: Vec<Entry>,
    /// Per entry the offset of its last record.
    ends: Vec<Offset>,
}

impl Store {
    pub(super) fn new(loaded: Loaded) -> Result<Self, LoadError> {
        let Loaded { hard_state, start, entries } = loaded;
        let mut last = (start.index, start.epoch, start.offset);
        let mut store =
            Self { start, hard_state: HardState::default(), entries: Vec::new(), ends: Vec::new() };
        for entry in entries {
            let follows =
                entry.index == last.0 + 1 && entry.epoch >= last.1 && entry.base_offset == last.2.next();
            if !follows || entry.epoch.0 < 1 {
                return Err(LoadError::Gap(entry.index));
            }
            last = (entry.index, entry.epoch, entry.last_offset());
            store.ends.push(last.2);
            store.entries.push(raft_entry(entry.index, term(entry.epoch), encode_payload(&entry.records)));
        }
        let hard_state = hard_state.unwrap_or_default();
        if hard_state.epoch < last.1 {
            return Err(LoadError::HardStateBehindLog);
        }
        if hard_state.commit > last.0 {
            return Err(LoadError::LogBehindHardState);
        }
        store.hard_state = HardState { commit: hard_state.commit.max(store.start.index), ..hard_state };
        Ok(store)
    }

    pub(super) fn hard_state(&self) -> HardState {
        self.hard_state
    }

    pub(super) fn start_index(&self) -> u64 {
        self.start.index
    }

    /// Adds entries in place of those with the same or a higher index.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let keep = self.position(first.index).expect("raft keeps what it has committed");
        assert!(keep <= self.entries.len(), "raft appends without a gap");
        self.entries.truncate(keep);
        self.ends.truncate(keep);
        for entry in entries {
            let end = self.end_of(entry.index - 1).plus(offset_count(&entry.data));
            self.ends.push(end);
            self.entries.push(entry.clone());
        }
    }

    /// The offset of the last record of the entry at `index`, which is here or just before the first.
    pub(super) fn end_of(&self, index: u64) -> Offset {
        if index == self.start.index {
            return self.start.offset;
        }
        self.position(index).and_then(|at| self.ends.get(at)).copied().expect("an entry of this log")
    }

    /// `count` entries from `first` on, all of them here.
    pub(super) fn log_entries(&self, first: u64, count: usize) -> Vec<LogEntry> {
        let at = self.position(first).expect("an entry of this log");
        self.entries[at..at + count].iter().map(|entry| self.log_entry(entry)).collect()
    }

    /// An entry of this log as the metadata log has it.
    pub(super) fn log_entry(&self, entry: &Entry) -> LogEntry {
        LogEntry {
            index: entry.index,
            epoch: epoch(entry.term),
            base_offset: self.end_of(entry.index - 1).next(),
            records: decode_payload(&entry.data).expect("checked when it came in"),
        }
    }

    /// What lies before the log once it is compacted to `last_offset`; `None` when no entry up to `applied` ends there.
    pub(super) fn start_behind(&self, last_offset: Offset, applied: u64) -> Option<LogStart> {
        let at = self.ends.binary_search(&last_offset).ok()?;
        let (index, term) = self.entries.get(at).map(|entry| (entry.index, entry.term))?;
        let voters = self.start.voters.clone();
        (index <= applied).then(|| LogStart { index, epoch: epoch(term), offset: last_offset, voters })
    }

    /// Drops the entries up to the one that ends at `last_offset`, if that one is no later than `applied`.
    pub(super) fn compact(&mut self, last_offset: Offset, applied: u64) -> Option<LogStart> {
        let start = self.start_behind(last_offset, applied)?;
        let kept = self.position(start.index + 1)?;
        self.entries.drain(..kept);
        self.ends.drain(..kept);
        self.start = start.clone();
        Some(start)
    }

    /// Where the entry of that index is, or would be; `None` when it is gone.
    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.start.index + 1)?).ok()
    }
}

impl Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let voters = self.start.voters.iter().map(|id| raft_id(*id)).collect();
        let conf_state = ConfState { voters, ..ConfState::default() };
        Ok(RaftState { hard_state: self.hard_state.to_raft(), conf_state })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let compacted = || Error::Store(StorageError::Compacted);
        let (low, high) =
            (self.position(low).ok_or_else(compacted)?, self.position(high).ok_or_else(compacted)?);
        let entries = self.entries.get(low..high).ok_or(Error::Store(StorageError::Unavailable))?;
        let mut entries = entries.to_vec();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.start.index {
            return Ok(term(self.start.epoch));
        }
        let at = self.position(index).ok_or(Error::Store(StorageError::Compacted))?;
        self.entries.get(at).map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.start.index + self.entries.len() as u64)
    }

    /// Followers that need a snapshot wait: nothing ships snapshots yet.
    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
