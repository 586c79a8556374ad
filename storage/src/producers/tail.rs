//! What Kafka's snapshots lack, and the end of the log has: a producer's last batches but one.
//!
//! A snapshot holds the last batch of each producer, so that a client with five in flight, which may send all of them again, is known by
//! one. The others are learnt by looking through the end of the log again: by us when a folder of Kafka's is taken over, by Kafka when
//! ours is left to it with a snapshot of before those batches. Pure: which offsets, and what there is at them.

use super::{ProducerState, entry::ProducerEntry};
use crate::batch::{Offset, ProducerId};
use std::collections::BTreeMap;

impl ProducerState {
    /// From where a reader of the log has to begin so that it sees the remembered batches that begin at `floor` or behind it; `None` when
    /// a snapshot of the end says as much.
    #[must_use]
    pub fn replay_from(&self, floor: Offset) -> Option<Offset> {
        self.producers.values().filter_map(|entry| entry.several_from(floor)).min()
    }

    /// The state before the batches that begin at `at` or behind it, for a reader that goes on from there: it lacks producers of which
    /// all that is remembered lies there.
    #[must_use]
    pub fn as_of(&self, at: Offset) -> ProducerState {
        let before = self.producers.iter().filter_map(|(id, entry)| Some((*id, entry.as_of(at)?)));
        ProducerState::from_entries(before.collect(), self.expiration_ms)
    }

    /// Adds the batches that `tail`, the state of a reader that began somewhere before the end, has of the producers here.
    pub fn recall(&mut self, tail: &ProducerState) {
        for (id, entry) in &mut self.producers {
            if let Some(seen) = tail.producers.get(id) {
                entry.recall(seen);
            }
        }
    }

    /// Whether a reader that begins at `floor` may learn more batches than are remembered.
    #[must_use]
    pub fn lacks_from(&self, floor: Offset) -> bool {
        self.producers.values().any(|entry| entry.lacks_from(floor))
    }

    pub(super) fn from_entries(
        producers: BTreeMap<ProducerId, ProducerEntry>,
        expiration_ms: i64,
    ) -> ProducerState {
        let open = producers.iter().filter_map(|(id, entry)| Some((entry.open_from?, *id))).collect();
        ProducerState { producers, open, ..ProducerState::new(expiration_ms) }
    }
}
