//! Keeping a partition of `__share_group_state` small, whose records no compaction removes: states that rarely change get a new snapshot,
//! and what lies before the oldest snapshot in use is deleted.
//!
//! After Kafka's `ShareCoordinatorOffsetsManager` and `snapshotColdPartitions`.

use super::{ShareStateOrder, ShareStates};
use crate::coordinator::records::share_state::{SharePartitionKey, ShareStateRecord};
use crate::coordinator::{EffectsOf, Moment};
use hayate_storage::batch::Offset;
use uuid::Uuid;

impl ShareStates {
    pub(super) fn keep_small(&mut self, moment: &Moment, effects: &mut EffectsOf<ShareStates>) {
        if self.next_cold.is_some_and(|due| due <= moment.now) {
            self.next_cold = Some(moment.now + self.config.cold_interval);
            self.snapshot_cold(moment, effects);
        }
        if self.next_prune.is_some_and(|due| due <= moment.now) {
            self.next_prune = Some(moment.now + self.config.prune_interval);
            self.prune(moment, effects);
        }
    }

    /// What has not been written as a whole for an interval is, if newer records could go without it.
    fn snapshot_cold(&mut self, moment: &Moment, effects: &mut EffectsOf<ShareStates>) {
        let span_ms = i64::try_from(self.config.cold_interval.as_millis()).unwrap_or(i64::MAX);
        let newest = self.held.values().map(|held| held.at).max();
        let is_cold = |key: &SharePartitionKey| {
            let held = &self.held[key];
            let old = held.value.write_timestamp_ms.saturating_add(span_ms) <= moment.wall_ms;
            old && (held.updates > 0 || Some(held.at) < newest)
        };
        let cold: Vec<SharePartitionKey> = self.held.keys().filter(|key| is_cold(key)).cloned().collect();
        for key in cold {
            let Some(held) = self.held.get(&key) else { continue };
            let mut value = held.value.clone();
            value.snapshot_epoch = value.snapshot_epoch.saturating_add(1);
            value.write_timestamp_ms = moment.wall_ms;
            self.write(moment, ShareStateRecord::ShareSnapshot(key, Some(value)), effects);
        }
    }

    fn prune(&mut self, moment: &Moment, effects: &mut EffectsOf<ShareStates>) {
        let written = i64::try_from(effects.written()).unwrap_or(i64::MAX);
        let end = Offset(moment.log_end.0.saturating_add(written));
        let oldest = self.held.values().map(|held| held.at).min().unwrap_or(end);
        if oldest > self.pruned {
            self.pruned = oldest;
            effects.orders.push(ShareStateOrder::Prune(oldest));
        }
    }

    /// Topics were deleted: so are the states of their partitions.
    pub fn topics_deleted(
        &mut self,
        moment: &Moment,
        topics: &[(String, Uuid)],
        effects: &mut EffectsOf<ShareStates>,
    ) {
        let is_gone = |key: &&SharePartitionKey| topics.iter().any(|(_, id)| *id == key.topic_id);
        let gone: Vec<SharePartitionKey> = self.held.keys().filter(is_gone).cloned().collect();
        gone.into_iter().for_each(|key| _ = self.delete(moment, key, effects));
    }
}
