//! Random histories: clients with one transactional id between two of them, partitions, a log that is made safe bit by bit and
//! loses its tail in a crash, a network that loses answers and delivers requests twice and late.
//!
//! The reference is the partitions themselves. They know writes and markers and nothing of the coordinator, and show what
//! consumers would see. A client's transaction is a number: all that was written under it must end alike, and as its client
//! was told. What the log says is held to Kafka's transitions and to the fences that were told.

use super::*;
use hayate_rt::random::Prng;
use std::collections::VecDeque;

const IDS: [&str; 2] = ["x", "y"];

const CLIENTS: usize = 2 * IDS.len();

/// What happens in a history before all that is under way comes to its end.
const STEPS: usize = 800;

/// A transaction of a client: never used twice.
type Number = u64;

/// What was written in one partition by one producer, and is not ended.
#[derive(Debug, Default)]
struct OpenProducer {
    epoch: i16,
    open: Vec<Number>,
}

/// A partition as a consumer sees it.
#[derive(Debug, Default)]
struct Shown {
    producers: BTreeMap<ProducerId, OpenProducer>,
    ended: Vec<(Number, TxnOutcome)>,
}

impl Shown {
    /// Appends, if the producer's epoch is not past.
    fn append(&mut self, producer_id: ProducerId, epoch: i16, number: Number) -> bool {
        let producer = self.producers.entry(producer_id).or_default();
        if epoch < producer.epoch {
            return false;
        }
        producer.epoch = epoch;
        producer.open.push(number);
        true
    }

    /// A marker. One of an order from before a crash may come late: its epoch is past, or, in the second protocol, already
    /// that of the next transaction, and it is refused.
    fn mark(&mut self, order: &MarkerOrder) -> MarkerResult {
        let epoch = order.producer_epoch;
        let producer = self.producers.entry(order.producer_id).or_default();
        let is_next = order.version == TransactionVersion::EpochBump
            && epoch == producer.epoch
            && !producer.open.is_empty();
        if epoch < producer.epoch || is_next {
            return MarkerResult::Fenced;
        }
        producer.epoch = epoch;
        self.ended.extend(producer.open.drain(..).map(|number| (number, order.outcome)));
        MarkerResult::Written
    }
}

/// What a request is about, beside what it carries.
#[derive(Clone, Debug)]
struct Sent {
    client: usize,
    /// Answers to another than the client's last are not heard.
    serial: u64,
    number: Number,
    ask: Ask,
}

#[derive(Clone, Debug)]
enum Ask {
    Init {
        named: Option<(i64, i16)>,
    },
    /// A write: its leader adds the partition (or the client has), and then appends.
    Write {
        who: (i64, i16),
        partition: i32,
    },
    End {
        who: (i64, i16),
        committed: bool,
    },
}

#[derive(Debug)]
struct Client {
    id: &'static str,
    is_v2: bool,
    who: Option<(i64, i16)>,
    number: Number,
    wrote: bool,
    serial: u64,
    /// What it waits for, to ask again until it is answered.
    asked: Option<Sent>,
}

/// Effects that wait for the log to be safe.
struct Unsettled {
    end: usize,
    answers: Vec<(Token, TxnAnswer)>,
    orders: Vec<MarkerOrder>,
}

/// What was met, over all histories.
#[derive(Debug, Default)]
struct Met {
    commits: u64,
    aborts: u64,
    crashes: u64,
    resumed: u64,
    timed_out: u64,
    fenced: u64,
    fenced_markers: u64,
    renamed: u64,
    late: u64,
    lost_records: u64,
    refused_appends: u64,
    torn: u64,
}

struct History {
    prng: Prng,
    rig: Rig,
    safe: usize,
    unsettled: VecDeque<Unsettled>,
    waiting: BTreeMap<Token, Sent>,
    /// Requests under way.
    network: Vec<Sent>,
    /// Writes whose partitions were added, and that their leaders have yet to append.
    appending: Vec<Sent>,
    /// Orders under way.
    marking: Vec<MarkerOrder>,
    shown: BTreeMap<i32, Shown>,
    clients: Vec<Client>,
    numbers: Number,
    /// How a client was told that its transaction ended.
    told: BTreeMap<Number, TxnOutcome>,
    /// The decisions that were carried out, by where they stand.
    decided: BTreeMap<Offset, (TxnOutcome, Partitions)>,
    met: Met,
}

impl History {
    fn new(seed: u64, is_v2: bool) -> History {
        let clients = (0..CLIENTS).map(|number| Client {
            id: IDS[number % IDS.len()],
            is_v2,
            who: None,
            number: 0,
            wrote: false,
            serial: 0,
            asked: None,
        });
        let mut rig = Rig::new(LEVEL);
        // The one is near its last epoch.
        let mut value = Step::first(ProducerId(500), 60_000, 1_000_000).value;
        value.producer_epoch = 32_755;
        let record = TxnRecord { transactional_id: "x".to_owned(), value: Some(value) };
        rig.machine.apply(&record, Offset(0));
        rig.log.push(record);
        rig.moment.log_end = Offset(1);
        History {
            prng: Prng::new(seed),
            rig,
            safe: 1,
            unsettled: VecDeque::new(),
            waiting: BTreeMap::new(),
            network: Vec::new(),
            appending: Vec::new(),
            marking: Vec::new(),
            shown: (0..4).map(|partition| (partition, Shown::default())).collect(),
            clients: clients.collect(),
            numbers: 0,
            told: BTreeMap::new(),
            decided: BTreeMap::new(),
            met: Met::default(),
        }
    }

    fn run(mut self) -> Met {
        for _ in 0..STEPS {
            self.happen();
        }
        self.settle();
        self.check();
        self.met
    }

    fn happen(&mut self) {
        match self.prng.below(100) {
            0..=24 => self.client_acts(),
            25..=44 => self.deliver(),
            45..=54 => self.append(),
            55..=69 => self.make_safe(),
            70..=91 => self.mark(),
            92..=97 => self.time_passes(),
            98 => self.lose_answers(),
            _ => self.crash(),
        }
    }

    /// A client sends what it wants, or again what it was not answered. A copy may come late.
    fn client_acts(&mut self) {
        let number = self.prng.below(IDS.len() as u64) as usize;
        // Of two with the same transactional id the second comes seldom: each time they shut each other out.
        let number = if self.prng.chance(1, 30) { number + IDS.len() } else { number };
        let is_new = self.clients[number].asked.is_none();
        if is_new {
            let ask = self.wish(number);
            let client = &mut self.clients[number];
            client.serial += 1;
            client.asked = Some(Sent { client: number, serial: client.serial, number: client.number, ask });
        }
        let sent = self.clients[number].asked.clone().filter(|_| is_new || self.prng.chance(1, 3));
        self.network.extend(sent);
    }

    fn wish(&mut self, number: usize) -> Ask {
        let (roll, partition) = (self.prng.below(20), self.prng.below(4) as i32);
        let client = &mut self.clients[number];
        let Some(who) = client.who else { return Ask::Init { named: None } };
        if !client.wrote {
            self.numbers += 1;
            client.number = self.numbers;
        }
        match roll {
            0 if client.is_v2 => Ask::Init { named: Some(who) },
            1..=8 if client.wrote => Ask::End { who, committed: roll > 2 },
            _ => {
                client.wrote = true;
                Ask::Write { who, partition }
            }
        }
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let mut at = self.network.len() - 1;
        if self.prng.chance(1, 5) {
            at = self.prng.below(at as u64 + 1) as usize;
        }
        let is_late = self.network[at].serial != self.clients[self.network[at].client].serial;
        self.met.late += u64::from(is_late);
        let sent =
            if self.prng.chance(1, 4) { self.network[at].clone() } else { self.network.swap_remove(at) };
        self.ask(sent);
    }

    fn ask(&mut self, sent: Sent) {
        let is_v2 = self.clients[sent.client].is_v2;
        let id = self.clients[sent.client].id;
        let fresh = Some(ProducerId(self.rig.fresh));
        self.rig.fresh += 1;
        let request = match &sent.ask {
            Ask::Init { named } => {
                TxnRequest::InitProducerId { version: 5, request: init(id, *named, 60_000), fresh }
            }
            Ask::Write { who, partition } => {
                let partitions = Partitions::from([("t".to_owned(), BTreeSet::from([*partition]))]);
                let version = if is_v2 { 5 } else { 3 };
                TxnRequest::AddPartitions { version, transaction: transaction(id, *who, &partitions) }
            }
            Ask::End { who, committed } => {
                let version = if is_v2 { 5 } else { 4 };
                TxnRequest::EndTxn { version, request: end(id, *who, *committed), fresh }
            }
        };
        self.rig.tokens += 1;
        let token = Token(self.rig.tokens);
        self.waiting.insert(token, sent.clone());
        let present = self.present(id);
        let before = self.rig.log.len();
        self.step(|machine, moment, effects| machine.handle(moment, token, request, effects));
        let decided = self.rig.log[before..].iter().filter_map(|record| record.value.as_ref());
        if decided.into_iter().any(|value| value.state == TxnState::PrepareCommit) {
            let Ask::End { who, committed: true } = sent.ask else { panic!("{sent:?} commits") };
            assert_eq!(Some(who), present, "an epoch that was fenced commits nothing");
        }
    }

    /// The producer that the log has last.
    fn present(&self, id: &str) -> Option<(i64, i16)> {
        let last = self.rig.log.iter().rfind(|record| record.transactional_id == id);
        last.and_then(|record| record.value.as_ref()).map(|value| (value.producer_id.0, value.producer_epoch))
    }

    fn step(&mut self, take: impl FnOnce(&mut Transactions, &Moment, &mut TxnEffects)) {
        let before = self.rig.log.len();
        let mut effects = TxnEffects::default();
        take(&mut self.rig.machine, &self.rig.moment, &mut effects);
        self.rig.log.extend(effects.writes.into_iter().flat_map(|write| write.records));
        self.rig.moment.log_end = Offset(self.rig.log.len() as i64);
        for at in before..self.rig.log.len() {
            self.check_transition(at);
        }
        let end = self.rig.log.len();
        self.unsettled.push_back(Unsettled { end, answers: effects.answers, orders: effects.orders });
        self.release();
    }

    fn release(&mut self) {
        while self.unsettled.front().is_some_and(|first| first.end <= self.safe) {
            let Some(first) = self.unsettled.pop_front() else { return };
            for order in first.orders {
                self.check_decision(&order);
                self.marking.push(order);
            }
            for (token, answer) in first.answers {
                if let Some(sent) = self.waiting.remove(&token) {
                    self.hear(&sent, answer);
                }
            }
        }
    }

    fn make_safe(&mut self) {
        let rest = (self.rig.log.len() - self.safe) as u64;
        self.safe += self.prng.below(rest + 1) as usize;
        self.release();
    }

    /// An answer: a leader may append now; a client hears it if it still waits for it.
    fn hear(&mut self, sent: &Sent, answer: TxnAnswer) {
        let (code, identity) = read(&answer);
        if code == 0 && matches!(sent.ask, Ask::Write { .. }) {
            self.appending.push(sent.clone());
        } else if code != ErrorCode::ConcurrentTransactions.code() {
            self.tell(sent, code, identity);
        }
    }

    /// A leader appends what it was let, if its epoch is not past by now.
    fn append(&mut self) {
        if self.appending.is_empty() {
            return;
        }
        let at = self.prng.below(self.appending.len() as u64) as usize;
        let sent = self.appending.swap_remove(at);
        let Ask::Write { who, partition } = sent.ask else { return };
        let shown = self.shown.get_mut(&partition).expect("four partitions");
        let is_appended = shown.append(ProducerId(who.0), who.1, sent.number);
        self.met.refused_appends += u64::from(!is_appended);
        let code = if is_appended { ErrorCode::None } else { ErrorCode::InvalidProducerEpoch };
        self.tell(&sent, code.code(), (-1, -1));
    }

    fn tell(&mut self, sent: &Sent, code: i16, identity: (i64, i16)) {
        let client = &mut self.clients[sent.client];
        if client.serial == sent.serial && client.asked.take().is_some() {
            self.react(sent, code, identity);
        }
    }

    fn react(&mut self, sent: &Sent, code: i16, identity: (i64, i16)) {
        let client = &mut self.clients[sent.client];
        match &sent.ask {
            Ask::Init { .. } if code == 0 => {
                client.who = Some(identity);
                client.wrote = false;
            }
            Ask::End { committed, .. } if code == 0 => {
                let outcome = if *committed { TxnOutcome::Commit } else { TxnOutcome::Abort };
                self.told.insert(sent.number, outcome);
                client.wrote = false;
                self.met.renamed +=
                    u64::from(client.is_v2 && client.who.is_some_and(|who| who.0 != identity.0));
                if client.is_v2 {
                    client.who = Some(identity);
                }
            }
            Ask::Write { .. } if code == 0 => {}
            // Fenced, timed out or confused: it begins anew.
            Ask::Init { .. } | Ask::Write { .. } | Ask::End { .. } => {
                client.who = None;
                client.wrote = false;
            }
        }
    }

    /// Writes some of the markers of an order, and reports; or fails to.
    fn mark(&mut self) {
        if self.marking.is_empty() {
            return;
        }
        let at = self.prng.below(self.marking.len() as u64) as usize;
        let mut order = self.marking[at].clone();
        let Some(mut numbers) = order.partitions.remove("t") else {
            self.marking.swap_remove(at);
            return;
        };
        let Some(partition) = numbers.pop_first() else {
            self.marking.swap_remove(at);
            return;
        };
        self.marking[at].partitions.insert("t".to_owned(), numbers);
        let mut result = MarkerResult::Again;
        if self.prng.chance(4, 5) {
            result = self.shown.get_mut(&partition).expect("four partitions").mark(&order);
            self.met.fenced_markers += u64::from(result == MarkerResult::Fenced);
            // What was written may be reported as uncertain.
            if self.prng.chance(1, 6) {
                result = MarkerResult::Again;
            }
        }
        self.step(|machine, moment, effects| {
            let results = [("t", partition, result)];
            machine.markers_written(moment, &order.transactional_id, order.decided_at, results, effects);
        });
    }

    fn time_passes(&mut self) {
        let ms = if self.prng.chance(1, 30) { 70_000 } else { 150 };
        self.wait(ms);
    }

    fn wait(&mut self, ms: u64) {
        let until = self.rig.moment.now + Duration::from_millis(ms);
        while let Some(at) = self.rig.machine.next_deadline().filter(|at| *at <= until) {
            self.rig.pass(at.since(self.rig.moment.now));
            self.step(|machine, moment, effects| machine.on_time(moment, effects));
        }
        self.rig.pass(until.since(self.rig.moment.now));
        let counters = self.rig.machine.counters;
        (self.met.timed_out, self.met.fenced) =
            (self.met.timed_out.max(counters.timed_out), self.met.fenced.max(counters.fenced));
    }

    fn lose_answers(&mut self) {
        self.waiting.clear();
    }

    /// The process dies: the log loses a part of what was not safe. Orders under way may still reach their partitions.
    fn crash(&mut self) {
        self.met.crashes += 1;
        let rest = (self.rig.log.len() - self.safe) as u64;
        let kept = self.safe + self.prng.below(rest + 1) as usize;
        self.met.lost_records += (self.rig.log.len() - kept) as u64;
        self.rig.log.truncate(kept);
        self.safe = kept;
        self.rig.moment.log_end = Offset(kept as i64);
        self.waiting.clear();
        self.unsettled.clear();
        self.rig.machine = self.rig.replayed();
        self.met.resumed += self.rig.machine.gauges().preparing as u64;
        self.step(|machine, moment, effects| machine.loaded(moment, effects));
        self.make_all_safe();
    }

    fn make_all_safe(&mut self) {
        self.safe = self.rig.log.len();
        self.release();
    }

    /// All that is under way comes to an end.
    fn settle(&mut self) {
        while let Some(sent) = self.network.pop() {
            self.ask(sent);
            self.make_all_safe();
        }
        while !self.appending.is_empty() {
            self.append();
        }
        // Long enough for every transaction to take too long, twice.
        for _ in 0..10 {
            self.wait(80_000);
            self.make_all_safe();
            for _ in 0..1000 {
                self.mark();
                self.make_all_safe();
                self.wait(100);
            }
        }
    }

    /// Markers of a decision have its outcome, whenever they are ordered, and go nowhere else.
    fn check_decision(&mut self, order: &MarkerOrder) {
        let (outcome, partitions) =
            self.decided.entry(order.decided_at).or_insert_with(|| (order.outcome, order.partitions.clone()));
        assert_eq!(*outcome, order.outcome, "decided once: {order:?}");
        for (topic, numbers) in &order.partitions {
            assert!(numbers.is_subset(&partitions[topic]), "decided once: {order:?}");
        }
    }

    /// A record follows the one before by Kafka's transitions, and goes back behind no epoch.
    fn check_transition(&mut self, at: usize) {
        let record = &self.rig.log[at];
        let mut before = self.rig.log[..at].iter().rev();
        let before = before.find(|before| before.transactional_id == record.transactional_id);
        let (Some(before), Some(value)) = (before.and_then(|record| record.value.as_ref()), &record.value)
        else {
            return;
        };
        use TxnState::{CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit};
        let may_follow: &[TxnState] = match value.state {
            Ongoing | PrepareAbort => &[Empty, Ongoing, CompleteCommit, CompleteAbort],
            PrepareCommit => &[Ongoing],
            CompleteCommit => &[PrepareCommit],
            CompleteAbort => &[PrepareAbort],
            Empty => &[Empty, CompleteCommit, CompleteAbort],
            TxnState::Dead | TxnState::PrepareEpochFence => &[],
        };
        assert!(may_follow.contains(&before.state), "{before:?} to {value:?}");
        assert_eq!(value.previous_producer_id, before.producer_id);
        let follows = value.producer_id != before.producer_id && value.producer_epoch == 0;
        assert!(follows || value.producer_epoch >= before.producer_epoch, "{before:?} to {value:?}");
        match value.state {
            PrepareCommit => self.met.commits += 1,
            PrepareAbort => self.met.aborts += 1,
            Empty
            | Ongoing
            | CompleteCommit
            | CompleteAbort
            | TxnState::Dead
            | TxnState::PrepareEpochFence => {}
        }
    }

    /// What consumers see at the end.
    fn check(&mut self) {
        assert_eq!(self.rig.machine.gauges().ongoing, 0, "every transaction ends");
        assert_eq!(self.rig.machine.gauges().preparing, 0, "every decision is carried out");
        let mut outcomes: BTreeMap<Number, BTreeSet<TxnOutcome>> = BTreeMap::new();
        for shown in self.shown.values() {
            let open = shown.producers.values().filter(|producer| !producer.open.is_empty()).count();
            self.met.torn += open as u64;
            for (number, outcome) in &shown.ended {
                outcomes.entry(*number).or_default().insert(*outcome);
            }
        }
        for (number, seen) in outcomes {
            let is_one = seen.len() == 1;
            let is_as_told = self.told.get(&number).is_none_or(|told| seen.contains(told));
            self.met.torn += u64::from(!is_one || !is_as_told);
        }
    }
}

fn read(answer: &TxnAnswer) -> (i16, (i64, i16)) {
    match answer {
        TxnAnswer::InitProducerId(response) => {
            (response.error_code, (response.producer_id.0, response.producer_epoch))
        }
        TxnAnswer::EndTxn(response) => {
            (response.error_code, (response.producer_id.0, response.producer_epoch))
        }
        TxnAnswer::AddPartitions(result) => {
            (result.topic_results[0].results_by_partition[0].partition_error_code, (-1, -1))
        }
        other => panic!("nobody asked for {other:?}"),
    }
}

#[test]
fn no_history_tears_or_hangs_a_transaction_kip_890() {
    let mut all = Met::default();
    for seed in 0..2000 {
        let met = History::new(seed, true).run();
        assert_eq!(met.torn, 0, "seed {seed}: {met:?}");
        add(&mut all, &met);
    }
    let reached = [
        all.commits,
        all.aborts,
        all.crashes,
        all.resumed,
        all.timed_out,
        all.fenced,
        all.renamed,
        all.late,
        all.lost_records,
        all.refused_appends,
    ];
    assert!(reached.iter().all(|count| *count > 0), "{all:?}");
}

/// The histories are wild enough, and their check sharp enough: clients of the first protocol are torn by them, as Kafka's
/// are (KAFKA-17754).
#[test]
fn the_same_histories_tear_transactions_of_the_first_protocol_kafka_17754() {
    let torn = (0..100).filter(|seed| History::new(*seed, false).run().torn > 0).count();
    assert!(torn > 0, "{torn} of 100");
}

fn add(all: &mut Met, met: &Met) {
    let Met { commits, aborts, crashes, resumed, timed_out, fenced, fenced_markers, .. } = met;
    all.commits += commits;
    all.aborts += aborts;
    all.crashes += crashes;
    all.resumed += resumed;
    all.timed_out += timed_out;
    all.fenced += fenced;
    all.fenced_markers += fenced_markers;
    all.renamed += met.renamed;
    all.late += met.late;
    all.lost_records += met.lost_records;
    all.refused_appends += met.refused_appends;
}
