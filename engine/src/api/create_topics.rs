//! CreateTopics: the controller decides, and the answer waits until every shard serves the new partitions.

use super::describe_configs::{Described, Layers, describe_topic, source_number};
use super::topics::topic_name;
use super::{RequestContext, text};
use crate::metadata::controller::{
    Command, CreateTopicResult, CreateTopics, CreatedTopic, NewTopic, PartitionAssignment, Reply,
};
use crate::shard::calls::{ControlAnswer, ControlCall};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use uuid::Uuid;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: CreateTopicsRequest = context.decode(body)?;
    let topics: Vec<NewTopic> = request.topics.iter().map(|topic| new_topic(&context, topic)).collect();
    let command = Command::CreateTopics(CreateTopics { topics, validate_only: request.validate_only });
    let results = match context.shard.control(ControlCall::Command(command)).await {
        ControlAnswer::Replied(Reply::CreateTopics(results)) => {
            let view = context.shard.view();
            let layers = Layers::of(&view, &context.shard.options);
            results.into_iter().map(|result| describe(&layers, result)).collect()
        }
        _ => request.topics.iter().map(unavailable).collect(),
    };
    context.answer(&CreateTopicsResponse::default().with_topics(results))
}

/// Everything is copied: names in the request keep its frame alive.
fn new_topic(context: &RequestContext, topic: &CreatableTopic) -> NewTopic {
    let assignments = topic.assignments.iter().map(|assignment| PartitionAssignment {
        partition: assignment.partition_index,
        replicas: assignment.broker_ids.iter().map(|broker| broker.0).collect(),
    });
    let value = |value: &Option<kafka_protocol::protocol::StrBytes>| value.as_ref().map(ToString::to_string);
    let configs = topic.configs.iter().map(|config| (config.name.to_string(), value(&config.value)));
    NewTopic {
        name: topic.name.to_string(),
        topic_id: Uuid::from_bytes(context.shard.rt.uuid()),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs: configs.collect(),
        placement_seed: context.shard.rt.random_u64(),
    }
}

fn describe(layers: &Layers<'_>, result: CreateTopicResult) -> CreatableTopicResult {
    let described =
        CreatableTopicResult::default().with_name(topic_name(&result.name)).with_error_message(None);
    match result.outcome {
        Ok(created) => described
            .with_topic_id(created.topic_id)
            .with_num_partitions(created.num_partitions)
            .with_replication_factor(created.replication_factor)
            .with_configs(Some(configs(layers, &created))),
        Err(error) => {
            described.with_error_code(error.code.code()).with_error_message(error.message.map(text))
        }
    }
}

fn configs(layers: &Layers<'_>, created: &CreatedTopic) -> Vec<CreatableTopicConfigs> {
    let config = |config: Described<'_>| {
        CreatableTopicConfigs::default()
            .with_name(text(config.name))
            .with_value(config.value.map(text))
            .with_config_source(source_number(config.source))
    };
    describe_topic(Some(&created.configs), layers).into_iter().map(config).collect()
}

fn unavailable(topic: &CreatableTopic) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(ErrorCode::NotController.code())
}
