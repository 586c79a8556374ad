//! How requests name topics, and where their partitions are.

use crate::metadata::image::TopicImage;
use crate::shard::view::ClusterView;
use hayate_net::error::ErrorCode;
use hayate_net::wire::topic::TopicRef;
use kafka_protocol::messages::TopicName;
use std::sync::Arc;

/// Kafka's own topics, which clients see marked as internal.
pub(super) const INTERNAL_TOPICS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// What a client may do with a topic, as Kafka tells it where nothing is forbidden: bit n stands for operation n of Kafka's
/// `AclOperation` (KIP-430). Read, write, create, delete, alter, describe, describe and alter configurations.
pub(super) const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// The same for the cluster: create, alter, describe, act as a broker, describe and alter configurations, write idempotently.
pub(super) const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// The topic that a produce or fetch body names.
pub(super) fn find<'a>(view: &'a ClusterView, topic: &TopicRef) -> Result<&'a Arc<TopicImage>, ErrorCode> {
    match topic {
        TopicRef::Name(name) => view.topic_by_name(name),
        TopicRef::Id(id) => view.topic_by_id(id),
    }
}

/// A name of ours for a response.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(super::text(name))
}
