//! Members of a consumer group that go: they leave, fall silent, or do not give back in time what they must. The alarms of a group.
//!
//! After `consumerGroupFenceMembers` and the timers of Apache Kafka 4.2's `GroupMetadataManager`.

use super::heartbeat::Scene;
use super::serve::setting;
use super::{ConsumerGroup, MemberState, records};
use crate::coordinator::group::Groups;
use crate::coordinator::group::configs::CONSUMER_SESSION;
use crate::coordinator::group::step::millis;
use crate::coordinator::group::timers::Alarm;
use crate::coordinator::records::GroupRecord;
use crate::coordinator::{EffectsOf, Moment};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

impl ConsumerGroup {
    /// The records of members that go: the group's epoch grows, and the others get what they had.
    fn plan_fence(&self, scene: &Scene<'_>, gone: &BTreeSet<Rc<str>>) -> Vec<GroupRecord> {
        let mut written: Vec<GroupRecord> =
            gone.iter().flat_map(|member| records::member_gone(&self.id, member)).collect();
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        let members = gone.iter().filter_map(|id| self.members.get(id));
        let by_expression = members.filter(|member| !member.expression.is_empty());
        by_expression.for_each(|member| *left.entry(&member.expression).or_default() += 1);
        let last = left.into_iter().filter(|(expression, count)| self.subscribed_by(expression) == *count);
        written.extend(last.map(|(expression, _)| records::no_expression(&self.id, expression)));
        let names = self.subscribed_names(None, gone);
        let hash = scene.topics.hash(names.into_iter(), &scene.moment.image);
        written.push(records::epoch(&self.id, self.epoch.saturating_add(1), hash));
        written
    }
}

impl Groups {
    /// Takes members out. If only members are left that speak the classic protocol, the group may become a classic one.
    pub(super) fn fence(
        &mut self,
        moment: &Moment,
        id: &str,
        gone: &BTreeSet<Rc<str>>,
        effects: &mut EffectsOf<Groups>,
    ) {
        self.topics.follow(&moment.image);
        let Some(group) = self.consumer(id).filter(|_| !gone.is_empty()) else { return };
        if self.may_downgrade(group, gone, false) {
            return self.downgrade(moment, id, gone, true, effects);
        }
        let written = group.plan_fence(&self.scene(moment), gone);
        self.write_all(written, effects);
        if let Some((group, _)) = self.consumer_and_timers(id) {
            group.rebalancing_since.get_or_insert(moment.now);
        }
        self.note_stable(moment.now, id);
    }

    /// An alarm of a consumer group rings.
    pub(in crate::coordinator::group) fn ring_consumer(
        &mut self,
        moment: &Moment,
        id: &str,
        alarm: Alarm,
        effects: &mut EffectsOf<Groups>,
    ) {
        match alarm {
            Alarm::Session(member) | Alarm::MemberJoin(member) | Alarm::MemberSync(member) => {
                self.fence_if_there(moment, id, &member, effects);
            }
            Alarm::Rebalance(member, epoch) => {
                let is_late = |group: &ConsumerGroup| {
                    group.members.get(&member).is_some_and(|member| member.epoch == epoch)
                };
                if self.consumer(id).is_some_and(is_late) {
                    self.fence_if_there(moment, id, &member, effects);
                }
            }
            Alarm::Expressions => self.resolve(moment, id, effects),
            Alarm::Join | Alarm::Sync => {}
        }
    }

    fn fence_if_there(
        &mut self,
        moment: &Moment,
        id: &str,
        member: &Rc<str>,
        effects: &mut EffectsOf<Groups>,
    ) {
        if self.consumer(id).is_some_and(|group| group.members.contains_key(member)) {
            self.fence(moment, id, &BTreeSet::from([member.clone()]), effects);
        }
    }

    /// The expressions of a group are resolved.
    fn resolve(&mut self, moment: &Moment, id: &str, effects: &mut EffectsOf<Groups>) {
        self.topics.follow(&moment.image);
        if let Some((group, _)) = self.consumer_and_timers(id) {
            group.resolving = None;
        }
        let Some(group) = self.consumer(id) else { return };
        let (written, bumps) = group.resolve(&self.scene(moment));
        if records::check_sizes(&written, self.config.record_bytes_max).is_err() {
            tracing::error!(
                group = id,
                "the topics that the expressions of a group match do not fit into a record"
            );
            return;
        }
        self.write_all(written, effects);
        if !bumps {
            return;
        }
        self.rebalances.started += 1;
        let version = self.topics.version;
        if let Some((group, _)) = self.consumer_and_timers(id) {
            group.rebalancing_since.get_or_insert(moment.now);
            group.checked = Some(version);
        }
    }

    /// A consumer group was replayed: its members' sessions begin.
    pub(in crate::coordinator::group) fn consumer_loaded(&mut self, moment: &Moment, id: &str) {
        let session_ms = setting(moment, id, CONSUMER_SESSION, self.config.consumer.session_ms);
        let Some((group, timers)) = self.consumer_and_timers(id) else { return };
        for member in group.members.values() {
            let alarms = group.timers.entry(member.id.clone()).or_default();
            let session = Alarm::Session(member.id.clone());
            timers.set(&mut alarms.session, moment.now + millis(session_ms), &group.id, session);
            if member.state == MemberState::UnrevokedPartitions {
                let due = moment.now + millis(member.rebalance_timeout_ms);
                let late = Alarm::Rebalance(member.id.clone(), member.epoch);
                timers.set(&mut alarms.rebalance, due, &group.id, late);
            }
        }
    }
}
