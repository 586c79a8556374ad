//! One coordinator on its shard: a machine over a partition, and what its steps wait for.
//!
//! A step's records are appended at once and its answers wait in a queue until these are safe; the queue is emptied in order,
//! so that no answer overtakes what it reveals. When an append fails, the machine and all that waits is dropped: who
//! waited is told that the coordinator is gone, and it is loaded anew.

use super::{Effects, EffectsOf, Machine, Moment, Token, Write};
use crate::partition::{Appending, Partition};
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_rt::MonoTime;
use hayate_storage::batch::{BatchBuilder, ProducerId};
use hayate_storage::mutants::{Mutant, is_active};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Where the answer to a request goes: at most one is sent. Dropped, it tells that the coordinator is gone.
pub type ReplyTo<A> = flume::Sender<Result<A, ErrorCode>>;

/// Records of one step go into batches of about this size, which is less than Kafka's default limit of 1 MiB.
const BATCH_BYTES: usize = 768 << 10;

/// Answers and orders that wait for appends.
struct Unsettled<M: Machine> {
    appends: Vec<Appending>,
    released: Released<M>,
}

/// Answers and orders whose time has come.
pub struct Released<M: Machine> {
    answers: Vec<(ReplyTo<M::Answer>, M::Answer)>,
    /// What others are to do.
    pub orders: Vec<M::Order>,
}

impl<M: Machine> Released<M> {
    /// Sends the answers. One that nobody waits for any more is dropped.
    pub fn send(self) -> Vec<M::Order> {
        for (reply, answer) in self.answers {
            let _ = reply.try_send(Ok(answer));
        }
        self.orders
    }
}

/// How far a coordinator is.
enum State<M: Machine> {
    /// Its partition is being replayed.
    Loading,
    /// It serves.
    Active(Box<Active<M>>),
    /// It could not be loaded, or has failed; it is loaded anew in a while.
    Failed,
}

struct Active<M: Machine> {
    machine: M,
    waiting: BTreeMap<Token, ReplyTo<M::Answer>>,
    unsettled: VecDeque<Unsettled<M>>,
    tokens: u64,
    /// Whether a task empties the queue.
    settling: bool,
}

/// A coordinator. Not shared: the runtime holds it in a cell that is never borrowed across a wait.
pub struct Hosted<M: Machine> {
    partition: Rc<Partition>,
    state: State<M>,
    /// Counts the times that it came to serve: what a step of an earlier one still waits for is none of this one's business.
    incarnation: u64,
    /// Whether a task sees to it that it is loaded.
    loading: bool,
}

/// What is to be done after a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Rest,
    /// A task must settle the queue.
    Settle,
    /// An append failed: load anew.
    Reload,
}

impl<M: Machine> Hosted<M> {
    /// Over `partition`, to be loaded.
    pub fn new(partition: Rc<Partition>) -> Hosted<M> {
        Hosted { partition, state: State::Loading, incarnation: 0, loading: false }
    }

    /// Its partition.
    pub fn partition(&self) -> &Rc<Partition> {
        &self.partition
    }

    /// Its machine, while it serves.
    pub fn machine(&self) -> Option<&M> {
        match &self.state {
            State::Active(active) => Some(&active.machine),
            State::Loading | State::Failed => None,
        }
    }

    /// The same, for what is only counted.
    pub fn machine_mut(&mut self) -> Option<&mut M> {
        match &mut self.state {
            State::Active(active) => Some(&mut active.machine),
            State::Loading | State::Failed => None,
        }
    }

    /// Whether the caller is to load it, and nobody else does.
    pub fn claim_load(&mut self) -> bool {
        !std::mem::replace(&mut self.loading, true)
    }

    /// It is being replayed.
    pub fn begin_load(&mut self) {
        self.state = State::Loading;
    }

    /// It cannot serve for now. What waits is dropped.
    pub fn fail(&mut self) {
        self.state = State::Failed;
    }

    /// It serves with `machine`, which has replayed the partition.
    pub fn activate(&mut self, machine: M, moment: &Moment) -> (Next, Option<Released<M>>) {
        let (waiting, unsettled) = (BTreeMap::new(), VecDeque::new());
        let active = Active { machine, waiting, unsettled, tokens: 0, settling: false };
        self.state = State::Active(Box::new(active));
        self.incarnation += 1;
        self.loading = false;
        if self.partition.high_watermark() < self.partition.log().offsets().end {
            self.settle_first();
        }
        self.step(moment, |machine, effects| machine.loaded(moment, effects))
    }

    /// A request.
    pub fn handle(
        &mut self,
        moment: &Moment,
        request: M::Request,
        reply: ReplyTo<M::Answer>,
    ) -> (Next, Option<Released<M>>) {
        let code = match &mut self.state {
            State::Active(active) => {
                let token = active.expect(reply);
                return self.step(moment, |machine, effects| machine.handle(moment, token, request, effects));
            }
            State::Loading => ErrorCode::CoordinatorLoadInProgress,
            State::Failed => ErrorCode::NotCoordinator,
        };
        let _ = reply.try_send(Err(code));
        (Next::Rest, None)
    }

    /// Lets the machine take a step, appends what it writes, and queues what waits for that. What waits for nothing is
    /// given back at once.
    pub fn step(
        &mut self,
        moment: &Moment,
        take: impl FnOnce(&mut M, &mut EffectsOf<M>),
    ) -> (Next, Option<Released<M>>) {
        let State::Active(active) = &mut self.state else { return (Next::Rest, None) };
        let mut effects = Effects::default();
        take(&mut active.machine, &mut effects);
        let Effects { writes, answers, orders } = effects;
        let appended = writes.iter().flat_map(|write| {
            batches::<M>(write, moment.wall_ms).into_iter().map(|batch| (batch, write.guard))
        });
        let appended = appended.map(|(batch, guard)| self.partition.append_own(&batch, guard));
        let appends: Vec<Appending> = match appended.collect() {
            Ok(appends) => appends,
            Err(failure) => {
                let partition = self.partition.log().partition();
                tracing::error!(%partition, code = ?failure.code, "a coordinator could not write: it is loaded anew");
                self.fail();
                return (Next::Reload, None);
            }
        };
        let answers = answers
            .into_iter()
            .filter_map(|(token, answer)| active.waiting.remove(&token).map(|reply| (reply, answer)));
        let released = Released { answers: answers.collect(), orders };
        let waits_for_none = appends.is_empty() && active.unsettled.is_empty();
        if waits_for_none || is_active(Mutant::CommitUnflushed) {
            return (Next::Rest, Some(released));
        }
        if !appends.is_empty() || !released.answers.is_empty() || !released.orders.is_empty() {
            active.unsettled.push_back(Unsettled { appends, released });
        }
        let rests = active.settling || active.unsettled.is_empty();
        active.settling |= !rests;
        (if rests { Next::Rest } else { Next::Settle }, None)
    }

    /// A transaction has ended in the partition: what is told from now on waits until its marker is safe.
    pub fn mark(&mut self, producer: ProducerId, committed: bool) -> Next {
        let State::Active(active) = &mut self.state else { return Next::Rest };
        active.machine.marker(producer, committed);
        let settles = std::mem::replace(&mut active.settling, true);
        self.settle_first();
        if settles { Next::Rest } else { Next::Settle }
    }

    /// What is told from now on waits until all that stands in the partition is safe.
    fn settle_first(&mut self) {
        let appends = vec![self.partition.all_so_far()];
        let released = Released { answers: Vec::new(), orders: Vec::new() };
        if let State::Active(active) = &mut self.state {
            active.unsettled.push_back(Unsettled { appends, released });
        }
    }

    /// Which time it serves.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn active(&mut self, incarnation: u64) -> Option<&mut Active<M>> {
        match &mut self.state {
            State::Active(active) if self.incarnation == incarnation => Some(active),
            State::Active(_) | State::Loading | State::Failed => None,
        }
    }

    /// The appends at the head of the queue; `None` when there are none, and whoever asked settles no longer.
    pub fn first_appends(&mut self, incarnation: u64) -> Option<Vec<Appending>> {
        let active = self.active(incarnation)?;
        let first = active.unsettled.front_mut().map(|first| std::mem::take(&mut first.appends));
        active.settling = first.is_some();
        first
    }

    /// The appends at the head are safe: what waited for them.
    pub fn settled(&mut self, incarnation: u64) -> Option<Released<M>> {
        self.active(incarnation)?.unsettled.pop_front().map(|first| first.released)
    }

    /// When the machine wants a step.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.machine().and_then(Machine::next_deadline)
    }
}

impl<M: Machine> Active<M> {
    fn expect(&mut self, reply: ReplyTo<M::Answer>) -> Token {
        let token = Token(self.tokens);
        self.tokens += 1;
        self.waiting.insert(token, reply);
        token
    }
}

/// The batches of one write: several, if its records are many and part of no transaction.
fn batches<M: Machine>(write: &Write<M::Record>, wall_ms: i64) -> Vec<Bytes> {
    let mut batches = Vec::with_capacity(1);
    let mut builder = new_batch(write.producer);
    for record in &write.records {
        if write.producer.is_none() && builder.records_count() > 0 && builder.plain_bytes() >= BATCH_BYTES {
            batches.push(std::mem::replace(&mut builder, new_batch(None)).build());
        }
        let encoded = M::encode(record);
        builder = builder.record(wall_ms, Some(&encoded.key), encoded.value.as_deref());
    }
    batches.push(builder.build());
    batches
}

fn new_batch(producer: Option<(ProducerId, i16)>) -> BatchBuilder {
    match producer {
        // Outside the sequence of the producer's own batches, as Kafka's coordinator writes them.
        Some((id, epoch)) => BatchBuilder::new().producer(id, epoch, -1).transactional(true),
        None => BatchBuilder::new(),
    }
}
