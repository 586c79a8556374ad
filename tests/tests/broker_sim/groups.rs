//! Classic groups and committed offsets on a whole simulated broker: members share, rebalance and resume, and what was
//! committed outlives a crash.

use super::{check, check_with};
use bytes::Bytes;
use hayate_engine::broker::{BrokerOptions, RunningShard};
use hayate_engine::metrics::sample;
use hayate_net::error::ErrorCode;
use hayate_rt::{Queue, Rt, Task};
use hayate_tests::broker_sim::{Bench, CLIENT, Client, checked, name};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

/// Few partitions, so that a start is quick.
fn few(options: &mut BrokerOptions) {
    options.internal_topics.offsets.partitions = 4;
}

/// Asks until the coordinator answers: it may still be loading.
async fn find_coordinator(client: &mut Client, id: &str) {
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(id)]);
    let response = client.ask(6, &request).await;
    let found = &response.coordinators[0];
    assert_eq!((checked(found.error_code), found.node_id.0, found.key.as_str()), (Ok(()), 1, id));
}

fn join_request(id: &str, member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(&[0, 1, 0, 0, 0, 1, 0, 1, b't', 255, 255, 255, 255]));
    JoinGroupRequest::default()
        .with_group_id(group(id))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(20_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins with an id that the coordinator gives.
async fn join(client: &mut Client, id: &str) -> JoinGroupResponse {
    let named = client.ask(9, &join_request(id, "")).await;
    assert_eq!(checked(named.error_code), Err(ErrorCode::MemberIdRequired));
    client.ask(9, &join_request(id, &named.member_id)).await
}

async fn sync(client: &mut Client, id: &str, joined: &JoinGroupResponse) -> SyncGroupResponse {
    let assign = |member: &kafka_protocol::messages::join_group_response::JoinGroupResponseMember| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(Bytes::copy_from_slice(member.member_id.as_bytes()))
    };
    let request = SyncGroupRequest::default()
        .with_group_id(group(id))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(joined.members.iter().map(assign).collect());
    client.ask(5, &request).await
}

async fn beat(client: &mut Client, id: &str, joined: &JoinGroupResponse) -> Result<(), ErrorCode> {
    let request = HeartbeatRequest::default()
        .with_group_id(group(id))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    checked(client.ask(4, &request).await.error_code)
}

fn commit_request(id: &str, member: &str, generation: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group(id))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(member))
        .with_topics(vec![topic])
}

async fn commit(client: &mut Client, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    checked(client.ask(8, request).await.topics[0].partitions[0].error_code)
}

/// The offset that the group has committed for partition 0 of `t`; −1 for none.
async fn committed(client: &mut Client, id: &str) -> Result<(i64, String), ErrorCode> {
    let topic = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(Some(vec![topic]));
    let response = client.ask(8, &OffsetFetchRequest::default().with_groups(vec![asked])).await;
    let answered = &response.groups[0];
    checked(answered.error_code)?;
    let partition = &answered.topics[0].partitions[0];
    checked(partition.error_code)?;
    Ok((partition.committed_offset, partition.metadata.as_ref().map(ToString::to_string).unwrap_or_default()))
}

/// As [`committed`], until the coordinator has loaded.
async fn committed_when_loaded(client: &mut Client, rt: &Rt, id: &str) -> (i64, String) {
    loop {
        match committed(client, id).await {
            Ok(found) => return found,
            Err(ErrorCode::CoordinatorLoadInProgress) => rt.sleep(Duration::from_millis(10)).await,
            Err(code) => panic!("{code:?}"),
        }
    }
}

/// Joins in a task of its own: the answer may take until others have joined.
fn joining(bench: &Bench, rt: &Rt, id: &'static str) -> Task<(Client, JoinGroupResponse)> {
    let bench = bench.clone();
    rt.spawn(Queue::Foreground, async move {
        let mut client = bench.client().await;
        let joined = join(&mut client, id).await;
        (client, joined)
    })
}

#[test]
fn two_members_share_a_group_and_one_inherits_when_the_other_leaves() {
    check_with(2, few, |bench| async move {
        let running = bench.start().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let mut admin = bench.client().await;
        admin.create_topic("t", 2).await;
        find_coordinator(&mut admin, "g").await;
        let (one, two) = (joining(&bench, &rt, "g"), joining(&bench, &rt, "g"));
        let ((mut one, joined_one), (mut two, joined_two)) = (one.await, two.await);
        assert_eq!((checked(joined_one.error_code), checked(joined_two.error_code)), (Ok(()), Ok(())));
        assert_eq!((joined_one.generation_id, joined_two.generation_id), (1, 1));
        assert_eq!(joined_one.leader, joined_two.leader);
        let is_leader = |joined: &JoinGroupResponse| joined.leader == joined.member_id;
        assert!(is_leader(&joined_one) != is_leader(&joined_two));
        assert_eq!(joined_one.members.len() + joined_two.members.len(), 2, "the leader alone hears of all");
        let (a, b) = if is_leader(&joined_one) {
            (sync(&mut one, "g", &joined_one).await, sync(&mut two, "g", &joined_two).await)
        } else {
            let b = sync(&mut two, "g", &joined_two).await;
            (sync(&mut one, "g", &joined_one).await, b)
        };
        assert_eq!((checked(a.error_code), checked(b.error_code)), (Ok(()), Ok(())));
        assert_eq!(a.assignment, joined_one.member_id.as_bytes());
        assert_eq!(b.assignment, joined_two.member_id.as_bytes());
        assert_eq!(beat(&mut one, "g", &joined_one).await, Ok(()));
        let wrong = commit_request("g", &joined_one.member_id, 7, 5);
        assert_eq!(commit(&mut one, &wrong).await, Err(ErrorCode::IllegalGeneration));
        let stranger = commit_request("g", "nobody", 1, 5);
        assert_eq!(commit(&mut one, &stranger).await, Err(ErrorCode::UnknownMemberId));
        assert_eq!(committed(&mut admin, "g").await, Ok((-1, String::new())));
        let good = commit_request("g", &joined_one.member_id, 1, 5);
        assert_eq!(commit(&mut one, &good).await, Ok(()));
        assert_eq!(committed(&mut admin, "g").await, Ok((5, "note".to_owned())));
        let leaving = MemberIdentity::default().with_member_id(joined_two.member_id.clone());
        let leave = LeaveGroupRequest::default().with_group_id(group("g")).with_members(vec![leaving]);
        assert_eq!(checked(two.ask(5, &leave).await.error_code), Ok(()));
        assert_eq!(beat(&mut one, "g", &joined_one).await, Err(ErrorCode::RebalanceInProgress));
        let again = one.ask(9, &join_request("g", &joined_one.member_id)).await;
        assert_eq!((checked(again.error_code), again.generation_id, again.members.len()), (Ok(()), 2, 1));
        bench.stop(running).await;
    });
}

#[test]
fn members_and_offsets_outlive_a_crash_and_a_silent_member_does_not_outlive_its_session() {
    check_with(2, few, |bench| async move {
        let running = bench.start().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let mut admin = bench.client().await;
        admin.create_topic("t", 2).await;
        find_coordinator(&mut admin, "g").await;
        let (mut member, joined) = joining(&bench, &rt, "g").await;
        assert_eq!(checked(sync(&mut member, "g", &joined).await.error_code), Ok(()));
        for offset in 1..=20 {
            let request = commit_request("g", &joined.member_id, 1, offset);
            assert_eq!(commit(&mut member, &request).await, Ok(()));
        }
        drop(running);
        bench.crash();
        let running = bench.start().await;
        let mut member = bench.client().await;
        assert_eq!(committed_when_loaded(&mut member, &rt, "g").await, (20, "note".to_owned()));
        assert_eq!(beat(&mut member, "g", &joined).await, Ok(()), "the member is known");
        let after = sync(&mut member, "g", &joined).await;
        assert_eq!(after.assignment, joined.member_id.as_bytes(), "and what it was assigned");
        rt.sleep(Duration::from_secs(11)).await;
        assert_eq!(beat(&mut member, "g", &joined).await, Err(ErrorCode::UnknownMemberId));
        let described = DescribeGroupsRequest::default().with_groups(vec![group("g")]);
        let described = &member.ask(6, &described).await.groups[0];
        assert_eq!((described.group_state.as_str(), described.members.len()), ("Empty", 0));
        bench.stop(running).await;
        let running = bench.start().await;
        let mut admin = bench.client().await;
        assert_eq!(committed_when_loaded(&mut admin, &rt, "g").await, (20, "note".to_owned()));
        let deleted = DeleteGroupsRequest::default().with_groups_names(vec![group("g"), group("none")]);
        let deleted = admin.ask(2, &deleted).await;
        let outcomes: Vec<_> = deleted.results.iter().map(|result| checked(result.error_code)).collect();
        assert_eq!(outcomes, [Ok(()), Err(ErrorCode::GroupIdNotFound)]);
        assert_eq!(committed(&mut admin, "g").await, Ok((-1, String::new())));
        bench.stop(running).await;
    });
}

#[test]
fn a_commit_without_a_group_makes_one_and_every_group_is_listed_once() {
    check_with(3, few, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 1).await;
        let lost = commit_request("a", "", -1, 3);
        assert_eq!(commit(&mut client, &lost).await, Err(ErrorCode::CoordinatorNotAvailable));
        find_coordinator(&mut client, "a").await;
        for (id, offset) in [("a", 3), ("b", 4), ("c", 5), ("d", 6), ("e", 7)] {
            assert_eq!(commit(&mut client, &commit_request(id, "", -1, offset)).await, Ok(()));
            assert_eq!(committed(&mut client, id).await, Ok((offset, "note".to_owned())));
        }
        let mut missing = commit_request("a", "", -1, 9);
        missing.topics[0].name = name("missing");
        assert_eq!(commit(&mut client, &missing).await, Err(ErrorCode::UnknownTopicOrPartition));
        let listed = client.ask(5, &ListGroupsRequest::default()).await;
        let mut ids: Vec<_> = listed.groups.iter().map(|group| group.group_id.0.to_string()).collect();
        ids.sort();
        assert_eq!(
            (checked(listed.error_code), ids),
            (Ok(()), ["a", "b", "c", "d", "e"].map(String::from).to_vec())
        );
        assert!(listed.groups.iter().all(|group| group.group_state.as_str() == "Empty"));
        bench.stop(running).await;
    });
}

#[test]
fn a_member_that_waits_for_others_is_told_when_the_broker_stops() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let mut admin = bench.client().await;
        find_coordinator(&mut admin, "g").await;
        let waiting = joining(&bench, &rt, "g");
        rt.sleep(Duration::from_millis(500)).await;
        bench.stop(running).await;
        assert_eq!(checked(waiting.await.1.error_code), Err(ErrorCode::NotCoordinator));
    });
}

/// A group's members and its lag of partition 0 of `t`, as the metrics have them.
fn shown(running: &[RunningShard], id: &str) -> Option<(&'static str, usize, Option<i64>)> {
    // Twice, for a shard may tell where partitions end before another tells whose offsets are of interest.
    for shard in running.iter().chain(running) {
        sample(&shard.shard, &shard.store, &shard.shard.metrics);
    }
    let mut found = None;
    running[0].shard.metrics.groups.series.each(|group, figures, end| {
        if group == id {
            let committed = figures.committed.get("t").and_then(|partitions| partitions.get(&0));
            let lag = committed.and_then(|offset| Some(end("t", 0)? - offset));
            found = Some((figures.state, figures.members.len(), lag));
        }
    });
    found
}

#[test]
fn a_group_and_its_lag_are_shown_until_it_is_deleted_and_again_after_a_restart() {
    check_with(3, few, |bench| async move {
        let running = bench.start().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let mut client = bench.client().await;
        let topic = client.create_topic("t", 2).await;
        client.produce(&topic, 0, &["a", "b", "c"]).await.unwrap();
        find_coordinator(&mut client, "a").await;
        for (id, offset) in [("a", 1), ("b", 3)] {
            assert_eq!(commit(&mut client, &commit_request(id, "", -1, offset)).await, Ok(()));
        }
        let (_member, joined) = joining(&bench, &rt, "b").await;
        assert_eq!(checked(joined.error_code), Ok(()));
        assert_eq!(shown(&running, "a"), Some(("Empty", 0, Some(2))));
        assert_eq!(shown(&running, "b"), Some(("CompletingRebalance", 1, Some(0))));
        client.produce(&topic, 0, &["d"]).await.unwrap();
        assert_eq!(shown(&running, "a"), Some(("Empty", 0, Some(3))));
        let deletion = DeleteGroupsRequest::default().with_groups_names(vec![group("a")]);
        assert_eq!(checked(client.ask(2, &deletion).await.results[0].error_code), Ok(()));
        assert_eq!(shown(&running, "a"), None);
        bench.stop(running).await;
        let running = bench.start().await;
        rt.sleep(Duration::from_secs(1)).await;
        assert_eq!(shown(&running, "b").map(|(_, _, lag)| lag), Some(Some(1)));
        bench.stop(running).await;
    });
}
