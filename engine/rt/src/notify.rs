//! Waiting on one's own shard: an event and a lock for tasks of one thread. Nothing here crosses threads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// An event that any number of tasks of this shard wait for. A notification wakes those that wait, and no later ones.
#[derive(Default)]
pub struct Notify {
    generation: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
    next_waiter: Cell<u64>,
}

impl Notify {
    /// Wakes everybody who waits.
    pub fn notify(&self) {
        self.generation.set(self.generation.get() + 1);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_values().for_each(Waker::wake);
    }

    /// Resolves at the first notification after this call (not: after the first poll).
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, since: self.generation.get(), waiter: None }
    }

    fn new_waiter(&self) -> u64 {
        self.next_waiter.replace(self.next_waiter.get() + 1)
    }

    /// How many tasks wait.
    #[cfg(test)]
    fn waiters(&self) -> usize {
        self.waiting.borrow().len()
    }
}

/// Future of [`Notify::notified`]. Dropped, it waits no longer: what outlives many waits must not collect them.
#[must_use = "a future does nothing until it is awaited"]
pub struct Notified<'a> {
    notify: &'a Notify,
    since: u64,
    waiter: Option<u64>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        if notify.generation.get() != self.since {
            return Poll::Ready(());
        }
        let waiter = *self.waiter.get_or_insert_with(|| notify.new_waiter());
        let mut waiting = notify.waiting.borrow_mut();
        match waiting.get_mut(&waiter) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => drop(waiting.insert(waiter, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            let gone = self.notify.waiting.borrow_mut().remove(&waiter);
            drop(gone); // outside the borrow: the last waker of a task drops the task
        }
    }
}

/// A lock that a task of this shard may hold across suspension points.
#[derive(Default)]
pub struct Lock {
    held: Cell<bool>,
    released: Notify,
}

impl Lock {
    /// Waits until nobody holds the lock, and takes it.
    pub async fn acquire(&self) -> Held<'_> {
        loop {
            let released = self.released.notified();
            if let Some(held) = self.try_acquire() {
                return held;
            }
            released.await;
        }
    }

    /// Takes the lock if nobody holds it.
    pub fn try_acquire(&self) -> Option<Held<'_>> {
        if self.held.replace(true) { None } else { Some(Held(self)) }
    }
}

/// Holds a [`Lock`] until dropped.
#[must_use = "the lock is held only as long as this lives"]
pub struct Held<'a>(&'a Lock);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.set(false);
        self.0.released.notify();
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::sim::{NodeId, Sim};
    use crate::{Queue, Rt};
    use std::rc::Rc;
    use std::time::Duration;

    #[test]
    fn a_notification_between_asking_and_awaiting_is_not_lost() {
        let sim = Sim::new(1);
        let notify = Rc::new(Notify::default());
        let outcome = sim.run(Duration::from_secs(1), async move {
            let notified = notify.notified();
            notify.notify();
            notified.await;
        });
        assert_eq!(outcome, Ok(()));
    }

    #[test]
    fn whoever_gives_up_waits_no_longer() {
        let notify = Notify::default();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let mut waiting = Box::pin(notify.notified());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            assert_eq!(notify.waiters(), 1);
        }
        assert_eq!(notify.waiters(), 0);
    }

    #[test]
    fn one_task_at_a_time_holds_the_lock() {
        let sim = Sim::new(2);
        let rt = Rt::sim(sim.node(NodeId(0)));
        let (lock, inside) = (Rc::new(Lock::default()), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (rt, lock, inside) = (rt.clone(), lock.clone(), inside.clone());
                rt.clone().spawn(Queue::Foreground, async move {
                    let _held = lock.acquire().await;
                    assert_eq!(inside.replace(1), 0);
                    rt.sleep(Duration::from_micros(rt.random_below(20))).await;
                    inside.set(0);
                })
            })
            .collect();
        let outcome = sim.run(Duration::from_secs(1), async move {
            for task in tasks {
                task.await;
            }
        });
        assert_eq!(outcome, Ok(()));
    }
}
