//! Whole simulated brokers with simulated clients: every shard, disk, network and client in one thread.

mod client;
pub mod producer;
mod rough;
pub mod transactions;

pub use client::{Client, Topic, checked, name, records_from, records_of, values};
pub use rough::{MUST_REACH, run_seed};

use hayate_engine::broker::{
    BrokerOptions, ListenerOptions, RunningShard, StartError, shard_parts, start_shard,
};
use hayate_net::socket::Network;
use hayate_net::socket::sim::{NetPlan, SimNetwork, node_addr};
use hayate_rt::sim::{NodeId, Sim};
use hayate_rt::{Queue, Rt};
use hayate_storage::disk::Disk;
use hayate_storage::disk::sim::{FaultPlan, SimDisk};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// More virtual time than a scenario takes.
pub const HOUR: Duration = Duration::from_secs(3600);
/// The broker's machine.
pub const BROKER: NodeId = NodeId(1);
/// The clients' machine.
pub const CLIENT: NodeId = NodeId(100);
const PORT: u16 = 9092;

/// A simulated machine with a broker on it, and the clients' machine.
#[derive(Clone)]
pub struct Bench {
    /// The world.
    pub sim: Sim,
    /// Between the two machines.
    pub network: SimNetwork,
    /// The broker's.
    pub disk: Rc<SimDisk>,
    /// The broker's.
    pub options: Arc<BrokerOptions>,
    /// How many shards the next start has.
    pub shards: u16,
}

impl Bench {
    /// A broker that is not started yet, with one credit a mailbox.
    pub fn new(seed: u64, shards: u16, adjust: impl FnOnce(&mut BrokerOptions)) -> Bench {
        let sim = Sim::new(seed);
        let addr = node_addr(BROKER, PORT);
        let mut options = BrokerOptions {
            listeners: vec![ListenerOptions::new("PLAINTEXT", addr)],
            mailbox_credits: 1,
            ..BrokerOptions::new("/data")
        };
        adjust(&mut options);
        Bench {
            network: SimNetwork::new(&sim, NetPlan::CALM),
            disk: Rc::new(SimDisk::new(&sim, BROKER, FaultPlan::default())),
            options: Arc::new(options),
            shards,
            sim,
        }
    }

    /// Starts every shard of the broker.
    ///
    /// # Panics
    /// When one does not start.
    pub async fn start(&self) -> Vec<RunningShard> {
        self.try_start().await.expect("the broker starts")
    }

    /// Starts every shard of the broker.
    ///
    /// # Errors
    /// Why one does not start.
    pub async fn try_start(&self) -> Result<Vec<RunningShard>, StartError> {
        let rt = Rt::sim(self.sim.node(BROKER));
        let metrics = self.options.metrics(self.shards);
        let starting: Vec<_> = shard_parts(&self.options, self.shards)
            .into_iter()
            .map(|parts| {
                let metrics = metrics.shard(parts.id().index());
                let (disk, network) = (Disk::sim(&self.disk, &rt), Network::sim(&self.network, &rt));
                let started = start_shard(parts, rt.clone(), disk, network, self.options.clone(), metrics);
                rt.spawn(Queue::Foreground, started)
            })
            .collect();
        let mut running = Vec::new();
        for shard in starting {
            running.push(shard.await?);
        }
        Ok(running)
    }

    /// Stops every shard cleanly.
    ///
    /// # Panics
    /// When one does not stop cleanly.
    pub async fn stop(&self, running: Vec<RunningShard>) {
        self.try_stop(running).await.expect("the broker stops");
    }

    /// Stops every shard.
    ///
    /// # Errors
    /// Why one does not stop cleanly.
    pub async fn try_stop(&self, running: Vec<RunningShard>) -> Result<(), StartError> {
        let rt = Rt::sim(self.sim.node(BROKER));
        let stop = |shard: RunningShard| rt.spawn(Queue::Foreground, shard.stop(Duration::from_secs(10)));
        let stopping: Vec<_> = running.into_iter().map(stop).collect();
        for shard in stopping {
            shard.await?;
        }
        Ok(())
    }

    /// The process dies, the machine lives on.
    pub fn kill(&self) {
        self.sim.crash(BROKER);
        self.disk.kill();
        self.network.crash(BROKER);
    }

    /// The machine loses power.
    pub fn crash(&self) {
        self.sim.crash(BROKER);
        self.disk.crash();
        self.network.crash(BROKER);
    }

    /// A connected client.
    pub async fn client(&self) -> Client {
        self.client_of(CLIENT, PORT).await
    }

    /// A connected client; `None` when nobody listens.
    pub async fn try_client(&self) -> Option<Client> {
        let network = Network::sim(&self.network, &Rt::sim(self.sim.node(CLIENT)));
        network.connect(node_addr(BROKER, PORT)).await.ok().map(Client::new)
    }

    /// A client on this machine, connected to this port of the broker.
    pub async fn client_of(&self, node: NodeId, port: u16) -> Client {
        let network = Network::sim(&self.network, &Rt::sim(self.sim.node(node)));
        Client::new(network.connect(node_addr(BROKER, port)).await.expect("the broker listens"))
    }
}
