//! An entry of raft's log, as the metadata log has it and as raft carries it.
//!
//! In the log an entry is one batch: the leader epoch is raft's term, the records are framed metadata records. Raft
//! itself sees one payload, drawn below, all numbers big-endian; the entry that opens an epoch has an empty payload and
//! is, in the log, a batch with one control record (LeaderChange), which takes one offset.
//!
//! ```text
//! ┌───────────┬───────────────────────────────┬─────┐
//! │ count u32 │ length u32 │ framed record    │  …  │   count times
//! └───────────┴───────────────────────────────┴─────┘
//! ```

use std::fmt;

use bytes::{Buf, Bytes};
use hayate_storage::batch::{LeaderEpoch, Offset};

/// A count or length in front of what it counts.
const PREFIX_LEN: usize = 4;

/// An entry of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Raft's index: the first entry ever has 1, each next one more.
    pub index: u64,
    /// The epoch of the leader that wrote it: raft's term.
    pub epoch: LeaderEpoch,
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The values of its records; none in the entry that opens an epoch, whose single offset a control record takes.
    pub records: Vec<Bytes>,
}

impl LogEntry {
    /// Whether this entry opens its epoch.
    #[must_use]
    pub fn opens_epoch(&self) -> bool {
        self.records.is_empty()
    }

    /// The offset of its last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        let count = self.records.len().max(1);
        self.base_offset.plus(i64::try_from(count).unwrap_or(i64::MAX) - 1)
    }
}

/// Why a payload is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// It ends too early.
    Truncated,
    /// A count that its bytes cannot hold, or none.
    Count(u32),
    /// This many bytes too many.
    Trailing(usize),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "an entry's payload ends too early"),
            Self::Count(count) => write!(f, "an entry's payload cannot hold {count} records"),
            Self::Trailing(bytes) => write!(f, "an entry's payload has {bytes} bytes too many"),
        }
    }
}

impl std::error::Error for PayloadError {}

/// The payload of an entry with these records; empty without records.
///
/// # Panics
/// When they take 4 GiB: callers bound what they append.
pub fn encode_payload(records: &[Bytes]) -> Vec<u8> {
    if records.is_empty() {
        return Vec::new();
    }
    let size =
        |length: usize| u32::try_from(length).expect("entries are bounded far below 4 GiB").to_be_bytes();
    let bytes: usize = records.iter().map(|record| PREFIX_LEN + record.len()).sum();
    let mut payload = Vec::with_capacity(PREFIX_LEN + bytes);
    payload.extend_from_slice(&size(records.len()));
    for record in records {
        payload.extend_from_slice(&size(record.len()));
        payload.extend_from_slice(record);
    }
    payload
}

/// The records of a payload, as slices of it.
///
/// # Errors
/// [`PayloadError`]: it is none that [`encode_payload`] gives.
pub fn decode_payload(payload: &Bytes) -> Result<Vec<Bytes>, PayloadError> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = payload.clone();
    let count = prefix(&mut rest)?;
    if count == 0 || count as usize > rest.len() / PREFIX_LEN {
        return Err(PayloadError::Count(count));
    }
    let mut records = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let length = prefix(&mut rest)? as usize;
        if length > rest.len() {
            return Err(PayloadError::Truncated);
        }
        records.push(rest.split_to(length));
    }
    if rest.is_empty() { Ok(records) } else { Err(PayloadError::Trailing(rest.len())) }
}

/// How many offsets the entry with this payload, one of ours, takes.
pub(super) fn offset_count(payload: &[u8]) -> i64 {
    match payload.first_chunk::<PREFIX_LEN>() {
        Some(count) => i64::from(u32::from_be_bytes(*count)),
        None => 1,
    }
}

fn prefix(rest: &mut Bytes) -> Result<u32, PayloadError> {
    rest.try_get_u32().map_err(|_| PayloadError::Truncated)
}
