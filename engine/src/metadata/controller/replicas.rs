//! Electing leaders and moving replicas, on the terms of a cluster of one broker: a leader is where it should be, or nowhere, and there is
//! nowhere to move a replica to. Nothing here makes records.
//!
//! Specification: `electLeaders` and `alterPartitionReassignments` of Kafka's `ReplicationControlManager`. Unlike there, what is not found
//! is not named again in words for each partition: an answer does not outgrow its request.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;

use super::placement::validate_replicas;
use super::{ApiError, Decision, Reply};
use crate::metadata::image::{MetadataImage, NodeId, PartitionImage};

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first of the replicas.
    Preferred,
    /// Any, where there is none, also one that lacks records.
    Unclean,
}

impl Election {
    /// From a request's number.
    #[must_use]
    pub fn from_number(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Preferred),
            1 => Some(Self::Unclean),
            _ => None,
        }
    }
}

/// Partitions whose leaders are to be elected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectLeaders {
    /// Which leaders.
    pub election: Election,
    /// The partitions by topic; `None` for every one that needs it.
    pub topics: Option<Vec<(String, Vec<i32>)>>,
}

/// What became of the partitions of a topic, by its name.
pub type ElectedTopic = (String, Vec<(i32, ResponseError)>);

/// Partitions whose replicas are to be others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassign {
    /// Whether a partition may get more replicas than it has, or fewer.
    pub may_change_count: bool,
    /// The partitions by topic, each with its replicas to be; `None` calls off what is under way.
    pub topics: Vec<WantedTopic>,
}

/// The partitions of a topic, by its name, with the replicas that each is to have.
pub type WantedTopic = (String, Vec<(i32, Option<Vec<NodeId>>)>);

/// What became of the partitions of a topic, by its name.
pub type ReassignedTopic = (String, Vec<(i32, Option<ApiError>)>);

pub(super) fn elect(image: &MetadataImage, command: &ElectLeaders) -> Decision {
    let named = |(name, partitions): &(String, Vec<i32>)| {
        let one = |id: &i32| {
            let found = find(image, name, *id);
            (
                *id,
                found.map_or(ResponseError::UnknownTopicOrPartition, |found| {
                    election(found, command.election)
                }),
            )
        };
        (name.clone(), partitions.iter().map(one).collect())
    };
    let topics = match &command.topics {
        Some(topics) => topics.iter().map(named).collect(),
        None => elect_all(image, command.election),
    };
    Decision::atomic(Vec::new(), Reply::ElectLeaders(topics))
}

/// Every topic, with those of its partitions that would need an election.
fn elect_all(image: &MetadataImage, which: Election) -> Vec<ElectedTopic> {
    let needing = |(id, partition): (&i32, &PartitionImage)| {
        let outcome = election(partition, which);
        (outcome != ResponseError::ElectionNotNeeded).then_some((*id, outcome))
    };
    let topics = image.topics();
    topics
        .map(|topic| (topic.name.to_string(), topic.partitions.iter().filter_map(needing).collect()))
        .collect()
}

/// A leader that is not where it should be cannot be: no other broker lives.
fn election(partition: &PartitionImage, which: Election) -> ResponseError {
    match (which, partition.leader()) {
        (Election::Preferred, Some(leader)) if partition.replicas.first() == Some(&leader) => {
            ResponseError::ElectionNotNeeded
        }
        (Election::Preferred, _) => ResponseError::PreferredLeaderNotAvailable,
        (Election::Unclean, Some(_)) => ResponseError::ElectionNotNeeded,
        (Election::Unclean, None) => ResponseError::EligibleLeadersNotAvailable,
    }
}

pub(super) fn reassign(image: &MetadataImage, command: &Reassign) -> Decision {
    let of_topic = |(name, partitions): &WantedTopic| {
        let one = |(id, replicas): &(i32, Option<Vec<NodeId>>)| {
            let judged = match find(image, name, *id) {
                None => Err(ApiError { code: ResponseError::UnknownTopicOrPartition, message: None }),
                Some(found) => judge(image, found, replicas.as_deref(), command.may_change_count),
            };
            (*id, judged.err())
        };
        (name.clone(), partitions.iter().map(one).collect())
    };
    let topics = command.topics.iter().map(of_topic).collect();
    Decision::atomic(Vec::new(), Reply::Reassign(topics))
}

/// Whether a partition may stay as it is: all that can be asked for.
fn judge(
    image: &MetadataImage,
    partition: &PartitionImage,
    wanted: Option<&[NodeId]>,
    may_change_count: bool,
) -> Result<(), ApiError> {
    let Some(wanted) = wanted else {
        return Err(ApiError { code: ResponseError::NoReassignmentInProgress, message: None });
    };
    let invalid = |message: String| ApiError::new(ResponseError::InvalidReplicaAssignment, message);
    validate_replicas(image, wanted, None).map_err(invalid)?;
    let (before, after) = (partition.replicas.len(), wanted.len());
    if before != after && !may_change_count {
        let message = format!("The replication factor is changed from {before} to {after}");
        return Err(ApiError::new(ResponseError::InvalidReplicationFactor, message));
    }
    if sorted(&partition.replicas) != sorted(wanted) {
        return Err(invalid("Replicas cannot be moved: the cluster has one broker.".to_owned()));
    }
    Ok(())
}

fn sorted(replicas: &[NodeId]) -> BTreeSet<NodeId> {
    replicas.iter().copied().collect()
}

fn find<'a>(image: &'a MetadataImage, topic: &str, partition: i32) -> Option<&'a PartitionImage> {
    image.topic(topic)?.partitions.get(&partition)
}
