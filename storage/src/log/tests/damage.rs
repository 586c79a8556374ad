//! A log that recovery found damaged: offline from then on, every byte of it kept, and nobody else kept from anything.

use super::*;
use crate::disk::BLOCK_BYTES;
use crate::error::AppendError;
use crate::names::LEADER_EPOCH_CHECKPOINT;
use crate::recovery::DAMAGE_MARK;
use crate::wal::format::{FRAME_HEADER_BYTES, GROUP_HEADER_BYTES, GroupHeader};
use crate::wal::{WAL_FOLDER, shard_folder};
use std::collections::BTreeMap;
use std::path::PathBuf;

const SOUND_FOLDER: &str = "/data/sound-0";

fn sound_spec() -> LogSpec {
    LogSpec { partition: TopicPartition::new("sound", 0).unwrap(), topic_id: [8; 16], ..spec(TOPIC_ID, None) }
}

/// Every file of a folder, as a process sees it and as a crash would leave it.
type Files = BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)>;

impl Node {
    async fn files_of(&self, folder: impl AsRef<Path>) -> Files {
        let mut files = Files::new();
        for entry in self.disk.list(folder.as_ref()).await.unwrap() {
            let path = folder.as_ref().join(&entry.name);
            let visible = self.device.read_visible(&path).unwrap();
            assert_eq!(visible.len() as u64, entry.len_bytes);
            files.insert(entry.name, (visible, self.device.read_durable(&path)));
        }
        files
    }

    /// The process dies; what comes is another one on the same disk.
    fn die(&mut self) {
        self.sim.crash(NODE);
        self.device.kill();
        self.rt = Rt::sim(self.sim.node(NODE));
        self.disk = Disk::sim(&self.device, &self.rt);
    }

    async fn recover(&self) -> crate::recovery::RecoveryReport {
        recover(&self.rt, &self.disk, Path::new(DATA_DIR), &mut |_| {}).await.unwrap()
    }

    /// The store of both logs as recovery left them.
    async fn open_recovered(&self) -> (Store, Log, Log) {
        let config = StoreConfig::new(DATA_DIR, 0);
        let specs = vec![spec(TOPIC_ID, Some(0)), sound_spec()];
        let store = Store::open(self.rt.clone(), self.disk.clone(), config, specs).await.unwrap();
        crate::recovery::acted_on(&self.disk, Path::new(DATA_DIR)).await.unwrap();
        let log = |spec: LogSpec| store.log(&spec.partition).unwrap();
        let (damaged, sound) = (log(spec(TOPIC_ID, None)), log(sound_spec()));
        (store, damaged, sound)
    }

    /// Damages the last group but `behind` of the WAL, in the bytes of its first batch.
    async fn damage_group(&self, behind: usize) {
        let folder = PathBuf::from(DATA_DIR).join(WAL_FOLDER).join(shard_folder(0));
        let mut groups = Vec::new();
        for entry in self.disk.list(&folder).await.unwrap() {
            let path = folder.join(&entry.name);
            let bytes = self.device.read_visible(&path).unwrap();
            for (number, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
                if let Ok(header) = GroupHeader::decode(block) {
                    groups.push((header.lsn, path.clone(), number * BLOCK_BYTES));
                }
            }
        }
        groups.sort();
        let (_, path, at) = &groups[groups.len() - 1 - behind];
        self.device.corrupt(path, (at + GROUP_HEADER_BYTES + FRAME_HEADER_BYTES + 100) as u64);
    }

    /// Both logs with segments of an earlier run, then appends; the damaged one has files behind the end that the checkpoint names.
    async fn live_and_die(&mut self) {
        self.recover().await;
        let (store, log, sound) = self.open_recovered().await;
        self.append(&log, 5, Some(0)).await;
        self.append(&sound, 5, None).await;
        // All of it could expire.
        log.set_high_watermark(Offset(5));
        store.close().await.unwrap();
        self.recover().await;
        let (_store, log, sound) = self.open_recovered().await;
        self.append(&sound, 2, None).await;
        self.append(&log, 4, Some(5)).await;
        log.inner.account().await.unwrap();
        self.append(&log, 2, Some(9)).await;
        self.damage_group(1).await;
        self.die();
    }

    /// A folder of the log with these files, durably.
    async fn lay(&self, files: &[(&str, &[u8])]) {
        self.disk.create_dir_all(FOLDER).await.unwrap();
        for (name, bytes) in files {
            self.write(name, bytes).await;
        }
        self.disk.sync_dir(FOLDER).await.unwrap();
    }
}

/// Everything that one may ask of a damaged log is refused, with the reason.
async fn check_offline(node: &Node, log: &Log, reason: &str) {
    let failure = log.failure().expect("it is offline");
    assert!(matches!(&failure, StorageError::Corrupt(what) if what.contains(reason)), "{failure}");
    let batch = BatchBuilder::new().record(node.rt.wall_ms(), None, Some(b"x")).build();
    let valid = validate(&batch, &ProduceRules::default(), node.rt.wall_ms()).unwrap();
    let appended = log.append(&batch, &valid, LeaderEpoch(1)).map(|_| ());
    assert!(matches!(appended, Err(AppendError::Storage(StorageError::Corrupt(_)))), "{appended:?}");
    let read = log.read(Offset(0), Offset(1), 1 << 20, true).await.map(|_| ());
    assert!(matches!(read, Err(ReadError::Storage(StorageError::Corrupt(_)))), "{read:?}");
    for outcome in [
        log.begin_epoch(LeaderEpoch(9)).await,
        log.truncate_to(LeaderEpoch(0), Offset(0)).await.map(drop),
        log.advance_start(Offset(1)).await,
    ] {
        assert!(matches!(outcome, Err(StorageError::Corrupt(_))), "{outcome:?}");
    }
}

#[test]
fn no_byte_of_a_damaged_log_changes_and_the_others_stop_cleanly() {
    run(|mut node| async move {
        node.live_and_die().await;
        let before = node.files_of(FOLDER).await;
        assert!(before.keys().filter(|name| name.ends_with(".log")).count() > 3, "{:?}", before.keys());
        let report = node.recover().await;
        assert_eq!(
            report.damaged.keys().cloned().collect::<Vec<_>>(),
            [TopicPartition::new("t", 0).unwrap()]
        );
        let mut marked = node.files_of(FOLDER).await;
        let kept = marked.clone();
        let mark = marked.remove(DAMAGE_MARK).expect("it is marked");
        assert_eq!(
            (mark.1.as_ref(), &marked),
            (Some(&mark.0), &before),
            "the mark, durably, and nothing else"
        );
        for appended in [7, 8, 9] {
            let (store, damaged, sound) = node.open_recovered().await;
            check_offline(&node, &damaged, "write-ahead log").await;
            assert_eq!(sound.offsets().end, Offset(appended));
            node.append(&sound, 1, None).await;
            let segments = bases(&damaged);
            for _ in 0..3 {
                node.rt.sleep(Duration::from_secs(300)).await;
                store.run_retention().await;
            }
            assert_eq!(bases(&damaged), segments, "also in memory");
            store.close().await.expect("the others stop cleanly");
            assert_eq!(node.files_of(FOLDER).await, kept);
            assert!(node.recover().await.clean);
            assert_eq!(node.files_of(FOLDER).await, kept);
        }
        assert!(node.files_of(SOUND_FOLDER).await.keys().all(|name| name != DAMAGE_MARK));
    });
}

#[test]
fn a_damaged_log_that_no_checkpoint_names_is_kept_too() {
    run(|node| async move {
        let identity = crate::checkpoint::PartitionMetadata { topic_id: TOPIC_ID }.render();
        let store = node.open(vec![sound_spec()]).await.unwrap();
        node.lay(&[
            (PARTITION_METADATA, identity.as_bytes()),
            (DAMAGE_MARK, b"a reason"),
            (&segment(0), &[1; 9000]),
            (&segment(2), &[2; 9000]),
            (&segment(0).replace("log", "index"), &[3; 24]),
            (&segment(7).replace("log", "snapshot"), &[4; 24]),
        ])
        .await;
        let kept = node.files_of(FOLDER).await;
        let log = store.create_log(spec(TOPIC_ID, Some(0))).await.unwrap();
        check_offline(&node, &log, "a reason").await;
        store.run_retention().await;
        store.close().await.unwrap();
        assert_eq!(node.files_of(FOLDER).await, kept);
        let (store, log, _) = node.open_recovered().await;
        check_offline(&node, &log, "a reason").await;
        store.close().await.unwrap();
        assert_eq!(node.files_of(FOLDER).await, kept);
    });
}

#[test]
fn what_else_is_wrong_with_a_damaged_log_keeps_nobody_from_starting() {
    run(|mut node| async move {
        node.live_and_die().await;
        node.recover().await;
        node.write(LEADER_EPOCH_CHECKPOINT, b"no epochs").await;
        // A segment shorter than the checkpoint says, and one that is gone.
        node.write(&segment(4), b"").await;
        node.disk.remove_file(Path::new(FOLDER).join(segment(0))).await.unwrap();
        let kept = node.files_of(FOLDER).await;
        let (store, damaged, sound) = node.open_recovered().await;
        check_offline(&node, &damaged, "write-ahead log").await;
        node.append(&sound, 1, None).await;
        store.close().await.unwrap();
        assert_eq!(node.files_of(FOLDER).await, kept);
    });
}

#[test]
fn another_topics_mark_says_nothing_of_a_new_log() {
    run(|node| async move {
        let store = node.open(vec![]).await.unwrap();
        let identity = crate::checkpoint::PartitionMetadata { topic_id: [3; 16] }.render();
        node.lay(&[(PARTITION_METADATA, identity.as_bytes()), (DAMAGE_MARK, b"its reason")]).await;
        let log = store.create_log(spec(TOPIC_ID, None)).await.unwrap();
        assert!(log.failure().is_none(), "{:?}", log.failure());
        node.append(&log, 1, None).await;
        assert!(!node.files_of(FOLDER).await.contains_key(DAMAGE_MARK));
        let folders = node.disk.list(DATA_DIR).await.unwrap();
        let aside = folders.iter().find(|entry| entry.name.contains("-stray")).expect("set aside");
        let aside = node.files_of(Path::new(DATA_DIR).join(&aside.name)).await;
        assert_eq!(aside[DAMAGE_MARK].0, b"its reason");
    });
}

#[test]
fn a_log_that_fails_with_records_in_the_wal_keeps_the_wal() {
    run(|mut node| async move {
        let (store, log) = node.open_log(None).await;
        node.append(&log, 3, None).await;
        log.inner.fail(&StorageError::Corrupt("a read found damage".to_owned()));
        assert!(matches!(store.close().await, Err(StorageError::Corrupt(_))));
        drop((store, log));
        node.die();
        let (_store, log) = node.open_log(None).await;
        assert_eq!(log.offsets().end, Offset(3), "acknowledged is acknowledged");
    });
}
