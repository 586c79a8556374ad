//! InitProducerId: an idempotent producer gets an id from the blocks that the controller hands to each shard; one with a transactional id
//! is told by its coordinator who it is. Source: Kafka's `KafkaApis.handleInitProducerIdRequest`.

use super::RequestContext;
use super::coordinators::ask_with_fresh_id;
use crate::coordinator::txn::{TxnAnswer, TxnRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

/// Stands for no producer, and for no epoch.
const NONE: i64 = -1;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: InitProducerIdRequest = context.decode(body)?;
    let begun = if (request.producer_id.0 == NONE) != (i64::from(request.producer_epoch) == NONE) {
        // One that goes on as a producer of before names all of it.
        Err(ErrorCode::InvalidRequest)
    } else if request.transactional_id.is_some() {
        transactional(&context, &request).await
    } else {
        idempotent(&context).await
    };
    let response = begun.unwrap_or_else(|code| {
        InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    });
    context.count_code(response.error_code);
    context.answer(&response)
}

async fn idempotent(context: &RequestContext) -> Result<InitProducerIdResponse, ErrorCode> {
    let id = context.shard.producer_id().await.ok_or(ErrorCode::CoordinatorLoadInProgress)?;
    Ok(InitProducerIdResponse::default().with_producer_id(ProducerId(id.0)).with_producer_epoch(0))
}

async fn transactional(
    context: &RequestContext,
    request: &InitProducerIdRequest,
) -> Result<InitProducerIdResponse, ErrorCode> {
    let version = context.version();
    let id = request.transactional_id.as_ref().map_or("", |id| id.as_str());
    let begin = |fresh| TxnRequest::InitProducerId { version, request: request.clone(), fresh };
    match ask_with_fresh_id(context, id, begin).await? {
        TxnAnswer::InitProducerId(response) => Ok(response),
        _ => Err(ErrorCode::UnknownServerError),
    }
}
