//! The transaction coordinator: the transactional ids of one partition of `__transaction_state`, and their transactions.
//!
//! A machine as in [`super`]. It orders markers and knows nothing of how they are written, hands out producer ids that others
//! give it, and knows partitions by the metadata alone. Who may do what is settled before.
//! After Apache Kafka 4.2's `TransactionCoordinator`, `TransactionStateManager` and `TransactionMarkerChannelManager`; KIP-98,
//! KIP-360 (a producer that recovers), KIP-890 (epochs that go up at each end; partitions that leaders add).

// Empty ─add──► Ongoing ─end, fence, timeout──► PrepareCommit ─markers written──► CompleteCommit ─add──► Ongoing
//   └─abort that bumps the epoch──────────────► PrepareAbort ──────────────────► CompleteAbort  ─init──► Empty

mod add;
mod admin;
mod end;
mod entry;
mod init;
mod markers;
#[cfg(test)]
mod tests;
mod timers;

pub use add::{from_client, refused, to_client};
pub use admin::ListFilter;
pub use entry::Partitions;
pub use init::check_init;
pub use markers::{MarkerOrder, MarkerResult};

use super::records::txn::{TxnRecord, TxnState, TxnValue};
use super::{BadRecord, Effects, Encoded, Machine, Moment, Replayed, Token};
use entry::{Entry, Step};
use hayate_net::error::ErrorCode;
use hayate_rt::MonoTime;
use hayate_storage::batch::control::TxnOutcome;
use hayate_storage::batch::{Offset, ProducerId};
use hayate_storage::mutants::{Mutant, is_active};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, add_partitions_to_txn_request::AddPartitionsToTxnTransaction,
    add_partitions_to_txn_response::AddPartitionsToTxnResult,
    describe_transactions_response::TransactionState as Described,
    list_transactions_response::TransactionState as Listed,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use timers::Timers;

/// How long transactions and transactional ids live. The defaults are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnLimits {
    /// `transaction.max.timeout.ms`: the longest that a client may ask for.
    pub timeout_ms_max: i32,
    /// `transactional.id.expiration.ms`: how long an id stays that nobody uses.
    pub expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: how often transactions that took too long are looked for.
    pub abort_interval: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often ids that nobody uses are looked for.
    pub expiry_interval: Duration,
}

impl Default for TxnLimits {
    fn default() -> TxnLimits {
        TxnLimits {
            timeout_ms_max: 900_000,
            expiration_ms: 7 * 24 * 60 * 60 * 1000,
            abort_interval: Duration::from_secs(10),
            expiry_interval: Duration::from_secs(60 * 60),
        }
    }
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxnCounters {
    /// Transactions that were decided to commit.
    pub committed: u64,
    /// Transactions that were decided to abort, for whatever reason.
    pub aborted: u64,
    /// Those of them that took too long.
    pub timed_out: u64,
    /// Those of them that another producer of the same transactional id ended.
    pub fenced: u64,
    /// Requests refused because of their producer's epoch.
    pub refused_epochs: u64,
    /// Transactional ids that have expired.
    pub expired: u64,
}

/// What is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxnGauges {
    /// Transactional ids.
    pub ids: usize,
    /// Transactions that are open.
    pub ongoing: usize,
    /// Transactions whose markers are being written.
    pub preparing: usize,
}

/// What the coordinator is asked.
#[derive(Debug)]
pub enum TxnRequest {
    /// A producer begins, with a transactional id. `fresh` is a producer id that nobody has; without one the answer may be
    /// [`TxnAnswer::NeedsProducerId`]. One that was not needed is lost.
    InitProducerId {
        /// The request's version: what a fenced producer is told hangs on it.
        version: i16,
        /// The request.
        request: InitProducerIdRequest,
        /// A fresh producer id.
        fresh: Option<ProducerId>,
    },
    /// Partitions join a transaction, or a leader asks whether they have. One transaction of a request ([`from_client`]).
    AddPartitions {
        /// The request's version.
        version: i16,
        /// The transaction.
        transaction: AddPartitionsToTxnTransaction,
    },
    /// A group's offsets join a transaction.
    AddOffsets {
        /// The request's version.
        version: i16,
        /// The request.
        request: AddOffsetsToTxnRequest,
        /// The partition of `__consumer_offsets` that has the group.
        partition: i32,
    },
    /// A transaction ends. `fresh` as for a producer that begins.
    EndTxn {
        /// The request's version: from 5 on the epoch is bumped.
        version: i16,
        /// The request.
        request: EndTxnRequest,
        /// A fresh producer id.
        fresh: Option<ProducerId>,
    },
    /// What is known of a transactional id.
    Describe(String),
    /// The transactional ids that a filter lets through.
    List(Arc<ListFilter>),
}

/// What the coordinator answers.
#[derive(Debug, PartialEq)]
pub enum TxnAnswer {
    /// Nothing is done yet: to be asked again with a fresh producer id.
    NeedsProducerId,
    /// To a producer that begins.
    InitProducerId(InitProducerIdResponse),
    /// To one transaction's partitions ([`to_client`]).
    AddPartitions(AddPartitionsToTxnResult),
    /// To a group's offsets.
    AddOffsets(AddOffsetsToTxnResponse),
    /// To an end.
    EndTxn(EndTxnResponse),
    /// One transactional id.
    Describe(Described),
    /// Those that the filter let through.
    List(Vec<Listed>),
}

/// Effects of the coordinator's steps.
pub type TxnEffects = Effects<TxnRecord, TxnAnswer, MarkerOrder>;

/// Why a request changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It is refused.
    Code(ErrorCode),
    /// It needs a producer id.
    NeedsProducerId,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Refusal {
        Refusal::Code(code)
    }
}

/// Who a request says that it comes from.
#[derive(Clone, Copy, Debug)]
struct Claim<'a> {
    transactional_id: &'a str,
    producer_id: ProducerId,
    epoch: i16,
}

/// The coordinator of one partition of `__transaction_state`.
#[derive(Debug)]
pub struct Transactions {
    limits: TxnLimits,
    /// The epoch of the partition's leader, which markers carry.
    coordinator_epoch: i32,
    entries: BTreeMap<String, Entry>,
    /// Open transactions, by when they have taken too long.
    ongoing: BTreeSet<(i64, String)>,
    /// Transactions whose markers are being written.
    preparing: BTreeSet<String>,
    /// Those of them whose markers are to be ordered again, by when.
    retries: BTreeSet<(MonoTime, String)>,
    timers: Timers,
    counters: TxnCounters,
}

impl Transactions {
    /// Knows no transactional id yet. `coordinator_epoch` is the leader epoch of its partition.
    pub fn new(limits: TxnLimits, coordinator_epoch: i32) -> Transactions {
        Transactions {
            limits,
            coordinator_epoch,
            entries: BTreeMap::new(),
            ongoing: BTreeSet::new(),
            preparing: BTreeSet::new(),
            retries: BTreeSet::new(),
            timers: Timers::default(),
            counters: TxnCounters::default(),
        }
    }

    /// Takes in a record that stands at `offset`, at a load or as it is written.
    pub fn apply(&mut self, record: &TxnRecord, offset: Offset) {
        let id = &record.transactional_id;
        self.unlist(id);
        match &record.value {
            // Kafka's `Dead` is a tombstone that is under way, and never written.
            None | Some(TxnValue { state: TxnState::Dead, .. }) => drop(self.entries.remove(id)),
            Some(value) => {
                let entry = Entry::of(value.clone(), offset);
                match self.entries.get_mut(id) {
                    Some(known) => *known = entry,
                    None => drop(self.entries.insert(id.clone(), entry)),
                }
                self.list(id);
            }
        }
    }

    fn list(&mut self, id: &str) {
        let Some(entry) = self.entries.get(id) else { return };
        if entry.is_ongoing() {
            self.ongoing.insert((entry.deadline_ms(), id.to_owned()));
        } else if entry.preparing().is_some() {
            self.preparing.insert(id.to_owned());
        }
    }

    fn unlist(&mut self, id: &str) {
        let Some(entry) = self.entries.get(id) else { return };
        if entry.is_ongoing() {
            self.ongoing.remove(&(entry.deadline_ms(), id.to_owned()));
        } else if entry.preparing().is_some() {
            self.preparing.remove(id);
        }
        if let Some(at) = entry.markers.as_ref().and_then(|markers| markers.again_at()) {
            self.retries.remove(&(at, id.to_owned()));
        }
    }

    /// Writes the next record of a transactional id, which holds from here on.
    fn write(&mut self, moment: &Moment, id: &str, step: Step, effects: &mut TxnEffects) {
        let record = TxnRecord { transactional_id: id.to_owned(), value: Some(step.value) };
        self.apply(&record, next_offset(moment, effects));
        if let Some(entry) = self.entries.get_mut(id) {
            entry.last_epoch = step.last_epoch;
        }
        effects.write(record);
    }

    /// Writes that a transaction is to end, and lets its markers be written.
    fn prepare(
        &mut self,
        moment: &Moment,
        id: &str,
        outcome: TxnOutcome,
        step: Step,
        effects: &mut TxnEffects,
    ) {
        match outcome {
            TxnOutcome::Commit => self.counters.committed += 1,
            TxnOutcome::Abort => self.counters.aborted += 1,
        }
        self.write(moment, id, step, effects);
        self.order_all_markers(moment, id, effects);
    }

    /// What an answer of `version` calls the refusal of an epoch: clients older than `renamed_in` know `INVALID_PRODUCER_EPOCH`.
    fn told_code(&mut self, version: i16, renamed_in: i16, code: ErrorCode) -> ErrorCode {
        if code != ErrorCode::ProducerFenced {
            return code;
        }
        self.counters.refused_epochs += 1;
        if version < renamed_in { ErrorCode::InvalidProducerEpoch } else { code }
    }

    /// What has been done since this was called last, or the load.
    pub fn take_counters(&mut self) -> TxnCounters {
        std::mem::take(&mut self.counters)
    }

    /// What is there now.
    pub fn gauges(&self) -> TxnGauges {
        TxnGauges { ids: self.entries.len(), ongoing: self.ongoing.len(), preparing: self.preparing.len() }
    }
}

impl Machine for Transactions {
    type Record = TxnRecord;
    type Request = TxnRequest;
    type Answer = TxnAnswer;
    type Order = MarkerOrder;

    fn encode(record: &TxnRecord) -> Encoded {
        // Ids come from requests, whose strings are bounded as those of records are.
        record.encode().expect("what a request could carry, a record can")
    }

    fn replay(&mut self, record: Replayed<'_>) -> Result<(), BadRecord> {
        if let Some(decoded) = TxnRecord::decode(record.key, record.value)? {
            self.apply(&decoded, record.offset);
        }
        Ok(())
    }

    /// Nothing in its partition is part of a transaction.
    fn marker(&mut self, _: ProducerId, _: bool) {}

    /// What prepares to end goes on.
    fn loaded(&mut self, moment: &Moment, effects: &mut TxnEffects) {
        let preparing: Vec<String> = self.preparing.iter().cloned().collect();
        let preparing = if is_active(Mutant::DecisionForgotten) { Vec::new() } else { preparing };
        for id in preparing {
            self.order_all_markers(moment, &id, effects);
        }
        self.arm(moment.now);
    }

    fn handle(&mut self, moment: &Moment, token: Token, request: TxnRequest, effects: &mut TxnEffects) {
        let answer = match request {
            TxnRequest::InitProducerId { version, request, fresh } => {
                self.init_producer_id(moment, version, &request, fresh, effects)
            }
            TxnRequest::AddPartitions { version, transaction } => {
                TxnAnswer::AddPartitions(self.add_partitions(moment, version, &transaction, effects))
            }
            TxnRequest::AddOffsets { version, request, partition } => {
                TxnAnswer::AddOffsets(self.add_offsets(moment, version, &request, partition, effects))
            }
            TxnRequest::EndTxn { version, request, fresh } => {
                self.end_txn(moment, version, &request, fresh, effects)
            }
            TxnRequest::Describe(transactional_id) => TxnAnswer::Describe(self.describe(&transactional_id)),
            TxnRequest::List(filter) => TxnAnswer::List(self.list_transactions(moment.wall_ms, &filter)),
        };
        effects.answer(token, answer);
        self.arm(moment.now);
    }

    fn on_time(&mut self, moment: &Moment, effects: &mut TxnEffects) {
        self.do_due(moment, effects);
    }

    fn next_deadline(&self) -> Option<MonoTime> {
        self.deadline()
    }
}

/// Where the next record of this step will stand.
fn next_offset(moment: &Moment, effects: &TxnEffects) -> Offset {
    let written = i64::try_from(effects.written()).unwrap_or(i64::MAX);
    Offset(moment.log_end.0.saturating_add(written))
}
