//! The quorum: raft under the metadata log, as a pure machine around the `raft` crate.
//!
//! It takes records to append and messages, and gives what to make durable, what to send and what is committed; it
//! does no IO, reads no clock and draws no random number that matters (raft's own draw of the election timeout is
//! overwritten after every call; the crate still touches the system's random source for it). What the records mean is
//! not known here. A single broker is a quorum of one: it elects itself at once and commits what it has made durable.
//! Design: the Raft paper and thesis, raft-rs `RawNode`, KIP-595 for the shape of the log.

mod entry;
mod state;
mod store;

use std::fmt;

use bytes::Bytes;
use hayate_storage::batch::{LeaderEpoch, Offset};
use raft::eraftpb::{Entry, EntryType};
use raft::{Config, RawNode, StateRole};

use super::image::NodeId;
use super::records::{EncodeError, MetadataRecord};
use store::Store;

pub use entry::{LogEntry, PayloadError, decode_payload, encode_payload};
pub use raft::eraftpb::Message as RaftMessage;
pub use state::{HardState, LogStart, StateError};

/// The most bytes of one entry's payload; Kafka's largest batch of metadata.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;
/// The most bytes proposed and not yet committed, above which proposals are refused.
const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;
/// About the most bytes of committed entries handed out at a time.
const COMMITTED_BYTES_MAX: u64 = 16 << 20;
/// The most bytes of one message to a follower, unless a single entry is larger.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Ticks between a leader's heartbeats.
const HEARTBEAT_TICKS: usize = 2;
/// Ticks without a leader before an election: from this to twice it, by the seed.
const ELECTION_TICKS: usize = 20;

/// What a node has found on its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The hard state, if one was ever written.
    pub hard_state: Option<HardState>,
    /// What lies before the first entry, and who votes.
    pub start: LogStart,
    /// The log's entries, in order.
    pub entries: Vec<LogEntry>,
}

/// Why what was found on disk cannot be gone on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// An entry does not follow the one before it: its index.
    Gap(u64),
    /// The log has an entry of a later epoch than the hard state: the hard state was lost.
    HardStateBehindLog,
    /// The hard state knows an entry as committed that the log does not have: the log's end was lost.
    LogBehindHardState,
    /// A term above the largest epoch of a Kafka log.
    Term(u64),
    /// This node does not vote.
    NotAVoter(NodeId),
    /// The raft crate refuses: its words.
    Raft(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap(index) => {
                write!(f, "entry {index} of the metadata log does not follow the one before it")
            }
            Self::HardStateBehindLog => write!(f, "the quorum's state is older than the metadata log"),
            Self::LogBehindHardState => write!(f, "the metadata log lacks entries that were committed"),
            Self::Term(term) => write!(f, "term {term} exceeds the largest epoch"),
            Self::NotAVoter(id) => write!(f, "node {id} is not among the voters"),
            Self::Raft(why) => write!(f, "raft: {why}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Where proposed records will stand, if they are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Raft's index of the entry.
    pub index: u64,
    /// The epoch of the leader that proposed it.
    pub epoch: LeaderEpoch,
    /// The offset of its first record.
    pub base_offset: Offset,
}

/// Why records were not proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// This node does not lead; who does, if known.
    NotLeader(Option<NodeId>),
    /// Too much is proposed and not yet committed, or leadership is being handed over.
    Busy,
    /// A proposal needs records.
    Empty,
    /// The records exceed [`ENTRY_BYTES_MAX`] together.
    TooLarge(usize),
    /// A record cannot be written.
    Encode(EncodeError),
}

impl fmt::Display for ProposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader(Some(leader)) => write!(f, "node {leader} leads the quorum"),
            Self::NotLeader(None) => write!(f, "the quorum has no leader that this node knows"),
            Self::Busy => write!(f, "too much metadata waits to be committed"),
            Self::Empty => write!(f, "a proposal without records"),
            Self::TooLarge(bytes) => write!(f, "an entry of {bytes} bytes exceeds {ENTRY_BYTES_MAX}"),
            Self::Encode(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ProposeError {}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepError {
    /// An entry in it is none of ours.
    Payload(PayloadError),
    /// A change of membership, which is not supported.
    Membership,
    /// The raft crate refuses: its words.
    Raft(String),
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(error) => write!(f, "{error}"),
            Self::Membership => write!(f, "changes of membership are not supported"),
            Self::Raft(why) => write!(f, "raft: {why}"),
        }
    }
}

impl std::error::Error for StepError {}

/// What is to be done now.
#[derive(Debug)]
pub struct QuorumReady {
    /// To be given to [`Quorum::advance`].
    pub number: u64,
    /// To be made durable before `append`. Not given when nothing but the commit index moved: that is recomputed.
    pub hard_state: Option<HardState>,
    /// To be made durable. When the first one's offset is below the log's end, the log is to be cut there first.
    pub append: Vec<LogEntry>,
    /// Committed entries, each given once, in order, from the log's start on after a restart.
    pub committed: Vec<LogEntry>,
    /// To be sent at once.
    pub messages: Vec<RaftMessage>,
    /// To be sent once `hard_state` and `append` are durable.
    pub messages_once_durable: Vec<RaftMessage>,
}

impl QuorumReady {
    /// Whether there is anything to make durable before [`Quorum::advance`].
    #[must_use]
    pub fn must_write(&self) -> bool {
        self.hard_state.is_some() || !self.append.is_empty()
    }
}

/// One node's share of the quorum.
///
/// The loop of its owner, in this order:
///
/// 1. [`Quorum::ready`]; send `messages`; hand `committed` to the replay.
/// 2. Make `hard_state` durable, then `append` (cutting the log before its first entry, where it overlaps).
/// 3. [`Quorum::advance`] with the ready's number; send `messages_once_durable`; back to 1.
///
/// Between 1 and 3 more may be proposed, ticked and stepped; readies become durable in order. A reply that waits for a
/// [`Proposal`] is released when an entry of its index *and* epoch is among `committed`, and refused when another
/// epoch's entry has that index. The new leader's first entry has no records: once it is committed, the controller may
/// decide.
pub struct Quorum {
    node: RawNode<Store>,
    id: NodeId,
    seed: u64,
    hard_state: HardState,
}

impl Quorum {
    /// Goes on from what was `loaded`; `seed` decides how long elections wait.
    ///
    /// # Errors
    /// What was loaded contradicts itself: see [`LoadError`].
    pub fn new(id: NodeId, loaded: Loaded, seed: u64) -> Result<Self, LoadError> {
        let is_alone = loaded.start.voters == [id];
        if !loaded.start.voters.contains(&id) {
            return Err(LoadError::NotAVoter(id));
        }
        let store = Store::new(loaded)?;
        let hard_state = store.hard_state();
        let config = Config {
            id: raft_id(id),
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: store.start_index(),
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let refused = |error: raft::Error| LoadError::Raft(error.to_string());
        let mut node = RawNode::new(&config, store, &logger).map_err(refused)?;
        if is_alone {
            node.campaign().map_err(refused)?;
        }
        let mut quorum = Self { node, id, seed, hard_state };
        quorum.seed_election();
        Ok(quorum)
    }

    /// Time passes: to be called at a steady pace.
    pub fn tick(&mut self) {
        self.node.tick();
        self.seed_election();
    }

    /// Appends `records` as one entry: they are committed together or not at all.
    ///
    /// # Errors
    /// See [`ProposeError`]; nothing was appended then.
    pub fn propose(&mut self, records: &[MetadataRecord]) -> Result<Proposal, ProposeError> {
        if !self.is_leader() {
            return Err(ProposeError::NotLeader(self.leader()));
        }
        if records.is_empty() {
            return Err(ProposeError::Empty);
        }
        let values: Vec<Bytes> = records
            .iter()
            .map(MetadataRecord::encode)
            .collect::<Result<_, _>>()
            .map_err(ProposeError::Encode)?;
        let payload = encode_payload(&values);
        if payload.len() > ENTRY_BYTES_MAX {
            return Err(ProposeError::TooLarge(payload.len()));
        }
        let base_offset = self.last_offset().next();
        self.node.propose(Vec::new(), payload).map_err(|_| ProposeError::Busy)?;
        let index = self.node.raft.raft_log.last_index();
        Ok(Proposal { index, epoch: self.epoch(), base_offset })
    }

    /// Takes a message from another node.
    ///
    /// # Errors
    /// The message is none of this quorum's.
    pub fn step(&mut self, message: RaftMessage) -> Result<(), StepError> {
        for entry in &message.entries {
            if entry.get_entry_type() != EntryType::EntryNormal {
                return Err(StepError::Membership);
            }
            decode_payload(&entry.data).map_err(StepError::Payload)?;
        }
        let stepped = self.node.step(message);
        self.seed_election();
        stepped.map_err(|error| StepError::Raft(error.to_string()))
    }

    /// What is to be done now, if anything.
    pub fn ready(&mut self) -> Option<QuorumReady> {
        if !self.node.has_ready() {
            return None;
        }
        let mut ready = self.node.ready();
        let hard_state = ready.hs().and_then(|told| self.new_vote(told));
        let append = ready.take_entries();
        let first_appended = append.first().map(|entry| entry.index);
        self.node.mut_store().append(&append);
        let store = self.node.store();
        let appended = first_appended.map_or(Vec::new(), |first| store.log_entries(first, append.len()));
        let committed = ready.take_committed_entries();
        let committed = committed.iter().map(|entry| store.log_entry(entry)).collect();
        let done = QuorumReady {
            number: ready.number(),
            hard_state,
            append: appended,
            committed,
            messages: ready.take_messages(),
            messages_once_durable: ready.take_persisted_messages(),
        };
        self.node.advance_append_async(ready);
        self.node.advance_apply();
        Some(done)
    }

    /// Says that everything of the ready of that number, and of those before it, is durable.
    pub fn advance(&mut self, number: u64) {
        self.node.on_persist_ready(number);
        self.seed_election();
    }

    /// What would lie before the first entry if those up to `last_offset` were forgotten; `None` when no committed entry
    /// ends there. To be durable before [`Quorum::compact`].
    #[must_use]
    pub fn start_behind(&self, last_offset: Offset) -> Option<LogStart> {
        self.node.store().start_behind(last_offset, self.node.raft.raft_log.applied)
    }

    /// Forgets the entries up to and including the one that ends at `last_offset`: a snapshot accounts for them.
    ///
    /// Returns what lies before the first entry now, to be stored with the snapshot; `None` when no committed entry
    /// ends there.
    pub fn compact(&mut self, last_offset: Offset) -> Option<LogStart> {
        let applied = self.node.raft.raft_log.applied;
        self.node.mut_store().compact(last_offset, applied)
    }

    /// Whether this node leads the quorum.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Who leads the quorum, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        node_id(self.node.raft.leader_id)
    }

    /// This node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The current epoch: raft's term.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        epoch(self.node.raft.term)
    }

    /// The offset of the last record of the log, durable or not; −1 when it is empty.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        let log = &self.node.raft.raft_log;
        let unstable = log.unstable_entries();
        let before = unstable.first().map_or(log.last_index() + 1, |entry| entry.index);
        let records: i64 = unstable.iter().map(|entry| entry::offset_count(&entry.data)).sum();
        self.node.store().end_of(before - 1).plus(records)
    }

    /// The hard state to write, if the vote or the epoch is new. Its commit index is one that the disk surely has.
    fn new_vote(&mut self, told: &raft::eraftpb::HardState) -> Option<HardState> {
        let mut state = HardState::from_raft(told);
        state.commit = state.commit.min(self.node.raft.raft_log.persisted);
        if state.same_vote(&self.hard_state) {
            return None;
        }
        self.hard_state = state;
        Some(state)
    }

    /// Replaces the election timeout that raft has drawn at random by one that follows from the seed and the term.
    fn seed_election(&mut self) {
        let mixed = mix(self.seed ^ mix(self.node.raft.term ^ (raft_id(self.id) << 48)));
        let spread = usize::try_from(mixed % ELECTION_TICKS as u64).expect("below a small number");
        self.node.raft.set_randomized_election_timeout(ELECTION_TICKS + spread);
    }
}

impl fmt::Debug for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quorum")
            .field("id", &self.id)
            .field("epoch", &self.epoch())
            .field("leader", &self.leader())
            .field("last_offset", &self.last_offset())
            .finish_non_exhaustive()
    }
}

/// SplitMix64's finalizer: spreads the bits of close numbers.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Raft's number of a node: 0 means nobody there, but is a valid `node.id`.
fn raft_id(id: NodeId) -> u64 {
    u64::try_from(id).expect("node ids are 0 or more") + 1
}

fn node_id(raft_id: u64) -> Option<NodeId> {
    NodeId::try_from(raft_id.checked_sub(1)?).ok()
}

fn epoch(term: u64) -> LeaderEpoch {
    LeaderEpoch(i32::try_from(term).expect("checked when loading; elections do not number 2^31"))
}

fn term(epoch: LeaderEpoch) -> u64 {
    u64::try_from(epoch.0).unwrap_or(0)
}

/// A raft entry with that payload.
fn raft_entry(index: u64, term: u64, payload: Vec<u8>) -> Entry {
    Entry { index, term, data: payload.into(), ..Entry::default() }
}

#[cfg(test)]
mod tests;
