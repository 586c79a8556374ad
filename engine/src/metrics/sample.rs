//! What a shard counts in cells of its own kind, copied into its metrics now and then.

use super::tour::{sample_groups, sample_transactions};
use super::{ClientCells, ShardMetrics};
use crate::partition::PartitionState;
use crate::shard::Shard;
use hayate_storage::store::Store;

/// Copies the figures of `shard`, which must be the one that `metrics` belong to; to be called every second or so.
pub fn sample(shard: &Shard, store: &Store, metrics: &ShardMetrics) {
    metrics.ran(shard.rt.now());
    let overruns = shard.rt.overruns();
    metrics.task_overruns.reach(overruns.count);
    metrics.task_nanos_max.raise(u64::try_from(overruns.longest.as_nanos()).unwrap_or(u64::MAX));
    metrics.publish_store(store.stats());
    metrics.sent_bytes.reach(shard.sent.bytes());
    metrics.receive_stalls.reach(shard.budget.stalls());
    metrics.receive_buffer_bytes.set(shard.budget.used_bytes() as u64);
    metrics.queue_stalls.reach(shard.queued.stalls());
    metrics.answer_stalls.reach(shard.answers.stalls());
    metrics.answer_bytes.set(shard.answers.used_bytes() as u64);
    let zerocopy = shard.network.zerocopy_figures();
    metrics.zerocopy_sends.reach(zerocopy.sends);
    metrics.zerocopy_bytes.reach(zerocopy.bytes);
    metrics.zerocopy_completions.reach(zerocopy.completions);
    metrics.zerocopy_copied.reach(zerocopy.copied);
    metrics.zerocopy_fallbacks.reach(zerocopy.fallbacks);
    metrics.zerocopy_refusals.reach(zerocopy.refusals);
    metrics.zerocopy_pinned_bytes.set(zerocopy.pinned_bytes as u64);
    let sessions = shard.sessions.borrow();
    metrics.fetch_sessions.set(sessions.len() as u64);
    metrics.evicted_fetch_sessions.reach(sessions.evicted());
    sample_clients(shard, &metrics.clients);
    sample_groups(shard, &metrics.groups);
    sample_transactions(shard, &metrics.transactions);
    let partitions = shard.owner.partitions();
    let offline = partitions.iter().filter(|partition| partition.state() == PartitionState::Offline);
    metrics.partitions.set(partitions.len() as u64);
    metrics.offline_partitions.set(offline.count() as u64);
}

fn sample_clients(shard: &Shard, cells: &ClientCells) {
    let mut clients = shard.telemetry.borrow_mut();
    let counts = clients.counts();
    cells.instances.set(clients.len() as u64);
    cells.pushes.reach(counts.pushes);
    cells.throttled.reach(counts.throttled);
    cells.unknown_subscriptions.reach(counts.unknown_subscriptions);
    cells.unreadable.reach(counts.unreadable);
    cells.left_out_points.reach(counts.left_out_points);
    if let Some(figures) = clients.changed()
        && cells.publish(&figures)
    {
        clients.published();
    }
}
