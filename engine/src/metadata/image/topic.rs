//! Topics and partitions in the image, and what a change does to a partition.
//!
//! After Kafka's `TopicImage` and `PartitionRegistration`; it knows no other topic.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hayate_storage::batch::LeaderEpoch;
use uuid::Uuid;

use super::{ApplyError, NodeId};
use crate::metadata::records::{LEADER_UNCHANGED, NO_LEADER, PartitionChangeRecord, PartitionRecord};

/// A replica's log directory when the record's version cannot tell it (Kafka's `DirectoryId.MIGRATING`).
pub const DIRECTORY_MIGRATING: Uuid = Uuid::nil();
/// A replica's log directory before its broker has chosen one (Kafka's `DirectoryId.UNASSIGNED`).
pub const DIRECTORY_UNASSIGNED: Uuid = Uuid::from_u128(1);

/// Counts the changes of anything in a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PartitionEpoch(pub i32);

impl fmt::Display for PartitionEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// The topic's name.
    pub name: Arc<str>,
    /// Its id for ever.
    pub id: Uuid,
    /// Its partitions by number.
    pub partitions: BTreeMap<i32, PartitionImage>,
}

/// A partition as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// The replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The replicas in sync.
    pub isr: Vec<NodeId>,
    /// Replicas on their way out.
    pub removing_replicas: Vec<NodeId>,
    /// Replicas on their way in.
    pub adding_replicas: Vec<NodeId>,
    /// Per replica its log directory, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// The leader, or −1.
    pub leader: NodeId,
    /// Whether the leader recovers from an unclean election.
    pub recovering: bool,
    /// Counts the changes of leader.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes of anything here.
    pub partition_epoch: PartitionEpoch,
    /// Replicas that may be elected although out of sync (KIP-966).
    pub elr: Vec<NodeId>,
    /// The last known of them.
    pub last_known_elr: Vec<NodeId>,
}

impl PartitionImage {
    /// The leader, if there is one.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        (self.leader != NO_LEADER).then_some(self.leader)
    }

    pub(super) fn from_record(record: &PartitionRecord) -> Result<Self, ApplyError> {
        let directories = directories(&record.directories, record.replicas.len())
            .ok_or(ApplyError::Directories(record.topic_id, record.partition_id))?;
        Ok(Self {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            removing_replicas: record.removing_replicas.clone(),
            adding_replicas: record.adding_replicas.clone(),
            directories,
            leader: record.leader,
            recovering: recovering(record.leader_recovery_state)?,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: PartitionEpoch(record.partition_epoch),
            elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
        })
    }

    /// The partition in full, as a record; empty lists of eligible replicas are left out, as Kafka does.
    #[must_use]
    pub fn to_record(&self, topic_id: Uuid, partition_id: i32) -> PartitionRecord {
        let unless_empty = |list: &Vec<NodeId>| (!list.is_empty()).then(|| list.clone());
        PartitionRecord {
            partition_id,
            topic_id,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            removing_replicas: self.removing_replicas.clone(),
            adding_replicas: self.adding_replicas.clone(),
            leader: self.leader,
            leader_recovery_state: i8::from(self.recovering),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch.0,
            directories: self.directories.clone(),
            eligible_leader_replicas: unless_empty(&self.elr),
            last_known_elr: unless_empty(&self.last_known_elr),
        }
    }

    /// The partition after `change`: a named leader bumps the leader epoch, anything bumps the partition epoch.
    pub(super) fn merged(&self, change: &PartitionChangeRecord) -> Result<Self, ApplyError> {
        let (topic_id, partition) = (change.topic_id, change.partition_id);
        let replicas = change.replicas.clone().unwrap_or_else(|| self.replicas.clone());
        let told = change.directories.as_ref().unwrap_or(&self.directories);
        let directories =
            directories(told, replicas.len()).ok_or(ApplyError::Directories(topic_id, partition))?;
        let (leader, leader_epochs) = match change.leader {
            LEADER_UNCHANGED => (self.leader, 0),
            leader => (leader, 1),
        };
        let exhausted = ApplyError::EpochExhausted(topic_id, partition);
        let leader_epoch = self.leader_epoch.0.checked_add(leader_epochs).ok_or_else(|| exhausted.clone())?;
        let partition_epoch = self.partition_epoch.0.checked_add(1).ok_or(exhausted)?;
        let list = |new: &Option<Vec<NodeId>>, old: &[NodeId]| new.clone().unwrap_or_else(|| old.to_vec());
        Ok(Self {
            isr: list(&change.isr, &self.isr),
            removing_replicas: list(&change.removing_replicas, &self.removing_replicas),
            adding_replicas: list(&change.adding_replicas, &self.adding_replicas),
            elr: list(&change.eligible_leader_replicas, &self.elr),
            last_known_elr: list(&change.last_known_elr, &self.last_known_elr),
            recovering: match change.leader_recovery_state {
                -1 => self.recovering,
                state => recovering(state)?,
            },
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch: PartitionEpoch(partition_epoch),
            replicas,
            directories,
            leader,
        })
    }
}

/// One directory a replica: as told, or unknown when the record tells none; `None` when the counts differ.
fn directories(told: &[Uuid], replica_count: usize) -> Option<Vec<Uuid>> {
    if told.is_empty() {
        return Some(vec![DIRECTORY_MIGRATING; replica_count]);
    }
    (told.len() == replica_count).then(|| told.to_vec())
}

fn recovering(state: i8) -> Result<bool, ApplyError> {
    match state {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ApplyError::FieldValue("leader recovery state", i64::from(state))),
    }
}

/// `name` with every `.` made `_`, if it has either: two such names that agree collide as names of metrics.
pub(super) fn unified(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
