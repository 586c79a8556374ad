//! Controller, quorum and replay together, as a broker of one node uses them: commands, a crash, and the same image again.
//!
//! Also the shortest account of how the parts fit: the owner's loop is `Node::settle`.

use std::sync::Arc;

use hayate_storage::batch::{LeaderEpoch, Offset, ProducerId};
use uuid::Uuid;

use super::controller::{Command, Controller, CreateTopics, NewTopic, Registration, Reply, Rules};
use super::image::{BrokerEpoch, ImageDelta, MetadataImage, Position, Replay};
use super::quorum::{Loaded, LogEntry, LogStart, Proposal, Quorum};
use super::records::MetadataRecord;
use super::snapshot::{from_records, to_records};

const RULES: Rules<'static> = Rules {
    num_partitions: 3,
    default_replication_factor: 1,
    delete_topic_enable: true,
    check_configs: &|_, _| Ok(()),
    list_default: &|_, _| None,
};

/// A broker's metadata, and a disk that loses nothing.
struct Node {
    quorum: Quorum,
    replay: Replay,
    /// There while this node leads and has applied the entry that opened its epoch.
    controller: Option<Controller>,
    disk: Loaded,
    /// What shards have been given.
    published: Vec<(Arc<MetadataImage>, ImageDelta)>,
}

impl Node {
    fn start(disk: Loaded, image: MetadataImage) -> Self {
        let quorum = Quorum::new(1, disk.clone(), 7).expect("a sound disk");
        let mut node =
            Self { quorum, replay: Replay::new(image), controller: None, disk, published: Vec::new() };
        node.settle();
        node
    }

    fn settle(&mut self) {
        while let Some(ready) = self.quorum.ready() {
            for entry in &ready.committed {
                self.apply(entry);
            }
            self.disk.hard_state = ready.hard_state.or(self.disk.hard_state);
            self.disk.entries.extend(ready.append);
            self.quorum.advance(ready.number);
        }
        self.published.extend(self.replay.take());
    }

    fn apply(&mut self, entry: &LogEntry) {
        let at = |offset| Position { offset, epoch: entry.epoch };
        for (count, value) in (0..).zip(&entry.records) {
            let record = MetadataRecord::decode(value).expect("our own record");
            self.replay.apply(&record, at(entry.base_offset.plus(count))).expect("fits");
        }
        if entry.opens_epoch() {
            self.replay.skip(at(entry.base_offset)).expect("in order");
            if self.quorum.is_leader() && self.quorum.epoch() == entry.epoch {
                self.controller = Some(Controller::new(self.replay.image().clone(), entry.epoch));
            }
        }
    }

    fn command(&mut self, command: Command) -> Reply {
        let controller = self.controller.as_mut().expect("leads");
        let mut expected = controller.image().position().offset.next();
        let decision = controller.handle(&command, &RULES);
        for entry in decision.entries() {
            let Proposal { base_offset, .. } = self.quorum.propose(entry).expect("leads");
            assert_eq!(base_offset, expected, "controller and log count alike");
            expected = expected.plus(i64::try_from(entry.len()).expect("few"));
        }
        self.settle();
        let controller = self.controller.as_ref().expect("leads");
        assert_eq!(controller.image(), self.replay.image(), "what was decided is what was committed");
        decision.reply
    }

    fn register(&mut self, incarnation: u128, is_clean: bool) -> BrokerEpoch {
        let reply = self.command(Command::RegisterBroker(Registration {
            broker_id: 1,
            cluster_id: "cluster".into(),
            incarnation_id: Uuid::from_u128(incarnation),
            endpoints: vec![],
            features: vec![],
            rack: None,
            log_dirs: vec![Uuid::from_u128(1000)],
            is_clean,
        }));
        let Reply::RegisterBroker(Ok(broker_epoch)) = reply else { panic!("{reply:?}") };
        self.command(Command::UnfenceBroker { broker_id: 1, broker_epoch });
        broker_epoch
    }

    fn create(&mut self, name: &str, id: u128) {
        let topic = NewTopic {
            name: name.into(),
            topic_id: Uuid::from_u128(id),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![],
            configs: vec![("retention.ms".into(), Some("1".into()))],
            placement_seed: 0,
        };
        let reply =
            self.command(Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false }));
        assert!(matches!(&reply, Reply::CreateTopics(results) if results[0].outcome.is_ok()), "{reply:?}");
    }

    fn leader_epochs(&self) -> Vec<i32> {
        let topics = self.replay.image().topics();
        topics.flat_map(|topic| topic.partitions.values().map(|partition| partition.leader_epoch.0)).collect()
    }
}

fn new_node() -> Node {
    let disk = Loaded { hard_state: None, start: LogStart::empty(vec![1]), entries: vec![] };
    Node::start(disk, MetadataImage::empty("cluster"))
}

#[test]
fn an_image_lives_through_crashes_and_snapshots() {
    let mut node = new_node();
    let first = node.register(1, false);
    node.create("t", 100);
    let (_, delta) = node.published.last().expect("published");
    assert_eq!(delta.created.iter().copied().collect::<Vec<_>>(), [Uuid::from_u128(100)]);
    let block = Command::AllocateProducerIds { broker_id: 1, broker_epoch: first };
    assert_eq!(node.command(block), Reply::AllocateProducerIds(Ok(ProducerId(0))));

    // A crash: the whole log is applied again, then the epoch is opened.
    let before = node.replay.image().clone();
    let mut node = Node::start(node.disk, MetadataImage::empty("cluster"));
    assert_eq!(to_records(node.replay.image()), to_records(&before));
    assert_eq!(node.replay.image().position().offset, before.position().offset.next());
    assert!(node.register(2, false) > first);
    assert_eq!(node.leader_epochs(), [1, 1, 1]);

    // A snapshot takes the place of the log; what comes later is applied on top.
    let image = node.replay.image().clone();
    let start = node.quorum.compact(image.position().offset).expect("all is committed");
    node.disk.start = start.clone();
    node.disk.entries.clear();
    node.create("u", 101);
    let position = Position { offset: start.offset, epoch: start.epoch };
    let loaded = from_records("cluster", &to_records(&image), position).expect("fits");
    assert_eq!(loaded, image);
    let before = node.replay.image().clone();
    let mut node = Node::start(node.disk, loaded);
    assert_eq!(to_records(node.replay.image()), to_records(&before));

    // A clean start bumps nothing.
    node.register(3, true);
    assert_eq!(node.leader_epochs(), [1, 1, 1, 0, 0, 0]);
    assert_eq!(node.quorum.epoch(), LeaderEpoch(3));
}

#[test]
fn a_bump_of_many_partitions_takes_several_entries() {
    let mut node = new_node();
    node.register(1, false);
    let topics = |range: std::ops::Range<u128>| {
        let topic = |id: u128| NewTopic {
            name: format!("t{id}"),
            topic_id: Uuid::from_u128(id),
            num_partitions: 5000,
            replication_factor: 1,
            assignments: vec![],
            configs: vec![],
            placement_seed: 0,
        };
        Command::CreateTopics(CreateTopics { topics: range.map(topic).collect(), validate_only: false })
    };
    for id in 100..103 {
        node.command(topics(id..id + 1));
    }
    let entries_before = node.disk.entries.len();
    node.register(2, false);
    assert_eq!(node.disk.entries.len(), entries_before + 3, "two for the bump, one to unfence");
    assert!(node.leader_epochs().iter().all(|epoch| *epoch == 1));
    assert_eq!(node.leader_epochs().len(), 15_000);
    assert_eq!(node.quorum.last_offset(), node.replay.image().position().offset);
    assert!(node.quorum.last_offset() > Offset(30_000));
}
