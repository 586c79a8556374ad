//! What is in a Kafka node's metadata, counted: what is taken over, and what is kept without anybody acting on it.

use crate::coordinator::group::configs::GROUP_SETTINGS;
use crate::metadata::image::{ConfigKind, ConfigResource, MetadataImage, OpaqueSection};

/// The topic that Kafka's share coordinators keep their state in.
const SHARE_STATE: &str = "__share_group_state";
/// A topic's setting that moves its older segments to another store.
const TIERED: &str = "remote.storage.enable";

/// Counts of what is in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Topics.
    pub topics: usize,
    /// Their partitions.
    pub partitions: usize,
    /// Settings of topics.
    pub topic_configs: usize,
    /// Settings of brokers.
    pub broker_configs: usize,
    /// What is kept and not acted on: how many, and of what.
    pub left: Vec<(usize, String)>,
}

impl Survey {
    /// Counts.
    #[must_use]
    pub fn of(image: &MetadataImage) -> Survey {
        let settings = |kind| {
            let of_kind = image.configs().filter(move |(resource, _)| resource.kind == kind);
            of_kind.map(|(_, values)| values.len()).sum::<usize>()
        };
        let kept = |section| image.opaque(section).len();
        let of_kind = |section, api_key| {
            image.opaque(section).iter().filter(|record| record.api_key == api_key).count()
        };
        let acls = of_kind(OpaqueSection::AccessControl, 18)
            .saturating_sub(of_kind(OpaqueSection::AccessControl, 19));
        let share_state = image.topic(SHARE_STATE).map_or(0, |topic| topic.partitions.len());
        let mut left = vec![
            (acls, "access control entries: everybody may do everything".to_owned()),
            (kept(OpaqueSection::Quotas), "records of client quotas: nobody is throttled".to_owned()),
            (
                kept(OpaqueSection::Credentials),
                "records of SCRAM credentials: nobody is asked for any".to_owned(),
            ),
            (kept(OpaqueSection::Tokens), "records of delegation tokens".to_owned()),
            (foreign_of_groups(image), "settings of share groups and streams groups".to_owned()),
            (settings(ConfigKind::ClientMetrics), "settings of client metrics".to_owned()),
            (tiered(image), "topics with tiered storage: only their local segments can be read".to_owned()),
            (
                share_state,
                format!("partitions of {SHARE_STATE}, with the state of share groups: kept as records"),
            ),
        ];
        left.retain(|(count, _)| *count > 0);
        Survey {
            topics: image.topic_count(),
            partitions: image.topics().map(|topic| topic.partitions.len()).sum(),
            topic_configs: settings(ConfigKind::Topic),
            broker_configs: settings(ConfigKind::Broker),
            left,
        }
    }
}

/// Settings of kinds of groups that are not built.
fn foreign_of_groups(image: &MetadataImage) -> usize {
    let of_groups = image.configs().filter(|(resource, _)| resource.kind == ConfigKind::Group);
    let is_known = |name: &String| GROUP_SETTINGS.iter().any(|setting| setting.name == name);
    of_groups.flat_map(|(_, configs)| configs.keys()).filter(|name| !is_known(name)).count()
}

fn tiered(image: &MetadataImage) -> usize {
    let is_tiered = |name: &str| {
        let configs = image.config(&ConfigResource::topic(name));
        configs.is_some_and(|configs| configs.get(TIERED).is_some_and(|value| value == "true"))
    };
    image.topics().filter(|topic| is_tiered(&topic.name)).count()
}
