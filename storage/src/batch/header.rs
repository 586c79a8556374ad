//! The 61-byte header that every record batch of magic 2 begins with: read, written, and changed in place.
//! Knows nothing of the records behind it. Layout: Apache Kafka's record format documentation (KIP-98), all integers big-endian.
//!
//! ```text
//!  byte 0        8       12      16  17      21   23      27
//!       ┌────────┬───────┬───────┬───┬───────┬────┬───────┬──
//!       │baseOff.│length │ epoch │mag│ crc   │attr│lastDel│ …      length counts the bytes after itself (12…)
//!       └────────┴───────┴───────┴───┴───────┴────┴───────┴──     crc (CRC-32C) covers 21 to the end
//!  byte 27             35             43             51   53      57      61
//!     ──┬──────────────┬──────────────┬──────────────┬────┬───────┬───────┬───────────
//!       │ baseTimestamp│ maxTimestamp │ producerId   │pEp.│baseSeq│count  │ records …
//!     ──┴──────────────┴──────────────┴──────────────┴────┴───────┴───────┴───────────
//!  attributes: bits 0–2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon (KIP-534)
//! ```

use super::{LeaderEpoch, NO_SEQUENCE, Offset, ProducerId, sequence_plus};

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Bytes that `batchLength` does not count: `baseOffset` and `batchLength` itself.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The smallest `batchLength`: a header without records.
pub const BATCH_LENGTH_MIN: i32 = (HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32;
/// The one record format version that Kafka 4 writes and accepts.
pub const MAGIC: i8 = 2;

pub(super) const LENGTH_AT: usize = 8;
pub(super) const EPOCH_AT: usize = 12;
pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
/// Where the bytes begin that the CRC covers.
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const LAST_DELTA_AT: usize = 23;
pub(super) const BASE_TIMESTAMP_AT: usize = 27;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;
pub(super) const PRODUCER_ID_AT: usize = 43;
pub(super) const PRODUCER_EPOCH_AT: usize = 51;
pub(super) const SEQUENCE_AT: usize = 53;
pub(super) const COUNT_AT: usize = 57;

const _: () = assert!(COUNT_AT + 4 == HEADER_BYTES);
const _: () = assert!(EPOCH_AT == LOG_OVERHEAD_BYTES);
const _: () = assert!(CRC_AT + 4 == ATTRIBUTES_AT);
const _: () = assert!(BATCH_LENGTH_MIN == 49);

/// How a batch's records are compressed. The numbers are Kafka's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Codec {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec of a number; `None` for 5 to 7, which Kafka leaves undefined.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Codec> {
        match id {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// The name that `compression.type` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// Whose clock a batch's timestamps come from (KIP-32).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TimestampType {
    /// Each record carries the time that its producer gave it.
    CreateTime,
    /// All records count as written at `max_timestamp_ms`, the broker's time.
    LogAppendTime,
}

/// The 16 attribute bits of a batch; unknown bits are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC_MASK: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;
    const DEFINED: i16 = 0x7f;

    /// The number in the codec bits, 0 to 7.
    #[must_use]
    pub const fn codec_id(self) -> u8 {
        (self.0 & Self::CODEC_MASK) as u8
    }

    /// The codec; `None` when its number is one that Kafka does not define.
    #[must_use]
    pub const fn codec(self) -> Option<Codec> {
        Codec::from_id(self.codec_id())
    }

    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.has(Self::LOG_APPEND_TIME) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.has(Self::TRANSACTIONAL)
    }

    /// Whether the records are the broker's own (transaction markers, leader changes), hidden from consumers.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.has(Self::CONTROL)
    }

    /// Whether the base timestamp is the time after which compaction drops tombstones and markers (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.has(Self::DELETE_HORIZON)
    }

    #[must_use]
    pub const fn with_codec(self, codec: Codec) -> Attributes {
        Attributes(self.0 & !Self::CODEC_MASK | codec as i16)
    }

    #[must_use]
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        self.with(Self::LOG_APPEND_TIME, matches!(timestamp_type, TimestampType::LogAppendTime))
    }

    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Attributes {
        self.with(Self::TRANSACTIONAL, on)
    }

    #[must_use]
    pub const fn with_control(self, on: bool) -> Attributes {
        self.with(Self::CONTROL, on)
    }

    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Attributes {
        self.with(Self::DELETE_HORIZON, on)
    }

    /// Only the bits that Kafka 4.2 defines, which are all that it writes back when it changes a batch.
    #[must_use]
    pub const fn defined(self) -> Attributes {
        Attributes(self.0 & Self::DEFINED)
    }

    const fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    const fn with(self, bit: i16, on: bool) -> Attributes {
        Attributes(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// Why bytes are not the header of a batch of magic 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// Fewer than 61 bytes.
    Short { have_bytes: usize },
    /// `batchLength` is smaller than a header.
    BatchLength(i32),
    /// Another record format, or no batch at all.
    Magic(i8),
}

/// A parsed batch header. Parsing proves length and magic; all other fields are as the bytes say, hostile values included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the batch's first record (0 from producers, set by the leader; kept by compaction).
    pub base_offset: Offset,
    /// Bytes after this field, 49 or more.
    pub batch_length: i32,
    pub partition_leader_epoch: LeaderEpoch,
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    pub attributes: Attributes,
    /// Offset of the last record, counted from `base_offset`; it outlives the record under compaction.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, or the delete horizon; −1 when there is none.
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    /// Sequence number of the first record; −1 without idempotence.
    pub base_sequence: i32,
    /// Records in the batch: after compaction fewer than offsets, down to 0.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; whatever follows the 61 bytes is not looked at.
    ///
    /// # Errors
    /// [`HeaderError`]; magic is judged before the length, as other formats count it differently.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, HeaderError> {
        let head = bytes.first_chunk().ok_or(HeaderError::Short { have_bytes: bytes.len() })?;
        let header = BatchHeader::from_array(head);
        if header.magic != MAGIC {
            return Err(HeaderError::Magic(header.magic));
        }
        if header.batch_length < BATCH_LENGTH_MIN {
            return Err(HeaderError::BatchLength(header.batch_length));
        }
        Ok(header)
    }

    fn from_array(head: &[u8; HEADER_BYTES]) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(i64::from_be_bytes(field(head, 0))),
            batch_length: i32::from_be_bytes(field(head, LENGTH_AT)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field(head, EPOCH_AT))),
            magic: i8::from_be_bytes(field(head, MAGIC_AT)),
            crc: u32::from_be_bytes(field(head, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(field(head, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(field(head, LAST_DELTA_AT)),
            base_timestamp_ms: i64::from_be_bytes(field(head, BASE_TIMESTAMP_AT)),
            max_timestamp_ms: i64::from_be_bytes(field(head, MAX_TIMESTAMP_AT)),
            producer_id: ProducerId(i64::from_be_bytes(field(head, PRODUCER_ID_AT))),
            producer_epoch: i16::from_be_bytes(field(head, PRODUCER_EPOCH_AT)),
            base_sequence: i32::from_be_bytes(field(head, SEQUENCE_AT)),
            records_count: i32::from_be_bytes(field(head, COUNT_AT)),
        }
    }

    /// The header's bytes, CRC as it stands in `crc`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        put(&mut head, 0, self.base_offset.0.to_be_bytes());
        put(&mut head, LENGTH_AT, self.batch_length.to_be_bytes());
        put(&mut head, EPOCH_AT, self.partition_leader_epoch.0.to_be_bytes());
        put(&mut head, MAGIC_AT, self.magic.to_be_bytes());
        put(&mut head, CRC_AT, self.crc.to_be_bytes());
        put(&mut head, ATTRIBUTES_AT, self.attributes.0.to_be_bytes());
        put(&mut head, LAST_DELTA_AT, self.last_offset_delta.to_be_bytes());
        put(&mut head, BASE_TIMESTAMP_AT, self.base_timestamp_ms.to_be_bytes());
        put(&mut head, MAX_TIMESTAMP_AT, self.max_timestamp_ms.to_be_bytes());
        put(&mut head, PRODUCER_ID_AT, self.producer_id.0.to_be_bytes());
        put(&mut head, PRODUCER_EPOCH_AT, self.producer_epoch.to_be_bytes());
        put(&mut head, SEQUENCE_AT, self.base_sequence.to_be_bytes());
        put(&mut head, COUNT_AT, self.records_count.to_be_bytes());
        head
    }

    /// Bytes of the whole batch, header included: 61 or more.
    #[must_use]
    pub const fn total_bytes(&self) -> usize {
        // A parsed length is 49 or more; a hand-made negative one counts as none.
        let after = if self.batch_length < 0 { 0 } else { self.batch_length as usize };
        LOG_OVERHEAD_BYTES + after
    }

    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64)
    }

    /// The base offset of the batch that follows directly.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// The codec; `None` when its number is one that Kafka does not define.
    #[must_use]
    pub const fn codec(&self) -> Option<Codec> {
        self.attributes.codec()
    }

    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// When compaction may drop this batch's tombstones and markers, if that time is set (KIP-534).
    #[must_use]
    pub const fn delete_horizon_ms(&self) -> Option<i64> {
        if self.attributes.has_delete_horizon() { Some(self.base_timestamp_ms) } else { None }
    }

    /// Sequence number of the last record; −1 without idempotence. Wraps at `i32::MAX` as Kafka's does.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        sequence_plus(self.base_sequence, self.last_offset_delta)
    }
}

/// Sets `baseOffset` of the batch that `batch` begins with; the CRC does not cover it.
///
/// # Panics
/// When `batch` is shorter than a header: callers hold a parsed batch.
pub fn set_base_offset(batch: &mut [u8], base_offset: Offset) {
    put(head_of(batch), 0, base_offset.0.to_be_bytes());
}

/// Sets `partitionLeaderEpoch` of the batch that `batch` begins with; the CRC does not cover it.
///
/// # Panics
/// When `batch` is shorter than a header: callers hold a parsed batch.
pub fn set_partition_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    put(head_of(batch), EPOCH_AT, epoch.0.to_be_bytes());
}

pub(super) fn head_of(batch: &mut [u8]) -> &mut [u8; HEADER_BYTES] {
    batch.first_chunk_mut().expect("a parsed batch is at least a header long")
}

/// Copies `N` bytes out of the header; `at` is one of the constants above, so the range always lies inside.
fn field<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&head[at..at + N]);
    out
}

pub(super) fn put<const N: usize>(head: &mut [u8; HEADER_BYTES], at: usize, value: [u8; N]) {
    head[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::seeded;
    use proptest::prelude::*;

    #[test]
    fn every_field_lies_where_kafka_puts_it() {
        let bytes: Vec<u8> =
            (0..HEADER_BYTES as u8).map(|i| if i as usize == MAGIC_AT { 2 } else { i }).collect();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.base_offset, Offset(0x0001_0203_0405_0607));
        assert_eq!(header.batch_length, 0x0809_0a0b);
        assert_eq!(header.partition_leader_epoch, LeaderEpoch(0x0c0d_0e0f));
        assert_eq!(header.crc, 0x1112_1314);
        assert_eq!(header.attributes, Attributes(0x1516));
        assert_eq!(header.last_offset_delta, 0x1718_191a);
        assert_eq!(header.base_timestamp_ms, 0x1b1c_1d1e_1f20_2122);
        assert_eq!(header.max_timestamp_ms, 0x2324_2526_2728_292a);
        assert_eq!(header.producer_id, ProducerId(0x2b2c_2d2e_2f30_3132));
        assert_eq!(header.producer_epoch, 0x3334);
        assert_eq!(header.base_sequence, 0x3536_3738);
        assert_eq!(header.records_count, 0x393a_3b3c);
        assert_eq!(header.to_bytes().as_slice(), bytes);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let mut good = [0; HEADER_BYTES];
        good[MAGIC_AT] = 2;
        good[LENGTH_AT + 3] = 49;
        assert_eq!(BatchHeader::parse(&good).unwrap().total_bytes(), HEADER_BYTES);
        for cut in 0..HEADER_BYTES {
            assert_eq!(BatchHeader::parse(&good[..cut]), Err(HeaderError::Short { have_bytes: cut }));
        }
        for (at, value, expected) in [
            (MAGIC_AT, 1, HeaderError::Magic(1)),
            (MAGIC_AT, 0xff, HeaderError::Magic(-1)),
            (LENGTH_AT + 3, 48, HeaderError::BatchLength(48)),
            (LENGTH_AT, 0x80, HeaderError::BatchLength(i32::MIN + 49)),
        ] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(BatchHeader::parse(&bad), Err(expected));
        }
    }

    #[test]
    fn setters_touch_their_field_alone() {
        let mut batch = vec![0xaa; HEADER_BYTES + 3];
        set_base_offset(&mut batch, Offset(0x0102_0304_0506_0708));
        set_partition_leader_epoch(&mut batch, LeaderEpoch(0x0c0d_0e0f));
        assert_eq!(&batch[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(&batch[EPOCH_AT..MAGIC_AT], [0x0c, 0x0d, 0x0e, 0x0f]);
        assert!(batch[8..EPOCH_AT].iter().chain(&batch[MAGIC_AT..]).all(|byte| *byte == 0xaa));
    }

    #[test]
    fn hostile_offsets_and_sequences_do_not_overflow() {
        let mut head = [0xff; HEADER_BYTES];
        put(&mut head, 0, i64::MAX.to_be_bytes());
        put(&mut head, LENGTH_AT, i32::MAX.to_be_bytes());
        put(&mut head, MAGIC_AT, [2]);
        put(&mut head, LAST_DELTA_AT, i32::MAX.to_be_bytes());
        put(&mut head, SEQUENCE_AT, i32::MIN.to_be_bytes());
        let header = BatchHeader::parse(&head).unwrap();
        assert_eq!(header.next_offset(), Offset::MAX);
        assert_eq!(header.codec(), None);
        assert!(header.last_sequence() >= 0);
    }

    proptest! {
        #![proptest_config(seeded(256))]

        #[test]
        fn any_header_survives_the_round_trip(
            mut bytes in proptest::array::uniform32(any::<u8>()).prop_flat_map(|a| (Just(a), proptest::array::uniform29(any::<u8>())))
                .prop_map(|(a, b)| [a.as_slice(), b.as_slice()].concat()),
        ) {
            bytes[MAGIC_AT] = 2;
            bytes[LENGTH_AT] &= 0x7f;
            bytes[LENGTH_AT + 2] |= 1;
            let header = BatchHeader::parse(&bytes).unwrap();
            prop_assert_eq!(header.to_bytes().to_vec(), bytes);
        }
    }
}
