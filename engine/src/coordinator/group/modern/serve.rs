//! ConsumerGroupHeartbeat at the groups of a partition: which group it is for, what is written, and which alarms follow.
//!
//! After `getOrMaybeCreateConsumerGroup` and `consumerGroupLeave` of Apache Kafka 4.2's `GroupMetadataManager`.

use super::heartbeat::{JOIN_EPOCH, LEAVE_EPOCH, Planned, Scene, check_instance, unknown_instance, validate};
use super::member::LEFT_EPOCH;
use super::{Beat, ConsumerGroup, ConsumerState, MemberState, Refusal, migrate, records};
use crate::coordinator::group::classic::ClassicState;
use crate::coordinator::group::configs::{CONSUMER_HEARTBEAT, CONSUMER_SESSION};
use crate::coordinator::group::step::{millis, text};
use crate::coordinator::group::timers::{Alarm, Timers};
use crate::coordinator::group::{Group, GroupAnswer, Groups};
use crate::coordinator::records::GroupRecord;
use crate::coordinator::{EffectsOf, Moment, Token};
use crate::metadata::image::{ConfigKind, ConfigResource};
use hayate_rt::MonoTime;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ConsumerGroupHeartbeatResponse;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use std::collections::BTreeSet;
use std::rc::Rc;

/// What a group itself is set to, or else this.
pub(super) fn setting(moment: &Moment, group: &str, name: &str, otherwise: i32) -> i32 {
    let resource = ConfigResource { kind: ConfigKind::Group, name: group.to_owned() };
    let own = moment.image.config(&resource).and_then(|configs| configs.get(name));
    own.and_then(|value| value.trim().parse().ok()).unwrap_or(otherwise)
}

fn not_found(message: String) -> Refusal {
    Refusal::new(ResponseError::GroupIdNotFound, message)
}

/// What becomes of the group before a member joins it.
enum Room {
    /// It is there.
    There,
    /// It is new, or comes about by these records.
    Made(Vec<GroupRecord>, Box<ConsumerGroup>),
}

impl Groups {
    /// Answers a heartbeat.
    pub(in crate::coordinator::group) fn beat(
        &mut self,
        moment: &Moment,
        token: Token,
        beat: &Beat,
        effects: &mut EffectsOf<Groups>,
    ) {
        self.topics.follow(&moment.image);
        let outcome = match validate(&beat.request, beat.version, &self.config.consumer) {
            Err(refusal) => Err(refusal),
            Ok(()) => match beat.request.member_epoch {
                LEAVE_EPOCH | LEFT_EPOCH => self.leave_consumer(moment, beat, effects),
                _ => self.take_beat(moment, beat, effects),
            },
        };
        let response = outcome.unwrap_or_else(|refusal| {
            ConsumerGroupHeartbeatResponse::default()
                .with_error_code(refusal.error.code())
                .with_error_message(Some(text(&refusal.message)))
        });
        effects.answer(token, GroupAnswer::ConsumerHeartbeat(response));
    }

    /// The consumer group of that id.
    pub(in crate::coordinator::group) fn consumer(&self, id: &str) -> Option<&ConsumerGroup> {
        match self.groups.get(id)? {
            Group::Consumer(group) => Some(group),
            Group::Classic(_) | Group::Share(_) => None,
        }
    }

    /// The consumer group of that id.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, also for groups of other kinds.
    pub(super) fn existing_consumer(&self, id: &str) -> Result<&ConsumerGroup, Refusal> {
        match self.groups.get(id) {
            Some(Group::Consumer(group)) => Ok(group),
            Some(Group::Classic(_) | Group::Share(_)) => {
                Err(not_found(format!("Group {id} is not a consumer group.")))
            }
            None => Err(not_found(format!("Group {id} not found."))),
        }
    }

    /// The consumer group of that id, to be changed in what no record tells, and the alarms.
    pub(in crate::coordinator::group) fn consumer_and_timers(
        &mut self,
        id: &str,
    ) -> Option<(&mut ConsumerGroup, &mut Timers)> {
        match self.groups.get_mut(id)? {
            Group::Consumer(group) => Some((group, &mut self.timers)),
            Group::Classic(_) | Group::Share(_) => None,
        }
    }

    pub(super) fn scene<'a>(&'a self, moment: &'a Moment) -> Scene<'a> {
        Scene { config: &self.config, moment, topics: &self.topics }
    }

    fn take_beat(
        &mut self,
        moment: &Moment,
        beat: &Beat,
        effects: &mut EffectsOf<Groups>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let id = beat.request.group_id.as_str();
        let room = self.room(moment, id, beat.request.member_epoch == JOIN_EPOCH)?;
        let (mut written, made) = match room {
            Room::There => (Vec::new(), None),
            Room::Made(written, group) => (written, Some(group)),
        };
        let scene = self.scene(moment);
        let group = match &made {
            Some(group) => group,
            None => self.existing_consumer(id)?,
        };
        let planned = group.plan_heartbeat(&scene, beat, &mut written)?;
        records::check_sizes(&written, self.config.record_bytes_max)?;
        if made.is_some() {
            self.call_off_classic(moment, id, effects);
        }
        self.write_all(written, effects);
        if made.is_some() {
            self.begin_classic_sessions(moment, id);
        }
        self.follow_plan(moment, id, &planned);
        let session_ms = setting(moment, id, CONSUMER_SESSION, self.config.consumer.session_ms);
        self.set_session(moment, id, &planned.member.id, session_ms);
        if planned.reconciles {
            self.set_rebalance(moment, id, &planned);
        }
        self.note_stable(moment.now, id);
        let heartbeat_ms = setting(moment, id, CONSUMER_HEARTBEAT, self.config.consumer.heartbeat_ms);
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(text(&planned.member.id)))
            .with_member_epoch(planned.member.epoch)
            .with_heartbeat_interval_ms(heartbeat_ms);
        Ok(response.with_assignment(planned.tells_assignment.then(|| told(&planned))))
    }

    /// Finds the group for a heartbeat, or what makes it.
    fn room(&self, moment: &Moment, id: &str, joins: bool) -> Result<Room, Refusal> {
        match self.groups.get(id) {
            Some(Group::Consumer(_)) => Ok(Room::There),
            None if joins => Ok(Room::Made(Vec::new(), Box::new(ConsumerGroup::empty(id)))),
            Some(Group::Classic(group)) if joins && group.state == ClassicState::Empty => {
                let gone = vec![GroupRecord::GroupMetadata(id.to_owned(), None)];
                Ok(Room::Made(gone, Box::new(ConsumerGroup::empty(id))))
            }
            Some(Group::Classic(group)) if joins => {
                let (written, group) = migrate::upgrade(group, &self.scene(moment))?;
                Ok(Room::Made(written, Box::new(group)))
            }
            None => Err(not_found(format!("Consumer group {id} not found."))),
            Some(Group::Classic(_) | Group::Share(_)) => self.existing_consumer(id).map(|_| Room::There),
        }
    }

    /// Writes records, and applies them.
    pub(in crate::coordinator::group) fn write_all(
        &mut self,
        written: Vec<GroupRecord>,
        effects: &mut EffectsOf<Groups>,
    ) {
        for record in written {
            self.apply_group_record(&record);
            effects.write(record);
        }
    }

    /// What follows from a plan besides its records.
    pub(super) fn follow_plan(&mut self, moment: &Moment, id: &str, planned: &Planned) {
        let version = self.topics.version;
        if planned.bumps {
            self.rebalances.started += 1;
        }
        let Some((group, timers)) = self.consumer_and_timers(id) else { return };
        if planned.bumps {
            group.rebalancing_since.get_or_insert(moment.now);
        }
        if planned.checks {
            group.checked = Some(version);
        }
        if planned.resolves {
            let of = group.id.clone();
            timers.set(&mut group.resolving, moment.now, &of, Alarm::Expressions);
        }
    }

    /// A rebalance is over when everybody has come to the target.
    pub(super) fn note_stable(&mut self, now: MonoTime, id: &str) {
        let Some((group, _)) = self.consumer_and_timers(id) else { return };
        if group.rebalancing_since.is_none() {
            return;
        }
        match group.state() {
            ConsumerState::Assigning | ConsumerState::Reconciling => {}
            ConsumerState::Empty => group.rebalancing_since = None,
            ConsumerState::Stable => {
                let since = group.rebalancing_since.take();
                self.rebalances.completed += 1;
                self.rebalances.spent += since.map(|since| now.since(since)).unwrap_or_default();
            }
        }
    }

    /// Begins a member's session anew.
    pub(super) fn set_session(&mut self, moment: &Moment, id: &str, member: &Rc<str>, timeout_ms: i32) {
        let Some((group, timers)) = self.consumer_and_timers(id) else { return };
        let slot = &mut group.timers.entry(member.clone()).or_default().session;
        timers.set(slot, moment.now + millis(timeout_ms), &group.id, Alarm::Session(member.clone()));
    }

    /// A member that is to give something back has its time for that; another needs none.
    pub(super) fn set_rebalance(&mut self, moment: &Moment, id: &str, planned: &Planned) {
        let member = &planned.member;
        let Some((group, timers)) = self.consumer_and_timers(id) else { return };
        let slot = &mut group.timers.entry(member.id.clone()).or_default().rebalance;
        match member.state {
            MemberState::UnrevokedPartitions => {
                let due = moment.now + millis(member.rebalance_timeout_ms);
                timers.set(slot, due, &group.id, Alarm::Rebalance(member.id.clone(), member.epoch));
            }
            MemberState::Stable | MemberState::UnreleasedPartitions | MemberState::Unknown(_) => {
                timers.cancel(slot);
            }
        }
    }

    /// A member leaves, for ever or, a static one, for a while.
    fn leave_consumer(
        &mut self,
        moment: &Moment,
        beat: &Beat,
        effects: &mut EffectsOf<Groups>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let request = &beat.request;
        let id = request.group_id.as_str();
        let group = self.existing_consumer(id)?;
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(request.member_id.clone()))
            .with_member_epoch(request.member_epoch);
        let member = match request.instance_id.as_deref() {
            None => group.member(&request.member_id)?,
            Some(instance) => {
                let member = group.of_instance(instance).ok_or_else(|| unknown_instance(instance))?;
                check_instance(member, &request.member_id, instance)?;
                member
            }
        };
        if request.instance_id.is_some() && request.member_epoch == LEFT_EPOCH {
            let mut left = member.clone();
            (left.epoch, left.revoking) = (LEFT_EPOCH, Rc::default());
            let written = vec![records::progress(id, &left)];
            self.write_all(written, effects);
        } else {
            let gone = BTreeSet::from([member.id.clone()]);
            self.fence(moment, id, &gone, effects);
        }
        Ok(response)
    }
}

/// What a member has, for an answer.
fn told(planned: &Planned) -> Assignment {
    let each = planned.member.assigned.iter().map(|(topic, numbers)| {
        TopicPartitions::default().with_topic_id(*topic).with_partitions(numbers.iter().copied().collect())
    });
    Assignment::default().with_topic_partitions(each.collect())
}
