//! Appending to a partition what was judged good, and what the producer's `acks` wait for.

use super::judge::{Judged, judge, needs_judging};
use super::{Partition, PartitionState, code_of};
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_storage::batch::validate::validate;
use hayate_storage::batch::{BatchError, Offset, ProduceRules, ValidBatch};
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
            BatchError::Timestamp { index, .. } => index,
            _ => None,
        };
        AppendFailure { code: code_of(error.code()), message: Some(words(&error)), record }
    }
}

/// Less than any message of any format takes.
const RECORD_OVERHEAD_BYTES: i32 = 14;

/// What is wrong with a batch, for the producer's log. Kafka's wording where its clients show it.
fn words(error: &BatchError) -> String {
    match error {
        BatchError::TooLarge { batch_bytes, max_bytes } => format!(
            "The record batch size in the append is {batch_bytes} bytes which exceeds the maximum configured value \
             of {max_bytes}."
        ),
        BatchError::Timestamp { timestamp_ms, .. } => {
            format!(
                "Timestamp {timestamp_ms} of message is out of range, or the batch claims log append time."
            )
        }
        BatchError::NoKey { .. } => "Compacted topic cannot accept message without key.".to_owned(),
        BatchError::Crc { stored, computed } => {
            format!("Record is corrupt (stored crc = {stored}, computed crc = {computed})")
        }
        BatchError::Framing(codec) => {
            format!("{} must be framed in independent blocks: Kafka's clients read no others.", codec.name())
        }
        BatchError::UnknownMagic(magic) => format!("Invalid magic found in record: {magic}"),
        BatchError::BatchLength(length) if *length < RECORD_OVERHEAD_BYTES => {
            format!("Record size {length} is less than the minimum record overhead ({RECORD_OVERHEAD_BYTES})")
        }
        other => format!("Invalid record batch: {other:?}"),
    }
}

impl Partition {
    /// Appends the records of a produce request of `produce_version`, judging them unless they were `judged` before. Does not wait: the
    /// order of calls is the order of the log. As in Kafka, `min.insync.replicas` asks for no more than there are replicas: this node is
    /// enough.
    ///
    /// # Errors
    /// [`AppendFailure`]; nothing was appended then. Records that should have been judged before and were not, because the topic's settings
    /// have just changed, are refused with an error that makes the producer send them again.
    pub fn append(
        &self,
        records: &Bytes,
        judged: Option<&Judged>,
        produce_version: i16,
        now_ms: i64,
    ) -> Result<Appending, AppendFailure> {
        self.check_epoch(None)?;
        if self.state() == PartitionState::Offline {
            return Err(ErrorCode::KafkaStorageError.into());
        }
        panic_if(Mutant::PanicInPartition, self.log.partition().topic.as_bytes());
        let settings = self.settings();
        let here;
        let judged = match judged {
            Some(judged) => judged,
            None if needs_judging(records, &settings, produce_version, now_ms) => {
                return Err(ErrorCode::NotLeaderOrFollower.into());
            }
            None => {
                here = judge(records, &settings, produce_version, now_ms)?;
                &here
            }
        };
        if judged.valid.header.is_transactional() {
            // Not in the name of a transactional id: with one, the whole request is refused.
            return Err(ErrorCode::TransactionalIdAuthorizationFailed.into());
        }
        let appended = self.push(&judged.records, &judged.valid)?;
        Ok(self.appending(appended, judged.rewritten_bytes))
    }

    /// Appends a batch of this broker's own, which no limit of the topic's holds for. Does not wait.
    ///
    /// # Errors
    /// [`AppendFailure`]; nothing was appended then.
    pub fn append_own(&self, batch: &Bytes, now_ms: i64) -> Result<Appending, AppendFailure> {
        self.check_epoch(None)?;
        if self.state() == PartitionState::Offline {
            return Err(ErrorCode::KafkaStorageError.into());
        }
        let rules = ProduceRules { batch_bytes_max: usize::MAX, ..ProduceRules::default() };
        let valid = validate(batch, &rules, now_ms)?;
        let appended = self.push(batch, &valid)?;
        Ok(self.appending(appended, 0))
    }

    fn appending(&self, appended: Appended, rewritten_bytes: usize) -> Appending {
        if self.settings().is_flush_relaxed() {
            self.progress();
        }
        Appending {
            base_offset: appended.base_offset,
            last_offset: appended.last_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start_offset,
            rewritten_bytes,
            ticket: appended.durable,
        }
    }

    fn push(&self, records: &[u8], valid: &ValidBatch) -> Result<Appended, AppendFailure> {
        self.log.append(records, valid, self.leader_epoch()).map_err(|error| AppendFailure {
            code: code_of(error.code()),
            message: Some(error.to_string()),
            record: None,
        })
    }
}
