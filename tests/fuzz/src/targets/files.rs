//! The small files of a data folder: checkpoints, indexes, producers, epochs, placement. What is read is what is written again.

use crate::memory::taken;
use crate::targets::{choose, id, topic_name, word};
use hayate_engine::placement::{PartitionKey, Placement};
use hayate_rt::random::Prng;
use hayate_storage::batch::{BatchBuilder, BatchHeader, LeaderEpoch, Offset, ProducerId};
use hayate_storage::checkpoint::meta_properties::META_PROPERTIES_BYTES_MAX;
use hayate_storage::checkpoint::uuid_text::uuid_to_text;
use hayate_storage::checkpoint::{CleanShutdown, MetaProperties, OffsetCheckpoint, PartitionMetadata};
use hayate_storage::epochs::EpochCache;
use hayate_storage::index::{AbortedTxn, OffsetIndex, SegmentBounds, TimeIndex, TxnIndex};
use hayate_storage::names::TopicPartition;
use hayate_storage::producers::ProducerState;
use hayate_storage::store::reread_checkpoint;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Memory that a file's content may take for each of its bytes, and besides.
const GROWTH_MAX: usize = 64;
const BASE_BYTES: usize = 8 << 10;

/// Calls a parser, and fails when that takes more memory than a file of this size may.
fn within_bounds<T>(bytes: &[u8], parse: impl FnOnce(&[u8]) -> T) -> T {
    let (parsed, took) = taken(|| parse(bytes));
    assert!(
        took.held_bytes_max <= BASE_BYTES + GROWTH_MAX * bytes.len(),
        "{took:?} for {} bytes",
        bytes.len()
    );
    parsed
}

/// A shard's checkpoint, of either version.
pub fn checkpoint(prng: &mut Prng) -> Vec<u8> {
    let version = 1 + prng.below(2) as u32;
    let mut bytes = [b"HCKP", &version.to_le_bytes()[..]].concat();
    bytes.extend(prng.below(100).to_le_bytes());
    if version == 2 {
        bytes.extend(prng.next_u64().to_le_bytes());
        bytes.extend(prng.below(9).to_le_bytes());
    }
    let logs = prng.below(4) as u32;
    bytes.extend(logs.to_le_bytes());
    for _ in 0..logs {
        let topic = topic_name(prng);
        bytes.extend((topic.len() as u16).to_le_bytes());
        bytes.extend(topic.bytes());
        bytes.extend((prng.below(9) as i32).to_le_bytes());
        bytes.extend(id(prng));
        (0..5).for_each(|_| bytes.extend(prng.below(1 << 40).to_le_bytes()));
        let producers = state(prng).encode_full();
        bytes.extend((producers.len() as u32).to_le_bytes());
        bytes.extend(producers);
    }
    bytes.extend([0; 4]);
    mend_checkpoint(&mut bytes);
    bytes
}

/// Mends the checksum at its end.
pub fn mend_checkpoint(bytes: &mut Vec<u8>) {
    if let Some((body, sum)) = bytes.split_last_chunk_mut::<4>() {
        *sum = crc32c::crc32c(body).to_le_bytes();
    }
}

/// What a start does with a shard's checkpoint.
pub fn read_checkpoint(bytes: &[u8]) -> bool {
    let Some(written) = within_bounds(bytes, reread_checkpoint) else { return false };
    assert_eq!(reread_checkpoint(&written).as_ref(), Some(&written));
    true
}

/// Any of the text files that Kafka has too.
pub fn text(prng: &mut Prng) -> Vec<u8> {
    match prng.below(5) {
        0 => offsets(prng).render(),
        1 => epochs(prng).render(),
        2 => PartitionMetadata { topic_id: id(prng) }.render(),
        3 => CleanShutdown { broker_epoch: prng.next_u64().cast_signed() }.render(),
        _ => meta_properties(prng).render(),
    }
    .into_bytes()
}

fn offsets(prng: &mut Prng) -> OffsetCheckpoint {
    let entry = |_| {
        let partition = TopicPartition::new(topic_name(prng), prng.below(9) as i32).expect("a valid name");
        (partition, Offset(prng.below(1 << 40).cast_signed()))
    };
    OffsetCheckpoint { offsets: (0..4).map(entry).collect() }
}

fn epochs(prng: &mut Prng) -> EpochCache {
    let mut cache = EpochCache::new();
    for epoch in 0..prng.below(5) as i32 {
        cache.assign(LeaderEpoch(epoch * 2), Offset(i64::from(epoch) * 10));
    }
    cache
}

fn meta_properties(prng: &mut Prng) -> MetaProperties {
    MetaProperties {
        cluster_id: uuid_to_text(id(prng)),
        node_id: prng.below(9) as i32,
        directory_id: prng.chance(1, 2).then(|| id(prng)),
        others: BTreeMap::from([(word(prng, 5), format!(" {}\u{e9}\\", word(prng, 5)))]),
    }
}

/// Reads the bytes as each of them.
pub fn read_text(bytes: &[u8]) -> bool {
    let offsets = within_bounds(bytes, OffsetCheckpoint::parse);
    let epochs = within_bounds(bytes, EpochCache::parse);
    let metadata = within_bounds(bytes, PartitionMetadata::parse);
    let marker = within_bounds(bytes, CleanShutdown::parse);
    let meta = within_bounds(bytes, MetaProperties::parse);
    let accepted = offsets.is_ok() || epochs.is_ok() || metadata.is_ok() || marker.is_some() || meta.is_ok();
    if let Ok(offsets) = offsets {
        assert_eq!(OffsetCheckpoint::parse(offsets.render().as_bytes()), Ok(offsets));
    }
    if let Ok(epochs) = epochs {
        let _ = epochs.end_offset_for(LeaderEpoch(3), Offset(100));
        assert_eq!(EpochCache::parse(epochs.render().as_bytes()), Ok(epochs));
    }
    if let Ok(metadata) = metadata {
        assert_eq!(PartitionMetadata::parse(metadata.render().as_bytes()), Ok(metadata));
    }
    if let Some(marker) = marker {
        assert_eq!(CleanShutdown::parse(marker.render().as_bytes()), Some(marker));
    }
    if let Ok(meta) = meta {
        let written = meta.render();
        // Escapes may make it longer than what is read.
        assert!(
            written.len() > META_PROPERTIES_BYTES_MAX
                || MetaProperties::parse(written.as_bytes()) == Ok(meta)
        );
    }
    accepted
}

const BOUNDS: SegmentBounds =
    SegmentBounds { base_offset: Offset(1000), end_offset: Offset(9000), size_bytes: 1 << 20 };

/// One of the three indexes of a segment with these bounds.
pub fn index(prng: &mut Prng) -> Vec<u8> {
    let (mut offsets, mut times) = (OffsetIndex::new(BOUNDS.base_offset), TimeIndex::new(BOUNDS.base_offset));
    for entry in 1..=prng.below(6).cast_signed() {
        let offset = BOUNDS.base_offset.plus(entry * 100 + prng.below(50).cast_signed());
        offsets.append(offset, entry.cast_unsigned() * 4096).expect("rising");
        times.maybe_append(entry * 7, offset).expect("rising");
    }
    let mut aborted = TxnIndex::default();
    for entry in offsets.iter() {
        let (last_offset, first_offset) =
            (entry.offset, entry.offset.plus(-prng.below(200).cast_signed() - 1));
        let last_stable_offset = last_offset.next();
        let producer_id = ProducerId(prng.below(3).cast_signed());
        let entry = AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset };
        aborted.append(entry).expect("rising");
    }
    match prng.below(3) {
        0 => offsets.encode(),
        1 => times.encode(),
        _ => aborted.encode(),
    }
}

/// Reads the bytes as each of them.
pub fn read_index(bytes: &[u8]) -> bool {
    let offsets = within_bounds(bytes, |bytes| OffsetIndex::decode(bytes, &BOUNDS));
    let times = within_bounds(bytes, |bytes| TimeIndex::decode(bytes, &BOUNDS));
    let aborted = within_bounds(bytes, |bytes| TxnIndex::decode(bytes, BOUNDS.base_offset));
    let accepted = offsets.is_ok() || times.is_ok() || aborted.is_ok();
    if let Ok(offsets) = offsets {
        for target in [0, 1000, 1150, 8999, i64::MAX] {
            assert!(offsets.lookup(Offset(target)).position < BOUNDS.size_bytes as u32);
        }
        assert_eq!(OffsetIndex::decode(&offsets.encode(), &BOUNDS), Ok(offsets));
    }
    if let Ok(times) = times {
        for target in [i64::MIN, 0, 15, i64::MAX] {
            assert!(times.lookup(target).offset >= BOUNDS.base_offset);
        }
        assert_eq!(TimeIndex::decode(&times.encode(), &BOUNDS), Ok(times));
    }
    if let Ok(mut aborted) = aborted {
        let mut found = Vec::new();
        aborted.collect(Offset(0), Offset::MAX, &mut found);
        assert!(found.len() <= aborted.entries().len());
        assert_eq!(TxnIndex::decode(&aborted.encode(), BOUNDS.base_offset), Ok(aborted.clone()));
        aborted.truncate_to(BOUNDS.base_offset);
        assert!(aborted.is_empty(), "no marker lies before its segment");
    }
    accepted
}

/// Some producers with some batches.
fn state(prng: &mut Prng) -> ProducerState {
    let mut state = ProducerState::default();
    for producer in 0..prng.below(4).cast_signed() {
        for sequence in 0..=prng.below(6) as i32 {
            let batch = BatchBuilder::new()
                .producer(ProducerId(producer), 0, sequence)
                .transactional(prng.chance(1, 3))
                .record(1, None, None)
                .build();
            let header = BatchHeader::parse(&batch).expect("our own");
            state.apply(&header, Offset(producer * 100 + i64::from(sequence)));
        }
    }
    state
}

/// Kafka's snapshot, or our whole memory of producers, behind a byte that says which.
pub fn producers(prng: &mut Prng) -> Vec<u8> {
    let kind = prng.below(2) as u8;
    let content = if kind == 0 { state(prng).encode_snapshot() } else { state(prng).encode_full() };
    [&[kind][..], &content].concat()
}

/// Mends a snapshot's checksum.
pub fn mend_producers(bytes: &mut Vec<u8>) {
    if let [0, snapshot @ ..] = &mut bytes[..]
        && let Some((head, content)) = snapshot.split_first_chunk_mut::<6>()
    {
        head[2..].copy_from_slice(&crc32c::crc32c(content).to_be_bytes());
    }
}

/// What opening a log does with what was kept of its producers.
pub fn read_producers(bytes: &[u8]) -> bool {
    let Some((kind, content)) = bytes.split_first() else { return false };
    // Nothing has expired at the beginning of time.
    let read = |bytes: &[u8]| match kind {
        0 => ProducerState::from_snapshot(bytes, i64::MIN, i64::MAX).ok(),
        _ => ProducerState::from_full(bytes, i64::MIN, i64::MAX),
    };
    let Some(mut state) = within_bounds(content, read) else { return false };
    let written = if *kind == 0 { state.encode_snapshot() } else { state.encode_full() };
    assert_eq!(read(&written).as_ref(), Some(&state), "producers do not come back");
    use_state(&mut state);
    true
}

/// A producer of each of them goes on.
fn use_state(state: &mut ProducerState) {
    let ids: Vec<ProducerId> = state.iter().map(|(producer, _)| producer).collect();
    for producer in ids {
        let batch = BatchBuilder::new().producer(producer, 1, 0).record(1, None, None).build();
        let header = BatchHeader::parse(&batch).expect("our own");
        let _ = state.check(&header);
    }
    let _ = (state.first_unstable_offset(), state.first_open_offset());
    state.on_high_watermark(Offset(10));
    state.on_log_start(Offset(5));
    state.expire(i64::MAX);
}

/// Which shard owns which partition.
pub fn placement(prng: &mut Prng) -> Vec<u8> {
    let mut placement = Placement::new(1 + prng.below(4) as u16);
    for partition in 0..prng.below(4) as i32 {
        placement.assign(PartitionKey { topic_id: Uuid::from_bytes(id(prng)), partition });
    }
    placement.render().into_bytes()
}

/// Mends the checksum in the last line.
pub fn mend_placement(bytes: &mut Vec<u8>) {
    let Some(end) = bytes.strip_suffix(b"\n").and_then(|lines| lines.iter().rposition(|&byte| byte == b'\n'))
    else {
        return;
    };
    bytes.truncate(end + 1);
    let sum = crc32c::crc32c(bytes);
    bytes.extend(format!("crc32c {sum:08x}\n").bytes());
}

/// What a start does with it.
pub fn read_placement(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let (placement, took) = taken(|| Placement::parse(text));
    // A load for each of up to 65,535 shards.
    assert!(took.held_bytes_max <= (1 << 20) + GROWTH_MAX * bytes.len(), "{took:?}");
    let Ok(placement) = placement else { return false };
    assert_eq!(Placement::parse(&placement.render()), Ok(placement.clone()));
    let shards = *choose(&[1, 2, 7], &mut Prng::new(bytes.len() as u64));
    assert_eq!(placement.resized(shards).iter().count(), placement.iter().count());
    true
}
