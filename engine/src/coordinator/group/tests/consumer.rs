//! Single stories of consumer groups, with the codes of Kafka 4.2.

use super::*;
use crate::coordinator::assignor::{Assignor, Partitions};
use crate::coordinator::group::modern::MemberState;
use crate::metadata::image::{ConfigKind, Position, Replay};
use crate::metadata::records::{
    ConfigRecord, MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};
use hayate_storage::batch::LeaderEpoch;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{ListGroupsRequest, TopicName};

pub(super) const REBALANCE_MS: i32 = 30_000;

pub(super) fn topic_id(name: &str) -> Uuid {
    let number = name.bytes().fold(1, |number: u128, byte| number * 256 + u128::from(byte));
    Uuid::from_u128(number)
}

fn partition_of(topic_id: Uuid, partition_id: i32) -> MetadataRecord {
    PartitionRecord {
        partition_id,
        topic_id,
        replicas: vec![1],
        isr: vec![1],
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: 1,
        leader_recovery_state: 0,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![],
        eligible_leader_replicas: None,
        last_known_elr: None,
    }
    .into()
}

impl World {
    /// The cluster's metadata change.
    pub(super) fn change(&mut self, records: Vec<MetadataRecord>) {
        let mut replay = Replay::new(MetadataImage::clone(&self.image));
        for record in &records {
            let offset = Offset(replay.image().position().offset.0 + 1);
            replay.apply(record, Position { offset, epoch: LeaderEpoch(1) }).expect("fits");
        }
        self.image = replay.take().expect("no transaction is open").0;
    }

    /// A topic comes, or grows.
    pub(super) fn topic(&mut self, name: &str, partitions: i32) {
        let topic_id = topic_id(name);
        let before = self.image.topic(name).map_or(0, |topic| topic.partitions.len() as i32);
        let mut records = Vec::new();
        if self.image.topic(name).is_none() {
            records.push(TopicRecord { name: name.into(), topic_id }.into());
        }
        records.extend((before..partitions).map(|number| partition_of(topic_id, number)));
        self.change(records);
    }

    pub(super) fn remove_topic(&mut self, name: &str) {
        self.change(vec![RemoveTopicRecord { topic_id: topic_id(name) }.into()]);
    }

    pub(super) fn beat(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let client = ClientInfo { client_id: "c".to_owned(), client_host: "/127.0.0.1".to_owned() };
        let fresh_id = Uuid::from_u128(0xf00d);
        let request = Box::new(request);
        let token = self.ask(GroupRequest::ConsumerHeartbeat { request, version: 1, client, fresh_id });
        match &self.answers[&token] {
            GroupAnswer::ConsumerHeartbeat(response) => response.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn group(&self) -> &ConsumerGroup {
        self.groups.consumer("g").expect("a consumer group")
    }

    pub(super) fn described(&self) -> DescribedConsumerGroup {
        self.groups.describe_consumer("g", &self.image)
    }

    /// A load makes what is there.
    pub(super) fn check_replay(&self) {
        let replayed = self.replayed();
        assert_eq!(self.described(), replayed.describe_consumer("g", &self.image));
        let hard = |groups: &Groups| groups.consumer("g").map(ConsumerGroup::hard_state);
        assert_eq!(hard(&self.groups), hard(&replayed));
    }
}

/// A heartbeat that says nothing.
pub(super) fn alive(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id("g"))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None)
}

/// A heartbeat of one who joins.
pub(super) fn joining(member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    alive(member, 0)
        .with_rebalance_timeout_ms(REBALANCE_MS)
        .with_subscribed_topic_names(Some(topics.iter().map(|name| TopicName(text(name))).collect()))
        .with_topic_partitions(Some(vec![]))
}

/// What a member says to have: partitions of the topic `t`.
pub(super) fn owns(request: ConsumerGroupHeartbeatRequest, numbers: &[i32]) -> ConsumerGroupHeartbeatRequest {
    let owned = TopicPartitions::default().with_topic_id(topic_id("t")).with_partitions(numbers.to_vec());
    request.with_topic_partitions(Some(if numbers.is_empty() { vec![] } else { vec![owned] }))
}

/// The epoch that a member is told, and the partitions of `t`, if it is told any.
pub(super) fn told(response: &ConsumerGroupHeartbeatResponse) -> (i32, Option<Vec<i32>>) {
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    let numbers = response.assignment.as_ref().map(|assignment| {
        let of_t = assignment.topic_partitions.iter().filter(|topic| topic.topic_id == topic_id("t"));
        of_t.flat_map(|topic| topic.partitions.clone()).collect()
    });
    (response.member_epoch, numbers)
}

fn refused(response: &ConsumerGroupHeartbeatResponse) -> ResponseError {
    assert!(response.error_message.is_some(), "{response:?}");
    ResponseError::try_from_code(response.error_code).expect("a refusal")
}

pub(super) fn world() -> World {
    let mut world = World::new(GroupConfig::default());
    world.topic("t", 4);
    world
}

fn all(numbers: impl IntoIterator<Item = i32>) -> Option<Vec<i32>> {
    Some(numbers.into_iter().collect())
}

#[test]
fn partitions_go_from_member_to_member_through_the_three_epochs() {
    let mut world = world();
    assert_eq!(told(&world.beat(joining("a", &["t"]))), (1, all(0..4)));
    let response = world.beat(alive("a", 1));
    assert_eq!((told(&response), response.heartbeat_interval_ms), ((1, None), 5_000));
    world.check_replay();
    // The second comes to the new epoch, and waits for what the first has.
    assert_eq!(told(&world.beat(joining("b", &["t"]))), (2, all([])));
    assert_eq!(world.group().members["b"].state, MemberState::UnreleasedPartitions);
    assert_eq!(world.described().group_state.as_str(), "Reconciling");
    assert_eq!(told(&world.beat(alive("a", 1))), (1, all(0..2)));
    assert_eq!(world.group().members["a"].state, MemberState::UnrevokedPartitions);
    assert_eq!(told(&world.beat(alive("b", 2))), (2, None), "nothing is given back yet");
    world.check_replay();
    assert_eq!(told(&world.beat(owns(alive("a", 1), &[0, 1, 2]))), (1, None), "not all of it is given back");
    assert_eq!(told(&world.beat(owns(alive("a", 1), &[0, 1]))), (2, None));
    assert_eq!(told(&world.beat(alive("b", 2))), (2, all(2..4)));
    assert_eq!(world.described().group_state.as_str(), "Stable");
    world.check_replay();
    let counts = world.groups.take_counts().rebalances;
    assert_eq!((counts.started, counts.completed), (2, 2));
    // One leaves, and the other gets all with its next heartbeat.
    let response = world.beat(alive("b", -1));
    assert_eq!((response.error_code, response.member_epoch), (0, -1));
    assert_eq!(world.described().group_state.as_str(), "Assigning");
    assert_eq!(told(&world.beat(alive("a", 2))), (4 - 1, all(0..4)));
    world.beat(alive("a", -1));
    assert_eq!(world.described().group_state.as_str(), "Empty");
    world.check_replay();
}

#[test]
fn bad_requests_are_refused_and_change_nothing() {
    let mut world = world();
    world.beat(joining("a", &["t"]));
    world.beat(joining("s", &["t"]).with_instance_id(Some(text("i"))));
    let (before, written) = (world.group().hard_state(), world.log.len());
    use ResponseError::*;
    let table: Vec<(ConsumerGroupHeartbeatRequest, ResponseError)> = vec![
        (alive("", 1), InvalidRequest),
        (joining("", &["t"]), InvalidRequest),
        (joining("n", &["t"]).with_group_id(group_id("")), InvalidRequest),
        (joining("n", &["t"]).with_instance_id(Some(text(""))), InvalidRequest),
        (joining("n", &["t"]).with_rack_id(Some(text(""))), InvalidRequest),
        (joining("n", &["t"]).with_rebalance_timeout_ms(-1), InvalidRequest),
        (joining("n", &["t"]).with_topic_partitions(None), InvalidRequest),
        (owns(joining("n", &["t"]), &[1]), InvalidRequest),
        (joining("n", &["t"]).with_subscribed_topic_names(None), InvalidRequest),
        (alive("a", -2), InvalidRequest),
        (alive("a", -3), InvalidRequest),
        (joining("n", &["t"]).with_server_assignor(Some(text("sticky"))), UnsupportedAssignor),
        (joining("n", &[]).with_subscribed_topic_regex(Some(text("("))), InvalidRegularExpression),
        (alive("n", 1), UnknownMemberId),
        (alive("n", -1), UnknownMemberId),
        (alive("a", 1).with_group_id(group_id("none")), GroupIdNotFound),
        (alive("a", -1).with_group_id(group_id("none")), GroupIdNotFound),
        (alive("a", 9), FencedMemberEpoch),
        (alive("s", 1), FencedMemberEpoch),
        (alive("s", 2).with_instance_id(Some(text("j"))), UnknownMemberId),
        (alive("a", 1).with_instance_id(Some(text("i"))), FencedInstanceId),
        (joining("n", &["t"]).with_instance_id(Some(text("i"))), UnreleasedInstanceId),
        (alive("n", -2).with_instance_id(Some(text("i"))), FencedInstanceId),
        (alive("n", -1).with_instance_id(Some(text("j"))), UnknownMemberId),
    ];
    for (request, expected) in table {
        let response = world.beat(request.clone());
        assert_eq!(refused(&response), expected, "{request:?}");
    }
    assert_eq!((world.group().hard_state(), world.log.len()), (before, written));
}

#[test]
fn a_member_that_missed_an_answer_may_be_one_epoch_behind() {
    let mut world = world();
    world.beat(joining("a", &["t"]));
    world.beat(joining("b", &["t"]));
    world.beat(alive("a", 1));
    assert_eq!(told(&world.beat(owns(alive("a", 1), &[0, 1]))), (2, None), "this answer is lost");
    assert_eq!(told(&world.beat(owns(alive("a", 1), &[0, 1]))), (2, None));
    assert_eq!(refused(&world.beat(alive("a", 1))), ResponseError::FencedMemberEpoch, "it may have anything");
    let more = owns(alive("a", 1), &[0, 1, 2]);
    assert_eq!(refused(&world.beat(more)), ResponseError::FencedMemberEpoch);
    assert_eq!(told(&world.beat(joining("a", &["t"]))), (2, all(0..2)), "whoever is fenced begins anew");
    let full = owns(alive("a", 2), &[0])
        .with_rebalance_timeout_ms(7)
        .with_subscribed_topic_names(Some(vec![TopicName(text("t"))]));
    assert_eq!(told(&world.beat(full)), (2, all(0..2)), "a full request is told everything");
}

#[test]
fn who_is_silent_or_keeps_what_it_must_give_back_is_fenced() {
    let mut world = world();
    world.beat(joining("a", &["t"]));
    world.beat(joining("b", &["t"]));
    world.beat(alive("a", 1));
    for _ in 0..3 {
        world.pass(Duration::from_millis(9_999));
        world.beat(alive("b", 2));
        assert_eq!(told(&world.beat(owns(alive("a", 1), &[0, 1, 2, 3]))).0, 1);
    }
    world.pass(Duration::from_millis(3));
    assert!(!world.group().members.contains_key("a"), "its rebalance timeout is over");
    assert_eq!(refused(&world.beat(alive("a", 1))), ResponseError::UnknownMemberId);
    assert_eq!(told(&world.beat(alive("b", 2))), (3, all(0..4)));
    world.pass(Duration::from_millis(44_999));
    assert!(world.group().members.contains_key("b"));
    world.pass(Duration::from_millis(1));
    assert!(world.group().members.is_empty(), "its session is over");
    world.check_replay();
    assert_eq!(world.groups.timers.len(), 0);
}

#[test]
fn sessions_and_deadlines_begin_anew_after_a_load() {
    let mut world = world();
    world.beat(joining("a", &["t"]));
    world.beat(joining("b", &["t"]));
    world.beat(alive("a", 1));
    world.groups = world.replayed();
    world.step(|groups, moment, effects| groups.loaded(moment, effects));
    world.pass(Duration::from_millis(29_999));
    assert_eq!(world.group().members.len(), 2);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.group().members.len(), 1, "a has not given back");
    world.pass(Duration::from_secs(15));
    assert!(world.group().members.is_empty());
}

#[test]
fn a_static_member_leaves_for_a_while_and_comes_back_to_its_place() {
    let mut world = world();
    let of_i = |request: ConsumerGroupHeartbeatRequest| request.with_instance_id(Some(text("i")));
    world.beat(joining("a", &["t"]));
    world.beat(of_i(joining("s", &["t"])));
    world.beat(alive("a", 1));
    world.beat(owns(alive("a", 1), &[0, 1]));
    assert_eq!(told(&world.beat(of_i(alive("s", 2)))), (2, all(2..4)));
    let response = world.beat(of_i(alive("s", -2)));
    assert_eq!((response.error_code, response.member_epoch), (0, -2));
    world.check_replay();
    assert_eq!(told(&world.beat(alive("a", 2))), (2, None), "nobody gets what it had");
    assert_eq!(told(&world.beat(of_i(joining("r", &["t"])))), (2, all(2..4)), "without a rebalance");
    assert_eq!(world.group().members.keys().map(|id| &**id).collect::<Vec<_>>(), ["a", "r"]);
    assert_eq!(refused(&world.beat(of_i(alive("s", 2)))), ResponseError::FencedInstanceId);
    world.check_replay();
    // One that returns with other topics makes the group rebalance.
    world.topic("u", 1);
    world.beat(of_i(alive("r", -2)));
    let response = world.beat(of_i(joining("q", &["t", "u"])));
    assert_eq!(response.member_epoch, 3);
    world.check_replay();
    // One that does not come back is gone with its session.
    world.beat(of_i(alive("q", -2)));
    for _ in 0..5 {
        world.pass(Duration::from_secs(10));
        world.beat(alive("a", world.group().members["a"].epoch));
    }
    assert!(!world.group().members.contains_key("q"));
}

#[test]
fn a_group_rebalances_when_its_topics_change() {
    let mut world = world();
    world.beat(joining("a", &["t", "later"]));
    assert_eq!(told(&world.beat(alive("a", 1))), (1, None));
    world.topic("other", 3);
    assert_eq!(told(&world.beat(alive("a", 1))), (1, None), "no topic of its own");
    world.topic("t", 6);
    assert_eq!(told(&world.beat(alive("a", 1))), (2, all(0..6)));
    world.topic("later", 1);
    assert_eq!(world.beat(alive("a", 2)).assignment.expect("told").topic_partitions.len(), 2);
    world.remove_topic("later");
    assert_eq!(told(&world.beat(alive("a", 3))), (3, all(0..6)), "it is to give back what is gone");
    assert_eq!(told(&world.beat(owns(alive("a", 3), &[0, 1, 2, 3, 4, 5]))), (4, None));
    world.check_replay();
}

#[test]
fn a_member_gives_back_at_once_what_it_does_not_subscribe_to_any_more() {
    let mut world = world();
    world.topic("u", 2);
    world.beat(joining("a", &["t", "u"]));
    let names = |names: &[&str]| Some(names.iter().map(|name| TopicName(text(name))).collect());
    let response = world.beat(alive("a", 1).with_subscribed_topic_names(names(&["u"])));
    assert_eq!(told(&response), (1, all([])), "it is asked to give t back first");
    let u = TopicPartitions::default().with_topic_id(topic_id("u")).with_partitions(vec![0, 1]);
    let response = world.beat(alive("a", 1).with_topic_partitions(Some(vec![u])));
    assert_eq!(response.member_epoch, 2);
    world.check_replay();
}

#[test]
fn expressions_are_resolved_a_moment_later_and_again_when_topics_come() {
    let mut world = world();
    let expression = |member: &str, expression: &str| {
        joining(member, &[])
            .with_subscribed_topic_names(None)
            .with_subscribed_topic_regex(Some(text(expression)))
    };
    assert_eq!(told(&world.beat(expression("a", "t.*"))), (1, all([])), "nothing is known yet");
    world.pass(Duration::ZERO);
    assert_eq!(told(&world.beat(alive("a", 1))), (2, all(0..4)));
    world.check_replay();
    // Another member by the same expression: what it matches is known.
    assert_eq!(world.beat(expression("b", "t.*")).member_epoch, 3);
    world.topic("t2", 1);
    world.beat(alive("b", 3));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.group().resolved["t.*"].topics.len(), 1, "the last time was not ten seconds ago");
    world.pass(Duration::from_secs(10));
    world.beat(alive("b", 3));
    world.pass(Duration::ZERO);
    assert_eq!(world.group().resolved["t.*"].topics.len(), 2);
    assert_eq!(world.group().epoch, 4);
    world.check_replay();
    // The last member by an expression takes it along.
    world.beat(alive("a", -1));
    assert_eq!(world.group().resolved.len(), 1);
    let names = Some(vec![TopicName(text("t"))]);
    let plain = alive("b", world.group().members["b"].epoch)
        .with_subscribed_topic_names(names)
        .with_subscribed_topic_regex(Some(text("")));
    assert_eq!(world.beat(plain).error_code, 0);
    assert!(world.group().resolved.is_empty());
    world.check_replay();
}

#[test]
fn groups_are_bounded_and_members_vote_for_assignors() {
    let consumer = ConsumerGroupConfig { size_max: 2, ..ConsumerGroupConfig::default() };
    let mut world = World::new(GroupConfig { consumer, ..GroupConfig::default() });
    world.topic("t", 4);
    world.beat(joining("a", &["t"]));
    world.beat(joining("b", &["t"]).with_server_assignor(Some(text("range"))));
    assert_eq!(world.described().assignor_name.as_str(), "range");
    assert_eq!(refused(&world.beat(joining("c", &["t"]))), ResponseError::GroupMaxSizeReached);
    assert_eq!(world.beat(joining("a", &["t"])).error_code, 0, "who is in may begin anew");
    world.beat(alive("b", -1));
    assert_eq!(world.described().assignor_name.as_str(), "uniform");
    assert_eq!(world.group().preferred_assignor(None, Assignor::Range), Assignor::Range);
}

#[test]
fn a_group_may_be_set_to_times_of_its_own() {
    let mut world = world();
    let config = |name: &str, value: &str| {
        ConfigRecord {
            resource_type: ConfigKind::Group.number(),
            resource_name: "g".into(),
            name: name.into(),
            value: Some(value.into()),
        }
        .into()
    };
    world.change(vec![
        config("consumer.session.timeout.ms", "50000"),
        config("consumer.heartbeat.interval.ms", "7000"),
    ]);
    assert_eq!(world.beat(joining("a", &["t"])).heartbeat_interval_ms, 7_000);
    world.pass(Duration::from_millis(49_999));
    assert_eq!(world.group().members.len(), 1);
    world.pass(Duration::from_millis(1));
    assert!(world.group().members.is_empty());
}

fn commit(world: &mut World, member: &str, epoch: i32, version: i16) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(7);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_topic_id(topic_id("t"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id("g"))
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(epoch)
        .with_topics(vec![topic]);
    let token = world.ask(GroupRequest::OffsetCommit { request, version });
    match &world.answers[&token] {
        GroupAnswer::OffsetCommit(response) => response.topics[0].partitions[0].error_code,
        other => panic!("{other:?}"),
    }
}

fn fetch(world: &mut World, member: Option<&str>, epoch: i32) -> i16 {
    let request = OffsetFetchRequestGroup::default()
        .with_group_id(group_id("g"))
        .with_member_id(member.map(text))
        .with_member_epoch(epoch)
        .with_topics(None);
    let token = world.ask(GroupRequest::OffsetFetch { request, require_stable: false, version: 9 });
    match &world.answers[&token] {
        GroupAnswer::OffsetFetch(response) => response.error_code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_are_committed_and_read_by_members_of_the_right_epoch() {
    let mut world = world();
    world.beat(joining("a", &["t"]));
    use ResponseError::*;
    for (member, epoch, version, expected) in [
        ("a", 1, 9, None),
        ("a", 0, 9, Some(StaleMemberEpoch)),
        ("a", 2, 9, Some(StaleMemberEpoch)),
        ("a", -1, 9, Some(StaleMemberEpoch)),
        ("b", 1, 9, Some(UnknownMemberId)),
        ("", -1, 9, Some(UnknownMemberId)),
        ("a", 1, 8, Some(UnsupportedVersion)),
    ] {
        let code = commit(&mut world, member, epoch, version);
        assert_eq!(ResponseError::try_from_code(code), expected, "{member} {epoch} {version}");
    }
    for (member, epoch, expected) in [
        (None, -1, None),
        (Some("a"), 1, None),
        (Some("a"), 2, Some(StaleMemberEpoch)),
        (Some("b"), 1, Some(UnknownMemberId)),
    ] {
        let code = fetch(&mut world, member, epoch);
        assert_eq!(ResponseError::try_from_code(code), expected, "{member:?} {epoch}");
    }
    world.beat(alive("a", -1));
    assert_eq!(commit(&mut world, "", -1, 9), 0, "an administrator, while nobody is in");
}

#[test]
fn transactions_commit_for_members_or_for_nobody_in_particular() {
    let mut world = world();
    world.beat(joining("a", &["t"]));
    use ResponseError::*;
    for (member, instance, epoch, expected) in [
        ("a", None, 1, Ok(())),
        ("a", None, 2, Err(StaleMemberEpoch)),
        ("", None, -1, Ok(())),
        ("", Some("i"), -1, Err(UnknownMemberId)),
        ("b", None, 1, Err(UnknownMemberId)),
    ] {
        let verdict = world.group().validate_offset_commit(member, instance, epoch, true, 5);
        assert_eq!(verdict, expected, "{member} {epoch}");
    }
}

fn list(world: &mut World, states: &[&str], types: &[&str]) -> Vec<(String, String, String)> {
    let filter = |words: &[&str]| words.iter().map(|word| text(word)).collect();
    let request =
        ListGroupsRequest::default().with_states_filter(filter(states)).with_types_filter(filter(types));
    let groups = world.groups.list(&request).groups;
    let named = groups.into_iter().map(|group| {
        (group.group_id.to_string(), group.group_type.to_string(), group.group_state.to_string())
    });
    named.collect()
}

#[test]
fn groups_are_listed_described_and_deleted_by_kind() {
    let mut world = world();
    world.ask(join("classic", "", None, 1));
    world.beat(joining("a", &["t"]));
    let consumer = ("g".to_owned(), "consumer".to_owned(), "Stable".to_owned());
    assert_eq!(list(&mut world, &[], &["Consumer"]), std::slice::from_ref(&consumer));
    assert_eq!(list(&mut world, &["stable"], &[]), [consumer]);
    assert_eq!(list(&mut world, &[], &["classic"]).len(), 1);
    assert_eq!(list(&mut world, &[], &["share"]), []);
    let not_found = ResponseError::GroupIdNotFound.code();
    assert_eq!(world.groups.describe("g", 6).error_code, not_found);
    assert_eq!(world.groups.describe("g", 5).error_code, 0);
    assert_eq!(world.groups.describe_consumer("classic", &world.image).error_code, not_found);
    let none = world.groups.describe_consumer("none", &world.image);
    assert_eq!(none.error_code, not_found);
    assert_eq!(none.error_message.as_deref(), Some("Group none not found."));
    let described = world.described();
    assert_eq!((described.group_epoch, described.assignment_epoch, described.members.len()), (1, 1, 1));
    assert_eq!(described.members[0].assignment.topic_partitions[0].topic_name.as_str(), "t");
    let delete = |world: &mut World| {
        let token = world.ask(GroupRequest::Delete { groups: vec!["g".into()] });
        match &world.answers[&token] {
            GroupAnswer::Delete(results) => results[0].error_code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(delete(&mut world), ResponseError::NonEmptyGroup.code());
    world.beat(alive("a", -1));
    assert_eq!(delete(&mut world), 0);
    assert!(world.groups.consumer("g").is_none() && world.replayed().consumer("g").is_none());
}

#[test]
fn an_empty_group_goes_with_its_last_offset() {
    let mut world = world();
    world.beat(joining("a", &["t"]));
    assert_eq!(commit(&mut world, "a", 1, 9), 0);
    world.beat(alive("a", -1));
    world.pass(Duration::from_secs(6 * 24 * 3600));
    assert!(world.groups.consumer("g").is_some());
    world.pass(Duration::from_secs(2 * 24 * 3600));
    assert!(world.groups.consumer("g").is_none() && world.replayed().consumer("g").is_none());
}

#[test]
fn nobody_has_what_records_of_a_later_version_leave_open() {
    let mut world = world();
    world.beat(joining("a", &["t"]));
    let mut group = world.group().members["a"].progress();
    group.state = 9;
    let key = crate::coordinator::records::MemberKey { group: "g".into(), member_id: "a".into() };
    let record = GroupRecord::ConsumerGroupCurrentMemberAssignment(key, Some(group));
    world.groups.apply_group_record(&record);
    assert_eq!(refused(&world.beat(alive("a", 1))), ResponseError::FencedMemberEpoch);
    assert_eq!(told(&world.beat(joining("a", &["t"]))), (1, all(0..4)));
    let held: Partitions = [(topic_id("t"), (0..4).collect())].into();
    assert_eq!(*world.group().members["a"].assigned, held);
}

#[test]
fn what_no_record_has_room_for_is_refused_and_changes_nothing() {
    let mut world = World::new(GroupConfig { record_bytes_max: 200_000, ..GroupConfig::default() });
    world.topic("t", 4);
    world.beat(joining("a", &["t"]));
    let (before, written) = (world.group().hard_state(), world.log.len());
    let names: Vec<String> = (0..2_000).map(|number| format!("{number:0>60}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(refused(&world.beat(joining("b", &names))), ResponseError::UnknownServerError);
    assert_eq!((world.group().hard_state(), world.log.len()), (before, written));
}
