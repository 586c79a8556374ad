//! A data folder between Apache Kafka and this broker: whose it is, taking Kafka's over, and leaving ours to Kafka.
//!
//! Two names decide. While there is a `hayate.wal`, Kafka opens no log here: it ends over a folder that is no partition's, and what it
//! has written into the metadata log by then is dropped. Without one, the folder is Kafka's while its metadata log has a
//! `quorum-state`: Kafka writes it at each start, removing it is the last step of taking over, writing it one of the last of leaving, and
//! files of ours beside it say nothing any more. So a crash in between leaves the folder with whom it was, and Kafka started on one that
//! it was left, or that was taken over and never used, makes it its own again.

mod leave;
mod read;
mod take;

pub use leave::{Quorum as KafkaQuorum, leave};
pub(super) use read::read_bootstrap;
pub use take::take_over;

use super::StartError;
use super::metadata_log::TOPIC;
use hayate_storage::checkpoint::CLEAN_SHUTDOWN;
use hayate_storage::disk::Disk;
use hayate_storage::names::{FolderName, TopicPartition};
use hayate_storage::wal::WAL_FOLDER;
use std::path::{Path, PathBuf};

/// Kafka's raft state, in the folder of the metadata log.
const QUORUM_STATE: &str = "quorum-state";
/// Begins the names of our checkpoints.
const OUR_CHECKPOINT: &str = "hayate.checkpoint";

/// Whose a data folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// New, or formatted for Kafka and never used.
    Nobody,
    /// A Kafka node's.
    Kafka,
    /// This broker's.
    Hayate,
}

/// What was done, or would be, in lines for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What happened.
    pub done: Vec<String>,
    /// What a person should know before going on.
    pub warnings: Vec<String>,
}

impl Report {
    /// To the log.
    pub(super) fn log(&self) {
        self.done.iter().for_each(|line| tracing::info!("{line}"));
        self.warnings.iter().for_each(|line| tracing::warn!("{line}"));
    }
}

fn refused(cause: impl ToString) -> StartError {
    StartError::Kafka(cause.to_string())
}

fn metadata_partition() -> TopicPartition {
    TopicPartition { topic: TOPIC.to_owned(), partition: 0 }
}

fn metadata_folder(data_dir: &Path) -> PathBuf {
    data_dir.join(metadata_partition().folder_name())
}

/// Whose the folder is.
///
/// # Errors
/// Those of the disk; [`StartError::Kafka`] when it holds partitions of Kafka's without their metadata.
pub async fn owner(disk: &Disk, data_dir: &Path) -> Result<Owner, StartError> {
    let entries = disk.list(data_dir).await?;
    if entries.iter().any(|entry| entry.is_dir && entry.name.starts_with(WAL_FOLDER)) {
        return Ok(Owner::Hayate);
    }
    if disk.exists(metadata_folder(data_dir).join(QUORUM_STATE)).await? {
        return Ok(Owner::Kafka);
    }
    if entries.iter().any(|entry| !entry.is_dir && entry.name.starts_with(OUR_CHECKPOINT)) {
        return Ok(Owner::Hayate);
    }
    let partition = entries.iter().find(|entry| {
        let FolderName::Partition(partition) = FolderName::parse(&entry.name) else { return false };
        entry.is_dir && partition.topic != TOPIC
    });
    match partition {
        None => Ok(Owner::Nobody),
        Some(entry) => Err(StartError::Kafka(format!(
            "{} holds partitions ({} is one) and no metadata log: move the folder {} there from Kafka's metadata.log.dir or \
             from the first folder of its log.dirs",
            data_dir.display(),
            entry.name,
            metadata_partition()
        ))),
    }
}

/// From now on the folder's logs change: Kafka's word that they were left in order no longer holds, nor that the folder is its own.
///
/// # Errors
/// Those of the disk.
pub(super) async fn begin_ours(disk: &Disk, data_dir: &Path) -> Result<(), StartError> {
    let (folder, marker) = (metadata_folder(data_dir), data_dir.join(CLEAN_SHUTDOWN));
    if disk.exists(folder.join(QUORUM_STATE)).await? {
        tracing::warn!(
            "Kafka was started on this folder and could open no log: what it wrote into the metadata log is dropped;              hayate metadata export leaves a folder to Kafka"
        );
        disk.remove_file(folder.join(QUORUM_STATE)).await?;
        disk.sync_dir(&folder).await?;
    }
    if disk.exists(&marker).await? {
        disk.remove_file(&marker).await?;
        disk.sync_dir(data_dir).await?;
    }
    Ok(())
}
