//! An image as the records of a KRaft snapshot, and back.
//!
//! It knows the order in which Kafka writes a snapshot (`MetadataImage.write` of Kafka 4.2, KIP-630); the bytes that hold it,
//! with header and footer, batches and a name, are [`file`]'s. The cluster's id stands outside.

pub mod file;

use super::image::{ApplyError, METADATA_VERSION, MetadataImage, OpaqueSection, Position};
use super::records::{ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord};

/// The records that make up `image`: features with `metadata.version` first, brokers, controllers, topics each with
/// its partitions, configurations, quotas, producer ids, then access control, credentials and tokens.
#[must_use]
pub fn to_records(image: &MetadataImage) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    features(image, &mut records);
    records.extend(image.brokers().map(|(id, broker)| broker.to_record(id).into()));
    records.extend(image.controllers().map(|(id, controller)| controller.to_record(id).into()));
    topics(image, &mut records);
    configs(image, &mut records);
    opaque(image, &mut records, OpaqueSection::Quotas);
    if image.has_producer_ids() {
        let next_producer_id = image.next_producer_id().0;
        records.push(ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id }.into());
    }
    for section in [OpaqueSection::AccessControl, OpaqueSection::Credentials, OpaqueSection::Tokens] {
        opaque(image, &mut records, section);
    }
    records
}

/// The image that `records`, the whole of a snapshot, make up; `position` is what the snapshot accounts for.
///
/// # Errors
/// A record that does not fit those before it.
pub fn from_records(
    cluster_id: &str,
    records: &[MetadataRecord],
    position: Position,
) -> Result<MetadataImage, ApplyError> {
    MetadataImage::of_snapshot(cluster_id, records, position)
}

fn features(image: &MetadataImage, records: &mut Vec<MetadataRecord>) {
    let record = |(name, feature_level): (&str, i16)| {
        FeatureLevelRecord { name: name.to_owned(), feature_level }.into()
    };
    let is_version = |feature: &(&str, i16)| feature.0 == METADATA_VERSION;
    records.extend(image.features().filter(is_version).map(record));
    records.extend(image.features().filter(|feature| !is_version(feature)).map(record));
}

fn topics(image: &MetadataImage, records: &mut Vec<MetadataRecord>) {
    for topic in image.topics() {
        records.push(TopicRecord { name: topic.name.to_string(), topic_id: topic.id }.into());
        records
            .extend(topic.partitions.iter().map(|(id, partition)| partition.to_record(topic.id, *id).into()));
    }
}

fn configs(image: &MetadataImage, records: &mut Vec<MetadataRecord>) {
    for (resource, values) in image.configs() {
        records.extend(values.iter().map(|(name, value)| {
            ConfigRecord {
                resource_type: resource.kind.number(),
                resource_name: resource.name.clone(),
                name: name.clone(),
                value: Some(value.clone()),
            }
            .into()
        }));
    }
}

fn opaque(image: &MetadataImage, records: &mut Vec<MetadataRecord>, section: OpaqueSection) {
    records.extend(image.opaque(section).iter().cloned().map(MetadataRecord::Opaque));
}

#[cfg(test)]
pub(crate) mod tests;
