//! Waiting for the first of many links, or for a time; what has arrived by then is taken in.

use crate::PerfError;
use crate::error::broke;
use crate::link::Link;
use hayate_net::client::Answer;
use kafka_protocol::protocol::Request;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::time::Duration;

/// How long a thread sleeps at most, in nanoseconds.
const SLEEP_MAX: u64 = crate::clock::SECOND / 10;
/// What is due this soon is waited for awake.
const SPIN_BELOW: u64 = 20_000;

/// Lets sleeps of this thread be as short as they are asked to be; without it the kernel lets a sleeper have 50 µs more.
pub fn sleep_exactly() {
    let _ = nix::sys::prctl::set_timerslack(1);
}

/// Sleeps for `span` nanoseconds, or until a link has something, and takes that in.
///
/// # Errors
/// [`PerfError::Broke`] of a link that is lost.
pub fn wait(links: &mut [&mut Link], span: Option<u64>) -> Result<(), PerfError> {
    let span = span.map_or(SLEEP_MAX, |span| span.min(SLEEP_MAX));
    let span = if span < SPIN_BELOW { 0 } else { span };
    let timeout = TimeSpec::from_duration(Duration::from_nanos(span));
    let mut sockets: Vec<PollFd<'_>> =
        links.iter().map(|link| PollFd::new(link.socket(), link.interest())).collect();
    match ppoll(&mut sockets, Some(timeout), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(PerfError::Impossible(format!("waiting for sockets: {error}"))),
    }
    let readable = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
    let ready: Vec<bool> = sockets
        .iter()
        .map(|socket| socket.revents().is_some_and(|events| events.intersects(readable)))
        .collect();
    for (link, _) in links.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
        link.fill()?;
    }
    Ok(())
}

/// Sends a request in a version.
///
/// # Errors
/// [`PerfError::Broke`].
pub fn send<R: Request>(link: &mut Link, version: i16, request: &R) -> Result<(), PerfError> {
    let sent = link.core.request(version, request);
    let (_, frame) = sent.map_err(|cause| broke(link.address(), &cause))?;
    link.send([frame])
}

/// Reads an answer.
///
/// # Errors
/// [`PerfError::Broke`].
pub fn decode<R: Request>(link: &Link, answer: &Answer) -> Result<R::Response, PerfError> {
    answer.decode::<R>().map_err(|cause| broke(link.address(), &cause.into()))
}
