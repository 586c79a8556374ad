//! Folders as Kafka leaves them, on a simulated disk: where their logs are found to end, what is done with them, and that a crash at
//! any moment of it changes nothing in the end.

mod aborted;
mod producers;

use super::*;
use crate::batch::{BatchBuilder, LeaderEpoch, ProducerId};
use crate::checkpoint::CLEANER_CHECKPOINT;
use crate::config::LogConfig;
use crate::disk::sim::{FaultPlan, SimDisk};
use crate::log::Log;
use crate::names::{FolderName, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use crate::producers::Verdict;
use crate::recovery::{DAMAGE_MARK, recover};
use crate::store::{LogSpec, Store, StoreConfig};
use bytes::Bytes;
use hayate_rt::Queue;
use hayate_rt::sim::{NodeId, Sim};
use std::time::Duration;

const NODE: NodeId = NodeId(1);
const DATA_DIR: &str = "/data";
const TOPIC_ID: [u8; 16] = [9; 16];
const PRODUCER: ProducerId = ProducerId(4711);
/// Later than any simulation: no producer expires.
const RECENT_MS: i64 = 4_000_000_000_000;

fn expected() -> ExpectedLog {
    ExpectedLog { partition: TopicPartition::new("t", 0).unwrap(), topic_id: TOPIC_ID }
}

fn begun() -> BegunLog {
    let partition = TopicPartition { topic: "__cluster_metadata".to_owned(), partition: 0 };
    BegunLog { partition, topic_id: [1; 16], start: Offset(77) }
}

/// Two records at `offset`, in the leader epoch `offset / 10`, from an idempotent producer.
fn batch(offset: i64) -> Bytes {
    let builder = BatchBuilder::new()
        .base_offset(Offset(offset))
        .leader_epoch(LeaderEpoch((offset / 10) as i32))
        .producer(PRODUCER, 0, offset as i32);
    builder.record(RECENT_MS, None, Some(b"first")).record(RECENT_MS, None, Some(b"second")).build()
}

fn batches(offsets: impl IntoIterator<Item = i64>) -> Vec<u8> {
    offsets.into_iter().flat_map(|offset| batch(offset).to_vec()).collect()
}

/// What a test's folder holds, beside the logs' identity: files of the partition by name, and what is in the data folder.
#[derive(Clone, Default)]
struct Folder {
    log: Vec<(String, Vec<u8>)>,
    data: Vec<(&'static str, String)>,
}

impl Folder {
    fn file(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Folder {
        self.log.push((name.to_owned(), bytes.into()));
        self
    }

    fn segment(self, base: i64, bytes: impl Into<Vec<u8>>) -> Folder {
        self.file(&format!("{base:020}.log"), bytes)
    }

    fn clean(mut self) -> Folder {
        self.data.push((CLEAN_SHUTDOWN, "{\"version\":0,\"brokerEpoch\":5}".to_owned()));
        self
    }

    fn offset(mut self, checkpoint: &'static str, offset: i64) -> Folder {
        self.data.push((checkpoint, format!("0\n1\nt 0 {offset}\n")));
        self
    }
}

#[derive(Clone)]
struct Node {
    sim: Sim,
    device: SimDisk,
}

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

    fn crash(&self) {
        self.sim.crash(NODE);
        self.device.crash();
    }

    async fn write(&self, folder: &Folder) {
        let (disk, of_log) = (self.disk(), Path::new(DATA_DIR).join("t-0"));
        disk.create_dir_all(&of_log).await.unwrap();
        let identity = crate::checkpoint::PartitionMetadata { topic_id: TOPIC_ID };
        disk.replace_small(of_log.join(PARTITION_METADATA), identity.render().as_bytes()).await.unwrap();
        for (name, bytes) in &folder.log {
            disk.replace_small(of_log.join(name), bytes).await.unwrap();
        }
        for (name, text) in &folder.data {
            disk.replace_small(Path::new(DATA_DIR).join(name), text.as_bytes()).await.unwrap();
        }
    }

    async fn inspect(&self) -> Takeover {
        let (rt, disk) = (self.rt(), self.disk());
        Takeover::inspect(&rt, &disk, Path::new(DATA_DIR), &[expected()], &mut |_| ()).await.unwrap()
    }

    async fn settle(&self) {
        self.inspect().await.settle(&self.disk(), begun(), &mut |_| ()).await.unwrap();
    }

    /// As a start does after taking over.
    async fn open(&self) -> (Store, Log) {
        let (rt, disk) = (self.rt(), self.disk());
        let report = recover(&rt, &disk, Path::new(DATA_DIR), &mut |_| ()).await.unwrap();
        assert!(!report.clean, "leader epochs must be raised");
        let ExpectedLog { partition, topic_id } = expected();
        let spec = LogSpec { partition, topic_id, config: LogConfig::default() };
        let store = Store::open(rt, disk, StoreConfig::new(DATA_DIR, 0), vec![spec]).await.unwrap();
        let log = store.logs().remove(0);
        (store, log)
    }

    async fn names(&self) -> Vec<String> {
        let entries = self.disk().list(Path::new(DATA_DIR).join("t-0")).await.unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

/// Base offsets of all batches that a reader gets.
async fn offsets_read(log: &Log) -> Vec<i64> {
    let offsets = log.offsets();
    let mut next = offsets.start;
    let mut read = Vec::new();
    while next < offsets.end {
        let result = log.read(next, offsets.end, 1 << 20, true).await.unwrap();
        let bytes = result.records.concat();
        let scan = crate::batch::BatchScan::new(&bytes, crate::batch::scan::Checksums::Verify);
        read.extend(scan.map(|batch| batch.header.base_offset.0));
        assert!(result.next_offset > next);
        next = result.next_offset;
    }
    read
}

/// The folder is taken over; what is read of it then is exactly the batches at `expected`.
fn check(folder: Folder, expected: impl IntoIterator<Item = i64>, start_and_end: (i64, i64)) {
    let expected: Vec<i64> = expected.into_iter().collect();
    run(1, move |node| async move {
        node.write(&folder).await;
        let found = node.inspect().await;
        let log = &found.logs()[0];
        assert_eq!(log.damage(), None);
        assert_eq!(log.offsets(), Some((Offset(start_and_end.0), Offset(start_and_end.1))));
        node.settle().await;
        let (store, log) = node.open().await;
        assert_eq!(offsets_read(&log).await, expected);
        assert_eq!(log.offsets().high_watermark, log.offsets().end);
        let last = BatchBuilder::new().producer(PRODUCER, 0, expected.last().copied().unwrap_or(0) as i32);
        let again = last.record(1, None, None).record(1, None, None).build();
        let header = crate::batch::BatchHeader::parse(&again).unwrap();
        if !expected.is_empty() {
            let verdict = log.inner.state.borrow().producers.check(&header).unwrap();
            assert!(matches!(verdict, Verdict::Duplicate { .. }), "the last batch, sent again: {verdict:?}");
        }
        store.close().await.unwrap();
    });
}

#[test]
fn what_a_clean_stop_leaves_is_taken_as_it_is() {
    let all = || (0..40).step_by(2);
    let whole =
        Folder::default().segment(0, batches((0..20).step_by(2))).segment(20, batches((20..40).step_by(2)));
    check(whole.clone().clean(), all(), (0, 40));
    check(whole.clone().clean().offset(RECOVERY_POINT_CHECKPOINT, 40), all(), (0, 40));
    check(whole.offset(LOG_START_CHECKPOINT, 20).clean(), (20..40).step_by(2), (20, 40));
    check(Folder::default().clean().offset(LOG_START_CHECKPOINT, 12), [], (12, 12));
    check(Folder::default().segment(30, []).clean(), [], (30, 30));
    // Space that was set aside, and gaps that compaction has left.
    let mut padded = batches([4, 30]);
    padded.extend_from_slice(&[0; 5000]);
    check(Folder::default().segment(0, padded).clean(), [4, 30], (0, 32));
}

#[test]
fn an_unfinished_write_is_cut_wherever_it_stopped() {
    let whole = batches([0, 2, 4]);
    let sound = batches([0, 2]).len();
    for len in (sound..whole.len()).step_by(7) {
        let folder = Folder::default().segment(0, &whole[..len]).offset(RECOVERY_POINT_CHECKPOINT, 0);
        check(folder, [0, 2], (0, 4));
    }
    // The end has its length, and not all of its bytes.
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    check(Folder::default().segment(0, damaged), [0, 2], (0, 4));
    // A batch that does not follow the one before it.
    check(Folder::default().segment(0, batches([0, 2, 2])), [0, 2], (0, 4));
}

#[test]
fn segments_behind_a_torn_one_are_set_aside() {
    run(1, |node| async move {
        let mut torn = batches([0, 2, 4]);
        torn.truncate(torn.len() - 1);
        node.write(&Folder::default().segment(0, torn).segment(6, batches([6]))).await;
        assert_eq!(node.inspect().await.logs()[0].cut_off_segments(), 1);
        node.settle().await;
        assert!(node.names().await.contains(&format!("hayate.cut.{:020}.log", 6)));
        let (_store, log) = node.open().await;
        assert_eq!(offsets_read(&log).await, [0, 2]);
    });
}

/// The log is found damaged, keeps its bytes, and is offline.
fn check_damaged(folder: Folder) {
    run(1, move |node| async move {
        node.write(&folder).await;
        let found = node.inspect().await;
        assert!(found.logs()[0].damage().is_some());
        node.settle().await;
        let (_store, log) = node.open().await;
        assert!(matches!(log.failure(), Some(StorageError::Corrupt(_))));
        assert!(node.names().await.contains(&DAMAGE_MARK.to_owned()));
        for (name, bytes) in &folder.log {
            let path = Path::new(DATA_DIR).join("t-0").join(name);
            let kept = node.disk().read_small(path, 1 << 20).await.unwrap();
            assert_eq!(kept.as_ref(), Some(bytes), "{name}");
        }
    });
}

#[test]
fn what_was_flushed_and_cannot_be_read_is_damage_and_kept() {
    let mut rotten = batches([0, 2, 4]);
    let at = batches([0]).len() + 70;
    rotten[at] ^= 1;
    let rotten = || Folder::default().segment(0, rotten.clone());
    check_damaged(rotten().offset(RECOVERY_POINT_CHECKPOINT, 4));
    check_damaged(rotten().clean());
    check_damaged(Folder::default().segment(0, batches([0])).offset(RECOVERY_POINT_CHECKPOINT, 4));
    check_damaged(Folder::default().segment(0, batches([0])).clean().offset(RECOVERY_POINT_CHECKPOINT, 4));
    // Records of a format before Kafka 4's, in a segment that nobody walks over.
    let mut old = batches([0]);
    old[16] = 1;
    check_damaged(Folder::default().segment(0, old).segment(2, batches([2])).clean());
    check_damaged(rotten().clean().file(LEADER_EPOCH_CHECKPOINT, "0\n7\n"));
}

#[test]
fn leader_epochs_that_kafka_had_not_noted_are() {
    run(1, |node| async move {
        let folder = Folder::default()
            .segment(0, batches([0, 8, 12, 24]))
            .file(LEADER_EPOCH_CHECKPOINT, "0\n1\n0 0\n");
        node.write(&folder).await;
        node.settle().await;
        let (_store, log) = node.open().await;
        let epochs = [0, 12, 24].map(|offset| log.epoch_at(Offset(offset)).map(|epoch| epoch.0));
        assert_eq!(epochs, [Some(0), Some(1), Some(2)]);
    });
}

/// Compaction stopped with these files; Kafka would go on with those of `live`.
fn check_arranged(folder: Folder, expected: impl IntoIterator<Item = i64>, live: &'static [i64]) {
    let end = folder.log.len();
    assert!(end > 0);
    let expected: Vec<i64> = expected.into_iter().collect();
    for seed in 0..60 {
        let (folder, expected) = (folder.clone(), expected.clone());
        run(seed, move |node| async move {
            node.write(&folder).await;
            interrupt(&node, seed).await;
            node.settle().await;
            let (_store, log) = node.open().await;
            assert_eq!(offsets_read(&log).await, expected);
            let names = node.names().await;
            let logs: Vec<&String> = names.iter().filter(|name| name.contains(".log")).collect();
            let wanted: Vec<String> = live.iter().map(|base| format!("{base:020}.log")).collect();
            assert_eq!(logs, wanted.iter().collect::<Vec<_>>());
        });
    }
}

/// A crash at some moment of a takeover, if `seed` is not 0.
async fn interrupt(node: &Node, seed: u64) {
    if seed == 0 {
        return;
    }
    let (rt, disk) = (node.rt(), node.disk());
    let taking = {
        let rt = rt.clone();
        async move {
            let found = Takeover::inspect(&rt, &disk, Path::new(DATA_DIR), &[expected()], &mut |_| ()).await;
            if let Ok(found) = found {
                let _ = found.settle(&disk, begun(), &mut |_| ()).await;
            }
        }
    };
    rt.spawn(Queue::Foreground, taking).detach();
    node.sim.sleep(Duration::from_micros(node.sim.random_below(12_000))).await;
    node.crash();
}

#[test]
fn what_compaction_had_under_way_is_finished_or_dropped() {
    let old = || {
        let folder = Folder::default().segment(0, batches([0, 2])).segment(4, batches([4, 6]));
        folder.segment(8, batches([8]))
    };
    let name = |base: i64, suffix: &str| format!("{base:020}.log{suffix}");
    check_arranged(old().file(&name(0, ".cleaned"), batches([2, 6])), [0, 2, 4, 6, 8], &[0, 4, 8]);
    check_arranged(old().file(&name(0, ".swap"), batches([2, 6])), [2, 6, 8], &[0, 8]);
    check_arranged(
        old().file(&name(0, ".swap"), batches([2, 6])).file(&name(4, ".cleaned"), batches([6])),
        [2, 6, 8],
        &[0, 8],
    );
    check_arranged(
        old().file(&name(4, ".swap"), batches([6])).file(&name(0, ".cleaned"), batches([2])),
        [0, 2, 4, 6, 8],
        &[0, 4, 8],
    );
    let swaps = old().file(&name(0, ".swap"), batches([2])).file(&name(4, ".swap"), batches([6]));
    check_arranged(swaps, [2, 6, 8], &[0, 4, 8]);
    check_arranged(old().file(&name(12, ".deleted"), batches([12])), [0, 2, 4, 6, 8], &[0, 4, 8]);
}

#[test]
fn a_crash_at_any_moment_of_it_changes_nothing_in_the_end() {
    let mut torn = batches([20, 22, 24]);
    torn.truncate(torn.len() - 9);
    let folder = Folder::default()
        .segment(0, batches((0..20).step_by(2)))
        .segment(20, torn)
        .segment(26, batches([26]));
    for seed in 1..200 {
        let folder = folder.clone();
        run(seed, move |node| async move {
            node.write(&folder).await;
            interrupt(&node, seed).await;
            interrupt(&node, seed + 1_000).await;
            node.settle().await;
            let (_store, log) = node.open().await;
            assert_eq!(offsets_read(&log).await, (0..24).step_by(2).collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_folder_of_another_topic_of_the_name_is_not_taken() {
    run(1, |node| async move {
        node.write(&Folder::default().segment(0, batches([0])).clean()).await;
        let other = ExpectedLog { topic_id: [8; 16], ..expected() };
        let missing = ExpectedLog { partition: TopicPartition::new("u", 3).unwrap(), ..expected() };
        let (rt, disk) = (node.rt(), node.disk());
        let all = [other, missing];
        let found = Takeover::inspect(&rt, &disk, Path::new(DATA_DIR), &all, &mut |_| ()).await.unwrap();
        assert!(found.logs().iter().all(|log| log.offsets().is_none()));
    });
}

#[test]
fn a_log_that_another_topic_has_the_name_of_now_says_nothing() {
    run(1, |node| async move {
        node.write(&Folder::default().segment(0, batches([0, 2])).clean()).await;
        node.settle().await;
        let (store, _) = node.open().await;
        store.close().await.unwrap();
        let (disk, dir) = (node.disk(), Path::new(DATA_DIR));
        let mut checkpoint = crate::store::checkpoint::load(&disk, dir).await.unwrap().merged;
        let partition = expected().partition;
        let of_t = |entry: &&mut crate::store::checkpoint::Entry| entry.partition == partition;
        let old = checkpoint.entries.values_mut().find(of_t).unwrap().clone();
        // Ids before and behind the one that the folder has.
        for (id, offset) in [([1; 16], 99), ([10; 16], 98)] {
            let mut gone = old.clone();
            gone.start.end.offset = Offset(offset);
            checkpoint.entries.insert(crate::wal::format::LogId { topic_id: id, partition: 0 }, gone);
        }
        checkpoint.generation += 1;
        let path = dir.join(crate::store::checkpoint::CHECKPOINT);
        disk.replace_small(path, &checkpoint.encode()).await.unwrap();
        assert_eq!(settled_end(&disk, dir, &partition).await.unwrap(), Some(Offset(4)));
        leave_for_kafka(&disk, dir, &begun().partition, 1).await.unwrap();
        let points = offsets(&disk, &dir.join(RECOVERY_POINT_CHECKPOINT)).await.unwrap();
        assert_eq!(points.offsets, [(partition, Offset(4))].into());
    });
}

#[test]
fn ours_are_left_as_kafka_would_have_left_its_own_and_come_back() {
    run(1, |node| async move {
        node.write(&Folder::default().segment(0, batches([0, 2])).clean()).await;
        node.settle().await;
        let dir = Path::new(DATA_DIR);
        let (store, log) = node.open().await;
        let disk = node.disk();
        assert!(matches!(check_settled(&disk, dir).await, Err(LeaveError::Unsettled)));
        log.advance_start(Offset(2)).await.unwrap();
        store.close().await.unwrap();
        check_settled(&disk, dir).await.unwrap();
        let cleaned = b"0\n2\nt 0 4\nt 1 7\n";
        disk.replace_small(dir.join(CLEANER_CHECKPOINT), cleaned).await.unwrap();
        leave_for_kafka(&disk, dir, &begun().partition, 42).await.unwrap();
        forget_ours(&disk, dir).await.unwrap();
        let text = async |name: &str| {
            String::from_utf8(disk.read_small(dir.join(name), 1 << 10).await.unwrap().unwrap()).unwrap()
        };
        assert_eq!(text(RECOVERY_POINT_CHECKPOINT).await, "0\n1\nt 0 4\n");
        assert_eq!(text(crate::checkpoint::REPLICATION_CHECKPOINT).await, "0\n1\nt 0 4\n");
        assert_eq!(text(LOG_START_CHECKPOINT).await, "0\n1\nt 0 2\n");
        assert_eq!(text(CLEANER_CHECKPOINT).await, "0\n1\nt 0 4\n");
        assert_eq!(text(CLEAN_SHUTDOWN).await, "{\"version\":0,\"brokerEpoch\":42}");
        for entry in disk.list(dir).await.unwrap() {
            assert!(!entry.name.starts_with("hayate."), "{}", entry.name);
            assert!(!entry.is_dir || FolderName::parse(&entry.name) != FolderName::Foreign, "{}", entry.name);
        }
        node.settle().await;
        let (_store, log) = node.open().await;
        assert_eq!(offsets_read(&log).await, [2]);
    });
}
