//! How one partition's log behaves: a plain struct with Apache Kafka's topic settings and their defaults (4.2). Knows neither
//! where values come from (broker file, topic, request) nor which are allowed: the engine's configuration decides both.
//!
//! One default differs from Kafka's on purpose: `flush.messages` is 1, so that what is acknowledged is on disk.

use crate::batch::{Codec, TimestampType};

/// One minute, in milliseconds.
const MINUTE_MS: i64 = 60_000;
/// One week, in milliseconds.
const WEEK_MS: i64 = 7 * 24 * 60 * MINUTE_MS;

/// What becomes of old segments, `cleanup.policy`. Both may be on; neither means: kept for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanupPolicy {
    /// Segments beyond `retention.ms` and `retention.bytes` go.
    pub delete: bool,
    /// The last record of each key stays.
    pub compact: bool,
}

/// How the broker stores batches, `compression.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// Recompressed, where the producer used another codec ([`Codec::None`] is Kafka's `uncompressed`).
    Broker(Codec),
}

/// The settings of one partition's log. Each field names the setting it stands for.
#[derive(Clone, PartialEq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`: a batch that would make the segment larger goes to a new one; at most `i32::MAX`.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment takes batches for so long.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to so much is subtracted from `segment_ms`, at random, so that not all logs roll at once.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: the largest size of an index file; a segment with a full index rolls.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: about so many bytes of batches lie between two index entries.
    pub index_interval_bytes: u32,
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `retention.ms`: a segment whose records are all older may go; `None` (Kafka's −1): never by age.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`: segments beyond this size of the log may go; `None` (Kafka's −1): never by size.
    pub retention_bytes: Option<u64>,
    /// `file.delete.delay.ms`: how long the files of deleted segments stay, renamed.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`: records that may be acknowledged before they are flushed, plus one; 1: none.
    pub flush_messages: u64,
    /// `flush.ms`: the longest time that a record stays unflushed; `None` (Kafka's `i64::MAX`): no limit.
    pub flush_ms: Option<i64>,
    /// `max.message.bytes`: the largest batch, header included.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a record's time may lie behind the broker's.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a record's time may lie ahead of the broker's.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`
    pub compression_type: CompressionType,
    /// `compression.gzip.level`: 1 to 9, or −1 for the codec's own default.
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`: 1 to 17.
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`: −131072 to 22.
    pub compression_zstd_level: i32,
    /// `preallocate`: reserve a new segment's space at once.
    pub preallocate: bool,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: WEEK_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            retention_ms: Some(WEEK_MS),
            retention_bytes: None,
            file_delete_delay_ms: MINUTE_MS,
            flush_messages: 1,
            flush_ms: None,
            max_message_bytes: (1 << 20) + 12,
            message_timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * MINUTE_MS,
            compression_type: CompressionType::Producer,
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            preallocate: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that Kafka 4.2.1's `LogConfig` prints for an empty configuration.
    #[test]
    fn defaults_are_kafkas_but_for_the_flush() {
        let config = LogConfig::default();
        assert_eq!(config.segment_bytes, 1_073_741_824);
        assert_eq!(config.segment_ms, 604_800_000);
        assert_eq!(config.segment_index_bytes, 10_485_760);
        assert_eq!(config.retention_ms, Some(604_800_000));
        assert_eq!(config.max_message_bytes, 1_048_588);
        assert_eq!(config.file_delete_delay_ms, 60_000);
        assert_eq!(config.timestamp_after_max_ms, 3_600_000);
        assert_eq!(config.flush_messages, 1, "Kafka: i64::MAX");
    }
}
