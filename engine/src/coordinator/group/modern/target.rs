//! The target assignment: computed for a group epoch, and written where it differs from the one before.
//!
//! After `TargetAssignmentBuilder` of Apache Kafka 4.2.

use super::heartbeat::Scene;
use super::metadata::TopicIds;
use super::{ConsumerGroup, Member, Refusal, records};
use crate::coordinator::assignor::{GroupSpec, MemberSpec, Partitions};
use crate::coordinator::records::GroupRecord;
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;
use std::rc::Rc;
use uuid::Uuid;

impl ConsumerGroup {
    /// Computes the targets for `epoch`, one member having come to be another, writes what is new, and returns that member's.
    ///
    /// # Errors
    /// `UNKNOWN_SERVER_ERROR` if they cannot be computed.
    pub(super) fn compute_target(
        &self,
        scene: &Scene<'_>,
        epoch: i32,
        updated: &Member,
        written: &mut Vec<GroupRecord>,
    ) -> Result<Rc<Partitions>, Refusal> {
        let image = &scene.moment.image;
        let mut topics = TopicIds::new(self, image);
        let gone = self.predecessor(updated);
        let nothing = Rc::<Partitions>::default();
        let target = self.target(updated);
        let is_out =
            |member: &&Member| member.id != updated.id && gone.is_none_or(|gone| gone.id != member.id);
        let mut members: BTreeMap<Rc<str>, MemberSpec<'_>> = BTreeMap::new();
        for member in self.members.values().filter(is_out) {
            let target: &Partitions = self.targets.get(&member.id).unwrap_or(&nothing);
            let instance = member.instance.as_deref();
            members.insert(member.id.clone(), MemberSpec { instance, topics: topics.of(member), target });
        }
        let spec =
            MemberSpec { instance: updated.instance.as_deref(), topics: topics.of(updated), target: &target };
        members.insert(updated.id.clone(), spec);
        let count = |topic: &Uuid| {
            image.topic_by_id(topic).map(|topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
        };
        let assignor = self.preferred_assignor(Some(updated), scene.config.consumer.assignors.first());
        let group = GroupSpec { members, count: &count };
        let mut assigned = assignor.assign(&group).map_err(|error| {
            let message = format!("Failed to compute a new target assignment for epoch {epoch}: {error}");
            Refusal::new(ResponseError::UnknownServerError, message)
        })?;
        for id in group.members.keys() {
            let target = assigned.entry(id.clone()).or_default();
            if self.targets.get(id).is_none_or(|before| **before != *target) {
                written.push(records::target(&self.id, id, target));
            }
        }
        written.push(records::target_epoch(&self.id, epoch));
        Ok(Rc::new(assigned.remove(&updated.id).unwrap_or_default()))
    }
}
