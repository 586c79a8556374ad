//! Tasks of a simulation: a slab of futures, the queue of those that were woken, and handles on their results.

use super::{NodeId, World};
use crate::random::Prng;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

pub(super) type Owner = Option<(NodeId, u64)>;
type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

struct Slot {
    owner: Owner,
    /// Absent while the task is being polled.
    future: Option<TaskFuture>,
    /// The same at every poll, so that who is told to wake it recognises it.
    waker: Waker,
    cancelled: bool,
}

/// All live tasks, by an id that is never used twice.
#[derive(Default)]
pub(super) struct Tasks {
    slots: BTreeMap<u64, Slot>,
    made: u64,
}

impl Tasks {
    pub(super) fn insert(&mut self, owner: Owner, future: TaskFuture, ready: &Arc<ReadyQueue>) -> u64 {
        self.made += 1;
        let waker = Waker::from(Arc::new(TaskWaker { id: self.made, ready: ready.clone() }));
        self.slots.insert(self.made, Slot { owner, future: Some(future), waker, cancelled: false });
        self.made
    }

    pub(super) fn check_out(&mut self, id: u64) -> Option<(Owner, TaskFuture, Waker)> {
        let slot = self.slots.get_mut(&id)?;
        let future = slot.future.take()?;
        Some((slot.owner, future, slot.waker.clone()))
    }

    /// Puts a polled task back; returns it if it was cancelled while it ran.
    pub(super) fn check_in(&mut self, id: u64, future: TaskFuture) -> Option<TaskFuture> {
        match self.slots.get_mut(&id) {
            Some(slot) if !slot.cancelled => {
                slot.future = Some(future);
                None
            }
            _ => {
                self.slots.remove(&id);
                Some(future)
            }
        }
    }

    pub(super) fn finish(&mut self, id: u64) {
        self.slots.remove(&id);
    }

    /// Takes a task out for good, or marks it so if it is running.
    #[must_use = "dropping a future runs destructors: do it outside the borrow"]
    pub(super) fn remove(&mut self, id: u64) -> Option<TaskFuture> {
        let slot = self.slots.get_mut(&id)?;
        if slot.future.is_none() {
            slot.cancelled = true;
            return None;
        }
        self.slots.remove(&id).and_then(|slot| slot.future)
    }

    /// Takes out every task of `node` that is not running right now; the running one is dropped after its poll.
    #[must_use = "dropping futures runs destructors: do it outside the borrow"]
    pub(super) fn take_of(&mut self, node: NodeId) -> Vec<TaskFuture> {
        let of_node =
            |slot: &Slot| slot.owner.is_some_and(|(owner, _)| owner == node) && slot.future.is_some();
        let ids: Vec<u64> = self.slots.iter().filter(|(_, slot)| of_node(slot)).map(|(&id, _)| id).collect();
        ids.into_iter().filter_map(|id| self.slots.remove(&id)?.future).collect()
    }
}

/// Ids of woken tasks, without repetition.
#[derive(Default)]
pub(super) struct ReadyQueue {
    woken: Mutex<Vec<u64>>,
}

impl ReadyQueue {
    pub(super) fn push(&self, id: u64) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if !woken.contains(&id) {
            woken.push(id);
        }
    }

    pub(super) fn take_one(&self, prng: &mut Prng) -> Option<u64> {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if woken.is_empty() {
            return None;
        }
        let chosen = prng.below(woken.len() as u64) as usize;
        Some(woken.swap_remove(chosen))
    }
}

struct TaskWaker {
    id: u64,
    ready: Arc<ReadyQueue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.id);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.push(self.id);
    }
}

/// A handle on a simulated task. Dropping it cancels the task; a crash of its node leaves it pending for ever.
pub struct SimTask<T> {
    id: u64,
    world: Weak<World>,
    result: Rc<RefCell<Outcome<T>>>,
    detached: bool,
}

struct Outcome<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T: 'static> SimTask<T> {
    pub(super) fn start(world: &Rc<World>, owner: Owner, future: impl Future<Output = T> + 'static) -> Self {
        let result = Rc::new(RefCell::new(Outcome { value: None, waker: None }));
        let outcome = result.clone();
        let id = world.add_task(
            owner,
            Box::pin(async move {
                let value = future.await;
                let waker = {
                    let mut outcome = outcome.borrow_mut();
                    outcome.value = Some(value);
                    outcome.waker.take()
                };
                if let Some(waker) = waker {
                    waker.wake();
                }
            }),
        );
        SimTask { id, world: Rc::downgrade(world), result, detached: false }
    }

    pub(crate) fn detach(mut self) {
        self.detached = true;
    }
}

impl<T> Future for SimTask<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut outcome = self.result.borrow_mut();
        match outcome.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                outcome.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for SimTask<T> {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        if let Some(world) = self.world.upgrade() {
            // A handle dropped while the slab is borrowed belongs to a task that the slab itself is dropping.
            let future = world.tasks.try_borrow_mut().ok().and_then(|mut tasks| tasks.remove(self.id));
            drop(future);
        }
    }
}

/// Suspends once.
pub(crate) async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
