//! Following the cluster's view: a shard opens, changes and deletes its partitions until they are what the view says.
//!
//! Idempotent: whatever views were skipped, the last one is what counts. A partition whose log cannot be made answers
//! error 56, and is tried again with the next view and at each retention check.

use super::admission::Admission;
use super::owner::Owner;
use super::settings;
use super::view::ClusterView;
use crate::broker::BrokerOptions;
use crate::metadata::image::{PartitionImage, TopicImage};
use crate::partition::{Partition, PartitionSettings};
use crate::placement::PartitionKey;
use hayate_rt::Rt;
use hayate_rt::notify::Lock;
use hayate_storage::batch::LeaderEpoch;
use hayate_storage::log::Log;
use hayate_storage::names::TopicPartition;
use hayate_storage::store::{LogSpec, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

/// Partitions that one step changes before others get their turn.
const STEP: usize = 256;

/// What a view says of one partition of this shard.
struct Wanted {
    key: PartitionKey,
    spec: LogSpec,
    leader_epoch: LeaderEpoch,
    settings: Rc<PartitionSettings>,
}

/// One shard's follower.
pub struct Follower {
    rt: Rt,
    owner: Rc<Owner>,
    store: Store,
    admission: Arc<Admission>,
    /// What this node's file says.
    options: Arc<BrokerOptions>,
    /// Held while a view is being applied.
    applying: Lock,
}

/// The logs of `view` that the owner's shard has, for opening its store; `statics` as of [`settings::defaults_in`].
pub fn log_specs(view: &ClusterView, owner: &Owner, statics: &PartitionSettings) -> Vec<LogSpec> {
    wanted(view, owner, statics).into_iter().map(|wanted| wanted.spec).collect()
}

fn wanted(view: &ClusterView, owner: &Owner, statics: &PartitionSettings) -> Vec<Wanted> {
    let defaults = Rc::new(settings::defaults_in(&view.image, view.node_id, statics));
    let mut settings_of: BTreeMap<Uuid, Rc<PartitionSettings>> = BTreeMap::new();
    let one = |(key, topic, image): (PartitionKey, &TopicImage, &PartitionImage)| {
        let partition = TopicPartition::new(topic.name.as_ref(), key.partition).ok()?;
        let work_out = || settings::settings_in(&view.image, &topic.name, &defaults);
        let settings = settings_of.entry(topic.id).or_insert_with(work_out).clone();
        let spec = LogSpec { partition, topic_id: *key.topic_id.as_bytes(), config: settings.log.clone() };
        Some(Wanted { key, spec, leader_epoch: image.leader_epoch, settings })
    };
    view.owned_by(owner.shard()).filter_map(one).collect()
}

impl Follower {
    /// Follows for `owner`, whose logs lie in `store`.
    pub fn new(
        rt: Rt,
        owner: Rc<Owner>,
        store: Store,
        admission: Arc<Admission>,
        options: Arc<BrokerOptions>,
    ) -> Follower {
        Follower { rt, owner, store, admission, options, applying: Lock::default() }
    }

    /// Makes the shard's partitions what `view` says, and serves it from then on.
    pub async fn apply(&self, view: &ClusterView) {
        let _applying = self.applying.acquire().await;
        if view.generation >= self.owner.view().generation {
            self.apply_alone(view).await;
        }
    }

    async fn apply_alone(&self, view: &ClusterView) {
        self.take_settings(view);
        self.delete_gone(view).await;
        let mut unopened = BTreeSet::new();
        for (count, wanted) in wanted(view, &self.owner, &self.options.topic_defaults).into_iter().enumerate()
        {
            if count % STEP == STEP - 1 {
                self.rt.yield_now().await;
            }
            let key = wanted.key;
            match self.owner.partition(key) {
                Some(partition) => update(&partition, &wanted),
                None if !self.open(wanted).await => drop(unopened.insert(key)),
                None => {}
            }
        }
        self.owner.set_view(view.clone(), unopened);
    }

    /// Goes by what is set for brokers, apart from topics' defaults.
    fn take_settings(&self, view: &ClusterView) {
        let (image, here, options) = (&view.image, view.node_id, &self.options);
        let limits = || settings::connection_limits_in(image, here, &options.connection_limits);
        self.admission.follow(view.generation, limits);
        let expiration = settings::producer_expiration_in(image, here, options.producer_expiration_ms);
        self.store.set_producer_expiration_ms(expiration);
    }

    /// Tries again what could not be opened.
    pub async fn retry(&self) {
        let _applying = self.applying.acquire().await;
        if self.owner.has_unopened() {
            let view = self.owner.view();
            self.apply_alone(&view).await;
        }
    }

    async fn delete_gone(&self, view: &ClusterView) {
        for partition in self.owner.partitions() {
            let key = partition.key();
            if view.placement.owner(key) == Some(self.owner.shard()) {
                continue;
            }
            self.owner.remove(key);
            let name = partition.log().partition().clone();
            if let Err(error) = self.store.delete_log(&name).await {
                tracing::error!(partition = %name, %error, "a deleted partition's folder could not be set aside");
            }
        }
    }

    /// Opens or makes a log and serves it; says whether that worked.
    async fn open(&self, wanted: Wanted) -> bool {
        let known = self.store.log(&wanted.spec.partition);
        let known = known.filter(|log| log.topic_id() == wanted.spec.topic_id);
        let log: Log = match known {
            Some(log) => log,
            None => {
                let name = wanted.spec.partition.clone();
                match self.store.create_log(wanted.spec).await {
                    Ok(log) => log,
                    Err(error) => {
                        tracing::error!(partition = %name, %error, "a partition's log could not be made");
                        return false;
                    }
                }
            }
        };
        self.owner.insert(Partition::new(wanted.key, log, wanted.leader_epoch, wanted.settings));
        true
    }
}

fn update(partition: &Partition, wanted: &Wanted) {
    partition.set_leader_epoch(wanted.leader_epoch);
    if *partition.settings() != *wanted.settings {
        partition.set_settings(wanted.settings.clone());
    }
}
