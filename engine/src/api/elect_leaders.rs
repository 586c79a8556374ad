//! ElectLeaders (KIP-183, KIP-460): the controller says whether the leaders are where they should be. After Kafka's
//! `ControllerApis.handleElectLeaders`.

use super::RequestContext;
use super::topics::topic_name;
use crate::metadata::controller::{Command, ElectLeaders, ElectedTopic, Election, Reply};
use crate::shard::calls::{ControlAnswer, ControlCall};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use kafka_protocol::protocol::StrBytes;

/// First version whose answers carry an error of the whole request.
const ERROR_SINCE: i16 = 1;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: ElectLeadersRequest = context.decode(body)?;
    let Some(election) = Election::from_number(request.election_type) else {
        let words = super::text(format!("Unknown election type {}", request.election_type));
        return context.answer(&refuse_all(&context, &request, ErrorCode::InvalidRequest, Some(words)));
    };
    let topics = request.topic_partitions.as_ref().map(|topics| {
        topics.iter().map(|topic| (topic.topic.to_string(), topic.partitions.clone())).collect()
    });
    let call = ControlCall::Command(Command::ElectLeaders(ElectLeaders { election, topics }));
    let response = match context.shard.control(call).await {
        ControlAnswer::Replied(Reply::ElectLeaders(topics)) => {
            let results = topics.into_iter().map(describe).collect();
            ElectLeadersResponse::default().with_replica_election_results(results)
        }
        _ => refuse_all(&context, &request, ErrorCode::NotController, None),
    };
    context.answer(&response)
}

fn describe((name, partitions): ElectedTopic) -> ReplicaElectionResult {
    let results = partitions.into_iter().map(|(id, outcome)| {
        PartitionResult::default()
            .with_partition_id(id)
            .with_error_code(outcome.code())
            .with_error_message(words(outcome).map(StrBytes::from_static_str))
    });
    ReplicaElectionResult::default().with_topic(topic_name(&name)).with_partition_result(results.collect())
}

/// Kafka's words for an outcome.
fn words(outcome: ResponseError) -> Option<&'static str> {
    match outcome {
        ResponseError::ElectionNotNeeded => Some("Leader election not needed for topic partition."),
        ResponseError::UnknownTopicOrPartition => Some("This server does not host this topic-partition."),
        ResponseError::PreferredLeaderNotAvailable => Some("The preferred leader was not available."),
        ResponseError::EligibleLeadersNotAvailable => {
            Some("Eligible topic partition leaders are not available.")
        }
        _ => None,
    }
}

fn refuse_all(
    context: &RequestContext,
    request: &ElectLeadersRequest,
    code: ErrorCode,
    message: Option<StrBytes>,
) -> ElectLeadersResponse {
    context.count_error(code);
    let topics = request.topic_partitions.iter().flatten().map(|topic| {
        let refused = topic.partitions.iter().map(|id| {
            let result = PartitionResult::default().with_partition_id(*id).with_error_code(code.code());
            result.with_error_message(message.clone())
        });
        let result = ReplicaElectionResult::default().with_topic(topic.topic.clone());
        result.with_partition_result(refused.collect())
    });
    let response = ElectLeadersResponse::default().with_replica_election_results(topics.collect());
    if context.version() >= ERROR_SINCE { response.with_error_code(code.code()) } else { response }
}
