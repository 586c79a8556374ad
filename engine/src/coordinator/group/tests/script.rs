//! Single stories of classic groups, with the codes of Kafka 4.2.

use super::*;

fn code(outcome: Result<(), ResponseError>) -> i16 {
    outcome.err().map_or(0, |error| error.code())
}

/// Lets `count` dynamic members into a group that is new; what each was answered.
fn gather(world: &mut World, group: &str, count: u128) -> Vec<JoinGroupResponse> {
    let mut waiting = Vec::new();
    for number in 0..count {
        let refused = world.ask(join(group, "", None, number));
        let id = world.joined(refused).expect("at once").member_id.to_string();
        waiting.push(world.ask(join(group, &id, None, 0)));
    }
    world.pass(Duration::from_secs(6));
    waiting.into_iter().map(|token| world.joined(token).expect("the delay is over").clone()).collect()
}

/// All ask for their assignments, the leader last.
fn settle(world: &mut World, group: &str, joined: &[JoinGroupResponse]) -> Vec<Bytes> {
    let is_leader = |answer: &&JoinGroupResponse| answer.leader == answer.member_id;
    let followers = joined.iter().filter(|answer| !is_leader(answer));
    let order: Vec<_> = followers.chain(joined.iter().filter(is_leader)).collect();
    let tokens: Vec<_> = order.iter().map(|answer| world.ask(sync(group, None, answer))).collect();
    tokens
        .into_iter()
        .map(|token| world.synced(token).expect("the leader has assigned").assignment.clone())
        .collect()
}

#[test]
fn a_member_first_asks_for_its_id_and_the_first_rebalance_waits_for_others() {
    let mut world = World::new(GroupConfig::default());
    let first = world.ask(join("g", "", None, 7));
    let refused = world.joined(first).expect("at once").clone();
    assert_eq!(refused.error_code, ResponseError::MemberIdRequired.code());
    assert_eq!(refused.member_id.as_str(), format!("c-{}", Uuid::from_u128(7).hyphenated()));
    assert_eq!(world.log.len(), 1, "the group is there from now on");
    let joining = world.ask(join("g", &refused.member_id, None, 0));
    assert!(world.joined(joining).is_none(), "others may come");
    world.pass(Duration::from_millis(2_999));
    assert!(world.joined(joining).is_none());
    world.pass(Duration::from_millis(1));
    let joined = world.joined(joining).expect("group.initial.rebalance.delay.ms is over").clone();
    assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 1, 1));
    let syncing = world.ask(sync("g", None, &joined));
    assert_eq!(world.synced(syncing).expect("it leads").assignment, &[0u8][..]);
    assert_eq!(world.groups.take_counts().rebalances.completed, 1);
    assert_eq!(world.groups.describe("g", 6), world.replayed().describe("g", 6));
}

#[test]
fn bad_requests_are_refused_and_change_nothing() {
    let mut world = World::new(GroupConfig::default());
    let joined = gather(&mut world, "g", 2);
    settle(&mut world, "g", &joined);
    let (before, written) = (world.groups.describe("g", 6), world.log.len());
    let member = joined[0].member_id.as_str();
    let adjusted = |adjust: &dyn Fn(&mut JoinGroupRequest)| {
        let GroupRequest::Join { mut request, version, client, fresh_id } = join("g", member, None, 1) else {
            unreachable!("a join")
        };
        adjust(&mut request);
        GroupRequest::Join { request, version, client, fresh_id }
    };
    let joins: [(GroupRequest, ResponseError); 6] = [
        (join("", "", None, 1), ResponseError::InvalidGroupId),
        (join("none", member, None, 1), ResponseError::UnknownMemberId),
        (join("g", "stranger", None, 1), ResponseError::UnknownMemberId),
        (adjusted(&|request| request.session_timeout_ms = 5_999), ResponseError::InvalidSessionTimeout),
        (
            adjusted(&|request| request.protocol_type = text("connect")),
            ResponseError::InconsistentGroupProtocol,
        ),
        (adjusted(&|request| request.protocols.clear()), ResponseError::InconsistentGroupProtocol),
    ];
    for (request, expected) in joins {
        let token = world.ask(request);
        assert_eq!(world.joined(token).expect("at once").error_code, expected.code(), "{expected:?}");
    }
    let mut stale = joined[0].clone();
    stale.generation_id = 7;
    for (answer, instance, expected) in [
        (&joined[0], None, Ok(())),
        (&stale, None, Err(ResponseError::IllegalGeneration)),
        (&joined[0], Some("nobody"), Err(ResponseError::UnknownMemberId)),
    ] {
        let syncing = world.ask(sync("g", instance, answer));
        assert_eq!(world.synced(syncing).expect("at once").error_code, code(expected));
        let beating = world.ask(heartbeat("g", instance, answer));
        assert!(matches!(&world.answers[&beating],
            GroupAnswer::Heartbeat(answer) if answer.error_code == code(expected)));
    }
    assert_eq!((world.groups.describe("g", 6), world.log.len()), (before, written));
}

#[test]
fn a_static_member_that_returns_takes_its_place_and_fences_the_old_one() {
    let mut world = World::new(GroupConfig::default());
    let joining = world.ask(join("g", "", Some("i"), 1));
    world.pass(Duration::from_secs(3));
    let old = world.joined(joining).expect("joined").clone();
    let syncing = world.ask(sync("g", Some("i"), &old));
    assert_eq!(world.synced(syncing).expect("assigned").error_code, 0);
    let returning = world.ask(join("g", "", Some("i"), 2));
    let new = world.joined(returning).expect("without a rebalance").clone();
    assert_eq!((new.error_code, new.generation_id, new.skip_assignment), (0, 1, true));
    assert_ne!(new.member_id, old.member_id);
    let beating = world.ask(heartbeat("g", Some("i"), &old));
    let fenced = ResponseError::FencedInstanceId.code();
    assert!(
        matches!(&world.answers[&beating], GroupAnswer::Heartbeat(answer) if answer.error_code == fenced)
    );
    let syncing = world.ask(sync("g", Some("i"), &new));
    assert_eq!(world.synced(syncing).expect("at once").assignment, &[0u8][..], "it kept its own");
    assert_eq!(world.groups.describe("g", 6), world.replayed().describe("g", 6));
}

#[test]
fn an_assignment_too_large_for_a_record_is_refused_and_the_group_tries_again() {
    let mut world = World::new(GroupConfig { record_bytes_max: 100, ..GroupConfig::default() });
    let joined = gather(&mut world, "g", 1);
    let mut request = sync("g", None, &joined[0]);
    if let GroupRequest::Sync { request, .. } = &mut request {
        request.assignments[0].assignment = Bytes::from(vec![0; 200]);
    }
    let written = world.log.len();
    let syncing = world.ask(request);
    assert_eq!(world.synced(syncing).expect("at once").error_code, ResponseError::UnknownServerError.code());
    assert_eq!(world.log.len(), written);
    assert_eq!(world.groups.describe("g", 6).group_state.as_str(), "PreparingRebalance");
}

#[test]
fn a_static_member_without_patience_does_not_hold_up_the_clock() {
    let mut world = World::new(GroupConfig::default());
    let impatient = |instance, fresh| {
        let GroupRequest::Join { mut request, version, client, fresh_id } =
            join("g", "", Some(instance), fresh)
        else {
            unreachable!("a join")
        };
        request.rebalance_timeout_ms = 0;
        GroupRequest::Join { request, version, client, fresh_id }
    };
    let (one, two) = (world.ask(impatient("one", 1)), world.ask(impatient("two", 2)));
    world.pass(Duration::from_secs(3));
    let (one, two) = (world.joined(one).expect("joined").clone(), world.joined(two).expect("joined").clone());
    let leave = kafka_protocol::messages::leave_group_request::MemberIdentity::default()
        .with_member_id(one.member_id.clone());
    let request = LeaveGroupRequest::default().with_group_id(group_id("g")).with_members(vec![leave]);
    world.ask(GroupRequest::Leave { request, version: 5 });
    world.pass(Duration::from_secs(9));
    let beating = world.ask(heartbeat("g", Some("two"), &two));
    assert!(matches!(&world.answers[&beating], GroupAnswer::Heartbeat(_)));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.groups.describe("g", 6).group_state.as_str(), "Empty", "its session is over at last");
}

#[test]
fn ids_that_nobody_comes_back_for_are_bounded_and_lapse() {
    let mut world = World::new(GroupConfig { pending_max: 3, ..GroupConfig::default() });
    let codes: Vec<i16> = (0..4)
        .map(|number| {
            let token = world.ask(join("g", "", None, number));
            world.joined(token).expect("at once").error_code
        })
        .collect();
    let (required, full) =
        (ResponseError::MemberIdRequired.code(), ResponseError::GroupMaxSizeReached.code());
    assert_eq!(codes, [required, required, required, full]);
    world.pass(Duration::from_secs(11));
    let token = world.ask(join("g", "", None, 9));
    assert_eq!(world.joined(token).expect("at once").error_code, required);
}

#[test]
fn an_idle_group_takes_little_memory() {
    let mut world = World::new(GroupConfig::default());
    for number in 0..1000 {
        let joining = world.ask(join(&format!("group-{number}"), "", Some("i"), number));
        world.pass(Duration::from_secs(3));
        let joined = world.joined(joining).expect("joined").clone();
        world.ask(sync(&format!("group-{number}"), Some("i"), &joined));
    }
    // The parts of a group and of its one member; what they hold beside are names.
    let bytes = size_of::<Group>() + size_of::<member::Member>();
    println!("{bytes} bytes a group with a member, names excluded");
    assert!(bytes <= 1024);
}
