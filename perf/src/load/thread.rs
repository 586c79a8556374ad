//! A load thread: a loop over its connections and the clock. It sleeps until a socket is ready or a record is due, to the microsecond.

use super::consumer::Consumer;
use super::producer::Producer;
use crate::PerfError;
use crate::clock::{Clock, SECOND};
use crate::error::broke;
use crate::gauge::Gauge;
use crate::link::Link;
use hayate_net::client::Answer;
use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use kafka_protocol::protocol::Request;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A thread gives its figures away at each multiple of this on the clock, so that those of all threads are of the same interval.
pub const INTERVAL: u64 = SECOND;
/// How long a thread sleeps at most.
const SLEEP_MAX: u64 = SECOND / 10;
/// How long answers may take once nothing new is sent.
const GRACE: u64 = 10 * SECOND;
/// What is due this soon is waited for awake.
const SPIN_BELOW: u64 = 20_000;

/// What one connection does.
pub enum Side {
    /// It produces.
    Producer(Producer),
    /// It consumes.
    Consumer(Consumer),
}

/// A connection and what it does.
pub struct Worker {
    /// The connection.
    pub link: Link,
    /// What it does.
    pub side: Side,
}

/// What the threads of a run share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Records that were acknowledged, those of the warm-up too.
    pub acknowledged: AtomicU64,
    /// Records that were read.
    pub read: AtomicU64,
    /// Producers that have not come to their end.
    pub producers: AtomicU64,
    /// All are to stop at once.
    pub stop: AtomicBool,
}

impl Shared {
    /// Whether all that was acknowledged was read by every subscription, and nothing is to come.
    fn is_all_read(&self, subscriptions: u64) -> bool {
        self.producers.load(Ordering::Acquire) == 0
            && self.read.load(Ordering::Acquire) >= self.acknowledged.load(Ordering::Acquire) * subscriptions
    }
}

/// When a run ends, and whom its threads tell.
#[derive(Clone)]
pub struct Run {
    /// The clock.
    pub clock: Clock,
    /// When nothing new is sent or asked for any more, in nanoseconds.
    pub end: u64,
    /// Whether consumers wait for what producers of this run send.
    pub follows: bool,
    /// How many times consumers read each record: once a subscription.
    pub subscriptions: u64,
    /// What threads share.
    pub shared: Arc<Shared>,
    /// Where figures go.
    pub figures: flume::Sender<Figures>,
}

/// What a thread has measured since it last told.
pub struct Figures {
    /// Of its producers.
    pub produced: Gauge,
    /// Of its consumers.
    pub consumed: Gauge,
    /// Set with the last ones: how it ended.
    pub ended: Option<Result<(), PerfError>>,
}

/// Drives the connections of one thread to their end.
pub fn drive(run: &Run, workers: Vec<Worker>) {
    let mut thread = Thread {
        run,
        workers,
        produced: Gauge::default(),
        consumed: Gauge::default(),
        intervals_told: run.clock.now() / INTERVAL,
    };
    let ended = thread.run_to_end();
    if ended.is_err() {
        run.shared.stop.store(true, Ordering::Release);
    }
    thread.tell(Some(ended));
}

struct Thread<'a> {
    run: &'a Run,
    workers: Vec<Worker>,
    produced: Gauge,
    consumed: Gauge,
    intervals_told: u64,
}

impl Thread<'_> {
    fn run_to_end(&mut self) -> Result<(), PerfError> {
        // Without it the kernel lets a sleeper have 50 µs more.
        let _ = nix::sys::prctl::set_timerslack(1);
        loop {
            let now = self.run.clock.now();
            if now / INTERVAL > self.intervals_told {
                self.intervals_told = now / INTERVAL;
                self.tell(None);
            }
            for number in 0..self.workers.len() {
                self.work(number)?;
            }
            self.finish_producers();
            if self.workers.is_empty() || self.run.shared.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            if now >= self.run.end + GRACE {
                return Err(PerfError::Incomplete(self.what_is_missing()));
            }
            self.wait()?;
        }
    }

    /// Takes in what came for a connection, and sends what is to be sent.
    fn work(&mut self, number: usize) -> Result<(), PerfError> {
        let worker = &mut self.workers[number];
        while let Some(answer) = worker.link.next_answer()? {
            let now = self.run.clock.now();
            let heard = match &mut worker.side {
                Side::Producer(producer) => {
                    let response = decode::<ProduceRequest>(&worker.link, &answer)?;
                    let heard = producer.on_answer(now, &response, &mut self.produced);
                    heard.map(|count| self.run.shared.acknowledged.fetch_add(count, Ordering::AcqRel))
                }
                Side::Consumer(consumer) => {
                    let response = decode::<FetchRequest>(&worker.link, &answer)?;
                    let heard = consumer.on_answer(now, &response, &mut self.consumed);
                    heard.map(|count| self.run.shared.read.fetch_add(count, Ordering::AcqRel))
                }
            };
            let address = worker.link.address();
            heard.map_err(|cause| PerfError::Broke { address: address.to_owned(), cause })?;
        }
        worker.link.flush()?;
        while worker.link.is_flushed() && worker.send_next(self.run)? {}
        Ok(())
    }

    /// Lets go of what has come to its end.
    fn finish_producers(&mut self) {
        let (run, now) = (self.run, self.run.clock.now());
        self.workers.retain(|worker| match &worker.side {
            Side::Producer(producer) if producer.is_done(now) && worker.link.is_flushed() => {
                run.shared.producers.fetch_sub(1, Ordering::AcqRel);
                false
            }
            Side::Producer(_) => true,
            Side::Consumer(_) if run.follows => !run.shared.is_all_read(run.subscriptions),
            Side::Consumer(consumer) => !(consumer.is_done() || now >= run.end),
        });
    }

    fn what_is_missing(&self) -> String {
        let unanswered: u64 = self.workers.iter().map(|worker| worker.side.unanswered()).sum();
        let (acknowledged, read) = (&self.run.shared.acknowledged, &self.run.shared.read);
        match unanswered {
            0 => format!(
                "{} records were acknowledged, and of {} to be read {} were, {} s after the end",
                acknowledged.load(Ordering::Acquire),
                acknowledged.load(Ordering::Acquire) * self.run.subscriptions,
                read.load(Ordering::Acquire),
                GRACE / SECOND
            ),
            _ => format!(
                "{unanswered} records were not answered for within {} s after the end",
                GRACE / SECOND
            ),
        }
    }

    /// Sleeps until something is to be done, and takes in what has arrived.
    fn wait(&mut self) -> Result<(), PerfError> {
        let now = self.run.clock.now();
        let next = self.workers.iter().filter_map(|worker| worker.side.wake_at(now)).min();
        let span = next.map_or(SLEEP_MAX, |next| next.saturating_sub(now)).min(SLEEP_MAX);
        let span = if span < SPIN_BELOW { 0 } else { span };
        let timeout = TimeSpec::from_duration(Duration::from_nanos(span));
        let mut sockets: Vec<PollFd<'_>> = self
            .workers
            .iter()
            .map(|worker| PollFd::new(worker.link.socket(), worker.link.interest()))
            .collect();
        match ppoll(&mut sockets, Some(timeout), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(PerfError::Impossible(format!("waiting for sockets: {error}"))),
        }
        let readable = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
        let ready: Vec<bool> = sockets
            .iter()
            .map(|socket| socket.revents().is_some_and(|events| events.intersects(readable)))
            .collect();
        for (worker, ready) in self.workers.iter_mut().zip(ready) {
            if ready {
                worker.link.fill()?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, ended: Option<Result<(), PerfError>>) {
        let figures = Figures { produced: self.produced.take(), consumed: self.consumed.take(), ended };
        // Nobody listens any more once a run is given up.
        let _ = self.run.figures.send(figures);
    }
}

fn decode<R: Request>(link: &Link, answer: &Answer) -> Result<R::Response, PerfError> {
    answer.decode::<R>().map_err(|cause| broke(link.address(), &cause.into()))
}

impl Worker {
    /// Sends the next request, if there is one.
    fn send_next(&mut self, run: &Run) -> Result<bool, PerfError> {
        let now = run.clock.now();
        let address = self.link.address().to_owned();
        let sent = match &mut self.side {
            Side::Producer(producer) => {
                let Some(request) = producer.next(now, run.clock.wall_ms(now)) else { return Ok(false) };
                self.link.core.produce(producer.version(), request)
            }
            Side::Consumer(consumer) => {
                if now >= run.end && !run.follows {
                    return Ok(false);
                }
                let Some(request) = consumer.next(now) else { return Ok(false) };
                self.link.core.request(consumer.version(), &request).map(|(_, frame)| vec![frame])
            }
        };
        self.link.send(sent.map_err(|cause| broke(&address, &cause))?)?;
        Ok(true)
    }
}

impl Side {
    fn wake_at(&self, now: u64) -> Option<u64> {
        match self {
            Side::Producer(producer) => producer.wake_at(now),
            Side::Consumer(_) => None,
        }
    }

    fn unanswered(&self) -> u64 {
        match self {
            Side::Producer(producer) => producer.unanswered(),
            Side::Consumer(_) => 0,
        }
    }
}
