//! What a fetch request says, in the terms of sessions and partitions.

use crate::partition::{FetchFrom, Isolation};
use crate::shard::sessions::{SessionKey, SessionRequest, SessionTopic, Wanted};
use hayate_storage::batch::{LeaderEpoch, Offset};
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::{FetchRequest, TopicName};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// First version in which topics are named by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// First version with sessions; below it, every fetch is a full one without.
const SESSIONS_SINCE: i16 = 7;

/// How much a fetch waits for and takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes to wait for.
    pub(super) min_bytes: u64,
    /// Bytes to take at most, but for the first batch.
    pub(super) max_bytes: usize,
    /// How long to wait.
    pub(super) max_wait: Duration,
    /// How far to look.
    pub(super) isolation: Isolation,
}

impl Bounds {
    /// Of a request, which may hold at most `bytes_max` when it is answered.
    pub(super) fn of(request: &FetchRequest, bytes_max: usize, isolation: Isolation) -> Bounds {
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(bytes_max);
        Bounds {
            min_bytes: u64::try_from(request.min_bytes).unwrap_or(0).min(max_bytes as u64),
            max_bytes,
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            isolation,
        }
    }
}

/// Whether a broker fetches, to replicate.
pub(super) fn is_replica(request: &FetchRequest) -> bool {
    request.replica_id.0 >= 0 || request.replica_state.replica_id.0 >= 0
}

/// The request as its session sees it.
pub(super) fn session_request(request: FetchRequest, version: i16) -> SessionRequest {
    let by_id = version >= TOPIC_IDS_SINCE;
    let (session_id, epoch) = match version {
        SESSIONS_SINCE.. => (request.session_id, request.session_epoch),
        _ => (0, -1),
    };
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let name = session_topic(&topic.topic, topic.topic_id, by_id);
        let partitions = topic.partitions.iter();
        wanted.extend(partitions.map(|partition| {
            (SessionKey { topic: name.clone(), partition: partition.partition }, wanted_of(partition))
        }));
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let name = session_topic(&topic.topic, topic.topic_id, by_id);
        let partitions = topic.partitions.iter();
        forgotten.extend(partitions.map(|&partition| SessionKey { topic: name.clone(), partition }));
    }
    SessionRequest { session_id, epoch, by_id, wanted, forgotten }
}

/// A copy: a name in the request keeps its whole frame alive.
fn session_topic(name: &TopicName, id: Uuid, by_id: bool) -> SessionTopic {
    if by_id { SessionTopic::Id(id) } else { SessionTopic::Name(Arc::from(name.as_str())) }
}

fn wanted_of(partition: &FetchPartition) -> Wanted {
    Wanted {
        fetch_offset: partition.fetch_offset,
        current_leader_epoch: partition.current_leader_epoch,
        last_fetched_epoch: partition.last_fetched_epoch,
        max_bytes: partition.partition_max_bytes.max(0),
    }
}

/// Where a partition is read from.
pub(super) fn fetch_from(wanted: &Wanted, isolation: Isolation) -> FetchFrom {
    let told = |epoch: i32| (epoch >= 0).then_some(LeaderEpoch(epoch));
    FetchFrom {
        offset: Offset(wanted.fetch_offset),
        current_epoch: told(wanted.current_leader_epoch),
        last_fetched_epoch: told(wanted.last_fetched_epoch),
        isolation,
    }
}
