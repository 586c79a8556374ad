//! AlterPartitionReassignments (KIP-455): the controller says which replicas partitions may have. After Kafka's
//! `ControllerApis.handleAlterPartitionReassignments`.

use super::topics::topic_name;
use super::{RequestContext, text};
use crate::metadata::controller::{ApiError, Command, Reassign, ReassignedTopic, Reply, WantedTopic};
use crate::shard::calls::{ControlAnswer, ControlCall};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use kafka_protocol::protocol::StrBytes;

/// Kafka's words for error 3.
const UNKNOWN: &str = "This server does not host this topic-partition.";
/// First version that says whether the number of replicas may change; before, it may.
const COUNT_SINCE: i16 = 1;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: AlterPartitionReassignmentsRequest = context.decode(body)?;
    let may_change_count = context.version() < COUNT_SINCE || request.allow_replication_factor_change;
    let topics = request.topics.iter().map(wanted).collect();
    let call = ControlCall::Command(Command::Reassign(Reassign { may_change_count, topics }));
    let response = AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(may_change_count)
        .with_error_message(request.topics.is_empty().then(StrBytes::default));
    context.answer(&match context.shard.control(call).await {
        ControlAnswer::Replied(Reply::Reassign(topics)) => {
            response.with_responses(topics.into_iter().map(describe).collect())
        }
        _ => {
            context.count_error(ErrorCode::NotController);
            response.with_error_code(ErrorCode::NotController.code()).with_error_message(None)
        }
    })
}

/// Everything is copied: names in the request keep its frame alive.
fn wanted(topic: &ReassignableTopic) -> WantedTopic {
    let one = |partition: &ReassignablePartition| {
        let replicas = partition.replicas.as_ref();
        let replicas = replicas.map(|replicas| replicas.iter().map(|broker| broker.0).collect());
        (partition.partition_index, replicas)
    };
    (topic.name.to_string(), topic.partitions.iter().map(one).collect())
}

fn describe((name, partitions): ReassignedTopic) -> ReassignableTopicResponse {
    let results = partitions.into_iter().map(|(id, error)| {
        let (code, message) = error.map_or((0, None), |error| (error.code.code(), words(error)));
        ReassignablePartitionResponse::default()
            .with_partition_index(id)
            .with_error_code(code)
            .with_error_message(message)
    });
    ReassignableTopicResponse::default().with_name(topic_name(&name)).with_partitions(results.collect())
}

fn words(error: ApiError) -> Option<StrBytes> {
    match error.code {
        ResponseError::UnknownTopicOrPartition => Some(StrBytes::from_static_str(UNKNOWN)),
        _ => error.message.map(text),
    }
}
