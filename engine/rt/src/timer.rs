//! Timers: sleeping, and giving a future a deadline.

use crate::{Inner, Rt};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// A deadline passed before the future was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Rt {
    /// Resolves after `span`. A zero span still yields once.
    pub async fn sleep(&self, span: Duration) {
        match &self.inner {
            Inner::Kernel(rt) => rt.sleep(span).await,
            #[cfg(feature = "sim")]
            Inner::Sim(node) => node.sleep(span).await,
        }
    }

    /// Drives `future` for at most `span`; drops it at the deadline.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline came first.
    pub async fn timeout<F: Future>(&self, span: Duration, future: F) -> Result<F::Output, Elapsed> {
        let sleep = pin!(self.sleep(span));
        Race { future: pin!(future), sleep }.await
    }
}

struct Race<'a, F, S> {
    future: Pin<&'a mut F>,
    sleep: Pin<&'a mut S>,
}

impl<F: Future, S: Future<Output = ()>> Future for Race<'_, F, S> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        self.sleep.as_mut().poll(cx).map(|()| Err(Elapsed))
    }
}
