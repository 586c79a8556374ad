//! Mailboxes between shards: bounded, credited, and free of deadlock by construction.
//!
//! A [`mesh`] joins every shard with every other, for one class of calls. A call takes one of its pair's credits,
//! is queued in an inbox whose capacity is the sum of all credits (so queuing never waits and never drops), and
//! carries the slot that its answer goes into. The credit returns when the receiver is done with the call. What
//! keeps a system of meshes free of deadlock is a rule, checked by the simulator with one credit a pair: a receive
//! loop awaits nothing but its inbox, and a handler calls only into classes below its own
//! (client → coordinator → partition).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// The other side is gone: its shard has stopped, or dropped the call unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// One shard's ends of a mesh.
pub struct Ports<Q, A: 'static> {
    /// A caller for each shard, by its number. The own number's caller is there too.
    pub callers: Vec<Caller<Q, A>>,
    /// Calls from all shards.
    pub inbox: Inbox<Q, A>,
}

/// Joins `shards` shards with `credits` concurrent calls a pair; returns the ports by shard number.
///
/// # Panics
/// When either is zero.
pub fn mesh<Q, A: 'static>(shards: usize, credits: usize) -> Vec<Ports<Q, A>> {
    assert!(shards > 0 && credits > 0, "a mesh needs a shard and a credit");
    let inboxes: Vec<_> = (0..shards).map(|_| flume::bounded(shards * credits)).collect();
    let callers = || inboxes.iter().map(|(sender, _)| Caller::new(sender.clone(), credits)).collect();
    inboxes.iter().map(|(_, receiver)| Ports { callers: callers(), inbox: Inbox(receiver.clone()) }).collect()
}

/// The calling end of one pair of shards.
pub struct Caller<Q, A: 'static> {
    inbox: flume::Sender<Call<Q, A>>,
    take_credit: flume::Receiver<()>,
    return_credit: flume::Sender<()>,
}

impl<Q, A: 'static> Caller<Q, A> {
    fn new(inbox: flume::Sender<Call<Q, A>>, credits: usize) -> Caller<Q, A> {
        let (return_credit, take_credit) = flume::bounded(credits);
        for _ in 0..credits {
            return_credit.try_send(()).expect("the channel holds one token a credit");
        }
        Caller { inbox, take_credit, return_credit }
    }

    /// Waits for a credit, then queues `request`. Calls of one caller are received in the order of their queuing.
    ///
    /// # Errors
    /// [`Gone`] when the receiving shard has stopped.
    pub async fn send(&self, request: Q) -> Result<Pending<A>, Gone> {
        self.take_credit.recv_async().await.map_err(|_| Gone)?;
        self.enqueue(request)
    }

    /// Queues `request` if a credit is free; gives it back otherwise.
    ///
    /// # Errors
    /// The request, when no credit is free or the receiving shard has stopped.
    pub fn try_send(&self, request: Q) -> Result<Pending<A>, Q> {
        if self.take_credit.try_recv().is_err() {
            return Err(request);
        }
        let (call, pending) = self.call(request);
        match self.inbox.try_send(call) {
            Ok(()) => Ok(pending),
            Err(error) => Err(error.into_inner().request),
        }
    }

    /// Whether a call would have to wait for a credit.
    pub fn is_exhausted(&self) -> bool {
        self.take_credit.is_empty()
    }

    fn call(&self, request: Q) -> (Call<Q, A>, Pending<A>) {
        let (answer, awaited) = flume::bounded(1);
        let credit = Credit(self.return_credit.clone());
        (Call { request, reply: Reply { answer, _credit: credit } }, Pending(awaited.into_recv_async()))
    }

    fn enqueue(&self, request: Q) -> Result<Pending<A>, Gone> {
        let (call, pending) = self.call(request);
        match self.inbox.try_send(call) {
            Ok(()) => Ok(pending),
            Err(flume::TrySendError::Disconnected(_)) => Err(Gone),
            Err(flume::TrySendError::Full(_)) => unreachable!("an inbox holds one call a credit"),
        }
    }
}

/// Returns its credit when the receiver is done with the call.
struct Credit(flume::Sender<()>);

impl Drop for Credit {
    fn drop(&mut self) {
        // Fails only when the caller is gone, and its credits with it.
        let _ = self.0.try_send(());
    }
}

/// A received call.
pub struct Call<Q, A> {
    /// What is asked.
    pub request: Q,
    /// Where the answer goes.
    pub reply: Reply<A>,
}

/// The slot that a call reserved for its answer. Dropping it unanswered tells the caller [`Gone`].
#[must_use = "a dropped reply tells the caller that this shard is gone"]
pub struct Reply<A> {
    answer: flume::Sender<A>,
    _credit: Credit,
}

impl<A> Reply<A> {
    /// Answers; never waits. An answer to a caller that no longer cares is dropped.
    pub fn send(self, answer: A) {
        let _ = self.answer.try_send(answer);
    }
}

/// The answer to come. Dropping it abandons the answer, not the call.
#[must_use = "an answer that nobody awaits is lost"]
pub struct Pending<A: 'static>(flume::r#async::RecvFut<'static, A>);

impl<A: 'static> Future for Pending<A> {
    type Output = Result<A, Gone>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| Gone)
    }
}

/// The receiving end of a shard.
pub struct Inbox<Q, A>(flume::Receiver<Call<Q, A>>);

impl<Q, A> Inbox<Q, A> {
    /// The next call, in the order of queuing.
    ///
    /// # Errors
    /// [`Gone`] when every caller is gone.
    pub async fn recv(&self) -> Result<Call<Q, A>, Gone> {
        self.0.recv_async().await.map_err(|_| Gone)
    }

    /// The next call, if one is queued.
    pub fn try_recv(&self) -> Option<Call<Q, A>> {
        self.0.try_recv().ok()
    }
}

/// An immutable snapshot that one shard publishes and all shards read: only the newest matters.
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
}

/// A reader of a [`Publisher`]'s snapshots.
pub struct Subscriber<T> {
    shared: Arc<Shared<T>>,
    changed: flume::Receiver<()>,
}

struct Shared<T> {
    latest: Mutex<Arc<T>>,
    wake: Mutex<Vec<flume::Sender<()>>>,
}

impl<T> Publisher<T> {
    /// Starts with `first`.
    pub fn new(first: Arc<T>) -> Publisher<T> {
        Publisher { shared: Arc::new(Shared { latest: Mutex::new(first), wake: Mutex::default() }) }
    }

    /// Replaces the snapshot and wakes every subscriber. A slow one skips what lies between.
    pub fn publish(&self, next: Arc<T>) {
        *self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner) = next;
        let mut wake = self.shared.wake.lock().unwrap_or_else(PoisonError::into_inner);
        wake.retain(|subscriber| {
            !matches!(subscriber.try_send(()), Err(flume::TrySendError::Disconnected(())))
        });
    }

    /// The newest snapshot.
    pub fn latest(&self) -> Arc<T> {
        self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A reader that is told of every publication after this call.
    pub fn subscribe(&self) -> Subscriber<T> {
        let (wake, changed) = flume::bounded(1);
        self.shared.wake.lock().unwrap_or_else(PoisonError::into_inner).push(wake);
        Subscriber { shared: self.shared.clone(), changed }
    }
}

impl<T> Subscriber<T> {
    /// The newest snapshot.
    pub fn latest(&self) -> Arc<T> {
        self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a publication after the last one that this reader was told of.
    ///
    /// # Errors
    /// [`Gone`] never in practice: the publisher's side lives as long as its snapshots.
    pub async fn changed(&self) -> Result<Arc<T>, Gone> {
        self.changed.recv_async().await.map_err(|_| Gone)?;
        Ok(self.latest())
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::sim::{NodeId, Sim};
    use crate::{Queue, Rt};
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Echo shards that answer after a pause; returns what shard 0's `calls` calls to shard 1 came back with.
    fn echo(seed: u64, credits: usize, calls: u64) -> Vec<u64> {
        let sim = Sim::new(seed);
        let rt = Rt::sim(sim.node(NodeId(0)));
        let mut ports = mesh::<u64, u64>(2, credits);
        let served = ports.pop().unwrap().inbox;
        let server = rt.clone();
        rt.spawn(Queue::Foreground, async move {
            while let Ok(call) = served.recv().await {
                let sleeper = server.clone();
                let answer = async move {
                    sleeper.sleep(Duration::from_micros(sleeper.random_below(100))).await;
                    call.reply.send(call.request * 10);
                };
                server.spawn(Queue::Foreground, answer).detach();
            }
        })
        .detach();
        let ports = ports.pop().unwrap();
        sim.run(HOUR, async move {
            let mut pending = Vec::new();
            let mut answers = Vec::new();
            for n in 0..calls {
                pending.push(ports.callers[1].send(n).await.unwrap());
            }
            for answer in pending {
                answers.push(answer.await.unwrap());
            }
            answers
        })
        .unwrap()
    }

    #[test]
    fn calls_are_answered_each_in_its_own_slot() {
        for credits in [1, 2, 64] {
            assert_eq!(echo(9, credits, 100), (0..100).map(|n| n * 10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn without_a_credit_nothing_is_queued_and_the_credit_returns_with_the_call() {
        let mut ports = mesh::<u8, u8>(1, 1);
        let Ports { callers, inbox } = ports.pop().unwrap();
        let pending = callers[0].try_send(1).ok().unwrap();
        assert_eq!(callers[0].try_send(2).err(), Some(2));
        drop(pending); // abandoning the answer does not free the slot that the call still takes
        assert_eq!(callers[0].try_send(3).err(), Some(3));
        drop(inbox.try_recv().unwrap());
        assert!(callers[0].try_send(4).is_ok());
    }

    #[test]
    fn a_dropped_call_tells_its_caller() {
        let sim = Sim::new(1);
        let mut ports = mesh::<u8, u8>(1, 1);
        let Ports { callers, inbox } = ports.pop().unwrap();
        let pending = callers[0].try_send(1).ok().unwrap();
        drop(inbox.try_recv());
        assert_eq!(sim.run(HOUR, pending), Ok(Err(Gone)));
    }

    #[test]
    fn a_subscriber_sees_the_newest_snapshot_only() {
        let sim = Sim::new(1);
        let publisher = Publisher::new(Arc::new(0));
        let subscriber = publisher.subscribe();
        for n in 1..=5 {
            publisher.publish(Arc::new(n));
        }
        assert_eq!(sim.run(HOUR, async move { *subscriber.changed().await.unwrap() }), Ok(5));
    }
}
