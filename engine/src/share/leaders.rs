//! The share partitions that one shard leads: they read the log, keep the time of locks, and have the share coordinator write what was
//! settled.
//!
//! A request has its effect on the state when it is taken in; what it waits for is waited for in a task. One read of a share partition
//! happens at a time, so that no two members are given the same records. What is known of a share partition may be forgotten whenever
//! all of it is written: the next fetch reads it again.

mod fetching;
mod writing;

pub use fetching::{AcquiredPart, Fetching};

use super::partition::{AckBatch, SharePartition};
use super::settings::ShareConfig;
use crate::coordinator::hosted::ReplyTo;
use crate::coordinator::records::share_state::SharePartitionKey;
use crate::partition::Partition;
use crate::placement::PartitionKey;
use crate::purgatory::Watchers;
use crate::shard::calls::Outcomes;
use crate::shard::coordination::Coordination;
use crate::shard::owner::Owner;
use hayate_net::error::ErrorCode;
use hayate_rt::notify::{Lock, Notify};
use hayate_rt::{MonoTime, Queue, Rt};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// What a shard is asked about share partitions that it leads.
pub enum ShareRequest {
    /// To deliver records to a member.
    Fetch(Fetching),
    /// To settle records of a member; answered when the share coordinator has it.
    Acknowledge(Settling),
    /// To free what a member has in these partitions.
    Release {
        /// Its group.
        group: String,
        /// The member.
        member: String,
        /// Where.
        keys: Vec<PartitionKey>,
    },
    /// To forget what is known: the share coordinator has been told otherwise.
    Forget(Vec<SharePartitionKey>),
}

/// Records to settle.
pub struct Settling {
    /// The group.
    pub group: String,
    /// Whose they are.
    pub member: String,
    /// By partition.
    pub parts: Vec<(PartitionKey, Vec<AckBatch>)>,
}

/// The answer, of the same name; one outcome a part, in the order of the request.
pub enum ShareAnswer {
    /// What was acquired.
    Fetch(Outcomes<AcquiredPart>),
    /// What became of it.
    Acknowledge(Outcomes<()>),
    /// It is done.
    Done,
}

/// Where the way to the coordinators will stand: they are made later, and know the share partitions themselves.
pub type Ways = Rc<RefCell<Weak<Coordination>>>;

/// One share partition.
struct Led {
    key: SharePartitionKey,
    partition: Rc<Partition>,
    /// `None` until it has been read.
    state: RefCell<Option<SharePartition>>,
    reading: Lock,
    waiters: Watchers,
    /// Who waits for which write.
    waiting: RefCell<Vec<(u64, flume::Sender<Result<(), ErrorCode>>)>>,
    /// Forgotten: whoever still holds it looks again.
    gone: Cell<bool>,
}

/// The share partitions of a shard.
pub struct Leaders {
    rt: Rt,
    owner: Rc<Owner>,
    config: ShareConfig,
    ways: Ways,
    led: RefCell<BTreeMap<SharePartitionKey, Rc<Led>>>,
    /// The deadline that the timer waits for.
    armed: Cell<Option<MonoTime>>,
    rearmed: Notify,
}

fn share_key(group: &str, key: PartitionKey) -> SharePartitionKey {
    SharePartitionKey { group: group.to_owned(), topic_id: key.topic_id, partition: key.partition }
}

impl Leaders {
    /// Of the shard of `owner`.
    pub fn new(rt: Rt, owner: Rc<Owner>, config: ShareConfig, ways: Ways) -> Rc<Leaders> {
        let (led, armed, rearmed) = (RefCell::default(), Cell::new(None), Notify::default());
        Rc::new(Leaders { rt, owner, config, ways, led, armed, rearmed })
    }

    /// Takes a request in; the answer comes through `reply`.
    pub fn submit(self: &Rc<Self>, request: ShareRequest, reply: ReplyTo<ShareAnswer>) {
        match request {
            ShareRequest::Fetch(fetching) => {
                let leaders = self.clone();
                let fetch = async move {
                    let fetched = leaders.fetch(fetching).await;
                    let _ = reply.try_send(Ok(ShareAnswer::Fetch(fetched)));
                };
                self.rt.spawn(Queue::Foreground, fetch).detach();
            }
            ShareRequest::Acknowledge(settling) => {
                let settled = self.settle(&settling);
                let answer = async move {
                    let mut outcomes = Vec::with_capacity(settled.len());
                    for waiting in settled {
                        outcomes.push(waiting.outcome().await);
                    }
                    let _ = reply.try_send(Ok(ShareAnswer::Acknowledge(outcomes)));
                };
                self.rt.spawn(Queue::Foreground, answer).detach();
            }
            ShareRequest::Release { group, member, keys } => {
                keys.iter().for_each(|key| self.release(&share_key(&group, *key), &member));
                let _ = reply.try_send(Ok(ShareAnswer::Done));
            }
            ShareRequest::Forget(keys) => {
                keys.iter().for_each(|key| self.forget(key));
                let _ = reply.try_send(Ok(ShareAnswer::Done));
            }
        }
    }

    /// Lets go of the share partitions that the shard leads no longer.
    pub fn follow(&self) {
        let is_gone = |led: &Rc<Led>| !self.is_led(led);
        let gone: Vec<SharePartitionKey> =
            self.led.borrow().iter().filter(|(_, led)| is_gone(led)).map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| self.forget(key));
    }

    fn is_led(&self, led: &Led) -> bool {
        let partition = self.owner.partition(led.partition.key());
        partition.is_some_and(|partition| Rc::ptr_eq(&partition, &led.partition))
    }

    fn find(&self, key: &SharePartitionKey) -> Option<Rc<Led>> {
        self.led.borrow().get(key).filter(|led| self.is_led(led)).cloned()
    }

    fn forget(&self, key: &SharePartitionKey) {
        let Some(led) = self.led.borrow_mut().remove(key) else { return };
        led.gone.set(true);
        led.waiting.borrow_mut().clear();
        led.waiters.disturbed();
    }

    /// Lets a share partition go of which nothing is known that is not written.
    fn forget_if_idle(&self, led: &Led) {
        let is_idle = led.state.borrow().as_ref().is_some_and(SharePartition::is_idle);
        if is_idle && led.reading.try_acquire().is_some() {
            self.forget(&led.key);
        }
    }

    fn settle(self: &Rc<Self>, settling: &Settling) -> Vec<Waiting> {
        let one = |(key, batches): &(PartitionKey, Vec<AckBatch>)| {
            self.owner.partition(*key).ok_or(ErrorCode::NotLeaderOrFollower)?;
            let led =
                self.find(&share_key(&settling.group, *key)).ok_or(ErrorCode::UnknownTopicOrPartition)?;
            let number = match led.state.borrow_mut().as_mut() {
                Some(state) => state.acknowledge(&settling.member, batches)?,
                None => return Err(ErrorCode::UnknownTopicOrPartition),
            };
            if number == 0 {
                return Ok(None);
            }
            let (told, answer) = flume::bounded(1);
            led.waiting.borrow_mut().push((number, told));
            self.flush(&led);
            Ok(Some(answer))
        };
        settling.parts.iter().map(|part| Waiting(one(part))).collect()
    }

    fn release(self: &Rc<Self>, key: &SharePartitionKey, member: &str) {
        let Some(led) = self.find(key) else { return };
        let released = led.state.borrow_mut().as_mut().is_some_and(|state| state.release(member));
        if released {
            led.waiters.disturbed();
            self.flush(&led);
        }
        self.forget_if_idle(&led);
    }

    fn arm(&self, led: &Led) {
        let deadline = led.state.borrow().as_ref().and_then(SharePartition::next_deadline);
        let Some(deadline) = deadline else { return };
        if self.armed.get().is_none_or(|armed| deadline < armed) {
            self.armed.set(Some(deadline));
            self.rearmed.notify();
        }
    }

    /// Ends locks when their time is over, for ever.
    pub async fn keep_time(self: Rc<Self>) {
        loop {
            let rearmed = self.rearmed.notified();
            match self.armed.get() {
                None => rearmed.await,
                Some(deadline) => {
                    let span = deadline.since(self.rt.now());
                    if !span.is_zero() && self.rt.timeout(span, rearmed).await.is_ok() {
                        continue;
                    }
                    self.end_locks();
                    self.rt.yield_now().await;
                }
            }
        }
    }

    fn end_locks(self: &Rc<Self>) {
        self.armed.set(None);
        let all: Vec<Rc<Led>> = self.led.borrow().values().cloned().collect();
        let now = self.rt.now();
        for led in all {
            if led.state.borrow_mut().as_mut().is_some_and(|state| state.expire(now)) {
                self.rt.reached("share lock ended");
                led.waiters.disturbed();
                self.flush(&led);
            }
            self.arm(&led);
        }
    }
}

/// What a settlement waits for.
struct Waiting(Result<Option<flume::Receiver<Result<(), ErrorCode>>>, ErrorCode>);

impl Waiting {
    async fn outcome(self) -> Result<(), ErrorCode> {
        match self.0? {
            None => Ok(()),
            // Forgotten meanwhile: somebody else leads, or the state was set up anew.
            Some(answer) => answer.recv_async().await.unwrap_or(Err(ErrorCode::NotLeaderOrFollower)),
        }
    }
}
