//! A shard's timers: any number of them over one of the runtime's.
//!
//! The runtime looks through all of its timers at each turn of its loop, to find the next; requests and connections have one each, and
//! that was half of the broker's CPU when 16 KiB batches were produced to one partition (10.2 against 5.5 s/GB, medians of three
//! interleaved rounds). Here they stand in the order of their time, and one task sleeps until the first.

use super::now;
use crate::clock::MonoTime;
use crate::notify::Notify;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The runtime counts whole milliseconds, and may be early by less than one.
const GRAIN: Duration = Duration::from_millis(1);

/// The timers of one executor.
#[derive(Default)]
pub(super) struct Timers {
    /// Who is to be woken when; numbers tell those of one time apart.
    waiting: RefCell<BTreeMap<(MonoTime, u64), Waker>>,
    next_number: Cell<u64>,
    /// What the task that drives them sleeps until.
    armed: Cell<Option<MonoTime>>,
    /// There is one before that.
    sooner: Notify,
}

impl Timers {
    /// Resolves after `span`, and up to [`GRAIN`] and a turn of the loop later.
    pub(super) fn sleep(self: &Rc<Self>, span: Duration) -> Sleep {
        Sleep { timers: self.clone(), until: now() + span, number: None }
    }

    /// Wakes whoever's time has come, for ever.
    pub(super) async fn drive(self: Rc<Self>) {
        loop {
            let mut sooner = pin!(self.sooner.notified());
            self.wake_due(now());
            let first = self.waiting.borrow().first_key_value().map(|((until, _), _)| *until);
            self.armed.set(first);
            let Some(until) = first else {
                sooner.await;
                continue;
            };
            let mut sleep = pin!(glommio::timer::sleep(until.since(now()) + GRAIN));
            poll_fn(|cx| match sleep.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => sooner.as_mut().poll(cx),
            })
            .await;
        }
    }

    fn wake_due(&self, now: MonoTime) {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= now) else { return };
            let waker = first.remove();
            drop(waiting); // waking may drop a task, and with it a timer
            waker.wake();
        }
    }

    fn register(&self, until: MonoTime, waker: Waker) -> u64 {
        let number = self.next_number.replace(self.next_number.get() + 1);
        self.waiting.borrow_mut().insert((until, number), waker);
        if self.armed.get().is_none_or(|armed| until < armed) {
            // Once is enough, until the driver has looked.
            self.armed.set(Some(until));
            self.sooner.notify();
        }
        number
    }
}

/// Future of [`Timers::sleep`].
pub(super) struct Sleep {
    timers: Rc<Timers>,
    until: MonoTime,
    /// Its number, once it was polled.
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(number) = self.number else {
            self.number = Some(self.timers.register(self.until, cx.waker().clone()));
            return Poll::Pending;
        };
        match self.timers.waiting.borrow_mut().get_mut(&(self.until, number)) {
            None => Poll::Ready(()),
            Some(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let gone = self.timers.waiting.borrow_mut().remove(&(self.until, number));
            drop(gone); // outside the borrow: the last waker of a task drops the task
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Queue, Rt};

    /// More than a busy machine is late by.
    const LATE_MAX: Duration = Duration::from_secs(2);

    #[test]
    fn timers_fire_in_their_order_and_never_early() {
        glommio::LocalExecutor::default().run(async {
            let rt = Rt::kernel();
            let order = Rc::new(RefCell::new(Vec::new()));
            let began = rt.now();
            let sleeping: Vec<_> = [40, 10, 30, 0, 20]
                .into_iter()
                .map(|millis| {
                    let (clock, order) = (rt.clone(), order.clone());
                    rt.spawn(Queue::Foreground, async move {
                        clock.sleep(Duration::from_millis(millis)).await;
                        let took = clock.now().since(began);
                        assert!(took >= Duration::from_millis(millis), "{millis} ms took {took:?}");
                        assert!(took < LATE_MAX + Duration::from_millis(millis), "{millis} ms took {took:?}");
                        order.borrow_mut().push(millis);
                    })
                })
                .collect();
            for one in sleeping {
                one.await;
            }
            assert_eq!(*order.borrow(), [0, 10, 20, 30, 40]);
        });
    }

    #[test]
    fn a_sooner_timer_wakes_the_driver_and_a_dropped_one_leaves_nothing() {
        glommio::LocalExecutor::default().run(async {
            let rt = Rt::kernel();
            let timers = Rc::new(Timers::default());
            rt.spawn(Queue::Foreground, timers.clone().drive()).detach();
            let mut late = pin!(timers.sleep(Duration::from_secs(3600)));
            let early = async {
                timers.sleep(Duration::from_millis(5)).await;
            };
            let mut early = pin!(early);
            poll_fn(|cx| {
                assert!(late.as_mut().poll(cx).is_pending());
                early.as_mut().poll(cx)
            })
            .await;
            assert_eq!(timers.waiting.borrow().len(), 1);
            for _ in 0..1000 {
                assert!(rt.timeout(Duration::from_secs(3600), async {}).await.is_ok());
                let gave_up = timers.sleep(Duration::from_secs(7200));
                assert!(polled_once(gave_up).await.is_pending());
            }
            assert_eq!(timers.waiting.borrow().len(), 1, "those that were dropped are gone");
        });
    }

    /// One poll of `future`, which is then dropped.
    async fn polled_once<F: Future>(future: F) -> Poll<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }
}
