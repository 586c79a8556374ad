//! Ending waits early: a flag that turns once, and the waits that it cuts short.

use hayate_rt::notify::Notify;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Turns once. Few tasks wait for each: one a connection, not one a shard, so that registering stays cheap.
#[derive(Default)]
pub struct Interrupt {
    set: Cell<bool>,
    turned: Notify,
}

impl Interrupt {
    /// Ends what waits and what will.
    pub fn set(&self) {
        self.set.set(true);
        self.turned.notify();
    }

    /// Whether it has turned.
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// Drives `future`; drops it and gives `None` when the flag turns first.
    pub async fn unless<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut turned = pin!(self.turned.notified());
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.set.get() {
                return Poll::Ready(None);
            }
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => turned.as_mut().poll(cx).map(|()| None),
            }
        })
        .await
    }
}
