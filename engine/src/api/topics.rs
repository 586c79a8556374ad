//! How requests name topics, where their partitions are, and how these are asked.

use super::RequestContext;
pub(super) use crate::coordinator::topics::INTERNAL_TOPICS;
use crate::metadata::image::{PartitionImage, TopicImage};
use crate::placement::ShardId;
use crate::shard::calls::{Outcomes, PartitionAnswer, PartitionCall};
use crate::shard::router::Grouped;
use crate::shard::view::ClusterView;
use hayate_net::error::ErrorCode;
use hayate_net::wire::topic::TopicRef;
use kafka_protocol::messages::{BrokerId, TopicName};
use std::sync::Arc;

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

/// Broker ids for a response.
pub(super) fn broker_ids(nodes: &[i32]) -> Vec<BrokerId> {
    nodes.iter().copied().map(BrokerId).collect()
}

/// The replicas of a partition whose broker does not serve.
pub(super) fn offline_replicas(view: &ClusterView, partition: &PartitionImage) -> Vec<BrokerId> {
    let is_offline = |node: &i32| !view.image.broker(*node).is_some_and(|broker| broker.is_active());
    partition.replicas.iter().copied().filter(is_offline).map(BrokerId).collect()
}

/// Asks the owners of a request's parts; what is refused already is asked of nobody. One outcome a part, in their order.
pub(super) async fn ask_owners<P, T>(
    context: &RequestContext,
    parts: Outcomes<(ShardId, P)>,
    call: impl FnMut(Vec<P>) -> PartitionCall,
    take: impl Fn(PartitionAnswer) -> Outcomes<T>,
) -> Outcomes<T> {
    let mut groups = Grouped::new(parts.len());
    let mut refused = Vec::with_capacity(parts.len());
    for (place, part) in parts.into_iter().enumerate() {
        refused.push(match part {
            Ok((shard, part)) => {
                groups.push(shard, place, part);
                ErrorCode::UnknownServerError
            }
            Err(code) => code,
        });
    }
    let answered = groups.dispatch(&context.shard.router, call).await.collect(take).await;
    let settle =
        |(refused, answered): (ErrorCode, Option<Result<T, ErrorCode>>)| answered.unwrap_or(Err(refused));
    let outcomes: Outcomes<T> = refused.into_iter().zip(answered).map(settle).collect();
    outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).for_each(|code| context.count_error(*code));
    outcomes
}
