//! A member of a group, of either protocol: what it sends next and what answers do to it. Pure: the time is given.

use super::classic::Classic;
use super::consumer::Consumer;
use crate::error::code_name;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest,
    SyncGroupResponse,
};

/// How long a member waits before it asks a coordinator again that is not ready, in nanoseconds.
const PAUSE: u64 = crate::clock::SECOND / 20;

/// What a member sends; one at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// To join, or to join again.
    Join(JoinGroupRequest),
    /// For its assignment.
    Sync(SyncGroupRequest),
    /// That it lives.
    Heartbeat(HeartbeatRequest),
    /// To leave.
    Leave(LeaveGroupRequest),
    /// All of it, in the newer protocol.
    Consumer(ConsumerGroupHeartbeatRequest),
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// To [`Ask::Join`].
    Join(JoinGroupResponse),
    /// To [`Ask::Sync`].
    Sync(SyncGroupResponse),
    /// To [`Ask::Heartbeat`].
    Heartbeat(HeartbeatResponse),
    /// To [`Ask::Leave`].
    Leave(LeaveGroupResponse),
    /// To [`Ask::Consumer`].
    Consumer(ConsumerGroupHeartbeatResponse),
}

/// What all members have in common.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The group.
    pub group: String,
    /// The topic that all subscribe to.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// `session.timeout.ms`, of the classic protocol.
    pub session_ms: i32,
    /// `heartbeat.interval.ms` in nanoseconds, of the classic protocol: of the newer one the broker says it.
    pub heartbeat: u64,
    /// How long members may take to join again.
    pub rebalance_ms: i32,
}

/// What a code asks of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    Go,
    /// It asks the same again a little later.
    Again,
    /// It joins again, as who it is.
    Rejoin,
    /// It joins again, as somebody new.
    RejoinAnew,
    /// It cannot go on.
    Fail,
}

impl Turn {
    /// Of a code of either protocol.
    pub fn of(code: i16) -> Turn {
        match code {
            0 => Turn::Go,
            // COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE
            14 | 15 => Turn::Again,
            // ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED
            22 | 27 | 79 => Turn::Rejoin,
            // UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH
            25 | 110 => Turn::RejoinAnew,
            _ => Turn::Fail,
        }
    }

    /// When a member that asks again does so.
    pub fn again_at(now: u64) -> u64 {
        now + PAUSE
    }
}

/// What ends a member.
pub fn failed(what: &str, code: i16) -> String {
    format!("{what}: {}", code_name(code))
}

/// A member.
#[derive(Debug)]
pub enum Member {
    /// JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
    Classic(Classic),
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer(Consumer),
}

impl Member {
    /// From now on it is to be in the group.
    pub fn join(&mut self) {
        match self {
            Member::Classic(member) => member.join(),
            Member::Consumer(member) => member.join(),
        }
    }

    /// From now on it is to be out of the group.
    pub fn leave(&mut self) {
        match self {
            Member::Classic(member) => member.leave(),
            Member::Consumer(member) => member.leave(),
        }
    }

    /// What it sends now, if anything.
    ///
    /// # Errors
    /// Why it cannot go on, in words.
    pub fn next(&mut self, now: u64) -> Result<Option<Ask>, String> {
        match self {
            Member::Classic(member) => member.next(now),
            Member::Consumer(member) => Ok(member.next(now).map(Ask::Consumer)),
        }
    }

    /// The answer to what it sent last.
    ///
    /// # Errors
    /// Why it cannot go on, in words.
    pub fn on_answer(&mut self, now: u64, heard: Heard) -> Result<(), String> {
        match (self, heard) {
            (Member::Classic(member), heard) => member.on_answer(now, heard),
            (Member::Consumer(member), Heard::Consumer(response)) => member.on_answer(now, &response),
            (
                Member::Consumer(_),
                Heard::Join(_) | Heard::Sync(_) | Heard::Heartbeat(_) | Heard::Leave(_),
            ) => Err("an answer that nobody asked for".to_owned()),
        }
    }

    /// When it wants to be asked again, unless an answer comes before.
    pub fn wake_at(&self) -> Option<u64> {
        match self {
            Member::Classic(member) => member.wake_at(),
            Member::Consumer(member) => member.wake_at(),
        }
    }

    /// Its generation or epoch and its partitions, while it has an assignment.
    pub fn assigned(&self) -> Option<(i32, &[i32])> {
        match self {
            Member::Classic(member) => member.assigned(),
            Member::Consumer(member) => member.assigned(),
        }
    }

    /// Whether it is out of the group.
    pub fn is_out(&self) -> bool {
        match self {
            Member::Classic(member) => member.is_out(),
            Member::Consumer(member) => member.is_out(),
        }
    }

    /// How long it is between its heartbeats, in nanoseconds.
    pub fn heartbeat(&self) -> u64 {
        match self {
            Member::Classic(member) => member.heartbeat(),
            Member::Consumer(member) => member.heartbeat(),
        }
    }
}

/// The generation of members that all have their assignments: the same one, above `above`, in which each partition has one owner.
pub fn settled<'a>(
    members: impl Iterator<Item = &'a Member> + Clone,
    partitions: i32,
    above: i32,
) -> Option<i32> {
    let generation = members.clone().next()?.assigned()?.0;
    if generation <= above
        || !members.clone().all(|member| member.assigned().is_some_and(|(its, _)| its == generation))
    {
        return None;
    }
    let mut owned: Vec<i32> =
        members.filter_map(Member::assigned).flat_map(|(_, partitions)| partitions).copied().collect();
    owned.sort_unstable();
    owned.into_iter().eq(0..partitions).then_some(generation)
}
