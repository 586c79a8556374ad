//! A shard's memory for what connections hold: requests being received and served, and answers on their way. When it is spent, sockets
//! are not read until some of it is given back.
//!
//! Small requests and answers have a part of their own, so that they pass large ones that wait; among the large ones the first come is the first
//! served, so that none starves. What is larger than its part goes alone.

use hayate_rt::notify::Notify;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Charges up to this are small.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// The small ones' share of the budget: one part in so many.
const SMALL_SHARE: usize = 4;
/// A peer's share of the large ones' part: one part in so many.
const PEER_SHARE: usize = 4;

/// Bytes that may be held, and that are.
pub struct Pool {
    limit_bytes: usize,
    used_bytes: Cell<usize>,
    /// Numbers of those that wait; the lowest is next.
    waiting: RefCell<BTreeSet<u64>>,
    next_number: Cell<u64>,
    stalls: Cell<u64>,
    freed: Notify,
}

/// The pools of the requests of a shard, or of its answers.
pub struct Budget {
    small: Rc<Pool>,
    large: Rc<Pool>,
}

/// Bytes held; given back when dropped.
pub struct Charge {
    pool: Rc<Pool>,
    bytes: usize,
}

/// A place in the queue; given up when dropped.
struct Place<'a> {
    pool: &'a Pool,
    number: u64,
}

impl Pool {
    /// Nothing is held yet.
    pub fn new(limit_bytes: usize) -> Rc<Pool> {
        Rc::new(Pool {
            limit_bytes,
            used_bytes: Cell::new(0),
            waiting: RefCell::default(),
            next_number: Cell::new(0),
            stalls: Cell::new(0),
            freed: Notify::default(),
        })
    }

    fn queue(&self) -> Place<'_> {
        let number = self.next_number.replace(self.next_number.get() + 1);
        self.waiting.borrow_mut().insert(number);
        Place { pool: self, number }
    }

    fn fits(&self, bytes: usize) -> bool {
        let used = self.used_bytes.get();
        used == 0 || used.saturating_add(bytes) <= self.limit_bytes
    }

    /// Waits until `bytes` fit and nobody came before.
    pub async fn acquire(self: &Rc<Self>, bytes: usize) -> Charge {
        if self.waiting.borrow().is_empty() && self.fits(bytes) {
            return self.take(bytes);
        }
        let place = self.queue();
        loop {
            let freed = self.freed.notified();
            if place.is_next() && self.fits(bytes) {
                return self.take(bytes);
            }
            self.stalls.set(self.stalls.get() + 1);
            freed.await;
        }
    }

    /// Takes `bytes` that are there already, beyond the limit if need be.
    pub fn take(self: &Rc<Self>, bytes: usize) -> Charge {
        self.used_bytes.set(self.used_bytes.get() + bytes);
        Charge { pool: self.clone(), bytes }
    }

    /// Waits while more is held than may be.
    pub async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if !self.is_overdrawn() {
                return;
            }
            self.stalls.set(self.stalls.get() + 1);
            freed.await;
        }
    }

    fn is_overdrawn(&self) -> bool {
        self.used_bytes.get() > self.limit_bytes
    }

    /// Whether somebody waits for what is held, or more is held than may be.
    pub fn is_wanted(&self) -> bool {
        !self.waiting.borrow().is_empty() || self.is_overdrawn()
    }

    /// The most bytes that may be held.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Bytes held now.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.get()
    }

    /// How often somebody had to wait.
    pub fn stalls(&self) -> u64 {
        self.stalls.get()
    }
}

impl Place<'_> {
    fn is_next(&self) -> bool {
        self.pool.waiting.borrow().first() == Some(&self.number)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pool.waiting.borrow_mut().remove(&self.number);
        self.pool.freed.notify();
    }
}

impl Budget {
    /// Nothing is held yet.
    pub fn new(limit_bytes: usize) -> Budget {
        let small = limit_bytes / SMALL_SHARE;
        Budget { small: Pool::new(small), large: Pool::new(limit_bytes - small) }
    }

    fn pool(&self, bytes: usize) -> &Rc<Pool> {
        if bytes <= SMALL_BYTES_MAX { &self.small } else { &self.large }
    }

    /// Waits until `bytes` fit and nobody of the kind came before.
    pub async fn acquire(&self, bytes: usize) -> Charge {
        self.pool(bytes).acquire(bytes).await
    }

    /// Takes `bytes` that are there already, beyond the limit if need be.
    pub fn take(&self, bytes: usize) -> Charge {
        self.pool(bytes).take(bytes)
    }

    /// Takes nothing yet of what large ones may hold.
    pub fn take_large(&self) -> Charge {
        self.large.take(0)
    }

    /// Waits while more is held than may be.
    pub async fn room(&self) {
        self.small.room().await;
        self.large.room().await;
    }

    /// Whether somebody waits for what large ones hold, or they hold more than may be.
    pub fn is_large_wanted(&self) -> bool {
        self.large.is_wanted()
    }

    /// The most bytes that one peer's answer may have: of the large ones' part a quarter, so that a peer that takes none of two, one that is
    /// sent and one that is next, leaves half to others.
    pub fn share_bytes(&self) -> usize {
        self.large.limit_bytes() / PEER_SHARE
    }

    /// Bytes held now.
    pub fn used_bytes(&self) -> usize {
        self.small.used_bytes() + self.large.used_bytes()
    }

    /// How often somebody had to wait.
    pub fn stalls(&self) -> u64 {
        self.small.stalls() + self.large.stalls()
    }
}

impl Charge {
    /// Whether somebody waits for what this and its like hold. Who waits for another pool has nothing of it.
    pub fn is_wanted(&self) -> bool {
        self.pool.is_wanted()
    }

    /// It turned out to be so many bytes.
    pub fn correct(&mut self, bytes: usize) {
        let pool = &self.pool;
        pool.used_bytes.set(pool.used_bytes.get() - self.bytes + bytes);
        self.bytes = bytes;
        pool.freed.notify();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.correct(0);
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use hayate_rt::sim::{NodeId, Sim};
    use hayate_rt::{Queue, Rt};
    use std::time::Duration;

    const KIB: usize = 1 << 10;

    #[test]
    fn what_does_not_fit_waits_in_its_order_and_small_ones_pass() {
        let sim = Sim::new(1);
        let rt = Rt::sim(sim.node(NodeId(1)));
        let budget = Rc::new(Budget::new(1000 * KIB));
        let shared = budget.clone();
        sim.run(Duration::from_secs(60), async move {
            let first = shared.acquire(600 * KIB).await;
            let order = Rc::new(RefCell::new(Vec::new()));
            let waiting = |bytes: usize| {
                let (shared, order) = (shared.clone(), order.clone());
                rt.spawn(Queue::Foreground, async move {
                    let _charge = shared.acquire(bytes).await;
                    order.borrow_mut().push(bytes);
                })
            };
            let small = shared.acquire(KIB).await;
            let oversized = waiting(5000 * KIB);
            rt.sleep(Duration::from_millis(1)).await;
            let behind = waiting(100 * KIB);
            waiting(KIB).await;
            rt.sleep(Duration::from_millis(1)).await;
            assert_eq!(*order.borrow(), [KIB], "the one that would fit does not overtake");
            assert!(first.is_wanted() && !small.is_wanted(), "nobody waits for what small ones hold");
            drop((first, small));
            oversized.await;
            behind.await;
            assert_eq!(*order.borrow(), [KIB, 5000 * KIB, 100 * KIB]);
        })
        .unwrap();
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.stalls() > 0);
    }

    #[test]
    fn whoever_gives_up_holds_nobody_up() {
        let sim = Sim::new(1);
        let rt = Rt::sim(sim.node(NodeId(1)));
        let shared = Rc::new(Budget::new(1000 * KIB));
        sim.run(Duration::from_secs(60), async move {
            let first = shared.acquire(600 * KIB).await;
            let gave_up = rt.timeout(Duration::from_millis(1), shared.acquire(700 * KIB)).await;
            assert!(gave_up.is_err());
            drop(shared.acquire(100 * KIB).await);
            drop(first);
        })
        .unwrap();
    }

    #[test]
    fn what_is_there_already_is_counted_and_keeps_others_from_coming() {
        let sim = Sim::new(1);
        let rt = Rt::sim(sim.node(NodeId(1)));
        sim.run(Duration::from_secs(60), async move {
            let pool = Pool::new(100);
            let mut first = pool.take(90);
            pool.room().await;
            assert!(!first.is_wanted());
            let second = pool.take(40);
            assert!(first.is_wanted(), "more is held than may be");
            assert!(rt.timeout(Duration::from_millis(1), pool.room()).await.is_err());
            first.correct(60);
            pool.room().await;
            drop((first, second));
            assert_eq!((pool.used_bytes(), pool.stalls()), (0, 1));
        })
        .unwrap();
    }
}
