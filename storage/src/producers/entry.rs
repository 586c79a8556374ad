//! One producer of one partition: its epoch, its last five batches, its open transaction. Rules: Kafka's `ProducerStateEntry` and
//! `ProducerAppendInfo`. Knows nothing of other producers.

use super::{EndMarker, NO_SEQUENCE, ProducerError};
use crate::batch::{BatchHeader, NO_TIMESTAMP_MS, Offset};

/// Batches that are remembered a producer: as many as an idempotent client may have in flight.
pub const BATCHES_KEPT: usize = 5;

/// The epoch of a producer that has not written.
pub const NO_EPOCH: i16 = -1;

/// Where a batch lies in its producer's sequence and in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchSpan {
    pub last_sequence: i32,
    pub last_offset: Offset,
    /// Records in the batch, less one: from the first to the last sequence, and offset.
    pub offset_delta: i32,
    /// The largest timestamp of the batch, in milliseconds.
    pub timestamp_ms: i64,
}

impl BatchSpan {
    const NONE: BatchSpan = BatchSpan {
        last_sequence: NO_SEQUENCE,
        last_offset: Offset::NONE,
        offset_delta: 0,
        timestamp_ms: NO_TIMESTAMP_MS,
    };

    /// The sequence of the first record; wraps from 0 back to `i32::MAX`.
    #[must_use]
    pub const fn first_sequence(&self) -> i32 {
        ((self.last_sequence as i64 - self.offset_delta as i64) & i32::MAX as i64) as i32
    }

    /// The offset of the first record.
    #[must_use]
    pub const fn first_offset(&self) -> Offset {
        self.last_offset.plus(-(self.offset_delta as i64))
    }
}

/// What is remembered of one producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    /// [`NO_EPOCH`] before the first batch.
    pub epoch: i16,
    /// The epoch of the coordinator that wrote the last marker; −1 before the first.
    pub coordinator_epoch: i32,
    /// The largest timestamp of the last batch, or the marker's, in milliseconds.
    pub last_timestamp_ms: i64,
    /// Where the open transaction begins.
    pub open_from: Option<Offset>,
    /// The last batches of this epoch, oldest first, in `batches[..kept]`.
    batches: [BatchSpan; BATCHES_KEPT],
    kept: usize,
}

impl Default for ProducerEntry {
    fn default() -> ProducerEntry {
        ProducerEntry::new(NO_EPOCH, -1, NO_TIMESTAMP_MS, None)
    }
}

impl ProducerEntry {
    /// A producer of whose batches none is remembered.
    pub(super) const fn new(
        epoch: i16,
        coordinator_epoch: i32,
        last_timestamp_ms: i64,
        open_from: Option<Offset>,
    ) -> ProducerEntry {
        let batches = [BatchSpan::NONE; BATCHES_KEPT];
        ProducerEntry { epoch, coordinator_epoch, last_timestamp_ms, open_from, batches, kept: 0 }
    }

    /// The last batches of this epoch, oldest first.
    #[must_use]
    pub fn batches(&self) -> &[BatchSpan] {
        &self.batches[..self.kept]
    }

    /// The last batch of this epoch.
    #[must_use]
    pub fn last_batch(&self) -> Option<&BatchSpan> {
        self.batches().last()
    }

    /// The sequence of the last record; −1 when none of this epoch is remembered.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// The remembered batch with the epoch and exactly the sequences of this one.
    pub(super) fn original_of(&self, header: &BatchHeader) -> Option<&BatchSpan> {
        let same = |batch: &&BatchSpan| {
            batch.first_sequence() == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        (header.producer_epoch == self.epoch).then(|| self.batches().iter().find(same)).flatten()
    }

    pub(super) const fn check_epoch(&self, header: &BatchHeader) -> Result<(), ProducerError> {
        if header.producer_epoch < self.epoch {
            return Err(ProducerError::InvalidEpoch {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                current_epoch: self.epoch,
            });
        }
        Ok(())
    }

    /// A new epoch begins with 0, a known one goes on; behind `i32::MAX` comes 0.
    pub(super) fn check_sequence(&self, header: &BatchHeader) -> Result<(), ProducerError> {
        let last_sequence =
            if header.producer_epoch == self.epoch { self.last_sequence() } else { NO_SEQUENCE };
        let wraps = last_sequence == i32::MAX && header.base_sequence == 0;
        let follows = i64::from(header.base_sequence) == i64::from(last_sequence) + 1;
        if follows || wraps || self.epoch == NO_EPOCH {
            return Ok(());
        }
        Err(ProducerError::OutOfOrderSequence {
            producer_id: header.producer_id,
            sequence: header.base_sequence,
            last_sequence,
        })
    }

    pub(super) const fn check_transaction(&self, header: &BatchHeader) -> Result<(), ProducerError> {
        if self.open_from.is_some() && !header.is_transactional() {
            return Err(ProducerError::InvalidTxnState { producer_id: header.producer_id });
        }
        Ok(())
    }

    pub(super) fn push(&mut self, header: &BatchHeader, base_offset: Offset) {
        self.set_epoch(header.producer_epoch);
        self.remember(BatchSpan {
            last_sequence: header.last_sequence(),
            last_offset: base_offset.plus(i64::from(header.last_offset_delta)),
            offset_delta: header.last_offset_delta,
            timestamp_ms: header.max_timestamp_ms,
        });
        self.last_timestamp_ms = header.max_timestamp_ms;
    }

    /// Takes note of a marker; returns where the transaction that it ends began.
    pub(super) fn end_transaction(&mut self, epoch: i16, marker: &EndMarker) -> Option<Offset> {
        self.set_epoch(epoch);
        self.coordinator_epoch = marker.coordinator_epoch;
        self.last_timestamp_ms = marker.timestamp_ms;
        self.open_from.take()
    }

    /// Batches of another epoch count for nothing: their sequences have nothing to do with this one's.
    fn set_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.kept = 0;
            self.batches = [BatchSpan::NONE; BATCHES_KEPT];
        }
    }

    pub(super) fn remember(&mut self, batch: BatchSpan) {
        if self.kept == BATCHES_KEPT {
            self.batches.rotate_left(1);
            self.kept -= 1;
        }
        self.batches[self.kept] = batch;
        self.kept += 1;
    }

    /// Where the first of the batches from `floor` on begins, if they are several.
    pub(super) fn several_from(&self, floor: Offset) -> Option<Offset> {
        let mut from = self.batches().iter().map(BatchSpan::first_offset).filter(|first| *first >= floor);
        let first = from.next()?;
        from.next().map(|_| first)
    }

    /// Without the batches that begin at `at` or behind it; `None` when nothing is left that they do not tell themselves.
    pub(super) fn as_of(&self, at: Offset) -> Option<ProducerEntry> {
        let before = self.batches().iter().filter(|batch| batch.first_offset() < at);
        let open_from = self.open_from.filter(|from| *from < at);
        let last = before.clone().next_back();
        if last.is_none() && open_from.is_none() && self.kept > 0 {
            return None;
        }
        let timestamp_ms = last.map_or(self.last_timestamp_ms, |batch| batch.timestamp_ms);
        let mut entry = ProducerEntry::new(self.epoch, self.coordinator_epoch, timestamp_ms, open_from);
        before.for_each(|batch| entry.remember(*batch));
        Some(entry)
    }

    /// Takes the batches of `seen` in place of its own, if it ends with the same one.
    pub(super) fn recall(&mut self, seen: &ProducerEntry) {
        let is_same = self.epoch == seen.epoch && self.last_batch() == seen.last_batch();
        if is_same && seen.kept > self.kept {
            (self.batches, self.kept) = (seen.batches, seen.kept);
        }
    }

    /// Whether its last batch begins at `floor` or behind it, and there may be more before it than are remembered.
    pub(super) fn lacks_from(&self, floor: Offset) -> bool {
        let [first, ..] = self.batches() else { return false };
        self.kept < BATCHES_KEPT && first.first_sequence() != 0 && first.first_offset() > floor
    }

    pub(super) const fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.open_from.is_none() && now_ms.saturating_sub(self.last_timestamp_ms) >= expiration_ms
    }
}
