//! Very many connections on one thread: opened at a pace, held, and asked whether they are alive. Waits with epoll, which does not ask about
//! each of them each time, and to the microsecond, which epoll alone does not.

use super::dial::{Dial, Phase};
use crate::PerfError;
use crate::clock::{Clock, SECOND};
use crate::gauge::Gauge;
use crate::pace::Pace;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long what was begun may take.
const PATIENCE: u64 = 30 * SECOND;
/// Connections that are asked at once whether they are alive.
const ASKED_MAX: usize = 500;
const EVENTS_MAX: usize = 1024;
const SCRATCH_BYTES: usize = 16 << 10;

/// Where connections go, and where they come from; both in turn.
#[derive(Clone, Debug)]
pub struct Route {
    /// The broker.
    pub target: SocketAddr,
    /// Local addresses; none: as the kernel chooses.
    pub sources: Vec<IpAddr>,
}

/// Connections, and what became of them.
pub struct Crowd {
    clock: Clock,
    epoll: Epoll,
    routes: Vec<Route>,
    /// Of `ApiVersions`.
    version: i16,
    dials: Vec<Option<Dial>>,
    /// Connections that connect or await an answer.
    under_way: usize,
    /// Connections that are there, those under way too.
    pub present: usize,
    /// What was answered since it was last taken.
    pub gauge: Gauge,
    /// Why connections are not there any more.
    pub lost: BTreeMap<String, u64>,
    told: u64,
    scratch: Vec<u8>,
}

impl Crowd {
    /// An empty one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(clock: Clock, routes: Vec<Route>, version: i16) -> Result<Crowd, PerfError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(kernel)?;
        Ok(Crowd {
            clock,
            epoll,
            routes,
            version,
            dials: Vec::new(),
            under_way: 0,
            present: 0,
            gauge: Gauge::default(),
            lost: BTreeMap::new(),
            told: clock.now() / SECOND,
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Opens `count` connections at a pace, and waits until all are answered or lost. Returns when the last one was begun; it ends sooner
    /// when one is lost and none is there. `tell` hears of each second.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(
        &mut self,
        count: usize,
        pace: Pace,
        tell: &mut impl FnMut(&mut Crowd),
    ) -> Result<u64, PerfError> {
        let mut last = self.clock.now();
        loop {
            let due = usize::try_from(pace.due(self.clock.now(), u64::MAX)).unwrap_or(usize::MAX).min(count);
            while self.dials.len() < due {
                last = self.clock.now();
                self.dial(pace.intended(self.dials.len() as u64, last))?;
            }
            let next = (self.dials.len() < count).then(|| pace.intended(self.dials.len() as u64, 0));
            let is_hopeless = self.present == 0 && !self.lost.is_empty();
            if is_hopeless || (next.is_none() && self.under_way == 0) {
                return Ok(last);
            }
            if next.is_none() && self.clock.now() > last + PATIENCE {
                self.give_up();
                return Ok(last);
            }
            self.wait(next, tell)?;
        }
    }

    /// Holds them for so many nanoseconds, unless none is left.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hold(&mut self, span: u64, tell: &mut impl FnMut(&mut Crowd)) -> Result<(), PerfError> {
        let until = self.clock.now() + span;
        while self.clock.now() < until && self.present > 0 {
            self.wait(Some(until), tell)?;
        }
        Ok(())
    }

    /// Asks each whether it is alive, and waits until all have said so or are lost.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ask_all(&mut self, tell: &mut impl FnMut(&mut Crowd)) -> Result<(), PerfError> {
        let (mut next, deadline) = (0, self.clock.now() + PATIENCE);
        while next < self.dials.len() || self.under_way > 0 {
            while next < self.dials.len() && self.under_way < ASKED_MAX {
                self.ask(next);
                next += 1;
            }
            if self.clock.now() > deadline {
                self.give_up();
                return Ok(());
            }
            if self.under_way > 0 {
                self.wait(Some(deadline), tell)?;
            }
        }
        Ok(())
    }

    fn dial(&mut self, intended: u64) -> Result<(), PerfError> {
        let number = self.dials.len();
        let route = &self.routes[number % self.routes.len()];
        let place = number / self.routes.len();
        let source = route.sources.get(place % route.sources.len().max(1)).copied();
        match Dial::begin(route.target, source, intended) {
            Ok(dial) => {
                let events =
                    EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
                self.epoll.add(dial.socket(), EpollEvent::new(events, number as u64)).map_err(kernel)?;
                self.dials.push(Some(dial));
                self.under_way += 1;
                self.present += 1;
            }
            Err(error) => {
                self.dials.push(None);
                *self.lost.entry(error.desc().to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    fn ask(&mut self, number: usize) {
        let (version, now) = (self.version, self.clock.now());
        let Some(dial) = &mut self.dials[number] else { return };
        dial.since = now;
        self.under_way += 1;
        if let Err(cause) = dial.ask(version) {
            self.lose(number, true, cause);
        }
    }

    fn lose(&mut self, number: usize, was_under_way: bool, cause: String) {
        self.dials[number] = None;
        self.present -= 1;
        self.under_way -= usize::from(was_under_way);
        *self.lost.entry(cause).or_default() += 1;
    }

    fn give_up(&mut self) {
        for number in 0..self.dials.len() {
            if self.dials[number].as_ref().is_some_and(|dial| dial.phase != Phase::Idle) {
                self.lose(number, true, format!("no answer within {} s", PATIENCE / SECOND));
            }
        }
    }

    /// Sleeps until a time, a socket or the end of a second.
    fn wait(&mut self, until: Option<u64>, tell: &mut impl FnMut(&mut Crowd)) -> Result<(), PerfError> {
        let now = self.clock.now();
        let second = (self.told + 1) * SECOND;
        let span = until.map_or(second, |until| until.min(second)).saturating_sub(now);
        let mut ready = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut ready, Some(TimeSpec::from_duration(Duration::from_nanos(span))), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(kernel(error)),
        }
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(kernel(error)),
        };
        for event in events.iter().take(count) {
            self.go_on(usize::try_from(event.data()).unwrap_or(usize::MAX));
        }
        if self.clock.now() >= second {
            self.told = self.clock.now() / SECOND;
            tell(self);
        }
        Ok(())
    }

    fn go_on(&mut self, number: usize) {
        let Some(Some(dial)) = self.dials.get_mut(number) else { return };
        let was_under_way = dial.phase != Phase::Idle;
        match dial.go_on(self.version, &mut self.scratch) {
            Ok(false) => {}
            Ok(true) => {
                self.under_way -= usize::from(was_under_way);
                self.gauge.note(self.clock.now().saturating_sub(dial.since), 1);
                self.gauge.records += 1;
            }
            Err(cause) => self.lose(number, was_under_way, cause),
        }
    }
}

fn kernel(error: Errno) -> PerfError {
    PerfError::Impossible(format!("waiting for sockets: {error}"))
}
