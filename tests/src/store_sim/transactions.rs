//! Transactions in the simulated store: producers that begin, commit and abort them, readers of committed records, and what both must
//! find. What is right is computed here from all batches that were sent, in the plainest way, and compared with what the log says.

use super::model::{Broken, Model, Sent};
use super::work::{Clients, SharedModel};
use hayate_rt::Queue;
use hayate_storage::batch::control::{EndTxnMarker, TxnOutcome};
use hayate_storage::batch::validate::{ProduceRules, validate};
use hayate_storage::batch::{BatchHeader, BatchScan, LeaderEpoch, Offset, ProducerId, scan::Checksums};
use hayate_storage::error::ReadError;
use hayate_storage::index::AbortedTxn;
use hayate_storage::log::{Appended, Log, TransactionEnd};
use hayate_storage::producers::TransactionVersion;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Producers with transactions, and the id of the first.
const PRODUCERS: u64 = 4;
const FIRST_PRODUCER: i64 = 100;
/// The coordinator's epoch in every marker.
const COORDINATOR_EPOCH: i32 = 3;

/// All transactions of a partition, as its batches tell.
struct Told {
    /// Outcome by the first offset of each batch; none for what is open.
    outcomes: BTreeMap<Offset, TxnOutcome>,
    /// The batches of each open transaction, by producer.
    open: BTreeMap<ProducerId, Vec<Offset>>,
    aborted: Vec<AbortedTxn>,
}

impl Told {
    fn by(sent: &[Sent]) -> Told {
        let mut told = Told { outcomes: BTreeMap::new(), open: BTreeMap::new(), aborted: Vec::new() };
        for batch in sent.iter().filter(|batch| batch.producer.is_some()) {
            let Some(outcome) = batch.ends else {
                if batch.transactional {
                    told.open.entry(batch.producer).or_default().push(batch.base);
                }
                continue;
            };
            let Some(batches) = told.open.remove(&batch.producer) else { continue };
            told.outcomes.extend(batches.iter().map(|base| (*base, outcome)));
            if outcome == TxnOutcome::Abort {
                let last_stable_offset = batch.next.min(told.first_open());
                let (producer_id, first_offset, last_offset) = (batch.producer, batches[0], batch.base);
                told.aborted.push(AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset });
            }
        }
        told
    }

    /// The aborted transactions that overlap a range, by first offset.
    fn aborted_in(&self, from: Offset, to: Offset) -> Vec<AbortedTxn> {
        let overlaps = |aborted: &&AbortedTxn| aborted.last_offset >= from && aborted.first_offset < to;
        let mut found: Vec<AbortedTxn> = self.aborted.iter().filter(overlaps).copied().collect();
        found.sort_by_key(|aborted| aborted.first_offset);
        found
    }

    /// Where the first open transaction begins.
    fn first_open(&self) -> Offset {
        self.open.values().map(|batches| batches[0]).min().unwrap_or(Offset::MAX)
    }
}

/// A producer's epoch and the sequence of its next record.
fn next_of(sent: &[Sent], producer: ProducerId) -> (i16, i32) {
    let mut next = (0, 0);
    for batch in sent.iter().filter(|batch| batch.producer == producer) {
        next = match batch.ends {
            Some(_) if batch.producer_epoch == next.0 => next,
            Some(_) => (batch.producer_epoch, 0),
            None => (batch.producer_epoch, batch.sequence + batch.next.since(batch.base) as i32),
        };
    }
    next
}

/// The base offsets of the batches that a client of committed records shows, by Kafka's rule for it.
fn shown(records: &[bytes::Bytes], aborted: &[AbortedTxn]) -> Vec<(Offset, bool)> {
    let mut coming = aborted.iter().peekable();
    let mut out: BTreeSet<ProducerId> = BTreeSet::new();
    let mut shown = Vec::new();
    for batch in records.iter().flat_map(|slice| BatchScan::new(slice, Checksums::Trust)) {
        let BatchHeader { base_offset, producer_id, .. } = batch.header;
        while let Some(next) = coming.next_if(|next| next.first_offset <= batch.header.last_offset()) {
            out.insert(next.producer_id);
        }
        if batch.header.is_control() {
            out.remove(&producer_id);
        } else {
            shown.push((base_offset, !(batch.header.is_transactional() && out.contains(&producer_id))));
        }
    }
    shown
}

impl Model {
    /// Compares what a log that has just been started says of transactions with what was sent.
    pub fn compare_transactions(&self, log: &Log, from: Offset, found: &[AbortedTxn]) -> Result<(), Broken> {
        let told = Told::by(&self.sent);
        let expected = told.aborted_in(from, Offset::MAX);
        if found != expected {
            return Err(Broken(format!("aborted are {found:?}, not {expected:?}")));
        }
        let offsets = log.offsets();
        let stable = told.first_open().min(offsets.high_watermark);
        if offsets.last_stable != stable || stable < self.stable_seen {
            let seen = self.stable_seen;
            return Err(Broken(format!("stable up to {stable}, seen {seen}, found {offsets:?}")));
        }
        Ok(())
    }
}

impl Clients {
    /// Begins, goes on with and ends transactions until the node dies.
    pub async fn transact(self, log: Log, model: SharedModel) {
        loop {
            self.rt.sleep(Duration::from_micros(self.rt.random_below(1200))).await;
            self.store.writable().await;
            self.transact_once(&log, &model, self.epoch);
            if let Err(broken) = stable_is_right(&log, &model) {
                return self.report(&log, &broken);
            }
        }
    }

    /// One batch of a transaction, or its end.
    pub fn transact_once(&self, log: &Log, model: &SharedModel, epoch: LeaderEpoch) {
        let producer = ProducerId(FIRST_PRODUCER + self.rt.random_below(PRODUCERS) as i64);
        let is_open = Told::by(&model.borrow().sent).open.contains_key(&producer);
        if is_open && self.rt.random_below(3) == 0 {
            self.end(log, model, epoch, producer);
        } else {
            self.append_to_transaction(log, model, epoch, producer);
        }
    }

    fn append_to_transaction(
        &self,
        log: &Log,
        model: &SharedModel,
        epoch: LeaderEpoch,
        producer: ProducerId,
    ) {
        let (producer_epoch, sequence) = next_of(&model.borrow().sent, producer);
        let records = 1 + self.rt.random_below(4) as usize;
        let bytes = self.rt.random_below(2_000) as usize;
        let id = self.next_id.replace(self.next_id.get() + 1);
        let batch = Model::transactional_batch(id, records, bytes, (producer, producer_epoch, sequence));
        let valid = validate(&batch, &ProduceRules::default(), self.rt.wall_ms()).expect("our own batch");
        let Ok(appended) = log.append(&batch, &valid, epoch) else {
            self.rt.reached("append refused");
            return;
        };
        model.borrow_mut().push(appended.base_offset, epoch, &valid.header, batch);
        self.acknowledge(log, model, appended);
    }

    fn end(&self, log: &Log, model: &SharedModel, epoch: LeaderEpoch, producer: ProducerId) {
        let (current, _) = next_of(&model.borrow().sent, producer);
        let bumps = self.rt.random_below(2) == 0;
        let outcome = if self.rt.random_below(2) == 0 { TxnOutcome::Abort } else { TxnOutcome::Commit };
        let end = TransactionEnd {
            producer_id: producer,
            producer_epoch: current + i16::from(bumps),
            marker: EndTxnMarker { outcome, coordinator_epoch: COORDINATOR_EPOCH },
            version: if bumps { TransactionVersion::EpochBump } else { TransactionVersion::Classic },
        };
        let Ok(appended) = log.append_marker(&end, epoch) else {
            self.rt.reached("append refused");
            return;
        };
        self.rt.reached(if outcome == TxnOutcome::Abort { "aborted" } else { "committed" });
        model.borrow_mut().push_end(appended.base_offset, epoch, &end);
        self.acknowledge(log, model, appended);
    }

    fn acknowledge(&self, log: &Log, model: &SharedModel, appended: Appended) {
        let (log, model, end, cuts) =
            (log.clone(), model.clone(), appended.last_offset.next(), model.borrow().cuts);
        let acknowledged = async move {
            if appended.durable.await.is_ok() && model.borrow().cuts == cuts {
                model.borrow_mut().promise(end);
                log.set_high_watermark(log.offsets().flushed);
            }
        };
        self.rt.spawn(Queue::Foreground, acknowledged).detach();
    }

    /// Reads committed records from anywhere, as a client does: what it is shown was committed, and all of that.
    pub async fn consume_committed(self, log: Log, model: SharedModel) {
        loop {
            self.rt.sleep(Duration::from_micros(self.rt.random_below(3000))).await;
            let offsets = log.offsets();
            if let Err(broken) = stable_is_right(&log, &model) {
                return self.report(&log, &broken);
            }
            let span = offsets.last_stable.since(offsets.start).max(0) as u64;
            let from = offsets.start.plus(self.rt.random_below(span + 1) as i64);
            let max_bytes = 1 + self.rt.random_below(40_000) as usize;
            let read = self.read_committed(&log, &model, from, offsets.last_stable, max_bytes);
            if let Err(broken) = read.await {
                return self.report(&log, &broken);
            }
        }
    }

    async fn read_committed(
        &self,
        log: &Log,
        model: &SharedModel,
        from: Offset,
        limit: Offset,
        max_bytes: usize,
    ) -> Result<(), Broken> {
        let failed = |error: ReadError| match error {
            ReadError::OutOfRange { .. } | ReadError::Storage(_) => Ok(()),
            ReadError::Corrupt { .. } | ReadError::Undecodable { .. } => {
                Err(Broken(format!("a committed read from {from}: {error}")))
            }
        };
        let read = match log.read(from, limit, max_bytes, true).await {
            Ok(read) if !read.records.is_empty() => read,
            Ok(_) => return Ok(()),
            Err(error) => return failed(error),
        };
        let aborted = match log.aborted_transactions(from, read.next_offset).await {
            Ok(aborted) => aborted,
            Err(error) => return failed(error),
        };
        let told = Told::by(&model.borrow().sent);
        // What ends beyond the limit may have been appended since the read.
        let known = |found: &[AbortedTxn]| -> Vec<AbortedTxn> {
            found.iter().filter(|aborted| aborted.last_offset < limit).copied().collect()
        };
        let expected = told.aborted_in(from, read.next_offset);
        if known(&aborted) != known(&expected) {
            return Err(Broken(format!("aborted in a read from {from}: {aborted:?}, not {expected:?}")));
        }
        for (base, is_shown) in shown(&read.records, &aborted) {
            let is_transactional = model.borrow().sent_at(base).is_some_and(|sent| sent.transactional);
            let is_committed = told.outcomes.get(&base) == Some(&TxnOutcome::Commit);
            if is_shown != (is_committed || !is_transactional) {
                return Err(Broken(format!("the batch at {base} is shown to committed readers: {is_shown}")));
            }
        }
        self.rt.reached("committed read");
        Ok(())
    }
}

/// The last stable offset never passes an open transaction, and never goes back.
fn stable_is_right(log: &Log, model: &SharedModel) -> Result<(), Broken> {
    let (offsets, mut model) = (log.offsets(), model.borrow_mut());
    let first_open = Told::by(&model.sent).first_open();
    if offsets.last_stable > first_open.min(offsets.high_watermark) || offsets.last_stable < model.stable_seen
    {
        let seen = model.stable_seen;
        return Err(Broken(format!(
            "open from {first_open}, seen up to {seen}, and the log says {offsets:?}"
        )));
    }
    model.stable_seen = offsets.last_stable;
    Ok(())
}
