//! The states of a share group with the share coordinator: set up before partitions are assigned, set anew and deleted by request, gone with
//! the group or the topic.
//!
//! Always in this order: what is to be done is written into the group, then the share coordinator is told, then what became of it is
//! written. Whoever asked is answered last. After `GroupCoordinatorService` and `GroupMetadataManager` of Apache Kafka 4.2.

use super::{Group, ShareGroup, States};
use crate::coordinator::group::step::{Step, text};
use crate::coordinator::group::{GroupAnswer, Groups};
use crate::coordinator::records::GroupRecord;
use crate::coordinator::share_state::NO_OFFSET;
use crate::coordinator::{EffectsOf, Moment, Token};
use crate::metadata::image::MetadataImage;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_share_group_offsets_response::{
    AlterShareGroupOffsetsResponsePartition, AlterShareGroupOffsetsResponseTopic,
};
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::delete_share_group_offsets_response::DeleteShareGroupOffsetsResponseTopic;
use kafka_protocol::messages::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse, GroupId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// A setup that takes longer is ordered again.
const SETUP_PATIENCE: Duration = Duration::from_secs(10);

/// What the share coordinator is to do with the state of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateOf {
    /// Set it up.
    Initialize {
        /// Where the group begins; −1: as it is set to.
        start_offset: i64,
    },
    /// Forget it.
    Delete,
}

/// What a coordinator of groups lets others do: tell the share coordinators, and report what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOrder {
    /// Names the order: nothing else has this number, ever.
    pub number: i64,
    /// The group.
    pub group: String,
    /// The setup of the states that are made.
    pub state_epoch: i32,
    /// The partitions.
    pub states: Vec<(Uuid, i32, StateOf)>,
}

/// Who waits for the end of an order, and what for.
#[derive(Debug)]
pub(in crate::coordinator::group) enum Pending {
    /// Nobody: members hear of it with their next heartbeats.
    SetUp,
    /// Who altered offsets: all of the answer but for what becomes of these.
    Alter(Token, AlterShareGroupOffsetsResponse),
    /// Who deleted offsets of these topics.
    DeleteOffsets(Token, DeleteShareGroupOffsetsResponse),
    /// Who deleted the group.
    DeleteGroup(Token),
}

impl ShareGroup {
    /// Has states set up of what is subscribed to and has none.
    pub(super) fn set_up_states(&mut self, step: &mut Step<'_>) {
        let is_under_way = self.setup_since.is_some_and(|since| step.moment.now < since + SETUP_PATIENCE);
        let mut states = self.states.clone();
        let mut wanted = Vec::new();
        for (topic, (name, partitions)) in self.subscribed(&step.moment.image) {
            let missing =
                partitions.into_iter().filter(|partition| !states.has_initialized(&topic, *partition));
            let begun = self.states.initializing.get(&topic);
            let missing = missing.filter(|partition| {
                !is_under_way || !begun.is_some_and(|(_, begun)| begun.contains(partition))
            });
            let missing: Vec<i32> = missing.collect();
            if !missing.is_empty() {
                let entry = states.initializing.entry(topic).or_insert_with(|| (name, Default::default()));
                entry.1.extend(missing.iter().copied());
                let start_offset = NO_OFFSET;
                wanted.extend(missing.iter().map(|at| (topic, *at, StateOf::Initialize { start_offset })));
            }
        }
        if !wanted.is_empty() {
            self.setup_since = Some(step.moment.now);
            self.order(&states, wanted, Pending::SetUp, step);
        }
    }

    /// Writes what is to be done, and lets it be done then.
    fn order(
        &mut self,
        states: &States,
        wanted: Vec<(Uuid, i32, StateOf)>,
        pending: Pending,
        step: &mut Step<'_>,
    ) {
        // The offset of its record: the order is released only once that stands.
        let written = i64::try_from(step.effects.written()).unwrap_or(i64::MAX);
        let number = step.moment.log_end.0.saturating_add(written);
        self.write_states(states, step);
        step.pending.insert(number, (self.id.clone(), pending));
        let (group, state_epoch) = (self.id.to_string(), self.epoch);
        step.effects.orders.push(GroupOrder { number, group, state_epoch, states: wanted });
    }

    fn done(&mut self, order: &GroupOrder, outcomes: &[Result<(), ResponseError>], step: &mut Step<'_>) {
        let mut states = self.states.clone();
        for ((topic, partition, state), outcome) in order.states.iter().zip(outcomes) {
            let Some((name, begun)) = states.initializing.get_mut(topic) else { continue };
            begun.remove(partition);
            if outcome.is_ok() && matches!(state, StateOf::Initialize { .. }) {
                let name = name.clone();
                states
                    .initialized
                    .entry(*topic)
                    .or_insert_with(|| (name, Default::default()))
                    .1
                    .insert(*partition);
            }
        }
        let is_kept = |topic: &Uuid| {
            order.states.iter().zip(outcomes).any(|(state, outcome)| state.0 == *topic && outcome.is_err())
        };
        let deleted = order.states.iter().filter(|(_, _, state)| *state == StateOf::Delete);
        for (topic, _, _) in deleted.filter(|(topic, _, _)| !is_kept(topic)) {
            states.deleting.remove(topic);
        }
        states.initializing.retain(|_, (_, partitions)| !partitions.is_empty());
        self.setup_since = None;
        if states != self.states {
            self.write_states(&states, step);
        }
    }

    /// Topics were deleted: the share coordinator forgets them by itself.
    fn topics_deleted(&mut self, topics: &[(String, Uuid)], step: &mut Step<'_>) {
        let mut states = self.states.clone();
        for (_, topic) in topics {
            states.initializing.remove(topic);
            states.initialized.remove(topic);
            states.deleting.remove(topic);
        }
        if states != self.states {
            self.write_states(&states, step);
        }
    }

    /// What there may be of states. Of topics whose deletion was begun before, that is all of their partitions.
    fn all_states(&self, image: &MetadataImage) -> Vec<(Uuid, i32, StateOf)> {
        let topics = self.states.initialized.iter().chain(&self.states.initializing);
        let known = topics.flat_map(|(topic, (_, partitions))| partitions.iter().map(|at| (*topic, *at)));
        let begun = self.states.deleting.keys().filter_map(|topic| image.topic_by_id(topic));
        let begun = begun.flat_map(|topic| topic.partitions.keys().map(|at| (topic.id, *at)));
        let all: BTreeSet<(Uuid, i32)> = known.chain(begun).collect();
        all.into_iter().map(|(topic, partition)| (topic, partition, StateOf::Delete)).collect()
    }

    /// The partitions that have state, by topic.
    pub(super) fn initialized(&self) -> BTreeMap<Uuid, (String, Vec<i32>)> {
        let topics = self.states.initialized.iter();
        topics
            .map(|(id, (name, partitions))| (*id, (name.clone(), partitions.iter().copied().collect())))
            .collect()
    }
}

impl Groups {
    /// The share group of that id without members, and a step for it.
    fn idle_share<'a>(
        &'a mut self,
        id: &str,
        moment: &'a Moment,
        effects: &'a mut EffectsOf<Groups>,
    ) -> Result<(&'a mut ShareGroup, Step<'a>), ResponseError> {
        match self.share(id, moment, effects) {
            None => Err(ResponseError::GroupIdNotFound),
            Some((group, _)) if !group.members.is_empty() => Err(ResponseError::NonEmptyGroup),
            Some(idle) => Ok(idle),
        }
    }

    /// Sets where a group without members is.
    pub(in crate::coordinator::group) fn alter_share_offsets(
        &mut self,
        moment: &Moment,
        token: Token,
        request: &AlterShareGroupOffsetsRequest,
        effects: &mut EffectsOf<Groups>,
    ) {
        let (group, mut step) = match self.idle_share(&request.group_id, moment, effects) {
            Ok(idle) => idle,
            Err(error) => {
                let response = AlterShareGroupOffsetsResponse::default()
                    .with_error_code(error.code())
                    .with_error_message(Some(text(&error.to_string())));
                return effects.answer(token, GroupAnswer::AlterShareOffsets(response));
            }
        };
        let (mut states, mut wanted, mut topics) = (group.states.clone(), Vec::new(), Vec::new());
        for topic in &request.topics {
            let image = moment.image.topic(&topic.topic_name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let number = partition.partition_index;
                let exists = image.filter(|image| image.partitions.contains_key(&number));
                let answer = AlterShareGroupOffsetsResponsePartition::default().with_partition_index(number);
                partitions.push(match exists {
                    None => answer
                        .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                        .with_error_message(Some(text("This server does not host this topic-partition."))),
                    Some(image) => {
                        let name = image.name.to_string();
                        let entry =
                            states.initializing.entry(image.id).or_insert_with(|| (name, Default::default()));
                        entry.1.insert(number);
                        let start_offset = partition.start_offset;
                        wanted.push((image.id, number, StateOf::Initialize { start_offset }));
                        answer
                    }
                });
            }
            topics.push(
                AlterShareGroupOffsetsResponseTopic::default()
                    .with_topic_name(topic.topic_name.clone())
                    .with_topic_id(image.map_or(Uuid::nil(), |image| image.id))
                    .with_partitions(partitions),
            );
        }
        let response = AlterShareGroupOffsetsResponse::default().with_responses(topics);
        if wanted.is_empty() {
            return effects.answer(token, GroupAnswer::AlterShareOffsets(response));
        }
        group.order(&states, wanted, Pending::Alter(token, response), &mut step);
    }

    /// Deletes the states of topics of a group without members.
    pub(in crate::coordinator::group) fn delete_share_offsets(
        &mut self,
        moment: &Moment,
        token: Token,
        request: &DeleteShareGroupOffsetsRequest,
        effects: &mut EffectsOf<Groups>,
    ) {
        let (group, mut step) = match self.idle_share(&request.group_id, moment, effects) {
            Ok(idle) => idle,
            Err(error) => {
                let response = DeleteShareGroupOffsetsResponse::default()
                    .with_error_code(error.code())
                    .with_error_message(Some(text(&error.to_string())));
                return effects.answer(token, GroupAnswer::DeleteShareOffsets(response));
            }
        };
        let (mut states, mut wanted, mut topics) = (group.states.clone(), Vec::new(), Vec::new());
        for topic in &request.topics {
            let answer =
                DeleteShareGroupOffsetsResponseTopic::default().with_topic_name(topic.topic_name.clone());
            let Some(image) = moment.image.topic(&topic.topic_name) else {
                topics.push(
                    answer
                        .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                        .with_error_message(Some(text("This server does not host this topic-partition."))),
                );
                continue;
            };
            let has = [states.initialized.remove(&image.id), states.initializing.remove(&image.id)];
            for (name, partitions) in has.into_iter().flatten() {
                states.deleting.insert(image.id, name);
                wanted.extend(partitions.into_iter().map(|at| (image.id, at, StateOf::Delete)));
            }
            topics.push(answer.with_topic_id(image.id));
        }
        let response = DeleteShareGroupOffsetsResponse::default().with_responses(topics);
        if wanted.is_empty() {
            return effects.answer(token, GroupAnswer::DeleteShareOffsets(response));
        }
        group.order(&states, wanted, Pending::DeleteOffsets(token, response), &mut step);
    }

    /// Deletes a share group without members, with its states; false when there is no share group of that id.
    pub(in crate::coordinator::group) fn delete_share_group(
        &mut self,
        moment: &Moment,
        token: Token,
        id: &str,
        effects: &mut EffectsOf<Groups>,
    ) -> bool {
        if !matches!(self.groups.get(id), Some(Group::Share(_))) {
            return false;
        }
        let (group, mut step) = match self.idle_share(id, moment, effects) {
            Ok(idle) => idle,
            Err(error) => {
                effects.answer(token, GroupAnswer::Delete(vec![deleted(id, Some(error))]));
                return true;
            }
        };
        let wanted = group.all_states(&moment.image);
        let mut states = States { deleting: group.states.deleting.clone(), ..States::default() };
        for (topic, (name, _)) in group.states.initialized.iter().chain(&group.states.initializing) {
            states.deleting.insert(*topic, name.clone());
        }
        match wanted.is_empty() {
            true => self.end_share_group(token, id, effects),
            false => group.order(&states, wanted, Pending::DeleteGroup(token), &mut step),
        }
        true
    }

    fn end_share_group(&mut self, token: Token, id: &str, effects: &mut EffectsOf<Groups>) {
        let group = || id.to_owned();
        for record in [
            GroupRecord::ShareGroupTargetAssignmentMetadata(group(), None),
            GroupRecord::ShareGroupStatePartitionMetadata(group(), None),
            GroupRecord::ShareGroupMetadata(group(), None),
        ] {
            self.apply_share(id, &record);
            effects.write(record);
        }
        effects.answer(token, GroupAnswer::Delete(vec![deleted(id, None)]));
    }

    /// An order is carried out: one outcome a partition. Of an order of an earlier load nothing is known any more.
    pub fn order_done(
        &mut self,
        moment: &Moment,
        order: &GroupOrder,
        outcomes: &[Result<(), ResponseError>],
        effects: &mut EffectsOf<Groups>,
    ) {
        let Some((_, pending)) = self.pending.remove(&order.number) else { return };
        let failure = outcomes.iter().find_map(|outcome| outcome.err());
        if let Some((group, mut step)) = self.share(&order.group, moment, effects) {
            group.done(order, outcomes, &mut step);
        }
        match pending {
            Pending::SetUp => {}
            Pending::Alter(token, response) => {
                let response = altered(response, order, outcomes);
                effects.answer(token, GroupAnswer::AlterShareOffsets(response));
            }
            Pending::DeleteOffsets(token, mut response) => {
                for topic in &mut response.responses {
                    let of_topic =
                        order.states.iter().zip(outcomes).filter(|(state, _)| state.0 == topic.topic_id);
                    if let Some(error) = of_topic.filter_map(|(_, outcome)| outcome.err()).next() {
                        topic.error_code = error.code();
                        topic.error_message = Some(text(&error.to_string()));
                    }
                }
                effects.answer(token, GroupAnswer::DeleteShareOffsets(response));
            }
            Pending::DeleteGroup(token) => match failure {
                Some(error) => {
                    effects.answer(token, GroupAnswer::Delete(vec![deleted(&order.group, Some(error))]))
                }
                None if self.is_share_in_use(&order.group) => {
                    let result = deleted(&order.group, Some(ResponseError::NonEmptyGroup));
                    effects.answer(token, GroupAnswer::Delete(vec![result]));
                }
                None => self.end_share_group(token, &order.group, effects),
            },
        }
    }

    /// Whether somebody has joined the share group.
    fn is_share_in_use(&self, id: &str) -> bool {
        matches!(self.groups.get(id), Some(Group::Share(group)) if !group.members.is_empty())
    }

    /// Topics were deleted, by name and id.
    pub(in crate::coordinator::group) fn share_topics_deleted(
        &mut self,
        moment: &Moment,
        topics: &[(String, Uuid)],
        effects: &mut EffectsOf<Groups>,
    ) {
        let is_share = |group: &&Group| matches!(group, Group::Share(_));
        let ids: Vec<_> =
            self.groups.iter().filter(|(_, group)| is_share(group)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some((group, mut step)) = self.share(&id, moment, effects) {
                group.topics_deleted(topics, &mut step);
            }
        }
    }
}

fn deleted(id: &str, refusal: Option<ResponseError>) -> DeletableGroupResult {
    let code = refusal.map_or(0, |error| error.code());
    DeletableGroupResult::default().with_group_id(GroupId(text(id))).with_error_code(code)
}

fn altered(
    mut response: AlterShareGroupOffsetsResponse,
    order: &GroupOrder,
    outcomes: &[Result<(), ResponseError>],
) -> AlterShareGroupOffsetsResponse {
    for ((topic, partition, _), outcome) in order.states.iter().zip(outcomes) {
        let Err(error) = outcome else { continue };
        let topics = response.responses.iter_mut().filter(|of| of.topic_id == *topic);
        for answer in topics.flat_map(|of| &mut of.partitions).filter(|of| of.partition_index == *partition) {
            answer.error_code = error.code();
            answer.error_message = Some(text(&error.to_string()));
        }
    }
    response
}
