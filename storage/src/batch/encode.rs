//! Writes record batches as Kafka's clients do: for tests, for our own clients, and for the broker's own records (markers, metadata).
//! Knows nothing of who stores or sends them. Layouts: [`header`](super::header), [`records`](super::records).

use bytes::{BufMut, Bytes, BytesMut};

use super::compress::{self, Level};
use super::crc;
use super::header::{
    ATTRIBUTES_AT, Attributes, BatchHeader, CRC_AT, Codec, HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC,
    TimestampType,
};
use super::records::{Header, Record};
use super::{LeaderEpoch, NO_SEQUENCE, NO_TIMESTAMP_MS, Offset, ProducerId};

/// Collects records and writes them as one batch.
///
/// Defaults: base offset 0, leader epoch −1, no compression, create time, no producer id.
///
/// ```
/// use hayate_storage::batch::{BatchBuilder, BatchHeader, Codec, Offset};
///
/// let batch = BatchBuilder::new().codec(Codec::Lz4).base_offset(Offset(7))
///     .record(1_000, Some(b"key"), Some(b"value"))
///     .record(1_001, None, None)
///     .build();
/// assert_eq!(BatchHeader::parse(&batch).unwrap().next_offset(), Offset(9));
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    level: Level,
    delete_horizon_ms: Option<i64>,
    log_append_time_ms: Option<i64>,
    /// Room for the header, then the records.
    buffer: BytesMut,
    next_offset_delta: i32,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    #[must_use]
    pub fn new() -> BatchBuilder {
        BatchBuilder::with_buffer(BytesMut::new())
    }

    /// A builder that writes into the memory of `buffer`, whose content is dropped.
    #[must_use]
    pub fn with_buffer(mut buffer: BytesMut) -> BatchBuilder {
        buffer.clear();
        buffer.put_bytes(0, HEADER_BYTES);
        BatchBuilder {
            header: BatchHeader {
                base_offset: Offset::ZERO,
                batch_length: 0,
                partition_leader_epoch: LeaderEpoch::NONE,
                magic: MAGIC,
                crc: 0,
                attributes: Attributes::default(),
                last_offset_delta: -1,
                base_timestamp_ms: NO_TIMESTAMP_MS,
                max_timestamp_ms: NO_TIMESTAMP_MS,
                producer_id: ProducerId::NONE,
                producer_epoch: -1,
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            codec: Codec::None,
            level: Level::Default,
            delete_horizon_ms: None,
            log_append_time_ms: None,
            buffer,
            next_offset_delta: 0,
        }
    }

    #[must_use]
    pub fn base_offset(mut self, base_offset: Offset) -> BatchBuilder {
        self.header.base_offset = base_offset;
        self
    }

    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> BatchBuilder {
        self.header.partition_leader_epoch = epoch;
        self
    }

    #[must_use]
    pub fn codec(mut self, codec: Codec) -> BatchBuilder {
        self.codec = codec;
        self
    }

    #[must_use]
    pub fn level(mut self, level: Level) -> BatchBuilder {
        self.level = level;
        self
    }

    /// The idempotent producer that the batch is from, and the sequence number of its first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: i16, base_sequence: i32) -> BatchBuilder {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    #[must_use]
    pub fn transactional(mut self, on: bool) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_transactional(on);
        self
    }

    /// Marks the batch as the broker's own;.
    #[must_use]
    pub fn control(mut self, on: bool) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_control(on);
        self
    }

    /// Writes the batch under log-append time: all its records count as written at `now_ms`.
    #[must_use]
    pub fn log_append_time(mut self, now_ms: i64) -> BatchBuilder {
        self.log_append_time_ms = Some(now_ms);
        self
    }

    /// Sets the time after which compaction drops tombstones (KIP-534). Before the first record, as deltas count from it.
    ///
    /// # Panics
    /// When there already are records.
    #[must_use]
    pub fn delete_horizon(mut self, horizon_ms: i64) -> BatchBuilder {
        assert!(self.header.records_count == 0, "the delete horizon comes before the records");
        self.delete_horizon_ms = Some(horizon_ms);
        self.header.base_timestamp_ms = horizon_ms;
        self
    }

    /// Makes the batch end `delta` offsets after its base, though its last records may be gone (compaction).
    #[must_use]
    pub fn last_offset_delta(mut self, delta: i32) -> BatchBuilder {
        self.header.last_offset_delta = self.header.last_offset_delta.max(delta);
        self
    }

    /// Adds a record without headers at the next offset.
    #[must_use]
    pub fn record(mut self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> BatchBuilder {
        self.append(timestamp_ms, key, value, &[]);
        self
    }

    /// Adds a record at the next offset.
    ///
    /// # Panics
    /// As [`append_at`](Self::append_at).
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        let delta = self.next_offset_delta;
        self.append_parts(delta, 0, timestamp_ms, (key, value), headers.iter().copied());
    }

    /// Adds a record `offset_delta` offsets after the batch's base, leaving a gap as compaction does.
    ///
    /// # Panics
    /// When offsets do not rise, or the batch grows beyond `i32::MAX` bytes or offsets: callers bound what they add.
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        self.append_parts(offset_delta, 0, timestamp_ms, (key, value), headers.iter().copied());
    }

    /// Adds a record that was read from another batch, at the next offset.
    ///
    /// # Panics
    /// As [`append_at`](Self::append_at).
    pub fn append_record(&mut self, record: &Record<'_>) {
        let key_value = (record.key, record.value);
        let delta = self.next_offset_delta;
        self.append_parts(delta, record.attributes, record.timestamp_ms, key_value, record.headers.clone());
    }

    /// Records added so far.
    #[must_use]
    pub fn records_count(&self) -> i32 {
        self.header.records_count
    }

    /// Bytes that the batch has now, compression aside.
    #[must_use]
    pub fn plain_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn append_parts<'a>(
        &mut self,
        offset_delta: i32,
        attributes: i8,
        timestamp_ms: i64,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: impl ExactSizeIterator<Item = Header<'a>> + Clone,
    ) {
        assert!(offset_delta >= self.next_offset_delta, "offsets rise within a batch");
        if self.header.records_count == 0 && self.delete_horizon_ms.is_none() {
            self.header.base_timestamp_ms = timestamp_ms;
        }
        let timestamp_delta = timestamp_ms.wrapping_sub(self.header.base_timestamp_ms);
        let header_bytes =
            |header: Header<'_>| nullable_bytes(Some(header.key)) + nullable_bytes(header.value);
        let record_bytes = 1
            + varlong_bytes(timestamp_delta)
            + varlong_bytes(i64::from(offset_delta))
            + nullable_bytes(key)
            + nullable_bytes(value)
            + length_bytes(headers.len())
            + headers.clone().map(header_bytes).sum::<usize>();
        let out = &mut self.buffer;
        put_length(out, record_bytes);
        out.put_i8(attributes);
        put_varlong(out, timestamp_delta);
        put_varlong(out, i64::from(offset_delta));
        put_nullable(out, key);
        put_nullable(out, value);
        put_length(out, headers.len());
        for header in headers {
            put_nullable(out, Some(header.key));
            put_nullable(out, header.value);
        }
        self.count_record(offset_delta, timestamp_ms);
    }

    fn count_record(&mut self, offset_delta: i32, timestamp_ms: i64) {
        self.header.records_count += 1;
        self.header.max_timestamp_ms = self.header.max_timestamp_ms.max(timestamp_ms);
        self.header.last_offset_delta = self.header.last_offset_delta.max(offset_delta);
        self.next_offset_delta = offset_delta.checked_add(1).expect("a batch holds fewer than 2^31 offsets");
    }

    /// The finished batch, CRC and all.
    ///
    /// # Panics
    /// When the batch would take more than `i32::MAX` bytes: callers bound what they add.
    #[must_use]
    pub fn build(self) -> Bytes {
        let mut header = self.header;
        header.attributes =
            header.attributes.with_codec(self.codec).with_delete_horizon(self.delete_horizon_ms.is_some());
        if let Some(now_ms) = self.log_append_time_ms {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp_ms = now_ms;
        }
        match self.codec {
            Codec::None => seal_in_place(header, self.buffer),
            codec @ (Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd) => {
                let plain = self.buffer.get(HEADER_BYTES..).unwrap_or_default();
                seal(header, &compress::compress(codec, self.level, plain))
            }
        }
    }
}

/// Joins a header and its packed records: sets length and CRC, keeps everything else.
pub(super) fn seal(header: BatchHeader, packed: &[u8]) -> Bytes {
    let mut batch = BytesMut::with_capacity(HEADER_BYTES + packed.len());
    batch.put_bytes(0, HEADER_BYTES);
    batch.put_slice(packed);
    seal_in_place(header, batch)
}

/// The same where the records stand behind room for the header.
fn seal_in_place(mut header: BatchHeader, mut batch: BytesMut) -> Bytes {
    let after_length = batch.len() - LOG_OVERHEAD_BYTES;
    header.batch_length = i32::try_from(after_length).expect("a batch is smaller than 2 GiB");
    batch[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    let crc = crc::batch_crc(&batch);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return put_varlong(out, -1) };
    put_length(out, bytes.len());
    out.put_slice(bytes);
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(varlong_bytes(-1), |bytes| length_bytes(bytes.len()) + bytes.len())
}

fn put_length(out: &mut BytesMut, length: usize) {
    put_varlong(out, i64::from(i32::try_from(length).expect("a record is smaller than 2 GiB")));
}

fn length_bytes(length: usize) -> usize {
    varlong_bytes(i64::try_from(length).unwrap_or(i64::MAX))
}

/// A zigzag varint; 32-bit values come out as Kafka's 32-bit varints do.
fn put_varlong(out: &mut BytesMut, value: i64) {
    let mut left = zigzag(value);
    while left >= 0x80 {
        out.put_u8((left as u8) | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Bytes that [`put_varlong`] writes: one for each seven bits begun.
fn varlong_bytes(value: i64) -> usize {
    (64 - (zigzag(value) | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::records::{Records, RecordsError, body};
    use crate::batch::scan::verify;
    use crate::batch::tests::seeded;
    use proptest::prelude::*;

    /// A record that owns its parts: timestamp, key, value, headers.
    type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

    fn bytes_up_to(max: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..max)
    }

    fn any_record() -> impl Strategy<Value = Owned> {
        let header = (bytes_up_to(5), proptest::option::of(bytes_up_to(9)));
        (
            any::<i64>(),
            proptest::option::of(bytes_up_to(90)),
            proptest::option::of(bytes_up_to(900)),
            proptest::collection::vec(header, 0..4),
        )
    }

    fn append(builder: &mut BatchBuilder, (timestamp_ms, key, value, headers): &Owned) {
        let headers: Vec<_> =
            headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        builder.append(*timestamp_ms, key.as_deref(), value.as_deref(), &headers);
    }

    fn read_all(batch: &[u8]) -> Result<Vec<Owned>, RecordsError> {
        let header = BatchHeader::parse(batch).map_err(RecordsError::Header)?;
        let body = body(batch, &header, 1 << 20)?;
        Records::new(&header, &body)?
            .map(|record| {
                let record = record?;
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                let headers =
                    record.headers.map(|header| (header.key.to_vec(), owned(header.value))).collect();
                Ok((record.timestamp_ms, owned(record.key), owned(record.value), headers))
            })
            .collect()
    }

    proptest! {
        #![proptest_config(seeded(256))]

        #[test]
        fn records_survive_the_round_trip(records in proptest::collection::vec(any_record(), 1..12), codec in 0..5_u8) {
            let mut builder = BatchBuilder::new().codec(Codec::from_id(codec).unwrap());
            records.iter().for_each(|record| append(&mut builder, record));
            let batch = builder.build();
            let header = BatchHeader::parse(&batch).unwrap();
            prop_assert_eq!(header.total_bytes(), batch.len());
            prop_assert_eq!(verify(&header, &batch), Ok(()));
            prop_assert_eq!(header.records_count, records.len() as i32);
            prop_assert_eq!(header.last_offset_delta, records.len() as i32 - 1);
            prop_assert_eq!(read_all(&batch), Ok(records));
        }
    }
}
