//! The runtime seam: clock, timers, spawning, seeded randomness and mailboxes.
//!
//! Code above this crate never reads a clock, starts a thread or draws a random number by itself: it asks its
//! [`Rt`], which is either a glommio executor ([`kernel`]) or a node of the seeded simulator (`sim`). That is
//! what makes a whole broker, its clients and its crashes replayable from one seed. This crate knows nothing of
//! storage, the network or Kafka.

pub mod clock;
mod collections;
pub mod kernel;
pub mod mailbox;
pub mod notify;
pub mod random;
#[cfg(feature = "sim")]
pub mod sim;
pub mod spawn;
pub mod timer;

pub use clock::MonoTime;
pub use collections::{DetHashMap, DetHashSet};
pub use spawn::{Queue, Task, WorkPanicked};

use std::rc::Rc;

/// A shard's handle on its runtime: cheap to clone, bound to the thread that made it.
#[derive(Clone)]
pub struct Rt {
    inner: Inner,
}

#[derive(Clone)]
enum Inner {
    Kernel(Rc<kernel::KernelRt>),
    #[cfg(feature = "sim")]
    Sim(sim::NodeRt),
}

impl Rt {
    /// The runtime of the glommio executor that this is called on.
    ///
    /// # Panics
    /// Outside a glommio executor.
    pub fn kernel() -> Rt {
        Rt { inner: Inner::Kernel(Rc::new(kernel::KernelRt::new())) }
    }

    /// The runtime of a simulated shard.
    #[cfg(feature = "sim")]
    pub fn sim(node: sim::NodeRt) -> Rt {
        Rt { inner: Inner::Sim(node) }
    }

    /// The simulated node behind this runtime, if it is one: the simulated disk and network hang off it.
    #[cfg(feature = "sim")]
    pub fn as_sim(&self) -> Option<&sim::NodeRt> {
        match &self.inner {
            Inner::Kernel(_) => None,
            Inner::Sim(node) => Some(node),
        }
    }

    /// Marks that a rare state was reached, so that a simulator run can prove that it covers it. Free in a broker.
    #[inline]
    pub fn reached(&self, state: &'static str) {
        match &self.inner {
            Inner::Kernel(_) => {}
            #[cfg(feature = "sim")]
            Inner::Sim(node) => node.count(state),
        }
        #[cfg(not(feature = "sim"))]
        let _ = state;
    }

    /// Marks a phase for as long as the guard lives: a simulated crash inside is counted as `crash in <phase>`.
    #[inline]
    pub fn phase(&self, phase: &'static str) -> Phase {
        match &self.inner {
            Inner::Kernel(_) => {
                let _ = phase;
                Phase::default()
            }
            #[cfg(feature = "sim")]
            Inner::Sim(node) => Phase { _guard: Some(node.enter_phase(phase)) },
        }
    }
}

/// Guard of [`Rt::phase`].
#[derive(Default)]
pub struct Phase {
    #[cfg(feature = "sim")]
    _guard: Option<sim::PhaseGuard>,
}
