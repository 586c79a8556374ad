//! The controller under scripts: each `> command` is followed by the records it must give and then by its answers.
//!
//! A test hands out ids 100, 101 … to topics in order; `#100` is the topic with that id.

use std::fmt::Write as _;

use uuid::Uuid;

use super::*;
use crate::metadata::image::{ConfigKind, MetadataImage};
use crate::metadata::records::{BrokerFeature, FeatureLevelRecord, LEADER_UNCHANGED, PartitionChangeRecord};

/// Runs commands and writes down what they give.
struct Script {
    controller: Controller,
    next_topic_id: u128,
    next_incarnation: u128,
}

fn check_configs(_: &ConfigResource, configs: &ConfigMap) -> Result<(), ApiError> {
    let invalid = |message| Err(ApiError::new(ResponseError::InvalidConfig, message));
    match configs.keys().find(|name| name.starts_with("bad")) {
        Some(name) => invalid(format!("Unknown topic config name: {name}")),
        None => Ok(()),
    }
}

const RULES: Rules<'static> = Rules {
    num_partitions: 2,
    default_replication_factor: 1,
    delete_topic_enable: true,
    check_configs: &check_configs,
    list_default: &|_, name| name.starts_with("list").then(|| "x".to_owned()),
};

/// The value of `key=` among `words`, parsed.
fn option<T: std::str::FromStr>(words: &[&str], key: &str) -> Option<T> {
    let value = words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.parse().ok().expect("a value of the right form"))
}

/// `key=value` words as configurations; `key` alone has no value.
fn pairs(words: &[&str]) -> Vec<(String, Option<String>)> {
    let pair = |word: &&str| match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => ((*word).to_owned(), None),
    };
    words.iter().map(pair).collect()
}

fn feature((name, level): (String, Option<String>)) -> MetadataRecord {
    let feature_level = level.expect("a level").parse().expect("a number");
    FeatureLevelRecord { name, feature_level }.into()
}

fn nodes(list: &str) -> Vec<NodeId> {
    list.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().expect("a node id")).collect()
}

impl Script {
    fn new() -> Self {
        let controller = Controller::new(MetadataImage::empty("cluster"), LeaderEpoch(1));
        Self { controller, next_topic_id: 100, next_incarnation: 1 }
    }

    fn epoch(&self, broker_id: NodeId) -> BrokerEpoch {
        self.controller.image().broker(broker_id).map_or(BrokerEpoch(-1), |broker| broker.epoch)
    }

    fn parse(&mut self, line: &str) -> Command {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, words) = words.split_first().expect("a verb");
        let broker = || words.first().and_then(|id| id.parse().ok()).expect("a broker");
        let told = option(words, "epoch").map(BrokerEpoch);
        match *verb {
            "features" => Command::Bootstrap(pairs(words).into_iter().map(feature).collect()),
            "levels" => parse_levels(words),
            "create" => self.parse_create(line.trim_start_matches("create")),
            "grow" => parse_grow(line.trim_start_matches("grow")),
            "elect" => parse_elect(words),
            "reassign" => parse_reassign(words),
            "delete" => Command::DeleteTopics(words.iter().map(|word| deletable(word)).collect()),
            "producer-ids" => {
                let broker_epoch = told.unwrap_or_else(|| self.epoch(broker()));
                Command::AllocateProducerIds { broker_id: broker(), broker_epoch }
            }
            "config" => {
                parse_alter(words, |words| Alteration::Some(words.iter().map(|word| change(word)).collect()))
            }
            "all-configs" => parse_alter(words, |words| {
                let set = |(name, value): (String, Option<String>)| (name, value.expect("a value"));
                Alteration::All(pairs(words).into_iter().map(set).collect())
            }),
            "register" => self.parse_register(broker(), words),
            "unfence" => {
                let broker_epoch = told.unwrap_or_else(|| self.epoch(broker()));
                Command::UnfenceBroker { broker_id: broker(), broker_epoch }
            }
            "fence" => Command::FenceBroker { broker_id: broker(), broker_epoch: self.epoch(broker()) },
            "unregister" => Command::UnregisterBroker { broker_id: broker() },
            other => panic!("unknown command {other}"),
        }
    }

    fn parse_create(&mut self, line: &str) -> Command {
        let validate_only = line.contains("validate-only");
        let line = line.replace("validate-only", "");
        let topics = line.split(';').map(|topic| self.parse_topic(topic)).collect();
        Command::CreateTopics(CreateTopics { topics, validate_only })
    }

    fn parse_topic(&mut self, line: &str) -> NewTopic {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, words) = words.split_first().expect("a name");
        let name = if let Some(length) = name.strip_prefix("x*") {
            "x".repeat(length.parse().expect("a length"))
        } else {
            name.trim_matches('"').to_owned()
        };
        let known = |word: &&&str| {
            !["partitions=", "rf=", "assign=", "seed="].iter().any(|key| word.starts_with(key))
        };
        let assign: Option<String> = option(words, "assign");
        let assignments = assign.iter().flat_map(|list| list.split('/')).map(|one| {
            let (partition, replicas) = one.split_once(':').expect("partition:replicas");
            PartitionAssignment {
                partition: partition.parse().expect("a partition"),
                replicas: nodes(replicas),
            }
        });
        self.next_topic_id += 1;
        NewTopic {
            name,
            topic_id: Uuid::from_u128(self.next_topic_id - 1),
            num_partitions: option(words, "partitions").unwrap_or(-1),
            replication_factor: option(words, "rf").unwrap_or(-1),
            assignments: assignments.collect(),
            configs: pairs(&words.iter().filter(known).copied().collect::<Vec<_>>()),
            placement_seed: option(words, "seed").unwrap_or(0),
        }
    }

    fn parse_register(&mut self, broker_id: NodeId, words: &[&str]) -> Command {
        self.next_incarnation += 1;
        let directory = option(words, "dir").unwrap_or(1000 + u128::from(broker_id.unsigned_abs()));
        let level = option(words, "level").unwrap_or(29);
        Command::RegisterBroker(Registration {
            broker_id,
            cluster_id: option(words, "cluster").unwrap_or_else(|| "cluster".to_owned()),
            incarnation_id: Uuid::from_u128(option(words, "incarnation").unwrap_or(self.next_incarnation)),
            endpoints: vec![],
            features: vec![BrokerFeature {
                name: "metadata.version".into(),
                min_supported_version: 7,
                max_supported_version: level,
            }],
            rack: option(words, "rack"),
            log_dirs: vec![Uuid::from_u128(directory)],
            is_clean: words.contains(&"clean"),
        })
    }

    /// The script with every command's outcome behind it.
    fn run(&mut self, script: &str) -> String {
        let mut out = String::new();
        for line in script.lines() {
            if line.is_empty() || line.starts_with('#') {
                out.push_str(line);
                out.push('\n');
            }
            let Some(command) = line.strip_prefix("> ") else { continue };
            let command = self.parse(command);
            let decision = self.controller.handle(&command, &RULES);
            writeln!(out, "{line}").expect("a string");
            for record in &decision.records {
                writeln!(out, "  {}", show(record)).expect("a string");
            }
            for answer in answers(&decision.reply) {
                writeln!(out, "{}", format!("  = {answer}").trim_end()).expect("a string");
            }
        }
        out
    }
}

/// `name=level:type` words.
fn parse_levels(words: &[&str]) -> Command {
    let update = |(name, told): (String, Option<String>)| {
        let told = told?;
        let (level, number) = told.split_once(':').expect("level:type");
        let upgrade_type = UpgradeType::from_number(number.parse().expect("a type"));
        Some((name, (level.parse().expect("a level"), upgrade_type)))
    };
    Command::UpdateFeatures(UpdateFeatures {
        updates: pairs(words).into_iter().filter_map(update).collect(),
        validate_only: words.contains(&"validate-only"),
    })
}

fn deletable(word: &str) -> DeletableTopic {
    let (name, id) = word.split_once('#').map_or((word, 0), |(name, id)| (name, id.parse().expect("an id")));
    DeletableTopic { name: (!name.is_empty()).then(|| name.to_owned()), topic_id: Uuid::from_u128(id) }
}

/// `topic count[:replicas/replicas…]`, with `;` between topics.
fn parse_grow(line: &str) -> Command {
    let validate_only = line.contains("validate-only");
    let line = line.replace("validate-only", "");
    let topic = |words: &str| {
        let (name, count) = words.trim().split_once(' ').expect("a name and a count");
        let (count, assignments) = match count.split_once(':') {
            Some((count, list)) => (count, Some(list.split('/').map(nodes).collect())),
            None => (count, None),
        };
        let count = count.parse().expect("a count");
        MorePartitions { name: name.to_owned(), count, assignments, placement_seed: 0 }
    };
    let topics = line.split(';').map(topic).collect();
    Command::CreatePartitions(CreatePartitions { topics, validate_only })
}

/// `topic:partitions` words behind the kind of election; none for every partition.
fn parse_elect(words: &[&str]) -> Command {
    let (kind, words) = words.split_first().expect("a kind of election");
    let topic = |word: &&str| {
        let (name, partitions) = word.split_once(':').expect("topic:partitions");
        (name.to_owned(), nodes(partitions))
    };
    let topics = (!words.is_empty()).then(|| words.iter().map(topic).collect());
    let election = if *kind == "preferred" { Election::Preferred } else { Election::Unclean };
    Command::ElectLeaders(ElectLeaders { election, topics })
}

/// `topic:partition=replicas` words; `topic:partition` calls off. `as-many` forbids other counts.
fn parse_reassign(words: &[&str]) -> Command {
    let topic = |word: &&str| {
        let (name, one) = word.split_once(':').expect("topic:partition");
        let (partition, replicas) = match one.split_once('=') {
            Some((partition, replicas)) => (partition, Some(nodes(replicas))),
            None => (one, None),
        };
        (name.to_owned(), vec![(partition.parse().expect("a partition"), replicas)])
    };
    Command::Reassign(Reassign {
        may_change_count: !words.contains(&"as-many"),
        topics: words.iter().filter(|word| **word != "as-many").map(topic).collect(),
    })
}

/// `key=value` sets, `key` deletes, `key+=words` appends, `key-=words` subtracts.
fn change(word: &str) -> ConfigChange {
    let operation = |value: &str| match value {
        _ if word.contains("+=") => ConfigOperation::Append(value.to_owned()),
        _ if word.contains("-=") => ConfigOperation::Subtract(value.to_owned()),
        value => ConfigOperation::Set(value.to_owned()),
    };
    let (name, operation) = match word.split_once('=') {
        Some((name, value)) => (name.trim_end_matches(['+', '-']), operation(value)),
        None => (word, ConfigOperation::Delete),
    };
    ConfigChange { name: name.to_owned(), operation }
}

fn parse_alter(words: &[&str], alteration: impl Fn(&[&str]) -> Alteration) -> Command {
    let validate_only = words.contains(&"validate-only");
    let words: Vec<&str> = words.iter().copied().filter(|word| *word != "validate-only").collect();
    let (resource, words) = words.split_first().expect("a resource");
    let (kind, name) = resource.split_once(':').expect("kind:name");
    let kind = if kind == "topic" { ConfigKind::Topic } else { ConfigKind::Broker };
    let resource = ConfigResource { kind, name: name.to_owned() };
    Command::AlterConfigs(AlterConfigs { changes: vec![(resource, alteration(words))], validate_only })
}

fn show(record: &MetadataRecord) -> String {
    let id = |id: &Uuid| format!("#{}", id.as_u128());
    match record {
        MetadataRecord::Topic(r) => format!("topic {} {}", r.name, id(&r.topic_id)),
        MetadataRecord::RemoveTopic(r) => format!("remove-topic {}", id(&r.topic_id)),
        MetadataRecord::Partition(r) => format!(
            "partition {}-{} replicas={:?} isr={:?} leader={} epochs={}/{} dirs={:?}",
            id(&r.topic_id),
            r.partition_id,
            r.replicas,
            r.isr,
            r.leader,
            r.leader_epoch,
            r.partition_epoch,
            r.directories.iter().map(Uuid::as_u128).collect::<Vec<_>>()
        ),
        MetadataRecord::PartitionChange(r) => show_change(r, &id(&r.topic_id)),
        MetadataRecord::Config(r) => {
            format!("config {}:{} {}={:?}", r.resource_type, r.resource_name, r.name, r.value)
        }
        MetadataRecord::FeatureLevel(r) => format!("feature {}={}", r.name, r.feature_level),
        MetadataRecord::ProducerIds(r) => format!("producer-ids next={}", r.next_producer_id),
        MetadataRecord::RegisterBroker(r) => {
            format!("register-broker {} epoch={} fenced={}", r.broker_id, r.broker_epoch, r.fenced)
        }
        MetadataRecord::BrokerRegistrationChange(r) => {
            format!("broker {} fenced={:+}", r.broker_id, r.fenced)
        }
        MetadataRecord::UnregisterBroker(r) => format!("unregister-broker {}", r.broker_id),
        other => format!("{other:?}"),
    }
}

fn show_change(record: &PartitionChangeRecord, topic: &str) -> String {
    let mut text = format!("change {topic}-{}", record.partition_id);
    if let Some(isr) = &record.isr {
        write!(text, " isr={isr:?}").expect("a string");
    }
    if record.leader != LEADER_UNCHANGED {
        write!(text, " leader={}", record.leader).expect("a string");
    }
    text
}

fn outcome<T: fmt::Display>(result: &Result<T, ApiError>) -> String {
    match result {
        Ok(value) => format!("ok {value}"),
        Err(error) => error.to_string(),
    }
}

fn answers(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Bootstrap => vec![],
        Reply::CreateTopics(results) => results.iter().map(show_created).collect(),
        Reply::DeleteTopics(Err(error)) => vec![error.to_string()],
        Reply::DeleteTopics(Ok(results)) => results.iter().map(show_deleted).collect(),
        Reply::CreatePartitions(results) => results
            .iter()
            .map(|result| {
                let error = result.error.as_ref().map_or_else(|| "ok".to_owned(), ApiError::to_string);
                format!("{}: {error}", result.name)
            })
            .collect(),
        Reply::ElectLeaders(topics) => topics
            .iter()
            .map(|(name, partitions)| {
                let one = |(id, code): &(i32, ResponseError)| format!(" {id}={code:?}");
                format!("{name}:{}", partitions.iter().map(one).collect::<String>())
            })
            .collect(),
        Reply::Reassign(topics) => topics
            .iter()
            .flat_map(|(name, partitions)| partitions.iter().map(move |(id, error)| (name, id, error)))
            .map(|(name, id, error)| {
                let error = error.as_ref().map_or_else(|| "ok".to_owned(), ApiError::to_string);
                format!("{name}-{id}: {error}")
            })
            .collect(),
        Reply::AllocateProducerIds(result) => vec![outcome(&result.clone().map(|id| id.0))],
        Reply::AlterConfigs(results) => results
            .iter()
            .map(|result| result.error.as_ref().map_or_else(|| "ok".to_owned(), ApiError::to_string))
            .collect(),
        Reply::RegisterBroker(result) => vec![outcome(result)],
        Reply::UnfenceBroker(result)
        | Reply::FenceBroker(result)
        | Reply::UnregisterBroker(result)
        | Reply::UpdateFeatures(result) => vec![outcome(&result.clone().map(|()| ""))],
    }
}

fn show_created(result: &CreateTopicResult) -> String {
    let mut name = result.name.clone();
    name.truncate(12);
    match &result.outcome {
        Ok(topic) => format!(
            "{name}: #{} partitions={} rf={} {:?}",
            topic.topic_id.as_u128(),
            topic.num_partitions,
            topic.replication_factor,
            topic.configs
        ),
        Err(error) => format!("{name}: {}", error.to_string().replace(&"x".repeat(250), "<250 x>")),
    }
}

fn show_deleted(result: &DeleteTopicResult) -> String {
    let name = result.name.as_deref().unwrap_or("-");
    let error = result.error.as_ref().map_or_else(|| "ok".to_owned(), ApiError::to_string);
    format!("{name} #{}: {error}", result.topic_id.as_u128())
}

/// Compares line by line, so that a failure names the line.
fn check(script: &str) {
    let got = Script::new().run(script);
    for (number, (got, wanted)) in (1..).zip(got.lines().zip(script.lines())) {
        assert_eq!(got.trim_end(), wanted.trim_end(), "line {number}");
    }
    assert_eq!(got.lines().count(), script.lines().count());
}

#[test]
fn topics_are_created_as_kafka_creates_them() {
    check(include_str!("scripts/create.txt"));
}

#[test]
fn topics_are_deleted_as_kafka_deletes_them() {
    check(include_str!("scripts/delete.txt"));
}

#[test]
fn topics_grow_as_kafka_grows_them() {
    check(include_str!("scripts/grow.txt"));
}

#[test]
fn leaders_and_replicas_stay_where_they_are() {
    check(include_str!("scripts/replicas.txt"));
}

#[test]
fn brokers_come_and_go() {
    check(include_str!("scripts/brokers.txt"));
}

#[test]
fn levels_of_features() {
    check(include_str!("scripts/features.txt"));
}

#[test]
fn configurations_and_producer_ids() {
    check(include_str!("scripts/configs.txt"));
}

#[test]
fn a_command_that_would_write_too_much_writes_nothing() {
    let set = |count: usize, bytes: usize| {
        let change = |number| ConfigChange {
            name: format!("name-{number}"),
            operation: ConfigOperation::Set("x".repeat(bytes)),
        };
        let changes = vec![
            (ConfigResource::default_broker(), Alteration::Some((0..count).map(change).collect())),
            (ConfigResource::topic("nowhere"), Alteration::Some(Vec::new())),
        ];
        let command = Command::AlterConfigs(AlterConfigs { changes, validate_only: false });
        let decision = decide(&MetadataImage::empty("cluster"), &command, &RULES);
        (decision.records.len(), answers(&decision.reply))
    };
    let nowhere = "3 UnknownTopicOrPartition: The topic 'nowhere' does not exist.".to_owned();
    let too_much = "44 PolicyViolation: Unable to perform excessively large batch operation.".to_owned();
    assert_eq!(set(RECORDS_MAX, 1), (RECORDS_MAX, vec!["ok".to_owned(), nowhere]));
    assert_eq!(set(RECORDS_MAX + 1, 1), (0, vec![too_much.clone(), too_much.clone()]));
    assert_eq!(set(200, 30_000), (0, vec![too_much.clone(), too_much]));
}

#[test]
fn deletion_can_be_switched_off() {
    let rules = Rules { delete_topic_enable: false, ..RULES };
    let command = Command::DeleteTopics(vec![deletable("t")]);
    let decision = decide(&MetadataImage::empty("cluster"), &command, &rules);
    let error = ApiError { code: ResponseError::TopicDeletionDisabled, message: None };
    assert_eq!(decision.reply, Reply::DeleteTopics(Err(error)));
}

#[test]
fn only_decisions_whose_parts_make_sense_alone_are_cut() {
    let decision = |atomic| Decision {
        records: vec![crate::metadata::records::NoOpRecord.into(); RECORDS_MAX + 1],
        atomic,
        reply: Reply::Bootstrap,
    };
    let lengths = |decision: Decision| decision.entries().map(<[_]>::len).collect::<Vec<_>>();
    assert_eq!(lengths(decision(true)), [RECORDS_MAX + 1]);
    assert_eq!(lengths(decision(false)), [RECORDS_MAX, 1]);
    assert!(lengths(Decision::atomic(vec![], Reply::Bootstrap)).is_empty());
}

#[test]
fn placement_leads_on_active_brokers_and_alternates_racks() {
    let mut script = Script::new();
    script.run("> register 1 rack=a\n> register 2 rack=a\n> register 3 rack=b\n> register 4 rack=b\n");
    script.run("> unfence 1\n> unfence 2\n> unfence 3\n");
    for seed in 0..50 {
        let placed = placement::place(script.controller.image(), 30, 3, seed).expect("enough brokers");
        for replicas in &placed {
            assert_ne!(replicas[0], 4, "a fenced broker leads");
            let mut distinct = replicas.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), 3);
        }
        let leads = |id| placed.iter().filter(|replicas| replicas[0] == id).count();
        assert_eq!([leads(1), leads(2), leads(3)], [10, 10, 10]);
    }
    let racks = placement::place(script.controller.image(), 1, 2, 0).expect("enough brokers");
    assert_eq!(racks, [[1, 3]]);
}
