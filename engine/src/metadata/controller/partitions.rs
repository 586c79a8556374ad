//! Giving topics more partitions: counts and assignments, refused or turned into records.
//!
//! Each topic succeeds or fails alone, those that succeed grow together. Specification: `createPartitions` of Kafka's
//! `ControllerApis` and `ReplicationControlManager`. Unlike there, a topic that would make too many records for one
//! command is refused whole, not in the middle.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;

use super::create::new_partition;
use super::placement::{place, validate_replicas};
use super::{ApiError, Decision, RECORDS_MAX, Reply};
use crate::metadata::image::{MetadataImage, NodeId, PartitionImage, TopicImage};
use crate::metadata::records::MetadataRecord;

/// Topics to give more partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreatePartitions {
    /// The topics.
    pub topics: Vec<MorePartitions>,
    /// Whether to say only what would become of them.
    pub validate_only: bool,
}

/// A topic to give more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePartitions {
    /// Its name.
    pub name: String,
    /// How many partitions it is to have in all.
    pub count: i32,
    /// The replicas of each new partition, if the client says them.
    pub assignments: Option<Vec<Vec<NodeId>>>,
    /// Drawn by the caller: which broker the placement starts at.
    pub placement_seed: u64,
}

/// What became of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatePartitionsResult {
    /// Its name.
    pub name: String,
    /// Why it did not grow.
    pub error: Option<ApiError>,
}

pub(super) fn decide(image: &MetadataImage, command: &CreatePartitions) -> Decision {
    let duplicate = named_twice(&command.topics);
    let refused = |name: &&str| CreatePartitionsResult {
        name: (*name).to_owned(),
        error: Some(ApiError::new(ResponseError::InvalidRequest, "Duplicate topic name.")),
    };
    let mut results: Vec<CreatePartitionsResult> = duplicate.iter().map(refused).collect();
    let mut records = Vec::new();
    for topic in command.topics.iter().filter(|topic| !duplicate.contains(topic.name.as_str())) {
        let room = RECORDS_MAX - records.len();
        let planned = plan(image, topic, room).map(|new| records.extend(new));
        results.push(CreatePartitionsResult { name: topic.name.clone(), error: planned.err() });
    }
    if command.validate_only {
        records.clear();
    }
    Decision::atomic(records, Reply::CreatePartitions(results))
}

fn named_twice(topics: &[MorePartitions]) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    topics.iter().map(|topic| topic.name.as_str()).filter(|name| !seen.insert(*name)).collect()
}

/// The records of a topic's new partitions, `room` of them at most.
fn plan(image: &MetadataImage, topic: &MorePartitions, room: usize) -> Result<Vec<MetadataRecord>, ApiError> {
    let unknown = ApiError { code: ResponseError::UnknownTopicOrPartition, message: None };
    let existing = image.topic(&topic.name).ok_or(unknown)?;
    let additional = additional(existing, topic)?;
    if let Some(assignments) = &topic.assignments
        && assignments.len() != additional
    {
        let message = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        );
        return Err(ApiError::new(ResponseError::InvalidReplicaAssignment, message));
    }
    if additional > room {
        let message = "Unable to perform excessively large batch operation.";
        return Err(ApiError::new(ResponseError::PolicyViolation, message));
    }
    let partitions = match &topic.assignments {
        Some(assignments) => assigned(image, existing, assignments)?,
        None => placed(image, existing, additional, topic.placement_seed)?,
    };
    let numbered = (first_new(existing)..).zip(&partitions);
    Ok(numbered.map(|(id, partition)| partition.to_record(existing.id, id).into()).collect())
}

/// The number of the first new partition: a topic's are 0 to n − 1.
fn first_new(existing: &TopicImage) -> i32 {
    i32::try_from(existing.partitions.len()).unwrap_or(i32::MAX)
}

/// How many partitions the topic is to grow by, 1 or more.
fn additional(existing: &TopicImage, topic: &MorePartitions) -> Result<usize, ApiError> {
    let present = first_new(existing);
    if topic.count == present {
        let message = format!("Topic already has {present} partition(s).");
        return Err(ApiError::new(ResponseError::InvalidPartitions, message));
    }
    let more = i64::from(topic.count) - i64::from(present);
    usize::try_from(more).map_err(|_| {
        let message = format!(
            "The topic {} currently has {present} partition(s); {} would not be an increase.",
            topic.name, topic.count
        );
        ApiError::new(ResponseError::InvalidPartitions, message)
    })
}

/// How many replicas each partition has: as many as the first one.
fn replica_count(existing: &TopicImage) -> Result<usize, ApiError> {
    let first = existing.partitions.values().next();
    first.map(|partition| partition.replicas.len()).ok_or_else(|| {
        let message = format!("Invalid state: topic {} appears to have no partitions.", existing.name);
        ApiError::new(ResponseError::UnknownServerError, message)
    })
}

/// The new partitions as the client has placed them.
fn assigned(
    image: &MetadataImage,
    existing: &TopicImage,
    assignments: &[Vec<NodeId>],
) -> Result<Vec<PartitionImage>, ApiError> {
    let invalid = |message: String| ApiError::new(ResponseError::InvalidReplicaAssignment, message);
    let count = replica_count(existing)?;
    let one = |(id, replicas): (i32, &Vec<NodeId>)| {
        validate_replicas(image, replicas, Some(count)).map_err(invalid)?;
        new_partition(image, replicas.clone()).ok_or_else(|| {
            invalid(format!(
                "All brokers specified in the manual partition assignment for partition {id} are fenced or in controlled \
                 shutdown."
            ))
        })
    };
    (first_new(existing)..).zip(assignments).map(one).collect()
}

fn placed(
    image: &MetadataImage,
    existing: &TopicImage,
    additional: usize,
    seed: u64,
) -> Result<Vec<PartitionImage>, ApiError> {
    let invalid = |message: String| ApiError::new(ResponseError::InvalidReplicationFactor, message);
    let replicas = replica_count(existing)?;
    let factor = i16::try_from(replicas).map_err(|_| {
        let message =
            format!("Invalid replication factor {replicas}: expected a number equal to less than 32767");
        ApiError::new(ResponseError::UnknownServerError, message)
    })?;
    let count = i32::try_from(additional).expect("bounded by the records of a command");
    let placed = place(image, count, factor, seed).map_err(invalid)?;
    let inactive = || {
        invalid(format!(
            "Unable to replicate the partition {replicas} time(s): All brokers are currently fenced or in controlled \
             shutdown."
        ))
    };
    placed.into_iter().map(|replicas| new_partition(image, replicas).ok_or_else(inactive)).collect()
}
