//! What a partition remembers of its idempotent and transactional producers, so that a batch sent twice is stored once and a
//! stale producer stores nothing (KIP-98, KIP-360). Pure state: no IO, no clock, and no knowledge of logs and requests.
//!
//! A live append asks [`check`](ProducerState::check), writes, then calls [`apply`](ProducerState::apply); recovery and followers
//! call [`replay`](ProducerState::replay), which believes what is already in the log. Both change the state through one path.
//! Rules: Kafka's `ProducerStateManager`, `ProducerAppendInfo` and `ProducerStateEntry`; files: [`snapshot`], as Kafka's, and `full`, for
//! the checkpoint.
//!
//! ```text
//!  open transactions (a record, no marker)  ──marker──▶  decided (marker above the high watermark)  ──high watermark──▶  stable
//!  the first offset of all that are not stable bounds what read_committed consumers see
//! ```

use std::collections::BTreeMap;
use std::fmt;

use crate::batch::{BatchHeader, NO_SEQUENCE, Offset, ProducerId};

pub mod entry;
mod full;
pub mod marker;
pub mod snapshot;
mod tail;

pub use entry::{BATCHES_KEPT, BatchSpan, NO_EPOCH, ProducerEntry};
pub use marker::{EndMarker, Outcome};
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
    /// A batch without transaction from a producer that has one open.
    InvalidTxnState { producer_id: ProducerId },
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
            ProducerError::InvalidTxnState { .. } => 48,
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
            ProducerError::InvalidTxnState { producer_id } => {
                write!(f, "producer {producer_id} has a transaction open, and the batch is not part of it")
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
    pub outcome: Outcome,
    /// Where the next open transaction begins, or the offset after the marker: what the transaction index keeps of an abort.
    pub last_stable_offset: Offset,
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

    /// Judges a data batch of a client by its header, as it came: offset and timestamps do not matter.
    ///
    /// As in Kafka, a producer that the partition knows nothing of (any more) may go on with any sequence.
    ///
    /// # Errors
    /// [`ProducerError`] with the code that the client gets. A batch without producer is always new.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, ProducerError> {
        let Some(entry) = self.producers.get(&header.producer_id) else { return Ok(Verdict::New) };
        if let Some(original) = entry.original_of(header) {
            return Ok(Verdict::Duplicate {
                base_offset: original.first_offset(),
                last_offset: original.last_offset,
                timestamp_ms: original.timestamp_ms,
            });
        }
        entry.check_epoch(header)?;
        entry.check_sequence(header)?;
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

    fn end_transaction(&mut self, header: &BatchHeader, marker: &EndMarker) -> Option<CompletedTransaction> {
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
