//! What is given, what comes of it, and what is said about it.

use super::connections::ConnectionLimits;
use super::*;
use crate::broker::{Advertised, ListenerOptions};
use hayate_net::socket::ListenOptions;
use hayate_storage::config::LogConfig;

fn machine() -> Machine {
    Machine { cores: 3, memory_bytes: 3 << 30 }
}

fn given(text: &str) -> Vec<Given> {
    let path = Arc::new(PathBuf::from("server.properties"));
    let properties = properties::parse(text.as_bytes()).unwrap();
    let given = properties.into_iter().map(|p| Given {
        key: p.key,
        value: p.value,
        origin: Origin::File(path.clone(), p.line),
    });
    given.collect()
}

fn resolve(text: &str) -> Config {
    Config::resolve(&given(text), &machine()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn refuse(text: &str) -> String {
    let errors = Config::resolve(&given(text), &machine()).expect_err(text);
    errors.iter().map(|error| format!("{error}\n")).collect()
}

#[test]
fn nothing_given_means_the_defaults() {
    let config = resolve("");
    let options = &config.options;
    let expected = ListenerOptions::new("PLAINTEXT", SocketAddr::from(([127, 0, 0, 1], 9092)));
    assert_eq!(options.listeners, [expected]);
    let sizes = ListenOptions { backlog: 4096, ..ListenOptions::default() };
    assert_eq!(options.sockets, sizes);
    assert_eq!(options.data_dir, PathBuf::from("./hayate-data"));
    assert_eq!((options.node_id, options.num_partitions), (1, 1));
    assert!(options.auto_create_topics && options.delete_topic_enable);
    assert_eq!(options.topic_defaults.log, LogConfig::default());
    assert_eq!(options.memory_budget_bytes, 3 << 29);
    assert_eq!((config.shards, config.spin), (3, Duration::ZERO));
    assert_eq!(config.http, [SocketAddr::from(([127, 0, 0, 1], 9644))]);
    assert!(config.warnings.is_empty());
    let large = Machine { memory_bytes: 1 << 40, ..machine() };
    assert_eq!(Config::resolve(&[], &large).unwrap().options.memory_budget_bytes, 4 << 30);
}

#[test]
fn how_answers_are_sent_is_set_by_a_word_and_a_size() {
    use hayate_net::socket::{ZerocopyMode, ZerocopyOptions};
    let given = |text: &str| resolve(text).options.zerocopy;
    let by_default = BrokerOptions::new("unused").zerocopy;
    assert_eq!(given(""), by_default);
    for (word, mode) in [
        ("auto", ZerocopyMode::Auto),
        ("on", ZerocopyMode::On),
        ("off", ZerocopyMode::Off),
        ("force", ZerocopyMode::Force),
    ] {
        let options = given(&format!("socket.send.zerocopy={word}\nsocket.send.zerocopy.min.bytes=8192\n"));
        assert_eq!(options, ZerocopyOptions { mode, bytes_min: 8192 });
    }
}

#[test]
fn the_last_value_counts_and_knows_its_origin() {
    let config = resolve("num.partitions=2\nnum.partitions= 3 \n");
    assert_eq!(config.options.num_partitions, 3);
    let setting = config.setting("num.partitions");
    assert_eq!(setting.origin.to_string(), "server.properties, line 2");
    assert_eq!(config.setting("node.id").origin, Origin::Default);
    let shown = config.options.broker_configs.iter().find(|shown| shown.name == "num.partitions").unwrap();
    assert_eq!(
        (shown.value.as_deref(), shown.default.as_deref(), shown.is_set),
        (Some("3"), Some("1"), true)
    );
}

#[test]
fn topic_defaults_come_from_the_settings_of_the_broker() {
    let log = resolve(
        "log.retention.hours=1\nlog.segment.bytes=2097152\nlog.flush.interval.messages=10\n\
                       message.max.bytes=5\nlog.roll.hours=2\nlog.roll.jitter.ms=7\nlog.flush.interval.ms=9",
    )
    .options
    .topic_defaults
    .log;
    assert_eq!((log.retention_ms, log.segment_ms, log.segment_jitter_ms), (Some(3_600_000), 7_200_000, 7));
    assert_eq!((log.segment_bytes, log.flush_messages, log.max_message_bytes), (2 << 20, 10, 5));
    assert_eq!(log.flush_ms, Some(9));
    let retention = |text| resolve(text).options.topic_defaults.log.retention_ms;
    assert_eq!(retention("log.retention.ms=5\nlog.retention.minutes=2\nlog.retention.hours=1"), Some(5));
    assert_eq!(retention("log.retention.minutes=2\nlog.retention.hours=1"), Some(120_000));
    assert_eq!(retention("log.retention.hours=-1"), None);
}

#[test]
fn the_file_that_kafka_ships_starts_here() {
    let config = resolve(include_str!("kafka_server.properties"));
    let [listener] = &config.options.listeners[..] else { panic!("the one for clients") };
    assert!(listener.name == "PLAINTEXT" && listener.listen.ip().is_unspecified());
    assert_eq!(listener.advertised, Some(Advertised { host: Some("localhost".to_owned()), port: 9092 }));
    let sockets = config.options.sockets;
    assert_eq!((sockets.send_buffer_bytes, sockets.receive_buffer_bytes), (Some(102_400), Some(102_400)));
    for expected in [
        "controller.quorum.bootstrap.servers (server.properties, line 6) has no effect: a cluster has one broker",
        "num.io.threads (server.properties, line 13) has no effect: there are no thread pools",
        "the controller's listener CONTROLLER://:9093 is not opened",
    ] {
        let said = config.warnings.iter().filter(|warning| warning.starts_with(expected)).count();
        assert_eq!(said, 1, "{expected}: {:#?}", config.warnings);
    }
    assert_eq!(config.warnings.len(), 5, "{:#?}", config.warnings);
}

/// Kafka's container images ship the same file but for two lines: the voters in it, and no address of the controller.
#[test]
fn the_file_of_kafka_s_images_starts_here() {
    let shipped = include_str!("kafka_server.properties");
    let of_images = shipped
        .replace(
            "controller.quorum.bootstrap.servers=localhost:9093",
            "controller.quorum.voters=1@localhost:9093",
        )
        .replace(",CONTROLLER://localhost:9093", "");
    assert_eq!(shipped.lines().zip(of_images.lines()).filter(|(shipped, other)| shipped != other).count(), 2);
    let (shipped, of_images) = (resolve(shipped), resolve(&of_images));
    assert_eq!(of_images.options.listeners, shipped.options.listeners);
    assert_eq!(of_images.warnings.len(), shipped.warnings.len(), "{:#?}", of_images.warnings);
}

#[test]
fn connections_are_limited_as_the_file_says() {
    let none = resolve("").options;
    assert_eq!((none.connection_limits, none.queued_request_bytes_max), (ConnectionLimits::default(), None));
    let config = resolve(
        "listeners=PLAINTEXT://127.0.0.1:1,INNER://127.0.0.1:2\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT\ninter.broker.listener.name=INNER\n\
         max.connections=7\nmax.connections.per.ip=3\nmax.connections.per.ip.overrides=127.0.0.1:5\n\
         listener.name.inner.max.connections=2\nlistener.name.other.max.connections=2\nconnections.max.idle.ms=-1\n\
         queued.max.request.bytes=104857600\nqueued.max.requests=10",
    );
    let options = &config.options;
    let limits = &options.connection_limits;
    assert_eq!((limits.connections_max, limits.connections_max_of("INNER"), limits.per_ip_max), (7, 2, 3));
    assert_eq!(limits.per_ip_max_of([127, 0, 0, 1].into()), 5);
    assert_eq!(
        (options.connections_max_idle, options.inter_broker_listener.as_deref()),
        (None, Some("INNER"))
    );
    assert_eq!((options.receive_bytes_per_shard(2), options.queued_requests_per_shard(4)), (50 << 20, 3));
    let expected = "listener.name.other.max.connections (server.properties, line 8) has no effect: listeners opens none of \
                    that name";
    assert_eq!(config.warnings, [expected]);
    let shown =
        options.broker_configs.iter().find(|shown| shown.name == "listener.name.inner.max.connections");
    assert_eq!(shown.and_then(|shown| shown.value.as_deref()), Some("2"));
}

#[test]
fn limits_that_cannot_be_are_refused() {
    for (text, expected) in [
        ("max.connections=-1", "max.connections=-1 (server.properties, line 1): Value must be at least 0\n"),
        (
            "listener.name.a.max.connections=0",
            "listener.name.a.max.connections=0 (server.properties, line 1): Invalid max.connections 0\n",
        ),
        (
            "max.connections.per.ip=0",
            "max.connections.per.ip=0 (server.properties, line 1): max.connections.per.ip can be set to zero only if \
             max.connections.per.ip.overrides property is set.\n",
        ),
        (
            "max.connections.per.ip.overrides=a b:5",
            "max.connections.per.ip.overrides=a b:5 (server.properties, line 1): max.connections.per.ip.overrides contains \
             invalid addresses : a b\n",
        ),
        (
            "connections.max.idle.ms=100",
            "connections.max.idle.ms=100 (server.properties, line 1): connection.failed.authentication.delay.ms=100 should \
             always be less than connections.max.idle.ms=100 to prevent failed authentication responses from timing out\n",
        ),
        (
            "queued.max.request.bytes=5",
            "queued.max.request.bytes=5 (server.properties, line 1): queued.max.request.bytes must be larger or equal to \
             socket.request.max.bytes\n",
        ),
        (
            "queued.max.requests=0",
            "queued.max.requests=0 (server.properties, line 1): Value must be at least 1\n",
        ),
        (
            "socket.listen.backlog.size=0",
            "socket.listen.backlog.size=0 (server.properties, line 1): Value must be at least 1\n",
        ),
    ] {
        assert_eq!(refuse(text), expected);
    }
}

#[test]
fn what_has_no_effect_is_said_once() {
    let config = resolve("num.partition=3\nnum.partition=4\nssl.keystore.location=a\nmy.plugin.setting=1");
    assert_eq!(
        config.warnings,
        [
            "my.plugin.setting (server.properties, line 4) is unknown and has no effect",
            "num.partition (server.properties, line 2) is unknown and has no effect; is num.partitions meant?",
            "ssl.keystore.location (server.properties, line 3) has no effect: TLS and SASL are not built yet, every \
             listener is PLAINTEXT",
        ]
    );
}

#[test]
fn everything_that_is_wrong_is_said() {
    let text = refuse("num.partitions=0\nnode.id=x\nauthorizer.class.name=A");
    assert_eq!(
        text,
        "authorizer.class.name=A (server.properties, line 3): ACLs are not built yet, and the broker would run without \
         it; leave the key out to accept that\n\
         node.id=x (server.properties, line 2): Not a number of type INT\n\
         num.partitions=0 (server.properties, line 1): Value must be at least 1\n"
    );
    for (text, expected) in [
        ("log.dirs=a,b", "more than one data folder"),
        ("log.dirs=", "names no folder"),
        ("listeners=SSL://:1", "listeners=SSL://:1 (server.properties, line 1): SSL speaks SSL"),
        ("listeners=PLAINTEXT://0.0.0.0:1", "nonroutable meta-address 0.0.0.0"),
        ("node.id=1\nbroker.id=2", "the same as node.id"),
        ("process.roles=controller", "no broker"),
        ("process.roles=king", "String must be one of"),
        ("log.retention.ms=0", "unlimited (-1) or at least 1"),
        ("http.listeners=x", "host:port"),
        ("cleanup.policy=x\nlog.cleanup.policy=x", "String must be one of: compact, delete"),
        ("shards=0", "at least 1"),
    ] {
        assert!(refuse(text).contains(expected), "{text}: {}", refuse(text));
    }
}

#[test]
fn snapshots_of_the_metadata_are_taken_as_often_as_kafkas() {
    let every = |text| {
        let options = resolve(text).options;
        (options.metadata_snapshot_bytes, options.metadata_snapshot_every)
    };
    assert_eq!(every(""), (20 << 20, Some(Duration::from_secs(3600))));
    let given = "metadata.log.max.record.bytes.between.snapshots=5\nmetadata.log.max.snapshot.interval.ms=0";
    assert_eq!(every(given), (5, None));
}

#[test]
fn the_older_name_of_the_id_counts_alone() {
    assert_eq!(resolve("broker.id=7").options.node_id, 7);
    assert_eq!(resolve("broker.id=-1").options.node_id, 1);
}

#[test]
fn what_is_shown_is_read_back() {
    let config = resolve("log.dirs=/a\\\\b\nbroker.rack=\\ x\nshards=2\nhttp.listeners=");
    let text = config.render();
    assert!(text.contains("# server.properties, line 3\nshards=2\n"), "{text}");
    assert!(text.contains("# default\nnum.partitions=1\n"), "{text}");
    assert!(text.contains("# default: not set\n# log.retention.ms=\n"), "{text}");
    let again = resolve(&text);
    assert_eq!(again.options.data_dir, PathBuf::from("/a\\b"));
    let values = |config: &Config| config.settings.iter().map(|s| s.value.clone()).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&config));
}
