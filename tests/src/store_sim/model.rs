//! What a partition must hold: every batch that was sent, and how far it was acknowledged or seen.

use hayate_storage::batch::{
    BatchBuilder, BatchHeader, BatchScan, LeaderEpoch, Offset, ProducerId, ScanEnd, control::TxnOutcome,
    scan::Checksums,
};
use hayate_storage::log::TransactionEnd;
use std::fmt;

/// About when a simulation takes place: producers with older records would count as expired.
const TIMESTAMP_MS: i64 = 1_767_225_600_000;

/// A batch as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub base: Offset,
    pub next: Offset,
    /// The leader epoch that it was appended in.
    pub epoch: LeaderEpoch,
    /// CRC of the batch: content, without offset and epoch. None of what the log itself made.
    pub crc: Option<u32>,
    pub sequence: i32,
    /// The batch of an idempotent producer, to be sent again.
    pub bytes: Vec<u8>,
    /// Who sent it, and in which epoch.
    pub producer: ProducerId,
    pub producer_epoch: i16,
    /// Whether it is part of a transaction.
    pub transactional: bool,
    /// How its producer's transaction ends here.
    pub ends: Option<TxnOutcome>,
}

/// One partition as its clients know it.
#[derive(Default)]
pub struct Model {
    /// In log order, from the first batch that was not cut.
    pub sent: Vec<Sent>,
    /// Everything before this was acknowledged, or seen by a reader.
    pub promised: Offset,
    /// Everything before this may be gone: records deleted on purpose.
    pub start: Offset,
    /// The last stable offset that was seen.
    pub stable_seen: Offset,
    /// How often the end was cut, or was about to be.
    pub cuts: u64,
    /// The idempotent producer's next sequence number.
    pub next_sequence: i32,
}

/// How a partition differs from its model.
#[derive(Debug)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Model {
    /// A batch as a producer sends it, of `records` records with `bytes` of value in all, unlike any other.
    pub fn batch(id: u64, records: usize, bytes: usize, sequence: Option<i32>) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        if let Some(sequence) = sequence {
            builder = builder.producer(ProducerId(77), 0, sequence);
        }
        Model::filled(builder, id, records, bytes)
    }

    /// A batch of a transaction, of a producer in an epoch of its with a sequence.
    pub fn transactional_batch(
        id: u64,
        records: usize,
        bytes: usize,
        (producer, epoch, sequence): (ProducerId, i16, i32),
    ) -> Vec<u8> {
        let builder = BatchBuilder::new().producer(producer, epoch, sequence).transactional(true);
        Model::filled(builder, id, records, bytes)
    }

    fn filled(mut builder: BatchBuilder, id: u64, records: usize, bytes: usize) -> Vec<u8> {
        for record in 0..records {
            let mut value = vec![(id % 251) as u8; bytes / records + 1];
            value.splice(..0, id.to_be_bytes());
            let key = (record as u32).to_be_bytes();
            builder = builder.record(TIMESTAMP_MS + id as i64, Some(&key), Some(&value));
        }
        builder.build().to_vec()
    }

    pub fn push(&mut self, base: Offset, epoch: LeaderEpoch, header: &BatchHeader, batch: Vec<u8>) {
        let next = base.plus(i64::from(header.last_offset_delta)).next();
        let bytes = if header.base_sequence >= 0 { batch } else { Vec::new() };
        self.sent.push(Sent {
            base,
            next,
            epoch,
            crc: Some(header.crc),
            sequence: header.base_sequence,
            bytes,
            producer: header.producer_id,
            producer_epoch: header.producer_epoch,
            transactional: header.is_transactional(),
            ends: None,
        });
    }

    /// The end of a transaction, of which the log made a batch.
    pub fn push_end(&mut self, base: Offset, epoch: LeaderEpoch, end: &TransactionEnd) {
        self.sent.push(Sent {
            base,
            next: base.next(),
            epoch,
            crc: None,
            sequence: -1,
            bytes: Vec::new(),
            producer: end.producer_id,
            producer_epoch: end.producer_epoch,
            transactional: true,
            ends: Some(end.marker.outcome),
        });
    }

    /// The batch that begins at an offset.
    pub fn sent_at(&self, base: Offset) -> Option<&Sent> {
        let slot = self.sent.binary_search_by_key(&base, |sent| sent.base).ok()?;
        self.sent.get(slot)
    }

    /// Where the log ends once it is cut to `offset`, or to the end of `epoch` if that comes first.
    pub fn end_after_cut(&self, epoch: LeaderEpoch, offset: Offset) -> Offset {
        let later = self.sent.iter().find(|sent| sent.epoch > epoch);
        let to = later.map_or(offset, |later| later.base.min(offset));
        let holder = self.sent.iter().find(|sent| sent.base <= to && to < sent.next);
        holder.map_or(to, |sent| sent.base)
    }

    /// From here on, what lies behind `offset` may go.
    pub fn unpromise(&mut self, offset: Offset) {
        self.cuts += 1;
        self.promised = self.promised.min(offset);
    }

    pub fn promise(&mut self, offset: Offset) {
        self.promised = self.promised.max(offset);
    }

    /// Forgets what lies behind `offset`: a cut took it, or a crash did.
    pub fn cut(&mut self, offset: Offset) {
        self.sent.retain(|sent| sent.next <= offset);
        self.promised = self.promised.min(offset);
        let last = self.sent.iter().rev().find(|sent| sent.sequence >= 0);
        let records = last.map_or(0, |last| last.next.since(last.base) as i32);
        self.next_sequence = last.map_or(0, |last| last.sequence + records);
    }

    /// Compares what was read, from a batch boundary on, with what was sent.
    pub fn compare(&self, from: Offset, records: &[bytes::Bytes]) -> Result<Offset, Broken> {
        let mut at = from;
        for slice in records {
            let mut scan = BatchScan::new(slice, Checksums::Verify);
            for batch in scan.by_ref() {
                at = self.compare_batch(at, &batch.header)?;
            }
            match scan.end() {
                Some(ScanEnd::Clean) => {}
                end => return Err(Broken(format!("a read from {from} ends with {end:?} at offset {at}"))),
            }
        }
        Ok(at)
    }

    fn compare_batch(&self, at: Offset, header: &BatchHeader) -> Result<Offset, Broken> {
        let Some(sent) = self.sent_at(header.base_offset) else {
            return Err(Broken(format!(
                "a batch at {} that nobody sent (expected {at})",
                header.base_offset
            )));
        };
        let first = at == Offset::NONE || sent.base <= at && at < sent.next;
        if !first {
            return Err(Broken(format!("a batch at {} where {at} was expected", sent.base)));
        }
        let is_other =
            sent.crc.is_some_and(|crc| crc != header.crc) || sent.ends.is_some() != header.is_control();
        if is_other || sent.next != header.next_offset() {
            return Err(Broken(format!("the batch at {} has another content than was sent", sent.base)));
        }
        Ok(sent.next)
    }
}
