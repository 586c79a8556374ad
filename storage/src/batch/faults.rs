//! Which records of a refused batch are at fault, all of them, where [`validate`](super::validate) names the first alone (KIP-467).
//! Only refusals come through here. The checks are those of Apache Kafka's `LogValidator.validateRecord`.

use super::header::{BatchHeader, TimestampType};
use super::records::{Record, Records, body};
use super::validate::{ProduceRules, check_time};
use super::{NO_TIMESTAMP_MS, Offset};

/// Faults that are listed of any batch.
const LISTED_MIN: usize = 16;
/// One more for so many bytes of the batch, so that the list does not outgrow it.
const BYTES_PER_LISTED: usize = 64;

/// The records at fault in one batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordFaults {
    /// How many there are.
    pub total: usize,
    /// Whether the time of one of them is what is wrong.
    pub is_for_time: bool,
    /// The first of them, in their order.
    pub listed: Vec<RecordFault>,
    /// The earliest and the latest time that a record might have had.
    pub times_ms: (i64, i64),
}

/// A record at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordFault {
    /// Its place in the batch, from 0.
    pub index: i32,
    /// Its offset as produced.
    pub offset: Offset,
    /// Its time as produced.
    pub timestamp_ms: i64,
    /// Bytes of its key, 0 without one.
    pub key_bytes: usize,
    /// Bytes of its value, 0 without one.
    pub value_bytes: usize,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// It has no key, and its topic is compacted.
    NoKey,
    /// Its time is too far from the broker's.
    Time,
    /// The producer claims that the broker gave it its time.
    TimeType,
}

/// The records of a produced batch that [`validate`](super::validate::validate) refused for a key or a time; none when they cannot be read.
#[must_use]
pub fn record_faults(records: &[u8], rules: &ProduceRules, now_ms: i64) -> RecordFaults {
    let times_ms = (
        now_ms.wrapping_sub(rules.timestamp_before_max_ms),
        now_ms.wrapping_add(rules.timestamp_after_max_ms),
    );
    let mut faults = RecordFaults { total: 0, is_for_time: false, listed: Vec::new(), times_ms };
    let Ok(header) = BatchHeader::parse(records) else { return faults };
    let Ok(body) = body(records, &header, rules.unpacked_bytes_max) else { return faults };
    let Ok(all) = Records::new(&header, &body) else { return faults };
    let listed_max = LISTED_MIN + header.total_bytes() / BYTES_PER_LISTED;
    for (index, record) in (0..).zip(all.map_while(Result::ok)) {
        let Some(kind) = fault(&header, rules, &record, now_ms) else { continue };
        faults.total += 1;
        faults.is_for_time |= kind != FaultKind::NoKey;
        if faults.listed.len() < listed_max {
            faults.listed.push(describe(index, &record, kind));
        }
    }
    faults
}

fn fault(header: &BatchHeader, rules: &ProduceRules, record: &Record<'_>, now_ms: i64) -> Option<FaultKind> {
    if rules.compacted && record.key.is_none() {
        return Some(FaultKind::NoKey);
    }
    check_time(header, rules, record.timestamp_ms, now_ms, None).err()?;
    let is_own = rules.timestamp_type == TimestampType::CreateTime && record.timestamp_ms != NO_TIMESTAMP_MS;
    Some(if is_own { FaultKind::Time } else { FaultKind::TimeType })
}

fn describe(index: i32, record: &Record<'_>, kind: FaultKind) -> RecordFault {
    let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
    let (key_bytes, value_bytes) = (record.key.map_or(0, <[u8]>::len), record.value.map_or(0, <[u8]>::len));
    RecordFault { index, offset, timestamp_ms, key_bytes, value_bytes, kind }
}

#[cfg(test)]
mod tests {
    use super::super::validate::validate;
    use super::super::{BatchBuilder, BatchError, Codec};
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn faults_of(records: &[u8], rules: &ProduceRules) -> (usize, Vec<(i32, FaultKind)>) {
        assert!(validate(records, rules, NOW_MS).is_err());
        let faults = record_faults(records, rules, NOW_MS);
        (faults.total, faults.listed.iter().map(|fault| (fault.index, fault.kind)).collect())
    }

    #[test]
    fn all_records_at_fault_are_named_in_their_order() {
        let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
        for codec in [Codec::None, Codec::Gzip] {
            let batch = BatchBuilder::new()
                .codec(codec)
                .record(NOW_MS, None, Some(b"no key"))
                .record(NOW_MS, Some(b"k"), Some(b"good"))
                .record(NOW_MS << 1, Some(b"k"), Some(b"early"))
                .record(NOW_MS << 1, None, None)
                .build();
            assert!(matches!(
                validate(&batch, &rules, NOW_MS),
                Err(BatchError::Timestamp { index: Some(2), .. })
            ));
            let expected = vec![(0, FaultKind::NoKey), (2, FaultKind::Time), (3, FaultKind::NoKey)];
            assert_eq!(faults_of(&batch, &rules), (3, expected));
        }
    }

    #[test]
    fn a_claimed_append_time_is_at_fault_in_each_record() {
        let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..ProduceRules::default() };
        let batch =
            BatchBuilder::new().record(5, None, None).record(6, None, None).log_append_time(NOW_MS).build();
        let expected = vec![(0, FaultKind::TimeType), (1, FaultKind::TimeType)];
        assert_eq!(faults_of(&batch, &rules), (2, expected));
    }

    #[test]
    fn the_list_is_bounded_by_the_batch() {
        let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
        let mut batch = BatchBuilder::new().codec(Codec::Zstd);
        for _ in 0..10_000 {
            batch = batch.record(NOW_MS, None, None);
        }
        let batch = batch.build();
        let (total, listed) = faults_of(&batch, &rules);
        assert_eq!((total, listed.len()), (10_000, LISTED_MIN + batch.len() / BYTES_PER_LISTED));
        assert!(listed.len() < total / 10);
    }

    #[test]
    fn what_cannot_be_read_has_no_faults_to_name() {
        let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
        let batch = BatchBuilder::new().record(NOW_MS, None, Some(b"v")).build();
        for cut in 0..batch.len() {
            assert_eq!(record_faults(&batch[..cut], &rules, NOW_MS).total, 0, "{cut}");
        }
    }
}
