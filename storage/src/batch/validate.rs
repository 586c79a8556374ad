//! Judges what a producer sent for one partition, by the batch's header alone, with Kafka's error codes; and makes the leader's
//! changes in place. Knows nothing of requests, topics or logs: the topic's rules come in, a verdict goes out.
//!
//! The checks and their order are those of Apache Kafka 4.2: `ProduceRequest.validateRecords`, `UnifiedLog`'s analysis of an append
//! and `LogValidator`. Kafka also decodes every record; here that happens only where the rules ask for it ([`Depth::Records`]) or
//! where the header's timestamps are in doubt. What that gives up: a producer that lies about its records under a valid checksum is found
//! out by its consumers, not by the broker.

use bytes::Bytes;

use super::compress::{Level, is_framed_for_kafka};
use super::crc;
use super::header::{
    ATTRIBUTES_AT, BatchHeader, CRC_AT, Codec, HEADER_BYTES, LENGTH_AT, LOG_OVERHEAD_BYTES, MAGIC, MAGIC_AT,
    MAX_TIMESTAMP_AT, TimestampType, head_of, put,
};
use super::recompress::recompress;
use super::records::{Records, RecordsError, body};
use super::{NO_TIMESTAMP_MS, Offset};

/// The smallest length that any record format ever had (that of magic 0, KIP-32's predecessor); Kafka calls less corrupt.
const LENGTH_MIN_ANY_MAGIC: i32 = 14;
/// Produce versions below this one may not carry zstd (KIP-110).
const ZSTD_PRODUCE_VERSION_MIN: i16 = 7;

/// Whether the verdict rests on the header or on each record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Depth {
    #[default]
    Header,
    Records,
}

/// What a topic's configuration and the request demand of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProduceRules {
    /// Version of the produce request, 3 or more.
    pub produce_version: i16,
    /// `max.message.bytes`: the largest batch, header included.
    pub batch_bytes_max: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far behind the broker's clock a record may be.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead of the broker's clock a record may be.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`; `None` for `producer`, which keeps the producer's codec.
    pub codec: Option<Codec>,
    /// `cleanup.policy` contains `compact`: every record needs a key, so every record is looked at.
    pub compacted: bool,
    pub depth: Depth,
    /// The most bytes that records may unpack to, where they must be unpacked.
    pub unpacked_bytes_max: usize,
}

impl Default for ProduceRules {
    /// Kafka's defaults.
    fn default() -> ProduceRules {
        ProduceRules {
            produce_version: 12,
            batch_bytes_max: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            codec: None,
            compacted: false,
            depth: Depth::Header,
            unpacked_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// Why a produced batch is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchError {
    /// No whole batch is there.
    NoBatch,
    /// A second batch follows.
    SecondBatch,
    /// Record format 0 or 1.
    OldMagic(i8),
    /// Not a record format at all.
    UnknownMagic(i8),
    /// `batchLength` cannot be.
    BatchLength(i32),
    Crc {
        stored: u32,
        computed: u32,
    },
    /// Larger than `max.message.bytes`.
    TooLarge {
        batch_bytes: usize,
        max_bytes: usize,
    },
    /// Producers count from 0.
    BaseOffset(Offset),
    /// `lastOffsetDelta` is negative.
    OffsetRange {
        last_offset_delta: i32,
    },
    /// `recordsCount` is 0 or negative.
    Count(i32),
    /// `recordsCount` and `lastOffsetDelta` disagree.
    CountMismatch {
        records_count: i32,
        last_offset_delta: i32,
    },
    /// Only brokers write control batches.
    Control,
    /// A producer id without a sequence number.
    Sequence(i32),
    /// A codec number that Kafka does not define.
    UnknownCodec(u8),
    /// The records are compressed in a way that Kafka's own clients cannot read: lz4 of blocks that depend on each other.
    Framing(Codec),
    /// zstd in a produce version that does not know it.
    ZstdTooEarly {
        produce_version: i16,
    },
    /// A record's time is too far from the broker's, or the producer claims log-append time.
    Timestamp {
        timestamp_ms: i64,
        /// Which record; `None` for the batch's greatest time.
        index: Option<i32>,
    },
    /// A record without a key for a compacted topic.
    NoKey {
        index: i32,
    },
    /// The records cannot be read.
    Records(RecordsError),
}

impl BatchError {
    /// Kafka's error code for the produce response.
    ///
    /// Where Kafka has none (it fails on undefined codecs and on damaged compressed data by an unexpected exception, code −1),
    /// the nearest code that tells clients not to retry: 76 and 87.
    #[must_use]
    pub const fn code(&self) -> i16 {
        const CORRUPT_MESSAGE: i16 = 2;
        const MESSAGE_TOO_LARGE: i16 = 10;
        const INVALID_TIMESTAMP: i16 = 32;
        const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
        const INVALID_RECORD: i16 = 87;
        match self {
            BatchError::UnknownMagic(_) | BatchError::BatchLength(_) | BatchError::Crc { .. } => {
                CORRUPT_MESSAGE
            }
            BatchError::TooLarge { .. } => MESSAGE_TOO_LARGE,
            BatchError::Timestamp { .. } => INVALID_TIMESTAMP,
            BatchError::UnknownCodec(_) | BatchError::ZstdTooEarly { .. } => UNSUPPORTED_COMPRESSION_TYPE,
            BatchError::NoBatch
            | BatchError::SecondBatch
            | BatchError::OldMagic(_)
            | BatchError::BaseOffset(_)
            | BatchError::OffsetRange { .. }
            | BatchError::Count(_)
            | BatchError::CountMismatch { .. }
            | BatchError::Control
            | BatchError::Sequence(_)
            | BatchError::Framing(_)
            | BatchError::NoKey { .. }
            | BatchError::Records(_) => INVALID_RECORD,
        }
    }
}

/// A timestamp type and greatest timestamp that a batch must be given before it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub timestamp_type: TimestampType,
    pub max_timestamp_ms: i64,
}

/// A batch that passed, and what the leader must change in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValidBatch {
    /// The header as produced. The batch is the first `header.total_bytes()` bytes; Kafka drops an unfinished rest.
    pub header: BatchHeader,
    /// Change in place with [`restamp`] (after recompression, if both are asked for).
    pub stamp: Option<Stamp>,
    /// Write anew with this codec: [`recompressed`].
    pub recompress: Option<Codec>,
}

impl ValidBatch {
    /// Whether the produced bytes can be stored as they are, base offset and leader epoch aside.
    #[must_use]
    pub const fn is_unchanged(&self) -> bool {
        self.stamp.is_none() && self.recompress.is_none()
    }
}

/// Judges the records that a produce request carries for one partition, at the broker's time `now_ms`.
///
/// # Errors
/// [`BatchError`]; of several faults the one that Kafka would name.
pub fn validate(records: &[u8], rules: &ProduceRules, now_ms: i64) -> Result<ValidBatch, BatchError> {
    let header = sole_batch(records, rules)?;
    let batch = records.get(..header.total_bytes()).ok_or(BatchError::NoBatch)?;
    if header.base_offset != Offset::ZERO {
        return Err(BatchError::BaseOffset(header.base_offset));
    }
    if batch.len() > rules.batch_bytes_max {
        return Err(BatchError::TooLarge { batch_bytes: batch.len(), max_bytes: rules.batch_bytes_max });
    }
    let computed = crc::batch_crc(batch);
    if computed != header.crc {
        return Err(BatchError::Crc { stored: header.crc, computed });
    }
    let codec = header.codec().ok_or(BatchError::UnknownCodec(header.attributes.codec_id()))?;
    check_counts(&header)?;
    check_producer(&header)?;
    if !is_framed_for_kafka(codec, batch.get(HEADER_BYTES..).unwrap_or_default()) {
        return Err(BatchError::Framing(codec));
    }
    let facts = if must_decode(&header, rules, now_ms) {
        check_records(batch, &header, rules, now_ms)?
    } else {
        Facts { max_timestamp_ms: header.max_timestamp_ms, gapless: true }
    };
    let target = rules.codec.unwrap_or(codec);
    let rebuild = target != codec || !facts.gapless;
    Ok(ValidBatch {
        header,
        stamp: stamp_for(&header, rules, &facts, now_ms),
        recompress: rebuild.then_some(target),
    })
}

/// Whether [`validate`] would look at each record, or asks for them to be written anew: work whose size the producer decides, as compressed
/// records unpack to far more than they take. Judges nothing: what cannot be parsed needs no records.
#[must_use]
pub fn needs_records(records: &[u8], rules: &ProduceRules, now_ms: i64) -> bool {
    let Ok(header) = BatchHeader::parse(records) else { return false };
    let recodes = rules.codec.is_some_and(|codec| header.codec() != Some(codec));
    recodes || must_decode(&header, rules, now_ms)
}

/// The one batch of `records`, as `ProduceRequest.validateRecords` demands it.
fn sole_batch(records: &[u8], rules: &ProduceRules) -> Result<BatchHeader, BatchError> {
    let first = next_batch(records)?.ok_or(BatchError::NoBatch)?;
    if first.magic != MAGIC {
        return Err(BatchError::OldMagic(first.magic));
    }
    let header = BatchHeader::parse(first.bytes).map_err(|_| BatchError::BatchLength(first.length))?;
    if header.codec() == Some(Codec::Zstd) && rules.produce_version < ZSTD_PRODUCE_VERSION_MIN {
        return Err(BatchError::ZstdTooEarly { produce_version: rules.produce_version });
    }
    match next_batch(records.get(first.bytes.len()..).unwrap_or_default())? {
        None => Ok(header),
        Some(_) => Err(BatchError::SecondBatch),
    }
}

/// A batch of any record format, told by what all formats share: a length at byte 8, the magic at byte 16.
struct AnyBatch<'a> {
    bytes: &'a [u8],
    length: i32,
    magic: i8,
}

/// The batch at the start of `bytes`, as Kafka's `ByteBufferLogInputStream` sees it: an unfinished one counts as none.
fn next_batch(bytes: &[u8]) -> Result<Option<AnyBatch<'_>>, BatchError> {
    let Some(length) = bytes.get(LENGTH_AT..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let after_length = match usize::try_from(length) {
        Ok(after) if length >= LENGTH_MIN_ANY_MAGIC => after,
        _ => return Err(BatchError::BatchLength(length)),
    };
    let Some(magic) = bytes.get(MAGIC_AT).map(|byte| byte.cast_signed()) else { return Ok(None) };
    if !(0..=MAGIC).contains(&magic) {
        return Err(BatchError::UnknownMagic(magic));
    }
    Ok(bytes.get(..LOG_OVERHEAD_BYTES + after_length).map(|bytes| AnyBatch { bytes, length, magic }))
}

fn check_counts(header: &BatchHeader) -> Result<(), BatchError> {
    let (records_count, last_offset_delta) = (header.records_count, header.last_offset_delta);
    if last_offset_delta < 0 {
        return Err(BatchError::OffsetRange { last_offset_delta });
    }
    if records_count <= 0 {
        return Err(BatchError::Count(records_count));
    }
    if i64::from(last_offset_delta) + 1 != i64::from(records_count) {
        return Err(BatchError::CountMismatch { records_count, last_offset_delta });
    }
    Ok(())
}

fn check_producer(header: &BatchHeader) -> Result<(), BatchError> {
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if header.producer_id.is_some() && header.base_sequence < 0 {
        return Err(BatchError::Sequence(header.base_sequence));
    }
    Ok(())
}

/// Besides the rules, a header that is in doubt: Kafka goes by the records' timestamps and corrects the header's.
fn must_decode(header: &BatchHeader, rules: &ProduceRules, now_ms: i64) -> bool {
    let max_is_late = header.timestamp_type() == TimestampType::LogAppendTime
        || rules.timestamp_type == TimestampType::LogAppendTime
        || header.max_timestamp_ms >= header.base_timestamp_ms;
    let trusted = max_is_late && check_header_times(header, rules, now_ms).is_ok();
    // The header tells of the first and the latest record; one between them may be too old.
    let too_old_between =
        rules.timestamp_type == TimestampType::CreateTime && rules.timestamp_before_max_ms != i64::MAX;
    rules.depth == Depth::Records || rules.compacted || too_old_between || !trusted
}

/// What the records say, or the header on their behalf.
struct Facts {
    max_timestamp_ms: i64,
    /// Each record's offset delta is its index; others are renumbered.
    gapless: bool,
}

fn check_header_times(header: &BatchHeader, rules: &ProduceRules, now_ms: i64) -> Result<(), BatchError> {
    if header.timestamp_type() == TimestampType::CreateTime {
        check_time(header, rules, header.base_timestamp_ms, now_ms, Some(0))?;
    }
    check_time(header, rules, header.max_timestamp_ms, now_ms, None)
}

/// Kafka's `validateTimestamp`, its wrapping arithmetic and its leniency towards a producer's log-append time included.
pub(super) fn check_time(
    header: &BatchHeader,
    rules: &ProduceRules,
    timestamp_ms: i64,
    now_ms: i64,
    index: Option<i32>,
) -> Result<(), BatchError> {
    let in_range = if rules.timestamp_type == TimestampType::CreateTime && timestamp_ms != NO_TIMESTAMP_MS {
        let behind_ms = now_ms.wrapping_sub(timestamp_ms);
        behind_ms <= rules.timestamp_before_max_ms && behind_ms >= rules.timestamp_after_max_ms.wrapping_neg()
    } else {
        header.timestamp_type() == TimestampType::CreateTime
    };
    if in_range { Ok(()) } else { Err(BatchError::Timestamp { timestamp_ms, index }) }
}

/// Looks at each record. As in Kafka, unreadable records outrank a wrong time, and that outranks a missing key.
fn check_records(
    batch: &[u8],
    header: &BatchHeader,
    rules: &ProduceRules,
    now_ms: i64,
) -> Result<Facts, BatchError> {
    let body = body(batch, header, rules.unpacked_bytes_max).map_err(BatchError::Records)?;
    let mut facts = Facts { max_timestamp_ms: NO_TIMESTAMP_MS, gapless: true };
    let (mut no_key, mut bad_time) = (Ok(()), Ok(()));
    for (index, record) in (0..).zip(Records::new(header, &body).map_err(BatchError::Records)?) {
        let record = record.map_err(BatchError::Records)?;
        if rules.compacted && record.key.is_none() {
            no_key = no_key.and(Err(BatchError::NoKey { index }));
            continue;
        }
        bad_time = bad_time.and(check_time(header, rules, record.timestamp_ms, now_ms, Some(index)));
        facts.max_timestamp_ms = facts.max_timestamp_ms.max(record.timestamp_ms);
        facts.gapless &= record.offset == header.base_offset.plus(i64::from(index));
    }
    bad_time.and(no_key).map(|()| facts)
}

fn stamp_for(header: &BatchHeader, rules: &ProduceRules, facts: &Facts, now_ms: i64) -> Option<Stamp> {
    let max_timestamp_ms = match rules.timestamp_type {
        TimestampType::LogAppendTime => now_ms,
        TimestampType::CreateTime => facts.max_timestamp_ms,
    };
    let same = header.timestamp_type() == rules.timestamp_type && header.max_timestamp_ms == max_timestamp_ms;
    (!same).then_some(Stamp { timestamp_type: rules.timestamp_type, max_timestamp_ms })
}

/// The batch that `valid` asks to be written anew with another codec; `None` when it stays as it is.
///
/// `batch` is the first `header.total_bytes()` bytes of what was validated.
///
/// # Errors
/// [`BatchError::Records`] when its records cannot be read, [`BatchError::TooLarge`] when it outgrew `max.message.bytes`.
pub fn recompressed(
    batch: &[u8],
    valid: &ValidBatch,
    rules: &ProduceRules,
    level: Level,
) -> Result<Option<Bytes>, BatchError> {
    let Some(codec) = valid.recompress else { return Ok(None) };
    let rewritten = recompress(batch, codec, level, rules.unpacked_bytes_max).map_err(BatchError::Records)?;
    if rewritten.len() > rules.batch_bytes_max {
        return Err(BatchError::TooLarge { batch_bytes: rewritten.len(), max_bytes: rules.batch_bytes_max });
    }
    Ok(Some(rewritten))
}

/// Sets timestamp type and greatest timestamp of the batch that `batch` holds, and repairs its CRC without reading the records.
///
/// `batch` is one whole batch with a valid CRC; with a wrong one, the new CRC is wrong as well.
///
/// # Panics
/// When `batch` is shorter than a header: callers hold a validated batch.
pub fn restamp(batch: &mut [u8], stamp: Stamp) {
    let records_bytes = batch.len().saturating_sub(HEADER_BYTES);
    let head = head_of(batch);
    let old = *head;
    let header = BatchHeader::parse(&old).expect("a validated batch has a good header");
    let attributes = header.attributes.defined().with_timestamp_type(stamp.timestamp_type);
    put(head, ATTRIBUTES_AT, attributes.0.to_be_bytes());
    put(head, MAX_TIMESTAMP_AT, stamp.max_timestamp_ms.to_be_bytes());
    let crc = crc::after_header_change(header.crc, &old, head, records_bytes);
    put(head, CRC_AT, crc.to_be_bytes());
}

/// Makes `batch` one of log-append time, written at `now_ms`: [`restamp`] for topics with `message.timestamp.type=LogAppendTime`.
///
/// # Panics
/// As [`restamp`].
pub fn rewrite_log_append_time(batch: &mut [u8], now_ms: i64) {
    restamp(batch, Stamp { timestamp_type: TimestampType::LogAppendTime, max_timestamp_ms: now_ms });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::scan::verify;
    use crate::batch::tests::seeded;
    use crate::batch::{BatchBuilder, ProducerId};
    use proptest::prelude::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn sample(codec: Codec, value_bytes: usize) -> Vec<u8> {
        BatchBuilder::new()
            .codec(codec)
            .producer(ProducerId(4), 0, 0)
            .record(NOW_MS, Some(b"key"), Some(&vec![b'v'; value_bytes]))
            .record(NOW_MS - 5, Some(b"key"), None)
            .build()
            .to_vec()
    }

    #[test]
    fn cutting_anywhere_leaves_no_batch() {
        let batch = sample(Codec::None, 300);
        for cut in 0..batch.len() {
            assert_eq!(
                validate(&batch[..cut], &ProduceRules::default(), NOW_MS),
                Err(BatchError::NoBatch),
                "{cut}"
            );
        }
        assert!(validate(&batch, &ProduceRules::default(), NOW_MS).unwrap().is_unchanged());
    }

    #[test]
    fn log_append_time_equals_summing_it_all_again() {
        for codec in Codec::ALL {
            for value_bytes in [0, 1, 100, 70_000] {
                let mut batch = sample(codec, value_bytes);
                rewrite_log_append_time(&mut batch, NOW_MS + 9);
                let header = BatchHeader::parse(&batch).unwrap();
                assert_eq!(verify(&header, &batch), Ok(()));
                assert_eq!(
                    (header.timestamp_type(), header.max_timestamp_ms),
                    (TimestampType::LogAppendTime, NOW_MS + 9)
                );
            }
        }
    }

    #[test]
    fn lz4_that_kafkas_clients_cannot_read_is_refused() {
        const FLAGS_AT: usize = HEADER_BYTES + 4;
        let mut batch = sample(Codec::Lz4, 100);
        assert!(validate(&batch, &ProduceRules::default(), NOW_MS).is_ok());
        batch[FLAGS_AT] &= !0b10_0000;
        let crc = crc::batch_crc(&batch);
        batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        for depth in [Depth::Header, Depth::Records] {
            let refused = validate(&batch, &ProduceRules { depth, ..ProduceRules::default() }, NOW_MS);
            assert_eq!(refused, Err(BatchError::Framing(Codec::Lz4)));
            assert_eq!(refused.unwrap_err().code(), 87);
        }
    }

    #[test]
    fn a_batch_may_outgrow_the_limit_when_it_is_unpacked() {
        let batch = sample(Codec::Zstd, 5_000);
        let run = |batch_bytes_max, unpacked_bytes_max| {
            let rules = ProduceRules {
                batch_bytes_max,
                unpacked_bytes_max,
                codec: Some(Codec::None),
                ..ProduceRules::default()
            };
            let valid = validate(&batch, &rules, NOW_MS)?;
            recompressed(&batch, &valid, &rules, Level::Default)
        };
        assert!(run(6_000, 6_000).unwrap().is_some_and(|plain| plain.len() > 5_000));
        assert_eq!(run(5_000, 6_000).unwrap_err().code(), 10);
        assert_eq!(run(6_000, 5_000).unwrap_err().code(), 87);
        let rules = ProduceRules::default();
        let valid = validate(&batch, &rules, NOW_MS).unwrap();
        assert_eq!(recompressed(&batch, &valid, &rules, Level::Default), Ok(None));
    }

    proptest! {
        #![proptest_config(seeded(3_000))]

        #[test]
        fn any_damage_gets_a_verdict(
            codec in 0..5_u8,
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            mend in any::<bool>(),
            compacted in any::<bool>(),
        ) {
            let mut batch = sample(Codec::from_id(codec).unwrap(), 200);
            damage.iter().for_each(|(at, value)| *at.get_mut(&mut batch) = *value);
            if mend {
                let crc = crc::batch_crc(&batch);
                batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
            }
            let rules = ProduceRules { compacted, unpacked_bytes_max: 10_000, ..ProduceRules::default() };
            if let Ok(valid) = validate(&batch, &rules, NOW_MS) {
                prop_assert_eq!(valid.header.total_bytes(), batch.len());
                if let Some(stamp) = valid.stamp {
                    restamp(&mut batch, stamp);
                    prop_assert_eq!(verify(&BatchHeader::parse(&batch).unwrap(), &batch), Ok(()));
                }
            }
        }
    }
}
