//! Deadlines of all groups of a partition in one order: sessions of members, and the phases of rebalances.
//!
//! An owner keeps the [`Handle`] of what it has set, and by it sets anew or cancels in O(log n). What an alarm means is
//! for its group to say. After Kafka's `CoordinatorTimer`, whose keys are strings.

use hayate_rt::MonoTime;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// A member, or one that only reserved its id, was silent for too long.
    Session(Rc<str>),
    /// Members had their time to join.
    Join,
    /// Members had their time to ask for their assignments.
    Sync,
    /// A member of a consumer group had its time to give partitions back, at this epoch.
    Rebalance(Rc<str>, i32),
    /// A member of a consumer group that speaks the classic protocol had its time to join again.
    MemberJoin(Rc<str>),
    /// The same had its time to ask for its assignment.
    MemberSync(Rc<str>),
    /// The expressions of a consumer group are to be resolved.
    Expressions,
}

/// Names an alarm that was set. It may have rung since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Handle(MonoTime, u64);

/// Alarms in the order of their times, then of their setting.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<Handle, (Rc<str>, Alarm)>,
    set_so_far: u64,
}

impl Timers {
    /// Sets an alarm of a group, in place of the one that `slot` names.
    pub(super) fn set(&mut self, slot: &mut Option<Handle>, at: MonoTime, group: &Rc<str>, alarm: Alarm) {
        self.cancel(slot);
        self.set_so_far += 1;
        let handle = Handle(at, self.set_so_far);
        self.due.insert(handle, (group.clone(), alarm));
        *slot = Some(handle);
    }

    /// Forgets the alarm that `slot` names, if there is one still.
    pub(super) fn cancel(&mut self, slot: &mut Option<Handle>) {
        if let Some(handle) = slot.take() {
            self.due.remove(&handle);
        }
    }

    /// When the next alarm is due.
    pub(super) fn next(&self) -> Option<MonoTime> {
        self.due.first_key_value().map(|(handle, _)| handle.0)
    }

    /// Stands for all alarms that are set by now.
    pub(super) fn set_by_now(&self) -> u64 {
        self.set_so_far
    }

    /// Takes the next alarm that is due at `now`, with its group, of those `set_by` then: one that rings sets no other that rings in
    /// the same step, or a step might not end.
    pub(super) fn pop(&mut self, now: MonoTime, set_by: u64) -> Option<(Rc<str>, Alarm)> {
        let due = self
            .due
            .keys()
            .take_while(|handle| handle.0 <= now)
            .find(|handle| handle.1 <= set_by)
            .copied()?;
        self.due.remove(&due)
    }

    /// How many alarms are set.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Alarm, Timers};
    use hayate_rt::MonoTime;
    use std::rc::Rc;

    fn at(nanos: u64) -> MonoTime {
        MonoTime::from_nanos(nanos)
    }

    #[test]
    fn alarms_ring_in_order_once_and_only_if_they_still_stand() {
        let group: Rc<str> = "g".into();
        let (mut join, mut sync, mut gone) = (None, None, None);
        let mut timers = Timers::default();
        timers.set(&mut join, at(30), &group, Alarm::Join);
        timers.set(&mut sync, at(20), &group, Alarm::Sync);
        timers.set(&mut gone, at(10), &group, Alarm::Session("m".into()));
        timers.cancel(&mut gone);
        assert_eq!((timers.next(), timers.pop(at(19), u64::MAX)), (Some(at(20)), None));
        timers.set(&mut sync, at(40), &group, Alarm::Sync);
        assert_eq!(timers.len(), 2);
        assert_eq!(timers.pop(at(40), u64::MAX), Some((group.clone(), Alarm::Join)));
        assert_eq!(timers.pop(at(40), u64::MAX), Some((group, Alarm::Sync)));
        timers.cancel(&mut sync);
        assert_eq!((timers.next(), timers.pop(at(99), u64::MAX)), (None, None));
    }
}
