//! How offsets go: by OffsetDelete, with their group, with their topic, or because nobody has used them for long.
//!
//! Each leaves a tombstone, and it takes what open transactions would have committed in its place.
//! Source: `OffsetMetadataManager.deleteOffsets`, `deleteAllOffsets`, `onTopicsDeleted`, `cleanupExpiredOffsets` and
//! `OffsetExpirationConditionImpl`; KIP-211 and KIP-496.

use super::topics::get;
use super::{CommittedOffset, GroupOffsets, OffsetLimits, Offsets, Verdict};
use crate::coordinator::records::{GroupRecord, OffsetCommitKey};
use crate::coordinator::{Effects, Moment};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use std::rc::Rc;
use uuid::Uuid;

/// From when on a group's offsets are out of use, as the group says. One that was committed with a retention of its
/// own expires by that, unless `Never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// They are in use.
    Never,
    /// Each since it was committed.
    SinceCommit,
    /// All since the group became empty, milliseconds since the epoch.
    Since(i64),
}

impl Expiry {
    fn is_due(self, offset: &CommittedOffset, now_ms: i64, retention_ms: i64) -> bool {
        let since = match self {
            Expiry::Never => return false,
            Expiry::SinceCommit => offset.commit_timestamp_ms,
            Expiry::Since(since) => since,
        };
        match offset.expire_timestamp_ms() {
            Some(at) => now_ms >= at,
            None => now_ms.saturating_sub(since) >= retention_ms,
        }
    }
}

impl Offsets {
    /// Answers OffsetDelete, and writes the tombstones. `verdict` is the group's; `is_subscribed` tells of which topics
    /// it must keep the offsets (`GROUP_SUBSCRIBED_TO_TOPIC`). What does not exist is deleted without complaint.
    pub fn delete<A, O>(
        &mut self,
        request: &OffsetDeleteRequest,
        verdict: Verdict,
        is_subscribed: impl Fn(&str) -> bool,
        effects: &mut Effects<GroupRecord, A, O>,
    ) -> OffsetDeleteResponse {
        if let Err(error) = verdict {
            return delete_refused(error);
        }
        let topics = request.topics.iter().map(|topic| {
            if is_subscribed(&topic.name) {
                return topic_answer(topic, ResponseError::GroupSubscribedToTopic.code());
            }
            for partition in &topic.partitions {
                let gone = self.entomb(&request.group_id, &topic.name, partition.partition_index, effects);
                self.counters.deleted += u64::from(gone);
            }
            topic_answer(topic, 0)
        });
        OffsetDeleteResponse::default().with_topics(topics.collect())
    }

    /// Deletes all that a group has, with the group. Returns how many offsets that were.
    pub fn delete_group<A, O>(&mut self, group: &str, effects: &mut Effects<GroupRecord, A, O>) -> usize {
        let Some(offsets) = self.groups.get(group) else { return 0 };
        let committed = offsets.committed.iter().map(|(topic, partition, _)| (topic.to_string(), partition));
        let pending = offsets.open.iter().map(|(topic, partition, _)| (topic.to_string(), partition));
        let doomed: Vec<(String, i32)> = committed.chain(pending).collect();
        let gone = |(topic, partition): &(String, i32)| self.entomb(group, topic, *partition, effects);
        doomed.iter().map(gone).filter(|&gone| gone).count()
    }

    /// Deletes what groups have of topics that were deleted, by name and id. An offset of a known other id stays: it
    /// is of a new topic of the same name.
    pub fn topics_deleted<A, O>(
        &mut self,
        topics: &[(String, Uuid)],
        effects: &mut Effects<GroupRecord, A, O>,
    ) {
        for (topic, id) in topics {
            if !self.names.contains(topic) {
                continue;
            }
            let groups = self.groups.iter();
            let doomed: Vec<(Rc<str>, i32)> = groups
                .flat_map(|(group, offsets)| {
                    let partitions = self.of_deleted_topic(group, offsets, topic, *id);
                    partitions.map(|partition| (Rc::clone(group), partition))
                })
                .collect();
            for (group, partition) in doomed {
                self.entomb(&group, topic, partition, effects);
            }
        }
    }

    /// The partitions of a deleted topic that a group has an offset of, committed or, if there is none, pending.
    fn of_deleted_topic<'a>(
        &'a self,
        group: &'a str,
        offsets: &'a GroupOffsets,
        topic: &'a str,
        id: Uuid,
    ) -> impl Iterator<Item = i32> + 'a {
        let is_dead = move |offset: &CommittedOffset| offset.topic_id.is_nil() || offset.topic_id == id;
        let committed = offsets.committed.topic(topic);
        let open = offsets.open.topic(topic).iter().filter(move |(partition, producers)| {
            let mut pending =
                producers.iter().filter_map(|producer| self.pending(*producer, group, topic, *partition));
            get(committed, *partition).is_none() && pending.any(is_dead)
        });
        let dead =
            committed.iter().filter(move |(_, offset)| is_dead(offset)).map(|(partition, _)| *partition);
        dead.chain(open.map(|(partition, _)| *partition))
    }

    /// Deletes a group's offsets that have been out of use for long enough, as `expiry` counts, but none of topics
    /// that the group is subscribed to, and none for which a transaction is open.
    ///
    /// Returns whether the group has no offset left: if it is empty too, it can be forgotten.
    pub fn expire<A, O>(
        &mut self,
        moment: &Moment,
        group: &str,
        expiry: Expiry,
        is_subscribed: impl Fn(&str) -> bool,
        limits: &OffsetLimits,
        effects: &mut Effects<GroupRecord, A, O>,
    ) -> bool {
        let Some(offsets) = self.groups.get(group) else { return true };
        let mut doomed = Vec::new();
        for (topic, partitions) in offsets.committed.topics().filter(|(topic, _)| !is_subscribed(topic)) {
            let due = partitions.iter().filter(|(partition, offset)| {
                expiry.is_due(offset, moment.wall_ms, limits.retention_ms)
                    && offsets.open.get(topic, *partition).is_none()
            });
            doomed.extend(due.map(|(partition, _)| (topic.to_string(), *partition)));
        }
        for (topic, partition) in &doomed {
            let gone = self.entomb(group, topic, *partition, effects);
            self.counters.expired += u64::from(gone);
        }
        !self.has_any(group)
    }

    /// Writes a tombstone if there is anything to bury, and tells whether there was.
    fn entomb<A, O>(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
        effects: &mut Effects<GroupRecord, A, O>,
    ) -> bool {
        let exists = self.get(group, topic, partition).is_some() || self.is_pending(group, topic, partition);
        if exists {
            let key = OffsetCommitKey { group: group.to_string(), topic: topic.to_string(), partition };
            self.write(key, None, effects);
        }
        exists
    }
}

/// The answer to an OffsetDelete that is refused whole.
pub fn delete_refused(error: ResponseError) -> OffsetDeleteResponse {
    OffsetDeleteResponse::default().with_error_code(error.code())
}

fn topic_answer(topic: &OffsetDeleteRequestTopic, error_code: i16) -> OffsetDeleteResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| {
        OffsetDeleteResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(error_code)
    });
    OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}
