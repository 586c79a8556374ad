//! What every shard knows of the cluster at one moment: the metadata image and this node's placement, immutable.

use crate::metadata::image::{MetadataImage, NodeId, PartitionImage, TopicImage};
use crate::placement::{PartitionKey, Placement, ShardId};
use hayate_net::error::ErrorCode;
use std::sync::Arc;
use uuid::Uuid;

/// The image and the placement that goes with it.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// This node.
    pub node_id: NodeId,
    /// Grows with each view of this process.
    pub generation: u64,
    /// The cluster.
    pub image: Arc<MetadataImage>,
    /// Which shard owns which partition of this node.
    pub placement: Arc<Placement>,
}

/// Where to send a part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The shard.
    pub shard: ShardId,
    /// The partition.
    pub key: PartitionKey,
}

impl ClusterView {
    /// The shard that leads a partition of a topic.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopicOrPartition`] for a partition that does not exist, and
    /// [`ErrorCode::NotLeaderOrFollower`] for one that this node does not lead.
    pub fn route(&self, topic: &TopicImage, partition: i32) -> Result<Route, ErrorCode> {
        let image = topic.partitions.get(&partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let key = PartitionKey { topic_id: topic.id, partition };
        self.led_here(image, key).map(|shard| Route { shard, key }).ok_or(ErrorCode::NotLeaderOrFollower)
    }

    fn led_here(&self, image: &PartitionImage, key: PartitionKey) -> Option<ShardId> {
        if image.leader() == Some(self.node_id) { self.placement.owner(key) } else { None }
    }

    /// The partitions of this node that `shard` owns, with their topics.
    pub fn owned_by(
        &self,
        shard: ShardId,
    ) -> impl Iterator<Item = (PartitionKey, &TopicImage, &PartitionImage)> {
        let mine = self.placement.iter().filter(move |(_, owner)| *owner == shard);
        mine.filter_map(|(key, _)| {
            let topic = self.image.topic_by_id(&key.topic_id)?;
            Some((key, topic.as_ref(), topic.partitions.get(&key.partition)?))
        })
    }

    /// The topic of that id.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopicId`].
    pub fn topic_by_id(&self, id: &Uuid) -> Result<&Arc<TopicImage>, ErrorCode> {
        self.image.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId)
    }

    /// The topic of that name.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopicOrPartition`].
    pub fn topic_by_name(&self, name: &str) -> Result<&Arc<TopicImage>, ErrorCode> {
        self.image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}
