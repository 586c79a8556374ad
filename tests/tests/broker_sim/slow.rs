//! Peers that send or read slowly, in virtual time: who keeps others from their memory is cut, who only takes its time is not.

use super::{check, check_with};
use bytes::Bytes;
use hayate_engine::broker::{BrokerOptions, RunningShard};
use hayate_engine::metrics::CloseCause;
use hayate_net::socket::sim::NetPlan;
use hayate_rt::{MonoTime, Queue, Rt, Task};
use hayate_tests::broker_sim::{Bench, CLIENT, Client, Topic, records_of, values};
use kafka_protocol::messages::FetchResponse;
use std::future::Future;
use std::time::Duration;

/// More than half of a shard's memory for large requests, at the least memory that a shard has.
const LARGE_BYTES: usize = 600_000;
/// Of five, more than a shard's memory for small requests.
const SMALL_BYTES: usize = 60_000;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// One shard that has next to no memory, and a topic.
fn check_tight<F: Future<Output = ()> + 'static>(scenario: impl Fn(Tight) -> F + 'static) {
    let tight = |options: &mut BrokerOptions| options.memory_budget_bytes = 1;
    let prepare = async |bench: Bench| {
        let running = bench.start().await.remove(0);
        let topic = bench.client().await.create_topic("tight", 2).await;
        Tight { rt: Rt::sim(bench.sim.node(CLIENT)), running, topic, bench }
    };
    let scenario = std::rc::Rc::new(scenario);
    let run = move |bench| {
        let scenario = scenario.clone();
        async move { scenario(prepare(bench).await).await }
    };
    check_with(1, tight, run);
}

struct Tight {
    bench: Bench,
    rt: Rt,
    running: RunningShard,
    topic: Topic,
}

fn records(bytes: usize) -> Bytes {
    records_of(&[&"x".repeat(bytes)])
}

fn closed(running: &RunningShard, cause: CloseCause) -> u64 {
    running.shard.metrics.connections_closed(cause)
}

impl Tight {
    /// A peer that has sent half of a produce request, and the other half.
    async fn half_sent(&self, bytes: usize) -> (Client, Bytes) {
        let mut peer = self.bench.client().await;
        let frame = peer.produce_frame(&self.topic, 0, records(bytes));
        peer.send_raw(frame.slice(..frame.len() / 2)).await;
        (peer, frame.slice(frame.len() / 2..))
    }

    /// Somebody who produces; resolves when that was answered, with the time.
    async fn produce(&self, bytes: usize) -> Task<MonoTime> {
        let (mut client, topic, rt) = (self.bench.client().await, self.topic.clone(), self.rt.clone());
        let producing = async move {
            client.produce_records(&topic, 1, records(bytes)).await.expect("it goes through");
            rt.now()
        };
        self.rt.spawn(Queue::Foreground, producing)
    }

    fn held_bytes(&self) -> usize {
        self.running.shard.budget.used_bytes()
    }

    fn cut_as_slow(&self) -> u64 {
        closed(&self.running, CloseCause::Slow)
    }
}

#[test]
fn half_a_frame_that_others_wait_for_is_cut_and_they_go_through() {
    check_tight(|tight| async move {
        let began = tight.rt.now();
        let (mut slow, _rest) = tight.half_sent(LARGE_BYTES).await;
        tight.rt.sleep(seconds(1)).await;
        assert!(tight.held_bytes() > LARGE_BYTES, "the whole frame's memory is held");
        let waiting = [tight.produce(LARGE_BYTES).await, tight.produce(LARGE_BYTES).await];
        tight.rt.sleep(seconds(8)).await;
        assert_eq!(
            (tight.cut_as_slow(), tight.running.shard.connections.len()),
            (0, 3),
            "its time is not over"
        );
        for produced in waiting {
            let took = produced.await.since(began);
            assert!((seconds(10)..seconds(13)).contains(&took), "{took:?}");
        }
        assert!(slow.is_closed().await);
        assert_eq!((tight.cut_as_slow(), tight.held_bytes()), (1, 0));
    });
}

#[test]
fn many_small_halves_are_cut_too() {
    check_tight(|tight| async move {
        let began = tight.rt.now();
        let mut slow = Vec::new();
        for _ in 0..4 {
            slow.push(tight.half_sent(SMALL_BYTES).await);
        }
        tight.rt.sleep(seconds(1)).await;
        let took = tight.produce(SMALL_BYTES).await.await.since(began);
        assert!((seconds(10)..seconds(13)).contains(&took), "{took:?}");
        assert!(tight.cut_as_slow() > 0);
    });
}

#[test]
fn half_a_frame_that_nobody_waits_for_is_waited_for() {
    check_tight(|tight| async move {
        let (mut slow, rest) = tight.half_sent(LARGE_BYTES).await;
        for _ in 0..10 {
            tight.rt.sleep(seconds(30)).await;
            tight.produce(SMALL_BYTES).await.await;
        }
        slow.send_raw(rest).await;
        assert_eq!(slow.receive_produce().await, Ok(0));
        assert_eq!(tight.cut_as_slow(), 0);
    });
}

#[test]
fn who_waits_for_small_requests_memory_cuts_no_large_one() {
    check_tight(|tight| async move {
        let (mut large, rest) = tight.half_sent(LARGE_BYTES).await;
        let mut small = Vec::new();
        for _ in 0..4 {
            small.push(tight.half_sent(SMALL_BYTES).await);
        }
        // All of them have come by then, whatever the network's delays.
        tight.rt.sleep(seconds(1)).await;
        tight.produce(SMALL_BYTES).await.await;
        assert!(tight.cut_as_slow() > 0, "of the small ones");
        large.send_raw(rest).await;
        assert_eq!(large.receive_produce().await, Ok(0));
    });
}

#[test]
fn a_frame_that_comes_in_time_is_served_however_many_wait() {
    check_tight(|tight| async move {
        let mut slow = tight.bench.client().await;
        let frame = slow.produce_frame(&tight.topic, 0, records(LARGE_BYTES));
        let mut waiting = Vec::new();
        for piece in frame.chunks(frame.len() / 8) {
            slow.send_raw(frame.slice_ref(piece)).await;
            waiting.push(tight.produce(LARGE_BYTES).await);
            tight.rt.sleep(seconds(1)).await;
        }
        assert_eq!(slow.receive_produce().await, Ok(0));
        for produced in waiting {
            produced.await;
        }
        assert_eq!((tight.cut_as_slow(), tight.held_bytes()), (0, 0));
    });
}

/// How many partitions hold a megabyte each.
const PARTITIONS: i32 = 4;

/// A broker with four megabytes of records, and a peer that has asked for all of them.
async fn asked_for_much(bench: &Bench) -> (RunningShard, Topic, Client) {
    let running = bench.start().await.remove(0);
    let mut client = bench.client().await;
    let topic = client.create_topic("much", PARTITIONS).await;
    for partition in 0..PARTITIONS {
        client.produce_records(&topic, partition, records(1_000_000)).await.expect("it goes through");
    }
    let mut peer = bench.client().await;
    let all: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let frame = peer.fetch_frame(&topic, &all);
    peer.send_raw(frame).await;
    (running, topic, peer)
}

#[test]
fn a_peer_that_reads_nothing_is_cut_and_what_it_held_is_given_back() {
    check(1, |bench| async move {
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let (running, topic, mut deaf) = asked_for_much(&bench).await;
        let began = rt.now();
        // It holds memory for requests too.
        let frame = deaf.produce_frame(&topic, 0, records(LARGE_BYTES));
        deaf.send_raw(frame.slice(..LARGE_BYTES / 2)).await;
        rt.sleep(seconds(59)).await;
        let budget = running.shard.budget.clone();
        assert!(budget.used_bytes() > LARGE_BYTES);
        assert_eq!((running.shard.connections.len(), closed(&running, CloseCause::Slow)), (1, 0));
        rt.sleep(seconds(2)).await;
        assert_eq!(closed(&running, CloseCause::Slow), 1, "{:?}", rt.now().since(began));
        assert_eq!((running.shard.connections.len(), budget.used_bytes()), (0, 0));
        while deaf.read_some(1 << 20).await {}
        assert!(deaf.fetched().is_none(), "what is left of the answer never comes");
    });
}

/// As [`check`], where the broker sends from its memory, and a connection takes all of what [`asked_for_much`] asks for.
fn check_pinned<F: Future<Output = ()> + 'static>(scenario: impl Fn(Bench) -> F) {
    check(1, move |bench| {
        bench.network.set_plan(NetPlan { pins: true, buffer_bytes: 8 << 20, ..NetPlan::CALM });
        scenario(bench)
    });
}

#[test]
fn what_the_network_sends_from_memory_is_charged_until_the_peer_has_taken_it() {
    check_pinned(|bench| async move {
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let (running, _, mut peer) = asked_for_much(&bench).await;
        rt.sleep(seconds(1)).await;
        let held =
            || (running.shard.answers.used_bytes(), running.shard.network.zerocopy_figures().pinned_bytes);
        let (used, pinned) = held();
        assert!(
            used == pinned && pinned > 4_000_000,
            "all is sent: {used} bytes are charged, {pinned} pinned"
        );
        for _ in 0..10 {
            rt.sleep(seconds(30)).await;
            for _ in 0..200 {
                assert!(peer.read_some(READ_BYTES).await, "who takes something in its time is not cut");
            }
        }
        while peer.fetched().is_none() {
            assert!(peer.read_some(1 << 20).await);
        }
        assert_eq!((held(), closed(&running, CloseCause::Slow)), ((0, 0), 0));
    });
}

#[test]
fn a_peer_that_leaves_everything_in_memory_is_cut_whatever_else_it_asks() {
    check_pinned(|bench| async move {
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let (running, topic, mut deaf) = asked_for_much(&bench).await;
        for _ in 0..11 {
            rt.sleep(seconds(5)).await;
            let small = deaf.fetch_frame(&topic, &[(0, 1)]);
            deaf.send_raw(small).await;
        }
        rt.sleep(seconds(3)).await;
        assert_eq!(closed(&running, CloseCause::Slow), 0);
        rt.sleep(seconds(5)).await;
        assert_eq!(closed(&running, CloseCause::Slow), 1);
        let shard = &running.shard;
        let pinned = shard.network.zerocopy_figures().pinned_bytes;
        assert_eq!((shard.connections.len(), shard.answers.used_bytes(), pinned), (0, 0, 0));
        // Nobody minds a connection that is idle with nothing left to take.
        let mut idle = bench.client().await;
        idle.fetch(&topic, &[(0, 0)], 1, 0).await;
        rt.sleep(seconds(300)).await;
        idle.fetch(&topic, &[(0, 0)], 1, 0).await;
        rt.sleep(seconds(30)).await;
        assert_eq!(closed(&running, CloseCause::Slow), 1);
    });
}

/// Bytes of one read of a slow reader.
const READ_BYTES: usize = 1 << 10;

/// Reads so many times a second until the answer is there; `None` when the connection is lost before.
async fn read_slowly(peer: &mut Client, rt: &Rt, reads_per_second: usize) -> Option<FetchResponse> {
    loop {
        rt.sleep(seconds(1)).await;
        for _ in 0..reads_per_second {
            if !peer.read_some(READ_BYTES).await {
                return None;
            }
            if let Some(fetched) = peer.fetched() {
                return Some(fetched);
            }
        }
    }
}

fn check_reader(reads_per_second: usize, is_served: bool) {
    check(1, move |bench| async move {
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let (running, _, mut peer) = asked_for_much(&bench).await;
        let fetched = read_slowly(&mut peer, &rt, reads_per_second).await;
        let served = fetched.map(|fetched| (0..PARTITIONS).all(|number| values(&fetched, number).len() == 1));
        assert_eq!(served, is_served.then_some(true));
        assert_eq!(closed(&running, CloseCause::Slow), u64::from(!is_served));
    });
}

#[test]
fn a_peer_that_reads_a_megabyte_in_its_time_gets_all_of_them() {
    check_reader(24, true);
}

#[test]
fn a_peer_that_reads_a_megabyte_too_slowly_is_cut() {
    check_reader(12, false);
}
