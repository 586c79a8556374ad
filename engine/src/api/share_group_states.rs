//! InitializeShareGroupState, ReadShareGroupState, WriteShareGroupState, DeleteShareGroupState and ReadShareGroupStateSummary: what a
//! broker asks the share coordinator of another. Source: Kafka's `KafkaApis` and `ShareCoordinatorService`.

use super::RequestContext;
use super::share::check_enabled;
use crate::coordinator::records::share_state::{SharePartitionKey, StateBatch};
use crate::coordinator::share_state::{Ask, Change, ShareStateAnswer, ShareStateRequest};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// A code, Kafka's words if it has any of its own, and what was told.
type Outcome = (i16, Option<StrBytes>, Option<ShareStateAnswer>);

async fn ask(context: &RequestContext, group: &str, topic_id: Uuid, partition: i32, ask: Ask) -> Outcome {
    let key = SharePartitionKey { group: group.to_owned(), topic_id, partition };
    let asked = match check_enabled(context) {
        Ok(()) => context.shard.coordination.ask_share_state(ShareStateRequest { key, ask }).await,
        Err(code) => Err(code),
    };
    let answer = match asked {
        Ok(answering) => answering.answer().await,
        Err(code) => Err(code),
    };
    let refused = |code: ErrorCode, words: Option<&'static str>| {
        context.count_error(code);
        (code.code(), words.map(StrBytes::from_static_str), None)
    };
    match answer {
        Ok(ShareStateAnswer::Refused(code, words)) => refused(code, words),
        Ok(answer) => (0, None, Some(answer)),
        Err(code) => refused(code, None),
    }
}

pub(super) async fn initialize(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    use initialize_share_group_state_response::{InitializeStateResult, PartitionResult};
    let request: InitializeShareGroupStateRequest = context.decode(body)?;
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut result = InitializeStateResult::default().with_topic_id(topic.topic_id);
        for part in &topic.partitions {
            let (state_epoch, start_offset) = (part.state_epoch, part.start_offset);
            let ask_for = Ask::Initialize { state_epoch, start_offset };
            let (code, words, _) =
                ask(&context, &request.group_id, topic.topic_id, part.partition, ask_for).await;
            let answer = PartitionResult::default().with_partition(part.partition);
            result.partitions.push(answer.with_error_code(code).with_error_message(words));
        }
        results.push(result);
    }
    context.answer(&InitializeShareGroupStateResponse::default().with_results(results))
}

pub(super) async fn read(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    use read_share_group_state_response::{PartitionResult, ReadStateResult, StateBatch};
    let request: ReadShareGroupStateRequest = context.decode(body)?;
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut result = ReadStateResult::default().with_topic_id(topic.topic_id);
        for part in &topic.partitions {
            let ask_for = Ask::Read { leader_epoch: part.leader_epoch };
            let (code, words, told) =
                ask(&context, &request.group_id, topic.topic_id, part.partition, ask_for).await;
            let answer = PartitionResult::default()
                .with_partition(part.partition)
                .with_error_code(code)
                .with_error_message(words);
            result.partitions.push(match told {
                Some(ShareStateAnswer::State { state_epoch, start_offset, batches }) => {
                    let batches = batches.iter().map(|batch| {
                        StateBatch::default()
                            .with_first_offset(batch.first_offset)
                            .with_last_offset(batch.last_offset)
                            .with_delivery_state(batch.delivery_state)
                            .with_delivery_count(batch.delivery_count)
                    });
                    answer
                        .with_state_epoch(state_epoch)
                        .with_start_offset(start_offset)
                        .with_state_batches(batches.collect())
                }
                _ => answer,
            });
        }
        results.push(result);
    }
    context.answer(&ReadShareGroupStateResponse::default().with_results(results))
}

pub(super) async fn write(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    use write_share_group_state_response::{PartitionResult, WriteStateResult};
    let request: WriteShareGroupStateRequest = context.decode(body)?;
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut result = WriteStateResult::default().with_topic_id(topic.topic_id);
        for part in &topic.partitions {
            let ask_for = Ask::Write(change_of(part));
            let (code, words, _) =
                ask(&context, &request.group_id, topic.topic_id, part.partition, ask_for).await;
            let answer = PartitionResult::default().with_partition(part.partition);
            result.partitions.push(answer.with_error_code(code).with_error_message(words));
        }
        results.push(result);
    }
    context.answer(&WriteShareGroupStateResponse::default().with_results(results))
}

fn change_of(part: &write_share_group_state_request::PartitionData) -> Change {
    let batches = part.state_batches.iter().map(|batch| StateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.delivery_state,
        delivery_count: batch.delivery_count,
    });
    Change {
        state_epoch: part.state_epoch,
        leader_epoch: part.leader_epoch,
        start_offset: part.start_offset,
        delivery_complete_count: -1,
        batches: batches.collect(),
    }
}

pub(super) async fn delete(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    use delete_share_group_state_response::{DeleteStateResult, PartitionResult};
    let request: DeleteShareGroupStateRequest = context.decode(body)?;
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut result = DeleteStateResult::default().with_topic_id(topic.topic_id);
        for part in &topic.partitions {
            let (code, words, _) =
                ask(&context, &request.group_id, topic.topic_id, part.partition, Ask::Delete).await;
            let answer = PartitionResult::default().with_partition(part.partition);
            result.partitions.push(answer.with_error_code(code).with_error_message(words));
        }
        results.push(result);
    }
    context.answer(&DeleteShareGroupStateResponse::default().with_results(results))
}

pub(super) async fn read_summary(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    use read_share_group_state_summary_response::{PartitionResult, ReadStateSummaryResult};
    let request: ReadShareGroupStateSummaryRequest = context.decode(body)?;
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut result = ReadStateSummaryResult::default().with_topic_id(topic.topic_id);
        for part in &topic.partitions {
            let (code, words, told) =
                ask(&context, &request.group_id, topic.topic_id, part.partition, Ask::Summary).await;
            let answer = PartitionResult::default()
                .with_partition(part.partition)
                .with_error_code(code)
                .with_error_message(words);
            result.partitions.push(match told {
                Some(ShareStateAnswer::Summary { state_epoch, leader_epoch, start_offset, .. }) => answer
                    .with_state_epoch(state_epoch)
                    .with_leader_epoch(leader_epoch)
                    .with_start_offset(start_offset),
                _ => answer,
            });
        }
        results.push(result);
    }
    context.answer(&ReadShareGroupStateSummaryResponse::default().with_results(results))
}
