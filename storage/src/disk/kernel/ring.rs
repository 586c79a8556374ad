//! One io_uring a shard, driven from glommio's reactor: requests go in at once, a reaper task collects what is done.
//!
//! The reaper runs only while something is in flight and sleeps on the ring's own descriptor, so an idle broker is never
//! woken. Each request owns its file and its buffers in a slot until the kernel has answered, even when its future is
//! dropped. What exceeds the ring waits in a backlog that holds one entry a waiting future, and forgets those that are
//! dropped; hence everything is bounded by what callers hold. Memory ordering of the rings is the `io-uring` crate's
//! business.

use crate::disk::DiskError;
use crate::disk::mem::Unfilled;
use bytes::Bytes;
use glommio::io::{PollState, PollableFd};
use hayate_rt::{Queue, Rt};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How many kernel requests one ring has in flight; a write with its flush counts twice.
pub(super) const ENTRIES: u32 = 64;

/// How many flushes and other blocking requests of one shard the kernel's workers take at a time.
const BLOCKING_WORKERS_MAX: u32 = 16;

/// The most that one request moves; the kernel would cut longer ones anyway.
const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// How long to wait when the kernel is out of memory for requests and nothing is in flight that could end.
const RETRY_SPAN: Duration = Duration::from_millis(1);

/// How a write becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteSync {
    /// It does not.
    No,
    /// As one `O_DSYNC` write.
    Dsync,
    /// By an `fdatasync` that the kernel starts when all of it is written.
    Linked,
}

/// What the kernel is asked to do to a file.
pub(super) enum Request {
    Write {
        data: Bytes,
        pos: u64,
        sync: WriteSync,
    },
    /// Fills `buf` from the byte `filled` on with what the file has at `pos`.
    Read {
        buf: Unfilled,
        filled: usize,
        pos: u64,
    },
    Sync,
    Truncate {
        len: u64,
    },
    Allocate {
        len: u64,
    },
}

/// A request and the file that it is about, which stays open until the answer.
pub(super) struct Op {
    pub(super) file: Arc<std::fs::File>,
    pub(super) request: Request,
}

/// The kernel's answer.
pub(super) struct Done {
    /// What was handed in.
    pub(super) op: Op,
    /// Bytes moved, or a negative error number.
    pub(super) result: i32,
    /// What the linked flush says: zero, or a negative error number. Zero where there was none.
    pub(super) flush_result: i32,
    /// The kernel may have flushed before it wrote: the flush proves nothing.
    pub(super) flush_in_doubt: bool,
}

/// The ring of one shard. Cheap to clone.
#[derive(Clone)]
pub(super) struct Ring {
    shared: Rc<Shared>,
}

struct Shared {
    rt: Rt,
    ready: PollableFd<RingFd>,
    state: RefCell<State>,
    reaper: Reaper,
    can_truncate: bool,
}

/// The reaper task's doorbell.
#[derive(Default)]
struct Reaper {
    running: Cell<bool>,
    kicked: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The ring's descriptor, borrowed: `Shared` holds the ring itself.
struct RingFd(RawFd);

impl AsRawFd for RingFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

struct State {
    ring: IoUring,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots whose requests did not fit into the ring yet.
    backlog: VecDeque<u32>,
    /// Entries that were pushed and not answered.
    flying: u32,
    /// Entries that were pushed and that the kernel has not taken.
    unsubmitted: u32,
    /// Linked writes among those.
    unsubmitted_links: Vec<u32>,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody uses the slot.
    Free,
    /// In the backlog.
    Queued,
    /// In the backlog, its future gone.
    Cancelled,
    /// With the kernel.
    Flying,
    /// With the kernel, its future gone.
    Abandoned,
    /// Answered; its future has not looked yet.
    Done,
}

struct Slot {
    phase: Phase,
    op: Option<Op>,
    waker: Option<Waker>,
    /// Answers that are still to come.
    awaited: u32,
    result: i32,
    flush_result: i32,
    flush_in_doubt: bool,
}

impl Request {
    /// How many entries of the ring it takes.
    fn entries(&self) -> u32 {
        if matches!(self, Request::Write { sync: WriteSync::Linked, .. }) { 2 } else { 1 }
    }

    /// Whether somebody's acknowledgement waits for it.
    fn is_urgent(&self) -> bool {
        match self {
            Request::Write { sync, .. } => *sync != WriteSync::No,
            Request::Sync => true,
            Request::Read { .. } | Request::Truncate { .. } | Request::Allocate { .. } => false,
        }
    }

    /// The kernel's form of it, without the flush.
    fn entry(&mut self, fd: Fd) -> Entry {
        let clamp = |len: usize| len.min(TRANSFER_BYTES_MAX) as u32;
        match self {
            Request::Write { data, pos, sync } => {
                let flags = if *sync == WriteSync::Dsync { libc::RWF_DSYNC } else { 0 };
                let write = opcode::Write::new(fd, data.as_ptr(), clamp(data.len()));
                write.offset(*pos).rw_flags(flags).build()
            }
            Request::Read { buf, filled, pos } => {
                let len = clamp(buf.len() - *filled);
                opcode::Read::new(fd, buf.ptr_at(*filled), len).offset(*pos).build()
            }
            Request::Sync => flush_entry(fd),
            Request::Truncate { len } => opcode::Ftruncate::new(fd, *len).build(),
            Request::Allocate { len } => opcode::Fallocate::new(fd, *len).build(),
        }
    }
}

fn flush_entry(fd: Fd) -> Entry {
    opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build()
}

impl Ring {
    /// # Errors
    /// [`DiskError::Unavailable`].
    pub(super) fn new(rt: &Rt) -> Result<Ring, DiskError> {
        let refused = |what| move |error: std::io::Error| unavailable(what, &error);
        let ring = build().map_err(refused("io_uring"))?;
        free_the_workers(&ring).map_err(refused("to place io_uring's workers"))?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe).map_err(refused("to list io_uring's operations"))?;
        let ready = PollableFd::new(RingFd(ring.as_raw_fd()))
            .map_err(|error| unavailable("to watch io_uring", &std::io::Error::from(error)))?;
        let shared = Shared {
            rt: rt.clone(),
            ready,
            state: RefCell::new(State::new(ring)),
            reaper: Reaper::default(),
            can_truncate: probe.is_supported(opcode::Ftruncate::CODE),
        };
        Ok(Ring { shared: Rc::new(shared) })
    }

    /// Registers `file`: the kernel lets go of a ring's files only when it has finished the ring's last request.
    pub(super) fn hold(&self, file: BorrowedFd<'_>) -> Result<(), DiskError> {
        let state = self.shared.state.borrow();
        let registered = state.ring.submitter().register_files(&[file.as_raw_fd()]);
        registered.map_err(|error| unavailable("to register the data folder's lock with io_uring", &error))
    }

    /// Whether the kernel knows [`Request::Truncate`] (Linux 6.9).
    pub(super) fn can_truncate(&self) -> bool {
        self.shared.can_truncate
    }

    /// Has the kernel do `op`, after what waits already when the ring is full. Starts at once; a dropped future leaves
    /// the request to the kernel if it has it, and withdraws it if not.
    pub(super) fn run(&self, op: Op) -> impl Future<Output = Done> + use<> {
        let slot = self.shared.start(op);
        Completion { shared: self.shared.clone(), slot: Some(slot) }
    }

    /// Requests that the kernel has or that wait for room.
    #[cfg(test)]
    pub(super) fn busy(&self) -> usize {
        let state = self.shared.state.borrow();
        state.slots.len() - state.free.len()
    }
}

fn unavailable(what: &'static str, error: &std::io::Error) -> DiskError {
    DiskError::Unavailable { what, errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

/// A ring whose completions wait for the thread's next system call instead of interrupting it, and that this thread
/// alone submits to.
fn build() -> std::io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_submit_all().setup_coop_taskrun().setup_single_issuer();
    builder.build(ENTRIES)
}

/// Lets the kernel's workers, which run the flushes, leave the core that the shard is pinned to: there they would wait
/// for the shard's thread to sleep. They may go where the process's first thread may, and are limited in number.
fn free_the_workers(ring: &IoUring) -> std::io::Result<()> {
    // SAFETY: all-zero is a valid `cpu_set_t`, the empty set.
    let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer and the size describe `cpus`, which outlives the call.
    let got = unsafe { libc::sched_getaffinity(libc::getpid(), size_of_val(&cpus), &mut cpus) };
    if got != 0 {
        return Err(std::io::Error::last_os_error());
    }
    ring.submitter().register_iowq_aff(&cpus)?;
    // Zero leaves the workers for sockets and pipes, which this ring never uses, as they are.
    ring.submitter().register_iowq_max_workers(&mut [BLOCKING_WORKERS_MAX, 0])
}

impl Shared {
    fn start(self: &Rc<Shared>, op: Op) -> u32 {
        let mut state = self.state.borrow_mut();
        let was_idle = state.flying == 0;
        let urgent = op.request.is_urgent();
        let slot = state.admit(op);
        // Others of this turn of the scheduler go out with the reaper's next look, in one call.
        if state.unsubmitted > 0 && (was_idle || urgent) {
            state.submit();
        }
        let kick = state.unsubmitted > 0;
        drop(state);
        if !self.reaper.running.replace(true) {
            self.rt.spawn(Queue::Foreground, reap_while_busy(self.clone())).detach();
        } else if kick {
            self.reaper.kick();
        }
        slot
    }

    /// Submits, collects, refills from the backlog, and wakes those whose requests are done. Whether anything is left
    /// to wait for, and whether the kernel refused to take something.
    fn turn(&self) -> Turn {
        let mut finished = Finished::default();
        let mut state = self.state.borrow_mut();
        state.submit();
        state.collect(&mut finished);
        state.refill();
        let turn = match (state.flying, state.unsubmitted) {
            (0, _) => Turn::Idle,
            (_, 0) => Turn::Waiting,
            _ => Turn::Refused,
        };
        if turn == Turn::Idle {
            self.reaper.running.set(false);
        }
        drop(state);
        // Buffers may have destructors of their own, and wakers run foreign code: both outside the borrow.
        finished.wakers.drain(..).for_each(Waker::wake);
        turn
    }

    /// Resolves when the ring has answers or new requests to submit.
    async fn stirred(&self, readiness: &mut PollState) {
        let readable = std::future::poll_fn(|cx| {
            if self.reaper.kicked.take() {
                return Poll::Ready(Ok(()));
            }
            *self.reaper.waker.borrow_mut() = Some(cx.waker().clone());
            self.ready.poll_readable(cx, readiness)
        });
        if let Err(error) = readable.await {
            tracing::warn!(%error, "the reactor cannot watch the disk's ring: looking at it every millisecond");
            self.rt.sleep(RETRY_SPAN).await;
        }
    }
}

/// What is left after a turn of the reaper.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing.
    Idle,
    /// Answers.
    Waiting,
    /// The kernel has no memory for requests just now.
    Refused,
}

/// What a turn sets free.
#[derive(Default)]
struct Finished {
    wakers: Vec<Waker>,
    /// Requests whose futures are gone.
    orphans: Vec<Op>,
}

impl Reaper {
    fn kick(&self) {
        self.kicked.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

async fn reap_while_busy(shared: Rc<Shared>) {
    let mut readiness = PollState::new();
    loop {
        match shared.turn() {
            Turn::Idle => return,
            Turn::Waiting => shared.stirred(&mut readiness).await,
            Turn::Refused => shared.rt.sleep(RETRY_SPAN).await,
        }
    }
}

impl State {
    fn new(ring: IoUring) -> State {
        State {
            ring,
            slots: Vec::new(),
            free: Vec::new(),
            backlog: VecDeque::new(),
            flying: 0,
            unsubmitted: 0,
            unsubmitted_links: Vec::new(),
        }
    }

    /// Gives a request a slot, and room in the ring or a place in the backlog.
    fn admit(&mut self, op: Op) -> u32 {
        let fits = self.backlog.is_empty() && self.flying + op.request.entries() <= ENTRIES;
        let slot = self.take_slot(op);
        if fits {
            self.push(slot);
        } else {
            self.backlog.push_back(slot);
        }
        slot
    }

    fn take_slot(&mut self, op: Op) -> u32 {
        let awaited = op.request.entries();
        let slot = Slot {
            phase: Phase::Queued,
            op: Some(op),
            waker: None,
            awaited,
            result: 0,
            flush_result: 0,
            flush_in_doubt: false,
        };
        match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer requests than memory holds futures")
            }
        }
    }

    fn release(&mut self, index: u32) -> Option<Op> {
        let slot = &mut self.slots[index as usize];
        slot.phase = Phase::Free;
        slot.waker = None;
        self.free.push(index);
        slot.op.take()
    }

    /// Moves a queued request into the ring.
    fn push(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        assert_eq!(slot.phase, Phase::Queued, "only a queued request goes to the kernel");
        slot.phase = Phase::Flying;
        let op = slot.op.as_mut().expect("a queued request has its operation");
        let fd = Fd(op.file.as_raw_fd());
        let tag = u64::from(index) << 1;
        let first = op.request.entry(fd).user_data(tag);
        if op.request.entries() == 1 {
            self.push_entries(&[first]);
        } else {
            self.unsubmitted_links.push(index);
            self.push_entries(&[first.flags(Flags::IO_LINK), flush_entry(fd).user_data(tag | 1)]);
        }
    }

    fn push_entries(&mut self, entries: &[Entry]) {
        // SAFETY: the entries name a descriptor and a buffer that the slot's `Op` owns: `Bytes` and `Unfilled` keep
        // their memory in place when they are moved, and the file is open while its `Arc` lives. The `Op` leaves its
        // slot only when all `awaited` answers are in, or when the ring is dropped, which waits for them.
        let pushed = unsafe { self.ring.submission().push_multiple(entries) };
        pushed.expect("the queue holds as many entries as may be in flight");
        self.flying += entries.len() as u32;
        self.unsubmitted += entries.len() as u32;
    }

    /// Hands the kernel what was pushed. What it has no memory for stays for a later call.
    fn submit(&mut self) {
        while self.unsubmitted > 0 {
            match self.ring.submit() {
                Ok(taken) => self.unsubmitted -= taken as u32,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {}
                    _ => panic!("io_uring_enter of a ring of our own cannot fail so: {error}"),
                },
            }
            if self.unsubmitted > 0 {
                // A link does not reach over two calls: its flush may run before its write.
                for &index in &self.unsubmitted_links {
                    self.slots[index as usize].flush_in_doubt = true;
                }
                return;
            }
        }
        self.unsubmitted_links.clear();
    }

    /// Takes all answers that are there.
    fn collect(&mut self, finished: &mut Finished) {
        let State { ring, slots, flying, .. } = self;
        let mut complete = Vec::new();
        for answer in ring.completion() {
            *flying -= 1;
            let index = (answer.user_data() >> 1) as u32;
            let slot = &mut slots[index as usize];
            match answer.user_data() & 1 {
                0 => slot.result = answer.result(),
                _ => slot.flush_result = answer.result(),
            }
            slot.awaited -= 1;
            if slot.awaited == 0 {
                complete.push(index);
            }
        }
        for index in complete {
            self.finish(index, finished);
        }
    }

    fn finish(&mut self, index: u32, finished: &mut Finished) {
        let slot = &mut self.slots[index as usize];
        match slot.phase {
            Phase::Flying => {
                slot.phase = Phase::Done;
                finished.wakers.extend(slot.waker.take());
            }
            Phase::Abandoned => finished.orphans.extend(self.release(index)),
            Phase::Free | Phase::Queued | Phase::Cancelled | Phase::Done => {
                unreachable!("an answer for a request that is not with the kernel")
            }
        }
    }

    /// Moves what waited into the room that answers made.
    fn refill(&mut self) {
        while let Some(&index) = self.backlog.front() {
            let slot = &self.slots[index as usize];
            if slot.phase == Phase::Cancelled {
                self.backlog.pop_front();
                self.release(index);
                continue;
            }
            if self.flying + slot.awaited > ENTRIES {
                break;
            }
            self.backlog.pop_front();
            self.push(index);
        }
        self.submit();
    }

    /// Its future is gone. What the kernel does not have yet is withdrawn.
    fn abandon(&mut self, index: u32) -> Option<Op> {
        let slot = &mut self.slots[index as usize];
        slot.waker = None;
        match slot.phase {
            Phase::Queued => {
                slot.phase = Phase::Cancelled;
                slot.op.take()
            }
            Phase::Flying => {
                slot.phase = Phase::Abandoned;
                None
            }
            Phase::Done => self.release(index),
            Phase::Free | Phase::Cancelled | Phase::Abandoned => unreachable!("a future is dropped once"),
        }
    }
}

/// Waits for one answer.
struct Completion {
    shared: Rc<Shared>,
    slot: Option<u32>,
}

impl Completion {
    fn take(state: &mut RefMut<'_, State>, index: u32) -> Done {
        let slot = &state.slots[index as usize];
        let (result, flush_result, flush_in_doubt) = (slot.result, slot.flush_result, slot.flush_in_doubt);
        let op = state.release(index).expect("an answered request has its operation");
        Done { op, result, flush_result, flush_in_doubt }
    }
}

impl Future for Completion {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        let index = self.slot.expect("a future is not polled after it is done");
        let done = {
            let mut state = self.shared.state.borrow_mut();
            let slot = &mut state.slots[index as usize];
            if slot.phase != Phase::Done {
                slot.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Completion::take(&mut state, index)
        };
        self.slot = None;
        Poll::Ready(done)
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(index) = self.slot {
            let op = self.shared.state.borrow_mut().abandon(index);
            drop(op); // outside the borrow: buffers may have destructors of their own
        }
    }
}

impl Drop for State {
    /// Waits for what the kernel still has, for it reads and writes memory that the slots own.
    fn drop(&mut self) {
        let mut finished = Finished::default();
        while self.flying > 0 {
            match self.ring.submit_and_wait(1) {
                Ok(taken) => self.unsubmitted = self.unsubmitted.saturating_sub(taken as u32),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot wait for the disk: its buffers are left to the kernel");
                    std::mem::forget(std::mem::take(&mut self.slots));
                    return;
                }
            }
            self.collect(&mut finished);
        }
    }
}

/// Hands the kernel a request and drops the ring at once.
#[cfg(test)]
pub(super) fn submit_and_drop(op: Op) {
    let mut state = State::new(build().expect("io_uring is allowed"));
    state.admit(op);
    state.submit();
}
