//! A real broker process: built on demand, started on free ports with a data folder of its own, ended with the fixture.
//!
//! The binary is that of the profile that the tests run in, or the file that `HAYATE_BINARY` names. Data lies below the
//! build's `tmp` folder, which is on a real disk as a rule. Standard error goes to a file, from which the ports are
//! read.

mod build;
mod client;
mod http;

pub use build::{binary, is_released};
pub use client::Client;
pub use http::{Answer, get, parse_samples};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A start or a stop that takes longer has failed.
const TIME_MAX: Duration = Duration::from_secs(60);
/// How often the process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Names the defect of a broken broker.
pub const DEFECT_VARIABLE: &str = "HAYATE_TEST_DEFECT";

/// How a broker is to be started.
pub struct Setup {
    binary: Option<PathBuf>,
    folder: PathBuf,
    owns_folder: bool,
    settings: BTreeMap<String, String>,
    config: Option<PathBuf>,
    environment: Vec<(String, String)>,
    prepare: Vec<Prepare>,
}

/// What a new process does before it becomes a broker.
type Prepare = Box<dyn FnMut() -> std::io::Result<()> + Send + Sync>;

impl Default for Setup {
    fn default() -> Setup {
        let settings =
            [("listeners", "PLAINTEXT://127.0.0.1:0"), ("http.listeners", "127.0.0.1:0"), ("shards", "2")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let settings = BTreeMap::from(settings);
        Setup {
            binary: None,
            folder: fresh_folder(),
            owns_folder: true,
            settings,
            config: None,
            environment: Vec::new(),
            prepare: Vec::new(),
        }
    }
}

/// A new empty folder, unlike any other of this run.
pub fn fresh_folder() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = build::target_folder().join("tmp").join(format!("broker-{}-{number}", std::process::id()));
    // A process of an earlier run may have had this number.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the build's folder is writable");
    folder
}

impl Setup {
    /// Sets a key.
    pub fn set(mut self, key: &str, value: impl ToString) -> Setup {
        self.settings.insert(key.to_owned(), value.to_string());
        self
    }

    /// Takes this file of settings; what is set otherwise goes before it.
    pub fn config(mut self, file: &Path) -> Setup {
        self.config = Some(file.to_path_buf());
        self
    }

    /// Sets a variable of the environment.
    pub fn environment(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes another binary, with this defect.
    pub fn broken(mut self, binary: &str, defect: &str) -> Setup {
        self.binary = Some(PathBuf::from(binary));
        self.environment(DEFECT_VARIABLE, defect)
    }

    /// Keeps data and log in this folder, and leaves them there.
    pub fn in_folder(mut self, folder: &Path) -> Setup {
        let fresh = std::mem::replace(&mut self.folder, folder.to_path_buf());
        if self.owns_folder {
            let _ = std::fs::remove_dir(fresh);
        }
        self.owns_folder = false;
        self
    }

    /// Runs `prepare` in the new process just before the broker, after what was given before.
    ///
    /// # Safety
    /// Only what is safe between fork and exec: system calls, no allocation, no lock.
    pub unsafe fn before_exec(
        mut self,
        prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Setup {
        self.prepare.push(Box::new(prepare));
        self
    }

    fn command(&mut self) -> Command {
        let mut command = Command::new(self.binary.as_deref().unwrap_or_else(|| binary()));
        command.arg("start");
        command.args(self.config.iter().flat_map(|file| [Path::new("--config"), file]));
        command.arg("--override").arg(format!("log.dirs={}", self.data().display()));
        for (key, value) in &self.settings {
            command.arg("--override").arg(format!("{key}={value}"));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for prepare in self.prepare.drain(..) {
            // SAFETY: the caller of `before_exec` has promised that.
            unsafe { command.pre_exec(prepare) };
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts a process and waits until it serves.
    ///
    /// # Panics
    /// When it ends before that, with its log.
    pub fn start(self) -> Broker {
        let mut broker = self.launch();
        broker.wait_until_ready();
        broker
    }

    /// Starts a process and does not wait for it.
    pub fn launch(mut self) -> Broker {
        let log_path = self.folder.join("broker.log");
        let log = File::options().create(true).append(true).open(&log_path).expect("the folder is writable");
        let log_start = log.metadata().expect("the log is there").len();
        let mut command = self.command(); // builds the broker if need be
        let began = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.expect("the broker's binary can be run");
        Broker {
            setup: self,
            child,
            log_path,
            log_start,
            addresses: None,
            began,
            ready_after: None,
            ended: None,
        }
    }

    /// Starts a process that must fail; its exit code and what it said.
    ///
    /// # Panics
    /// When it does not end.
    pub fn fail(self) -> (Option<i32>, String) {
        let mut broker = self.launch();
        let status = broker.wait();
        (status.code(), broker.log())
    }
}

/// Where a broker listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For clients.
    pub kafka: SocketAddr,
    /// For metrics.
    pub http: SocketAddr,
}

/// A running broker; killed when dropped.
pub struct Broker {
    setup: Setup,
    child: Child,
    log_path: PathBuf,
    /// Where this process's part of the log begins.
    log_start: u64,
    addresses: Option<Addresses>,
    began: Instant,
    ready_after: Option<Duration>,
    ended: Option<ExitStatus>,
}

impl Broker {
    /// A broker with everything at its default but the ports, the folder and two shards.
    pub fn start() -> Broker {
        Setup::default().start()
    }

    /// For clients' `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.addresses().kafka.to_string()
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Before it has told.
    pub fn addresses(&self) -> Addresses {
        self.addresses.expect("the broker has told its addresses")
    }

    /// From the process's start until it was ready.
    ///
    /// # Panics
    /// Before it is.
    pub fn ready_after(&self) -> Duration {
        self.ready_after.expect("the broker is ready")
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.setup.data()
    }

    /// What this process has logged so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log_path).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }

    /// Waits until `/ready` says so.
    ///
    /// # Panics
    /// When the process ends or the time is over, with its log.
    pub fn wait_until_ready(&mut self) {
        while !self.is_ready() {
            assert!(self.has_ended().is_none(), "the broker ended: {}", self.log());
            assert!(self.began.elapsed() < TIME_MAX, "the broker does not get ready: {}", self.log());
            std::thread::sleep(LOOK_EVERY);
        }
        self.ready_after = Some(self.began.elapsed());
    }

    fn is_ready(&mut self) -> bool {
        self.addresses = self.addresses.or_else(|| addresses_in(&self.log()));
        self.addresses
            .is_some_and(|addresses| get(addresses.http, "/ready").is_ok_and(|answer| answer.status == 200))
    }

    /// A page of its HTTP server.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn page(&self, path: &str) -> Answer {
        get(self.addresses().http, path).unwrap_or_else(|error| panic!("{path}: {error}: {}", self.log()))
    }

    /// Its metrics, by name and labels.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        parse_samples(&self.page("/metrics").body)
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "the broker has ended");
        let pid = i32::try_from(self.child.id()).expect("a process number");
        kill(Pid::from_raw(pid), signal).expect("our own child");
    }

    /// How the process ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("our own child");
        }
        self.ended
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.has_ended() {
                return status;
            }
            assert!(began.elapsed() < TIME_MAX, "the broker does not end: {}", self.log());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Stops it by SIGTERM and waits.
    ///
    /// # Panics
    /// When it does not end with exit code 0.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Kills it by SIGKILL and waits.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Starts it again, after its end, on the same ports and data, and waits until it serves.
    ///
    /// # Panics
    /// When it has not ended, or does not start.
    pub fn restart(&mut self) {
        assert!(self.has_ended().is_some(), "the broker still runs");
        if let Some(addresses) = self.addresses {
            let settings = &mut self.setup.settings;
            settings.insert("listeners".to_owned(), format!("PLAINTEXT://{}", addresses.kafka));
            settings.insert("http.listeners".to_owned(), addresses.http.to_string());
        }
        let owns_folder = std::mem::replace(&mut self.setup.owns_folder, false);
        let setup = Setup {
            binary: self.setup.binary.clone(),
            folder: self.setup.folder.clone(),
            owns_folder,
            settings: self.setup.settings.clone(),
            config: self.setup.config.clone(),
            environment: self.setup.environment.clone(),
            prepare: Vec::new(),
        };
        *self = setup.start();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.has_ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        if self.owns_folder && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The addresses in the log's line about the start.
fn addresses_in(log: &str) -> Option<Addresses> {
    let line = log.lines().find(|line| line.contains(" starting "))?;
    let field = |name: &str| {
        let rest = line.split_once(&format!(" {name}="))?.1;
        rest.split([' ', ',']).next()?.trim_matches('"').parse().ok()
    };
    Some(Addresses { kafka: field("listen")?, http: field("http")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_log() {
        let log = "x\n2026-01-01T00:00:00Z  INFO main hayate: starting version=\"0\" node=1 listen=127.0.0.1:5,[::1]:7 \
                   advertised=127.0.0.1:5 http=\"127.0.0.1:6\" folder=/a b\n";
        let expected =
            Addresses { kafka: "127.0.0.1:5".parse().unwrap(), http: "127.0.0.1:6".parse().unwrap() };
        assert_eq!(addresses_in(log), Some(expected));
        assert_eq!(addresses_in("starting"), None);
    }
}
