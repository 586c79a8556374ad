//! Tasks: started on the shard's own thread, in one of three queues with fixed shares of its CPU.

use crate::{Inner, Rt};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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

/// How long a task may keep its shard's thread at a time.
pub const TASK_TIME_MAX: Duration = Duration::from_millis(10);

/// Tasks of a shard that kept its thread for longer than [`TASK_TIME_MAX`] at a time. Time that the machine gave to others counts too:
/// on a busy one there are some that did nothing wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overruns {
    /// How often.
    pub count: u64,
    /// The longest.
    pub longest: Duration,
}

/// Computing away from the shard's thread panicked; the panic hook has already told where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkPanicked;

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
    /// Starts `future` in `queue` on this shard. A panic that it does not catch ends the process.
    pub fn spawn<T: 'static>(&self, queue: Queue, future: impl Future<Output = T> + 'static) -> Task<T> {
        let inner = match &self.inner {
            Inner::Kernel(rt) => TaskInner::Kernel(rt.spawn(queue, future)),
            #[cfg(feature = "sim")]
            Inner::Sim(node) => TaskInner::Sim(node.spawn(future)),
        };
        Task { inner }
    }

    /// How often tasks of this shard ran for too long. None do in the simulator, where code takes no time.
    pub fn overruns(&self) -> Overruns {
        match &self.inner {
            Inner::Kernel(rt) => rt.overruns(),
            #[cfg(feature = "sim")]
            Inner::Sim(_) => Overruns::default(),
        }
    }

    /// Gives other tasks of this shard a turn.
    pub async fn yield_now(&self) {
        match &self.inner {
            Inner::Kernel(rt) => rt.yield_now().await,
            #[cfg(feature = "sim")]
            Inner::Sim(_) => crate::sim::yield_once().await,
        }
    }

    /// Runs `work`, which may block, off the shard's thread.
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

    /// Runs `work`, which may burn CPU and memory for long, off the shard's thread. One at a time a shard: the others wait, and the
    /// disk's offloaded work does not.
    ///
    /// # Errors
    /// [`WorkPanicked`] when it does; nothing else is harmed.
    pub async fn compute<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, WorkPanicked> {
        let work = move || catch_unwind(AssertUnwindSafe(work)).map_err(|_| WorkPanicked);
        match &self.inner {
            Inner::Kernel(rt) => rt.compute(work).await,
            #[cfg(feature = "sim")]
            Inner::Sim(_) => self.offload(work).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_keeps_its_thread_is_counted_and_one_that_waits_is_not() {
        glommio::LocalExecutor::default().run(async {
            let rt = Rt::kernel();
            let patient = rt.clone();
            rt.spawn(Queue::Foreground, async move { patient.sleep(TASK_TIME_MAX * 2).await }).await;
            let before = rt.overruns().count;
            let burning = rt.clone();
            let burn = async move {
                let began = burning.now();
                while burning.now().since(began) <= TASK_TIME_MAX {}
            };
            rt.spawn(Queue::Foreground, burn).await;
            assert_eq!(rt.overruns().count, before + 1);
            assert!(rt.overruns().longest > TASK_TIME_MAX);
        });
    }

    #[test]
    fn what_is_computed_comes_back_and_its_panic_harms_nobody() {
        glommio::LocalExecutor::default().run(async {
            let rt = Rt::kernel();
            let before = rt.overruns().count;
            let here = std::thread::current().id();
            let there = rt.compute(move || std::thread::current().id()).await;
            assert!(there.is_ok_and(|there| there != here));
            let panics = || assert!(std::hint::black_box(false), "this panic belongs to the test");
            assert_eq!(rt.compute(panics).await, Err(WorkPanicked));
            assert_eq!(rt.compute(|| 7).await, Ok(7), "the next one runs");
            assert_eq!(rt.overruns().count, before);
        });
    }
}
