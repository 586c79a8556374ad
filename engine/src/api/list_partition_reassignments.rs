//! ListPartitionReassignments (KIP-455): which replicas are on their way. Where one broker is the cluster, those that a folder of Kafka's
//! says have never arrived, or none. After Kafka's `ControllerApis.handleListPartitionReassignments`.

use super::RequestContext;
use super::topics::{broker_ids, topic_name};
use crate::metadata::image::{PartitionImage, TopicImage};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

pub(super) fn serve(context: &RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: ListPartitionReassignmentsRequest = context.decode(body)?;
    let image = &context.shard.view().image;
    let topics = match &request.topics {
        None => image.topics().filter_map(|topic| under_way(topic, topic.partitions.iter())).collect(),
        Some(topics) => {
            let named = topics.iter().filter_map(|asked| {
                let topic = image.topic(&asked.name)?;
                under_way(
                    topic,
                    asked.partition_indexes.iter().filter_map(|id| topic.partitions.get_key_value(id)),
                )
            });
            named.collect()
        }
    };
    let response = ListPartitionReassignmentsResponse::default().with_error_message(None);
    context.answer(&response.with_topics(topics))
}

/// Those of a topic's partitions whose replicas are on their way; `None` when there are none.
fn under_way<'a>(
    topic: &TopicImage,
    partitions: impl Iterator<Item = (&'a i32, &'a PartitionImage)>,
) -> Option<OngoingTopicReassignment> {
    let moving = partitions.filter(|(_, partition)| {
        !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty()
    });
    let described = moving.map(|(id, partition)| {
        OngoingPartitionReassignment::default()
            .with_partition_index(*id)
            .with_replicas(broker_ids(&partition.replicas))
            .with_adding_replicas(broker_ids(&partition.adding_replicas))
            .with_removing_replicas(broker_ids(&partition.removing_replicas))
    });
    let partitions: Vec<_> = described.collect();
    let answer = || OngoingTopicReassignment::default().with_name(topic_name(&topic.name));
    (!partitions.is_empty()).then(|| answer().with_partitions(partitions))
}
