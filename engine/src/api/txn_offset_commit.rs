//! TxnOffsetCommit: how far a group will have read once a transaction commits. Topics and partitions that do not exist are refused here, the
//! transaction is verified as for records, the rest is the group coordinator's. Source: Kafka's
//! `KafkaApis.handleTxnOffsetCommitRequest`, `GroupCoordinatorService.commitTransactionalOffsets`.

use super::RequestContext;
use super::coordinators::{ask_group, response_error};
use super::enlist::{First, Rules, enlist};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use crate::coordinator::offsets::txn_commit_refused;
use crate::coordinator::partitioner::partition_of;
use crate::coordinator::topics::OFFSETS_TOPIC;
use crate::partition::verification::{FirstBatch, Guard};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::batch::{NO_SEQUENCE, ProducerId};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

/// First version whose clients take `COORDINATOR_LOAD_IN_PROGRESS` for what it is (KAFKA-7296).
const LOADING_SINCE: i16 = 2;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let mut request: TxnOffsetCommitRequest = context.decode(body)?;
    let refused = take_unknown(&context, &mut request);
    let committed = if request.topics.is_empty() {
        TxnOffsetCommitResponse::default()
    } else {
        let shape = request.clone();
        commit(&context, request).await.unwrap_or_else(|code| {
            let code = match code {
                ErrorCode::CoordinatorLoadInProgress if context.version() < LOADING_SINCE => {
                    ErrorCode::CoordinatorNotAvailable
                }
                code => code,
            };
            txn_commit_refused(&shape, response_error(code))
        })
    };
    let response = merged(refused, committed);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.for_each(|partition| context.count_code(partition.error_code));
    context.answer(&response)
}

async fn commit(
    context: &RequestContext,
    request: TxnOffsetCommitRequest,
) -> Result<TxnOffsetCommitResponse, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    if request.producer_id.0 < 0 {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let guard = verify(context, &request).await.map_err(as_commit_refusal)?;
    let group = request.group_id.to_string();
    let asked = ask_group(context, &group, GroupRequest::TxnOffsetCommit { request, guard }).await;
    let committed = asked.answer(context, |answer| match answer {
        GroupAnswer::TxnOffsetCommit(response) => Some(response),
        _ => None,
    });
    committed.await.map_err(as_commit_refusal)
}

/// Asks about the transaction, if its first offsets come to the group's partition.
async fn verify(
    context: &RequestContext,
    request: &TxnOffsetCommitRequest,
) -> Result<Option<Guard>, ErrorCode> {
    let view = context.shard.view();
    let topic = view.image.topic(OFFSETS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let route = view.route(topic, partition_of(&request.group_id, count))?;
    let batch = FirstBatch {
        producer_id: ProducerId(request.producer_id.0),
        producer_epoch: request.producer_epoch,
        sequence: NO_SEQUENCE,
    };
    let rules = Rules::of_offset_commit(context.version());
    let first = First { topic: OFFSETS_TOPIC, route, batch };
    let entries = enlist(context, &request.transactional_id, rules, &[first]).await;
    let entry = entries.into_iter().next().unwrap_or(Err(ErrorCode::UnknownServerError.into()));
    entry.map_err(|failure| failure.code)
}

/// What a partition or a coordinator of transactions says, as clients of groups expect it.
fn as_commit_refusal(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        code => code,
    }
}

/// Takes out what does not exist, and answers it.
fn take_unknown(
    context: &RequestContext,
    request: &mut TxnOffsetCommitRequest,
) -> Vec<TxnOffsetCommitResponseTopic> {
    let view = context.shard.view();
    let mut unknown = Vec::new();
    for topic in &mut request.topics {
        let image = view.image.topic(&topic.name);
        let exists = |index: i32| image.is_some_and(|image| image.partitions.contains_key(&index));
        let missing = topic.partitions.iter().filter(|partition| !exists(partition.partition_index));
        let missing: Vec<_> = missing
            .map(|partition| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(ErrorCode::UnknownTopicOrPartition.code())
            })
            .collect();
        if !missing.is_empty() {
            let answer = TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone());
            put(&mut unknown, answer.with_partitions(missing));
        }
        topic.partitions.retain(|partition| exists(partition.partition_index));
    }
    request.topics.retain(|topic| !topic.partitions.is_empty());
    unknown
}

/// What was refused here comes first, and what is committed of the same topics stands with it; where nothing was, the answer is as the request.
fn merged(
    mut topics: Vec<TxnOffsetCommitResponseTopic>,
    committed: TxnOffsetCommitResponse,
) -> TxnOffsetCommitResponse {
    if topics.is_empty() {
        return committed;
    }
    committed.topics.into_iter().for_each(|answered| put(&mut topics, answered));
    TxnOffsetCommitResponse::default().with_topics(topics)
}

/// Puts the answers to partitions to those of their topic.
fn put(topics: &mut Vec<TxnOffsetCommitResponseTopic>, answered: TxnOffsetCommitResponseTopic) {
    match topics.iter_mut().find(|topic| topic.name == answered.name) {
        Some(topic) => topic.partitions.extend(answered.partitions),
        None => topics.push(answered),
    }
}
