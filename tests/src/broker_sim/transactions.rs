//! One life of a broker with transactional producers, who are shut out by their twins, take too long, send late and go on through crashes.
//! What a transaction wrote into two partitions, and the offsets it commits, is seen whole or not at all, and as its producer was told;
//! what a reader of committed records has seen neither changes nor goes away, and nobody is kept from reading for good.

use super::producer::{
    BOTH, Producer, Protocol, committed_fetch, committed_values, offset_fetch, offset_of, text,
};
use super::{Bench, CLIENT, Client, HOUR, Topic, records_from, values};
use crate::campaign::Outcome;
use hayate_engine::broker::{BrokerOptions, RunningShard};
use hayate_net::error::ErrorCode;
use hayate_net::socket::sim::NetPlan;
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::scan::{BatchScan, Checksums};
use hayate_storage::mutants::{Mutant, activate};
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::FindCoordinatorRequest;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// Faults and states that a campaign must have reached, each at least once.
pub const MUST_REACH: &[&str] = &[
    "told of a commit",
    "told of an abort",
    "not told, committed",
    "not told, aborted",
    "shut out",
    "took too long",
    "came late",
    "decided before a crash, ended after",
    "crash",
    "kill",
    "clean stop",
];

const PARTITIONS: i32 = 2;
/// The transactional ids, each with a group of its own. The first has two producers.
const IDS: [(&str, &str); 3] = [("a", "of-a"), ("b", "of-b"), ("c", "of-c")];
/// Where batches go that come late.
const LATE_TO: usize = 1;
/// How long a transaction may be open.
const TIMEOUT_MS: i32 = 2_000;
/// How long the broker may take to end everything once nobody begins anything.
const SETTLING: Duration = Duration::from_secs(60);

/// How a transaction ended, as its producer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It never asked for a commit.
    NoCommit,
    /// It asked for a commit, and does not know.
    Nothing,
    /// It is committed.
    Commit,
}

/// One transaction.
#[derive(Debug)]
struct Written {
    id: &'static str,
    told: Told,
    /// What was acknowledged, by partition.
    values: [Vec<String>; 2],
    /// What may be there beside it: it came late, into partition [`LATE_TO`], and nobody was told.
    late: Option<String>,
    commits_offset: bool,
}

/// What is known from outside.
#[derive(Default)]
struct Ledger {
    /// By number, never used twice.
    written: BTreeMap<i64, Written>,
    /// What readers of committed records have seen, by partition.
    seen: [Vec<String>; 2],
    /// The last stable offsets that they were told.
    stable: [i64; 2],
}

impl Ledger {
    fn note_seen(&mut self, partition: usize, values: Vec<String>) {
        let known = &mut self.seen[partition];
        assert!(values.starts_with(known), "partition {partition}: {known:?} became {values:?}");
        *known = values;
    }
}

#[derive(Clone)]
struct Life {
    bench: Bench,
    rt: Rt,
    ledger: Rc<RefCell<Ledger>>,
    ends: Rc<Cell<bool>>,
    /// Producers that have not stopped yet.
    producers: Rc<Cell<usize>>,
}

/// Lives one life, with a defect or without.
pub fn run_seed(seed: u64, mutant: Option<Mutant>) -> Outcome {
    activate(mutant);
    let bench = Bench::new(seed, 1 + (seed % 2) as u16, make_quick);
    let sim = bench.sim.clone();
    let rt = Rt::sim(sim.node(CLIENT));
    let (ledger, ends, producers) = (Rc::default(), Rc::default(), Rc::default());
    let life = Life { bench, rt, ledger, ends, producers };
    let outcome = sim.run(HOUR, life.live(seed));
    sim.end();
    activate(None);
    let broken = outcome.err().map(|stalled| format!("the broker hangs: {stalled:?}"));
    Outcome { broken, counts: sim.counts(), trace: sim.trace_hash(), steps: sim.steps() }
}

/// Nobody shuts out a producer without a twin: what it writes in time is refused by nobody.
fn check_refusal(id: &str, code: ErrorCode) {
    let may_be_shut_out = id == IDS[0].0;
    assert!(may_be_shut_out || code == ErrorCode::NetworkException, "{id} was refused: {}", code.name());
}

fn make_quick(options: &mut BrokerOptions) {
    options.internal_topics.offsets.partitions = 3;
    options.internal_topics.transactions.partitions = 3;
    options.transactions.abort_interval = Duration::from_millis(500);
}

impl Life {
    async fn live(self, seed: u64) {
        let mut running = self.bench.start().await;
        let mut client = self.bench.client().await;
        let topic = client.create_topic("kept", PARTITIONS).await;
        self.start_clients(&topic, seed);
        self.bench.network.set_plan(if seed.is_multiple_of(3) { NetPlan::ROUGH } else { NetPlan::CALM });
        for _ in 0..6 {
            self.rt.sleep(Duration::from_millis(50 + self.rt.random_below(250))).await;
            running = self.restart(running).await;
        }
        self.rt.sleep(Duration::from_millis(400)).await;
        self.bench.network.set_plan(NetPlan::CALM);
        self.ends.set(true);
        while self.producers.get() > 0 {
            self.rt.sleep(Duration::from_millis(20)).await;
        }
        // A last one may be open still, or be decided and not ended.
        running = self.restart(running).await;
        let mut client = self.bench.client().await;
        self.settle(&mut client, &topic).await;
        self.check(&mut client, &topic).await;
        self.bench.stop(running).await;
    }

    async fn restart(&self, running: Vec<RunningShard>) -> Vec<RunningShard> {
        match self.rt.random_below(4) {
            0 => {
                self.rt.reached("clean stop");
                self.bench.stop(running).await;
                self.bench.crash();
            }
            1 => {
                self.rt.reached("kill");
                drop(running);
                self.bench.kill();
            }
            _ => {
                self.rt.reached("crash");
                drop(running);
                self.bench.crash();
            }
        }
        self.bench.start().await
    }

    fn start_clients(&self, topic: &Topic, seed: u64) {
        let twins = [IDS[0], IDS[0], IDS[1], IDS[2]];
        self.producers.set(twins.len());
        for (number, id) in (0..).zip(twins) {
            let (life, topic) = (self.clone(), topic.clone());
            let protocol = BOTH[usize::from((seed + number).is_multiple_of(2))];
            let writing = async move {
                while !life.ends.get() {
                    life.write(protocol, id, &topic).await;
                }
                life.producers.set(life.producers.get() - 1);
            };
            self.rt.spawn(Queue::Foreground, writing).detach();
        }
        let (life, topic) = (self.clone(), topic.clone());
        self.rt.spawn(Queue::Foreground, async move { life.watch(&topic).await }).detach();
    }

    /// Transactions of one producer, until something goes wrong.
    async fn write(&self, protocol: Protocol, id: (&'static str, &'static str), topic: &Topic) {
        let pause = Duration::from_millis(1 + self.rt.random_below(120));
        self.rt.sleep(pause).await;
        let Ok(mut producer) = Producer::begin(&self.bench, protocol, id, TIMEOUT_MS).await else { return };
        while !self.ends.get() {
            if let Err(code) = self.transact(&mut producer, topic).await {
                let is_fenced = matches!(code, ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch);
                self.rt.reached(if is_fenced { "shut out" } else { code.name() });
                return;
            }
        }
    }

    async fn transact(&self, producer: &mut Producer, topic: &Topic) -> Result<(), ErrorCode> {
        let number = self.begin(producer.id);
        for place in 0..1 + self.rt.random_below(4) {
            let partition = self.rt.random_below(2) as usize;
            let value = format!("{number}/{place}");
            let sent = producer.send(topic, partition as i32, &[&value]).await;
            sent.inspect_err(|code| check_refusal(producer.id, *code))?;
            self.note(number, |written| written.values[partition].push(value));
        }
        if self.rt.random_below(2) == 0 {
            let committed = producer.commit_offset(topic, number).await;
            committed.inspect_err(|code| check_refusal(producer.id, *code))?;
            self.note(number, |written| written.commits_offset = true);
        }
        if self.rt.random_below(12) == 0 {
            self.rt.reached("took too long");
            self.rt.sleep(Duration::from_millis(2 * u64::from(TIMEOUT_MS.unsigned_abs()))).await;
        }
        let commits = self.rt.random_below(3) > 0;
        let value = format!("{number}/late");
        let late = (self.rt.random_below(4) == 0).then(|| producer.batch(LATE_TO as i32, &[&value]));
        if commits {
            self.note(number, |written| written.told = Told::Nothing);
        }
        producer.end(commits).await?;
        if commits {
            self.note(number, |written| written.told = Told::Commit);
        }
        self.rt.reached(if commits { "told of a commit" } else { "told of an abort" });
        if let Some(late) = late {
            if self.rt.random_below(2) == 0 {
                self.rt.sleep(Duration::from_millis(self.rt.random_below(20))).await;
            }
            self.send_late(producer, topic, number, late).await?;
        }
        Ok(())
    }

    /// A request that was held up on its way: the end of its transaction is decided. Until the marker has come to its partition it is
    /// taken, as Kafka takes it, and is part of that transaction; from then on it is refused.
    async fn send_late(
        &self,
        producer: &mut Producer,
        topic: &Topic,
        number: i64,
        late: bytes::Bytes,
    ) -> Result<(), ErrorCode> {
        let value = format!("{number}/late");
        match producer.produce(producer.produce_version(), topic, LATE_TO as i32, late).await {
            Ok(_) => {
                self.rt.reached("came late, before the marker");
                self.note(number, |written| written.values[LATE_TO].push(value));
                // Its sequence is used, and under the first protocol the next batch has to follow it.
                producer.skip(LATE_TO);
                Ok(())
            }
            Err(ErrorCode::NetworkException) => {
                self.note(number, |written| written.late = Some(value));
                Err(ErrorCode::NetworkException)
            }
            Err(_) => {
                self.rt.reached("came late");
                Ok(())
            }
        }
    }

    fn begin(&self, id: &'static str) -> i64 {
        let written = &mut self.ledger.borrow_mut().written;
        let number = written.len() as i64;
        let values = [Vec::new(), Vec::new()];
        written
            .insert(number, Written { id, told: Told::NoCommit, values, late: None, commits_offset: false });
        number
    }

    fn note(&self, number: i64, change: impl FnOnce(&mut Written)) {
        if let Some(written) = self.ledger.borrow_mut().written.get_mut(&number) {
            change(written);
        }
    }

    /// Reads what is committed, again and again.
    async fn watch(&self, topic: &Topic) {
        while !self.ends.get() {
            self.rt.sleep(Duration::from_millis(10 + self.rt.random_below(30))).await;
            let Some(mut client) = self.bench.try_client().await else { continue };
            for partition in 0..PARTITIONS {
                let request = committed_fetch(topic, partition);
                let asking = client.try_ask(17, &request);
                let Ok(Some(response)) = self.rt.timeout(Duration::from_secs(2), asking).await else { break };
                self.look(&response, partition);
            }
        }
    }

    fn look(&self, response: &FetchResponse, partition: i32) {
        let fetched = &response.responses[0].partitions[0];
        if fetched.error_code != 0 {
            return;
        }
        let mut ledger = self.ledger.borrow_mut();
        let stable = &mut ledger.stable[partition as usize];
        assert!(fetched.last_stable_offset >= *stable, "the last stable offset goes back");
        *stable = fetched.last_stable_offset;
        ledger.note_seen(partition as usize, committed_values(response, partition));
    }

    /// Waits until nothing is open any more: at the latest when it has taken too long.
    async fn settle(&self, client: &mut Client, topic: &Topic) {
        let deadline = self.rt.now() + SETTLING;
        for partition in 0..PARTITIONS {
            loop {
                let response = client.ask(17, &committed_fetch(topic, partition)).await;
                let fetched = &response.responses[0].partitions[0];
                if fetched.last_stable_offset == fetched.high_watermark {
                    break;
                }
                assert!(self.rt.now() < deadline, "partition {partition} hangs");
                self.rt.sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn check(&self, client: &mut Client, topic: &Topic) {
        let mut visible = BTreeSet::new();
        for partition in 0..PARTITIONS {
            let response = client.ask(17, &committed_fetch(topic, partition)).await;
            self.look(&response, partition);
            self.count_resumed(&response, partition);
            Self::check_apart(&response, partition);
            for value in &self.ledger.borrow().seen[partition as usize] {
                let (number, _) = value.split_once('/').expect("NUMBER/PLACE");
                visible.insert(number.parse::<i64>().expect("a number"));
            }
        }
        self.check_whole(&visible);
        for (id, group) in IDS {
            self.check_offset(client, topic, (id, group), &visible).await;
        }
    }

    /// Each transaction is seen whole or not at all, and as its producer was told.
    fn check_whole(&self, visible: &BTreeSet<i64>) {
        let ledger = self.ledger.borrow();
        for (number, written) in &ledger.written {
            let is_visible = visible.contains(number);
            match written.told {
                Told::NoCommit => assert!(!is_visible, "{number} was never committed: {written:?}"),
                Told::Commit => assert!(is_visible, "{number} was committed: {written:?}"),
                Told::Nothing if is_visible => self.rt.reached("not told, committed"),
                Told::Nothing => self.rt.reached("not told, aborted"),
            }
            let begins = format!("{number}/");
            for (seen, values) in ledger.seen.iter().zip(&written.values) {
                let seen = seen.iter().filter(|value| value.starts_with(&begins));
                let seen = seen.filter(|value| written.late.as_ref() != Some(value));
                let expected: &[String] = if is_visible { values } else { &[] };
                assert!(seen.eq(expected), "{number} is torn: {written:?}");
            }
        }
    }

    /// The group has read as far as the last transaction of that id says that was committed.
    async fn check_offset(
        &self,
        client: &mut Client,
        topic: &Topic,
        (id, group): (&str, &str),
        visible: &BTreeSet<i64>,
    ) {
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        client.ask(6, &find).await;
        let deadline = self.rt.now() + SETTLING;
        let found = loop {
            match offset_of(&client.ask(8, &offset_fetch(group, topic, true)).await) {
                Err(ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnstableOffsetCommit) => {
                    assert!(self.rt.now() < deadline, "the offsets of {group} hang");
                    self.rt.sleep(Duration::from_millis(20)).await;
                }
                outcome => break outcome.expect("an offset"),
            }
        };
        let ledger = self.ledger.borrow();
        let committed = ledger.written.iter().filter(|(number, written)| {
            written.id == id && written.commits_offset && visible.contains(number)
        });
        let expected = committed.map(|(number, _)| *number).next_back().unwrap_or(-1);
        assert_eq!(found, expected, "the offset of {group}");
    }

    /// Between two markers of a producer lies one transaction, and nothing of another, however late it came.
    fn check_apart(response: &FetchResponse, partition: i32) {
        let records = records_from(response, partition);
        let mut open = BTreeMap::new();
        for batch in BatchScan::new(&records, Checksums::Verify) {
            let producer = batch.header.producer_id;
            if batch.header.is_control() {
                open.remove(&producer);
                continue;
            }
            let mut alone = response.clone();
            alone.responses[0].partitions[0].records = Some(bytes::Bytes::copy_from_slice(batch.bytes));
            for value in values(&alone, partition) {
                let (number, _) = value.split_once('/').expect("NUMBER/PLACE");
                let of = open.entry(producer).or_insert_with(|| number.to_owned());
                assert_eq!(of, number, "a batch is in the transaction after its own");
            }
        }
    }

    /// Counts transactions whose markers another leader wrote than their records.
    fn count_resumed(&self, response: &FetchResponse, partition: i32) {
        let records = records_from(response, partition);
        let mut open = BTreeMap::new();
        for batch in BatchScan::new(&records, Checksums::Verify) {
            let (producer, epoch) = (batch.header.producer_id, batch.header.partition_leader_epoch);
            if !batch.header.is_control() {
                open.entry(producer).or_insert(epoch);
            } else if open.remove(&producer).is_some_and(|began| began < epoch) {
                self.rt.reached("decided before a crash, ended after");
            }
        }
    }
}
