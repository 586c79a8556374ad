//! A client with one membership after the other: it joins, asks for its assignment, commits what it owns, and leaves, falls silent,
//! stalls or comes back. It does as Kafka's consumers do, and worse: it also commits with the generation before.

use super::ledger::Fate;
use super::node::Unheard;
use super::{Life, PARTITIONS, TOPIC, text};
use bytes::Bytes;
use hayate_engine::coordinator::group::{ClientInfo, GroupAnswer, GroupRequest};
use hayate_net::error::ErrorCode;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest,
    SyncGroupRequest, TopicName,
};
use std::time::Duration;
use uuid::Uuid;

/// How long a member may be silent.
pub(super) const SESSION_MS: i32 = 1_000;
/// How long a member may take to join again.
pub(super) const REBALANCE_MS: i32 = 1_500;
/// How long a client waits for what is answered at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// One client.
pub(super) struct Client {
    pub(super) life: Life,
    pub(super) group: &'static str,
    /// Of a static member.
    pub(super) instance: Option<&'static str>,
    /// Its id, empty while it has none.
    id: String,
    /// What it tells the leader; the group rebalances when it changes.
    told: u8,
    /// The generation before the present one.
    before: Option<JoinGroupResponse>,
}

/// What a member does next.
enum Next {
    /// Work with these partitions.
    Work(Vec<u8>),
    /// Join again.
    Rejoin,
    /// It is no member any more.
    End,
}

impl Client {
    pub(super) fn new(life: &Life, group: &'static str, instance: Option<&'static str>) -> Client {
        Client { life: life.clone(), group, instance, id: String::new(), told: 0, before: None }
    }

    /// Until the life ends.
    pub(super) async fn live(mut self) {
        while !self.life.ends.get() {
            self.life.pause(10, 2_500).await;
            self.membership().await;
            self.give_up_id();
        }
        self.life.busy.set(self.life.busy.get() - 1);
    }

    fn give_up_id(&mut self) {
        let id = std::mem::take(&mut self.id);
        self.life.ledger.borrow_mut().silent(&id, self.life.now_ms());
        self.before = None;
    }

    async fn membership(&mut self) {
        loop {
            let Some(joined) = self.join().await else { return };
            match self.sync(&joined).await {
                Next::Work(owned) => {
                    if let Some(before) = self.before.replace(joined.clone()) {
                        self.maybe_commit_stale(&before, &joined).await;
                    }
                    if !self.work(&joined, &owned).await {
                        return;
                    }
                }
                Next::Rejoin => {}
                Next::End => return,
            }
        }
    }

    fn join_request(&self) -> GroupRequest {
        let mut metadata = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01".to_vec();
        metadata.push(self.told);
        let protocol =
            JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from(metadata));
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(self.group)))
            .with_session_timeout_ms(SESSION_MS)
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.map(text))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        let client = ClientInfo { client_id: "c".to_owned(), client_host: "/127.0.0.1".to_owned() };
        let fresh_id = Uuid::from_bytes(self.life.rt.uuid());
        GroupRequest::Join { request, version: 9, client, fresh_id }
    }

    /// Joins; `None` when it gives up.
    async fn join(&mut self) -> Option<JoinGroupResponse> {
        while !self.life.ends.get() {
            // Some lose patience, and ask again while the coordinator still keeps their request.
            let impatient = self.life.rt.random_below(8) == 0;
            let patience = if impatient { 300 } else { 4 * REBALANCE_MS as u64 };
            let asked =
                self.life.node.ask(&self.life.rt, self.join_request(), Duration::from_millis(patience));
            let response = match asked.await {
                Ok(GroupAnswer::Join(response)) => response,
                Ok(other) => panic!("{other:?}"),
                Err(unheard) => {
                    self.life.note_unheard(unheard);
                    self.life.pause(5, 60).await;
                    continue;
                }
            };
            match code(response.error_code) {
                ErrorCode::None => {
                    self.learn_id(&response.member_id);
                    self.life.ledger.borrow_mut().joined(self.group, response.generation_id);
                    return Some(response);
                }
                ErrorCode::MemberIdRequired => self.learn_id(&response.member_id),
                ErrorCode::UnknownMemberId => self.give_up_id(),
                ErrorCode::RebalanceInProgress => self.life.pause(5, 30).await,
                ErrorCode::FencedInstanceId => {
                    self.life.rt.reached("fenced by its twin");
                    return None;
                }
                code => panic!("a join is refused: {}", code.name()),
            }
        }
        None
    }

    fn learn_id(&mut self, id: &str) {
        if id != self.id {
            self.give_up_id();
            id.clone_into(&mut self.id);
        }
    }

    /// What it is called among the owners: a static member keeps its partitions when it comes back under another id.
    fn name(&self) -> String {
        self.instance.map_or_else(|| self.id.clone(), str::to_owned)
    }

    async fn sync(&mut self, joined: &JoinGroupResponse) -> Next {
        if self.life.rt.random_below(24) == 0 {
            self.life.rt.reached("silent instead of SyncGroup");
            return Next::End;
        }
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(self.group)))
            .with_generation_id(joined.generation_id)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.map(text))
            .with_assignments(if joined.skip_assignment { Vec::new() } else { shared_out(joined) });
        let request = GroupRequest::Sync { request, version: 5 };
        let response = match self.life.node.ask(&self.life.rt, request, PATIENCE).await {
            Ok(GroupAnswer::Sync(response)) => response,
            Ok(other) => panic!("{other:?}"),
            Err(unheard) => {
                self.life.note_unheard(unheard);
                self.life.pause(5, 60).await;
                return Next::Rejoin;
            }
        };
        match code(response.error_code) {
            ErrorCode::None => {
                let (name, generation) = (self.name(), joined.generation_id);
                let owned = response.assignment.to_vec();
                self.life.ledger.borrow_mut().assigned(self.group, generation, &owned, &name);
                self.life.rt.reached("assigned");
                Next::Work(owned)
            }
            refusal => self.after(refusal),
        }
    }

    /// What a refusal means to a member.
    fn after(&mut self, refusal: ErrorCode) -> Next {
        match refusal {
            ErrorCode::RebalanceInProgress => Next::Rejoin,
            ErrorCode::IllegalGeneration => {
                self.life.rt.reached("illegal generation");
                Next::Rejoin
            }
            ErrorCode::UnknownMemberId => {
                self.life.rt.reached("unknown member");
                self.give_up_id();
                Next::Rejoin
            }
            ErrorCode::FencedInstanceId => {
                self.life.rt.reached("fenced by its twin");
                Next::End
            }
            code => panic!("a member is refused: {}", code.name()),
        }
    }

    /// Works until the group rebalances; false: until it is no member any more.
    async fn work(&mut self, joined: &JoinGroupResponse, owned: &[u8]) -> bool {
        while !self.life.ends.get() {
            self.life.pause(20, 350).await;
            let next = match self.life.rt.random_below(40) {
                0 => {
                    self.leave().await;
                    Next::End
                }
                1 => {
                    self.life.rt.reached("silent");
                    Next::End
                }
                2 => {
                    self.life.rt.reached("stalled");
                    self.life.pause(SESSION_MS as u64 / 2, 2 * SESSION_MS as u64).await;
                    continue;
                }
                3 => {
                    self.told = self.told.wrapping_add(1);
                    Next::Rejoin
                }
                4..16 => self.commit(joined, owned).await,
                16..19 => {
                    self.life.read(self.group, false).await;
                    continue;
                }
                _ => self.heartbeat(joined).await,
            };
            match next {
                Next::Work(_) => {}
                Next::Rejoin => return true,
                Next::End => return false,
            }
        }
        // At the end some say so, and some are just not there any more.
        if self.life.rt.random_below(3) == 0 {
            self.leave().await;
        }
        false
    }

    async fn heartbeat(&mut self, joined: &JoinGroupResponse) -> Next {
        let latest = self.life.ledger.borrow().generation(self.group);
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(self.group)))
            .with_generation_id(joined.generation_id)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.map(text));
        match self.life.node.ask(&self.life.rt, GroupRequest::Heartbeat { request }, PATIENCE).await {
            Ok(GroupAnswer::Heartbeat(response)) => match code(response.error_code) {
                ErrorCode::None => {
                    self.life.ledger.borrow().accepted(self.group, joined.generation_id, latest);
                    Next::Work(Vec::new())
                }
                refusal => self.after(refusal),
            },
            Ok(other) => panic!("{other:?}"),
            Err(unheard) => {
                self.life.note_unheard(unheard);
                Next::Work(Vec::new())
            }
        }
    }

    async fn leave(&self) {
        let leaving = MemberIdentity::default()
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.map(text));
        let request =
            LeaveGroupRequest::default().with_group_id(GroupId(text(self.group))).with_members(vec![leaving]);
        let request = GroupRequest::Leave { request, version: 5 };
        if self.life.node.ask(&self.life.rt, request, PATIENCE).await.is_ok() {
            self.life.rt.reached("left");
        }
    }

    async fn commit(&mut self, joined: &JoinGroupResponse, owned: &[u8]) -> Next {
        if owned.is_empty() {
            return self.heartbeat(joined).await;
        }
        let partition = owned[self.life.rt.random_below(owned.len() as u64) as usize];
        match self.commit_as(joined, partition).await {
            Ok(()) | Err(ErrorCode::NetworkException) => Next::Work(Vec::new()),
            Err(refusal) => self.after(refusal),
        }
    }

    /// A commit that was held up on its way: the member has come to another generation meanwhile.
    async fn maybe_commit_stale(&self, before: &JoinGroupResponse, now: &JoinGroupResponse) {
        let is_same = before.member_id == now.member_id && before.generation_id < now.generation_id;
        if !is_same || self.life.rt.random_below(3) > 0 {
            return;
        }
        let partition = self.life.rt.random_below(PARTITIONS as u64) as u8;
        if self.commit_as(before, partition).await == Err(ErrorCode::IllegalGeneration) {
            self.life.rt.reached("stale commit refused");
        }
    }

    async fn commit_as(&self, joined: &JoinGroupResponse, partition: u8) -> Result<(), ErrorCode> {
        let latest = self.life.ledger.borrow().generation(self.group);
        let value = self.life.ledger.borrow_mut().fresh_value();
        let request = commit_request(self.group, i32::from(partition), value)
            .with_generation_id_or_member_epoch(joined.generation_id)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.map(text));
        let outcome = self.life.commit((self.group, i32::from(partition)), value, request).await;
        if outcome.is_ok() {
            self.life.ledger.borrow().accepted(self.group, joined.generation_id, latest);
        }
        outcome
    }
}

/// The leader's assignments: partitions go round.
fn shared_out(joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
    let count = joined.members.len().max(1);
    let assign = |(place, member): (
        usize,
        &kafka_protocol::messages::join_group_response::JoinGroupResponseMember,
    )| {
        let owned = (0..PARTITIONS as u8).filter(|partition| usize::from(*partition) % count == place);
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(owned.collect::<Vec<u8>>().into())
    };
    joined.members.iter().enumerate().map(assign).collect()
}

/// The commit of one partition, of nobody in particular.
pub(super) fn commit_request(group: &str, partition: i32, value: i64) -> OffsetCommitRequest {
    let partition =
        OffsetCommitRequestPartition::default().with_partition_index(partition).with_committed_offset(value);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(TOPIC)))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// A code of Kafka's.
pub(super) fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a code of Kafka's")
}

impl Life {
    /// Commits; the ledger hears of it. `NETWORK_EXCEPTION` when nothing is known.
    pub(super) async fn commit(
        &self,
        place: super::ledger::Place,
        value: i64,
        request: OffsetCommitRequest,
    ) -> Result<(), ErrorCode> {
        let change = self.ledger.borrow_mut().send(place, Some(value), self.now_ms());
        let request = GroupRequest::OffsetCommit { request, version: 8 };
        let (fate, outcome) = match self.node.ask(&self.rt, request, PATIENCE).await {
            Ok(GroupAnswer::OffsetCommit(response)) => {
                match code(response.topics[0].partitions[0].error_code) {
                    ErrorCode::None => (Fate::Done, Ok(())),
                    code => (Fate::Refused, Err(code)),
                }
            }
            Ok(other) => panic!("{other:?}"),
            Err(unheard) => {
                self.note_unheard(unheard);
                let fate = if unheard == Unheard::Refused { Fate::Refused } else { Fate::Open };
                (fate, Err(ErrorCode::NetworkException))
            }
        };
        self.ledger.borrow_mut().hear(change, fate);
        if fate == Fate::Done {
            self.rt.reached("committed");
        }
        outcome
    }

    pub(super) fn note_unheard(&self, unheard: Unheard) {
        self.rt.reached(match unheard {
            Unheard::Refused => "not taken",
            Unheard::Lost => "answer lost",
            Unheard::GivenUp => "given up",
        });
    }
}
