//! What one record does to the image: the only code that changes one.
//!
//! A record is checked against the image first and refused whole, or applied whole. It knows nothing of offsets or
//! transactions; those are [`super::Replay`]'s. After the `replay` methods of Kafka's deltas.

use std::fmt;
use std::sync::Arc;

use hayate_storage::batch::ProducerId;
use uuid::Uuid;

use super::topic::unified;
use super::{
    BrokerEpoch, BrokerImage, ConfigKind, ConfigResource, ControllerImage, ImageDelta, MetadataImage, NodeId,
    OpaqueSection, PartitionImage, Position, TopicImage,
};
use crate::metadata::records::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord,
    OpaqueRecord, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord, TopicRecord,
};

/// Why a record does not fit the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The record stands at or before the last one, or is of an older epoch.
    OutOfOrder {
        /// The last one.
        last: Position,
        /// This one.
        at: Position,
    },
    /// A transaction of metadata is broken: how.
    Transaction(&'static str),
    /// The topic exists already, by name or id.
    TopicExists(String, Uuid),
    /// No topic has that id.
    NoSuchTopic(Uuid),
    /// No topic has that name.
    NoSuchTopicName(String),
    /// The topic has no such partition.
    NoSuchPartition(Uuid, i32),
    /// The directories are not one a replica.
    Directories(Uuid, i32),
    /// An epoch of the partition would pass the largest 32-bit number.
    EpochExhausted(Uuid, i32),
    /// The broker is not registered with that epoch.
    NoSuchBroker(NodeId, BrokerEpoch),
    /// The next producer id does not grow.
    ProducerIds {
        /// What it was.
        next: i64,
        /// What the record says.
        told: i64,
    },
    /// The named field holds a number that means nothing.
    FieldValue(&'static str, i64),
    /// A kind of record that Kafka 4.2 does not have.
    UnknownKind(u16),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfOrder { last, at } => write!(
                f,
                "the record at offset {} of epoch {} follows the one at offset {} of epoch {}",
                at.offset, at.epoch, last.offset, last.epoch
            ),
            Self::Transaction(how) => write!(f, "a transaction of metadata {how}"),
            Self::TopicExists(name, id) => write!(f, "topic {name} with id {id} exists already"),
            Self::NoSuchTopic(id) => write!(f, "there is no topic with id {id}"),
            Self::NoSuchTopicName(name) => write!(f, "there is no topic {name}"),
            Self::NoSuchPartition(id, partition) => write!(f, "topic {id} has no partition {partition}"),
            Self::Directories(id, partition) => {
                write!(f, "partition {partition} of topic {id} has not one directory a replica")
            }
            Self::EpochExhausted(id, partition) => {
                write!(f, "an epoch of partition {partition} of topic {id} is exhausted")
            }
            Self::NoSuchBroker(id, epoch) => write!(f, "broker {id} is not registered with epoch {epoch}"),
            Self::ProducerIds { next, told } => {
                write!(f, "the next producer id {told} is not above the last one {next}")
            }
            Self::FieldValue(field, value) => write!(f, "{value} is no {field}"),
            Self::UnknownKind(api_key) => write!(f, "records of kind {api_key} are newer than this program"),
        }
    }
}

impl std::error::Error for ApplyError {}

type Applied = Result<(), ApplyError>;

impl MetadataImage {
    /// The image that the records of a whole snapshot make up.
    pub(in crate::metadata) fn of_snapshot(
        cluster_id: &str,
        records: &[MetadataRecord],
        position: Position,
    ) -> Result<Self, ApplyError> {
        let mut image = Self::empty(cluster_id);
        let mut delta = ImageDelta::default();
        for record in records {
            image.apply(record, &mut delta)?;
        }
        image.position = position;
        Ok(image)
    }

    pub(super) fn apply(&mut self, record: &MetadataRecord, delta: &mut ImageDelta) -> Applied {
        match record {
            MetadataRecord::Topic(record) => self.create_topic(record, delta),
            MetadataRecord::RemoveTopic(record) => self.remove_topic(record.topic_id, delta),
            MetadataRecord::Partition(record) => self.set_partition(record, delta),
            MetadataRecord::PartitionChange(record) => self.change_partition(record, delta),
            MetadataRecord::ClearElr(record) => self.clear_elr(record, delta),
            MetadataRecord::Config(record) => self.set_config(record, delta),
            MetadataRecord::FeatureLevel(record) => self.set_feature(record, delta),
            MetadataRecord::ProducerIds(record) => self.take_producer_ids(record, delta),
            MetadataRecord::RegisterBroker(record) => {
                delta.brokers.insert(record.broker_id);
                let broker = Arc::new(BrokerImage::from_record(record));
                Arc::make_mut(&mut self.brokers).insert(record.broker_id, broker);
                Ok(())
            }
            MetadataRecord::UnregisterBroker(record) => {
                self.broker_of_epoch(record.broker_id, record.broker_epoch)?;
                delta.brokers.insert(record.broker_id);
                Arc::make_mut(&mut self.brokers).remove(&record.broker_id);
                Ok(())
            }
            MetadataRecord::FenceBroker(record) => {
                self.change_broker(record.broker_id, record.broker_epoch, delta, |broker| {
                    broker.fenced = true
                })
            }
            MetadataRecord::UnfenceBroker(record) => {
                self.change_broker(record.broker_id, record.broker_epoch, delta, |broker| {
                    broker.fenced = false
                })
            }
            MetadataRecord::BrokerRegistrationChange(record) => self.change_registration(record, delta),
            MetadataRecord::RegisterController(record) => {
                delta.controllers.insert(record.controller_id);
                let controller = Arc::new(ControllerImage::from_record(record));
                Arc::make_mut(&mut self.controllers).insert(record.controller_id, controller);
                Ok(())
            }
            MetadataRecord::Opaque(record) => self.keep(record, delta),
            MetadataRecord::NoOp(_)
            | MetadataRecord::ZkMigrationState(_)
            | MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_) => Ok(()),
        }
    }

    fn create_topic(&mut self, record: &TopicRecord, delta: &mut ImageDelta) -> Applied {
        let (name, id) = (record.name.as_str(), record.topic_id);
        if self.topic_ids.contains_key(name) || self.topics.contains_key(&id) {
            return Err(ApplyError::TopicExists(name.to_owned(), id));
        }
        let name: Arc<str> = name.into();
        if let Some(unified) = unified(&name) {
            Arc::make_mut(&mut self.colliding).entry(unified).or_default().insert(Arc::clone(&name));
        }
        Arc::make_mut(&mut self.topic_ids).insert(Arc::clone(&name), id);
        let topic = TopicImage { name, id, partitions: Default::default() };
        Arc::make_mut(&mut self.topics).insert(id, Arc::new(topic));
        delta.topic_created(id);
        Ok(())
    }

    /// The topic goes with all its partitions and configurations.
    fn remove_topic(&mut self, topic_id: Uuid, delta: &mut ImageDelta) -> Applied {
        if !self.topics.contains_key(&topic_id) {
            return Err(ApplyError::NoSuchTopic(topic_id));
        }
        let topic = Arc::make_mut(&mut self.topics).remove(&topic_id).expect("just seen");
        Arc::make_mut(&mut self.topic_ids).remove(&topic.name);
        self.forget_collision(&topic.name);
        let resource = ConfigResource::topic(&topic.name);
        if self.configs.contains_key(&resource) {
            Arc::make_mut(&mut self.configs).remove(&resource);
            delta.configs.insert(resource);
        }
        delta.topic_removed(topic);
        Ok(())
    }

    fn forget_collision(&mut self, name: &str) {
        let Some(unified) = unified(name) else { return };
        let colliding = Arc::make_mut(&mut self.colliding);
        let names = colliding.get_mut(&unified).expect("every such name is in here");
        names.remove(name);
        if names.is_empty() {
            colliding.remove(&unified);
        }
    }

    fn set_partition(&mut self, record: &PartitionRecord, delta: &mut ImageDelta) -> Applied {
        if record.partition_id < 0 {
            return Err(ApplyError::NoSuchPartition(record.topic_id, record.partition_id));
        }
        self.topic_of(record.topic_id)?;
        let partition = PartitionImage::from_record(record)?;
        self.put_partition(record.topic_id, record.partition_id, partition, delta);
        Ok(())
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord, delta: &mut ImageDelta) -> Applied {
        let (topic_id, id) = (record.topic_id, record.partition_id);
        let topic = self.topic_of(topic_id)?;
        let partition = topic.partitions.get(&id).ok_or(ApplyError::NoSuchPartition(topic_id, id))?;
        let partition = partition.merged(record)?;
        self.put_partition(topic_id, id, partition, delta);
        Ok(())
    }

    fn topic_of(&self, topic_id: Uuid) -> Result<&Arc<TopicImage>, ApplyError> {
        self.topics.get(&topic_id).ok_or(ApplyError::NoSuchTopic(topic_id))
    }

    fn put_partition(&mut self, topic_id: Uuid, id: i32, partition: PartitionImage, delta: &mut ImageDelta) {
        let topic = Arc::make_mut(&mut self.topics).get_mut(&topic_id).expect("the caller has seen it");
        Arc::make_mut(topic).partitions.insert(id, partition);
        delta.partition_changed(topic_id, id);
    }

    fn clear_elr(&mut self, record: &ClearElrRecord, delta: &mut ImageDelta) -> Applied {
        let topics: Vec<Uuid> = if record.topic_name.is_empty() {
            self.topics.keys().copied().collect()
        } else {
            let missing = || ApplyError::NoSuchTopicName(record.topic_name.clone());
            vec![self.topic_id(&record.topic_name).ok_or_else(missing)?]
        };
        let mut changes = Vec::new();
        for topic_id in topics {
            for (id, partition) in &self.topic_of(topic_id)?.partitions {
                if !partition.elr.is_empty() || !partition.last_known_elr.is_empty() {
                    changes.push(PartitionChangeRecord {
                        eligible_leader_replicas: Some(Vec::new()),
                        last_known_elr: Some(Vec::new()),
                        ..PartitionChangeRecord::of(topic_id, *id)
                    });
                }
            }
        }
        self.change_partitions(&changes, delta)
    }

    /// All or none.
    fn change_partitions(&mut self, changes: &[PartitionChangeRecord], delta: &mut ImageDelta) -> Applied {
        let (image, before) = (self.clone(), delta.clone());
        for change in changes {
            if let Err(error) = self.change_partition(change, delta) {
                (*self, *delta) = (image, before);
                return Err(error);
            }
        }
        Ok(())
    }

    fn set_config(&mut self, record: &ConfigRecord, delta: &mut ImageDelta) -> Applied {
        let kind = ConfigKind::from_number(record.resource_type)
            .ok_or(ApplyError::FieldValue("kind of configured resource", i64::from(record.resource_type)))?;
        let resource = ConfigResource { kind, name: record.resource_name.clone() };
        delta.configs.insert(resource.clone());
        let configs = Arc::make_mut(&mut self.configs);
        let of_resource = configs.entry(resource.clone()).or_default();
        match &record.value {
            Some(value) => drop(Arc::make_mut(of_resource).insert(record.name.clone(), value.clone())),
            None => drop(Arc::make_mut(of_resource).remove(&record.name)),
        }
        if of_resource.is_empty() {
            configs.remove(&resource);
        }
        Ok(())
    }

    fn set_feature(&mut self, record: &FeatureLevelRecord, delta: &mut ImageDelta) -> Applied {
        if record.feature_level < 0 {
            return Err(ApplyError::FieldValue("level of a feature", i64::from(record.feature_level)));
        }
        let features = Arc::make_mut(&mut self.features);
        match record.feature_level {
            0 => features.remove(&record.name),
            level => features.insert(record.name.clone(), level),
        };
        delta.features.insert(record.name.clone());
        Ok(())
    }

    fn take_producer_ids(&mut self, record: &ProducerIdsRecord, delta: &mut ImageDelta) -> Applied {
        let (next, told) = (self.next_producer_id().0, record.next_producer_id);
        if told < next || (told == next && self.has_producer_ids()) {
            return Err(ApplyError::ProducerIds { next, told });
        }
        self.next_producer_id = Some(ProducerId(told));
        delta.producer_ids = true;
        Ok(())
    }

    fn broker_of_epoch(&self, id: NodeId, epoch: i64) -> Result<&Arc<BrokerImage>, ApplyError> {
        let epoch = BrokerEpoch(epoch);
        let broker = self.brokers.get(&id).filter(|broker| broker.epoch == epoch);
        broker.ok_or(ApplyError::NoSuchBroker(id, epoch))
    }

    fn change_broker(
        &mut self,
        id: NodeId,
        epoch: i64,
        delta: &mut ImageDelta,
        change: impl FnOnce(&mut BrokerImage),
    ) -> Applied {
        let mut broker = Arc::clone(self.broker_of_epoch(id, epoch)?);
        change(Arc::make_mut(&mut broker));
        Arc::make_mut(&mut self.brokers).insert(id, broker);
        delta.brokers.insert(id);
        Ok(())
    }

    fn change_registration(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
        delta: &mut ImageDelta,
    ) -> Applied {
        let fenced = match record.fenced {
            -1 => Some(false),
            0 => None,
            1 => Some(true),
            other => return Err(ApplyError::FieldValue("change of a broker's fencing", i64::from(other))),
        };
        let shutdown = match record.in_controlled_shutdown {
            0 => false,
            1 => true,
            other => return Err(ApplyError::FieldValue("change of a broker's shutdown", i64::from(other))),
        };
        self.change_broker(record.broker_id, record.broker_epoch, delta, |broker| {
            broker.fenced = fenced.unwrap_or(broker.fenced);
            broker.in_controlled_shutdown |= shutdown;
            if !record.log_dirs.is_empty() {
                broker.log_dirs.clone_from(&record.log_dirs);
            }
        })
    }

    fn keep(&mut self, record: &OpaqueRecord, delta: &mut ImageDelta) -> Applied {
        let section = OpaqueSection::of(record.api_key).ok_or(ApplyError::UnknownKind(record.api_key))?;
        Arc::make_mut(&mut self.opaque).entry(section).or_default().push(record.clone());
        delta.opaque = true;
        Ok(())
    }
}
