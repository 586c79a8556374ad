//! The records about topics and partitions, as Kafka's schemas of the same names have them.
//!
//! Fields and versions only; what a change does to a partition is the image's to know.

use uuid::Uuid;

use super::Message;
use crate::primitives::{DecodeError, Reader, Writer};

/// A partition's leader when it has none.
pub const NO_LEADER: i32 = -1;
/// In a [`PartitionChangeRecord`]: the leader did not change.
pub const LEADER_UNCHANGED: i32 = -2;
/// In a [`PartitionChangeRecord`]: the recovery state did not change.
const RECOVERY_STATE_UNCHANGED: i8 = -1;

/// `TopicRecord` (2): a topic was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// The topic's name.
    pub name: String,
    /// Its id for ever; never given to another topic.
    pub topic_id: Uuid,
}

impl Message for TopicRecord {
    const API_KEY: u16 = 2;
    const VERSION_MAX: u16 = 0;

    fn write(&self, w: &mut Writer, _version: u16) {
        w.string(&self.name);
        w.uuid(&self.topic_id);
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
        let record = Self { name: r.string()?, topic_id: r.uuid()? };
        r.no_tags()?;
        Ok(record)
    }
}

/// `RemoveTopicRecord` (9): a topic and its partitions were deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveTopicRecord {
    /// The topic.
    pub topic_id: Uuid,
}

impl Message for RemoveTopicRecord {
    const API_KEY: u16 = 9;
    const VERSION_MAX: u16 = 0;

    fn write(&self, w: &mut Writer, _version: u16) {
        w.uuid(&self.topic_id);
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
        let record = Self { topic_id: r.uuid()? };
        r.no_tags()?;
        Ok(record)
    }
}

/// `PartitionRecord` (3): a partition in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The partition's number in its topic, from 0.
    pub partition_id: i32,
    /// The topic.
    pub topic_id: Uuid,
    /// Node ids of the replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Node ids of the replicas in sync.
    pub isr: Vec<i32>,
    /// Replicas on their way out.
    pub removing_replicas: Vec<i32>,
    /// Replicas on their way in.
    pub adding_replicas: Vec<i32>,
    /// Node id of the leader, or [`NO_LEADER`].
    pub leader: i32,
    /// 1 while the leader recovers from an unclean election, else 0.
    pub leader_recovery_state: i8,
    /// Counts the changes of leader.
    pub leader_epoch: i32,
    /// Counts the changes of anything in the partition.
    pub partition_epoch: i32,
    /// Per replica the id of its log directory, in the order of `replicas`; empty below version 1.
    pub directories: Vec<Uuid>,
    /// Replicas that may still be elected although out of sync (KIP-966); from version 2.
    pub eligible_leader_replicas: Option<Vec<i32>>,
    /// The last known such replicas; from version 2.
    pub last_known_elr: Option<Vec<i32>>,
}

impl Message for PartitionRecord {
    const API_KEY: u16 = 3;
    const VERSION_MAX: u16 = 2;

    fn write(&self, w: &mut Writer, version: u16) {
        w.i32(self.partition_id);
        w.uuid(&self.topic_id);
        w.i32_list(&self.replicas);
        w.i32_list(&self.isr);
        w.i32_list(&self.removing_replicas);
        w.i32_list(&self.adding_replicas);
        w.i32(self.leader);
        w.i32(self.leader_epoch);
        w.i32(self.partition_epoch);
        if version >= 1 {
            w.uuid_list(&self.directories);
        } else {
            w.absent("directories", self.directories.is_empty());
        }
        if version < 2 {
            w.absent("eligible_leader_replicas", self.eligible_leader_replicas.is_none());
            w.absent("last_known_elr", self.last_known_elr.is_none());
        }
        w.tags(|t| {
            t.field(0, self.leader_recovery_state != 0, |w| w.i8(self.leader_recovery_state));
            if version >= 2 {
                t.option(1, self.eligible_leader_replicas.as_deref(), Writer::i32_list);
                t.option(2, self.last_known_elr.as_deref(), Writer::i32_list);
            }
        });
    }

    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError> {
        let mut record = Self {
            partition_id: r.i32()?,
            topic_id: r.uuid()?,
            replicas: r.i32_list()?,
            isr: r.i32_list()?,
            removing_replicas: r.i32_list()?,
            adding_replicas: r.i32_list()?,
            leader: r.i32()?,
            leader_recovery_state: 0,
            leader_epoch: r.i32()?,
            partition_epoch: r.i32()?,
            directories: if version >= 1 { r.uuid_list()? } else { Vec::new() },
            eligible_leader_replicas: None,
            last_known_elr: None,
        };
        r.tags(|tag, value| {
            match tag {
                0 => record.leader_recovery_state = value.i8()?,
                1 if version >= 2 => record.eligible_leader_replicas = value.i32_list_or_null()?,
                2 if version >= 2 => record.last_known_elr = value.i32_list_or_null()?,
                1 | 2 => return Err(DecodeError::TagNotInVersion(tag)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(record)
    }
}

/// `PartitionChangeRecord` (5): what changed in a partition; `None` and the constants mean "as before".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionChangeRecord {
    /// The partition's number in its topic.
    pub partition_id: i32,
    /// The topic.
    pub topic_id: Uuid,
    /// The new replicas in sync.
    pub isr: Option<Vec<i32>>,
    /// The new leader (which bumps the leader epoch, even if it is the old one), [`NO_LEADER`] or
    /// [`LEADER_UNCHANGED`].
    pub leader: i32,
    /// The new replicas.
    pub replicas: Option<Vec<i32>>,
    /// The new replicas on their way out.
    pub removing_replicas: Option<Vec<i32>>,
    /// The new replicas on their way in.
    pub adding_replicas: Option<Vec<i32>>,
    /// The new recovery state, or −1 for "as before".
    pub leader_recovery_state: i8,
    /// The new log directories; from version 1.
    pub directories: Option<Vec<Uuid>>,
    /// The new eligible leader replicas; from version 2.
    pub eligible_leader_replicas: Option<Vec<i32>>,
    /// The new last known eligible leader replicas; from version 2.
    pub last_known_elr: Option<Vec<i32>>,
}

impl PartitionChangeRecord {
    /// A change of nothing, to be filled in.
    #[must_use]
    pub fn of(topic_id: Uuid, partition_id: i32) -> Self {
        Self {
            partition_id,
            topic_id,
            isr: None,
            leader: LEADER_UNCHANGED,
            replicas: None,
            removing_replicas: None,
            adding_replicas: None,
            leader_recovery_state: RECOVERY_STATE_UNCHANGED,
            directories: None,
            eligible_leader_replicas: None,
            last_known_elr: None,
        }
    }

    fn read_tag(&mut self, tag: u32, value: &mut Reader<'_>, version: u16) -> Result<bool, DecodeError> {
        match tag {
            0 => self.isr = value.i32_list_or_null()?,
            1 => self.leader = value.i32()?,
            2 => self.replicas = value.i32_list_or_null()?,
            3 => self.removing_replicas = value.i32_list_or_null()?,
            4 => self.adding_replicas = value.i32_list_or_null()?,
            5 => self.leader_recovery_state = value.i8()?,
            6 if version >= 2 => self.eligible_leader_replicas = value.i32_list_or_null()?,
            7 if version >= 2 => self.last_known_elr = value.i32_list_or_null()?,
            8 if version >= 1 => self.directories = value.list_or_null(16, Reader::uuid)?,
            6..=8 => return Err(DecodeError::TagNotInVersion(tag)),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Message for PartitionChangeRecord {
    const API_KEY: u16 = 5;
    const VERSION_MAX: u16 = 2;

    fn write(&self, w: &mut Writer, version: u16) {
        w.i32(self.partition_id);
        w.uuid(&self.topic_id);
        if version < 2 {
            w.absent("eligible_leader_replicas", self.eligible_leader_replicas.is_none());
            w.absent("last_known_elr", self.last_known_elr.is_none());
        }
        if version < 1 {
            w.absent("directories", self.directories.is_none());
        }
        w.tags(|t| {
            t.option(0, self.isr.as_deref(), Writer::i32_list);
            t.field(1, self.leader != LEADER_UNCHANGED, |w| w.i32(self.leader));
            t.option(2, self.replicas.as_deref(), Writer::i32_list);
            t.option(3, self.removing_replicas.as_deref(), Writer::i32_list);
            t.option(4, self.adding_replicas.as_deref(), Writer::i32_list);
            let recovery = self.leader_recovery_state;
            t.field(5, recovery != RECOVERY_STATE_UNCHANGED, |w| w.i8(recovery));
            if version >= 2 {
                t.option(6, self.eligible_leader_replicas.as_deref(), Writer::i32_list);
                t.option(7, self.last_known_elr.as_deref(), Writer::i32_list);
            }
            if version >= 1 {
                t.option(8, self.directories.as_deref(), Writer::uuid_list);
            }
        });
    }

    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError> {
        let partition_id = r.i32()?;
        let mut record = Self::of(r.uuid()?, partition_id);
        r.tags(|tag, value| record.read_tag(tag, value, version))?;
        Ok(record)
    }
}

/// `ClearElrRecord` (28): eligible leader replicas are forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClearElrRecord {
    /// The topic, or empty for all.
    pub topic_name: String,
}

impl Message for ClearElrRecord {
    const API_KEY: u16 = 28;
    const VERSION_MAX: u16 = 0;

    fn write(&self, w: &mut Writer, _version: u16) {
        w.string(&self.topic_name);
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
        let record = Self { topic_name: r.string()? };
        r.no_tags()?;
        Ok(record)
    }
}
