//! What shard 0 does before anybody else can start: the folder's identity, recovery, the metadata, this broker's
//! registration in it, and the first placement.

use super::controller::ControllerService;
use super::kafka;
use super::metadata_log::{self, MetadataLog, Opened};
use super::progress::ProgressLog;
use super::{Advertised, BrokerOptions, ListenerOptions, StartError};
use crate::metadata::controller::{Command, Registration, Reply};
use crate::metadata::features::{OF_KAFKA, SUPPORTED, SupportedFeature};
use crate::metadata::image::{BrokerEpoch, METADATA_VERSION, MetadataImage};
use crate::metadata::quorum::Quorum;
use crate::metadata::records::{BrokerEndpoint, BrokerFeature, FeatureLevelRecord, MetadataRecord};
use crate::placement::{FILE_BYTES_MAX, FILE_NAME, Placement};
use crate::shard::view::ClusterView;
use hayate_net::wire::topic::topic_id_to_text;
use hayate_rt::mailbox::Publisher;
use hayate_rt::{Queue, Rt};
use hayate_storage::checkpoint::meta_properties::META_PROPERTIES_BYTES_MAX;
use hayate_storage::checkpoint::{META_PROPERTIES, MetaProperties};
use hayate_storage::disk::Disk;
use hayate_storage::foreign::{is_of_data_folder, name_foreign};
use hayate_storage::names::{FolderMark, FolderName};
use hayate_storage::recovery::{RecoveryProgress, RecoveryReport, RecoveryStage, acted_on, recover};
use std::sync::Arc;
use uuid::Uuid;

/// Brings the folder and the metadata up to date and publishes the first view.
///
/// # Errors
/// [`StartError`], each with cause and remedy.
pub(super) async fn first_shard(
    rt: &Rt,
    disk: &Disk,
    options: &Arc<BrokerOptions>,
    views: &Arc<Publisher<ClusterView>>,
    shards: u16,
) -> Result<ControllerService, StartError> {
    disk.create_dir_all(&options.data_dir).await?;
    come_by(rt, disk, options).await?;
    let identity = identity(rt, disk, options).await?;
    let mut progress = ProgressLog::new(rt);
    let mut recovering = |now: RecoveryProgress| _ = progress.tell(stage_of(&now), now.done, now.of);
    let report = recover(rt, disk, &options.data_dir, &mut recovering).await?;
    log_report(&report);
    let Opened { log, loaded, image } = MetadataLog::open(rt, disk, options, &identity.cluster_id).await?;
    let quorum = Quorum::new(options.node_id, loaded, rt.random_u64())?;
    let mut service =
        ControllerService::new(rt.clone(), disk.clone(), options.clone(), quorum, log, image, views.clone());
    service.settle().await?;
    register(rt, disk, &mut service, options, &identity, report.clean).await?;
    acted_on(disk, &options.data_dir).await?;
    set_strays_aside(rt, disk, options, service.image()).await?;
    remove_deleted(rt, disk, options).await?;
    let last = last_placement(disk, options).await?;
    service.begin_placement(last, shards).await?;
    service.publish().await?;
    Ok(service)
}

/// Makes the folder this broker's, if it is Kafka's: never without saying so.
async fn come_by(rt: &Rt, disk: &Disk, options: &BrokerOptions) -> Result<(), StartError> {
    if kafka::owner(disk, &options.data_dir).await? == kafka::Owner::Kafka {
        tracing::warn!(folder = %options.data_dir.display(), "the data folder is a Kafka node's: it is taken over");
        kafka::take_over(rt, disk, options, false).await?.log();
    }
    kafka::begin_ours(disk, &options.data_dir).await
}

/// The folder's `meta.properties`, made at the first start.
async fn identity(rt: &Rt, disk: &Disk, options: &BrokerOptions) -> Result<MetaProperties, StartError> {
    let path = options.data_dir.join(META_PROPERTIES);
    let mut identity = match disk.read_small(&path, META_PROPERTIES_BYTES_MAX).await? {
        Some(bytes) => {
            MetaProperties::parse(&bytes).map_err(|error| StartError::Identity(error.to_string()))?
        }
        None => MetaProperties {
            cluster_id: options.cluster_id.clone().unwrap_or_else(|| fresh_id(rt)),
            node_id: options.node_id,
            directory_id: None,
            others: Default::default(),
        },
    };
    if identity.node_id != options.node_id {
        return Err(StartError::Identity(format!(
            "{} belongs to node {}, this is node {}; set node.id or choose another folder",
            options.data_dir.display(),
            identity.node_id,
            options.node_id
        )));
    }
    if identity.directory_id.is_none() {
        identity.directory_id = Some(rt.uuid());
        disk.replace_small(&path, identity.render().as_bytes()).await?;
    }
    Ok(identity)
}

fn fresh_id(rt: &Rt) -> String {
    topic_id_to_text(Uuid::from_bytes(rt.uuid()))
}

fn stage_of(progress: &RecoveryProgress) -> &'static str {
    match progress.stage {
        RecoveryStage::ReadingWal => "reading the write-ahead logs",
        RecoveryStage::Replaying => "recovering logs",
    }
}

fn log_report(report: &RecoveryReport) {
    for (partition, cause) in &report.damaged {
        tracing::error!(%partition, cause, "damaged data: the partition is offline, its bytes are kept");
    }
    if !report.clean {
        tracing::info!(
            replayed = report.replayed.len(),
            torn_tails = report.torn_tails,
            damaged = report.damaged.len(),
            "the last stop was not clean: logs recovered"
        );
    }
}

/// Registers this incarnation and lets it lead; after an unclean stop that begins new leader epochs.
async fn register(
    rt: &Rt,
    disk: &Disk,
    service: &mut ControllerService,
    options: &BrokerOptions,
    identity: &MetaProperties,
    is_clean: bool,
) -> Result<(), StartError> {
    if service.image().feature_level(METADATA_VERSION) == 0 {
        service.execute(&[Command::Bootstrap(first_records(disk, options).await?)]).await?;
    }
    let registration = registration(rt, options, identity, is_clean);
    let epoch = match service.execute(&[Command::RegisterBroker(registration)]).await?.pop().flatten() {
        Some(Reply::RegisterBroker(Ok(epoch))) => epoch,
        other => return Err(refused("registration", other)),
    };
    unfence(service, options, epoch).await?;
    service.set_broker_epoch(epoch);
    Ok(())
}

/// What the metadata of a new cluster begin with: what the folder was formatted with, if `kafka-storage.sh` has done so.
async fn first_records(disk: &Disk, options: &BrokerOptions) -> Result<Vec<MetadataRecord>, StartError> {
    let formatted = kafka::read_bootstrap(disk, &options.data_dir).await?;
    if formatted.is_empty() {
        return Ok(SUPPORTED.iter().map(at_its_best).collect());
    }
    let records = formatted.len();
    tracing::info!(records, "the folder was formatted for Kafka: the metadata begin with what that says");
    Ok(formatted)
}

fn at_its_best(feature: &SupportedFeature) -> MetadataRecord {
    FeatureLevelRecord { name: feature.name.to_owned(), feature_level: feature.level_max }.into()
}

async fn unfence(
    service: &mut ControllerService,
    options: &BrokerOptions,
    broker_epoch: BrokerEpoch,
) -> Result<(), StartError> {
    let command = Command::UnfenceBroker { broker_id: options.node_id, broker_epoch };
    match service.execute(&[command]).await?.pop().flatten() {
        Some(Reply::UnfenceBroker(Ok(()))) => Ok(()),
        other => Err(refused("unfencing", other)),
    }
}

fn refused(what: &str, reply: Option<Reply>) -> StartError {
    StartError::Metadata(format!("the controller refused this broker's {what}: {reply:?}"))
}

fn registration(rt: &Rt, options: &BrokerOptions, identity: &MetaProperties, is_clean: bool) -> Registration {
    let endpoint = |listener: &ListenerOptions| {
        let Advertised { host, port } = listener.advertised.clone()?;
        let host = host.unwrap_or_else(|| listener.listen.ip().to_string());
        Some(BrokerEndpoint { name: listener.name.clone(), host, port, security_protocol: 0 })
    };
    Registration {
        broker_id: options.node_id,
        cluster_id: identity.cluster_id.clone(),
        incarnation_id: Uuid::from_bytes(rt.uuid()),
        endpoints: options.listeners.iter().filter_map(endpoint).collect(),
        features: joinable_features(),
        rack: options.rack.clone(),
        log_dirs: identity.directory_id.iter().copied().map(Uuid::from_bytes).collect(),
        is_clean,
    }
}

/// What a cluster's metadata may have finalized for this broker to join it: what it has, and what it keeps of Kafka's.
fn joinable_features() -> Vec<BrokerFeature> {
    let here = SUPPORTED.iter().map(|feature| (feature.name, feature.level_min, feature.level_max));
    let kept = OF_KAFKA.iter().map(|(name, max)| (*name, 0, *max));
    let feature = |(name, min_supported_version, max_supported_version): (&str, i16, i16)| BrokerFeature {
        name: name.to_owned(),
        min_supported_version,
        max_supported_version,
    };
    here.chain(kept).map(feature).collect()
}

/// Folders of partitions that the metadata does not know get another name, as Kafka's strays do: nothing is deleted that
/// no request deleted, and a topic of the same name begins in a folder of its own.
async fn set_strays_aside(
    rt: &Rt,
    disk: &Disk,
    options: &BrokerOptions,
    image: &MetadataImage,
) -> Result<(), StartError> {
    let mut moved = false;
    let entries = disk.list(&options.data_dir).await?;
    name_foreign(&options.data_dir, &entries, is_of_data_folder);
    for entry in entries {
        let FolderName::Partition(partition) = FolderName::parse(&entry.name) else { continue };
        let known = image.topic(&partition.topic);
        let known = known.is_some_and(|topic| topic.partitions.contains_key(&partition.partition));
        if !entry.is_dir || known || partition.topic == metadata_log::TOPIC {
            continue;
        }
        let aside = partition.marked_folder_name(FolderMark::Stray, rt.uuid());
        tracing::warn!(folder = entry.name, aside, "a folder of no known partition was set aside");
        disk.rename(options.data_dir.join(&entry.name), options.data_dir.join(aside)).await?;
        moved = true;
    }
    if moved {
        disk.sync_dir(&options.data_dir).await?;
    }
    Ok(())
}

/// Goes on with what was deleted shortly before the last stop.
async fn remove_deleted(rt: &Rt, disk: &Disk, options: &BrokerOptions) -> Result<(), StartError> {
    let is_deleted =
        |name: &str| matches!(FolderName::parse(name), FolderName::Marked { mark: FolderMark::Delete, .. });
    let entries = disk.list(&options.data_dir).await?;
    let gone = entries.into_iter().filter(|entry| entry.is_dir && is_deleted(&entry.name));
    let gone: Vec<_> = gone.map(|entry| options.data_dir.join(entry.name)).collect();
    if gone.is_empty() {
        return Ok(());
    }
    tracing::info!(folders = gone.len(), "removing partitions that were deleted before the last stop");
    let (disk, clock, delay) = (disk.clone(), rt.clone(), options.delete_delay());
    let removing = async move {
        clock.sleep(delay).await;
        for folder in gone {
            if let Err(error) = disk.remove_dir_all(&folder).await {
                tracing::warn!(folder = %folder.display(), %error, "a deleted partition could not be removed; remove it by hand");
            }
        }
    };
    rt.spawn(Queue::Background, removing).detach();
    Ok(())
}

async fn last_placement(disk: &Disk, options: &BrokerOptions) -> Result<Option<Placement>, StartError> {
    let path = options.data_dir.join(FILE_NAME);
    let Some(bytes) = disk.read_small(&path, FILE_BYTES_MAX).await? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    match Placement::parse(&text) {
        Ok(placement) => Ok(Some(placement)),
        Err(error) => {
            tracing::warn!(%error, "partitions are placed anew");
            Ok(None)
        }
    }
}
