//! The settings of topics as the view says them, worked out once for each view: for requests that are judged on the shard of their
//! connection, which may not own the partition.

use super::view::ClusterView;
use crate::metadata::image::{ConfigResource, TopicImage};
use crate::partition::{PartitionSettings, topic_config};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use uuid::Uuid;

/// One shard's topics' settings.
pub struct TopicSettings {
    defaults: Rc<PartitionSettings>,
    /// Of the view that `known` is from.
    generation: Cell<u64>,
    known: RefCell<BTreeMap<Uuid, Rc<PartitionSettings>>>,
}

impl TopicSettings {
    /// Nothing is known yet; topics that set nothing have `defaults`.
    pub fn new(defaults: PartitionSettings) -> TopicSettings {
        TopicSettings { defaults: Rc::new(defaults), generation: Cell::new(0), known: RefCell::default() }
    }

    /// The settings of `topic` in `view`.
    pub fn of(&self, view: &ClusterView, topic: &TopicImage) -> Rc<PartitionSettings> {
        if self.generation.replace(view.generation) != view.generation {
            self.known.borrow_mut().clear();
        }
        let mut known = self.known.borrow_mut();
        known.entry(topic.id).or_insert_with(|| self.work_out(view, topic)).clone()
    }

    fn work_out(&self, view: &ClusterView, topic: &TopicImage) -> Rc<PartitionSettings> {
        match view.image.config(&ConfigResource::topic(&topic.name)) {
            Some(configs) => Rc::new(topic_config::settings_as_far_as_known(configs, &self.defaults)),
            None => self.defaults.clone(),
        }
    }
}
