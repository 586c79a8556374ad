//! Record batches: what a producer sends, what lies in a segment, and what the four codecs unpack.

use crate::memory::taken;
use crate::targets::{choose, noise, word};
use hayate_rt::random::Prng;
use hayate_storage::batch::compress::{Level, compress, decompress};
use hayate_storage::batch::control::{ControlType, EndTxnMarker};
use hayate_storage::batch::lookup::{first_at_or_after, offset_of_max_timestamp};
use hayate_storage::batch::recompress::recompress;
use hayate_storage::batch::records::{Header, Records, body};
use hayate_storage::batch::scan::{BatchScan, Checksums, find_offset};
use hayate_storage::batch::validate::{Depth, needs_records, recompressed, restamp, validate};
use hayate_storage::batch::{
    BatchBuilder, BatchHeader, Codec, HEADER_BYTES, Offset, ProduceRules, ProducerId, TimestampType, crc,
};

/// What records may unpack to here; a broker's limit is larger.
const UNPACKED_BYTES_MAX: usize = 256 << 10;
/// What a codec's own tables and buffers may take.
const CODEC_BYTES: usize = 12 << 20;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const LENGTH_AT: usize = 8;
const LENGTH_END: usize = 12;
const CRC_AT: usize = 17;
const CRC_END: usize = 21;
const NOW_MS: i64 = 1_700_000_000_000;

/// One batch of any codec, as a producer sends it.
pub fn records(prng: &mut Prng) -> Vec<u8> {
    batch(prng, Offset::ZERO).to_vec()
}

fn batch(prng: &mut Prng, base_offset: Offset) -> bytes::Bytes {
    let mut builder = BatchBuilder::new().codec(*choose(&CODECS, prng)).base_offset(base_offset);
    if prng.chance(1, 4) {
        builder = builder.producer(ProducerId(prng.below(9).cast_signed()), 0, prng.below(9) as i32);
    }
    if prng.chance(1, 8) {
        builder = builder.log_append_time(NOW_MS);
    }
    for _ in 0..=prng.below(4) {
        let (key, value) = (noise(prng, 9), word(prng, 40));
        let headers = [Header { key: b"h", value: Some(&key) }];
        let headers = if prng.chance(1, 3) { &headers[..] } else { &[] };
        let key = prng.chance(1, 2).then_some(&key[..]);
        builder.append(NOW_MS + prng.below(100).cast_signed(), key, Some(value.as_bytes()), headers);
    }
    builder.build()
}

/// Some batches one after another.
pub fn segment(prng: &mut Prng) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = Offset(prng.below(100).cast_signed());
    for _ in 0..=prng.below(3) {
        let batch = batch(prng, next);
        next = BatchHeader::parse(&batch).expect("our own").next_offset();
        bytes.extend(batch);
    }
    bytes
}

/// Mends length and checksum of each batch, as far as batches can be told; the last takes all that is left.
pub fn mend(bytes: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| rest.len() >= HEADER_BYTES) {
        let told = i32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]);
        let told = usize::try_from(told).ok().and_then(|told| told.checked_add(LENGTH_END));
        let total = told.filter(|total| (HEADER_BYTES..=rest.len()).contains(total)).unwrap_or(rest.len());
        let length = (total - LENGTH_END) as i32;
        rest[LENGTH_AT..LENGTH_END].copy_from_slice(&length.to_be_bytes());
        let sum = crc::batch_crc(&rest[..total]);
        rest[CRC_AT..CRC_END].copy_from_slice(&sum.to_be_bytes());
        at += total;
    }
}

fn rules(depth: Depth, codec: Option<Codec>) -> ProduceRules {
    ProduceRules {
        depth,
        codec,
        compacted: depth == Depth::Records,
        unpacked_bytes_max: UNPACKED_BYTES_MAX,
        timestamp_type: if codec.is_some() {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        },
        ..ProduceRules::default()
    }
}

/// What a leader does with what a producer sends, under the rules of several topics.
pub fn produce(bytes: &[u8]) -> bool {
    let mut accepted = false;
    let all = [(Depth::Header, None), (Depth::Records, None), (Depth::Header, Some(Codec::Lz4))];
    for (depth, codec) in all {
        accepted |= produced_under(&rules(depth, codec), bytes);
    }
    accepted
}

fn produced_under(rules: &ProduceRules, bytes: &[u8]) -> bool {
    let unpacks = needs_records(bytes, rules, NOW_MS);
    let (valid, took) = taken(|| validate(bytes, rules, NOW_MS));
    let limit = if unpacks { 4 * UNPACKED_BYTES_MAX + CODEC_BYTES } else { 0 };
    assert!(took.held_bytes_max <= limit, "{took:?}, {limit} allowed");
    let Ok(valid) = valid else { return false };
    let batch = &bytes[..valid.header.total_bytes()];
    assert_eq!(valid.header.crc, crc::batch_crc(batch));
    let rewritten = recompressed(batch, &valid, rules, Level::Default);
    let Ok(rewritten) = rewritten else { return true };
    let mut stored = rewritten.map_or_else(|| batch.to_vec(), |rewritten| rewritten.to_vec());
    if let Some(stamp) = valid.stamp {
        restamp(&mut stored, stamp);
    }
    let mut scan = BatchScan::new(&stored, Checksums::Verify);
    assert_eq!(scan.by_ref().count(), 1, "what is stored is no good batch: {:?}", scan.end());
    true
}

/// What reading a segment does: scan, search, records, markers.
pub fn read(bytes: &[u8]) -> bool {
    let mut scan = BatchScan::new(bytes, Checksums::Verify);
    let (batches, took) = taken(|| scan.by_ref().map(|batch| batch.header).collect::<Vec<_>>());
    assert!(took.held_bytes_max <= 1024 + 8 * bytes.len(), "{took:?}");
    assert!(scan.position() <= bytes.len());
    let _ = find_offset(bytes, Offset(3));
    let mut good = !batches.is_empty();
    for batch in BatchScan::new(bytes, Checksums::Verify) {
        assert_eq!(batch.header.to_bytes(), batch.bytes[..HEADER_BYTES], "the header does not come back");
        let (read, took) = taken(|| each_record(batch.bytes, &batch.header));
        assert!(took.held_bytes_max <= 4 * UNPACKED_BYTES_MAX + CODEC_BYTES, "{took:?}");
        good &= read;
    }
    good
}

/// Whether all records can be read; then they can be packed anew, and be searched.
fn each_record(batch: &[u8], header: &BatchHeader) -> bool {
    let Ok(unpacked) = body(batch, header, UNPACKED_BYTES_MAX) else { return false };
    let Ok(records) = Records::new(header, &unpacked) else { return false };
    let (mut read, mut count) = (true, 0);
    for record in records {
        let Ok(record) = record else {
            read = false;
            continue;
        };
        count += 1;
        assert!(record.headers.clone().count() <= unpacked.len());
        if let (Some(key), Some(value)) = (record.key, record.value) {
            let _ = (ControlType::from_key(key), EndTxnMarker::from_record(key, value));
        }
    }
    let _ = first_at_or_after(batch, header, NOW_MS, Offset(1), UNPACKED_BYTES_MAX);
    let _ = offset_of_max_timestamp(batch, header, UNPACKED_BYTES_MAX);
    if read && count > 0 {
        assert!(recompress(batch, Codec::Gzip, Level::Exact(1), 2 * UNPACKED_BYTES_MAX).is_ok());
    }
    read
}

/// Packed bytes behind the number of their codec.
pub fn packed(prng: &mut Prng) -> Vec<u8> {
    let number = 1 + prng.below(4) as usize;
    let plain =
        if prng.chance(1, 2) { word(prng, 60).into_bytes() } else { vec![7; prng.below(2000) as usize] };
    let mut bytes = vec![number as u8];
    bytes.extend(compress(CODECS[number], Level::Default, &plain));
    bytes
}

/// Unpacks; never to more than the cap.
pub fn unpack(bytes: &[u8]) -> bool {
    let Some((number, packed)) = bytes.split_first() else { return false };
    let codec = CODECS[usize::from(*number) % CODECS.len()];
    let (unpacked, took) = taken(|| decompress(codec, packed, UNPACKED_BYTES_MAX));
    assert!(took.held_bytes_max <= 4 * UNPACKED_BYTES_MAX + CODEC_BYTES, "{codec:?}: {took:?}");
    let Ok(unpacked) = unpacked else { return false };
    assert!(unpacked.len() <= UNPACKED_BYTES_MAX);
    let again = compress(codec, Level::Exact(1), &unpacked);
    assert_eq!(decompress(codec, &again, UNPACKED_BYTES_MAX).as_ref(), Ok(&unpacked), "{codec:?}");
    true
}
