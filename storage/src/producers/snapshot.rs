//! Producer snapshots, `%020d.snapshot`: the producers of a partition as of the offset in the name. Byte for byte Kafka's format;
//! entries are ordered by producer id (Kafka: in the order of a hash map, which for small ids is the same).
//!
//! ```text
//!  version i16 (1) │ crc32c u32 of all that follows │ count i32 │ entry …                      big-endian
//!  entry, 46 bytes: producer id i64 │ epoch i16 │ last sequence i32 │ last offset i64 │ offset delta i32
//!                   │ timestamp i64, ms │ coordinator epoch i32 │ first offset of the open transaction i64, −1: none
//! ```
//! Only the last of the five batches is kept, as in Kafka; a last offset of −1 says that there is none.
//! Source: Kafka's `ProducerStateManager`.

use std::collections::BTreeMap;
use std::fmt;

use super::{BatchSpan, NO_SEQUENCE, ProducerEntry};
use crate::batch::crc::crc32c;
use crate::batch::{Offset, ProducerId};

const VERSION: i16 = 1;
const COUNT_AT: usize = 6;
const HEAD_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

/// Why a snapshot cannot be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotError {
    /// Shorter than its head, or not as long as its count says.
    Size { bytes: usize },
    /// Another version than 1.
    Version(i16),
    /// The checksum is not that of the content.
    Crc { stored: u32, computed: u32 },
    /// Two entries are of one producer, or of one transaction.
    Repeated(ProducerId),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Size { bytes } => write!(f, "{bytes} bytes are no whole producer snapshot"),
            SnapshotError::Version(version) => {
                write!(f, "version {version} of producer snapshots is unknown, {VERSION} is expected")
            }
            SnapshotError::Crc { stored, computed } => {
                write!(
                    f,
                    "the producer snapshot is damaged: checksum {stored:08x} is stored, {computed:08x} is right"
                )
            }
            SnapshotError::Repeated(producer_id) => {
                write!(f, "the producer snapshot names producer {producer_id}, or its transaction, twice")
            }
        }
    }
}

impl std::error::Error for SnapshotError {}

pub(super) fn encode(producers: &BTreeMap<ProducerId, ProducerEntry>) -> Vec<u8> {
    let count = i32::try_from(producers.len()).expect("producers of a partition fit in memory, so in an i32");
    let mut bytes = Vec::with_capacity(HEAD_BYTES + producers.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&count.to_be_bytes());
    for (producer_id, entry) in producers {
        put_entry(&mut bytes, *producer_id, entry);
    }
    let crc = crc32c(&bytes[COUNT_AT..]);
    bytes[COUNT_AT - 4..COUNT_AT].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn put_entry(bytes: &mut Vec<u8>, producer_id: ProducerId, entry: &ProducerEntry) {
    let last = entry.last_batch();
    bytes.extend_from_slice(&producer_id.0.to_be_bytes());
    bytes.extend_from_slice(&entry.epoch.to_be_bytes());
    bytes.extend_from_slice(&last.map_or(NO_SEQUENCE, |batch| batch.last_sequence).to_be_bytes());
    bytes.extend_from_slice(&last.map_or(Offset::NONE, |batch| batch.last_offset).0.to_be_bytes());
    bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
    bytes.extend_from_slice(&entry.last_timestamp_ms.to_be_bytes());
    bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
    bytes.extend_from_slice(&entry.open_from.unwrap_or(Offset::NONE).0.to_be_bytes());
}

pub(super) fn decode(bytes: &[u8]) -> Result<BTreeMap<ProducerId, ProducerEntry>, SnapshotError> {
    let size = SnapshotError::Size { bytes: bytes.len() };
    let mut rest = bytes;
    let version = i16::from_be_bytes(take(&mut rest).ok_or(size)?);
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let stored = u32::from_be_bytes(take(&mut rest).ok_or(size)?);
    let computed = crc32c(rest);
    let count = i32::from_be_bytes(take(&mut rest).ok_or(size)?);
    let (entries, []) = rest.as_chunks::<ENTRY_BYTES>() else { return Err(size) };
    if usize::try_from(count) != Ok(entries.len()) {
        return Err(size);
    }
    if stored != computed {
        return Err(SnapshotError::Crc { stored, computed });
    }
    collect(entries)
}

fn collect(entries: &[[u8; ENTRY_BYTES]]) -> Result<BTreeMap<ProducerId, ProducerEntry>, SnapshotError> {
    let mut producers = BTreeMap::new();
    let mut open = BTreeMap::new();
    for bytes in entries {
        let (producer_id, entry) = read_entry(bytes).expect("the fields of an entry add up to its size");
        let transaction_twice = entry.open_from.is_some_and(|from| open.insert(from, producer_id).is_some());
        if producers.insert(producer_id, entry).is_some() || transaction_twice {
            return Err(SnapshotError::Repeated(producer_id));
        }
    }
    Ok(producers)
}

fn read_entry(bytes: &[u8; ENTRY_BYTES]) -> Option<(ProducerId, ProducerEntry)> {
    let rest = &mut bytes.as_slice();
    let producer_id = ProducerId(i64::from_be_bytes(take(rest)?));
    let epoch = i16::from_be_bytes(take(rest)?);
    let last_sequence = i32::from_be_bytes(take(rest)?);
    let last_offset = Offset(i64::from_be_bytes(take(rest)?));
    let offset_delta = i32::from_be_bytes(take(rest)?);
    let timestamp_ms = i64::from_be_bytes(take(rest)?);
    let coordinator_epoch = i32::from_be_bytes(take(rest)?);
    let open_from = Offset(i64::from_be_bytes(take(rest)?));
    let open_from = (open_from >= Offset::ZERO).then_some(open_from);
    let mut entry = ProducerEntry::new(epoch, coordinator_epoch, timestamp_ms, open_from);
    if last_offset >= Offset::ZERO {
        entry.remember(BatchSpan { last_sequence, last_offset, offset_delta, timestamp_ms });
    }
    Some((producer_id, entry))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}
