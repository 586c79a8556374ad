//! ConsumerGroupHeartbeat: a member joins, lives, changes what it is subscribed to, says what it has, and hears what it is to have.
//!
//! Pure: from a group as it is and a request come the records that bring it further. After `GroupMetadataManager.consumerGroupHeartbeat`
//! of Apache Kafka 4.2, whose steps and words these are.

use super::expressions::{self, Update};
use super::member::{LEFT_EPOCH, Member};
use super::metadata::{TopicIds, TopicWatch};
use super::reconcile::Reconciling;
use super::{ConsumerGroup, ConsumerGroupConfig, Refusal, records};
use crate::coordinator::Moment;
use crate::coordinator::assignor::Partitions;
use crate::coordinator::group::{ClientInfo, GroupConfig};
use crate::coordinator::records::GroupRecord;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ConsumerGroupHeartbeatRequest;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use std::collections::BTreeSet;
use std::rc::Rc;
use uuid::Uuid;

/// The epoch of a request to join.
pub(super) const JOIN_EPOCH: i32 = 0;
/// The epoch of a request to leave.
pub(super) const LEAVE_EPOCH: i32 = -1;
/// First version whose clients make their member ids themselves.
const OWN_MEMBER_IDS_SINCE: i16 = 1;

/// A heartbeat with what comes along.
#[derive(Debug)]
pub(in crate::coordinator::group) struct Beat {
    pub(in crate::coordinator::group) request: Box<ConsumerGroupHeartbeatRequest>,
    pub(in crate::coordinator::group) version: i16,
    pub(in crate::coordinator::group) client: ClientInfo,
    /// Drawn for the id of a member that has none.
    pub(in crate::coordinator::group) fresh_id: Uuid,
}

/// What holds for a step, besides the group.
#[derive(Clone, Copy)]
pub(in crate::coordinator::group) struct Scene<'a> {
    pub(in crate::coordinator::group) config: &'a GroupConfig,
    pub(in crate::coordinator::group) moment: &'a Moment,
    pub(in crate::coordinator::group) topics: &'a TopicWatch,
}

/// What a step makes of a member, besides its records.
#[derive(Debug)]
pub(in crate::coordinator::group) struct Planned {
    /// The member as it comes to be.
    pub(super) member: Member,
    /// The group's epoch has grown.
    pub(super) bumps: bool,
    /// The topics were compared with the metadata hash.
    pub(super) checks: bool,
    /// The member has come further, or was asked to give something back.
    pub(super) reconciles: bool,
    /// The group's expressions are to be resolved.
    pub(super) resolves: bool,
    /// The member is told what it has.
    pub(super) tells_assignment: bool,
}

/// An id for a member that has none, as Kafka writes its own: 22 letters, the first of them no dash.
pub(super) fn new_member_id(drawn: Uuid) -> String {
    let mut bytes = drawn.into_bytes();
    let text = URL_SAFE_NO_PAD.encode(bytes);
    if !text.starts_with('-') {
        return text;
    }
    bytes[0] ^= 0x80;
    URL_SAFE_NO_PAD.encode(bytes)
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(ResponseError::InvalidRequest, message)
}

/// Is the request good in itself?
pub(super) fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    config: &ConsumerGroupConfig,
) -> Result<(), Refusal> {
    let epoch = request.member_epoch;
    // Spaces and control characters alone are no name.
    let is_blank = |text: &str| text.chars().all(|sign| sign <= ' ');
    let is_empty = |text: Option<&str>| text.is_some_and(is_blank);
    let needs_id = version >= OWN_MEMBER_IDS_SINCE || epoch > JOIN_EPOCH || epoch == LEAVE_EPOCH;
    if needs_id && is_blank(&request.member_id) {
        return Err(invalid("MemberId can't be empty."));
    }
    if is_blank(&request.group_id) {
        return Err(invalid("GroupId can't be empty."));
    }
    if is_empty(request.instance_id.as_deref()) {
        return Err(invalid("InstanceId can't be empty."));
    }
    if is_empty(request.rack_id.as_deref()) {
        return Err(invalid("RackId can't be empty."));
    }
    if epoch == JOIN_EPOCH {
        validate_join(request)?;
    } else if epoch == LEFT_EPOCH && request.instance_id.is_none() {
        return Err(invalid("InstanceId can't be null."));
    } else if epoch < LEFT_EPOCH {
        return Err(invalid("MemberEpoch is invalid."));
    }
    match &request.server_assignor {
        Some(name) if !config.assignors.iter().any(|assignor| assignor.name() == name.as_str()) => {
            let all: Vec<&str> = config.assignors.iter().map(|assignor| assignor.name()).collect();
            let message =
                format!("ServerAssignor {name} is not supported. Supported assignors: {}.", all.join(", "));
            Err(Refusal::new(ResponseError::UnsupportedAssignor, message))
        }
        Some(_) | None => Ok(()),
    }
}

fn validate_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    if request.rebalance_timeout_ms == -1 {
        return Err(invalid("RebalanceTimeoutMs must be provided in first request."));
    }
    if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
        return Err(invalid("TopicPartitions must be empty when (re-)joining."));
    }
    if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        let message =
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";
        return Err(invalid(message));
    }
    Ok(())
}

/// The partitions that a request tells of.
fn owned(told: &[TopicPartitions]) -> Partitions {
    let mut owned = Partitions::new();
    for topic in told {
        owned.entry(topic.topic_id).or_default().extend(&topic.partitions);
    }
    owned
}

/// Who asks to be a member, or is one.
pub(super) struct Caller<'a> {
    pub(super) id: &'a str,
    pub(super) instance: Option<&'a str>,
    /// What it takes for its epoch, and the partitions that it has; `None` for one who speaks the classic protocol.
    pub(super) epoch: Option<(i32, Option<&'a Partitions>)>,
    /// A new member is made if there is none.
    pub(super) joins: bool,
}

impl ConsumerGroup {
    /// Has the group room for a member of that id?
    ///
    /// # Errors
    /// `GROUP_MAX_SIZE_REACHED`.
    pub(super) fn check_room(&self, id: &str, size_max: usize) -> Result<(), Refusal> {
        if self.members.len() < size_max || (!id.is_empty() && self.members.contains_key(id)) {
            return Ok(());
        }
        let message = format!("The consumer group has reached its maximum capacity of {size_max} members.");
        Err(Refusal::new(ResponseError::GroupMaxSizeReached, message))
    }

    /// The member that calls, a new one if it joins. A static one that returns takes the place of the one before.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_MEMBER_EPOCH`, `UNRELEASED_INSTANCE_ID`, `FENCED_INSTANCE_ID`.
    pub(super) fn caller(
        &self,
        caller: &Caller<'_>,
        written: &mut Vec<GroupRecord>,
    ) -> Result<Member, Refusal> {
        let Some(instance) = caller.instance else {
            let member = match self.members.get(caller.id) {
                Some(member) => member.clone(),
                None if caller.joins => Member::new(caller.id),
                None => self.member(caller.id)?.clone(),
            };
            check_epoch(&member, caller)?;
            return Ok(member);
        };
        match self.of_instance(instance) {
            None if caller.joins => {
                Ok(self.members.get(caller.id).cloned().unwrap_or_else(|| Member::new(caller.id)))
            }
            None => Err(unknown_instance(instance)),
            Some(before) if caller.joins => {
                if caller.epoch.is_some() && !before.is_classic() && before.epoch != LEFT_EPOCH {
                    return Err(unreleased(caller.id, instance, &before.id));
                }
                let member = before.successor(caller.id);
                written.extend(records::member_gone(&self.id, &before.id));
                written.push(records::told(&self.id, &member));
                let target = self.targets.get(&before.id).cloned().unwrap_or_default();
                written.push(records::target(&self.id, caller.id, &target));
                written.push(records::progress(&self.id, &member));
                Ok(member)
            }
            Some(member) => {
                check_instance(member, caller.id, instance)?;
                check_epoch(member, caller)?;
                Ok(member.clone())
            }
        }
    }

    /// What a heartbeat brings about.
    ///
    /// # Errors
    /// [`Refusal`]: nothing is to be written.
    pub(in crate::coordinator::group) fn plan_heartbeat(
        &self,
        scene: &Scene<'_>,
        beat: &Beat,
        written: &mut Vec<GroupRecord>,
    ) -> Result<Planned, Refusal> {
        let request = &beat.request;
        self.check_room(&request.member_id, scene.config.consumer.size_max)?;
        let fresh = new_member_id(beat.fresh_id);
        let id = if request.member_id.is_empty() { &fresh } else { request.member_id.as_str() };
        let owned = request.topic_partitions.as_deref().map(owned);
        let joins = request.member_epoch == JOIN_EPOCH;
        let instance = request.instance_id.as_deref();
        let epoch = Some((request.member_epoch, owned.as_ref()));
        let member = self.caller(&Caller { id, instance, epoch, joins }, written)?;
        let mut updated = member.clone();
        beat.tell(&mut updated);
        let change = Change { group: self, scene, member: &member, owned: owned.as_ref() };
        let mut planned = change.plan(updated, |update| update == Update::Resolved, written)?;
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && owned.is_some();
        planned.tells_assignment = joins || is_full || planned.member.assigned != member.assigned;
        Ok(planned)
    }
}

impl Beat {
    /// Brings a member to what the request tells; what it leaves out stays.
    fn tell(&self, member: &mut Member) {
        let request = &self.request;
        let text = |told: &Option<kafka_protocol::protocol::StrBytes>| told.as_deref().map(Box::<str>::from);
        member.instance = text(&request.instance_id).or(member.instance.take());
        member.rack = text(&request.rack_id).or(member.rack.take());
        if request.rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        member.assignor = text(&request.server_assignor).or(member.assignor.take());
        if let Some(names) = &request.subscribed_topic_names {
            member.tell_topics(names.iter().map(|name| name.as_str()));
        }
        if let Some(expression) = &request.subscribed_topic_regex {
            member.expression = expression.as_str().into();
        }
        member.client_id = self.client.client_id.as_str().into();
        member.client_host = self.client.client_host.as_str().into();
        member.classic = None;
    }
}

impl Member {
    /// Takes over the topics that it is subscribed to by name.
    pub(super) fn tell_topics<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let names: BTreeSet<Box<str>> = names.map(Into::into).collect();
        if *self.topics != names {
            self.topics = Rc::new(names);
        }
    }
}

/// A member of a group that comes to be another.
pub(super) struct Change<'a> {
    pub(super) group: &'a ConsumerGroup,
    pub(super) scene: &'a Scene<'a>,
    /// As it was.
    pub(super) member: &'a Member,
    /// The partitions that it says to have; `None` if it says nothing.
    pub(super) owned: Option<&'a Partitions>,
}

/// How far a change of a member has come.
pub(super) struct Subscribed {
    /// The group's epoch now.
    pub(super) epoch: i32,
    pub(super) bumps: bool,
    pub(super) checks: bool,
    pub(super) resolves: bool,
    /// The member has changed what it is subscribed to.
    pub(super) changed: bool,
}

impl Change<'_> {
    /// Writes what the change asks for: the member, the group's epoch, the target, what the member has. `bumps_for` says for which
    /// changes of expressions the group rebalances at once.
    ///
    /// # Errors
    /// [`Refusal`]: nothing is to be written.
    pub(super) fn plan(
        &self,
        updated: Member,
        bumps_for: impl Fn(Update) -> bool,
        written: &mut Vec<GroupRecord>,
    ) -> Result<Planned, Refusal> {
        let subscribed = self.subscribe(&updated, bumps_for, written)?;
        let (target_epoch, target) = if subscribed.epoch > self.group.target_epoch {
            let target = self.group.compute_target(self.scene, subscribed.epoch, &updated, written)?;
            (subscribed.epoch, target)
        } else {
            (self.group.target_epoch, self.group.target(&updated))
        };
        let (member, reconciles) =
            self.reconcile(updated, (target_epoch, &target), subscribed.changed, written)?;
        let Subscribed { bumps, checks, resolves, .. } = subscribed;
        Ok(Planned { member, bumps, checks, reconciles, resolves, tells_assignment: false })
    }

    /// The first part: the member, and the group's epoch.
    pub(super) fn subscribe(
        &self,
        updated: &Member,
        bumps_for: impl Fn(Update) -> bool,
        written: &mut Vec<GroupRecord>,
    ) -> Result<Subscribed, Refusal> {
        let Change { group, scene, member, .. } = *self;
        if updated != member {
            written.push(records::told(&group.id, updated));
        }
        let names_changed = updated.topics != member.topics;
        let (update, resolves) = expressions::update(group, scene, member, updated, written)?;
        let mut bumps = group.epoch == 0 || names_changed || bumps_for(update);
        let checks = bumps || group.checked != Some(scene.topics.version);
        let mut epoch = group.epoch;
        if checks {
            let names = group.subscribed_names(Some(updated), &BTreeSet::new());
            let hash = scene.topics.hash(names.into_iter(), &scene.moment.image);
            bumps |= hash != group.metadata_hash;
            if bumps {
                epoch = epoch.saturating_add(1);
                written.push(records::epoch(&group.id, epoch, hash));
            }
            if group.has_old_metadata {
                written.push(GroupRecord::ConsumerGroupPartitionMetadata(group.id.as_ref().into(), None));
            }
        }
        let changed = names_changed || update != Update::None;
        Ok(Subscribed { epoch, bumps, checks, resolves, changed })
    }

    /// The last part: the member comes to the target as far as it can. Says whether anything of it has changed.
    pub(super) fn reconcile(
        &self,
        updated: Member,
        target: (i32, &Partitions),
        subscription_changed: bool,
        written: &mut Vec<GroupRecord>,
    ) -> Result<(Member, bool), Refusal> {
        let (target_epoch, target) = target;
        if !subscription_changed && updated.is_reconciled_to(target_epoch) {
            return Ok((updated, false));
        }
        let subscribed = TopicIds::new(self.group, &self.scene.moment.image).of(&updated);
        let reconciling = Reconciling {
            group: self.group,
            target_epoch,
            target,
            subscribed: &subscribed,
            subscription_changed,
            owned: self.owned,
        };
        let next = reconciling.step(&updated)?;
        let differs = next != updated;
        if differs {
            written.push(records::progress(&self.group.id, &next));
        }
        Ok((next, differs))
    }
}

/// Does the caller know its epoch? One step behind is forgiven if it has nothing that it must not have: it may have missed an answer.
fn check_epoch(member: &Member, caller: &Caller<'_>) -> Result<(), Refusal> {
    let Some((told, owned)) = caller.epoch.filter(|(told, _)| *told != JOIN_EPOCH) else { return Ok(()) };
    let has_no_more = || {
        let has = |topic: &Uuid| member.assigned.get(topic);
        owned.is_some_and(|owned| {
            owned.iter().all(|(topic, numbers)| has(topic).is_some_and(|has| numbers.is_subset(has)))
        })
    };
    let fenced = |than: &str| {
        let message = format!(
            "The consumer group member has a {than} member epoch ({told}) than the one known by the group coordinator ({}). The member \
             must abandon all its partitions and rejoin.",
            member.epoch
        );
        Err(Refusal::new(ResponseError::FencedMemberEpoch, message))
    };
    if told > member.epoch {
        fenced("greater")
    } else if told < member.epoch && (told != member.previous_epoch || !has_no_more()) {
        fenced("smaller")
    } else {
        Ok(())
    }
}

pub(super) fn unknown_instance(instance: &str) -> Refusal {
    Refusal::new(ResponseError::UnknownMemberId, format!("Instance id {instance} is unknown."))
}

/// Is the caller the one that has its instance id?
pub(super) fn check_instance(member: &Member, id: &str, instance: &str) -> Result<(), Refusal> {
    if *member.id == *id {
        return Ok(());
    }
    let by = &member.id;
    let message = format!("Static member {id} with instance id {instance} was fenced by member {by}.");
    Err(Refusal::new(ResponseError::FencedInstanceId, message))
}

fn unreleased(id: &str, instance: &str, owner: &str) -> Refusal {
    let message = format!(
        "Static member {id} with instance id {instance} cannot join the group because the instance id is owned by {owner} member."
    );
    Refusal::new(ResponseError::UnreleasedInstanceId, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_members_look_as_kafkas() {
        assert_eq!(new_member_id(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
        let dash = Uuid::from_u128(0b1111_1011 << 120);
        assert_eq!(new_member_id(dash), "ewAAAAAAAAAAAAAAAAAAAA");
    }
}
