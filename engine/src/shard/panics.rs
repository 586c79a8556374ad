//! What a panic may take with it: one connection while a request is decoded or answered, the whole process anywhere in
//! a log, a partition or the metadata, whose state it could leave half changed.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

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
        match catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

/// Runs `work`, whose panic aborts the process: what it changes must never be seen half changed.
pub fn vital<T>(work: impl FnOnce() -> T) -> T {
    let bomb = Bomb;
    let result = work();
    std::mem::forget(bomb);
    result
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
    fn vital_work_that_ends_well_goes_on() {
        assert_eq!(vital(|| 3), 3);
        assert_eq!(poll_once(Box::pin(vital_future(async { 4 }))), Poll::Ready(4));
    }
}
