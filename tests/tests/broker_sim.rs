//! A whole simulated broker, asked and disturbed in every way that one test can hold; and many at random.

#[path = "broker_sim/admin.rs"]
mod admin;
#[path = "broker_sim/cluster.rs"]
mod cluster;
#[path = "broker_sim/configs.rs"]
mod configs;
#[path = "broker_sim/exactly_once.rs"]
mod exactly_once;
#[path = "broker_sim/groups.rs"]
mod groups;
#[path = "broker_sim/handover.rs"]
mod handover;
#[path = "broker_sim/hostile.rs"]
mod hostile;
#[path = "broker_sim/limits.rs"]
mod limits;
#[path = "broker_sim/loggers.rs"]
mod loggers;
#[path = "broker_sim/replicas.rs"]
mod replicas;
#[path = "broker_sim/requests.rs"]
mod requests;
#[path = "broker_sim/shares.rs"]
mod shares;
#[path = "broker_sim/slow.rs"]
mod slow;
#[path = "broker_sim/snapshots.rs"]
mod snapshots;
#[path = "broker_sim/telemetry.rs"]
mod telemetry;
#[path = "broker_sim/topic_metrics.rs"]
mod topic_metrics;
#[path = "broker_sim/transactions.rs"]
mod transactions;
#[path = "broker_sim/zero_copy.rs"]
mod zero_copy;

use bytes::Bytes;
use hayate_engine::broker::BrokerOptions;
use hayate_net::error::ErrorCode;
use hayate_rt::{Queue, Rt};
use hayate_storage::disk::sim::FaultPlan;
use hayate_tests::broker_sim::{
    Bench, CLIENT, Client, HOUR, MUST_REACH, checked, records_of, run_seed, values,
};
use hayate_tests::campaign::Campaign;
use kafka_protocol::messages::InitProducerIdRequest;
use std::future::Future;
use std::time::Duration;

/// Runs `scenario` on `shards` shards under several seeds.
fn check<F: Future<Output = ()> + 'static>(shards: u16, scenario: impl Fn(Bench) -> F) {
    check_with(shards, |_| (), scenario);
}

/// As [`check`], with other options.
fn check_with<F: Future<Output = ()> + 'static>(
    shards: u16,
    adjust: fn(&mut BrokerOptions),
    scenario: impl Fn(Bench) -> F,
) {
    for seed in 0..8 {
        let bench = Bench::new(seed, shards, adjust);
        let sim = bench.sim.clone();
        let outcome = sim.run(HOUR, scenario(bench));
        assert_eq!(outcome, Ok(()), "seed {seed}");
    }
}

/// A producer id of its own.
async fn producer_id(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let response = client.ask(4, &request).await;
    assert_eq!((checked(response.error_code), response.producer_epoch), (Ok(()), 0));
    response.producer_id.0
}

/// Lives at CI size. `simulate broker FROM..TO` lives as many as one wants.
const SEEDS: u64 = 200;

#[test]
fn nothing_acknowledged_is_lost_and_nothing_seen_changes() {
    let campaign = Campaign::run(0..SEEDS, &run_seed, &|_, _| ());
    println!("{:#?}", campaign.counts);
    assert!(campaign.broken.is_empty(), "{:#?}", campaign.broken);
    let missed = campaign.missed(MUST_REACH);
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    for seed in 0..6 {
        let (first, second) = (run_seed(seed), run_seed(seed));
        assert_eq!((first.trace, first.steps), (second.trace, second.steps), "seed {seed}");
        assert_eq!(first.counts, second.counts, "seed {seed}");
    }
}

#[test]
fn what_is_produced_is_fetched_over_all_shards() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("orders", 4).await;
        for partition in 0..4 {
            for number in 0..3 {
                let value = format!("{partition}/{number}");
                assert_eq!(client.produce(&topic, partition, &[&value]).await, Ok(number));
            }
        }
        for partition in 0..4 {
            let expected: Vec<_> = (0..3).map(|number| format!("{partition}/{number}")).collect();
            let fetched = client.fetch(&topic, &[(partition, 0)], 1, 0).await;
            assert_eq!(values(&fetched, partition), expected);
            let tail = client.fetch(&topic, &[(partition, 2)], 1, 0).await;
            assert_eq!(values(&tail, partition), expected[2..]);
        }
        let all = client.fetch(&topic, &[(0, 0), (1, 0), (2, 0), (3, 0)], 1, 0).await;
        assert!((0..4).all(|partition| values(&all, partition).len() == 3));
        bench.stop(running).await;
    });
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_and_after_a_clean_stop() {
    check(2, |bench| async move {
        let mut written = 0;
        let mut topic = None;
        for round in 0..4 {
            let running = bench.start().await;
            let mut client = bench.client().await;
            let topic = match &topic {
                Some(topic) => topic,
                None => topic.insert(client.create_topic("kept", 2).await),
            };
            for partition in 0..2 {
                let expected: Vec<_> = (0..written).map(|number| number.to_string()).collect();
                let fetched = client.fetch(topic, &[(partition, 0)], 1, 0).await;
                assert_eq!(values(&fetched, partition), expected, "round {round}");
            }
            for number in written..written + 5 {
                for partition in 0..2 {
                    let offset = client.produce(topic, partition, &[&number.to_string()]).await;
                    assert_eq!(offset, Ok(number));
                }
            }
            written += 5;
            if round % 2 == 0 {
                bench.crash();
            } else {
                bench.stop(running).await;
                bench.crash();
            }
        }
    });
}

#[test]
fn a_long_poll_is_woken_by_an_append_on_another_shard() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut producer = bench.client().await;
        let topic = producer.create_topic("live", 2).await;
        let mut consumer = bench.client().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let (began, polled) = (rt.now(), topic.clone());
        let polling = rt.spawn(Queue::Foreground, async move {
            consumer.fetch(&polled, &[(0, 0), (1, 0)], 1, 60_000).await
        });
        rt.sleep(Duration::from_millis(500)).await;
        producer.produce(&topic, 1, &["late"]).await.unwrap();
        assert_eq!(values(&polling.await, 1), ["late"]);
        assert!(rt.now().since(began) < Duration::from_secs(1), "woken, not timed out");
    });
}

#[test]
fn min_bytes_are_counted_over_shards_and_the_wait_ends() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut producer = bench.client().await;
        let topic = producer.create_topic("slow", 2).await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let began = rt.now();
        let mut consumer = bench.client().await;
        let fetched = consumer.fetch(&topic, &[(0, 0), (1, 0)], 1 << 20, 700).await;
        assert!(values(&fetched, 0).is_empty());
        assert!(rt.now().since(began) >= Duration::from_millis(700), "it waited for more");
        let (began, polled) = (rt.now(), topic.clone());
        let polling = rt.spawn(Queue::Foreground, async move {
            consumer.fetch(&polled, &[(0, 0), (1, 0)], 3000, 60_000).await
        });
        for partition in [0, 1] {
            rt.sleep(Duration::from_millis(50)).await;
            producer.produce(&topic, partition, &["x".repeat(1600).as_str()]).await.unwrap();
        }
        let fetched = polling.await;
        assert_eq!(values(&fetched, 0).len() + values(&fetched, 1).len(), 2);
        assert!(rt.now().since(began) < Duration::from_secs(5), "woken when the bytes were there");
    });
}

#[test]
fn requests_of_one_connection_are_pipelined_and_answered_in_order() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("pipeline", 2).await;
        for number in 0..40 {
            client.send_produce(&topic, number % 2, &[&number.to_string()]).await;
        }
        for number in 0..40 {
            assert_eq!(client.receive_produce().await, Ok(i64::from(number / 2)), "answer {number}");
        }
        let fetched = client.fetch(&topic, &[(0, 0), (1, 0)], 1, 0).await;
        let expected = |start: usize| (start..40).step_by(2).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(values(&fetched, 0), expected(0));
        assert_eq!(values(&fetched, 1), expected(1));
    });
}

#[test]
fn topics_come_on_demand_and_go_on_request() {
    check(3, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        assert_eq!(client.metadata_of("on-demand", false).await, Err(ErrorCode::UnknownTopicOrPartition));
        let (topic, partitions) = client.metadata_of("on-demand", true).await.expect("created");
        assert_eq!(partitions, 1);
        assert_eq!(
            client.metadata_of("not/a/name", true).await.err(),
            Some(ErrorCode::InvalidTopicException)
        );
        client.produce(&topic, 0, &["x"]).await.unwrap();
        client.delete_topic("on-demand").await;
        assert_eq!(client.produce(&topic, 0, &["x"]).await, Err(ErrorCode::UnknownTopicId));
        let again = client.create_topic("on-demand", 2).await;
        assert_ne!(again.id, topic.id);
        assert_eq!(client.produce(&again, 0, &["y"]).await, Ok(0), "nothing is left of the old one");
    });
}

#[test]
fn what_is_not_spoken_closes_the_connection_and_nothing_else() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let unknown_key = [0, 0, 0, 10, 0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
        let old_produce = [0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff];
        let negative = [0xff, 0xff, 0xff, 0xff, 0, 3, 0, 1];
        let oversized = [0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 1, 0, 0, 0, 0];
        let short = [0, 0, 0, 3, 1, 2, 3];
        let hostile_count = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff];
        for frame in [&unknown_key[..], &old_produce, &negative, &oversized, &short, &hostile_count] {
            let mut client = bench.client().await;
            client.send_raw(Bytes::copy_from_slice(frame)).await;
            assert!(client.is_closed().await, "{frame:?}");
        }
        let mut client = bench.client().await;
        let topic = client.create_topic("still-here", 1).await;
        assert_eq!(client.produce(&topic, 0, &["x"]).await, Ok(0));
    });
}

#[test]
fn one_seed_gives_one_run() {
    let run = |seed| {
        let bench = Bench::new(seed, 2, |_| ());
        let sim = bench.sim.clone();
        sim.run(HOUR, async move {
            let running = bench.start().await;
            let mut client = bench.client().await;
            let topic = client.create_topic("t", 2).await;
            client.produce(&topic, 1, &["x"]).await.unwrap();
            bench.stop(running).await;
        })
        .unwrap();
        sim.trace_hash()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn a_batch_that_lies_is_refused_with_kafkas_code() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("strict", 1).await;
        let mut damaged = records_of(&["x"]).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let refused = client.produce_records(&topic, 0, damaged.into()).await;
        assert_eq!(refused, Err(ErrorCode::CorruptMessage));
        let refused = client.produce_records(&topic, 0, vec![0; 2 << 20].into()).await;
        assert_eq!(refused, Err(ErrorCode::CorruptMessage));
        let large = "x".repeat(2 << 20);
        assert_eq!(client.produce(&topic, 0, &[&large]).await, Err(ErrorCode::MessageTooLarge));
        assert_eq!(client.produce(&topic, 7, &["x"]).await, Err(ErrorCode::UnknownTopicOrPartition));
        assert_eq!(client.produce(&topic, 0, &["x"]).await, Ok(0));
    });
}

#[test]
fn another_number_of_shards_serves_the_same_records() {
    check(3, |mut bench| async move {
        let mut topic = None;
        for (round, shards) in [3, 1, 2].into_iter().enumerate() {
            bench.shards = shards;
            let running = bench.start().await;
            let mut client = bench.client().await;
            let topic = match &topic {
                Some(topic) => topic,
                None => topic.insert(client.create_topic("moved", 6).await),
            };
            for partition in 0..6 {
                assert_eq!(client.produce(topic, partition, &["x"]).await, Ok(round as i64));
                let fetched = client.fetch(topic, &[(partition, 0)], 1, 0).await;
                assert_eq!(values(&fetched, partition).len(), round + 1);
            }
            bench.stop(running).await;
        }
    });
}

/// Fills the disk with records of `bytes` until they are refused; then there is room again.
fn check_full_disk(bytes: usize) {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("full", 2).await;
        client.produce(&topic, 0, &["before"]).await.unwrap();
        bench.disk.set_capacity(Some(bench.disk.used_bytes()));
        let filler = "x".repeat(bytes);
        let mut refused = false;
        for _ in 0..40_000_000 / bytes {
            match client.produce(&topic, 0, &[&filler]).await {
                Ok(_) => {}
                // Also what was in flight when the disk became full.
                Err(code) => {
                    assert_eq!(code, ErrorCode::KafkaStorageError);
                    refused = true;
                    break;
                }
            }
        }
        assert!(refused, "the disk is full");
        let mut reader = bench.client().await;
        let fetched = reader.fetch(&topic, &[(0, 0)], 1, 0).await;
        assert_eq!(values(&fetched, 0)[0], "before", "reading goes on");
        bench.disk.set_capacity(None);
        Rt::sim(bench.sim.node(CLIENT)).sleep(Duration::from_secs(5)).await;
        assert!(client.produce(&topic, 0, &["after"]).await.is_ok(), "producing resumes by itself");
    });
}

#[test]
fn a_full_disk_refuses_records_and_takes_them_again_when_there_is_space() {
    check_full_disk(900_000);
}

#[test]
fn a_full_disk_refuses_small_records_too_and_takes_them_again() {
    check_full_disk(20_000);
}

#[test]
fn a_failed_write_of_one_shard_takes_the_whole_folder_offline_until_a_restart() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("fragile", 4).await;
        client.produce(&topic, 0, &["before"]).await.unwrap();
        let broken = FaultPlan { write_errors_per_million: 1_000_000, ..FaultPlan::default() };
        bench.disk.set_plan(broken);
        assert_eq!(client.produce(&topic, 0, &["lost"]).await, Err(ErrorCode::KafkaStorageError));
        bench.disk.set_plan(FaultPlan::default());
        Rt::sim(bench.sim.node(CLIENT)).sleep(Duration::from_millis(10)).await;
        for partition in 0..4 {
            let refused = client.produce(&topic, partition, &["x"]).await;
            assert_eq!(refused, Err(ErrorCode::KafkaStorageError), "partition {partition}");
        }
        assert!(bench.try_stop(running).await.is_err(), "no clean stop");
        bench.kill();
        bench.start().await;
        let mut client = bench.client().await;
        let fetched = client.fetch(&topic, &[(0, 0)], 1, 0).await;
        assert_eq!(values(&fetched, 0)[0], "before");
        for partition in 0..4 {
            assert!(client.produce(&topic, partition, &["after"]).await.is_ok(), "partition {partition}");
        }
    });
}

#[test]
fn a_small_memory_budget_slows_clients_down_and_stops_none() {
    check_with(
        2,
        |options| options.memory_budget_bytes = 1,
        |bench| async move {
            let running = bench.start().await;
            let topic = bench.client().await.create_topic("tight", 2).await;
            let rt = Rt::sim(bench.sim.node(CLIENT));
            let mut producing = Vec::new();
            for number in 0..8 {
                let (mut client, topic) = (bench.client().await, topic.clone());
                producing.push(rt.spawn(Queue::Foreground, async move {
                    for _ in 0..3 {
                        client.produce(&topic, number % 2, &[&"x".repeat(600_000)]).await.unwrap();
                    }
                }));
            }
            for producer in producing {
                producer.await;
            }
            let stalls: u64 = running.iter().map(|running| running.shard.budget.stalls()).sum();
            assert!(stalls > 0, "the budget was felt");
            assert!(running.iter().all(|running| running.shard.budget.used_bytes() == 0), "and given back");
        },
    );
}

#[test]
fn readers_that_take_nothing_hold_no_more_than_their_budget_and_are_cut_when_others_wait() {
    // A pool of 1 MiB for answers.
    let small = |options: &mut BrokerOptions| options.memory_budget_bytes = 1;
    check_with(1, small, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("heavy", 1).await;
        for _ in 0..6 {
            client.produce(&topic, 0, &[&"x".repeat(200_000)]).await.unwrap();
        }
        let mut lazy = Vec::new();
        for _ in 0..12 {
            let mut reader = bench.client().await;
            for _ in 0..4 {
                reader.send_fetch(&topic, &[(0, 0)], 1, 0).await;
            }
            lazy.push(reader);
        }
        let rt = Rt::sim(bench.sim.node(CLIENT));
        rt.sleep(Duration::from_secs(1)).await;
        let answers = &running[0].shard.answers;
        assert!(answers.stalls() > 0, "the pool was felt");
        assert!(answers.used_bytes() <= 2 << 20, "{} bytes are held", answers.used_bytes());
        let fetched = rt.timeout(Duration::from_secs(300), client.fetch(&topic, &[(0, 0)], 1, 0)).await;
        assert!(!values(&fetched.expect("those who take nothing are cut"), 0).is_empty());
        drop(lazy);
        rt.sleep(Duration::from_secs(1)).await;
        assert_eq!(answers.used_bytes(), 0);
    });
}

#[test]
fn a_stop_answers_what_is_open() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("stopping", 2).await;
        let (rt, mut poller, polled) = (Rt::sim(bench.sim.node(CLIENT)), bench.client().await, topic.clone());
        let polling = rt.spawn(Queue::Foreground, async move {
            poller.fetch(&polled, &[(0, 0), (1, 0)], 1, 3_600_000).await
        });
        rt.sleep(Duration::from_millis(100)).await;
        for number in 0..20 {
            client.send_produce(&topic, number % 2, &["last"]).await;
        }
        rt.sleep(Duration::from_millis(1)).await;
        let began = rt.now();
        bench.stop(running).await;
        assert!(rt.now().since(began) < Duration::from_secs(10), "no long poll is waited for");
        polling.await;
    });
}

#[test]
fn a_peer_that_asks_and_never_reads_holds_up_no_stop() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("deaf", 2).await;
        client.produce(&topic, 0, &["x".repeat(50_000).as_str()]).await.unwrap();
        let mut deaf = bench.client().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let asking = rt.spawn(Queue::Foreground, async move {
            for _ in 0..100 {
                deaf.send_fetch(&topic, &[(0, 0)], 1, 0).await;
            }
            std::future::pending::<()>().await;
        });
        rt.sleep(Duration::from_millis(100)).await;
        bench.stop(running).await;
        drop(asking);
    });
}
