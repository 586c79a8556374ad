//! Where a real broker listens and what it tells of that: with Kafka's own file, on several addresses, with limits.

use hayate_tests::broker::Setup;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

/// What Apache Kafka 4.2 ships, with nothing changed but folders and ports.
#[test]
fn the_file_that_kafka_ships_starts_a_broker() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src/config/kafka_server.properties");
    let mut broker = Setup::default()
        .config(&file)
        .set("listeners", "PLAINTEXT://:0,CONTROLLER://:0")
        .set("advertised.listeners", "PLAINTEXT://localhost:0,CONTROLLER://localhost:0")
        .start();
    let log = broker.log();
    for expected in
        ["num.io.threads", "the controller's listener CONTROLLER://:0 is not opened", "advertised=localhost:"]
    {
        assert_eq!(log.matches(expected).count(), 1, "{expected}: {log}");
    }
    assert!(!log.contains(" ERROR ") && !log.contains("is unknown"), "{log}");
    broker.stop();
}

#[test]
fn listeners_of_both_families_are_opened_and_a_wildcard_advertises_a_name() {
    let map = "PLAINTEXT:PLAINTEXT,SIX:PLAINTEXT";
    let mut broker = Setup::default()
        .set("listeners", "PLAINTEXT://:0,SIX://[::1]:0")
        .set("listener.security.protocol.map", map)
        .start();
    let log = broker.log();
    let field = |name: &str| {
        let rest = log.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("{name}: {log}")).1;
        rest.split(' ').next().unwrap().to_owned()
    };
    let ports: Vec<u16> = field("listen")
        .split(',')
        .map(|address| address.rsplit_once(':').unwrap().1.parse().unwrap())
        .collect();
    let advertised = field("advertised");
    let (wildcard, six) = advertised.split_once(',').unwrap();
    assert_eq!(six, format!("::1:{}", ports[1]));
    let (host, port) = wildcard.rsplit_once(':').unwrap();
    assert!(!host.is_empty() && !["0.0.0.0", "::"].contains(&host), "{wildcard}");
    assert_eq!(port, ports[0].to_string());
    assert_eq!(field("listeners"), "PLAINTEXT,SIX");
    for (host, port) in [("127.0.0.1", ports[0]), ("::1", ports[0]), ("::1", ports[1])] {
        assert!(TcpStream::connect((host, port)).is_ok(), "{host} {port}: {log}");
    }
    assert!(TcpStream::connect(("127.0.0.1", ports[1])).is_err(), "the second is on IPv6 alone");
    broker.stop();
}

#[test]
fn an_address_that_has_enough_connections_is_refused_by_every_shard() {
    let broker = Setup::default().set("max.connections.per.ip", 3).start();
    let address = broker.addresses().kafka;
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let is_served = |stream: &mut TcpStream| {
        let asked = stream.write_all(&request);
        asked.is_ok() && matches!(stream.read(&mut [0; 4]), Ok(1..))
    };
    let mut streams: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert!(streams.iter_mut().all(is_served));
    for _ in 0..4 {
        assert!(!is_served(&mut TcpStream::connect(address).unwrap()));
    }
    let refused =
        |shard: &str| broker.metrics()[&format!("hayate_connections_refused_total{{shard=\"{shard}\"}}")];
    assert_eq!(refused("0") + refused("1"), 4.0);
}
