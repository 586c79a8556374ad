//! Groups that change their kind while they have members, and members of both protocols in one group.

use super::consumer::{alive, joining, owns, told, world};
use super::*;
use kafka_protocol::messages::leave_group_request::MemberIdentity;

/// A subscription to `t` of one who has these partitions of it.
fn subscription(owned: &[i32]) -> Bytes {
    let mut bytes = b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff".to_vec();
    if owned.is_empty() {
        bytes.extend(0i32.to_be_bytes());
    } else {
        bytes.extend(b"\0\0\0\x01\0\x01t");
        bytes.extend((owned.len() as i32).to_be_bytes());
        owned.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    }
    Bytes::from(bytes)
}

/// An assignment of partitions of `t`.
fn assignment(numbers: &[i32]) -> Bytes {
    let mut bytes = b"\0\x01\0\0\0\x01\0\x01t".to_vec();
    bytes.extend((numbers.len() as i32).to_be_bytes());
    numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes.extend((-1i32).to_be_bytes());
    Bytes::from(bytes)
}

fn join_with(member: &str, instance: Option<&str>, owned: &[i32], fresh: u128) -> GroupRequest {
    let mut request = join("g", member, instance, fresh);
    if let GroupRequest::Join { request, .. } = &mut request {
        request.protocols[0].metadata = subscription(owned);
    }
    request
}

fn join_now(world: &mut World, request: GroupRequest) -> JoinGroupResponse {
    let token = world.ask(request);
    world.joined(token).expect("at once").clone()
}

/// The partitions of `t` that a member is assigned, or why not.
fn sync_now(world: &mut World, joined: &JoinGroupResponse) -> Result<Vec<i32>, ResponseError> {
    let token = world.ask(sync("g", None, joined));
    let synced = world.synced(token).expect("at once");
    match ResponseError::try_from_code(synced.error_code) {
        None => Ok(subscription::assigned(&synced.assignment).remove("t").unwrap_or_default()),
        Some(error) => Err(error),
    }
}

fn beat_now(world: &mut World, joined: &JoinGroupResponse) -> Option<ResponseError> {
    let token = world.ask(heartbeat("g", None, joined));
    match &world.answers[&token] {
        GroupAnswer::Heartbeat(response) => ResponseError::try_from_code(response.error_code),
        other => panic!("{other:?}"),
    }
}

fn leave_now(world: &mut World, member: &str) -> i16 {
    let members = vec![MemberIdentity::default().with_member_id(text(member))];
    let request = LeaveGroupRequest::default().with_group_id(group_id("g")).with_members(members);
    let token = world.ask(GroupRequest::Leave { request, version: 5 });
    match &world.answers[&token] {
        GroupAnswer::Leave(response) => response.members[0].error_code,
        other => panic!("{other:?}"),
    }
}

/// A classic group of one member that has all four partitions of `t`.
fn classic(world: &mut World) -> JoinGroupResponse {
    let id = join_now(world, join_with("", None, &[], 1)).member_id;
    let token = world.ask(join_with(&id, None, &[], 0));
    world.pass(Duration::from_secs(3));
    let joined = world.joined(token).expect("the delay is over").clone();
    let mut request = sync("g", None, &joined);
    if let GroupRequest::Sync { request, .. } = &mut request {
        request.assignments[0].assignment = assignment(&[0, 1, 2, 3]);
    }
    world.ask(request);
    joined
}

#[test]
fn a_classic_group_becomes_a_consumer_group_and_a_classic_one_again() {
    let mut world = world();
    let one = classic(&mut world);
    // One comes that speaks the consumer protocol.
    let response = world.beat(joining("c", &["t"]));
    assert_eq!(told(&response), (2, Some(vec![])), "it waits for what the other has");
    world.check_replay();
    assert_eq!(world.described().members.iter().map(|member| member.member_type).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(world.groups.describe("g", 6).error_code, ResponseError::GroupIdNotFound.code());
    // The other hears that it is to join again, and in time.
    assert_eq!(beat_now(&mut world, &one), Some(ResponseError::RebalanceInProgress));
    let half = join_now(&mut world, join_with(&one.member_id, None, &[0, 1, 2, 3], 0));
    assert_eq!((half.error_code, half.generation_id), (0, 1), "it stays until it has given back");
    assert_eq!(sync_now(&mut world, &half), Ok(vec![0, 1]));
    assert_eq!(beat_now(&mut world, &half), Some(ResponseError::RebalanceInProgress));
    let whole = join_now(&mut world, join_with(&one.member_id, None, &[0, 1], 0));
    assert_eq!((whole.error_code, whole.generation_id), (0, 2));
    assert_eq!(sync_now(&mut world, &whole), Ok(vec![0, 1]));
    assert_eq!(beat_now(&mut world, &whole), None);
    assert_eq!(told(&world.beat(alive("c", 2))), (2, Some(vec![2, 3])));
    world.check_replay();
    assert_eq!(world.described().group_state.as_str(), "Stable");
    // A further classic member asks for its id first.
    let required = join_now(&mut world, join_with("", None, &[], 5));
    assert_eq!(required.error_code, ResponseError::MemberIdRequired.code());
    // The last that speaks the consumer protocol goes: the group is a classic one again, and rebalances.
    world.beat(alive("c", -1));
    assert!(world.groups.consumer("g").is_none());
    let described = world.groups.describe("g", 6);
    assert_eq!((described.error_code, described.group_state.as_str()), (0, "PreparingRebalance"));
    assert_eq!(world.replayed().describe("g", 6).members.len(), 1);
    let token = world.ask(join_with(&one.member_id, None, &[0, 1], 0));
    assert_eq!(world.joined(token).expect("it is alone").error_code, 0);
}

#[test]
fn what_stands_in_the_way_of_an_upgrade_is_told() {
    let refused = |world: &mut World| {
        let response = world.beat(joining("c", &["t"]));
        assert_eq!(response.error_code, ResponseError::GroupIdNotFound.code());
        response.error_message.expect("words").to_string()
    };
    let with = |consumer: ConsumerGroupConfig| {
        let mut world = World::new(GroupConfig { consumer, ..GroupConfig::default() });
        world.topic("t", 4);
        classic(&mut world);
        world
    };
    for migration in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        let mut world = with(ConsumerGroupConfig { migration, ..ConsumerGroupConfig::default() });
        assert!(refused(&mut world).contains("disabled"));
    }
    let mut world = with(ConsumerGroupConfig { size_max: 0, ..ConsumerGroupConfig::default() });
    assert!(refused(&mut world).contains("maximum size"));
    let mut world = with(ConsumerGroupConfig::default());
    let before = world.log.len();
    assert_eq!(world.beat(alive("c", 1)).error_code, ResponseError::GroupIdNotFound.code());
    assert_eq!(world.log.len(), before, "only who joins makes the group another");
    // No member's subscription can be read: it is no consumer's.
    let mut world = World::new(GroupConfig::default());
    let id = join_now(&mut world, join("g", "", None, 1)).member_id;
    let mut request = join("g", &id, None, 0);
    if let GroupRequest::Join { request, .. } = &mut request {
        request.protocols[0].metadata = Bytes::from_static(b"?");
    }
    world.ask(request);
    world.pass(Duration::from_secs(3));
    assert!(refused(&mut world).contains("malformed"));
}

#[test]
fn without_downgrades_a_consumer_group_stays_one() {
    let consumer =
        ConsumerGroupConfig { migration: MigrationPolicy::Upgrade, ..ConsumerGroupConfig::default() };
    let mut world = World::new(GroupConfig { consumer, ..GroupConfig::default() });
    world.topic("t", 4);
    classic(&mut world);
    world.beat(joining("c", &["t"]));
    world.beat(alive("c", -1));
    assert_eq!(world.group().members.len(), 1);
    world.check_replay();
}

#[test]
fn a_classic_member_must_know_its_generation_and_come_in_time() {
    let mut world = world();
    world.beat(joining("c", &["t"]));
    let id = join_now(&mut world, join_with("", None, &[], 1)).member_id;
    let joined = join_now(&mut world, join_with(&id, None, &[], 0));
    assert_eq!(joined.generation_id, 2);
    let mut stale = joined.clone();
    stale.generation_id = 1;
    assert_eq!(sync_now(&mut world, &stale), Err(ResponseError::IllegalGeneration));
    assert_eq!(beat_now(&mut world, &stale), Some(ResponseError::IllegalGeneration));
    let mut other = joined.clone();
    other.member_id = text("c");
    assert_eq!(
        beat_now(&mut world, &other),
        Some(ResponseError::UnknownMemberId),
        "c speaks the other protocol"
    );
    assert_eq!(sync_now(&mut world, &joined), Ok(vec![]), "c has not given back yet");
    world.beat(alive("c", 1));
    world.beat(owns(alive("c", 1), &[0, 1]));
    assert_eq!(
        beat_now(&mut world, &joined),
        Some(ResponseError::RebalanceInProgress),
        "what it waits for is free"
    );
    // It does not join again.
    for _ in 0..3 {
        world.pass(Duration::from_secs(7));
        world.beat(alive("c", 2));
        beat_now(&mut world, &joined);
    }
    assert_eq!(world.group().members.len(), 1, "its rebalance timeout is over");
    // Another joins, and does not ask for its assignment.
    let id = join_now(&mut world, join_with("", None, &[], 2)).member_id;
    let joined = join_now(&mut world, join_with(&id, None, &[], 0));
    for _ in 0..3 {
        world.pass(Duration::from_secs(7));
        world.beat(alive("c", world.group().members["c"].epoch));
        beat_now(&mut world, &joined);
    }
    assert_eq!(world.group().members.len(), 1);
    let wrong = join_now(&mut world, {
        let mut request = join_with("", None, &[], 3);
        if let GroupRequest::Join { request, .. } = &mut request {
            request.protocol_type = text("connect");
        }
        request
    });
    assert_eq!(wrong.error_code, ResponseError::InconsistentGroupProtocol.code());
    assert_eq!(leave_now(&mut world, "stranger"), ResponseError::UnknownMemberId.code());
    assert_eq!(leave_now(&mut world, "c"), 0, "an administrator may take out anybody");
    assert_eq!(world.described().group_state.as_str(), "Empty");
    world.check_replay();
}

#[test]
fn a_static_member_may_change_its_protocol_and_the_group_follows() {
    let mut world = world();
    let of_i = |request: ConsumerGroupHeartbeatRequest| request.with_instance_id(Some(text("i")));
    // From the classic protocol to the consumer protocol, without leaving.
    let token = world.ask(join_with("", Some("i"), &[], 1));
    world.pass(Duration::from_secs(3));
    let joined = world.joined(token).expect("joined").clone();
    let mut request = sync("g", Some("i"), &joined);
    if let GroupRequest::Sync { request, .. } = &mut request {
        request.assignments[0].assignment = assignment(&[0, 1, 2, 3]);
    }
    world.ask(request);
    let response = world.beat(of_i(joining("c", &["t"])));
    assert_eq!(told(&response), (1, Some(vec![0, 1, 2, 3])), "it takes its own place");
    assert_eq!(world.group().members.len(), 1);
    world.check_replay();
    // And back: the last member of the consumer protocol has gone with it.
    let back = join_now(&mut world, join_with("", Some("i"), &[], 2));
    assert_eq!(back.error_code, 0);
    assert!(world.groups.consumer("g").is_none());
    let described = world.groups.describe("g", 6);
    assert_eq!((described.group_state.as_str(), described.members.len()), ("Stable", 1));
    let token = world.ask(sync("g", Some("i"), &back));
    let synced = world.synced(token).expect("at once");
    assert_eq!(subscription::assigned(&synced.assignment)["t"], [0, 1, 2, 3]);
    assert_eq!(world.groups.describe("g", 6), world.replayed().describe("g", 6));
}

#[test]
fn empty_groups_become_what_their_first_member_is() {
    let mut world = world();
    world.beat(joining("c", &["t"]));
    world.beat(alive("c", -1));
    let required = join_now(&mut world, join_with("", None, &[], 1));
    assert_eq!(required.error_code, ResponseError::MemberIdRequired.code());
    assert_eq!(world.groups.describe("g", 6).group_state.as_str(), "Empty");
    assert_eq!(world.replayed().describe("g", 6).group_state.as_str(), "Empty");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.beat(joining("c", &["t"])).error_code, 0);
    world.check_replay();
}
