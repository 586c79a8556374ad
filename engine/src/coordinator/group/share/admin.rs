//! What administrators ask of share groups: how they are, and of which partitions they have state.

use super::{Partitions, ShareGroup, ShareMember, to_topics};
use crate::coordinator::Moment;
use crate::coordinator::group::figures::{GroupFigures, MemberFigures, PARTS_MAX};
use crate::coordinator::group::step::text;
use crate::coordinator::group::{Group, Groups};
use crate::metadata::image::MetadataImage;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::share_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{GroupId, TopicName};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The assignor's name.
const ASSIGNOR: &str = "simple";

impl Groups {
    pub(in crate::coordinator::group) fn describe_share(&self, moment: &Moment, id: &str) -> DescribedGroup {
        let described = DescribedGroup::default().with_group_id(GroupId(text(id)));
        let words = match self.groups.get(id) {
            Some(Group::Share(group)) => return group.describe(&moment.image, described),
            Some(_) => format!("Group {id} is not a share group."),
            None => format!("Group {id} not found."),
        };
        described
            .with_group_state(text("Dead"))
            .with_error_code(ResponseError::GroupIdNotFound.code())
            .with_error_message(Some(text(&words)))
    }

    /// The partitions of which a share group has state, by topic.
    pub(in crate::coordinator::group) fn share_partitions(
        &self,
        id: &str,
    ) -> Result<BTreeMap<Uuid, (String, Vec<i32>)>, ResponseError> {
        match self.groups.get(id) {
            Some(Group::Share(group)) => Ok(group.initialized()),
            Some(_) | None => Err(ResponseError::GroupIdNotFound),
        }
    }
}

impl ShareGroup {
    fn describe(&self, image: &MetadataImage, described: DescribedGroup) -> DescribedGroup {
        described
            .with_group_state(text(self.state()))
            .with_group_epoch(self.epoch)
            .with_assignment_epoch(self.assignment_epoch)
            .with_assignor_name(text(ASSIGNOR))
            .with_members(
                self.members.iter().map(|(id, member)| describe_member(image, id, member)).collect(),
            )
    }

    /// For those who look at it from outside.
    pub(in crate::coordinator::group) fn figures(&self) -> GroupFigures {
        let members = self.members.iter().take(PARTS_MAX).map(|(id, member)| MemberFigures {
            id: id.to_string(),
            instance: None,
            client_id: member.told.client_id.clone(),
            client_host: member.told.client_host.clone(),
            leads: false,
            assigned: self.named_assignment(&member.assigned),
        });
        GroupFigures {
            kind: "share",
            state: self.state(),
            protocol_type: "share".into(),
            protocol: ASSIGNOR.into(),
            generation: self.epoch,
            members: members.collect(),
            committed: BTreeMap::new(),
        }
    }

    fn named_assignment(&self, assigned: &Partitions) -> BTreeMap<String, Vec<i32>> {
        let name = |id: &Uuid| self.states.initialized.get(id).map(|(name, _)| name.clone());
        assigned
            .iter()
            .filter_map(|(id, numbers)| Some((name(id)?, numbers.iter().copied().collect())))
            .collect()
    }
}

fn describe_member(image: &MetadataImage, id: &str, member: &ShareMember) -> Member {
    let name = |id: &Uuid| image.topic_by_id(id).map(|topic| TopicName(text(&topic.name)));
    let topics = to_topics(&member.assigned).into_iter().filter_map(|topic| {
        let described = TopicPartitions::default().with_topic_id(topic.topic_id);
        Some(described.with_topic_name(name(&topic.topic_id)?).with_partitions(topic.partitions))
    });
    let subscribed = member.told.subscribed_topic_names.iter().map(|name| TopicName(text(name)));
    Member::default()
        .with_member_id(text(id))
        .with_rack_id(member.told.rack_id.as_deref().map(text))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&member.told.client_id))
        .with_client_host(text(&member.told.client_host))
        .with_subscribed_topic_names(subscribed.collect())
        .with_assignment(Assignment::default().with_topic_partitions(topics.collect()))
}
