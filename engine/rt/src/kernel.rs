//! The kernel half of the runtime seam: one glommio executor a shard, the machine's clocks, the kernel's entropy.

#![expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]

mod timers;

use crate::clock::MonoTime;
use crate::notify::Lock;
use crate::random::Prng;
use crate::spawn::{Overruns, Queue, TASK_TIME_MAX};
use glommio::{Latency, Shares, TaskQueueHandle};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use timers::Timers;

/// A task of a glommio executor.
pub(crate) type KernelTask<T> = glommio::Task<T>;

/// The runtime of one glommio executor.
pub struct KernelRt {
    prng: RefCell<Prng>,
    foreground: TaskQueueHandle,
    coordination: TaskQueueHandle,
    background: TaskQueueHandle,
    watch: Rc<TaskWatch>,
    timers: Rc<Timers>,
    /// Held while something is computed away from the thread.
    computing: Lock,
}

/// The tasks of one executor that kept its thread for too long at a time.
#[derive(Default)]
struct TaskWatch {
    overruns: Cell<Overruns>,
}

impl TaskWatch {
    fn ran(&self, took: Duration) {
        if took > TASK_TIME_MAX {
            let Overruns { count, longest } = self.overruns.get();
            self.overruns.set(Overruns { count: count + 1, longest: longest.max(took) });
        }
    }
}

/// Aborts the process when a panic passes it.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        tracing::error!("a task panicked: aborting, the next start recovers");
        std::process::abort();
    }
}

/// `future`, each poll of which is timed. A panic that nobody in it catches ends the process at once: on its way through the executor it
/// would drop one task after the other, whose ends other shards would take for answers.
async fn watched<F: Future>(future: F, watch: Rc<TaskWatch>) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let began = Instant::now();
        let bomb = AbortOnPanic;
        let polled = future.as_mut().poll(cx);
        std::mem::forget(bomb);
        watch.ran(began.elapsed());
        polled
    })
    .await
}

/// Monotonic time is counted from here, the same on every shard.
fn process_start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Monotonic time now, for threads that are no shard (HTTP, main).
pub fn now() -> MonoTime {
    MonoTime::from_nanos(u64::try_from(process_start().elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Wall time now in milliseconds since the Unix epoch, for threads that are no shard.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// 256 bits from the kernel.
fn entropy() -> [u64; 4] {
    let mut words = [0u64; 4];
    // SAFETY: the pointer and the length describe `words`, which outlives the call; any bit pattern is a u64.
    let got = unsafe { libc::getrandom(words.as_mut_ptr().cast(), std::mem::size_of_val(&words), 0) };
    assert_eq!(got, 32, "getrandom of 32 bytes cannot be short once the kernel's pool is ready");
    words
}

impl KernelRt {
    pub(crate) fn new() -> KernelRt {
        // No latency class: with a preempt timer of a millisecond, glommio-ng 0.12 can park an executor that was descheduled for
        // longer although tasks are ready, and sleep until some other event.
        let queue = |shares, name| {
            glommio::executor().create_task_queue(Shares::Static(shares), Latency::NotImportant, name)
        };
        let timers = Rc::new(Timers::default());
        let rt = KernelRt {
            prng: RefCell::new(Prng::from_words(entropy())),
            foreground: queue(1000, "foreground"),
            coordination: queue(1000, "coordination"),
            background: queue(100, "background"),
            watch: Rc::default(),
            timers: timers.clone(),
            computing: Lock::default(),
        };
        drop(rt.spawn(Queue::Foreground, timers.drive()).detach());
        rt
    }

    pub(crate) fn overruns(&self) -> Overruns {
        self.watch.overruns.get()
    }

    pub(crate) fn now(&self) -> MonoTime {
        now()
    }

    pub(crate) fn wall_ms(&self) -> i64 {
        wall_ms()
    }

    pub(crate) fn random_u64(&self) -> u64 {
        self.prng.borrow_mut().next_u64()
    }

    pub(crate) async fn sleep(&self, span: Duration) {
        if span.is_zero() {
            return self.yield_now().await;
        }
        self.timers.sleep(span).await;
    }

    pub(crate) async fn yield_now(&self) {
        glommio::executor().yield_now().await;
    }

    pub(crate) async fn offload<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        glommio::executor().spawn_blocking(work).await
    }

    pub(crate) async fn compute<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let _computing = self.computing.acquire().await;
        self.offload(work).await
    }

    pub(crate) fn spawn<T: 'static>(
        &self,
        queue: Queue,
        future: impl Future<Output = T> + 'static,
    ) -> KernelTask<T> {
        let handle = match queue {
            Queue::Foreground => self.foreground,
            Queue::Coordination => self.coordination,
            Queue::Background => self.background,
        };
        let watched = watched(future, self.watch.clone());
        glommio::spawn_local_into(watched, handle).expect("the queues live as long as the executor")
    }
}
