//! Why a broker does not start, or does not stop cleanly: each says cause and remedy.

use crate::metadata::image::ApplyError;
use crate::metadata::quorum::{LoadError, StateError};
use crate::metadata::records::DecodeError;
use hayate_net::socket::SocketError;
use hayate_storage::disk::DiskError;
use hayate_storage::error::{ReadError, StorageError};
use std::fmt;

/// A failed start or stop.
#[derive(Debug)]
pub enum StartError {
    /// The logs cannot be recovered, opened or closed.
    Storage(StorageError),
    /// The listener cannot be opened.
    Socket(SocketError),
    /// `meta.properties` is damaged, or of another cluster or node.
    Identity(String),
    /// The metadata log cannot be gone on from.
    Metadata(String),
    /// A folder cannot go from Kafka to this broker or back: cause and remedy.
    Kafka(String),
    /// Another shard failed to start.
    ShardGone,
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Storage(error) => write!(out, "the logs: {error}"),
            StartError::Socket(error) => write!(out, "the listener: {error}"),
            StartError::Identity(cause) => write!(out, "the data folder: {cause}"),
            StartError::Metadata(cause) => {
                write!(out, "the metadata log: {cause}; restore it from a backup, its bytes are kept")
            }
            StartError::Kafka(cause) => write!(out, "Kafka's data folder: {cause}"),
            StartError::ShardGone => out.write_str("another shard failed to start"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StorageError> for StartError {
    fn from(error: StorageError) -> StartError {
        StartError::Storage(error)
    }
}

impl From<DiskError> for StartError {
    fn from(error: DiskError) -> StartError {
        StartError::Storage(error.into())
    }
}

impl From<ReadError> for StartError {
    fn from(error: ReadError) -> StartError {
        StartError::Metadata(error.to_string())
    }
}

impl From<SocketError> for StartError {
    fn from(error: SocketError) -> StartError {
        StartError::Socket(error)
    }
}

/// Declares errors of the metadata log's content.
macro_rules! metadata_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for StartError {
            fn from(error: $error) -> StartError {
                StartError::Metadata(error.to_string())
            }
        })*
    };
}

metadata_errors!(LoadError, StateError, DecodeError, ApplyError);
