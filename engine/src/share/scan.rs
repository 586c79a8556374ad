//! What of a read's bytes is for consumers: batches with their offsets, without markers and what aborted transactions wrote.
//!
//! Pure. A member of a share group is told nothing of transactions: what it must not see is never delivered to it.

use super::partition::{Acquired, Found};
use bytes::{Bytes, BytesMut};
use hayate_storage::batch::scan::{BatchScan, Checksums};
use hayate_storage::index::AbortedTxn;

/// Whole batches, in one piece, and where each ends.
#[derive(Debug, Default)]
pub struct Batches {
    bytes: Bytes,
    /// What was found, and the byte behind it.
    found: Vec<(Found, usize)>,
}

impl Batches {
    /// Of a read, with the aborted transactions in it if they are not for its reader.
    pub fn of(slices: Vec<Bytes>, aborted: &[AbortedTxn]) -> Batches {
        let bytes = joined(slices);
        let scan = BatchScan::new(&bytes, Checksums::Trust);
        let found = scan.map(|batch| {
            let (first, last) = (batch.header.base_offset, batch.header.last_offset());
            let is_aborted = batch.header.is_transactional()
                && aborted.iter().any(|txn| {
                    txn.producer_id == batch.header.producer_id
                        && txn.first_offset <= first
                        && last <= txn.last_offset
                });
            let is_delivered = !batch.header.is_control() && !is_aborted;
            (Found { first: first.0, last: last.0, is_delivered }, batch.position + batch.bytes.len())
        });
        let found = found.collect();
        Batches { bytes, found }
    }

    /// The batches.
    pub fn found(&self) -> Vec<Found> {
        self.found.iter().map(|(found, _)| *found).collect()
    }

    /// The bytes from the first batch with acquired records to the last.
    pub fn bytes_of(&self, acquired: &[Acquired]) -> Bytes {
        let (Some(first), Some(last)) = (acquired.first(), acquired.last()) else { return Bytes::new() };
        let begin = self.found.iter().rfind(|(found, _)| found.last < first.first).map_or(0, |(_, end)| *end);
        let end = self.found.iter().find(|(found, _)| found.last >= last.last).map(|(_, end)| *end);
        self.bytes.slice(begin..end.unwrap_or(self.bytes.len()))
    }
}

fn joined(mut slices: Vec<Bytes>) -> Bytes {
    if slices.len() == 1 {
        return slices.remove(0);
    }
    let mut joined = BytesMut::with_capacity(slices.iter().map(Bytes::len).sum());
    slices.iter().for_each(|slice| joined.extend_from_slice(slice));
    joined.freeze()
}
