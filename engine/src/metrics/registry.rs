//! All shards' cells and what is known of the process, written out for Prometheus.

use super::cells::{Counter, Gauge, Histogram, Times};
use super::fine::FineTimes;
use super::groups::{GROUPS_MAX_DEFAULT, GroupCells, GroupSeries};
use super::requests::RequestFigures;
use super::stages::Stage;
use super::text::{MetricType, TextWriter};
use super::topics::{ShardTopics, TOPICS_MAX_DEFAULT, TopicSeries};
use super::{CloseCause, CopyPath, ProtocolError, ShardMetrics, clients, groups, storage, transactions};
use hayate_net::error::ErrorCode;
use hayate_net::wire::table;
use hayate_rt::MonoTime;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the operating system says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// CPU time of all threads, user and system, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory that is in RAM, in bytes.
    pub resident_bytes: u64,
    /// Descriptors that are open.
    pub open_fds: u64,
    /// Descriptors that may be.
    pub max_fds: u64,
    /// When the process began, in seconds since the Unix epoch.
    pub start_time_seconds: u64,
}

/// The figures of the whole broker.
#[derive(Debug)]
pub struct Metrics {
    shards: Vec<Arc<ShardMetrics>>,
    topics: Arc<TopicSeries>,
    groups: Arc<GroupSeries>,
    version: &'static str,
    commit: &'static str,
}

/// A figure of each shard: name, type, help, and where it is counted.
type CounterFamily = (&'static str, &'static str, fn(&ShardMetrics) -> &Counter);
type GaugeFamily = (&'static str, &'static str, fn(&ShardMetrics) -> &Gauge);

const COUNTERS: [CounterFamily; 23] = [
    (
        "hayate_connections_opened_total",
        "Connections accepted (Kafka: kafka.server:type=socket-server-metrics connection-creation-total).",
        |shard| &shard.connections_opened,
    ),
    (
        "hayate_connections_refused_total",
        "Connections closed at once because their address had max.connections.per.ip already (Kafka says so in its log alone).",
        |shard| &shard.connections_refused,
    ),
    (
        "hayate_accept_stalls_total",
        "Times that a listener did not accept because max.connections was reached (Kafka: \
         kafka.network:type=Acceptor,name=AcceptorBlockedPercent).",
        |shard| &shard.accept_stalls,
    ),
    (
        "hayate_accept_throttles_total",
        "Connections that waited for the sake of max.connection.creation.rate (Kafka: \
         kafka.server:type=socket-server-metrics connection-accept-throttle-time).",
        |shard| &shard.accept_throttles,
    ),
    (
        "hayate_request_queue_stalls_total",
        "Times that a request waited because queued.max.requests was reached (Kafka: \
         kafka.network:type=RequestChannel,name=RequestQueueSize).",
        |shard| &shard.queue_stalls,
    ),
    (
        "hayate_network_received_bytes_total",
        "Bytes read from sockets (Kafka: kafka.server:type=socket-server-metrics incoming-byte-total).",
        |shard| &shard.received_bytes,
    ),
    (
        "hayate_network_sent_bytes_total",
        "Bytes handed to sockets (Kafka: kafka.server:type=socket-server-metrics outgoing-byte-total).",
        |shard| &shard.sent_bytes,
    ),
    (
        "hayate_produced_bytes_total",
        "Bytes of records appended for producers (Kafka: kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec).",
        |shard| &shard.produced_bytes,
    ),
    (
        "hayate_produced_records_total",
        "Records appended for producers (Kafka: kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec).",
        |shard| &shard.produced_records,
    ),
    (
        "hayate_fetched_bytes_total",
        "Bytes of records sent to consumers (Kafka: kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec).",
        |shard| &shard.fetched_bytes,
    ),
    (
        "hayate_mailbox_waits_total",
        "Calls to another shard that waited for a credit. No counterpart in Kafka.",
        |shard| &shard.mailbox_waits,
    ),
    (
        "hayate_receive_stalls_total",
        "Times that a socket was not read because receive buffers had spent their budget (Kafka: \
         kafka.network:type=SocketServer,name=MemoryPoolAvgDepletedPercent).",
        |shard| &shard.receive_stalls,
    ),
    (
        "hayate_answer_stalls_total",
        "Times that a fetch or a socket waited because answers on their way had spent their budget. No counterpart in Kafka.",
        |shard| &shard.answer_stalls,
    ),
    (
        "hayate_zerocopy_sends_total",
        "System calls that sent answers from where they lie (MSG_ZEROCOPY). No counterpart in Kafka.",
        |shard| &shard.zerocopy_sends,
    ),
    ("hayate_zerocopy_bytes_total", "Bytes that they sent. No counterpart in Kafka.", |shard| {
        &shard.zerocopy_bytes
    }),
    (
        "hayate_zerocopy_completions_total",
        "Such sends that the kernel is done with. No counterpart in Kafka.",
        |shard| &shard.zerocopy_completions,
    ),
    (
        "hayate_zerocopy_copied_total",
        "Of those, the ones that the kernel copied all the same, as over loopback. No counterpart in Kafka.",
        |shard| &shard.zerocopy_copied,
    ),
    (
        "hayate_zerocopy_fallbacks_total",
        "Connections that went back to ordinary sends because of that. No counterpart in Kafka.",
        |shard| &shard.zerocopy_fallbacks,
    ),
    (
        "hayate_zerocopy_refusals_total",
        "Sends that were ordinary because the kernel had no room to pin them (RLIMIT_MEMLOCK, net.core.optmem_max). No counterpart \
         in Kafka.",
        |shard| &shard.zerocopy_refusals,
    ),
    (
        "hayate_contained_panics_total",
        "Panics that closed one connection. No counterpart in Kafka.",
        |shard| &shard.contained_panics,
    ),
    (
        "hayate_task_overruns_total",
        "Tasks that kept a shard's thread for more than 10 ms. No counterpart in Kafka.",
        |shard| &shard.task_overruns,
    ),
    (
        "hayate_expired_fetches_total",
        "Fetches whose time ran out before their bytes were there (Kafka: \
         kafka.server:type=DelayedFetchMetrics,name=ExpiresPerSec).",
        |shard| &shard.expired_fetches,
    ),
    (
        "hayate_evicted_fetch_sessions_total",
        "Fetch sessions that made room for others (Kafka: \
         kafka.server:type=FetchSessionCache,name=IncrementalFetchSessionEvictionsPerSec).",
        |shard| &shard.evicted_fetch_sessions,
    ),
];

const GAUGES: [GaugeFamily; 7] = [
    (
        "hayate_receive_buffer_bytes",
        "Bytes that receive buffers hold (Kafka: kafka.network:type=SocketServer,name=MemoryPoolUsed).",
        |shard| &shard.receive_buffer_bytes,
    ),
    (
        "hayate_answer_bytes",
        "Bytes that answers hold until their peers have taken them (Kafka: kafka.network:type=RequestChannel,name=ResponseQueueSize).",
        |shard| &shard.answer_bytes,
    ),
    (
        "hayate_zerocopy_pinned_bytes",
        "Bytes of answers that the kernel sends from where they lie; they count as hayate_answer_bytes. No counterpart in Kafka.",
        |shard| &shard.zerocopy_pinned_bytes,
    ),
    (
        "hayate_waiting_fetches",
        "Fetches that wait for bytes (Kafka: \
         kafka.server:type=DelayedOperationPurgatory,name=PurgatorySize,delayedOperation=Fetch).",
        |shard| &shard.waiting_fetches,
    ),
    (
        "hayate_fetch_sessions",
        "Fetch sessions kept (Kafka: kafka.server:type=FetchSessionCache,name=NumIncrementalFetchSessions).",
        |shard| &shard.fetch_sessions,
    ),
    (
        "hayate_partitions",
        "Partitions led (Kafka: kafka.server:type=ReplicaManager,name=LeaderCount).",
        |shard| &shard.partitions,
    ),
    (
        "hayate_offline_partitions",
        "Partitions whose log is offline (Kafka: kafka.server:type=ReplicaManager,name=OfflineReplicaCount).",
        |shard| &shard.offline_partitions,
    ),
];

/// A time of a request: name, help, and its histogram.
type Span = (&'static str, &'static str, fn(&RequestFigures) -> &Histogram);

const SPANS: [Span; 4] = [
    (
        "hayate_request_duration_seconds",
        "Whole time of a request, from its last byte in to its answer's last byte out (Kafka: \
         kafka.network:type=RequestMetrics,name=TotalTimeMs).",
        |figures| &figures.total,
    ),
    (
        "hayate_request_dispatch_seconds",
        "Time until a request had its place in the order of its partitions (Kafka: \
         kafka.network:type=RequestMetrics,name=RequestQueueTimeMs and LocalTimeMs).",
        |figures| &figures.dispatch,
    ),
    (
        "hayate_request_wait_seconds",
        "Time from there until the answer was ready: flush, disk, a fetch's wait (Kafka: \
         kafka.network:type=RequestMetrics,name=RemoteTimeMs).",
        |figures| &figures.wait,
    ),
    (
        "hayate_request_send_seconds",
        "Time from there until the kernel had the answer (Kafka: \
         kafka.network:type=RequestMetrics,name=ResponseQueueTimeMs and ResponseSendTimeMs).",
        |figures| &figures.send,
    ),
];

/// Where the time of one kind of request went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestStages {
    /// Its whole time.
    pub total: FineTimes,
    /// Its time in each stage that some request reached.
    pub stages: BTreeMap<Stage, FineTimes>,
}

const STAGES_HELP: &str = "Time in each stage of a request. In Kafka, of kafka.network:type=RequestMetrics: queue is \
     name=RequestQueueTimeMs; validate, append, read and handle are name=LocalTimeMs; hop, flush_queue, flush_wait and wait are \
     nearest to name=RemoteTimeMs; respond is name=ResponseQueueTimeMs; send is name=ResponseSendTimeMs. receive, from a frame's \
     first byte to its last, has no counterpart.";

impl Metrics {
    /// Cells for `shards` shards, and series for the usual number of topics and groups.
    pub fn new(shards: usize) -> Metrics {
        Metrics::with_series(shards, TOPICS_MAX_DEFAULT, GROUPS_MAX_DEFAULT)
    }

    /// Cells for `shards` shards. So many topics get series of their own, and so many groups.
    pub fn with_series(shards: usize, topics_max: usize, groups_max: usize) -> Metrics {
        let topics = Arc::new(TopicSeries::new(topics_max));
        let groups = Arc::new(GroupSeries::new(groups_max));
        let cells = |shard| ShardMetrics {
            topics: ShardTopics::new(shard, topics.clone()),
            groups: GroupCells::new(groups.clone()),
            ..ShardMetrics::default()
        };
        Metrics {
            shards: (0..shards).map(cells).map(Arc::new).collect(),
            topics,
            groups,
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("HAYATE_COMMIT").unwrap_or("unknown"),
        }
    }

    /// The cells of a shard, by its number.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn shard(&self, number: usize) -> Arc<ShardMetrics> {
        self.shards[number].clone()
    }

    /// The groups, one by one.
    pub fn groups(&self) -> &GroupSeries {
        &self.groups
    }

    /// The shard that has not run for the longest time, and for how long; `None` before any has run.
    pub fn longest_silence(&self, now: MonoTime) -> Option<(usize, Duration)> {
        let silences = self.shards.iter().enumerate().filter_map(|(number, shard)| {
            let ran = shard.last_ran_nanos.get();
            (ran > 0).then(|| (number, now.since(MonoTime::from_nanos(ran))))
        });
        silences.max_by_key(|(_, silence)| *silence)
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self, process: &ProcessFigures) -> String {
        let mut text = TextWriter::default();
        self.render_build(&mut text);
        render_process(&mut text, process);
        self.render_requests(&mut text);
        self.render_stages(&mut text);
        self.render_errors(&mut text);
        for (name, help, cell) in COUNTERS {
            self.each_shard(&mut text, name, MetricType::Counter, help, |shard| cell(shard).get());
        }
        for (name, help, cell) in GAUGES {
            self.each_shard(&mut text, name, MetricType::Gauge, help, |shard| cell(shard).get());
        }
        self.topics.render(&mut text);
        groups::render(&mut text, self.shards.iter().map(|shard| &shard.groups), &self.groups);
        transactions::render(&mut text, self.shards.iter().map(|shard| &shard.transactions));
        self.render_connections(&mut text);
        self.render_tasks(&mut text);
        self.render_copies(&mut text);
        self.render_store(&mut text);
        clients::render(&mut text, self.shards.iter().map(|shard| &shard.clients));
        text.finish()
    }

    fn each_shard(
        &self,
        text: &mut TextWriter,
        name: &'static str,
        kind: MetricType,
        help: &str,
        value: impl Fn(&ShardMetrics) -> u64,
    ) {
        text.family(name, kind, help);
        for (number, shard) in self.shards.iter().enumerate() {
            text.sample(&[("shard", &number.to_string())], value(shard));
        }
    }

    fn sum(&self, value: impl Fn(&ShardMetrics) -> u64) -> u64 {
        self.shards.iter().map(|shard| value(shard)).sum()
    }

    fn render_build(&self, text: &mut TextWriter) {
        let help = "Always 1; what runs here (Kafka: kafka.server:type=app-info).";
        text.family("hayate_build_info", MetricType::Gauge, help);
        text.sample(&[("version", self.version), ("commit", self.commit)], 1);
        let help = "Shards, each on a core of its own (Kafka has thread pools: num.io.threads).";
        text.single("hayate_shards", MetricType::Gauge, help, self.shards.len() as u64);
    }

    fn render_requests(&self, text: &mut TextWriter) {
        for (name, help, span) in SPANS {
            let mut kinds: BTreeMap<i16, Times> = BTreeMap::new();
            for (key, figures) in self.shards.iter().flat_map(|shard| shard.requests.used()) {
                span(figures).add_to(kinds.entry(key).or_default());
            }
            text.family(name, MetricType::Histogram, help);
            for (key, times) in kinds.iter().filter(|(_, times)| times.count() > 0) {
                text.histogram(&[("request", request_name(*key))], times);
            }
        }
    }

    /// Where the time of each kind of request went since the start, by the kind's name. What is counted meanwhile may be in some of the
    /// figures and not in others.
    pub fn stages(&self) -> BTreeMap<&'static str, RequestStages> {
        let mut kinds: BTreeMap<&'static str, RequestStages> = BTreeMap::new();
        for (key, figures) in self.shards.iter().flat_map(|shard| shard.requests.used()) {
            let kind = kinds.entry(request_name(key)).or_default();
            figures.fine_total.add_to(&mut kind.total);
            for stage in Stage::ALL {
                if let Some(times) = figures.stage(stage) {
                    times.add_to(kind.stages.entry(stage).or_default());
                }
            }
        }
        kinds.retain(|_, kind| kind.total.count() > 0);
        kinds
    }

    fn render_stages(&self, text: &mut TextWriter) {
        text.family("hayate_request_stage_seconds", MetricType::Histogram, STAGES_HELP);
        for (request, kind) in self.stages() {
            for (stage, times) in &kind.stages {
                text.fine_histogram(&[("request", request), ("stage", stage.name())], times);
            }
        }
    }

    fn render_errors(&self, text: &mut TextWriter) {
        let mut errors: BTreeMap<(i16, i16), u64> = BTreeMap::new();
        for (key, figures) in self.shards.iter().flat_map(|shard| shard.requests.used()) {
            for (code, count) in figures.errors() {
                *errors.entry((key, code)).or_default() += count;
            }
        }
        let help = "Error codes in answers (Kafka: kafka.network:type=RequestMetrics,name=ErrorsPerSec).";
        text.family("hayate_request_errors_total", MetricType::Counter, help);
        for ((key, code), count) in errors {
            let error = ErrorCode::from_code(code).map_or("OTHER", ErrorCode::name);
            text.sample(&[("request", request_name(key)), ("error", error)], count);
        }
        let help = "What peers did wrong, by kind (Kafka: kafka.network:type=SocketServer,\
                    name=ExpiredConnectionsKilledCount and failed requests in the log).";
        text.family("hayate_protocol_errors_total", MetricType::Counter, help);
        for kind in ProtocolError::ALL {
            let count = self.sum(|shard| shard.protocol_errors[kind as usize].get());
            text.sample(&[("kind", kind.name())], count);
        }
    }

    fn render_connections(&self, text: &mut TextWriter) {
        let help = "Connections open (Kafka: kafka.server:type=socket-server-metrics connection-count).";
        self.each_shard(text, "hayate_connections", MetricType::Gauge, help, ShardMetrics::connections);
        let help = "Connections ended, by cause (Kafka: kafka.server:type=socket-server-metrics \
                    connection-close-total, expired-connections-killed-count).";
        text.family("hayate_connections_closed_total", MetricType::Counter, help);
        for cause in CloseCause::ALL {
            text.sample(&[("cause", cause.name())], self.sum(|shard| shard.connections_closed(cause)));
        }
    }

    fn render_tasks(&self, text: &mut TextWriter) {
        let help = "The longest time that a task kept a shard's thread. No counterpart in Kafka.";
        text.family("hayate_task_max_seconds", MetricType::Gauge, help);
        for (number, shard) in self.shards.iter().enumerate() {
            text.seconds(&[("shard", &number.to_string())], shard.task_nanos_max.get());
        }
    }

    fn render_copies(&self, text: &mut TextWriter) {
        let help = "Payload bytes copied in user space, by path. No counterpart in Kafka.";
        text.family("hayate_user_copy_bytes_total", MetricType::Counter, help);
        for path in CopyPath::ALL {
            let bytes = self.sum(|shard| shard.copied_bytes(path));
            text.sample(&[("path", path.name())], bytes);
        }
        text.sample(&[("path", "chunk")], self.sum(|shard| shard.store().appended_bytes));
        text.sample(&[("path", "wal")], self.sum(|shard| shard.store().wal_copied_bytes));
    }

    fn render_store(&self, text: &mut TextWriter) {
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.store()).collect();
        for (name, kind, help, value) in storage::FIGURES {
            text.family(name, kind, help);
            for (number, stats) in shards.iter().enumerate() {
                text.sample(&[("shard", &number.to_string())], value(stats));
            }
        }
    }
}

/// The standard figures of a process, by the names that every dashboard knows.
fn render_process(text: &mut TextWriter, process: &ProcessFigures) {
    let help = "CPU time of the process (Java: java.lang:type=OperatingSystem ProcessCpuTime).";
    text.family("process_cpu_seconds_total", MetricType::Counter, help);
    text.seconds(&[], process.cpu_nanos);
    let gauges = [
        ("process_resident_memory_bytes", "Memory of the process in RAM.", process.resident_bytes),
        ("process_open_fds", "Descriptors that are open.", process.open_fds),
        ("process_max_fds", "Descriptors that may be open.", process.max_fds),
        ("process_start_time_seconds", "When the process began, Unix time.", process.start_time_seconds),
    ];
    for (name, help, value) in gauges {
        text.single(name, MetricType::Gauge, help, value);
    }
}

fn request_name(key: i16) -> &'static str {
    table::api(key).map_or("Unknown", |api| api.name)
}
