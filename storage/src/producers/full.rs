//! All that is remembered of a partition's producers, every batch included: for the checkpoint, which a restart goes on from.
//! Kafka's snapshots keep the last batch alone, so that a client with five batches in flight could not send them again.
//!
//! ```text
//!  producers u32 │ entry …                                                                       little-endian
//!  entry: producer id i64 │ epoch i16 │ coordinator epoch i32 │ last timestamp i64, ms │ first offset of the open
//!         transaction i64, −1: none │ batches u8 │ batch …, oldest first
//!  batch: last sequence i32 │ last offset i64 │ offset delta i32 │ timestamp i64, ms
//! ```
//! The checkpoint's own checksum covers it.

use super::{BATCHES_KEPT, BatchSpan, ProducerEntry};
use crate::batch::{Offset, ProducerId};
use std::collections::BTreeMap;

pub(super) fn encode(producers: &BTreeMap<ProducerId, ProducerEntry>) -> Vec<u8> {
    let count = u32::try_from(producers.len()).expect("producers of a partition fit in memory, so in a u32");
    let mut bytes = count.to_le_bytes().to_vec();
    for (producer_id, entry) in producers {
        put_entry(&mut bytes, *producer_id, entry);
    }
    bytes
}

fn put_entry(bytes: &mut Vec<u8>, producer_id: ProducerId, entry: &ProducerEntry) {
    bytes.extend_from_slice(&producer_id.0.to_le_bytes());
    bytes.extend_from_slice(&entry.epoch.to_le_bytes());
    bytes.extend_from_slice(&entry.coordinator_epoch.to_le_bytes());
    bytes.extend_from_slice(&entry.last_timestamp_ms.to_le_bytes());
    bytes.extend_from_slice(&entry.open_from.unwrap_or(Offset::NONE).0.to_le_bytes());
    bytes.push(entry.batches().len() as u8);
    for batch in entry.batches() {
        bytes.extend_from_slice(&batch.last_sequence.to_le_bytes());
        bytes.extend_from_slice(&batch.last_offset.0.to_le_bytes());
        bytes.extend_from_slice(&batch.offset_delta.to_le_bytes());
        bytes.extend_from_slice(&batch.timestamp_ms.to_le_bytes());
    }
}

/// `None` when the bytes are cut, too many, or say what cannot be.
pub(super) fn decode(bytes: &[u8]) -> Option<BTreeMap<ProducerId, ProducerEntry>> {
    let rest = &mut { bytes };
    let mut producers = BTreeMap::new();
    for _ in 0..u32::from_le_bytes(take(rest)?) {
        let (producer_id, entry) = take_entry(rest)?;
        if producers.insert(producer_id, entry).is_some() {
            return None;
        }
    }
    rest.is_empty().then_some(producers)
}

fn take_entry(rest: &mut &[u8]) -> Option<(ProducerId, ProducerEntry)> {
    let producer_id = ProducerId(i64::from_le_bytes(take(rest)?));
    let epoch = i16::from_le_bytes(take(rest)?);
    let coordinator_epoch = i32::from_le_bytes(take(rest)?);
    let last_timestamp_ms = i64::from_le_bytes(take(rest)?);
    let open_from = Offset(i64::from_le_bytes(take(rest)?));
    let open_from = (open_from >= Offset::ZERO).then_some(open_from);
    let [count] = take(rest)?;
    if usize::from(count) > BATCHES_KEPT {
        return None;
    }
    let mut entry = ProducerEntry::new(epoch, coordinator_epoch, last_timestamp_ms, open_from);
    for _ in 0..count {
        let last_sequence = i32::from_le_bytes(take(rest)?);
        let last_offset = Offset(i64::from_le_bytes(take(rest)?));
        let offset_delta = i32::from_le_bytes(take(rest)?);
        let timestamp_ms = i64::from_le_bytes(take(rest)?);
        entry.remember(BatchSpan { last_sequence, last_offset, offset_delta, timestamp_ms });
    }
    Some((producer_id, entry))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}
