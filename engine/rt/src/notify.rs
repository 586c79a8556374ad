//! Waiting on one's own shard: an event and a lock for tasks of one thread. Nothing here crosses threads.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// An event that any number of tasks of this shard wait for. A notification wakes those that wait, and no later ones.
#[derive(Default)]
pub struct Notify {
    generation: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Notify {
    /// Wakes everybody who waits.
    pub fn notify(&self) {
        self.generation.set(self.generation.get() + 1);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Resolves at the first notification after this call (not: after the first poll).
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, since: self.generation.get() }
    }
}

/// Future of [`Notify::notified`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Notified<'a> {
    notify: &'a Notify,
    since: u64,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.notify.generation.get() != self.since {
            return Poll::Ready(());
        }
        let mut waiting = self.notify.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
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
