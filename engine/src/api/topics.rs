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
