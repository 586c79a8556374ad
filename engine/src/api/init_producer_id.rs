//! InitProducerId for idempotent producers: ids come from blocks that the controller hands to each shard.
//!
//! Transactional ids are refused for good (42): nobody coordinates transactions yet.

use super::RequestContext;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

/// Stands for no producer, and for no epoch.
const NONE: i64 = -1;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: InitProducerIdRequest = context.decode(body)?;
    let refused = |code: ErrorCode| {
        InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        return context.answer(&refused(ErrorCode::InvalidRequest));
    }
    // One that goes on as a producer of before names all of it.
    if (request.producer_id.0 == NONE) != (i64::from(request.producer_epoch) == NONE) {
        return context.answer(&refused(ErrorCode::InvalidRequest));
    }
    let response = match context.shard.producer_id().await {
        Some(id) => {
            InitProducerIdResponse::default().with_producer_id(ProducerId(id.0)).with_producer_epoch(0)
        }
        None => refused(ErrorCode::CoordinatorLoadInProgress),
    };
    context.answer(&response)
}
