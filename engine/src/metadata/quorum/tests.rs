//! The quorum under crashes at every step of its owner's loop, and three of them over a network that loses messages.
//!
//! The disk here is a model: what was written whole and in order is there after a crash, and nothing else.

use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::metadata::records::arbitrary::seeded;
use crate::metadata::records::{FeatureLevelRecord, MetadataRecord};

/// A record that carries a number.
fn numbered(number: u32) -> MetadataRecord {
    FeatureLevelRecord { name: number.to_string(), feature_level: 1 }.into()
}

fn numbers(entry: &LogEntry) -> Vec<u32> {
    let number = |value: &Bytes| match MetadataRecord::decode(value) {
        Ok(MetadataRecord::FeatureLevel(record)) => record.name.parse().expect("a number"),
        other => panic!("not a numbered record: {other:?}"),
    };
    entry.records.iter().map(number).collect()
}

/// What survives a crash.
#[derive(Clone, Debug)]
struct Disk {
    hard_state: Option<Vec<u8>>,
    start: Vec<u8>,
    entries: Vec<LogEntry>,
}

impl Disk {
    fn new(voters: Vec<NodeId>) -> Self {
        Self { hard_state: None, start: LogStart::empty(voters).encode(), entries: Vec::new() }
    }

    fn load(&self) -> Loaded {
        Loaded {
            hard_state: self.hard_state.as_deref().map(|bytes| HardState::decode(bytes).expect("whole")),
            start: LogStart::decode(&self.start).expect("whole"),
            entries: self.entries.clone(),
        }
    }

    fn write_hard_state(&mut self, state: Option<HardState>) {
        if let Some(state) = state {
            self.hard_state = Some(state.encode());
        }
    }

    /// Writes the first `count` of `entries`.
    fn append(&mut self, entries: &[LogEntry], count: usize) {
        for entry in &entries[..count] {
            self.entries.retain(|older| older.base_offset < entry.base_offset);
            self.entries.push(entry.clone());
        }
    }
}

/// A quorum of one with its disk, and what it has said to be committed since its start.
struct Single {
    quorum: Quorum,
    disk: Disk,
    committed: Vec<LogEntry>,
}

impl Single {
    fn start(disk: Disk) -> Self {
        let quorum = Quorum::new(0, disk.load(), 7).expect("a sound disk");
        Self { quorum, disk, committed: Vec::new() }
    }

    /// Runs the owner's loop until nothing is left to do.
    fn settle(&mut self) {
        while let Some(ready) = self.quorum.ready() {
            self.committed.extend(ready.committed);
            self.disk.write_hard_state(ready.hard_state);
            self.disk.append(&ready.append, ready.append.len());
            self.quorum.advance(ready.number);
        }
    }

    fn propose(&mut self, number: u32) -> Proposal {
        self.quorum.propose(&[numbered(number)]).expect("leads")
    }

    /// Every number committed, in order.
    fn numbers(&self) -> Vec<u32> {
        self.committed.iter().flat_map(numbers).collect()
    }
}

#[test]
fn a_single_node_leads_at_once_and_opens_its_epoch() {
    let mut node = Single::start(Disk::new(vec![0]));
    assert!(node.quorum.is_leader());
    assert_eq!((node.quorum.leader(), node.quorum.epoch(), node.quorum.id()), (Some(0), LeaderEpoch(1), 0));
    node.settle();
    let opening = LogEntry { index: 1, epoch: LeaderEpoch(1), base_offset: Offset(0), records: vec![] };
    assert!(opening.opens_epoch());
    assert_eq!(node.committed, [opening]);
    assert_eq!(node.quorum.last_offset(), Offset(0));
}

#[test]
fn nothing_is_committed_before_it_is_durable() {
    let mut node = Single::start(Disk::new(vec![0]));
    node.settle();
    let first = node.propose(1);
    assert_eq!(first, Proposal { index: 2, epoch: LeaderEpoch(1), base_offset: Offset(1) });
    let writing = node.quorum.ready().expect("an entry to write");
    assert!(writing.committed.is_empty() && writing.must_write());
    // More may be proposed while the first is being written; it makes a ready of its own.
    let records = [numbered(2), numbered(3)];
    let second = node.quorum.propose(&records).expect("leads");
    assert_eq!((second.index, second.base_offset), (3, Offset(2)));
    assert_eq!(node.quorum.last_offset(), Offset(3));
    let next = node.quorum.ready().expect("another entry to write");
    assert!(next.committed.is_empty());
    node.quorum.advance(writing.number);
    let ready = node.quorum.ready().expect("the first is committed");
    assert_eq!(ready.committed.iter().flat_map(numbers).collect::<Vec<_>>(), [1]);
    assert!(!ready.must_write());
    node.quorum.advance(next.number);
    let ready = node.quorum.ready().expect("the second is committed");
    assert_eq!(ready.committed.iter().flat_map(numbers).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(ready.committed[0].last_offset(), Offset(3));
    assert_eq!(ready.append, []);
}

#[test]
fn a_restart_gives_the_whole_log_again_under_a_new_epoch() {
    let mut node = Single::start(Disk::new(vec![0]));
    node.settle();
    node.propose(1);
    node.propose(2);
    node.settle();
    let mut again = Single::start(node.disk.clone());
    again.settle();
    assert_eq!(again.numbers(), [1, 2]);
    assert_eq!(again.quorum.epoch(), LeaderEpoch(2));
    let last = again.committed.last().expect("an entry");
    assert!(last.opens_epoch());
    assert_eq!((last.index, last.epoch, last.base_offset), (4, LeaderEpoch(2), Offset(3)));
    assert_eq!(again.committed[..3], node.committed[..]);
}

#[test]
fn after_a_snapshot_the_log_starts_later() {
    let mut node = Single::start(Disk::new(vec![0]));
    node.settle();
    for number in 1..=5 {
        node.propose(number);
    }
    node.settle();
    assert_eq!(node.quorum.compact(Offset(99)), None);
    let foretold = node.quorum.start_behind(Offset(3));
    let start = node.quorum.compact(Offset(3)).expect("a committed entry ends there");
    assert_eq!(foretold.as_ref(), Some(&start));
    assert_eq!(node.quorum.start_behind(Offset(3)), None, "it is gone already");
    assert_eq!((start.index, start.offset, start.epoch), (4, Offset(3), LeaderEpoch(1)));
    assert_eq!(start.voters, [0]);
    node.disk.start = start.encode();
    node.disk.entries.retain(|entry| entry.index > start.index);
    node.propose(6);
    node.settle();
    assert_eq!(node.numbers(), [1, 2, 3, 4, 5, 6]);
    let mut again = Single::start(node.disk.clone());
    again.settle();
    assert_eq!(again.numbers(), [4, 5, 6]);
    // What is not committed yet is not compacted.
    again.propose(7);
    assert_eq!(again.quorum.compact(again.quorum.last_offset()), None);
}

#[test]
fn proposals_that_cannot_be_are_refused() {
    let mut node = Single::start(Disk::new(vec![0]));
    node.settle();
    assert_eq!(node.quorum.propose(&[]), Err(ProposeError::Empty));
    let long = FeatureLevelRecord { name: "x".repeat(40_000), feature_level: 1 }.into();
    assert_eq!(node.quorum.propose(&[long]), Err(ProposeError::Encode(EncodeError::StringTooLong(40_000))));
    let record = MetadataRecord::from(FeatureLevelRecord { name: "x".repeat(30_000), feature_level: 1 });
    assert!(matches!(node.quorum.propose(&vec![record.clone(); 300]), Err(ProposeError::TooLarge(_))));
    // Unwritten proposals pile up to a bound.
    let entry = vec![record; 200];
    let accepted = (0..100).take_while(|_| node.quorum.propose(&entry).is_ok()).count();
    assert_eq!(node.quorum.propose(&entry), Err(ProposeError::Busy));
    assert!((8..=12).contains(&accepted), "{accepted} entries of 6 MB");
    assert_eq!(node.quorum.last_offset(), Offset(200 * i64::try_from(accepted).expect("few")));
    node.settle();
    assert_eq!(node.committed.len(), accepted + 1);
    assert!(node.quorum.propose(&entry).is_ok());

    let mut lonely = Quorum::new(1, Disk::new(vec![1, 2, 3]).load(), 7).expect("sound");
    assert_eq!(lonely.propose(&[numbered(1)]), Err(ProposeError::NotLeader(None)));
}

#[test]
fn a_disk_that_contradicts_itself_is_refused() {
    let mut node = Single::start(Disk::new(vec![0]));
    node.settle();
    node.propose(1);
    node.settle();
    let mut again = Single::start(node.disk);
    again.settle();
    let sound = again.disk;
    let refused = |change: &dyn Fn(&mut Loaded)| {
        let mut loaded = sound.load();
        change(&mut loaded);
        Quorum::new(0, loaded, 7).expect_err("must be refused")
    };
    assert_eq!(refused(&|loaded| loaded.entries[1].index = 9), LoadError::Gap(9));
    assert_eq!(refused(&|loaded| loaded.entries[1].base_offset = Offset(9)), LoadError::Gap(2));
    assert_eq!(refused(&|loaded| drop(loaded.entries.remove(0))), LoadError::Gap(2));
    assert_eq!(refused(&|loaded| loaded.entries[2].epoch = LeaderEpoch(0)), LoadError::Gap(3));
    assert_eq!(refused(&|loaded| loaded.hard_state = None), LoadError::HardStateBehindLog);
    let commit = |loaded: &mut Loaded| loaded.hard_state.iter_mut().for_each(|state| state.commit = 9);
    assert_eq!(refused(&commit), LoadError::LogBehindHardState);
    assert_eq!(refused(&|loaded| loaded.start.voters = vec![4]), LoadError::NotAVoter(0));
}

#[test]
fn foreign_payloads_and_membership_changes_are_refused() {
    let mut quorum = Quorum::new(1, Disk::new(vec![1, 2, 3]).load(), 7).expect("sound");
    let mut step = |entry: Entry| {
        let mut message = RaftMessage { from: 3, to: 2, term: 1, ..RaftMessage::default() };
        message.set_msg_type(raft::eraftpb::MessageType::MsgAppend);
        message.entries.push(entry);
        quorum.step(message)
    };
    let payload = |bytes: &[u8]| raft_entry(1, 1, bytes.to_vec());
    assert_eq!(step(payload(&[0, 0, 0])), Err(StepError::Payload(PayloadError::Truncated)));
    assert_eq!(step(payload(&[0; 4])), Err(StepError::Payload(PayloadError::Count(0))));
    assert_eq!(step(payload(&[255; 8])), Err(StepError::Payload(PayloadError::Count(u32::MAX))));
    let mut change = payload(&[]);
    change.set_entry_type(EntryType::EntryConfChange);
    assert_eq!(step(change), Err(StepError::Membership));
    assert_eq!(step(payload(&encode_payload(&[Bytes::from_static(b"x")]))), Ok(()));
}

#[test]
fn stored_states_come_back_and_nothing_else_does() {
    let hard = HardState { epoch: LeaderEpoch(7), vote: Some(0), commit: 1 << 40 };
    let start = LogStart { index: 5, epoch: LeaderEpoch(3), offset: Offset(77), voters: vec![0, 4, 9] };
    assert_eq!(HardState::decode(&hard.encode()), Ok(hard));
    assert_eq!(HardState::decode(&HardState::default().encode()), Ok(HardState::default()));
    assert_eq!(LogStart::decode(&start.encode()), Ok(start.clone()));
    for bytes in [hard.encode(), start.encode()] {
        for cut in 0..bytes.len() {
            assert!(HardState::decode(&bytes[..cut]).is_err());
            assert!(LogStart::decode(&bytes[..cut]).is_err());
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(HardState::decode(&damaged).is_err());
            assert!(LogStart::decode(&damaged).is_err());
        }
    }
    let signed = |mut bytes: Vec<u8>| {
        let crc = crc32c::crc32c(&bytes).to_be_bytes();
        bytes.extend_from_slice(&crc);
        bytes
    };
    let mut newer = hard.encode();
    newer.truncate(28);
    newer[1] = 2;
    assert_eq!(HardState::decode(&signed(newer)), Err(StateError::Version(2)));
    let mut many = start.encode();
    many.truncate(many.len() - 4);
    many[28] = 0xff;
    assert!(matches!(LogStart::decode(&signed(many)), Err(StateError::Length(_))));
}

/// What happens to a quorum of one, and how far its last write gets when it crashes.
#[derive(Clone, Debug)]
enum Event {
    /// Records are proposed, this many at once.
    Propose(u32),
    /// A ready is taken, and stays in flight.
    Take,
    /// The oldest ready in flight becomes durable.
    Finish,
    /// The node crashes; of each ready in flight the vote and then this many entries have reached the disk, until one
    /// has lost something.
    Crash { with_vote: bool, entries: usize },
    /// A snapshot is taken of everything that is committed.
    Compact,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u32..4).prop_map(Event::Propose),
        4 => Just(Event::Take),
        3 => Just(Event::Finish),
        1 => (any::<bool>(), 0usize..4).prop_map(|(with_vote, entries)| Event::Crash { with_vote, entries }),
        1 => Just(Event::Compact),
    ]
}

/// A quorum of one whose writes take their time, and a client that remembers what it was told.
struct Client {
    node: Single,
    in_flight: VecDeque<QuorumReady>,
    next_number: u32,
    waiting: BTreeMap<u64, (LeaderEpoch, Vec<u32>)>,
    /// Committed since ever, by the log's own account: survives restarts and snapshots.
    history: Vec<LogEntry>,
    acknowledged: Vec<u32>,
}

impl Client {
    fn new() -> Self {
        Self {
            node: Single::start(Disk::new(vec![0])),
            in_flight: VecDeque::new(),
            next_number: 0,
            waiting: BTreeMap::new(),
            history: Vec::new(),
            acknowledged: Vec::new(),
        }
    }

    fn on(&mut self, event: &Event) {
        match event {
            Event::Propose(count) => self.propose(*count),
            Event::Take => self.take(),
            Event::Finish => self.finish(),
            Event::Crash { with_vote, entries } => self.crash(*with_vote, *entries),
            Event::Compact => self.compact(),
        }
    }

    fn propose(&mut self, count: u32) {
        let numbers: Vec<u32> = (self.next_number..self.next_number + count).collect();
        self.next_number += count;
        let records: Vec<_> = numbers.iter().copied().map(numbered).collect();
        let proposal = self.node.quorum.propose(&records).expect("leads");
        self.waiting.insert(proposal.index, (proposal.epoch, numbers));
    }

    fn take(&mut self) {
        let Some(ready) = self.node.quorum.ready() else { return };
        for entry in &ready.committed {
            if let Some((epoch, numbers)) = self.waiting.remove(&entry.index) {
                assert_eq!(epoch, entry.epoch, "no other leader");
                self.acknowledged.extend(numbers);
            }
            self.learn(entry);
        }
        self.in_flight.push_back(ready);
    }

    /// An index, once committed, holds the same entry for ever.
    fn learn(&mut self, entry: &LogEntry) {
        let at = usize::try_from(entry.index - 1).expect("small");
        match self.history.get(at) {
            Some(known) => assert_eq!(known, entry),
            None => {
                assert_eq!(at, self.history.len(), "no entry is left out");
                let expected = self.history.last().map_or(Offset(0), |last| last.last_offset().next());
                assert_eq!(entry.base_offset, expected);
                self.history.push(entry.clone());
            }
        }
    }

    fn finish(&mut self) {
        let Some(ready) = self.in_flight.pop_front() else { return };
        self.node.disk.write_hard_state(ready.hard_state);
        self.node.disk.append(&ready.append, ready.append.len());
        self.node.quorum.advance(ready.number);
    }

    fn crash(&mut self, with_vote: bool, entries: usize) {
        for ready in std::mem::take(&mut self.in_flight) {
            if ready.hard_state.is_some() && !with_vote {
                break;
            }
            self.node.disk.write_hard_state(ready.hard_state);
            let count = entries.min(ready.append.len());
            self.node.disk.append(&ready.append, count);
            if count < ready.append.len() {
                break;
            }
        }
        self.waiting.clear();
        self.node = Single::start(self.node.disk.clone());
    }

    fn compact(&mut self) {
        let Some(last) = self.history.last() else { return };
        if let Some(start) = self.node.quorum.compact(last.last_offset()) {
            self.node.disk.start = start.encode();
            self.node.disk.entries.retain(|entry| entry.index > start.index);
        }
    }

    /// Lets everything finish, crashes once more, and compares.
    fn check(mut self) {
        self.crash(true, 1);
        while self.in_flight.front().is_some() || self.node.quorum.node.has_ready() {
            self.take();
            self.finish();
        }
        let numbers: Vec<u32> = self.history.iter().flat_map(numbers).collect();
        assert!(numbers.is_sorted(), "in order and once: {numbers:?}");
        for number in &self.acknowledged {
            assert!(numbers.binary_search(number).is_ok(), "{number} was acknowledged and is lost");
        }
        assert!(self.history.is_sorted_by_key(|entry| entry.epoch));
    }
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn what_was_acknowledged_survives_every_crash(events in vec(event(), 0..120)) {
        let mut client = Client::new();
        for event in &events {
            client.on(event);
        }
        client.check();
    }

    #[test]
    fn payloads_come_back(records in vec(vec(any::<u8>(), 0..20), 0..10)) {
        let records: Vec<Bytes> = records.into_iter().map(Bytes::from).collect();
        let payload = Bytes::from(encode_payload(&records));
        prop_assert_eq!(decode_payload(&payload), Ok(records.clone()));
        prop_assert_eq!(entry::offset_count(&payload), records.len().max(1) as i64);
        for cut in 1..payload.len() {
            prop_assert!(decode_payload(&payload.slice(..cut)).is_err());
        }
    }

    #[test]
    fn three_nodes_agree_over_a_network_that_loses_messages(steps in vec(any::<(u8, u8, u8)>(), 100..400), seed: u64) {
        let mut cluster = Cluster::new(seed);
        for (step, node, luck) in steps {
            cluster.step(step, usize::from(node % 3), luck);
        }
        cluster.heal();
    }
}

/// Three nodes, their disks, and messages under way.
struct Cluster {
    nodes: Vec<Option<Single>>,
    disks: Vec<Disk>,
    messages: VecDeque<RaftMessage>,
    /// By index, what some node has said to be committed.
    agreed: BTreeMap<u64, LogEntry>,
    next_number: u32,
    seed: u64,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let disks = vec![Disk::new(vec![0, 1, 2]); 3];
        let mut cluster = Self {
            nodes: vec![None, None, None],
            disks,
            messages: VecDeque::new(),
            agreed: BTreeMap::new(),
            next_number: 0,
            seed,
        };
        (0..3).for_each(|node| cluster.start(node));
        cluster
    }

    fn start(&mut self, node: usize) {
        let disk = self.disks[node].clone();
        let id = NodeId::try_from(node).expect("small");
        let quorum = Quorum::new(id, disk.load(), self.seed).expect("a sound disk");
        self.nodes[node] = Some(Single { quorum, disk, committed: Vec::new() });
    }

    fn step(&mut self, step: u8, node: usize, luck: u8) {
        match step {
            0..=3 => self.start(node),
            4..=40 => self.propose(node),
            41..=120 => self.tick(node, luck),
            _ => self.deliver(luck > 40),
        }
        self.work();
    }

    fn propose(&mut self, node: usize) {
        let Some(node) = &mut self.nodes[node] else { return };
        if node.quorum.propose(&[numbered(self.next_number)]).is_ok() {
            self.next_number += 1;
        }
    }

    fn tick(&mut self, node: usize, luck: u8) {
        let Some(node) = &mut self.nodes[node] else { return };
        (0..=luck / 8).for_each(|_| node.quorum.tick());
    }

    fn deliver(&mut self, arrives: bool) {
        let Some(message) = self.messages.pop_front() else { return };
        let to = usize::try_from(message.to - 1).expect("small");
        if let (true, Some(node)) = (arrives, &mut self.nodes[to]) {
            // A message that raft cannot use (from an older life) is dropped, as a network might.
            let _ = node.quorum.step(message);
        }
    }

    fn work(&mut self) {
        for node in 0..3 {
            let Some(single) = &mut self.nodes[node] else { continue };
            while let Some(ready) = single.quorum.ready() {
                self.messages.extend(ready.messages);
                single.disk.write_hard_state(ready.hard_state);
                single.disk.append(&ready.append, ready.append.len());
                single.quorum.advance(ready.number);
                self.messages.extend(ready.messages_once_durable);
                for entry in ready.committed {
                    let known = self.agreed.entry(entry.index).or_insert_with(|| entry.clone());
                    assert_eq!(*known, entry, "two nodes disagree");
                    single.committed.push(entry);
                }
            }
            self.disks[node] = single.disk.clone();
        }
    }

    /// Without losses the nodes elect a leader, take a proposal and end with the same log.
    fn heal(mut self) {
        let mut proposed = false;
        for _ in 0..400 {
            (0..3).for_each(|node| self.tick(node, 0));
            self.work();
            while !self.messages.is_empty() {
                self.deliver(true);
                self.work();
            }
            let before = self.next_number;
            if !proposed {
                (0..3).for_each(|node| self.propose(node));
                proposed = self.next_number > before;
            }
        }
        assert!(proposed, "no leader was found");
        let logs: Vec<&Vec<LogEntry>> = self.disks.iter().map(|disk| &disk.entries).collect();
        assert_eq!(logs[0], logs[1]);
        assert_eq!(logs[1], logs[2]);
        assert_eq!(self.agreed.len(), logs[0].len());
    }
}
