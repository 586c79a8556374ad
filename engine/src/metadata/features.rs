//! The features of a cluster (KIP-584): which of Kafka's this software has, and what a change of level needs to know.
//!
//! A feature whose level here could only be 0 is not listed: what is not built is not announced. The log may hold more of
//! them, if it came from elsewhere; they can be shown and switched off. Levels and names are those of Kafka 4.2's
//! `MetadataVersion` and `Feature`.

use super::image::METADATA_VERSION;

/// Lowest and highest `metadata.version` whose records are understood (Kafka 3.3-IV3 to 4.2-IV1).
pub const METADATA_VERSIONS: (i16, i16) = (7, 29);

/// The levels of a feature that a node can run at, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    /// Kafka's name for it.
    pub name: &'static str,
    /// The lowest.
    pub level_min: i16,
    /// The highest, 1 or more.
    pub level_max: i16,
}

/// What this software has.
pub const SUPPORTED: &[SupportedFeature] = &[
    SupportedFeature {
        name: METADATA_VERSION,
        level_min: METADATA_VERSIONS.0,
        level_max: METADATA_VERSIONS.1,
    },
    SupportedFeature { name: GROUP_VERSION, level_min: 0, level_max: 1 },
    SupportedFeature { name: TRANSACTION_VERSION, level_min: 0, level_max: 2 },
    SupportedFeature { name: SHARE_VERSION, level_min: 0, level_max: 1 },
];

/// Whether there are groups of the consumer protocol: from 1 on (KIP-848).
pub const GROUP_VERSION: &str = "group.version";

/// Which transaction protocol clients use: from 2 on their epochs grow with each end (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// Whether there are share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";

/// The other features that Kafka 4.2 has, each of which can be off, with their highest levels: a folder that Kafka has left has
/// them finalized, and they are kept as they are.
pub const OF_KAFKA: [(&str, i16); 2] = [("eligible.leader.replicas.version", 1), ("streams.version", 1)];

/// The quorum's own feature: its level is no record of the log.
pub const KRAFT_VERSION: &str = "kraft.version";

/// Levels of `metadata.version` that brought records or fields which lower ones cannot hold (Kafka's `didMetadataChange`).
const CHANGES_OF_RECORDS: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];

/// The levels of a feature that this software can run at; 0 to 0 for one that it lacks.
#[must_use]
pub fn supported_levels(name: &str) -> (i16, i16) {
    let found = SUPPORTED.iter().find(|feature| feature.name == name);
    found.map_or((0, 0), |feature| (feature.level_min, feature.level_max))
}

fn is_of_kafka(name: &str) -> bool {
    OF_KAFKA.iter().any(|(feature, _)| *feature == name)
}

/// Whether Kafka has a feature of that name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    name == KRAFT_VERSION || is_of_kafka(name) || SUPPORTED.iter().any(|feature| feature.name == name)
}

/// Whether records written at `metadata.version` `from` may hold what the lower level `to` cannot.
#[must_use]
pub fn loses_metadata(from: i16, to: i16) -> bool {
    CHANGES_OF_RECORDS.iter().any(|level| to < *level && *level <= from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_can_be_on() {
        assert!(SUPPORTED.iter().all(|feature| feature.level_max >= feature.level_min.max(1)));
        assert!(SUPPORTED.iter().all(|feature| !is_of_kafka(feature.name)));
        assert_eq!(supported_levels(METADATA_VERSION), METADATA_VERSIONS);
        assert_eq!((supported_levels(GROUP_VERSION), supported_levels("streams.version")), ((0, 1), (0, 0)));
        assert!(is_known(GROUP_VERSION) && is_known(METADATA_VERSION) && !is_known("no.such"));
    }

    #[test]
    fn metadata_is_lost_where_kafka_says_so() {
        for (from, to, expected) in
            [(29, 28, false), (29, 23, false), (29, 22, true), (22, 17, false), (22, 16, true), (8, 7, true)]
        {
            assert_eq!(loses_metadata(from, to), expected, "{from} to {to}");
        }
    }
}
