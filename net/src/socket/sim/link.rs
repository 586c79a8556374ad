//! One simulated connection: two pipes of bounded size, and what becomes of them when an end goes away.

use super::{Shared, wake};
use crate::socket::zerocopy::{Account, Pins, Settled};
use crate::socket::{SocketError, advance_rope};
use bytes::{Buf, Bytes, BytesMut};
use hayate_rt::MonoTime;
use hayate_rt::sim::NodeId;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// How far the end of one direction has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finish {
    /// More may be written.
    Open,
    /// The writer has ended it; the reader does not know yet.
    Sent,
    /// The reader sees the end once it has read what came before.
    Arrived,
}

/// One direction, from the side of its index to the other.
struct Pipe {
    arrived: RefCell<VecDeque<Bytes>>,
    /// Bytes in flight and unread.
    held_bytes: Cell<usize>,
    last_arrival: Cell<MonoTime>,
    finish: Cell<Finish>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
    /// Where the writer's shard counts what it has pinned, and what that is of this pipe.
    account: RefCell<Option<Rc<Account>>>,
    pins: Cell<Pins>,
}

pub(super) struct Link {
    shared: Rc<Shared>,
    nodes: [NodeId; 2],
    pipes: [Pipe; 2],
    closed: [Cell<bool>; 2],
    reset: Cell<bool>,
    /// The peer's machine is gone and has not said so.
    silent: Cell<bool>,
}

impl Pipe {
    fn new() -> Pipe {
        Pipe {
            arrived: RefCell::default(),
            held_bytes: Cell::new(0),
            last_arrival: Cell::new(MonoTime::default()),
            finish: Cell::new(Finish::Open),
            reader: RefCell::default(),
            writer: RefCell::default(),
            account: RefCell::default(),
            pins: Cell::default(),
        }
    }

    /// The writer's next `bytes` stay pinned until they are read.
    fn pin(&self, bytes: usize) {
        if let Some(account) = self.account.borrow().as_ref() {
            let pins = self.pins.get();
            self.pins.set(Pins { held_bytes: pins.held_bytes + bytes, ..pins });
            account.pin(bytes);
        }
    }

    /// So many bytes were read, or will never be.
    fn unpin(&self, bytes: usize) {
        let pins = self.pins.get();
        let bytes = bytes.min(pins.held_bytes);
        if let Some(account) = self.account.borrow().as_ref().filter(|_| bytes > 0) {
            let returned_bytes = pins.returned_bytes + bytes as u64;
            self.pins.set(Pins { held_bytes: pins.held_bytes - bytes, returned_bytes });
            account.unpin(Settled { sends: 1, bytes }, false, false);
        }
    }

    fn wake_both(&self) {
        wake(&self.reader);
        wake(&self.writer);
    }
}

impl Link {
    pub(super) fn new(shared: Rc<Shared>, nodes: [NodeId; 2]) -> Link {
        Link {
            shared,
            nodes,
            pipes: [Pipe::new(), Pipe::new()],
            closed: [Cell::new(false), Cell::new(false)],
            reset: Cell::new(false),
            silent: Cell::new(false),
        }
    }

    pub(super) fn poll_read(
        &self,
        side: usize,
        buffer: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, SocketError>> {
        let pipe = &self.pipes[1 - side];
        if self.reset.get() {
            return Poll::Ready(Err(SocketError::Closed));
        }
        let count = self.take(pipe, buffer);
        if count > 0 {
            wake(&pipe.writer);
            return Poll::Ready(Ok(count));
        }
        if pipe.finish.get() == Finish::Arrived {
            return Poll::Ready(Ok(0));
        }
        *pipe.reader.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Moves bytes that have arrived into the spare capacity of `buffer`, sometimes only a part of them.
    fn take(&self, pipe: &Pipe, buffer: &mut BytesMut) -> usize {
        let mut arrived = pipe.arrived.borrow_mut();
        let available: usize = arrived.iter().map(Bytes::len).sum();
        let mut wanted = available.min(buffer.capacity() - buffer.len());
        if wanted > 1 && self.shared.happens(self.shared.plan.get().split_one_in) {
            self.shared.sim.count("fault net split read");
            wanted = 1 + self.shared.sim.random_below(wanted as u64 - 1) as usize;
        }
        let mut left = wanted;
        while left > 0 {
            let Some(front) = arrived.front_mut() else { break };
            let part = left.min(front.len());
            buffer.extend_from_slice(&front[..part]);
            front.advance(part);
            left -= part;
            if front.is_empty() {
                arrived.pop_front();
            }
        }
        pipe.held_bytes.set(pipe.held_bytes.get() - wanted);
        pipe.unpin(wanted);
        wanted
    }

    pub(super) fn poll_write(
        self: &Rc<Self>,
        side: usize,
        rope: &mut VecDeque<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, SocketError>> {
        let pipe = &self.pipes[side];
        if self.reset.get() || pipe.finish.get() != Finish::Open {
            return Poll::Ready(Err(SocketError::Closed));
        }
        self.misbehave(side);
        if self.reset.get() {
            return Poll::Ready(Err(SocketError::Closed));
        }
        let room = self.shared.plan.get().buffer_bytes.saturating_sub(pipe.held_bytes.get());
        if room == 0 {
            *pipe.writer.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Some(front) = rope.front() else { return Poll::Ready(Ok(0)) };
        let count = front.len().min(room);
        self.carry(side, front.slice(..count));
        advance_rope(rope, count);
        Poll::Ready(Ok(count))
    }

    /// What `side` sends is counted there.
    pub(super) fn account(&self, side: usize, account: &Rc<Account>) {
        *self.pipes[side].account.borrow_mut() = Some(account.clone());
    }

    pub(super) fn pins(&self, side: usize) -> Pins {
        self.pipes[side].pins.get()
    }

    /// Keeps what `side` hands over, if the network is to.
    pub(super) fn keep(&self, side: usize, rope: &VecDeque<Bytes>) {
        if let Some(kept) = self.shared.sent.borrow_mut().as_mut() {
            kept.extend(rope.iter().map(|segment| (self.nodes[side], segment.clone())));
        }
    }

    /// Draws what the plan lets go wrong at a write.
    fn misbehave(self: &Rc<Self>, side: usize) {
        let plan = self.shared.plan.get();
        if self.closed[1 - side].get() || self.silent.get() {
            self.reset();
        } else if self.shared.happens(plan.reset_one_in) {
            self.shared.sim.count("fault net reset");
            self.reset();
        } else if self.shared.happens(plan.half_close_one_in) {
            self.shared.sim.count("fault net half close");
            self.finish(side);
            // What is written from now on is lost: to the writer that looks like a reset.
            self.reset_later();
        }
    }

    /// Sends `bytes` on their way; they arrive after whatever was sent before.
    fn carry(self: &Rc<Self>, side: usize, bytes: Bytes) {
        let pipe = &self.pipes[side];
        pipe.held_bytes.set(pipe.held_bytes.get() + bytes.len());
        if self.shared.plan.get().pins {
            pipe.pin(bytes.len());
        }
        self.at_arrival(side, move |link| {
            link.pipes[side].arrived.borrow_mut().push_back(bytes);
            wake(&link.pipes[side].reader);
        });
    }

    /// Runs `action` when a segment sent now arrives, unless the connection is lost first.
    fn at_arrival(self: &Rc<Self>, side: usize, action: impl FnOnce(&Link) + 'static) {
        let now = self.shared.sim.now();
        let arrival = (now + self.shared.delay()).max(self.pipes[side].last_arrival.get());
        self.pipes[side].last_arrival.set(arrival);
        let link = Rc::clone(self);
        self.shared.sim.schedule(arrival.since(now), move || {
            if !link.reset.get() && !link.silent.get() {
                action(&link);
            }
        });
    }

    /// Ends the direction from `side`.
    pub(super) fn finish(self: &Rc<Self>, side: usize) {
        if self.pipes[side].finish.get() != Finish::Open {
            return;
        }
        self.pipes[side].finish.set(Finish::Sent);
        wake(&self.pipes[side].writer);
        self.at_arrival(side, move |link| {
            link.pipes[side].finish.set(Finish::Arrived);
            wake(&link.pipes[side].reader);
        });
    }

    /// The last handle on `side` is gone: what it sent still arrives, what is sent to it meets a reset.
    pub(super) fn close(self: &Rc<Self>, side: usize) {
        self.closed[side].set(true);
        self.pipes[1 - side].unpin(usize::MAX);
        self.finish(side);
        wake(&self.pipes[1 - side].writer);
    }

    /// Cuts the connection for both sides.
    pub(super) fn reset(&self) {
        self.reset.set(true);
        for pipe in &self.pipes {
            pipe.arrived.borrow_mut().clear();
            pipe.unpin(usize::MAX);
            pipe.wake_both();
        }
    }

    fn reset_later(self: &Rc<Self>) {
        let link = Rc::clone(self);
        self.shared.sim.schedule(self.shared.delay() * 4, move || link.reset());
    }

    /// The machine of `node` is gone.
    pub(super) fn lose_node(self: &Rc<Self>, node: NodeId) {
        if !self.nodes.contains(&node) || self.reset.get() {
            return;
        }
        if self.shared.sim.chance(1, 4) {
            self.shared.sim.count("fault net silent peer");
            self.silent.set(true);
        } else {
            self.shared.sim.count("fault net lost peer");
            self.reset_later();
        }
    }
}
