//! Metrics, health, groups and the levels of the log over HTTP: `/metrics`, `/stages`, `/health`, `/ready`, `/groups`, `/loggers`.
//!
//! A small server of its own, with blocking sockets on threads that no shard shares: it answers while shards are busy, and
//! says so when they hang. One request a connection; connections, their sizes and their times are bounded. It knows
//! HTTP/1.1 (RFC 9112) as far as probes and scrapers speak it.

mod groups;
mod loggers;
pub mod request;
mod stages;

use crate::logging::Loggers;
use crate::metrics::{CONTENT_TYPE, Metrics, ProcessFigures};
use hayate_rt::MonoTime;
use hayate_rt::kernel::now;
use request::{Method, Request, RequestError, read_request};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

/// Connections that are served at a time; further ones are closed at once.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take, from accepting it to its answer's last byte.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(5);
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A shard that has not run for so long counts as hanging.
const SHARD_SILENCE_MAX: Duration = Duration::from_secs(10);

/// How far the broker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It recovers and opens its logs.
    Starting = 0,
    /// It serves clients.
    Serving = 1,
    /// It finishes what it has begun.
    Stopping = 2,
}

/// The phase, shared with whoever changes it.
#[derive(Debug)]
pub struct PhaseCell(AtomicU8);

impl Default for PhaseCell {
    fn default() -> PhaseCell {
        PhaseCell(AtomicU8::new(Phase::Starting as u8))
    }
}

impl PhaseCell {
    /// Enters a phase.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    /// The phase now.
    pub fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Stopping,
        }
    }
}

/// What is shown.
pub struct Pages {
    /// The broker's figures.
    pub metrics: Arc<Metrics>,
    /// How far it has come.
    pub phase: Arc<PhaseCell>,
    /// How much is logged.
    pub loggers: Arc<Loggers>,
    /// Asks the operating system about this process.
    pub process: Box<dyn Fn() -> ProcessFigures + Send + Sync>,
}

/// An answer: status line, content type, body.
struct Response {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

const TEXT: &str = "text/plain; charset=utf-8";

impl Response {
    fn text(status: &'static str, body: impl Into<String>) -> Response {
        Response { status, content_type: TEXT, body: body.into() }
    }

    fn refusal(error: RequestError) -> Response {
        Response::text(error.status(), format!("{error}\n"))
    }

    /// The page is there to be read alone.
    fn not_allowed() -> Response {
        Response::refusal(RequestError::Method)
    }
}

/// An answer in JSON.
fn json(status: &'static str, body: &serde_json::Value) -> Response {
    Response { status, content_type: "application/json", body: format!("{body}\n") }
}

impl Pages {
    /// Shows these.
    pub fn new(
        metrics: &Arc<Metrics>,
        phase: &Arc<PhaseCell>,
        loggers: &Arc<Loggers>,
        process: impl Fn() -> ProcessFigures + Send + Sync + 'static,
    ) -> Pages {
        let (metrics, phase, loggers) = (metrics.clone(), phase.clone(), loggers.clone());
        Pages { metrics, phase, loggers, process: Box::new(process) }
    }

    fn respond(&self, request: &Result<Request, RequestError>) -> Response {
        match request {
            Err(error) => Response::refusal(*error),
            Ok(request) => match self.respond_below(request) {
                Some(response) => response,
                None if request.method == Method::Put => Response::not_allowed(),
                None => self.show(&request.path),
            },
        }
    }

    /// The pages that have others below them.
    fn respond_below(&self, request: &Request) -> Option<Response> {
        let loggers = || loggers::respond(&self.loggers, request);
        loggers().or_else(|| groups::respond(self.metrics.groups(), request))
    }

    fn show(&self, path: &str) -> Response {
        match path {
            "/metrics" => Response {
                status: "200 OK",
                content_type: CONTENT_TYPE,
                body: self.metrics.render(&(self.process)()),
            },
            "/stages" => stages::show(&self.metrics),
            "/health" => self.health(),
            "/ready" => self.readiness(),
            "/" => {
                Response::text("200 OK", "Hayate\n\n/metrics\n/stages\n/health\n/ready\n/groups\n/loggers\n")
            }
            _ => Response::text(
                "404 Not Found",
                "there are /metrics, /stages, /health, /ready, /groups and /loggers\n",
            ),
        }
    }

    /// Well unless a shard that has begun to run does so no more.
    fn health(&self) -> Response {
        let silent = self.metrics.longest_silence(now());
        match silent {
            Some((shard, silence)) if silence > SHARD_SILENCE_MAX => {
                let body = format!("shard {shard} has not run for {} s\n", silence.as_secs());
                Response::text("503 Service Unavailable", body)
            }
            Some(_) | None => Response::text("200 OK", "ok\n"),
        }
    }

    fn readiness(&self) -> Response {
        match self.phase.get() {
            Phase::Starting => Response::text("503 Service Unavailable", "starting\n"),
            Phase::Serving => Response::text("200 OK", "ready\n"),
            Phase::Stopping => Response::text("503 Service Unavailable", "stopping\n"),
        }
    }
}

/// Serves `pages` on `listener` from a thread of its own, until the process ends.
///
/// # Errors
/// No thread can be started.
pub fn serve(listener: TcpListener, pages: Arc<Pages>) -> io::Result<()> {
    let busy = Arc::new(AtomicUsize::new(0));
    start_thread("hayate-http", move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => admit(stream, &pages, &busy),
                Err(_) => pause(),
            }
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "blocking sockets, outside the shards and the simulator")]
fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

#[expect(clippy::disallowed_methods, reason = "a thread that is no shard's")]
fn pause() {
    std::thread::sleep(ACCEPT_PAUSE);
}

/// Counts the connections that are served.
struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves a connection on a thread of its own, if there are not too many.
fn admit(stream: TcpStream, pages: &Arc<Pages>, busy: &Arc<AtomicUsize>) {
    let before = busy.fetch_add(1, Ordering::AcqRel);
    let guard = Busy(busy.clone());
    if before >= CONNECTIONS_MAX {
        return;
    }
    let pages = pages.clone();
    let started = start_thread("hayate-http-get", move || {
        let _guard = guard;
        // A peer that goes away before its answer has none to miss.
        let _ = answer(stream, &pages);
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread for a connection to the metrics");
    }
}

fn answer(mut stream: TcpStream, pages: &Pages) -> io::Result<()> {
    let deadline = now() + CONNECTION_TIME_MAX;
    let request = read_request(&mut stream, deadline)?;
    let Response { status, content_type, body } = pages.respond(&request);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if request.is_ok_and(|request| request.method == Method::Head) { String::new() } else { body };
    let mut rest = [head.as_bytes(), body.as_bytes()].concat();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(time_left(deadline)?))?;
        let count = stream.write(&rest)?;
        rest.drain(..count);
    }
    Ok(())
}

/// The time until `deadline`.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when it has come.
fn time_left(deadline: MonoTime) -> io::Result<Duration> {
    let left = deadline.since(now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests;
