//! The internal topics: their names, and what they are created with when somebody first needs them.
//!
//! After Kafka's `AutoTopicCreationManager` and `GroupCoordinatorService.groupMetadataTopicConfigs`. As many replicas as the brokers
//! allow are fewer than asked for only where nobody asked: a default is lowered with a warning, what is set is kept, or
//! the topic is not made.

use crate::metadata::controller::NewTopic;
use uuid::Uuid;

/// Groups and their offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Transactional ids.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";
/// What share groups have delivered.
pub const SHARE_TOPIC: &str = "__share_group_state";
/// All of them; clients see them marked as internal.
pub const INTERNAL_TOPICS: [&str; 3] = [OFFSETS_TOPIC, TRANSACTIONS_TOPIC, SHARE_TOPIC];

/// What one internal topic is created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    /// Partitions, 1 or more.
    pub partitions: i32,
    /// Replicas of each, 1 or more.
    pub replication_factor: i16,
    /// Whether somebody asked for that number.
    pub replication_is_set: bool,
    /// `min.insync.replicas`, where the topic has its own, and whether somebody asked for it.
    pub min_insync: Option<(i16, bool)>,
    /// `segment.bytes`
    pub segment_bytes: i64,
    /// Further settings.
    pub configs: &'static [(&'static str, &'static str)],
}

/// The internal topics of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopics {
    /// `offsets.topic.*`
    pub offsets: InternalTopic,
    /// `transaction.state.log.*`
    pub transactions: InternalTopic,
    /// `share.coordinator.state.topic.*`
    pub share: InternalTopic,
}

impl Default for InternalTopics {
    /// Kafka's defaults.
    fn default() -> InternalTopics {
        let topic = |min_insync, configs| InternalTopic {
            partitions: 50,
            replication_factor: 3,
            replication_is_set: false,
            min_insync,
            segment_bytes: 100 << 20,
            configs,
        };
        let own_minimum = Some((2, false));
        InternalTopics {
            offsets: topic(None, &[("cleanup.policy", "compact"), ("compression.type", "producer")]),
            transactions: topic(
                own_minimum,
                &[
                    ("cleanup.policy", "compact"),
                    ("compression.type", "uncompressed"),
                    ("unclean.leader.election.enable", "false"),
                ],
            ),
            share: topic(
                own_minimum,
                &[("cleanup.policy", "delete"), ("compression.type", "producer"), ("retention.ms", "-1")],
            ),
        }
    }
}

impl InternalTopics {
    /// The internal topic of that name.
    pub fn find(&self, name: &str) -> Option<&InternalTopic> {
        match name {
            OFFSETS_TOPIC => Some(&self.offsets),
            TRANSACTIONS_TOPIC => Some(&self.transactions),
            SHARE_TOPIC => Some(&self.share),
            _ => None,
        }
    }
}

impl InternalTopic {
    /// The order to create it under `name`, where `brokers` serve; ids and seed are drawn by the caller.
    pub fn to_create(&self, name: &str, brokers: usize, topic_id: Uuid, placement_seed: u64) -> NewTopic {
        let brokers = i16::try_from(brokers).unwrap_or(i16::MAX).max(1);
        let lowers = !self.replication_is_set && self.replication_factor > brokers;
        let replication_factor = if lowers { brokers } else { self.replication_factor };
        if lowers {
            tracing::warn!(
                topic = name,
                replicas = replication_factor,
                default = self.replication_factor,
                "an internal topic is created with fewer replicas than Kafka's default: so many brokers serve"
            );
        }
        let min_insync =
            self.min_insync.map(|(min, is_set)| if is_set { min } else { min.min(replication_factor) });
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
        let mut configs: Vec<_> = self.configs.iter().map(own).collect();
        configs.extend(min_insync.map(|min| ("min.insync.replicas".to_owned(), Some(min.to_string()))));
        configs.push(("segment.bytes".to_owned(), Some(self.segment_bytes.to_string())));
        NewTopic {
            name: name.to_owned(),
            topic_id,
            num_partitions: self.partitions,
            replication_factor,
            assignments: Vec::new(),
            configs,
            placement_seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(topic: &InternalTopic, brokers: usize) -> (i16, Option<String>) {
        let created = topic.to_create("t", brokers, Uuid::nil(), 0);
        let min = created.configs.iter().find(|(name, _)| name == "min.insync.replicas");
        (created.replication_factor, min.and_then(|(_, value)| value.clone()))
    }

    #[test]
    fn a_default_is_lowered_to_the_brokers_that_serve_and_what_is_set_is_kept() {
        let defaults = InternalTopics::default();
        assert_eq!(replicas(&defaults.offsets, 1), (1, None));
        assert_eq!(replicas(&defaults.offsets, 5), (3, None));
        assert_eq!(replicas(&defaults.transactions, 1), (1, Some("1".to_owned())));
        assert_eq!(replicas(&defaults.transactions, 3), (3, Some("2".to_owned())));
        let set = InternalTopic { replication_is_set: true, ..defaults.offsets };
        assert_eq!(replicas(&set, 1), (3, None), "the controller refuses it");
    }
}
