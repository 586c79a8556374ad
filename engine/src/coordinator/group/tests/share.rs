//! Single stories of share groups, with the codes of Kafka 4.2.

use super::*;
use crate::coordinator::group::share::{GroupOrder, StateOf};
use consumer::topic_id;
use kafka_protocol::messages::alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use kafka_protocol::messages::delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic;
use kafka_protocol::messages::{ListGroupsRequest, TopicName};

const OK: Result<(), ResponseError> = Ok(());

fn beat(member: &str, epoch: i32, topics: Option<&[&str]>) -> ShareGroupHeartbeatRequest {
    let names = |topics: &[&str]| topics.iter().map(|topic| TopicName(text(topic))).collect();
    ShareGroupHeartbeatRequest::default()
        .with_group_id(group_id("g"))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_subscribed_topic_names(topics.map(names))
}

impl World {
    /// A heartbeat's code, the member's epoch, and what it is told to read.
    fn share(&mut self, request: ShareGroupHeartbeatRequest) -> (i16, i32, Option<String>) {
        let client = ClientInfo { client_id: "c".to_owned(), client_host: "/127.0.0.1".to_owned() };
        let token = self.ask(GroupRequest::ShareHeartbeat { request, client });
        let GroupAnswer::ShareHeartbeat(response) = &self.answers[&token] else { panic!("another answer") };
        let assigned = response.assignment.as_ref().map(|assignment| {
            let topics = assignment.topic_partitions.iter();
            let topics = topics.map(|topic| {
                let name = self.image.topic_by_id(&topic.topic_id).expect("a topic").name.clone();
                format!("{name}{:?}", topic.partitions)
            });
            topics.collect::<Vec<_>>().join(" ")
        });
        (response.error_code, response.member_epoch, assigned)
    }

    /// The share coordinators do what was ordered; what that was.
    fn carry_out(&mut self, outcome: Result<(), ResponseError>) -> Vec<(i32, StateOf)> {
        let mut done = Vec::new();
        for order in std::mem::take(&mut self.orders) {
            let outcomes = vec![outcome; order.states.len()];
            done.extend(order.states.iter().map(|(_, partition, state)| (*partition, *state)));
            self.step(|groups, moment, effects| groups.order_done(moment, &order, &outcomes, effects));
        }
        self.check_share_replay();
        done
    }

    /// A load makes what is there.
    fn check_share_replay(&self) {
        let (moment, replayed) = (self.moment(), self.replayed());
        assert_eq!(self.groups.describe_share(&moment, "g"), replayed.describe_share(&moment, "g"));
        assert_eq!(self.groups.share_partitions("g"), replayed.share_partitions("g"));
    }

    fn list(&mut self) -> Vec<(String, String, String)> {
        let token = self.ask(GroupRequest::List { request: ListGroupsRequest::default() });
        let GroupAnswer::List(listed) = &self.answers[&token] else { panic!("another answer") };
        let shown = listed.groups.iter().map(|group| {
            (group.group_id.to_string(), group.group_state.to_string(), group.group_type.to_string())
        });
        shown.collect()
    }

    fn delete(&mut self) -> Token {
        self.ask(GroupRequest::Delete { groups: vec!["g".to_owned()] })
    }

    fn deleted(&self, token: Token) -> Option<i16> {
        match self.answers.get(&token)? {
            GroupAnswer::Delete(results) => Some(results[0].error_code),
            other => panic!("{other:?}"),
        }
    }
}

fn begun(partitions: std::ops::Range<i32>) -> Vec<(i32, StateOf)> {
    partitions.map(|partition| (partition, StateOf::Initialize { start_offset: -1 })).collect()
}

/// A group of one member with a topic of two partitions that have state.
fn with_member() -> World {
    let mut world = World::new(GroupConfig::default());
    world.topic("t", 2);
    world.share(beat("m", 0, Some(&["t"])));
    world.carry_out(OK);
    assert_eq!(world.share(beat("m", 1, None)), (0, 2, Some("t[0, 1]".to_owned())));
    world
}

#[test]
fn members_get_what_has_state_and_share_it() {
    let mut world = World::new(GroupConfig::default());
    world.topic("t", 2);
    assert_eq!(world.share(beat("a", 0, Some(&["t"]))), (0, 1, Some(String::new())));
    assert_eq!(world.share(beat("a", 1, None)), (0, 1, None), "its state is being set up");
    assert_eq!(world.carry_out(OK), begun(0..2));
    assert_eq!(world.share(beat("a", 1, None)), (0, 2, Some("t[0, 1]".to_owned())));
    assert_eq!(world.share(beat("a", 2, None)), (0, 2, None));
    assert_eq!(world.share(beat("b", 0, Some(&["t"]))), (0, 3, Some("t[1]".to_owned())));
    assert_eq!(world.share(beat("a", 2, None)), (0, 3, Some("t[0]".to_owned())));
    assert_eq!(
        world.share(beat("c", 0, Some(&["t"]))),
        (0, 4, Some("t[0]".to_owned())),
        "more than partitions"
    );
    world.topic("t", 3);
    assert_eq!(world.share(beat("a", 3, None)).1, 5, "the topic has grown");
    assert_eq!(world.carry_out(OK), begun(2..3));
    assert_eq!(world.share(beat("b", 3, None)), (0, 6, None));
    assert_eq!(world.share(beat("c", 4, None)), (0, 6, Some("t[2]".to_owned())));
    world.check_share_replay();
    assert_eq!(world.list(), [("g".to_owned(), "Stable".to_owned(), "share".to_owned())]);
}

#[test]
fn bad_heartbeats_are_refused_and_change_nothing() {
    let mut world = with_member();
    let written = world.log.len();
    for (request, error) in [
        (beat("", 0, Some(&["t"])), ResponseError::InvalidRequest),
        (beat("m", -2, None), ResponseError::InvalidRequest),
        (beat("n", 0, None), ResponseError::InvalidRequest),
        (beat("n", 0, Some(&[])), ResponseError::InvalidRequest),
        (beat("n", 1, None), ResponseError::UnknownMemberId),
        (beat("n", -1, None), ResponseError::UnknownMemberId),
        (beat("m", 3, None), ResponseError::FencedMemberEpoch),
        (beat("m", 2, None).with_group_id(group_id("h")), ResponseError::GroupIdNotFound),
        (beat("m", 2, None).with_rack_id(Some(text(" "))), ResponseError::InvalidRequest),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(world.share(request).0, error.code(), "{shown}");
    }
    assert_eq!((world.log.len(), world.orders.len()), (written, 0));
    assert_eq!(world.share(beat("m", 1, None)).0, 0, "it may not have heard of its epoch");
    let classic = world.ask(join("g", "", None, 1));
    let refused = world.joined(classic).expect("at once").error_code;
    assert_eq!(refused, ResponseError::InconsistentGroupProtocol.code());
}

#[test]
fn a_group_takes_only_so_many_members() {
    let mut config = GroupConfig::default();
    config.shares.size_max = 1;
    let mut world = World::new(config);
    world.topic("t", 1);
    assert_eq!(world.share(beat("a", 0, Some(&["t"]))).0, 0);
    assert_eq!(world.share(beat("b", 0, Some(&["t"]))).0, ResponseError::GroupMaxSizeReached.code());
}

#[test]
fn members_that_leave_or_fall_silent_are_gone() {
    let mut world = with_member();
    assert_eq!(world.share(beat("b", 0, Some(&["t"]))), (0, 3, Some("t[1]".to_owned())));
    assert_eq!(world.share(beat("b", -1, None)).1, -1);
    assert_eq!(world.share(beat("m", 2, None)), (0, 4, None), "it has all of it still");
    world.check_share_replay();
    world.pass(Duration::from_millis(44_999));
    assert_eq!(world.list()[0].1, "Stable");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.list()[0].1, "Empty");
    world.check_share_replay();
}

#[test]
fn a_setup_that_fails_or_is_lost_is_ordered_again() {
    let mut world = World::new(GroupConfig::default());
    world.topic("t", 1);
    world.share(beat("m", 0, Some(&["t"])));
    assert_eq!(world.carry_out(Err(ResponseError::CoordinatorNotAvailable)), begun(0..1));
    world.share(beat("m", 1, None));
    assert_eq!(std::mem::take(&mut world.orders).len(), 1);
    world.pass(Duration::from_secs(5));
    world.share(beat("m", 1, None));
    assert_eq!(world.orders.len(), 0, "it may yet be done");
    world.pass(Duration::from_secs(6));
    world.share(beat("m", 1, None));
    assert_eq!(world.carry_out(OK), begun(0..1));
    assert_eq!(world.share(beat("m", 1, None)).2, Some("t[0]".to_owned()));
}

#[test]
fn an_order_of_an_earlier_load_is_answered_by_nobody() {
    let mut world = World::new(GroupConfig::default());
    let order = GroupOrder { number: 7, group: "g".to_owned(), state_epoch: 0, states: Vec::new() };
    world.step(|groups, moment, effects| groups.order_done(moment, &order, &[], effects));
    assert!(world.log.is_empty() && world.answers.is_empty());
}

#[test]
fn offsets_of_a_group_without_members_are_altered_and_deleted() {
    let mut world = with_member();
    let partition = |number, offset| {
        AlterShareGroupOffsetsRequestPartition::default()
            .with_partition_index(number)
            .with_start_offset(offset)
    };
    let topic = AlterShareGroupOffsetsRequestTopic::default()
        .with_topic_name(TopicName(text("t")))
        .with_partitions(vec![partition(1, 40), partition(9, 1)]);
    let alter =
        AlterShareGroupOffsetsRequest::default().with_group_id(group_id("g")).with_topics(vec![topic]);
    let asked = world.ask(GroupRequest::AlterShareOffsets { request: alter.clone() });
    let GroupAnswer::AlterShareOffsets(refused) = &world.answers[&asked] else { panic!("another answer") };
    assert_eq!(refused.error_code, ResponseError::NonEmptyGroup.code());
    world.share(beat("m", -1, None));
    let asked = world.ask(GroupRequest::AlterShareOffsets { request: alter });
    assert!(!world.answers.contains_key(&asked), "the share coordinator is told first");
    assert_eq!(world.carry_out(OK), [(1, StateOf::Initialize { start_offset: 40 })]);
    let GroupAnswer::AlterShareOffsets(altered) = &world.answers[&asked] else { panic!("another answer") };
    let codes: Vec<i16> =
        altered.responses[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(codes, [0, ResponseError::UnknownTopicOrPartition.code()]);

    let named =
        |name: &str| DeleteShareGroupOffsetsRequestTopic::default().with_topic_name(TopicName(text(name)));
    let delete = DeleteShareGroupOffsetsRequest::default()
        .with_group_id(group_id("g"))
        .with_topics(vec![named("t"), named("u")]);
    let asked = world.ask(GroupRequest::DeleteShareOffsets { request: delete });
    assert_eq!(world.carry_out(OK), [(0, StateOf::Delete), (1, StateOf::Delete)]);
    let GroupAnswer::DeleteShareOffsets(deleted) = &world.answers[&asked] else { panic!("another answer") };
    let codes: Vec<i16> = deleted.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, ResponseError::UnknownTopicOrPartition.code()]);
    assert_eq!(world.groups.share_partitions("g"), Ok(BTreeMap::new()));
}

#[test]
fn a_group_is_deleted_with_its_states_and_not_while_it_has_members() {
    let mut world = with_member();
    let refused = world.delete();
    assert_eq!(world.deleted(refused), Some(ResponseError::NonEmptyGroup.code()));
    world.share(beat("m", -1, None));
    let failing = world.delete();
    assert_eq!(world.carry_out(Err(ResponseError::CoordinatorNotAvailable)).len(), 2);
    assert_eq!(world.deleted(failing), Some(ResponseError::CoordinatorNotAvailable.code()));
    let deleting = world.delete();
    assert_eq!(world.deleted(deleting), None, "the states go first");
    assert_eq!(world.carry_out(OK), [(0, StateOf::Delete), (1, StateOf::Delete)]);
    assert_eq!(world.deleted(deleting), Some(0));
    assert!(world.list().is_empty() && world.replayed().groups.is_empty());
    let again = world.delete();
    assert_eq!(world.deleted(again), Some(ResponseError::GroupIdNotFound.code()));
}

#[test]
fn states_go_with_their_topics() {
    let mut world = with_member();
    let gone = [("t".to_owned(), topic_id("t"))];
    world.remove_topic("t");
    world.step(|groups, moment, effects| groups.topics_deleted(moment, &gone, effects));
    assert_eq!(world.groups.share_partitions("g"), Ok(BTreeMap::new()));
    assert_eq!(world.share(beat("m", 2, None)), (0, 3, Some(String::new())));
    world.check_share_replay();
}
