//! One life of a node: runs that begin with a start and end with a crash, a kill or a clean stop.

use super::model::{Broken, Model};
use super::work::{Clients, SharedModel};
use crate::campaign::Outcome;
use hayate_rt::sim::{NodeId, Sim};
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::LeaderEpoch;
use hayate_storage::batch::validate::{ProduceRules, validate};
use hayate_storage::config::LogConfig;
use hayate_storage::disk::Disk;
use hayate_storage::disk::sim::{FaultPlan, SimDisk};
use hayate_storage::error::StorageError;
use hayate_storage::log::Log;
use hayate_storage::mutants::{Mutant, activate};
use hayate_storage::names::TopicPartition;
use hayate_storage::producers::BATCHES_KEPT;
use hayate_storage::recovery::{RecoveryReport, acted_on, recover};
use hayate_storage::store::{LogSpec, Store, StoreConfig};
use hayate_storage::wal::WalConfig;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

const NODE: NodeId = NodeId(1);
const DATA_DIR: &str = "/data";
/// More virtual time than any life takes: whatever is still not done hangs.
const LIFE_LIMIT: Duration = Duration::from_secs(3600);
/// What each partition of a life is for, by its number.
const PARTITIONS: i32 = 5;
const IDEMPOTENT: i32 = 1;
const DELETING: i32 = 2;
const FOLLOWING: i32 = 3;
const TRANSACTING: i32 = 4;
/// More leader epochs than a run goes through.
const EPOCHS_A_RUN: i32 = 10_000;

/// One life.
pub struct Life {
    sim: Sim,
    disk: SimDisk,
    plan: FaultPlan,
    models: Vec<SharedModel>,
    broken: Rc<RefCell<Option<String>>>,
    next_id: Rc<Cell<u64>>,
    run: i32,
}

/// A started store, or why it did not start.
type Started = Rc<RefCell<Option<Result<(Store, RecoveryReport), StorageError>>>>;

/// Lives one life, with one defect if `mutant` says so.
pub fn run_seed(seed: u64, mutant: Option<Mutant>) -> Outcome {
    activate(mutant);
    let sim = Sim::new(seed);
    let mut life = Life::new(&sim);
    let (broken, driven) = (life.broken.clone(), sim.run(LIFE_LIMIT, async move { life.live().await }));
    activate(None);
    if let Err(stalled) = driven {
        broken.borrow_mut().get_or_insert_with(|| format!("the node hangs: {stalled:?}"));
    }
    let broken = broken.borrow().clone();
    sim.end();
    Outcome { broken, counts: sim.counts(), trace: sim.trace_hash(), steps: sim.steps() }
}

impl Life {
    fn new(sim: &Sim) -> Life {
        let errors = if sim.chance(1, 6) { 1500 } else { 0 };
        let plan = FaultPlan {
            write_errors_per_million: errors,
            sync_errors_per_million: errors,
            capacity_bytes: sim.chance(1, 4).then(|| 500_000 + sim.random_below(700_000)),
            slow_syncs_per_million: if sim.chance(1, 4) { 20_000 } else { 0 },
            slow_sync: Duration::from_millis(20),
            garbage_sector: sim.chance(1, 2),
            ..FaultPlan::default()
        };
        Life {
            sim: sim.clone(),
            disk: SimDisk::new(sim, NODE, FaultPlan::default()),
            plan,
            models: (0..PARTITIONS).map(|_| SharedModel::default()).collect(),
            broken: Rc::default(),
            next_id: Rc::default(),
            run: 0,
        }
    }

    async fn live(&mut self) {
        let runs = 2 + self.sim.random_below(3);
        for _ in 0..runs {
            self.one_run().await;
            if self.broken.borrow().is_some() {
                return;
            }
        }
        self.last_runs().await;
    }

    /// A start, work under faults, an end of some kind.
    async fn one_run(&mut self) {
        let started = self.begin();
        // The patience may end before the start does: a crash inside recovery.
        let patience = if self.sim.chance(1, 3) { self.sim.random_below(30_000) } else { 10_000_000 };
        let Some((store, _)) = self.wait_for(&started, patience).await else { return self.crash() };
        if !self.verify(&store).await {
            return;
        }
        self.disk.set_plan(self.plan.clone());
        self.start_clients(&store);
        self.sim.sleep(Duration::from_micros(500 + self.sim.random_below(120_000))).await;
        self.disk.set_capacity(None);
        if self.sim.chance(1, 2) {
            self.sim.sleep(Duration::from_micros(self.sim.random_below(400_000))).await;
        }
        match self.sim.random_below(5) {
            0 => self.stop(store).await,
            1 => self.kill(),
            _ => self.crash(),
        }
    }

    /// Two starts without faults: everything is there, and the second finds a clean folder.
    async fn last_runs(&mut self) {
        for expect_clean in [false, true] {
            let started = self.begin();
            let Some((store, report)) = self.wait_for(&started, 100_000_000).await else {
                let why = started.borrow_mut().take().and_then(Result::err);
                return self.break_off(format!("the node does not start: {why:?}"));
            };
            if expect_clean && !report.clean {
                return self.break_off("a clean stop left something to recover".to_owned());
            }
            if !self.verify(&store).await {
                return;
            }
            self.stop(store).await;
        }
    }

    fn break_off(&self, what: String) {
        self.broken.borrow_mut().get_or_insert(what);
    }

    fn rt(&self) -> Rt {
        Rt::sim(self.sim.node(NODE))
    }

    /// Starts a store as the node would: recovery, then the logs.
    fn begin(&mut self) -> Started {
        self.run += 1;
        self.disk.set_plan(FaultPlan { garbage_sector: self.plan.garbage_sector, ..FaultPlan::default() });
        let rt = self.rt();
        let disk = Disk::sim(&self.disk, &rt);
        let started = Started::default();
        let (slot, starting) = (started.clone(), rt.clone());
        let epoch = LeaderEpoch(self.run * EPOCHS_A_RUN);
        let start = async move {
            *slot.borrow_mut() = Some(start(starting, disk, epoch).await);
        };
        rt.spawn(Queue::Foreground, start).detach();
        started
    }

    async fn wait_for(&self, started: &Started, patience_us: u64) -> Option<(Store, RecoveryReport)> {
        let mut waited_us = 0;
        while waited_us < patience_us {
            if matches!(*started.borrow(), Some(Ok(_))) {
                return started.borrow_mut().take().and_then(Result::ok);
            }
            if started.borrow().is_some() {
                return None;
            }
            self.sim.sleep(Duration::from_micros(100)).await;
            waited_us += 100;
        }
        None
    }

    /// Reads every partition from start to end and compares it with its model, which then forgets what a crash took.
    async fn verify(&self, store: &Store) -> bool {
        for (number, model) in self.models.iter().enumerate() {
            let Some(log) = store.log(&partition(number as i32)) else {
                self.break_off(format!("partition {number} is gone"));
                return false;
            };
            if let Err(broken) = self.verify_log(&log, model, number as i32 == IDEMPOTENT).await {
                self.break_off(format!("run {}, {}: {broken}", self.run, log.partition()));
                return false;
            }
        }
        true
    }

    async fn verify_log(&self, log: &Log, model: &SharedModel, idempotent: bool) -> Result<(), Broken> {
        if let Some(failure) = log.failure() {
            return Err(Broken(format!("offline after recovery: {failure}")));
        }
        let offsets = log.offsets();
        let promised = model.borrow().promised;
        if offsets.end < promised || offsets.flushed != offsets.end {
            return Err(Broken(format!("promised up to {promised}, recovered {offsets:?}")));
        }
        if offsets.start > model.borrow().start {
            return Err(Broken(format!(
                "starts at {}, deleted up to {}",
                offsets.start,
                model.borrow().start
            )));
        }
        let mut at = offsets.start;
        while at < offsets.end {
            let read = log.read(at, offsets.end, 20_000, true).await;
            let read = read.map_err(|error| Broken(format!("read from {at}: {error}")))?;
            let end = model.borrow().compare(at, &read.records)?;
            if end <= at {
                return Err(Broken(format!("nothing to read at {at}, the log ends at {}", offsets.end)));
            }
            at = end;
        }
        model.borrow_mut().cut(offsets.end);
        log.set_high_watermark(offsets.end);
        let aborted = log.aborted_transactions(offsets.start, offsets.end).await;
        let aborted = aborted.map_err(|error| Broken(format!("aborted transactions: {error}")))?;
        let mut model = model.borrow_mut();
        model.start = offsets.start;
        model.promise(offsets.end);
        model.compare_transactions(log, offsets.start, &aborted)?;
        for sent in model.sent.iter().filter(|sent| sent.base >= offsets.start) {
            let epoch = log.epoch_at(sent.base);
            if epoch != Some(sent.epoch) {
                return Err(Broken(format!("epoch {epoch:?} at {}, sent in {}", sent.base, sent.epoch)));
            }
        }
        if log.offsets().end == offsets.end && idempotent {
            self.verify_duplicates(log, &model)
        } else {
            Ok(())
        }
    }

    /// The last batches of the idempotent producer, as many as a client may have in flight, are recognised when sent again.
    fn verify_duplicates(&self, log: &Log, model: &Model) -> Result<(), Broken> {
        for sent in model.sent.iter().rev().take(BATCHES_KEPT).rev() {
            let valid = validate(&sent.bytes, &ProduceRules::default(), self.rt().wall_ms())
                .map_err(|e| Broken(format!("{e:?}")))?;
            let appended = log.append(&sent.bytes, &valid, LeaderEpoch(self.run));
            let appended =
                appended.map_err(|error| Broken(format!("a repeated batch is refused: {error}")))?;
            if !appended.duplicate || appended.base_offset != sent.base {
                return Err(Broken(format!("a repeated batch, {sent:?}, is appended again: {appended:?}")));
            }
            self.sim.count("duplicate recognised");
        }
        Ok(())
    }

    fn start_clients(&self, store: &Store) {
        let rt = self.rt();
        let clients = Clients {
            rt: rt.clone(),
            epoch: LeaderEpoch(self.run * EPOCHS_A_RUN),
            broken: self.broken.clone(),
            next_id: self.next_id.clone(),
            store: store.clone(),
        };
        for (number, model) in (0..PARTITIONS).zip(&self.models) {
            let Some(log) = store.log(&partition(number)) else { continue };
            let spawn = |work| rt.spawn(Queue::Foreground, work).detach();
            if number == FOLLOWING {
                let work = clients.clone().follow(log, model.clone());
                rt.spawn(Queue::Foreground, work).detach();
                continue;
            }
            if number == TRANSACTING {
                rt.spawn(Queue::Foreground, clients.clone().transact(log.clone(), model.clone())).detach();
                rt.spawn(Queue::Foreground, clients.clone().consume_committed(log, model.clone())).detach();
                continue;
            }
            spawn(clients.clone().produce(log.clone(), model.clone(), number == IDEMPOTENT));
            let reading = clients.clone().consume(log.clone(), model.clone());
            rt.spawn(Queue::Foreground, reading).detach();
            if number == DELETING {
                let deleting = clients.clone().delete(log, model.clone());
                rt.spawn(Queue::Background, deleting).detach();
            }
        }
    }

    fn crash(&mut self) {
        self.sim.crash(NODE);
        self.disk.crash();
        self.sim.count("crash");
    }

    /// The process dies, the machine lives on: what was written is in the disk's hands.
    fn kill(&mut self) {
        self.sim.crash(NODE);
        self.disk.kill();
        self.sim.count("kill");
    }

    async fn stop(&mut self, store: Store) {
        self.count_reads(&store);
        let done = Rc::new(Cell::new(None));
        let (slot, closing) = (done.clone(), store.clone());
        let rt = self.rt();
        let close = async move { slot.set(Some(closing.close().await.is_ok())) };
        rt.spawn(Queue::Foreground, close).detach();
        for _ in 0..100_000 {
            if let Some(closed) = done.get() {
                self.sim.count(if closed { "clean stop" } else { "stop failed" });
                break;
            }
            self.sim.sleep(Duration::from_micros(100)).await;
        }
        if done.get().is_none() {
            let logs: Vec<_> = store
                .logs()
                .iter()
                .map(|log| (log.offsets(), log.failure().map(|e| e.to_string())))
                .collect();
            self.break_off(format!("a stop hangs: {:?} {logs:?}", store.stats()));
        }
        self.sim.crash(NODE);
        self.disk.crash();
    }

    fn count_reads(&self, store: &Store) {
        if store.stats().cache_misses > 0 {
            self.sim.count("cold read");
        }
        if store.stats().direct_appends > 0 {
            self.sim.count("direct append");
        }
    }
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number).expect("a legal name")
}

fn log_config(number: i32) -> LogConfig {
    LogConfig {
        segment_bytes: 24_000 + 9_000 * number as u32,
        index_interval_bytes: 700,
        ..LogConfig::default()
    }
}

async fn start(rt: Rt, disk: Disk, epoch: LeaderEpoch) -> Result<(Store, RecoveryReport), StorageError> {
    let report = recover(&rt, &disk, Path::new(DATA_DIR), &mut |_| {}).await?;
    let wal = WalConfig {
        first_file_bytes: 32 << 10,
        file_bytes: 64 << 10,
        files_max: 3,
        group_bytes_max: 12 << 10,
    };
    let config = StoreConfig {
        wal,
        direct_bytes_min: 14_000,
        memory_bytes: 256 << 10,
        unflushed_bytes_max: 128 << 10,
        delete_delay: Duration::from_millis(50),
        ..StoreConfig::new(DATA_DIR, 0)
    };
    let logs = (0..PARTITIONS).map(|number| LogSpec {
        partition: partition(number),
        topic_id: [9; 16],
        config: log_config(number),
    });
    let store = Store::open(rt, disk.clone(), config, logs.collect()).await?;
    for log in store.logs() {
        if log.failure().is_none() {
            log.begin_epoch(epoch).await?;
        }
    }
    acted_on(&disk, Path::new(DATA_DIR)).await?;
    Ok((store, report))
}
