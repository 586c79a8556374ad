//! A broker as a process: settings and checks, then one pinned thread a shard, then waiting for a signal.
//!
//! The thread that [`run`] is called on and those of HTTP and of signals are no shards: they may block. What happens
//! elsewhere reaches the first as an [`Event`]. The shards' own work begins in [`crate::broker`].

mod folder;

use crate::broker::{
    Advertised, ListenerOptions, RunningShard, ShardParts, StopProgress, shard_parts, start_shard,
};
use crate::cli::{self, Command, Connect, Sources};
use crate::commands::{self, CommandError, Task};
use crate::config::{Config, Given, Origin, file};
use crate::http::{self, Pages, Phase, PhaseCell};
use crate::logging::{self, Logging};
use crate::metrics::{Metrics, ShardMetrics, sample};
use crate::preflight::{self, Cleared, FolderLock, System};
use crate::shard::panics::{begin_shard_thread, ends_process};
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};
use hayate_net::socket::Network;
use hayate_rt::{Queue, Rt};
use hayate_storage::disk::Disk;
use nix::sys::signal::{SigSet, Signal};
use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::time::Duration;

/// Exit code of a mistaken command line or configuration.
const EXIT_USAGE: u8 = 2;
/// Exit code of a broker that cannot start or go on.
const EXIT_FAILED: u8 = 1;
/// Memory of the runtime's own arena, of which nothing here makes use: the least that it takes.
const ARENA_BYTES: usize = 64 << 10;
/// Unpinned threads of each shard for what may block: one for what is computed, the rest for the disk.
const HELPER_THREADS: usize = 2;
/// How long open requests may take once the broker stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a shard publishes its figures.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// A start or stop that takes longer is worth lines of progress.
const PATIENCE: Duration = Duration::from_secs(1);
/// Events that may wait for this thread; more than all shards ever send.
const EVENTS_MAX: usize = 4096;

/// Does what the arguments behind the program's name say, to the end of the process; gives its exit code.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let done = match cli::parse(arguments) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Config(sources)) => show_config(&sources),
        Ok(Command::Start(sources)) => start(&sources),
        Ok(Command::Metadata(handover, sources)) => folder::hand_over(handover, &sources),
        Ok(Command::Topics(connect, asked)) => talk(&connect, Task::Topics(asked)),
        Ok(Command::Produce(connect, asked)) => talk(&connect, Task::Produce(asked)),
        Ok(Command::Consume(connect, asked)) => talk(&connect, Task::Consume(asked)),
        Ok(Command::Configs(connect, asked)) => talk(&connect, Task::Configs(asked)),
        Err(error) => Err(Failure::usage(error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.lines {
                eprintln!("hayate: {line}");
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Why the process ends: what to say, and the exit code.
struct Failure {
    lines: Vec<String>,
    code: u8,
}

impl Failure {
    fn usage(error: impl ToString) -> Failure {
        Failure { lines: vec![error.to_string()], code: EXIT_USAGE }
    }

    fn failed(error: impl ToString) -> Failure {
        Failure { lines: vec![error.to_string()], code: EXIT_FAILED }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Failure {
        Failure { lines: error.lines(), code: if error.is_mistake() { EXIT_USAGE } else { EXIT_FAILED } }
    }
}

/// Does what needs a cluster.
fn talk(connect: &Connect, task: Task) -> Result<(), Failure> {
    Ok(commands::run(connect, &task)?)
}

/// Prints to standard output; whoever closed it does not want to know.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn show_config(sources: &Sources) -> Result<(), Failure> {
    let config = load(sources, &System::default())?;
    for warning in &config.warnings {
        eprintln!("hayate: {warning}");
    }
    print(&config.render())
}

fn load(sources: &Sources, system: &System) -> Result<Config, Failure> {
    resolve(&given(sources)?, system)
}

/// What was set, in the order in which it counts.
fn given(sources: &Sources) -> Result<Vec<Given>, Failure> {
    let mut given = match &sources.file {
        Some(path) => read_file(path)?,
        None => Vec::new(),
    };
    given.extend(sources.overrides.iter().cloned());
    Ok(given)
}

fn resolve(given: &[Given], system: &System) -> Result<Config, Failure> {
    let machine = system.machine(cores().len());
    Config::resolve(given, &machine).map_err(|errors| Failure {
        lines: errors.iter().map(ToString::to_string).collect(),
        code: EXIT_USAGE,
    })
}

fn read_file(path: &Path) -> Result<Vec<Given>, Failure> {
    let properties = file::read(path).map_err(|reason| Failure::usage(format!("--config {reason}")))?;
    let path = Arc::new(path.to_path_buf());
    let given = properties.into_iter().map(|property| Given {
        key: property.key,
        value: property.value,
        origin: Origin::File(path.clone(), property.line),
    });
    Ok(given.collect())
}

/// The cores of the affinity mask, by number.
fn cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// What happens elsewhere.
enum Event {
    /// A shard serves.
    Started,
    /// A shard cannot start.
    NotStarted { shard: usize, cause: String },
    /// A shard has stopped, with what went wrong.
    Stopped { shard: usize, failure: Option<String> },
    /// The process got a signal.
    Signal(Signal),
}

fn start(sources: &Sources) -> Result<(), Failure> {
    let variable = |name| std::env::var(name).ok();
    let logging = Logging::parse(variable("HAYATE_LOG").as_deref(), variable("HAYATE_LOG_FORMAT").as_deref());
    let loggers = logging.map_err(Failure::usage)?.start();
    logging::log_panics(ends_process);
    let began = hayate_rt::kernel::now();
    let system = System::default();
    let mut config = load(sources, &system)?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let cleared = preflight::clear(&config, &system).map_err(Failure::failed)?;
    settle_listeners(&mut config, &cleared, &system);
    config.options.loggers = loggers.clone();
    announce(&config, &cleared);
    let (events, inbox) = flume::bounded(EVENTS_MAX);
    watch_signals(events.clone()).map_err(Failure::failed)?;
    let metrics = Arc::new(config.options.metrics(config.shards));
    let phase = Arc::new(PhaseCell::default());
    serve_http(cleared.http, Pages::new(&metrics, &phase, &loggers, move || system.process()))?;
    let stopping = StopProgress::new(config.shards);
    let stops = spawn_shards(&config, &cleared.lock, &metrics, &stopping, &events)?;
    let broker = Broker { events: inbox, stops, phase, stopping };
    broker.wait_until_started()?;
    let took = hayate_rt::kernel::now().since(began);
    tracing::info!(millis = took.as_millis(), "ready");
    let outcome = broker.wait_until_stopped();
    drop(cleared.lock);
    outcome
}

/// Puts the ports that the system chose and the machine's name into the configuration.
fn settle_listeners(config: &mut Config, cleared: &Cleared, system: &System) {
    let mut name = None;
    for (listener, listen) in config.options.listeners.iter_mut().zip(&cleared.listen) {
        listener.listen = *listen;
        let Some(advertised) = &mut listener.advertised else { continue };
        if advertised.port == 0 {
            advertised.port = listen.port();
        }
        let this_host = || name.get_or_insert_with(|| system.canonical_host()).clone();
        advertised.host = Some(advertised.host.take().unwrap_or_else(this_host));
    }
}

fn announce(config: &Config, cleared: &Cleared) {
    let options = &config.options;
    let of_each = |shown: fn(&ListenerOptions) -> String| {
        options.listeners.iter().map(shown).collect::<Vec<_>>().join(",")
    };
    let http: Vec<String> =
        cleared.http.iter().filter_map(|listener| Some(listener.local_addr().ok()?.to_string())).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        node = options.node_id,
        listen = %of_each(|listener| listener.listen.to_string()),
        advertised = %of_each(advertised_of),
        listeners = %of_each(|listener| listener.name.clone()),
        http = http.join(","),
        folder = %options.data_dir.display(),
        shards = config.shards,
        memory_bytes = options.memory_budget_bytes,
        open_files = cleared.limits.open_files,
        "starting"
    );
    let cores = cores().len();
    if usize::from(config.shards) > cores {
        tracing::warn!(shards = config.shards, cores, "there are more shards than cores: they take turns");
    }
}

fn advertised_of(listener: &ListenerOptions) -> String {
    match &listener.advertised {
        Some(Advertised { host, port }) => format!("{}:{port}", host.as_deref().unwrap_or_default()),
        None => "nothing".to_owned(),
    }
}

/// Blocks the signals that stop the broker in this thread and those to come, and waits for them in one of their own.
fn watch_signals(events: flume::Sender<Event>) -> std::io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    start_thread("hayate-signals", move || {
        let mut count = 0;
        while let Ok(signal) = signals.wait() {
            count += 1;
            if count > 1 {
                tracing::warn!(%signal, "second signal: leaving at once, the next start recovers");
                exit(128 + signal as i32);
            }
            let _ = events.send(Event::Signal(signal));
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "the threads of the process are started here")]
fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

fn serve_http(listeners: Vec<std::net::TcpListener>, pages: Pages) -> Result<(), Failure> {
    let pages = Arc::new(pages);
    for listener in listeners {
        http::serve(listener, pages.clone()).map_err(Failure::failed)?;
    }
    Ok(())
}

/// Does `work`, which needs a runtime and no broker, on this thread.
fn run_here<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(ARENA_BYTES).make();
    let executor = executor.map_err(|error| Failure::failed(format!("the runtime: {error}")))?;
    Ok(executor.run(work))
}

/// Starts a thread a shard; what is returned tells each of them to stop.
fn spawn_shards(
    config: &Config,
    lock: &FolderLock,
    metrics: &Metrics,
    progress: &Arc<StopProgress>,
    events: &flume::Sender<Event>,
) -> Result<Vec<flume::Sender<()>>, Failure> {
    let cores = cores();
    let options = Arc::new(config.options.clone());
    let mut stops = Vec::new();
    for (number, parts) in shard_parts(&options, config.shards).into_iter().enumerate() {
        let (stop, stopping) = flume::bounded(1);
        stops.push(stop);
        let core = cores.get(number % cores.len().max(1)).copied();
        let thread = ShardThread {
            number,
            core,
            spin: config.spin,
            parts,
            options: options.clone(),
            lock: lock.clone(),
            metrics: metrics.shard(number),
            progress: progress.clone(),
            events: events.clone(),
            stopping,
        };
        start_thread(&format!("hayate-shard-{number}"), move || thread.run()).map_err(Failure::failed)?;
    }
    Ok(stops)
}

/// What a shard's thread begins with.
struct ShardThread {
    number: usize,
    core: Option<usize>,
    spin: Duration,
    parts: ShardParts,
    options: Arc<crate::broker::BrokerOptions>,
    lock: FolderLock,
    metrics: Arc<ShardMetrics>,
    progress: Arc<StopProgress>,
    events: flume::Sender<Event>,
    stopping: flume::Receiver<()>,
}

impl ShardThread {
    /// Runs the shard until it is told to stop.
    fn run(self) {
        let _bomb = AbortOnPanic;
        begin_shard_thread();
        let placement = self.core.map_or(Placement::Unbound, Placement::Fixed);
        let builder = LocalExecutorBuilder::new(placement)
            .io_memory(ARENA_BYTES)
            .spin_before_park(self.spin)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(HELPER_THREADS));
        let (shard, events) = (self.number, self.events.clone());
        let event = match builder.make() {
            Ok(executor) => executor.run(self.serve()),
            Err(error) => Event::NotStarted { shard, cause: format!("the runtime: {error}") },
        };
        let _ = events.send(event);
    }

    async fn serve(self) -> Event {
        let rt = Rt::kernel();
        let shard = self.number;
        let not_started = |cause: String| Event::NotStarted { shard, cause };
        let opened = Disk::kernel(&rt).and_then(|disk| disk.hold(self.lock.file()).map(|()| disk));
        let disk = match opened {
            Ok(disk) => disk,
            Err(error) => return not_started(error.to_string()),
        };
        let (network, metrics) = (Network::kernel_with(self.options.zerocopy), self.metrics.clone());
        let started = start_shard(self.parts, rt.clone(), disk, network, self.options, metrics).await;
        let running = match started {
            Ok(running) => running,
            Err(error) => return not_started(error.to_string()),
        };
        publish_figures(&rt, &running, self.metrics);
        let _ = self.events.send_async(Event::Started).await;
        let _ = self.stopping.recv_async().await;
        let stopped = running.stop_telling(DRAIN_TIME_MAX, self.progress.shard(shard)).await;
        let failure = stopped.err().map(|error| error.to_string());
        Event::Stopped { shard, failure }
    }
}

fn publish_figures(rt: &Rt, running: &RunningShard, metrics: Arc<ShardMetrics>) {
    let (shard, store, clock) = (running.shard.clone(), running.store.clone(), rt.clone());
    let publishing = async move {
        loop {
            sample(&shard, &store, &metrics);
            clock.sleep(SAMPLE_EVERY).await;
        }
    };
    rt.spawn(Queue::Coordination, publishing).detach();
}

/// A panic that reaches the end of a shard's thread leaves state behind that nobody can trust.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a shard panicked: aborting, the next start recovers");
            std::process::abort();
        }
    }
}

/// The running broker, as this thread sees it.
struct Broker {
    events: flume::Receiver<Event>,
    stops: Vec<flume::Sender<()>>,
    phase: Arc<PhaseCell>,
    /// How far each shard is once they stop.
    stopping: Arc<StopProgress>,
}

impl Broker {
    fn wait_until_started(&self) -> Result<(), Failure> {
        let (shards, mut started) = (self.stops.len(), 0);
        while started < shards {
            let say =
                || tracing::info!(percent = started * 100 / shards, started, shards, "still starting shards");
            match self.next(say) {
                Event::Started => started += 1,
                Event::NotStarted { shard, cause } => {
                    tracing::error!(shard, cause, "the start failed");
                    return Err(Failure::failed(format!("cannot start: {cause}")));
                }
                Event::Stopped { shard, .. } => unreachable!("shard {shard} was not told to stop"),
                Event::Signal(signal) => {
                    tracing::info!(%signal, "leaving before the start is done");
                    exit(128 + signal as i32);
                }
            }
        }
        self.phase.set(Phase::Serving);
        Ok(())
    }

    /// Waits for a signal, then for the shards to finish.
    fn wait_until_stopped(&self) -> Result<(), Failure> {
        let (mut stopped, mut failures) = (0, Vec::new());
        let mut begun = None;
        while stopped < self.stops.len() {
            let event = match begun {
                None => self.events.recv().expect("the thread of signals holds a sender"),
                Some(_) => self.next(|| {
                    let stopping = self.stopping.now();
                    tracing::info!(percent = stopping.percent(), "still stopping: {stopping}");
                }),
            };
            match event {
                Event::Signal(signal) => {
                    tracing::info!(%signal, "stopping: finishing open requests, then writing everything out");
                    begun = Some(hayate_rt::kernel::now());
                    self.phase.set(Phase::Stopping);
                    for stop in &self.stops {
                        // A shard that has just stopped by itself is told by its own event.
                        let _ = stop.send(());
                    }
                }
                Event::Stopped { shard, failure } => {
                    stopped += 1;
                    failures.extend(
                        failure.map(|failure| format!("shard {shard} did not stop cleanly: {failure}")),
                    );
                }
                Event::Started | Event::NotStarted { .. } => unreachable!("every shard has started"),
            }
        }
        let millis = begun.map(|begun| hayate_rt::kernel::now().since(begun).as_millis());
        tracing::info!(millis, clean = failures.is_empty(), "stopped");
        if failures.is_empty() { Ok(()) } else { Err(Failure { lines: failures, code: EXIT_FAILED }) }
    }

    /// The next event; while it is waited for, `say` is called every second.
    fn next(&self, say: impl Fn()) -> Event {
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) => return event,
                Err(flume::RecvTimeoutError::Timeout) => say(),
                Err(flume::RecvTimeoutError::Disconnected) => {
                    unreachable!("the thread of signals holds a sender")
                }
            }
        }
    }
}
