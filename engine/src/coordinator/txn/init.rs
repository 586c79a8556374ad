//! InitProducerId: a producer with a transactional id begins, and shuts out the one before it.
//!
//! One that names its producer id and epoch (KIP-360) recovers and must still be the present one. A transaction that is
//! open is aborted first; the client is told to come again. After `TransactionCoordinator.handleInitProducerId`.

use super::entry::{Entry, Step, is_exhausted};
use super::{Moment, Refusal, Transactions, TxnAnswer, TxnEffects};
use crate::metadata::features::TRANSACTION_VERSION;
use hayate_net::error::ErrorCode;
use hayate_storage::batch::ProducerId;
use hayate_storage::batch::control::TxnOutcome;
use kafka_protocol::messages::{self, InitProducerIdRequest, InitProducerIdResponse};

/// The version from which on clients know `PRODUCER_FENCED`.
const FENCED_SINCE: i16 = 4;

/// A producer id and its epoch, which a producer names that it had.
type Named = (ProducerId, i16);

impl Transactions {
    pub(super) fn init_producer_id(
        &mut self,
        moment: &Moment,
        version: i16,
        request: &InitProducerIdRequest,
        fresh: Option<ProducerId>,
        effects: &mut TxnEffects,
    ) -> TxnAnswer {
        let (code, (id, epoch)) = match self.begin(moment, request, fresh, effects) {
            Ok(identity) => (ErrorCode::None, identity),
            Err(Refusal::NeedsProducerId) => return TxnAnswer::NeedsProducerId,
            Err(Refusal::Code(code)) => (self.told_code(version, FENCED_SINCE, code), (ProducerId::NONE, -1)),
        };
        TxnAnswer::InitProducerId(
            InitProducerIdResponse::default()
                .with_error_code(code.code())
                .with_producer_id(messages::ProducerId(id.0))
                .with_producer_epoch(epoch),
        )
    }

    fn begin(
        &mut self,
        moment: &Moment,
        request: &InitProducerIdRequest,
        fresh: Option<ProducerId>,
        effects: &mut TxnEffects,
    ) -> Result<Named, Refusal> {
        let id = request.transactional_id.as_ref().map_or("", |id| id.as_str());
        let named = self.checked(id, request)?;
        let Some(entry) = self.entries.get(id) else {
            let fresh = fresh.ok_or(Refusal::NeedsProducerId)?;
            let step = Step::first(fresh, request.transaction_timeout_ms, moment.wall_ms);
            return Ok(self.begun(moment, id, step, effects));
        };
        if entry.preparing().is_some() {
            return Err(ErrorCode::ConcurrentTransactions.into());
        }
        if !named.is_none_or(|named| may_begin(entry, named)) {
            return Err(ErrorCode::ProducerFenced.into());
        }
        if entry.is_ongoing() {
            let step = entry.fenced(server_version(moment), moment.wall_ms);
            self.counters.fenced += 1;
            self.prepare(moment, id, TxnOutcome::Abort, step, effects);
            return Err(ErrorCode::ConcurrentTransactions.into());
        }
        let step = anew(entry, named, request.transaction_timeout_ms, fresh, moment.wall_ms)?;
        Ok(self.begun(moment, id, step, effects))
    }

    /// Refuses what is wrong in itself; gives what the producer says that it had.
    fn checked(&self, id: &str, request: &InitProducerIdRequest) -> Result<Option<Named>, ErrorCode> {
        let named = match (request.producer_id.0, request.producer_epoch) {
            (-1, -1) => None,
            (-1, _) | (_, -1) => return Err(ErrorCode::InvalidRequest),
            (id, epoch) => Some((ProducerId(id), epoch)),
        };
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if !(1..=self.limits.timeout_ms_max).contains(&request.transaction_timeout_ms) {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        Ok(named)
    }

    fn begun(&mut self, moment: &Moment, id: &str, step: Step, effects: &mut TxnEffects) -> Named {
        let identity = (step.value.producer_id, step.value.producer_epoch);
        self.write(moment, id, step, effects);
        identity
    }
}

/// The level of the transaction protocol that the cluster has agreed on.
pub(super) fn server_version(moment: &Moment) -> i16 {
    moment.image.feature_level(TRANSACTION_VERSION)
}

/// Whether a producer that names what it had may be the present one. Its epoch is looked at when it is to be bumped;
/// one of the id before is let in when it had the last epoch: it may not have heard of its new id.
fn may_begin(entry: &Entry, (producer_id, epoch): Named) -> bool {
    let value = &entry.value;
    value.producer_epoch == -1
        || producer_id == value.producer_id
        || (producer_id == value.previous_producer_id && is_exhausted(epoch))
}

/// The step by which a producer begins when no transaction is open.
fn anew(
    entry: &Entry,
    named: Option<Named>,
    timeout_ms: i32,
    fresh: Option<ProducerId>,
    now_ms: i64,
) -> Result<Step, Refusal> {
    let present = entry.value.producer_epoch;
    if is_exhausted(present) && named.is_none_or(|(_, epoch)| epoch == present) {
        let fresh = fresh.ok_or(Refusal::NeedsProducerId)?;
        return Ok(entry.renamed(fresh, timeout_ms, named.is_some(), now_ms));
    }
    Ok(entry.bumped(timeout_ms, named.map(|(_, epoch)| epoch), now_ms)?)
}
