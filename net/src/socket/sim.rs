//! The simulated half of the socket seam: one faulty network a simulation, with bounded buffers and virtual delays.
//!
//! Bytes of a connection arrive in order, after random delays, and are read in random portions. By its plan the
//! network resets connections, ends one direction of them early, and leaves the peers of a crashed node in the dark
//! until they write. Each fault that happens is counted as `fault net …`. Design: FoundationDB's Sim2 network.

mod link;
#[cfg(test)]
mod tests;

use super::SocketError;
use super::zerocopy::{Account, PinWatch, Pins, ZerocopyFigures};
use bytes::{Bytes, BytesMut};
use hayate_rt::sim::{NodeId, NodeRt, Sim};
use link::Link;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Connections that may wait for `accept`.
const BACKLOG: usize = 128;
/// The first port that the network gives out by itself.
const EPHEMERAL_PORT_FIRST: u16 = 49152;

/// What may go wrong, and how the network behaves while nothing does.
#[derive(Debug, Clone, Copy)]
pub struct NetPlan {
    /// Longest delay of a segment; each draws its own.
    pub delay_max: Duration,
    /// Bytes that one direction of a connection holds, in flight and unread, before a writer waits.
    pub buffer_bytes: usize,
    /// One write in this many resets its connection; 0 is never.
    pub reset_one_in: u64,
    /// One write in this many ends its direction early; 0 is never.
    pub half_close_one_in: u64,
    /// One read in this many takes only part of what has arrived; 0 is never.
    pub split_one_in: u64,
    /// Whether what is accepted sends from its buffers themselves: they are pinned until the peer has read them.
    pub pins: bool,
}

impl NetPlan {
    /// Delays and split reads, no lost connections.
    pub const CALM: NetPlan = NetPlan {
        delay_max: Duration::from_micros(200),
        buffer_bytes: 64 * 1024,
        reset_one_in: 0,
        half_close_one_in: 0,
        split_one_in: 3,
        pins: false,
    };
    /// Everything that can happen does.
    pub const ROUGH: NetPlan =
        NetPlan { reset_one_in: 200, half_close_one_in: 500, buffer_bytes: 4 * 1024, ..NetPlan::CALM };
}

/// The network that all nodes of a simulation share. Cheap to clone; outlives crashes.
#[derive(Clone)]
pub struct SimNetwork {
    shared: Rc<Shared>,
}

/// A port of a node, and the listeners that share it.
type Listeners = BTreeMap<(NodeId, u16), Vec<Rc<Queue>>>;

pub(super) struct Shared {
    sim: Sim,
    plan: Cell<NetPlan>,
    listeners: RefCell<Listeners>,
    links: RefCell<Vec<Weak<Link>>>,
    next_port: Cell<u16>,
    /// What was handed over for sending, once that is kept.
    sent: RefCell<Option<Vec<(NodeId, Bytes)>>>,
}

/// The connections that wait for one listener.
struct Queue {
    addr: SocketAddr,
    waiting: RefCell<VecDeque<(SimSocket, SocketAddr)>>,
    acceptor: RefCell<Option<Waker>>,
}

/// The address that `node` has in the simulation.
pub fn node_addr(node: NodeId, port: u16) -> SocketAddr {
    let [_, a, b, c] = node.0.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, a, b, c)), port)
}

impl SimNetwork {
    /// A network for the nodes of `sim`.
    pub fn new(sim: &Sim, plan: NetPlan) -> SimNetwork {
        let shared = Shared {
            sim: sim.clone(),
            plan: Cell::new(plan),
            listeners: RefCell::default(),
            links: RefCell::default(),
            next_port: Cell::new(EPHEMERAL_PORT_FIRST),
            sent: RefCell::default(),
        };
        SimNetwork { shared: Rc::new(shared) }
    }

    /// Changes what may go wrong from now on.
    pub fn set_plan(&self, plan: NetPlan) {
        self.shared.plan.set(plan);
    }

    /// Keeps every segment that is handed over for sending from now on, and so its memory: no later buffer can have its address.
    pub fn keep_sent(&self) {
        self.shared.sent.borrow_mut().get_or_insert_default();
    }

    /// Takes the segments that `node` has handed over, as they lay in its memory.
    pub fn take_sent(&self, node: NodeId) -> Vec<Bytes> {
        let mut kept = self.shared.sent.borrow_mut();
        let sent = kept.iter_mut().flat_map(|kept| kept.extract_if(.., |(from, _)| *from == node));
        sent.map(|(_, segment)| segment).collect()
    }

    /// Takes `node` off the network after its crash: its listeners are gone; each of its peers hears of it by a
    /// reset, some only when they next write.
    pub fn crash(&self, node: NodeId) {
        self.shared.listeners.borrow_mut().retain(|(of, _), _| *of != node);
        let links: Vec<Rc<Link>> = self.shared.links.borrow().iter().filter_map(Weak::upgrade).collect();
        for link in links {
            link.lose_node(node);
        }
    }

    pub(super) fn of_node(&self, node: &NodeRt) -> NodeNetwork {
        NodeNetwork { shared: self.shared.clone(), node: node.clone(), account: Rc::default() }
    }
}

impl Shared {
    fn delay(&self) -> Duration {
        let nanos = u64::try_from(self.plan.get().delay_max.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.sim.random_below(nanos.saturating_add(1)))
    }

    /// Draws one of the plan's rare events.
    fn happens(&self, one_in: u64) -> bool {
        one_in > 0 && self.sim.chance(1, one_in)
    }

    fn fresh_port(&self) -> u16 {
        let port = self.next_port.get();
        self.next_port.set(port.checked_add(1).unwrap_or(EPHEMERAL_PORT_FIRST));
        port
    }

    /// The node that `addr` means to `from`: wildcard and loopback addresses mean itself.
    fn resolve(from: NodeId, addr: SocketAddr) -> Option<NodeId> {
        match addr.ip() {
            ip if ip.is_unspecified() || ip.is_loopback() => Some(from),
            IpAddr::V4(ip) => match ip.octets() {
                [10, a, b, c] => Some(NodeId(u32::from_be_bytes([0, a, b, c]))),
                _ => None,
            },
            IpAddr::V6(_) => None,
        }
    }

    /// Joins two nodes; the first socket is `client`'s.
    fn join(self: &Rc<Self>, client: NodeId, server: NodeId) -> (SimSocket, SimSocket) {
        let link = Rc::new(Link::new(self.clone(), [client, server]));
        let mut links = self.links.borrow_mut();
        links.retain(|link| link.strong_count() > 0);
        links.push(Rc::downgrade(&link));
        let end = |side| SimSocket { end: Rc::new(End { link: link.clone(), side }) };
        (end(0), end(1))
    }
}

/// The network as one node sees it.
#[derive(Clone)]
pub(super) struct NodeNetwork {
    shared: Rc<Shared>,
    node: NodeRt,
    account: Rc<Account>,
}

impl NodeNetwork {
    pub(super) fn zerocopy_figures(&self) -> ZerocopyFigures {
        self.account.figures()
    }

    pub(super) fn watch_pins(&self, watch: PinWatch) {
        self.account.watch(watch);
    }

    pub(super) fn listen(&self, addr: SocketAddr) -> Result<SimListener, SocketError> {
        let port = if addr.port() == 0 { self.shared.fresh_port() } else { addr.port() };
        let queue = Rc::new(Queue {
            addr: SocketAddr::new(addr.ip(), port),
            waiting: RefCell::default(),
            acceptor: RefCell::default(),
        });
        let key = (self.node.id(), port);
        self.shared.listeners.borrow_mut().entry(key).or_default().push(queue.clone());
        Ok(SimListener { shared: self.shared.clone(), key, queue, account: self.account.clone() })
    }

    pub(super) fn probe_exclusive(&self, addr: SocketAddr) -> Result<SocketAddr, SocketError> {
        let port = if addr.port() == 0 { self.shared.fresh_port() } else { addr.port() };
        if self.shared.listeners.borrow().contains_key(&(self.node.id(), port)) {
            return Err(SocketError::AddressInUse { addr });
        }
        Ok(SocketAddr::new(addr.ip(), port))
    }

    pub(super) async fn connect(&self, addr: SocketAddr) -> Result<SimSocket, SocketError> {
        self.shared.sim.sleep(self.shared.delay()).await;
        let server = Shared::resolve(self.node.id(), addr).ok_or(SocketError::Closed)?;
        let queue = self.pick((server, addr.port())).ok_or(SocketError::Refused { addr })?;
        let (ours, theirs) = self.shared.join(self.node.id(), server);
        queue.push(theirs, node_addr(self.node.id(), self.shared.fresh_port()));
        self.shared.sim.sleep(self.shared.delay()).await;
        Ok(ours)
    }

    /// One of the listeners that share a port, as the kernel's hash would choose.
    fn pick(&self, key: (NodeId, u16)) -> Option<Rc<Queue>> {
        let listeners = self.shared.listeners.borrow();
        let sharing = listeners.get(&key)?;
        let chosen = self.shared.sim.random_below(sharing.len() as u64) as usize;
        let queue = sharing.get(chosen)?.clone();
        let full = queue.waiting.borrow().len() >= BACKLOG;
        (!full).then_some(queue)
    }
}

impl Queue {
    fn push(&self, socket: SimSocket, peer: SocketAddr) {
        self.waiting.borrow_mut().push_back((socket, peer));
        wake(&self.acceptor);
    }
}

fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A listener of one shard of a simulated node.
pub(super) struct SimListener {
    shared: Rc<Shared>,
    key: (NodeId, u16),
    queue: Rc<Queue>,
    account: Rc<Account>,
}

impl SimListener {
    pub(super) async fn accept(&self) -> Result<(SimSocket, SocketAddr), SocketError> {
        poll_fn(|cx| match self.queue.waiting.borrow_mut().pop_front() {
            Some((socket, peer)) => {
                socket.end.link.account(socket.end.side, &self.account);
                Poll::Ready(Ok((socket, peer)))
            }
            None => {
                *self.queue.acceptor.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.queue.addr
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut listeners = self.shared.listeners.borrow_mut();
        let Some(sharing) = listeners.get_mut(&self.key) else { return };
        sharing.retain(|queue| !Rc::ptr_eq(queue, &self.queue));
        if sharing.is_empty() {
            listeners.remove(&self.key);
        }
    }
}

/// One end of a simulated connection.
#[derive(Clone)]
pub(super) struct SimSocket {
    end: Rc<End>,
}

struct End {
    link: Rc<Link>,
    side: usize,
}

impl SimSocket {
    pub(super) async fn read_into(&self, buffer: &mut BytesMut) -> Result<usize, SocketError> {
        poll_fn(|cx| self.end.link.poll_read(self.end.side, buffer, cx)).await
    }

    pub(super) async fn write_rope(&self, rope: &mut VecDeque<Bytes>) -> Result<u64, SocketError> {
        let mut sent_bytes = 0;
        super::advance_rope(rope, 0);
        self.end.link.keep(self.end.side, rope);
        while !rope.is_empty() {
            sent_bytes += poll_fn(|cx| self.end.link.poll_write(self.end.side, rope, cx)).await? as u64;
        }
        Ok(sent_bytes)
    }

    pub(super) fn pins(&self) -> Pins {
        self.end.link.pins(self.end.side)
    }

    pub(super) fn shutdown(&self) {
        self.end.link.finish(self.end.side);
    }

    pub(super) fn abort(&self) {
        self.end.link.reset();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.link.close(self.side);
    }
}
