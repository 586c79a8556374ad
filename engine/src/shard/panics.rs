//! What a panic may take with it: one connection while a request is decoded or answered, the whole process anywhere in
//! a log, a partition or the metadata, whose state it could leave half changed.
//!
//! The process ends where the panic begins ([`ends_process`], asked by the panic hook): while a panic unwinds, replies that wait in its
//! frames are dropped, and another shard would take that for an answer. What stands here without the hook ends the process a little later.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    /// Whether what runs on this thread now must not panic.
    static VITAL: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread now ends the process.
pub fn ends_process() -> bool {
    VITAL.get()
}

/// From now on everything on this thread is vital, but for what is contained: a shard's thread.
pub fn begin_shard_thread() {
    VITAL.set(true);
}

/// Runs `work` as vital or not, whatever it is called from.
fn within<T>(vital: bool, work: impl FnOnce() -> T) -> T {
    let _before = Before(VITAL.replace(vital));
    work()
}

struct Before(bool);

impl Drop for Before {
    fn drop(&mut self) {
        VITAL.set(self.0);
    }
}

/// A request's work panicked; the panic hook has already told where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// A future whose panics end it and nothing else.
pub struct Contained<F> {
    future: Pin<Box<F>>,
}

impl<F: Future> Contained<F> {
    /// Contains `future`, which must hold no state that others see half changed.
    pub fn new(future: F) -> Contained<F> {
        Contained { future: Box::pin(future) }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polling = || catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(cx)));
        match within(false, polling) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

/// Runs `work`, whose panic ends nothing else: what it changes must be thrown away then.
///
/// # Errors
/// [`Panicked`].
pub fn contained<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    within(false, || catch_unwind(AssertUnwindSafe(work))).map_err(|_| Panicked)
}

/// Runs `work`, whose panic aborts the process: what it changes must never be seen half changed.
pub fn vital<T>(work: impl FnOnce() -> T) -> T {
    within(true, || {
        let bomb = Bomb;
        let result = work();
        std::mem::forget(bomb);
        result
    })
}

/// As [`vital`], for each poll of a future.
pub async fn vital_future<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| vital(|| future.as_mut().poll(cx))).await
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        tracing::error!("a panic in code that owns durable state: aborting, the next start recovers");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
        Pin::new(&mut future).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn a_contained_panic_is_an_error() {
        assert_eq!(poll_once(Contained::new(async { 7 })), Poll::Ready(Ok(7)));
        let panics = Contained::new(async {
            assert!(std::hint::black_box(false), "this panic belongs to the test");
        });
        assert_eq!(poll_once(panics), Poll::Ready(Err(Panicked)));
    }

    #[test]
    fn the_innermost_decides_whether_a_panic_ends_the_process() {
        assert!(!ends_process());
        let seen = poll_once(Contained::new(async {
            let (inside, deeper) = (ends_process(), vital(ends_process));
            (inside, deeper, ends_process())
        }));
        assert_eq!(seen, Poll::Ready(Ok((false, true, false))));
        let nested = vital(|| poll_once(Contained::new(async { ends_process() })));
        assert_eq!(nested, Poll::Ready(Ok(false)));
        let panics = || {
            poll_once(Contained::new(async {
                assert!(std::hint::black_box(false), "this panic belongs to the test")
            }))
        };
        assert_eq!(panics(), Poll::Ready(Err(Panicked)));
        assert!(!ends_process(), "also behind a panic");
    }

    #[test]
    fn vital_work_that_ends_well_goes_on() {
        assert_eq!(vital(|| 3), 3);
        assert_eq!(poll_once(Box::pin(vital_future(async { 4 }))), Poll::Ready(4));
    }
}
