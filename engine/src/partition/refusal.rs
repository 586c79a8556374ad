//! Why records are not appended, and how the producer is told: Kafka's codes, its words where it sends some, and the records at fault
//! (KIP-467). Where Kafka sends the code alone, the words are ours.

use super::code_of;
use hayate_net::error::ErrorCode;
use hayate_storage::batch::faults::{FaultKind, RecordFault, RecordFaults, record_faults};
use hayate_storage::batch::{BatchError, Offset, ProduceRules};
use hayate_storage::error::AppendError;
use std::fmt::Write;

/// Why a batch was not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendFailure {
    /// What the producer gets to hear.
    pub code: ErrorCode,
    /// The same in words, where they say more. Of records at fault: see [`summary`].
    pub message: Option<String>,
    /// The records at fault, if the others are good.
    pub records: Option<Box<RecordFaults>>,
    /// First offset of the log that refused, else −1.
    pub log_start_offset: Offset,
    /// Whether it is the log that refuses, as Kafka has it, and tells where it starts: not a request that is no good for any log, nor what
    /// Kafka's `ReplicaManager` counts as an ordinary failure.
    by_log: bool,
}

impl AppendFailure {
    fn new(code: ErrorCode, message: Option<String>, by_log: bool) -> AppendFailure {
        AppendFailure { code, message, records: None, log_start_offset: Offset::NONE, by_log }
    }

    /// What [`validate`](hayate_storage::batch::validate::validate) found wrong with `records`.
    pub fn of_batch(error: BatchError, records: &[u8], rules: &ProduceRules, now_ms: i64) -> AppendFailure {
        let mut failure = AppendFailure::from(error);
        if matches!(error, BatchError::NoKey { .. } | BatchError::Timestamp { .. }) {
            failure.records = Some(Box::new(record_faults(records, rules, now_ms)));
        }
        failure
    }

    /// The same, by a log that starts there.
    #[must_use]
    pub fn of_log(mut self, log_start_offset: Offset) -> AppendFailure {
        if self.by_log {
            self.log_start_offset = log_start_offset;
        }
        self
    }
}

impl From<ErrorCode> for AppendFailure {
    fn from(code: ErrorCode) -> AppendFailure {
        AppendFailure::new(code, None, false)
    }
}

impl From<AppendError> for AppendFailure {
    fn from(error: AppendError) -> AppendFailure {
        let by_log = matches!(error, AppendError::Producer(_));
        AppendFailure::new(code_of(error.code()), Some(error.to_string()), by_log)
    }
}

impl From<BatchError> for AppendFailure {
    fn from(error: BatchError) -> AppendFailure {
        AppendFailure::new(code_of(error.code()), words(&error), is_by_log(&error))
    }
}

fn is_by_log(error: &BatchError) -> bool {
    match error {
        BatchError::NoBatch
        | BatchError::SecondBatch
        | BatchError::OldMagic(_)
        | BatchError::ZstdTooEarly { .. }
        | BatchError::UnknownMagic(_)
        | BatchError::BatchLength(_)
        | BatchError::Crc { .. }
        | BatchError::TooLarge { .. } => false,
        BatchError::BaseOffset(_)
        | BatchError::OffsetRange { .. }
        | BatchError::Count(_)
        | BatchError::CountMismatch { .. }
        | BatchError::Control
        | BatchError::Sequence(_)
        | BatchError::UnknownCodec(_)
        | BatchError::Framing(_)
        | BatchError::Timestamp { .. }
        | BatchError::NoKey { .. }
        | BatchError::Records(_) => true,
    }
}

/// Less than any message of any format takes.
const RECORD_OVERHEAD_BYTES: i32 = 14;

/// What is wrong with a batch, for the producer's log; `None` where its records say it.
fn words(error: &BatchError) -> Option<String> {
    Some(match error {
        BatchError::NoKey { .. } | BatchError::Timestamp { .. } => return None,
        BatchError::TooLarge { batch_bytes, max_bytes } => format!(
            "The record batch size in the append is {batch_bytes} bytes which exceeds the maximum configured value \
             of {max_bytes}."
        ),
        BatchError::Crc { stored, computed } => {
            format!("Record is corrupt (stored crc = {stored}, computed crc = {computed})")
        }
        BatchError::Framing(codec) => {
            format!("{} must be framed in independent blocks: Kafka's clients read no others.", codec.name())
        }
        BatchError::UnknownMagic(magic) => format!("Invalid magic found in record: {magic}"),
        BatchError::OldMagic(magic) => {
            format!("Records must be of message format 2, and are of message format {magic}.")
        }
        BatchError::BatchLength(length) if *length < RECORD_OVERHEAD_BYTES => {
            format!("Record size {length} is less than the minimum record overhead ({RECORD_OVERHEAD_BYTES})")
        }
        BatchError::BatchLength(length) => format!("A record batch cannot be {length} bytes long."),
        BatchError::NoBatch => "There must be a whole record batch for each partition.".to_owned(),
        BatchError::SecondBatch => {
            "There must be one record batch for each partition, and not more.".to_owned()
        }
        BatchError::BaseOffset(offset) => {
            format!("The base offset of a record batch should be 0, but it is {offset}.")
        }
        BatchError::OffsetRange { last_offset_delta } => {
            format!("Batch has an invalid offset range: [0, {last_offset_delta}]")
        }
        BatchError::Count(count) => format!("Invalid reported count for record batch: {count}"),
        BatchError::CountMismatch { records_count, last_offset_delta } => format!(
            "Inconsistent batch offset range [0, {last_offset_delta}] and count of records {records_count}"
        ),
        BatchError::Control => "Clients are not allowed to write control records".to_owned(),
        BatchError::Sequence(sequence) => {
            format!("Invalid sequence number {sequence} in a record batch with a producer id")
        }
        BatchError::UnknownCodec(codec) => format!("Unknown compression type id: {codec}"),
        BatchError::ZstdTooEarly { produce_version } => {
            format!(
                "Produce requests with version {produce_version} are not allowed to use ZStandard compression"
            )
        }
        BatchError::Records(error) => format!("The records of the batch cannot be read: {error:?}"),
    })
}

/// What is wrong with one of the records at fault that were produced to a partition of `topic`, in Kafka's words.
pub fn fault_words(faults: &RecordFaults, fault: &RecordFault, topic: &str, partition: i32) -> String {
    let RecordFault { offset, timestamp_ms, key_bytes, value_bytes, .. } = fault;
    match fault.kind {
        FaultKind::NoKey => {
            format!(
                "Compacted topic cannot accept message without key in topic partition {topic}-{partition}"
            )
        }
        FaultKind::Time => {
            let (earliest_ms, latest_ms) = faults.times_ms;
            format!(
                "Timestamp {timestamp_ms} of message with offset {offset} is out of range. The timestamp should be \
                 within [{earliest_ms}, {latest_ms}]"
            )
        }
        FaultKind::TimeType => format!(
            "Invalid timestamp type in message DefaultRecord(offset={offset}, timestamp={timestamp_ms}, key={key_bytes} \
             bytes, value={value_bytes} bytes). Producer should not set timestamp type to LogAppendTime."
        ),
    }
}

/// Records that a summary shows.
const SHOWN_MAX: usize = 3;

/// What is wrong with a batch for its records at fault, in Kafka's words.
pub fn summary(faults: &RecordFaults, topic: &str, partition: i32) -> String {
    if faults.is_for_time {
        return "One or more records have been rejected due to invalid timestamp".to_owned();
    }
    let mut text = format!(
        "One or more records have been rejected due to {} record errors in total, and only showing the first three \
         errors at most: [",
        faults.total
    );
    for (number, fault) in faults.listed.iter().take(SHOWN_MAX).enumerate() {
        let comma = if number > 0 { ", " } else { "" };
        let (index, words) = (fault.index, fault_words(faults, fault, topic, partition));
        write!(text, "{comma}RecordError(batchIndex={index}, message='{words}')")
            .expect("a string takes all");
    }
    text + "]"
}

#[cfg(test)]
mod tests {
    use super::*;
    use hayate_storage::batch::BatchBuilder;

    const NOW_MS: i64 = 1_767_225_600_000;

    fn refused(batch: &[u8], rules: &ProduceRules) -> AppendFailure {
        let error = hayate_storage::batch::validate::validate(batch, rules, NOW_MS).unwrap_err();
        AppendFailure::of_batch(error, batch, rules, NOW_MS)
    }

    #[test]
    fn the_first_three_of_many_keyless_records_are_shown() {
        let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
        let mut batch = BatchBuilder::new().record(NOW_MS, Some(b"k"), None);
        for _ in 0..5 {
            batch = batch.record(NOW_MS, None, None);
        }
        let faults = refused(&batch.build(), &rules).records.expect("records at fault");
        let word = "Compacted topic cannot accept message without key in topic partition t-7";
        let shown = |index| format!("RecordError(batchIndex={index}, message='{word}')");
        let expected = format!(
            "One or more records have been rejected due to 5 record errors in total, and only showing the first three \
             errors at most: [{}, {}, {}]",
            shown(1),
            shown(2),
            shown(3)
        );
        assert_eq!(summary(&faults, "t", 7), expected);
    }

    #[test]
    fn a_wrong_time_is_told_with_its_bounds() {
        let rules = ProduceRules { timestamp_before_max_ms: 1000, ..ProduceRules::default() };
        let batch = BatchBuilder::new().record(NOW_MS, None, None).record(NOW_MS - 1001, None, None).build();
        let faults = refused(&batch, &rules).records.expect("records at fault");
        assert_eq!(
            summary(&faults, "t", 0),
            "One or more records have been rejected due to invalid timestamp"
        );
        let expected = format!(
            "Timestamp {} of message with offset 1 is out of range. The timestamp should be within [{}, {}]",
            NOW_MS - 1001,
            NOW_MS - 1000,
            NOW_MS + 3_600_000
        );
        assert_eq!(fault_words(&faults, &faults.listed[0], "t", 0), expected);
    }

    #[test]
    fn only_a_log_that_refuses_tells_where_it_starts() {
        let start = |error: BatchError| AppendFailure::from(error).of_log(Offset(5)).log_start_offset;
        assert_eq!(start(BatchError::Control), Offset(5));
        assert_eq!(start(BatchError::NoKey { index: 0 }), Offset(5));
        assert_eq!(start(BatchError::SecondBatch), Offset::NONE);
        assert_eq!(start(BatchError::Crc { stored: 1, computed: 2 }), Offset::NONE);
        assert_eq!(
            AppendFailure::from(ErrorCode::NotLeaderOrFollower).of_log(Offset(5)).log_start_offset,
            Offset::NONE
        );
    }
}
