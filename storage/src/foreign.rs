//! Files and folders that neither this broker nor Kafka has put where they are: named once at each start, never touched.

use crate::checkpoint::{
    BOOTSTRAP_METADATA, CLEAN_SHUTDOWN, CLEANER_CHECKPOINT, LOG_START_CHECKPOINT, META_PROPERTIES,
    RECOVERY_POINT_CHECKPOINT, REPLICATION_CHECKPOINT,
};
use crate::disk::DirEntry;
use crate::names::{FileName, FolderName};
use std::path::Path;

/// The most names that one line shows.
const NAMES_MAX: usize = 10;
/// What our own files that Kafka does not have are called, in the data folder and in a log's.
const OURS: &str = "hayate.";
/// Kafka's, and the lock that it and we hold.
const KAFKAS: [&str; 8] = [
    META_PROPERTIES,
    CLEAN_SHUTDOWN,
    RECOVERY_POINT_CHECKPOINT,
    REPLICATION_CHECKPOINT,
    LOG_START_CHECKPOINT,
    CLEANER_CHECKPOINT,
    BOOTSTRAP_METADATA,
    ".lock",
];
/// In the folder of Kafka's metadata log, which a quorum of ours keeps as well.
const QUORUM_STATE: &str = "quorum-state";
const SNAPSHOT_OF_METADATA: &str = ".checkpoint";
/// A file in the making: a crash left it.
const TEMPORARY: &str = ".tmp";

/// Whether a data folder may have such an entry.
#[must_use]
pub fn is_of_data_folder(entry: &DirEntry) -> bool {
    let name = entry.name.strip_suffix(TEMPORARY).unwrap_or(&entry.name);
    match entry.is_dir {
        // The root of a file system has it.
        true if name == "lost+found" => true,
        true => name.starts_with(OURS) || FolderName::parse(name) != FolderName::Foreign,
        false => name.starts_with(OURS) || KAFKAS.contains(&name),
    }
}

/// Whether the folder of a log may have such an entry.
#[must_use]
pub fn is_of_log(entry: &DirEntry) -> bool {
    let name = entry.name.strip_suffix(TEMPORARY).unwrap_or(&entry.name);
    let is_known = FileName::parse(name) != FileName::Foreign || name.starts_with(OURS);
    !entry.is_dir && (is_known || name == QUORUM_STATE || name.ends_with(SNAPSHOT_OF_METADATA))
}

/// Says which entries of `folder` nobody knows.
pub fn name_foreign(folder: &Path, entries: &[DirEntry], is_known: impl Fn(&DirEntry) -> bool) {
    let names: Vec<&str> =
        entries.iter().filter(|entry| !is_known(entry)).map(|entry| entry.name.as_str()).collect();
    if let Some(shown) = names.get(..names.len().min(NAMES_MAX)).filter(|shown| !shown.is_empty()) {
        let (folder, count) = (folder.display(), names.len());
        tracing::warn!(%folder, count, names = shown.join(", "), "files that no broker puts here: left alone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, is_known: fn(&DirEntry) -> bool) -> bool {
        let (name, is_dir) = name.strip_suffix('/').map_or((name, false), |name| (name, true));
        is_known(&DirEntry { name: name.to_owned(), is_dir, len_bytes: 0, modified_ms: 0 })
    }

    #[test]
    fn a_data_folder_knows_what_brokers_put_there() {
        for name in [
            "orders-0/",
            "orders-0.00112233445566778899aabbccddeeff-delete/",
            "lost+found/",
            "hayate.wal/",
            "hayate.checkpoint.tmp",
            "meta.properties",
            ".kafka_cleanshutdown",
            "replication-offset-checkpoint",
            ".lock",
            "bootstrap.checkpoint",
        ] {
            assert!(known(name, is_of_data_folder), "{name}");
        }
        for name in ["orders/", "orders-0", "backup.tar", "meta.properties/", "notes-x/", "id_rsa"] {
            assert!(!known(name, is_of_data_folder), "{name}");
        }
    }

    #[test]
    fn a_log_knows_its_segments_and_what_stands_beside_them() {
        for name in [
            "00000000000000000000.log",
            "00000000000000000042.timeindex.deleted",
            "00000000000000000042.snapshot.tmp",
            "leader-epoch-checkpoint",
            "partition.metadata.tmp",
            "hayate.damaged",
            "00000000000000000042-0000000003.checkpoint",
            "quorum-state",
        ] {
            assert!(known(name, is_of_log), "{name}");
        }
        for name in ["0.log", "00000000000000000000.log/", "core", "00000000000000000000.log.gz", "old/"] {
            assert!(!known(name, is_of_log), "{name}");
        }
    }
}
