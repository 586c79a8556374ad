//! What drives the coordinators of one kind on one shard: it loads those whose partitions the shard leads, hands them their
//! requests and deadlines, and releases their answers once what they have written is safe.
//!
//! A request is taken in the order of its coming and never waits here. A panic in a machine ends that machine, not the
//! process: what it had not written has not happened, and it is loaded anew from what is written.

use super::hosted::{Hosted, Next, Released, ReplyTo};
use super::load::load;
use super::{Machine, Moment};
use crate::partition::{Partition, PartitionState};
use crate::shard::owner::Owner;
use crate::shard::panics::contained;
use crate::shard::view::ClusterView;
use hayate_net::error::ErrorCode;
use hayate_rt::notify::Notify;
use hayate_rt::{MonoTime, Queue, Rt};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Pause before a coordinator that has failed is loaded anew.
const RELOAD_PAUSE: Duration = Duration::from_millis(500);

/// A coordinator in its cell.
type Shared<M> = Rc<RefCell<Hosted<M>>>;

/// Carries out what the coordinator of that partition lets others do.
type CarryOut<M> = Box<dyn Fn(&Rc<Runtime<M>>, i32, <M as Machine>::Order)>;

/// The coordinators of one kind on one shard, by the number of their partition.
pub struct Runtime<M: Machine + 'static> {
    rt: Rt,
    owner: Rc<Owner>,
    /// The internal topic.
    topic: &'static str,
    make: Box<dyn Fn(i32) -> M>,
    /// Who carries out orders.
    order: CarryOut<M>,
    hosted: RefCell<BTreeMap<i32, Shared<M>>>,
    /// The deadline that the timer waits for.
    armed: Cell<Option<MonoTime>>,
    rearmed: Notify,
}

impl<M: Machine + 'static> Runtime<M> {
    /// Of the shard of `owner`, for the partitions of `topic`; `make` makes an empty machine, `order` carries out what one lets others do.
    pub fn new(
        rt: Rt,
        owner: Rc<Owner>,
        topic: &'static str,
        make: impl Fn(i32) -> M + 'static,
        order: impl Fn(&Rc<Runtime<M>>, i32, M::Order) + 'static,
    ) -> Rc<Runtime<M>> {
        Rc::new(Runtime {
            rt,
            owner,
            topic,
            make: Box::new(make),
            order: Box::new(order),
            hosted: RefCell::default(),
            armed: Cell::new(None),
            rearmed: Notify::default(),
        })
    }

    /// Takes on the partitions that the shard has come to lead, and lets go of those that it does not lead any more.
    pub fn follow(self: &Rc<Self>, view: &ClusterView) {
        let led: BTreeMap<i32, Rc<Partition>> = self.led(view);
        let is_led = |number: &i32, hosted: &Shared<M>| {
            led.get(number).is_some_and(|partition| Rc::ptr_eq(partition, hosted.borrow().partition()))
        };
        self.hosted.borrow_mut().retain(|number, hosted| is_led(number, hosted));
        for (number, partition) in led {
            self.host(number, partition);
        }
    }

    fn led(&self, view: &ClusterView) -> BTreeMap<i32, Rc<Partition>> {
        let Some(topic) = view.image.topic(self.topic) else { return BTreeMap::new() };
        let routed =
            topic.partitions.keys().filter_map(|number| Some((*number, view.route(topic, *number).ok()?)));
        let here = routed.filter(|(_, route)| route.shard == self.owner.shard());
        here.filter_map(|(number, route)| Some((number, self.owner.partition(route.key)?))).collect()
    }

    fn host(self: &Rc<Self>, number: i32, partition: Rc<Partition>) {
        if self.hosted.borrow().contains_key(&number) {
            return;
        }
        self.hear_markers(number, &partition);
        let empty = partition.log().offsets().start == partition.log().offsets().end;
        let hosted = Rc::new(RefCell::new(Hosted::new(partition)));
        self.hosted.borrow_mut().insert(number, hosted.clone());
        if empty {
            self.activate(number, &hosted, (self.make)(number));
        } else {
            self.load_later(number, hosted, Duration::ZERO);
        }
    }

    /// Lets a coordinator know of the markers in its partition. While it is loading, the load finds them.
    fn hear_markers(self: &Rc<Self>, number: i32, partition: &Partition) {
        let runtime = Rc::downgrade(self);
        partition.on_marker(Rc::new(move |producer, _, committed, _| {
            let Some(runtime) = runtime.upgrade() else { return };
            let Some(hosted) = runtime.hosted.borrow().get(&number).cloned() else { return };
            let step = contained(|| hosted.borrow_mut().mark(producer, committed));
            runtime.after(number, &hosted, step.ok().map(|next| (next, None)));
        }));
    }

    /// Loads a coordinator in a task of its own, again and again until it works or the partition is led no longer.
    fn load_later(self: &Rc<Self>, number: i32, hosted: Shared<M>, pause: Duration) {
        if !hosted.borrow_mut().claim_load() {
            return;
        }
        let runtime = self.clone();
        let loading = async move {
            let mut pause = pause;
            loop {
                if !pause.is_zero() {
                    runtime.rt.sleep(pause).await;
                }
                if !runtime.is_current(number, &hosted) || runtime.load_once(number, &hosted).await {
                    return;
                }
                pause = RELOAD_PAUSE;
            }
        };
        self.rt.spawn(Queue::Coordination, loading).detach();
    }

    fn is_current(&self, number: i32, hosted: &Shared<M>) -> bool {
        self.hosted.borrow().get(&number).is_some_and(|current| Rc::ptr_eq(current, hosted))
    }

    async fn load_once(self: &Rc<Self>, number: i32, hosted: &Shared<M>) -> bool {
        let partition = hosted.borrow().partition().clone();
        // What is not safe yet may still be taken back.
        let is_safe = partition.high_watermark() >= partition.log().offsets().end;
        if partition.state() == PartitionState::Offline || !is_safe {
            return false;
        }
        hosted.borrow_mut().begin_load();
        let began = self.rt.now();
        let mut machine = (self.make)(number);
        if let Err(error) = load(&self.rt, &partition, &mut machine).await {
            let partition = partition.log().partition();
            tracing::error!(%partition, %error, "a coordinator could not be loaded");
            hosted.borrow_mut().fail();
            return false;
        }
        if self.is_current(number, hosted) {
            let millis = self.rt.now().since(began).as_millis();
            tracing::info!(partition = %partition.log().partition(), millis, "a coordinator is loaded");
            self.activate(number, hosted, machine);
        }
        true
    }

    fn activate(self: &Rc<Self>, number: i32, hosted: &Shared<M>, machine: M) {
        let moment = self.moment(hosted);
        let step = contained(|| hosted.borrow_mut().activate(machine, &moment));
        self.after(number, hosted, step.ok());
    }

    fn moment(&self, hosted: &Shared<M>) -> Moment {
        Moment {
            now: self.rt.now(),
            wall_ms: self.rt.wall_ms(),
            image: self.owner.view().image.clone(),
            log_end: hosted.borrow().partition().log().offsets().end,
        }
    }

    fn find(self: &Rc<Self>, number: i32) -> Result<Shared<M>, ErrorCode> {
        if let Some(hosted) = self.hosted.borrow().get(&number) {
            return Ok(hosted.clone());
        }
        // The shard leads it, and has not been told yet.
        let led = self.led(&self.owner.view());
        let partition = led.get(&number).ok_or(ErrorCode::NotCoordinator)?;
        self.host(number, partition.clone());
        self.hosted.borrow().get(&number).cloned().ok_or(ErrorCode::NotCoordinator)
    }

    /// Hands a request to the coordinator of partition `number`; the answer comes through `reply`.
    pub fn submit(self: &Rc<Self>, number: i32, request: M::Request, reply: ReplyTo<M::Answer>) {
        let hosted = match self.find(number) {
            Ok(hosted) => hosted,
            Err(code) => {
                let _ = reply.try_send(Err(code));
                return;
            }
        };
        let moment = self.moment(&hosted);
        let step = contained(|| hosted.borrow_mut().handle(&moment, request, reply));
        self.after(number, &hosted, step.ok());
    }

    /// Something happens outside the requests: the coordinator of partition `number` takes a step, if it serves.
    pub fn step(self: &Rc<Self>, number: i32, take: impl FnOnce(&mut M, &Moment, &mut super::EffectsOf<M>)) {
        let Some(hosted) = self.hosted.borrow().get(&number).cloned() else { return };
        let moment = self.moment(&hosted);
        let step = contained(|| {
            hosted.borrow_mut().step(&moment, |machine, effects| take(machine, &moment, effects))
        });
        self.after(number, &hosted, step.ok());
    }

    /// Does what a step asks for; `None` for one that panicked.
    fn after(self: &Rc<Self>, number: i32, hosted: &Shared<M>, step: Option<(Next, Option<Released<M>>)>) {
        let (next, released) = step.unwrap_or_else(|| {
            let partition = hosted.borrow().partition().clone();
            tracing::error!(partition = %partition.log().partition(), "a coordinator panicked: it is loaded anew");
            hosted.borrow_mut().fail();
            (Next::Reload, None)
        });
        self.release(number, released);
        match next {
            Next::Rest => {}
            Next::Settle => {
                let (runtime, hosted) = (self.clone(), hosted.clone());
                let settling = async move { runtime.settle(number, hosted).await };
                self.rt.spawn(Queue::Coordination, settling).detach();
            }
            Next::Reload => self.load_later(number, hosted.clone(), RELOAD_PAUSE),
        }
        self.arm(hosted.borrow().next_deadline());
    }

    fn release(self: &Rc<Self>, number: i32, released: Option<Released<M>>) {
        let orders = released.map(Released::send).unwrap_or_default();
        orders.into_iter().for_each(|order| (self.order)(self, number, order));
    }

    /// Releases what waits for appends, in order, until nothing waits.
    async fn settle(self: Rc<Self>, number: i32, hosted: Shared<M>) {
        let incarnation = hosted.borrow().incarnation();
        loop {
            let first = hosted.borrow_mut().first_appends(incarnation);
            let Some(appends) = first else { return };
            for appending in appends {
                if let Err(code) = appending.settled().await {
                    let partition = hosted.borrow().partition().clone();
                    tracing::error!(partition = %partition.log().partition(), ?code, "a coordinator's records are not safe");
                    if hosted.borrow().incarnation() == incarnation {
                        hosted.borrow_mut().fail();
                        self.load_later(number, hosted, RELOAD_PAUSE);
                    }
                    return;
                }
            }
            let released = hosted.borrow_mut().settled(incarnation);
            self.release(number, released);
        }
    }

    fn arm(&self, deadline: Option<MonoTime>) {
        let Some(deadline) = deadline else { return };
        if self.armed.get().is_none_or(|armed| deadline < armed) {
            self.armed.set(Some(deadline));
            self.rearmed.notify();
        }
    }

    /// Gives the machines their deadlines, for ever.
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
                    self.run_due();
                    self.rt.yield_now().await;
                }
            }
        }
    }

    fn run_due(self: &Rc<Self>) {
        self.armed.set(None);
        let all: Vec<(i32, Shared<M>)> =
            self.hosted.borrow().iter().map(|(number, hosted)| (*number, hosted.clone())).collect();
        for (number, hosted) in all {
            let deadline = hosted.borrow().next_deadline();
            if deadline.is_some_and(|deadline| deadline <= self.rt.now()) {
                self.step(number, |machine, moment, effects| machine.on_time(moment, effects));
            } else {
                self.arm(deadline);
            }
        }
    }

    /// The partition of that number, if its coordinator is here.
    pub fn partition(self: &Rc<Self>, number: i32) -> Option<Rc<Partition>> {
        self.find(number).ok().map(|hosted| hosted.borrow().partition().clone())
    }

    /// Lets every machine that serves take a step.
    pub fn step_all(self: &Rc<Self>, take: impl Fn(&mut M, &Moment, &mut super::EffectsOf<M>)) {
        let numbers: Vec<i32> = self.hosted.borrow().keys().copied().collect();
        numbers.into_iter().for_each(|number| self.step(number, &take));
    }

    /// Looks at every machine that serves, in the order of partitions; what it changes must be of no consequence for what
    /// the machine does.
    pub fn each_mut(&self, mut look: impl FnMut(i32, &mut M)) {
        for (number, hosted) in self.hosted.borrow().iter() {
            if let Some(machine) = hosted.borrow_mut().machine_mut() {
                look(*number, machine);
            }
        }
    }

    /// How many partitions have a coordinator here, whether it serves or not.
    pub fn hosted_count(&self) -> usize {
        self.hosted.borrow().len()
    }
}
