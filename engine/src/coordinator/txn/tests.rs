//! A coordinator over a log in memory, and scripts of what it is asked and what it answers.
//!
//! A script has a command a line, with the answer after `=>`; the words are those of [`Rig::run`]. What is learned of Kafka is
//! in `scenarios`, what must hold in any order of events in `history`.

mod history;
mod scenarios;

use super::*;
use crate::metadata::image::{MetadataImage, Position, Replay};
use crate::metadata::records::{FeatureLevelRecord, MetadataRecord, PartitionRecord, TopicRecord};
use hayate_storage::batch::LeaderEpoch;
use hayate_storage::producers::TransactionVersion;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{GroupId, ListTransactionsRequest, TopicName, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use std::fmt::Write as _;
use uuid::Uuid;

/// The protocol level that these tests' clusters have agreed on, unless they say otherwise.
const LEVEL: i16 = 2;

/// A cluster with topics of four partitions each.
fn image(level: i16, topics: &[&str]) -> Arc<MetadataImage> {
    let mut records: Vec<MetadataRecord> = Vec::new();
    if level > 0 {
        let name = "transaction.version".to_owned();
        records.push(FeatureLevelRecord { name, feature_level: level }.into());
    }
    for (number, topic) in (1..).zip(topics) {
        let topic_id = Uuid::from_u128(number);
        records.push(TopicRecord { name: (*topic).to_owned(), topic_id }.into());
        records.extend((0..4).map(|partition| partition_of(topic_id, partition)));
    }
    let mut replay = Replay::new(MetadataImage::empty("cluster"));
    for (offset, record) in (0..).zip(&records) {
        let at = Position { offset: Offset(offset), epoch: LeaderEpoch(1) };
        replay.apply(record, at).expect("fits");
    }
    replay.take().expect("no transaction is open").0
}

fn partition_of(topic_id: Uuid, partition_id: i32) -> MetadataRecord {
    PartitionRecord {
        partition_id,
        topic_id,
        replicas: vec![1],
        isr: vec![1],
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: 1,
        leader_recovery_state: 0,
        leader_epoch: 4,
        partition_epoch: 6,
        directories: vec![],
        eligible_leader_replicas: None,
        last_known_elr: None,
    }
    .into()
}

fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn kafka_id(id: ProducerId) -> kafka_protocol::messages::ProducerId {
    kafka_protocol::messages::ProducerId(id.0)
}

fn init(id: &str, named: Option<(i64, i16)>, timeout_ms: i32) -> InitProducerIdRequest {
    let (producer_id, epoch) = named.unwrap_or((-1, -1));
    InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(str_bytes(id))))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(kafka_id(ProducerId(producer_id)))
        .with_producer_epoch(epoch)
}

fn transaction(
    id: &str,
    (producer_id, epoch): (i64, i16),
    partitions: &Partitions,
) -> AddPartitionsToTxnTransaction {
    let topics = partitions.iter().map(|(topic, numbers)| {
        AddPartitionsToTxnTopic::default()
            .with_name(TopicName(str_bytes(topic)))
            .with_partitions(numbers.iter().copied().collect())
    });
    AddPartitionsToTxnTransaction::default()
        .with_transactional_id(TransactionalId(str_bytes(id)))
        .with_producer_id(kafka_id(ProducerId(producer_id)))
        .with_producer_epoch(epoch)
        .with_topics(topics.collect())
}

fn end(id: &str, (producer_id, epoch): (i64, i16), committed: bool) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(TransactionalId(str_bytes(id)))
        .with_producer_id(kafka_id(ProducerId(producer_id)))
        .with_producer_epoch(epoch)
        .with_committed(committed)
}

/// `name` as tools print it, of a code on the wire.
fn code_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |code| code.name().to_owned())
}

/// A coordinator, its log, and what it has ordered.
struct Rig {
    machine: Transactions,
    moment: Moment,
    limits: TxnLimits,
    log: Vec<TxnRecord>,
    orders: Vec<MarkerOrder>,
    tokens: u64,
    fresh: i64,
}

impl Rig {
    fn new(level: i16) -> Rig {
        let limits = TxnLimits::default();
        Rig {
            machine: Transactions::new(limits, 7),
            moment: Moment {
                now: MonoTime::default(),
                wall_ms: 1_000_000,
                image: image(level, &["t", "u", "__consumer_offsets"]),
                log_end: Offset(0),
            },
            limits,
            log: Vec::new(),
            orders: Vec::new(),
            tokens: 0,
            fresh: 1000,
        }
    }

    /// Takes a step, appends what it writes, keeps what it orders; gives its answers.
    fn step(&mut self, take: impl FnOnce(&mut Transactions, &Moment, &mut TxnEffects)) -> Vec<TxnAnswer> {
        let mut effects = TxnEffects::default();
        take(&mut self.machine, &self.moment, &mut effects);
        self.log.extend(effects.writes.into_iter().flat_map(|write| write.records));
        self.moment.log_end = Offset(self.log.len() as i64);
        self.orders.extend(effects.orders);
        self.assert_is_what_its_log_says();
        effects.answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn ask_once(&mut self, request: TxnRequest) -> TxnAnswer {
        self.tokens += 1;
        let token = Token(self.tokens);
        let asked = format!("{request:?}");
        let mut answers =
            self.step(|machine, moment, effects| machine.handle(moment, token, request, effects));
        assert_eq!(answers.len(), 1, "one answer to {asked}");
        answers.remove(0)
    }

    /// Asks; gives a fresh producer id when it is needed, and not before.
    fn ask(&mut self, make: impl Fn(Option<ProducerId>) -> TxnRequest) -> TxnAnswer {
        let written = self.log.len();
        let answer = self.ask_once(make(None));
        if answer != TxnAnswer::NeedsProducerId {
            return answer;
        }
        assert_eq!(self.log.len(), written, "nothing is done without the id");
        let fresh = ProducerId(self.fresh);
        self.fresh += 1;
        self.ask_once(make(Some(fresh)))
    }

    /// What is replayed is what is: but for the epoch before and the markers, which a load does not know.
    fn assert_is_what_its_log_says(&self) {
        let replayed = self.replayed();
        assert_eq!(replayed.ongoing, self.machine.ongoing);
        assert_eq!(replayed.preparing, self.machine.preparing);
        let told = |machine: &Transactions| -> Vec<(String, TxnValue, Offset)> {
            let entries = machine.entries.iter();
            entries.map(|(id, entry)| (id.clone(), entry.value.clone(), entry.offset)).collect()
        };
        assert_eq!(told(&replayed), told(&self.machine));
    }

    fn replayed(&self) -> Transactions {
        let mut machine = Transactions::new(self.limits, 7);
        for (offset, record) in (0..).zip(&self.log) {
            machine.apply(record, Offset(offset));
        }
        machine
    }

    fn reload(&mut self) {
        self.machine = self.replayed();
        self.orders.clear();
        self.step(|machine, moment, effects| machine.loaded(moment, effects));
    }

    /// Lets time pass, and what is due happen.
    fn wait(&mut self, ms: u64) {
        let until = self.moment.now + Duration::from_millis(ms);
        while let Some(at) = self.machine.next_deadline().filter(|at| *at <= until) {
            self.pass(at.since(self.moment.now));
            self.step(|machine, moment, effects| machine.on_time(moment, effects));
        }
        self.pass(until.since(self.moment.now));
    }

    fn pass(&mut self, span: Duration) {
        self.moment.now = self.moment.now + span;
        self.moment.wall_ms += span.as_millis() as i64;
    }

    /// Reports on the markers of all orders of a transactional id.
    fn report(&mut self, id: &str, partitions: &Partitions, result: MarkerResult) {
        let order = self.orders.iter().rfind(|order| order.transactional_id == id).cloned();
        let decided_at = order.map_or(Offset(0), |order| order.decided_at);
        let results: Vec<(&str, i32, MarkerResult)> = partitions
            .iter()
            .flat_map(|(topic, numbers)| numbers.iter().map(|number| (topic.as_str(), *number, result)))
            .collect();
        self.step(|machine, moment, effects| {
            machine.markers_written(moment, id, decided_at, results, effects)
        });
    }

    /// Runs a script.
    #[track_caller]
    fn run(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (command, expected) = line.split_once("=>").unwrap_or((line, ""));
            let words: Vec<&str> = command.split_whitespace().collect();
            let answer = self.command(&words);
            assert_eq!(answer, expected.trim(), "{line}");
        }
    }

    fn command(&mut self, words: &[&str]) -> String {
        let (version, words) = versioned(words);
        let (flags, words): (Vec<&str>, Vec<&str>) = words.into_iter().partition(|word| word.contains('='));
        match words.as_slice() {
            ["init", id] => self.init(id, &flags, version.unwrap_or(5)),
            ["add", id, who, partitions @ ..] => {
                let transaction = transaction(id, identity(who), &named(partitions));
                self.add(version.unwrap_or(3), transaction)
            }
            ["verify", id, who, partitions @ ..] => {
                let transaction = transaction(id, identity(who), &named(partitions)).with_verify_only(true);
                self.add(version.unwrap_or(5), transaction)
            }
            ["offsets", id, who, partition] => {
                self.offsets(id, identity(who), partition, version.unwrap_or(3))
            }
            ["commit", id, who] => self.end(id, identity(who), true, version.unwrap_or(5)),
            ["abort", id, who] => self.end(id, identity(who), false, version.unwrap_or(5)),
            ["show", id] => self.show(id),
            ["orders"] => self.show_orders(),
            ["list"] => self.list(&flags),
            ["gauges"] => format!("{:?}", self.machine.gauges()),
            ["written", id, partitions @ ..] => self.reported(id, partitions, MarkerResult::Written),
            ["failed", id, partitions @ ..] => self.reported(id, partitions, MarkerResult::Again),
            ["fenced", id, partitions @ ..] => self.reported(id, partitions, MarkerResult::Fenced),
            ["wait", ms] => self.silent(|rig| rig.wait(ms.parse().expect("milliseconds"))),
            ["reload"] => self.silent(Rig::reload),
            ["delete-topic", "t"] => {
                self.moment.image = image(LEVEL, &["u", "__consumer_offsets"]);
                String::new()
            }
            other => panic!("no command: {other:?}"),
        }
    }

    fn silent(&mut self, act: impl FnOnce(&mut Rig)) -> String {
        act(self);
        String::new()
    }

    fn reported(&mut self, id: &str, partitions: &[&str], result: MarkerResult) -> String {
        self.silent(|rig| rig.report(id, &named(partitions), result))
    }

    fn init(&mut self, id: &str, flags: &[&str], version: i16) -> String {
        let named = flag(flags, "as").map(identity);
        let timeout_ms = flag(flags, "timeout").map_or(60_000, |text| text.parse().expect("milliseconds"));
        let request = init(id, named, timeout_ms);
        let answer =
            self.ask(|fresh| TxnRequest::InitProducerId { version, request: request.clone(), fresh });
        let TxnAnswer::InitProducerId(response) = answer else { panic!("{answer:?}") };
        identity_or_code(response.error_code, response.producer_id.0, response.producer_epoch)
    }

    fn add(&mut self, version: i16, transaction: AddPartitionsToTxnTransaction) -> String {
        let answer = self.ask_once(TxnRequest::AddPartitions { version, transaction: transaction.clone() });
        let TxnAnswer::AddPartitions(result) = answer else { panic!("{answer:?}") };
        assert_eq!(result.transactional_id, transaction.transactional_id);
        let mut codes = Vec::new();
        for topic in &result.topic_results {
            for partition in &topic.results_by_partition {
                let name = format!("{}-{}", topic.name.as_str(), partition.partition_index);
                codes.push((name, code_name(partition.partition_error_code)));
            }
        }
        let asked: usize = transaction.topics.iter().map(|topic| topic.partitions.len()).sum();
        assert_eq!(codes.len(), asked, "an answer for each partition");
        match codes.as_slice() {
            [(_, first), rest @ ..] if rest.iter().all(|(_, code)| code == first) => first.clone(),
            codes => codes.iter().map(|(name, code)| format!("{name}={code}")).collect::<Vec<_>>().join(" "),
        }
    }

    fn offsets(
        &mut self,
        id: &str,
        (producer_id, epoch): (i64, i16),
        partition: &str,
        version: i16,
    ) -> String {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(str_bytes(id)))
            .with_producer_id(kafka_id(ProducerId(producer_id)))
            .with_producer_epoch(epoch)
            .with_group_id(GroupId(str_bytes("group")));
        let partition = partition.parse().expect("a partition");
        let answer = self.ask_once(TxnRequest::AddOffsets { version, request, partition });
        let TxnAnswer::AddOffsets(response) = answer else { panic!("{answer:?}") };
        code_name(response.error_code)
    }

    fn end(&mut self, id: &str, who: (i64, i16), committed: bool, version: i16) -> String {
        let request = end(id, who, committed);
        let answer = self.ask(|fresh| TxnRequest::EndTxn { version, request: request.clone(), fresh });
        let TxnAnswer::EndTxn(response) = answer else { panic!("{answer:?}") };
        if version < 5 && response.error_code == 0 {
            assert_eq!((response.producer_id.0, response.producer_epoch), (-1, -1));
            return "NONE".to_owned();
        }
        identity_or_code(response.error_code, response.producer_id.0, response.producer_epoch)
    }

    fn show(&mut self, id: &str) -> String {
        let answer = self.ask_once(TxnRequest::Describe(id.to_owned()));
        let TxnAnswer::Describe(described) = answer else { panic!("{answer:?}") };
        if described.error_code != 0 {
            return code_name(described.error_code);
        }
        let state = described.transaction_state.as_str();
        let mut text = format!("{state} {}:{}", described.producer_id.0, described.producer_epoch);
        for topic in &described.topics {
            for partition in &topic.partitions {
                write!(text, " {}-{partition}", topic.topic.as_str()).expect("a string");
            }
        }
        text
    }

    /// What was ordered since this was last asked.
    fn show_orders(&mut self) -> String {
        let orders = std::mem::take(&mut self.orders);
        let is_new = |order: &&MarkerOrder| !order.partitions.is_empty();
        let texts = orders.iter().filter(is_new).map(|order| {
            assert_eq!(order.coordinator_epoch, 7);
            let outcome = format!("{:?}", order.outcome).to_lowercase();
            let mut text = format!("{outcome} {}:{}", order.producer_id.0, order.producer_epoch);
            let version = if order.version == TransactionVersion::EpochBump { 2 } else { 0 };
            write!(text, " v{version}").expect("a string");
            for (topic, numbers) in &order.partitions {
                numbers.iter().for_each(|number| write!(text, " {topic}-{number}").expect("a string"));
            }
            text
        });
        let text = texts.collect::<Vec<_>>().join(", ");
        self.orders = orders;
        self.orders.iter_mut().for_each(|order| order.partitions.clear());
        text
    }

    fn list(&mut self, flags: &[&str]) -> String {
        let many = |name: &str| flag(flags, name).map_or_else(Vec::new, |text| text.split(',').collect());
        let request = ListTransactionsRequest::default()
            .with_state_filters(many("states").into_iter().map(str_bytes).collect())
            .with_producer_id_filters(
                many("ids").into_iter().map(|id| kafka_id(ProducerId(id.parse().expect("an id")))).collect(),
            )
            .with_duration_filter(flag(flags, "over").map_or(-1, |ms| ms.parse().expect("milliseconds")))
            .with_transactional_id_pattern(flag(flags, "pattern").map(str_bytes));
        let (filter, unknown) = match ListFilter::read(&request) {
            Ok(read) => read,
            Err(code) => return code.name().to_owned(),
        };
        let answer = self.ask_once(TxnRequest::List(Arc::new(filter)));
        let TxnAnswer::List(listed) = answer else { panic!("{answer:?}") };
        let listed = listed.iter().map(|listed| {
            let state = listed.transaction_state.as_str();
            format!("{}={}:{state}", listed.transactional_id.as_str(), listed.producer_id.0)
        });
        let unknown = unknown.iter().map(|name| format!("?{}", name.as_str()));
        listed.chain(unknown).collect::<Vec<_>>().join(" ")
    }
}

/// `v4` at the end: the version.
fn versioned<'a>(words: &[&'a str]) -> (Option<i16>, Vec<&'a str>) {
    let version = words.last().and_then(|word| word.strip_prefix('v')).and_then(|number| number.parse().ok());
    let rest = words.len() - usize::from(version.is_some());
    (version, words[..rest].to_vec())
}

/// `PRODUCER:EPOCH`.
fn identity(text: &str) -> (i64, i16) {
    let (id, epoch) = text.split_once(':').expect("PRODUCER:EPOCH");
    (id.parse().expect("a producer id"), epoch.parse().expect("an epoch"))
}

fn identity_or_code(code: i16, id: i64, epoch: i16) -> String {
    if code == 0 {
        return format!("{id}:{epoch}");
    }
    assert_eq!((id, epoch), (-1, -1), "a refusal names no producer");
    code_name(code)
}

/// `topic-0 topic-1`.
fn named(words: &[&str]) -> Partitions {
    let mut partitions = Partitions::new();
    for word in words {
        let (topic, number) = word.rsplit_once('-').expect("TOPIC-PARTITION");
        partitions.entry(topic.to_owned()).or_default().insert(number.parse().expect("a partition"));
    }
    partitions
}

fn flag<'a>(flags: &[&'a str], name: &str) -> Option<&'a str> {
    flags.iter().find_map(|flag| flag.strip_prefix(name)?.strip_prefix('='))
}

/// Runs a script from nothing, on a cluster of the present protocol.
#[track_caller]
fn check(script: &str) {
    Rig::new(LEVEL).run(script);
}
