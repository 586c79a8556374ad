//! Transactions: how many there are, and how they end. Counted by the coordinators, read once a second.

use super::cells::{Counter, Gauge};
use super::text::{MetricType, TextWriter};
use crate::coordinator::txn::{TxnCounters, TxnGauges};

/// What one shard counts as a coordinator of transactions.
#[derive(Debug, Default)]
pub struct TxnCells {
    committed: Counter,
    aborted: Counter,
    timed_out: Counter,
    fenced: Counter,
    refused_epochs: Counter,
    expired: Counter,
    ids: Gauge,
    ongoing: Gauge,
    preparing: Gauge,
}

impl TxnCells {
    /// Adds what has been done.
    pub fn count(&self, counters: &TxnCounters) {
        self.committed.add(counters.committed);
        self.aborted.add(counters.aborted);
        self.timed_out.add(counters.timed_out);
        self.fenced.add(counters.fenced);
        self.refused_epochs.add(counters.refused_epochs);
        self.expired.add(counters.expired);
    }

    /// What there is now.
    pub fn publish(&self, gauges: TxnGauges) {
        self.ids.set(gauges.ids as u64);
        self.ongoing.set(gauges.ongoing as u64);
        self.preparing.set(gauges.preparing as u64);
    }
}

type Cell = fn(&TxnCells) -> u64;

const FAMILIES: [(&str, MetricType, &str, Cell); 5] = [
    (
        "hayate_transactional_ids",
        MetricType::Gauge,
        "Transactional ids that are kept. No counterpart in Kafka (kafka-transactions list shows them).",
        |cells| cells.ids.get(),
    ),
    (
        "hayate_transaction_timeouts_total",
        MetricType::Counter,
        "Transactions aborted because they took longer than their producer had asked for. No counterpart in Kafka.",
        |cells| cells.timed_out.get(),
    ),
    (
        "hayate_transaction_fences_total",
        MetricType::Counter,
        "Transactions aborted because another producer began with their transactional id. No counterpart in Kafka.",
        |cells| cells.fenced.get(),
    ),
    (
        "hayate_transaction_epoch_refusals_total",
        MetricType::Counter,
        "Requests refused because of their producer's epoch: it was fenced. No counterpart in Kafka.",
        |cells| cells.refused_epochs.get(),
    ),
    (
        "hayate_transactional_id_expirations_total",
        MetricType::Counter,
        "Transactional ids that nobody has used for transactional.id.expiration.ms. No counterpart in Kafka.",
        |cells| cells.expired.get(),
    ),
];

/// Writes all of it, of every shard together.
pub(super) fn render<'a>(text: &mut TextWriter, shards: impl Iterator<Item = &'a TxnCells> + Clone) {
    for (name, kind, help, value) in FAMILIES {
        text.single(name, kind, help, shards.clone().map(value).sum());
    }
    let sum = |value: Cell| shards.clone().map(value).sum();
    let help = "Transactions that are open, and those whose markers are being written (Kafka's nearest: \
                kafka.coordinator.transaction:type=TransactionMarkerChannelManager,name=UnknownDestinationQueueSize).";
    text.family("hayate_transactions", MetricType::Gauge, help);
    text.sample(&[("state", "Ongoing")], sum(|cells| cells.ongoing.get()));
    text.sample(&[("state", "Prepare")], sum(|cells| cells.preparing.get()));
    let help = "Transactions that were decided, by outcome. No counterpart in Kafka.";
    text.family("hayate_transactions_ended_total", MetricType::Counter, help);
    text.sample(&[("outcome", "commit")], sum(|cells| cells.committed.get()));
    text.sample(&[("outcome", "abort")], sum(|cells| cells.aborted.get()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_added_up() {
        let [one, other] = [TxnCells::default(), TxnCells::default()];
        one.count(&TxnCounters { committed: 2, aborted: 1, timed_out: 1, ..TxnCounters::default() });
        other.count(&TxnCounters { committed: 3, refused_epochs: 4, ..TxnCounters::default() });
        other.count(&TxnCounters { committed: 1, ..TxnCounters::default() });
        one.publish(TxnGauges { ids: 5, ongoing: 1, preparing: 0 });
        other.publish(TxnGauges { ids: 2, ongoing: 1, preparing: 1 });
        let mut text = TextWriter::default();
        render(&mut text, [&one, &other].into_iter());
        let text = text.finish();
        for line in [
            "hayate_transactional_ids 7",
            "hayate_transactions{state=\"Ongoing\"} 2",
            "hayate_transactions{state=\"Prepare\"} 1",
            "hayate_transactions_ended_total{outcome=\"commit\"} 6",
            "hayate_transactions_ended_total{outcome=\"abort\"} 1",
            "hayate_transaction_timeouts_total 1",
            "hayate_transaction_epoch_refusals_total 4",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
    }
}
