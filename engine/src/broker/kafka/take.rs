//! Taking a Kafka node's folder over: its metadata, its logs, and then the folder.
//!
//! In this order, each step durable before the next: our files of an earlier time go; the logs are brought to their ends and our
//! checkpoint is written; then a snapshot of the metadata, in the folder of Kafka's own log and behind its end; raft's state; and last
//! `quorum-state` goes. Until then Kafka, or another try, begins from what Kafka left.

use super::read::{read_bootstrap, read_metadata};
use super::{Owner, QUORUM_STATE, Report, metadata_folder, metadata_partition, owner, refused};
use crate::broker::metadata_log::{START_FILE, STATE_FILE, TOPIC_ID};
use crate::broker::progress::ProgressLog;
use crate::broker::{BrokerOptions, StartError};
use crate::metadata::features::METADATA_VERSIONS;
use crate::metadata::image::MetadataImage;
use crate::metadata::kafka::{Heir, Survey, TakenOver};
use crate::metadata::quorum::{HardState, LogStart};
use crate::metadata::snapshot::file::{SnapshotId, encode_with};
use crate::placement::FILE_NAME as PLACEMENT_FILE;
use hayate_rt::Rt;
use hayate_storage::checkpoint::meta_properties::META_PROPERTIES_BYTES_MAX;
use hayate_storage::checkpoint::{META_PROPERTIES, MetaProperties};
use hayate_storage::disk::Disk;
use hayate_storage::kafka_folder::{BegunLog, ExpectedLog, FoundLog, Takeover, forget_ours};
use hayate_storage::names::TopicPartition;
use uuid::Uuid;

/// The most partitions of a kind that a report names.
const NAMED_MAX: usize = 5;

/// Takes the folder over, unless `dry_run`; says what there was.
///
/// # Errors
/// [`StartError::Kafka`] with cause and remedy, before anything was changed; those of the disk, after which the same goes on.
pub async fn take_over(
    rt: &Rt,
    disk: &Disk,
    options: &BrokerOptions,
    dry_run: bool,
) -> Result<Report, StartError> {
    let data_dir = &options.data_dir;
    match owner(disk, data_dir).await? {
        Owner::Kafka => {}
        Owner::Hayate => return Err(refused("the folder is this broker's already")),
        Owner::Nobody => return Err(refused("the folder holds no data of a Kafka node that has run")),
    }
    let identity = identity(disk, options).await?;
    let (mut metadata, torn_bytes) = read_metadata(disk, data_dir, &identity.cluster_id).await?;
    let heir = Heir {
        node_id: options.node_id,
        directory_id: identity.directory_id.map(Uuid::from_bytes),
        versions: METADATA_VERSIONS,
    };
    if metadata.is_new().map_err(refused)? {
        metadata.bootstrap(&read_bootstrap(disk, data_dir).await?).map_err(refused)?;
    }
    let taken = metadata.hand_over(&heir).map_err(refused)?;
    let mut progress = ProgressLog::new(rt);
    let expected = expected_logs(&taken.image);
    let of = expected.len();
    let mut told = |done| _ = progress.tell("looking through Kafka's logs", done, of);
    let logs = Takeover::inspect(rt, disk, data_dir, &expected, &mut told).await?;
    if !dry_run {
        commit(rt, disk, options, &taken, &logs).await?;
    }
    Ok(report(&identity, &taken, &logs, torn_bytes))
}

async fn identity(disk: &Disk, options: &BrokerOptions) -> Result<MetaProperties, StartError> {
    let bytes = disk.read_small(options.data_dir.join(META_PROPERTIES), META_PROPERTIES_BYTES_MAX).await?;
    let bytes = bytes.ok_or_else(|| refused("meta.properties is missing: restore it"))?;
    let identity = MetaProperties::parse(&bytes).map_err(refused)?;
    if identity.node_id != options.node_id {
        return Err(refused(format!("it is node {}'s: set node.id={}", identity.node_id, identity.node_id)));
    }
    Ok(identity)
}

fn expected_logs(image: &MetadataImage) -> Vec<ExpectedLog> {
    let partitions = image.topics().flat_map(|topic| topic.partitions.keys().map(move |id| (topic, *id)));
    let log = |(topic, id): (&std::sync::Arc<crate::metadata::image::TopicImage>, i32)| {
        let partition = TopicPartition::new(topic.name.as_ref(), id).ok()?;
        Some(ExpectedLog { partition, topic_id: *topic.id.as_bytes() })
    };
    partitions.filter_map(log).collect()
}

async fn commit(
    rt: &Rt,
    disk: &Disk,
    options: &BrokerOptions,
    taken: &TakenOver,
    logs: &Takeover,
) -> Result<(), StartError> {
    let data_dir = &options.data_dir;
    forget_ours(disk, data_dir).await?;
    for file in [PLACEMENT_FILE, STATE_FILE, START_FILE] {
        if disk.exists(data_dir.join(file)).await? {
            disk.remove_file(data_dir.join(file)).await?;
        }
    }
    let at = taken.image.position();
    let begun = BegunLog { partition: metadata_partition(), topic_id: TOPIC_ID, start: at.offset.next() };
    let mut progress = ProgressLog::new(rt);
    let of = logs.logs().len();
    logs.settle(disk, begun, &mut |done| _ = progress.tell("taking Kafka's logs over", done, of)).await?;
    let folder = metadata_folder(data_dir);
    let snapshot = encode_with(&taken.image, &taken.quorum, taken.last_ms, rt.wall_ms());
    let snapshot = snapshot.map_err(|error| refused(format!("its metadata cannot be written: {error}")))?;
    disk.replace(folder.join(SnapshotId::of(at).to_string()), snapshot).await?;
    // Raft counts entries; of those before the start it knows the last one's number alone.
    let index = at.offset.next().0.unsigned_abs();
    let start = LogStart { index, epoch: at.epoch, offset: at.offset, voters: vec![options.node_id] };
    disk.replace_small(data_dir.join(START_FILE), &start.encode()).await?;
    let state = HardState { epoch: at.epoch, vote: None, commit: index };
    disk.replace_small(data_dir.join(STATE_FILE), &state.encode()).await?;
    disk.remove_file(folder.join(QUORUM_STATE)).await?;
    Ok(disk.sync_dir(&folder).await?)
}

fn report(identity: &MetaProperties, taken: &TakenOver, logs: &Takeover, torn_bytes: u64) -> Report {
    let survey = Survey::of(&taken.image);
    let mut report = Report::default();
    let stop = if logs.is_clean() { "clean" } else { "not clean" };
    report.done.push(format!(
        "Kafka's data: cluster {}, node {}, metadata up to offset {} of epoch {}; its last stop was {stop}",
        identity.cluster_id,
        identity.node_id,
        taken.image.position().offset,
        taken.image.position().epoch
    ));
    report.done.push(format!(
        "taken over: {} topics with {} partitions and their ids, {} settings of topics, {} of brokers",
        survey.topics, survey.partitions, survey.topic_configs, survey.broker_configs
    ));
    let features = taken.image.features().map(|(name, level)| format!("{name}={level}"));
    report.done.push(format!("features: {}", features.collect::<Vec<_>>().join(", ")));
    report
        .done
        .extend(survey.left.iter().map(|(count, what)| format!("kept, and not acted on: {count} {what}")));
    let torn = logs.logs().iter().filter(|log| log.torn_bytes() > 0);
    let of_logs = torn.clone().map(FoundLog::torn_bytes).sum::<u64>();
    if of_logs + torn_bytes > 0 {
        report.done.push(format!(
            "unfinished writes at the end of {} logs are cut: {of_logs} bytes of records, {torn_bytes} of metadata",
            torn.count()
        ));
    }
    warn(&mut report, logs, "have no folder: they begin empty", |log| {
        log.offsets().is_none().then(String::new)
    });
    warn(&mut report, logs, "have segments behind a torn one, which are set aside", |log| {
        (log.cut_off_segments() > 0).then(|| log.cut_off_segments().to_string())
    });
    warn(&mut report, logs, "are damaged: they will be offline, their bytes are kept", |log| {
        log.damage().map(str::to_owned)
    });
    report
}

/// Names the logs that something is to be said of.
fn warn(report: &mut Report, logs: &Takeover, what: &str, said: impl Fn(&FoundLog) -> Option<String>) {
    let those: Vec<String> = logs
        .logs()
        .iter()
        .filter_map(|log| {
            let said = said(log)?;
            let partition = log.partition();
            Some(if said.is_empty() { partition.to_string() } else { format!("{partition} ({said})") })
        })
        .collect();
    if !those.is_empty() {
        let shown = those.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        let more = if those.len() > NAMED_MAX { ", …" } else { "" };
        report.warnings.push(format!("{} partitions {what}: {shown}{more}", those.len()));
    }
}
