//! EndTxn: a producer commits or aborts its transaction.
//!
//! Up to version 4 the epoch stays: an end that comes late looks like the end of the next transaction, and cannot be told from
//! it (KAFKA-17754). From version 5 on each end bumps the epoch (KIP-890): the one before it can only be the same end, asked
//! again. After `TransactionCoordinator.endTransaction`.

use super::entry::{EPOCH_BUMPING, EPOCH_LAST, Entry, told};
use super::{Claim, Moment, Refusal, Transactions, TxnAnswer, TxnEffects};
use crate::coordinator::records::txn::TxnState;
use hayate_net::error::ErrorCode;
use hayate_storage::batch::ProducerId;
use hayate_storage::batch::control::TxnOutcome;
use kafka_protocol::messages::{self, EndTxnRequest, EndTxnResponse};

/// The version from which on an end bumps the epoch.
const BUMPING_SINCE: i16 = 5;

/// The version from which on clients know `PRODUCER_FENCED`.
const FENCED_SINCE: i16 = 2;

/// What an end comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// The transaction is to end so, or one that has not begun.
    End,
    /// It has ended so.
    Ended,
}

impl Transactions {
    pub(super) fn end_txn(
        &mut self,
        moment: &Moment,
        version: i16,
        request: &EndTxnRequest,
        fresh: Option<ProducerId>,
        effects: &mut TxnEffects,
    ) -> TxnAnswer {
        let (code, (id, epoch)) = match self.end(moment, version, request, fresh, effects) {
            Ok(identity) => (ErrorCode::None, identity),
            Err(Refusal::NeedsProducerId) => return TxnAnswer::NeedsProducerId,
            Err(Refusal::Code(code)) => (self.told_code(version, FENCED_SINCE, code), (ProducerId::NONE, -1)),
        };
        TxnAnswer::EndTxn(
            EndTxnResponse::default()
                .with_error_code(code.code())
                .with_producer_id(messages::ProducerId(id.0))
                .with_producer_epoch(epoch),
        )
    }

    /// Ends a transaction; gives the identity to go on with, if the version tells it.
    fn end(
        &mut self,
        moment: &Moment,
        version: i16,
        request: &EndTxnRequest,
        fresh: Option<ProducerId>,
        effects: &mut TxnEffects,
    ) -> Result<(ProducerId, i16), Refusal> {
        let claim = Claim {
            transactional_id: &request.transactional_id,
            producer_id: ProducerId(request.producer_id.0),
            epoch: request.producer_epoch,
        };
        let id = claim.transactional_id;
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest.into());
        }
        let entry = self.entries.get(id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        let outcome = if request.committed { TxnOutcome::Commit } else { TxnOutcome::Abort };
        let is_bumping = version >= BUMPING_SINCE;
        let decision =
            if is_bumping { bumping(entry, claim, outcome) } else { plain(entry, claim, outcome) }?;
        let identity = match decision {
            Decision::Ended => told(&entry.value),
            Decision::End => {
                let (version, next) = if is_bumping {
                    (EPOCH_BUMPING, successor(entry, fresh)?)
                } else {
                    (0, ProducerId::NONE)
                };
                let step = entry.prepared(outcome, version, next, moment.wall_ms);
                let identity = told(&step.value);
                self.prepare(moment, id, outcome, step, effects);
                identity
            }
        };
        Ok(if is_bumping { identity } else { (ProducerId::NONE, -1) })
    }
}

/// The producer id that is to follow one without an epoch left; none if it has one.
fn successor(entry: &Entry, fresh: Option<ProducerId>) -> Result<ProducerId, Refusal> {
    if entry.value.producer_epoch < EPOCH_LAST {
        return Ok(ProducerId::NONE);
    }
    fresh.ok_or(Refusal::NeedsProducerId)
}

/// An end that leaves the epoch as it is.
fn plain(entry: &Entry, claim: Claim<'_>, outcome: TxnOutcome) -> Result<Decision, ErrorCode> {
    if entry.value.producer_id != claim.producer_id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if entry.value.producer_epoch != claim.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    match entry.value.state {
        TxnState::PrepareCommit | TxnState::PrepareAbort => Err(ErrorCode::ConcurrentTransactions),
        TxnState::Ongoing | TxnState::PrepareEpochFence => Ok(Decision::End),
        TxnState::CompleteCommit if outcome == TxnOutcome::Commit => Ok(Decision::Ended),
        TxnState::CompleteAbort if outcome == TxnOutcome::Abort => Ok(Decision::Ended),
        TxnState::CompleteCommit | TxnState::CompleteAbort | TxnState::Empty | TxnState::Dead => {
            Err(ErrorCode::InvalidTxnState)
        }
    }
}

/// An end that bumps the epoch. What it comes to, by the state and by whether it names the epoch before (it was asked
/// before, and the answer lost) or the present one:
///
/// | | abort, before | abort, present | commit, before | commit, present |
/// |---|---|---|---|---|
/// | Ongoing | fenced | ends | fenced | ends |
/// | Empty | fenced | ends | fenced | refused |
/// | CompleteAbort | has ended | ends | refused | refused |
/// | CompleteCommit | refused | ends | has ended | refused |
fn bumping(entry: &Entry, claim: Claim<'_>, outcome: TxnOutcome) -> Result<Decision, ErrorCode> {
    if entry.preparing().is_some() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    let is_again = is_again(entry, claim);
    if entry.value.producer_id != claim.producer_id && !is_again {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let is_present = !is_again && entry.value.producer_epoch == claim.epoch && claim.epoch < i16::MAX;
    if !is_again && !is_present {
        return Err(ErrorCode::ProducerFenced);
    }
    let has_ended = match entry.value.state {
        TxnState::CompleteCommit => Some(TxnOutcome::Commit),
        TxnState::CompleteAbort => Some(TxnOutcome::Abort),
        TxnState::Ongoing | TxnState::PrepareEpochFence => return Ok(Decision::End),
        TxnState::Empty | TxnState::Dead | TxnState::PrepareCommit | TxnState::PrepareAbort => None,
    };
    match outcome {
        _ if is_again && has_ended == Some(outcome) => Ok(Decision::Ended),
        TxnOutcome::Abort if is_present => Ok(Decision::End),
        TxnOutcome::Abort | TxnOutcome::Commit => Err(ErrorCode::InvalidTxnState),
    }
}

/// Whether the producer of the last transaction, which ended with a bump, asks for its end again: it names the epoch before,
/// or the last epoch of the id before.
fn is_again(entry: &Entry, claim: Claim<'_>) -> bool {
    let value = &entry.value;
    let is_complete = matches!(value.state, TxnState::CompleteCommit | TxnState::CompleteAbort);
    if !is_complete || value.client_transaction_version < EPOCH_BUMPING {
        return false;
    }
    if value.producer_id == claim.producer_id {
        return claim.epoch.checked_add(1) == Some(value.producer_epoch);
    }
    value.previous_producer_id == claim.producer_id && claim.epoch == EPOCH_LAST && value.producer_epoch == 0
}
