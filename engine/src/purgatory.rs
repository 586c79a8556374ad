//! Delayed fetches: who waits for bytes of which partitions, and is woken once by what satisfies the wait.
//!
//! A fetch that finds too little leaves one [`Watch`] at each shard that owns some of its partitions. The watch knows
//! how many bytes are still missing; each partition takes what it gains off that number, and the watch wakes its
//! fetch when nothing is missing or something went wrong. Waking never waits: the slot for it was made by the fetch.
//! Registering costs one reference a partition; a watch whose fetch is gone is dropped when its list is next tidied.
//! Nothing here polls. After Kafka's `DelayedOperationPurgatory`, which completes operations where this only wakes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Lists shorter than this are not tidied.
const TIDY_LENGTH_MIN: usize = 16;

/// The waiting side: resolves when one of its watches fires.
pub struct Waiter {
    woken: flume::Receiver<()>,
}

/// The slot through which watches wake their fetch; may cross to other shards.
#[derive(Clone)]
pub struct WakeSlot {
    wake: flume::Sender<()>,
}

/// A slot and the side that waits for it.
pub fn wake_slot() -> (WakeSlot, Waiter) {
    let (wake, woken) = flume::bounded(1);
    (WakeSlot { wake }, Waiter { woken })
}

impl Waiter {
    /// Resolves at the first wake after the last one taken; for ever pending without a slot.
    pub async fn woken(&self) {
        if self.woken.recv_async().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl WakeSlot {
    fn wake(&self) {
        // Full: a wake is already on its way. Disconnected: nobody cares any more.
        let _ = self.wake.try_send(());
    }

    fn is_abandoned(&self) -> bool {
        self.wake.is_disconnected()
    }
}

/// One fetch's wait at one shard.
pub struct Watch {
    slot: WakeSlot,
    missing_bytes: Cell<u64>,
    fired: Cell<bool>,
}

impl Watch {
    /// Wakes `slot` once `missing_bytes` more bytes are readable over all partitions that hold this watch; at least 1.
    pub fn new(slot: WakeSlot, missing_bytes: u64) -> Rc<Watch> {
        Rc::new(Watch { slot, missing_bytes: Cell::new(missing_bytes.max(1)), fired: Cell::new(false) })
    }

    fn gain(&self, bytes: u64) {
        let missing = self.missing_bytes.get().saturating_sub(bytes);
        self.missing_bytes.set(missing);
        if missing == 0 {
            self.fire();
        }
    }

    fn fire(&self) {
        if !self.fired.replace(true) {
            self.slot.wake();
        }
    }

    fn is_over(&self) -> bool {
        self.fired.get() || self.slot.is_abandoned()
    }
}

/// The watches of one partition.
#[derive(Default)]
pub struct Watchers {
    watches: RefCell<Vec<Rc<Watch>>>,
    tidy_at: Cell<usize>,
}

impl Watchers {
    /// Whether anybody may be waiting.
    pub fn is_empty(&self) -> bool {
        self.watches.borrow().is_empty()
    }

    /// Adds a watch.
    pub fn add(&self, watch: Rc<Watch>) {
        let mut watches = self.watches.borrow_mut();
        if watches.len() >= self.tidy_at.get().max(TIDY_LENGTH_MIN) {
            watches.retain(|watch| !watch.is_over());
            self.tidy_at.set(watches.len() * 2);
        }
        watches.push(watch);
    }

    /// The partition has `bytes` more that can be read.
    pub fn gained(&self, bytes: u64) {
        let mut watches = self.watches.borrow_mut();
        watches.iter().for_each(|watch| watch.gain(bytes));
        watches.retain(|watch| !watch.is_over());
    }

    /// The partition is gone, failed or moved: whoever waits must look again.
    pub fn disturbed(&self) {
        let watches = std::mem::take(&mut *self.watches.borrow_mut());
        watches.iter().for_each(|watch| watch.fire());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_woken(waiter: &Waiter) -> bool {
        waiter.woken.try_recv().is_ok()
    }

    #[test]
    fn partitions_add_up_to_what_is_missing() {
        let (slot, waiter) = wake_slot();
        let (first, second) = (Watchers::default(), Watchers::default());
        let watch = Watch::new(slot, 100);
        first.add(watch.clone());
        second.add(watch);
        first.gained(60);
        assert!(!is_woken(&waiter));
        second.gained(40);
        assert!(is_woken(&waiter));
        second.gained(1000);
        assert!(!is_woken(&waiter), "a watch fires once");
        assert!(second.is_empty());
    }

    #[test]
    fn a_disturbance_wakes_at_once() {
        let (slot, waiter) = wake_slot();
        let watchers = Watchers::default();
        watchers.add(Watch::new(slot, u64::MAX));
        watchers.disturbed();
        assert!(is_woken(&waiter) && watchers.is_empty());
    }

    #[test]
    fn nothing_missing_still_takes_a_byte() {
        let (slot, waiter) = wake_slot();
        let watchers = Watchers::default();
        watchers.add(Watch::new(slot, 0));
        assert!(!is_woken(&waiter));
        watchers.gained(1);
        assert!(is_woken(&waiter));
    }

    #[test]
    fn watches_of_fetches_that_are_gone_do_not_pile_up() {
        let watchers = Watchers::default();
        let (slot, _alive) = wake_slot();
        watchers.add(Watch::new(slot, 1));
        for _ in 0..10_000 {
            watchers.add(Watch::new(wake_slot().0, 1));
        }
        assert!(watchers.watches.borrow().len() <= TIDY_LENGTH_MIN + 1);
    }
}
