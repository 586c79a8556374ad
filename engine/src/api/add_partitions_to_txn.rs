//! AddPartitionsToTxn: partitions join the transactions that will write to them. Clients name one transaction, leaders of partitions
//! several (KIP-890). Source: Kafka's `KafkaApis.handleAddPartitionsToTxnRequest`.

use super::RequestContext;
use super::coordinators::ask_transaction;
use crate::coordinator::txn::{TxnAnswer, TxnRequest, from_client, refused, to_client};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use kafka_protocol::messages::AddPartitionsToTxnRequest;

/// First version that names several transactions.
const BATCHES_SINCE: i16 = 4;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: AddPartitionsToTxnRequest = context.decode(body)?;
    let version = context.version();
    let transactions =
        if version < BATCHES_SINCE { vec![from_client(&request)] } else { request.transactions };
    let mut asked = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        let add = TxnRequest::AddPartitions { version, transaction: transaction.clone() };
        let asking = ask_transaction(&context, &transaction.transactional_id, add).await;
        asked.push((transaction, asking));
    }
    let mut results = Vec::with_capacity(asked.len());
    for (transaction, asking) in asked {
        let added = asking.answer(&context, |answer| match answer {
            TxnAnswer::AddPartitions(result) => Some(result),
            _ => None,
        });
        results.push(added.await.unwrap_or_else(|code| refused(&transaction, code)));
    }
    let partitions = results.iter().flat_map(|result| &result.topic_results);
    partitions
        .flat_map(|topic| &topic.results_by_partition)
        .for_each(|partition| context.count_code(partition.partition_error_code));
    context.answer(&to_client(version, results))
}
