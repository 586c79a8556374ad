//! What a partition remembers of its idempotent and transactional producers, so that a batch sent twice is stored once and a
//! stale producer stores nothing (KIP-98, KIP-360). Pure state: no IO, no clock, and no knowledge of logs and requests.
//!
//! A live append asks [`check`](ProducerState::check), or [`check_marker`](ProducerState::check_marker) for the end of a transaction,
//! writes, then calls [`apply`](ProducerState::apply) or [`end_transaction`](ProducerState::end_transaction); recovery and followers
//! call [`replay`](ProducerState::replay), which believes what is already in the log. All change the state through one path.
//! Rules: Kafka's `ProducerStateManager`, `ProducerAppendInfo` and `ProducerStateEntry`; files: [`snapshot`], as Kafka's, and `full`, for
//! the checkpoint.
//!
//! ```text
//!  open transactions (a record, no marker)  ──marker──▶  decided (marker above the high watermark)  ──high watermark──▶  stable
//!  the first offset of all that are not stable bounds what read_committed consumers see
//! ```

use std::collections::BTreeMap;
use std::fmt;

use crate::batch::control::TxnOutcome;
use crate::batch::{BatchHeader, NO_SEQUENCE, Offset, ProducerId};
use crate::index::AbortedTxn;

pub mod entry;
mod full;
pub mod marker;
pub mod snapshot;
mod tail;

pub use entry::{BATCHES_KEPT, BatchSpan, NO_EPOCH, ProducerEntry};
pub use marker::EndMarker;
pub use snapshot::SnapshotError;

/// `producer.id.expiration.ms`: how long an idle producer is remembered.
pub const EXPIRATION_MS_DEFAULT: i64 = 24 * 60 * 60 * 1000;

/// What becomes of a batch that its producer may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the next one: append it.
    New,
    /// It is one of the last five: answer with where it was stored, once that is durable.
    Duplicate {
        base_offset: Offset,
        last_offset: Offset,
        /// The largest timestamp of the original, in milliseconds.
        timestamp_ms: i64,
    },
}

/// Why a batch is refused, or cannot be replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProducerError {
    /// A later epoch of the producer has written: this one is a zombie.
    InvalidEpoch { producer_id: ProducerId, epoch: i16, current_epoch: i16 },
    /// The batch does not continue the sequence, of which `last_sequence` came last (−1: none in this epoch).
    OutOfOrderSequence { producer_id: ProducerId, sequence: i32, last_sequence: i32 },
    /// A batch that begins a transaction of which the coordinator was not asked.
    Unverified { producer_id: ProducerId },
    /// A batch without transaction from a producer that has one open.
    InvalidTxnState { producer_id: ProducerId },
    /// A marker of a coordinator that another one has followed.
    CoordinatorFenced { producer_id: ProducerId, coordinator_epoch: i32, current_epoch: i32 },
    /// A control batch in the log that holds no end of a transaction.
    Marker { producer_id: ProducerId, offset: Offset },
}

impl ProducerError {
    /// Kafka's error code for it.
    #[must_use]
    pub const fn code(&self) -> i16 {
        match self {
            ProducerError::InvalidEpoch { .. } => 47,
            ProducerError::OutOfOrderSequence { .. } => 45,
            ProducerError::Unverified { .. } | ProducerError::InvalidTxnState { .. } => 48,
            ProducerError::CoordinatorFenced { .. } => 52,
            ProducerError::Marker { .. } => 2,
        }
    }
}

impl fmt::Display for ProducerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProducerError::InvalidEpoch { producer_id, epoch, current_epoch } => {
                write!(
                    f,
                    "epoch {epoch} of producer {producer_id} is older than {current_epoch}, which has written since"
                )
            }
            ProducerError::OutOfOrderSequence { producer_id, sequence, last_sequence } => {
                write!(
                    f,
                    "sequence {sequence} of producer {producer_id} does not follow {last_sequence}, its last one"
                )
            }
            ProducerError::Unverified { .. } => f.write_str("Record was not part of an ongoing transaction"),
            ProducerError::InvalidTxnState { producer_id } => {
                write!(f, "producer {producer_id} has a transaction open, and the batch is not part of it")
            }
            ProducerError::CoordinatorFenced { producer_id, coordinator_epoch, current_epoch } => {
                write!(
                    f,
                    "coordinator epoch {coordinator_epoch} is older than {current_epoch}, which ended a transaction of \
                     producer {producer_id} before"
                )
            }
            ProducerError::Marker { producer_id, offset } => {
                write!(
                    f,
                    "the control batch of producer {producer_id} at offset {offset} ends no transaction"
                )
            }
        }
    }
}

impl std::error::Error for ProducerError {}

/// A transaction that a marker has decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompletedTransaction {
    pub producer_id: ProducerId,
    /// Offset of its first record in this partition.
    pub first_offset: Offset,
    /// Offset of the marker.
    pub last_offset: Offset,
    pub outcome: TxnOutcome,
    /// Where the next open transaction begins, or the offset after the marker: what the transaction index keeps of an abort.
    pub last_stable_offset: Offset,
}

impl CompletedTransaction {
    /// What the transaction index keeps of it, unless it was committed.
    #[must_use]
    pub const fn aborted(&self) -> Option<AbortedTxn> {
        match self.outcome {
            TxnOutcome::Commit => None,
            TxnOutcome::Abort => Some(AbortedTxn {
                producer_id: self.producer_id,
                first_offset: self.first_offset,
                last_offset: self.last_offset,
                last_stable_offset: self.last_stable_offset,
            }),
        }
    }
}

/// Which rules a transaction's coordinator follows (`transaction.version`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionVersion {
    /// 0 and 1: a marker has the epoch of the records that it ends.
    Classic,
    /// 2 (KIP-890): the epoch grows with each end of a transaction, so that a late marker is told from one that is due.
    EpochBump,
}

/// A decided transaction that waits for the high watermark; the key in its map is the first offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Decided {
    marker_offset: Offset,
}

/// The producers of one partition.
///
/// Invariant: a producer's entry has a transaction open from an offset if, and only if, `open` has that offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    /// Open transactions by first offset.
    open: BTreeMap<Offset, ProducerId>,
    /// Decided transactions by first offset, until their marker is below the high watermark.
    decided: BTreeMap<Offset, Decided>,
    expiration_ms: i64,
}

impl Default for ProducerState {
    fn default() -> ProducerState {
        ProducerState::new(EXPIRATION_MS_DEFAULT)
    }
}

impl ProducerState {
    /// No producers. `expiration_ms` is `producer.id.expiration.ms`.
    #[must_use]
    pub const fn new(expiration_ms: i64) -> ProducerState {
        ProducerState {
            producers: BTreeMap::new(),
            open: BTreeMap::new(),
            decided: BTreeMap::new(),
            expiration_ms,
        }
    }

    /// The state that a snapshot file holds, without the producers that are expired at `now_ms`.
    ///
    /// # Errors
    /// [`SnapshotError`]: use an earlier snapshot, or none, and replay from there.
    pub fn from_snapshot(
        bytes: &[u8],
        now_ms: i64,
        expiration_ms: i64,
    ) -> Result<ProducerState, SnapshotError> {
        Ok(ProducerState::of(snapshot::decode(bytes)?, now_ms, expiration_ms))
    }

    /// The state that [`encode_full`](Self::encode_full) gave, without the producers that are expired at `now_ms`; `None` when the
    /// bytes are none that it gives.
    #[must_use]
    pub fn from_full(bytes: &[u8], now_ms: i64, expiration_ms: i64) -> Option<ProducerState> {
        Some(ProducerState::of(full::decode(bytes)?, now_ms, expiration_ms))
    }

    /// All that is remembered, for [`from_full`](Self::from_full): the decided transactions excepted, which the high watermark has
    /// passed by then.
    #[must_use]
    pub fn encode_full(&self) -> Vec<u8> {
        full::encode(&self.producers)
    }

    fn of(producers: BTreeMap<ProducerId, ProducerEntry>, now_ms: i64, expiration_ms: i64) -> ProducerState {
        let mut state = ProducerState::from_entries(producers, expiration_ms);
        state.expire(now_ms);
        state
    }

    /// The bytes of a snapshot file; its name tells the offset up to which the state has been applied.
    #[must_use]
    pub fn encode_snapshot(&self) -> Vec<u8> {
        snapshot::encode(&self.producers)
    }

    /// Judges a data batch by its header, as it came: offset and timestamps do not matter. One without a sequence, which no client may
    /// send, is a coordinator's: it stands outside the producer's sequence.
    ///
    /// As in Kafka, a producer that the partition knows nothing of (any more) may go on with any sequence.
    ///
    /// # Errors
    /// [`ProducerError`] with the code that the client gets. A batch without producer is always new.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, ProducerError> {
        let Some(entry) = self.producers.get(&header.producer_id) else { return Ok(Verdict::New) };
        let original = (header.base_sequence != NO_SEQUENCE).then(|| entry.original_of(header)).flatten();
        if let Some(original) = original {
            return Ok(Verdict::Duplicate {
                base_offset: original.first_offset(),
                last_offset: original.last_offset,
                timestamp_ms: original.timestamp_ms,
            });
        }
        entry.check_epoch(header)?;
        if header.base_sequence != NO_SEQUENCE {
            entry.check_sequence(header)?;
        }
        entry.check_transaction(header)?;
        Ok(Verdict::New)
    }

    /// Remembers a data batch that [`check`](Self::check) found new and that is now in the log at `base_offset`; the timestamps
    /// of `header` are those that were stored.
    pub fn apply(&mut self, header: &BatchHeader, base_offset: Offset) {
        if !header.producer_id.is_some() {
            return;
        }
        let entry = self.producers.entry(header.producer_id).or_default();
        entry.push(header, base_offset);
        if header.is_transactional() && entry.open_from.is_none() {
            entry.open_from = Some(base_offset);
            self.open.insert(base_offset, header.producer_id);
        }
    }

    /// Remembers a batch that is in the log already, data or control: at recovery, and as a follower. `batch` begins with
    /// `header`. Sequences and epochs are not checked again, the leader has done so.
    ///
    /// Returns the transaction that the batch ended.
    ///
    /// # Errors
    /// [`ProducerError::InvalidTxnState`] and [`ProducerError::Marker`]: no leader writes such a batch. The state is unchanged.
    pub fn replay(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
    ) -> Result<Option<CompletedTransaction>, ProducerError> {
        if !header.producer_id.is_some() {
            return Ok(None);
        }
        if header.is_control() {
            let Some(marker) = EndMarker::of_batch(header, batch)? else { return Ok(None) };
            return Ok(self.end_transaction(header, &marker));
        }
        if let Some(entry) = self.producers.get(&header.producer_id) {
            entry.check_transaction(header)?;
        }
        self.apply(header, header.base_offset);
        Ok(None)
    }

    /// Judges the end of a transaction, which its coordinator decides on. Under version 2 a marker that comes again after its
    /// transaction has ended is let through: its coordinator may not know that it was written (KAFKA-19999).
    ///
    /// # Errors
    /// [`ProducerError::InvalidEpoch`] and [`ProducerError::CoordinatorFenced`].
    pub fn check_marker(
        &self,
        producer_id: ProducerId,
        epoch: i16,
        coordinator_epoch: i32,
        version: TransactionVersion,
    ) -> Result<(), ProducerError> {
        let Some(entry) = self.producers.get(&producer_id) else { return Ok(()) };
        let is_due = match version {
            TransactionVersion::Classic => epoch >= entry.epoch,
            TransactionVersion::EpochBump => {
                epoch > entry.epoch || (epoch == entry.epoch && entry.open_from.is_none())
            }
        };
        if !is_due {
            return Err(ProducerError::InvalidEpoch { producer_id, epoch, current_epoch: entry.epoch });
        }
        if coordinator_epoch < entry.coordinator_epoch {
            let current_epoch = entry.coordinator_epoch;
            return Err(ProducerError::CoordinatorFenced { producer_id, coordinator_epoch, current_epoch });
        }
        Ok(())
    }

    /// Remembers the end of a transaction whose control batch, with `header`, is in the log. Returns the transaction, if the producer had
    /// one open here.
    pub fn end_transaction(
        &mut self,
        header: &BatchHeader,
        marker: &EndMarker,
    ) -> Option<CompletedTransaction> {
        let entry = self.producers.entry(header.producer_id).or_default();
        let first_offset = entry.end_transaction(header.producer_epoch, marker)?;
        self.open.remove(&first_offset);
        let marker_offset = header.base_offset;
        self.decided.insert(first_offset, Decided { marker_offset });
        Some(CompletedTransaction {
            producer_id: header.producer_id,
            first_offset,
            last_offset: marker_offset,
            outcome: marker.outcome,
            last_stable_offset: self.first_open_offset().unwrap_or(marker_offset.next()),
        })
    }

    /// The first offset whose outcome is not known to all: of an open transaction, or of one whose marker the high watermark has
    /// not passed. Nothing at or beyond it is for read_committed consumers.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let decided = self.decided.keys().next().copied();
        match (self.first_open_offset(), decided) {
            (Some(open), Some(decided)) => Some(open.min(decided)),
            (open, decided) => open.or(decided),
        }
    }

    /// Whether the producer has a transaction open in this epoch of its.
    #[must_use]
    pub fn is_open(&self, producer_id: ProducerId, epoch: i16) -> bool {
        let entry = self.producers.get(&producer_id);
        entry.is_some_and(|entry| entry.open_from.is_some() && entry.epoch == epoch)
    }

    /// Where the earliest open transaction begins.
    #[must_use]
    pub fn first_open_offset(&self) -> Option<Offset> {
        self.open.keys().next().copied()
    }

    /// Forgets decided transactions whose marker is below the high watermark, which is now `high_watermark`.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.decided.retain(|_, decided| decided.marker_offset >= high_watermark);
    }

    /// Forgets decided transactions whose marker is below the log's start, which is now `log_start`. Producers stay, as in Kafka:
    /// they outlive their records until they expire.
    pub fn on_log_start(&mut self, log_start: Offset) {
        self.on_high_watermark(log_start);
    }

    /// Forgets producers that have been idle for `producer.id.expiration.ms` and have no transaction open. Idle time counts
    /// from the largest timestamp of the last batch. Returns how many they were.
    pub fn expire(&mut self, now_ms: i64) -> usize {
        let before = self.producers.len();
        let expiration_ms = self.expiration_ms;
        self.producers.retain(|_, entry| !entry.is_expired(now_ms, expiration_ms));
        before - self.producers.len()
    }

    /// Changes `producer.id.expiration.ms`.
    pub const fn set_expiration_ms(&mut self, expiration_ms: i64) {
        self.expiration_ms = expiration_ms;
    }

    /// `producer.id.expiration.ms`
    #[must_use]
    pub const fn expiration_ms(&self) -> i64 {
        self.expiration_ms
    }

    /// Forgets everything: before a replay from the log's start.
    pub fn clear(&mut self) {
        *self = ProducerState::new(self.expiration_ms);
    }

    /// What is known of a producer.
    #[must_use]
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, entry))
    }

    /// The number of producers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }
}

#[cfg(test)]
mod tests;
