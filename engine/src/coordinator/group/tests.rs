//! Scripts of requests against the groups of one partition, and random ones against what must always hold.

mod consumer;
mod consumer_random;
mod migration;
mod random;
mod script;
mod share;

use super::*;
use crate::coordinator::Effects;
use crate::metadata::image::MetadataImage;
use bytes::Bytes;
use hayate_storage::batch::Offset;
use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use std::sync::Arc;
use std::time::Duration;

const T0: i64 = 1_767_225_600_000;

/// The groups, their log, and every answer that was given.
struct World {
    groups: Groups,
    now_ms: u64,
    image: Arc<MetadataImage>,
    log: Vec<GroupRecord>,
    answers: BTreeMap<Token, GroupAnswer>,
    orders: Vec<GroupOrder>,
    tokens: u64,
}

impl World {
    fn new(config: GroupConfig) -> World {
        let mut world = World {
            groups: Groups::new(Rc::new(config)),
            now_ms: 0,
            image: Arc::new(MetadataImage::empty("c")),
            log: Vec::new(),
            answers: BTreeMap::new(),
            orders: Vec::new(),
            tokens: 0,
        };
        world.step(|groups, moment, effects| groups.loaded(moment, effects));
        world
    }

    fn moment(&self) -> Moment {
        Moment {
            now: MonoTime::from_nanos(self.now_ms * 1_000_000),
            wall_ms: T0 + self.now_ms as i64,
            image: self.image.clone(),
            log_end: Offset(self.log.len() as i64),
        }
    }

    fn step(&mut self, take: impl FnOnce(&mut Groups, &Moment, &mut EffectsOf<Groups>)) {
        let (moment, mut effects) = (self.moment(), Effects::default());
        take(&mut self.groups, &moment, &mut effects);
        self.log.extend(effects.writes.into_iter().flat_map(|write| write.records));
        self.orders.extend(effects.orders);
        for (token, answer) in effects.answers {
            let before = self.answers.insert(token, answer);
            assert!(before.is_none(), "a request is answered once");
        }
    }

    /// Asks; the answer, if there is one already, is in `answers`.
    fn ask(&mut self, request: GroupRequest) -> Token {
        let token = Token(self.tokens);
        self.tokens += 1;
        self.step(|groups, moment, effects| groups.handle(moment, token, request, effects));
        token
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, span: Duration) {
        let end_ms = self.now_ms + span.as_millis() as u64;
        let mut steps = 0;
        while let Some(due) = self.groups.next_deadline().filter(|due| due.as_nanos() <= end_ms * 1_000_000) {
            self.now_ms = self.now_ms.max(due.as_nanos().div_ceil(1_000_000));
            self.step(|groups, moment, effects| groups.on_time(moment, effects));
            steps += 1;
            assert!(steps < 1_000_000, "deadlines that never end");
        }
        self.now_ms = end_ms;
    }

    /// What a load of everything written so far makes.
    fn replayed(&self) -> Groups {
        let mut groups = Groups::new(self.groups.config.clone());
        for (offset, record) in (0..).zip(&self.log) {
            let Encoded { key, value } = Groups::encode(record);
            let (key, value) = (&key[..], value.as_deref());
            let record = Replayed { offset: Offset(offset), producer: None, key, value };
            groups.replay(record).expect("what was written can be read");
        }
        groups
    }

    fn joined(&self, token: Token) -> Option<&JoinGroupResponse> {
        match self.answers.get(&token)? {
            GroupAnswer::Join(response) => Some(response),
            other => panic!("{other:?}"),
        }
    }

    fn synced(&self, token: Token) -> Option<&SyncGroupResponse> {
        match self.answers.get(&token)? {
            GroupAnswer::Sync(response) => Some(response),
            other => panic!("{other:?}"),
        }
    }
}

fn group_id(id: &str) -> GroupId {
    GroupId(text(id))
}

/// A JoinGroup of version 9 with one protocol, `range`; a static member's has an instance.
fn join(group: &str, member: &str, instance: Option<&str>, fresh: u128) -> GroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"));
    let request = JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(20_000)
        .with_member_id(text(member))
        .with_group_instance_id(instance.map(text))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let client = ClientInfo { client_id: "c".to_owned(), client_host: "/127.0.0.1".to_owned() };
    GroupRequest::Join { request, version: 9, client, fresh_id: Uuid::from_u128(fresh) }
}

/// The SyncGroup of a member: a leader gives each its place in the list.
fn sync(group: &str, instance: Option<&str>, joined: &JoinGroupResponse) -> GroupRequest {
    let assign =
        |(at, member): (usize, &kafka_protocol::messages::join_group_response::JoinGroupResponseMember)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id.clone())
                .with_assignment(Bytes::copy_from_slice(&[at as u8]))
        };
    let request = SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_group_instance_id(instance.map(text))
        .with_assignments(joined.members.iter().enumerate().map(assign).collect());
    GroupRequest::Sync { request, version: 5 }
}

fn heartbeat(group: &str, instance: Option<&str>, joined: &JoinGroupResponse) -> GroupRequest {
    let request = HeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_group_instance_id(instance.map(text));
    GroupRequest::Heartbeat { request }
}
