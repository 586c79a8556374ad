//! Client telemetry (KIP-714) against a whole simulated broker: subscriptions that administrators make, and clients that push.

use super::check;
use hayate_engine::broker::RunningShard;
use hayate_engine::metrics::sample;
use hayate_engine::telemetry::ClientFigures;
use hayate_net::error::ErrorCode;
use hayate_rt::Rt;
use hayate_storage::batch::Codec;
use hayate_storage::batch::compress::{Level, compress};
use hayate_tests::broker_sim::{CLIENT, Client, checked};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{AlterConfigsRequest, MetadataRequest};
use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeConfigsRequest, GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    PushTelemetryRequest, alter_configs_request,
};
use kafka_protocol::protocol::StrBytes;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const CLIENT_METRICS: i8 = 16;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Changes one subscription; the error and its words.
async fn alter(
    client: &mut Client,
    name: &str,
    changes: &[(&str, i8, &str)],
) -> (Result<(), ErrorCode>, String) {
    let config = |(key, operation, value): &(&str, i8, &str)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value((*operation != DELETE).then(|| text(value)))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(CLIENT_METRICS)
        .with_resource_name(text(name))
        .with_configs(changes.iter().map(config).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response = client.ask(1, &request).await;
    let altered = &response.responses[0];
    (checked(altered.error_code), altered.error_message.as_ref().map(ToString::to_string).unwrap_or_default())
}

async fn subscribe(client: &mut Client, name: &str, configs: &[(&str, &str)]) {
    let changes: Vec<_> = configs.iter().map(|(key, value)| (*key, SET, *value)).collect();
    assert_eq!(alter(client, name, &changes).await, (Ok(()), String::new()));
}

/// The names of all subscriptions.
async fn subscriptions(client: &mut Client, version: i16) -> Vec<String> {
    let kinds = if version == 0 { Vec::new() } else { vec![CLIENT_METRICS] };
    let request = ListConfigResourcesRequest::default().with_resource_types(kinds);
    let response = client.ask(version, &request).await;
    assert_eq!(checked(response.error_code), Ok(()));
    let mut names: Vec<_> =
        response.config_resources.iter().map(|resource| resource.resource_name.to_string()).collect();
    names.sort_unstable();
    names
}

/// Each configuration of a subscription: its value, where from, and what could have set it.
async fn described(client: &mut Client, name: &str) -> Result<Vec<(String, i8, usize)>, ErrorCode> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(CLIENT_METRICS)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let response = client.ask(4, &request).await;
    let result = &response.results[0];
    checked(result.error_code)?;
    let shown = result.configs.iter().map(|config| {
        let value = config.value.as_ref().map(ToString::to_string).unwrap_or_default();
        (format!("{}={value}", config.name.as_str()), config.config_source, config.synonyms.len())
    });
    Ok(shown.collect())
}

#[test]
fn subscriptions_are_made_listed_described_kept_and_deleted() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        assert!(subscriptions(&mut client, 1).await.is_empty());
        let all =
            [("metrics", " org.apache.kafka. ,b,b"), ("interval.ms", "1000"), ("match", "client_id=a.*")];
        subscribe(&mut client, "one", &all).await;
        subscribe(&mut client, "two", &[("metrics", "*")]).await;
        drop(running);
        bench.crash();
        let _running = bench.start().await;
        let mut client = bench.client().await;
        for version in 0..=1 {
            assert_eq!(subscriptions(&mut client, version).await, ["one", "two"]);
        }
        let shown = |configs: [(&str, i8, usize); 3]| {
            Ok(configs.map(|(config, source, synonyms)| (config.to_owned(), source, synonyms)).to_vec())
        };
        assert_eq!(
            described(&mut client, "one").await,
            shown([
                ("interval.ms=1000", 7, 1),
                ("match=client_id=a.*", 7, 1),
                ("metrics=org.apache.kafka.,b", 7, 1)
            ])
        );
        let unset = shown([("interval.ms=300000", 5, 0), ("match=", 5, 0), ("metrics=", 5, 0)]);
        assert_eq!(described(&mut client, "nobody made it").await, unset);
        assert_eq!(described(&mut client, "").await, Err(ErrorCode::InvalidRequest));
        let deleted = all.map(|(key, _)| (key, DELETE, ""));
        assert_eq!(alter(&mut client, "one", &deleted).await.0, Ok(()));
        assert_eq!(subscriptions(&mut client, 1).await, ["two"]);
        assert_eq!(described(&mut client, "one").await, unset);
    });
}

#[test]
fn subscriptions_that_make_no_sense_are_refused_in_kafkas_words() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        for (name, change, code, words) in [
            ("", ("metrics", SET, "a"), ErrorCode::InvalidRequest, "Subscription name can't be empty"),
            ("x", ("foo", SET, "1"), ErrorCode::InvalidRequest, "Unknown client metrics configuration: foo"),
            (
                "x",
                ("interval.ms", SET, "50"),
                ErrorCode::InvalidRequest,
                "Invalid value 50 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
            ),
            (
                "x",
                ("interval.ms", SET, "abc"),
                ErrorCode::InvalidConfig,
                "Invalid value abc for configuration interval.ms: Not a number of type INT",
            ),
            (
                "x",
                ("match", SET, "nope=1"),
                ErrorCode::InvalidConfig,
                "Illegal client matching pattern: nope=1",
            ),
            (
                "x",
                ("metrics", APPEND, "a"),
                ErrorCode::InvalidConfig,
                "Can't APPEND to key metrics because its type is not LIST.",
            ),
        ] {
            assert_eq!(alter(&mut client, name, &[change]).await, (Err(code), words.to_owned()));
        }
        assert!(subscriptions(&mut client, 1).await.is_empty());
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("metrics"))
            .with_value(Some(text("a")));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(CLIENT_METRICS)
            .with_resource_name(text("old way"))
            .with_configs(vec![config]);
        let response = client.ask(2, &AlterConfigsRequest::default().with_resources(vec![resource])).await;
        assert_eq!(checked(response.responses[0].error_code), Ok(()));
        assert_eq!(subscriptions(&mut client, 1).await, ["old way"]);
    });
}

/// A protobuf field that holds bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80).expect("short");
    [&[number << 3 | 2, length][..], content].concat()
}

/// OTLP: one sum that grows, told since the last push, and one gauge for a topic.
fn otlp(sent: i64, open: i64) -> Vec<u8> {
    let number = |value: i64| [&[6 << 3 | 1][..], &value.to_le_bytes()].concat();
    let sum = [field(1, &number(sent)), vec![2 << 3, 1, 3 << 3, 1]].concat();
    let sum = field(2, &[field(1, b"sent"), field(7, &sum)].concat());
    let topic = field(7, &[field(1, b"topic"), field(2, &field(1, b"t1"))].concat());
    let gauge = field(5, &field(1, &[number(open), topic].concat()));
    let gauge = field(2, &[field(1, b"open"), gauge].concat());
    field(1, &field(2, &[sum, gauge].concat()))
}

async fn get(client: &mut Client, id: Uuid) -> GetTelemetrySubscriptionsResponse {
    client.ask(0, &GetTelemetrySubscriptionsRequest::default().with_client_instance_id(id)).await
}

fn pushed(told: &GetTelemetrySubscriptionsResponse, codec: Codec, metrics: &[u8]) -> PushTelemetryRequest {
    PushTelemetryRequest::default()
        .with_client_instance_id(told.client_instance_id)
        .with_subscription_id(told.subscription_id)
        .with_compression_type(codec as i8)
        .with_metrics(compress(codec, Level::Default, metrics).into())
}

async fn push(client: &mut Client, request: &PushTelemetryRequest) -> Result<(), ErrorCode> {
    checked(client.ask(0, request).await.error_code)
}

/// What clients have pushed, as the metrics of all shards show it.
fn figures(running: &[RunningShard]) -> Vec<Arc<ClientFigures>> {
    running.iter().for_each(|running| sample(&running.shard, &running.store, &running.shard.metrics));
    running.iter().flat_map(|running| running.shard.metrics.clients.figures().to_vec()).collect()
}

#[test]
fn what_clients_push_is_among_the_metrics_until_they_go() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        subscribe(&mut client, "one", &[("metrics", "sent,open"), ("interval.ms", "1000")]).await;
        let told = get(&mut client, Uuid::nil()).await;
        assert_eq!((checked(told.error_code), told.client_instance_id.is_nil()), (Ok(()), false));
        assert_eq!(
            (told.push_interval_ms, told.telemetry_max_bytes, told.delta_temporality),
            (1000, 1 << 20, true)
        );
        assert_eq!(told.requested_metrics, [text("open"), text("sent")]);
        assert_eq!(told.accepted_compression_types, [4, 3, 1, 2]);
        for (round, codec) in Codec::ALL.into_iter().enumerate() {
            assert_eq!(push(&mut client, &pushed(&told, codec, &otlp(3, round as i64))).await, Ok(()));
            rt.sleep(Duration::from_secs(1)).await;
        }
        let shown = figures(&running);
        assert_eq!((shown.len(), shown[0].len()), (1, 2));
        let (sum, gauge) = (shown[0].sums.iter().next().unwrap(), shown[0].gauges.iter().next().unwrap());
        assert_eq!((sum.0.metric.as_str(), *sum.1), ("sent", 15.0), "each brought what came since");
        assert_eq!((gauge.0.metric.as_str(), *gauge.1), ("open", 4.0), "the last one counts");
        assert_eq!(gauge.0.labels, [("topic".to_owned(), "t1".to_owned())]);
        drop(client);
        // Another connection of the same shards: the first is surely gone when these are answered later.
        rt.sleep(Duration::from_secs(1)).await;
        bench.client().await.ask(12, &MetadataRequest::default()).await;
        assert!(figures(&running).is_empty());
        let instances: u64 =
            running.iter().map(|running| running.shard.metrics.clients.instances.get()).sum();
        assert_eq!(instances, 0);
    });
}

#[test]
fn pushes_that_make_no_sense_are_refused() {
    check(1, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        subscribe(&mut client, "one", &[("metrics", "*"), ("interval.ms", "1000")]).await;
        let told = get(&mut client, Uuid::from_u128(4711)).await;
        assert_eq!(told.client_instance_id, Uuid::from_u128(4711), "its own id is taken");
        let early = get(&mut client, told.client_instance_id).await;
        assert_eq!(checked(early.error_code), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert!(early.client_instance_id.is_nil());
        let good = pushed(&told, Codec::Zstd, &otlp(1, 1));
        let nobody = good.clone().with_client_instance_id(Uuid::nil());
        assert_eq!(push(&mut client, &nobody).await, Err(ErrorCode::InvalidRequest));
        let stale = good.clone().with_subscription_id(good.subscription_id ^ 1);
        assert_eq!(push(&mut client, &stale).await, Err(ErrorCode::UnknownSubscriptionId));
        for (bad, expected) in [
            (good.clone().with_compression_type(9), ErrorCode::UnsupportedCompressionType),
            (good.clone().with_metrics(vec![0; (1 << 20) + 1].into()), ErrorCode::TelemetryTooLarge),
            (pushed(&told, Codec::Zstd, &vec![0; (1 << 20) + 1]), ErrorCode::TelemetryTooLarge),
            (good.clone().with_metrics(b"no zstd".as_slice().into()), ErrorCode::InvalidRecord),
            (pushed(&told, Codec::None, b"\xff"), ErrorCode::InvalidRecord),
        ] {
            Rt::sim(bench.sim.node(CLIENT)).sleep(Duration::from_secs(1)).await;
            assert_eq!(push(&mut client, &bad).await, Err(expected));
        }
        assert_eq!(push(&mut client, &good).await, Err(ErrorCode::ThrottlingQuotaExceeded));
        let last = good.clone().with_terminating(true);
        assert_eq!(push(&mut client, &last).await, Ok(()));
        assert_eq!(push(&mut client, &good).await, Err(ErrorCode::InvalidRequest));
        assert_eq!(figures(&running).len(), 1);
    });
}

#[test]
fn a_subscription_is_for_the_clients_that_match() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let java = "client_software_name=apache-kafka-java,client_software_version=4\\..*";
        subscribe(&mut client, "java", &[("metrics", "a"), ("match", java)]).await;
        for (name, version, expected) in
            [("apache-kafka-java", "4.2.1", 1), ("apache-kafka-java", "3.9.0", 0), ("librdkafka", "4.2.1", 0)]
        {
            let mut client = bench.client().await;
            let request = ApiVersionsRequest::default()
                .with_client_software_name(text(name))
                .with_client_software_version(text(version));
            client.ask(3, &request).await;
            assert_eq!(
                get(&mut client, Uuid::nil()).await.requested_metrics.len(),
                expected,
                "{name} {version}"
            );
        }
        assert!(get(&mut client, Uuid::nil()).await.requested_metrics.is_empty(), "it told nothing");
    });
}
