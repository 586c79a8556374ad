//! A member of a consumer group of the newer protocol (KIP-848): one kind of request, in which the broker says what is assigned. Pure.

use super::member::{Manner, Turn, failed};
use crate::clock::SECOND;
use crate::trial::admin::text;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId, TopicName,
};
use uuid::Uuid;

/// The epoch of whoever joins.
const JOINS: i32 = 0;
/// The epoch of whoever leaves.
const LEAVES: i32 = -1;

/// A member.
#[derive(Debug)]
pub struct Consumer {
    manner: Manner,
    name: String,
    /// How often it has joined: each time it is somebody new.
    incarnation: u32,
    is_in: bool,
    is_wanted: bool,
    is_asking: bool,
    epoch: i32,
    beat_at: u64,
    heartbeat: u64,
    /// Partitions by topic.
    owned: Vec<(Uuid, Vec<i32>)>,
    flat: Vec<i32>,
    /// What it owns has changed, which the broker is to know at once.
    is_changed: bool,
}

impl Consumer {
    /// One that is out of the group; `name` is unlike any other member's.
    pub fn new(manner: Manner, name: String) -> Consumer {
        Consumer {
            manner,
            name,
            incarnation: 0,
            is_in: false,
            is_wanted: false,
            is_asking: false,
            epoch: JOINS,
            beat_at: 0,
            heartbeat: SECOND,
            owned: Vec::new(),
            flat: Vec::new(),
            is_changed: false,
        }
    }

    pub(super) fn join(&mut self) {
        self.is_wanted = true;
    }

    pub(super) fn leave(&mut self) {
        self.is_wanted = false;
    }

    pub(super) fn assigned(&self) -> Option<(i32, &[i32])> {
        (self.is_in && self.epoch > 0).then_some((self.epoch, &self.flat[..]))
    }

    pub(super) fn is_out(&self) -> bool {
        !self.is_in && !self.is_asking
    }

    pub(super) fn heartbeat(&self) -> u64 {
        self.heartbeat
    }

    pub(super) fn wake_at(&self) -> Option<u64> {
        match (self.is_asking, self.is_in, self.is_wanted) {
            (true, _, _) | (false, false, false) => None,
            (false, true, true) => Some(self.beat_at),
            (false, true, false) | (false, false, true) => Some(0),
        }
    }

    pub(super) fn next(&mut self, now: u64) -> Option<ConsumerGroupHeartbeatRequest> {
        if self.wake_at()? > now {
            return None;
        }
        self.is_asking = true;
        if !self.is_wanted {
            self.epoch = LEAVES;
        } else if !self.is_in {
            self.is_in = true;
            self.begin_anew();
        }
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.manner.group)))
            .with_member_id(text(&format!("{}-{}", self.name, self.incarnation)))
            .with_member_epoch(self.epoch)
            .with_rebalance_timeout_ms(-1);
        Some(match self.epoch {
            JOINS => request
                .with_rebalance_timeout_ms(self.manner.rebalance_ms)
                .with_subscribed_topic_names(Some(vec![TopicName(text(&self.manner.topic))]))
                .with_topic_partitions(Some(Vec::new())),
            _ if self.is_changed && self.is_wanted => {
                self.is_changed = false;
                request.with_topic_partitions(Some(self.owned.iter().map(topic_partitions).collect()))
            }
            _ => request,
        })
    }

    /// Is somebody new, who joins.
    fn begin_anew(&mut self) {
        self.incarnation += 1;
        self.epoch = JOINS;
        self.owned.clear();
        self.flat.clear();
        self.is_changed = false;
    }

    pub(super) fn on_answer(
        &mut self,
        now: u64,
        response: &ConsumerGroupHeartbeatResponse,
    ) -> Result<(), String> {
        if !std::mem::take(&mut self.is_asking) {
            return Err("an answer that nobody asked for".to_owned());
        }
        let code = response.error_code;
        match (Turn::of(code), self.epoch) {
            (Turn::Fail, _) => {
                let words = response.error_message.as_deref().unwrap_or_default();
                Err(format!("{} {words}", failed("heartbeat", code)))
            }
            (Turn::Again, _) => {
                self.beat_at = Turn::again_at(now);
                Ok(())
            }
            (Turn::Go | Turn::Rejoin | Turn::RejoinAnew, LEAVES) => {
                self.is_in = false;
                self.begin_anew();
                Ok(())
            }
            (Turn::Rejoin | Turn::RejoinAnew, _) => {
                self.begin_anew();
                self.beat_at = now;
                Ok(())
            }
            (Turn::Go, _) => {
                self.go_on(now, response);
                Ok(())
            }
        }
    }

    fn go_on(&mut self, now: u64, response: &ConsumerGroupHeartbeatResponse) {
        self.epoch = response.member_epoch;
        self.heartbeat = u64::try_from(response.heartbeat_interval_ms).unwrap_or(1000).max(1) * 1_000_000;
        self.beat_at = now + self.heartbeat;
        let Some(assignment) = &response.assignment else { return };
        let told: Vec<(Uuid, Vec<i32>)> = assignment
            .topic_partitions
            .iter()
            .map(|topic| (topic.topic_id, topic.partitions.clone()))
            .collect();
        if told != self.owned {
            self.flat = told.iter().flat_map(|(_, partitions)| partitions).copied().collect();
            self.owned = told;
            self.is_changed = true;
            // What is given up can go to others only once the broker knows.
            self.beat_at = now;
        }
    }
}

fn topic_partitions((topic, partitions): &(Uuid, Vec<i32>)) -> TopicPartitions {
    TopicPartitions::default().with_topic_id(*topic).with_partitions(partitions.clone())
}

#[cfg(test)]
mod tests {
    use super::{Consumer, Manner};
    use crate::rebalance::member::{Member, settled};
    use kafka_protocol::messages::ConsumerGroupHeartbeatResponse;
    use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};

    const MS: u64 = 1_000_000;

    fn member(name: &str) -> Consumer {
        let manner = Manner {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partitions: 4,
            session_ms: 6000,
            heartbeat: MS,
            rebalance_ms: 5000,
        };
        let mut member = Consumer::new(manner, name.to_owned());
        member.join();
        member
    }

    fn answer(epoch: i32, partitions: Option<&[i32]>) -> ConsumerGroupHeartbeatResponse {
        let assignment = partitions.map(|partitions| {
            Assignment::default()
                .with_topic_partitions(vec![TopicPartitions::default().with_partitions(partitions.to_vec())])
        });
        ConsumerGroupHeartbeatResponse::default()
            .with_member_epoch(epoch)
            .with_heartbeat_interval_ms(100)
            .with_assignment(assignment)
    }

    #[test]
    fn it_says_at_once_what_it_owns_after_a_change_and_else_beats() {
        let mut one = member("a");
        let joins = one.next(0).expect("it joins");
        assert_eq!((joins.member_epoch, &*joins.member_id), (0, "a-1"));
        assert!(joins.subscribed_topic_names.is_some() && one.next(0).is_none());
        one.on_answer(MS, &answer(3, Some(&[0, 1]))).expect("its assignment");
        assert_eq!(one.assigned(), Some((3, &[0, 1][..])));
        let tells = one.next(MS).expect("at once");
        assert_eq!(tells.topic_partitions.expect("what it owns")[0].partitions, [0, 1]);
        one.on_answer(2 * MS, &answer(3, None)).expect("good");
        assert_eq!((one.wake_at(), one.next(101 * MS)), (Some(102 * MS), None));
        let beats = one.next(102 * MS).expect("due");
        assert_eq!((beats.member_epoch, beats.topic_partitions), (3, None));
        one.on_answer(103 * MS, &answer(0, None).with_error_code(110)).expect("fenced");
        let joins = one.next(103 * MS).expect("at once");
        assert_eq!((joins.member_epoch, &*joins.member_id, one.assigned()), (0, "a-2", None));
        let why = one.on_answer(104 * MS, &answer(0, None).with_error_code(81)).expect_err("full");
        assert!(why.contains("GROUP_MAX_SIZE_REACHED"), "{why}");
    }

    #[test]
    fn it_leaves_and_joins_as_somebody_new() {
        let mut one = member("a");
        one.next(0).expect("it joins");
        one.leave();
        assert!(one.next(0).is_none() && !one.is_out());
        one.on_answer(MS, &answer(1, Some(&[0]))).expect("its assignment");
        assert_eq!(one.next(MS).expect("it leaves").member_epoch, -1);
        one.on_answer(MS, &answer(-1, None)).expect("it left");
        assert!(one.is_out() && one.next(2 * MS).is_none() && one.wake_at().is_none());
        one.join();
        let joins = one.next(2 * MS).expect("it joins");
        assert_eq!(joins.member_epoch, 0);
        assert_ne!(&*joins.member_id, "a-1");
    }

    #[test]
    fn a_group_is_settled_when_each_partition_has_one_owner_in_one_generation() {
        let group = |parts: &[(i32, &[i32])]| -> Vec<Member> {
            let member = |(epoch, partitions): &(i32, &[i32])| {
                let mut one = member("x");
                one.next(0).expect("it joins");
                one.on_answer(0, &answer(*epoch, Some(partitions))).expect("its assignment");
                Member::Consumer(one)
            };
            parts.iter().map(member).collect()
        };
        for (parts, above, due) in [
            (&[(2, &[0, 1][..]), (2, &[2, 3])][..], 1, Some(2)),
            (&[(2, &[3, 1]), (2, &[2, 0])], -1, Some(2)),
            (&[(2, &[0, 1]), (2, &[2, 3])], 2, None),
            (&[(2, &[0, 1]), (3, &[2, 3])], 1, None),
            (&[(2, &[0, 1]), (2, &[1, 2, 3])], 1, None),
            (&[(2, &[0, 1]), (2, &[3])], 1, None),
            (&[(2, &[0, 1, 2, 3]), (2, &[])], 1, Some(2)),
            (&[], -1, None),
        ] {
            assert_eq!(settled(group(parts).iter(), 4, above), due, "{parts:?} above {above}");
        }
    }
}
