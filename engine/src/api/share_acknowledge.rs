//! ShareAcknowledge: a member settles records, and may end its session. Answered when the share coordinator has it. Source: Kafka's
//! `KafkaApis.handleShareAcknowledgeRequest`.

use super::share::{Said, check_enabled, release, session_name, settle};
use super::{Later, RequestContext, done};
use crate::placement::PartitionKey;
use crate::share::partition::AckBatch;
use crate::share::sessions::SessionName;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::share_acknowledge_request::AcknowledgementBatch;
use kafka_protocol::messages::share_acknowledge_response::{PartitionData, ShareAcknowledgeTopicResponse};
use kafka_protocol::messages::{ShareAcknowledgeRequest, ShareAcknowledgeResponse};

pub(super) fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let request: ShareAcknowledgeRequest = context.decode(body)?;
    Ok(match session_of(&context, &request) {
        Ok((name, ends)) => Box::pin(serve(context, name, ends, request)),
        Err(code) => {
            context.count_error(code);
            done(context.answer(&ShareAcknowledgeResponse::default().with_error_code(code.code())))
        }
    })
}

fn session_of(
    context: &RequestContext,
    request: &ShareAcknowledgeRequest,
) -> Result<(SessionName, bool), ErrorCode> {
    check_enabled(context)?;
    let name = session_name(request.group_id.as_ref().map(|id| id.as_str()), request.member_id.as_deref())?;
    let mut sessions = context.shard.share_sessions.borrow_mut();
    let ends = sessions.acknowledge(&name, request.share_session_epoch)?;
    Ok((name, ends))
}

async fn serve(
    context: RequestContext,
    name: SessionName,
    ends: bool,
    request: ShareAcknowledgeRequest,
) -> Result<Answer, WireError> {
    let said: Vec<Said> = said_of(&request);
    let outcomes = settle(&context, &name, &said).await;
    if ends {
        let partitions = context.shard.share_sessions.borrow_mut().end(&name);
        release(&context.shard, &name, &partitions).await;
    }
    let mut outcomes = outcomes.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(outcomes.by_ref()).map(|(partition, outcome)| {
            let code = outcome.err().map_or(0, ErrorCode::code);
            context.count_code(code);
            PartitionData::default().with_partition_index(partition.partition_index).with_error_code(code)
        });
        ShareAcknowledgeTopicResponse::default()
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    let topics = topics.collect();
    context.answer(&ShareAcknowledgeResponse::default().with_responses(topics))
}

fn said_of(request: &ShareAcknowledgeRequest) -> Vec<Said> {
    let topics = request.topics.iter();
    let said = topics.flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let key = PartitionKey { topic_id: topic.topic_id, partition: partition.partition_index };
            let batches = partition.acknowledgement_batches.iter();
            let batch = |batch: &AcknowledgementBatch| {
                AckBatch::of(batch.first_offset, batch.last_offset, &batch.acknowledge_types)
            };
            (key, batches.map(batch).collect())
        })
    });
    said.collect()
}
