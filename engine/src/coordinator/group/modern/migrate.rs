//! A group that changes its kind while it has members: a classic one when a member comes that speaks the consumer protocol, a consumer group
//! when the last such member has gone.
//!
//! After `convertToConsumerGroup` and `convertToClassicGroup` of Apache Kafka 4.2's `GroupMetadataManager`; KIP-848, "Online Migration".

use super::heartbeat::Scene;
use super::{CONSUMER, ConsumerGroup, Member, Refusal, embedded, records};
use crate::coordinator::assignor::Partitions;
use crate::coordinator::group::classic::{ClassicGroup, ClassicState};
use crate::coordinator::group::member::{Member as ClassicMember, Protocol};
use crate::coordinator::group::timers::Timers;
use crate::coordinator::group::{Group, Groups};
use crate::coordinator::records::{ClassicMemberMetadata, ClassicProtocol, GroupRecord};
use crate::coordinator::{EffectsOf, Moment};
use crate::metadata::image::MetadataImage;
use kafka_protocol::ResponseError;
use std::collections::BTreeSet;
use std::rc::Rc;

/// What makes a classic group a consumer group: the records, and the group that they make.
///
/// # Errors
/// `GROUP_ID_NOT_FOUND` if it may not or cannot become one.
pub(super) fn upgrade(
    classic: &ClassicGroup,
    scene: &Scene<'_>,
) -> Result<(Vec<GroupRecord>, ConsumerGroup), Refusal> {
    let refuse = |why: &str| {
        let message = format!("Cannot upgrade classic group {} to consumer group because {why}.", classic.id);
        Refusal::new(ResponseError::GroupIdNotFound, message)
    };
    let config = &scene.config.consumer;
    if !config.migration.upgrades() {
        return Err(refuse("online upgrade is disabled"));
    }
    if !classic.uses_consumer_protocol() {
        return Err(refuse("the group does not use the consumer embedded protocol"));
    }
    if classic.members.len() > config.size_max {
        return Err(refuse("the group size exceeds the consumer group maximum size"));
    }
    let members = classic.members.iter().map(|(id, member)| {
        let told = classic.protocol.as_deref().map(|protocol| member.metadata(protocol));
        let told = told.or_else(|| member.protocols.first().map(|protocol| protocol.metadata.clone()));
        let told = told.and_then(|told| embedded::subscription(&told));
        let assigned = embedded::assignment(&member.assignment);
        let (Some(told), Some(assigned)) = (told, assigned) else {
            return Err(refuse("the embedded consumer protocol is malformed"));
        };
        if assigned.has_user_data {
            return Err(refuse(
                "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before \
                 re-attempting the upgrade",
            ));
        }
        let assigned = embedded::by_id(&assigned.partitions, &scene.moment.image);
        Ok(converted(id, member, classic.generation, &told, assigned))
    });
    let members: Vec<Member> = members.collect::<Result<_, _>>()?;
    let made = records_of(classic, &members, scene);
    let mut group = ConsumerGroup::empty(&classic.id);
    let mut alarms = Timers::default();
    for record in &made {
        group.apply(record, &mut alarms);
    }
    let mut written = vec![GroupRecord::GroupMetadata(classic.id.as_ref().into(), None)];
    written.extend(made);
    Ok((written, group))
}

/// A member of a classic group as one of a consumer group. It has what it had, and that is its target.
fn converted(
    id: &str,
    member: &ClassicMember,
    generation: i32,
    told: &embedded::Subscription,
    assigned: Partitions,
) -> Member {
    let mut converted = Member::new(id);
    (converted.epoch, converted.previous_epoch) = (generation, generation);
    converted.instance = member.instance.clone();
    converted.rack = (!told.rack.is_empty()).then(|| told.rack.as_str().into());
    converted.rebalance_timeout_ms = member.rebalance_timeout_ms;
    converted.client_id = member.client_id.clone();
    converted.client_host = member.client_host.clone();
    converted.tell_topics(told.topics.iter().map(String::as_str));
    converted.assigned = Rc::new(assigned);
    let protocols = member.protocols.iter().map(|protocol| ClassicProtocol {
        name: protocol.name.as_ref().into(),
        metadata: protocol.metadata.clone(),
    });
    converted.classic = Some(Rc::new(ClassicMemberMetadata {
        session_timeout_ms: member.session_timeout_ms,
        supported_protocols: protocols.collect(),
    }));
    converted
}

fn records_of(classic: &ClassicGroup, members: &[Member], scene: &Scene<'_>) -> Vec<GroupRecord> {
    let names: BTreeSet<&str> =
        members.iter().flat_map(|member| member.topics.iter().map(|name| &**name)).collect();
    let hash = scene.topics.hash(names.into_iter(), &scene.moment.image);
    let mut written: Vec<GroupRecord> =
        members.iter().map(|member| records::told(&classic.id, member)).collect();
    written.push(records::epoch(&classic.id, classic.generation, hash));
    written.extend(members.iter().map(|member| records::target(&classic.id, &member.id, &member.assigned)));
    written.push(records::target_epoch(&classic.id, classic.generation));
    written.extend(members.iter().map(|member| records::progress(&classic.id, member)));
    written
}

/// A consumer group as a classic one, without some members. All others speak the classic protocol.
fn to_classic(
    group: &ConsumerGroup,
    gone: &BTreeSet<Rc<str>>,
    image: &MetadataImage,
    wall_ms: i64,
) -> ClassicGroup {
    let mut classic = ClassicGroup::empty(&group.id, Some(wall_ms));
    classic.generation = group.epoch;
    let mut alarms = Timers::default();
    for member in group.members.values().filter(|member| !gone.contains(&member.id)) {
        let Some(told) = &member.classic else { continue };
        let target = group.targets.get(&member.id).cloned().unwrap_or_default();
        let version = told.supported_protocols.first();
        let version = version.and_then(|protocol| embedded::version_of(&protocol.metadata));
        let assignment = embedded::write_assignment(&target, version.unwrap_or_default(), image);
        let protocols = told.supported_protocols.iter().map(|protocol| Protocol {
            name: protocol.name.as_str().into(),
            metadata: protocol.metadata.clone(),
        });
        let converted = ClassicMember {
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: told.session_timeout_ms,
            protocols: protocols.collect(),
            assignment,
            joining: None,
            syncing: None,
            is_new: false,
            session: None,
        };
        classic.add(&member.id, converted, CONSUMER, &mut alarms);
    }
    classic.agree();
    classic.state = ClassicState::Stable;
    classic
}

/// The most bytes that a member takes in the one record of a classic group.
fn classic_bytes(group: &ConsumerGroup, member: &Member) -> usize {
    const FIXED_BYTES: usize = 64;
    const TOPIC_BYTES: usize = 256;
    let target = group.targets.get(&member.id);
    let places = target.iter().flat_map(|target| target.values());
    let assignment: usize = places.map(|numbers| TOPIC_BYTES + 4 * numbers.len()).sum();
    let told = member.classic.iter().flat_map(|told| &told.supported_protocols);
    let told = told.map(|protocol| protocol.name.len() + protocol.metadata.len()).max();
    let names = member.id.len() + member.client_id.len() + member.client_host.len();
    FIXED_BYTES + names + told.unwrap_or(0) + assignment
}

impl Groups {
    /// May the group become a classic one if these members go, and perhaps one comes?
    pub(super) fn may_downgrade(&self, group: &ConsumerGroup, gone: &BTreeSet<Rc<str>>, joins: bool) -> bool {
        let left = group.members.keys().filter(|id| !gone.contains(*id)).count() + usize::from(joins);
        let stays = |member: &&Member| !gone.contains(&member.id);
        let bytes: usize =
            group.members.values().filter(stays).map(|member| classic_bytes(group, member)).sum();
        group.all_classic_but(gone)
            && left > 0
            && bytes <= self.config.record_bytes_max
            && self.config.consumer.migration.downgrades()
            && left <= self.config.size_max
    }

    /// Makes a consumer group a classic one, without some members.
    pub(super) fn downgrade(
        &mut self,
        moment: &Moment,
        id: &str,
        gone: &BTreeSet<Rc<str>>,
        rebalances: bool,
        effects: &mut EffectsOf<Groups>,
    ) {
        let Some(group) = self.consumer(id) else { return };
        let classic = to_classic(group, gone, &moment.image, moment.wall_ms);
        let written = group.tombstones();
        self.write_all(written, effects);
        self.groups.insert(classic.id.clone(), Group::Classic(classic));
        tracing::info!(group = id, "a consumer group has become a classic group");
        let Some((group, mut step)) = self.classic(id, moment, effects) else { return };
        group.write(&mut step, |_, member| member.assignment.clone());
        for member in group.ids(|_| true) {
            group.keep_alive(&member, &mut step);
        }
        if rebalances {
            group.prepare_rebalance(&mut step);
        }
    }

    /// Who waits in a classic group that is about to become a consumer group is told to join again.
    pub(super) fn call_off_classic(&mut self, moment: &Moment, id: &str, effects: &mut EffectsOf<Groups>) {
        let Some((group, mut step)) = self.classic(id, moment, effects) else { return };
        for member in group.ids(|member| member.joining.is_some()) {
            if let Some(waiting) = group.take_join(&member) {
                step.refuse_join(waiting, &member, ResponseError::RebalanceInProgress);
            }
        }
        group.answer_syncs(Some(ResponseError::RebalanceInProgress), &mut step);
    }

    /// The sessions of members begin that came over from a classic group.
    pub(super) fn begin_classic_sessions(&mut self, moment: &Moment, id: &str) {
        let members = self.consumer(id).into_iter().flat_map(|group| group.members.values());
        let sessions = members
            .filter_map(|member| Some((member.id.clone(), member.classic.as_ref()?.session_timeout_ms)));
        let sessions: Vec<(Rc<str>, i32)> = sessions.collect();
        if !sessions.is_empty() {
            tracing::info!(group = id, "a classic group has become a consumer group");
        }
        for (member, session_ms) in sessions {
            self.set_session(moment, id, &member, session_ms);
        }
    }
}
