//! The controller: decides which records a command puts into the metadata log, and what to answer once they are there.
//!
//! Pure: a decision is a function of the image, the command and the caller's rules; ids and seeds come in with the
//! command. It knows neither the quorum nor the wire: its caller proposes the records and keeps the reply until they
//! are committed. Later commands see the records of earlier ones at once, through the same replay as everyone, in an
//! image that is thrown away when leadership is lost. Specification: Kafka's `ReplicationControlManager`,
//! `ClusterControlManager`, `ConfigurationControlManager`, `ProducerIdControlManager` and `ControllerApis` (4.2),
//! whose error messages it repeats.

mod brokers;
mod configs;
mod create;
mod delete;
mod features;
mod partitions;
mod placement;
mod replicas;

use std::fmt;

use hayate_storage::batch::{LeaderEpoch, ProducerId};
use kafka_protocol::ResponseError;

use super::image::{
    BrokerEpoch, ConfigKind, ConfigMap, ConfigResource, MetadataImage, NodeId, Position, Replay,
};
use super::records::{MetadataRecord, ProducerIdsRecord};

pub use brokers::Registration;
pub use configs::{AlterConfigs, Alteration, AlteredConfigs, ConfigChange, ConfigOperation};
pub use create::name_fault;
pub use create::{CreateTopicResult, CreateTopics, CreatedTopic, NewTopic, PartitionAssignment};
pub use delete::{DeletableTopic, DeleteTopicResult};
pub use features::{UpdateFeatures, UpgradeType};
pub use partitions::{CreatePartitions, CreatePartitionsResult, MorePartitions};
pub use replicas::{ElectLeaders, ElectedTopic, Election, Reassign, ReassignedTopic, WantedTopic};

/// How many producer ids a broker takes at a time (Kafka's `ProducerIdsBlock`).
pub const PRODUCER_ID_BLOCK_LEN: i64 = 1000;

/// The most records that one entry of the log gets, and that one user's command may make (Kafka's bound).
const RECORDS_MAX: usize = 10_000;

/// An error as a Kafka response carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The code.
    pub code: ResponseError,
    /// What it is about; `None` where Kafka sends null.
    pub message: Option<String>,
}

impl ApiError {
    /// An error that says what it is about.
    pub fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.code.code(), self.code)?;
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ApiError {}

/// Says whether the configurations of a resource are good as a whole; the error is the client's.
pub type ConfigCheck<'a> = &'a dyn Fn(&ConfigResource, &ConfigMap) -> Result<(), ApiError>;
/// The value of a list that is not set; `None` for a configuration that is no list.
pub type ListDefault<'a> = &'a dyn Fn(ConfigKind, &str) -> Option<String>;

/// What the node's configuration says about commands.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// `num.partitions`, 1 or more.
    pub num_partitions: i32,
    /// `default.replication.factor`, 1 or more.
    pub default_replication_factor: i16,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// Checks the configurations of a new topic or after a change.
    pub check_configs: ConfigCheck<'a>,
    /// Tells lists from other configurations.
    pub list_default: ListDefault<'a>,
}

/// What can be asked of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begins a new cluster's log with these records, which fit each other: levels of features first of all.
    Bootstrap(Vec<MetadataRecord>),
    /// Changes the levels of features, as a client asks.
    UpdateFeatures(UpdateFeatures),
    /// Creates topics.
    CreateTopics(CreateTopics),
    /// Deletes topics.
    DeleteTopics(Vec<DeletableTopic>),
    /// Gives topics more partitions.
    CreatePartitions(CreatePartitions),
    /// Elects leaders of partitions.
    ElectLeaders(ElectLeaders),
    /// Moves replicas of partitions.
    Reassign(Reassign),
    /// Hands a broker the next block of producer ids.
    AllocateProducerIds {
        /// The broker.
        broker_id: NodeId,
        /// The epoch of its registration.
        broker_epoch: BrokerEpoch,
    },
    /// Changes configurations.
    AlterConfigs(AlterConfigs),
    /// Registers a new incarnation of a broker, fenced.
    RegisterBroker(Registration),
    /// Lets a registered broker lead.
    UnfenceBroker {
        /// The broker.
        broker_id: NodeId,
        /// The epoch of its registration.
        broker_epoch: BrokerEpoch,
    },
    /// Takes a broker's leaderships and its place in in-sync sets.
    FenceBroker {
        /// The broker.
        broker_id: NodeId,
        /// The epoch of its registration.
        broker_epoch: BrokerEpoch,
    },
    /// Takes a broker out of the cluster for good.
    UnregisterBroker {
        /// The broker.
        broker_id: NodeId,
    },
}

/// The answer to a command, of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The log has begun.
    Bootstrap,
    /// Whether all levels were changed.
    UpdateFeatures(Result<(), ApiError>),
    /// What became of each topic.
    CreateTopics(Vec<CreateTopicResult>),
    /// What became of each topic; or the whole command was refused.
    DeleteTopics(Result<Vec<DeleteTopicResult>, ApiError>),
    /// What became of each topic.
    CreatePartitions(Vec<CreatePartitionsResult>),
    /// What became of each topic.
    ElectLeaders(Vec<ElectedTopic>),
    /// What became of each topic.
    Reassign(Vec<ReassignedTopic>),
    /// The first id of a block of [`PRODUCER_ID_BLOCK_LEN`].
    AllocateProducerIds(Result<ProducerId, ApiError>),
    /// What became of each resource.
    AlterConfigs(Vec<AlteredConfigs>),
    /// The epoch of the registration.
    RegisterBroker(Result<BrokerEpoch, ApiError>),
    /// Whether the broker may lead now.
    UnfenceBroker(Result<(), ApiError>),
    /// Whether the broker is fenced now.
    FenceBroker(Result<(), ApiError>),
    /// Whether the broker is gone now.
    UnregisterBroker(Result<(), ApiError>),
}

/// Records for the log, and the answer once all of them are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to append, in order; none when the command changes nothing.
    pub records: Vec<MetadataRecord>,
    /// Whether the records make sense only together; else they may be committed in parts.
    pub atomic: bool,
    /// The answer. It waits for the records; with none, for whatever it has seen: the last entry proposed.
    pub reply: Reply,
}

impl Decision {
    fn atomic(records: Vec<MetadataRecord>, reply: Reply) -> Self {
        Self { records, atomic: true, reply }
    }

    /// The records entry by entry of the log.
    pub fn entries(&self) -> impl Iterator<Item = &[MetadataRecord]> {
        let entry_len = if self.atomic { self.records.len() } else { RECORDS_MAX };
        self.records.chunks(entry_len.max(1))
    }
}

/// The active controller: decides on top of everything proposed so far, committed or not.
#[derive(Debug)]
pub struct Controller {
    proposed: Replay,
    epoch: LeaderEpoch,
}

impl Controller {
    /// The controller of leadership `epoch` (raft: term) on top of `image`, which must account for the log up to and
    /// including the entry that opened the epoch.
    #[must_use]
    pub fn new(image: MetadataImage, epoch: LeaderEpoch) -> Self {
        Self { proposed: Replay::new(image), epoch }
    }

    /// The image with everything proposed so far.
    #[must_use]
    pub fn image(&self) -> &MetadataImage {
        self.proposed.image()
    }

    /// Decides on `command`. The caller must propose the records before the next command; when it cannot, leadership
    /// is lost and this controller is to be dropped.
    pub fn handle(&mut self, command: &Command, rules: &Rules<'_>) -> Decision {
        let decision = decide(self.image(), command, rules);
        for record in &decision.records {
            let offset = self.image().position().offset.next();
            let applied = self.proposed.apply(record, Position { offset, epoch: self.epoch });
            assert_eq!(applied, Ok(()), "the controller's own record must fit: {record:?}");
        }
        decision
    }
}

/// What `command` does to the cluster that `image` shows.
#[must_use]
pub fn decide(image: &MetadataImage, command: &Command, rules: &Rules<'_>) -> Decision {
    match command {
        Command::Bootstrap(records) => Decision::atomic(records.clone(), Reply::Bootstrap),
        Command::UpdateFeatures(command) => {
            let (records, reply) = features::update(image, command).unzip_records();
            Decision::atomic(records, Reply::UpdateFeatures(reply))
        }
        Command::CreateTopics(command) => create::decide(image, command, rules),
        Command::DeleteTopics(topics) => delete::decide(image, topics, rules),
        Command::CreatePartitions(command) => partitions::decide(image, command),
        Command::ElectLeaders(command) => replicas::elect(image, command),
        Command::Reassign(command) => replicas::reassign(image, command),
        Command::AllocateProducerIds { broker_id, broker_epoch } => {
            let (records, reply) = allocate_producer_ids(image, *broker_id, *broker_epoch).unzip_records();
            Decision::atomic(records, Reply::AllocateProducerIds(reply))
        }
        Command::AlterConfigs(command) => configs::decide(image, command, rules),
        Command::RegisterBroker(registration) => {
            let (records, reply) = brokers::register(image, registration).unzip_records();
            Decision { records, atomic: false, reply: Reply::RegisterBroker(reply) }
        }
        Command::UnfenceBroker { broker_id, broker_epoch } => {
            let (records, reply) = brokers::unfence(image, *broker_id, *broker_epoch).unzip_records();
            Decision { records, atomic: false, reply: Reply::UnfenceBroker(reply) }
        }
        Command::FenceBroker { broker_id, broker_epoch } => {
            let (records, reply) = brokers::fence(image, *broker_id, *broker_epoch).unzip_records();
            Decision { records, atomic: false, reply: Reply::FenceBroker(reply) }
        }
        Command::UnregisterBroker { broker_id } => {
            let (records, reply) = brokers::unregister(image, *broker_id).unzip_records();
            Decision { records, atomic: false, reply: Reply::UnregisterBroker(reply) }
        }
    }
}

/// Records and an answer, or a refusal without records.
type Outcome<T> = Result<(Vec<MetadataRecord>, T), ApiError>;

trait UnzipRecords<T> {
    fn unzip_records(self) -> (Vec<MetadataRecord>, Result<T, ApiError>);
}

impl<T> UnzipRecords<T> for Outcome<T> {
    fn unzip_records(self) -> (Vec<MetadataRecord>, Result<T, ApiError>) {
        match self {
            Ok((records, answer)) => (records, Ok(answer)),
            Err(error) => (Vec::new(), Err(error)),
        }
    }
}

fn allocate_producer_ids(
    image: &MetadataImage,
    broker_id: NodeId,
    broker_epoch: BrokerEpoch,
) -> Outcome<ProducerId> {
    brokers::check_epoch(image, broker_id, broker_epoch)?;
    let first = image.next_producer_id();
    let exhausted = || {
        let message =
            "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit";
        ApiError::new(ResponseError::UnknownServerError, message)
    };
    let next_producer_id = first.0.checked_add(PRODUCER_ID_BLOCK_LEN).ok_or_else(exhausted)?;
    let record = ProducerIdsRecord { broker_id, broker_epoch: broker_epoch.0, next_producer_id };
    Ok((vec![record.into()], first))
}

#[cfg(test)]
mod tests;
