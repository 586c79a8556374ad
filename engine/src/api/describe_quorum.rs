//! DescribeQuorum (KIP-595, KIP-836, KIP-853): who leads the metadata quorum, and how far each voter is. A quorum of one: its
//! leader is the only voter. After Kafka's `KafkaRaftClient.handleDescribeQuorumRequest`.

use super::topics::topic_name;
use super::{RequestContext, text};
use crate::metadata::image::MetadataImage;
use crate::shard::calls::{ControlAnswer, ControlCall, QuorumFigures};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use kafka_protocol::protocol::StrBytes;

/// The only log that a quorum keeps: one partition.
const LOG_TOPIC: &str = "__cluster_metadata";
const LOG_PARTITION: i32 = 0;
/// First version that tells directories and listeners.
const NODES_SINCE: i16 = 2;

const UNKNOWN: &str = "This server does not host this topic-partition.";
const NOT_LEADER: &str = "For requests intended only for the leader, this error indicates that the broker is not the \
                          current leader. For requests intended for any replica, this error indicates that the broker is \
                          not a replica of the topic partition.";

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeQuorumRequest = context.decode(body)?;
    if !asks_for_the_log(&request.topics) {
        context.count_error(ErrorCode::UnknownTopicOrPartition);
        let topics = request.topics.iter().map(unknown).collect();
        return context.answer(&DescribeQuorumResponse::default().with_topics(topics));
    }
    let response = match context.shard.control(ControlCall::Quorum).await {
        ControlAnswer::Quorum(quorum) => describe(&context, quorum),
        _ => {
            context.count_error(ErrorCode::NotLeaderOrFollower);
            the_log(refused(LOG_PARTITION, ErrorCode::NotLeaderOrFollower, NOT_LEADER))
        }
    };
    context.answer(&response)
}

fn asks_for_the_log(topics: &[AskedTopic]) -> bool {
    let [topic] = topics else { return false };
    let [partition] = topic.partitions.as_slice() else { return false };
    topic.topic_name.as_str() == LOG_TOPIC && partition.partition_index == LOG_PARTITION
}

fn unknown(topic: &AskedTopic) -> TopicData {
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| refused(partition.partition_index, ErrorCode::UnknownTopicOrPartition, UNKNOWN));
    TopicData::default().with_topic_name(topic.topic_name.clone()).with_partitions(partitions.collect())
}

fn refused(partition: i32, code: ErrorCode, message: &'static str) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_error_code(code.code())
        .with_error_message(Some(StrBytes::from_static_str(message)))
}

fn the_log(partition: PartitionData) -> DescribeQuorumResponse {
    let topic = TopicData::default().with_topic_name(topic_name(LOG_TOPIC)).with_partitions(vec![partition]);
    DescribeQuorumResponse::default().with_topics(vec![topic])
}

fn describe(context: &RequestContext, quorum: QuorumFigures) -> DescribeQuorumResponse {
    let view = context.shard.view();
    let leader = BrokerId(quorum.leader);
    // The leader has always just fetched from itself.
    let now_ms = context.shard.rt.wall_ms();
    let mut voter = ReplicaState::default()
        .with_replica_id(leader)
        .with_log_end_offset(quorum.log_end.0)
        .with_last_fetch_timestamp(now_ms)
        .with_last_caught_up_timestamp(now_ms);
    let has_nodes = context.version() >= NODES_SINCE;
    if has_nodes {
        let directories = view.image.broker(quorum.leader).map_or(&[][..], |broker| &broker.log_dirs);
        voter.replica_directory_id = directories.first().copied().unwrap_or_default();
    }
    let partition = PartitionData::default()
        .with_partition_index(LOG_PARTITION)
        .with_leader_id(leader)
        .with_leader_epoch(quorum.epoch.0)
        .with_high_watermark(quorum.high_watermark.0)
        .with_current_voters(vec![voter]);
    let nodes = if has_nodes { vec![node(&view.image, leader)] } else { Vec::new() };
    the_log(partition).with_nodes(nodes)
}

/// Where the node is reached: it has no listener for controllers alone, its clients' are where it listens.
fn node(image: &MetadataImage, id: BrokerId) -> Node {
    let endpoints = image.broker(id.0).map_or(&[][..], |broker| &broker.endpoints);
    let listeners = endpoints.iter().map(|endpoint| {
        Listener::default()
            .with_name(text(endpoint.name.clone()))
            .with_host(text(endpoint.host.clone()))
            .with_port(endpoint.port)
    });
    Node::default().with_node_id(id).with_listeners(listeners.collect())
}
