//! What a node of the quorum keeps beside the log: its vote, and where its log starts.
//!
//! Formats only; which file holds them, and when, is the owner's. All numbers are big-endian; nodes are told by raft's
//! number, `node.id` + 1, with 0 for nobody.
//!
//! ```text
//! hard state   0           2        4            12            20             28             32
//!              ┌───────────┬────────┬────────────┬─────────────┬──────────────┬──────────────┐
//!              │ version 1 │ zero   │ term u64   │ vote u64    │ commit u64   │ CRC32C 0..28 │
//!              └───────────┴────────┴────────────┴─────────────┴──────────────┴──────────────┘
//! log start    0           2        4            12            20             28        32        32 + 8 n
//!              ┌───────────┬────────┬────────────┬─────────────┬──────────────┬─────────┬─────────┬────────┐
//!              │ version 1 │ zero   │ index u64  │ term u64    │ offset i64   │ n u32   │ voters  │ CRC32C │
//!              └───────────┴────────┴────────────┴─────────────┴──────────────┴─────────┴─────────┴────────┘
//! ```

use std::fmt;

use bytes::{Buf, BufMut};
use hayate_storage::batch::{LeaderEpoch, Offset};

use super::{NodeId, epoch, node_id, raft_id, term};

const VERSION: u16 = 1;
const CRC_LEN: usize = 4;
const HARD_STATE_LEN: usize = 32;
const LOG_START_FIXED_LEN: usize = 32;
const VOTER_LEN: usize = 8;
/// More voters than any quorum has.
const VOTERS_MAX: usize = 1000;

/// Why bytes are not a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateError {
    /// Not as long as its content.
    Length(usize),
    /// The checksum does not hold.
    Checksum,
    /// A version that is newer than this program.
    Version(u16),
    /// The named number is out of its range.
    Range(&'static str),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "{length} bytes are no state of a quorum"),
            Self::Checksum => write!(f, "the checksum does not hold"),
            Self::Version(version) => write!(f, "version {version} is newer than this program"),
            Self::Range(what) => write!(f, "the {what} is out of range"),
        }
    }
}

impl std::error::Error for StateError {}

/// What raft must not forget: whom it voted for in which epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest epoch seen: raft's term.
    pub epoch: LeaderEpoch,
    /// The node voted for in it.
    pub vote: Option<NodeId>,
    /// An index that was committed when this was written; the log has it, or has lost it.
    pub commit: u64,
}

impl HardState {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HARD_STATE_LEN);
        put_head(&mut bytes);
        bytes.put_u64(term(self.epoch));
        bytes.put_u64(self.vote.map_or(0, raft_id));
        bytes.put_u64(self.commit);
        put_crc(&mut bytes);
        bytes
    }

    /// The state in stored bytes.
    ///
    /// # Errors
    /// Bytes that [`Self::encode`] did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        if bytes.len() != HARD_STATE_LEN {
            return Err(StateError::Length(bytes.len()));
        }
        let mut body = checked_body(bytes)?;
        let epoch = get_epoch(&mut body)?;
        let vote = match body.get_u64() {
            0 => None,
            number => Some(node_id(number).ok_or(StateError::Range("vote"))?),
        };
        Ok(Self { epoch, vote, commit: body.get_u64() })
    }

    pub(super) fn from_raft(state: &raft::eraftpb::HardState) -> Self {
        Self { epoch: epoch(state.term), vote: node_id(state.vote), commit: state.commit }
    }

    pub(super) fn to_raft(self) -> raft::eraftpb::HardState {
        raft::eraftpb::HardState {
            term: term(self.epoch),
            vote: self.vote.map_or(0, raft_id),
            commit: self.commit,
            ..Default::default()
        }
    }

    /// Whether the two differ in nothing that must not be forgotten.
    pub(super) fn same_vote(&self, other: &Self) -> bool {
        (self.epoch, self.vote) == (other.epoch, other.vote)
    }
}

/// What lies before the first entry of the log: what its latest snapshot accounts for, or nothing; and who votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStart {
    /// Raft's index of the last entry that is gone; 0 for none.
    pub index: u64,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// The offset of its last record; −1 for none.
    pub offset: Offset,
    /// The nodes that vote, ascending. Constant so far; kept here because raft's snapshots carry it.
    pub voters: Vec<NodeId>,
}

impl LogStart {
    /// An empty log with these voters.
    #[must_use]
    pub fn empty(mut voters: Vec<NodeId>) -> Self {
        voters.sort_unstable();
        Self { index: 0, epoch: LeaderEpoch(0), offset: Offset(-1), voters }
    }

    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.voters.len() <= VOTERS_MAX, "a quorum of {} nodes", self.voters.len());
        let mut bytes = Vec::with_capacity(LOG_START_FIXED_LEN + self.voters.len() * VOTER_LEN + CRC_LEN);
        put_head(&mut bytes);
        bytes.put_u64(self.index);
        bytes.put_u64(term(self.epoch));
        bytes.put_i64(self.offset.0);
        bytes.put_u32(u32::try_from(self.voters.len()).expect("bounded above"));
        for voter in &self.voters {
            bytes.put_u64(raft_id(*voter));
        }
        put_crc(&mut bytes);
        bytes
    }

    /// The start in stored bytes.
    ///
    /// # Errors
    /// Bytes that [`Self::encode`] did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        if bytes.len() < LOG_START_FIXED_LEN + CRC_LEN {
            return Err(StateError::Length(bytes.len()));
        }
        let mut body = checked_body(bytes)?;
        let index = body.get_u64();
        let epoch = get_epoch(&mut body)?;
        let offset = Offset(body.get_i64());
        if offset.0 < -1 {
            return Err(StateError::Range("offset"));
        }
        let count = body.get_u32() as usize;
        if count > VOTERS_MAX || body.len() != count * VOTER_LEN {
            return Err(StateError::Length(bytes.len()));
        }
        let voters = (0..count).map(|_| node_id(body.get_u64()).ok_or(StateError::Range("voter")));
        Ok(Self { index, epoch, offset, voters: voters.collect::<Result<_, _>>()? })
    }
}

fn put_head(bytes: &mut Vec<u8>) {
    bytes.put_u16(VERSION);
    bytes.put_u16(0);
}

fn put_crc(bytes: &mut Vec<u8>) {
    bytes.put_u32(crc32c::crc32c(bytes));
}

/// What lies between the head and the checksum, both checked. `bytes` are at least as long as the fixed part.
fn checked_body(bytes: &[u8]) -> Result<&[u8], StateError> {
    let (content, crc) = bytes.split_last_chunk::<CRC_LEN>().ok_or(StateError::Length(bytes.len()))?;
    if crc32c::crc32c(content) != u32::from_be_bytes(*crc) {
        return Err(StateError::Checksum);
    }
    let (head, body) = content.split_first_chunk::<4>().ok_or(StateError::Length(bytes.len()))?;
    match u16::from_be_bytes([head[0], head[1]]) {
        VERSION => Ok(body),
        version => Err(StateError::Version(version)),
    }
}

fn get_epoch(body: &mut &[u8]) -> Result<LeaderEpoch, StateError> {
    let epoch = i32::try_from(body.get_u64()).map_err(|_| StateError::Range("term"))?;
    Ok(LeaderEpoch(epoch))
}
