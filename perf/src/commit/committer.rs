//! One connection that commits offsets of groups without members: which request is due, and what its answer says. Pure: the time is given.

use crate::gauge::Gauge;
use crate::pace::Pace;
use crate::trial::admin::text;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetCommitResponse, TopicName};
use std::collections::VecDeque;

/// What commits are like, and when they end.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The topic.
    pub topic: String,
    /// Offsets of a request: those of the first partitions.
    pub partitions: i32,
    /// Requests of a connection that may await their answers, 1 or more.
    pub in_flight_max: usize,
    /// From when on nothing new is due, in nanoseconds.
    pub end: u64,
    /// Requests that were due before are not measured.
    pub measured_from: u64,
}

/// A committer's part of one connection. Its groups take turns.
pub struct Committer {
    groups: Vec<String>,
    manner: Manner,
    pace: Pace,
    sent: u64,
    /// When the requests under way were due.
    in_flight: VecDeque<u64>,
}

impl Committer {
    /// For one or more groups, at a pace of requests.
    pub fn new(groups: Vec<String>, manner: Manner, pace: Pace) -> Committer {
        assert!(!groups.is_empty(), "a committer has groups");
        Committer { groups, manner, pace, sent: 0, in_flight: VecDeque::new() }
    }

    /// The next request, if one is to be sent now.
    pub fn next(&mut self, now: u64) -> Option<OffsetCommitRequest> {
        if self.in_flight.len() >= self.manner.in_flight_max || self.is_all_sent(now) {
            return None;
        }
        self.in_flight.push_back(self.pace.intended(self.sent, now));
        let groups = self.groups.len() as u64;
        let group = &self.groups[usize::try_from(self.sent % groups).unwrap_or(0)];
        let request = request(group, &self.manner, i64::try_from(self.sent / groups).unwrap_or(i64::MAX));
        self.sent += 1;
        Some(request)
    }

    fn is_all_sent(&self, now: u64) -> bool {
        self.sent >= self.pace.due(now, self.manner.end)
    }

    /// The answer to the oldest request that awaits one. A request counts one latency, and as many records as offsets were taken.
    ///
    /// # Errors
    /// The answer is to another request, in words.
    pub fn on_answer(
        &mut self,
        now: u64,
        response: &OffsetCommitResponse,
        gauge: &mut Gauge,
    ) -> Result<(), String> {
        let intended = self.in_flight.pop_front().ok_or("an answer that nobody asked for")?;
        let codes: Vec<i16> = response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| partition.error_code)
            .collect();
        if i32::try_from(codes.len()) != Ok(self.manner.partitions) {
            return Err(format!("an answer of {} offsets, not {}", codes.len(), self.manner.partitions));
        }
        let is_measured = intended >= self.manner.measured_from;
        for code in codes.iter().filter(|code| **code != 0) {
            *gauge.refused.entry(*code).or_default() += 1;
        }
        if is_measured && codes.iter().all(|code| *code == 0) {
            gauge.note(now.saturating_sub(intended), 1);
            gauge.records += codes.len() as u64;
        }
        Ok(())
    }

    /// When it wants to be asked again, unless an answer comes before; `None` while it waits for one, or has come to its end.
    pub fn wake_at(&self, now: u64) -> Option<u64> {
        if self.in_flight.len() >= self.manner.in_flight_max {
            return None;
        }
        let next = self.pace.intended(self.sent, now);
        (next < self.manner.end).then_some(next)
    }

    /// Whether nothing is to come and nothing is under way.
    pub fn is_done(&self, now: u64) -> bool {
        now >= self.manner.end && self.in_flight.is_empty() && self.is_all_sent(now)
    }

    /// Requests that await their answers.
    pub fn unanswered(&self) -> usize {
        self.in_flight.len()
    }
}

fn request(group: &str, manner: &Manner, offset: i64) -> OffsetCommitRequest {
    let one = |partition| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(-1)
            .with_committed_metadata(Some(text("")))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(&manner.topic)))
        .with_partitions((0..manner.partitions).map(one).collect());
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

#[cfg(test)]
mod tests {
    use super::{Committer, Manner};
    use crate::gauge::Gauge;
    use crate::pace::Pace;
    use kafka_protocol::messages::offset_commit_response::{
        OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    };
    use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
    use kafka_protocol::protocol::Message;

    const MS: u64 = 1_000_000;

    fn committer(pace: Pace) -> Committer {
        let manner = Manner {
            topic: "t".to_owned(),
            partitions: 2,
            in_flight_max: 3,
            end: 10 * MS,
            measured_from: 2 * MS,
        };
        Committer::new(vec!["a".to_owned(), "b".to_owned()], manner, pace)
    }

    fn answer(codes: &[i16]) -> OffsetCommitResponse {
        let partition = |code: &i16| OffsetCommitResponsePartition::default().with_error_code(*code);
        let partitions = codes.iter().map(partition).collect();
        OffsetCommitResponse::default()
            .with_topics(vec![OffsetCommitResponseTopic::default().with_partitions(partitions)])
    }

    #[test]
    fn groups_take_turns_and_offsets_grow() {
        let mut one = committer(Pace::Open { start: 0, per_second: 1000.0 });
        let mut seen = Vec::new();
        for now in [0, MS, 2 * MS] {
            let request = one.next(now).expect("due");
            assert!(one.next(now).is_none(), "the next one is due later");
            let partitions = &request.topics[0].partitions;
            assert_eq!(partitions.iter().map(|each| each.partition_index).collect::<Vec<_>>(), [0, 1]);
            seen.push((request.group_id.0.to_string(), partitions[0].committed_offset));
        }
        assert_eq!(seen, [("a".to_owned(), 0), ("b".to_owned(), 0), ("a".to_owned(), 1)]);
        assert_eq!((one.next(3 * MS).is_none(), one.wake_at(3 * MS)), (true, None), "three are under way");
    }

    #[test]
    fn latencies_count_from_when_a_request_was_due() {
        let mut one = committer(Pace::Open { start: 0, per_second: 1000.0 });
        (0..3).for_each(|_| assert!(one.next(5 * MS).is_some()));
        let mut gauge = Gauge::default();
        one.on_answer(6 * MS, &answer(&[0, 0]), &mut gauge).expect("the first");
        assert!(gauge.is_empty(), "it was due before anything is measured");
        one.on_answer(6 * MS, &answer(&[0, 0]), &mut gauge).expect("the second");
        one.on_answer(8 * MS, &answer(&[0, 0]), &mut gauge).expect("the third, due at 2 ms");
        assert_eq!((gauge.records, gauge.latencies.len()), (2, 1));
        assert!(gauge.latencies.max().abs_diff(6 * MS) < MS / 100);
    }

    #[test]
    fn refusals_are_counted_by_code_and_answers_to_others_refused() {
        let mut one = committer(Pace::Closed { start: 0 });
        let mut gauge = Gauge::default();
        assert!(one.on_answer(0, &answer(&[0, 0]), &mut gauge).is_err());
        (0..2).for_each(|_| assert!(one.next(3 * MS).is_some()));
        one.on_answer(4 * MS, &answer(&[16, 0]), &mut gauge).expect("the first");
        assert_eq!(gauge.refused.iter().collect::<Vec<_>>(), [(&16, &1)]);
        assert_eq!((gauge.records, gauge.latencies.len()), (0, 0));
        assert!(one.on_answer(4 * MS, &answer(&[0]), &mut gauge).is_err());
    }

    #[test]
    fn it_ends_when_all_that_was_due_is_answered() {
        let mut one = committer(Pace::Open { start: 9 * MS, per_second: 1000.0 });
        assert_eq!(one.wake_at(0), Some(9 * MS));
        assert!(!one.is_done(20 * MS) && one.next(20 * MS).is_some() && !one.is_done(20 * MS));
        assert_eq!((one.unanswered(), one.wake_at(20 * MS)), (1, None));
        one.on_answer(21 * MS, &answer(&[0, 0]), &mut Gauge::default()).expect("the answer");
        assert!(one.is_done(21 * MS) && one.next(21 * MS).is_none());
    }

    #[test]
    fn a_request_has_a_form_in_every_version() {
        let request = committer(Pace::Closed { start: 0 }).next(3 * MS).expect("at once");
        for version in OffsetCommitRequest::VERSIONS.min..=OffsetCommitRequest::VERSIONS.max {
            hayate_net::client::encode_request(1, "me", version, &request).expect("it has a form");
        }
    }
}
