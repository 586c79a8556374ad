//! Leaving our folder to Kafka: a snapshot of the metadata that it loads, what it reads of the logs, and then the folder.
//!
//! In this order, each step durable before the next: the snapshot, at the end of our own log and in its folder, with the
//! quorum's voters where Kafka keeps them in its log; Kafka's checkpoints and its word of a clean stop; `quorum-state`, from which on
//! the folder is Kafka's; and last our own files go.

use super::read::read_metadata;
use super::{Owner, QUORUM_STATE, Report, metadata_folder, metadata_partition, owner, refused};
use crate::broker::metadata_log::{START_FILE, STATE_FILE};
use crate::broker::{BrokerOptions, StartError};
use crate::metadata::image::{MetadataImage, Position};
use crate::metadata::kafka::Survey;
use crate::metadata::snapshot::file::{QuorumRecords, SnapshotId, encode_with};
use crate::placement::FILE_NAME as PLACEMENT_FILE;
use hayate_rt::Rt;
use hayate_storage::batch::NO_TIMESTAMP_MS;
use hayate_storage::batch::control::{Voter, kraft_version_value, kraft_voters_value};
use hayate_storage::checkpoint::meta_properties::META_PROPERTIES_BYTES_MAX;
use hayate_storage::checkpoint::uuid_text::uuid_to_text;
use hayate_storage::checkpoint::{META_PROPERTIES, MetaProperties};
use hayate_storage::disk::Disk;
use hayate_storage::kafka_folder::{check_settled, forget_ours, leave_for_kafka, settled_end};
use std::sync::Arc;

/// How the Kafka that is to come knows who votes in its quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// By its file: `controller.quorum.voters`.
    Static,
    /// By its log; name, host and port of its controllers' listener.
    InLog(String, String, u16),
}

/// Leaves the folder to Kafka, unless `dry_run`; says what there is.
///
/// # Errors
/// [`StartError::Kafka`] with cause and remedy, before anything was changed; those of the disk, after which the same goes on.
pub async fn leave(
    rt: &Rt,
    disk: &Disk,
    options: &BrokerOptions,
    quorum: &Quorum,
    dry_run: bool,
) -> Result<Report, StartError> {
    let data_dir = &options.data_dir;
    match owner(disk, data_dir).await? {
        Owner::Hayate => {}
        Owner::Kafka => {
            // A crash may have come before the last step.
            return end(disk, options, dry_run).await;
        }
        Owner::Nobody => return Err(refused("the folder holds no data of this broker's")),
    }
    check_settled(disk, data_dir).await.map_err(refused)?;
    let identity = identity(disk, options).await?;
    let image = read_image(disk, options, &identity.cluster_id).await?;
    let broker = image.broker(options.node_id).ok_or_else(|| refused("this broker has never run on it"))?;
    let epoch = broker.epoch.0;
    if !dry_run {
        let records = quorum_records(quorum, &identity)?;
        let snapshot = encode_with(&image, &records, NO_TIMESTAMP_MS, rt.wall_ms());
        let snapshot =
            snapshot.map_err(|error| refused(format!("the metadata cannot be written: {error}")))?;
        let folder = metadata_folder(data_dir);
        disk.replace(folder.join(SnapshotId::of(image.position()).to_string()), snapshot).await?;
        leave_for_kafka(disk, data_dir, &metadata_partition(), epoch).await.map_err(refused)?;
        let state = quorum_state(image.position());
        disk.replace_small(folder.join(QUORUM_STATE), state.as_bytes()).await?;
        end(disk, options, dry_run).await?;
    }
    Ok(report(&identity, &image, quorum))
}

async fn identity(disk: &Disk, options: &BrokerOptions) -> Result<MetaProperties, StartError> {
    let bytes = disk.read_small(options.data_dir.join(META_PROPERTIES), META_PROPERTIES_BYTES_MAX).await?;
    let bytes = bytes.ok_or_else(|| refused("meta.properties is missing: restore it"))?;
    MetaProperties::parse(&bytes).map_err(refused)
}

/// The image at the end of the metadata log, as it lies there.
async fn read_image(
    disk: &Disk,
    options: &BrokerOptions,
    cluster_id: &str,
) -> Result<Arc<MetadataImage>, StartError> {
    let end = settled_end(disk, &options.data_dir, &metadata_partition()).await.map_err(refused)?;
    let end = end.ok_or_else(|| refused("this broker has never run on it"))?;
    let (mut metadata, _) = read_metadata(disk, &options.data_dir, cluster_id).await?;
    if metadata.next() != end {
        let next = metadata.next();
        return Err(refused(format!(
            "its metadata end at offset {next}, and they went on to {end}: restore the folder"
        )));
    }
    metadata.image().ok_or_else(|| refused("a transaction of metadata is open"))
}

fn quorum_records(quorum: &Quorum, identity: &MetaProperties) -> Result<QuorumRecords, StartError> {
    let Quorum::InLog(name, host, port) = quorum else { return Ok(QuorumRecords::default()) };
    let directory_id = identity.directory_id.ok_or_else(|| refused("meta.properties has no directory.id"))?;
    let endpoint = (name.clone(), host.clone(), *port);
    let voter = Voter { id: identity.node_id, directory_id, endpoint };
    let voters =
        kraft_voters_value(&voter).ok_or_else(|| refused("the controllers' listener has too long a name"))?;
    Ok(QuorumRecords { version: Some(kraft_version_value(1).into()), voters: Some(voters.into()) })
}

/// Nobody leads, nobody was voted for; the epoch is that of the log.
fn quorum_state(at: Position) -> String {
    let nobody = uuid_to_text([0; 16]);
    format!(
        "{{\"leaderId\":-1,\"leaderEpoch\":{},\"votedId\":-1,\"votedDirectoryId\":\"{nobody}\",\"data_version\":1}}",
        at.epoch
    )
}

/// The folder is Kafka's: what we know of it goes.
async fn end(disk: &Disk, options: &BrokerOptions, dry_run: bool) -> Result<Report, StartError> {
    let data_dir = &options.data_dir;
    let report = Report { done: vec!["the folder is Kafka's".to_owned()], warnings: Vec::new() };
    if dry_run {
        return Ok(report);
    }
    for file in [PLACEMENT_FILE, STATE_FILE, START_FILE] {
        if disk.exists(data_dir.join(file)).await? {
            disk.remove_file(data_dir.join(file)).await?;
        }
    }
    forget_ours(disk, data_dir).await?;
    Ok(report)
}

fn report(identity: &MetaProperties, image: &MetadataImage, quorum: &Quorum) -> Report {
    let survey = Survey::of(image);
    let voters = match quorum {
        Quorum::Static => "controller.quorum.voters of its file".to_owned(),
        Quorum::InLog(_, host, port) => format!("its log: node {} at {host}:{port}", identity.node_id),
    };
    let done = vec![
        format!(
            "left to Kafka: cluster {}, node {}, metadata up to offset {}",
            identity.cluster_id,
            identity.node_id,
            image.position().offset
        ),
        format!("{} topics with {} partitions", survey.topics, survey.partitions),
        format!("Kafka learns who votes from {voters}"),
    ];
    let mut warnings = Vec::new();
    if image.feature_level("streams.version") == 0 {
        warnings.push(
            "features that Kafka alone has are not finalized: once it runs, kafka-features.sh upgrade --release-version 4.2"
                .to_owned(),
        );
    }
    Report { done, warnings }
}
