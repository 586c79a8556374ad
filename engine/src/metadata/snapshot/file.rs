//! A snapshot as a file: its name and its bytes. Pure; which files there are, and when one is written, is the log's.
//!
//! The bytes are record batches from offset 0 on, all of the epoch of the last record that the snapshot accounts for. The
//! name says that epoch, and the offset behind that record. Layout of KIP-630, as Kafka 4.2 writes it.
//!
//! ```text
//!  00000000000000000042-0000000003.checkpoint
//!  │ control batch: header │ records │ records │ … │ control batch: footer │
//!  0                       1         …                                     last offset
//! ```
//! Where the voters of a quorum stand in its log (KIP-853), the first batch has two more records, which say so.

use std::fmt;

use bytes::Bytes;
use hayate_storage::batch::control::{ControlType, snapshot_footer_batch, snapshot_header_batch};
use hayate_storage::batch::records::{Records, RecordsError, body};
use hayate_storage::batch::scan::{BatchScan, Checksums, Scanned};
use hayate_storage::batch::{BatchBuilder, LeaderEpoch, Offset, ScanEnd};

use super::{from_records, to_records};
use crate::metadata::image::{ApplyError, MetadataImage, Position};
use crate::metadata::records::{DecodeError, EncodeError, MetadataRecord};

/// The largest snapshot that is written or read; some ten million partitions.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// About the largest batch, unless a single record is larger; Kafka's limit is 8 MiB.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// What a record takes in a batch beyond its value, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;
const EXTENSION: &str = ".checkpoint";
const OFFSET_DIGITS: usize = 20;
const EPOCH_DIGITS: usize = 10;

/// Which snapshot: what it accounts for. `Display` is the file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The first offset that it does not account for.
    pub end: Offset,
    /// The epoch of the last record that it accounts for.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// Of the image at `position`.
    #[must_use]
    pub fn of(position: Position) -> Self {
        Self { end: position.offset.next(), epoch: position.epoch }
    }

    /// The snapshot whose file has this name: what `Display` writes, nothing else.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (end, epoch) = name.strip_suffix(EXTENSION)?.split_once('-')?;
        let written = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        if !written(end, OFFSET_DIGITS) || !written(epoch, EPOCH_DIGITS) {
            return None;
        }
        Some(Self { end: Offset(end.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) })
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0OFFSET_DIGITS$}-{:0EPOCH_DIGITS$}{EXTENSION}", self.end.0, self.epoch.0)
    }
}

/// What control records say of the quorum, as their values: kept for Kafka, nothing here acts on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumRecords {
    /// Of type [`ControlType::KraftVersion`].
    pub version: Option<Bytes>,
    /// Of type [`ControlType::KraftVoters`].
    pub voters: Option<Bytes>,
}

impl QuorumRecords {
    /// Takes in a control record, if it is of these types; the last one counts.
    pub fn take(&mut self, kind: ControlType, value: &[u8]) {
        let value = Some(Bytes::copy_from_slice(value));
        match kind {
            ControlType::KraftVersion => self.version = value,
            ControlType::KraftVoters => self.voters = value,
            ControlType::Abort
            | ControlType::Commit
            | ControlType::LeaderChange
            | ControlType::SnapshotHeader
            | ControlType::SnapshotFooter => {}
        }
    }

    fn records(&self) -> Vec<(ControlType, &[u8])> {
        let version = self.version.as_deref().map(|value| (ControlType::KraftVersion, value));
        let voters = self.voters.as_deref().map(|value| (ControlType::KraftVoters, value));
        version.into_iter().chain(voters).collect()
    }
}

/// Why bytes are not the snapshot that they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// A batch cannot be read, or is not whole.
    Batch(ScanEnd),
    /// The batch at that offset does not follow the one before it, or is of another epoch.
    Order(Offset),
    /// The batch at that offset is not what belongs there: header, then records, then footer.
    Layout(Offset),
    /// The footer is missing: the snapshot is not whole.
    Unfinished,
    /// A batch's records cannot be read.
    Records(RecordsError),
    /// A record is none of the metadata's.
    Decode(DecodeError),
    /// A record does not fit those before it.
    Apply(ApplyError),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(end) => write!(f, "a batch cannot be read: {end:?}"),
            Self::Order(offset) => write!(f, "the batch at offset {offset} does not belong to this snapshot"),
            Self::Layout(offset) => {
                write!(f, "the batch at offset {offset} is not what a snapshot has there")
            }
            Self::Unfinished => write!(f, "it has no footer, so it is not whole"),
            Self::Records(error) => write!(f, "records cannot be read: {error:?}"),
            Self::Decode(error) => write!(f, "{error}"),
            Self::Apply(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// The snapshot of `image`. `last_contained_ms` is the time of the last batch of the log that it accounts for, `now_ms`
/// that of the snapshot.
///
/// # Errors
/// A record that cannot be written.
pub fn encode(image: &MetadataImage, last_contained_ms: i64, now_ms: i64) -> Result<Bytes, EncodeError> {
    encode_with(image, &QuorumRecords::default(), last_contained_ms, now_ms)
}

/// As [`encode`], with what control records said of the quorum.
///
/// # Errors
/// As there.
pub fn encode_with(
    image: &MetadataImage,
    quorum: &QuorumRecords,
    last_contained_ms: i64,
    now_ms: i64,
) -> Result<Bytes, EncodeError> {
    encode_in(image, quorum, last_contained_ms, now_ms, BATCH_BYTES_MAX)
}

fn encode_in(
    image: &MetadataImage,
    quorum: &QuorumRecords,
    last_contained_ms: i64,
    now_ms: i64,
    batch_bytes_max: usize,
) -> Result<Bytes, EncodeError> {
    let epoch = image.position().epoch;
    let batch_at = |offset| BatchBuilder::new().base_offset(offset).leader_epoch(epoch);
    let quorum = quorum.records();
    let mut bytes = snapshot_header_batch(epoch, now_ms, last_contained_ms, &quorum).to_vec();
    let mut next = Offset(1 + quorum.len() as i64);
    let mut batch = batch_at(next);
    for record in to_records(image) {
        let value = record.encode()?;
        let needed = value.len() + RECORD_OVERHEAD_BYTES;
        if batch.records_count() > 0 && batch.plain_bytes() + needed > batch_bytes_max {
            next = next.plus(i64::from(batch.records_count()));
            bytes.extend_from_slice(&batch.build());
            batch = batch_at(next);
        }
        batch.append(now_ms, None, Some(&value), &[]);
    }
    if batch.records_count() > 0 {
        next = next.plus(i64::from(batch.records_count()));
        bytes.extend_from_slice(&batch.build());
    }
    bytes.extend_from_slice(&snapshot_footer_batch(next, epoch, now_ms));
    Ok(bytes.into())
}

/// The image in the bytes of a snapshot; `position` is what it accounts for.
///
/// # Errors
/// See [`SnapshotError`].
pub fn decode(cluster_id: &str, bytes: &[u8], position: Position) -> Result<MetadataImage, SnapshotError> {
    decode_with(cluster_id, bytes, position).map(|(image, _)| image)
}

/// As [`decode`], with what control records said of the quorum.
///
/// # Errors
/// As there.
pub fn decode_with(
    cluster_id: &str,
    bytes: &[u8],
    position: Position,
) -> Result<(MetadataImage, QuorumRecords), SnapshotError> {
    let (records, quorum) = decode_records(bytes, position.epoch)?;
    let image = from_records(cluster_id, &records, position).map_err(SnapshotError::Apply)?;
    Ok((image, quorum))
}

/// The records in the bytes of a snapshot of that epoch, with what control records said of the quorum.
///
/// # Errors
/// As [`decode`], but for records that do not fit each other.
pub fn decode_records(
    bytes: &[u8],
    epoch: LeaderEpoch,
) -> Result<(Vec<MetadataRecord>, QuorumRecords), SnapshotError> {
    let (mut part, mut next) = (Part::Header, Offset::ZERO);
    let (mut records, mut quorum) = (Vec::new(), QuorumRecords::default());
    let mut scan = BatchScan::new(bytes, Checksums::Verify);
    for batch in scan.by_ref() {
        // Neither is covered by the checksum.
        let header = &batch.header;
        if header.base_offset != next || header.partition_leader_epoch != epoch {
            return Err(SnapshotError::Order(header.base_offset));
        }
        next = header.next_offset();
        part = part.read(&batch, &mut records, &mut quorum)?;
    }
    match scan.finish() {
        ScanEnd::Clean => {}
        end @ (ScanEnd::Torn { .. } | ScanEnd::Blank { .. } | ScanEnd::Corrupt { .. }) => {
            return Err(SnapshotError::Batch(end));
        }
    }
    if part != Part::End {
        return Err(SnapshotError::Unfinished);
    }
    Ok((records, quorum))
}

/// What comes next in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The header.
    Header,
    /// Records, or the footer.
    Records,
    /// Nothing: the footer was there.
    End,
}

impl Part {
    /// Takes in the next batch; what comes after it.
    fn read(
        self,
        batch: &Scanned<'_>,
        records: &mut Vec<MetadataRecord>,
        quorum: &mut QuorumRecords,
    ) -> Result<Part, SnapshotError> {
        let misplaced = SnapshotError::Layout(batch.header.base_offset);
        match (self, control_type(batch, quorum)?) {
            (Part::Header, Some(ControlType::SnapshotHeader)) => Ok(Part::Records),
            (Part::Records, Some(ControlType::SnapshotFooter)) => Ok(Part::End),
            (Part::Records, None) => read_records(batch, records).map(|()| Part::Records),
            (Part::Header | Part::Records | Part::End, Some(_)) => Err(misplaced),
            (Part::Header | Part::End, None) => Err(misplaced),
        }
    }
}

/// What the first record of a control batch says, which alone may stand there but for those of the quorum behind a snapshot's header;
/// `None` for a batch of records.
fn control_type(
    batch: &Scanned<'_>,
    quorum: &mut QuorumRecords,
) -> Result<Option<ControlType>, SnapshotError> {
    if !batch.header.is_control() {
        return Ok(None);
    }
    let misplaced = SnapshotError::Layout(batch.header.base_offset);
    let mut first = None;
    each_record(batch, |key, value| {
        let kind = key.and_then(ControlType::from_key).ok_or(misplaced.clone())?;
        match (first, kind) {
            (None, kind) => first = Some(kind),
            (Some(ControlType::SnapshotHeader), ControlType::KraftVersion | ControlType::KraftVoters) => {
                quorum.take(kind, value.unwrap_or_default());
            }
            (Some(_), _) => return Err(misplaced.clone()),
        }
        Ok(())
    })?;
    first.map(Some).ok_or(misplaced)
}

fn read_records(batch: &Scanned<'_>, records: &mut Vec<MetadataRecord>) -> Result<(), SnapshotError> {
    each_record(batch, |_, value| {
        let value = value.ok_or(SnapshotError::Layout(batch.header.base_offset))?;
        records.push(MetadataRecord::decode(value).map_err(SnapshotError::Decode)?);
        Ok(())
    })
}

/// Hands key and value of each record of a batch to `take`.
fn each_record(
    batch: &Scanned<'_>,
    mut take: impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let body = body(batch.bytes, &batch.header, SNAPSHOT_BYTES_MAX).map_err(SnapshotError::Records)?;
    for record in Records::new(&batch.header, &body).map_err(SnapshotError::Records)? {
        let record = record.map_err(SnapshotError::Records)?;
        take(record.key, record.value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
