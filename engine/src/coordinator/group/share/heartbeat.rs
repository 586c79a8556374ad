//! A member of a share group tells of itself, and hears what it is to read.
//!
//! After `GroupMetadataManager.shareGroupHeartbeat` of Apache Kafka 4.2.

use super::assign::assign;
use super::{Partitions, ShareGroup, ShareMember, to_topics};
use crate::coordinator::group::step::{ClientInfo, Step, text};
use crate::coordinator::group::{Group, GroupAnswer, Groups};
use crate::coordinator::records::{
    GroupRecord, MemberKey, ShareGroupCurrentMemberAssignmentValue, ShareGroupMemberMetadataValue,
    ShareGroupMetadataValue, TargetAssignmentMemberValue, TargetAssignmentMetadataValue,
};
use crate::coordinator::{EffectsOf, Moment, Token};
use crate::metadata::image::MetadataImage;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::share_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use uuid::Uuid;

/// A member that joins, and one that leaves.
const JOINING: i32 = 0;
const LEAVING: i32 = -1;

/// Why a heartbeat is refused: the code, and Kafka's words.
type Refusal = (ResponseError, String);

impl Groups {
    pub(in crate::coordinator::group) fn share_heartbeat(
        &mut self,
        moment: &Moment,
        token: Token,
        request: &ShareGroupHeartbeatRequest,
        client: &ClientInfo,
        effects: &mut EffectsOf<Groups>,
    ) {
        self.topics.follow(&moment.image);
        let beaten = check(request).and_then(|()| self.share_beat(moment, request, client, effects));
        let response = beaten.unwrap_or_else(|(error, words)| {
            ShareGroupHeartbeatResponse::default()
                .with_error_code(error.code())
                .with_error_message(Some(text(&words)))
        });
        effects.answer(token, GroupAnswer::ShareHeartbeat(response));
    }

    fn share_beat(
        &mut self,
        moment: &Moment,
        request: &ShareGroupHeartbeatRequest,
        client: &ClientInfo,
        effects: &mut EffectsOf<Groups>,
    ) -> Result<ShareGroupHeartbeatResponse, Refusal> {
        let id = request.group_id.as_str();
        if request.member_epoch == JOINING && !self.groups.contains_key(id) {
            self.groups.insert(id.into(), Group::Share(ShareGroup::new(id)));
        }
        let missing = match self.groups.get(id) {
            None => format!("Share group {id} not found."),
            Some(Group::Share(_)) => String::new(),
            Some(_) => format!("Group {id} is not a share group."),
        };
        let Some((group, mut step)) = self.share(id, moment, effects) else {
            return Err((ResponseError::GroupIdNotFound, missing));
        };
        if request.member_epoch == LEAVING {
            return group.leave(&request.member_id, &mut step);
        }
        group.heartbeat(request, client, &mut step)
    }
}

fn check(request: &ShareGroupHeartbeatRequest) -> Result<(), Refusal> {
    let invalid = |words: &str| Err((ResponseError::InvalidRequest, words.to_owned()));
    let topics = request.subscribed_topic_names.as_ref();
    match request.member_epoch {
        _ if request.group_id.trim().is_empty() => invalid("GroupId can't be empty."),
        _ if request.member_id.trim().is_empty() => invalid("MemberId can't be empty."),
        epoch if epoch < LEAVING => invalid("MemberEpoch is invalid."),
        JOINING if topics.is_none_or(Vec::is_empty) => {
            invalid("SubscribedTopicNames must be set in first request.")
        }
        _ if request.rack_id.as_ref().is_some_and(|rack| rack.trim().is_empty()) => {
            invalid("RackId can't be empty.")
        }
        _ => Ok(()),
    }
}

impl ShareGroup {
    fn heartbeat(
        &mut self,
        request: &ShareGroupHeartbeatRequest,
        client: &ClientInfo,
        step: &mut Step<'_>,
    ) -> Result<ShareGroupHeartbeatResponse, Refusal> {
        let id = request.member_id.as_str();
        self.check_member(id, request.member_epoch, step)?;
        let before = self.members.get(id).map(|member| member.assigned.clone());
        let resubscribed = self.tell(id, request, client, step);
        self.bump_if_changed(resubscribed, step);
        self.target_if_outdated(step);
        self.assign_target(id, step);
        if let Some((id, _)) = self.members.get_key_value(id) {
            let id = id.clone();
            self.keep_alive(&id, step);
        }
        self.set_up_states(step);
        let settings = step.config.shares.of_group(&step.moment.image, &self.id);
        let response = ShareGroupHeartbeatResponse::default()
            .with_member_id(Some(request.member_id.clone()))
            .with_heartbeat_interval_ms(settings.heartbeat_ms);
        let Some(member) = self.members.get(id) else { return Ok(response) };
        let is_told = request.member_epoch == JOINING
            || request.subscribed_topic_names.is_some()
            || before.as_ref() != Some(&member.assigned);
        Ok(response
            .with_member_epoch(member.epoch)
            .with_assignment(is_told.then(|| assignment(&member.assigned))))
    }

    fn check_member(&self, id: &str, epoch: i32, step: &Step<'_>) -> Result<(), Refusal> {
        match self.members.get(id) {
            None if epoch != JOINING => {
                let words = format!("Member {id} is not a member of group {}.", self.id);
                Err((ResponseError::UnknownMemberId, words))
            }
            None if self.members.len() >= step.config.shares.size_max => {
                let words = format!(
                    "The share group has reached its maximum capacity of {} members.",
                    step.config.shares.size_max
                );
                Err((ResponseError::GroupMaxSizeReached, words))
            }
            None => Ok(()),
            Some(member) => check_epoch(member, epoch),
        }
    }

    /// Takes in what a member tells of itself; whether its topics are others than before.
    fn tell(
        &mut self,
        id: &str,
        request: &ShareGroupHeartbeatRequest,
        client: &ClientInfo,
        step: &mut Step<'_>,
    ) -> bool {
        let known = self.members.get(id).map(|member| &member.told);
        let topics = match (&request.subscribed_topic_names, known) {
            (Some(topics), _) => {
                let topics: BTreeSet<String> = topics.iter().map(|topic| topic.to_string()).collect();
                topics.into_iter().collect()
            }
            (None, Some(known)) => known.subscribed_topic_names.clone(),
            (None, None) => Vec::new(),
        };
        let rack = request.rack_id.as_ref().map(|rack| rack.to_string());
        let told = ShareGroupMemberMetadataValue {
            rack_id: rack.or_else(|| known.and_then(|known| known.rack_id.clone())),
            client_id: client.client_id.clone(),
            client_host: client.client_host.clone(),
            subscribed_topic_names: topics,
        };
        let resubscribed =
            known.is_none_or(|known| known.subscribed_topic_names != told.subscribed_topic_names);
        if known != Some(&told) {
            self.write(GroupRecord::ShareGroupMemberMetadata(self.key(id), Some(told)), step);
        }
        resubscribed
    }

    fn key(&self, member: &str) -> MemberKey {
        MemberKey { group: self.id.to_string(), member_id: member.to_owned() }
    }

    /// The topics that members are subscribed to and that there are.
    pub(super) fn subscribed(&self, image: &MetadataImage) -> BTreeMap<Uuid, (String, BTreeSet<i32>)> {
        let names: BTreeSet<&str> = self
            .members
            .values()
            .flat_map(|member| &member.told.subscribed_topic_names)
            .map(String::as_str)
            .collect();
        let topics = names.into_iter().filter_map(|name| image.topic(name));
        topics
            .map(|topic| (topic.id, (topic.name.to_string(), topic.partitions.keys().copied().collect())))
            .collect()
    }

    /// Differs when topics that members are subscribed to do.
    fn topics_hash(&self, step: &Step<'_>) -> i64 {
        let names: BTreeSet<&String> =
            self.members.values().flat_map(|member| &member.told.subscribed_topic_names).collect();
        step.topics.hash(names.into_iter().map(String::as_str), &step.moment.image)
    }

    /// Begins the next epoch if members, topics or what has state has changed.
    fn bump_if_changed(&mut self, resubscribed: bool, step: &mut Step<'_>) {
        let subscribed = self.subscribed(&step.moment.image);
        let hash = self.topics_hash(step);
        let is_assigned = |topic: &Uuid, partition: &i32| {
            self.target.values().any(|has| has.get(topic).is_some_and(|has| has.contains(partition)))
        };
        let waits = self.assignable(&subscribed);
        let waits = self.assignment_epoch >= self.epoch
            && waits.iter().any(|(topic, numbers)| !numbers.iter().all(|number| is_assigned(topic, number)));
        if resubscribed || hash != self.metadata_hash || waits {
            self.bump(hash, step);
        }
    }

    fn bump(&mut self, metadata_hash: i64, step: &mut Step<'_>) {
        let value = ShareGroupMetadataValue { epoch: self.epoch.saturating_add(1), metadata_hash };
        self.write(GroupRecord::ShareGroupMetadata(self.id.to_string(), Some(value)), step);
    }

    /// What has state and is subscribed to.
    fn assignable(&self, subscribed: &BTreeMap<Uuid, (String, BTreeSet<i32>)>) -> Partitions {
        let assignable = subscribed.iter().map(|(topic, (_, numbers))| {
            let has_state = numbers.iter().filter(|number| self.states.has_initialized(topic, **number));
            (*topic, has_state.copied().collect::<BTreeSet<i32>>())
        });
        assignable.filter(|(_, numbers)| !numbers.is_empty()).collect()
    }

    /// Works out what each member is to have, for this epoch.
    fn target_if_outdated(&mut self, step: &mut Step<'_>) {
        if self.assignment_epoch >= self.epoch {
            return;
        }
        let subscribed = self.subscribed(&step.moment.image);
        let ids: BTreeMap<&str, Uuid> =
            subscribed.iter().map(|(id, (name, _))| (name.as_str(), *id)).collect();
        let topics_of = |member: &ShareMember| {
            let names = member.told.subscribed_topic_names.iter();
            names.filter_map(|name| ids.get(name.as_str()).copied()).collect::<BTreeSet<Uuid>>()
        };
        let members: BTreeMap<&str, BTreeSet<Uuid>> =
            self.members.iter().map(|(id, member)| (&**id, topics_of(member))).collect();
        let assigned = assign(&members, &self.assignable(&subscribed), |member| self.target.get(member));
        let changed = assigned.into_iter().filter(|(member, has)| self.target.get(*member) != Some(has));
        let changed: Vec<GroupRecord> = changed
            .map(|(member, has)| {
                let value = TargetAssignmentMemberValue { topic_partitions: to_topics(&has) };
                GroupRecord::ShareGroupTargetAssignmentMember(self.key(member), Some(value))
            })
            .collect();
        changed.into_iter().for_each(|record| self.write(record, step));
        let value = TargetAssignmentMetadataValue { assignment_epoch: self.epoch };
        let id = self.id.to_string();
        self.write(GroupRecord::ShareGroupTargetAssignmentMetadata(id, Some(value)), step);
    }

    /// Gives a member what it is to have.
    fn assign_target(&mut self, id: &str, step: &mut Step<'_>) {
        let Some(member) = self.members.get(id) else { return };
        if member.epoch == self.assignment_epoch {
            return;
        }
        let value = ShareGroupCurrentMemberAssignmentValue {
            member_epoch: self.assignment_epoch,
            previous_member_epoch: member.epoch,
            state: 0,
            assigned_partitions: self.target.get(id).map(to_topics).unwrap_or_default(),
        };
        self.write(GroupRecord::ShareGroupCurrentMemberAssignment(self.key(id), Some(value)), step);
    }

    fn leave(&mut self, id: &str, step: &mut Step<'_>) -> Result<ShareGroupHeartbeatResponse, Refusal> {
        if !self.members.contains_key(id) {
            let words = format!("Member {id} is not a member of group {}.", self.id);
            return Err((ResponseError::UnknownMemberId, words));
        }
        self.remove(id, step);
        Ok(ShareGroupHeartbeatResponse::default().with_member_id(Some(text(id))).with_member_epoch(LEAVING))
    }

    /// A member is gone.
    fn remove(&mut self, id: &str, step: &mut Step<'_>) {
        self.write(GroupRecord::ShareGroupCurrentMemberAssignment(self.key(id), None), step);
        self.write(GroupRecord::ShareGroupTargetAssignmentMember(self.key(id), None), step);
        self.write(GroupRecord::ShareGroupMemberMetadata(self.key(id), None), step);
        let hash = self.topics_hash(step);
        self.bump(hash, step);
    }

    /// A member was silent for too long.
    pub(in crate::coordinator::group) fn session_due(&mut self, id: &Rc<str>, step: &mut Step<'_>) {
        if self.members.contains_key(id) {
            tracing::info!(
                group = &*self.id,
                member = &**id,
                "a member of a share group was silent for too long"
            );
            self.remove(id, step);
        }
    }
}

fn check_epoch(member: &ShareMember, epoch: i32) -> Result<(), Refusal> {
    let fenced = |words: String| Err((ResponseError::FencedMemberEpoch, words));
    if epoch > member.epoch {
        return fenced(format!(
            "The share group member has a greater member epoch ({epoch}) than the one known by the group coordinator ({}). \
             The member must abandon all its partitions and rejoin.",
            member.epoch
        ));
    }
    if epoch != JOINING && epoch < member.epoch && epoch != member.previous_epoch {
        return fenced(format!(
            "The share group member has a smaller member epoch ({epoch}) than the one known by the group coordinator ({}). \
             The member must abandon all its partitions and rejoin.",
            member.epoch
        ));
    }
    Ok(())
}

fn assignment(assigned: &Partitions) -> Assignment {
    let topics = to_topics(assigned).into_iter().map(|topic| {
        TopicPartitions::default().with_topic_id(topic.topic_id).with_partitions(topic.partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
