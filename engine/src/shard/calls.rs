//! What shards ask of each other: the calls of class *partition* and their answers, and those of class *coordinator*.
//!
//! All of it is `Send`: records cross as slices of frames and chunks, never copied. A handler of a partition call calls
//! nobody; a handler of a coordinator call calls partitions only. That order is what keeps mailboxes free of deadlock.

use crate::metadata::controller::{Command, Reply};
use crate::metadata::image::NodeId;
use crate::metrics::AppendTimes;
use crate::partition::judge::Verdict;
use crate::partition::verification::{FirstBatch, Guard};
use crate::partition::{
    ActiveProducer, AppendFailure, DeleteBefore, Durability, FetchFrom, Isolation, LogSize, LookupTime,
    Probed, TimedOffset,
};
use crate::placement::PartitionKey;
use crate::purgatory::WakeSlot;
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_rt::MonoTime;
use hayate_rt::mailbox::Gone;
use hayate_storage::batch::{LeaderEpoch, Offset, ProducerId};
use hayate_storage::index::AbortedTxn;
use hayate_storage::log::TransactionEnd;
use hayate_storage::producers::TransactionVersion;

/// Records for one partition.
#[derive(Debug)]
pub struct AppendPart {
    /// Which partition.
    pub key: PartitionKey,
    /// The batch, as it came.
    pub records: Bytes,
    /// The verdict on it, where the header alone does not tell. A bad one goes along too: the log that refuses tells where it starts.
    pub verdict: Option<Box<Verdict>>,
    /// What a verification of its transaction began with, if it was verified.
    pub guard: Option<Guard>,
}

/// What one produce request brings for the partitions of one shard.
#[derive(Debug)]
pub struct Append {
    /// The records, in request order.
    pub parts: Vec<AppendPart>,
    /// Version of the produce request.
    pub produce_version: i16,
    /// What the producer waits for.
    pub durability: Durability,
}

/// What became of one partition's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendedAt {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The broker's time if the topic uses log-append time, else −1. Of a duplicate the original's greatest time.
    pub log_append_time_ms: i64,
    /// First offset of the log.
    pub log_start_offset: Offset,
}

/// One partition of a fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchPart {
    /// Which partition.
    pub key: PartitionKey,
    /// From where.
    pub from: FetchFrom,
    /// The most bytes that it gives, 1 or more, as far as that counts towards the least bytes of the fetch.
    pub counted_bytes_max: u64,
}

impl FetchPart {
    /// What of the readable bytes counts towards the least bytes of the fetch: what it would get.
    pub fn counted_bytes(&self, probed: &Probed) -> u64 {
        probed.readable_bytes.min(self.counted_bytes_max)
    }
}

/// Asks what a fetch could get now.
pub struct Probe {
    /// The partitions, in request order.
    pub parts: Vec<FetchPart>,
    /// Where to wake the fetch if too little is there.
    pub watch: Option<WatchOrder>,
}

/// Lets a fetch wait at a shard.
pub struct WatchOrder {
    /// Woken once.
    pub slot: WakeSlot,
    /// Bytes that the whole fetch asks for.
    pub min_bytes: u64,
    /// Shards that the fetch waits at, 1 or more. Each wakes it at an even share of the bytes: while no shard has its
    /// share, the whole is not there either.
    pub shards: u64,
}

impl WatchOrder {
    /// Bytes that a shard with `readable_bytes` must gain to wake the fetch; `None` when there is nothing to wait for.
    pub fn missing_bytes(&self, readable_bytes: u64) -> Option<u64> {
        let share = self.min_bytes.div_ceil(self.shards.max(1));
        (readable_bytes < self.min_bytes).then(|| share.saturating_sub(readable_bytes).max(1))
    }
}

/// Reads for a fetch.
#[derive(Debug, Clone, Copy)]
pub struct ReadPart {
    /// Which partition, and from where.
    pub part: FetchPart,
    /// Bytes that it may get.
    pub max_bytes: usize,
    /// Whether it gets its first batch whatever its size.
    pub at_least_one: bool,
}

/// What was read of one partition.
#[derive(Debug, Clone)]
pub struct ReadPartAnswer {
    /// The offsets that the reader gets to see.
    pub probed: Probed,
    /// Whole batches, in as many slices as they lie in.
    pub records: Vec<Bytes>,
    /// The aborted transactions among them, for a reader of committed records.
    pub aborted: Vec<AbortedTxn>,
}

/// Looks an offset up by its time.
#[derive(Debug, Clone, Copy)]
pub struct LookupPart {
    /// Which partition.
    pub key: PartitionKey,
    /// The time.
    pub time: LookupTime,
    /// The leader epoch that the client knows, if it told.
    pub current_epoch: Option<LeaderEpoch>,
    /// How far it may see.
    pub isolation: Isolation,
}

/// Asks where an epoch ended.
#[derive(Debug, Clone, Copy)]
pub struct EpochPart {
    /// Which partition.
    pub key: PartitionKey,
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The leader epoch that the client knows, if it told.
    pub current_epoch: Option<LeaderEpoch>,
}

/// Deletes the first records of a partition.
#[derive(Debug, Clone, Copy)]
pub struct DeletePart {
    /// Which partition.
    pub key: PartitionKey,
    /// Which records.
    pub before: DeleteBefore,
}

/// Asks whether a batch of a transaction must be verified with its coordinator before it is appended.
#[derive(Debug, Clone, Copy)]
pub struct VerifyPart {
    /// Which partition.
    pub key: PartitionKey,
    /// The batch.
    pub batch: FirstBatch,
    /// The rules that its producer follows.
    pub version: TransactionVersion,
}

/// Ends a transaction in a partition.
#[derive(Debug, Clone, Copy)]
pub struct MarkerPart {
    /// Which partition.
    pub key: PartitionKey,
    /// Whose, and how.
    pub end: TransactionEnd,
}

/// A call of class *partition*, to the shard that owns the partitions named in it.
pub enum PartitionCall {
    /// Append records; answered when they are as safe as asked for.
    Append(Append),
    /// Which batches must be verified before they are appended?
    Verify(Vec<VerifyPart>),
    /// End transactions; answered when the markers are safe.
    WriteMarkers(Vec<MarkerPart>),
    /// What could be read?
    Probe(Probe),
    /// Read.
    Read(Vec<ReadPart>),
    /// Look up offsets by time.
    Lookup(Vec<LookupPart>),
    /// Where did epochs end?
    EpochEnds(Vec<EpochPart>),
    /// Delete records; answered when they are gone for good.
    DeleteRecords(Vec<DeletePart>),
    /// How large are the logs?
    Sizes(Vec<PartitionKey>),
    /// Who writes idempotently?
    Producers(Vec<PartitionKey>),
    /// Answered once the shard serves the view of this generation, or a later one.
    Follow(u64),
}

/// One outcome a part, in the order of the call.
pub type Outcomes<T> = Vec<Result<T, ErrorCode>>;

/// The answer to a partition call, of the same name.
pub enum PartitionAnswer {
    /// What became of each part, and where the time went.
    Append(Vec<Result<AppendedAt, AppendFailure>>, AppendTimes),
    /// The guard to append each with, if it must be verified.
    Verify(Vec<Result<Option<Guard>, AppendFailure>>),
    /// Where each marker lies.
    WriteMarkers(Outcomes<Offset>),
    /// What each part could get.
    Probe(Outcomes<Probed>),
    /// What each part got.
    Read(Outcomes<ReadPartAnswer>),
    /// What was found.
    Lookup(Outcomes<TimedOffset>),
    /// The epoch and the offset behind its last record, −1 each when unknown.
    EpochEnds(Outcomes<(LeaderEpoch, Offset)>),
    /// Where each log starts now.
    DeleteRecords(Outcomes<Offset>),
    /// How large each log is.
    Sizes(Outcomes<LogSize>),
    /// The producers of each.
    Producers(Outcomes<Vec<ActiveProducer>>),
    /// The view is in force.
    Follow,
}

/// What a shard sends back to another that called it.
pub struct Replied {
    /// The answer.
    pub answer: PartitionAnswer,
    /// When the called shard began with it.
    pub started: MonoTime,
    /// When it was done.
    pub finished: MonoTime,
}

impl PartitionAnswer {
    /// The same answer for `parts` parts whose shard is gone: it stops, and the client asks again elsewhere or later.
    pub fn gone(call: &PartitionCall) -> PartitionAnswer {
        let code = ErrorCode::NotLeaderOrFollower;
        match call {
            PartitionCall::Append(append) => {
                let outcomes = append.parts.iter().map(|_| Err(code.into())).collect();
                PartitionAnswer::Append(outcomes, AppendTimes::default())
            }
            PartitionCall::Verify(parts) => {
                PartitionAnswer::Verify(parts.iter().map(|_| Err(code.into())).collect())
            }
            PartitionCall::WriteMarkers(parts) => {
                PartitionAnswer::WriteMarkers(parts.iter().map(|_| Err(code)).collect())
            }
            PartitionCall::Probe(probe) => {
                PartitionAnswer::Probe(probe.parts.iter().map(|_| Err(code)).collect())
            }
            PartitionCall::Read(parts) => PartitionAnswer::Read(parts.iter().map(|_| Err(code)).collect()),
            PartitionCall::Lookup(parts) => {
                PartitionAnswer::Lookup(parts.iter().map(|_| Err(code)).collect())
            }
            PartitionCall::EpochEnds(parts) => {
                PartitionAnswer::EpochEnds(parts.iter().map(|_| Err(code)).collect())
            }
            PartitionCall::DeleteRecords(parts) => {
                PartitionAnswer::DeleteRecords(parts.iter().map(|_| Err(code)).collect())
            }
            PartitionCall::Sizes(keys) => PartitionAnswer::Sizes(keys.iter().map(|_| Err(code)).collect()),
            PartitionCall::Producers(keys) => {
                PartitionAnswer::Producers(keys.iter().map(|_| Err(code)).collect())
            }
            PartitionCall::Follow(_) => PartitionAnswer::Follow,
        }
    }
}

/// A call of class *coordinator*, to the shard that runs the controller.
#[derive(Debug)]
pub enum ControlCall {
    /// Decide on a command and commit its records; answered when every shard serves what they say.
    Command(Command),
    /// A block of producer ids for the calling shard.
    ProducerIds,
    /// How is the metadata quorum?
    Quorum,
}

/// The metadata quorum, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumFigures {
    /// The leader.
    pub leader: NodeId,
    /// Its epoch: raft's term.
    pub epoch: LeaderEpoch,
    /// Behind the last record that is committed.
    pub high_watermark: Offset,
    /// Behind the last record.
    pub log_end: Offset,
}

/// The answer to a coordinator call.
#[derive(Debug)]
pub enum ControlAnswer {
    /// The controller's reply; what its records say is served by every shard.
    Replied(Reply),
    /// Ids from here on, [`crate::metadata::controller::PRODUCER_ID_BLOCK_LEN`] of them.
    ProducerIds(ProducerId),
    /// The quorum as of now.
    Quorum(QuorumFigures),
    /// Not decided: the controller is stopping or has lost its leadership. The client may ask again.
    Unavailable,
}

impl From<Gone> for ControlAnswer {
    fn from(_: Gone) -> ControlAnswer {
        ControlAnswer::Unavailable
    }
}
