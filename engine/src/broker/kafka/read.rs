//! Reading a folder's metadata as they lie there, Kafka's or ours after a clean stop: nothing is opened for writing, nothing changes.

use super::{metadata_folder, refused};
use crate::broker::StartError;
use crate::metadata::features::METADATA_VERSIONS;
use crate::metadata::kafka::{KafkaMetadata, bootstrap_records};
use crate::metadata::records::MetadataRecord;
use crate::metadata::snapshot::file::{SNAPSHOT_BYTES_MAX, SnapshotId};
use hayate_storage::checkpoint::BOOTSTRAP_METADATA;
use hayate_storage::disk::Disk;
use hayate_storage::kafka_folder::walk_log;
use std::path::Path;

/// The newest snapshot and what the log holds behind it; and how many bytes of an unfinished write the log ends with.
pub(super) async fn read_metadata(
    disk: &Disk,
    data_dir: &Path,
    cluster_id: &str,
) -> Result<(KafkaMetadata, u64), StartError> {
    let folder = metadata_folder(data_dir);
    let entries = disk.list(&folder).await?;
    let newest = entries.iter().filter_map(|entry| SnapshotId::parse(&entry.name)).max();
    let mut metadata = match newest {
        None => KafkaMetadata::begin(cluster_id, None),
        Some(id) => {
            let bytes = disk.read_small(folder.join(id.to_string()), SNAPSHOT_BYTES_MAX).await?;
            let bytes = bytes.ok_or_else(|| refused(format!("{id} is gone")))?;
            KafkaMetadata::begin(cluster_id, Some((id, &bytes)))
        }
    }
    .map_err(|error| refused(format!("its metadata: {error}")))?;
    let mut failure = None;
    let walked = walk_log(disk, &folder, metadata.next(), |batch| {
        if failure.is_none() {
            failure = metadata.take(batch).err();
        }
    });
    let walked = walked.await?;
    match failure {
        Some(error) => Err(refused(format!("its metadata: {error}"))),
        None => Ok((metadata, walked.torn_bytes)),
    }
}

/// The records that a cluster formatted by `kafka-storage.sh` begins with; none when the folder was not.
///
/// # Errors
/// [`StartError::Kafka`]: the file is damaged, or begins with a level that is not understood.
pub(in crate::broker) async fn read_bootstrap(
    disk: &Disk,
    data_dir: &Path,
) -> Result<Vec<MetadataRecord>, StartError> {
    let Some(bytes) = disk.read_small(data_dir.join(BOOTSTRAP_METADATA), SNAPSHOT_BYTES_MAX).await? else {
        return Ok(Vec::new());
    };
    let wrong = |why: String| refused(format!("{BOOTSTRAP_METADATA}: {why}: format the folder anew"));
    let (records, level) = bootstrap_records(&bytes).map_err(|error| wrong(error.to_string()))?;
    let (min, max) = METADATA_VERSIONS;
    if !(min..=max).contains(&level) {
        return Err(wrong(format!(
            "metadata.version is at level {level}, and those from {min} to {max} are understood"
        )));
    }
    Ok(records)
}
