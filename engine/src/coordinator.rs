//! Coordinators: groups, their offsets and transactions, as state machines over the records of internal partitions.
//!
//! A machine is pure: a request, a moment or a record goes in; records to append and answers come out ([`Effects`]). What
//! it writes it applies at once, through the same `apply` that replays the partition at a load, so state and log cannot
//! differ. An answer is released when everything that the machine has written before it is committed, refusals too: nobody
//! learns what a crash may take back. If an append fails, the machine is thrown away and loaded anew. The machines know no
//! disk, socket, clock or channel. After Kafka's `coordinator-common` (KIP-848) and `TransactionCoordinator`.

pub mod records;

use crate::metadata::image::MetadataImage;
use hayate_rt::MonoTime;
use hayate_storage::batch::ProducerId;
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
}

/// Records that are appended together, as one batch or as batches that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write<R> {
    /// The transaction that they are part of: its producer's id and epoch.
    pub producer: Option<(ProducerId, i16)>,
    /// The records, in order; one or more.
    pub records: Vec<R>,
}

/// What a step of a machine brings about: `R` are its records, `A` its answers.
#[derive(Debug)]
pub struct Effects<R, A> {
    /// What is to be appended, in order. The machine has applied it already.
    pub writes: Vec<Write<R>>,
    /// Answers, to be released when everything written so far is committed.
    pub answers: Vec<(Token, A)>,
}

impl<R, A> Default for Effects<R, A> {
    fn default() -> Effects<R, A> {
        Effects { writes: Vec::new(), answers: Vec::new() }
    }
}

impl<R, A> Effects<R, A> {
    /// Appends a record that belongs to no transaction: one batch with those of the same step before it.
    pub fn write(&mut self, record: R) {
        match self.writes.last_mut() {
            Some(Write { producer: None, records }) => records.push(record),
            _ => self.writes.push(Write { producer: None, records: vec![record] }),
        }
    }

    /// Answers a request.
    pub fn answer(&mut self, token: Token, answer: A) {
        self.answers.push((token, answer));
    }
}
