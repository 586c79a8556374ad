//! A whole broker, put together from its handles on runtime, disk and network: the same code on pinned threads and in the
//! simulator, where all shards share one thread.
//!
//! [`shard_parts`] makes what joins the shards; each shard then runs [`start_shard`] on its own thread. Shard 0 comes
//! first: it recovers the data folder, loads the metadata and places the partitions; the others wait for its first
//! view. No shard listens before all have opened their partitions, and none closes its logs before all have drained
//! their connections.

mod controller;
mod error;
mod folder;
mod gate;
pub mod kafka;
mod metadata_log;
mod options;
mod progress;
mod startup;

pub use error::StartError;
pub use options::{Advertised, BrokerOptions, ListenerOptions};
pub use progress::{ShardStop, StopProgress, Stopping};

use crate::coordinator::group::Groups;
use crate::coordinator::runtime::Runtime;
use crate::coordinator::share_state::{ShareStateOrder, ShareStates};
use crate::coordinator::topics::{OFFSETS_TOPIC, SHARE_TOPIC, TRANSACTIONS_TOPIC};
use crate::coordinator::txn::Transactions;
use crate::metadata::image::MetadataImage;
use crate::metrics::ShardMetrics;
use crate::partition::DeleteBefore;
use crate::placement::{Placement, ShardId};
use crate::shard::admission::{self, Admission};
use crate::shard::calls::{ControlAnswer, ControlCall, PartitionCall, Replied};
use crate::shard::coordination::{Coordination, CoordinatorCall, CoordinatorCallers};
use crate::shard::follower::{Follower, log_specs};
use crate::shard::markers;
use crate::shard::owner::Owner;
use crate::shard::panics::vital_future;
use crate::shard::router::Router;
use crate::shard::settings::producer_expiration_in;
use crate::shard::view::ClusterView;
use crate::shard::{self, Shard};
use crate::share;
use crate::share::leaders::{Leaders, Ways};
use controller::ControllerService;
use folder::FolderHealth;
use gate::Gate;
use hayate_net::socket::{ListenOptions, Listener, Network};
use hayate_rt::mailbox::{Ports, Publisher, mesh};
use hayate_rt::{Queue, Rt};
use hayate_storage::disk::Disk;
use hayate_storage::store::Store;
use progress::ProgressLog;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The first view that says anything.
const FIRST_GENERATION: u64 = 1;

/// What one shard gets of what joins them all. `Send`: made on one thread, used on another.
pub struct ShardParts {
    id: ShardId,
    shards: u16,
    partitions: Ports<PartitionCall, Replied>,
    appends: Ports<PartitionCall, Replied>,
    control: Ports<ControlCall, ControlAnswer>,
    coordinators: Ports<CoordinatorCall, ()>,
    views: Arc<Publisher<ClusterView>>,
    folder: Arc<FolderHealth>,
    admission: Arc<Admission>,
    opened: Arc<Gate>,
    drained: Arc<Gate>,
}

impl ShardParts {
    /// The shard's number.
    pub fn id(&self) -> ShardId {
        self.id
    }
}

/// Makes the parts of `shards` shards, by their numbers.
pub fn shard_parts(options: &BrokerOptions, shards: u16) -> Vec<ShardParts> {
    let count = usize::from(shards);
    let nothing = ClusterView {
        node_id: options.node_id,
        generation: 0,
        image: Arc::new(MetadataImage::empty("")),
        placement: Arc::new(Placement::new(shards)),
    };
    let views = Arc::new(Publisher::new(Arc::new(nothing)));
    let folder = Arc::new(FolderHealth::new());
    let admission = Admission::new(options);
    let (opened, drained) = (Gate::new(count), Gate::new(count));
    let partitions = mesh(count, options.mailbox_credits);
    let appends = mesh(count, options.mailbox_credits);
    let control = mesh(count, options.mailbox_credits);
    let coordinators = mesh(count, options.mailbox_credits);
    let part = |(id, (((partitions, appends), control), coordinators))| ShardParts {
        id: ShardId(id),
        shards,
        partitions,
        appends,
        control,
        coordinators,
        views: views.clone(),
        folder: folder.clone(),
        admission: admission.clone(),
        opened: opened.clone(),
        drained: drained.clone(),
    };
    (0..shards).zip(partitions.into_iter().zip(appends).zip(control).zip(coordinators)).map(part).collect()
}

/// A shard that serves.
pub struct RunningShard {
    /// The shard.
    pub shard: Rc<Shard>,
    /// Its logs.
    pub store: Store,
    drained: Arc<Gate>,
    /// Of shard 0: where the metadata log lies.
    metadata_store: Option<Store>,
}

/// Starts a shard; resolves when every shard has opened its partitions and this one accepts connections.
///
/// # Errors
/// [`StartError`]; the other shards then wait for ever, and the process must end.
pub async fn start_shard(
    parts: ShardParts,
    rt: Rt,
    disk: Disk,
    network: Network,
    options: Arc<BrokerOptions>,
    metrics: Arc<ShardMetrics>,
) -> Result<RunningShard, StartError> {
    let subscriber = parts.views.subscribe();
    let mut service = None;
    if parts.id == ShardId::FIRST {
        service = Some(startup::first_shard(&rt, &disk, &options, &parts.views, parts.shards).await?);
    }
    while parts.views.latest().generation < FIRST_GENERATION {
        subscriber.changed().await.map_err(|_| StartError::ShardGone)?;
    }
    let view = parts.views.latest();
    let owner = Owner::new(rt.clone(), parts.id, (*view).clone(), metrics.clone());
    let specs = log_specs(&view, &owner, &options.topic_defaults);
    let mut config = options.store_config(parts.id, parts.shards);
    config.producer_expiration_ms =
        producer_expiration_in(&view.image, view.node_id, options.producer_expiration_ms);
    let mut progress = ProgressLog::new(&rt);
    let mut opened = |done, of| _ = progress.tell("opening logs", done, of);
    let store = Store::open_telling(rt.clone(), disk.clone(), config, specs, &mut opened).await?;
    owner.set_store(store.clone());
    let (admission, file) = (parts.admission.clone(), options.clone());
    let follower = Rc::new(Follower::new(rt.clone(), owner.clone(), store.clone(), admission, file));
    follower.apply(&view).await;
    let router = Rc::new(Router::new(owner.clone(), parts.partitions.callers, parts.appends.callers));
    let control = parts.control.callers.into_iter().next().ok_or(StartError::ShardGone)?;
    let coordination = coordination(&rt, &router, &options, parts.coordinators.callers);
    coordination.follow(&view);
    let coordinating = coordination.clone().receive(parts.coordinators.inbox);
    rt.spawn(Queue::Coordination, vital_future(coordinating)).detach();
    let (options2, admission) = (options.clone(), parts.admission);
    let ways = shard::Ways { router, coordination, control };
    let shard = Shard::new(rt.clone(), options2, network, ways, admission, metrics);
    let receiving = shard.clone().receive(parts.partitions.inbox);
    rt.spawn(Queue::Foreground, vital_future(receiving)).detach();
    let appending = shard.clone().receive_appends(parts.appends.inbox);
    rt.spawn(Queue::Foreground, vital_future(appending)).detach();
    parts.opened.pass().await;
    let listeners = listen(&shard.network, &options)?;
    let metadata_store = service.as_ref().map(ControllerService::metadata_store);
    for store in metadata_store.iter().chain([&store]) {
        parts.folder.share(&rt, store);
    }
    if let Some(service) = service {
        let serving = service.serve(shard.clone(), parts.control.inbox);
        rt.spawn(Queue::Coordination, vital_future(serving)).detach();
    }
    start_tasks(&rt, &shard, &store, follower, subscriber, listeners);
    Ok(RunningShard { shard, store, drained: parts.drained, metadata_store })
}

/// The shard's coordinators.
fn coordination(
    rt: &Rt,
    router: &Rc<Router>,
    options: &Arc<BrokerOptions>,
    callers: CoordinatorCallers,
) -> Rc<Coordination> {
    let owner = router.own();
    let ways = Ways::default();
    let settings = Rc::new(options.groups);
    let make = move |_| Groups::new(settings.clone());
    let (clock, to_states) = (rt.clone(), ways.clone());
    let order = move |groups: &Rc<Runtime<Groups>>, number, order| {
        share::states::carry_out(&clock, &to_states, groups, number, order);
    };
    let groups = Runtime::new(rt.clone(), owner.clone(), OFFSETS_TOPIC, make, order);
    let transactions = transactions(rt, router, options);
    let shares = Leaders::new(rt.clone(), owner.clone(), options.groups.shares, ways.clone());
    let share = (share_states(rt, router, options), shares);
    let coordination = Rc::new(Coordination::new(owner.clone(), callers, groups, transactions, share));
    *ways.borrow_mut() = Rc::downgrade(&coordination);
    coordination
}

/// The shard's share coordinators, which have the beginnings of their partitions deleted.
fn share_states(rt: &Rt, router: &Rc<Router>, options: &BrokerOptions) -> Rc<Runtime<ShareStates>> {
    let (config, clock) = (options.share_states, rt.clone());
    let order = move |runtime: &Rc<Runtime<ShareStates>>, number, ShareStateOrder::Prune(before)| {
        let Some(partition) = runtime.partition(number) else { return };
        // What cannot be deleted now can be with the next order.
        let Ok(deleting) = partition.delete_records(DeleteBefore::Offset(before)) else { return };
        clock.spawn(Queue::Background, async move { _ = deleting.await }).detach();
    };
    Runtime::new(rt.clone(), router.own().clone(), SHARE_TOPIC, move |_| ShareStates::new(config), order)
}

/// The shard's transaction coordinators, which have their markers written.
fn transactions(rt: &Rt, router: &Rc<Router>, options: &BrokerOptions) -> Rc<Runtime<Transactions>> {
    let (limits, owner) = (options.transactions, router.own().clone());
    let make = move |number| Transactions::new(limits, coordinator_epoch(&owner.view(), number));
    let (clock, router) = (rt.clone(), router.clone());
    let owner = router.own().clone();
    let order = move |runtime: &Rc<Runtime<Transactions>>, number, order| {
        markers::deliver(&clock, &router, runtime, number, order);
    };
    Runtime::new(rt.clone(), owner, TRANSACTIONS_TOPIC, make, order)
}

/// The epoch of the leader of a partition of `__transaction_state`, which its markers carry.
fn coordinator_epoch(view: &ClusterView, number: i32) -> i32 {
    let topic = view.image.topic(TRANSACTIONS_TOPIC);
    topic.and_then(|topic| topic.partitions.get(&number)).map_or(-1, |partition| partition.leader_epoch.0)
}

/// Opens every listener, in their order.
fn listen(network: &Network, options: &BrokerOptions) -> Result<Vec<Listener>, StartError> {
    let open = |listener: &ListenerOptions| {
        let sockets = ListenOptions { ipv6_only: listener.ipv6_only, ..options.sockets };
        network.listen(listener.listen, &sockets).map_err(StartError::from)
    };
    options.listeners.iter().map(open).collect()
}

fn start_tasks(
    rt: &Rt,
    shard: &Rc<Shard>,
    store: &Store,
    follower: Rc<Follower>,
    subscriber: hayate_rt::mailbox::Subscriber<ClusterView>,
    listeners: Vec<Listener>,
) {
    for (place, listener) in listeners.into_iter().enumerate() {
        rt.spawn(Queue::Foreground, shard.clone().accept(listener, place)).detach();
    }
    let making_room = shard.clone();
    rt.spawn(Queue::Foreground, async move { admission::make_room(&making_room).await }).detach();
    rt.spawn(Queue::Background, shard.clone().sweep_idle()).detach();
    let (following, coordination) = (follower.clone(), shard.coordination.clone());
    let timing = coordination.groups.clone().keep_time();
    rt.spawn(Queue::Coordination, timing).detach();
    let timing = coordination.transactions.clone().keep_time();
    rt.spawn(Queue::Coordination, timing).detach();
    rt.spawn(Queue::Coordination, coordination.share_states.clone().keep_time()).detach();
    rt.spawn(Queue::Foreground, vital_future(coordination.shares.clone().keep_time())).detach();
    let follow = async move {
        while let Ok(view) = subscriber.changed().await {
            following.apply(&view).await;
            coordination.follow(&view);
        }
    };
    rt.spawn(Queue::Coordination, vital_future(follow)).detach();
    let (rt2, store, every) = (rt.clone(), store.clone(), shard.options.retention_check_every);
    let retain = async move {
        loop {
            rt2.sleep(every).await;
            store.run_retention().await;
            follower.retry().await;
        }
    };
    rt.spawn(Queue::Background, vital_future(retain)).detach();
}

impl RunningShard {
    /// Stops in order: no new connections and requests, open ones answered, and once every shard has come so far, all
    /// records written out. The data folder is then as Kafka would leave it.
    ///
    /// # Errors
    /// Those of the logs: the next start recovers.
    pub async fn stop(self, patience: Duration) -> Result<(), StartError> {
        self.stop_telling(patience, &ShardStop::default()).await
    }

    /// As [`RunningShard::stop`]; how far it is stands in `progress`.
    ///
    /// # Errors
    /// As [`RunningShard::stop`].
    pub async fn stop_telling(self, patience: Duration, progress: &ShardStop) -> Result<(), StartError> {
        let partitions = self.store.logs().len();
        self.shard.drain(patience, &|connections| progress.drains(connections, partitions)).await;
        self.drained.pass().await;
        self.store.close_telling(&mut |done, of| progress.writes(done, of)).await?;
        match self.metadata_store {
            Some(metadata) => Ok(metadata.close().await?),
            None => Ok(()),
        }
    }
}
