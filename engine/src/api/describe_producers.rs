//! DescribeProducers (KIP-664): who writes to partitions idempotently. After Kafka's
//! `KafkaApis.handleDescribeProducersRequest`; of a partition that is named again, one answer.

use super::RequestContext;
use super::topics::{ask_owners, topic_name};
use crate::partition::ActiveProducer;
use crate::shard::calls::PartitionCall;
use crate::shard::router::producers;
use crate::shard::view::ClusterView;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::names::validate_topic_name;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};

/// Kafka's words for error 3, which it sends along for a topic that it does not know.
const UNKNOWN_TOPIC: &str = "This server does not host this topic-partition.";

const INVALID_TOPIC: &str = "Topic name is invalid.";

type Asked<'a> = BTreeMap<&'a str, BTreeSet<i32>>;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeProducersRequest = context.decode(body)?;
    let mut asked = Asked::new();
    for topic in &request.topics {
        asked.entry(&topic.name).or_default().extend(&topic.partition_indexes);
    }
    let view = context.shard.view();
    let outcomes = ask(&context, &view, &asked).await;
    let mut outcomes = outcomes.into_iter();
    let mut topics = Vec::with_capacity(asked.len());
    for (name, partitions) in &asked {
        let message = topic_fault(&view, name).map(|(_, message)| StrBytes::from_static_str(message));
        let answers = partitions.iter().map(|index| {
            let outcome = outcomes.next().unwrap_or(Err(ErrorCode::UnknownServerError));
            answer(*index, outcome).with_error_message(message.clone())
        });
        let answers = answers.collect();
        topics.push(TopicResponse::default().with_name(topic_name(name)).with_partitions(answers));
    }
    context.answer(&DescribeProducersResponse::default().with_topics(topics))
}

/// What is wrong with a whole topic, and words for it. Those for a bad name are shorter than Kafka's, which repeat it, here once a
/// partition.
fn topic_fault(view: &ClusterView, name: &str) -> Option<(ErrorCode, &'static str)> {
    if validate_topic_name(name).is_err() {
        return Some((ErrorCode::InvalidTopicException, INVALID_TOPIC));
    }
    view.topic_by_name(name).err().map(|code| (code, UNKNOWN_TOPIC))
}

async fn ask(
    context: &RequestContext,
    view: &ClusterView,
    asked: &Asked<'_>,
) -> Vec<Result<Vec<ActiveProducer>, ErrorCode>> {
    let mut parts = Vec::new();
    for (name, partitions) in asked {
        let topic = match topic_fault(view, name) {
            Some((code, _)) => Err(code),
            None => view.topic_by_name(name),
        };
        for index in partitions {
            let route = topic.and_then(|topic| view.route(topic, *index));
            parts.push(route.map(|route| (route.shard, route.key)));
        }
    }
    ask_owners(context, parts, PartitionCall::Producers, producers).await
}

fn answer(partition: i32, outcome: Result<Vec<ActiveProducer>, ErrorCode>) -> PartitionResponse {
    let described = PartitionResponse::default().with_partition_index(partition);
    match outcome {
        Ok(producers) => described.with_active_producers(producers.iter().map(describe).collect()),
        Err(code) => described.with_error_code(code.code()),
    }
}

fn describe(producer: &ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id.0))
        .with_producer_epoch(i32::from(producer.epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.open_from.map_or(-1, |offset| offset.0))
}
