//! The write-ahead log of a shard: what makes an append durable.
//!
//! Appends of all partitions that arrive while a write is in flight form the next group: one write, one flush, many
//! acknowledgements. The files are preallocated with real zeros, because a write into written extents flushes several
//! times faster than one that grows or converts them. `format` says what the bytes mean, `scan` reads them back; the store
//! decides what goes into a group and when a file may be used again.

mod files;
pub mod format;
pub mod group;
pub mod guard;
pub mod scan;

use crate::disk::{Disk, DiskError};
use std::path::{Path, PathBuf};

pub use files::{WalConfig, WalFiles, make_file, write_header};

/// The folder of all WALs, inside a data folder. Kafka and its tools take a folder without a `-N` ending for none of theirs.
pub const WAL_FOLDER: &str = "hayate.wal";

/// Ends the name of a folder that is no longer needed: removing is not atomic, renaming is.
pub const DONE_SUFFIX: &str = ".done";

/// What a checkpoint says of the WAL beside it: from which file on it is still needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalNeed {
    /// Which life of the WAL.
    pub wal_id: u64,
    /// Sequence of the oldest use of a file that holds anything which the checkpoint does not account for; of the active one when none
    /// does. Its header was durable, and nothing may have been written over it.
    pub sequence: u64,
}

/// Removes a folder with WAL files so that a crash leaves all of it or nothing that counts.
///
/// # Errors
/// Those of the disk.
pub async fn discard(disk: &Disk, folder: &Path) -> Result<(), DiskError> {
    let mut done = folder.as_os_str().to_owned();
    done.push(DONE_SUFFIX);
    let done = PathBuf::from(done);
    if disk.exists(&done).await? {
        disk.remove_dir_all(&done).await?;
    }
    disk.rename(folder, &done).await?;
    if let Some(parent) = folder.parent() {
        disk.sync_dir(parent).await?;
    }
    disk.remove_dir_all(&done).await
}

/// The folder of one shard's WAL, below [`WAL_FOLDER`].
pub fn shard_folder(shard: usize) -> String {
    format!("shard{shard}")
}
