//! ConsumerGroupDescribe: how a consumer group is. After `ConsumerGroup.asDescribedGroup` of Apache Kafka 4.2.

use super::{ConsumerGroup, Member};
use crate::coordinator::assignor::{Assignor, Partitions};
use crate::coordinator::group::step::text;
use crate::coordinator::group::{Group, Groups};
use crate::metadata::image::MetadataImage;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use kafka_protocol::messages::{GroupId, TopicName};

impl Groups {
    /// How a consumer group is.
    pub(in crate::coordinator::group) fn describe_consumer(
        &self,
        id: &str,
        image: &MetadataImage,
    ) -> DescribedGroup {
        match self.groups.get(id) {
            Some(Group::Consumer(group)) => group.describe(image, self.config.consumer.assignors.first()),
            Some(Group::Classic(_) | Group::Share(_)) => {
                not_found(id, &format!("Group {id} is not a consumer group."))
            }
            None => not_found(id, &format!("Group {id} not found.")),
        }
    }
}

/// The answer where there is no such group.
fn not_found(id: &str, message: &str) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(GroupId(text(id)))
        .with_error_code(ResponseError::GroupIdNotFound.code())
        .with_error_message(Some(text(message)))
}

impl ConsumerGroup {
    fn describe(&self, image: &MetadataImage, default: Assignor) -> DescribedGroup {
        let members = self.members.values().map(|member| self.describe_member(member, image));
        DescribedGroup::default()
            .with_group_id(GroupId(text(&self.id)))
            .with_group_state(text(self.state().name()))
            .with_group_epoch(self.epoch)
            .with_assignment_epoch(self.target_epoch)
            .with_assignor_name(text(self.preferred_assignor(None, default).name()))
            .with_members(members.collect())
    }

    fn describe_member(&self, member: &Member, image: &MetadataImage) -> DescribedMember {
        let nothing = Partitions::new();
        let target = self.targets.get(&member.id).map_or(&nothing, |target| target);
        DescribedMember::default()
            .with_member_id(text(&member.id))
            .with_instance_id(member.instance.as_deref().map(text))
            .with_rack_id(member.rack.as_deref().map(text))
            .with_member_epoch(member.epoch)
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_subscribed_topic_names(member.topics.iter().map(|name| TopicName(text(name))).collect())
            .with_subscribed_topic_regex(Some(text(&member.expression)))
            .with_assignment(assignment(&member.assigned, image))
            .with_target_assignment(assignment(target, image))
            .with_member_type(i8::from(!member.is_classic()))
    }
}

/// Topics that do not exist any more are left out.
fn assignment(partitions: &Partitions, image: &MetadataImage) -> Assignment {
    let topics = partitions.iter().filter_map(|(id, numbers)| {
        let topic = image.topic_by_id(id)?;
        Some(
            TopicPartitions::default()
                .with_topic_id(*id)
                .with_topic_name(TopicName(text(&topic.name)))
                .with_partitions(numbers.iter().copied().collect()),
        )
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
