//! From a connection's shard to the owners: parts of a request are grouped by shard, each group goes out as one call, and
//! the outcomes come back in the order of the parts. The own shard is served without a mailbox.

use super::calls::{PartitionAnswer, PartitionCall, Replied};
use super::owner::{Owner, Started};
use crate::metrics::{AppendTimes, Visit};
use crate::placement::ShardId;
use hayate_rt::MonoTime;
use hayate_rt::mailbox::{Caller, Pending};
use std::rc::Rc;

/// The ways from one shard to the owners of partitions.
pub struct Router {
    own: Rc<Owner>,
    callers: Callers,
    /// Apart from the others, so that a disk that takes nothing holds up no reader.
    append_callers: Callers,
}

/// Callers by shard number; the own one is not used.
pub type Callers = Vec<Caller<PartitionCall, Replied>>;

/// A call that has its place in its owner's order.
pub enum Dispatched {
    /// At this shard.
    Here(Started),
    /// At another.
    There(Away),
    /// At a shard that has stopped.
    Nowhere(Box<PartitionAnswer>),
}

/// A call that is at another shard.
pub struct Away {
    pending: Pending<Replied>,
    /// The answer if that shard stops.
    if_gone: Box<PartitionAnswer>,
    sent: MonoTime,
    /// Who has the clock.
    own: Rc<Owner>,
}

impl Away {
    async fn finish(self) -> (PartitionAnswer, Option<Visit>) {
        match self.pending.await {
            Ok(Replied { answer, started, finished }) => {
                let received = self.own.now();
                (answer, Some(Visit { sent: self.sent, started, finished, received }))
            }
            Err(_) => (*self.if_gone, None),
        }
    }
}

impl Dispatched {
    /// Waits for the answer.
    pub async fn finish(self) -> PartitionAnswer {
        self.finish_visit().await.0
    }

    /// The same, with the way of the call if it was at another shard.
    async fn finish_visit(self) -> (PartitionAnswer, Option<Visit>) {
        match self {
            Dispatched::Here(started) => (started.finish().await, None),
            Dispatched::There(away) => away.finish().await,
            Dispatched::Nowhere(answer) => (*answer, None),
        }
    }
}

impl Router {
    /// From the shard of `own`.
    pub fn new(own: Rc<Owner>, callers: Callers, append_callers: Callers) -> Router {
        Router { own, callers, append_callers }
    }

    /// The owner of this shard's partitions.
    pub fn own(&self) -> &Rc<Owner> {
        &self.own
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.callers.len()
    }

    /// Puts a call into its owner's order: when this resolves, whatever is dispatched later comes later there. Waits
    /// for a credit if the owner is another shard; that is the back-pressure which ends at the socket.
    pub async fn dispatch(&self, shard: ShardId, call: PartitionCall) -> Dispatched {
        if shard == self.own.shard() {
            return Dispatched::Here(self.own.start(call));
        }
        let if_gone = Box::new(PartitionAnswer::gone(&call));
        let callers = match call {
            PartitionCall::Append(_) | PartitionCall::WriteMarkers(_) => &self.append_callers,
            PartitionCall::Verify(_)
            | PartitionCall::Probe(_)
            | PartitionCall::Read(_)
            | PartitionCall::Lookup(_)
            | PartitionCall::EpochEnds(_)
            | PartitionCall::DeleteRecords(_)
            | PartitionCall::Sizes(_)
            | PartitionCall::Producers(_)
            | PartitionCall::Follow(_) => &self.callers,
        };
        let Some(caller) = callers.get(shard.index()) else { return Dispatched::Nowhere(if_gone) };
        if caller.is_exhausted() {
            self.own.mailbox_full();
        }
        let sent = self.own.now();
        match caller.send(call).await {
            Ok(pending) => Dispatched::There(Away { pending, if_gone, sent, own: self.own.clone() }),
            Err(_) => Dispatched::Nowhere(if_gone),
        }
    }

    /// Calls and waits for the answer.
    pub async fn call(&self, shard: ShardId, call: PartitionCall) -> PartitionAnswer {
        self.dispatch(shard, call).await.finish().await
    }
}

/// Parts of a request by the shard that they go to, each with its place in the request.
#[derive(Debug)]
pub struct Grouped<T> {
    groups: Vec<(ShardId, Vec<usize>, Vec<T>)>,
    count: usize,
}

impl<T> Grouped<T> {
    /// Nothing yet, for a request of `count` parts.
    pub fn new(count: usize) -> Grouped<T> {
        Grouped { groups: Vec::new(), count }
    }

    /// Adds the part at `place` of the request.
    pub fn push(&mut self, shard: ShardId, place: usize, part: T) {
        match self.groups.iter_mut().find(|(of, _, _)| *of == shard) {
            Some((_, places, parts)) => {
                places.push(place);
                parts.push(part);
            }
            None => self.groups.push((shard, vec![place], vec![part])),
        }
    }

    /// Dispatches a call for each group, in the order of the groups' first parts.
    pub async fn dispatch(
        self,
        router: &Router,
        mut call: impl FnMut(Vec<T>) -> PartitionCall,
    ) -> DispatchedGroups {
        let mut groups = Vec::with_capacity(self.groups.len());
        for (shard, places, parts) in self.groups {
            groups.push((places, router.dispatch(shard, call(parts)).await));
        }
        DispatchedGroups { groups, count: self.count }
    }
}

/// The calls of one request.
pub struct DispatchedGroups {
    groups: Vec<(Vec<usize>, Dispatched)>,
    count: usize,
}

impl DispatchedGroups {
    /// Waits for all answers; `take` turns an answer into its outcomes, one a part. Places that no call was made for
    /// are `None`.
    pub async fn collect<T>(self, take: impl Fn(PartitionAnswer) -> Vec<T>) -> Vec<Option<T>> {
        self.collect_visits(|answer, _| take(answer)).await
    }

    /// The same; `take` is given the way of each call that was at another shard, too.
    pub async fn collect_visits<T>(
        self,
        mut take: impl FnMut(PartitionAnswer, Option<Visit>) -> Vec<T>,
    ) -> Vec<Option<T>> {
        let mut outcomes: Vec<Option<T>> = (0..self.count).map(|_| None).collect();
        for (places, dispatched) in self.groups {
            let (answer, visit) = dispatched.finish_visit().await;
            let answers = take(answer, visit);
            assert_eq!(answers.len(), places.len(), "an owner answers every part");
            for (place, answer) in places.into_iter().zip(answers) {
                outcomes[place] = Some(answer);
            }
        }
        outcomes
    }
}

/// The outcomes of an append, and where the time went.
pub fn appended(
    answer: PartitionAnswer,
) -> (Vec<Result<super::calls::AppendedAt, crate::partition::AppendFailure>>, AppendTimes) {
    match answer {
        PartitionAnswer::Append(outcomes, times) => (outcomes, times),
        _ => unreachable!("an owner answers with the kind that it was asked for"),
    }
}

/// Declares how the outcomes of each kind of call are taken out of its answer.
macro_rules! take_outcomes {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $outcome:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(answer: PartitionAnswer) -> Vec<$outcome> {
                match answer {
                    PartitionAnswer::$variant(outcomes) => outcomes,
                    _ => unreachable!("an owner answers with the kind that it was asked for"),
                }
            }
        )*
    };
}

take_outcomes! {
    /// Of a question for verification.
    verified: Verify -> Result<Option<crate::partition::verification::Guard>, crate::partition::AppendFailure>;
    /// Of ending transactions.
    markers_written: WriteMarkers -> Result<hayate_storage::batch::Offset, hayate_net::error::ErrorCode>;
    /// Of a probe.
    probed: Probe -> Result<crate::partition::Probed, hayate_net::error::ErrorCode>;
    /// Of a read.
    read: Read -> Result<super::calls::ReadPartAnswer, hayate_net::error::ErrorCode>;
    /// Of a lookup by time.
    looked_up: Lookup -> Result<crate::partition::TimedOffset, hayate_net::error::ErrorCode>;
    /// Of a question for epochs.
    epoch_ends: EpochEnds -> Result<(hayate_storage::batch::LeaderEpoch, hayate_storage::batch::Offset), hayate_net::error::ErrorCode>;
    /// Of a deletion of records.
    deleted: DeleteRecords -> Result<hayate_storage::batch::Offset, hayate_net::error::ErrorCode>;
    /// Of a question for sizes.
    sizes: Sizes -> Result<crate::partition::LogSize, hayate_net::error::ErrorCode>;
    /// Of a question for producers.
    producers: Producers -> Result<Vec<crate::partition::ActiveProducer>, hayate_net::error::ErrorCode>;
}
