//! Storage's figures by their names for Prometheus.

use super::text::MetricType;
use hayate_storage::store::StoreStats;

/// Name, type, help, and which of the figures.
pub(super) type StoreFigure = (&'static str, MetricType, &'static str, fn(&StoreStats) -> u64);

pub(super) const FIGURES: [StoreFigure; 10] = [
    (
        "hayate_flushes_total",
        MetricType::Counter,
        "Groups of appends made durable (Kafka: kafka.log:type=LogFlushStats,name=LogFlushRateAndTimeMs).",
        |stats| stats.wal_groups,
    ),
    (
        "hayate_wal_written_bytes_total",
        MetricType::Counter,
        "Bytes written to the write-ahead log, padding included. No counterpart in Kafka.",
        |stats| stats.wal_bytes,
    ),
    (
        "hayate_segment_written_bytes_total",
        MetricType::Counter,
        "Bytes written into segments. No counterpart in Kafka.",
        |stats| stats.materialised_bytes,
    ),
    (
        "hayate_direct_appends_total",
        MetricType::Counter,
        "Appends that went straight to the segment. No counterpart in Kafka.",
        |stats| stats.direct_appends,
    ),
    (
        "hayate_cache_hits_total",
        MetricType::Counter,
        "Reads served from memory. No counterpart in Kafka, which leaves caching to the kernel.",
        |stats| stats.cache_hits,
    ),
    (
        "hayate_cache_misses_total",
        MetricType::Counter,
        "Reads that went to a file. No counterpart in Kafka, which leaves caching to the kernel.",
        |stats| stats.cache_misses,
    ),
    (
        "hayate_storage_stalls_total",
        MetricType::Counter,
        "Times that somebody waited for memory, flushes or log space. No counterpart in Kafka.",
        |stats| stats.stalls,
    ),
    (
        "hayate_checkpoints_total",
        MetricType::Counter,
        "Checkpoints written. No counterpart in Kafka.",
        |stats| stats.checkpoints,
    ),
    (
        "hayate_chunk_bytes",
        MetricType::Gauge,
        "Memory that append chunks take: what is not yet in segments, and the cache. No counterpart in Kafka.",
        |stats| stats.chunk_bytes,
    ),
    (
        "hayate_kept_read_bytes",
        MetricType::Gauge,
        "Memory that kept reads take. No counterpart in Kafka.",
        |stats| stats.kept_read_bytes,
    ),
];
