//! What the broker counts about itself, and how it is shown to Prometheus.
//!
//! Each shard counts in cells of its own ([`ShardMetrics`]): an addition is a load and a store of one word that no other
//! thread writes, so counting costs no lock and no shared cache line. Readers (the HTTP thread) see each cell at some
//! recent moment, and add up over the shards. Names are `hayate_<what>_<unit>`, help texts name the MBean of Apache Kafka
//! that a figure corresponds to. Knows nothing of sockets and HTTP; storage's figures come in as its snapshots.

mod cells;
mod clients;
mod fine;
mod groups;
mod registry;
mod requests;
mod sample;
mod stages;
mod storage;
mod text;
mod topics;
mod tour;
mod transactions;

pub use cells::{Counter, Gauge, Histogram};
pub use clients::ClientCells;
pub use fine::{Bucket, FineTimes};
pub use groups::{GROUPS_MAX_DEFAULT, GroupCells, GroupSeries, Passage};
pub use registry::{Metrics, ProcessFigures, RequestStages};
pub use requests::{RequestFigures, RequestTimes};
pub use sample::sample;
pub use stages::{AppendTimes, SlowestAppend, Stage, Stages, Visit};
pub use text::{CONTENT_TYPE, MetricType, TextWriter};
pub use topics::{ShardTopics, TOPICS_MAX_DEFAULT, TopicCells};
pub use tour::Tour;
pub use transactions::TxnCells;

use hayate_net::error::ErrorCode;
use hayate_rt::MonoTime;
use hayate_storage::store::StoreStats;
use requests::RequestKinds;
use std::sync::{Mutex, PoisonError};

/// Where user space copied payload bytes. Storage's own copies (into chunks and WAL groups) come with its snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyPath {
    /// Bytes of requests, moved because a receive buffer was too small.
    Receive,
    /// Records of a produce request, rewritten: recompression, or the base offset of a batch that was shared.
    Produce,
    /// Records on their way to a consumer. None is the promise.
    Fetch,
    /// Records on their way to a member of a share group: joined if a read came in pieces, then written into the answer.
    ShareFetch,
}

impl CopyPath {
    /// All of them, in the order of their numbers.
    pub const ALL: [CopyPath; 4] =
        [CopyPath::Receive, CopyPath::Produce, CopyPath::Fetch, CopyPath::ShareFetch];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            CopyPath::Receive => "receive",
            CopyPath::Produce => "produce",
            CopyPath::Fetch => "fetch",
            CopyPath::ShareFetch => "share_fetch",
        }
    }
}

/// What a peer did wrong; the connection is closed, or the request refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A frame with a negative length, or one above `socket.request.max.bytes` or what its kind may have.
    FrameSize,
    /// A client that begins to speak TLS, on a listener without.
    Tls,
    /// A request header that does not parse.
    Header,
    /// An API key that does not exist or is not served.
    UnknownApi,
    /// A version that is not served.
    UnsupportedVersion,
    /// A body that does not parse, or would take too much memory.
    Body,
    /// A body that parses and makes no sense: answered with an error for the whole request.
    InvalidRequest,
    /// The connection ended in the middle of a frame.
    CutFrame,
}

impl ProtocolError {
    /// All of them, in the order of their numbers.
    pub const ALL: [ProtocolError; 8] = [
        ProtocolError::FrameSize,
        ProtocolError::Tls,
        ProtocolError::Header,
        ProtocolError::UnknownApi,
        ProtocolError::UnsupportedVersion,
        ProtocolError::Body,
        ProtocolError::InvalidRequest,
        ProtocolError::CutFrame,
    ];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            ProtocolError::FrameSize => "frame_size",
            ProtocolError::Tls => "tls",
            ProtocolError::Header => "header",
            ProtocolError::UnknownApi => "unknown_api",
            ProtocolError::UnsupportedVersion => "unsupported_version",
            ProtocolError::Body => "body",
            ProtocolError::InvalidRequest => "invalid_request",
            ProtocolError::CutFrame => "cut_frame",
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The peer closed it or it broke.
    Peer,
    /// Nothing was asked for `connections.max.idle.ms`.
    Idle,
    /// The peer broke the protocol.
    Protocol,
    /// More connections than allowed.
    Limit,
    /// A peer that takes its answers too slowly.
    Slow,
    /// A panic while one of its requests was decoded or answered.
    Panic,
    /// The broker stops.
    Stop,
}

impl CloseCause {
    /// All of them, in the order of their numbers.
    pub const ALL: [CloseCause; 7] = [
        CloseCause::Peer,
        CloseCause::Idle,
        CloseCause::Protocol,
        CloseCause::Limit,
        CloseCause::Slow,
        CloseCause::Panic,
        CloseCause::Stop,
    ];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            CloseCause::Peer => "peer",
            CloseCause::Idle => "idle",
            CloseCause::Protocol => "protocol",
            CloseCause::Limit => "limit",
            CloseCause::Slow => "slow",
            CloseCause::Panic => "panic",
            CloseCause::Stop => "stop",
        }
    }
}

/// The cells of one shard. Only that shard's thread may count in them; anybody may read.
#[derive(Debug, Default)]
#[repr(align(128))] // no cell shares a cache line, or the pair that is fetched together, with another shard's
pub struct ShardMetrics {
    /// Connections accepted.
    pub connections_opened: Counter,
    /// Connections closed at once because their address had enough.
    pub connections_refused: Counter,
    /// Times that a listener waited because there were enough connections.
    pub accept_stalls: Counter,
    /// Connections that waited because too many came in a short time.
    pub accept_throttles: Counter,
    /// Times that a request waited because too many had no place in their partitions' order.
    pub queue_stalls: Counter,
    /// Bytes read from sockets.
    pub received_bytes: Counter,
    /// Bytes handed to sockets.
    pub sent_bytes: Counter,
    /// Bytes of records in produce requests that were appended.
    pub produced_bytes: Counter,
    /// Records in produce requests that were appended.
    pub produced_records: Counter,
    /// Bytes of records sent to consumers.
    pub fetched_bytes: Counter,
    /// Calls to other shards that had to wait for a credit.
    pub mailbox_waits: Counter,
    /// Times that a socket was not read because the budget of receive buffers was spent.
    pub receive_stalls: Counter,
    /// Bytes of receive buffers that are held.
    pub receive_buffer_bytes: Gauge,
    /// Times that somebody waited because the budget of answers was spent.
    pub answer_stalls: Counter,
    /// Bytes that answers on their way hold.
    pub answer_bytes: Gauge,
    /// Sends from the buffers themselves.
    pub zerocopy_sends: Counter,
    /// Bytes of them.
    pub zerocopy_bytes: Counter,
    /// Of them, those that the kernel is done with.
    pub zerocopy_completions: Counter,
    /// Of those, the ones that the kernel copied all the same.
    pub zerocopy_copied: Counter,
    /// Connections that went back to ordinary sends.
    pub zerocopy_fallbacks: Counter,
    /// Sends that the kernel had no room to pin.
    pub zerocopy_refusals: Counter,
    /// Bytes that the kernel sends from our memory now.
    pub zerocopy_pinned_bytes: Gauge,
    /// Panics that took one connection with them.
    pub contained_panics: Counter,
    /// Tasks that kept the thread for longer than [`TASK_TIME_MAX`](hayate_rt::spawn::TASK_TIME_MAX).
    pub task_overruns: Counter,
    /// The longest of them, in nanoseconds.
    pub task_nanos_max: Gauge,
    /// Fetches that wait for bytes now.
    pub waiting_fetches: Gauge,
    /// Fetches whose time ran out before their bytes were there.
    pub expired_fetches: Counter,
    /// Fetch sessions that are kept.
    pub fetch_sessions: Gauge,
    /// Fetch sessions that made room for others.
    pub evicted_fetch_sessions: Counter,
    /// Partitions that this shard leads.
    pub partitions: Gauge,
    /// Those of them whose log is offline.
    pub offline_partitions: Gauge,
    /// Cells of its topics.
    pub topics: ShardTopics,
    /// The telemetry of its clients.
    pub clients: ClientCells,
    /// The groups that it coordinates.
    pub groups: GroupCells,
    /// The transactions that it coordinates.
    pub transactions: TxnCells,
    copied_bytes: [Counter; CopyPath::ALL.len()],
    protocol_errors: [Counter; ProtocolError::ALL.len()],
    closed: [Counter; CloseCause::ALL.len()],
    requests: RequestKinds,
    store: Mutex<StoreStats>,
    /// 0 before the first time.
    last_ran_nanos: Gauge,
}

impl ShardMetrics {
    /// A request is answered: its answer is with the kernel, or it asked for none.
    pub fn request_done(&self, api_key: i16, times: &RequestTimes, stages: &Stages) {
        self.requests.of(api_key).done(times, stages);
    }

    /// A request of this kind got this code, in whatever part of its answer.
    pub fn request_error(&self, api_key: i16, code: ErrorCode) {
        self.requests.of(api_key).error(code);
    }

    /// Payload was copied in user space.
    pub fn count_copy(&self, path: CopyPath, bytes: usize) {
        self.copied_bytes[path as usize].add(bytes as u64);
    }

    /// Payload bytes that were copied in user space on this path.
    pub fn copied_bytes(&self, path: CopyPath) -> u64 {
        self.copied_bytes[path as usize].get()
    }

    /// A peer broke the protocol.
    pub fn protocol_error(&self, kind: ProtocolError) {
        self.protocol_errors[kind as usize].add(1);
    }

    /// What peers did wrong in this way.
    pub fn protocol_errors(&self, kind: ProtocolError) -> u64 {
        self.protocol_errors[kind as usize].get()
    }

    /// A connection that was counted as opened ended.
    pub fn connection_closed(&self, cause: CloseCause) {
        self.closed[cause as usize].add(1);
    }

    /// Connections that ended for this cause.
    pub fn connections_closed(&self, cause: CloseCause) -> u64 {
        self.closed[cause as usize].get()
    }

    /// Connections that are open now.
    pub fn connections(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(Counter::get).sum();
        self.connections_opened.get().saturating_sub(closed)
    }

    /// The shard's thread ran at `now`; to be called every second or so, so that a shard that hangs is noticed.
    pub fn ran(&self, now: MonoTime) {
        self.last_ran_nanos.set(now.as_nanos().max(1));
    }

    /// Publishes storage's figures; to be called every second or so. Never waits: while they are being read, this
    /// publication is left out.
    pub fn publish_store(&self, stats: StoreStats) {
        if let Ok(mut published) = self.store.try_lock() {
            *published = stats;
        }
    }

    /// The figures that storage published last.
    pub fn store(&self) -> StoreStats {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
