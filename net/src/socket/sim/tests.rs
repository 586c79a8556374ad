//! What only the simulated network does: faults, crashes, replay.

use super::{NetPlan, SimNetwork, node_addr};
use crate::socket::{ListenOptions, Network, Socket, SocketError};
use bytes::{Bytes, BytesMut};
use hayate_rt::sim::{NodeId, Sim};
use hayate_rt::{Queue, Rt};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const SERVER: NodeId = NodeId(1);
const CLIENT: NodeId = NodeId(2);

/// Echoes whatever any client sends.
fn serve(network: &SimNetwork, rt: &Rt, port: u16) {
    let listener =
        Network::sim(network, rt).listen(node_addr(SERVER, port), &ListenOptions::default()).unwrap();
    let spawner = rt.clone();
    let accepting = async move {
        while let Ok((socket, _)) = listener.accept().await {
            spawner.spawn(Queue::Foreground, echo(socket)).detach();
        }
    };
    rt.spawn(Queue::Foreground, accepting).detach();
}

async fn echo(socket: Socket) {
    let mut part = BytesMut::with_capacity(512);
    while matches!(socket.read_into(&mut part).await, Ok(1..)) {
        if socket.write_rope(&mut VecDeque::from([part.split().freeze()])).await.is_err() {
            return;
        }
        part.reserve(512);
    }
}

/// One round trip of `size` bytes; whatever comes back must be a prefix of what was sent.
async fn round_trip(network: Network, size: usize) -> Result<usize, SocketError> {
    let socket = network.connect(node_addr(SERVER, 9)).await?;
    let sent = Bytes::from((0..size).map(|n| n as u8).collect::<Vec<_>>());
    socket.write_rope(&mut VecDeque::from([sent.clone()])).await?;
    let mut got = BytesMut::new();
    while got.len() < size {
        got.reserve(4096);
        if socket.read_into(&mut got).await? == 0 {
            break;
        }
        assert_eq!(got[..], sent[..got.len()]);
    }
    Ok(got.len())
}

/// Many clients on a rough network; returns how many round trips were whole, and the digest of the run.
fn rough_run(seed: u64) -> (usize, Sim) {
    let sim = Sim::new(seed);
    let network = SimNetwork::new(&sim, NetPlan::ROUGH);
    serve(&network, &Rt::sim(sim.node(SERVER)), 9);
    let client = Rt::sim(sim.node(CLIENT));
    let here = Network::sim(&network, &client);
    let spawner = client.clone();
    let whole = sim.run(HOUR, async move {
        let trips: Vec<_> =
            (0..300).map(|n| spawner.spawn(Queue::Foreground, round_trip(here.clone(), n * 7))).collect();
        let mut whole = 0;
        for (n, trip) in trips.into_iter().enumerate() {
            whole += usize::from(trip.await == Ok(n * 7));
        }
        whole
    });
    (whole.unwrap(), sim)
}

#[test]
fn a_rough_network_loses_connections_but_never_bytes_within_them() {
    let mut happened = BTreeSet::new();
    for seed in 0..5 {
        let (whole, sim) = rough_run(seed);
        assert!(whole > 150 && whole < 300, "{whole} of 300");
        happened.extend(sim.counts().into_keys());
    }
    for fault in ["fault net split read", "fault net reset", "fault net half close"] {
        assert!(happened.contains(fault), "{fault} never happened");
    }
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let run = |seed| rough_run(seed).1.trace_hash();
    assert_eq!(run(8), run(8));
    assert_ne!(run(8), run(9));
}

#[test]
fn the_peers_of_a_crashed_node_hear_of_it_at_the_latest_when_they_write() {
    let mut silent = 0;
    for seed in 0..40 {
        let sim = Sim::new(seed);
        let network = SimNetwork::new(&sim, NetPlan::CALM);
        serve(&network, &Rt::sim(sim.node(SERVER)), 9);
        let client = Rt::sim(sim.node(CLIENT));
        let (here, world, rt) = (Network::sim(&network, &client), sim.clone(), client);
        sim.run(HOUR, async move {
            let socket = here.connect(node_addr(SERVER, 9)).await.unwrap();
            world.crash(SERVER);
            network.crash(SERVER);
            rt.sleep(Duration::from_secs(1)).await;
            let outcome = socket.write_rope(&mut VecDeque::from([Bytes::from_static(b"hello")])).await;
            assert_eq!(outcome, Err(SocketError::Closed));
            assert!(matches!(here.connect(node_addr(SERVER, 9)).await, Err(SocketError::Refused { .. })));
        })
        .unwrap();
        silent += usize::from(sim.counts().contains_key("fault net silent peer"));
    }
    assert!(silent > 0 && silent < 40, "{silent} of 40");
}

#[test]
fn a_restarted_node_listens_again() {
    let sim = Sim::new(3);
    let network = SimNetwork::new(&sim, NetPlan::CALM);
    serve(&network, &Rt::sim(sim.node(SERVER)), 9);
    sim.crash(SERVER);
    network.crash(SERVER);
    serve(&network, &Rt::sim(sim.node(SERVER)), 9);
    let here = Network::sim(&network, &Rt::sim(sim.node(CLIENT)));
    assert_eq!(sim.run(HOUR, async move { round_trip(here, 1000).await }), Ok(Ok(1000)));
}
