//! The metadata of a simulated broker lives in snapshots: the same after any end of the process, its log begins behind
//! them, and what is damaged is named and kept.

use super::{check_with, producer_id};
use hayate_engine::broker::{BrokerOptions, RunningShard};
use hayate_engine::metadata::image::MetadataImage;
use hayate_engine::metadata::snapshot::file::SnapshotId;
use hayate_rt::{Queue, Rt};
use hayate_storage::disk::Disk;
use hayate_tests::broker_sim::{BROKER, Bench, CLIENT, Client, checked, name};
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const FOLDER: &str = "/data/__cluster_metadata-0";
const START: &str = "/data/hayate.quorum.start";

/// A snapshot after every change, and segments that go.
fn often(options: &mut BrokerOptions) {
    options.metadata_snapshot_bytes = 1;
    options.metadata_segment_bytes = 4 << 10;
}

fn image(running: &[RunningShard]) -> MetadataImage {
    (*running[0].shard.view().image).clone()
}

/// What another incarnation of the broker does not change, leader epochs apart.
fn lasting(image: &MetadataImage) -> impl PartialEq + std::fmt::Debug + use<> {
    let topics: BTreeMap<_, _> =
        image.topics().map(|topic| (topic.name.to_string(), (topic.id, topic.partitions.len()))).collect();
    let configs: Vec<_> =
        image.configs().map(|(resource, values)| (resource.clone(), values.clone())).collect();
    let features: Vec<_> = image.features().map(|(name, level)| (name.to_owned(), level)).collect();
    (topics, configs, features, image.next_producer_id())
}

fn leader_epochs(image: &MetadataImage) -> Vec<i32> {
    let partitions = image.topics().flat_map(|topic| topic.partitions.values());
    partitions.map(|partition| partition.leader_epoch.0).collect()
}

/// Lets snapshots that are due be taken.
async fn rest(bench: &Bench) {
    Rt::sim(bench.sim.node(CLIENT)).sleep(Duration::from_millis(200)).await;
}

/// The broker's disk, as its present incarnation sees it.
fn disk(bench: &Bench) -> Disk {
    Disk::sim(&bench.disk, &Rt::sim(bench.sim.node(BROKER)))
}

/// The files of the metadata's log that end so.
async fn files(bench: &Bench, ending: &str) -> Vec<String> {
    let entries = disk(bench).list(FOLDER).await.unwrap();
    entries.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(ending)).collect()
}

async fn create(client: &mut Client, topic: &str, retention_ms: &str) {
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("retention.ms"))
        .with_value(Some(StrBytes::from_string(retention_ms.to_owned())));
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(2)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let response = client.ask(7, &CreateTopicsRequest::default().with_topics(vec![topic])).await;
    assert_eq!(checked(response.topics[0].error_code), Ok(()));
}

/// Creates topics with configurations, deletes some of them, takes producer ids.
async fn change(bench: &Bench, round: usize) {
    let mut client = bench.client().await;
    for number in 0..6 {
        create(&mut client, &format!("t-{round}-{number}"), &format!("{}", 1000 + number)).await;
    }
    for number in 0..4 {
        client.delete_topic(&format!("t-{round}-{number}")).await;
    }
    producer_id(&mut client).await;
}

#[test]
fn metadata_is_the_same_after_any_end_and_its_log_begins_behind_a_snapshot() {
    check_with(
        2,
        |_| (),
        |mut bench| async move {
            let mut known: Option<(MetadataImage, bool)> = None;
            for round in 0..7 {
                // The first runs are those of a broker that takes none.
                if round == 2 {
                    often(Arc::make_mut(&mut bench.options));
                }
                let running = bench.start().await;
                if let Some((before, clean)) = known {
                    let now = image(&running);
                    assert_eq!(lasting(&now), lasting(&before), "round {round}");
                    let raised = |epoch| if clean { epoch } else { epoch + 1 };
                    let expected: Vec<i32> = leader_epochs(&before).into_iter().map(raised).collect();
                    assert_eq!(leader_epochs(&now), expected, "round {round}, clean: {clean}");
                }
                change(&bench, round).await;
                rest(&bench).await;
                let clean = round % 3 == 0;
                known = Some((image(&running), clean));
                match round % 3 {
                    0 => {
                        bench.stop(running).await;
                        bench.crash();
                    }
                    1 => bench.kill(),
                    _ => bench.crash(),
                }
            }
            let (segments, snapshots) = (files(&bench, ".log").await, files(&bench, ".checkpoint").await);
            assert!(segments[0] > format!("{:020}.log", 100), "the first segments are gone: {segments:?}");
            let at = known.map(|(image, _)| image.position()).unwrap();
            assert_eq!(snapshots, [SnapshotId::of(at).to_string()]);
        },
    );
}

#[test]
fn a_crash_at_any_moment_of_a_snapshot_loses_nothing() {
    check_with(2, often, |bench| async move {
        let rt = Rt::sim(bench.sim.node(CLIENT));
        for round in 0..12 {
            let running = bench.start().await;
            let mut client = bench.client().await;
            let mut names: Vec<String> = image(&running).topics().map(|t| t.name.to_string()).collect();
            names.sort_unstable();
            let acknowledged: Vec<_> = (0..round).map(|round| format!("sure-{round:03}")).collect();
            let missing: Vec<_> = acknowledged.iter().filter(|name| !names.contains(name)).collect();
            assert!(missing.is_empty(), "{missing:?} of {names:?}");
            create(&mut client, &format!("sure-{round:03}"), "5").await;
            let busy = rt.spawn(Queue::Foreground, async move {
                for number in 0.. {
                    create(&mut client, &format!("maybe-{round}-{number}"), "7").await;
                    client.delete_topic(&format!("maybe-{round}-{number}")).await;
                }
            });
            rt.sleep(Duration::from_micros(rt.random_below(40_000))).await;
            drop(busy);
            if round % 2 == 0 { bench.crash() } else { bench.kill() }
        }
        assert!(bench.sim.counts().contains_key("metadata snapshot"));
    });
}

#[test]
fn time_alone_makes_a_snapshot_due_if_there_is_anything_new() {
    let hourly = |options: &mut BrokerOptions| {
        options.metadata_snapshot_every = Some(Duration::from_secs(60));
    };
    check_with(1, hourly, |bench| async move {
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let taken = || bench.sim.counts().get("metadata snapshot").copied().unwrap_or(0);
        let _running = bench.start().await;
        rt.sleep(Duration::from_secs(50)).await;
        assert_eq!(taken(), 0);
        rt.sleep(Duration::from_secs(20)).await;
        assert_eq!(taken(), 1, "the start itself was something new");
        rt.sleep(Duration::from_secs(600)).await;
        assert_eq!(taken(), 1, "nothing new");
        bench.client().await.create_topic("new", 1).await;
        rt.sleep(Duration::from_secs(1)).await;
        assert_eq!(taken(), 2, "it was due long ago");
    });
}

/// What the start is refused with.
async fn refused(bench: &Bench) -> String {
    let words = match bench.try_start().await {
        Ok(_) => panic!("the broker starts"),
        Err(error) => error.to_string(),
    };
    bench.kill();
    words
}

#[test]
fn what_a_start_needs_and_does_not_find_is_named_and_kept() {
    check_with(1, often, |bench| async move {
        let running = bench.start().await;
        change(&bench, 0).await;
        rest(&bench).await;
        bench.stop(running).await;
        bench.crash();
        let snapshot = format!("{FOLDER}/{}", files(&bench, ".checkpoint").await[0]);
        let kept = files(&bench, "").await;
        for path in [snapshot.as_str(), START] {
            let sound = disk(&bench).read_small(path, 1 << 20).await.unwrap().unwrap();
            let mut damaged = sound.clone();
            damaged[sound.len() / 2] ^= 1;
            for bytes in [&damaged[..], &sound[..sound.len() - 1], &[]] {
                disk(&bench).replace_small(path, bytes).await.unwrap();
                let words = refused(&bench).await;
                assert!(words.contains(path), "{words}");
            }
            disk(&bench).remove_file(path).await.unwrap();
            let words = refused(&bench).await;
            assert!(words.contains(path), "{words}");
            disk(&bench).replace_small(path, &sound).await.unwrap();
        }
        let left = files(&bench, "").await;
        assert!(kept.iter().all(|name| left.contains(name)), "{kept:?}, {left:?}");
        let running = bench.start().await;
        assert_eq!(image(&running).topic_count(), 2);
    });
}

#[test]
fn snapshots_that_do_not_count_are_ignored_and_go_later() {
    check_with(1, often, |bench| async move {
        let running = bench.start().await;
        change(&bench, 0).await;
        rest(&bench).await;
        bench.stop(running).await;
        bench.crash();
        for name in [
            "00000000000000000000-0000000000.checkpoint",
            "00000000000000009999-0000000009.checkpoint",
            "00000000000000000007-0000000001.checkpoint.tmp",
            "notes.checkpoint",
        ] {
            disk(&bench).replace_small(format!("{FOLDER}/{name}"), b"x").await.unwrap();
        }
        let running = bench.start().await;
        assert_eq!(image(&running).topic_count(), 2);
        rest(&bench).await;
        let of_image = SnapshotId::of(image(&running).position()).to_string();
        assert_eq!(files(&bench, ".checkpoint").await, [of_image, "notes.checkpoint".to_owned()]);
        assert_eq!(files(&bench, ".tmp").await, [""; 0]);
    });
}
