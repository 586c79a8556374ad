//! From one image to the next: what changed, and the replay that finds it out.
//!
//! It knows the order of the log and its transactions of metadata (KIP-868); what a single record does is
//! [`super::apply`]'s. After Kafka's `MetadataDelta` and `MetadataBatchLoader`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::{ApplyError, ConfigResource, MetadataImage, NodeId, Position, TopicImage};
use crate::metadata::records::MetadataRecord;

/// What differs between two images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDelta {
    /// Topics that are new; they stand in the later image with all their partitions.
    pub created: BTreeSet<Uuid>,
    /// Topics of both images, and which of their partitions are new or different.
    pub changed: BTreeMap<Uuid, BTreeSet<i32>>,
    /// Topics of the earlier image alone, as they were last.
    pub removed: BTreeMap<Uuid, Arc<TopicImage>>,
    /// Resources with a configuration set or deleted.
    pub configs: BTreeSet<ConfigResource>,
    /// Brokers that came, went or changed.
    pub brokers: BTreeSet<NodeId>,
    /// Controllers that came or changed.
    pub controllers: BTreeSet<NodeId>,
    /// Features with another level.
    pub features: BTreeSet<String>,
    /// Whether a block of producer ids was handed out.
    pub producer_ids: bool,
    /// Whether a record came that is kept without being interpreted.
    pub opaque: bool,
}

impl ImageDelta {
    /// Whether nothing differs but the position.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn topic_created(&mut self, topic_id: Uuid) {
        self.created.insert(topic_id);
    }

    pub(super) fn topic_removed(&mut self, topic: Arc<TopicImage>) {
        self.changed.remove(&topic.id);
        if !self.created.remove(&topic.id) {
            self.removed.insert(topic.id, topic);
        }
    }

    pub(super) fn partition_changed(&mut self, topic_id: Uuid, partition: i32) {
        if !self.created.contains(&topic_id) {
            self.changed.entry(topic_id).or_default().insert(partition);
        }
    }
}

/// Applies the log's records in order and hands out images between which no transaction is cut.
#[derive(Debug)]
pub struct Replay {
    image: MetadataImage,
    delta: ImageDelta,
    /// What stands if the open transaction is aborted.
    before_transaction: Option<Box<(MetadataImage, ImageDelta)>>,
}

impl Replay {
    /// Goes on from `image`.
    #[must_use]
    pub fn new(image: MetadataImage) -> Self {
        Self { image, delta: ImageDelta::default(), before_transaction: None }
    }

    /// The image with everything applied so far, an open transaction included.
    #[must_use]
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Applies the record at `at`.
    ///
    /// # Errors
    /// A record that does not fit what came before: the log is damaged or newer than this program. Nothing is changed
    /// then, and the caller must not go on as if the record were applied.
    pub fn apply(&mut self, record: &MetadataRecord, at: Position) -> Result<(), ApplyError> {
        self.check_order(at)?;
        match record {
            MetadataRecord::BeginTransaction(_) => self.begin()?,
            MetadataRecord::EndTransaction(_) => drop(self.take_transaction()?),
            MetadataRecord::AbortTransaction(_) => (self.image, self.delta) = *self.take_transaction()?,
            record => self.image.apply(record, &mut self.delta)?,
        }
        self.image.position = at;
        Ok(())
    }

    /// Accounts for a control record at `at`, which changes nothing.
    ///
    /// # Errors
    /// A position at or before the last one.
    pub fn skip(&mut self, at: Position) -> Result<(), ApplyError> {
        self.check_order(at)?;
        self.image.position = at;
        Ok(())
    }

    /// Notes who leads the quorum, which no record tells.
    pub fn set_controller(&mut self, controller: Option<NodeId>) {
        self.image.controller = controller;
    }

    /// The image and what differs from the last one taken; `None` while a transaction is open.
    pub fn take(&mut self) -> Option<(Arc<MetadataImage>, ImageDelta)> {
        if self.before_transaction.is_some() {
            return None;
        }
        Some((Arc::new(self.image.clone()), std::mem::take(&mut self.delta)))
    }

    fn check_order(&self, at: Position) -> Result<(), ApplyError> {
        let last = self.image.position;
        if at.offset <= last.offset || at.epoch < last.epoch {
            return Err(ApplyError::OutOfOrder { last, at });
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), ApplyError> {
        if self.before_transaction.is_some() {
            return Err(ApplyError::Transaction("begins in another"));
        }
        self.before_transaction = Some(Box::new((self.image.clone(), self.delta.clone())));
        Ok(())
    }

    fn take_transaction(&mut self) -> Result<Box<(MetadataImage, ImageDelta)>, ApplyError> {
        self.before_transaction.take().ok_or(ApplyError::Transaction("ends without having begun"))
    }
}
