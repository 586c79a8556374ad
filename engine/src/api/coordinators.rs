//! Asking coordinators for a request: dispatched in the order of its connection, answered when the coordinator answers.

use super::{Later, RequestContext};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use crate::shard::coordination::Answering;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
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
