//! Scripts of commits, fetches, deletes, transactions and expiry, after the cases of Kafka's
//! `OffsetMetadataManagerTest`; the shapes of the versions; what a commit costs. Metadata may have 8 units here, and an
//! offset stays 100 ms.

mod model;
mod world;

use super::*;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::Encodable;
use world::{
    Logged, Spec, World, check, commit_request, delete_request, fetch_request, fetched, group_id, id,
    topic_name, txn_commit_request,
};

fn spec(topic: &str, partition: i32, offset: i64) -> Spec {
    Spec { topic: topic.to_string(), partition, offset, leader_epoch: -1, metadata: None }
}

#[test]
fn what_was_committed_is_fetched() {
    check(
        "
        fetch g foo-0 => foo-0=none
        fetch g * =>
        commit g foo-0=100 foo-1=200@5+meta bar-0=0 => foo-0 foo-1 bar-0
        fetch g foo-0 foo-1 foo-2 bar-0 zar-0 => foo-0=100 foo-1=200@5+meta foo-2=none bar-0=0 zar-0=none
        fetch g * => bar-0=0 foo-0=100 foo-1=200@5+meta
        kept => 3
        # A commit may go back: whoever resets a group does.
        commit g foo-1=7 => foo-1
        fetch g foo-1 => foo-1=7
        kept => 3
        # Each group has its own; the empty one too.
        commit h foo-0=1 => foo-0
        commit verdict=UnknownMemberId h foo-0=2 => foo-0:UnknownMemberId
        fetch h * => foo-0=1
        # Kafka takes any offset: −1 reads as none, and exists.
        commit g foo-0=-1 foo-1=-5 => foo-0 foo-1
        fetch g * => bar-0=0 foo-0=none foo-1=-5
        ",
    );
}

#[test]
fn metadata_too_large_fail_their_partition_alone() {
    check(
        "
        commit g foo-0=1+12345678 foo-1=1+123456789 bar-0=1 => foo-0 foo-1:OffsetMetadataTooLarge bar-0
        txn 7 g foo-2=1+123456789 => foo-2:OffsetMetadataTooLarge
        fetch g stable * => bar-0=1 foo-0=1+12345678
        # Counted in UTF-16 units, as Java counts: 4 of two, then 5.
        commit g foo-3=1+𝄞𝄞𝄞𝄞 foo-4=1+𝄞𝄞𝄞𝄞𝄞 foo-5=1+éééééééé => foo-3 foo-4:OffsetMetadataTooLarge foo-5
        kept => 4
        ",
    );
}

#[test]
fn a_refusal_is_each_partitions_and_changes_nothing() {
    check(
        "
        commit g foo-0=1 => foo-0
        commit g verdict=IllegalGeneration foo-0=2 foo-1=2 => foo-0:IllegalGeneration foo-1:IllegalGeneration
        txn 7 g verdict=FencedInstanceId foo-0=2 => foo-0:FencedInstanceId
        delete g verdict=NonEmptyGroup foo-0 => !NonEmptyGroup
        delete g verdict=GroupIdNotFound foo-0 => !GroupIdNotFound
        fetch g stable * => foo-0=1
        ",
    );
}

#[test]
fn a_groups_error_is_told_as_the_version_tells_it() {
    check(
        "
        commit g foo-0=1 => foo-0
        fetch g version=1 verdict=NotCoordinator foo-0 foo-1 => foo-0:NotCoordinator foo-1:NotCoordinator
        fetch g version=2 verdict=NotCoordinator foo-0 => !NotCoordinator
        fetch g version=7 verdict=NotCoordinator * => !NotCoordinator
        fetch g version=9 verdict=StaleMemberEpoch foo-0 => !StaleMemberEpoch
        # A group that does not exist has none, which is no error.
        fetch g version=9 verdict=GroupIdNotFound foo-0 => foo-0=none
        fetch g version=9 verdict=GroupIdNotFound * =>
        ",
    );
}

#[test]
fn an_offset_of_another_topic_of_the_name_is_not_shown_to_who_tells_the_id() {
    check(
        "
        commit g id=1 foo-0=10 => foo-0
        commit g bar-0=20 => bar-0
        fetch g id=1 foo-0 bar-0 => foo-0=10 bar-0=20
        fetch g id=2 foo-0 bar-0 => foo-0=none bar-0=20
        fetch g foo-0 bar-0 => foo-0=10 bar-0=20
        fetch g * => bar-0=20 foo-0=10
        ",
    );
}

#[test]
fn a_transactions_offsets_wait_for_its_end() {
    check(
        "
        commit g foo-0=1 => foo-0
        txn 7 g foo-0=10@2+m foo-1=11 => foo-0 foo-1
        txn 8 h foo-0=5 => foo-0
        fetch g foo-0 foo-1 => foo-0=1 foo-1=none
        fetch g stable foo-0 foo-1 foo-2 => foo-0:UnstableOffsetCommit foo-1:UnstableOffsetCommit foo-2=none
        # All that a group has are those that it has committed.
        fetch g stable * => foo-0:UnstableOffsetCommit
        kept => 1
        marker 7 commit
        fetch g stable * => foo-0=10@2+m foo-1=11
        kept => 2
        marker 8 abort
        fetch h stable * =>
        kept => 2
        # Nothing is open: a marker without offsets says nothing.
        marker 7 commit
        marker 9 abort
        # The same producer goes on, and its last word counts.
        txn 7 g foo-0=12 => foo-0
        txn 7 g foo-0=13 => foo-0
        marker 7 commit
        fetch g * => foo-0=13 foo-1=11
        ",
    );
}

#[test]
fn of_two_commits_the_later_record_wins_whatever_the_order_of_the_markers() {
    check(
        "
        txn 7 g foo-0=10 => foo-0
        commit g foo-0=20 => foo-0
        marker 7 commit
        fetch g stable foo-0 => foo-0=20
        commit g foo-0=30 => foo-0
        txn 7 g foo-0=40 => foo-0
        marker 7 commit
        fetch g stable foo-0 => foo-0=40
        # Of two transactions the one that wrote first ends last.
        txn 7 g foo-0=50 => foo-0
        txn 8 g foo-0=60 => foo-0
        marker 8 commit
        fetch g stable foo-0 => foo-0:UnstableOffsetCommit
        marker 7 commit
        fetch g stable foo-0 => foo-0=60
        # An abort does not hide what others wrote before and after.
        txn 7 g foo-0=70 => foo-0
        txn 8 g foo-0=80 => foo-0
        marker 8 abort
        fetch g foo-0 => foo-0=60
        marker 7 commit
        fetch g stable foo-0 => foo-0=70
        ",
    );
}

#[test]
fn offsets_are_deleted_by_request() {
    check(
        "
        commit g foo-0=1 foo-1=2 bar-0=3 => foo-0 foo-1 bar-0
        delete g foo-0 foo-5 zar-0 => foo-0 foo-5 zar-0 -g/foo-0
        delete g subscribed=foo foo-1 bar-0 => foo-1:GroupSubscribedToTopic bar-0 -g/bar-0
        delete h foo-1 => foo-1
        fetch g * => foo-1=2
        # What is pending goes too, with one tombstone, and its transaction's end brings nothing back.
        txn 7 g foo-1=20 foo-2=21 bar-0=22 => foo-1 foo-2 bar-0
        txn 8 g foo-2=31 => foo-2
        delete g foo-1 foo-2 foo-2 => foo-1 foo-2 foo-2 -g/foo-1 -g/foo-2
        marker 7 commit
        marker 8 commit
        fetch g stable * => bar-0=22
        kept => 1
        # Committed after the tombstone, it stands.
        txn 7 g foo-1=40 => foo-1
        delete g foo-1 => foo-1 -g/foo-1
        txn 7 g foo-1=41 => foo-1
        marker 7 commit
        fetch g foo-1 => foo-1=41
        ",
    );
}

#[test]
fn a_groups_offsets_go_with_it() {
    check(
        "
        delete-group g => 0
        commit g foo-0=1 bar-0=2 => foo-0 bar-0
        commit h foo-0=1 => foo-0
        txn 7 g foo-0=10 foo-1=11 => foo-0 foo-1
        txn 8 g foo-1=12 => foo-1
        delete-group g => 3 -g/bar-0 -g/foo-0 -g/foo-1
        marker 7 commit
        marker 8 commit
        fetch g stable * =>
        fetch h stable * => foo-0=1
        ",
    );
}

#[test]
fn offsets_go_with_their_topic() {
    check(
        "
        commit g id=1 foo-0=1 bar-0=2 => foo-0 bar-0
        commit h foo-1=3 => foo-1
        txn 7 i foo-2=4 bar-1=5 => foo-2 bar-1
        topic-deleted foo 1 => -g/foo-0 -h/foo-1 -i/foo-2
        marker 7 commit
        kept => 2
        topic-deleted foo 1 =>
        # The new topic of the name keeps what was committed for it, and what is pending beside that.
        commit g id=2 foo-0=6 => foo-0
        txn 7 g foo-0=7 foo-1=8 => foo-0 foo-1
        topic-deleted foo 1 => -g/foo-1
        marker 7 commit
        fetch g foo-0 foo-1 => foo-0=7 foo-1=none
        ",
    );
}

#[test]
fn offsets_expire_since_they_were_committed() {
    check(
        "
        expire g since-commit => none left
        commit g foo-0=1 bar-0=1 => foo-0 bar-0
        at 1050
        commit g foo-1=2 => foo-1
        at 1099
        expire g since-commit => some left
        at 1100
        expire g never => some left
        expire g since-commit subscribed=bar => some left -g/foo-0
        fetch g * => bar-0=1 foo-1=2
        # A commit makes it young again.
        commit g bar-0=1 => bar-0
        at 1150
        expire g since-commit => some left -g/foo-1
        at 1199
        expire g since-commit => some left
        at 1200
        expire g since-commit => none left -g/bar-0
        ",
    );
}

#[test]
fn offsets_expire_since_their_group_became_empty() {
    check(
        "
        commit g foo-0=1 => foo-0
        at 5000
        commit g foo-1=1 => foo-1
        at 5050
        expire g since=4951 => some left
        expire g since=4950 => none left -g/foo-0 -g/foo-1
        ",
    );
}

#[test]
fn a_retention_of_its_own_comes_before_the_brokers() {
    check(
        "
        commit g retention=500 foo-0=1+m => foo-0
        commit g retention=10 foo-1=1 => foo-1
        commit g retention=0 foo-2=1 => foo-2
        commit g retention=9223372036854775807 foo-3=1 => foo-3
        expire g since=0 => some left -g/foo-2
        at 1009
        expire g since=0 => some left
        at 1010
        expire g never => some left
        expire g since=0 => some left -g/foo-1
        at 1499
        expire g since-commit => some left
        fetch g * => foo-0=1+m foo-3=1
        at 1500
        expire g since-commit => some left -g/foo-0
        at 9223372036854775806
        expire g since-commit => some left
        ",
    );
}

#[test]
fn what_a_transaction_has_open_does_not_expire() {
    check(
        "
        commit g foo-0=1 foo-1=1 => foo-0 foo-1
        txn 7 g foo-0=2 => foo-0
        at 9000
        expire g since-commit => some left -g/foo-1
        marker 7 abort
        expire g since-commit => none left -g/foo-0
        # A group with nothing but what is pending is not to be forgotten.
        txn 7 g foo-0=2 => foo-0
        at 99000
        expire g since-commit => some left
        marker 7 abort
        expire g since-commit => none left
        ",
    );
}

#[test]
fn a_commits_record_says_all_that_the_request_said() {
    let mut world = World::new();
    world.moment.wall_ms = 5;
    let spec = Spec { leader_epoch: 4, metadata: Some("m".to_string()), ..spec("foo", 2, 9) };
    let commit = commit_request("g", 20, id(3), std::slice::from_ref(&spec));
    world.step(|offsets, moment, limits, effects| offsets.commit(moment, &commit, Ok(()), limits, effects));
    let key = OffsetCommitKey { group: "g".to_string(), topic: "foo".to_string(), partition: 2 };
    let value = OffsetCommitValue {
        offset: 9,
        leader_epoch: 4,
        metadata: "m".to_string(),
        commit_timestamp_ms: 5,
        expire_timestamp_ms: 25,
        topic_id: id(3),
    };
    assert_eq!(world.log, [Logged::Record(None, key.clone(), Some(value.clone()))]);

    let txn_commit = txn_commit_request(7, "g", &[spec]);
    let mut effects: Effects<GroupRecord, ()> = Effects::default();
    world.offsets.txn_commit(&world.moment, &txn_commit, None, Ok(()), &world.limits, &mut effects);
    let [write] = &effects.writes[..] else { panic!("one write: {effects:?}") };
    assert_eq!(write.producer, Some((ProducerId(7), 3)));
    let value = OffsetCommitValue { expire_timestamp_ms: -1, topic_id: id(0), ..value };
    assert_eq!(write.records, [GroupRecord::OffsetCommit(key, Some(value))]);
}

#[test]
fn counters_count_what_was_written_not_what_was_replayed() {
    let mut world = World::new();
    let specs = [spec("foo", 0, 1), spec("foo", 1, 1), spec("foo", 2, 1)];
    let commit = commit_request("g", -1, id(0), &specs);
    world.step(|offsets, moment, limits, effects| offsets.commit(moment, &commit, Ok(()), limits, effects));
    let txn_commit = txn_commit_request(7, "g", &specs[..1]);
    world.step(|offsets, moment, limits, effects| {
        offsets.txn_commit(moment, &txn_commit, None, Ok(()), limits, effects)
    });
    world.end(ProducerId(7), true);
    let delete = delete_request("g", &[spec("foo", 0, -1), spec("foo", 9, -1)]);
    world.step(|offsets, _, _, effects| offsets.delete(&delete, Ok(()), |_| false, effects));
    world.moment.wall_ms += 100;
    world.step(|offsets, moment, limits, effects| {
        offsets.expire(moment, "g", Expiry::SinceCommit, |_| false, limits, effects)
    });
    let counted = world.offsets.take_counters();
    assert_eq!(counted, OffsetCounters { committed: 4, expired: 2, deleted: 1 });
    assert_eq!(world::replay(&world.log).take_counters(), OffsetCounters::default());
}

#[test]
fn offsets_are_told_by_group_topic_and_partition_for_the_lag() {
    let mut world = World::new();
    for (group, topic, partition, offset) in
        [("b", "x", 1, 1), ("a", "y", 10, 2), ("a", "y", 9, 3), ("a", "x", 0, 4)]
    {
        let commit = commit_request(group, -1, id(0), &[spec(topic, partition, offset)]);
        world.step(|offsets, moment, limits, effects| {
            offsets.commit(moment, &commit, Ok(()), limits, effects)
        });
    }
    let all: Vec<_> =
        world.offsets.iter().map(|(group, topic, at, it)| (group, topic, at, it.offset)).collect();
    assert_eq!(all, [("a", "x", 0, 4), ("a", "y", 9, 3), ("a", "y", 10, 2), ("b", "x", 1, 1)]);
    let of_b: Vec<_> = world.offsets.of_group("b").map(|(topic, at, it)| (topic, at, it.offset)).collect();
    assert_eq!(of_b, [("x", 1, 1)]);
    assert_eq!(world.offsets.of_group("c").count(), 0);
    assert!(world.offsets.has_any("a") && !world.offsets.has_any("c"));
}

/// Encodes an answer as `version`, which the crate refuses if a field is set that the version does not have.
fn encode(answer: &impl Encodable, version: i16) -> usize {
    let mut bytes = Vec::new();
    answer.encode(&mut bytes, version).unwrap_or_else(|error| panic!("version {version}: {error}"));
    bytes.len()
}

#[test]
fn every_version_can_be_answered() {
    let mut world = World::new();
    let commit = commit_request("g", -1, id(0), &[spec("foo", 0, 1)]);
    let txn_commit = txn_commit_request(7, "g", &[spec("foo", 1, 1)]);
    let refused = commit_refused(&commit, ResponseError::NotCoordinator);
    let answers = world.step(|offsets, moment, limits, effects| {
        let answer = offsets.commit(moment, &commit, Ok(()), limits, effects);
        (answer, offsets.txn_commit(moment, &txn_commit, None, Ok(()), limits, effects))
    });
    for version in 2..=10 {
        assert_eq!(encode(&answers.0, version), encode(&refused, version));
    }
    for version in 0..=5 {
        let refused = txn_commit_refused(&txn_commit, ResponseError::NotCoordinator);
        assert_eq!(encode(&answers.1, version), encode(&refused, version));
    }
    encode(&delete_refused(ResponseError::NotCoordinator), 0);
    for version in 1..=9 {
        for verdict in [Ok(()), Err(ResponseError::NotCoordinator)] {
            let answer = fetch_as(&world, version, verdict);
            encode(&answer, version);
            assert_eq!(answer.groups.len(), usize::from(version >= 8), "version {version}");
        }
    }
    let all = OffsetFetchRequest::default().with_group_id(group_id("g")).with_topics(None);
    assert!(fetch_requests(all, 2)[0].topics.is_none(), "null asks for all");
}

/// Fetches as a client of a version does.
fn fetch_as(world: &World, version: i16, verdict: Verdict) -> OffsetFetchResponse {
    let request = if version < 8 {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name("foo"))
            .with_partition_indexes(vec![0, 1]);
        OffsetFetchRequest::default().with_group_id(group_id("g")).with_topics(Some(vec![topic]))
    } else {
        let specs = vec![spec("foo", 0, -1), spec("foo", 1, -1)];
        OffsetFetchRequest::default().with_groups(vec![fetch_request("g", id(0), Some(specs))])
    };
    let answers: Vec<_> = fetch_requests(request, version)
        .iter()
        .map(|group| world.offsets.fetch(group, true, verdict, version))
        .collect();
    let told: Vec<_> = answers.iter().map(fetched).collect();
    let expected = match (verdict, version) {
        (Ok(()), _) => "foo-0=1 foo-1:UnstableOffsetCommit",
        (Err(_), 1) => "foo-0:NotCoordinator foo-1:NotCoordinator",
        (Err(_), _) => "!NotCoordinator",
    };
    assert_eq!(told, [expected], "version {version}");
    let answer = fetch_answer(answers, version);
    if version < 8 {
        let offsets = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let offsets: Vec<_> =
            offsets.map(|partition| (partition.partition_index, partition.committed_offset)).collect();
        let expected = match (verdict, version) {
            (Ok(()), _) => &[(0, 1), (1, -1)][..],
            (Err(_), 1) => &[(0, -1), (1, -1)],
            (Err(_), _) => &[],
        };
        assert_eq!(offsets, expected, "version {version}");
        let refused = verdict.is_err() && version > 1;
        assert_eq!(answer.error_code, if refused { ResponseError::NotCoordinator.code() } else { 0 });
    }
    answer
}

/// Prints what a commit costs; `cargo test -p hayate-engine a_commit_costs_little -- --nocapture`.
#[test]
fn a_commit_costs_little_among_many_groups() {
    const GROUPS: usize = 10_000;
    const COMMITS: usize = 100_000;
    let mut world = World::new();
    let requests: Vec<_> = (0..GROUPS)
        .map(|group| commit_request(&format!("group-{group:05}"), -1, id(0), &[spec("orders", 0, 1)]))
        .collect();
    let began = hayate_rt::kernel::now();
    for at in 0..COMMITS {
        let mut effects: Effects<GroupRecord, ()> = Effects::default();
        let request = &requests[at * 7_919 % GROUPS];
        world.offsets.commit(&world.moment, request, Ok(()), &world.limits, &mut effects);
        assert_eq!(effects.written(), 1);
    }
    let spent = hayate_rt::kernel::now().since(began);
    println!("{} ns a commit, {OFFSET_BYTES} bytes an offset", spent.as_nanos() / COMMITS as u128);
    assert_eq!(world.offsets.kept(), GROUPS);
}
