//! The cluster of a load, before and after it: its topic, who leads which partition, where partitions begin and end, producers' ids.

use crate::PerfError;
use crate::load::Topic;
use hayate_net::client::blocking::{Caller, Connection};
use hayate_net::error::ErrorCode;
use hayate_storage::batch::ProducerId;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, InitProducerIdRequest, ListOffsetsRequest,
    MetadataRequest,
};
use kafka_protocol::protocol::{Message, Request, StrBytes};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// `ListOffsets` asks for the first offset by this time.
pub const EARLIEST: i64 = -2;
/// And for the end by this one.
pub const LATEST: i64 = -1;
/// How long a broker may refuse what passes, such as a new topic until every partition has a leader.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// `DeleteTopics` names topics in this version; later ones have a list of another form.
const DELETE_BY_NAME_VERSION_MAX: i16 = 5;
/// How long a broker may take to delete a topic.
const DELETE_MS_MAX: i32 = 30_000;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// What a topic is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its partitions; `None`: those that it has, or one.
    pub partitions: Option<i32>,
    /// Its replication factor, −1 for the broker's default. Counts for a topic that is made.
    pub replication_factor: i16,
    /// Its settings, for a topic that is made.
    pub configs: Vec<(String, String)>,
}

/// A cluster, and a connection to one of its brokers.
pub struct Cluster {
    connection: Connection,
    caller: Caller,
    /// Where brokers are, by id.
    pub addresses: BTreeMap<i32, String>,
}

/// A topic that is there: its partitions, each with the id of its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The topic.
    pub topic: Topic,
    /// Leaders of partitions.
    pub leaders: BTreeMap<i32, i32>,
}

impl Cluster {
    /// Connects to the first broker of a list that answers.
    ///
    /// # Errors
    /// Why the last one did not.
    pub fn open(bootstrap: &[String], caller: &Caller) -> Result<Cluster, PerfError> {
        let mut last = PerfError::Impossible("no broker is named".to_owned());
        for address in bootstrap {
            match Connection::open(address, caller) {
                Ok(connection) => {
                    return Ok(Cluster { connection, caller: caller.clone(), addresses: BTreeMap::new() });
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// The topic as it is wanted: made if it is missing.
    ///
    /// # Errors
    /// It is there with another number of partitions, or cannot be made.
    pub fn topic(&mut self, wanted: &Wanted) -> Result<Found, PerfError> {
        if self.describe(&wanted.name)?.error_code == UNKNOWN_TOPIC_OR_PARTITION {
            self.create(wanted)?;
        }
        let found = self.found(&wanted.name)?;
        let count = found.leaders.len();
        match wanted.partitions {
            Some(partitions) if usize::try_from(partitions) != Ok(count) => {
                Err(PerfError::Impossible(format!(
                    "topic {} has {count} partitions, not {partitions}: name another topic, or leave --partitions out",
                    wanted.name
                )))
            }
            Some(_) | None => Ok(found),
        }
    }

    /// A topic that must be there.
    ///
    /// # Errors
    /// [`PerfError::Refused`].
    pub fn existing(&mut self, name: &str) -> Result<Found, PerfError> {
        let described = self.describe(name)?;
        PerfError::check(|| format!("topic {name}"), described.error_code)?;
        self.found(name)
    }

    /// Whether it serves: it tells of at least one broker.
    ///
    /// # Errors
    /// Of the connection, and [`PerfError::Impossible`] while it knows of none.
    pub fn serves(&mut self) -> Result<(), PerfError> {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        match self.connection.ask(&request)?.brokers.is_empty() {
            true => Err(PerfError::Impossible("the cluster knows of no broker".to_owned())),
            false => Ok(()),
        }
    }

    /// Deletes a topic; one that is not there is none to delete.
    ///
    /// # Errors
    /// [`PerfError::Refused`] and of the connection.
    pub fn delete(&mut self, name: &str) -> Result<(), PerfError> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![text(name).into()])
            .with_timeout_ms(DELETE_MS_MAX);
        self.connection.send(DELETE_BY_NAME_VERSION_MAX, &request)?;
        let response = self.connection.receive::<DeleteTopicsRequest>()?;
        match response.responses.first().map_or(0, |deleted| deleted.error_code) {
            UNKNOWN_TOPIC_OR_PARTITION => Ok(()),
            code => PerfError::check(|| format!("topic {name} cannot be deleted"), code),
        }
    }

    fn create(&mut self, wanted: &Wanted) -> Result<(), PerfError> {
        let config = |(name, value): &(String, String)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let new = CreatableTopic::default()
            .with_name(text(&wanted.name).into())
            .with_num_partitions(wanted.partitions.unwrap_or(1))
            .with_replication_factor(wanted.replication_factor)
            .with_configs(wanted.configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![new]).with_timeout_ms(30_000);
        let response = self.connection.ask(&request)?;
        let created = response.topics.first();
        let code = created.map_or(UNKNOWN_TOPIC_OR_PARTITION, |created| created.error_code);
        let words = created.and_then(|created| created.error_message.as_deref()).unwrap_or_default();
        match code {
            TOPIC_ALREADY_EXISTS => Ok(()),
            code => PerfError::check(|| format!("topic {} cannot be made: {words}", wanted.name), code),
        }
    }

    /// A topic whose partitions all have leaders that know it, once they have: a new one takes a while.
    fn found(&mut self, name: &str) -> Result<Found, PerfError> {
        patiently(|| {
            let described = self.describe(name)?;
            PerfError::check(|| format!("topic {name}"), described.error_code)?;
            let led = described.partitions.iter();
            let leaders: BTreeMap<i32, i32> =
                led.map(|partition| (partition.partition_index, partition.leader_id.0)).collect();
            if leaders.is_empty() || leaders.values().any(|leader| *leader < 0) {
                let what = format!("topic {name}: not every partition has a leader");
                return Err(PerfError::Refused { what, code: ErrorCode::LeaderNotAvailable.code() });
            }
            let topic = Topic { name: name.to_owned(), id: described.topic_id };
            let found = Found { topic, leaders };
            self.offsets(&found, LATEST).map(|_| found)
        })
    }

    fn describe(&mut self, name: &str) -> Result<MetadataResponseTopic, PerfError> {
        let topic = MetadataRequestTopic::default().with_name(Some(text(name).into()));
        let request =
            MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
        let response = self.connection.ask(&request)?;
        let brokers = response.brokers.iter();
        self.addresses =
            brokers.map(|broker| (broker.node_id.0, address(&broker.host, broker.port))).collect();
        let described = response.topics.into_iter().next();
        described.ok_or_else(|| PerfError::Impossible(format!("the broker does not tell of topic {name}")))
    }

    /// Where a broker is.
    ///
    /// # Errors
    /// [`PerfError::Impossible`].
    pub fn address(&self, broker: i32) -> Result<&str, PerfError> {
        let address = self.addresses.get(&broker).map(String::as_str);
        address.ok_or_else(|| PerfError::Impossible(format!("the cluster has no broker {broker}")))
    }

    /// An idempotent producer's id and epoch.
    ///
    /// # Errors
    /// [`PerfError::Refused`].
    pub fn producer_id(&mut self) -> Result<(ProducerId, i16), PerfError> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        patiently(|| {
            let response = self.connection.ask(&request)?;
            PerfError::check(|| "a producer's id".to_owned(), response.error_code)?;
            Ok((ProducerId(response.producer_id.0), response.producer_epoch))
        })
    }

    /// The offset of each partition at `time`: [`EARLIEST`] or [`LATEST`].
    ///
    /// # Errors
    /// [`PerfError::Refused`] and of connections.
    pub fn offsets(&mut self, found: &Found, time: i64) -> Result<BTreeMap<i32, i64>, PerfError> {
        let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for (partition, leader) in &found.leaders {
            by_leader.entry(*leader).or_default().push(*partition);
        }
        let mut offsets = BTreeMap::new();
        for (leader, partitions) in by_leader {
            let mut connection = Connection::open(self.address(leader)?, &self.caller)?;
            let partition = |number: &i32| {
                ListOffsetsPartition::default().with_partition_index(*number).with_timestamp(time)
            };
            let topic = ListOffsetsTopic::default()
                .with_name(found.topic.topic_name())
                .with_partitions(partitions.iter().map(partition).collect());
            let request =
                ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
            let response = ask::<ListOffsetsRequest>(&mut connection, &request)?;
            for told in response.topics.iter().flat_map(|topic| &topic.partitions) {
                let what = || format!("offsets of {}-{}", found.topic.name, told.partition_index);
                PerfError::check(what, told.error_code)?;
                offsets.insert(told.partition_index, told.offset);
            }
        }
        Ok(offsets)
    }
}

/// Tries until it succeeds, fails for good, or takes too long: a new topic and a broker that just started refuse what they do soon after.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, PerfError>) -> Result<T, PerfError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if error.is_passing() && Instant::now() < deadline => std::thread::sleep(PAUSE),
            ended => return ended,
        }
    }
}

fn ask<R: Request + Message>(connection: &mut Connection, request: &R) -> Result<R::Response, PerfError> {
    Ok(connection.ask(request)?)
}

/// As it is connected to: an IPv6 address stands in brackets.
fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
