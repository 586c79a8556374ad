//! Asking coordinators for a request: dispatched in the order of its connection, answered when the coordinator answers.

use super::{Later, RequestContext};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use crate::coordinator::txn::{TxnAnswer, TxnRequest};
use crate::shard::coordination::Answering;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::batch::ProducerId;
use kafka_protocol::ResponseError;
use std::future::Future;

/// A question that has its place at its coordinator.
pub(super) struct Asked<A: 'static>(Result<Answering<A>, ErrorCode>);

/// Asks the coordinator of `group`.
pub(super) async fn ask_group(
    context: &RequestContext,
    group: &str,
    request: GroupRequest,
) -> Asked<GroupAnswer> {
    Asked(context.shard.coordination.ask_group(group, request).await)
}

/// The same, of what cannot be asked of a group without a name.
pub(super) async fn ask_named_group(
    context: &RequestContext,
    group: &str,
    request: GroupRequest,
) -> Asked<GroupAnswer> {
    if group.is_empty() {
        return Asked(Err(ErrorCode::InvalidGroupId));
    }
    ask_group(context, group, request).await
}

/// Asks the coordinator of a transactional id.
pub(super) async fn ask_transaction(
    context: &RequestContext,
    transactional_id: &str,
    request: TxnRequest,
) -> Asked<TxnAnswer> {
    let asked = context.shard.coordination.ask_transaction(transactional_id, request).await;
    // An empty id is wrong in itself, whoever might coordinate it.
    Asked(asked.map_err(|code| if transactional_id.is_empty() { ErrorCode::InvalidRequest } else { code }))
}

/// The same, again with a fresh producer id if the coordinator needs one.
///
/// # Errors
/// 14 while there is none, and as [`Asked::answer`].
pub(super) async fn ask_with_fresh_id(
    context: &RequestContext,
    transactional_id: &str,
    make: impl Fn(Option<ProducerId>) -> TxnRequest,
) -> Result<TxnAnswer, ErrorCode> {
    let asked = ask_transaction(context, transactional_id, make(None)).await;
    match asked.answer(context, Some).await? {
        TxnAnswer::NeedsProducerId => {}
        answer => return Ok(answer),
    }
    let fresh = context.shard.producer_id().await.ok_or(ErrorCode::CoordinatorLoadInProgress)?;
    let asked = ask_transaction(context, transactional_id, make(Some(fresh))).await;
    asked.answer(context, Some).await
}

/// Questions that a request asks before others get their turn.
const TURN: usize = 64;

/// Lets others go on before the question at `place` of a request that asks many.
pub(super) async fn give_way(context: &RequestContext, place: usize) {
    if place % TURN == TURN - 1 {
        context.shard.rt.yield_now().await;
    }
}

/// The crate's name for a code.
pub(super) fn response_error(code: ErrorCode) -> ResponseError {
    ResponseError::try_from_code(code.code()).unwrap_or(ResponseError::UnknownServerError)
}

impl<A: Send + 'static> Asked<A> {
    /// Waits for the answer, `None` when there never is one of that kind. A broker that stops waits no longer.
    ///
    /// # Errors
    /// What the client gets to hear instead: 14, 15 or 16.
    pub(super) async fn answer<T>(
        self,
        context: &RequestContext,
        take: impl FnOnce(A) -> Option<T>,
    ) -> Result<T, ErrorCode> {
        let answered = context.connection.interrupted().unless(self.0?.answer()).await;
        let answer = answered.unwrap_or(Err(ErrorCode::NotCoordinator))?;
        take(answer).ok_or(ErrorCode::UnknownServerError)
    }
}

/// What is left of a request whose question has its place.
pub(super) fn later(rest: impl Future<Output = Result<Answer, WireError>> + 'static) -> Later {
    Box::pin(rest)
}
