//! The share coordinator of one partition of `__share_group_state`: how far share groups are in partitions (KIP-932).
//!
//! Pure, a [`Machine`]. Who leads a partition writes here what the group's members have settled, and reads it when it begins; a leader
//! of an older epoch, or one that knows an older setup of the state, is fenced. A state is a snapshot and the updates since; so many
//! updates make the next snapshot. The topic is not compacted: what lies before the oldest snapshot in use is deleted. After
//! `ShareCoordinatorShard` of Apache Kafka 4.2.

pub mod batches;
mod prune;
#[cfg(test)]
mod tests;

use super::records::share_state::{
    SharePartitionKey, ShareSnapshotValue, ShareStateRecord, ShareUpdateValue, StateBatch,
};
use super::{BadRecord, EffectsOf, Encoded, Machine, Moment, Replayed, Token};
use batches::combine;
use hayate_net::error::ErrorCode;
use hayate_rt::MonoTime;
use hayate_storage::batch::{Offset, ProducerId};
use std::collections::BTreeMap;
use std::time::Duration;

/// No offset: not told, or not settled yet where a group begins.
pub const NO_OFFSET: i64 = -1;

/// The key by which a partition's coordinator is found: `group:topicId:partition`, the id as Kafka writes it.
pub fn coordinator_key(key: &SharePartitionKey) -> String {
    format!("{}:{}:{}", key.group, kafka_id(key.topic_id), key.partition)
}

/// An id as Kafka writes it: URL-safe base64 without padding.
fn kafka_id(id: uuid::Uuid) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = id.as_u128();
    let digit = |place: u32| {
        // 22 digits of six bits: the last one holds two.
        let bits = if place < 21 { number >> (128 - 6 * (place + 1)) } else { number << 4 };
        char::from(DIGITS[(bits & 63) as usize])
    };
    (0..22).map(digit).collect()
}

/// What the broker says about the states of share groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareStateConfig {
    /// `share.coordinator.snapshot.update.records.per.snapshot`
    pub updates_per_snapshot: usize,
    /// `share.coordinator.state.topic.prune.interval.ms`
    pub prune_interval: Duration,
    /// `share.coordinator.cold.partition.snapshot.interval.ms`
    pub cold_interval: Duration,
}

impl Default for ShareStateConfig {
    /// Kafka's defaults.
    fn default() -> ShareStateConfig {
        ShareStateConfig {
            updates_per_snapshot: 500,
            prune_interval: Duration::from_secs(300),
            cold_interval: Duration::from_secs(300),
        }
    }
}

/// What the coordinator of a share group's partition is asked.
#[derive(Clone, Debug)]
pub struct ShareStateRequest {
    /// Of which partition.
    pub key: SharePartitionKey,
    /// What.
    pub ask: Ask,
}

/// What is asked of a partition's state.
#[derive(Clone, Debug)]
pub enum Ask {
    /// To set it up, or set it up anew.
    Initialize {
        /// Grows when it is set up anew.
        state_epoch: i32,
        /// Where the group begins; −1: where its configuration says when the first member fetches.
        start_offset: i64,
    },
    /// For all of it, by who leads the partition in that epoch.
    Read {
        /// The epoch.
        leader_epoch: i32,
    },
    /// To change it.
    Write(Change),
    /// To forget it.
    Delete,
    /// How far the group is.
    Summary,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setup that the writer knows.
    pub state_epoch: i32,
    /// The epoch in which it leads.
    pub leader_epoch: i32,
    /// Below it everything has been dealt with; −1 if that did not change.
    pub start_offset: i64,
    /// From the start on, so many offsets need no delivery any more; −1 if not known.
    pub delivery_complete_count: i32,
    /// What is new of offsets.
    pub batches: Vec<StateBatch>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareStateAnswer {
    /// It is done.
    Done,
    /// The state. Nothing has been set up: the start offset is −1.
    State {
        /// The setup.
        state_epoch: i32,
        /// Below it everything has been dealt with.
        start_offset: i64,
        /// What is known of offsets from there on.
        batches: Vec<StateBatch>,
    },
    /// How far the group is.
    Summary {
        /// The setup.
        state_epoch: i32,
        /// The epoch of the leader that told it.
        leader_epoch: i32,
        /// Below it everything has been dealt with; −1: not known yet.
        start_offset: i64,
        /// From the start on, so many offsets need no delivery any more; −1 if not known.
        delivery_complete_count: i32,
    },
    /// It is refused, with Kafka's words where it has its own.
    Refused(ErrorCode, Option<&'static str>),
}

/// What the coordinator lets others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareStateOrder {
    /// Delete the records of its partition before this offset.
    Prune(Offset),
}

/// A state as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    value: ShareSnapshotValue,
    /// Updates since the snapshot.
    updates: usize,
    /// Where the snapshot stands.
    at: Offset,
}

/// The states of one partition of `__share_group_state`.
#[derive(Debug)]
pub struct ShareStates {
    config: ShareStateConfig,
    held: BTreeMap<SharePartitionKey, Held>,
    /// Before it, nothing is in use that was deleted or ordered to be.
    pruned: Offset,
    next_prune: Option<MonoTime>,
    next_cold: Option<MonoTime>,
}

const UNINITIALIZED_READ: &str = "Read operation on uninitialized share partition not allowed.";
const UNINITIALIZED_WRITE: &str = "Write operation on uninitialized share partition not allowed.";

impl ShareStates {
    /// None yet.
    pub fn new(config: ShareStateConfig) -> ShareStates {
        ShareStates { config, held: BTreeMap::new(), pruned: Offset(0), next_prune: None, next_cold: None }
    }

    /// How many partitions have state here.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn apply(&mut self, record: &ShareStateRecord, at: Offset) {
        match record {
            ShareStateRecord::ShareSnapshot(key, Some(value)) => {
                self.held.insert(key.clone(), Held { value: value.clone(), updates: 0, at });
            }
            ShareStateRecord::ShareSnapshot(key, None) => {
                self.held.remove(key);
            }
            ShareStateRecord::ShareUpdate(key, Some(value)) => {
                // An update of what has been deleted since says nothing.
                if let Some(held) = self.held.get_mut(key) {
                    held.value.merge(value);
                    held.updates += 1;
                }
            }
            ShareStateRecord::ShareUpdate(_, None) | ShareStateRecord::Unknown(_) => {}
        }
    }

    fn write(&mut self, moment: &Moment, record: ShareStateRecord, effects: &mut EffectsOf<ShareStates>) {
        let written = i64::try_from(effects.written()).unwrap_or(i64::MAX);
        self.apply(&record, Offset(moment.log_end.0.saturating_add(written)));
        effects.write(record);
    }

    fn initialize(
        &mut self,
        moment: &Moment,
        key: SharePartitionKey,
        state_epoch: i32,
        start_offset: i64,
        effects: &mut EffectsOf<ShareStates>,
    ) -> ShareStateAnswer {
        let held = self.held.get(&key);
        if held.is_some_and(|held| held.value.state_epoch > state_epoch) {
            return ShareStateAnswer::Refused(ErrorCode::FencedStateEpoch, None);
        }
        let value = ShareSnapshotValue {
            snapshot_epoch: held.map_or(0, |held| held.value.snapshot_epoch.saturating_add(1)),
            state_epoch,
            // Whoever led before is fenced no less than it was.
            leader_epoch: held.map_or(0, |held| held.value.leader_epoch),
            start_offset,
            create_timestamp_ms: moment.wall_ms,
            write_timestamp_ms: moment.wall_ms,
            state_batches: Vec::new(),
            delivery_complete_count: if start_offset == NO_OFFSET { -1 } else { 0 },
        };
        self.write(moment, ShareStateRecord::ShareSnapshot(key, Some(value)), effects);
        ShareStateAnswer::Done
    }

    /// A reader of a newer epoch fences those before it for good: its epoch is written.
    fn read(
        &mut self,
        moment: &Moment,
        key: SharePartitionKey,
        leader_epoch: i32,
        effects: &mut EffectsOf<ShareStates>,
    ) -> ShareStateAnswer {
        let Some(held) = self.held.get(&key) else {
            return ShareStateAnswer::Refused(ErrorCode::InvalidRequest, Some(UNINITIALIZED_READ));
        };
        if held.value.leader_epoch > leader_epoch {
            return ShareStateAnswer::Refused(ErrorCode::FencedLeaderEpoch, None);
        }
        let state = ShareStateAnswer::State {
            state_epoch: held.value.state_epoch,
            start_offset: held.value.start_offset,
            batches: held.value.state_batches.clone(),
        };
        if held.value.leader_epoch < leader_epoch {
            let change = Change {
                state_epoch: held.value.state_epoch,
                leader_epoch,
                start_offset: NO_OFFSET,
                delivery_complete_count: held.value.delivery_complete_count,
                batches: Vec::new(),
            };
            self.change(moment, key, change, effects);
        }
        state
    }

    fn write_state(
        &mut self,
        moment: &Moment,
        key: SharePartitionKey,
        change: Change,
        effects: &mut EffectsOf<ShareStates>,
    ) -> ShareStateAnswer {
        let Some(held) = self.held.get(&key) else {
            return ShareStateAnswer::Refused(ErrorCode::InvalidRequest, Some(UNINITIALIZED_WRITE));
        };
        if held.value.leader_epoch > change.leader_epoch {
            return ShareStateAnswer::Refused(ErrorCode::FencedLeaderEpoch, None);
        }
        if held.value.state_epoch > change.state_epoch {
            return ShareStateAnswer::Refused(ErrorCode::FencedStateEpoch, None);
        }
        self.change(moment, key, change, effects);
        ShareStateAnswer::Done
    }

    /// Writes what changes: as an update, or as a snapshot if there are so many already.
    fn change(
        &mut self,
        moment: &Moment,
        key: SharePartitionKey,
        change: Change,
        effects: &mut EffectsOf<ShareStates>,
    ) {
        let Some(held) = self.held.get(&key) else { return };
        let update = ShareUpdateValue {
            snapshot_epoch: held.value.snapshot_epoch,
            leader_epoch: change.leader_epoch,
            start_offset: change.start_offset,
            state_batches: combine(&[], &change.batches, change.start_offset),
            delivery_complete_count: change.delivery_complete_count,
        };
        let renewed = change.state_epoch > held.value.state_epoch;
        let record = if renewed || held.updates >= self.config.updates_per_snapshot {
            let mut value = held.value.clone();
            value.merge(&update);
            value.state_epoch = change.state_epoch;
            value.snapshot_epoch = value.snapshot_epoch.saturating_add(1);
            value.write_timestamp_ms = moment.wall_ms;
            ShareStateRecord::ShareSnapshot(key, Some(value))
        } else {
            ShareStateRecord::ShareUpdate(key, Some(update))
        };
        self.write(moment, record, effects);
    }

    fn delete(
        &mut self,
        moment: &Moment,
        key: SharePartitionKey,
        effects: &mut EffectsOf<ShareStates>,
    ) -> ShareStateAnswer {
        if self.held.contains_key(&key) {
            self.write(moment, ShareStateRecord::ShareSnapshot(key, None), effects);
        }
        ShareStateAnswer::Done
    }

    fn summary(&self, key: &SharePartitionKey) -> ShareStateAnswer {
        match self.held.get(key) {
            Some(Held { value, .. }) => ShareStateAnswer::Summary {
                state_epoch: value.state_epoch,
                leader_epoch: value.leader_epoch,
                start_offset: value.start_offset,
                delivery_complete_count: value.delivery_complete_count,
            },
            None => ShareStateAnswer::Summary {
                state_epoch: 0,
                leader_epoch: 0,
                start_offset: NO_OFFSET,
                delivery_complete_count: -1,
            },
        }
    }
}

impl ShareSnapshotValue {
    /// Takes in an update.
    fn merge(&mut self, update: &ShareUpdateValue) {
        if update.start_offset != NO_OFFSET {
            self.start_offset = update.start_offset;
        }
        if update.leader_epoch != -1 {
            self.leader_epoch = update.leader_epoch;
        }
        self.state_batches = combine(&self.state_batches, &update.state_batches, self.start_offset);
        self.delivery_complete_count = update.delivery_complete_count;
    }
}

/// Whether what is asked names a partition that exists. What is deleted may be gone already.
fn check(moment: &Moment, request: &ShareStateRequest) -> Result<(), ErrorCode> {
    let key = &request.key;
    if key.group.is_empty() || key.topic_id.is_nil() || key.partition < 0 {
        return Err(ErrorCode::InvalidRequest);
    }
    let exists = moment
        .image
        .topic_by_id(&key.topic_id)
        .is_some_and(|topic| topic.partitions.contains_key(&key.partition));
    match request.ask {
        Ask::Delete => Ok(()),
        Ask::Initialize { .. } | Ask::Read { .. } | Ask::Write(_) | Ask::Summary if exists => Ok(()),
        Ask::Initialize { .. } | Ask::Read { .. } | Ask::Write(_) | Ask::Summary => {
            Err(ErrorCode::UnknownTopicOrPartition)
        }
    }
}

impl Machine for ShareStates {
    type Record = ShareStateRecord;
    type Request = ShareStateRequest;
    type Answer = ShareStateAnswer;
    type Order = ShareStateOrder;

    fn encode(record: &ShareStateRecord) -> Encoded {
        // Groups' names come from requests, whose strings are bounded as those of records are.
        let (key, value) = record.encode().expect("what a request could carry, a record can");
        Encoded { key, value }
    }

    fn replay(&mut self, record: Replayed<'_>) -> Result<(), BadRecord> {
        let decoded = ShareStateRecord::decode(record.key, record.value);
        self.apply(&decoded.map_err(|error| BadRecord(error.to_string()))?, record.offset);
        Ok(())
    }

    fn marker(&mut self, _producer: ProducerId, _committed: bool) {
        // No transaction writes here.
    }

    fn loaded(&mut self, moment: &Moment, effects: &mut EffectsOf<ShareStates>) {
        self.next_prune = Some(moment.now + self.config.prune_interval);
        self.next_cold = Some(moment.now + self.config.cold_interval);
        // Topics may have been deleted meanwhile.
        let gone = self.held.keys().filter(|key| moment.image.topic_by_id(&key.topic_id).is_none());
        let gone: Vec<SharePartitionKey> = gone.cloned().collect();
        gone.into_iter().for_each(|key| _ = self.delete(moment, key, effects));
    }

    fn handle(
        &mut self,
        moment: &Moment,
        token: Token,
        request: ShareStateRequest,
        effects: &mut EffectsOf<ShareStates>,
    ) {
        let checked = check(moment, &request);
        let ShareStateRequest { key, ask } = request;
        let answer = match (checked, ask) {
            (Err(code), _) => ShareStateAnswer::Refused(code, None),
            (Ok(()), Ask::Initialize { state_epoch, start_offset }) => {
                self.initialize(moment, key, state_epoch, start_offset, effects)
            }
            (Ok(()), Ask::Read { leader_epoch }) => self.read(moment, key, leader_epoch, effects),
            (Ok(()), Ask::Write(change)) => self.write_state(moment, key, change, effects),
            (Ok(()), Ask::Delete) => self.delete(moment, key, effects),
            (Ok(()), Ask::Summary) => self.summary(&key),
        };
        effects.answer(token, answer);
    }

    fn on_time(&mut self, moment: &Moment, effects: &mut EffectsOf<ShareStates>) {
        self.keep_small(moment, effects);
    }

    fn next_deadline(&self) -> Option<MonoTime> {
        self.next_prune.into_iter().chain(self.next_cold).min()
    }
}
