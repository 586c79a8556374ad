//! Which brokers get a new partition's replicas.
//!
//! Brokers are laid out so that neighbours lie on different racks, partitions start one broker further each, and fenced
//! brokers get what the others cannot hold, never the leader. After Kafka's `StripedReplicaPlacer`; it only reads the image.

use std::collections::{BTreeMap, VecDeque};

use crate::metadata::image::{MetadataImage, NodeId};

/// Replicas for partitions 0 to `count` − 1, `replication_factor` each; the first is the leader to be.
///
/// `seed` chooses where the first partition starts.
///
/// # Errors
/// There are not enough brokers: the message for the client.
pub(super) fn place(
    image: &MetadataImage,
    count: i32,
    replication_factor: i16,
    seed: u64,
) -> Result<Vec<Vec<NodeId>>, String> {
    let active = striped(image, false);
    let fenced = striped(image, true);
    let wanted = usize::try_from(replication_factor).unwrap_or(0);
    if wanted == 0 {
        return Err(format!(
            "Invalid replication factor {replication_factor}: the replication factor must be positive."
        ));
    }
    if active.is_empty() {
        return Err("All brokers are currently fenced.".to_owned());
    }
    let total = active.len() + fenced.len();
    if wanted > total {
        return Err(format!(
            "The target replication factor of {replication_factor} cannot be reached because only {total} broker(s) \
             are registered."
        ));
    }
    let first = usize::try_from(seed % active.len() as u64).unwrap_or(0);
    let count = usize::try_from(count).unwrap_or(0);
    Ok((0..count).map(|partition| replicas(&active, &fenced, first + partition, wanted)).collect())
}

/// `wanted` brokers from `start` on, fenced ones only when the others are used up.
///
/// Each full turn shifts the followers by one, so that a leader's partitions do not share all their followers.
fn replicas(active: &[NodeId], fenced: &[NodeId], start: usize, wanted: usize) -> Vec<NodeId> {
    let (leader, turn) = (start % active.len(), start / active.len());
    let mut others: Vec<NodeId> =
        (1..active.len()).map(|step| active[(leader + step) % active.len()]).collect();
    if !others.is_empty() {
        let shift = turn % others.len();
        others.rotate_left(shift);
    }
    let spare = (0..fenced.len()).map(|step| fenced[(start + step) % fenced.len()]);
    std::iter::once(active[leader]).chain(others).chain(spare).take(wanted).collect()
}

/// The brokers that are (not) fenced, one of each rack in turn.
fn striped(image: &MetadataImage, fenced: bool) -> Vec<NodeId> {
    let mut racks: BTreeMap<Option<&str>, VecDeque<NodeId>> = BTreeMap::new();
    for (id, broker) in image.brokers().filter(|(_, broker)| broker.fenced == fenced) {
        racks.entry(broker.rack.as_deref()).or_default().push_back(id);
    }
    let mut brokers = Vec::new();
    while !racks.is_empty() {
        brokers.extend(racks.values_mut().filter_map(VecDeque::pop_front));
        racks.retain(|_, rack| !rack.is_empty());
    }
    brokers
}

/// Whether a client may place a partition on `replicas`, when earlier partitions have `replica_count`.
///
/// # Errors
/// The message for the client.
pub(super) fn validate_replicas(
    image: &MetadataImage,
    replicas: &[NodeId],
    replica_count: Option<usize>,
) -> Result<(), String> {
    if replicas.is_empty() {
        return Err("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut last = None;
    for id in sorted {
        if image.broker(id).is_none() {
            return Err(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if last == Some(id) {
            return Err(format!("The manual partition assignment includes the broker {id} more than once."));
        }
        last = Some(id);
    }
    match replica_count {
        Some(count) if count != replicas.len() => Err(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {count} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}
