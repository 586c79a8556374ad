//! What a topic is set to: the one place where the broker's file, what is set for brokers while they run, and the topic's own
//! configurations come together. Worked out once for each view, for requests that are judged on the shard of their
//! connection, which may not own the partition.

use super::view::ClusterView;
use crate::config::connections::ConnectionLimits;
use crate::config::dynamic;
use crate::metadata::image::{ConfigMap, ConfigResource, MetadataImage, NodeId, TopicImage};
use crate::partition::{PartitionSettings, topic_config};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use uuid::Uuid;

/// What topics of this node have that set nothing themselves: `statics`, which its file says, under what is set for all
/// brokers, under what is set for this one.
pub fn defaults_in(image: &MetadataImage, here: NodeId, statics: &PartitionSettings) -> PartitionSettings {
    dynamic::topic_defaults(statics, layers_in(image, here))
}

/// What is set while they run for all brokers, and over it for this one.
fn layers_in(image: &MetadataImage, here: NodeId) -> impl Iterator<Item = &ConfigMap> {
    let layers = [ConfigResource::default_broker(), ConfigResource::broker(here)];
    layers.into_iter().filter_map(|resource| image.config(&resource).map(AsRef::as_ref))
}

/// How many connections this node takes: `statics`, which its file says, under what is set while it runs.
pub fn connection_limits_in(
    image: &MetadataImage,
    here: NodeId,
    statics: &ConnectionLimits,
) -> ConnectionLimits {
    dynamic::connection_limits(statics, layers_in(image, here))
}

/// How long this node remembers idle producers, in milliseconds: `statics`, which its file says, under what is set while it
/// runs.
pub fn producer_expiration_in(image: &MetadataImage, here: NodeId, statics: i64) -> i64 {
    dynamic::producer_expiration_ms(statics, layers_in(image, here))
}

/// What the topic of that name has over `defaults`.
pub fn settings_in(
    image: &MetadataImage,
    topic: &str,
    defaults: &Rc<PartitionSettings>,
) -> Rc<PartitionSettings> {
    match image.config(&ConfigResource::topic(topic)) {
        Some(configs) => Rc::new(topic_config::settings_as_far_as_known(configs, defaults)),
        None => defaults.clone(),
    }
}

/// One shard's topics' settings.
pub struct TopicSettings {
    /// What the broker's file says.
    statics: PartitionSettings,
    /// Of the view that `defaults` and `known` are from.
    generation: Cell<u64>,
    defaults: RefCell<Rc<PartitionSettings>>,
    known: RefCell<BTreeMap<Uuid, Rc<PartitionSettings>>>,
}

impl TopicSettings {
    /// Nothing is known yet; topics that set nothing have `statics`, if nothing is set for the broker either.
    pub fn new(statics: PartitionSettings) -> TopicSettings {
        let defaults = RefCell::new(Rc::new(statics.clone()));
        TopicSettings { statics, generation: Cell::new(0), defaults, known: RefCell::default() }
    }

    /// The settings of `topic` in `view`.
    pub fn of(&self, view: &ClusterView, topic: &TopicImage) -> Rc<PartitionSettings> {
        if self.generation.replace(view.generation) != view.generation {
            self.known.borrow_mut().clear();
            *self.defaults.borrow_mut() = Rc::new(defaults_in(&view.image, view.node_id, &self.statics));
        }
        let mut known = self.known.borrow_mut();
        let work_out = || settings_in(&view.image, &topic.name, &self.defaults.borrow());
        known.entry(topic.id).or_insert_with(work_out).clone()
    }
}
