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

pub use files::{WalConfig, WalFiles, make_file, write_header};

/// The folder of all WALs, inside a data folder. Kafka and its tools take a folder without a `-N` ending for none of theirs.
pub const WAL_FOLDER: &str = "hayate.wal";

/// The folder of one shard's WAL, below [`WAL_FOLDER`].
pub fn shard_folder(shard: usize) -> String {
    format!("shard{shard}")
}
