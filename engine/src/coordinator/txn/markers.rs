//! The markers by which a transaction ends in its partitions: ordered when its outcome is written, again when they could not
//! be written, and when all are, the transaction is complete.
//!
//! It knows partitions by name; who leads them, and what a marker does there, is others' business. A partition that is deleted
//! needs none. After `TransactionMarkerChannelManager`.

use super::add::is_there;
use super::entry::{EPOCH_BUMPING, Entry, Partitions};
use super::{Moment, Transactions, TxnEffects};
use hayate_rt::MonoTime;
use hayate_storage::batch::control::TxnOutcome;
use hayate_storage::batch::{Offset, ProducerId};
use hayate_storage::producers::TransactionVersion;
use std::time::Duration;

/// Pause before markers that could not be written are ordered again: Kafka's `retry.backoff.ms` between brokers.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Markers that are to be written, in any order, each to be reported with [`Transactions::markers_written`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerOrder {
    /// Whose transaction.
    pub transactional_id: String,
    /// Names the transaction among all of the transactional id: where the record stands that decided it.
    pub decided_at: Offset,
    /// The producer.
    pub producer_id: ProducerId,
    /// The epoch that the markers carry: that of the transaction, or the one above when the end bumps it.
    pub producer_epoch: i16,
    /// The epoch of the coordinator, which markers carry too.
    pub coordinator_epoch: i32,
    /// How it ends.
    pub outcome: TxnOutcome,
    /// The transaction protocol that it ends by.
    pub version: TransactionVersion,
    /// Where it ends.
    pub partitions: Partitions,
}

/// What became of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerResult {
    /// It is written and safe, by this order or by one before.
    Written,
    /// It may have been written or not: it is ordered again, unless its partition is gone by then.
    Again,
    /// The partition knows a later coordinator (`TRANSACTION_COORDINATOR_FENCED`, `INVALID_PRODUCER_EPOCH`): this one has
    /// no say any more, and leaves the transaction to it.
    Fenced,
}

/// The markers of one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markers {
    /// Not written yet.
    pending: Partitions,
    /// Those of them that are to be ordered again.
    failed: Partitions,
    /// When that is.
    again_at: Option<MonoTime>,
}

impl Markers {
    /// When some are to be ordered again.
    pub fn again_at(&self) -> Option<MonoTime> {
        self.again_at
    }

    /// Those that are not written yet.
    pub fn pending(&self) -> &Partitions {
        &self.pending
    }
}

fn remove(partitions: &mut Partitions, topic: &str, partition: i32) {
    let Some(numbers) = partitions.get_mut(topic) else { return };
    numbers.remove(&partition);
    if numbers.is_empty() {
        partitions.remove(topic);
    }
}

impl Transactions {
    /// Orders all markers of a transaction that prepares to end.
    pub(super) fn order_all_markers(&mut self, moment: &Moment, id: &str, effects: &mut TxnEffects) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let pending = entry.value.partitions.clone();
        entry.markers = Some(Box::new(Markers { pending: pending.clone(), ..Markers::default() }));
        self.order_markers(moment, id, pending, effects);
    }

    fn order_markers(
        &mut self,
        moment: &Moment,
        id: &str,
        mut partitions: Partitions,
        effects: &mut TxnEffects,
    ) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (Some(outcome), Some(markers)) = (entry.preparing(), &mut entry.markers) else { return };
        partitions.retain(|topic, numbers| {
            numbers.retain(|number| {
                let is_there = is_there(&moment.image, topic, *number);
                if !is_there {
                    remove(&mut markers.pending, topic, *number);
                }
                is_there
            });
            !numbers.is_empty()
        });
        if !partitions.is_empty() {
            effects.orders.push(order(id, entry, outcome, self.coordinator_epoch, partitions));
        }
        self.complete_if_written(moment, id, effects);
    }

    fn complete_if_written(&mut self, moment: &Moment, id: &str, effects: &mut TxnEffects) {
        let Some(entry) = self.entries.get(id) else { return };
        let (Some(outcome), Some(markers)) = (entry.preparing(), &entry.markers) else { return };
        if markers.pending.is_empty() {
            let step = entry.completed(outcome, moment.wall_ms);
            self.write(moment, id, step, effects);
        }
    }

    /// What became of markers that were ordered: each partition of the order is to be reported once, alone or with others. A
    /// report on a transaction that is complete changes nothing.
    pub fn markers_written<'a>(
        &mut self,
        moment: &Moment,
        transactional_id: &str,
        decided_at: Offset,
        results: impl IntoIterator<Item = (&'a str, i32, MarkerResult)>,
        effects: &mut TxnEffects,
    ) {
        let Some(entry) = self.entries.get_mut(transactional_id) else { return };
        let Some(markers) = entry.markers.as_mut().filter(|_| entry.offset == decided_at) else { return };
        for (topic, partition, result) in results {
            match result {
                MarkerResult::Written => remove(&mut markers.pending, topic, partition),
                MarkerResult::Again => markers.fail(topic, partition),
                MarkerResult::Fenced => {}
            }
        }
        if !markers.failed.is_empty() && markers.again_at.is_none() {
            let at = moment.now + RETRY_PAUSE;
            markers.again_at = Some(at);
            self.retries.insert((at, transactional_id.to_owned()));
        }
        self.complete_if_written(moment, transactional_id, effects);
        self.arm(moment.now);
    }

    /// Orders again what could not be written.
    pub(super) fn order_failed_markers(&mut self, moment: &Moment, effects: &mut TxnEffects) {
        while self.retries.first().is_some_and(|(at, _)| *at <= moment.now) {
            let Some((_, id)) = self.retries.pop_first() else { return };
            let markers = self.entries.get_mut(&id).and_then(|entry| entry.markers.as_mut());
            let failed = markers.map(|markers| {
                markers.again_at = None;
                std::mem::take(&mut markers.failed)
            });
            self.order_markers(moment, &id, failed.unwrap_or_default(), effects);
        }
    }
}

impl Markers {
    fn fail(&mut self, topic: &str, partition: i32) {
        if self.pending.get(topic).is_some_and(|numbers| numbers.contains(&partition)) {
            self.failed.entry(topic.to_owned()).or_default().insert(partition);
        }
    }
}

fn order(
    id: &str,
    entry: &Entry,
    outcome: TxnOutcome,
    coordinator_epoch: i32,
    partitions: Partitions,
) -> MarkerOrder {
    MarkerOrder {
        transactional_id: id.to_owned(),
        decided_at: entry.offset,
        producer_id: entry.value.producer_id,
        producer_epoch: entry.value.producer_epoch,
        coordinator_epoch,
        outcome,
        version: if entry.value.client_transaction_version >= EPOCH_BUMPING {
            TransactionVersion::EpochBump
        } else {
            TransactionVersion::Classic
        },
        partitions,
    }
}
