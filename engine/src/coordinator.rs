//! Coordinators: groups, their offsets and transactions, as state machines over the records of internal partitions.
//!
//! A machine is pure: a request, a moment or a record goes in; records to append and answers come out ([`Effects`]). What
//! it writes it applies at once, through the same `apply` that replays the partition at a load, so state and log cannot
//! differ. An answer is released when everything that the machine has written before it is committed, refusals too: nobody
//! learns what a crash may take back. If an append fails, the machine is thrown away and loaded anew. The machines know no
//! disk, socket, clock or channel. After Kafka's `coordinator-common` (KIP-848) and `TransactionCoordinator`.

pub mod assignor;
pub mod group;
pub mod hosted;
pub mod load;
pub mod offsets;
pub mod partitioner;
pub mod records;
pub mod runtime;
pub mod share_state;
pub mod topics;
pub mod txn;

use crate::metadata::image::MetadataImage;
use crate::partition::verification::Guard;
use bytes::Bytes;
use hayate_rt::MonoTime;
use hayate_storage::batch::{Offset, ProducerId};
use std::fmt;
use std::sync::Arc;

/// Names a request that waits for its answer. Never used twice by one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// When a step happens, and what the cluster is then.
#[derive(Clone, Debug)]
pub struct Moment {
    /// For deadlines.
    pub now: MonoTime,
    /// For what is written into records: milliseconds since the epoch.
    pub wall_ms: i64,
    /// Topics, their ids and partitions.
    pub image: Arc<MetadataImage>,
    /// Where the first record that this step writes will stand.
    pub log_end: Offset,
}

/// A record as it lies in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Its key.
    pub key: Bytes,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A record that a load finds in the partition.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    /// Where it stands.
    pub offset: Offset,
    /// The transaction that it is part of: its producer's id and epoch.
    pub producer: Option<(ProducerId, i16)>,
    /// Its key.
    pub key: &'a [u8],
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// A record that cannot be understood: the partition's coordinator does not come to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord(pub String);

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for BadRecord {}

/// A coordinator's machine, as the runtime drives it. Each drives one partition of an internal topic.
pub trait Machine {
    /// What it writes.
    type Record;
    /// What it is asked.
    type Request: Send;
    /// What it answers; each request gets one answer, at once or in a later step.
    type Answer: Send;
    /// What it lets others do once all that it has written before is committed.
    type Order;

    /// A record as it is appended.
    fn encode(record: &Self::Record) -> Encoded;
    /// Takes in a record that stands in the partition.
    ///
    /// # Errors
    /// [`BadRecord`].
    fn replay(&mut self, record: Replayed<'_>) -> Result<(), BadRecord>;
    /// A transaction has ended in the partition, in a replay or now.
    fn marker(&mut self, producer: ProducerId, committed: bool);
    /// All that stands in the partition has been replayed: it serves from now on.
    fn loaded(&mut self, moment: &Moment, effects: &mut EffectsOf<Self>);
    /// A request.
    fn handle(
        &mut self,
        moment: &Moment,
        token: Token,
        request: Self::Request,
        effects: &mut EffectsOf<Self>,
    );
    /// A deadline is due.
    fn on_time(&mut self, moment: &Moment, effects: &mut EffectsOf<Self>);
    /// When it wants [`Machine::on_time`].
    fn next_deadline(&self) -> Option<MonoTime>;
}

/// The effects of a machine's step.
pub type EffectsOf<M> = Effects<<M as Machine>::Record, <M as Machine>::Answer, <M as Machine>::Order>;

/// Records that are appended together, as one batch or as batches that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write<R> {
    /// The transaction that they are part of: its producer's id and epoch.
    pub producer: Option<(ProducerId, i16)>,
    /// What the verification of that transaction began with, if it was verified.
    pub guard: Option<Guard>,
    /// The records, in order; one or more.
    pub records: Vec<R>,
}

/// What a step of a machine brings about: `R` are its records, `A` its answers, `O` its orders.
#[derive(Debug)]
pub struct Effects<R, A, O = ()> {
    /// What is to be appended, in order. The machine has applied it already.
    pub writes: Vec<Write<R>>,
    /// Answers, to be released when everything written so far is committed.
    pub answers: Vec<(Token, A)>,
    /// What others are to do, released as answers are.
    pub orders: Vec<O>,
}

impl<R, A, O> Default for Effects<R, A, O> {
    fn default() -> Effects<R, A, O> {
        Effects { writes: Vec::new(), answers: Vec::new(), orders: Vec::new() }
    }
}

impl<R, A, O> Effects<R, A, O> {
    /// Appends a record that belongs to no transaction: one batch with those of the same step before it.
    pub fn write(&mut self, record: R) {
        match self.writes.last_mut() {
            Some(Write { producer: None, records, .. }) => records.push(record),
            _ => self.writes.push(Write { producer: None, guard: None, records: vec![record] }),
        }
    }

    /// How many records the step has written so far.
    pub fn written(&self) -> usize {
        self.writes.iter().map(|write| write.records.len()).sum()
    }

    /// Answers a request.
    pub fn answer(&mut self, token: Token, answer: A) {
        self.answers.push((token, answer));
    }
}
