//! All members of a group on one thread, each with a connection of its own, so that a join that waits delays nobody.

use super::member::{Ask, Heard, Member, settled};
use crate::PerfError;
use crate::clock::Clock;
use crate::error::broke;
use crate::link::Link;
use crate::trial::wait::{decode, send, wait};
use hayate_net::client::Answer;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::Request;

/// First version of `LeaveGroup` that names several members.
const MANY_LEAVE_SINCE: i16 = 3;

/// A member and its connection.
pub struct Seat {
    /// The connection.
    pub link: Link,
    /// The member.
    pub member: Member,
}

/// The members.
pub struct Party {
    clock: Clock,
    /// In the order of their numbers.
    pub seats: Vec<Seat>,
    partitions: i32,
    /// When the last answer came, in nanoseconds.
    heard_at: u64,
}

impl Party {
    /// Of members that are out of the group; their topic has so many partitions.
    pub fn new(clock: Clock, seats: Vec<Seat>, partitions: i32) -> Party {
        Party { clock, seats, partitions, heard_at: clock.now() }
    }

    /// Goes on until members of these numbers all have an assignment of one generation above another one; gives the generation, and when the
    /// last of them had it.
    ///
    /// # Errors
    /// [`PerfError`], also when that is not so by `deadline`.
    pub fn settle(
        &mut self,
        members: std::ops::Range<usize>,
        above: i32,
        deadline: u64,
    ) -> Result<(i32, u64), PerfError> {
        loop {
            let some = self.seats[members.clone()].iter().map(|seat| &seat.member);
            if let Some(generation) = settled(some, self.partitions, above) {
                return Ok((generation, self.heard_at));
            }
            if self.clock.now() > deadline {
                return Err(PerfError::Incomplete(format!(
                    "{} members do not come to an assignment of {} partitions in time",
                    members.len(),
                    self.partitions
                )));
            }
            self.step(deadline)?;
        }
    }

    /// Goes on until a time.
    ///
    /// # Errors
    /// [`PerfError`].
    pub fn idle(&mut self, until: u64) -> Result<(), PerfError> {
        while self.clock.now() < until {
            self.step(until)?;
        }
        Ok(())
    }

    /// Goes on until all are out of the group.
    ///
    /// # Errors
    /// [`PerfError`], also when that is not so by `deadline`.
    pub fn disband(&mut self, deadline: u64) -> Result<(), PerfError> {
        self.seats.iter_mut().for_each(|seat| seat.member.leave());
        while !self.seats.iter().all(|seat| seat.member.is_out()) {
            if self.clock.now() > deadline {
                return Err(PerfError::Incomplete("members cannot leave in time".to_owned()));
            }
            self.step(deadline)?;
        }
        Ok(())
    }

    /// Sends what is to be sent, sleeps until something comes or is due, and takes it in.
    fn step(&mut self, until: u64) -> Result<(), PerfError> {
        for seat in &mut self.seats {
            seat.link.flush()?;
            seat.send_next(self.clock.now())?;
        }
        let now = self.clock.now();
        let wakes = self.seats.iter().filter_map(|seat| seat.member.wake_at());
        let next = wakes.min().unwrap_or(until).min(until);
        let mut links: Vec<&mut Link> = self.seats.iter_mut().map(|seat| &mut seat.link).collect();
        wait(&mut links, Some(next.saturating_sub(now)))?;
        for seat in &mut self.seats {
            while let Some(answer) = seat.link.next_answer()? {
                self.heard_at = self.clock.now();
                let heard = heard(&seat.link, &answer)?;
                let went = seat.member.on_answer(self.heard_at, heard);
                went.map_err(|cause| PerfError::Incomplete(format!("a member cannot go on: {cause}")))?;
            }
        }
        Ok(())
    }
}

impl Seat {
    fn send_next(&mut self, now: u64) -> Result<(), PerfError> {
        match self.member.next(now).map_err(PerfError::Impossible)? {
            None => Ok(()),
            Some(Ask::Join(request)) => self.send(&request),
            Some(Ask::Sync(request)) => self.send(&request),
            Some(Ask::Heartbeat(request)) => self.send(&request),
            Some(Ask::Leave(request)) => self.send(&leaving(self.version::<LeaveGroupRequest>()?, request)),
            Some(Ask::Consumer(request)) => self.send(&request),
        }
    }

    fn version<R: Request>(&self) -> Result<i16, PerfError> {
        self.link.versions.pick::<R>().map_err(|cause| broke(self.link.address(), &cause))
    }

    fn send<R: Request>(&mut self, request: &R) -> Result<(), PerfError> {
        let version = self.version::<R>()?;
        send(&mut self.link, version, request)
    }
}

/// A request as a version has it: one member, or several.
fn leaving(version: i16, request: LeaveGroupRequest) -> LeaveGroupRequest {
    match version {
        MANY_LEAVE_SINCE.. => request.with_member_id(Default::default()),
        _ => request.with_members(Vec::new()),
    }
}

fn heard(link: &Link, answer: &Answer) -> Result<Heard, PerfError> {
    Ok(match answer.api_key {
        JoinGroupRequest::KEY => Heard::Join(decode::<JoinGroupRequest>(link, answer)?),
        SyncGroupRequest::KEY => Heard::Sync(decode::<SyncGroupRequest>(link, answer)?),
        HeartbeatRequest::KEY => Heard::Heartbeat(decode::<HeartbeatRequest>(link, answer)?),
        LeaveGroupRequest::KEY => Heard::Leave(decode::<LeaveGroupRequest>(link, answer)?),
        _ => Heard::Consumer(decode::<ConsumerGroupHeartbeatRequest>(link, answer)?),
    })
}

#[cfg(test)]
mod tests {
    use super::leaving;
    use crate::rebalance::classic::Classic;
    use crate::rebalance::member::{Ask, Heard, Manner};
    use hayate_net::client::encode_request;
    use kafka_protocol::messages::{HeartbeatRequest, SyncGroupResponse};
    use kafka_protocol::messages::{
        JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    };
    use kafka_protocol::protocol::{Message, Request, StrBytes};

    fn check<R: Request + Message>(request: impl Fn(i16) -> R) {
        for version in R::VERSIONS.min..=R::VERSIONS.max {
            let encoded = encode_request(1, "me", version, &request(version));
            assert!(encoded.is_ok(), "API key {} version {version}: {encoded:?}", R::KEY);
        }
    }

    #[test]
    fn what_members_say_has_a_form_in_every_version() {
        let manner = Manner {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partitions: 3,
            session_ms: 6000,
            heartbeat: 1,
            rebalance_ms: 5000,
        };
        let mut member = Classic::new(manner);
        member.join();
        let me = StrBytes::from_static_str("me");
        let mut said = Vec::new();
        for (now, heard) in [
            (0, Heard::Join(JoinGroupResponse::default().with_member_id(me.clone()).with_leader(me))),
            (0, Heard::Sync(SyncGroupResponse::default())),
            (1, Heard::Heartbeat(Default::default())),
            (9, Heard::Leave(Default::default())),
        ] {
            if now == 9 {
                member.leave();
            }
            said.push(member.next(now).expect("good").expect("it says something"));
            member.on_answer(now, heard).expect("it goes on");
        }
        for ask in said {
            match ask {
                Ask::Join(request) => check::<JoinGroupRequest>(|_| request.clone()),
                Ask::Sync(request) => check::<SyncGroupRequest>(|_| request.clone()),
                Ask::Heartbeat(request) => check::<HeartbeatRequest>(|_| request.clone()),
                Ask::Leave(request) => {
                    check::<LeaveGroupRequest>(|version| leaving(version, request.clone()))
                }
                Ask::Consumer(request) => panic!("{request:?}"),
            }
        }
    }
}
