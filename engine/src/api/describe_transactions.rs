//! DescribeTransactions (KIP-664): how the transactions of transactional ids stand. Source: Kafka's
//! `KafkaApis.handleDescribeTransactionsRequest`.

use super::RequestContext;
use super::coordinators::ask_transaction;
use crate::coordinator::txn::{TxnAnswer, TxnRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeTransactionsRequest = context.decode(body)?;
    let mut asked = Vec::with_capacity(request.transactional_ids.len());
    for id in &request.transactional_ids {
        asked.push((id, ask_transaction(&context, id, TxnRequest::Describe(id.to_string())).await));
    }
    let mut described = Vec::with_capacity(asked.len());
    for (id, asking) in asked {
        let answered = asking.answer(&context, |answer| match answer {
            TxnAnswer::Describe(described) => Some(described),
            _ => None,
        });
        let refused = |code: ErrorCode| {
            TransactionState::default().with_transactional_id(id.clone()).with_error_code(code.code())
        };
        let state = answered.await.unwrap_or_else(refused);
        context.count_code(state.error_code);
        described.push(state);
    }
    context.answer(&DescribeTransactionsResponse::default().with_transaction_states(described))
}
