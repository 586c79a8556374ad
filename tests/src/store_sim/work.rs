//! What clients do to a partition while it lives: append and wait, read, cut, delete.

use super::model::{Broken, Model};
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::validate::{ProduceRules, validate};
use hayate_storage::batch::{LeaderEpoch, Offset};
use hayate_storage::error::ReadError;
use hayate_storage::log::Log;
use hayate_storage::store::Store;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// What all clients of a run share.
#[derive(Clone)]
pub struct Clients {
    pub rt: Rt,
    pub epoch: LeaderEpoch,
    /// The first broken promise.
    pub broken: Rc<RefCell<Option<String>>>,
    /// Numbers batches over the whole life.
    pub next_id: Rc<Cell<u64>>,
    pub store: Store,
}

pub type SharedModel = Rc<RefCell<Model>>;

impl Clients {
    pub(super) fn report(&self, log: &Log, broken: &Broken) {
        self.broken.borrow_mut().get_or_insert_with(|| format!("{}: {broken}", log.partition()));
    }

    /// Appends until the node dies. Acknowledgements arrive in tasks of their own, so that appends are pipelined.
    pub async fn produce(self, log: Log, model: SharedModel, idempotent: bool) {
        loop {
            self.rt.sleep(Duration::from_micros(self.rt.random_below(1500))).await;
            self.store.writable().await;
            let burst = if self.rt.random_below(12) == 0 { 12 } else { 1 };
            for _ in 0..burst {
                self.append(&log, &model, self.epoch, idempotent);
            }
        }
    }

    fn append(&self, log: &Log, model: &SharedModel, epoch: LeaderEpoch, idempotent: bool) {
        let records = 1 + self.rt.random_below(5) as usize;
        let bytes = match self.rt.random_below(40) {
            0 => 15_000 + self.rt.random_below(8_000),
            1..6 => self.rt.random_below(4_000),
            _ => self.rt.random_below(300),
        };
        let id = self.next_id.replace(self.next_id.get() + 1);
        let sequence = idempotent.then(|| model.borrow().next_sequence);
        let batch = Model::batch(id, records, bytes as usize, sequence);
        let valid =
            validate(&batch, &ProduceRules::default(), self.rt.wall_ms()).expect("our own batch is good");
        let Ok(appended) = log.append(&batch, &valid, epoch) else {
            self.rt.reached("append refused");
            return;
        };
        {
            let mut model = model.borrow_mut();
            model.push(appended.base_offset, epoch, &valid.header, batch);
            model.next_sequence += if idempotent { records as i32 } else { 0 };
        }
        let (model, end, cuts) = (model.clone(), appended.last_offset.next(), model.borrow().cuts);
        let acknowledged = async move {
            // What a cut has taken, or is about to take, nobody is promised.
            if appended.durable.await.is_ok() && model.borrow().cuts == cuts {
                model.borrow_mut().promise(end);
            }
        };
        self.rt.spawn(Queue::Foreground, acknowledged).detach();
    }

    /// Reads from anywhere, up to what is flushed; whatever was seen is promised.
    pub async fn consume(self, log: Log, model: SharedModel) {
        loop {
            self.rt.sleep(Duration::from_micros(self.rt.random_below(3000))).await;
            let offsets = log.offsets();
            let span = offsets.flushed.since(offsets.start).max(0) as u64;
            let from = offsets.start.plus(self.rt.random_below(span + 1) as i64);
            let max_bytes = 1 + self.rt.random_below(40_000) as usize;
            if let Err(broken) = self.read_once(&log, &model, from, max_bytes).await {
                self.report(&log, &broken);
                return;
            }
        }
    }

    async fn read_once(
        &self,
        log: &Log,
        model: &SharedModel,
        from: Offset,
        max_bytes: usize,
    ) -> Result<(), Broken> {
        let limit = log.offsets().flushed;
        match log.read(from, limit, max_bytes, true).await {
            Ok(read) => {
                let end = model.borrow().compare(from, &read.records)?;
                if end > limit {
                    return Err(Broken(format!("a read up to {limit} went on to {end}")));
                }
                model.borrow_mut().promise(end);
                Ok(())
            }
            // The start moved, or the node is failing.
            Err(ReadError::OutOfRange { .. } | ReadError::Storage(_)) => Ok(()),
            Err(error @ (ReadError::Corrupt { .. } | ReadError::Undecodable { .. })) => {
                Err(Broken(format!("a read from {from}: {error}")))
            }
        }
    }

    /// Deletes records now and then.
    pub async fn delete(self, log: Log, model: SharedModel) {
        loop {
            self.rt.sleep(Duration::from_millis(5 + self.rt.random_below(40))).await;
            let offsets = log.offsets();
            let span = offsets.flushed.since(offsets.start).max(0) as u64;
            let to = offsets.start.plus(self.rt.random_below(span / 2 + 1) as i64);
            {
                let mut model = model.borrow_mut();
                model.start = model.start.max(to);
            }
            if log.advance_start(to).await.is_ok() {
                self.rt.reached("start advanced");
            }
        }
    }

    /// Appends what leader after leader has, and cuts the end where the next one's history begins: the life of a follower.
    pub async fn follow(self, log: Log, model: SharedModel) {
        let mut epoch = self.epoch;
        loop {
            let appends = 1 + self.rt.random_below(30);
            for _ in 0..appends {
                self.rt.sleep(Duration::from_micros(self.rt.random_below(800))).await;
                match self.rt.random_below(3) {
                    0 => self.transact_once(&log, &model, epoch),
                    _ => self.append(&log, &model, epoch, false),
                }
            }
            let offsets = log.offsets();
            let back = self.rt.random_below(20) as i64;
            let to = offsets.end.plus(-back).max(offsets.start);
            let asked = self.rt.random_below(3) as i32;
            let asked = LeaderEpoch(log.latest_epoch().map_or(0, |latest| (latest.0 + 1 - asked).max(0)));
            let expected = model.borrow().end_after_cut(asked, to);
            // Until the cut is durable, either end may be found after a crash.
            model.borrow_mut().unpromise(expected);
            if let Ok(cut) = log.truncate_to(asked, to).await {
                if cut.end != expected {
                    let what =
                        format!("a cut to {to} or the end of epoch {asked} left {cut:?}, not {expected}");
                    return self.report(&log, &Broken(what));
                }
                model.borrow_mut().cut(cut.end);
                self.rt.reached(if expected < to { "log cut by epoch" } else { "log cut" });
            }
            epoch = LeaderEpoch(epoch.0 + self.rt.random_below(2) as i32);
        }
    }
}
