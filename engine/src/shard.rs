//! One shard: a core's connections, partitions and memory, and its ends of the mailboxes to the other shards.
//!
//! Requests are decoded, begun and answered on the shard of their connection; each partition's part goes to the shard
//! that owns it ([`router`], [`owner`]). Receive loops await nothing but their inbox. What crosses between shards stands
//! in [`calls`]; nothing else is shared but `Bytes` and immutable views of the cluster ([`view`]).

pub mod admission;
pub mod budget;
pub mod calls;
pub mod connection;
pub mod coordination;
pub mod follower;
pub mod interrupt;
pub mod markers;
pub mod owner;
pub mod panics;
pub mod router;
pub mod sessions;
pub mod settings;
pub mod view;

use crate::api::Served;
use crate::broker::BrokerOptions;
use crate::metadata::controller::PRODUCER_ID_BLOCK_LEN;
use crate::metrics::{CloseCause, ShardMetrics};
use crate::placement::ShardId;
use crate::share::sessions::ShareSessions;
use crate::telemetry::{Instances, Limits};
use admission::Admission;
use budget::{Budget, Pool};
use calls::{ControlAnswer, ControlCall, PartitionCall, Replied};
use connection::Connection;
use coordination::Coordination;
use hayate_net::send::SendCounters;
use hayate_net::socket::{Listener, Network};
use hayate_rt::mailbox::{Call, Caller, Inbox};
use hayate_rt::notify::Lock;
use hayate_rt::{MonoTime, Queue, Rt};
use hayate_storage::batch::ProducerId;
use interrupt::Interrupt;
use owner::{Owner, Started};
use router::Router;
use sessions::SessionCache;
use settings::TopicSettings;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use view::ClusterView;

/// How long the controller may take: as long as Kafka's clients wait for an answer by default.
const CONTROL_PATIENCE: Duration = Duration::from_secs(25);
/// Clients that may take part in telemetry, over all shards: as many as Kafka keeps.
const TELEMETRY_INSTANCES_MAX: usize = 16_384;
/// Series that all clients together may show.
const TELEMETRY_SERIES_MAX: usize = 16_384;
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often idle connections are looked for.
const IDLE_SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The connections of a shard.
#[derive(Default)]
pub struct Connections {
    live: RefCell<BTreeMap<u64, Weak<Connection>>>,
    made: Cell<u64>,
}

impl Connections {
    fn add(&self, connection: &Rc<Connection>) -> u64 {
        let number = self.made.get();
        self.made.set(number + 1);
        self.live.borrow_mut().insert(number, Rc::downgrade(connection));
        number
    }

    fn remove(&self, number: u64) {
        self.live.borrow_mut().remove(&number);
    }

    fn all(&self) -> Vec<Rc<Connection>> {
        self.live.borrow().values().filter_map(Weak::upgrade).collect()
    }

    /// Connections open now.
    pub fn len(&self) -> usize {
        self.live.borrow().len()
    }

    /// Whether no connection is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One shard of a broker.
pub struct Shard {
    /// Its number.
    pub id: ShardId,
    /// Its runtime.
    pub rt: Rt,
    /// Its way to its clients.
    pub network: Network,
    /// The broker's settings.
    pub options: Arc<BrokerOptions>,
    /// Which requests are served.
    pub served: Served,
    /// Its partitions.
    pub owner: Rc<Owner>,
    /// Its ways to all partitions.
    pub router: Rc<Router>,
    /// The groups that it coordinates, and its ways to all coordinators.
    pub coordination: Rc<Coordination>,
    /// Its connections.
    pub connections: Connections,
    /// Who may connect, of all shards.
    pub admission: Arc<Admission>,
    /// Its fetch sessions.
    pub sessions: RefCell<SessionCache>,
    /// The share sessions of its connections.
    pub share_sessions: RefCell<ShareSessions>,
    /// The clients whose metrics it takes.
    pub telemetry: RefCell<Instances>,
    /// What its topics are set to.
    pub settings: TopicSettings,
    /// Its memory for requests.
    pub budget: Rc<Budget>,
    /// Its memory for answers on their way: until they are sent, and for what the kernel sends from it, until it has been.
    pub answers: Budget,
    /// Its room for requests that have no place in their partitions' order yet: a number, not bytes.
    pub queued: Rc<Pool>,
    /// What it sent.
    pub sent: SendCounters,
    /// What it counts.
    pub metrics: Arc<ShardMetrics>,
    waiting_fetches: Cell<u64>,
    control: Caller<ControlCall, ControlAnswer>,
    producer_ids: ProducerIds,
    stop: Interrupt,
}

/// From a shard to those who decide.
pub struct Ways {
    /// To the owners of partitions.
    pub router: Rc<Router>,
    /// To the coordinators.
    pub coordination: Rc<Coordination>,
    /// To the controller's shard.
    pub control: Caller<ControlCall, ControlAnswer>,
}

impl Shard {
    /// A shard that serves nothing yet.
    pub fn new(
        rt: Rt,
        options: Arc<BrokerOptions>,
        network: Network,
        ways: Ways,
        admission: Arc<Admission>,
        metrics: Arc<ShardMetrics>,
    ) -> Rc<Shard> {
        let Ways { router, coordination, control } = ways;
        let (owner, shards) = (router.own().clone(), router.shards());
        let answers = Budget::new(options.answer_bytes_per_shard(shards));
        let pinned = RefCell::new(answers.take_large());
        network.watch_pins(Rc::new(move |bytes| pinned.borrow_mut().correct(bytes)));
        Rc::new(Shard {
            id: owner.shard(),
            rt,
            served: Served::new(),
            sessions: RefCell::new(SessionCache::new(options.fetch_session_slots.div_ceil(shards))),
            share_sessions: RefCell::new(ShareSessions::new(
                options.groups.shares.sessions_max.div_ceil(shards),
            )),
            telemetry: RefCell::new(Instances::new(telemetry_limits(&options, shards))),
            settings: TopicSettings::new(options.topic_defaults.clone()),
            budget: Rc::new(Budget::new(options.receive_bytes_per_shard(shards))),
            answers,
            queued: Pool::new(options.queued_requests_per_shard(shards)),
            options,
            network,
            owner,
            router,
            coordination,
            connections: Connections::default(),
            admission,
            sent: SendCounters::default(),
            metrics,
            waiting_fetches: Cell::new(0),
            control,
            producer_ids: ProducerIds::default(),
            stop: Interrupt::default(),
        })
    }

    /// The cluster as this shard serves it.
    pub fn view(&self) -> Rc<ClusterView> {
        self.owner.view()
    }

    /// Whether the broker is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_set()
    }

    /// A fetch begins or ends to wait for records.
    pub fn fetch_waits(&self, begins: bool) {
        let count = self.waiting_fetches.get();
        self.waiting_fetches.set(if begins { count + 1 } else { count - 1 });
        self.metrics.waiting_fetches.set(self.waiting_fetches.get());
    }

    /// Asks the controller, wherever it is. On a full disk it decides nothing: it is not waited for for ever.
    pub async fn control(&self, call: ControlCall) -> ControlAnswer {
        let asking = async {
            match self.control.send(call).await {
                Ok(pending) => pending.await.unwrap_or_else(ControlAnswer::from),
                Err(gone) => gone.into(),
            }
        };
        self.rt.timeout(CONTROL_PATIENCE, asking).await.unwrap_or(ControlAnswer::Unavailable)
    }

    /// A producer id that nobody has had; `None` while the controller cannot be reached.
    pub async fn producer_id(&self) -> Option<ProducerId> {
        let _filling = self.producer_ids.filling.acquire().await;
        if let Some(id) = self.producer_ids.take() {
            return Some(id);
        }
        match self.control(ControlCall::ProducerIds).await {
            ControlAnswer::ProducerIds(first) => {
                self.producer_ids.fill(first);
                self.producer_ids.take()
            }
            ControlAnswer::Replied(_) | ControlAnswer::Quorum(_) | ControlAnswer::Unavailable => None,
        }
    }

    /// Accepts connections until the broker stops. `place` is that of the listener among the broker's.
    pub async fn accept(self: Rc<Self>, listener: Listener, place: usize) {
        while let Some(accepted) = self.stop.unless(listener.accept()).await {
            match accepted {
                Ok((socket, peer)) => {
                    let admitting = self.admission.admit(&self.rt, &self.metrics, place, peer);
                    let Some(Some(seat)) = self.stop.unless(admitting).await else { continue };
                    self.metrics.connections_opened.add(1);
                    let serving = Connection::serve(self.clone(), socket, peer, seat);
                    self.rt.spawn(Queue::Foreground, serving).detach();
                    self.rt.yield_now().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.rt.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves other shards' calls, but for appends, until they are gone. Awaits nothing but its inbox.
    pub async fn receive(self: Rc<Self>, inbox: Inbox<PartitionCall, Replied>) {
        while let Ok(call) = inbox.recv().await {
            self.serve_call(call).await;
        }
    }

    /// Serves other shards' appends in their order. Awaits its inbox, and the disk while too much is unflushed: that holds
    /// up who appends, and nobody else.
    pub async fn receive_appends(self: Rc<Self>, inbox: Inbox<PartitionCall, Replied>) {
        while let Ok(call) = inbox.recv().await {
            self.owner.writable().await;
            self.serve_call(call).await;
        }
    }

    /// Answers at once what waits for nothing, and the rest in a task. Does not wait itself.
    async fn serve_call(&self, call: Call<PartitionCall, Replied>) {
        let started = self.rt.now();
        let replied = move |answer, rt: &Rt| Replied { answer, started, finished: rt.now() };
        match self.owner.start(call.request).now().await {
            Started::Done(answer) => call.reply.send(replied(answer, &self.rt)),
            Started::Later(rest) => {
                let rt = self.rt.clone();
                let answering = async move { call.reply.send(replied(rest.await, &rt)) };
                self.rt.spawn(Queue::Foreground, answering).detach();
            }
        }
    }

    /// Forgets clients whose metrics stay away, and closes connections on which nothing has happened for `connections.max.idle.ms`.
    pub async fn sweep_idle(self: Rc<Self>) {
        let idle_max = self.options.connections_max_idle;
        let every = idle_max.map_or(IDLE_SWEEP_EVERY, |idle_max| IDLE_SWEEP_EVERY.min(idle_max));
        while self.stop.unless(self.rt.sleep(every)).await.is_some() {
            let now = self.rt.now();
            self.telemetry.borrow_mut().expire(now);
            if let Some(idle_max) = idle_max {
                self.close_idle(now, idle_max);
            }
        }
    }

    fn close_idle(&self, now: MonoTime, idle_max: Duration) {
        for connection in self.connections.all() {
            if now.since(connection.last_active()) > idle_max {
                connection.close_because(CloseCause::Idle);
                connection.abort();
            }
        }
    }

    /// Stops accepting and reading; open requests are answered, long polls with what they have. Resolves when every
    /// connection has ended, at the latest after `patience`: what is left then is cut. `told` hears how many there still are.
    pub async fn drain(&self, patience: Duration, told: &dyn Fn(usize)) {
        self.stop.set();
        for connection in self.connections.all() {
            connection.close_because(CloseCause::Stop);
            connection.interrupt();
        }
        let deadline = self.rt.now() + patience;
        while !self.connections.is_empty() && self.rt.now() < deadline {
            told(self.connections.len());
            self.rt.sleep(Duration::from_millis(1)).await;
        }
        self.connections.all().iter().for_each(|connection| connection.abort());
        told(0);
    }
}

/// A shard's part of what may be kept of clients' telemetry.
fn telemetry_limits(options: &BrokerOptions, shards: usize) -> Limits {
    Limits {
        instances_max: TELEMETRY_INSTANCES_MAX.div_ceil(shards),
        series_max: TELEMETRY_SERIES_MAX.div_ceil(shards),
        push_bytes_max: options.telemetry_bytes_max,
    }
}

/// The rest of a block of producer ids.
#[derive(Default)]
struct ProducerIds {
    next: Cell<i64>,
    end: Cell<i64>,
    filling: Lock,
}

impl ProducerIds {
    fn take(&self) -> Option<ProducerId> {
        let next = self.next.get();
        if next >= self.end.get() {
            return None;
        }
        self.next.set(next + 1);
        Some(ProducerId(next))
    }

    fn fill(&self, first: ProducerId) {
        self.next.set(first.0);
        self.end.set(first.0 + PRODUCER_ID_BLOCK_LEN);
    }
}
