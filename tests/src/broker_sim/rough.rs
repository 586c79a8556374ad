//! One life of a broker: a rough network, a bad disk, crashes at any moment, and clients that go on through all of it. What was
//! acknowledged stays, in order and once; what a consumer has seen neither changes nor goes away.

mod deletions;
mod topics;

use super::client::{Client, Topic, values};
use super::{Bench, CLIENT, HOUR};
use crate::campaign::Outcome;
use deletions::Deleted;
use hayate_engine::broker::{BrokerOptions, RunningShard, StartError};
use hayate_net::error::ErrorCode;
use hayate_net::socket::Network;
use hayate_net::socket::sim::NetPlan;
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::{BatchBuilder, ProducerId};
use hayate_storage::disk::sim::FaultPlan;
use hayate_storage::wal::WalConfig;
use kafka_protocol::messages::FetchResponse;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use topics::Topics;

/// Faults and states that a campaign must have reached, each at least once.
pub const MUST_REACH: &[&str] = &[
    "acknowledged",
    "torn tail",
    "crash in recovering",
    "crash in materialising",
    "crash in writing a group",
    "crash in writing a checkpoint",
    "crash in starting",
    "kill",
    "clean stop",
    "disk full",
    "space again",
    "log folder offline",
    "metadata snapshot",
    "metadata snapshot failed",
    "crash in a metadata snapshot",
    "mailbox full",
    "fetch delayed",
    "duplicate answered",
    "records deleted",
    "topic grown",
    "fault net reset",
    "fault net half close",
    "fault net lost peer",
];

/// Partitions that anybody produces to; the last one has one idempotent producer.
const SHARED: usize = 3;
const IDEMPOTENT: usize = SHARED;
const PARTITIONS: usize = SHARED + 1;
/// Batches that the idempotent producer has in flight.
const IN_FLIGHT_MAX: usize = 5;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a start may take.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// What is known of each partition from outside.
#[derive(Default)]
struct Ledger {
    /// Values that were acknowledged, with their offsets.
    acknowledged: Vec<(i64, String)>,
    /// Values by offset that a consumer has seen.
    seen: Vec<String>,
    /// How much of it may be gone.
    deleted: Deleted,
}

impl Ledger {
    /// A consumer read this from offset `from`: it must agree with everything known.
    fn note_seen(&mut self, from: usize, values: Vec<String>) {
        for (offset, value) in (from..).zip(values) {
            match self.seen.get(offset) {
                Some(known) => assert_eq!(*known, value, "offset {offset} has changed"),
                None => {
                    assert_eq!(self.seen.len(), offset, "no gaps");
                    self.seen.push(value);
                }
            }
        }
    }

    /// The first `count` acknowledged values are among what was seen.
    fn check(&self, count: usize) {
        for (offset, value) in &self.acknowledged[..count] {
            assert_eq!(self.seen.get(*offset as usize), Some(value), "acknowledged at {offset}");
        }
    }
}

/// One life of one broker.
#[derive(Clone)]
struct Life {
    bench: Bench,
    rt: Rt,
    ledgers: Rc<Vec<RefCell<Ledger>>>,
    /// The idempotent producer's batches that are not acknowledged, and the number of the next.
    unacknowledged: Rc<RefCell<VecDeque<i32>>>,
    next_number: Rc<Cell<i32>>,
    topics: Rc<Topics>,
}

/// Lives one life.
pub fn run_seed(seed: u64) -> Outcome {
    let bench = Bench::new(seed, 1 + (seed % 3) as u16, |options| {
        make_small(options);
        // In every other life, topics come and go and take the metadata log through snapshots.
        if has_changing_topics(seed) {
            options.metadata_snapshot_bytes = if seed.is_multiple_of(4) { 1 } else { 4000 };
            options.metadata_segment_bytes = 8 << 10;
        }
    });
    let sim = bench.sim.clone();
    let rt = Rt::sim(sim.node(CLIENT));
    let life = Life {
        bench,
        rt,
        ledgers: Rc::new((0..PARTITIONS).map(|_| RefCell::default()).collect()),
        unacknowledged: Rc::default(),
        next_number: Rc::default(),
        topics: Rc::default(),
    };
    let outcome = sim.run(HOUR, life.live(seed));
    sim.end();
    let broken = match outcome {
        Ok(()) => None,
        Err(stalled) => Some(format!("the broker hangs: {stalled:?}")),
    };
    Outcome { broken, counts: sim.counts(), trace: sim.trace_hash(), steps: sim.steps() }
}

fn has_changing_topics(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

fn has_deletions(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

/// Sizes at which a short life meets what takes a real broker hours.
fn make_small(options: &mut BrokerOptions) {
    let wal = WalConfig {
        first_file_bytes: 64 << 10,
        file_bytes: 128 << 10,
        files_max: 3,
        group_bytes_max: 32 << 10,
    };
    options.wal = wal;
    options.topic_defaults.log.segment_bytes = 60_000;
}

impl Life {
    async fn live(self, seed: u64) {
        let running = self.bench.start().await;
        let topic = self.bench.client().await.create_topic("rough", PARTITIONS as i32).await;
        self.bench.stop(running).await;
        self.bench.crash();
        self.start_clients(&topic);
        if has_changing_topics(seed) {
            self.rt.spawn(Queue::Foreground, self.clone().change_topics()).detach();
        }
        if has_deletions(seed) {
            self.rt.spawn(Queue::Foreground, self.clone().delete_records(topic.clone())).detach();
        }
        let plan = self.draw_plan();
        for _ in 0..3 + self.rt.random_below(2) {
            let Some(running) = self.start(&plan).await else { continue };
            self.topics.check(&running[0].shard.view().image);
            self.read_all(&topic).await;
            self.bench.network.set_plan(NetPlan::ROUGH);
            self.bench.disk.set_plan(plan.clone());
            self.rt.sleep(Duration::from_millis(50 + self.rt.random_below(250))).await;
            self.bench.disk.set_capacity(None);
            self.rt.sleep(Duration::from_millis(self.rt.random_below(300))).await;
            self.end(running, &plan).await;
        }
        self.last_run(&topic, &plan).await;
    }

    fn draw_plan(&self) -> FaultPlan {
        let chance = |n| self.rt.random_below(n) == 0;
        let errors = if chance(6) { 800 } else { 0 };
        let room = self.bench.disk.used_bytes() + 300_000 + self.rt.random_below(1_000_000);
        FaultPlan {
            write_errors_per_million: errors,
            sync_errors_per_million: errors,
            capacity_bytes: chance(3).then_some(room),
            slow_syncs_per_million: if chance(4) { 20_000 } else { 0 },
            slow_sync: Duration::from_millis(20),
            garbage_sector: chance(2),
            ..FaultPlan::default()
        }
    }

    /// Starts on a sound disk. `None` when the power failed before the start was done.
    async fn start(&self, plan: &FaultPlan) -> Option<Vec<RunningShard>> {
        self.bench.disk.set_plan(sound(plan));
        let patience = match self.rt.random_below(4) {
            0 => Duration::from_micros(self.rt.random_below(30_000)),
            _ => START_PATIENCE,
        };
        // Dropping it would cancel what a crash is to find under way.
        let mut starting = pin!(self.bench.try_start());
        match self.rt.timeout(patience, starting.as_mut()).await {
            Ok(started) => Some(started.unwrap_or_else(|error| panic!("the broker does not start: {error}"))),
            Err(_) => {
                assert!(patience < START_PATIENCE, "the start hangs");
                self.bench.sim.count("crash in starting");
                self.bench.crash();
                None
            }
        }
    }

    async fn end(&self, running: Vec<RunningShard>, plan: &FaultPlan) {
        match self.rt.random_below(5) {
            0 => {
                self.bench.disk.set_plan(sound(plan));
                self.bench.sim.count(if self.stop(running).await.is_ok() {
                    "clean stop"
                } else {
                    "stop failed"
                });
                self.bench.crash();
            }
            1 => {
                self.bench.sim.count("kill");
                self.bench.kill();
            }
            _ => self.bench.crash(),
        }
    }

    async fn stop(&self, running: Vec<RunningShard>) -> Result<(), StartError> {
        let outcome = self.rt.timeout(START_PATIENCE, self.bench.try_stop(running)).await;
        outcome.unwrap_or_else(|_| panic!("the stop hangs"))
    }

    /// A start without faults, after which everything is there, and after a clean stop again.
    async fn last_run(&self, topic: &Topic, plan: &FaultPlan) {
        for _ in 0..2 {
            self.bench.disk.set_plan(sound(plan));
            let running = self.bench.start().await;
            self.topics.check(&running[0].shard.view().image);
            self.read_all(topic).await;
            self.stop(running).await.expect("the disk is sound");
            self.bench.crash();
        }
    }

    fn start_clients(&self, topic: &Topic) {
        for producer in 0..3 {
            let producing = self.clone().produce(topic.clone(), producer);
            self.rt.spawn(Queue::Foreground, producing).detach();
        }
        self.rt.spawn(Queue::Foreground, self.clone().produce_in_order(topic.clone())).detach();
        for _ in 0..2 {
            self.rt.spawn(Queue::Foreground, self.clone().consume(topic.clone())).detach();
        }
    }

    /// A new connection, for as long as it takes.
    async fn connect(&self) -> Client {
        let network = Network::sim(&self.bench.network, &self.rt);
        loop {
            match network.connect(self.bench.options.listeners[0].listen).await {
                Ok(socket) => return Client::new(socket),
                Err(_) => self.rt.sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Produces values of its own until the world ends; after a failure, on a new connection.
    async fn produce(self, topic: Topic, producer: usize) {
        let mut client = self.connect().await;
        for number in 0u64.. {
            let partition = self.rt.random_below(SHARED as u64) as usize;
            let value = format!("{producer}/{number}/{}", "x".repeat(self.draw_size()));
            let produced = client.try_produce(&topic, partition as i32, &value);
            match self.rt.timeout(PATIENCE, produced).await {
                Ok(Some(Ok(offset))) => {
                    self.bench.sim.count("acknowledged");
                    self.ledgers[partition].borrow_mut().acknowledged.push((offset, value));
                }
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => client = self.connect().await,
            }
            self.rt.sleep(Duration::from_micros(self.rt.random_below(3000))).await;
        }
    }

    /// Mostly a few bytes, seldom many.
    fn draw_size(&self) -> usize {
        let size_max = if self.rt.random_below(8) == 0 { 20_000 } else { 200 };
        self.rt.random_below(size_max) as usize
    }

    /// The idempotent producer: several batches in flight, each sent again until it is acknowledged.
    async fn produce_in_order(self, topic: Topic) {
        let mut client = self.connect().await;
        loop {
            let sent = self.rt.timeout(PATIENCE, self.send_window(&mut client, &topic)).await;
            if !matches!(sent, Ok(Some(()))) {
                client = self.connect().await;
            }
            self.rt.sleep(Duration::from_micros(self.rt.random_below(4000))).await;
        }
    }

    /// Sends what is not acknowledged and some more; `None` when the connection is lost.
    async fn send_window(&self, client: &mut Client, topic: &Topic) -> Option<()> {
        let wanted = 1 + self.rt.random_below(IN_FLIGHT_MAX as u64) as usize;
        while self.unacknowledged.borrow().len() < wanted {
            let number = self.next_number.replace(self.next_number.get() + 1);
            self.unacknowledged.borrow_mut().push_back(number);
        }
        let window: Vec<i32> = self.unacknowledged.borrow().iter().copied().collect();
        for number in &window {
            client.try_send_produce(topic, IDEMPOTENT as i32, numbered(*number)).await?;
        }
        let mut failed = false;
        for number in window {
            match client.try_receive_produce().await? {
                // Behind one that failed while the disk was full, and is in the log all the same: both are sent again.
                Ok(_) if failed => {}
                Ok(offset) => self.acknowledge(number, offset),
                Err(code) => {
                    let lost = !failed && code == ErrorCode::OutOfOrderSequenceNumber;
                    assert!(!lost, "batch {number} is next and is said to be out of order");
                    failed = true;
                }
            }
        }
        Some(())
    }

    fn acknowledge(&self, number: i32, offset: i64) {
        assert_eq!(offset, i64::from(number), "each batch has one record, and its number is its offset");
        let mut ledger = self.ledgers[IDEMPOTENT].borrow_mut();
        if ledger.seen.len() > number as usize {
            self.bench.sim.count("duplicate answered");
        }
        ledger.acknowledged.push((offset, number.to_string()));
        let acknowledged = self.unacknowledged.borrow_mut().pop_front();
        assert_eq!(acknowledged, Some(number));
    }

    /// Reads from anywhere that was seen, waiting for more, until the world ends.
    async fn consume(self, topic: Topic) {
        let mut client = self.connect().await;
        loop {
            let partition = self.rt.random_below(PARTITIONS as u64) as usize;
            let seen = self.ledgers[partition].borrow().seen.len() as u64;
            let from = seen - self.rt.random_below(20.min(seen + 1));
            let wanted = [(partition as i32, from as i64)];
            let fetched = self.rt.timeout(PATIENCE, client.try_fetch(&topic, &wanted, 50)).await;
            match fetched {
                Ok(Some(fetched)) => self.note_fetched(partition, from as usize, &fetched),
                Ok(None) | Err(_) => client = self.connect().await,
            }
            self.rt.sleep(Duration::from_micros(self.rt.random_below(5000))).await;
        }
    }

    fn note_fetched(&self, partition: usize, from: usize, fetched: &FetchResponse) {
        match code_of(fetched) {
            Some(ErrorCode::None) => {
                self.ledgers[partition].borrow_mut().note_seen(from, values(fetched, partition as i32));
            }
            Some(ErrorCode::KafkaStorageError | ErrorCode::NotLeaderOrFollower) | None => {}
            Some(_) if self.is_deleted(partition, from, fetched) => {}
            Some(code) => panic!("a fetch of partition {partition} from {from} is answered with {code:?}"),
        }
    }

    /// Reads everything there is of every partition and holds it against the ledgers.
    async fn read_all(&self, topic: &Topic) {
        self.bench.network.set_plan(NetPlan::CALM);
        let mut client = self.connect().await;
        for (partition, ledger) in self.ledgers.iter().enumerate() {
            let (acknowledged, known) = {
                let ledger = ledger.borrow();
                (ledger.acknowledged.len(), ledger.seen.len())
            };
            let mut next = self.find_start(&mut client, topic, partition).await;
            loop {
                let fetched = client.fetch(topic, &[(partition as i32, next as i64)], 1, 0).await;
                if self.is_deleted(partition, next, &fetched) {
                    next = self.find_start(&mut client, topic, partition).await;
                    continue;
                }
                let values = values(&fetched, partition as i32);
                if values.is_empty() {
                    break;
                }
                let count = values.len();
                ledger.borrow_mut().note_seen(next, values);
                next += count;
            }
            assert!(next >= known, "partition {partition}: {known} were seen, {next} are there");
            ledger.borrow().check(acknowledged);
        }
        let numbers = self.ledgers[IDEMPOTENT].borrow();
        let in_order = numbers.seen.iter().enumerate().all(|(at, value)| *value == at.to_string());
        assert!(in_order, "each once and in order");
    }
}

/// How a fetch of one partition ended.
fn code_of(fetched: &FetchResponse) -> Option<ErrorCode> {
    let partition = fetched.responses.iter().flat_map(|topic| &topic.partitions).next()?;
    ErrorCode::from_code(partition.error_code)
}

/// The same disk without faults, but what its sectors hold after a crash.
fn sound(plan: &FaultPlan) -> FaultPlan {
    FaultPlan { garbage_sector: plan.garbage_sector, ..FaultPlan::default() }
}

/// A batch of one record that says its number.
fn numbered(number: i32) -> bytes::Bytes {
    let batch = BatchBuilder::new().producer(ProducerId(7), 0, number);
    batch.record(1_767_225_600_000, None, Some(number.to_string().as_bytes())).build()
}
