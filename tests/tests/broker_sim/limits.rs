//! Several listeners, and how many connections there may be: over all shards, on a listener, from an address, in a second. And that
//! these limits change while the broker runs.

use super::check_with;
use super::configs::{ALL_BROKERS, THIS_BROKER, alter};
use hayate_engine::broker::{Advertised, BrokerOptions, ListenerOptions, RunningShard};
use hayate_engine::metrics::{CloseCause, Counter, ShardMetrics};
use hayate_net::error::ErrorCode;
use hayate_net::socket::sim::node_addr;
use hayate_rt::sim::NodeId;
use hayate_rt::{Queue, Rt};
use hayate_tests::broker_sim::{BROKER, Bench, CLIENT, Client, checked, name};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{DescribeClusterRequest, MetadataRequest};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const OTHER_CLIENT: NodeId = NodeId(101);
const PORT: u16 = 9092;
const INNER: u16 = 9094;
const HIDDEN: u16 = 9095;

fn listener(name: &str, port: u16, advertised: Option<(&str, u16)>) -> ListenerOptions {
    let advertised = advertised.map(|(host, port)| Advertised { host: Some(host.to_owned()), port });
    ListenerOptions { advertised, ..ListenerOptions::new(name, node_addr(BROKER, port)) }
}

fn several(options: &mut BrokerOptions) {
    options.listeners = vec![
        listener("PLAINTEXT", PORT, Some(("outside.example", 19092))),
        listener("INNER", INNER, Some(("::1", 29094))),
        listener("HIDDEN", HIDDEN, None),
    ];
    options.inter_broker_listener = Some("INNER".to_owned());
}

fn rt(bench: &Bench) -> Rt {
    Rt::sim(bench.sim.node(CLIENT))
}

/// Asks something that every client may.
async fn ask(client: &mut Client) {
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    assert_eq!(client.ask(12, &request).await.brokers.len(), 1);
}

/// A client that was served.
async fn served(bench: &Bench, node: NodeId, port: u16) -> Client {
    let mut client = bench.client_of(node, port).await;
    ask(&mut client).await;
    client
}

/// Connects in a task of its own, and notes when it was served; it stays connected.
fn served_later(bench: &Bench) -> Rc<Cell<bool>> {
    let (bench, is_served) = (bench.clone(), Rc::new(Cell::new(false)));
    let note = is_served.clone();
    let rt = rt(&bench);
    let connecting = async move {
        let mut client = served(&bench, CLIENT, PORT).await;
        note.set(true);
        client.is_closed().await;
    };
    rt.spawn(Queue::Foreground, connecting).detach();
    is_served
}

fn counted(running: &[RunningShard], counter: fn(&ShardMetrics) -> &Counter) -> u64 {
    running.iter().map(|running| counter(&running.shard.metrics).get()).sum()
}

fn told_to_go(running: &[RunningShard]) -> u64 {
    running.iter().map(|running| running.shard.metrics.connections_closed(CloseCause::Limit)).sum()
}

#[test]
fn each_listeners_clients_are_told_its_own_endpoint() {
    check_with(2, several, |bench| async move {
        let _running = bench.start().await;
        let created = bench.client().await.create_topic("t", 1).await;
        let told_of =
            [(PORT, Some(("outside.example", 19092))), (INNER, Some(("::1", 29094))), (HIDDEN, None)];
        for (port, told) in told_of {
            let expected: Vec<(String, i32)> =
                told.iter().map(|(host, port)| (host.to_string(), *port)).collect();
            let mut client = bench.client_of(CLIENT, port).await;
            let cluster = client.ask(1, &DescribeClusterRequest::default().with_endpoint_type(1)).await;
            let described = cluster.brokers.iter().map(|broker| (broker.host.to_string(), broker.port));
            assert_eq!(described.collect::<Vec<_>>(), expected);
            for version in [5, 12] {
                let wanted = MetadataRequestTopic::default().with_name(Some(name(&created.name)));
                let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
                let metadata = client.ask(version, &request).await;
                let brokers = metadata.brokers.iter().map(|broker| (broker.host.to_string(), broker.port));
                assert_eq!(brokers.collect::<Vec<_>>(), expected);
                let partition = &metadata.topics[0].partitions[0];
                let expected = match (told, version) {
                    (Some(_), _) => (Ok(()), 1),
                    (None, 12) => (Err(ErrorCode::ListenerNotFound), -1),
                    (None, _) => (Err(ErrorCode::LeaderNotAvailable), -1),
                };
                assert_eq!((checked(partition.error_code), partition.leader_id.0), expected);
            }
        }
    });
}

#[test]
fn one_more_than_max_connections_is_served_when_another_has_gone() {
    check_with(
        2,
        |options| options.connection_limits.connections_max = 2,
        |bench| async move {
            let running = bench.start().await;
            let first = served(&bench, CLIENT, PORT).await;
            let _second = served(&bench, CLIENT, PORT).await;
            let third = served_later(&bench);
            rt(&bench).sleep(Duration::from_secs(60)).await;
            assert!(!third.get());
            assert_eq!(counted(&running, |metrics| &metrics.accept_stalls), 1);
            drop(first);
            rt(&bench).sleep(Duration::from_secs(1)).await;
            assert!(third.get());
            bench.stop(running).await;
        },
    );
}

#[test]
fn a_stop_does_not_wait_for_a_connection_that_waits_for_its_place() {
    check_with(
        2,
        |options| options.connection_limits.connections_max = 0,
        |bench| async move {
            let running = bench.start().await;
            let mut waits = bench.client().await;
            rt(&bench).sleep(Duration::from_secs(1)).await;
            let began = rt(&bench).now();
            bench.stop(running).await;
            assert!(waits.is_closed().await && rt(&bench).now().since(began) < Duration::from_secs(5));
        },
    );
}

#[test]
fn an_address_with_enough_connections_is_refused() {
    check_with(
        2,
        |options| options.connection_limits.per_ip_max = 1,
        |bench| async move {
            let running = bench.start().await;
            let first = served(&bench, CLIENT, PORT).await;
            assert!(bench.client().await.is_closed().await);
            let _other = served(&bench, OTHER_CLIENT, PORT).await;
            assert_eq!(counted(&running, |metrics| &metrics.connections_refused), 1);
            drop(first);
            rt(&bench).sleep(Duration::from_secs(1)).await;
            served(&bench, CLIENT, PORT).await;
        },
    );
}

#[test]
fn connections_that_come_too_fast_wait() {
    check_with(
        2,
        |options| options.connection_limits.rate_max = 1,
        |bench| async move {
            let running = bench.start().await;
            let rt = rt(&bench);
            let began = rt.now();
            let mut clients = Vec::new();
            for _ in 0..10 {
                clients.push(served(&bench, CLIENT, PORT).await);
            }
            assert!(
                rt.now().since(began) < Duration::from_millis(500),
                "ten seconds' worth may come at once"
            );
            let began = rt.now();
            clients.push(served(&bench, CLIENT, PORT).await);
            assert!(rt.now().since(began) >= Duration::from_millis(900));
            assert_eq!(counted(&running, |metrics| &metrics.accept_throttles), 1);
        },
    );
}

#[test]
fn the_clusters_own_listener_takes_the_place_of_the_idlest_connection() {
    let adjust = |options: &mut BrokerOptions| {
        several(options);
        options.connection_limits.connections_max = 2;
    };
    check_with(1, adjust, |bench| async move {
        let running = bench.start().await;
        let mut idle = served(&bench, CLIENT, PORT).await;
        rt(&bench).sleep(Duration::from_secs(1)).await;
        let mut busy = served(&bench, CLIENT, PORT).await;
        let _inner = served(&bench, CLIENT, INNER).await;
        assert!(idle.is_closed().await);
        ask(&mut busy).await;
        assert_eq!(told_to_go(&running), 1);
    });
}

#[test]
fn limits_change_while_the_broker_runs() {
    check_with(2, several, |bench| async move {
        let running = bench.start().await;
        let mut idle = served(&bench, OTHER_CLIENT, PORT).await;
        rt(&bench).sleep(Duration::from_secs(1)).await;
        let mut admin = bench.client_of(CLIENT, INNER).await;
        let limit = [("max.connections.per.ip", Some("1"))];
        assert_eq!(alter(&mut admin, ALL_BROKERS, &limit).await, Ok(()));
        assert!(bench.client().await.is_closed().await);
        let more = [("max.connections.per.ip.overrides", Some("10.0.0.100:2"))];
        assert_eq!(alter(&mut admin, THIS_BROKER, &more).await, Ok(()));
        let second = served(&bench, CLIENT, PORT).await;
        drop(second);
        let none = [("listener.name.plaintext.max.connections", Some("1"))];
        assert_eq!(alter(&mut admin, ALL_BROKERS, &none).await, Ok(()));
        let waits = served_later(&bench);
        rt(&bench).sleep(Duration::from_secs(1)).await;
        assert!(!waits.get(), "the idle one has the listener's only place");
        assert_eq!(alter(&mut admin, ALL_BROKERS, &[("max.connections", Some("1"))]).await, Ok(()));
        assert!(idle.is_closed().await, "the admin's own listener is spared");
        assert_eq!(told_to_go(&running), 1);
        let freed = [("max.connections", None), ("listener.name.plaintext.max.connections", None)];
        assert_eq!(alter(&mut admin, ALL_BROKERS, &freed).await, Ok(()));
        rt(&bench).sleep(Duration::from_secs(1)).await;
        assert!(waits.get());
        let wrong = alter(&mut admin, ALL_BROKERS, &[("max.connections", Some("-1"))]).await;
        let reason = "Invalid value -1 for configuration max.connections: Value must be at least 0";
        assert_eq!(wrong, Err((ErrorCode::InvalidRequest, reason.to_owned())));
    });
}

#[test]
fn one_request_at_a_time_gets_its_place_and_all_are_answered() {
    check_with(
        2,
        |options| options.queued_requests_max = 1,
        |bench| async move {
            let _running = bench.start().await;
            let topic = bench.client().await.create_topic("t", 4).await;
            let producing: Vec<_> = (0..8)
                .map(|number| {
                    let (world, topic) = (bench.clone(), topic.clone());
                    let producing = async move {
                        let mut client = world.client().await;
                        for _ in 0..5 {
                            client.produce(&topic, number % 4, &["x"]).await.unwrap();
                        }
                    };
                    rt(&bench).spawn(Queue::Foreground, producing)
                })
                .collect();
            for produced in producing {
                produced.await;
            }
            let mut client = bench.client().await;
            let fetched = client.fetch(&topic, &[(0, 0), (1, 0), (2, 0), (3, 0)], 1, 0).await;
            let count = |partition| hayate_tests::broker_sim::values(&fetched, partition).len();
            assert_eq!([count(0), count(1), count(2), count(3)], [10; 4]);
        },
    );
}

#[test]
fn idle_connections_stay_where_no_time_is_set() {
    for idle_max in [Some(Duration::from_secs(60)), None] {
        let sim_check = |bench: Bench| async move {
            let _running = bench.start().await;
            let mut client = served(&bench, CLIENT, PORT).await;
            rt(&bench).sleep(Duration::from_secs(600)).await;
            match idle_max {
                Some(_) => assert!(client.is_closed().await),
                None => ask(&mut client).await,
            }
        };
        let bench = Bench::new(1, 1, |options| options.connections_max_idle = idle_max);
        let sim = bench.sim.clone();
        assert_eq!(sim.run(hayate_tests::broker_sim::HOUR, sim_check(bench)), Ok(()));
    }
}
