//! One suite for both halves of the seam: what a socket promises holds on the kernel and in the simulator.

use super::{ListenOptions, Network, Socket, SocketError, ZerocopyMode, ZerocopyOptions};
use bytes::{Bytes, BytesMut};
use hayate_rt::{Queue, Rt};
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;

/// What a scenario runs on.
struct Bench {
    rt: Rt,
    network: Network,
    any_port: SocketAddr,
}

/// Runs `scenario` on the kernel, with and without copies there, and on the simulator when it is built.
fn on_both<F: Future<Output = ()> + 'static>(scenario: fn(Bench) -> F) {
    let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let lending = ZerocopyOptions { mode: ZerocopyMode::Force, bytes_min: 1 };
    for options in [ZerocopyOptions::OFF, lending] {
        let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20).make().unwrap();
        executor.run(async move {
            let network = Network::kernel_with(options);
            scenario(Bench { rt: Rt::kernel(), network, any_port }).await;
        });
    }
    #[cfg(feature = "sim")]
    for seed in 0..20 {
        let sim = hayate_rt::sim::Sim::new(seed);
        let rt = Rt::sim(sim.node(hayate_rt::sim::NodeId(1)));
        let plan = super::sim::NetPlan { pins: seed % 2 == 0, ..super::sim::NetPlan::CALM };
        let network = super::sim::SimNetwork::new(&sim, plan);
        let bench = Bench { network: Network::sim(&network, &rt), rt, any_port };
        sim.run(std::time::Duration::from_secs(600), scenario(bench)).unwrap();
    }
}

impl Bench {
    /// A connected pair: the client's end and the server's.
    async fn pair(&self) -> (Socket, Socket) {
        let listener = self.network.listen(self.any_port, &ListenOptions::default()).unwrap();
        let addr = listener.local_addr().unwrap();
        let network = self.network.clone();
        let connecting =
            self.rt.spawn(Queue::Foreground, async move { network.connect(addr).await.unwrap() });
        let (server, _) = listener.accept().await.unwrap();
        (connecting.await, server)
    }
}

async fn read_all(socket: &Socket) -> Result<Vec<u8>, SocketError> {
    let mut all = BytesMut::new();
    loop {
        all.reserve(1000);
        if socket.read_into(&mut all).await? == 0 {
            return Ok(all.to_vec());
        }
    }
}

/// Segments of every small size, empty ones too, more than one write takes.
fn patterned_rope(segments: usize) -> VecDeque<Bytes> {
    (0..segments).map(|n| Bytes::from(vec![n as u8; n % 1500])).collect()
}

fn flat(rope: &VecDeque<Bytes>) -> Vec<u8> {
    rope.iter().flatten().copied().collect()
}

#[test]
fn a_rope_arrives_whole_and_in_order() {
    on_both(|bench| async move {
        let (client, server) = bench.pair().await;
        let mut rope = patterned_rope(1000);
        let expected = flat(&rope);
        let writing = bench.rt.spawn(Queue::Foreground, async move {
            let sent = client.write_rope(&mut rope).await.unwrap();
            assert!(rope.is_empty());
            client.shutdown();
            sent
        });
        assert_eq!(read_all(&server).await.unwrap(), expected);
        assert_eq!(writing.await, expected.len() as u64);
    });
}

#[test]
fn an_empty_rope_is_sent_at_once() {
    on_both(|bench| async move {
        let (client, _server) = bench.pair().await;
        let mut rope = VecDeque::from([Bytes::new(), Bytes::new()]);
        assert_eq!(client.write_rope(&mut rope).await, Ok(0));
        assert!(rope.is_empty());
    });
}

#[test]
fn a_reader_and_a_writer_use_one_socket_at_once_and_a_slow_reader_holds_the_writer() {
    on_both(|bench| async move {
        let (client, server) = bench.pair().await;
        let big = Bytes::from(vec![7; 8 << 20]);
        let (reader, expected) = (client.clone(), big.len());
        let both = bench.rt.spawn(Queue::Foreground, async move {
            let mut rope = VecDeque::from([big]);
            let sent = client.write_rope(&mut rope).await;
            client.shutdown();
            sent
        });
        let echo = bench.rt.spawn(Queue::Foreground, async move {
            let mut part = BytesMut::with_capacity(1 << 16);
            while server.read_into(&mut part).await.unwrap() > 0 {
                server.write_rope(&mut VecDeque::from([part.split().freeze()])).await.unwrap();
                part.reserve(1 << 16);
            }
            server.shutdown();
        });
        assert_eq!(read_all(&reader).await.unwrap().len(), expected);
        both.await.unwrap();
        echo.await;
    });
}

#[test]
fn after_a_half_close_the_other_direction_still_works() {
    on_both(|bench| async move {
        let (client, server) = bench.pair().await;
        client.shutdown();
        assert_eq!(read_all(&server).await.unwrap(), b"");
        server.write_rope(&mut VecDeque::from([Bytes::from_static(b"late answer")])).await.unwrap();
        server.shutdown();
        assert_eq!(read_all(&client).await.unwrap(), b"late answer");
    });
}

#[test]
fn an_abort_ends_pending_operations_of_both_sides() {
    on_both(|bench| async move {
        let (client, server) = bench.pair().await;
        let (ours, theirs) = (client.clone(), server.clone());
        let waits_here = bench.rt.spawn(Queue::Foreground, async move { read_all(&ours).await });
        let waits_there = bench.rt.spawn(Queue::Foreground, async move { read_all(&theirs).await });
        bench.rt.sleep(std::time::Duration::from_millis(2)).await;
        client.abort();
        assert_eq!(waits_here.await, Err(SocketError::Closed));
        assert_eq!(waits_there.await, Err(SocketError::Closed));
        let again = server.write_rope(&mut VecDeque::from([Bytes::from_static(b"x")])).await;
        assert_eq!(again, Err(SocketError::Closed));
    });
}

#[test]
fn dropping_the_last_handle_ends_the_stream() {
    on_both(|bench| async move {
        let (client, server) = bench.pair().await;
        let twin = client.clone();
        drop(client);
        twin.write_rope(&mut VecDeque::from([Bytes::from_static(b"still open")])).await.unwrap();
        drop(twin);
        assert_eq!(read_all(&server).await.unwrap(), b"still open");
    });
}

#[test]
fn shards_share_a_port_and_an_exclusive_probe_sees_them() {
    on_both(|bench| async move {
        let free = bench.network.probe_exclusive(bench.any_port).unwrap();
        assert_ne!(free.port(), 0);
        let first = bench.network.listen(free, &ListenOptions::default()).unwrap();
        let second = bench.network.listen(free, &ListenOptions::default()).unwrap();
        assert_eq!(first.local_addr(), second.local_addr());
        assert_eq!(bench.network.probe_exclusive(free), Err(SocketError::AddressInUse { addr: free }));
        drop((first, second));
        assert_eq!(bench.network.probe_exclusive(free), Ok(free));
        assert!(matches!(bench.network.connect(free).await, Err(SocketError::Refused { .. })));
    });
}
