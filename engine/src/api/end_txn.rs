//! EndTxn: a producer commits or aborts its transaction. Source: Kafka's `KafkaApis.handleEndTxnRequest`.

use super::RequestContext;
use super::coordinators::ask_with_fresh_id;
use crate::coordinator::txn::{TxnAnswer, TxnRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: EndTxnRequest = context.decode(body)?;
    let version = context.version();
    let end = |fresh| TxnRequest::EndTxn { version, request: request.clone(), fresh };
    let response = match ask_with_fresh_id(&context, &request.transactional_id, end).await {
        Ok(TxnAnswer::EndTxn(response)) => response,
        Ok(_) => refused(ErrorCode::UnknownServerError),
        Err(code) => refused(code),
    };
    context.count_code(response.error_code);
    context.answer(&response)
}

fn refused(code: ErrorCode) -> EndTxnResponse {
    EndTxnResponse::default()
        .with_error_code(code.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
