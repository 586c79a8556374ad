//! AddOffsetsToTxn: a group's offsets join a transaction, which is their partition of `__consumer_offsets`. Source: Kafka's
//! `KafkaApis.handleAddOffsetsToTxnRequest`.

use super::RequestContext;
use super::coordinators::ask_transaction;
use crate::coordinator::partitioner::partition_of;
use crate::coordinator::topics::OFFSETS_TOPIC;
use crate::coordinator::txn::{TxnAnswer, TxnRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: AddOffsetsToTxnRequest = context.decode(body)?;
    let transactional_id = request.transactional_id.to_string();
    let view = context.shard.view();
    // What is not there yet is created with this number.
    let count = match view.image.topic(OFFSETS_TOPIC) {
        Some(topic) => i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        None => context.shard.options.internal_topics.offsets.partitions,
    };
    let partition = partition_of(&request.group_id, count);
    let add = TxnRequest::AddOffsets { version: context.version(), request, partition };
    let asked = ask_transaction(&context, &transactional_id, add).await;
    let added = asked.answer(&context, |answer| match answer {
        TxnAnswer::AddOffsets(response) => Some(response),
        _ => None,
    });
    let refused =
        |code: hayate_net::error::ErrorCode| AddOffsetsToTxnResponse::default().with_error_code(code.code());
    let response = added.await.unwrap_or_else(refused);
    context.count_code(response.error_code);
    context.answer(&response)
}
