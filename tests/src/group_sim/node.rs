//! The machine with the coordinator: a store on a simulated disk, one partition of `__consumer_offsets` in it, and over that the
//! runtime that a broker has. No network and no other topics: so a life is short enough for many thousands of them.

use hayate_engine::broker::BrokerOptions;
use hayate_engine::coordinator::group::{GroupAnswer, GroupConfig, GroupRequest, Groups};
use hayate_engine::coordinator::runtime::Runtime;
use hayate_engine::coordinator::topics::OFFSETS_TOPIC;
use hayate_engine::metadata::image::{MetadataImage, Position, Replay};
use hayate_engine::metadata::records::{MetadataRecord, PartitionRecord, TopicRecord};
use hayate_engine::metrics::ShardMetrics;
use hayate_engine::partition::{Partition, PartitionSettings};
use hayate_engine::placement::{PartitionKey, Placement, ShardId};
use hayate_engine::shard::owner::Owner;
use hayate_engine::shard::view::ClusterView;
use hayate_rt::sim::{NodeId, Sim};
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::{LeaderEpoch, Offset};
use hayate_storage::config::LogConfig;
use hayate_storage::disk::Disk;
use hayate_storage::disk::sim::{FaultPlan, SimDisk};
use hayate_storage::error::StorageError;
use hayate_storage::names::TopicPartition;
use hayate_storage::recovery::{acted_on, recover};
use hayate_storage::store::{LogSpec, Store, StoreConfig};
use hayate_storage::wal::WalConfig;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const NODE: NodeId = NodeId(1);
const DATA_DIR: &str = "/data";
const TOPIC_ID: Uuid = Uuid::from_u128(9);
/// The partition of `__consumer_offsets`.
const NUMBER: i32 = 0;

/// A started coordinator.
pub(super) struct Serving {
    pub(super) runtime: Rc<Runtime<Groups>>,
    pub(super) store: Store,
    pub(super) partition: Rc<Partition>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    /// The coordinator did not take the request.
    Refused,
    /// What became of it is not known.
    Lost,
    /// The same, and the coordinator may still be at it: who asked has waited long enough.
    GivenUp,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The machine loses power.
    Crash,
    /// The process dies.
    Kill,
    /// The coordinator stops as it should.
    Stop,
}

/// The machine.
pub(super) struct Node {
    sim: Sim,
    disk: SimDisk,
    pub(super) config: GroupConfig,
    metrics: Arc<ShardMetrics>,
    pub(super) image: Arc<MetadataImage>,
    serving: RefCell<Option<Rc<Serving>>>,
    runs: Cell<i32>,
    /// Virtual time of the last start.
    pub(super) started_ms: Cell<u64>,
}

impl Node {
    /// Not started yet.
    pub(super) fn new(sim: &Sim, config: GroupConfig) -> Node {
        Node {
            sim: sim.clone(),
            disk: SimDisk::new(sim, NODE, FaultPlan::default()),
            config,
            metrics: BrokerOptions::new(DATA_DIR).metrics(1_u16).shard(0),
            image: image(),
            serving: RefCell::default(),
            runs: Cell::new(0),
            started_ms: Cell::new(0),
        }
    }

    /// The runtime of its present incarnation.
    pub(super) fn rt(&self) -> Rt {
        Rt::sim(self.sim.node(NODE))
    }

    /// Its coordinator, while it runs.
    pub(super) fn serving(&self) -> Option<Rc<Serving>> {
        self.serving.borrow().clone()
    }

    /// Starts without faults, and goes on with those of `plan`.
    pub(super) async fn start(&self, plan: &FaultPlan) {
        self.runs.set(self.runs.get() + 1);
        self.disk.set_plan(FaultPlan { garbage_sector: plan.garbage_sector, ..FaultPlan::default() });
        let rt = self.rt();
        let opening = open(rt.clone(), Disk::sim(&self.disk, &rt), LeaderEpoch(self.runs.get()));
        let store = rt.spawn(Queue::Foreground, opening).await.expect("a folder without faults opens");
        *self.serving.borrow_mut() = Some(Rc::new(self.serve(store)));
        self.started_ms.set(self.sim.now().as_nanos() / 1_000_000);
        self.disk.set_plan(plan.clone());
    }

    fn serve(&self, store: Store) -> Serving {
        let rt = self.rt();
        let key = PartitionKey { topic_id: TOPIC_ID, partition: NUMBER };
        let mut placement = Placement::new(1);
        placement.assign(key);
        let view = ClusterView {
            node_id: 1,
            generation: 1,
            image: self.image.clone(),
            placement: Arc::new(placement),
        };
        let owner = Owner::new(rt.clone(), ShardId::FIRST, view.clone(), self.metrics.clone());
        owner.set_store(store.clone());
        let log = store.log(&partition_name()).expect("it was opened");
        let mut settings = PartitionSettings::default();
        settings.log = log_config();
        let partition = Partition::new(key, log, LeaderEpoch(self.runs.get()), Rc::new(settings));
        owner.insert(partition.clone());
        let config = Rc::new(self.config);
        let make = move |_| Groups::new(config.clone());
        let runtime = Runtime::new(rt.clone(), owner, OFFSETS_TOPIC, make, |_, _, _| ());
        runtime.follow(&view);
        rt.spawn(Queue::Coordination, runtime.clone().keep_time()).detach();
        Serving { runtime, store, partition }
    }

    /// Ends the run: from now on there is nobody to ask.
    pub(super) async fn end(&self, end: End) {
        let serving = self.serving.borrow_mut().take();
        match end {
            End::Crash => {
                self.sim.count("crash");
                self.sim.crash(NODE);
                self.disk.crash();
            }
            End::Kill => {
                self.sim.count("kill");
                self.sim.crash(NODE);
                self.disk.kill();
            }
            End::Stop => {
                if let Some(store) = serving.as_ref().map(|serving| serving.store.clone()) {
                    let closing = self.rt().spawn(Queue::Foreground, async move { store.close().await });
                    self.sim.count(if closing.await.is_ok() { "clean stop" } else { "stop failed" });
                }
                self.sim.crash(NODE);
                self.disk.crash();
            }
        }
    }

    /// However full the disk was, there is room again.
    pub(super) fn make_room(&self) {
        self.disk.set_capacity(None);
    }

    /// Asks, as one of the machine `rt`, and waits that long for the answer.
    pub(super) async fn ask(
        &self,
        rt: &Rt,
        request: GroupRequest,
        patience: Duration,
    ) -> Result<GroupAnswer, Unheard> {
        rt.sleep(Duration::from_micros(50 + rt.random_below(1_500))).await;
        let serving = self.serving().ok_or(Unheard::Refused)?;
        let (reply, answer) = flume::bounded(1);
        serving.runtime.submit(NUMBER, request, reply);
        drop(serving);
        match rt.timeout(patience, answer.recv_async()).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(_))) => Err(Unheard::Refused),
            Ok(Err(_)) => Err(Unheard::Lost),
            Err(_) => Err(Unheard::GivenUp),
        }
    }
}

fn partition_name() -> TopicPartition {
    TopicPartition::new(OFFSETS_TOPIC, NUMBER).expect("a legal name")
}

/// Segments so small that there are some.
fn log_config() -> LogConfig {
    LogConfig { segment_bytes: 12_000, index_interval_bytes: 700, ..LogConfig::default() }
}

/// A cluster with that one topic.
fn image() -> Arc<MetadataImage> {
    let topic = TopicRecord { name: OFFSETS_TOPIC.to_owned(), topic_id: TOPIC_ID };
    let partition = PartitionRecord {
        partition_id: NUMBER,
        topic_id: TOPIC_ID,
        replicas: vec![1],
        isr: vec![1],
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: 1,
        leader_recovery_state: 0,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![],
        eligible_leader_replicas: None,
        last_known_elr: None,
    };
    let mut replay = Replay::new(MetadataImage::empty("cluster"));
    for (offset, record) in (0..).zip([MetadataRecord::from(topic), MetadataRecord::from(partition)]) {
        let at = Position { offset: Offset(offset), epoch: LeaderEpoch(1) };
        replay.apply(&record, at).expect("it fits");
    }
    Arc::new(replay.image().clone())
}

/// Opens the data folder as a broker would: recovery, then the log.
async fn open(rt: Rt, disk: Disk, epoch: LeaderEpoch) -> Result<Store, StorageError> {
    recover(&rt, &disk, Path::new(DATA_DIR), &mut |_| {}).await?;
    let wal = WalConfig {
        first_file_bytes: 16 << 10,
        file_bytes: 32 << 10,
        files_max: 3,
        group_bytes_max: 8 << 10,
    };
    let config = StoreConfig {
        wal,
        direct_bytes_min: 14_000,
        memory_bytes: 256 << 10,
        unflushed_bytes_max: 128 << 10,
        ..StoreConfig::new(DATA_DIR, 0)
    };
    let spec = LogSpec { partition: partition_name(), topic_id: *TOPIC_ID.as_bytes(), config: log_config() };
    let store = Store::open(rt, disk.clone(), config, vec![spec]).await?;
    for log in store.logs() {
        log.begin_epoch(epoch).await?;
    }
    acted_on(&disk, Path::new(DATA_DIR)).await?;
    Ok(store)
}
