//! Configurations that are changed while the broker runs: what may be, what it does to records at once, where it shows, and that it
//! lasts.

use super::{check, check_with};
use hayate_engine::broker::BrokerOptions;
use hayate_engine::config::{Config, Given, Machine, Origin};
use hayate_net::error::ErrorCode;
use hayate_rt::Rt;
use hayate_tests::broker_sim::{CLIENT, Client, checked};
use kafka_protocol::messages::alter_configs_request;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

/// A kind of resource and a name.
pub(super) type Resource = (i8, &'static str);
/// A name and a value, `None` to delete; `+` or `-` before the name for lists.
pub(super) type Change<'a> = (&'a str, Option<&'a str>);

const BROKER: i8 = 4;
const TOPIC: Resource = (2, "t");
pub(super) const THIS_BROKER: Resource = (BROKER, "1");
pub(super) const ALL_BROKERS: Resource = (BROKER, "");

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn alterable(change: &Change<'_>) -> AlterableConfig {
    let (name, value) = change;
    let (name, operation) = match (name.strip_prefix('+'), name.strip_prefix('-'), value) {
        (Some(name), _, _) => (name, 2),
        (_, Some(name), _) => (name, 3),
        (_, _, Some(_)) => (*name, 0),
        (_, _, None) => (*name, 1),
    };
    AlterableConfig::default()
        .with_name(string(name))
        .with_config_operation(operation)
        .with_value(value.map(string))
}

pub(super) fn incremental(resource: Resource, changes: &[Change<'_>]) -> AlterConfigsResource {
    AlterConfigsResource::default()
        .with_resource_type(resource.0)
        .with_resource_name(string(resource.1))
        .with_configs(changes.iter().map(alterable).collect())
}

pub(super) type Outcome = Result<(), (ErrorCode, String)>;

fn outcome(code: i16, message: &Option<StrBytes>) -> Outcome {
    checked(code).map_err(|code| (code, message.as_deref().unwrap_or_default().to_owned()))
}

pub(super) async fn ask(
    client: &mut Client,
    resources: Vec<AlterConfigsResource>,
    validate_only: bool,
) -> Vec<Outcome> {
    let request =
        IncrementalAlterConfigsRequest::default().with_resources(resources).with_validate_only(validate_only);
    let response = client.ask(1, &request).await;
    response.responses.iter().map(|one| outcome(one.error_code, &one.error_message)).collect()
}

pub(super) async fn alter(client: &mut Client, resource: Resource, changes: &[Change<'_>]) -> Outcome {
    ask(client, vec![incremental(resource, changes)], false).await.remove(0)
}

pub(super) async fn replace(client: &mut Client, resource: Resource, configs: &[Change<'_>]) -> Outcome {
    let config = |(name, value): &Change<'_>| {
        alter_configs_request::AlterableConfig::default()
            .with_name(string(name))
            .with_value(value.map(string))
    };
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(resource.0)
        .with_resource_name(string(resource.1))
        .with_configs(configs.iter().map(config).collect());
    let response = client.ask(2, &AlterConfigsRequest::default().with_resources(vec![resource])).await;
    outcome(response.responses[0].error_code, &response.responses[0].error_message)
}

/// What DescribeConfigs tells of one configuration.
#[derive(Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) value: Option<String>,
    pub(super) source: i8,
    /// `source:name=value`, the one in force first.
    pub(super) synonyms: Vec<String>,
    pub(super) read_only: bool,
    pub(super) sensitive: bool,
}

pub(super) async fn describe_all(client: &mut Client, resource: Resource) -> Vec<(String, Shown)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(resource.0)
        .with_resource_name(string(resource.1))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let response = client.ask(4, &request).await;
    assert_eq!(checked(response.results[0].error_code), Ok(()));
    let text = |text: &Option<StrBytes>| text.as_ref().map(ToString::to_string);
    let configs = response.results[0].configs.iter().map(|config| {
        let synonyms = config.synonyms.iter().map(|synonym| {
            let value = text(&synonym.value).unwrap_or_else(|| "null".to_owned());
            format!("{}:{}={value}", synonym.source, synonym.name.as_str())
        });
        let shown = Shown {
            value: text(&config.value),
            source: config.config_source,
            synonyms: synonyms.collect(),
            read_only: config.read_only,
            sensitive: config.is_sensitive,
        };
        (config.name.to_string(), shown)
    });
    configs.collect()
}

async fn describe(client: &mut Client, resource: Resource, name: &str) -> Shown {
    let mut all = describe_all(client, resource).await;
    let at = all.iter().position(|(shown, _)| shown == name).expect("described");
    all.swap_remove(at).1
}

async fn value(client: &mut Client, resource: Resource, name: &str) -> (String, i8) {
    let shown = describe(client, resource, name).await;
    (shown.value.expect("shown"), shown.source)
}

#[test]
fn configurations_of_a_topic_are_set_and_deleted_and_lists_changed_word_by_word() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 1).await;
        let policy = "cleanup.policy";
        for (change, expected) in [
            (("retention.ms", Some("5000")), ("retention.ms", "5000", 1)),
            (("retention.ms", None), ("retention.ms", "604800000", 5)),
            (("retention.ms", None), ("retention.ms", "604800000", 5)),
            (("+cleanup.policy", Some("compact")), (policy, "delete,compact", 1)),
            (("+cleanup.policy", Some("compact,delete")), (policy, "delete,compact", 1)),
            (("-cleanup.policy", Some("delete")), (policy, "compact", 1)),
            (("-cleanup.policy", Some("compact")), (policy, "", 1)),
            ((policy, None), (policy, "delete", 5)),
        ] {
            assert_eq!(alter(&mut client, TOPIC, &[change]).await, Ok(()), "{change:?}");
            let (name, text, source) = expected;
            assert_eq!(value(&mut client, TOPIC, name).await, (text.to_owned(), source), "{change:?}");
        }
    });
}

#[test]
fn the_older_request_replaces_everything() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 1).await;
        let both = [("retention.ms", Some("5000")), ("segment.ms", Some("7000"))];
        assert_eq!(replace(&mut client, TOPIC, &both).await, Ok(()));
        assert_eq!(value(&mut client, TOPIC, "segment.ms").await, ("7000".into(), 1));
        assert_eq!(replace(&mut client, TOPIC, &[("segment.ms", Some("8000"))]).await, Ok(()));
        assert_eq!(value(&mut client, TOPIC, "segment.ms").await, ("8000".into(), 1));
        assert_eq!(value(&mut client, TOPIC, "retention.ms").await.1, 5);
        let null = replace(&mut client, TOPIC, &[("segment.ms", None)]).await;
        assert_eq!(
            null,
            Err((ErrorCode::InvalidRequest, "Null value not supported for : segment.ms".into()))
        );
        let fixed = replace(&mut client, THIS_BROKER, &[("node.id", Some("7"))]).await;
        let refused = "Cannot update these configs dynamically: Set(node.id)";
        assert_eq!(fixed, Err((ErrorCode::InvalidRequest, refused.into())));
    });
}

#[test]
fn what_is_only_validated_changes_nothing() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 1).await;
        let changes = |text: &'static str| {
            vec![
                incremental(TOPIC, &[("retention.ms", Some(text))]),
                incremental(ALL_BROKERS, &[("log.retention.ms", Some(text))]),
            ]
        };
        assert_eq!(ask(&mut client, changes("5000"), true).await, [Ok(()), Ok(())]);
        let refused = ask(&mut client, changes("soon"), true).await;
        let codes: Vec<_> = refused.into_iter().map(|outcome| outcome.unwrap_err().0).collect();
        assert_eq!(codes, [ErrorCode::InvalidConfig, ErrorCode::InvalidRequest]);
        assert_eq!(value(&mut client, TOPIC, "retention.ms").await, ("604800000".into(), 5));
        assert!(describe_all(&mut client, ALL_BROKERS).await.is_empty());
    });
}

/// A change, and the code and message that it must be refused with.
type Refused = (Resource, Vec<Change<'static>>, ErrorCode, &'static str);

const BAD_CONFIG: ErrorCode = ErrorCode::InvalidConfig;
const BAD_REQUEST: ErrorCode = ErrorCode::InvalidRequest;

fn set(name: &'static str, value: &'static str) -> Vec<Change<'static>> {
    vec![(name, Some(value))]
}

fn check_refused(cases: fn() -> Vec<Refused>) {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 1).await;
        for (resource, changes, code, message) in cases() {
            let refused = alter(&mut client, resource, &changes).await;
            assert_eq!(refused, Err((code, message.to_owned())), "{resource:?} {changes:?}");
        }
        assert_eq!(value(&mut client, TOPIC, "retention.ms").await, ("604800000".into(), 5));
        assert!(describe_all(&mut client, ALL_BROKERS).await.is_empty());
    });
}

#[test]
fn what_a_topic_cannot_be_set_to_is_refused_in_kafkas_words() {
    check_refused(|| {
        vec![
            (TOPIC, set("no.such", "1"), BAD_CONFIG, "Unknown topic config name: no.such"),
            (
                TOPIC,
                set("retention.ms", "soon"),
                BAD_CONFIG,
                "Invalid value soon for configuration retention.ms: Not a number of type LONG",
            ),
            (
                TOPIC,
                set("+retention.ms", "1"),
                BAD_CONFIG,
                "Can't APPEND to key retention.ms because its type is not LIST.",
            ),
            (
                TOPIC,
                vec![("+cleanup.policy", None)],
                BAD_REQUEST,
                "Null value not supported for : cleanup.policy",
            ),
            (
                TOPIC,
                vec![("retention.ms", None), ("retention.ms", Some("1"))],
                BAD_REQUEST,
                "Error due to duplicate config keys",
            ),
            (
                (2, "nowhere"),
                set("retention.ms", "1"),
                ErrorCode::UnknownTopicOrPartition,
                "The topic 'nowhere' does not exist.",
            ),
            ((2, ""), set("retention.ms", "1"), BAD_REQUEST, "Default topic resources are not allowed."),
        ]
    });
}

#[test]
fn what_a_broker_cannot_be_set_to_is_refused_in_kafkas_words() {
    check_refused(|| {
        vec![
            (
                THIS_BROKER,
                set("num.partitions", "2"),
                BAD_REQUEST,
                "Cannot update these configs dynamically: Set(num.partitions)",
            ),
            (
                ALL_BROKERS,
                set("log.segment.bytes", "14"),
                BAD_REQUEST,
                "Invalid value 14 for configuration log.segment.bytes: Value must be at least 1048576",
            ),
            (
                ALL_BROKERS,
                set("+log.retention.ms", "14"),
                BAD_CONFIG,
                "Config value append is not allowed for config key: log.retention.ms",
            ),
            (
                (BROKER, "2"),
                set("log.retention.ms", "1"),
                BAD_REQUEST,
                "Unexpected broker id, expected 1, but received 2",
            ),
            (
                (BROKER, "one"),
                set("log.retention.ms", "1"),
                BAD_REQUEST,
                "Node id must be an integer, but it is: one",
            ),
            (
                (16, "m"),
                set("interval.ms", "1"),
                BAD_REQUEST,
                "Invalid value 1 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
            ),
            (
                (32, "g"),
                set("consumer.session.timeout.ms", "1"),
                BAD_CONFIG,
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            ((64, "g"), set("consumer.session.timeout.ms", "1"), BAD_REQUEST, "Unknown resource type 64"),
            ((77, "x"), vec![], BAD_REQUEST, "Unknown resource type 77"),
        ]
    });
}

#[test]
fn what_a_request_names_twice_or_nobody_knows_is_refused() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 1).await;
        let twice = vec![incremental(TOPIC, &[]), incremental(ALL_BROKERS, &[]), incremental(TOPIC, &[])];
        let once = (BAD_REQUEST, "Each resource must appear at most once.".to_owned());
        assert_eq!(ask(&mut client, twice, false).await, [Err(once), Ok(())]);
        let often = vec![incremental(TOPIC, &[]); 5000];
        assert_eq!(
            ask(&mut client, often, false).await.len(),
            1,
            "answers do not grow with what is repeated"
        );
        let long = "ä".repeat(9000);
        let (code, message) = alter(&mut client, TOPIC, &[(&long, Some(&long))]).await.unwrap_err();
        assert_eq!((code, message.len()), (BAD_CONFIG, 999), "nor with what is named");
        let mut unknown = incremental(TOPIC, &[("retention.ms", Some("1"))]);
        unknown.configs[0].config_operation = 9;
        let unknown = ask(&mut client, vec![unknown], false).await;
        assert_eq!(unknown, [Err((BAD_REQUEST, "Unknown operations type 9".into()))]);
        assert_eq!(value(&mut client, TOPIC, "retention.ms").await, ("604800000".into(), 5));
    });
}

/// Whether a topic takes a record of 600 bytes.
async fn takes_600(client: &mut Client, topic: &str) -> bool {
    let (topic, partitions) = client.metadata_of(topic, false).await.expect("it exists");
    let mut takes = Vec::new();
    for partition in 0..partitions as i32 {
        match client.produce(&topic, partition, &["x".repeat(600).as_str()]).await {
            Ok(_) => takes.push(true),
            Err(code) => {
                assert_eq!(code, ErrorCode::MessageTooLarge);
                takes.push(false);
            }
        }
    }
    assert!(takes.windows(2).all(|pair| pair[0] == pair[1]), "on every shard: {takes:?}");
    takes[0]
}

#[test]
fn a_change_is_in_force_when_it_is_answered() {
    check(3, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 6).await;
        for (value, takes) in [(None, true), (Some("500"), false), (Some("5000"), true), (Some("400"), false)]
        {
            assert_eq!(alter(&mut client, TOPIC, &[("max.message.bytes", value)]).await, Ok(()));
            assert_eq!(takes_600(&mut client, "t").await, takes, "{value:?}");
        }
    });
}

#[test]
fn what_is_set_for_brokers_reaches_topics_that_set_nothing_themselves() {
    check(3, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 6).await;
        client.create_topic("own", 6).await;
        let own = [("max.message.bytes", Some("5000"))];
        assert_eq!(alter(&mut client, (2, "own"), &own).await, Ok(()));
        let name = "message.max.bytes";
        for (resource, value, takes) in [
            (ALL_BROKERS, Some("500"), false),
            (THIS_BROKER, Some("5000"), true),
            (ALL_BROKERS, Some("300"), true),
            (THIS_BROKER, None, false),
            (ALL_BROKERS, None, true),
            (THIS_BROKER, Some("500"), false),
        ] {
            assert_eq!(alter(&mut client, resource, &[(name, value)]).await, Ok(()));
            assert_eq!(takes_600(&mut client, "t").await, takes, "{resource:?} {value:?}");
            assert!(takes_600(&mut client, "own").await, "{resource:?} {value:?}");
        }
        client.metadata_of("on-demand", true).await.expect("created");
        assert!(!takes_600(&mut client, "on-demand").await, "topics that are created later too");
    });
}

#[test]
fn retention_goes_by_what_was_set_last() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let small = [("log.segment.bytes", Some("1048576")), ("log.retention.bytes", Some("1"))];
        let (going, kept) = (client.create_topic("t", 1).await, client.create_topic("kept", 1).await);
        let all = [("retention.bytes", Some("-1")), ("retention.ms", Some("-1"))];
        assert_eq!(alter(&mut client, (2, "kept"), &all).await, Ok(()));
        assert_eq!(alter(&mut client, ALL_BROKERS, &small).await, Ok(()));
        for _ in 0..4 {
            for topic in [&going, &kept] {
                client.produce(topic, 0, &["x".repeat(700_000).as_str()]).await.unwrap();
            }
        }
        Rt::sim(bench.sim.node(CLIENT)).sleep(Duration::from_secs(700)).await;
        let mut client = bench.client().await;
        let gone = client.fetch(&going, &[(0, 0)], 1, 0).await;
        let code = gone.responses[0].partitions[0].error_code;
        assert_eq!(checked(code), Err(ErrorCode::OffsetOutOfRange));
        let there = client.fetch(&kept, &[(0, 0)], 1, 0).await;
        assert_eq!(checked(there.responses[0].partitions[0].error_code), Ok(()));
    });
}

fn changes_last(options: fn(&mut BrokerOptions)) {
    check_with(2, options, |bench| async move {
        let mut running = Some(bench.start().await);
        let mut client = bench.client().await;
        client.create_topic("t", 4).await;
        client.create_topic("plain", 4).await;
        assert_eq!(alter(&mut client, TOPIC, &[("max.message.bytes", Some("5000"))]).await, Ok(()));
        assert_eq!(alter(&mut client, TOPIC, &[("retention.ms", Some("5"))]).await, Ok(()));
        assert_eq!(alter(&mut client, TOPIC, &[("retention.ms", None)]).await, Ok(()));
        let default = [("message.max.bytes", Some("500"))];
        assert_eq!(alter(&mut client, ALL_BROKERS, &default).await, Ok(()));
        for is_clean in [false, true, false] {
            let stopping = running.take().expect("it runs");
            if is_clean {
                bench.stop(stopping).await;
            } else {
                drop(stopping);
            }
            bench.crash();
            running = Some(bench.start().await);
            let mut client = bench.client().await;
            assert!(takes_600(&mut client, "t").await);
            assert!(!takes_600(&mut client, "plain").await);
            assert_eq!(value(&mut client, TOPIC, "retention.ms").await.1, 5);
            assert_eq!(value(&mut client, ALL_BROKERS, "message.max.bytes").await, ("500".into(), 3));
        }
    });
}

#[test]
fn changes_last_beyond_stops_and_crashes() {
    changes_last(|_| ());
}

#[test]
fn changes_last_in_snapshots() {
    changes_last(|options| {
        options.metadata_snapshot_bytes = 1;
        options.metadata_segment_bytes = 4 << 10;
    });
}

/// As from a file.
fn from_file(options: &mut BrokerOptions) {
    let given = [("log.retention.hours", "2"), ("log.segment.bytes", "2000000"), ("num.partitions", "3")];
    let given = given.map(|(key, value)| Given {
        key: key.to_owned(),
        value: value.to_owned(),
        origin: Origin::CommandLine("--override"),
    });
    let machine = Machine { cores: 1, memory_bytes: 1 << 30 };
    let resolved = Config::resolve(&given, &machine).expect("valid").options;
    options.broker_configs = resolved.broker_configs;
    options.topic_defaults = resolved.topic_defaults;
}

#[test]
fn each_value_shows_where_it_comes_from() {
    check_with(1, from_file, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 1).await;
        for (resource, change) in [
            (TOPIC, ("segment.bytes", Some("5000000"))),
            (ALL_BROKERS, ("log.segment.bytes", Some("3000000"))),
            (THIS_BROKER, ("log.segment.bytes", Some("4000000"))),
            (ALL_BROKERS, ("log.retention.ms", Some("9000"))),
            (ALL_BROKERS, ("my.own", Some("secret"))),
        ] {
            assert_eq!(alter(&mut client, resource, &[change]).await, Ok(()));
        }
        let shown = |value: &str, source, synonyms: &[&str]| Shown {
            value: Some(value.to_owned()),
            source,
            synonyms: synonyms.iter().map(|synonym| (*synonym).to_owned()).collect(),
            read_only: false,
            sensitive: false,
        };
        let below = [
            "2:log.segment.bytes=4000000",
            "3:log.segment.bytes=3000000",
            "4:log.segment.bytes=2000000",
            "5:log.segment.bytes=1073741824",
        ];
        let of_topic = [&["1:segment.bytes=5000000"][..], &below].concat();
        let retention = ["3:log.retention.ms=9000", "4:log.retention.hours=2", "5:log.retention.hours=168"];
        let hours = ["4:log.retention.hours=2", "5:log.retention.hours=168"];
        let fixed = ["4:num.partitions=3", "5:num.partitions=1"];
        for (resource, name, expected) in [
            (TOPIC, "segment.bytes", shown("5000000", 1, &of_topic)),
            (TOPIC, "retention.ms", shown("9000", 3, &retention)),
            (THIS_BROKER, "log.segment.bytes", shown("4000000", 2, &below)),
            (THIS_BROKER, "log.retention.ms", shown("9000", 3, &retention)),
            (THIS_BROKER, "log.retention.hours", Shown { read_only: true, ..shown("168", 4, &hours) }),
            (THIS_BROKER, "num.partitions", Shown { read_only: true, ..shown("3", 4, &fixed) }),
            (ALL_BROKERS, "log.segment.bytes", shown("3000000", 3, &below[1..2])),
            (
                ALL_BROKERS,
                "my.own",
                Shown { value: None, read_only: true, sensitive: true, ..shown("", 3, &["3:my.own=null"]) },
            ),
        ] {
            assert_eq!(describe(&mut client, resource, name).await, expected, "{resource:?} {name}");
        }
        assert_eq!(describe_all(&mut client, ALL_BROKERS).await.len(), 3);
    });
}

#[test]
fn resources_that_have_configurations_are_listed() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 1).await;
        client.create_topic("u", 1).await;
        let all =
            [(8, "1"), (4, "1"), (2, "t"), (2, "u")].map(|(kind, name)| (kind, name.to_owned())).to_vec();
        for (version, types, expected) in [
            (0, vec![], Ok(vec![])),
            (1, vec![], Ok(all.clone())),
            (1, vec![2, 4, 8, 16, 32, 2], Ok(all.clone())),
            (1, vec![2], Ok(all[2..].to_vec())),
            (1, vec![8], Ok(all[..1].to_vec())),
            (1, vec![16], Ok(vec![])),
            (1, vec![2, 7], Err(ErrorCode::UnsupportedVersion)),
        ] {
            let request = ListConfigResourcesRequest::default().with_resource_types(types.clone());
            let response = client.ask(version, &request).await;
            let listed = response.config_resources.iter();
            let listed = listed.map(|one| (one.resource_type, one.resource_name.to_string())).collect();
            let outcome: Result<Vec<_>, _> = checked(response.error_code).map(|()| listed);
            assert_eq!(outcome, expected, "version {version}, {types:?}");
        }
    });
}
