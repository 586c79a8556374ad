//! The first records of a transaction in a partition: its coordinator is asked about them before they are appended, whether the partition is
//! part of the transaction, or to make it part of it (KIP-890). Whatever was not asked about hangs: nobody would end it.
//!
//! After Kafka's `ReplicaManager.maybeSendPartitionsToTransactionCoordinator` and `AddPartitionsToTxnManager`.

use super::RequestContext;
use super::coordinators::ask_transaction;
use super::topics::topic_name;
use crate::coordinator::txn::{TxnAnswer, TxnRequest, refused};
use crate::partition::AppendFailure;
use crate::partition::verification::{FirstBatch, Guard};
use crate::shard::calls::{PartitionCall, VerifyPart};
use crate::shard::router::{Grouped, verified};
use crate::shard::view::Route;
use hayate_net::error::ErrorCode;
use hayate_storage::producers::TransactionVersion;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;
use kafka_protocol::messages::{ProducerId, TransactionalId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The version of AddPartitionsToTxn in which Kafka's leaders ask.
const LEADERS_VERSION: i16 = 5;

/// What a client expects of its request, by the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// It has added the partition itself, and knows no error that tells it to abort.
    Plain,
    /// It has added the partition itself.
    Abortable,
    /// It leaves that to the partition's leader.
    Adding,
}

impl Rules {
    /// Of a Produce request.
    pub(super) fn of_produce(version: i16) -> Rules {
        match version {
            ..=10 => Rules::Plain,
            11 => Rules::Abortable,
            12.. => Rules::Adding,
        }
    }

    /// Of a TxnOffsetCommit request.
    pub(super) fn of_offset_commit(version: i16) -> Rules {
        match version {
            ..=3 => Rules::Plain,
            4 => Rules::Abortable,
            5.. => Rules::Adding,
        }
    }

    fn version(self) -> TransactionVersion {
        match self {
            Rules::Plain | Rules::Abortable => TransactionVersion::Classic,
            Rules::Adding => TransactionVersion::EpochBump,
        }
    }
}

/// A batch of a transaction, and where it is to go.
pub(super) struct First<'a> {
    pub(super) topic: &'a str,
    pub(super) route: Route,
    pub(super) batch: FirstBatch,
}

/// What each of the batches, all of one producer, may be appended with; or why it may not be.
pub(super) async fn enlist(
    context: &RequestContext,
    transactional_id: &str,
    rules: Rules,
    firsts: &[First<'_>],
) -> Vec<Result<Option<Guard>, AppendFailure>> {
    let mut entries = begin(context, rules, firsts).await;
    let asked: Vec<&First<'_>> = firsts
        .iter()
        .zip(&entries)
        .filter_map(|(first, entry)| matches!(entry, Ok(Some(_))).then_some(first))
        .collect();
    let Some(transaction) = transaction_of(transactional_id, rules, &asked) else { return entries };
    let result = ask_patiently(context, rules, &transaction).await;
    let codes = codes(&result);
    for (first, entry) in firsts.iter().zip(&mut entries) {
        let code = codes.get(&(first.topic, first.route.key.partition)).copied();
        if let (Ok(Some(_)), Some(code)) = (&*entry, code.filter(|code| !code.is_none())) {
            *entry = Err(told(code, rules).into());
        }
    }
    entries
}

/// Asks the partitions which of the batches begin a transaction there.
async fn begin(
    context: &RequestContext,
    rules: Rules,
    firsts: &[First<'_>],
) -> Vec<Result<Option<Guard>, AppendFailure>> {
    let mut groups = Grouped::new(firsts.len());
    for (place, First { route, batch, .. }) in firsts.iter().enumerate() {
        groups.push(
            route.shard,
            place,
            VerifyPart { key: route.key, batch: *batch, version: rules.version() },
        );
    }
    let groups = groups.dispatch(&context.shard.router, PartitionCall::Verify).await;
    let verified = groups.collect(verified).await.into_iter();
    verified.map(|outcome| outcome.unwrap_or(Err(ErrorCode::UnknownServerError.into()))).collect()
}

/// `None` when there is nothing to ask about.
fn transaction_of(
    transactional_id: &str,
    rules: Rules,
    asked: &[&First<'_>],
) -> Option<AddPartitionsToTxnTransaction> {
    let batch = asked.first()?.batch;
    let mut named: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for first in asked {
        named.entry(first.topic).or_default().push(first.route.key.partition);
    }
    let topics = named.into_iter().map(|(topic, partitions)| {
        AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(partitions)
    });
    let transaction = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(TransactionalId(super::text(transactional_id)))
        .with_producer_id(ProducerId(batch.producer_id.0))
        .with_producer_epoch(batch.producer_epoch)
        .with_verify_only(rules != Rules::Adding)
        .with_topics(topics.collect());
    Some(transaction)
}

/// Asks the coordinator; again and again for a while if the producer's last transaction is still ending, which one that leaves its
/// partitions to their leaders need not wait for itself.
async fn ask_patiently(
    context: &RequestContext,
    rules: Rules,
    transaction: &AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    let (rt, (pause_max, patience)) = (&context.shard.rt, context.shard.options.enlist_retry);
    let until = rt.now() + patience;
    // Markers take a flush or two: most have not long to wait.
    let mut pause = Duration::from_millis(1).min(pause_max);
    loop {
        let result = ask(context, transaction).await;
        let is_ending = codes(&result).values().any(|code| *code == ErrorCode::ConcurrentTransactions);
        if rules != Rules::Adding || !is_ending || rt.now() >= until {
            return result;
        }
        if context.connection.interrupted().unless(rt.sleep(pause)).await.is_none() {
            return result;
        }
        pause = (2 * pause).min(pause_max);
    }
}

async fn ask(
    context: &RequestContext,
    transaction: &AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    let request = TxnRequest::AddPartitions { version: LEADERS_VERSION, transaction: transaction.clone() };
    let asked = ask_transaction(context, &transaction.transactional_id, request).await;
    let answered = asked.answer(context, |answer| match answer {
        TxnAnswer::AddPartitions(result) => Some(result),
        _ => None,
    });
    answered.await.unwrap_or_else(|code| refused(transaction, code))
}

fn codes(result: &AddPartitionsToTxnResult) -> BTreeMap<(&str, i32), ErrorCode> {
    let topics = result.topic_results.iter();
    let codes = topics.flat_map(|topic| {
        topic.results_by_partition.iter().map(|partition| {
            let code = ErrorCode::from_code(partition.partition_error_code);
            let code = code.unwrap_or(ErrorCode::UnknownServerError);
            ((topic.name.as_str(), partition.partition_index), code)
        })
    });
    codes.collect()
}

/// A coordinator's answer as producers expect it.
fn told(code: ErrorCode, rules: Rules) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if rules == Rules::Plain => ErrorCode::InvalidTxnState,
        code => code,
    }
}

/// The same for a Produce request, whose older clients do not know to send again after every error that passes.
pub(super) fn as_produce_failure(failure: AppendFailure, rules: Rules) -> AppendFailure {
    match failure.code {
        ErrorCode::InvalidTxnState => {
            in_words(ErrorCode::InvalidTxnState, "Partition was not added to the transaction".to_owned())
        }
        ErrorCode::ConcurrentTransactions if rules == Rules::Adding => failure,
        ErrorCode::ConcurrentTransactions
        | ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => in_words(
            ErrorCode::NotEnoughReplicas,
            format!(
                "Unable to verify the partition has been added to the transaction. Underlying error: {}",
                failure.code.name()
            ),
        ),
        _ => failure,
    }
}

fn in_words(code: ErrorCode, message: String) -> AppendFailure {
    let mut failure = AppendFailure::from(code);
    failure.message = Some(message);
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_producer_is_told_hangs_on_what_its_version_knows() {
        use ErrorCode::{
            ConcurrentTransactions, InvalidProducerEpoch, InvalidProducerIdMapping, InvalidTxnState,
            NotCoordinator, NotEnoughReplicas, ProducerFenced, TransactionAbortable,
        };
        for (code, expected) in [
            (ProducerFenced, [InvalidProducerEpoch; 3]),
            (TransactionAbortable, [InvalidTxnState, TransactionAbortable, TransactionAbortable]),
            (ConcurrentTransactions, [NotEnoughReplicas, NotEnoughReplicas, ConcurrentTransactions]),
            (NotCoordinator, [NotEnoughReplicas; 3]),
            (InvalidProducerIdMapping, [InvalidProducerIdMapping; 3]),
        ] {
            for (version, expected) in [10, 11, 12].into_iter().zip(expected) {
                let rules = Rules::of_produce(version);
                let failure = as_produce_failure(told(code, rules).into(), rules);
                assert_eq!(failure.code, expected, "{} in version {version}", code.name());
            }
        }
        assert_eq!([3, 4, 5].map(Rules::of_offset_commit), [10, 11, 13].map(Rules::of_produce));
    }
}
