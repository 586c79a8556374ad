//! Brokers come, may lead, may not, and go; and what that does to the partitions they hold.
//!
//! When a broker counts as dead is not decided here. Specification: Kafka's `ClusterControlManager` and
//! `ReplicationControlManager.generateLeaderAndIsrUpdates`, with one difference: a new incarnation that is the only
//! member of an in-sync set keeps the leadership, with a new leader epoch unless the last stop was clean. Kafka takes
//! the leadership and gives it back, which costs two records a partition at every start.

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{ApiError, Outcome};
use crate::metadata::image::{BrokerEpoch, METADATA_VERSION, MetadataImage, NodeId, PartitionImage};
use crate::metadata::records::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, LEADER_UNCHANGED, MetadataRecord,
    NO_LEADER, PartitionChangeRecord, RegisterBrokerRecord, UnregisterBrokerRecord,
};

/// What a broker tells when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its node id.
    pub broker_id: NodeId,
    /// The cluster it believes to be in.
    pub cluster_id: String,
    /// Drawn by the broker at each start.
    pub incarnation_id: Uuid,
    /// Where it listens.
    pub endpoints: Vec<BrokerEndpoint>,
    /// What it supports.
    pub features: Vec<BrokerFeature>,
    /// Its rack.
    pub rack: Option<String>,
    /// The ids of its log directories, each once.
    pub log_dirs: Vec<Uuid>,
    /// Whether its last stop was clean: it has everything that it ever acknowledged or showed, and nothing else.
    pub is_clean: bool,
}

/// Fails unless the broker is registered with that epoch.
pub(super) fn check_epoch(image: &MetadataImage, id: NodeId, epoch: BrokerEpoch) -> Result<(), ApiError> {
    let stale = |message: String| Err(ApiError::new(ResponseError::StaleBrokerEpoch, message));
    match image.broker(id) {
        None => stale(format!("No broker registration found for broker id {id}")),
        Some(broker) if broker.epoch != epoch => {
            stale(format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch))
        }
        Some(_) => Ok(()),
    }
}

/// Registers an incarnation: its epoch is the offset that its record gets. The same one again keeps its epoch.
pub(super) fn register(image: &MetadataImage, broker: &Registration) -> Outcome<BrokerEpoch> {
    check_registration(image, broker)?;
    let known = image.broker(broker.broker_id).filter(|known| known.incarnation_id == broker.incarnation_id);
    let epoch = known.map_or(BrokerEpoch(image.position().offset.next().0), |known| known.epoch);
    let record = RegisterBrokerRecord {
        broker_id: broker.broker_id,
        is_migrating_zk_broker: false,
        incarnation_id: broker.incarnation_id,
        broker_epoch: epoch.0,
        endpoints: broker.endpoints.clone(),
        features: broker.features.clone(),
        rack: broker.rack.clone(),
        fenced: known.is_none_or(|known| known.fenced),
        in_controlled_shutdown: known.is_some_and(|known| known.in_controlled_shutdown),
        log_dirs: broker.log_dirs.clone(),
    };
    let mut records = vec![record.into()];
    if known.is_none() {
        let id = broker.broker_id;
        records.extend(changes(image, |partition| new_incarnation(image, partition, id, broker.is_clean)));
    }
    Ok((records, epoch))
}

fn check_registration(image: &MetadataImage, broker: &Registration) -> Result<(), ApiError> {
    if broker.cluster_id != image.cluster_id() {
        let message =
            format!("Expected cluster ID {}, but got cluster ID {}", image.cluster_id(), broker.cluster_id);
        return Err(ApiError::new(ResponseError::InconsistentClusterId, message));
    }
    check_directories(image, broker)?;
    for (name, level) in image.features() {
        let supported = broker.features.iter().find(|feature| feature.name == name);
        let (min, max) = supported.map_or((0, 0), |f| (f.min_supported_version, f.max_supported_version));
        if level < min || level > max {
            let message = format!(
                "Unable to register because the broker does not support finalized version {level} of {name}. The \
                 broker wants a version between {min} and {max}, inclusive."
            );
            return Err(ApiError::new(ResponseError::UnsupportedVersion, message));
        }
    }
    Ok(())
}

fn check_directories(image: &MetadataImage, broker: &Registration) -> Result<(), ApiError> {
    let invalid = |message: String| Err(ApiError::new(ResponseError::InvalidRegistration, message));
    if image.feature_level(METADATA_VERSION) > 0 && broker.log_dirs.is_empty() {
        return invalid("No directories specified in request".to_owned());
    }
    if broker.log_dirs.iter().any(|directory| directory.as_u128() < 100) {
        return invalid("Reserved directory ID in request".to_owned());
    }
    let mut sorted = broker.log_dirs.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return invalid("Duplicate directory ID in request".to_owned());
    }
    for (id, other) in image.brokers().filter(|(id, _)| *id != broker.broker_id) {
        if let Some(taken) = other.log_dirs.iter().find(|directory| broker.log_dirs.contains(directory)) {
            return invalid(format!("Broker {id} is already registered with directory {taken}"));
        }
    }
    Ok(())
}

/// Lets the broker lead, first of all the partitions that have no leader.
pub(super) fn unfence(image: &MetadataImage, id: NodeId, epoch: BrokerEpoch) -> Outcome<()> {
    check_epoch(image, id, epoch)?;
    if image.broker(id).is_some_and(|broker| !broker.fenced) {
        return Ok((Vec::new(), ()));
    }
    let mut records = vec![fencing(id, epoch, -1)];
    records.extend(changes(image, |partition| {
        let takes = partition.leader().is_none() && partition.isr.contains(&id);
        takes.then_some(Change { isr: None, leader: id })
    }));
    Ok((records, ()))
}

/// Takes the broker's leaderships and its place in in-sync sets, then fences it.
pub(super) fn fence(image: &MetadataImage, id: NodeId, epoch: BrokerEpoch) -> Outcome<()> {
    check_epoch(image, id, epoch)?;
    if image.broker(id).is_some_and(|broker| broker.fenced) {
        return Ok((Vec::new(), ()));
    }
    let mut records: Vec<_> = changes(image, |partition| without(image, partition, id)).collect();
    records.push(fencing(id, epoch, 1));
    Ok((records, ()))
}

/// Takes the broker out of the cluster; its replicas stay assigned to it, without it.
pub(super) fn unregister(image: &MetadataImage, id: NodeId) -> Outcome<()> {
    let Some(broker) = image.broker(id) else {
        let message = format!("Broker ID {id} is not currently registered");
        return Err(ApiError::new(ResponseError::BrokerIdNotRegistered, message));
    };
    let mut records: Vec<_> = changes(image, |partition| without(image, partition, id)).collect();
    records.push(UnregisterBrokerRecord { broker_id: id, broker_epoch: broker.epoch.0 }.into());
    Ok((records, ()))
}

fn fencing(broker_id: NodeId, epoch: BrokerEpoch, fenced: i8) -> MetadataRecord {
    let change = BrokerRegistrationChangeRecord {
        broker_id,
        broker_epoch: epoch.0,
        fenced,
        in_controlled_shutdown: 0,
        log_dirs: Vec::new(),
    };
    change.into()
}

/// What happens to a partition: its new in-sync set, if another, and its new leader, or [`LEADER_UNCHANGED`].
struct Change {
    isr: Option<Vec<NodeId>>,
    leader: NodeId,
}

/// The records of what `decide` says about each partition.
fn changes(
    image: &MetadataImage,
    decide: impl Fn(&PartitionImage) -> Option<Change>,
) -> impl Iterator<Item = MetadataRecord> {
    let partitions =
        image.topics().flat_map(|topic| topic.partitions.iter().map(move |(id, p)| (topic.id, *id, p)));
    partitions.filter_map(move |(topic_id, id, partition)| {
        let Change { isr, leader } = decide(partition)?;
        Some(PartitionChangeRecord { isr, leader, ..PartitionChangeRecord::of(topic_id, id) }.into())
    })
}

/// The partition without a broker that may not lead: the last member of an in-sync set stays in it, leaderless.
fn without(image: &MetadataImage, partition: &PartitionImage, id: NodeId) -> Option<Change> {
    let was_leader = partition.leader == id;
    if !was_leader && !partition.isr.contains(&id) {
        return None;
    }
    let isr: Vec<NodeId> = partition.isr.iter().copied().filter(|member| *member != id).collect();
    let can_lead =
        |node: &NodeId| isr.contains(node) && image.broker(*node).is_some_and(|broker| broker.is_active());
    let leader = match was_leader {
        true => partition.replicas.iter().copied().find(can_lead).unwrap_or(NO_LEADER),
        false => LEADER_UNCHANGED,
    };
    let isr = (!isr.is_empty()).then_some(isr);
    (isr.is_some() || was_leader).then_some(Change { isr, leader })
}

/// The partition after the broker's new incarnation came: see the head of this module.
fn new_incarnation(
    image: &MetadataImage,
    partition: &PartitionImage,
    id: NodeId,
    is_clean: bool,
) -> Option<Change> {
    if partition.isr != [id] {
        return without(image, partition, id);
    }
    let is_bumped = !is_clean && partition.leader == id;
    is_bumped.then_some(Change { isr: None, leader: id })
}
