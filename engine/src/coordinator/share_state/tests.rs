//! Lines of script against one share coordinator; after each, a second machine replays the log and must show the same.

use super::*;
use crate::coordinator::Effects;
use crate::metadata::image::{MetadataImage, Position, Replay};
use crate::metadata::records::{PartitionRecord, TopicRecord};
use hayate_storage::batch::LeaderEpoch;
use std::sync::Arc;
use uuid::Uuid;

const TOPIC: Uuid = Uuid::from_u128(7);

struct World {
    machine: ShareStates,
    log: Vec<ShareStateRecord>,
    image: Arc<MetadataImage>,
    seconds: u64,
}

fn world(updates_per_snapshot: usize) -> World {
    let config = ShareStateConfig { updates_per_snapshot, ..ShareStateConfig::default() };
    World { machine: ShareStates::new(config), log: Vec::new(), image: image(), seconds: 0 }
}

fn image() -> Arc<MetadataImage> {
    let partition = PartitionRecord {
        partition_id: 0,
        topic_id: TOPIC,
        replicas: vec![1],
        isr: vec![1],
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: 1,
        leader_recovery_state: 0,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![],
        eligible_leader_replicas: None,
        last_known_elr: None,
    };
    let records = [TopicRecord { name: "t".to_owned(), topic_id: TOPIC }.into(), partition.into()];
    let mut replay = Replay::new(MetadataImage::empty("cluster"));
    for (offset, record) in (0..).zip(&records) {
        let at = Position { offset: Offset(offset), epoch: LeaderEpoch(1) };
        replay.apply(record, at).expect("fits");
    }
    replay.take().expect("no transaction is open").0
}

impl World {
    fn moment(&self) -> Moment {
        Moment {
            now: MonoTime::from_nanos(self.seconds * 1_000_000_000),
            wall_ms: self.seconds as i64 * 1000,
            image: self.image.clone(),
            log_end: Offset(self.log.len() as i64),
        }
    }

    fn step(&mut self, take: impl FnOnce(&mut ShareStates, &Moment, &mut EffectsOf<ShareStates>)) -> String {
        let (moment, mut effects) = (self.moment(), Effects::default());
        take(&mut self.machine, &moment, &mut effects);
        let records: Vec<_> = effects.writes.into_iter().flat_map(|write| write.records).collect();
        let shown: String = records.iter().map(kind).collect();
        self.log.extend(records);
        self.check_replay();
        let answers = effects.answers.iter().map(|(_, answer)| show(answer));
        let orders = effects.orders.iter().map(|ShareStateOrder::Prune(before)| format!("prune {before:?}"));
        format!("{} {shown}", answers.chain(orders).collect::<Vec<_>>().join(" ")).trim().to_owned()
    }

    fn check_replay(&self) {
        let mut again = ShareStates::new(self.machine.config);
        for (offset, record) in self.log.iter().enumerate() {
            let (key, value) = record.encode().expect("encodable");
            let offset = Offset(offset as i64);
            let replayed = Replayed { offset, producer: None, key: &key, value: value.as_deref() };
            again.replay(replayed).expect("sound");
        }
        assert_eq!(again.held, self.machine.held, "a reload shows the same");
    }

    /// `init GROUP EPOCH START`, `read GROUP LEADER`, `write GROUP EPOCH LEADER START [RUN...]`, `delete GROUP`, `sum GROUP`,
    /// `wait SECONDS`.
    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<i64>().expect("a number");
        let ask = match words[0] {
            "init" => Ask::Initialize { state_epoch: number(2) as i32, start_offset: number(3) },
            "read" => Ask::Read { leader_epoch: number(2) as i32 },
            "write" => Ask::Write(Change {
                state_epoch: number(2) as i32,
                leader_epoch: number(3) as i32,
                start_offset: number(4),
                delivery_complete_count: 0,
                batches: words[5..].iter().map(|word| batch(word)).collect(),
            }),
            "delete" => Ask::Delete,
            "sum" => Ask::Summary,
            "wait" => {
                self.seconds += number(1) as u64;
                return self.step(|machine, moment, effects| machine.on_time(moment, effects));
            }
            other => panic!("{other}"),
        };
        let key = SharePartitionKey { group: words[1].to_owned(), topic_id: TOPIC, partition: 0 };
        let request = ShareStateRequest { key, ask };
        self.step(|machine, moment, effects| machine.handle(moment, Token(0), request, effects))
    }
}

/// `FIRST-LAST=STATExCOUNT`
fn batch(word: &str) -> StateBatch {
    let (offsets, standing) = word.split_once('=').expect("a state");
    let (first, last) = offsets.split_once('-').expect("offsets");
    let (state, count) = standing.split_once('x').expect("a count");
    StateBatch {
        first_offset: first.parse().expect("an offset"),
        last_offset: last.parse().expect("an offset"),
        delivery_state: state.parse().expect("a state"),
        delivery_count: count.parse().expect("a count"),
    }
}

fn kind(record: &ShareStateRecord) -> &'static str {
    match record {
        ShareStateRecord::ShareSnapshot(_, Some(_)) => "S",
        ShareStateRecord::ShareSnapshot(_, None) => "X",
        ShareStateRecord::ShareUpdate(..) => "u",
        ShareStateRecord::Unknown(_) => "?",
    }
}

fn show(answer: &ShareStateAnswer) -> String {
    match answer {
        ShareStateAnswer::Done => "done".to_owned(),
        ShareStateAnswer::Refused(code, _) => code.name().to_owned(),
        ShareStateAnswer::State { state_epoch, start_offset, batches } => {
            let batches = batches.iter().map(|batch| {
                let StateBatch { first_offset, last_offset, delivery_state, delivery_count } = batch;
                format!(" {first_offset}-{last_offset}={delivery_state}x{delivery_count}")
            });
            format!("epoch {state_epoch} from {start_offset}{}", batches.collect::<String>())
        }
        ShareStateAnswer::Summary { state_epoch, leader_epoch, start_offset, .. } => {
            format!("epoch {state_epoch} leader {leader_epoch} from {start_offset}")
        }
    }
}

#[track_caller]
fn check(world: &mut World, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, expected) = line.split_once("=>").expect("an expectation");
        assert_eq!(world.line(input), expected.trim(), "{input}");
    }
}

#[test]
fn a_state_is_set_up_read_changed_and_deleted() {
    check(
        &mut world(500),
        "read g 0                       => INVALID_REQUEST
         write g 0 0 5                  => INVALID_REQUEST
         sum g                          => epoch 0 leader 0 from -1
         init g 1 -1                    => done S
         sum g                          => epoch 1 leader 0 from -1
         read g 0                       => epoch 1 from -1
         write g 1 0 5 5-9=0x1          => done u
         write g 1 0 5 7-8=2x1          => done u
         read g 0                       => epoch 1 from 5 5-6=0x1 7-8=2x1 9-9=0x1
         write g 1 0 9                  => done u
         read g 0                       => epoch 1 from 9 9-9=0x1
         delete g                       => done X
         delete g                       => done
         read g 0                       => INVALID_REQUEST",
    );
}

#[test]
fn older_leaders_and_older_setups_are_fenced() {
    check(
        &mut world(500),
        "init g 3 0                     => done S
         read g 2                       => epoch 3 from 0 u
         write g 3 1 0 0-9=2x1          => FENCED_LEADER_EPOCH
         read g 1                       => FENCED_LEADER_EPOCH
         write g 2 2 0 0-9=2x1          => FENCED_STATE_EPOCH
         init g 2 0                     => FENCED_STATE_EPOCH
         write g 3 2 10 0-9=2x1         => done u
         init g 4 3                     => done S
         write g 3 2 10                 => FENCED_STATE_EPOCH
         read g 2                       => epoch 4 from 3
         sum g                          => epoch 4 leader 2 from 3",
    );
}

#[test]
fn many_updates_make_a_snapshot_and_what_lies_before_the_oldest_is_deleted() {
    let mut world = world(2);
    check(
        &mut world,
        "init g 0 0                     => done S
         write g 0 0 1                  => done u
         write g 0 0 2                  => done u
         write g 0 0 3 5-6=2x1          => done S
         init h 0 0                     => done S
         wait 299                       =>",
    );
    world.machine.next_prune = Some(MonoTime::from_nanos(300_000_000_000));
    check(&mut world, "wait 1 => prune Offset(3)");
    world.machine.next_cold = Some(MonoTime::from_nanos(301_000_000_000));
    check(
        &mut world,
        "wait 1                         => S
         read g 0                       => epoch 0 from 3 5-6=2x1",
    );
}

#[test]
fn states_go_with_their_topics() {
    let mut world = world(500);
    check(&mut world, "init g 0 0 => done S");
    let gone = [("t".to_owned(), TOPIC)];
    assert_eq!(world.step(|machine, moment, effects| machine.topics_deleted(moment, &gone, effects)), "X");
    assert!(world.machine.is_empty());
}

#[test]
fn a_partition_is_found_by_the_key_that_kafka_makes() {
    let topic_id = Uuid::parse_str("00112233-4455-6677-8899-aabbccddeeff").expect("an id");
    let key = SharePartitionKey { group: "g".to_owned(), topic_id, partition: 3 };
    assert_eq!(coordinator_key(&key), "g:ABEiM0RVZneImaq7zN3u_w:3");
}
