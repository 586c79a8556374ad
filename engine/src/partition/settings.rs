//! What a topic's configuration means to one of its partitions.

use super::topic_config::ConfigError;
use hayate_storage::batch::ProduceRules;
use hayate_storage::config::{CompressionType, LogConfig};
use std::collections::BTreeMap;

/// The settings of one partition; shared by all partitions of a topic on a shard.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionSettings {
    /// How its log behaves.
    pub log: LogConfig,
    /// `min.insync.replicas`: fewer in-sync replicas refuse acks=all.
    pub min_insync_replicas: usize,
    /// `transaction.partition.verification.enable`: whether the coordinator is asked before a transaction's first records are taken.
    pub verifies_transactions: bool,
    /// Settings that are checked and shown, and have no effect yet: their text by name.
    kept: BTreeMap<&'static str, String>,
}

impl Default for PartitionSettings {
    fn default() -> PartitionSettings {
        PartitionSettings {
            log: LogConfig::default(),
            min_insync_replicas: 1,
            verifies_transactions: true,
            kept: BTreeMap::new(),
        }
    }
}

impl PartitionSettings {
    /// Whether records may be acknowledged and read before they are flushed.
    pub fn is_flush_relaxed(&self) -> bool {
        self.log.flush_messages > 1
    }

    /// What a batch must look like that a produce request of `produce_version` brings.
    pub fn rules(&self, produce_version: i16) -> ProduceRules {
        ProduceRules {
            produce_version,
            batch_bytes_max: self.log.max_message_bytes as usize,
            timestamp_type: self.log.message_timestamp_type,
            timestamp_before_max_ms: self.log.timestamp_before_max_ms,
            timestamp_after_max_ms: self.log.timestamp_after_max_ms,
            codec: match self.log.compression_type {
                CompressionType::Producer => None,
                CompressionType::Broker(codec) => Some(codec),
            },
            compacted: self.log.cleanup_policy.compact,
            ..ProduceRules::default()
        }
    }

    /// Keeps a value that `checked` found good.
    pub(super) fn keep<T>(
        &mut self,
        name: &'static str,
        value: &str,
        checked: Result<T, ConfigError>,
    ) -> Result<(), ConfigError> {
        checked?;
        self.kept.insert(name, value.to_owned());
        Ok(())
    }

    /// A kept value, or the default.
    pub(super) fn kept(&self, name: &str, default: &str) -> String {
        self.kept.get(name).cloned().unwrap_or_else(|| default.to_owned())
    }
}
