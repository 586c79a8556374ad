//! AddOffsetsToTxn: a group's offsets join a transaction, which is their partition of `__consumer_offsets`. Source: Kafka's
//! `KafkaApis.handleAddOffsetsToTxnRequest`.

use super::RequestContext;
use super::coordinators::ask_transaction;
use super::enlist::patiently;
use crate::coordinator::partitioner::partition_of;
use crate::coordinator::topics::OFFSETS_TOPIC;
use crate::coordinator::txn::{TxnAnswer, TxnRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: AddOffsetsToTxnRequest = context.decode(body)?;
    let view = context.shard.view();
    // What is not there yet is created with this number.
    let count = match view.image.topic(OFFSETS_TOPIC) {
        Some(topic) => i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        None => context.shard.options.internal_topics.offsets.partitions,
    };
    let partition = partition_of(&request.group_id, count);
    let is_ending =
        |response: &AddOffsetsToTxnResponse| response.error_code == ErrorCode::ConcurrentTransactions.code();
    let response = patiently(&context, async || add(&context, &request, partition).await, is_ending).await;
    context.count_code(response.error_code);
    context.answer(&response)
}

async fn add(
    context: &RequestContext,
    request: &AddOffsetsToTxnRequest,
    partition: i32,
) -> AddOffsetsToTxnResponse {
    let add = TxnRequest::AddOffsets { version: context.version(), request: request.clone(), partition };
    let asked = ask_transaction(context, &request.transactional_id, add).await;
    let added = asked.answer(context, |answer| match answer {
        TxnAnswer::AddOffsets(response) => Some(response),
        _ => None,
    });
    added.await.unwrap_or_else(|code| AddOffsetsToTxnResponse::default().with_error_code(code.code()))
}
