//! One client connection: frames in, requests begun in their order, answers out in the same order.
//!
//! A reader task takes frames off the socket and begins each request (its *dispatched* stage, which fixes the order of
//! appends); what a request still waits for runs as a task of its own (*done*), and a writer task sends the answers in
//! request order. The reader stops while too much is open or the shard's memory is spent: back-pressure ends at the
//! client. Everything that a request panics in, but for the code that owns durable state, ends this connection alone.

use super::Shard;
use super::admission::Seat;
use super::budget::Charge;
use super::interrupt::Interrupt;
use super::panics::{Contained, Panicked};
use crate::api::{self, ApiSpec, Later, RequestContext};
use crate::metrics::{CloseCause, CopyPath, ProtocolError, RequestTimes, Stage, Stages};
use bytes::{Bytes, BytesMut};
use hayate_net::conn::{Answer, InFlight, Limits, Ticket};
use hayate_net::error::{FrameError, WireError};
use hayate_net::frame::{FrameHead, LENGTH_BYTES, REQUEST_HEAD_BYTES, RequestHead, take_frame};
use hayate_net::socket::{Socket, SocketError};
use hayate_net::wire::codec::split_request;
use hayate_rt::notify::{Notified, Notify};
use hayate_rt::{MonoTime, Queue};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Spare capacity that a read begins with; an idle connection holds no more.
const READ_BYTES_MIN: usize = 1 << 10;
/// Spare capacity of the reads of a connection that is in the middle of something.
const READ_BYTES_BUSY: usize = 16 << 10;
/// Requests that one connection may have open.
const REQUESTS_MAX: usize = 64;
/// Bytes of open requests and unsent answers above which a connection begins nothing new.
const OPEN_BYTES_MAX: usize = 32 << 20;
/// Requests that a connection begins before others get their turn.
const REQUESTS_PER_TURN: usize = 8;
/// Requests that a connection begins, without having waited for anything, before it rests. The runtime looks at sockets and files only
/// when no task is left to run, or every 100 ms: two clients that sent without a pause let each write of somebody else wait that long.
const REQUESTS_PER_REST: usize = 64;
/// For how long.
const REST: Duration = Duration::from_millis(1);
/// Bytes of answers that one write gathers.
const WRITE_BYTES: usize = 1 << 20;
/// How long a peer may take to take so much: what it does not read stays in memory.
const WRITE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long it may take while others wait for that memory.
const WRITE_TIME_CONTENDED: Duration = Duration::from_secs(10);
/// How often that is looked at.
const WRITE_LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a frame that has begun may take for each MiB while others wait for the memory that it holds.
const FRAME_TIME_CONTENDED: Duration = Duration::from_secs(10);
/// A piece of a frame that has its time.
const FRAME_PIECE_BYTES: usize = 1 << 20;
/// How long, and how much, a peer may still send once this broker has answered what it answers and stops.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 64 << 20;
/// Longer names or versions of software are forgotten.
const SOFTWARE_BYTES_MAX: usize = 128;
/// How often that is looked at while nothing arrives.
const FRAME_LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The peer has closed its side, or this broker stops.
    Orderly,
    /// The socket failed.
    Socket(SocketError),
    /// The peer speaks another protocol, or a request that is not served.
    Protocol(WireError),
    /// The connection ended within a frame.
    CutFrame,
    /// A frame comes so slowly that it keeps others from their memory.
    Slow,
    /// A request's work panicked.
    Panicked,
}

impl From<SocketError> for End {
    fn from(error: SocketError) -> End {
        End::Socket(error)
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> End {
        End::Protocol(error)
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> End {
        End::Protocol(error.into())
    }
}

impl From<Panicked> for End {
    fn from(_: Panicked) -> End {
        End::Panicked
    }
}

/// A connection, shared by its reader, its writer and its open requests.
pub struct Connection {
    shard: Rc<Shard>,
    socket: Socket,
    peer: SocketAddr,
    /// Its place among the broker's connections.
    seat: Seat,
    open: RefCell<InFlight<Progress>>,
    /// An answer is ready, room was made, or reading has ended.
    changed: Notify,
    reading_ended: Cell<bool>,
    /// Ends reading and long polls: this broker stops, or an answer said to close.
    interrupt: Interrupt,
    /// Nothing can be sent any more.
    cut: Cell<bool>,
    last_active: Cell<MonoTime>,
    /// When anything was last read.
    last_read: Cell<MonoTime>,
    /// When the first byte of what is received, and not yet taken, was read.
    frame_began: Cell<MonoTime>,
    /// When the peer last took something of what is sent from our memory, and how much it had taken then.
    last_taken: Cell<(MonoTime, u64)>,
    last_frame_bytes: Cell<usize>,
    /// Received of the frame that is being received, and what came with it.
    filled_bytes: Cell<usize>,
    /// What is known of why it ends.
    cause: Cell<Option<CloseCause>>,
    /// Its number among the shard's.
    number: Cell<u64>,
    /// Name and version of the client's software, if it told.
    software: RefCell<Option<Box<(String, String)>>>,
}

/// When a request came so far, and what its answer holds.
struct Progress {
    api_key: i16,
    /// Memory of the answer, until it is sent.
    charge: Option<Charge>,
    stages: Stages,
    /// Its frame was whole.
    read: MonoTime,
    begun: MonoTime,
    done: MonoTime,
    /// Whether its answer is sent to the peer.
    is_told: bool,
}

impl Progress {
    fn times(&self, sent: MonoTime) -> RequestTimes {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        RequestTimes {
            dispatch_nanos: nanos(self.begun.since(self.read)),
            wait_nanos: nanos(self.done.since(self.begun)),
            send_nanos: nanos(sent.since(self.done)),
        }
    }
}

impl Connection {
    /// Serves `socket` until either side ends it.
    pub async fn serve(shard: Rc<Shard>, socket: Socket, peer: SocketAddr, seat: Seat) {
        let bytes_max = OPEN_BYTES_MAX.min(shard.answers.share_bytes());
        let limits = Limits { requests_max: REQUESTS_MAX, bytes_max };
        let connection = Rc::new(Connection {
            last_active: Cell::new(shard.rt.now()),
            last_read: Cell::new(MonoTime::default()),
            frame_began: Cell::new(MonoTime::default()),
            last_taken: Cell::new((shard.rt.now(), 0)),
            shard: shard.clone(),
            socket,
            peer,
            seat,
            open: RefCell::new(InFlight::new(limits)),
            changed: Notify::default(),
            reading_ended: Cell::new(false),
            interrupt: Interrupt::default(),
            cut: Cell::new(false),
            last_frame_bytes: Cell::new(0),
            filled_bytes: Cell::new(0),
            cause: Cell::new(None),
            number: Cell::new(0),
            software: RefCell::new(None),
        });
        let number = shard.connections.add(&connection);
        connection.number.set(number);
        let writer = connection.clone();
        let writing = Contained::new(async move { writer.write_answers().await });
        let writing = shard.rt.spawn(Queue::Foreground, writing);
        let read = Contained::new(connection.clone().read_requests()).await;
        let end = read.map_err(End::from).and_then(|read| read).err().unwrap_or(End::Orderly);
        connection.note_end(&end);
        connection.reading_ended.set(true);
        connection.changed.notify();
        if writing.await.is_err() {
            connection.note_end(&End::Panicked);
        }
        connection.linger().await;
        connection.cut.set(true);
        connection.interrupt();
        shard.connections.remove(number);
        connection.seat.give_up();
        shard.telemetry.borrow_mut().forget_connection(number);
        crate::api::share::connection_ended(&shard, number);
        shard.metrics.connection_closed(connection.cause.get().unwrap_or(CloseCause::Peer));
    }

    /// Notes why the connection is about to end; the first cause counts.
    pub fn close_because(&self, cause: CloseCause) {
        self.cause.set(self.cause.get().or(Some(cause)));
    }

    /// Its number: no other connection of its shard has it, ever.
    pub fn number(&self) -> u64 {
        self.number.get()
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Notes the name and the version of the client's software.
    pub fn set_software(&self, name: &str, version: &str) {
        if name.len().max(version.len()) <= SOFTWARE_BYTES_MAX {
            *self.software.borrow_mut() = Some(Box::new((name.to_owned(), version.to_owned())));
        }
    }

    /// Name and version of the client's software, if it told.
    pub fn software(&self) -> Option<(String, String)> {
        self.software.borrow().as_deref().cloned()
    }

    /// The shard that serves it.
    pub fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    /// Its place among the broker's connections.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Turns when long polls are to end.
    pub fn interrupted(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Waits until the answers to all earlier requests have left, or nobody will send any.
    pub async fn turn(&self, ticket: Ticket) {
        loop {
            let changed = self.changed.notified();
            if self.cut.get() || self.open.borrow().is_oldest(ticket) {
                return;
            }
            changed.await;
        }
    }

    /// Waits for memory for the answer to that request; false when nobody will read it any more.
    pub async fn acquire_answer(&self, ticket: Ticket, bytes: usize) -> bool {
        let mut acquiring = pin!(self.shard.answers.acquire(bytes));
        loop {
            let mut changed = pin!(self.changed.notified());
            if self.cut.get() {
                return false;
            }
            let charge = poll_fn(|cx| match acquiring.as_mut().poll(cx) {
                Poll::Ready(charge) => Poll::Ready(Some(charge)),
                Poll::Pending => changed.as_mut().poll(cx).map(|()| None),
            });
            if let Some(charge) = charge.await {
                self.open.borrow_mut().note(ticket).charge = Some(charge);
                return true;
            }
        }
    }

    /// Times a stage of a request whose answer has not left.
    pub fn time(&self, ticket: Ticket, note: impl FnOnce(&mut Stages)) {
        note(&mut self.open.borrow_mut().note(ticket).stages);
    }

    /// When anything was last read or sent.
    pub fn last_active(&self) -> MonoTime {
        self.last_active.get()
    }

    /// Cuts the connection: what is open is not answered.
    pub fn abort(&self) {
        self.cut.set(true);
        self.socket.abort();
        self.changed.notify();
    }

    /// Reads no further request, and lets long polls answer with what they have.
    pub fn interrupt(&self) {
        self.interrupt.set();
        self.changed.notify();
    }

    fn note_end(&self, end: &End) {
        let metrics = &self.shard.metrics;
        match end {
            End::Orderly => {}
            End::Socket(error) => {
                tracing::debug!(peer = %self.peer, %error, "connection lost");
                self.abort();
                self.interrupt();
            }
            End::Protocol(WireError::Unencodable { reason }) => {
                self.close_because(CloseCause::Protocol);
                tracing::error!(peer = %self.peer, reason, "connection closed: an answer could not be encoded");
            }
            End::Protocol(error) => {
                self.close_because(CloseCause::Protocol);
                metrics.protocol_error(kind_of(error));
                tracing::info!(peer = %self.peer, %error, "connection closed: bad request");
            }
            End::CutFrame => {
                metrics.protocol_error(ProtocolError::CutFrame);
                tracing::debug!(peer = %self.peer, "connection ended within a frame");
            }
            End::Slow => {
                self.close_because(CloseCause::Slow);
                tracing::info!(peer = %self.peer, "connection closed: its request came too slowly");
                self.abort();
            }
            End::Panicked => {
                self.close_because(CloseCause::Panic);
                metrics.contained_panics.add(1);
                tracing::error!(peer = %self.peer, "connection closed: a request panicked");
                self.abort();
            }
        }
    }

    async fn read_requests(self: Rc<Self>) -> Result<(), End> {
        let mut received = BytesMut::new();
        let mut in_a_row = 0;
        loop {
            let waited = Cell::new(false);
            if !noting(&waited, self.wait_for_room()).await {
                return Ok(());
            }
            let next = noting(&waited, self.next_frame(&mut received)).await?;
            let Some((frame, spec, charge)) = next else { return Ok(()) };
            // What follows it came with its last bytes.
            let began = self.frame_began.replace(self.last_read.get());
            if received.is_empty() && frame.len() > READ_BYTES_BUSY {
                // Else the buffer of the largest frame would stay with the connection.
                received = BytesMut::new();
            }
            self.begin(frame, spec, charge, began).await?;
            in_a_row = if waited.get() { 0 } else { in_a_row + 1 };
            self.let_others(in_a_row).await;
        }
    }

    /// Gives others their turn when this connection has begun so many requests without waiting for anything.
    async fn let_others(&self, in_a_row: usize) {
        match in_a_row {
            0 => {} // they had it while this one waited
            count if count.is_multiple_of(REQUESTS_PER_REST) => self.shard.rt.sleep(REST).await,
            count if count.is_multiple_of(REQUESTS_PER_TURN) => self.shard.rt.yield_now().await,
            _ => {}
        }
    }

    /// When this broker stops, takes what the peer still sends until the peer has closed its side: a socket that is closed with requests
    /// unread in it is reset, and the last answers may be lost on their way. The peer knows that nothing more comes.
    async fn linger(&self) {
        if self.cut.get() || self.cause.get() != Some(CloseCause::Stop) {
            return;
        }
        let mut unread = BytesMut::with_capacity(READ_BYTES_MIN);
        let draining = async {
            let mut left = LINGER_BYTES_MAX;
            while let Ok(count @ 1..) = self.socket.read_into(&mut unread).await
                && count <= left
            {
                left -= count;
                unread.clear();
                unread.reserve(READ_BYTES_BUSY);
            }
        };
        let _ = self.shard.rt.timeout(LINGER_TIME_MAX, draining).await;
    }

    /// Waits until another request may begin; false when none will.
    async fn wait_for_room(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            if self.interrupt.is_set() || self.cut.get() {
                return false;
            }
            if self.open.borrow().has_room() {
                // What answers take beyond their limit has to leave first.
                return self.interrupt.unless(self.shard.answers.room()).await.is_some();
            }
            changed.await;
        }
    }

    /// The next whole frame, its kind, and the memory that it is charged for. `None` at an orderly end.
    async fn next_frame(
        &self,
        received: &mut BytesMut,
    ) -> Result<Option<(Bytes, &'static ApiSpec, Charge)>, End> {
        if !self.fill(received, LENGTH_BYTES).await? {
            return Ok(None);
        }
        let request_bytes_max = self.shard.options.request_bytes_max;
        let prefix = received.first_chunk::<LENGTH_BYTES>().ok_or(FrameError::TruncatedHeader)?;
        let frame_bytes = FrameHead::parse(*prefix, request_bytes_max)?.body_bytes;
        let head_bytes = LENGTH_BYTES + frame_bytes.min(REQUEST_HEAD_BYTES);
        if !self.fill(received, head_bytes).await? {
            return Ok(None);
        }
        let head = RequestHead::parse(received.get(LENGTH_BYTES..head_bytes).unwrap_or_default())?;
        let spec = api::spec_of(head)?;
        spec.check_frame_bytes(frame_bytes, request_bytes_max)?;
        let charge = self.shard.budget.acquire(spec.memory_bytes(frame_bytes)).await;
        if !self.fill_in_time(received, LENGTH_BYTES + frame_bytes, &charge).await? {
            return Ok(None);
        }
        self.last_frame_bytes.set(frame_bytes);
        Ok(take_frame(received, frame_bytes)?.map(|frame| (frame, spec, charge)))
    }

    /// As [`Connection::fill`], for a frame that `charge` is held for: it is not waited for for ever while others want that memory.
    async fn fill_in_time(
        &self,
        received: &mut BytesMut,
        bytes: usize,
        charge: &Charge,
    ) -> Result<bool, End> {
        if received.len() >= bytes {
            return Ok(true);
        }
        let began = self.shard.rt.now();
        let late = async {
            loop {
                self.shard.rt.sleep(FRAME_LOOK_EVERY).await;
                let came = self.filled_bytes.get() / FRAME_PIECE_BYTES;
                let time_max = FRAME_TIME_CONTENDED * u32::try_from(came + 1).unwrap_or(u32::MAX);
                if self.shard.rt.now().since(began) >= time_max && charge.is_wanted() {
                    return Err(End::Slow);
                }
            }
        };
        let mut late = pin!(late);
        let mut filling = pin!(self.fill(received, bytes));
        poll_fn(|cx| match filling.as_mut().poll(cx) {
            Poll::Ready(filled) => Poll::Ready(filled),
            Poll::Pending => late.as_mut().poll(cx),
        })
        .await
    }

    /// Reads until `received` holds `bytes`. False when the stream ends, or this broker stops, before that.
    async fn fill(&self, received: &mut BytesMut, bytes: usize) -> Result<bool, End> {
        while received.len() < bytes {
            let missing = bytes - received.len();
            let expected = self.last_frame_bytes.get() + LENGTH_BYTES;
            let least = if received.is_empty() { expected } else { READ_BYTES_BUSY };
            let spare = missing.max(least.clamp(READ_BYTES_MIN, READ_BYTES_BUSY));
            if received.capacity() - received.len() < missing.max(READ_BYTES_MIN) {
                self.shard.metrics.count_copy(CopyPath::Receive, received.len());
                received.reserve(spare);
            }
            let was_empty = received.is_empty();
            let Some(read) = self.interrupt.unless(self.socket.read_into(received)).await else {
                return Ok(false);
            };
            match read? {
                0 if received.is_empty() => return Ok(false),
                0 => return Err(End::CutFrame),
                count => self.shard.metrics.received_bytes.add(count as u64),
            }
            let now = self.shard.rt.now();
            if was_empty {
                self.frame_began.set(now);
            }
            self.filled_bytes.set(received.len());
            self.last_active.set(now);
            self.last_read.set(now);
        }
        Ok(true)
    }

    /// Begins a request whose first byte came at `began`: when this returns, what it appends has its place.
    async fn begin(
        self: &Rc<Self>,
        frame: Bytes,
        spec: &'static ApiSpec,
        charge: Charge,
        began: MonoTime,
    ) -> Result<(), End> {
        let frame_bytes = frame.len();
        let request = split_request(frame)?;
        let read = self.last_read.get();
        let stages = Stages::new(began, read);
        let (begun, done) = (read, read);
        let progress =
            Progress { api_key: spec.key, charge: None, stages, read, begun, done, is_told: false };
        let ticket = self.open.borrow_mut().begin(frame_bytes, progress);
        let queued = match spec.waits_for_a_place() {
            true => Some(self.shard.queued.acquire(1).await),
            false => None,
        };
        let context = RequestContext::new(self.clone(), ticket, spec, &request);
        self.time(ticket, |stages| stages.until(Stage::Queue, context.begun));
        let begun = Contained::new(api::begin(context, request.body)).await;
        drop(queued);
        let later = begun.map_err(End::from).and_then(|later| later.map_err(End::from));
        let later = match later {
            Ok(later) => later,
            Err(end) => {
                self.complete(ticket, Answer::Close);
                return Err(end);
            }
        };
        self.open.borrow_mut().note(ticket).begun = self.shard.rt.now();
        self.go_on(ticket, later, charge).await;
        Ok(())
    }

    /// Finishes a request at once if it waits for nothing, else in a task of its own.
    async fn go_on(self: &Rc<Self>, ticket: Ticket, later: Later, charge: Charge) {
        let mut later = Box::pin(Contained::new(later));
        let first = poll_fn(|cx| Poll::Ready(later.as_mut().poll(cx))).await;
        if let Poll::Ready(outcome) = first {
            drop(charge);
            return self.settle(ticket, outcome);
        }
        let connection = self.clone();
        let done = async move {
            let outcome = later.await;
            drop(charge);
            connection.settle(ticket, outcome);
        };
        self.shard.rt.spawn(Queue::Foreground, done).detach();
    }

    fn settle(&self, ticket: Ticket, outcome: Result<Result<Answer, WireError>, Panicked>) {
        let answer = match outcome.map_err(End::from).and_then(|answer| answer.map_err(End::from)) {
            Ok(answer) => answer,
            Err(end) => {
                self.note_end(&end);
                self.interrupt();
                Answer::Close
            }
        };
        self.complete(ticket, answer);
    }

    fn complete(&self, ticket: Ticket, answer: Answer) {
        let mut open = self.open.borrow_mut();
        let note = open.note(ticket);
        note.done = self.shard.rt.now();
        note.stages.answered(note.done);
        note.charge.get_or_insert_with(|| self.shard.answers.take(answer.bytes())).correct(answer.bytes());
        let ready = open.complete(ticket, answer);
        drop(open);
        if ready {
            self.changed.notify();
        }
    }

    /// Sends answers until the last one, or until one says to close.
    async fn write_answers(self: Rc<Self>) {
        loop {
            let changed = self.changed.notified();
            if self.cut.get() {
                return;
            }
            let mut ready = self.gather();
            let count = ready.progress.len();
            if count > 0 {
                self.changed.notify(); // the reader may wait for room
                if !self.send_and_count(&mut ready).await {
                    return self.abort();
                }
            }
            if ready.close || (self.reading_ended.get() && self.open.borrow().is_empty()) {
                self.interrupt(); // the reader, if it still waits for the peer
                return self.socket.shutdown();
            }
            if count == 0 && !self.wait_while_taken(changed).await {
                return self.abort();
            }
        }
    }

    /// Sends answers and counts their requests; false when the peer is gone or takes nothing.
    async fn send_and_count(&self, ready: &mut Ready) -> bool {
        let began = self.shard.rt.now();
        ready.progress.iter_mut().for_each(|progress| progress.stages.until(Stage::Respond, began));
        let sent = self.send(&mut ready.rope, &ready.progress, began).await;
        if let Some(sent) = sent {
            self.count_done(&mut ready.progress, sent);
        }
        sent.is_some()
    }

    /// Sends a rope, from `began` on, in pieces, each in its time. When it was sent, or `None` when the peer is gone or takes nothing.
    async fn send(
        &self,
        rope: &mut VecDeque<Bytes>,
        of: &[Progress],
        mut began: MonoTime,
    ) -> Option<MonoTime> {
        while !rope.is_empty() {
            let mut piece = take_front(rope, WRITE_BYTES);
            let mut sending = pin!(self.shard.sent.send(&self.socket, &mut piece));
            loop {
                match self.shard.rt.timeout(WRITE_LOOK_EVERY, sending.as_mut()).await {
                    Ok(Ok(())) => break began = self.shard.rt.now(),
                    Ok(Err(_)) => return None,
                    Err(_) if self.is_too_slow(began, is_wanted(of)) => return None,
                    Err(_) => {}
                }
            }
            self.last_active.set(began);
        }
        Some(began)
    }

    /// Waits for a change. What was sent from our memory stays there until the peer has taken it, for which it has its time too; false
    /// when that is over.
    async fn wait_while_taken(&self, changed: Notified<'_>) -> bool {
        let mut changed = pin!(changed);
        loop {
            let pins = self.socket.pins();
            let (since, returned_bytes) = self.last_taken.get();
            if pins.held_bytes > 0 && pins.returned_bytes == returned_bytes {
                if self.is_too_slow(since, self.shard.answers.is_large_wanted()) {
                    return false;
                }
            } else {
                self.last_taken.set((self.shard.rt.now(), pins.returned_bytes));
            }
            if pins.held_bytes == 0 {
                changed.await;
                self.last_taken.set((self.shard.rt.now(), pins.returned_bytes));
                return true;
            }
            if self.shard.rt.timeout(WRITE_LOOK_EVERY, changed.as_mut()).await.is_ok() {
                return true;
            }
        }
    }

    /// Whether the peer has had its time for what was begun then.
    fn is_too_slow(&self, began: MonoTime, is_wanted: bool) -> bool {
        let time_max = if is_wanted { WRITE_TIME_CONTENDED } else { WRITE_TIME_MAX };
        let is_slow = self.shard.rt.now().since(began) >= time_max;
        if is_slow {
            tracing::info!(peer = %self.peer, "connection closed: the peer does not read its answers");
            self.close_because(CloseCause::Slow);
        }
        is_slow
    }

    fn count_done(&self, done: &mut [Progress], sent: MonoTime) {
        for progress in done {
            if progress.is_told {
                progress.stages.until(Stage::Send, sent);
            }
            self.shard.metrics.request_done(progress.api_key, &progress.times(sent), &progress.stages);
        }
    }

    /// Takes the answers that may leave now.
    fn gather(&self) -> Ready {
        let mut open = self.open.borrow_mut();
        let mut ready = Ready { rope: VecDeque::new(), progress: Vec::new(), close: false };
        let mut rope_bytes = 0;
        while rope_bytes < WRITE_BYTES && !ready.close {
            let Some((mut progress, answer)) = open.pop() else { break };
            progress.is_told = matches!(answer, Answer::Frame(_));
            ready.progress.push(progress);
            match answer {
                Answer::Frame(mut frame) => {
                    rope_bytes += frame.iter().map(Bytes::len).sum::<usize>();
                    ready.rope.append(&mut frame);
                }
                Answer::Silence => {}
                Answer::Close => ready.close = true,
            }
        }
        ready
    }
}

/// Whether somebody waits for what these answers hold.
fn is_wanted(answers: &[Progress]) -> bool {
    answers.iter().any(|progress| progress.charge.as_ref().is_some_and(Charge::is_wanted))
}

/// The first `bytes` of a rope, or all of it; no byte is copied.
fn take_front(rope: &mut VecDeque<Bytes>, mut bytes: usize) -> VecDeque<Bytes> {
    let mut front = VecDeque::new();
    while let Some(mut segment) = rope.pop_front() {
        if segment.len() > bytes {
            front.push_back(segment.split_to(bytes));
            rope.push_front(segment);
            break;
        }
        bytes -= segment.len();
        front.push_back(segment);
        if bytes == 0 {
            break;
        }
    }
    front
}

/// Answers that may leave.
struct Ready {
    rope: VecDeque<Bytes>,
    /// Of their requests.
    progress: Vec<Progress>,
    /// The connection ends behind them.
    close: bool,
}

/// What a length prefix says when it is the beginning of a TLS handshake: a record of that kind, of version 3.
const TLS_HELLO: usize = 0x1603;

/// Drives `future`, and notes when it has to wait.
async fn noting<F: Future>(waited: &Cell<bool>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        waited.set(waited.get() || polled.is_pending());
        polled
    })
    .await
}

/// What kind of breach an error is.
fn kind_of(error: &WireError) -> ProtocolError {
    match error {
        WireError::Frame(FrameError::TooLarge { frame_bytes, .. }) if frame_bytes >> 16 == TLS_HELLO => {
            ProtocolError::Tls
        }
        WireError::Frame(FrameError::NegativeLength { .. } | FrameError::TooLarge { .. }) => {
            ProtocolError::FrameSize
        }
        WireError::Frame(FrameError::TruncatedHeader | FrameError::MalformedHeader) => ProtocolError::Header,
        WireError::UnknownApiKey { .. } => ProtocolError::UnknownApi,
        WireError::UnsupportedVersion { .. } => ProtocolError::UnsupportedVersion,
        WireError::Guard(_) | WireError::Undecodable { .. } => ProtocolError::Body,
        WireError::Unencodable { .. } => ProtocolError::InvalidRequest,
    }
}
