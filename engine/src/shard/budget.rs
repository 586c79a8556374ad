//! A shard's budget for receive buffers: when it is spent, sockets are not read until requests are done.
//!
//! Small requests have a part of their own, so that they pass large ones that wait; among the large ones the first come is the first
//! served, so that none starves. What is larger than its part goes alone.

use hayate_rt::notify::Notify;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Charges up to this are small.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// The small ones' share of the budget: one part in so many.
const SMALL_SHARE: usize = 4;

/// Bytes that may be held, and that are.
pub struct Budget {
    small: Part,
    large: Part,
    stalls: Cell<u64>,
}

struct Part {
    limit_bytes: usize,
    used_bytes: Cell<usize>,
    /// Numbers of those that wait; the lowest is next.
    waiting: RefCell<BTreeSet<u64>>,
    next_number: Cell<u64>,
    freed: Notify,
}

/// Bytes held; given back when dropped.
pub struct Charge {
    budget: Rc<Budget>,
    bytes: usize,
}

/// A place in the queue; given up when dropped.
struct Place<'a> {
    part: &'a Part,
    number: u64,
}

impl Part {
    fn new(limit_bytes: usize) -> Part {
        let (used_bytes, next_number) = (Cell::new(0), Cell::new(0));
        Part { limit_bytes, used_bytes, waiting: RefCell::default(), next_number, freed: Notify::default() }
    }

    fn queue(&self) -> Place<'_> {
        let number = self.next_number.replace(self.next_number.get() + 1);
        self.waiting.borrow_mut().insert(number);
        Place { part: self, number }
    }

    fn fits(&self, bytes: usize) -> bool {
        let used = self.used_bytes.get();
        used == 0 || used.saturating_add(bytes) <= self.limit_bytes
    }
}

impl Place<'_> {
    fn is_next(&self) -> bool {
        self.part.waiting.borrow().first() == Some(&self.number)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.part.waiting.borrow_mut().remove(&self.number);
        self.part.freed.notify();
    }
}

impl Budget {
    /// Nothing is held yet.
    pub fn new(limit_bytes: usize) -> Rc<Budget> {
        let small = limit_bytes / SMALL_SHARE;
        let (small, large) = (Part::new(small), Part::new(limit_bytes - small));
        Rc::new(Budget { small, large, stalls: Cell::new(0) })
    }

    fn part(&self, bytes: usize) -> &Part {
        if bytes <= SMALL_BYTES_MAX { &self.small } else { &self.large }
    }

    /// Waits until `bytes` fit and nobody of the kind came before.
    pub async fn acquire(self: &Rc<Self>, bytes: usize) -> Charge {
        let part = self.part(bytes);
        let place = part.queue();
        loop {
            let freed = part.freed.notified();
            if place.is_next() && part.fits(bytes) {
                part.used_bytes.set(part.used_bytes.get() + bytes);
                return Charge { budget: self.clone(), bytes };
            }
            self.stalls.set(self.stalls.get() + 1);
            freed.await;
        }
    }

    /// Bytes held now.
    pub fn used_bytes(&self) -> usize {
        self.small.used_bytes.get() + self.large.used_bytes.get()
    }

    /// How often somebody had to wait.
    pub fn stalls(&self) -> u64 {
        self.stalls.get()
    }
}

impl Charge {
    /// Whether somebody waits for what this and its like hold. Who waits for the other part of the budget has nothing of it.
    pub fn is_wanted(&self) -> bool {
        !self.budget.part(self.bytes).waiting.borrow().is_empty()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let part = self.budget.part(self.bytes);
        part.used_bytes.set(part.used_bytes.get() - self.bytes);
        part.freed.notify();
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
        let budget = Budget::new(1000 * KIB);
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
        let shared = Budget::new(1000 * KIB);
        sim.run(Duration::from_secs(60), async move {
            let first = shared.acquire(600 * KIB).await;
            let gave_up = rt.timeout(Duration::from_millis(1), shared.acquire(700 * KIB)).await;
            assert!(gave_up.is_err());
            drop(shared.acquire(100 * KIB).await);
            drop(first);
        })
        .unwrap();
    }
}
