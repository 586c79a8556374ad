//! Recovery on a simulated disk: rot in the WAL's file headers, and what is then reported, kept and still there.

use super::*;
use crate::batch::validate::{ProduceRules, validate};
use crate::batch::{BatchBuilder, LeaderEpoch, Offset};
use crate::config::LogConfig;
use crate::disk::sim::{FaultPlan, SimDisk};
use crate::log::Log;
use crate::store::{LogSpec, Store, StoreConfig};
use crate::wal::{WalConfig, shard_folder};
use hayate_rt::Queue;
use hayate_rt::sim::{NodeId, Sim};
use std::time::Duration;

const NODE: NodeId = NodeId(1);
const DATA_DIR: &str = "/data";
const VALUE_BYTES: usize = 3000;
/// Logs of a store; the first is the one that the oldest file is needed for.
const LOGS: i32 = 2;

/// The log of another shard.
const ELSEWHERE: i32 = 7;

fn spec(number: i32) -> LogSpec {
    LogSpec {
        partition: TopicPartition::new("t", number).unwrap(),
        topic_id: [9; 16],
        config: LogConfig::default(),
    }
}

fn specs() -> Vec<LogSpec> {
    (0..LOGS).map(spec).collect()
}

fn store_config(shard: usize) -> StoreConfig {
    let wal = WalConfig {
        first_file_bytes: 32 << 10,
        file_bytes: 64 << 10,
        files_max: 3,
        group_bytes_max: 12 << 10,
    };
    StoreConfig { wal, ..StoreConfig::new(DATA_DIR, shard) }
}

fn wal_file(number: usize) -> PathBuf {
    Path::new(DATA_DIR).join(WAL_FOLDER).join(shard_folder(0)).join(format!("{number:04}.wal"))
}

/// A node whose store crashes in the middle of its work.
#[derive(Clone)]
struct Node {
    sim: Sim,
    device: SimDisk,
}

/// Runs `on` to its end on a node of its own.
fn run<F: Future<Output = ()> + 'static>(seed: u64, on: impl FnOnce(Node) -> F) {
    let sim = Sim::new(seed);
    let device = SimDisk::new(&sim, NODE, FaultPlan::default());
    sim.run(Duration::from_secs(3600), on(Node { sim: sim.clone(), device })).unwrap();
    sim.end();
}

impl Node {
    fn rt(&self) -> Rt {
        Rt::sim(self.sim.node(NODE))
    }

    fn disk(&self) -> Disk {
        Disk::sim(&self.device, &self.rt())
    }

    async fn recover(&self) -> RecoveryReport {
        recover(&self.rt(), &self.disk(), Path::new(DATA_DIR), &mut |_| {}).await.unwrap()
    }

    async fn open(&self) -> Store {
        Store::open(self.rt(), self.disk(), store_config(0), specs()).await.unwrap()
    }

    fn crash(&self) {
        self.sim.crash(NODE);
        self.device.crash();
    }

    async fn append(&self, log: &Log) {
        self.append_in(LeaderEpoch(1), log).await;
    }

    async fn append_in(&self, epoch: LeaderEpoch, log: &Log) {
        let now_ms = self.rt().wall_ms();
        let batch = BatchBuilder::new().record(now_ms, None, Some(&[7; VALUE_BYTES])).build();
        let valid = validate(&batch, &ProduceRules::default(), now_ms).unwrap();
        log.append(&batch, &valid, epoch).unwrap().durable.await.unwrap();
    }

    /// Two acknowledged records of the first log in the WAL's first file, and of the other so many that the second is in use; then the
    /// power fails. `released`: after the first file was let go. Returns the logs' ends.
    async fn live(&self, released: bool) -> Vec<Offset> {
        self.recover().await;
        let elsewhere =
            Store::open(self.rt(), self.disk(), store_config(1), vec![spec(ELSEWHERE)]).await.unwrap();
        self.append(&elsewhere.logs()[0]).await;
        let store = self.open().await;
        let logs = store.logs();
        // While its files are held, the materialiser cannot account for the first log.
        let held = logs[0].inner.files.acquire().await;
        for _ in 0..2 {
            self.append(&logs[0]).await;
        }
        while store.shared.wal.borrow().active_sequence() < 2 {
            self.append(&logs[1]).await;
        }
        if released {
            drop(held);
            while !store.shared.wal.borrow().has_free() {
                self.sim.sleep(Duration::from_millis(1)).await;
            }
            self.append(&logs[1]).await;
            self.crash();
        } else {
            // No gap in another log gives away what is missing of the first.
            logs[1].inner.account().await.unwrap();
            store.shared.write_checkpoint().await.unwrap();
            self.crash();
            drop(held);
        }
        logs.iter().map(|log| log.offsets().end).collect()
    }

    async fn ends(&self) -> Vec<Offset> {
        self.open().await.logs().iter().map(|log| log.offsets().end).collect()
    }

    /// Whether the WAL was kept beside the data.
    async fn is_wal_kept(&self) -> bool {
        let kept = format!("{WAL_FOLDER}.damaged.");
        self.disk().list(DATA_DIR).await.unwrap().iter().any(|entry| entry.name.starts_with(&kept))
    }

    async fn is_marked(&self, number: i32) -> bool {
        let folder = TopicPartition::new("t", number).unwrap().folder_name();
        self.disk().exists(Path::new(DATA_DIR).join(folder).join(DAMAGE_MARK)).await.unwrap()
    }
}

#[test]
fn without_rot_everything_is_there() {
    for released in [false, true] {
        run(1, move |node| async move {
            let ends = node.live(released).await;
            let report = node.recover().await;
            assert!(report.damaged.is_empty() && !report.clean, "{report:?}");
            assert_eq!(node.ends().await, ends);
        });
    }
}

/// What a recovery reports when the header of the oldest file is damaged, or the file gone.
fn check_oldest_lost(spoil: impl AsyncFn(&Node) + 'static) {
    run(2, move |node| async move {
        node.live(false).await;
        spoil(&node).await;
        let report = node.recover().await;
        assert_eq!(report.damaged.len(), LOGS as usize, "{report:?}");
        assert!(report.damaged.values().all(|what| what.starts_with("file 1 of")), "{report:?}");
        assert!(node.is_wal_kept().await);
        assert!(!node.is_marked(ELSEWHERE).await, "nothing of it was in this log");
        let store = node.open().await;
        assert!(store.logs().iter().all(|log| matches!(log.failure(), Some(StorageError::Corrupt(_)))));
    });
}

#[test]
fn a_damaged_header_of_the_oldest_needed_file_is_reported() {
    for byte in [0, 9, 20, 43] {
        check_oldest_lost(async move |node| node.device.corrupt(wal_file(0), byte));
    }
    check_oldest_lost(async |node| node.disk().remove_file(wal_file(0)).await.unwrap());
}

#[test]
fn a_damaged_header_of_a_file_that_was_let_go_is_harmless() {
    run(3, |node| async move {
        let ends = node.live(true).await;
        node.device.corrupt(wal_file(0), 20);
        let report = node.recover().await;
        assert!(report.damaged.is_empty(), "{report:?}");
        assert_eq!(node.ends().await, ends);
    });
}

#[test]
fn a_crash_in_the_recovery_that_found_damage_loses_nothing_of_it() {
    for seed in 0..400 {
        run(seed, |node| async move {
            node.live(false).await;
            node.device.corrupt(wal_file(0), 20);
            let (rt, disk) = (node.rt(), node.disk());
            let recovering = {
                let rt = rt.clone();
                async move {
                    let _ = recover(&rt, &disk, Path::new(DATA_DIR), &mut |_| {}).await;
                }
            };
            rt.spawn(Queue::Foreground, recovering).detach();
            node.sim.sleep(Duration::from_micros(node.sim.random_below(10_000))).await;
            node.crash();
            node.recover().await;
            assert!(node.is_wal_kept().await);
            for number in 0..LOGS {
                assert!(node.is_marked(number).await, "log {number} is not marked");
            }
        });
    }
}

#[test]
fn leader_epochs_that_only_batches_tell_of_are_there_after_a_crash() {
    for accounted in [false, true] {
        run(4, move |node| async move {
            node.recover().await;
            let store = node.open().await;
            let log = store.logs().remove(0);
            for epoch in [3, 3, 4, 6] {
                node.append_in(LeaderEpoch(epoch), &log).await;
            }
            if accounted {
                log.inner.account().await.unwrap();
                store.shared.write_checkpoint().await.unwrap();
            }
            let cut = log.truncate_to(LeaderEpoch(5), Offset(9)).await.unwrap();
            assert_eq!((cut.end, cut.epoch), (Offset(3), Some(LeaderEpoch(4))));
            node.append_in(LeaderEpoch(7), &log).await;
            node.crash();
            node.recover().await;
            let log = node.open().await.logs().remove(0);
            let epochs: Vec<_> = (0..4).map(|offset| log.epoch_at(Offset(offset)).map(|it| it.0)).collect();
            assert_eq!(epochs, [Some(3), Some(3), Some(4), Some(7)]);
        });
    }
}

/// After a kill, what was written and not flushed is there to be read; a failure of the power then takes it back.
#[test]
fn what_a_recovery_has_acted_on_no_later_crash_takes_back() {
    for seed in 0..1500 {
        let killed_at = Duration::from_micros(50) * (seed % 20) as u32;
        let crashed_at = Duration::from_micros(400) * (seed % 31) as u32;
        run(seed, move |node| async move {
            node.recover().await;
            let store = node.open().await;
            let log = store.logs().remove(0);
            for _ in 0..4 {
                node.append(&log).await;
            }
            log.inner.account().await.unwrap();
            store.shared.write_checkpoint().await.unwrap();
            let cutting = async move { drop(log.truncate_to(LeaderEpoch(1), Offset(1)).await) };
            node.rt().spawn(Queue::Foreground, cutting).detach();
            node.sim.sleep(killed_at).await;
            node.sim.crash(NODE);
            node.device.kill();
            let again = node.clone();
            let recovering = async move { drop(again.recover().await) };
            node.rt().spawn(Queue::Foreground, recovering).detach();
            node.sim.sleep(crashed_at).await;
            node.crash();
            node.recover().await;
            let end = node.ends().await[0];
            assert!([Offset(4), Offset(1)].contains(&end), "seed {seed}: {end}");
        });
    }
}
