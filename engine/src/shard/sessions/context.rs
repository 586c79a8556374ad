//! One fetch within its session: which partitions it means, and which answers its client gets to see.

use super::cache::Session;
use super::{SessionCache, SessionId, SessionKey, Wanted};
use hayate_net::error::ErrorCode;
use hayate_net::wire::fetch::FetchedPartition;
use hayate_rt::MonoTime;
use std::collections::BTreeMap;

/// A request that begins a session, or asks for none.
const INITIAL_EPOCH: i32 = 0;
/// A request that ends its session.
const FINAL_EPOCH: i32 = -1;

/// What a fetch says of its session.
#[derive(Debug, Clone)]
pub struct SessionRequest {
    /// The session, 0 for none.
    pub session_id: i32,
    /// The client's count of requests in it.
    pub epoch: i32,
    /// Whether topics are named by id.
    pub by_id: bool,
    /// Partitions that are new or wanted otherwise; all of them in a full request.
    pub wanted: Vec<(SessionKey, Wanted)>,
    /// Partitions that are wanted no longer.
    pub forgotten: Vec<SessionKey>,
}

/// Why a fetch is refused as a whole: 70, 71 or 106.
pub type SessionError = ErrorCode;

/// A fetch whose partitions are known.
#[derive(Debug)]
pub struct FetchContext {
    wanted: Vec<(SessionKey, Wanted)>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Answered in full; no session.
    Sessionless,
    /// Answered in full; a session begins with the answer.
    Full { by_id: bool },
    /// Answered with what is new. The epoch is the session's after this request.
    Incremental { id: SessionId, epoch: i32 },
}

/// What an answer says of the session, and the partitions in it.
#[derive(Debug)]
pub struct SessionAnswer {
    /// The session, 0 for none.
    pub session_id: i32,
    /// The partitions to send, in order.
    pub partitions: Vec<(SessionKey, FetchedPartition)>,
}

fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        ..0 => FINAL_EPOCH,
        i32::MAX => 1,
        epoch => epoch + 1,
    }
}

/// Each partition once, at its first place, as wanted last.
fn distinct(wanted: Vec<(SessionKey, Wanted)>) -> Vec<(SessionKey, Wanted)> {
    let mut places: BTreeMap<SessionKey, usize> = BTreeMap::new();
    let mut distinct: Vec<(SessionKey, Wanted)> = Vec::with_capacity(wanted.len());
    for (key, wanted) in wanted {
        match places.get(&key).and_then(|&place| distinct.get_mut(place)) {
            Some(known) => known.1 = wanted,
            None => {
                places.insert(key.clone(), distinct.len());
                distinct.push((key, wanted));
            }
        }
    }
    distinct
}

impl FetchContext {
    /// Partitions to fetch, in the order in which they are served.
    pub fn wanted(&self) -> &[(SessionKey, Wanted)] {
        &self.wanted
    }
}

impl SessionCache {
    /// Finds out which partitions a fetch means. Requests of one connection come here in their order.
    ///
    /// # Errors
    /// [`SessionError`]: the client falls back to a full fetch.
    pub fn begin(&mut self, request: SessionRequest, now: MonoTime) -> Result<FetchContext, SessionError> {
        match request.epoch {
            INITIAL_EPOCH | FINAL_EPOCH => {
                if request.session_id != 0 {
                    self.remove(SessionId(request.session_id));
                }
                let kind = match request.epoch {
                    FINAL_EPOCH => Kind::Sessionless,
                    _ => Kind::Full { by_id: request.by_id },
                };
                Ok(FetchContext { wanted: distinct(request.wanted), kind })
            }
            _ => self.begin_incremental(request, now),
        }
    }

    fn begin_incremental(
        &mut self,
        request: SessionRequest,
        now: MonoTime,
    ) -> Result<FetchContext, SessionError> {
        let id = SessionId(request.session_id);
        let session = self.get(id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.by_id != request.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.epoch != request.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        let before = session.len();
        for (key, wanted) in request.wanted {
            session.put(key, wanted);
        }
        for key in &request.forgotten {
            session.forget(key);
        }
        if session.is_empty() {
            self.has_outgrown(id, before);
            self.remove(id);
            return Ok(FetchContext { wanted: Vec::new(), kind: Kind::Sessionless });
        }
        session.touch(now);
        session.epoch = next_epoch(session.epoch);
        let (wanted, epoch) = (session.wanted(), session.epoch);
        if self.has_outgrown(id, before) {
            // Its client begins anew, without a session.
            self.remove(id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        Ok(FetchContext { wanted, kind: Kind::Incremental { id, epoch } })
    }

    /// Takes the answers for [`FetchContext::wanted`], one each in order, and says what the client gets to see.
    /// `draw` gives random numbers for a new session's id.
    ///
    /// # Errors
    /// [`SessionError`] when the session went on without this fetch.
    pub fn finish(
        &mut self,
        context: FetchContext,
        answers: Vec<FetchedPartition>,
        draw: impl FnMut() -> u64,
        now: MonoTime,
    ) -> Result<SessionAnswer, SessionError> {
        assert_eq!(context.wanted.len(), answers.len(), "every partition has an answer");
        let answered = context.wanted.into_iter().zip(answers);
        match context.kind {
            Kind::Sessionless => {
                let partitions = answered.map(|((key, _), answer)| (key, answer)).collect();
                Ok(SessionAnswer { session_id: 0, partitions })
            }
            Kind::Full { by_id } => Ok(self.finish_full(by_id, answered.collect(), draw, now)),
            Kind::Incremental { id, epoch } => self.finish_incremental(id, epoch, answered.collect()),
        }
    }

    fn finish_full(
        &mut self,
        by_id: bool,
        answered: Vec<((SessionKey, Wanted), FetchedPartition)>,
        draw: impl FnMut() -> u64,
        now: MonoTime,
    ) -> SessionAnswer {
        let mut session = Session::new(by_id, now);
        let mut partitions = Vec::with_capacity(answered.len());
        for ((key, wanted), answer) in answered {
            session.put(key.clone(), wanted);
            if let Some(told) = session.told(&key) {
                told.is_news(&answer);
            }
            partitions.push((key, answer));
        }
        let id = if session.is_empty() { None } else { self.keep(session, draw, now) };
        SessionAnswer { session_id: id.map_or(0, |id| id.0), partitions }
    }

    fn finish_incremental(
        &mut self,
        id: SessionId,
        epoch: i32,
        answered: Vec<((SessionKey, Wanted), FetchedPartition)>,
    ) -> Result<SessionAnswer, SessionError> {
        let session = self.get(id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        let mut partitions = Vec::new();
        for ((key, _), answer) in answered {
            if session.told(&key).is_some_and(|told| told.is_news(&answer)) {
                session.move_last(&key);
                partitions.push((key, answer));
            }
        }
        Ok(SessionAnswer { session_id: id.0, partitions })
    }
}
