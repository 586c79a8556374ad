//! A member of a classic group: joins, asks for its assignment (or makes all of them, as the leader), sends heartbeats, leaves. Pure.

use super::assignment::{assignment, partitions, range, subscription};
use super::member::{Ask, Heard, Manner, Turn, failed};
use crate::trial::admin::text;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};

const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";

/// Where a member is; what it says next follows from that.
#[derive(Clone, Debug, PartialEq)]
enum State {
    /// Not in the group: waits to be told to join.
    Out,
    /// Joins, or joins again.
    Joining,
    /// Has joined this generation and asks for its assignment; the leader has everybody's.
    Syncing { generation: i32, assignments: Vec<SyncGroupRequestAssignment> },
    /// Has its assignment, and sends heartbeats.
    Stable { generation: i32, beat_at: u64 },
    /// Leaves.
    Leaving,
}

/// A member.
#[derive(Debug)]
pub struct Classic {
    manner: Manner,
    /// Empty until the broker has named it.
    id: String,
    state: State,
    is_wanted: bool,
    /// An answer is awaited.
    is_asking: bool,
    /// It says nothing before, in nanoseconds.
    not_before: u64,
    owned: Vec<i32>,
}

impl Classic {
    /// One that is out of the group.
    pub fn new(manner: Manner) -> Classic {
        Classic {
            manner,
            id: String::new(),
            state: State::Out,
            is_wanted: false,
            is_asking: false,
            not_before: 0,
            owned: Vec::new(),
        }
    }

    pub(super) fn join(&mut self) {
        self.is_wanted = true;
    }

    pub(super) fn leave(&mut self) {
        self.is_wanted = false;
    }

    pub(super) fn assigned(&self) -> Option<(i32, &[i32])> {
        match &self.state {
            State::Stable { generation, .. } => Some((*generation, &self.owned)),
            State::Out | State::Joining | State::Syncing { .. } | State::Leaving => None,
        }
    }

    pub(super) fn is_out(&self) -> bool {
        self.state == State::Out && !self.is_asking
    }

    pub(super) fn heartbeat(&self) -> u64 {
        self.manner.heartbeat
    }

    pub(super) fn wake_at(&self) -> Option<u64> {
        if self.is_asking {
            return None;
        }
        match &self.state {
            State::Out if !self.is_wanted => None,
            State::Stable { beat_at, .. } if self.is_wanted => Some((*beat_at).max(self.not_before)),
            State::Out | State::Joining | State::Syncing { .. } | State::Stable { .. } | State::Leaving => {
                Some(self.not_before)
            }
        }
    }

    pub(super) fn next(&mut self, now: u64) -> Result<Option<Ask>, String> {
        if self.is_asking || now < self.not_before {
            return Ok(None);
        }
        self.want();
        let ask = match &self.state {
            State::Out => return Ok(None),
            State::Stable { beat_at, .. } if now < *beat_at => return Ok(None),
            State::Joining => Ask::Join(self.join_request()?),
            State::Syncing { generation, assignments } => {
                Ask::Sync(self.sync_request(*generation, assignments.clone()))
            }
            State::Stable { generation, .. } => Ask::Heartbeat(self.heartbeat_request(*generation)),
            State::Leaving => Ask::Leave(self.leave_request()),
        };
        self.is_asking = true;
        Ok(Some(ask))
    }

    /// Turns to what it is told to be.
    fn want(&mut self) {
        match (&self.state, self.is_wanted) {
            (State::Out, true) => self.state = State::Joining,
            (State::Joining | State::Syncing { .. } | State::Stable { .. }, false) => {
                self.state = if self.id.is_empty() { State::Out } else { State::Leaving };
            }
            (State::Joining | State::Syncing { .. } | State::Stable { .. }, true)
            | (State::Out, false)
            | (State::Leaving, _) => {}
        }
    }

    fn join_request(&self) -> Result<JoinGroupRequest, String> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(PROTOCOL))
            .with_metadata(subscription(&self.manner.topic)?);
        Ok(JoinGroupRequest::default()
            .with_group_id(self.group())
            .with_session_timeout_ms(self.manner.session_ms)
            .with_rebalance_timeout_ms(self.manner.rebalance_ms)
            .with_member_id(text(&self.id))
            .with_protocol_type(text(PROTOCOL_TYPE))
            .with_protocols(vec![protocol]))
    }

    fn sync_request(
        &self,
        generation: i32,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) -> SyncGroupRequest {
        SyncGroupRequest::default()
            .with_group_id(self.group())
            .with_generation_id(generation)
            .with_member_id(text(&self.id))
            .with_protocol_type(Some(text(PROTOCOL_TYPE)))
            .with_protocol_name(Some(text(PROTOCOL)))
            .with_assignments(assignments)
    }

    fn heartbeat_request(&self, generation: i32) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(generation)
            .with_member_id(text(&self.id))
    }

    /// With its id in both places: whoever sends it empties that which its version lacks.
    fn leave_request(&self) -> LeaveGroupRequest {
        LeaveGroupRequest::default()
            .with_group_id(self.group())
            .with_member_id(text(&self.id))
            .with_members(vec![MemberIdentity::default().with_member_id(text(&self.id))])
    }

    fn group(&self) -> GroupId {
        GroupId(text(&self.manner.group))
    }

    pub(super) fn on_answer(&mut self, now: u64, heard: Heard) -> Result<(), String> {
        if !std::mem::take(&mut self.is_asking) {
            return Err("an answer that nobody asked for".to_owned());
        }
        match heard {
            Heard::Join(response) => self.joined(now, &response),
            Heard::Sync(response) => self.synced(now, &response),
            Heard::Heartbeat(response) => {
                if self.turn(now, "heartbeat", response.error_code)? == Turn::Go
                    && let State::Stable { beat_at, .. } = &mut self.state
                {
                    *beat_at = now + self.manner.heartbeat;
                }
                Ok(())
            }
            Heard::Leave(response) => {
                let member = response.members.first().map_or(0, |member| member.error_code);
                let code = if response.error_code == 0 { member } else { response.error_code };
                match Turn::of(code) {
                    Turn::Again => self.not_before = Turn::again_at(now),
                    Turn::Fail => return Err(failed("leaving", code)),
                    // Whoever is not known any more is out, too.
                    Turn::Go | Turn::Rejoin | Turn::RejoinAnew => {
                        self.state = State::Out;
                        self.id.clear();
                        self.owned.clear();
                    }
                }
                Ok(())
            }
            Heard::Consumer(_) => Err("an answer that nobody asked for".to_owned()),
        }
    }

    /// Does what a code asks for.
    fn turn(&mut self, now: u64, what: &str, code: i16) -> Result<Turn, String> {
        let turn = Turn::of(code);
        match turn {
            Turn::Go => {}
            Turn::Again => self.not_before = Turn::again_at(now),
            Turn::Rejoin => self.state = State::Joining,
            Turn::RejoinAnew => {
                self.id.clear();
                self.state = State::Joining;
            }
            Turn::Fail => return Err(failed(what, code)),
        }
        Ok(turn)
    }

    fn joined(&mut self, now: u64, response: &JoinGroupResponse) -> Result<(), String> {
        if !response.member_id.is_empty() {
            self.id = response.member_id.to_string();
        }
        if self.turn(now, "joining", response.error_code)? != Turn::Go {
            return Ok(());
        }
        let is_leader = response.leader == response.member_id;
        let assignments = if is_leader { self.assignments(response)? } else { Vec::new() };
        self.state = State::Syncing { generation: response.generation_id, assignments };
        Ok(())
    }

    fn assignments(&self, response: &JoinGroupResponse) -> Result<Vec<SyncGroupRequestAssignment>, String> {
        let members: Vec<String> =
            response.members.iter().map(|member| member.member_id.to_string()).collect();
        let one = |(member, partitions): (String, Vec<i32>)| {
            let assigned = assignment(&self.manner.topic, &partitions)?;
            Ok(SyncGroupRequestAssignment::default().with_member_id(text(&member)).with_assignment(assigned))
        };
        range(&members, self.manner.partitions).into_iter().map(one).collect()
    }

    fn synced(&mut self, now: u64, response: &SyncGroupResponse) -> Result<(), String> {
        if self.turn(now, "its assignment", response.error_code)? != Turn::Go {
            return Ok(());
        }
        if let State::Syncing { generation, .. } = self.state {
            self.owned = partitions(&response.assignment)?;
            self.state = State::Stable { generation, beat_at: now + self.manner.heartbeat };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Classic, Manner};
    use crate::rebalance::assignment::partitions;
    use crate::rebalance::member::{Ask, Heard};
    use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
    use kafka_protocol::messages::{
        HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
    };
    use kafka_protocol::protocol::StrBytes;

    const MS: u64 = 1_000_000;

    fn member() -> Classic {
        Classic::new(Manner {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partitions: 3,
            session_ms: 6000,
            heartbeat: 100 * MS,
            rebalance_ms: 5000,
        })
    }

    fn joined(code: i16, generation: i32, leader: &'static str, members: &[&'static str]) -> Heard {
        let member = |id: &&'static str| {
            JoinGroupResponseMember::default().with_member_id(StrBytes::from_static_str(id))
        };
        Heard::Join(
            JoinGroupResponse::default()
                .with_error_code(code)
                .with_generation_id(generation)
                .with_leader(StrBytes::from_static_str(leader))
                .with_member_id(StrBytes::from_static_str("me"))
                .with_members(members.iter().map(member).collect()),
        )
    }

    fn synced(code: i16, assignment: bytes::Bytes) -> Heard {
        Heard::Sync(SyncGroupResponse::default().with_error_code(code).with_assignment(assignment))
    }

    fn beat(code: i16) -> Heard {
        Heard::Heartbeat(HeartbeatResponse::default().with_error_code(code))
    }

    fn sync_request(member: &mut Classic) -> SyncGroupRequest {
        match member.next(0) {
            Ok(Some(Ask::Sync(request))) => request,
            other => panic!("{other:?}"),
        }
    }

    /// A member that leads a generation, with its assignment since 0.
    fn stable() -> Classic {
        let mut member = member();
        member.join();
        assert!(matches!(member.next(0), Ok(Some(Ask::Join(request))) if request.member_id.is_empty()));
        assert_eq!(member.next(0), Ok(None), "an answer is awaited");
        member.on_answer(0, joined(79, -1, "", &[])).expect("its id");
        assert!(matches!(member.next(0), Ok(Some(Ask::Join(request))) if &*request.member_id == "me"));
        member.on_answer(0, joined(0, 4, "me", &["me", "b"])).expect("it leads");
        let request = sync_request(&mut member);
        let parts: Vec<_> = request
            .assignments
            .iter()
            .map(|each| (each.member_id.to_string(), partitions(&each.assignment).expect("partitions")))
            .collect();
        assert_eq!(parts, [("b".to_owned(), vec![0, 1]), ("me".to_owned(), vec![2])]);
        assert_eq!(member.assigned(), None);
        let mine = request.assignments[1].assignment.clone();
        member.on_answer(0, synced(0, mine)).expect("its assignment");
        assert_eq!(member.assigned(), Some((4, &[2][..])));
        member
    }

    #[test]
    fn a_heartbeat_that_tells_of_a_rebalance_makes_it_join_again() {
        let mut member = stable();
        assert_eq!((member.wake_at(), member.next(99 * MS)), (Some(100 * MS), Ok(None)));
        assert!(matches!(member.next(100 * MS), Ok(Some(Ask::Heartbeat(_)))));
        member.on_answer(101 * MS, beat(0)).expect("all is well");
        assert_eq!((member.wake_at(), member.assigned().is_some()), (Some(201 * MS), true));
        assert!(matches!(member.next(201 * MS), Ok(Some(Ask::Heartbeat(_)))));
        member.on_answer(202 * MS, beat(27)).expect("a rebalance");
        assert_eq!(member.assigned(), None);
        assert!(matches!(member.next(202 * MS), Ok(Some(Ask::Join(request))) if &*request.member_id == "me"));
        member.on_answer(203 * MS, joined(0, 5, "b", &[])).expect("another leads");
        assert!(sync_at(&mut member, 203 * MS).assignments.is_empty());
    }

    fn sync_at(member: &mut Classic, now: u64) -> SyncGroupRequest {
        match member.next(now) {
            Ok(Some(Ask::Sync(request))) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_is_not_known_any_more_joins_as_somebody_new_and_who_is_asked_to_wait_waits() {
        let mut member = stable();
        assert!(matches!(member.next(100 * MS), Ok(Some(Ask::Heartbeat(_)))));
        member.on_answer(100 * MS, beat(25)).expect("unknown");
        assert!(
            matches!(member.next(100 * MS), Ok(Some(Ask::Join(request))) if request.member_id.is_empty())
        );
        member.on_answer(100 * MS, joined(14, -1, "", &[])).expect("it loads");
        assert_eq!((member.next(149 * MS), member.wake_at()), (Ok(None), Some(150 * MS)));
        assert!(matches!(member.next(150 * MS), Ok(Some(Ask::Join(_)))));
        let why = member.on_answer(150 * MS, joined(30, -1, "", &[])).expect_err("not allowed");
        assert!(why.contains("GROUP_AUTHORIZATION_FAILED"), "{why}");
    }

    #[test]
    fn it_leaves_once_its_answer_is_there() {
        let mut member = stable();
        assert!(matches!(member.next(100 * MS), Ok(Some(Ask::Heartbeat(_)))));
        member.leave();
        assert_eq!((member.next(100 * MS), member.is_out()), (Ok(None), false));
        member.on_answer(101 * MS, beat(0)).expect("all is well");
        assert!(
            matches!(member.next(101 * MS), Ok(Some(Ask::Leave(request))) if &*request.member_id == "me")
        );
        member.on_answer(102 * MS, Heard::Leave(LeaveGroupResponse::default())).expect("it left");
        assert_eq!((member.is_out(), member.wake_at(), member.next(103 * MS)), (true, None, Ok(None)));
        assert!(member.on_answer(103 * MS, beat(0)).is_err());
        member.join();
        assert!(
            matches!(member.next(104 * MS), Ok(Some(Ask::Join(request))) if request.member_id.is_empty())
        );
    }
}
