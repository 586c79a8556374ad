//! CreatePartitions: the controller decides, and the answer waits until every shard serves the new partitions.

use super::topics::topic_name;
use super::{RequestContext, text};
use crate::metadata::controller::{Command, CreatePartitions, CreatePartitionsResult, MorePartitions, Reply};
use crate::shard::calls::{ControlAnswer, ControlCall};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: CreatePartitionsRequest = context.decode(body)?;
    let topics = request.topics.iter().map(|topic| more_partitions(&context, topic)).collect();
    let command =
        Command::CreatePartitions(CreatePartitions { topics, validate_only: request.validate_only });
    let results = match context.shard.control(ControlCall::Command(command)).await {
        ControlAnswer::Replied(Reply::CreatePartitions(results)) => {
            results.into_iter().map(describe).collect()
        }
        _ => request.topics.iter().map(unavailable).collect(),
    };
    context.answer(&CreatePartitionsResponse::default().with_results(results))
}

/// Everything is copied: names in the request keep its frame alive.
fn more_partitions(context: &RequestContext, topic: &CreatePartitionsTopic) -> MorePartitions {
    let assignments = topic.assignments.as_ref().map(|assignments| {
        let replicas = assignments
            .iter()
            .map(|assignment| assignment.broker_ids.iter().map(|broker| broker.0).collect());
        replicas.collect()
    });
    MorePartitions {
        name: topic.name.to_string(),
        count: topic.count,
        assignments,
        placement_seed: context.shard.rt.random_u64(),
    }
}

fn describe(result: CreatePartitionsResult) -> CreatePartitionsTopicResult {
    let described =
        CreatePartitionsTopicResult::default().with_name(topic_name(&result.name)).with_error_message(None);
    match result.error {
        None => described,
        Some(error) => {
            described.with_error_code(error.code.code()).with_error_message(error.message.map(text))
        }
    }
}

fn unavailable(topic: &CreatePartitionsTopic) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(ErrorCode::NotController.code())
        .with_error_message(None)
}
