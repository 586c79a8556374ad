//! What a shard counts in cells of its own kind, copied into its metrics now and then.

use super::{CloseCause, ProtocolError, ShardMetrics};
use crate::partition::PartitionState;
use crate::shard::Shard;
use hayate_storage::store::Store;

/// Copies the figures of `shard`, which must be the one that `metrics` belong to; to be called every second or so.
pub fn sample(shard: &Shard, store: &Store, metrics: &ShardMetrics) {
    metrics.ran(shard.rt.now());
    metrics.publish_store(store.stats());
    let counters = &shard.counters;
    metrics.connections_opened.reach(counters.accepted.get());
    metrics.sent_bytes.reach(shard.sent.bytes());
    metrics.receive_stalls.reach(shard.budget.stalls());
    metrics.receive_buffer_bytes.set(shard.budget.used_bytes() as u64);
    metrics.contained_panics.reach(counters.panicked_requests.get());
    let sessions = shard.sessions.borrow();
    metrics.fetch_sessions.set(sessions.len() as u64);
    metrics.evicted_fetch_sessions.reach(sessions.evicted());
    sample_ends(shard, metrics);
    let partitions = shard.owner.partitions();
    let offline = partitions.iter().filter(|partition| partition.state() == PartitionState::Offline);
    metrics.partitions.set(partitions.len() as u64);
    metrics.offline_partitions.set(offline.count() as u64);
}

/// Why connections ended: what is not known to have another cause was the peer's doing.
fn sample_ends(shard: &Shard, metrics: &ShardMetrics) {
    let counters = &shard.counters;
    let known = [
        (CloseCause::Idle, counters.idle_closed.get()),
        (CloseCause::Protocol, counters.refused_requests.get()),
        (CloseCause::Panic, counters.panicked_requests.get()),
    ];
    for (cause, count) in known {
        metrics.closed[cause as usize].reach(count);
    }
    metrics.protocol_errors[ProtocolError::InvalidRequest as usize].reach(counters.refused_requests.get());
    let ended = counters.accepted.get().saturating_sub(shard.connections.len() as u64);
    let known: u64 = known.iter().map(|(_, count)| count).sum();
    metrics.closed[CloseCause::Peer as usize].reach(ended.saturating_sub(known));
}
