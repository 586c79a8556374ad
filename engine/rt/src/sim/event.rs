//! Timed events of a simulation, in the order of their time and then of their making.

use super::{NodeId, World};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(super) struct Event {
    pub(super) at_nanos: u64,
    sequence: u64,
    /// The incarnation whose crash cancels this event.
    pub(super) owner: Option<(NodeId, u64)>,
    pub(super) action: Box<dyn FnOnce()>,
}

impl Event {
    fn key(&self) -> (u64, u64) {
        (self.at_nanos, self.sequence)
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    /// Reversed: the heap's greatest is the earliest.
    fn cmp(&self, other: &Event) -> Ordering {
        other.key().cmp(&self.key())
    }
}

#[derive(Default)]
pub(super) struct EventQueue {
    heap: BinaryHeap<Event>,
    made: u64,
}

impl EventQueue {
    pub(super) fn push(&mut self, at_nanos: u64, owner: Option<(NodeId, u64)>, action: Box<dyn FnOnce()>) {
        self.made += 1;
        self.heap.push(Event { at_nanos, sequence: self.made, owner, action });
    }

    /// When the earliest event is due.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|event| event.at_nanos)
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.heap.pop()
    }
}

/// A timer. Its event is scheduled at the first poll.
pub(super) struct Sleep {
    world: Rc<World>,
    owner: Option<(NodeId, u64)>,
    span: Duration,
    state: Option<Rc<RefCell<Fired>>>,
}

#[derive(Default)]
struct Fired {
    done: bool,
    waker: Option<Waker>,
}

impl Sleep {
    pub(super) fn new(world: Rc<World>, owner: Option<(NodeId, u64)>, span: Duration) -> Sleep {
        Sleep { world, owner, span, state: None }
    }

    fn start(&mut self) -> Rc<RefCell<Fired>> {
        let state = Rc::new(RefCell::new(Fired::default()));
        let fired = state.clone();
        let action = Box::new(move || {
            let waker = {
                let mut fired = fired.borrow_mut();
                fired.done = true;
                fired.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        self.world.schedule(self.owner, self.span, action);
        self.state = Some(state.clone());
        state
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let state = match &self.state {
            Some(state) => state.clone(),
            None => self.start(),
        };
        let mut fired = state.borrow_mut();
        if fired.done {
            return Poll::Ready(());
        }
        fired.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
