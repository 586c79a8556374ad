//! Hostile and broken peers on real sockets against a real broker: other protocols, garbage, frames that do not end, floods, clients that
//! read nothing, crowds that come and go. Somebody else is served all the while, each peer is counted for what it did, memory stays
//! bounded, and the stop is clean. Prints the figures.

#[path = "hostile/peers.rs"]
mod peers;
#[path = "hostile/scene.rs"]
mod scene;

use hayate_net::client::encode_request;
use hayate_tests::broker_sim::{self as requests, records_of};
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use peers::{CLIENT_ID_AT, Peer, STRANGERS};
use scene::{Scene, setup};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How often each of the strangers comes.
const ROUNDS: usize = 5;
const GARBAGE: u64 = 100;
const IDLE_TIME: Duration = Duration::from_secs(2);
const HALF_FRAMES: usize = 24;
const FLOODS: usize = 4;
const FLOOD_REQUESTS: i32 = 50_000;
/// How often somebody else is served meanwhile, at the very least: it was 4 to 13 times when floods did not rest, and thousands since.
const FLOOD_SERVED_MIN: usize = 50;
const DEAF: usize = 4;
const DEAF_REQUESTS: i32 = 20_000;
const DEAF_RECORD_BYTES: usize = 8 << 10;
/// Whoever could send nothing for so long waits for the broker.
const STALL_TIME: Duration = Duration::from_secs(1);
const CROWD: usize = 2_000;

#[test]
fn what_is_no_request_ends_its_connection_and_is_counted_by_kind() {
    let mut scene = Scene::start(setup());
    for _ in 0..ROUNDS {
        for stranger in STRANGERS {
            Peer::connect(scene.address()).is_refused(stranger.what, &(stranger.bytes)());
            scene.serve();
        }
    }
    for kind in ["tls", "frame_size", "header", "unknown_api", "unsupported_version", "body"] {
        let of_kind = STRANGERS.iter().filter(|stranger| stranger.kind == kind).count();
        scene.await_count("hayate_protocol_errors_total", &format!("\"{kind}\""), (of_kind * ROUNDS) as f64);
    }
    scene.finish("strangers", &[("protocol", STRANGERS.len() * ROUNDS)]);
}

#[test]
fn garbage_ends_its_connection_and_no_other() {
    let mut scene = Scene::start(setup());
    for seed in 0..GARBAGE {
        let mut peer = Peer::connect(scene.address());
        peer.send(&peers::garbage(seed));
        peer.say_no_more();
        peer.await_end("garbage");
        scene.serve();
    }
    scene.await_count("hayate_protocol_errors_total", "", GARBAGE as f64);
    let cut = scene.count("hayate_protocol_errors_total", "\"cut_frame\"") as usize;
    scene.finish("garbage", &[("peer", cut), ("protocol", GARBAGE as usize - cut)]);
}

/// Requests of several kinds, from a client with that name.
fn requests_of(name: &str) -> Vec<Vec<u8>> {
    fn frame<R: Request>(number: i32, name: &str, version: i16, request: &R) -> Vec<u8> {
        encode_request(number, name, version, request).expect("encodable").to_vec()
    }
    let software = StrBytes::from_static_str("test");
    let versions = ApiVersionsRequest::default()
        .with_client_software_name(software.clone())
        .with_client_software_version(software);
    vec![
        frame(1, name, 0, &versions),
        frame(2, name, 3, &versions),
        frame(3, name, 12, &MetadataRequest::default().with_topics(None)),
    ]
}

#[test]
fn a_name_that_is_no_text_is_served() {
    let mut scene = Scene::start(setup());
    let mut peer = Peer::connect(scene.address());
    let produce = requests::Client::produce_in(13, scene.topic(), 0, records_of(&["a record"]));
    let produce = encode_request(4, "??", 13, &produce).expect("encodable").to_vec();
    for mut frame in requests_of("??").into_iter().chain([produce]) {
        frame[CLIENT_ID_AT..CLIENT_ID_AT + 2].copy_from_slice(&[0xff, 0xfe]);
        peer.send(&frame);
        peer.answer_to(&frame);
    }
    scene.serve_on_from(1);
    drop(peer);
    scene.finish("a client whose name is no text", &[("peer", 1)]);
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_served() {
    let mut scene = Scene::start(setup());
    let mut peer = Peer::connect(scene.address());
    for frame in requests_of("slow") {
        for byte in &frame {
            peer.send(&[*byte]);
            scene.serve(); // so that the byte has come by itself
        }
        peer.answer_to(&frame);
    }
    drop(peer);
    scene.finish("a client that sends byte by byte", &[("peer", 1)]);
}

#[test]
fn whoever_ends_in_the_middle_of_a_frame_is_counted() {
    let mut scene = Scene::start(setup());
    for part in (1..HALF_FRAMES).map(peers::half_frame) {
        let mut peer = Peer::connect(scene.address());
        peer.send(&part);
        peer.say_no_more();
        peer.await_end("a cut frame");
        scene.serve();
    }
    scene.await_count("hayate_protocol_errors_total", "\"cut_frame\"", (HALF_FRAMES - 1) as f64);
    scene.finish("cut frames", &[("peer", HALF_FRAMES - 1)]);
}

#[test]
fn half_a_frame_and_then_silence_is_cut_when_its_time_is_over() {
    let mut scene = Scene::start(setup().set("connections.max.idle.ms", IDLE_TIME.as_millis()));
    let began = Instant::now();
    let mut silent: Vec<Peer> = (0..HALF_FRAMES)
        .map(|length| {
            let mut peer = Peer::connect(scene.address());
            peer.send(&peers::half_frame(length));
            peer
        })
        .collect();
    scene.await_count("hayate_connections_closed_total", "\"idle\"", HALF_FRAMES as f64);
    assert!(began.elapsed() >= IDLE_TIME);
    silent.iter_mut().for_each(|peer| peer.await_end("half a frame"));
    assert_eq!(
        scene.count("hayate_protocol_errors_total", ""),
        0.0,
        "the cut is ours: the peer has done nothing"
    );
    scene.finish("half frames, then silence", &[("idle", HALF_FRAMES)]);
}

/// Sends requests as fast as they are taken, and reads all answers in their order.
fn flood(address: SocketAddr) {
    let mut peer = Peer::connect(address);
    let mut sender = peer.another();
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            for number in 0..FLOOD_REQUESTS {
                sender.send(&peers::versions_request(number));
            }
        });
        for number in 0..FLOOD_REQUESTS {
            peer.answer_to(&peers::versions_request(number));
        }
        sending.join().expect("all is sent");
    });
}

#[test]
fn floods_are_answered_in_order_and_others_meanwhile() {
    let mut scene = Scene::start(setup());
    let address = scene.address();
    let served = thread::scope(|scope| {
        let floods: Vec<_> = (0..FLOODS).map(|_| scope.spawn(move || flood(address))).collect();
        let mut served = 0;
        while floods.iter().any(|flood| !flood.is_finished()) {
            scene.serve();
            served += 1;
        }
        served
    });
    println!(
        "{FLOODS} floods of {FLOOD_REQUESTS} requests: somebody else was served {served} times meanwhile"
    );
    assert!(served >= FLOOD_SERVED_MIN);
    let done = scene.count("hayate_request_duration_seconds_count", "\"ApiVersions\"");
    assert_eq!(done, (FLOODS * FLOOD_REQUESTS as usize) as f64);
    scene.finish("floods", &[("peer", FLOODS)]);
}

/// Produces and never reads; gives back the connection and how many requests it got rid of before the broker took no more.
fn deaf_producer(address: SocketAddr, frame: &[u8]) -> (Peer, i32) {
    let mut peer = Peer::connect(address);
    peer.read_little();
    peer.give_up_after(STALL_TIME);
    for number in 0..DEAF_REQUESTS {
        match peer.try_send(frame) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (peer, number),
            Err(error) => panic!("the broker ends the connection: {error}"),
        }
    }
    panic!("the broker takes {DEAF_REQUESTS} requests whose answers nobody reads");
}

#[test]
fn a_producer_that_never_reads_is_held_back_and_others_go_on() {
    let mut scene = Scene::start(setup().set("socket.send.buffer.bytes", 16 << 10));
    let address = scene.address();
    let deaf = scene.create_topic("deaf");
    let value = "x".repeat(DEAF_RECORD_BYTES);
    let request = requests::Client::produce_in(13, &deaf, 0, records_of(&[&value]));
    let frame = encode_request(1, "deaf", 13, &request).expect("encodable");
    let stalled: Vec<(Peer, i32)> = thread::scope(|scope| {
        let deaf: Vec<_> = (0..DEAF).map(|_| scope.spawn(|| deaf_producer(address, &frame))).collect();
        while deaf.iter().any(|producer| !producer.is_finished()) {
            scene.serve();
        }
        deaf.into_iter().map(|producer| producer.join().expect("it is held back")).collect()
    });
    (0..ROUNDS).for_each(|_| scene.serve());
    let sent: i32 = stalled.iter().map(|(_, sent)| sent).sum();
    let appended = scene.count("hayate_topic_produced_records_total", "\"deaf\"");
    println!("{DEAF} producers that read nothing: {sent} requests sent, {appended} appended, then held back");
    assert!(appended > 0.0 && appended <= f64::from(sent));
    drop(stalled);
    scene.finish("producers that read nothing", &[("peer", DEAF)]);
}

#[test]
fn a_crowd_that_comes_and_goes_leaves_nothing_behind() {
    let mut scene = Scene::start(setup());
    for number in 0..CROWD {
        let mut peer = Peer::connect(scene.address());
        match number % 4 {
            0 => {}                                            // says nothing
            1 => peer.reset_when_dropped(),                    // is gone at once
            2 => peer.send(&peers::versions_request(1)),       // does not wait for the answer
            _ => peer.send(&peers::versions_request(1)[..10]), // does not finish
        }
        drop(peer);
        if number.is_multiple_of(50) {
            scene.serve();
        }
    }
    scene.finish("a crowd", &[("peer", CROWD)]);
}
