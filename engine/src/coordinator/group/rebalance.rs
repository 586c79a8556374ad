//! The rebalance of a classic group: from the call to join, over the members that came, to the next generation; and
//! what becomes of members that are silent.
//!
//! After `GroupMetadataManager` of Apache Kafka 4.2 (`prepareRebalance`, `completeClassicGroupJoin`,
//! `tryCompleteInitialRebalanceElseSchedule`, `expirePendingSync`); KIP-134 (the delay of a first rebalance).

use super::classic::{ClassicGroup, ClassicState, InitialDelay};
use super::member::Member;
use super::timers::Alarm;
use super::{Step, sync_answer};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::rc::Rc;

/// The least time between two looks whether a static member has come back.
const REPEATED_WAIT_MS_MIN: i32 = 1000;

impl ClassicGroup {
    /// Begins a rebalance, or, if one is under way, ends its first phase when all have joined.
    pub(super) fn rebalance_or_complete(&mut self, step: &mut Step<'_>) {
        match self.state {
            ClassicState::Preparing { .. } => self.maybe_complete_join(step),
            ClassicState::Empty | ClassicState::Completing | ClassicState::Stable => {
                self.prepare_rebalance(step)
            }
        }
    }

    /// Ends the phase of joining if all have joined. A first rebalance waits for its delay all the same.
    pub(super) fn maybe_complete_join(&mut self, step: &mut Step<'_>) {
        if self.state == (ClassicState::Preparing { initial: false }) && self.all_joined() {
            self.complete_join(step);
        }
    }

    /// Calls all members to join.
    pub(super) fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        if self.state == ClassicState::Completing {
            self.call_off_assignment(step);
        }
        self.pending_sync.clear();
        step.timers.cancel(&mut self.sync_timer);
        let initial = self.state == ClassicState::Empty;
        self.enter(ClassicState::Preparing { initial }, step);
        self.rebalancing_since.get_or_insert(step.moment.now);
        step.rebalances.started += 1;
        if initial {
            let delay_ms = step.config.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
            self.wait_initially(delay_ms, remaining_ms, step);
        } else if self.all_joined() {
            self.complete_join(step);
        } else {
            // Static members alone, of which none has come: they are waited for again, however little time they asked for.
            let timeout_ms = self.rebalance_timeout_ms().max(REPEATED_WAIT_MS_MIN);
            step.set_phase(&mut self.join_timer, &self.id, Alarm::Join, timeout_ms);
        }
    }

    /// Members that wait for their assignments are told to join anew.
    fn call_off_assignment(&mut self, step: &mut Step<'_>) {
        self.members.values_mut().for_each(|member| member.assignment = Bytes::new());
        self.answer_syncs(Some(ResponseError::RebalanceInProgress), step);
    }

    /// Answers all members that wait for their assignments, and begins their sessions anew.
    pub(super) fn answer_syncs(&mut self, error: Option<ResponseError>, step: &mut Step<'_>) {
        let waiting: Vec<Rc<str>> = self.ids(|member| member.syncing.is_some());
        for id in waiting {
            let Some(member) = self.members.get_mut(&id) else { continue };
            let Some(waiting) = member.syncing.take() else { continue };
            let assignment = member.assignment.clone();
            match error {
                Some(error) => step.refuse_sync(waiting, error),
                None => step.answer_sync(waiting, sync_answer(self, assignment)),
            }
            self.keep_alive(&id, step);
        }
    }

    fn wait_initially(&mut self, delay_ms: i32, remaining_ms: i32, step: &mut Step<'_>) {
        self.initial = Some(InitialDelay { delay_ms, remaining_ms });
        step.set_phase(&mut self.join_timer, &self.id, Alarm::Join, delay_ms);
    }

    fn wait_for_joins(&mut self, step: &mut Step<'_>) {
        let timeout_ms = self.rebalance_timeout_ms();
        step.set_phase(&mut self.join_timer, &self.id, Alarm::Join, timeout_ms);
    }

    /// Members had their time to join. A first rebalance waits on for as long as new members come.
    pub(super) fn join_due(&mut self, step: &mut Step<'_>) {
        self.join_timer = None;
        let ClassicState::Preparing { initial } = self.state else { return };
        match self.initial.take().filter(|_| initial) {
            Some(InitialDelay { delay_ms, remaining_ms }) if self.new_member_added && remaining_ms != 0 => {
                self.new_member_added = false;
                let next_ms = step.config.initial_rebalance_delay_ms.min(remaining_ms);
                self.wait_initially(next_ms, remaining_ms.saturating_sub(delay_ms).max(0), step);
            }
            Some(_) | None => self.complete_join(step),
        }
    }

    /// Ends the phase of joining: dynamic members that did not join are out, and the next generation begins.
    pub(super) fn complete_join(&mut self, step: &mut Step<'_>) {
        step.timers.cancel(&mut self.join_timer);
        self.initial = None;
        for late in self.ids(|member| member.joining.is_none() && member.instance.is_none()) {
            self.remove(&late, step.timers);
        }
        if self.elect_joined_leader() {
            self.begin_generation(step);
        } else if self.members.is_empty() {
            self.begin_empty_generation(step);
        } else {
            self.wait_for_joins(step);
        }
    }

    /// Lets a member lead that has joined: the leader, if it has. `false`: nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |member: &Member| member.joining.is_some();
        if self.leader.as_ref().and_then(|leader| self.members.get(leader)).is_some_and(joined) {
            return true;
        }
        let first = self.members.iter().find(|(_, member)| joined(member)).map(|(id, _)| id.clone());
        let found = first.is_some();
        self.leader = first.or(self.leader.take());
        found
    }

    fn begin_generation(&mut self, step: &mut Step<'_>) {
        self.generation = next_generation(self.generation);
        self.agree();
        self.enter(ClassicState::Completing, step);
        self.pending_sync = self.members.keys().cloned().collect();
        for id in self.ids(|_| true) {
            if let Some(waiting) = self.take_join(&id) {
                let response = self.joined_response(&id);
                step.answer_join(waiting, response);
            }
            self.keep_alive(&id, step);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
        }
        let timeout_ms = self.rebalance_timeout_ms();
        step.set_phase(&mut self.sync_timer, &self.id, Alarm::Sync, timeout_ms);
    }

    /// Nobody is left: the group waits for members, and its record says so.
    fn begin_empty_generation(&mut self, step: &mut Step<'_>) {
        self.generation = next_generation(self.generation);
        self.protocol = None;
        self.pending_sync.clear();
        self.rebalancing_since = None;
        self.enter(ClassicState::Empty, step);
        self.write(step, |_, _| Bytes::new());
    }

    /// Members had their time to ask for their assignments: those that did not are out.
    pub(super) fn sync_due(&mut self, step: &mut Step<'_>) {
        self.sync_timer = None;
        match self.state {
            ClassicState::Empty | ClassicState::Preparing { .. } => {}
            ClassicState::Completing | ClassicState::Stable => {
                let silent = std::mem::take(&mut self.pending_sync);
                if !silent.is_empty() {
                    silent.iter().for_each(|id| self.expel(id, step));
                    self.prepare_rebalance(step);
                }
            }
        }
    }

    /// A session is over.
    pub(super) fn session_due(&mut self, id: &str, step: &mut Step<'_>) {
        if self.is_pending(id) {
            self.remove(id, step.timers);
            if matches!(self.state, ClassicState::Preparing { .. }) && self.all_joined() {
                self.complete_join(step);
            }
            return;
        }
        let Some(member) = self.members.get_mut(id) else { return };
        member.session = None;
        if member.excused() {
            return;
        }
        self.expel(id, step);
        match self.state {
            ClassicState::Empty => {}
            ClassicState::Preparing { .. } if self.all_joined() => self.complete_join(step),
            ClassicState::Preparing { .. } => {}
            ClassicState::Completing | ClassicState::Stable => self.prepare_rebalance(step),
        }
    }

    /// Takes a member out and answers what of it waits: it may come again as a new one.
    pub(super) fn expel(&mut self, id: &str, step: &mut Step<'_>) {
        let Some(member) = self.remove(id, step.timers) else { return };
        if let Some(waiting) = member.joining {
            step.refuse_join(waiting, "", ResponseError::UnknownMemberId);
        }
        if let Some(waiting) = member.syncing {
            step.refuse_sync(waiting, ResponseError::UnknownMemberId);
        }
    }

    /// The ids of some members.
    pub(super) fn ids(&self, which: impl Fn(&Member) -> bool) -> Vec<Rc<str>> {
        self.members.iter().filter(|(_, member)| which(member)).map(|(id, _)| id.clone()).collect()
    }
}

/// The generation after this one. A negative one would be no member's: after the last it begins anew.
fn next_generation(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}
