//! The controller's service on shard 0: commands become records, records go through the quorum's log, what is committed is
//! published to every shard, and only then is the command answered.
//!
//! Commands that arrive while the log is being written are decided together and share its next write. Here is the only
//! place that connects the pure parts (controller, quorum, replay, placement) with disk and mailboxes. A metadata log
//! that cannot be written ends the service: the broker serves what it has, and says so.

mod snapshots;

use super::metadata_log::MetadataLog;
use super::{BrokerOptions, StartError};
use crate::config::dynamic;
use crate::coordinator::group;
use crate::metadata::controller::{ApiError, Command, Controller, Reply, Rules};
use crate::metadata::image::{
    BrokerEpoch, ConfigKind, ConfigMap, ConfigResource, ImageDelta, MetadataImage, Position, Replay,
};
use crate::metadata::quorum::{LogEntry, ProposeError, Quorum};
use crate::metadata::records::MetadataRecord;
use crate::partition::{PartitionSettings, topic_config};
use crate::placement::{FILE_NAME, PartitionKey, Placement};
use crate::shard::Shard;
use crate::shard::calls::{ControlAnswer, ControlCall, PartitionCall, QuorumFigures};
use crate::shard::settings::defaults_in;
use crate::shard::view::ClusterView;
use crate::telemetry;
use hayate_rt::mailbox::{Call, Inbox, Publisher};
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::{LeaderEpoch, Offset};
use hayate_storage::disk::Disk;
use hayate_storage::store::Store;
use kafka_protocol::ResponseError;
use snapshots::SnapshotSchedule;
use std::rc::Rc;
use std::sync::Arc;

/// Commands that are decided together at most.
const COMMANDS_MAX: usize = 256;

/// Everything that the service needs and has.
pub(super) struct ControllerService {
    rt: Rt,
    disk: Disk,
    options: Arc<BrokerOptions>,
    quorum: Quorum,
    log: MetadataLog,
    replay: Replay,
    /// Absent until the entry that opens this node's leadership is committed.
    controller: Option<Controller>,
    placement: Placement,
    generation: u64,
    views: Arc<Publisher<ClusterView>>,
    broker_epoch: BrokerEpoch,
    schedule: SnapshotSchedule,
}

/// A command that was decided, and its answer once the records are committed; `None` when it could not be proposed.
type Decided = Option<Reply>;

impl ControllerService {
    /// The service over a loaded quorum, whose entries go on from `image`. None of them is committed or published yet.
    pub(super) fn new(
        rt: Rt,
        disk: Disk,
        options: Arc<BrokerOptions>,
        quorum: Quorum,
        log: MetadataLog,
        image: MetadataImage,
        views: Arc<Publisher<ClusterView>>,
    ) -> ControllerService {
        let schedule = SnapshotSchedule::new(&options, rt.now());
        ControllerService {
            rt,
            disk,
            options,
            quorum,
            log,
            replay: Replay::new(image),
            controller: None,
            placement: Placement::new(1),
            generation: 0,
            views,
            broker_epoch: BrokerEpoch(-1),
            schedule,
        }
    }

    /// The store of the metadata log.
    pub(super) fn metadata_store(&self) -> Store {
        self.log.store().clone()
    }

    /// The image as far as it is committed.
    pub(super) fn image(&self) -> &MetadataImage {
        self.replay.image()
    }

    /// Which registration this broker acts under.
    pub(super) fn set_broker_epoch(&mut self, epoch: BrokerEpoch) {
        self.broker_epoch = epoch;
    }

    /// Decides on commands, and makes what they change durable and committed.
    ///
    /// # Errors
    /// [`StartError`] when the log cannot be written or its content does not fit: the service must end.
    pub(super) async fn execute(&mut self, commands: &[Command]) -> Result<Vec<Decided>, StartError> {
        let mut decided = Vec::with_capacity(commands.len());
        for command in commands {
            decided.push(self.propose(command));
            if decided.last().is_some_and(Option::is_none) {
                // What this command changed in the controller's image never came to be.
                self.settle().await?;
                self.controller = Some(Controller::new(self.image().clone(), self.quorum.epoch()));
            }
        }
        self.settle().await?;
        Ok(decided)
    }

    fn propose(&mut self, command: &Command) -> Decided {
        let options = self.options.clone();
        let controller = self.controller.as_mut()?;
        let defaults = defaults_in(controller.image(), options.node_id, &options.topic_defaults);
        let check = |resource: &ConfigResource, configs: &ConfigMap| {
            check_configs(&options, &defaults, resource, configs)
        };
        let rules = Rules {
            num_partitions: options.num_partitions,
            default_replication_factor: options.default_replication_factor,
            delete_topic_enable: options.delete_topic_enable,
            check_configs: &check,
            list_default: &list_default,
        };
        let decision = controller.handle(command, &rules);
        for records in decision.entries().filter(|records| !records.is_empty()) {
            if let Err(error) = self.quorum.propose(records) {
                log_refused(&error);
                return None;
            }
        }
        Some(decision.reply)
    }

    /// Writes, commits and applies until nothing is left to do.
    pub(super) async fn settle(&mut self) -> Result<(), StartError> {
        while let Some(ready) = self.quorum.ready() {
            for entry in &ready.committed {
                self.apply(entry)?;
            }
            self.log.persist(ready.hard_state, &ready.append).await?;
            self.quorum.advance(ready.number);
        }
        Ok(())
    }

    fn apply(&mut self, entry: &LogEntry) -> Result<(), StartError> {
        let at = |offset: Offset| Position { offset, epoch: entry.epoch };
        for (number, value) in (0..).zip(&entry.records) {
            let record = MetadataRecord::decode(value)?;
            self.replay.apply(&record, at(entry.base_offset.plus(number)))?;
        }
        if entry.opens_epoch() {
            self.replay.skip(at(entry.base_offset))?;
            self.take_lead(entry.epoch);
        }
        self.log.set_committed(entry.last_offset().next());
        Ok(())
    }

    /// The entry that opens an epoch is committed: if it is this node's, the controller may decide.
    fn take_lead(&mut self, epoch: LeaderEpoch) {
        let leads = self.quorum.is_leader() && self.quorum.epoch() == epoch;
        self.replay.set_controller(self.quorum.leader());
        self.controller = leads.then(|| Controller::new(self.image().clone(), epoch));
    }

    /// Starts from the placement of the last run, over this run's shards.
    pub(super) async fn begin_placement(
        &mut self,
        last: Option<Placement>,
        shards: u16,
    ) -> Result<(), StartError> {
        let mut placement = match last {
            Some(last) if last.shards() == shards => last,
            Some(last) => last.resized(shards),
            None => Placement::new(shards),
        };
        let here = self.options.node_id;
        let hosted = self.image().topics().flat_map(|topic| {
            let mine = topic.partitions.iter().filter(move |(_, image)| image.replicas.contains(&here));
            mine.map(|(number, _)| PartitionKey { topic_id: topic.id, partition: *number })
        });
        let hosted = hosted.collect();
        placement.reconcile(&hosted);
        self.placement = placement;
        self.store_placement().await
    }

    async fn store_placement(&self) -> Result<(), StartError> {
        let path = self.options.data_dir.join(FILE_NAME);
        let stored = self.disk.replace_small(&path, self.placement.render().as_bytes()).await;
        match stored {
            // It costs the next start a new assignment, nothing else.
            Err(error) if error.is_no_space() => tracing::warn!(%error, "the placement was not written"),
            outcome => outcome?,
        }
        Ok(())
    }

    /// Hands what is committed to every shard; returns the view's generation.
    pub(super) async fn publish(&mut self) -> Result<u64, StartError> {
        let Some((image, delta)) = self.replay.take() else { return Ok(self.generation) };
        if self.place(&image, &delta) {
            self.store_placement().await?;
        }
        self.generation += 1;
        let view = ClusterView {
            node_id: self.options.node_id,
            generation: self.generation,
            image,
            placement: Arc::new(self.placement.clone()),
        };
        self.views.publish(Arc::new(view));
        Ok(self.generation)
    }

    /// Places what is new and forgets what is gone; says whether anything moved.
    fn place(&mut self, image: &MetadataImage, delta: &ImageDelta) -> bool {
        let mut moved = false;
        for topic in delta.removed.values() {
            for partition in topic.partitions.keys() {
                self.placement.remove(PartitionKey { topic_id: topic.id, partition: *partition });
                moved = true;
            }
        }
        let changed = delta.created.iter().chain(delta.changed.keys());
        for topic in changed.filter_map(|topic_id| image.topic_by_id(topic_id)) {
            for (partition, described) in &topic.partitions {
                let key = PartitionKey { topic_id: topic.id, partition: *partition };
                let here = described.replicas.contains(&self.options.node_id);
                if here && self.placement.owner(key).is_none() {
                    self.placement.assign(key);
                    moved = true;
                }
            }
        }
        moved
    }

    /// Serves the calls of all shards. Awaits its inbox and its disk; what waits for other shards does so in a task.
    pub(super) async fn serve(mut self, shard: Rc<Shard>, inbox: Inbox<ControlCall, ControlAnswer>) {
        while let Ok(first) = self.next_call(&inbox).await {
            let mut calls = vec![first];
            while calls.len() < COMMANDS_MAX
                && let Some(call) = inbox.try_recv()
            {
                calls.push(call);
            }
            if let Err(error) = self.serve_together(&shard, calls).await {
                tracing::error!(%error, "the controller stops: metadata can no longer be changed; restart the broker");
                return;
            }
        }
    }

    async fn serve_together(
        &mut self,
        shard: &Rc<Shard>,
        calls: Vec<Call<ControlCall, ControlAnswer>>,
    ) -> Result<(), StartError> {
        let commands: Vec<Command> = calls.iter().filter_map(|call| self.command(&call.request)).collect();
        let mut decided = self.execute(&commands).await?.into_iter();
        let generation = self.publish().await?;
        let quorum = self.quorum_figures();
        let answers: Vec<ControlAnswer> = calls
            .iter()
            .map(|call| match call.request {
                ControlCall::Quorum => quorum.map_or(ControlAnswer::Unavailable, ControlAnswer::Quorum),
                ControlCall::Command(_) | ControlCall::ProducerIds => answer(decided.next().flatten()),
            })
            .collect();
        let shard = shard.clone();
        let answering = async move {
            for number in 0..shard.router.shards() {
                let to = crate::placement::ShardId(number as u16);
                shard.router.call(to, PartitionCall::Follow(generation)).await;
            }
            for (call, answer) in calls.into_iter().zip(answers) {
                call.reply.send(answer);
            }
        };
        self.rt.spawn(Queue::Coordination, answering).detach();
        Ok(())
    }

    /// What there is to decide about a call.
    fn command(&self, call: &ControlCall) -> Option<Command> {
        match call {
            ControlCall::Command(command) => Some(command.clone()),
            ControlCall::ProducerIds => Some(Command::AllocateProducerIds {
                broker_id: self.options.node_id,
                broker_epoch: self.broker_epoch,
            }),
            ControlCall::Quorum => None,
        }
    }

    /// The quorum as its leader sees it; `None` when this node does not lead.
    fn quorum_figures(&self) -> Option<QuorumFigures> {
        self.quorum.is_leader().then(|| QuorumFigures {
            leader: self.quorum.id(),
            epoch: self.quorum.epoch(),
            high_watermark: self.image().position().offset.next(),
            log_end: self.quorum.last_offset().next(),
        })
    }
}

fn answer(reply: Decided) -> ControlAnswer {
    match reply {
        Some(Reply::AllocateProducerIds(Ok(first))) => ControlAnswer::ProducerIds(first),
        Some(Reply::AllocateProducerIds(Err(error))) => {
            tracing::error!(%error, "no producer ids");
            ControlAnswer::Unavailable
        }
        Some(reply) => ControlAnswer::Replied(reply),
        None => ControlAnswer::Unavailable,
    }
}

fn log_refused(error: &ProposeError) {
    tracing::warn!(%error, "a command was not proposed");
}

/// Whether a topic may have these configurations over `defaults`, or another resource.
fn check_configs(
    options: &BrokerOptions,
    defaults: &PartitionSettings,
    resource: &ConfigResource,
    configs: &ConfigMap,
) -> Result<(), ApiError> {
    match resource.kind {
        ConfigKind::Topic => topic_config::settings_of(configs, defaults)
            .map(|_| ())
            .map_err(|error| ApiError::new(ResponseError::InvalidConfig, error.to_string())),
        ConfigKind::Broker => dynamic::check(configs, !resource.name.is_empty(), &options.connection_limits)
            .map_err(|message| ApiError::new(ResponseError::InvalidRequest, message)),
        ConfigKind::ClientMetrics => telemetry::check(&resource.name, configs),
        ConfigKind::Group if resource.name.is_empty() => {
            let message = "Default group resources are not allowed.";
            Err(ApiError::new(ResponseError::InvalidRequest, message))
        }
        ConfigKind::Group => group::configs::check(configs, &options.groups),
        ConfigKind::BrokerLogger => {
            let message = format!("Unknown resource type {}", resource.kind.number());
            Err(ApiError::new(ResponseError::InvalidRequest, message))
        }
    }
}

fn list_default(kind: ConfigKind, name: &str) -> Option<String> {
    match kind {
        ConfigKind::Topic => topic_config::list_default(name),
        ConfigKind::Broker => dynamic::list_default(name),
        ConfigKind::BrokerLogger | ConfigKind::ClientMetrics | ConfigKind::Group => None,
    }
}
