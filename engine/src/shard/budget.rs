//! A shard's budget for receive buffers: when it is spent, sockets are not read until requests are done.

use hayate_rt::notify::Notify;
use std::cell::Cell;
use std::rc::Rc;

/// Bytes that may be held, and that are.
pub struct Budget {
    limit_bytes: usize,
    used_bytes: Cell<usize>,
    stalls: Cell<u64>,
    freed: Notify,
}

/// Bytes held; given back when dropped.
pub struct Charge {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Nothing is held yet.
    pub fn new(limit_bytes: usize) -> Rc<Budget> {
        let (used_bytes, stalls) = (Cell::new(0), Cell::new(0));
        Rc::new(Budget { limit_bytes, used_bytes, stalls, freed: Notify::default() })
    }

    /// Waits until `bytes` fit. What is larger than the whole budget goes alone.
    pub async fn acquire(self: &Rc<Self>, bytes: usize) -> Charge {
        loop {
            let freed = self.freed.notified();
            let used = self.used_bytes.get();
            if used == 0 || used.saturating_add(bytes) <= self.limit_bytes {
                self.used_bytes.set(used + bytes);
                return Charge { budget: self.clone(), bytes };
            }
            self.stalls.set(self.stalls.get() + 1);
            freed.await;
        }
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

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used_bytes.set(self.budget.used_bytes.get() - self.bytes);
        self.budget.freed.notify();
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use hayate_rt::sim::{NodeId, Sim};
    use hayate_rt::{Queue, Rt};
    use std::time::Duration;

    #[test]
    fn what_does_not_fit_waits_and_the_oversized_go_alone() {
        let sim = Sim::new(1);
        let rt = Rt::sim(sim.node(NodeId(1)));
        let budget = Budget::new(100);
        let shared = budget.clone();
        sim.run(Duration::from_secs(60), async move {
            let first = shared.acquire(60).await;
            let waiting = {
                let shared = shared.clone();
                rt.spawn(Queue::Foreground, async move { drop(shared.acquire(1000).await) })
            };
            rt.sleep(Duration::from_millis(1)).await;
            assert_eq!(shared.used_bytes(), 60);
            let second = shared.acquire(40).await;
            drop(first);
            rt.sleep(Duration::from_millis(1)).await;
            assert_eq!(shared.used_bytes(), 40);
            drop(second);
            waiting.await;
        })
        .unwrap();
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.stalls() > 0);
    }
}
