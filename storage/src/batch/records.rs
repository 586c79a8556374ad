//! The records inside a batch: a bounded iterator that borrows from the (decompressed) body and allocates nothing.
//! Knows nothing of codecs beyond asking [`compress`](super::compress) for the body. Headers are a list: keys may repeat, keys
//! and values are bytes, as Kafka's brokers treat them.
//!
//! ```text
//!  record: length varint │ attributes i8 │ timestampDelta varlong │ offsetDelta varint │ key │ value │ count varint │ header …
//!  key, value, header value: length varint (negative: null) │ bytes        header: key length varint (≥ 0) │ key │ value
//! ```
//! Varints are zigzag LEB128 of at most 5 (varlong: 10) bytes. Source: Apache Kafka's record format documentation (KIP-98, KIP-82).

use std::borrow::Cow;

use super::compress::{self, CodecError};
use super::header::{BatchHeader, Codec, HEADER_BYTES, HeaderError, TimestampType};
use super::{NO_SEQUENCE, Offset, sequence_plus};

/// The fewest bytes of one record: its length, attributes, two deltas, two null lengths and a header count, a byte each.
pub const RECORD_BYTES_MIN: usize = 7;

/// Why a batch's records cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordsError {
    /// The bytes do not begin with a batch header of magic 2.
    Header(HeaderError),
    /// The bytes end before the batch does.
    Short,
    /// The codec bits hold a number that Kafka does not define.
    UnknownCodec(u8),
    /// The body could not be decompressed, or not within the cap.
    Codec(CodecError),
    /// `recordsCount` is negative, or more than the body could hold.
    Count(i32),
    /// Record number `index` is cut short, or one of its lengths or counts is impossible.
    Record { index: i32 },
    /// Bytes are left after the last record.
    Trailing { bytes: usize },
}

impl From<CodecError> for RecordsError {
    fn from(error: CodecError) -> RecordsError {
        RecordsError::Codec(error)
    }
}

/// The records of `batch`, decompressed; borrowed when they were not compressed.
///
/// `batch` begins with `header`; what lies behind the batch is ignored. The CRC is not checked here.
///
/// # Errors
/// [`RecordsError::Short`], [`RecordsError::UnknownCodec`], [`RecordsError::Codec`]; decompression stops beyond `cap_bytes`.
pub fn body<'a>(
    batch: &'a [u8],
    header: &BatchHeader,
    cap_bytes: usize,
) -> Result<Cow<'a, [u8]>, RecordsError> {
    let packed = batch.get(HEADER_BYTES..header.total_bytes()).ok_or(RecordsError::Short)?;
    let codec = header.codec().ok_or(RecordsError::UnknownCodec(header.attributes.codec_id()))?;
    match codec {
        Codec::None => Ok(Cow::Borrowed(packed)),
        Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => {
            Ok(Cow::Owned(compress::decompress(codec, packed, cap_bytes)?))
        }
    }
}

/// One header of a record: the key is UTF-8 from well-behaved clients, any bytes from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// A record's headers in their order, duplicates included. Checked when the record was read, so iterating cannot fail.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: i32,
    bytes: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        read_header(&mut self.bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(0);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// One record. Borrowed from the body; offset, timestamp and sequence are absolute.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub offset: Offset,
    /// The producer's time, or the batch's `max_timestamp_ms` under log-append time.
    pub timestamp_ms: i64,
    /// −1 without idempotence.
    pub sequence: i32,
    /// Unused by Kafka, kept when rewriting.
    pub attributes: i8,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// Iterates over the records of one body; ends after the first error.
///
/// As in Kafka, the batch's count governs: fewer records in the body are an error, and so are bytes behind the last one.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
    next_index: i32,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Records, or at least the check for bytes behind them, are still to come.
    Ahead,
    Reached,
}

impl<'a> Records<'a> {
    /// `body` is what [`body`] gave for the batch of `header`.
    ///
    /// # Errors
    /// [`RecordsError::Count`] when the declared count is impossible.
    pub fn new(header: &BatchHeader, body: &'a [u8]) -> Result<Records<'a>, RecordsError> {
        let count =
            usize::try_from(header.records_count).map_err(|_| RecordsError::Count(header.records_count))?;
        if count > body.len() / RECORD_BYTES_MIN {
            return Err(RecordsError::Count(header.records_count));
        }
        Ok(Records { header: *header, bytes: body, next_index: 0, end: End::Ahead })
    }

    fn read(&mut self) -> Option<Record<'a>> {
        let length = usize::try_from(take_varint(&mut self.bytes)?).ok()?;
        let mut record = take(&mut self.bytes, length)?;
        let parsed = parse_record(&self.header, &mut record)?;
        record.is_empty().then_some(parsed)
    }

    fn fail(&mut self, error: RecordsError) -> Option<Result<Record<'a>, RecordsError>> {
        self.end = End::Reached;
        Some(Err(error))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.end == End::Reached {
            return None;
        }
        let index = self.next_index;
        if index < self.header.records_count {
            self.next_index += 1;
            return match self.read() {
                Some(record) => Some(Ok(record)),
                None => self.fail(RecordsError::Record { index }),
            };
        }
        if !self.bytes.is_empty() {
            return self.fail(RecordsError::Trailing { bytes: self.bytes.len() });
        }
        self.end = End::Reached;
        None
    }
}

fn parse_record<'a>(header: &BatchHeader, bytes: &mut &'a [u8]) -> Option<Record<'a>> {
    let [attributes] = take(bytes, 1)? else { return None };
    let timestamp_delta = take_varlong(bytes)?;
    let offset_delta = take_varint(bytes)?;
    let key = take_nullable(bytes)?;
    let value = take_nullable(bytes)?;
    let headers = take_headers(bytes)?;
    Some(Record {
        offset: header.base_offset.plus(i64::from(offset_delta)),
        timestamp_ms: match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp_ms.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp_ms,
        },
        sequence: match header.base_sequence {
            base if base < 0 => NO_SEQUENCE,
            base => sequence_plus(base, offset_delta),
        },
        attributes: attributes.cast_signed(),
        key,
        value,
        headers,
    })
}

/// Walks over a record's headers, so that [`Headers`] can later trust them.
fn take_headers<'a>(bytes: &mut &'a [u8]) -> Option<Headers<'a>> {
    let left = take_varint(bytes)?;
    let all = *bytes;
    // A header is two bytes at least, which bounds the loop by the bytes that are really there.
    if usize::try_from(left).ok()? > all.len() / 2 {
        return None;
    }
    for _ in 0..left {
        read_header(bytes)?;
    }
    Some(Headers { left, bytes: all })
}

fn read_header<'a>(bytes: &mut &'a [u8]) -> Option<Header<'a>> {
    let key_bytes = usize::try_from(take_varint(bytes)?).ok()?;
    let key = take(bytes, key_bytes)?;
    Some(Header { key, value: take_nullable(bytes)? })
}

/// Bytes behind their length; Kafka reads every negative length as null.
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match usize::try_from(take_varint(bytes)?) {
        Ok(length) => take(bytes, length).map(Some),
        Err(_) => Some(None),
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    bytes.split_off(..count)
}

/// A zigzag varint of 32 bits in at most 5 bytes. Bits beyond the 32nd are refused, where Kafka drops them.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<i32> {
    let raw = u32::try_from(take_unsigned(bytes, 5)?).ok()?;
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// A zigzag varint of 64 bits in at most 10 bytes. Bits beyond the 64th are refused, where Kafka drops them.
pub(super) fn take_varlong(bytes: &mut &[u8]) -> Option<i64> {
    let raw = take_unsigned(bytes, 10)?;
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

fn take_unsigned(bytes: &mut &[u8], bytes_max: usize) -> Option<u64> {
    let mut value = 0_u64;
    for index in 0..bytes_max {
        let byte = *bytes.split_off_first()?;
        let low = u64::from(byte & 0x7f);
        if index == 9 && low > 1 {
            return None;
        }
        value |= low << (7 * index);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{seeded, unhex};
    use crate::batch::{BatchBuilder, ProducerId};
    use proptest::prelude::*;

    fn header_with(count: i32) -> BatchHeader {
        let batch = BatchBuilder::new().base_offset(Offset(10)).record(1_000, None, None).build();
        BatchHeader { records_count: count, ..BatchHeader::parse(&batch).unwrap() }
    }

    /// Reads hexadecimal bytes as `count` records; says how many came before the end or the error.
    fn check(count: i32, body: &str, expected: Result<usize, RecordsError>) {
        let body = unhex(body);
        let read = Records::new(&header_with(count), &body)
            .and_then(|records| records.map(|record| record.map(|_| 1)).sum::<Result<usize, _>>());
        assert_eq!(read, expected, "{count} records in {body:02x?}");
    }

    #[test]
    fn every_length_and_count_is_judged() {
        let bad = Err(RecordsError::Record { index: 0 });
        // length 6, attributes, timestamp delta, offset delta, null key, null value, no headers
        check(1, "0c 00 00 00 01 01 00", Ok(1));
        check(2, "0c 00 00 00 01 01 00  0c 00 00 02 01 01 00", Ok(2));
        check(1, "0c 00 00 00 01 01 00  ff", Err(RecordsError::Trailing { bytes: 1 }));
        check(0, "", Ok(0));
        check(0, "00", Err(RecordsError::Trailing { bytes: 1 }));
        check(-1, "", Err(RecordsError::Count(-1)));
        check(i32::MAX, "0c 00 00 00 01 01 00", Err(RecordsError::Count(i32::MAX)));
        check(2, "0c 00 00 00 01 01 00  0e 00 00 02 01 01 00", Err(RecordsError::Record { index: 1 }));
        // A length too short, too long, negative, of six bytes, beyond 32 bits.
        check(1, "0a 00 00 00 01 01 00", bad);
        check(1, "0e 00 00 00 01 01 00", bad);
        check(1, "0b 00 00 00 01 01 00", bad);
        check(1, "8c 80 80 80 80 00 00 00 00 01 01 00", bad);
        check(1, "8c 80 80 80 10 00 00 00 01 01 00", bad);
        check(1, "8c 80 80 80 00 00 00 00 01 01 00", Ok(1));
        // A key beyond the record, a value beyond it; other negative lengths are null as well, as in Kafka.
        check(1, "0c 00 00 00 7e 01 00", bad);
        check(1, "0c 00 00 00 01 04 00", bad);
        check(1, "0c 00 00 00 03 07 00", Ok(1));
        // Headers: negative, more than bytes, a null key, a value beyond the record, one that fits.
        check(1, "0c 00 00 00 01 01 01", bad);
        check(1, "10 00 00 00 01 01 04 00 01", bad);
        check(1, "10 00 00 00 01 01 02 01 01", bad);
        check(1, "10 00 00 00 01 01 02 00 04", bad);
        check(1, "10 00 00 00 01 01 02 00 01", Ok(1));
        check(1, "10 00 00 00 01 01 ff ff ff ff 0f", bad);
    }

    #[test]
    fn varints_are_kafkas() {
        for (bytes, expected) in [
            ("00", Some(0)),
            ("01", Some(-1)),
            ("02", Some(1)),
            ("7f", Some(-64)),
            ("8001", Some(64)),
            ("feffffff0f", Some(i32::MAX)),
            ("ffffffff0f", Some(i32::MIN)),
            ("ffffffff1f", None),
            ("8080808080", None),
            ("80", None),
            ("", None),
        ] {
            assert_eq!(take_varint(&mut unhex(bytes).as_slice()), expected, "{bytes}");
        }
        for (bytes, expected) in [
            ("fe ff ff ff ff ff ff ff ff 01", Some(i64::MAX)),
            ("ff ff ff ff ff ff ff ff ff 01", Some(i64::MIN)),
            ("ff ff ff ff ff ff ff ff ff 02", None),
            ("80 80 80 80 80 80 80 80 80 80 00", None),
        ] {
            assert_eq!(take_varlong(&mut unhex(bytes).as_slice()), expected, "{bytes}");
        }
    }

    #[test]
    fn records_speak_in_absolute_terms() {
        let mut builder = BatchBuilder::new().base_offset(Offset(10)).producer(ProducerId(1), 0, i32::MAX);
        builder.append(
            1_000,
            Some(b"k"),
            None,
            &[Header { key: b"\xff", value: None }, Header { key: b"\xff", value: Some(b"") }],
        );
        builder.append_at(4, 990, None, Some(b""), &[]);
        let batch = builder.build();
        let header = BatchHeader::parse(&batch).unwrap();
        let body = body(&batch, &header, 0).unwrap();
        let records: Vec<_> = Records::new(&header, &body).unwrap().map(Result::unwrap).collect();
        let [first, second] = records.as_slice() else { panic!("two records") };
        assert_eq!((first.offset, first.timestamp_ms, first.sequence), (Offset(10), 1_000, i32::MAX));
        assert_eq!((second.offset, second.timestamp_ms, second.sequence), (Offset(14), 990, 3));
        assert_eq!((first.key, first.value), (Some(b"k".as_slice()), None));
        assert_eq!((second.key, second.value), (None, Some(b"".as_slice())));
        let headers: Vec<_> = first.headers.clone().collect();
        assert_eq!(
            headers,
            [Header { key: b"\xff", value: None }, Header { key: b"\xff", value: Some(b"") }]
        );
        assert_eq!((first.headers.len(), second.headers.len()), (2, 0));
        assert_eq!((header.next_offset(), header.max_timestamp_ms), (Offset(15), 1_000));
    }

    #[test]
    fn cutting_the_body_anywhere_is_noticed() {
        let headers = [Header { key: b"name", value: Some(b"value") }];
        let mut builder = BatchBuilder::new();
        for index in 0..3 {
            builder.append(index, Some(b"key"), Some(&[7; 70]), &headers);
        }
        let batch = builder.build();
        let header = BatchHeader::parse(&batch).unwrap();
        let body = body(&batch, &header, 0).unwrap();
        for cut in 0..body.len() {
            let outcome =
                Records::new(&header, &body[..cut]).map(|records| records.filter(Result::is_err).count());
            assert!(matches!(outcome, Err(RecordsError::Count(3)) | Ok(1)), "cut to {cut}: {outcome:?}");
        }
    }

    proptest! {
        #![proptest_config(seeded(2_000))]

        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in -1..30) {
            if let Ok(records) = Records::new(&header_with(count), &bytes) {
                let parts: usize = records.flatten().map(|record| 1 + record.headers.count()).sum();
                prop_assert!(parts <= bytes.len() / 2);
            }
        }
    }
}
