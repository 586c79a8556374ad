//! Appending to a partition: Kafka's checks on what a producer sent, the rewriting that only Kafka's settings ask for,
//! and what the producer's `acks` wait for.

use super::{Partition, PartitionState, code_of};
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_storage::batch::compress::Level;
use hayate_storage::batch::recompress::recompress;
use hayate_storage::batch::validate::validate;
use hayate_storage::batch::{BatchError, BatchHeader, Codec, Offset, ValidBatch};
use hayate_storage::config::LogConfig;
use hayate_storage::log::{Appended, FlushTicket};
use hayate_storage::mutants::{Mutant, panic_if};

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `acks=0`: nothing.
    None,
    /// `acks=1`: the leader's flush.
    Leader,
    /// `acks=all`: the high watermark.
    InSync,
}

impl Durability {
    /// From a request's `acks`; `None` for a number that Kafka does not know.
    pub fn from_acks(acks: i16) -> Option<Durability> {
        match acks {
            0 => Some(Durability::None),
            1 => Some(Durability::Leader),
            -1 => Some(Durability::InSync),
            _ => None,
        }
    }
}

/// An append that took its place in the log and is not yet safe.
#[derive(Debug)]
pub struct Appending {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The broker's time if the topic uses log-append time, else −1.
    pub log_append_time_ms: i64,
    /// First offset of the log.
    pub log_start_offset: Offset,
    /// Bytes that were written anew because the topic has a codec of its own.
    pub rewritten_bytes: usize,
    ticket: FlushTicket,
}

impl Appending {
    /// How many records it is.
    pub fn records(&self) -> i64 {
        self.last_offset.since(self.base_offset) + 1
    }

    /// Resolves when a crash can no longer take the records back; at once where flushing is relaxed. With this node as
    /// the only in-sync replica that is also when the high watermark has passed them.
    ///
    /// # Errors
    /// [`ErrorCode::KafkaStorageError`] when the flush failed: the records may or may not be there after a restart.
    pub async fn settled(self) -> Result<(), ErrorCode> {
        self.ticket.await.map_err(|error| code_of(error.code()))
    }
}

/// Why a batch was not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendFailure {
    /// What the producer gets to hear.
    pub code: ErrorCode,
    /// The same in words, where they say more.
    pub message: Option<String>,
    /// The record at fault by its index in the batch, if it is one record's fault.
    pub record: Option<i32>,
}

impl From<ErrorCode> for AppendFailure {
    fn from(code: ErrorCode) -> AppendFailure {
        AppendFailure { code, message: None, record: None }
    }
}

impl From<BatchError> for AppendFailure {
    fn from(error: BatchError) -> AppendFailure {
        let record = match error {
            BatchError::NoKey { index } => Some(index),
            _ => None,
        };
        AppendFailure { code: code_of(error.code()), message: Some(words(&error)), record }
    }
}

/// What is wrong with a batch, for the producer's log. Kafka's wording where its clients show it.
fn words(error: &BatchError) -> String {
    match error {
        BatchError::TooLarge { batch_bytes, max_bytes } => format!(
            "The record batch size in the append is {batch_bytes} bytes which exceeds the maximum configured value \
             of {max_bytes}."
        ),
        BatchError::Timestamp { timestamp_ms } => {
            format!(
                "Timestamp {timestamp_ms} of message is out of range, or the batch claims log append time."
            )
        }
        BatchError::NoKey { .. } => "Compacted topic cannot accept message without key.".to_owned(),
        BatchError::Crc { stored, computed } => {
            format!("Record is corrupt (stored crc = {stored}, computed crc = {computed})")
        }
        other => format!("Invalid record batch: {other:?}"),
    }
}

impl Partition {
    /// Judges the records of a produce request of `produce_version` and appends them. Does not wait: the order of calls
    /// is the order of the log. As in Kafka, `min.insync.replicas` asks for no more than there are replicas: this node is enough.
    ///
    /// # Errors
    /// [`AppendFailure`]; nothing was appended then.
    pub fn append(
        &self,
        records: &Bytes,
        produce_version: i16,
        now_ms: i64,
    ) -> Result<Appending, AppendFailure> {
        self.check_epoch(None)?;
        if self.state() == PartitionState::Offline {
            return Err(ErrorCode::KafkaStorageError.into());
        }
        panic_if(Mutant::PanicInPartition, self.log.partition().topic.as_bytes());
        let settings = self.settings();
        let valid = validate(records, &settings.rules(produce_version), now_ms)?;
        if valid.header.is_transactional() {
            // No transaction can be open: nobody coordinates them yet.
            return Err(ErrorCode::InvalidTxnState.into());
        }
        let (appended, rewritten_bytes) = match valid.recompress {
            None => (self.push(records, &valid)?, 0),
            Some(codec) => {
                let (rewritten, valid) = rewrite(records, valid, codec, &settings.log)?;
                (self.push(&rewritten, &valid)?, rewritten.len())
            }
        };
        if settings.is_flush_relaxed() {
            self.progress();
        }
        Ok(Appending {
            base_offset: appended.base_offset,
            last_offset: appended.last_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start_offset,
            rewritten_bytes,
            ticket: appended.durable,
        })
    }

    fn push(&self, records: &[u8], valid: &ValidBatch) -> Result<Appended, AppendFailure> {
        self.log.append(records, valid, self.leader_epoch()).map_err(|error| AppendFailure {
            code: code_of(error.code()),
            message: Some(error.to_string()),
            record: None,
        })
    }
}

/// The batch in the topic's own codec. Its size is judged again, as Kafka does.
fn rewrite(
    records: &[u8],
    valid: ValidBatch,
    codec: Codec,
    config: &LogConfig,
) -> Result<(Bytes, ValidBatch), AppendFailure> {
    let batch = &records[..valid.header.total_bytes()];
    let cap_bytes = hayate_storage::batch::ProduceRules::default().unpacked_bytes_max;
    let rewritten = recompress(batch, codec, level_of(codec, config), cap_bytes)
        .map_err(|error| AppendFailure::from(BatchError::Records(error)))?;
    let max_bytes = config.max_message_bytes as usize;
    if rewritten.len() > max_bytes {
        return Err(BatchError::TooLarge { batch_bytes: rewritten.len(), max_bytes }.into());
    }
    let header = BatchHeader::parse(&rewritten).map_err(|_| ErrorCode::UnknownServerError)?;
    Ok((rewritten, ValidBatch { header, stamp: valid.stamp, recompress: None }))
}

/// The topic's compression level for a codec; codecs without levels ignore it.
fn level_of(codec: Codec, config: &LogConfig) -> Level {
    match codec {
        Codec::Gzip if config.compression_gzip_level < 0 => Level::Default,
        Codec::Gzip => Level::Exact(config.compression_gzip_level),
        Codec::Zstd => Level::Exact(config.compression_zstd_level),
        Codec::None | Codec::Snappy | Codec::Lz4 => Level::Default,
    }
}
