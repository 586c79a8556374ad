//! A target as it runs: started in a folder of its own and waited for, or found running; paused and woken; ended.

use super::file::Target;
use super::folder::Folder;
use super::interrupt::Interrupt;
use super::process::{LOOK_EVERY, Process};
use super::processes;
use super::words::{Values, fill, words};
use crate::PerfError;
use crate::cluster::Cluster;
use crate::run::caller;
use hayate_net::client::blocking::Caller;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Ports for targets: below those that the kernel gives to outgoing connections, so that none of these takes one first.
const PORT_FIRST: u16 = 20_000;
const PORTS: u16 = 12_000;
/// How long one attempt to reach a target that starts may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// A running target.
pub struct Broker {
    name: String,
    /// Where it is reached.
    pub bootstrap: Vec<String>,
    /// The process that serves, where it is known.
    pub pid: Option<u32>,
    /// From its start until it told who its brokers are; `None` when it ran already.
    pub start_seconds: Option<f64>,
    ready_patience: Duration,
    is_paused: bool,
    // In this order: a process ends before its folder goes.
    process: Option<Process>,
    _folder: Option<Folder>,
}

impl Broker {
    /// Starts a target below a folder, or finds it, and waits until it serves.
    ///
    /// # Errors
    /// Why it does not; then nothing of it is left.
    pub fn begin(target: &Target, parent: &Folder, interrupt: &Interrupt) -> Result<Broker, PerfError> {
        let mut broker = match &target.start {
            Some(start) => Broker::start(target, start, parent, interrupt)?,
            None => Broker::found(target)?,
        };
        broker.await_service(interrupt)?;
        if let Some(process) = &broker.process {
            broker.start_seconds = Some(process.began.elapsed().as_secs_f64());
            let port = broker.bootstrap.first().and_then(|address| address.rsplit_once(':')?.1.parse().ok());
            let serves = port.and_then(|port| processes::listener(&process.group(), port));
            broker.pid = serves.or(Some(process.pid()));
        }
        Ok(broker)
    }

    fn found(target: &Target) -> Result<Broker, PerfError> {
        Ok(Broker::of(target, addresses(target, &Values::new())?, None, None))
    }

    fn of(
        target: &Target,
        bootstrap: Vec<String>,
        process: Option<Process>,
        folder: Option<Folder>,
    ) -> Broker {
        Broker {
            name: target.name.clone(),
            bootstrap,
            pid: target.pid,
            start_seconds: None,
            ready_patience: Duration::from_secs_f64(target.ready_seconds),
            is_paused: false,
            process,
            _folder: folder,
        }
    }

    fn start(
        target: &Target,
        start: &str,
        parent: &Folder,
        interrupt: &Interrupt,
    ) -> Result<Broker, PerfError> {
        let ready_patience = Duration::from_secs_f64(target.ready_seconds);
        let stop_patience = Duration::from_secs_f64(target.stop_seconds);
        let folder = Folder::below(parent.path(), &target.name)?;
        let values = places(target, &folder)?;
        let filled = |text: &str| fill(text, &values).map_err(PerfError::Impossible);
        let env = target.env.iter().map(|(name, value)| Ok((name.clone(), filled(value)?)));
        let env = env.collect::<Result<BTreeMap<String, String>, PerfError>>()?;
        let run = |what: &str, line: &str, log: &str| {
            let words = words(line, &values).map_err(PerfError::Impossible)?;
            Process::start(
                &format!("{what} {}", target.name),
                &words,
                &env,
                &folder.path().join(log),
                stop_patience,
            )
        };
        if let Some(prepare) = &target.prepare {
            run("the preparation of target", prepare, "prepare.log")?.finish(ready_patience, interrupt)?;
        }
        let bootstrap = addresses(target, &values)?;
        let process = run("target", start, "broker.log")?;
        Ok(Broker::of(target, bootstrap, Some(process), Some(folder)))
    }

    /// Waits until it tells of its brokers.
    ///
    /// # Errors
    /// It has ended, takes too long, or a signal has come.
    fn await_service(&mut self, interrupt: &Interrupt) -> Result<(), PerfError> {
        let deadline = Instant::now() + self.ready_patience;
        let caller = Caller { connect_timeout: ATTEMPT, request_timeout: ATTEMPT, ..caller() };
        loop {
            let served = Cluster::open(&self.bootstrap, &caller).and_then(|mut cluster| cluster.serves());
            let Err(error) = served else { return Ok(()) };
            interrupt.check()?;
            self.check()?;
            if Instant::now() >= deadline {
                let words = self.process.as_ref().map(Process::last_words).unwrap_or_default();
                let (name, patience) = (&self.name, self.ready_patience);
                return Err(PerfError::Impossible(format!(
                    "target {name} does not serve within {patience:?}: {error}{words}"
                )));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// [`PerfError::Impossible`], with its last words.
    pub fn check(&mut self) -> Result<(), PerfError> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Takes all CPU from it until [`Broker::wake`].
    pub fn pause(&mut self) {
        self.is_paused = true;
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on, and waits until it serves.
    ///
    /// # Errors
    /// It does not.
    pub fn wake(&mut self, interrupt: &Interrupt) -> Result<(), PerfError> {
        if !std::mem::take(&mut self.is_paused) {
            return Ok(());
        }
        self.signal(Signal::SIGCONT);
        self.await_service(interrupt)
    }

    fn signal(&self, signal: Signal) {
        match (&self.process, self.pid.and_then(|pid| i32::try_from(pid).ok())) {
            (Some(process), _) => process.signal(signal),
            (None, Some(pid)) => drop(kill(Pid::from_raw(pid), signal)),
            (None, None) => {}
        }
    }

    /// Deletes a topic of it.
    ///
    /// # Errors
    /// Of the cluster.
    pub fn delete(&self, topic: &str) -> Result<(), PerfError> {
        Cluster::open(&self.bootstrap, &caller())?.delete(topic)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.is_paused {
            self.signal(Signal::SIGCONT);
        }
    }
}

fn addresses(target: &Target, values: &Values) -> Result<Vec<String>, PerfError> {
    let filled = fill(target.bootstrap(), values).map_err(PerfError::Impossible)?;
    Ok(filled.split(',').map(|address| address.trim().to_owned()).collect())
}

/// What the placeholders of a target stand for, its configuration written.
fn places(target: &Target, folder: &Folder) -> Result<Values, PerfError> {
    let mut values = Values::from([("dir", folder.path().display().to_string())]);
    for name in ["port", "port2", "port3"] {
        values.insert(name, free_port()?.to_string());
    }
    if let Some(config) = &target.config {
        let path = folder.path().join("server.properties");
        let text = fill(config, &values).map_err(PerfError::Impossible)?;
        fs::write(&path, text)
            .map_err(|cause| PerfError::File { path: path.display().to_string(), cause })?;
        values.insert("config", path.display().to_string());
    }
    Ok(values)
}

/// A port of this machine that nobody listens on; another one each time.
fn free_port() -> Result<u16, PerfError> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() * 37) % u32::from(PORTS);
    for _ in 0..PORTS {
        let next = u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = PORT_FIRST + u16::try_from((first + next) % u32::from(PORTS)).unwrap_or(0);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(PerfError::Impossible("no port of 127.0.0.1 is free".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::free_port;
    use std::net::TcpListener;

    #[test]
    fn ports_are_free_and_differ() {
        let ports: Vec<u16> = (0..3).map(|_| free_port().expect("a port")).collect();
        assert!(ports[0] != ports[1] && ports[1] != ports[2], "{ports:?}");
        assert!(ports.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()), "{ports:?}");
    }
}
