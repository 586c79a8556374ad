//! The simulator's half of the runtime seam: many nodes, one thread, virtual time, one seed.
//!
//! A [`Sim`] owns a set of tasks, each belonging to a node (a simulated process) and its incarnation, and a queue
//! of timed events (timers, completions of simulated IO). Each step polls one ready task, chosen by the seed; when
//! none is ready, time jumps to the next event. A crash drops every task of a node. What the run did is folded
//! into a trace hash, so that two runs of one seed can be compared. Other crates hang their simulated devices on
//! [`NodeRt::schedule`].

mod event;
mod node;
mod task;

pub use node::{NodeRt, PhaseGuard};
pub use task::SimTask;
pub(crate) use task::yield_once;

use crate::clock::MonoTime;
use crate::random::Prng;
use event::EventQueue;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use task::{ReadyQueue, Tasks};

/// Virtual CPU time that one poll of a task takes.
const POLL_NANOS: u64 = 200;
/// Wall time at which each simulation begins: 2026-01-01T00:00:00Z.
const WALL_START_MS: i64 = 1_767_225_600_000;

/// Names a simulated process. It survives crashes: a restarted process is a new incarnation of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// One simulation: a world that advances only while it is being driven.
#[derive(Clone)]
pub struct Sim {
    world: Rc<World>,
}

/// What all nodes share.
pub(crate) struct World {
    now_nanos: Cell<u64>,
    scheduling: RefCell<Prng>,
    prng: RefCell<Prng>,
    events: RefCell<EventQueue>,
    tasks: RefCell<Tasks>,
    ready: Arc<ReadyQueue>,
    incarnations: RefCell<BTreeMap<NodeId, u64>>,
    phases: RefCell<BTreeMap<(NodeId, &'static str), u64>>,
    counts: RefCell<BTreeMap<String, u64>>,
    trace: Cell<u64>,
    steps: Cell<u64>,
}

/// Why driving a simulation ended before its future did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stalled {
    /// No task is ready and no event is due: the future can never resolve.
    Deadlock,
    /// The limit of virtual time passed.
    TimeLimit,
}

impl Sim {
    /// A world in which everything follows from `seed`.
    pub fn new(seed: u64) -> Sim {
        let mut root = Prng::new(seed);
        let world = World {
            now_nanos: Cell::new(1),
            scheduling: RefCell::new(Prng::new(root.next_u64())),
            prng: RefCell::new(Prng::new(root.next_u64())),
            events: RefCell::default(),
            tasks: RefCell::default(),
            ready: Arc::default(),
            incarnations: RefCell::default(),
            phases: RefCell::default(),
            counts: RefCell::default(),
            trace: Cell::new(seed),
            steps: Cell::new(0),
        };
        Sim { world: Rc::new(world) }
    }

    /// The runtime of one shard of `node`, in the node's present incarnation.
    pub fn node(&self, node: NodeId) -> NodeRt {
        let incarnation = *self.world.incarnations.borrow_mut().entry(node).or_insert(0);
        NodeRt::new(self.world.clone(), node, incarnation)
    }

    /// Kills `node`: all its tasks are dropped as they stand, its timers never fire, and what runs on it next is a
    /// new incarnation. Its devices hear of it from their own crash calls.
    pub fn crash(&self, node: NodeId) {
        for ((of, phase), active) in self.world.phases.borrow_mut().iter_mut() {
            if *of == node && *active > 0 {
                self.count(&format!("crash in {phase}"));
                *active = 0;
            }
        }
        *self.world.incarnations.borrow_mut().entry(node).or_insert(0) += 1;
        let dropped = self.world.tasks.borrow_mut().take_of(node);
        drop(dropped); // outside the borrow: destructors may wake other tasks
        self.world.note(0xdead, u64::from(node.0));
    }

    /// Drives the world until `future` resolves, for at most `limit` of virtual time. The future itself belongs to
    /// no node and survives crashes.
    ///
    /// # Errors
    /// [`Stalled`] when the world cannot bring the future to its end.
    pub fn run<T: 'static>(
        &self,
        limit: Duration,
        future: impl Future<Output = T> + 'static,
    ) -> Result<T, Stalled> {
        let slot = Rc::new(RefCell::new(None));
        let filled = slot.clone();
        let driver =
            self.world.add_task(None, Box::pin(async move { *filled.borrow_mut() = Some(future.await) }));
        let deadline = self.world.now_nanos.get().saturating_add(limit.as_nanos() as u64);
        let outcome = loop {
            if let Some(value) = slot.borrow_mut().take() {
                break Ok(value);
            }
            if self.world.now_nanos.get() > deadline {
                break Err(Stalled::TimeLimit);
            }
            if !self.step() {
                break Err(Stalled::Deadlock);
            }
        };
        let finished = self.world.tasks.borrow_mut().remove(driver);
        drop(finished);
        outcome
    }

    /// Takes the next event if it is due, else polls one ready task, else jumps to the next event. False when there is neither.
    fn step(&self) -> bool {
        self.world.steps.set(self.world.steps.get() + 1);
        let due = self.world.events.borrow().next_at().is_some_and(|at| at <= self.world.now_nanos.get());
        if !due && let Some(task) = self.world.ready.take_one(&mut self.world.scheduling.borrow_mut()) {
            self.world.poll(task);
            return true;
        }
        let Some(event) = self.world.events.borrow_mut().pop() else { return false };
        self.world.now_nanos.set(self.world.now_nanos.get().max(event.at_nanos));
        let alive = event.owner.is_none_or(|(node, incarnation)| self.world.is_alive(node, incarnation));
        if alive {
            (event.action)();
        }
        true
    }

    /// Ends the world: drops every task and event, which hold on to it.
    pub fn end(&self) {
        let tasks = std::mem::take(&mut *self.world.tasks.borrow_mut());
        drop(tasks); // outside the borrow: destructors may wake or cancel other tasks
        let events = std::mem::take(&mut *self.world.events.borrow_mut());
        drop(events);
    }

    /// Virtual time now.
    pub fn now(&self) -> MonoTime {
        MonoTime::from_nanos(self.world.now_nanos.get())
    }

    /// Resolves after `span` of virtual time, whatever crashes meanwhile.
    pub fn sleep(&self, span: Duration) -> impl Future<Output = ()> + use<> {
        event::Sleep::new(self.world.clone(), None, span)
    }

    /// Calls `action` after `span` of virtual time, whatever crashes meanwhile.
    pub fn schedule(&self, span: Duration, action: impl FnOnce() + 'static) {
        self.world.schedule(None, span, Box::new(action));
    }

    /// 64 bits that follow from the seed.
    pub fn random_u64(&self) -> u64 {
        self.world.prng.borrow_mut().next_u64()
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub fn random_below(&self, bound: u64) -> u64 {
        self.world.prng.borrow_mut().below(bound)
    }

    /// True `numerator` times in `denominator`.
    pub fn chance(&self, numerator: u64, denominator: u64) -> bool {
        self.world.prng.borrow_mut().chance(numerator, denominator)
    }

    /// Counts one occurrence of a fault or of a state reached.
    pub fn count(&self, what: &str) {
        self.world.count(what);
    }

    /// What was counted so far.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.world.counts.borrow().clone()
    }

    /// A digest of everything that happened: equal for two runs of one seed.
    pub fn trace_hash(&self) -> u64 {
        self.world.trace.get()
    }

    /// Folds something observable into the trace hash.
    pub fn note(&self, kind: u64, value: u64) {
        self.world.note(kind, value);
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.world.steps.get()
    }
}

impl World {
    fn note(&self, kind: u64, value: u64) {
        let mut word = self.trace.get() ^ kind.rotate_left(32) ^ value;
        self.trace.set(crate::random::split_mix(&mut word));
    }

    fn count(&self, what: &str) {
        let mut counts = self.counts.borrow_mut();
        match counts.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(counts.insert(what.to_owned(), 1)),
        }
    }

    fn is_alive(&self, node: NodeId, incarnation: u64) -> bool {
        self.incarnations.borrow().get(&node) == Some(&incarnation)
    }

    fn schedule(&self, owner: Option<(NodeId, u64)>, span: Duration, action: Box<dyn FnOnce()>) {
        let at_nanos = self.now_nanos.get().saturating_add(span.as_nanos() as u64);
        self.events.borrow_mut().push(at_nanos, owner, action);
    }

    fn add_task(&self, owner: Option<(NodeId, u64)>, future: Pin<Box<dyn Future<Output = ()>>>) -> u64 {
        let id = self.tasks.borrow_mut().insert(owner, future, &self.ready);
        self.ready.push(id);
        id
    }

    /// Polls a task outside any borrow, and puts it back unless it is done, cancelled or its node crashed meanwhile.
    fn poll(&self, id: u64) {
        let Some((owner, mut future, waker)) = self.tasks.borrow_mut().check_out(id) else { return };
        self.now_nanos.set(self.now_nanos.get() + POLL_NANOS);
        self.note(id, self.now_nanos.get());
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let alive = owner.is_none_or(|(node, incarnation)| self.is_alive(node, incarnation));
        match polled {
            Poll::Pending if alive => {
                let cancelled = self.tasks.borrow_mut().check_in(id, future);
                drop(cancelled);
            }
            Poll::Pending | Poll::Ready(()) => {
                self.tasks.borrow_mut().finish(id);
                drop(future);
            }
        }
    }
}

#[cfg(test)]
mod tests;
