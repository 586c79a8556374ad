//! Logs on a simulated disk: what opening finds, what retention removes, what damage does to reads.

mod damage;
mod transactions;

use super::*;
use crate::batch::validate::{ProduceRules, validate};
use crate::batch::{BatchBuilder, ProducerId};
use crate::config::CleanupPolicy;
use crate::disk::sim::{FaultPlan, SimDisk};
use crate::disk::{Disk, OpenMode};
use crate::error::ReadError;
use crate::names::PARTITION_METADATA;
use crate::recovery::recover;
use crate::store::{LogSpec, ReadKey, Store, StoreConfig};
use hayate_rt::Rt;
use hayate_rt::sim::{NodeId, Sim};
use std::path::Path;
use std::time::Duration;

const NODE: NodeId = NodeId(1);
const DATA_DIR: &str = "/data";
const FOLDER: &str = "/data/t-0";
const TOPIC_ID: [u8; 16] = [9; 16];
/// Bytes of a value: two batches fill a segment.
const VALUE_BYTES: usize = 3000;

fn spec(topic_id: [u8; 16], retention_bytes: Option<u64>) -> LogSpec {
    let config = LogConfig {
        segment_bytes: 8192,
        retention_bytes,
        retention_ms: None,
        cleanup_policy: CleanupPolicy { delete: true, compact: false },
        ..LogConfig::default()
    };
    LogSpec { partition: TopicPartition::new("t", 0).unwrap(), topic_id, config }
}

/// A node with one partition.
#[derive(Clone)]
struct Node {
    sim: Sim,
    rt: Rt,
    disk: Disk,
    device: SimDisk,
}

/// Runs `on` to its end on a node of its own.
fn run<F: Future<Output = ()> + 'static>(on: impl FnOnce(Node) -> F) {
    run_seed(1, on);
}

fn run_seed<F: Future<Output = ()> + 'static>(seed: u64, on: impl FnOnce(Node) -> F) {
    let sim = Sim::new(seed);
    let device = SimDisk::new(&sim, NODE, FaultPlan::default());
    let rt = Rt::sim(sim.node(NODE));
    let disk = Disk::sim(&device, &rt);
    sim.run(Duration::from_secs(3600), on(Node { sim: sim.clone(), rt, disk, device })).unwrap();
    sim.end();
}

impl Node {
    async fn open(&self, logs: Vec<LogSpec>) -> Result<Store, StorageError> {
        recover(&self.rt, &self.disk, Path::new(DATA_DIR), &mut |_| {}).await?;
        let config = StoreConfig { producer_expiration_ms: 1000, ..StoreConfig::new(DATA_DIR, 0) };
        Store::open(self.rt.clone(), self.disk.clone(), config, logs).await
    }

    async fn open_log(&self, retention_bytes: Option<u64>) -> (Store, Log) {
        let store = self.open(vec![spec(TOPIC_ID, retention_bytes)]).await.unwrap();
        let log = store.logs().remove(0);
        (store, log)
    }

    /// Appends `count` batches of one record each, of producer 5 from `sequence` on if given, and waits for them.
    async fn append(&self, log: &Log, count: i32, sequence: Option<i32>) {
        for number in 0..count {
            let builder = BatchBuilder::new().record(self.rt.wall_ms(), None, Some(&[7; VALUE_BYTES]));
            let batch = match sequence {
                Some(first) => builder.producer(ProducerId(5), 0, first + number).build(),
                None => builder.build(),
            };
            let valid = validate(&batch, &ProduceRules::default(), self.rt.wall_ms()).unwrap();
            log.append(&batch, &valid, LeaderEpoch(1)).unwrap().durable.await.unwrap();
        }
    }

    /// The names of the segments' files in the log's folder.
    async fn files(&self) -> Vec<String> {
        let entries = self.disk.list(FOLDER).await.unwrap();
        let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        names.retain(|name| name.starts_with('0'));
        names.sort();
        names
    }

    async fn write(&self, name: &str, bytes: &[u8]) {
        self.disk.replace_small(Path::new(FOLDER).join(name), bytes).await.unwrap();
    }
}

fn segment(base: i64) -> String {
    format!("{base:020}.log")
}

/// The bases of the log's segments in memory.
fn bases(log: &Log) -> Vec<i64> {
    log.inner.state.borrow().segments.iter().map(|segment| segment.base.0).collect()
}

#[test]
fn a_checkpoint_whose_start_is_above_its_end_opens_at_its_end() {
    run(|node| async move {
        let (_store, log) = node.open_log(None).await;
        node.append(&log, 3, None).await;
        log.inner.account().await.unwrap();
        let end = log.inner.state.borrow().accounted;
        let start = LogStart { start: Offset(9), high_watermark: Offset(9), end, producers: Vec::new() };
        let opened = LogInner::open(&log.inner.shared, spec(TOPIC_ID, None), start).await.unwrap();
        let offsets = Log { inner: opened }.offsets();
        assert_eq!((offsets.start, offsets.high_watermark, offsets.end), (Offset(3), Offset(3), Offset(3)));
    });
}

#[test]
fn a_start_that_a_full_disk_kept_from_the_checkpoint_is_stored_by_the_next_call() {
    run(|node| async move {
        let (store, log) = node.open_log(None).await;
        node.append(&log, 6, None).await;
        log.inner.account().await.unwrap();
        log.set_high_watermark(Offset(6));
        node.device.set_capacity(Some(0));
        assert!(matches!(log.advance_start(Offset(4)).await, Err(StorageError::NoSpace)));
        assert_eq!(bases(&log), [0, 2, 4], "nothing goes before the start is durable");
        node.device.set_capacity(None);
        store.run_retention().await;
        assert_eq!(bases(&log), [4]);
        assert!(node.files().await.iter().all(|name| name.as_str() >= &segment(4)[..20]));
    });
}

#[test]
fn a_stop_on_a_full_disk_ends_and_keeps_what_was_acknowledged() {
    run(|node| async move {
        let (store, log) = node.open_log(None).await;
        node.append(&log, 5, None).await;
        node.device.set_capacity(Some(0));
        let batch = BatchBuilder::new().record(node.rt.wall_ms(), None, Some(&[7; VALUE_BYTES])).build();
        let valid = validate(&batch, &ProduceRules::default(), node.rt.wall_ms()).unwrap();
        // More at once than there is room for: it stays in memory.
        let append = |_| log.append(&batch, &valid, LeaderEpoch(1)).unwrap().durable;
        let tickets: Vec<_> = (0..2000).map(append).collect();
        let mut acknowledged = 5;
        for ticket in tickets {
            acknowledged += i64::from(ticket.await.is_ok());
        }
        let closing = node.rt.timeout(Duration::from_secs(60), store.close()).await;
        assert!(matches!(closing, Ok(Err(StorageError::NoSpace))), "{closing:?}");
        node.sim.crash(NODE);
        node.device.kill();
        node.device.set_capacity(None);
        let node = Node { rt: Rt::sim(node.sim.node(NODE)), ..node };
        let node = Node { disk: Disk::sim(&node.device, &node.rt), ..node };
        let (_store, log) = node.open_log(None).await;
        assert!(acknowledged < 2005 && log.offsets().end >= Offset(acknowledged), "{acknowledged}");
    });
}

#[test]
fn segments_that_were_not_accounted_for_go_at_a_later_pass() {
    run(|node| async move {
        let (store, log) = node.open_log(None).await;
        node.append(&log, 6, None).await;
        log.set_high_watermark(Offset(6));
        log.advance_start(Offset(4)).await.unwrap();
        assert_eq!(bases(&log), [0, 2, 4], "the WAL still speaks of them");
        log.inner.account().await.unwrap();
        store.run_retention().await;
        assert_eq!(bases(&log), [4]);
    });
}

#[test]
fn files_of_expired_segments_go_when_the_log_is_opened() {
    run(|node| async move {
        let (store, log) = node.open_log(None).await;
        node.append(&log, 6, None).await;
        store.close().await.unwrap();
        let kept = node.device.read_visible(Path::new(FOLDER).join(segment(0))).unwrap();
        let (store, log) = node.open_log(None).await;
        log.advance_start(Offset(2)).await.unwrap();
        store.close().await.unwrap();
        // As if the power had failed before the removal was durable.
        for name in [segment(0), segment(0).replace("log", "index"), segment(1).replace("log", "snapshot")] {
            node.write(&name, &kept).await;
        }
        let (_store, log) = node.open_log(None).await;
        assert_eq!(bases(&log), [2, 4]);
        assert!(node.files().await.iter().all(|name| name.as_str() >= &segment(2)[..20]));
    });
}

#[test]
fn a_pass_expires_the_producers_that_checkpoints_hold() {
    run(|node| async move {
        let (store, log) = node.open_log(None).await;
        node.append(&log, 1, Some(0)).await;
        assert!(!log.inner.state.borrow().flushed_producers.is_empty());
        node.rt.sleep(Duration::from_secs(5)).await;
        store.run_retention().await;
        let state = log.inner.state.borrow();
        assert!(state.producers.is_empty() && state.flushed_producers.is_empty());
    });
}

#[test]
fn a_pass_learns_timestamps_and_keeps_no_indexes_of_finished_segments() {
    run(|node| async move {
        let (store, log) = node.open_log(None).await;
        let before_ms = node.rt.wall_ms();
        node.append(&log, 6, None).await;
        let written_ms = before_ms..=node.rt.wall_ms();
        store.close().await.unwrap();
        node.rt.sleep(Duration::from_secs(100)).await;
        let (store, log) = node.open_log(None).await;
        store.run_retention().await;
        let state = log.inner.state.borrow();
        let finished = &state.segments[0];
        assert!(finished.indexes.is_none());
        assert!(written_ms.contains(&finished.largest_timestamp_ms()));
    });
}

#[test]
fn a_segment_that_cannot_be_read_goes_by_size_with_the_others() {
    run(|node| async move {
        let (store, log) = node.open_log(None).await;
        node.append(&log, 8, None).await;
        store.close().await.unwrap();
        // Without its index it is looked through; its second batch is none.
        let path = Path::new(FOLDER).join(segment(0));
        node.disk.remove_file(Path::new(FOLDER).join(segment(0).replace("log", "timeindex"))).await.unwrap();
        let second = node.device.read_visible(&path).unwrap().len() as u64 / 2;
        node.device.corrupt(&path, second + 16);
        let (store, log) = node.open_log(Some(7000)).await;
        assert!(matches!(log.inner.ensure_indexes(Offset(0)).await, Err(StorageError::Corrupt(_))));
        log.set_high_watermark(Offset(8));
        store.run_retention().await;
        assert_eq!(bases(&log), [4, 6]);
    });
}

#[test]
fn a_length_beyond_the_segment_is_damage_at_once() {
    run(|node| async move {
        let (store, log) = node.open_log(None).await;
        node.append(&log, 4, None).await;
        store.close().await.unwrap();
        // The highest byte of the second batch's length.
        let path = Path::new(FOLDER).join(segment(0));
        let second = node.device.read_visible(&path).unwrap().len() as u64 / 2;
        node.device.corrupt(&path, second + 9);
        let (_store, log) = node.open_log(None).await;
        let read = log.read(Offset(1), Offset(4), 1 << 20, true).await;
        assert!(matches!(read, Err(ReadError::Corrupt { .. } | ReadError::Storage(_))), "{read:?}");
        assert!(log.read(Offset(2), Offset(4), 1 << 20, true).await.is_ok());
    });
}

/// What making a log does where another's data lies: of `identity`, in a folder that was copied in.
fn check_copied_in(identity: Option<[u8; 16]>, expect: impl Fn(Result<Log, StorageError>) + 'static) {
    run(|node| async move {
        let store = node.open(vec![]).await.unwrap();
        node.disk.create_dir_all(FOLDER).await.unwrap();
        node.write(&segment(0), &[1; 9000]).await;
        node.write(&segment(2), &[2; 9000]).await;
        if let Some(topic_id) = identity {
            let text = crate::checkpoint::PartitionMetadata { topic_id }.render();
            node.write(PARTITION_METADATA, text.as_bytes()).await;
        }
        expect(store.create_log(spec(TOPIC_ID, None)).await);
        let mut kept = Vec::new();
        for folder in node.disk.list(DATA_DIR).await.unwrap() {
            if folder.is_dir && folder.name.starts_with("t") {
                for entry in node.disk.list(Path::new(DATA_DIR).join(&folder.name)).await.unwrap() {
                    kept.push((entry.name, entry.len_bytes));
                }
            }
        }
        for base in [0, 2] {
            assert!(kept.contains(&(segment(base), 9000)), "{kept:?}");
        }
    });
}

#[test]
fn a_log_is_not_made_over_data_without_an_identity() {
    check_copied_in(None, |made| {
        let Err(StorageError::Foreign(what)) = made.map(|_| ()) else { panic!("made over foreign data") };
        assert!(what.contains(FOLDER), "{what}");
    });
}

#[test]
fn a_folder_of_another_topic_is_set_aside_whole() {
    check_copied_in(Some([3; 16]), |made| assert_eq!(made.unwrap().offsets().end, Offset::ZERO));
}

#[test]
fn what_a_crash_left_of_a_logs_own_first_appends_is_cut() {
    run(|node| async move {
        let store = node.open(vec![]).await.unwrap();
        node.disk.create_dir_all(FOLDER).await.unwrap();
        let text = crate::checkpoint::PartitionMetadata { topic_id: TOPIC_ID }.render();
        node.write(PARTITION_METADATA, text.as_bytes()).await;
        node.write(&segment(0), &[1; 9000]).await;
        let log = store.create_log(spec(TOPIC_ID, None)).await.unwrap();
        assert_eq!(log.offsets().end, Offset::ZERO);
        node.append(&log, 1, None).await;
        let file = node.disk.open(Path::new(FOLDER).join(segment(0)), OpenMode::Read).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 0);
    });
}

#[test]
fn a_read_under_way_while_the_log_is_cut_keeps_nothing_of_what_is_gone() {
    for seed in 0..100 {
        run_seed(seed, |node| async move {
            let (store, log) = node.open_log(None).await;
            node.append(&log, 2, None).await;
            store.close().await.unwrap();
            // Nothing is in memory.
            let (store, log) = node.open_log(None).await;
            let key = ReadKey { log: log.inner.id, segment: Offset(0) };
            let cut_to =
                node.device.read_visible(Path::new(FOLDER).join(segment(0))).unwrap().len() as u64 / 2;
            node.device.set_plan(FaultPlan { read_us: 20..=20_000, ..FaultPlan::default() });
            let reading = log.clone();
            let reader = async move {
                while reading.inner.state.borrow().truncations == 0 {
                    reading.inner.shared.forget_reads(key.log);
                    let _ = reading.read(Offset(0), Offset(1), 1, true).await;
                }
            };
            node.rt.spawn(hayate_rt::Queue::Foreground, reader).detach();
            log.truncate_to(LeaderEpoch(1), Offset(1)).await.unwrap();
            node.rt.sleep(Duration::from_millis(100)).await;
            let kept = store.shared.kept_read(key, cut_to);
            assert!(
                kept.is_none(),
                "seed {seed} keeps {} bytes that were cut",
                kept.map_or(0, |kept| kept.len())
            );
        });
    }
}
