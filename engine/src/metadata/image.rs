//! The image: what the metadata log says up to some offset, immutable for whoever holds it as an `Arc`.
//!
//! [`Replay`] is the one way from one image to the next, for live commits and for a restart alike; [`ImageDelta`] says
//! what became different, so that shards act on that alone. It knows nothing of raft, of requests or of time. Sections
//! (topics, brokers, configurations …) are shared between images until they change, topics one by one; a section that
//! changes is copied once a published image, not once a record. After Kafka's `MetadataImage` and `MetadataDelta`.

mod apply;
mod config;
mod delta;
mod node;
mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hayate_storage::batch::{LeaderEpoch, Offset, ProducerId};
use uuid::Uuid;

use super::records::OpaqueRecord;

pub use apply::ApplyError;
pub use config::{ConfigKind, ConfigResource};
pub use delta::{ImageDelta, Replay};
pub use node::{BrokerEpoch, BrokerImage, ControllerImage};
pub use topic::{DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, PartitionEpoch, PartitionImage, TopicImage};

/// A node's number in the cluster, `node.id`: 0 or more.
pub type NodeId = i32;

/// The feature whose level says which records the log may hold (KIP-584, KIP-778).
pub const METADATA_VERSION: &str = "metadata.version";

/// Where in the metadata log a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its offset.
    pub offset: Offset,
    /// The epoch (raft: term) of the leader that wrote it.
    pub epoch: LeaderEpoch,
}

impl Position {
    /// Before the first record.
    pub const START: Self = Self { offset: Offset(-1), epoch: LeaderEpoch(0) };
}

/// The sections of a snapshot whose records we keep without interpreting them, in Kafka's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpaqueSection {
    /// Client quotas.
    Quotas,
    /// Access control.
    AccessControl,
    /// SCRAM credentials.
    Credentials,
    /// Delegation tokens.
    Tokens,
}

impl OpaqueSection {
    /// Where records of that kind belong; `None` for kinds that Kafka 4.2 does not have.
    #[must_use]
    pub fn of(api_key: u16) -> Option<Self> {
        match api_key {
            14 => Some(Self::Quotas),
            18 | 19 => Some(Self::AccessControl),
            11 | 22 => Some(Self::Credentials),
            10 | 26 => Some(Self::Tokens),
            _ => None,
        }
    }
}

/// The configurations of one resource: key to value.
pub type ConfigMap = BTreeMap<String, String>;

/// The cluster's metadata as of one position of the log. Cloning it is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataImage {
    cluster_id: Arc<str>,
    position: Position,
    features: Arc<BTreeMap<String, i16>>,
    brokers: Arc<BTreeMap<NodeId, Arc<BrokerImage>>>,
    controllers: Arc<BTreeMap<NodeId, Arc<ControllerImage>>>,
    topics: Arc<BTreeMap<Uuid, Arc<TopicImage>>>,
    topic_ids: Arc<BTreeMap<Arc<str>, Uuid>>,
    /// Names with `.` or `_`, by the name with every `.` made `_`: their metric names collide.
    colliding: Arc<BTreeMap<String, BTreeSet<Arc<str>>>>,
    configs: Arc<BTreeMap<ConfigResource, Arc<ConfigMap>>>,
    next_producer_id: Option<ProducerId>,
    opaque: Arc<BTreeMap<OpaqueSection, Vec<OpaqueRecord>>>,
    controller: Option<NodeId>,
}

impl MetadataImage {
    /// The image of an empty log.
    #[must_use]
    pub fn empty(cluster_id: &str) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            position: Position::START,
            features: Arc::default(),
            brokers: Arc::default(),
            controllers: Arc::default(),
            topics: Arc::default(),
            topic_ids: Arc::default(),
            colliding: Arc::default(),
            configs: Arc::default(),
            next_producer_id: None,
            opaque: Arc::default(),
            controller: None,
        }
    }

    /// The cluster's id: made once, outside the log.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The last record that the image accounts for.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The topic of that name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.topic_ids.get(name)?)
    }

    /// The topic of that id.
    #[must_use]
    pub fn topic_by_id(&self, topic_id: &Uuid) -> Option<&Arc<TopicImage>> {
        self.topics.get(topic_id)
    }

    /// Are its topics the very ones of another image? Told by where they lie, so that equal ones may count as others.
    #[must_use]
    pub fn has_topics_of(&self, other: &MetadataImage) -> bool {
        Arc::ptr_eq(&self.topics, &other.topics)
    }

    /// The topic of that name has this id.
    #[must_use]
    pub fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.topic_ids.get(name).copied()
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topic_ids.values().filter_map(|topic_id| self.topics.get(topic_id))
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// A partition, by its topic's id.
    #[must_use]
    pub fn partition(&self, topic_id: &Uuid, partition: i32) -> Option<&PartitionImage> {
        self.topics.get(topic_id)?.partitions.get(&partition)
    }

    /// A topic whose name is the same as `name` once `.` counts as `_`, if `name` has either of them.
    #[must_use]
    pub fn colliding_topic(&self, name: &str) -> Option<&str> {
        let names = self.colliding.get(&topic::unified(name)?)?;
        names.first().map(AsRef::as_ref)
    }

    /// The broker of that node id.
    #[must_use]
    pub fn broker(&self, id: NodeId) -> Option<&Arc<BrokerImage>> {
        self.brokers.get(&id)
    }

    /// All registered brokers, by node id.
    pub fn brokers(&self) -> impl Iterator<Item = (NodeId, &Arc<BrokerImage>)> {
        self.brokers.iter().map(|(id, broker)| (*id, broker))
    }

    /// All registered controllers, by node id.
    pub fn controllers(&self) -> impl Iterator<Item = (NodeId, &Arc<ControllerImage>)> {
        self.controllers.iter().map(|(id, controller)| (*id, controller))
    }

    /// The finalized level of a feature; 0 when it is off.
    #[must_use]
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The finalized features, by name; levels are above 0.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// What is set for a resource, without defaults; `None` when nothing is.
    #[must_use]
    pub fn config(&self, resource: &ConfigResource) -> Option<&Arc<ConfigMap>> {
        self.configs.get(resource)
    }

    /// Everything that is set, by resource.
    pub fn configs(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<ConfigMap>)> {
        self.configs.iter()
    }

    /// The first producer id of the next block; 0 when none was ever handed out.
    #[must_use]
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id.unwrap_or(ProducerId(0))
    }

    /// Whether a block of producer ids was ever handed out.
    #[must_use]
    pub fn has_producer_ids(&self) -> bool {
        self.next_producer_id.is_some()
    }

    /// The records of a section that are kept without being interpreted, in the order they came.
    #[must_use]
    pub fn opaque(&self, section: OpaqueSection) -> &[OpaqueRecord] {
        self.opaque.get(&section).map_or(&[], Vec::as_slice)
    }

    /// The active controller as far as this node knows: the quorum's leader, which no record tells.
    #[must_use]
    pub fn controller(&self) -> Option<NodeId> {
        self.controller
    }
}

#[cfg(test)]
pub(crate) mod tests;
