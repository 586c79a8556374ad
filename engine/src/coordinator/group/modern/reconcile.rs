//! How a member comes to what it is to have: it gives back what it must not keep, then comes to the target's epoch, with what of the target
//! is free, then gets the rest as others give it back.
//!
//! After `CurrentAssignmentBuilder` of Apache Kafka 4.2; KIP-848, "Member Reconciliation". Pure: a member goes in, and the next comes out.

use super::{ConsumerGroup, Member, MemberState, Refusal};
use crate::coordinator::assignor::Partitions;
use kafka_protocol::ResponseError;
use std::collections::BTreeSet;
use std::rc::Rc;
use uuid::Uuid;

/// What a member is brought to.
pub(super) struct Reconciling<'a> {
    pub(super) group: &'a ConsumerGroup,
    pub(super) target_epoch: i32,
    pub(super) target: &'a Partitions,
    /// The topics that it is subscribed to, and which exist.
    pub(super) subscribed: &'a BTreeSet<Uuid>,
    /// Has it just changed what it subscribes to? Then it gives back what it is not subscribed to any more.
    pub(super) subscription_changed: bool,
    /// The partitions that it says to have; `None` if it says nothing.
    pub(super) owned: Option<&'a Partitions>,
}

impl Reconciling<'_> {
    /// The member's next step; itself if there is none.
    ///
    /// # Errors
    /// `FENCED_MEMBER_EPOCH` for a member in an unknown state that may still have partitions.
    pub(super) fn step(&self, member: &Member) -> Result<Member, Refusal> {
        match member.state {
            MemberState::Stable if member.epoch != self.target_epoch => Ok(self.next(member, member.epoch)),
            MemberState::Stable if self.subscription_changed => Ok(self.without_unsubscribed(member)),
            MemberState::Stable => Ok(member.clone()),
            MemberState::UnrevokedPartitions if !self.still_owns(&member.revoking) => {
                Ok(self.next(member, member.epoch))
            }
            MemberState::UnrevokedPartitions if self.subscription_changed => {
                Ok(self.without_unsubscribed(member))
            }
            MemberState::UnrevokedPartitions => Ok(member.clone()),
            MemberState::UnreleasedPartitions => Ok(self.next(member, member.epoch)),
            MemberState::Unknown(_) if self.owned.is_some_and(Partitions::is_empty) => {
                Ok(self.next(member, self.target_epoch))
            }
            MemberState::Unknown(_) => Err(Refusal::new(
                ResponseError::FencedMemberEpoch,
                "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.",
            )),
        }
    }

    /// Has the member, as far as one knows, some of these?
    fn still_owns(&self, partitions: &Partitions) -> bool {
        let Some(owned) = self.owned else { return true };
        let shares = |(topic, numbers): (&Uuid, &BTreeSet<i32>)| {
            owned.get(topic).is_some_and(|owned| !owned.is_disjoint(numbers))
        };
        partitions.iter().any(shares)
    }

    /// The member without partitions of topics that it is not subscribed to any more.
    fn without_unsubscribed(&self, member: &Member) -> Member {
        let (kept, dropped): (Partitions, Partitions) = member
            .assigned
            .iter()
            .map(|(topic, numbers)| (*topic, numbers.clone()))
            .partition(|(topic, _)| self.subscribed.contains(topic));
        if dropped.is_empty() {
            return member.clone();
        }
        let mut revoking = Partitions::clone(&member.revoking);
        for (topic, numbers) in dropped {
            revoking.entry(topic).or_default().extend(numbers);
        }
        let mut next = member.clone();
        next.assigned = Rc::new(kept);
        if self.still_owns(&revoking) {
            next.state = MemberState::UnrevokedPartitions;
            next.revoking = Rc::new(revoking);
        }
        next
    }

    /// The member's next step towards the target, from `epoch`.
    fn next(&self, member: &Member, epoch: i32) -> Member {
        let Parts { mut kept, dropped, free, waits } = self.parts(member);
        let mut next = member.clone();
        if !dropped.is_empty() && self.still_owns(&dropped) {
            next.enter(epoch);
            next.state = MemberState::UnrevokedPartitions;
            next.assigned = Rc::new(kept);
            next.revoking = Rc::new(dropped);
            return next;
        }
        for (topic, numbers) in free {
            kept.entry(topic).or_default().extend(numbers);
        }
        next.enter(self.target_epoch);
        next.state = if waits { MemberState::UnreleasedPartitions } else { MemberState::Stable };
        next.assigned = Rc::new(kept);
        next.revoking = Rc::default();
        next
    }

    fn parts(&self, member: &Member) -> Parts {
        let mut parts = Parts::default();
        let nothing = BTreeSet::new();
        let topics: BTreeSet<&Uuid> = self.target.keys().chain(member.assigned.keys()).collect();
        for topic in topics {
            let target =
                self.target.get(topic).filter(|_| self.subscribed.contains(topic)).unwrap_or(&nothing);
            let has = member.assigned.get(topic).unwrap_or(&nothing);
            let gives_back = member.revoking.get(topic).unwrap_or(&nothing);
            let is_others =
                |number: &i32| self.group.is_owned(topic, *number) && !gives_back.contains(number);
            let (others, free): (BTreeSet<i32>, BTreeSet<i32>) =
                target.difference(has).partition(|number| is_others(number));
            parts.waits |= !others.is_empty();
            for (to, numbers) in [
                (&mut parts.kept, has.intersection(target).copied().collect()),
                (&mut parts.dropped, has.difference(target).copied().collect()),
                (&mut parts.free, free),
            ] {
                if !BTreeSet::is_empty(&numbers) {
                    to.insert(*topic, numbers);
                }
            }
        }
        parts
    }
}

/// What becomes of the partitions of a member and of its target.
#[derive(Default)]
struct Parts {
    /// It has them, and is to have them.
    kept: Partitions,
    /// It has them, and is not to have them.
    dropped: Partitions,
    /// It is to have them, and nobody else does.
    free: Partitions,
    /// It is to have more, which others have not given back.
    waits: bool,
}
