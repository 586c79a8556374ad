//! A simulated broker's folder is left to Kafka and taken over again: nothing is lost, and a crash at any moment leaves the folder with one
//! of the two, whole. (What Kafka itself says to such a folder is the suite `kafkadata`'s.)

use hayate_engine::broker::StartError;
use hayate_engine::broker::kafka::{KafkaQuorum, Owner, leave, owner, take_over};
use hayate_rt::{Queue, Rt};
use hayate_storage::disk::Disk;
use hayate_tests::broker_sim::{BROKER, Bench, Client, HOUR, Topic, values};
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

/// All files with their sizes, but for checkpoints of ours, which opening the metadata writes anew.
async fn files(bench: &Bench) -> Vec<(String, u64)> {
    let disk = disk(bench);
    let mut files = Vec::new();
    for entry in disk.list(DATA_DIR).await.unwrap() {
        if entry.is_dir {
            let inner = disk.list(Path::new(DATA_DIR).join(&entry.name)).await.unwrap();
            files.extend(
                inner.into_iter().map(|file| (format!("{}/{}", entry.name, file.name), file.len_bytes)),
            );
        } else {
            files.push((entry.name, entry.len_bytes));
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
        try_leave(&bench, true).await.unwrap();
        assert_eq!(whose(&bench).await, Owner::Hayate);
        leave_to_kafka(&bench).await;
        let before = files(&bench).await;
        assert!(before.iter().all(|(name, _)| !name.starts_with("hayate.")), "{before:?}");
        let taken = take_over(&rt(&bench), &disk(&bench), &bench.options, true).await.unwrap();
        assert!(taken.done.iter().any(|line| line.contains("1 topics with 2 partitions")), "{taken:?}");
        assert_eq!((taken.warnings, files(&bench).await), (vec![], before));
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
