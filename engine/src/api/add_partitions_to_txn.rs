//! AddPartitionsToTxn: partitions join the transactions that will write to them. Clients name one transaction, leaders of partitions
//! several (KIP-890). Source: Kafka's `KafkaApis.handleAddPartitionsToTxnRequest`.

use super::RequestContext;
use super::coordinators::{Asked, ask_transaction, give_way};
use super::enlist::{is_ending, patiently};
use crate::coordinator::txn::{TxnAnswer, TxnRequest, from_client, refused, to_client};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use kafka_protocol::messages::AddPartitionsToTxnRequest;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use kafka_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;

/// First version that names several transactions.
const BATCHES_SINCE: i16 = 4;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: AddPartitionsToTxnRequest = context.decode(body)?;
    let version = context.version();
    if version < BATCHES_SINCE {
        let transaction = from_client(&request);
        let result = patiently(&context, async || add(&context, &transaction).await, is_ending).await;
        return answer(&context, vec![result]);
    }
    let transactions = request.transactions;
    let mut asked = Vec::with_capacity(transactions.len());
    for (place, transaction) in transactions.into_iter().enumerate() {
        give_way(&context, place).await;
        let asking = ask(&context, &transaction).await;
        asked.push((transaction, asking));
    }
    let mut results = Vec::with_capacity(asked.len());
    for (transaction, asking) in asked {
        results.push(added(&context, &transaction, asking).await);
    }
    answer(&context, results)
}

async fn ask(context: &RequestContext, transaction: &AddPartitionsToTxnTransaction) -> Asked<TxnAnswer> {
    let add = TxnRequest::AddPartitions { version: context.version(), transaction: transaction.clone() };
    ask_transaction(context, &transaction.transactional_id, add).await
}

async fn added(
    context: &RequestContext,
    transaction: &AddPartitionsToTxnTransaction,
    asked: Asked<TxnAnswer>,
) -> AddPartitionsToTxnResult {
    let added = asked.answer(context, |answer| match answer {
        TxnAnswer::AddPartitions(result) => Some(result),
        _ => None,
    });
    added.await.unwrap_or_else(|code| refused(transaction, code))
}

async fn add(
    context: &RequestContext,
    transaction: &AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    added(context, transaction, ask(context, transaction).await).await
}

fn answer(context: &RequestContext, results: Vec<AddPartitionsToTxnResult>) -> Result<Answer, WireError> {
    let partitions = results.iter().flat_map(|result| &result.topic_results);
    partitions
        .flat_map(|topic| &topic.results_by_partition)
        .for_each(|partition| context.count_code(partition.partition_error_code));
    context.answer(&to_client(context.version(), results))
}
