//! What one shard of a simulated process sees of the world.

use super::event::Sleep;
use super::task::SimTask;
use super::{NodeId, Sim, WALL_START_MS, World};
use crate::clock::MonoTime;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

/// The runtime of a shard of one incarnation of a node. After a crash it is inert: its timers and events never fire.
#[derive(Clone)]
pub struct NodeRt {
    world: Rc<World>,
    node: NodeId,
    incarnation: u64,
}

impl NodeRt {
    pub(super) fn new(world: Rc<World>, node: NodeId, incarnation: u64) -> NodeRt {
        NodeRt { world, node, incarnation }
    }

    /// The node that this runtime belongs to.
    pub fn id(&self) -> NodeId {
        self.node
    }

    /// The world that the node lives in.
    pub fn sim(&self) -> Sim {
        Sim { world: self.world.clone() }
    }

    /// Calls `action` after `span`, unless the node crashes first.
    pub fn schedule(&self, span: Duration, action: impl FnOnce() + 'static) {
        self.world.schedule(Some((self.node, self.incarnation)), span, Box::new(action));
    }

    pub(crate) fn now(&self) -> MonoTime {
        MonoTime::from_nanos(self.world.now_nanos.get())
    }

    pub(crate) fn wall_ms(&self) -> i64 {
        WALL_START_MS + (self.world.now_nanos.get() / 1_000_000) as i64
    }

    pub(crate) fn random_u64(&self) -> u64 {
        self.world.prng.borrow_mut().next_u64()
    }

    pub(crate) fn count(&self, what: &str) {
        self.world.count(what);
    }

    pub(crate) fn sleep(&self, span: Duration) -> impl Future<Output = ()> + use<> {
        Sleep::new(self.world.clone(), Some((self.node, self.incarnation)), span)
    }

    /// A task started by a crashed incarnation never runs.
    pub(crate) fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> SimTask<T> {
        SimTask::start(&self.world, Some((self.node, self.incarnation)), future)
    }

    pub(crate) fn enter_phase(&self, phase: &'static str) -> PhaseGuard {
        *self.world.phases.borrow_mut().entry((self.node, phase)).or_insert(0) += 1;
        self.world.count(phase);
        PhaseGuard { world: self.world.clone(), node: self.node, phase }
    }
}

/// Ends a phase when dropped.
pub struct PhaseGuard {
    world: Rc<World>,
    node: NodeId,
    phase: &'static str,
}

impl Drop for PhaseGuard {
    fn drop(&mut self) {
        if let Some(active) = self.world.phases.borrow_mut().get_mut(&(self.node, self.phase)) {
            *active = active.saturating_sub(1);
        }
    }
}
