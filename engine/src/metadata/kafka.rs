//! The metadata of a Kafka node, from the snapshot and the batches of its metadata log: read, judged, and brought to where a
//! single broker can go on from.
//!
//! Pure: batches come in, an image comes out. What this broker cannot take over is a [`Refusal`] with what to do about it;
//! what it keeps without acting on it is counted in a [`Survey`]. Kafka's own next leader would do the same with what was left
//! open: an unfinished transaction of metadata is aborted, and partitions that lost their leader at the stop get it back.

mod survey;

pub use survey::Survey;

use super::image::{ApplyError, METADATA_VERSION, MetadataImage, NodeId, PartitionImage, Position, Replay};
use super::records::{AbortTransactionRecord, DecodeError, MetadataRecord, PartitionChangeRecord};
use super::snapshot::file::{QuorumRecords, SnapshotError, SnapshotId, decode_records, decode_with};
use super::snapshot::from_records;
use hayate_storage::batch::control::{ControlType, voters_named};
use hayate_storage::batch::records::{Records, RecordsError, body};
use hayate_storage::batch::scan::Scanned;
use hayate_storage::batch::{LeaderEpoch, NO_TIMESTAMP_MS, Offset};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// Records of one batch unpack to no more; Kafka's largest batch of metadata has 8 MiB and is not compressed.
const UNPACKED_BYTES_MAX: usize = 64 << 20;
/// Below this a directory id has a meaning of its own (Kafka's `DirectoryId`).
const RESERVED_DIRECTORIES: u128 = 100;

/// Why the metadata of a Kafka node cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The newest snapshot.
    Snapshot(SnapshotError),
    /// The batch at that offset does not follow the one before it.
    Gap(Offset),
    /// The records of the batch at that offset cannot be read.
    Records(Offset, RecordsError),
    /// A record of the batch at that offset has no value, or a control record no known key.
    Layout(Offset),
    /// The record at that offset.
    Decode(Offset, DecodeError),
    /// The record at that offset does not fit those before it.
    Apply(Offset, ApplyError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(error) => write!(f, "the snapshot: {error}"),
            Self::Gap(offset) => write!(f, "the batch at offset {offset} does not follow the one before it"),
            Self::Records(offset, error) => write!(f, "the batch at offset {offset}: {error:?}"),
            Self::Layout(offset) => write!(f, "the batch at offset {offset} is no batch of metadata"),
            Self::Decode(offset, error) => write!(f, "the record at offset {offset}: {error}"),
            Self::Apply(offset, error) => write!(f, "the record at offset {offset}: {error}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Why a node's metadata cannot be taken over by a single broker, and what to do in Kafka first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The quorum has more than one voter.
    Voters(usize),
    /// So many partitions have replicas on other nodes, or are being moved; one of them.
    Replicas(usize, String),
    /// So many partitions lie in another folder of this node's; one of them.
    Directories(usize, String),
    /// The level of `metadata.version` is none that is understood; the lowest and the highest.
    Version(i16, (i16, i16)),
    /// What was left open cannot be ended.
    Unending(ApplyError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Voters(count) => write!(
                f,
                "the quorum has {count} voters, and this is one node of it: remove the others with \
                 kafka-metadata-quorum.sh remove-controller first"
            ),
            Self::Replicas(count, example) => write!(
                f,
                "{count} partitions ({example} is one) have replicas on other nodes or are being moved: make this node \
                 their only replica with kafka-reassign-partitions.sh first"
            ),
            Self::Directories(count, example) => write!(
                f,
                "{count} partitions ({example} is one) lie in another folder of log.dirs: move them into one folder with \
                 kafka-reassign-partitions.sh first"
            ),
            Self::Version(level, (min, max)) => write!(
                f,
                "metadata.version is at level {level}, and those from {min} to {max} are understood: change it with \
                 kafka-features.sh first"
            ),
            Self::Unending(error) => write!(f, "what its last stop left open cannot be ended: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Who is to take the metadata over.
#[derive(Clone, Copy, Debug)]
pub struct Heir {
    /// The node.
    pub node_id: NodeId,
    /// The id of its folder, if it has one.
    pub directory_id: Option<Uuid>,
    /// Lowest and highest `metadata.version`.
    pub versions: (i16, i16),
}

/// A Kafka node's metadata, up to some offset of its log.
#[derive(Debug)]
pub struct KafkaMetadata {
    replay: Replay,
    quorum: QuorumRecords,
    voters: usize,
    next: Offset,
    last_ms: i64,
}

/// What is gone on from.
#[derive(Debug)]
pub struct TakenOver {
    /// The image, at the position behind which a new log begins.
    pub image: MetadataImage,
    /// What Kafka's log says of its quorum.
    pub quorum: QuorumRecords,
    /// The time of the last batch, in milliseconds.
    pub last_ms: i64,
    /// Partitions whose leader was given back.
    pub elected: usize,
}

/// The records of a `bootstrap.checkpoint`, which fit each other, and the level of `metadata.version` that they begin with.
///
/// # Errors
/// [`SnapshotError`]: they do not, or these are no bytes of a whole snapshot.
pub fn bootstrap_records(bytes: &[u8]) -> Result<(Vec<MetadataRecord>, i16), SnapshotError> {
    let (records, _) = decode_records(bytes, LeaderEpoch(0))?;
    let before = Position { offset: Offset::NONE, epoch: LeaderEpoch(0) };
    let image = from_records("", &records, before).map_err(SnapshotError::Apply)?;
    Ok((records, image.feature_level(METADATA_VERSION)))
}

impl KafkaMetadata {
    /// Begins with the newest snapshot, or with nothing.
    ///
    /// # Errors
    /// [`ReadError::Snapshot`]
    pub fn begin(cluster_id: &str, snapshot: Option<(SnapshotId, &[u8])>) -> Result<Self, ReadError> {
        let (image, quorum, next) = match snapshot {
            None => (MetadataImage::empty(cluster_id), QuorumRecords::default(), Offset::ZERO),
            Some((id, bytes)) => {
                let at = Position { offset: id.end.plus(-1), epoch: id.epoch };
                let (image, quorum) = decode_with(cluster_id, bytes, at).map_err(ReadError::Snapshot)?;
                (image, quorum, id.end)
            }
        };
        let voters = quorum.voters.as_deref().and_then(|value| voters_named(ControlType::KraftVoters, value));
        Ok(Self {
            replay: Replay::new(image),
            quorum,
            voters: voters.unwrap_or(1),
            next,
            last_ms: NO_TIMESTAMP_MS,
        })
    }

    /// The offset of the first record that is not in it yet.
    #[must_use]
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Takes in the next batch of the log. Those that the snapshot accounts for change nothing.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn take(&mut self, batch: &Scanned<'_>) -> Result<(), ReadError> {
        let header = &batch.header;
        if header.next_offset() <= self.next {
            return Ok(());
        }
        if header.base_offset > self.next {
            return Err(ReadError::Gap(header.base_offset));
        }
        let base = header.base_offset;
        let unpacked =
            body(batch.bytes, header, UNPACKED_BYTES_MAX).map_err(|error| ReadError::Records(base, error))?;
        for record in Records::new(header, &unpacked).map_err(|error| ReadError::Records(base, error))? {
            let record = record.map_err(|error| ReadError::Records(base, error))?;
            let at = Position { offset: record.offset, epoch: header.partition_leader_epoch };
            if at.offset >= self.next {
                let value = record.value.ok_or(ReadError::Layout(base))?;
                match header.is_control() {
                    true => self.take_control(record.key, value, at)?,
                    false => self.take_record(value, at)?,
                }
            }
        }
        self.next = header.next_offset();
        self.last_ms = header.max_timestamp_ms;
        Ok(())
    }

    fn take_record(&mut self, value: &[u8], at: Position) -> Result<(), ReadError> {
        let record = MetadataRecord::decode(value).map_err(|error| ReadError::Decode(at.offset, error))?;
        self.replay.apply(&record, at).map_err(|error| ReadError::Apply(at.offset, error))
    }

    fn take_control(&mut self, key: Option<&[u8]>, value: &[u8], at: Position) -> Result<(), ReadError> {
        let kind = key.and_then(ControlType::from_key).ok_or(ReadError::Layout(at.offset))?;
        self.quorum.take(kind, value);
        self.voters = voters_named(kind, value).unwrap_or(self.voters);
        self.replay.skip(at).map_err(|error| ReadError::Apply(at.offset, error))
    }

    /// The image as it stands; `None` while a transaction of metadata is open.
    pub fn image(&mut self) -> Option<Arc<MetadataImage>> {
        self.replay.take().map(|(image, _)| image)
    }

    /// Ends what was left open. Whether no controller has begun the log: it begins with the records that the folder was formatted with.
    ///
    /// # Errors
    /// [`Refusal::Unending`]
    pub fn is_new(&mut self) -> Result<bool, Refusal> {
        if self.image().is_none() {
            let reason = Some("left open at the last stop".to_owned());
            self.follow(&AbortTransactionRecord { reason }.into())?;
        }
        Ok(self.replay.image().feature_level(METADATA_VERSION) == 0)
    }

    /// Begins the log with these records.
    ///
    /// # Errors
    /// [`Refusal::Unending`]: they do not fit what is there.
    pub fn bootstrap(&mut self, records: &[MetadataRecord]) -> Result<(), Refusal> {
        records.iter().try_for_each(|record| self.follow(record))
    }

    /// What `heir` goes on from: see the head of this module.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn hand_over(mut self, heir: &Heir) -> Result<TakenOver, Refusal> {
        self.is_new()?;
        judge(self.replay.image(), self.voters, heir)?;
        let leaderless = self.leaderless(heir.node_id);
        for record in &leaderless {
            self.follow(record)?;
        }
        let elected = leaderless.len();
        Ok(TakenOver {
            image: self.replay.image().clone(),
            quorum: self.quorum,
            last_ms: self.last_ms,
            elected,
        })
    }

    /// Applies a record as the next of the log.
    fn follow(&mut self, record: &MetadataRecord) -> Result<(), Refusal> {
        let at = Position { offset: self.next, epoch: self.replay.image().position().epoch };
        self.replay.apply(record, at).map_err(Refusal::Unending)?;
        self.next = self.next.next();
        Ok(())
    }

    /// The records that let the only replica lead again, where it does not.
    fn leaderless(&self, node_id: NodeId) -> Vec<MetadataRecord> {
        let topics = self.replay.image().topics();
        let partitions = topics.flat_map(|topic| topic.partitions.iter().map(|(id, p)| (topic.id, *id, p)));
        let lost =
            partitions.filter(|(.., partition)| partition.leader != node_id || partition.isr != [node_id]);
        let elect = |(topic_id, id, _): (Uuid, i32, &PartitionImage)| PartitionChangeRecord {
            isr: Some(vec![node_id]),
            leader: node_id,
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..PartitionChangeRecord::of(topic_id, id)
        };
        lost.map(elect).map(MetadataRecord::from).collect()
    }
}

fn judge(image: &MetadataImage, voters: usize, heir: &Heir) -> Result<(), Refusal> {
    let level = image.feature_level(METADATA_VERSION);
    if level < heir.versions.0 || level > heir.versions.1 {
        return Err(Refusal::Version(level, heir.versions));
    }
    if voters > 1 {
        return Err(Refusal::Voters(voters));
    }
    let elsewhere = |partition: &PartitionImage| {
        let is_moving = !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty();
        partition.replicas != [heir.node_id] || is_moving
    };
    if let Some((count, example)) = count(image, elsewhere) {
        return Err(Refusal::Replicas(count, example));
    }
    let is_other = |id: &Uuid| id.as_u128() >= RESERVED_DIRECTORIES && Some(*id) != heir.directory_id;
    let in_another = |partition: &PartitionImage| partition.directories.iter().any(is_other);
    match count(image, in_another) {
        Some((count, example)) => Err(Refusal::Directories(count, example)),
        None => Ok(()),
    }
}

/// How many partitions are so, and the name of the first.
fn count(image: &MetadataImage, is_so: impl Fn(&PartitionImage) -> bool) -> Option<(usize, String)> {
    let all =
        image.topics().flat_map(|topic| topic.partitions.iter().map(move |(id, p)| (&topic.name, id, p)));
    let mut those = all.filter(|(.., partition)| is_so(partition));
    let (name, id, _) = those.next()?;
    Some((1 + those.count(), format!("{name}-{id}")))
}

#[cfg(test)]
mod tests;
