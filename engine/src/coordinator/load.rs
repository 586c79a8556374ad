//! Loading a coordinator: every record and marker of its partition, in their order, into its machine.
//!
//! Markers that are appended meanwhile are replayed too; nothing else is. Unpacking is bounded, as nothing here was written by a client alone:
//! Kafka's brokers and this one write these batches. After Kafka's `CoordinatorLoaderImpl`.

use super::{BadRecord, Machine, Replayed};
use crate::partition::Partition;
use bytes::{Bytes, BytesMut};
use hayate_rt::Rt;
use hayate_storage::batch::Offset;
use hayate_storage::batch::control::{EndTxnMarker, TxnOutcome};
use hayate_storage::batch::records::{Records, RecordsError, body};
use hayate_storage::batch::scan::{BatchScan, Checksums, Scanned};
use hayate_storage::error::ReadError;
use hayate_storage::mutants::{Mutant, is_active};
use std::fmt;

/// Bytes that are read at a time: Kafka's `offsets.load.buffer.size` is 5 MiB.
const READ_BYTES: usize = 1 << 20;
/// The most bytes that one batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// Why a coordinator cannot be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The partition cannot be read.
    Read(ReadError),
    /// A batch cannot be unpacked.
    Records(Offset, RecordsError),
    /// A batch ends too early, or is none.
    Batch(Offset),
    /// A record cannot be understood.
    Record(Offset, BadRecord),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Read(error) => write!(f, "{error}"),
            LoadError::Records(offset, error) => write!(f, "the batch at offset {offset}: {error:?}"),
            LoadError::Batch(offset) => write!(f, "there is no whole batch at offset {offset}"),
            LoadError::Record(offset, error) => write!(f, "the record at offset {offset}: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Replays all of `partition` into `machine`: when this resolves, nothing has been appended that was not replayed.
///
/// # Errors
/// [`LoadError`]; the machine is then of no use.
pub async fn load<M: Machine>(rt: &Rt, partition: &Partition, machine: &mut M) -> Result<(), LoadError> {
    let mut next = partition.log().offsets().start;
    loop {
        let end = partition.log().offsets().end;
        if next >= end {
            return Ok(());
        }
        let read = partition.log().read(next, end, READ_BYTES, true).await;
        let read = read.map_err(LoadError::Read)?;
        if read.next_offset <= next {
            return Err(LoadError::Batch(next));
        }
        replay(&joined(read.records), next, machine)?;
        next = read.next_offset;
        rt.yield_now().await;
    }
}

/// A batch may lie in several slices.
fn joined(mut slices: Vec<Bytes>) -> Bytes {
    if slices.len() == 1 {
        return slices.remove(0);
    }
    let mut joined = BytesMut::with_capacity(slices.iter().map(Bytes::len).sum());
    slices.iter().for_each(|slice| joined.extend_from_slice(slice));
    joined.freeze()
}

fn replay<M: Machine>(bytes: &[u8], from: Offset, machine: &mut M) -> Result<(), LoadError> {
    let mut scan = BatchScan::new(bytes, Checksums::Verify);
    for batch in scan.by_ref() {
        replay_batch(&batch, from, machine)?;
    }
    if scan.position() < bytes.len() { Err(LoadError::Batch(from)) } else { Ok(()) }
}

fn replay_batch<M: Machine>(batch: &Scanned<'_>, from: Offset, machine: &mut M) -> Result<(), LoadError> {
    let header = &batch.header;
    let at = |error| LoadError::Records(header.base_offset, error);
    let body = body(batch.bytes, header, UNPACKED_BYTES_MAX).map_err(at)?;
    for record in Records::new(header, &body).map_err(at)? {
        let record = record.map_err(at)?;
        if record.offset < from {
            continue;
        }
        let key = record.key.unwrap_or_default();
        if header.is_control() {
            let marker = EndTxnMarker::from_record(key, record.value.unwrap_or_default());
            if let Some(marker) = marker.filter(|_| !is_active(Mutant::MarkerLost)) {
                machine.marker(header.producer_id, marker.outcome == TxnOutcome::Commit);
            }
            continue;
        }
        let producer = header.is_transactional().then_some((header.producer_id, header.producer_epoch));
        let replayed = Replayed { offset: record.offset, producer, key, value: record.value };
        machine.replay(replayed).map_err(|error| LoadError::Record(record.offset, error))?;
    }
    Ok(())
}
