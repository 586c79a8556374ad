//! What a broker is told when it starts: plain values, already validated. Where they come from is the configuration's.

use crate::api::BrokerConfig;
use crate::config::connections::ConnectionLimits;
use crate::coordinator::group::GroupConfig;
use crate::coordinator::share_state::ShareStateConfig;
use crate::coordinator::topics::InternalTopics;
use crate::coordinator::txn::TxnLimits;
use crate::logging::Loggers;
use crate::metadata::image::NodeId;
use crate::metadata::quorum::ENTRY_BYTES_MAX;
use crate::metrics::{GROUPS_MAX_DEFAULT, Metrics, TOPICS_MAX_DEFAULT};
use crate::partition::PartitionSettings;
use crate::placement::ShardId;
use hayate_net::socket::{ListenOptions, ZerocopyMode, ZerocopyOptions};
use hayate_storage::store::StoreConfig;
use hayate_storage::wal::WalConfig;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Least memory of a shard for requests: one frame of usual size.
const RECEIVE_BYTES_MIN: usize = 1 << 20;
/// Least memory of a shard for its logs.
const STORE_BYTES_MIN: usize = 8 << 20;
/// Small, where Kafka's are 1 GiB: a snapshot frees whole segments alone.
const METADATA_SEGMENT_BYTES: u32 = 16 << 20;
/// Framing less than doubles even the shortest records.
const _: () = assert!(METADATA_SEGMENT_BYTES as usize >= 2 * ENTRY_BYTES_MAX);

/// How answers are sent by default (`net/benches/send.rs`, two cores, Linux 6.18). Where the kernel copies after all, pinning costs more
/// than the copy: 1 MiB over loopback 439 CPU ms a GiB against 217; with one trial a connection 208. Over veth, where the copy falls to
/// the receiving side, it costs more up to 32 KiB (550 against 469) and as much from 64 KiB (429 against 440). Splice from the
/// segment was level with read and copy over loopback at 256 KiB (0.95 GB/s against 1.03) and ahead over veth (0.93 against 0.65), but
/// it sends what nobody has checked, and waits for the disk on the shard's thread.
const ZEROCOPY: ZerocopyOptions = ZerocopyOptions { mode: ZerocopyMode::Auto, bytes_min: 64 << 10 };

/// A listener for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// Its name, in capitals.
    pub name: String,
    /// Where to listen; the port is a real one, see [`hayate_net::socket::Network::probe_exclusive`].
    pub listen: SocketAddr,
    /// Whether an IPv6 address takes no IPv4 connections.
    pub ipv6_only: bool,
    /// What clients that came to it are told; `None`: nothing, they find no broker.
    pub advertised: Option<Advertised>,
}

/// Where clients are told to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The host; `None` for this machine's name, which is yet to be looked up.
    pub host: Option<String>,
    /// The port; 0 for that of the listener.
    pub port: u16,
}

impl ListenerOptions {
    /// A listener whose clients are told where it listens.
    pub fn new(name: &str, listen: SocketAddr) -> ListenerOptions {
        let advertised = Advertised { host: Some(listen.ip().to_string()), port: listen.port() };
        ListenerOptions { name: name.to_owned(), listen, ipv6_only: false, advertised: Some(advertised) }
    }
}

/// A broker's settings. Each field names the Kafka setting it stands for, where there is one.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// `node.id`, 0 or more.
    pub node_id: NodeId,
    /// The cluster's id for a new data folder; drawn when `None`. A folder that has one keeps it.
    pub cluster_id: Option<String>,
    /// `broker.rack`
    pub rack: Option<String>,
    /// `log.dirs`: one folder.
    pub data_dir: PathBuf,
    /// `listeners` and what is said beside them, one or more.
    pub listeners: Vec<ListenerOptions>,
    /// `socket.listen.backlog.size`, `socket.send.buffer.bytes` and `socket.receive.buffer.bytes`
    pub sockets: ListenOptions,
    /// `inter.broker.listener.name`, or the one that is meant without it, in capitals.
    pub inter_broker_listener: Option<String>,
    /// `max.connections` and what belongs to it, as the file has it.
    pub connection_limits: ConnectionLimits,
    /// `socket.request.max.bytes`
    pub request_bytes_max: usize,
    /// `socket.send.zerocopy` and `socket.send.zerocopy.min.bytes`
    pub zerocopy: ZerocopyOptions,
    /// `queued.max.requests`: of all shards together, 1 or more.
    pub queued_requests_max: usize,
    /// `queued.max.request.bytes`: of all shards together; `None`: what the memory leaves.
    pub queued_request_bytes_max: Option<usize>,
    /// `connections.max.idle.ms`; `None`: never.
    pub connections_max_idle: Option<Duration>,
    /// `memory.budget`: bytes of the whole process.
    pub memory_budget_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_session_slots: usize,
    /// `max.request.partition.size.limit`
    pub described_partitions_max: usize,
    /// `telemetry.max.bytes`
    pub telemetry_bytes_max: usize,
    /// `fetch.max.bytes`
    pub fetch_bytes_max: usize,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// What topics have that set nothing themselves, unless brokers are told otherwise while they run.
    pub topic_defaults: PartitionSettings,
    /// The broker's settings as DescribeConfigs shows them.
    pub broker_configs: Vec<BrokerConfig>,
    /// `log.retention.check.interval.ms`
    pub retention_check_every: Duration,
    /// Calls that may be under way between each pair of shards, in each class.
    pub mailbox_credits: usize,
    /// Sizes of each shard's write-ahead log.
    pub wal: WalConfig,
    /// Sizes of the metadata's write-ahead log.
    pub metadata_wal: WalConfig,
    /// Size at which a segment of the metadata's log rolls: no less than the largest entry.
    pub metadata_segment_bytes: u32,
    /// `metadata.log.max.record.bytes.between.snapshots`
    pub metadata_snapshot_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` (Kafka's 0): never by time.
    pub metadata_snapshot_every: Option<Duration>,
    /// `producer.id.expiration.ms`
    pub producer_expiration_ms: i64,
    /// `metrics.topics.max`: topics that get series of their own in the metrics.
    pub metrics_topics_max: usize,
    /// `metrics.groups.max`: groups that are shown one by one in the metrics.
    pub metrics_groups_max: usize,
    /// What holds for groups and their offsets.
    pub groups: GroupConfig,
    /// What holds for the states of share groups.
    pub share_states: ShareStateConfig,
    /// What holds for transactions.
    pub transactions: TxnLimits,
    /// `add.partitions.to.txn.retry.backoff.ms` and `.max.ms`: how often at the least, and for how long, a transaction's first records ask again whose
    /// producer's last transaction is still ending.
    pub enlist_retry: (Duration, Duration),
    /// What internal topics are created with.
    pub internal_topics: InternalTopics,
    /// How much the process logs, which requests may change.
    pub loggers: Arc<Loggers>,
}

impl BrokerOptions {
    /// Figures of a broker with so many shards.
    pub fn metrics(&self, shards: impl Into<usize>) -> Metrics {
        Metrics::with_series(shards.into(), self.metrics_topics_max, self.metrics_groups_max)
    }

    /// Kafka's defaults where Kafka has them; node 1 on 127.0.0.1:9092.
    pub fn new(data_dir: impl Into<PathBuf>) -> BrokerOptions {
        BrokerOptions {
            node_id: 1,
            cluster_id: None,
            rack: None,
            data_dir: data_dir.into(),
            listeners: vec![ListenerOptions::new("PLAINTEXT", (Ipv4Addr::LOCALHOST, 9092).into())],
            sockets: ListenOptions::default(),
            inter_broker_listener: Some("PLAINTEXT".to_owned()),
            connection_limits: ConnectionLimits::default(),
            request_bytes_max: 100 << 20,
            zerocopy: ZEROCOPY,
            queued_requests_max: 500,
            queued_request_bytes_max: None,
            connections_max_idle: Some(Duration::from_secs(600)),
            memory_budget_bytes: 1 << 30,
            fetch_session_slots: 1000,
            described_partitions_max: 2000,
            telemetry_bytes_max: 1 << 20,
            fetch_bytes_max: 55 << 20,
            num_partitions: 1,
            default_replication_factor: 1,
            auto_create_topics: true,
            delete_topic_enable: true,
            topic_defaults: PartitionSettings::default(),
            broker_configs: Vec::new(),
            retention_check_every: Duration::from_secs(300),
            mailbox_credits: 256,
            wal: WalConfig::default(),
            metadata_wal: WalConfig {
                first_file_bytes: 1 << 20,
                file_bytes: 1 << 20,
                ..WalConfig::default()
            },
            metadata_segment_bytes: METADATA_SEGMENT_BYTES,
            metadata_snapshot_bytes: 20 << 20,
            metadata_snapshot_every: Some(Duration::from_secs(3600)),
            producer_expiration_ms: 86_400_000,
            metrics_topics_max: TOPICS_MAX_DEFAULT,
            metrics_groups_max: GROUPS_MAX_DEFAULT,
            groups: GroupConfig::default(),
            share_states: ShareStateConfig::default(),
            transactions: TxnLimits::default(),
            enlist_retry: (Duration::from_millis(20), Duration::from_millis(100)),
            internal_topics: InternalTopics::default(),
            loggers: Arc::default(),
        }
    }

    /// A shard's part of the memory, for requests.
    pub fn receive_bytes_per_shard(&self, shards: usize) -> usize {
        let of_memory = (self.memory_budget_bytes / shards.max(1) / 4).max(RECEIVE_BYTES_MIN);
        let queued = self.queued_request_bytes_max.map(|bytes| bytes / shards.max(1));
        queued.unwrap_or(usize::MAX).min(of_memory)
    }

    /// A shard's part of the requests that may wait for their place.
    pub fn queued_requests_per_shard(&self, shards: usize) -> usize {
        self.queued_requests_max.div_ceil(shards.max(1)).max(1)
    }

    /// A shard's part of the memory, for answers on their way.
    pub fn answer_bytes_per_shard(&self, shards: usize) -> usize {
        (self.memory_budget_bytes / shards.max(1) / 8).max(RECEIVE_BYTES_MIN)
    }

    /// `log.segment.delete.delay.ms`: how long after its deletion a partition's folder is kept.
    pub(super) fn delete_delay(&self) -> Duration {
        Duration::from_millis(self.topic_defaults.log.file_delete_delay_ms.unsigned_abs())
    }

    /// How a shard keeps its logs.
    pub(super) fn store_config(&self, shard: ShardId, shards: u16) -> StoreConfig {
        let share = self.memory_budget_bytes / usize::from(shards.max(1)) / 8 * 5;
        StoreConfig {
            wal: self.wal,
            memory_bytes: share.max(STORE_BYTES_MIN),
            delete_delay: self.delete_delay(),
            producer_expiration_ms: self.producer_expiration_ms,
            ..StoreConfig::new(self.data_dir.clone(), shard.index())
        }
    }
}
