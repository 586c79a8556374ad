//! ListTransactions (KIP-664, KIP-994, KIP-1152): the transactional ids of every coordinator of this broker that the filters let through.
//! Source: Kafka's `KafkaApis.handleListTransactionsRequest`.

use super::RequestContext;
use crate::coordinator::topics::TRANSACTIONS_TOPIC;
use crate::coordinator::txn::{ListFilter, TxnAnswer, TxnRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use std::sync::Arc;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: ListTransactionsRequest = context.decode(body)?;
    let (filter, unknown) = match ListFilter::read(&request) {
        Ok(read) => read,
        Err(code) => return refuse(&context, code),
    };
    let listed = match list(&context, Arc::new(filter)).await {
        Ok(listed) => listed,
        Err(code) => return refuse(&context, code),
    };
    let response = ListTransactionsResponse::default().with_unknown_state_filters(unknown);
    context.answer(&response.with_transaction_states(listed))
}

fn refuse(context: &RequestContext, code: ErrorCode) -> Result<Answer, WireError> {
    context.count_error(code);
    context.answer(&ListTransactionsResponse::default().with_error_code(code.code()))
}

async fn list(context: &RequestContext, filter: Arc<ListFilter>) -> Result<Vec<TransactionState>, ErrorCode> {
    let coordination = context.shard.coordination.clone();
    let mut asked = Vec::new();
    for (shard, number) in coordination.all(TRANSACTIONS_TOPIC) {
        asked.push(coordination.ask_transactions_of(shard, number, TxnRequest::List(filter.clone())).await);
    }
    let mut listed = Vec::new();
    for answering in asked {
        match answering.answer().await {
            Ok(TxnAnswer::List(part)) => listed.extend(part),
            // Whoever leads that partition now tells of its ids.
            Ok(_) | Err(ErrorCode::NotCoordinator) => {}
            Err(code) => return Err(code),
        }
    }
    Ok(listed)
}
