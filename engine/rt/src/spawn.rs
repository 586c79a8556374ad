//! Tasks: started on the shard's own thread, in one of three queues with fixed shares of its CPU.

use crate::{Inner, Rt};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Where a task's CPU time is accounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Produce, fetch, replication: 1000 shares.
    Foreground,
    /// Metadata, groups, transactions: 1000 shares.
    Coordination,
    /// Materialising ahead of need, retention, compaction, scrubbing: 100 shares.
    Background,
}

/// A running task. Dropping it cancels it at its next suspension point; [`Task::detach`] lets it run on.
#[must_use = "dropping a task cancels it: await it, keep it or detach it"]
pub struct Task<T> {
    inner: TaskInner<T>,
}

enum TaskInner<T> {
    Kernel(crate::kernel::KernelTask<T>),
    #[cfg(feature = "sim")]
    Sim(crate::sim::SimTask<T>),
}

impl<T: 'static> Task<T> {
    /// Lets the task run to its end without a handle on it.
    pub fn detach(self) {
        match self.inner {
            TaskInner::Kernel(task) => drop(task.detach()),
            #[cfg(feature = "sim")]
            TaskInner::Sim(task) => task.detach(),
        }
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.inner {
            TaskInner::Kernel(task) => Pin::new(task).poll(cx),
            #[cfg(feature = "sim")]
            TaskInner::Sim(task) => Pin::new(task).poll(cx),
        }
    }
}

impl Rt {
    /// Starts `future` in `queue` on this shard.
    pub fn spawn<T: 'static>(&self, queue: Queue, future: impl Future<Output = T> + 'static) -> Task<T> {
        let inner = match &self.inner {
            Inner::Kernel(rt) => TaskInner::Kernel(rt.spawn(queue, future)),
            #[cfg(feature = "sim")]
            Inner::Sim(node) => TaskInner::Sim(node.spawn(future)),
        };
        Task { inner }
    }

    /// Gives other tasks of this shard a turn.
    pub async fn yield_now(&self) {
        match &self.inner {
            Inner::Kernel(rt) => rt.yield_now().await,
            #[cfg(feature = "sim")]
            Inner::Sim(_) => crate::sim::yield_once().await,
        }
    }

    /// Runs `work`, which may block or burn CPU for long, off the shard's thread.
    ///
    /// The simulator runs it inline, between two suspension points.
    ///
    /// # Panics
    /// When `work` panics.
    pub async fn offload<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        match &self.inner {
            Inner::Kernel(rt) => rt.offload(work).await,
            #[cfg(feature = "sim")]
            Inner::Sim(_) => {
                crate::sim::yield_once().await;
                work()
            }
        }
    }
}
