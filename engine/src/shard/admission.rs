//! Who may connect: the one thing that all shards of a broker change together, since connections are spread over them and limits
//! are the broker's. A lock is held for a moment when a connection comes and when it goes, and never while anything waits.
//!
//! Behaves as Kafka's `ConnectionQuotas`: above `max.connections` a listener does not accept until a connection has gone;
//! above `max.connections.per.ip` a connection is closed at once; above `max.connection.creation.rate` it waits. The
//! decisions themselves are [`ledger`]'s.

pub mod ledger;
mod rate;

use super::Shard;
use super::connection::Connection;
use crate::broker::BrokerOptions;
use crate::config::connections::ConnectionLimits;
use crate::metrics::{CloseCause, ShardMetrics};
use hayate_rt::Rt;
use hayate_rt::mailbox::Publisher;
use ledger::{Ledger, Verdict};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections that are closed before others get their turn.
const STEP: usize = 64;

/// The connections of a broker, shared by its shards.
pub struct Admission {
    ledger: Mutex<Ledger>,
    /// The listener whose connections never make room.
    spared: Option<usize>,
    /// Acceptors that wait for room.
    waiting: AtomicUsize,
    /// There may be room.
    freed: Publisher<()>,
    /// Somebody must make room.
    overfull: Publisher<()>,
    /// Of the view that the limits are from.
    generation: AtomicU64,
}

/// A connection's place; given up when dropped, if not before.
pub struct Seat {
    admission: Arc<Admission>,
    listener: usize,
    address: IpAddr,
    was_told: Cell<bool>,
    is_given_up: Cell<bool>,
}

impl Admission {
    /// Nobody is connected yet.
    pub fn new(options: &BrokerOptions) -> Arc<Admission> {
        let listeners = options.listeners.iter().map(|listener| listener.name.clone()).collect();
        let limits = options.connection_limits.clone();
        let signal = || Publisher::new(Arc::new(()));
        let ledger = Ledger::new(listeners, options.inter_broker_listener.as_deref(), limits);
        Arc::new(Admission {
            spared: ledger.spared(),
            ledger: Mutex::new(ledger),
            waiting: AtomicUsize::new(0),
            freed: signal(),
            overfull: signal(),
            generation: AtomicU64::new(0),
        })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by the limits of a view, if none of a later one came before.
    pub fn follow(&self, generation: u64, limits: impl FnOnce() -> ConnectionLimits) {
        let is_new = self.generation.fetch_max(generation, Ordering::AcqRel) < generation;
        if is_new && self.ledger().set_limits(limits()) {
            self.freed.publish(Arc::new(()));
            self.overfull.publish(Arc::new(()));
        }
    }

    /// Waits until a connection that was accepted may be served; `None` when it must be closed.
    pub async fn admit(
        self: &Arc<Self>,
        rt: &Rt,
        metrics: &ShardMetrics,
        listener: usize,
        peer: SocketAddr,
    ) -> Option<Seat> {
        let address = peer.ip().to_canonical();
        let now = rt.now();
        let delay = self.ledger().arrive(listener, now);
        if !delay.is_zero() {
            metrics.accept_throttles.add(1);
            rt.sleep(delay).await;
        }
        let mut verdict = self.try_admit(listener, address);
        if verdict == Verdict::Full {
            metrics.accept_stalls.add(1);
            verdict = self.wait_for_room(listener, address).await;
        }
        match verdict {
            Verdict::Admitted => {}
            Verdict::TooManyFromAddress(number) => {
                metrics.connections_refused.add(1);
                tracing::debug!(%address, number, "connection refused: the address has max.connections.per.ip already");
                return None;
            }
            Verdict::Full => return None,
        }
        if self.ledger().is_overfull() {
            self.overfull.publish(Arc::new(()));
        }
        let (was_told, is_given_up) = (Cell::new(false), Cell::new(false));
        Some(Seat { admission: self.clone(), listener, address, was_told, is_given_up })
    }

    fn try_admit(&self, listener: usize, address: IpAddr) -> Verdict {
        self.ledger().admit(listener, address)
    }

    async fn wait_for_room(&self, listener: usize, address: IpAddr) -> Verdict {
        let _waiting = Waiting::new(&self.waiting);
        let freed = self.freed.subscribe();
        loop {
            let verdict = self.try_admit(listener, address);
            if verdict != Verdict::Full || freed.changed().await.is_err() {
                return verdict;
            }
        }
    }

    fn leave(&self, seat: &Seat) {
        self.ledger().leave(seat.listener, seat.address, seat.was_told.get());
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.freed.publish(Arc::new(()));
        }
    }
}

impl Seat {
    /// The place of its listener among the broker's.
    pub fn listener(&self) -> usize {
        self.listener
    }

    /// The connection has ended, although something of it may still be held.
    pub fn give_up(&self) {
        if !self.is_given_up.replace(true) {
            self.admission.leave(self);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// An acceptor that waits; counted until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Waiting<'a> {
        count.fetch_add(1, Ordering::AcqRel);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Closes connections of `shard` while the broker has too many: those first on which nothing has happened for the longest
/// time. Never ends.
pub async fn make_room(shard: &Shard) {
    let admission = shard.admission.clone();
    let overfull = admission.overfull.subscribe();
    while overfull.changed().await.is_ok() {
        for (count, connection) in idlest_first(shard, &admission).into_iter().enumerate() {
            let seat = connection.seat();
            if seat.is_given_up.get() {
                continue;
            }
            if !admission.ledger().tell() {
                break;
            }
            seat.was_told.set(true);
            connection.close_because(CloseCause::Limit);
            connection.abort();
            if count % STEP == STEP - 1 {
                shard.rt.yield_now().await;
            }
        }
    }
}

/// The connections that may be told to make room, and were not told yet.
fn idlest_first(shard: &Shard, admission: &Admission) -> Vec<Rc<Connection>> {
    let mut all = shard.connections.all();
    all.retain(|connection| {
        let seat = connection.seat();
        !seat.was_told.get() && Some(seat.listener) != admission.spared
    });
    all.sort_by_key(|connection| connection.last_active());
    all
}
