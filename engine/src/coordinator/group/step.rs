//! What a step of a group has at hand: the moment, the settings, the alarms, and where answers and records go.

use super::classic::ClassicGroup;
use super::modern::{ConsumerGroupConfig, TopicWatch};
use super::share::Pending;
use super::timers::{Alarm, Handle, Timers};
use super::{GroupAnswer, Groups};
use crate::coordinator::offsets::OffsetLimits;
use crate::coordinator::{EffectsOf, Moment, Token};
use crate::share::settings::ShareConfig;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// What the broker says about groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub session_min_ms: i32,
    /// `group.max.session.timeout.ms`
    pub session_max_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub size_max: usize,
    /// How long a member may take to come back that has not been answered yet; Kafka has no setting for it.
    pub new_member_join_timeout_ms: i32,
    /// The largest record of a group: what its topic takes in a batch (`message.max.bytes`).
    pub record_bytes_max: usize,
    /// The most ids that a group gives out to members that have not joined with them yet; Kafka sets no bound.
    pub pending_max: usize,
    /// What holds for consumer groups.
    pub consumer: ConsumerGroupConfig,
    /// What holds for offsets.
    pub offsets: OffsetLimits,
    /// `offsets.retention.check.interval.ms`
    pub expiry_check: Duration,
    /// What holds for share groups.
    pub shares: ShareConfig,
}

impl Default for GroupConfig {
    /// Kafka's defaults.
    fn default() -> GroupConfig {
        GroupConfig {
            session_min_ms: 6_000,
            session_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            size_max: i32::MAX as usize,
            new_member_join_timeout_ms: 300_000,
            record_bytes_max: 1 << 20,
            pending_max: 10_000,
            consumer: ConsumerGroupConfig::default(),
            offsets: OffsetLimits::default(),
            expiry_check: Duration::from_secs(600),
            shares: ShareConfig::default(),
        }
    }
}

/// Whose a request is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its name for itself, empty for none.
    pub client_id: String,
    /// Its address, as Kafka writes it: `/10.0.0.1`.
    pub client_host: String,
}

/// What became of rebalances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebalances {
    /// Begun (Kafka's `group-rebalance-count` counts them as they end).
    pub started: u64,
    /// Ended with a generation that has its assignments.
    pub completed: u64,
    /// How long those took together.
    pub spent: Duration,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) token: Token,
    pub(super) version: i16,
}

/// A step of one group.
pub(super) struct Step<'a> {
    pub(super) moment: &'a Moment,
    pub(super) config: &'a GroupConfig,
    pub(super) timers: &'a mut Timers,
    pub(super) rebalances: &'a mut Rebalances,
    pub(super) topics: &'a TopicWatch,
    pub(super) pending: &'a mut BTreeMap<i64, (Rc<str>, Pending)>,
    pub(super) effects: &'a mut EffectsOf<Groups>,
}

impl Step<'_> {
    /// Sets when a member is taken for lost.
    pub(super) fn set_session(
        &mut self,
        slot: &mut Option<Handle>,
        group: &Rc<str>,
        member: &Rc<str>,
        timeout_ms: i32,
    ) {
        self.timers.set(slot, self.moment.now + millis(timeout_ms), group, Alarm::Session(member.clone()));
    }

    /// Sets when a phase of a rebalance is over.
    pub(super) fn set_phase(
        &mut self,
        slot: &mut Option<Handle>,
        group: &Rc<str>,
        alarm: Alarm,
        span_ms: i32,
    ) {
        self.timers.set(slot, self.moment.now + millis(span_ms), group, alarm);
    }

    pub(super) fn answer_join(&mut self, waiting: Waiting, response: JoinGroupResponse) {
        self.effects.answer(waiting.token, GroupAnswer::Join(response));
    }

    pub(super) fn refuse_join(&mut self, waiting: Waiting, member: &str, error: ResponseError) {
        refuse_join(self.effects, waiting, member, error);
    }

    pub(super) fn answer_sync(&mut self, waiting: Waiting, response: SyncGroupResponse) {
        self.effects.answer(waiting.token, GroupAnswer::Sync(response));
    }

    pub(super) fn refuse_sync(&mut self, waiting: Waiting, error: ResponseError) {
        refuse_sync(self.effects, waiting, error);
    }
}

/// Refuses a JoinGroup.
pub(super) fn refuse_join(
    effects: &mut EffectsOf<Groups>,
    waiting: Waiting,
    member: &str,
    error: ResponseError,
) {
    let response = JoinGroupResponse::default()
        .with_generation_id(-1)
        .with_member_id(text(member))
        .with_error_code(error.code());
    effects.answer(waiting.token, GroupAnswer::Join(response));
}

/// Refuses a SyncGroup.
pub(super) fn refuse_sync(effects: &mut EffectsOf<Groups>, waiting: Waiting, error: ResponseError) {
    let response = SyncGroupResponse::default().with_error_code(error.code());
    effects.answer(waiting.token, GroupAnswer::Sync(response));
}

/// What a member is told that has its assignment.
pub(super) fn sync_answer(group: &ClassicGroup, assignment: Bytes) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_protocol_type(group.protocol_type.as_deref().map(text))
        .with_protocol_name(group.protocol.as_deref().map(text))
        .with_assignment(assignment)
}

/// Text of ours for a response.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A client's span of time; a negative one is none.
pub(super) fn millis(span_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(span_ms).unwrap_or(0))
}
