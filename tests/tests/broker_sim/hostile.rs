//! Peers that speak no Kafka, or too much of it: what each costs, what is counted, and that nobody else notices.

use super::check;
use bytes::Bytes;
use hayate_engine::broker::RunningShard;
use hayate_engine::metrics::{CloseCause, ProtocolError};
use hayate_rt::{Queue, Rt, Task};
use hayate_tests::broker_sim::{Bench, CLIENT, Client, Topic, values};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// More than an answer to a bystander ever takes here, whatever others do.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// Somebody who produces and consumes all the while, on a connection of their own.
struct Bystander {
    stop: Rc<Cell<bool>>,
    work: Task<u64>,
}

impl Bystander {
    async fn start(bench: &Bench) -> (Bystander, Topic) {
        let mut client = bench.client().await;
        let topic = client.create_topic("calm", 2).await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let stop = Rc::new(Cell::new(false));
        let (stopped, used, clock) = (stop.clone(), topic.clone(), rt.clone());
        let work = rt.spawn(Queue::Foreground, async move {
            let mut count = 0;
            while !stopped.get() {
                let began = clock.now();
                let value = count.to_string();
                let offset = client.produce(&used, 0, &[&value]).await;
                assert_eq!(offset.map(i64::cast_unsigned), Ok(count));
                let fetched = client.fetch(&used, &[(0, count.cast_signed())], 1, 1000).await;
                assert_eq!(values(&fetched, 0), [value]);
                assert!(clock.now().since(began) < ANSWER_TIME_MAX, "{:?}", clock.now().since(began));
                count += 1;
                clock.sleep(Duration::from_millis(100)).await;
            }
            count
        });
        (Bystander { stop, work }, topic)
    }

    /// How often both were answered.
    async fn stop(self) -> u64 {
        self.stop.set(true);
        self.work.await
    }
}

fn sum(running: &[RunningShard], of: impl Fn(&RunningShard) -> u64) -> u64 {
    running.iter().map(of).sum()
}

fn errors(running: &[RunningShard], kind: ProtocolError) -> u64 {
    sum(running, |shard| shard.shard.metrics.protocol_errors(kind))
}

fn held_bytes(running: &[RunningShard]) -> u64 {
    sum(running, |shard| (shard.shard.budget.used_bytes() + shard.shard.answers.used_bytes()) as u64)
}

/// A frame: its prefix, key, version, a correlation id, a client id, a body.
fn frame(key: i16, version: i16, client_id: &[u8], body: &[u8]) -> Bytes {
    let mut rest = [key.to_be_bytes(), version.to_be_bytes()].concat();
    rest.extend(7i32.to_be_bytes());
    rest.extend((client_id.len() as i16).to_be_bytes());
    rest.extend(client_id);
    rest.extend(body);
    [&(rest.len() as i32).to_be_bytes()[..], &rest].concat().into()
}

/// A Metadata request (version 9) of so many topics without a name, each with an unknown tag: what takes most memory a byte.
fn tagged(topics: u16) -> Bytes {
    // No tags in the header; the count of topics, less than 2¹⁴, as a varint.
    let count = topics + 1;
    let mut body = vec![0, count as u8 | 0x80, (count >> 7) as u8];
    body.extend([1, 1, 100, 0].repeat(usize::from(topics)));
    body.extend([1, 0, 0, 0]);
    frame(3, 9, b"me", &body)
}

/// What a peer sends, and as what it counts.
fn breaches() -> Vec<(&'static str, Bytes, ProtocolError)> {
    let fixed = |bytes: &'static [u8]| Bytes::from_static(bytes);
    vec![
        ("a TLS hello", fixed(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), ProtocolError::Tls),
        ("a request of HTTP", fixed(b"GET / HTTP/1.1\r\n\r\n"), ProtocolError::FrameSize),
        ("a negative size", fixed(&[0x80, 0, 0, 0]), ProtocolError::FrameSize),
        ("the largest size", fixed(&[0x7f, 0xff, 0xff, 0xff]), ProtocolError::FrameSize),
        (
            "a size beyond the kind's",
            fixed(&[0, 0x10, 0, 0, 0, 18, 0, 0, 0, 0, 0, 7]),
            ProtocolError::FrameSize,
        ),
        ("no header", fixed(&[0, 0, 0, 3, 0, 18, 0]), ProtocolError::Header),
        ("an unknown kind", frame(999, 0, b"me", b""), ProtocolError::UnknownApi),
        ("a negative kind", frame(-1, 0, b"me", b""), ProtocolError::UnknownApi),
        ("a version of tomorrow", frame(3, 99, b"me", b""), ProtocolError::UnsupportedVersion),
        ("a negative version", frame(0, -1, b"me", b""), ProtocolError::UnsupportedVersion),
        ("no body", frame(3, 9, b"me", b"\0"), ProtocolError::Body),
        ("two thousand million topics", frame(3, 1, b"me", &[0x7f, 0xff, 0xff, 0xff]), ProtocolError::Body),
        ("ten thousand tags", tagged(10_000), ProtocolError::Body),
    ]
}

#[test]
fn what_is_no_kafka_is_closed_counted_and_costs_nobody() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let (bystander, _) = Bystander::start(&bench).await;
        for (what, bytes, kind) in breaches() {
            let before = errors(&running, kind);
            let mut peer = bench.client().await;
            peer.send_raw(bytes).await;
            assert!(peer.is_closed().await, "{what}");
            assert_eq!(errors(&running, kind), before + 1, "{what}");
        }
        assert!(bystander.stop().await > 0);
        let closed = sum(&running, |shard| shard.shard.metrics.connections_closed(CloseCause::Protocol));
        assert_eq!(closed, breaches().len() as u64);
        assert_eq!(held_bytes(&running), 0);
    });
}

#[test]
fn an_api_versions_of_tomorrow_is_answered_and_a_name_that_is_no_text_too() {
    check(1, |bench| async move {
        let running = bench.start().await;
        let mut peer = bench.client().await;
        let no_text = [&b"\xff\xfe\x00"[..], b"\xc3\x28"];
        for (version, client_id, tags) in [(0, no_text[0], &[][..]), (99, b"me", &[0]), (2, no_text[1], &[])]
        {
            peer.send_raw(frame(18, version, client_id, tags)).await;
            let answer = peer.receive_raw().await;
            let code = if version == 99 { [0, 35] } else { [0, 0] };
            assert_eq!((&answer[..4], &answer[4..6]), (&[0, 0, 0, 7][..], &code[..]), "version {version}");
        }
        assert_eq!(ProtocolError::ALL.map(|kind| errors(&running, kind)), [0; ProtocolError::ALL.len()]);
    });
}

#[test]
fn who_sends_byte_by_byte_is_served_and_disturbs_nobody() {
    check(1, |bench| async move {
        let running = bench.start().await;
        let (bystander, topic) = Bystander::start(&bench).await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let mut slow = bench.client().await;
        let frame = slow.produce_frame(&topic, 1, hayate_tests::broker_sim::records_of(&["slow"]));
        for byte in frame.chunks(1) {
            slow.send_raw(frame.slice_ref(byte)).await;
            rt.sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(slow.receive_produce().await, Ok(0));
        assert!(bystander.stop().await > 100, "all the while");
        assert_eq!(held_bytes(&running), 0);
    });
}

/// Asks and asks and never reads, until the connection is lost.
async fn flood(mut peer: Client, requests: Bytes) {
    loop {
        if peer.try_send_raw(requests.clone()).await.is_none() {
            return;
        }
    }
}

#[test]
fn floods_whose_answers_nobody_reads_are_held_back_and_then_cut() {
    check(1, |bench| async move {
        let running = bench.start().await;
        let (bystander, _) = Bystander::start(&bench).await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let requests = Bytes::from(frame(18, 2, b"me", b"").repeat(1000));
        let mut floods = Vec::new();
        for _ in 0..20 {
            let peer = bench.client().await;
            floods.push(rt.spawn(Queue::Foreground, flood(peer, requests.clone())));
        }
        rt.sleep(Duration::from_secs(30)).await;
        // 64 requests that are open, and a write that is under way, each.
        let held = held_bytes(&running);
        assert!(held < 20 << 20, "{held} bytes held");
        for flood in floods {
            flood.await;
        }
        assert!(bystander.stop().await > 100, "all the while");
        assert_eq!(sum(&running, |shard| shard.shard.metrics.connections_closed(CloseCause::Slow)), 20);
        assert_eq!(held_bytes(&running), 0);
    });
}

#[test]
fn thousands_that_are_idle_hold_nothing_back() {
    check(1, |bench| async move {
        let running = bench.start().await;
        let mut idle = Vec::new();
        for _ in 0..2000 {
            let mut peer = bench.client().await;
            peer.send_raw(frame(18, 2, b"me", b"")).await;
            peer.receive_raw().await;
            idle.push(peer);
        }
        let (bystander, _) = Bystander::start(&bench).await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        rt.sleep(Duration::from_secs(10)).await;
        assert!(bystander.stop().await > 50);
        rt.sleep(Duration::from_secs(1)).await;
        assert_eq!((running[0].shard.connections.len(), held_bytes(&running)), (2000, 0));
    });
}

#[test]
fn a_peer_that_ends_within_a_frame_is_counted() {
    check(1, |bench| async move {
        let running = bench.start().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        for cut in [1, 4, 9, 13] {
            let mut peer = bench.client().await;
            peer.send_raw(frame(18, 2, b"me", b"").slice(..cut)).await;
            rt.sleep(Duration::from_secs(1)).await;
            drop(peer);
            rt.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(errors(&running, ProtocolError::CutFrame), 4);
        assert_eq!((running[0].shard.connections.len(), held_bytes(&running)), (0, 0));
    });
}
