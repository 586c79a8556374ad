//! A simulated broker's folder is left to Kafka and taken over again: nothing is lost, and a crash at any moment leaves the folder with one
//! of the two, whole. (What Kafka itself says to such a folder is the suite `kafkadata`'s.)

use hayate_engine::broker::StartError;
use hayate_engine::broker::kafka::{KafkaQuorum, Owner, leave, owner, take_over};
use hayate_engine::metadata::records::{FeatureLevelRecord, MetadataRecord};
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::control::{snapshot_footer_batch, snapshot_header_batch};
use hayate_storage::batch::{BatchBuilder, LeaderEpoch, Offset};
use hayate_storage::disk::Disk;
use hayate_tests::broker_sim::{BROKER, Bench, Client, HOUR, Topic, values};
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::check;

const DATA_DIR: &str = "/data";
const QUORUM_STATE: &str = "/data/__cluster_metadata-0/quorum-state";
/// Longer than leaving, taking over or starting takes on the simulated disk.
const WORK_US_MAX: u64 = 60_000;

fn rt(bench: &Bench) -> Rt {
    Rt::sim(bench.sim.node(BROKER))
}

fn disk(bench: &Bench) -> Disk {
    Disk::sim(&bench.disk, &rt(bench))
}

async fn whose(bench: &Bench) -> Owner {
    owner(&disk(bench), Path::new(DATA_DIR)).await.unwrap()
}

fn quorum() -> KafkaQuorum {
    KafkaQuorum::InLog("CONTROLLER".to_owned(), "localhost".to_owned(), 9093)
}

async fn try_leave(bench: &Bench, dry_run: bool) -> Result<(), StartError> {
    leave(&rt(bench), &disk(bench), &bench.options, &quorum(), dry_run).await.map(|_| ())
}

/// Leaves the folder to Kafka, as a person does who is told to start and stop the broker first.
async fn leave_to_kafka(bench: &Bench) {
    if try_leave(bench, false).await.is_err() {
        let running = bench.start().await;
        bench.stop(running).await;
        try_leave(bench, false).await.unwrap();
    }
    assert_eq!(whose(bench).await, Owner::Kafka);
}

/// Runs `work` on the broker's machine, which loses power at some moment of it or shortly after.
async fn interrupt<F: Future<Output = ()> + 'static>(bench: &Bench, work: F) {
    rt(bench).spawn(Queue::Foreground, work).detach();
    bench.sim.sleep(Duration::from_micros(bench.sim.random_below(WORK_US_MAX))).await;
    bench.crash();
}

/// What was written so far is there, and as much again is written.
async fn go_on(client: &mut Client, topic: &Topic, written: &mut i64) {
    for partition in 0..2 {
        let expected: Vec<_> = (0..*written).map(|number| number.to_string()).collect();
        let fetched = client.fetch(topic, &[(partition, 0)], 1, 0).await;
        assert_eq!(values(&fetched, partition), expected);
        for number in *written..*written + 5 {
            assert_eq!(client.produce(topic, partition, &[&number.to_string()]).await, Ok(number));
        }
    }
    *written += 5;
}

#[test]
fn a_folder_goes_to_kafka_and_back_through_crashes_at_any_moment() {
    let mut owners = (0, 0);
    for seed in 0..60 {
        let bench = Bench::new(seed, 2, |_| ());
        let sim = bench.sim.clone();
        let counted = std::rc::Rc::new(std::cell::Cell::new((0, 0)));
        let counts = counted.clone();
        let life = async move {
            let (mut topic, mut written) = (None, 0);
            for _ in 0..3 {
                let running = bench.start().await;
                let mut client = bench.client().await;
                let topic = match &topic {
                    Some(topic) => topic,
                    None => topic.insert(client.create_topic("kept", 2).await),
                };
                go_on(&mut client, topic, &mut written).await;
                bench.stop(running).await;
                let leaving = bench.clone();
                interrupt(&bench, async move { drop(try_leave(&leaving, false).await) }).await;
                let (kafkas, ours) = counts.get();
                counts.set(match whose(&bench).await {
                    Owner::Kafka => (kafkas + 1, ours),
                    Owner::Hayate => (kafkas, ours + 1),
                    Owner::Nobody => panic!("the folder is nobody's"),
                });
                leave_to_kafka(&bench).await;
                let taking = bench.clone();
                let take = async move {
                    drop(take_over(&rt(&taking), &disk(&taking), &taking.options, false).await);
                };
                interrupt(&bench, take).await;
                let starting = bench.clone();
                interrupt(&bench, async move { drop(starting.try_start().await) }).await;
            }
        };
        assert_eq!(sim.run(HOUR, life), Ok(()), "seed {seed}");
        owners = (owners.0 + counted.get().0, owners.1 + counted.get().1);
    }
    assert!(owners.0 > 10 && owners.1 > 10, "crashes before and after the step that decides: {owners:?}");
}

/// All files with their bytes.
async fn files(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let disk = disk(bench);
    let mut files = BTreeMap::new();
    let mut folders = vec![Path::new(DATA_DIR).to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in disk.list(&folder).await.unwrap() {
            let path = folder.join(&entry.name);
            if entry.is_dir {
                folders.push(path);
            } else {
                let bytes = disk.read_small(&path, 1 << 30).await.unwrap().unwrap();
                files.insert(path.display().to_string(), bytes);
            }
        }
    }
    files
}

#[test]
fn a_dry_run_changes_nothing() {
    check(1, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("kept", 2).await;
        go_on(&mut client, &topic, &mut 0).await;
        bench.stop(running).await;
        let ours = files(&bench).await;
        assert!(ours.keys().any(|name| name.starts_with("/data/hayate.checkpoint")), "{:?}", ours.keys());
        // With nothing that could be written, too.
        bench.disk.set_capacity(Some(0));
        try_leave(&bench, true).await.unwrap();
        bench.disk.set_capacity(None);
        assert_eq!(whose(&bench).await, Owner::Hayate);
        assert!(files(&bench).await == ours, "leaving, as a dry run, has changed a file");
        leave_to_kafka(&bench).await;
        let kafkas = files(&bench).await;
        assert!(kafkas.keys().all(|name| !name.starts_with("/data/hayate.")), "{:?}", kafkas.keys());
        let taken = take_over(&rt(&bench), &disk(&bench), &bench.options, true).await.unwrap();
        assert!(taken.done.iter().any(|line| line.contains("1 topics with 2 partitions")), "{taken:?}");
        assert_eq!(taken.warnings, Vec::<String>::new());
        assert!(files(&bench).await == kafkas, "taking over, as a dry run, has changed a file");
    });
}

#[test]
fn a_folder_that_lost_the_end_of_its_metadata_is_not_left() {
    check(1, |bench| async move {
        let running = bench.start().await;
        bench.client().await.create_topic("kept", 2).await;
        bench.stop(running).await;
        let log = Path::new("/data/__cluster_metadata-0/00000000000000000000.log");
        let mut bytes = disk(&bench).read_small(log, 1 << 20).await.unwrap().unwrap();
        bytes.pop();
        disk(&bench).replace_small(log, &bytes).await.unwrap();
        let error = try_leave(&bench, false).await.unwrap_err().to_string();
        assert!(error.contains("restore the folder"), "{error}");
        assert_eq!(whose(&bench).await, Owner::Hayate);
    });
}

/// What Kafka 4.2's `kafka-storage.sh format --release-version 4.0` writes, but for the time.
fn formatted(levels: &[(&str, i16)]) -> Vec<u8> {
    let feature =
        |(name, level): &(&str, i16)| FeatureLevelRecord { name: (*name).to_owned(), feature_level: *level };
    let batch = BatchBuilder::new().base_offset(Offset(1)).leader_epoch(LeaderEpoch(0));
    let values = levels.iter().map(|level| MetadataRecord::from(feature(level)).encode().unwrap());
    let batch = values.fold(batch, |batch, value| batch.record(1, None, Some(&value))).build();
    let footer = snapshot_footer_batch(Offset(1 + levels.len() as i64), LeaderEpoch(0), 1);
    [snapshot_header_batch(LeaderEpoch(0), 1, 0, &[]), batch, footer].concat()
}

#[test]
fn a_folder_that_was_formatted_for_kafka_begins_with_what_that_says() {
    check(1, |bench| async move {
        let file = Path::new(DATA_DIR).join("bootstrap.checkpoint");
        disk(&bench).create_dir_all(DATA_DIR).await.unwrap();
        disk(&bench).replace_small(&file, &formatted(&[("metadata.version", 30)])).await.unwrap();
        let error = bench.try_start().await.err().expect("refused").to_string();
        assert!(error.contains("level 30") && error.contains("bootstrap.checkpoint"), "{error}");
        bench.kill();
        let levels = [("metadata.version", 25), ("group.version", 1), ("transaction.version", 2)];
        disk(&bench).replace_small(&file, &formatted(&levels)).await.unwrap();
        let running = bench.start().await;
        let software = StrBytes::from_static_str("test");
        let request = ApiVersionsRequest::default().with_client_software_name(software.clone());
        let answer = bench.client().await.ask(3, &request.with_client_software_version(software)).await;
        let finalized = answer.finalized_features.iter().map(|f| (f.name.as_str(), f.max_version_level));
        assert_eq!(finalized.collect::<BTreeSet<_>>(), BTreeSet::from(levels));
        bench.stop(running).await;
    });
}

#[test]
fn a_kafka_that_could_open_no_log_here_changes_nothing() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("kept", 2).await;
        let mut written = 0;
        go_on(&mut client, &topic, &mut written).await;
        bench.stop(running).await;
        // What it writes before it gives up.
        disk(&bench).replace_small(QUORUM_STATE, b"{}").await.unwrap();
        assert_eq!(whose(&bench).await, Owner::Hayate);
        let running = bench.start().await;
        assert!(!disk(&bench).exists(QUORUM_STATE).await.unwrap());
        go_on(&mut bench.client().await, &topic, &mut written).await;
        bench.stop(running).await;
    });
}

#[test]
fn partitions_without_their_metadata_are_refused_and_kept() {
    check(1, |bench| async move {
        let folder = Path::new(DATA_DIR).join("orders-0");
        disk(&bench).create_dir_all(&folder).await.unwrap();
        let error = bench.try_start().await.err().expect("refused").to_string();
        assert!(error.contains("orders-0") && error.contains("metadata.log.dir"), "{error}");
        assert!(disk(&bench).exists(&folder).await.unwrap());
    });
}
