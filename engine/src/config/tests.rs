//! What is given, what comes of it, and what is said about it.

use super::*;
use hayate_storage::config::LogConfig;

fn machine() -> Machine {
    Machine { cores: 3, memory_bytes: 3 << 30, host: "machine".to_owned() }
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
    assert_eq!(options.listen, SocketAddr::from(([127, 0, 0, 1], 9092)));
    assert_eq!(options.advertised, ("127.0.0.1".to_owned(), 9092));
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
    let config = resolve(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
         listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n\
         num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
         socket.receive.buffer.bytes=102400\nsocket.request.max.bytes=104857600\n\
         log.dirs=/tmp/kraft-combined-logs\nnum.partitions=1\nnum.recovery.threads.per.data.dir=1\n\
         offsets.topic.replication.factor=1\nlog.retention.hours=168\nlog.segment.bytes=1073741824\n\
         log.retention.check.interval.ms=300000\n",
    );
    assert!(config.options.listen.ip().is_unspecified());
    assert_eq!(config.options.advertised, ("localhost".to_owned(), 9092));
    let warned = |name: &str| config.warnings.iter().any(|warning| warning.starts_with(name));
    assert!(warned("num.io.threads") && warned("offsets.topic.replication.factor"));
    assert_eq!(config.warnings.len(), 8, "{:#?}", config.warnings);
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
        ("listeners=PLAINTEXT://0.0.0.0:1", "set advertised.listeners"),
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
