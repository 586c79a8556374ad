//! What can go wrong above the disk: of the store as a whole, of an append, of a read. Each says its Kafka error code.

use crate::batch::Offset;
use crate::disk::DiskError;
use crate::producers::ProducerError;
use std::fmt;
use std::rc::Rc;

/// `UNKNOWN_SERVER_ERROR`
const UNKNOWN_SERVER_ERROR: i16 = -1;
/// `OFFSET_OUT_OF_RANGE`
const OFFSET_OUT_OF_RANGE: i16 = 1;
/// `CORRUPT_MESSAGE`
const CORRUPT_MESSAGE: i16 = 2;
/// `RECORD_LIST_TOO_LARGE`
const RECORD_LIST_TOO_LARGE: i16 = 18;
/// `KAFKA_STORAGE_ERROR`
const KAFKA_STORAGE_ERROR: i16 = 56;

/// A log, or the whole log folder, cannot do what was asked.
#[derive(Clone, Debug)]
pub enum StorageError {
    /// The disk refused.
    Disk(Rc<DiskError>),
    /// The log folder is offline since an earlier failure: only a restart, which recovers it, brings it back.
    Offline(Rc<DiskError>),
    /// The disk is full; appends resume by themselves when there is space.
    NoSpace,
    /// Bytes that were durable are damaged. The log stays offline, its bytes are kept.
    Corrupt(String),
    /// The log was deleted, or the store closed.
    Closed,
    /// The log was cut before the records were durable: another leader's history replaces them.
    Cut,
    /// The data folder holds something that this version cannot be sure about.
    Foreign(String),
}

impl StorageError {
    /// The Kafka error code that clients get.
    pub fn code(&self) -> i16 {
        KAFKA_STORAGE_ERROR
    }
}

impl From<DiskError> for StorageError {
    fn from(error: DiskError) -> StorageError {
        if error.is_no_space() { StorageError::NoSpace } else { StorageError::Disk(Rc::new(error)) }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Disk(error) => error.fmt(f),
            StorageError::Offline(error) => {
                write!(
                    f,
                    "the log folder is offline since an earlier failure ({error}); restart the broker to recover it"
                )
            }
            StorageError::NoSpace => {
                f.write_str("the disk is full; free some space, appends resume by themselves")
            }
            StorageError::Corrupt(what) => {
                write!(
                    f,
                    "damaged data: {what}; the bytes are kept, restore the partition from a replica or a backup"
                )
            }
            StorageError::Closed => f.write_str("the log is closed"),
            StorageError::Cut => {
                f.write_str("the records were cut; send them to the partition's leader again")
            }
            StorageError::Foreign(what) => {
                write!(
                    f,
                    "unexpected content in the data folder: {what}; nothing was changed, move it away or restore it"
                )
            }
        }
    }
}

impl std::error::Error for StorageError {}

/// A batch cannot be appended.
#[derive(Clone, Debug)]
pub enum AppendError {
    /// The batch does not follow from what its producer sent before.
    Producer(ProducerError),
    /// The batch is larger than a segment may be.
    LargerThanSegment {
        /// Size of the batch in bytes.
        batch_bytes: usize,
    },
    /// The log cannot take anything.
    Storage(StorageError),
}

impl AppendError {
    /// The Kafka error code that clients get.
    pub fn code(&self) -> i16 {
        match self {
            AppendError::Producer(error) => error.code(),
            AppendError::LargerThanSegment { .. } => RECORD_LIST_TOO_LARGE,
            AppendError::Storage(error) => error.code(),
        }
    }
}

impl From<StorageError> for AppendError {
    fn from(error: StorageError) -> AppendError {
        AppendError::Storage(error)
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Producer(error) => error.fmt(f),
            AppendError::LargerThanSegment { batch_bytes } => {
                write!(f, "a batch of {batch_bytes} bytes is larger than segment.bytes allows")
            }
            AppendError::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AppendError {}

/// Records cannot be read.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// The offset is outside the log.
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// First offset of the log.
        start: Offset,
        /// Offset after the last.
        end: Offset,
    },
    /// The batch that holds the offset is damaged on disk.
    Corrupt {
        /// Where it stands in its segment.
        position: u64,
    },
    /// Unpacking the batch panicked: a defect of ours, or a batch that found one.
    Undecodable {
        /// Where it stands in its segment.
        position: u64,
    },
    /// The log cannot be read.
    Storage(StorageError),
}

impl ReadError {
    /// The Kafka error code that clients get.
    pub fn code(&self) -> i16 {
        match self {
            ReadError::OutOfRange { .. } => OFFSET_OUT_OF_RANGE,
            ReadError::Corrupt { .. } => CORRUPT_MESSAGE,
            ReadError::Undecodable { .. } => UNKNOWN_SERVER_ERROR,
            ReadError::Storage(error) => error.code(),
        }
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> ReadError {
        ReadError::Storage(error)
    }
}

impl From<DiskError> for ReadError {
    fn from(error: DiskError) -> ReadError {
        ReadError::Storage(error.into())
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::OutOfRange { offset, start, end } => {
                write!(f, "offset {offset} is outside {start} to {end}")
            }
            ReadError::Corrupt { position } => {
                write!(f, "the batch at position {position} of its segment is damaged")
            }
            ReadError::Undecodable { position } => {
                write!(
                    f,
                    "unpacking the batch at position {position} of its segment failed; please report it"
                )
            }
            ReadError::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}
