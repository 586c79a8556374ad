//! Creating topics: names, counts, assignments and configurations, refused or turned into records.
//!
//! Each topic succeeds or fails alone, those that succeed are created together. Specification: `createTopics` of
//! Kafka's `ControllerApis` and `ReplicationControlManager`, `Topic.validate`.

use std::collections::{BTreeMap, BTreeSet};

use hayate_storage::batch::LeaderEpoch;
use hayate_storage::mutants::{Mutant, panic_if};
use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::placement::{place, validate_replicas};
use super::{ApiError, Decision, RECORDS_MAX, Reply, Rules, configs};
use crate::metadata::image::{
    ConfigMap, ConfigResource, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, MetadataImage, NodeId,
    PartitionEpoch, PartitionImage,
};
use crate::metadata::records::{MetadataRecord, TopicRecord};

/// The longest name of a topic, in characters.
const NAME_LEN_MAX: usize = 249;
/// The most partitions that one command may make.
const PARTITIONS_MAX: i64 = 10_000;
/// The log that holds these records; no topic may take its name.
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// Topics to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Whether to say only what would become of them.
    pub validate_only: bool,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its id: drawn by the caller, as nothing random happens here; not a reserved one (0 to 99).
    pub topic_id: Uuid,
    /// How many partitions; −1 for the default, and with assignments.
    pub num_partitions: i32,
    /// How many replicas each; −1 for the default, and with assignments.
    pub replication_factor: i16,
    /// Where each partition lives, if the client says it.
    pub assignments: Vec<PartitionAssignment>,
    /// Its configurations, in the order of the request.
    pub configs: Vec<(String, Option<String>)>,
    /// Drawn by the caller: which broker the placement starts at.
    pub placement_seed: u64,
}

/// Where one partition lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionAssignment {
    /// The partition's number.
    pub partition: i32,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
}

/// What became of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopicResult {
    /// Its name.
    pub name: String,
    /// The topic, or why there is none.
    pub outcome: Result<CreatedTopic, ApiError>,
}

/// A topic that was created, or would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub topic_id: Uuid,
    /// How many partitions it has.
    pub num_partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
    /// What is set for it; defaults are the caller's to add.
    pub configs: ConfigMap,
}

pub(super) fn decide(image: &MetadataImage, command: &CreateTopics, rules: &Rules<'_>) -> Decision {
    let names = Names::of(&command.topics);
    let asked = command.topics.iter().filter(|topic| names.allowed.contains(topic.name.as_str()));
    let asked: Vec<&NewTopic> = asked.collect();
    asked.iter().for_each(|topic| panic_if(Mutant::PanicInMetadata, topic.name.as_bytes()));
    let (mut records, mut ids) = (Vec::new(), BTreeSet::new());
    let mut results: Vec<CreateTopicResult> = match refused_whole(&asked, rules) {
        Some(error) => asked.iter().map(|topic| refused(&topic.name, error.clone())).collect(),
        None => asked.iter().map(|topic| create(image, topic, rules, &mut records, &mut ids)).collect(),
    };
    if records.len() > RECORDS_MAX {
        records.clear();
        let message = "Unable to perform excessively large batch operation.";
        let error = ApiError::new(ResponseError::PolicyViolation, message);
        results = asked.iter().map(|topic| refused(&topic.name, error.clone())).collect();
    }
    results.extend(names.refusals());
    if command.validate_only {
        records.clear();
    }
    Decision::atomic(records, Reply::CreateTopics(results))
}

fn refused(name: &str, error: ApiError) -> CreateTopicResult {
    CreateTopicResult { name: name.to_owned(), outcome: Err(error) }
}

/// The names of a request: those to go on with, and those given more than once.
struct Names<'a> {
    allowed: BTreeSet<&'a str>,
    duplicate: BTreeSet<&'a str>,
    cluster_metadata: bool,
}

impl<'a> Names<'a> {
    fn of(topics: &'a [NewTopic]) -> Self {
        let mut names =
            Self { allowed: BTreeSet::new(), duplicate: BTreeSet::new(), cluster_metadata: false };
        for topic in topics {
            if !names.allowed.insert(&topic.name) {
                names.duplicate.insert(&topic.name);
            }
        }
        names.allowed.retain(|name| !names.duplicate.contains(name));
        names.cluster_metadata = names.allowed.remove(CLUSTER_METADATA_TOPIC);
        names
    }

    fn refusals(&self) -> Vec<CreateTopicResult> {
        let invalid =
            |name: &str, message: &str| refused(name, ApiError::new(ResponseError::InvalidRequest, message));
        let mut results: Vec<_> =
            self.duplicate.iter().map(|name| invalid(name, "Duplicate topic name.")).collect();
        if self.cluster_metadata {
            let message = format!("Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited.");
            results.push(invalid(CLUSTER_METADATA_TOPIC, &message));
        }
        results
    }
}

/// Refuses a request for more partitions than one command may make.
fn refused_whole(topics: &[&NewTopic], rules: &Rules<'_>) -> Option<ApiError> {
    let count = |topic: &&NewTopic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => i64::from(rules.num_partitions),
        (0, count) => i64::from(count.max(0)),
        (count, _) => i64::try_from(count).unwrap_or(i64::MAX),
    };
    let total = topics.iter().map(count).fold(0i64, i64::saturating_add);
    let message = "Excessively large number of partitions per request.";
    (total > PARTITIONS_MAX).then(|| ApiError::new(ResponseError::PolicyViolation, message))
}

fn create(
    image: &MetadataImage,
    topic: &NewTopic,
    rules: &Rules<'_>,
    records: &mut Vec<MetadataRecord>,
    ids: &mut BTreeSet<Uuid>,
) -> CreateTopicResult {
    let outcome = plan(image, topic, rules).and_then(|(created, topic_records)| {
        check_id(image, &topic.topic_id, ids)?;
        records.extend(topic_records);
        Ok(created)
    });
    CreateTopicResult { name: topic.name.clone(), outcome }
}

fn plan(
    image: &MetadataImage,
    topic: &NewTopic,
    rules: &Rules<'_>,
) -> Result<(CreatedTopic, Vec<MetadataRecord>), ApiError> {
    check_name(image, &topic.name)?;
    let configs = wanted_configs(topic)?;
    let resource = ConfigResource::topic(&topic.name);
    configs::check(&resource, &configs, rules)?;
    let partitions = partitions(image, topic, rules)?;

    let mut records = Vec::with_capacity(1 + configs.len() + partitions.len());
    records.push(TopicRecord { name: topic.name.clone(), topic_id: topic.topic_id }.into());
    records.extend(configs.iter().map(|(name, value)| configs::record(&resource, name, Some(value)).into()));
    records
        .extend((0..).zip(&partitions).map(|(id, partition)| partition.to_record(topic.topic_id, id).into()));
    let replication_factor = partitions.first().map_or(0, |partition| partition.replicas.len());
    let created = CreatedTopic {
        topic_id: topic.topic_id,
        num_partitions: i32::try_from(partitions.len()).expect("bounded by the whole request"),
        replication_factor: i16::try_from(replication_factor)
            .expect("bounded by its own type or by the brokers"),
        configs,
    };
    Ok((created, records))
}

fn check_name(image: &MetadataImage, name: &str) -> Result<(), ApiError> {
    if image.topic(name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(ApiError::new(ResponseError::TopicAlreadyExists, message));
    }
    let invalid = |message: String| Err(ApiError::new(ResponseError::InvalidTopicException, message));
    if let Some(why) = name_fault(name) {
        return invalid(format!("Topic name is invalid: {why}"));
    }
    if let Some(other) = image.colliding_topic(name) {
        return invalid(format!("Topic '{name}' collides with existing topic: {other}"));
    }
    Ok(())
}

/// Why no topic may have that name, in Kafka's words.
pub fn name_fault(name: &str) -> Option<String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        Some("the empty string is not allowed".to_owned())
    } else if name == "." || name == ".." {
        Some(format!("'{name}' is not allowed"))
    } else if name.encode_utf16().count() > NAME_LEN_MAX {
        Some(format!("the length of '{name}' is longer than the max allowed length {NAME_LEN_MAX}"))
    } else if !name.bytes().all(is_legal) {
        Some(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ))
    } else {
        None
    }
}

/// The caller draws ids; one that is taken or reserved is its fault, not the client's.
fn check_id(image: &MetadataImage, topic_id: &Uuid, ids: &mut BTreeSet<Uuid>) -> Result<(), ApiError> {
    let reserved = topic_id.as_u128() < 100;
    if reserved || image.topic_by_id(topic_id).is_some() || !ids.insert(*topic_id) {
        let message = format!("Topic id {topic_id} is not free.");
        return Err(ApiError::new(ResponseError::UnknownServerError, message));
    }
    Ok(())
}

/// The configurations of the request; of a key given twice the last one counts.
fn wanted_configs(topic: &NewTopic) -> Result<ConfigMap, ApiError> {
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str()).collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(ApiError::new(ResponseError::InvalidConfig, message));
    }
    let values = topic.configs.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    Ok(values.collect())
}

/// The topic's partitions by number.
fn partitions(
    image: &MetadataImage,
    topic: &NewTopic,
    rules: &Rules<'_>,
) -> Result<Vec<PartitionImage>, ApiError> {
    if !topic.assignments.is_empty() {
        return assigned_partitions(image, topic);
    }
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        let message = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(ApiError::new(ResponseError::InvalidReplicationFactor, message));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        let message = "Number of partitions was set to an invalid non-positive value.";
        return Err(ApiError::new(ResponseError::InvalidPartitions, message));
    }
    let count = if topic.num_partitions == -1 { rules.num_partitions } else { topic.num_partitions };
    let replicas = match topic.replication_factor {
        -1 => rules.default_replication_factor,
        factor => factor,
    };
    let unable = |why: String| {
        let message = format!("Unable to replicate the partition {replicas} time(s): {why}");
        ApiError::new(ResponseError::InvalidReplicationFactor, message)
    };
    let none_active = "All brokers are currently fenced or in controlled shutdown.";
    let placed = place(image, count, replicas, topic.placement_seed).map_err(unable)?;
    let partitions = placed.into_iter().map(|replicas| new_partition(image, replicas));
    partitions.collect::<Option<_>>().ok_or_else(|| unable(none_active.to_owned()))
}

/// The partitions as the client has placed them: 0 to n − 1, each once, all with as many replicas.
fn assigned_partitions(image: &MetadataImage, topic: &NewTopic) -> Result<Vec<PartitionImage>, ApiError> {
    let both = |what: &str| {
        let message = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Err(ApiError::new(ResponseError::InvalidRequest, message))
    };
    if topic.replication_factor != -1 {
        return both("replication factor");
    }
    if topic.num_partitions != -1 {
        return both("numPartitions");
    }
    let invalid = |message: String| ApiError::new(ResponseError::InvalidReplicaAssignment, message);
    let mut partitions = BTreeMap::new();
    let mut replica_count = None;
    for PartitionAssignment { partition, replicas } in &topic.assignments {
        if partitions.contains_key(partition) {
            return Err(invalid(format!(
                "Found multiple manual partition assignments for partition {partition}"
            )));
        }
        validate_replicas(image, replicas, replica_count).map_err(invalid)?;
        replica_count = Some(replicas.len());
        let inactive = || {
            format!(
                "All brokers specified in the manual partition assignment for partition {partition} are fenced or \
                 in controlled shutdown."
            )
        };
        let new = new_partition(image, replicas.clone()).ok_or_else(|| invalid(inactive()))?;
        partitions.insert(*partition, new);
    }
    if !partitions.keys().zip(0..).all(|(partition, expected)| *partition == expected) {
        return Err(invalid("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    Ok(partitions.into_values().collect())
}

/// A new partition on `replicas`, led by the first of them that is active; `None` when none is.
pub(super) fn new_partition(image: &MetadataImage, replicas: Vec<NodeId>) -> Option<PartitionImage> {
    let is_active = |id: &NodeId| image.broker(*id).is_some_and(|broker| broker.is_active());
    let isr: Vec<NodeId> = replicas.iter().copied().filter(is_active).collect();
    Some(PartitionImage {
        leader: *isr.first()?,
        directories: replicas.iter().map(|id| directory(image, *id)).collect(),
        replicas,
        isr,
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        recovering: false,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
    })
}

/// A broker's only log directory; with several it chooses itself, later (KIP-858).
fn directory(image: &MetadataImage, id: NodeId) -> Uuid {
    match image.broker(id).map_or(&[][..], |broker| &broker.log_dirs) {
        [] => DIRECTORY_MIGRATING,
        [only] => *only,
        _ => DIRECTORY_UNASSIGNED,
    }
}
