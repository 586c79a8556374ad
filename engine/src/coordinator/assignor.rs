//! Assignors: which member of a group is to read which partitions (KIP-848).
//!
//! Pure: members with what they subscribe to and what they are to have so far go in, and what they are to have from now on comes out.
//! Members and topics are taken in the order of their ids, so that the same question always has the same answer. After Apache Kafka
//! 4.2's `org.apache.kafka.coordinator.group.assignor`.

mod heterogeneous;
mod homogeneous;
mod range;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use uuid::Uuid;

/// Partitions by the ids of their topics; no topic has none.
pub type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// A way to assign that the broker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// As many partitions for each as can be, and as few moves as can be.
    Uniform,
    /// A range of each topic for each, the same of all topics where that is possible.
    Range,
}

impl Assignor {
    /// All of them, in the order of Kafka's default for `group.consumer.assignors`: a group whose members have no wish gets the first.
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// Its name in requests and settings.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The one of that name.
    pub fn of_name(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each member is to have. Whoever is not in the answer has nothing.
    ///
    /// # Errors
    /// [`NoSuchTopic`].
    pub fn assign(self, group: &GroupSpec<'_>) -> Result<BTreeMap<Rc<str>, Partitions>, NoSuchTopic> {
        if group.members.is_empty() {
            return Ok(BTreeMap::new());
        }
        match (self, group.subscribed_alike()) {
            (Assignor::Range, alike) => range::assign(group, alike),
            (Assignor::Uniform, true) => homogeneous::assign(group),
            (Assignor::Uniform, false) => heterogeneous::assign(group),
        }
    }
}

/// A member, as far as an assignor looks.
#[derive(Clone, Debug)]
pub struct MemberSpec<'a> {
    /// Its name over restarts, of a static member.
    pub instance: Option<&'a str>,
    /// The topics that it is subscribed to.
    pub topics: Rc<BTreeSet<Uuid>>,
    /// What it is to have so far.
    pub target: &'a Partitions,
}

/// A group, as far as an assignor looks.
pub struct GroupSpec<'a> {
    /// Its members.
    pub members: BTreeMap<Rc<str>, MemberSpec<'a>>,
    /// How many partitions a topic has; `None`: there is no such topic.
    pub count: &'a dyn Fn(&Uuid) -> Option<i32>,
}

impl GroupSpec<'_> {
    /// Do all subscribe to the same topics?
    fn subscribed_alike(&self) -> bool {
        let mut members = self.members.values();
        let first = members.next();
        members.all(|member| first.is_none_or(|first| first.topics == member.topics))
    }

    fn count(&self, topic: &Uuid) -> Result<i32, NoSuchTopic> {
        (self.count)(topic).ok_or(NoSuchTopic(*topic))
    }
}

/// A member is subscribed to a topic that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchTopic(pub Uuid);

impl fmt::Display for NoSuchTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Members are subscribed to topic {} which doesn't exist in the topic metadata.", self.0)
    }
}

impl std::error::Error for NoSuchTopic {}
