//! Each kind of request against a whole simulated broker, held to what Kafka answers.

use super::{check, check_with, producer_id};
use hayate_engine::api::SERVED;
use hayate_net::error::ErrorCode;
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::{BatchBuilder, ProducerId};
use hayate_tests::broker_sim::{CLIENT, Client, Topic, checked, name, records_from, records_of, values};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, ApiVersionsRequest, BrokerId, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeQuorumRequest, FetchRequest,
    GetTelemetrySubscriptionsRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    ListConfigResourcesRequest, ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
    PushTelemetryRequest, TransactionalId, UpdateFeaturesRequest,
};
use kafka_protocol::messages::{alter_configs_request, incremental_alter_configs_request};
use kafka_protocol::protocol::{Request, StrBytes};
use std::time::Duration;
use uuid::Uuid;

const T0: i64 = 1_767_225_600_000;

fn list_request(topic: &Topic, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(0)
        .with_timestamp(timestamp)
        .with_current_leader_epoch(-1);
    let asked = ListOffsetsTopic::default().with_name(name(&topic.name)).with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked])
}

async fn list_offset(
    client: &mut Client,
    topic: &Topic,
    timestamp: i64,
) -> Result<(i64, i64, i32), ErrorCode> {
    let response = client.ask(10, &list_request(topic, timestamp)).await;
    let found = &response.topics[0].partitions[0];
    checked(found.error_code).map(|()| (found.timestamp, found.offset, found.leader_epoch))
}

#[test]
fn offsets_by_time() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("timed", 1).await;
        assert_eq!(list_offset(&mut client, &topic, -1).await, Ok((-1, 0, 0)));
        assert_eq!(list_offset(&mut client, &topic, -3).await, Ok((-1, -1, -1)));
        for (number, at) in [T0, T0 + 500, T0 + 200].into_iter().enumerate() {
            let batch =
                BatchBuilder::new().record(at, None, Some(b"x")).record(at + 1, None, Some(b"y")).build();
            assert_eq!(client.produce_records(&topic, 0, batch).await, Ok(2 * number as i64));
        }
        let cases = [
            (-1, Ok((-1, 6, 0))),
            (-2, Ok((-1, 0, 0))),
            (-3, Ok((T0 + 501, 3, 0))),
            (-4, Ok((-1, 0, 0))),
            (-5, Ok((-1, -1, -1))),
            (-9, Err(ErrorCode::UnsupportedVersion)),
            (T0, Ok((T0, 0, 0))),
            (T0 + 1, Ok((T0 + 1, 1, 0))),
            (T0 + 2, Ok((T0 + 500, 2, 0))),
            (T0 + 502, Ok((-1, -1, -1))),
        ];
        for (timestamp, expected) in cases {
            assert_eq!(list_offset(&mut client, &topic, timestamp).await, expected, "{timestamp}");
        }
    });
}

#[test]
fn epochs_end_where_the_next_begins_and_begin_anew_after_a_crash() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("epochs", 1).await;
        client.produce(&topic, 0, &["a", "b"]).await.unwrap();
        drop(running);
        bench.crash();
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.produce(&topic, 0, &["c"]).await.unwrap();
        for (epoch, current, expected) in [
            (0, -1, Ok((0, 2))),
            (1, -1, Ok((1, 3))),
            (1, 1, Ok((1, 3))),
            (9, -1, Ok((-1, -1))),
            (0, 0, Err(ErrorCode::FencedLeaderEpoch)),
            (0, 7, Err(ErrorCode::UnknownLeaderEpoch)),
        ] {
            let partition = OffsetForLeaderPartition::default()
                .with_partition(0)
                .with_current_leader_epoch(current)
                .with_leader_epoch(epoch);
            let asked =
                OffsetForLeaderTopic::default().with_topic(name("epochs")).with_partitions(vec![partition]);
            let request =
                OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
            let response = client.ask(4, &request).await;
            let end = &response.topics[0].partitions[0];
            let outcome = checked(end.error_code).map(|()| (end.leader_epoch, end.end_offset));
            assert_eq!(outcome, expected, "epoch {epoch}, current {current}");
        }
    });
}

#[test]
fn an_unclean_stop_begins_new_epochs_also_when_the_next_start_dies_after_its_recovery() {
    for delay_us in (0..30_000).step_by(1_500) {
        check(1, |bench| async move {
            let running = bench.start().await;
            let mut client = bench.client().await;
            let topic = client.create_topic("epochs", 1).await;
            client.produce(&topic, 0, &["a"]).await.unwrap();
            assert_eq!(leader_epoch(&mut client).await, 0);
            drop(running);
            bench.crash();
            let starting = bench.clone();
            let rt = Rt::sim(bench.sim.node(CLIENT));
            let started = rt.spawn(Queue::Foreground, async move { drop(starting.try_start().await) });
            rt.sleep(Duration::from_micros(delay_us)).await;
            drop(started);
            bench.crash();
            let _running = bench.start().await;
            let epoch = leader_epoch(&mut bench.client().await).await;
            assert!(epoch > 0, "after a start of {delay_us} us");
        });
    }
}

async fn leader_epoch(client: &mut Client) -> i32 {
    let response = client.ask(12, &MetadataRequest::default().with_topics(None)).await;
    response.topics[0].partitions[0].leader_epoch
}

#[test]
fn idempotent_producers_get_ids_of_their_own_and_no_duplicates() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(producer_id(&mut bench.client().await).await);
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4);
        let mut client = bench.client().await;
        let topic = client.create_topic("once", 1).await;
        let batch = |sequence| {
            let batch = BatchBuilder::new().producer(ProducerId(ids[0]), 0, sequence);
            batch.record(T0, None, Some(b"x")).build()
        };
        assert_eq!(client.produce_records(&topic, 0, batch(0)).await, Ok(0));
        assert_eq!(client.produce_records(&topic, 0, batch(1)).await, Ok(1));
        assert_eq!(client.produce_records(&topic, 0, batch(1)).await, Ok(1), "a duplicate");
        let gap = client.produce_records(&topic, 0, batch(5)).await;
        assert_eq!(gap, Err(ErrorCode::OutOfOrderSequenceNumber));
        let transactional = InitProducerIdRequest::default()
            .with_transaction_timeout_ms(60_000)
            .with_transactional_id(Some(TransactionalId(StrBytes::from_static_str("t"))));
        let refused = client.ask(4, &transactional).await;
        assert_eq!(checked(refused.error_code), Err(ErrorCode::NotCoordinator), "nobody has looked for one");
    });
}

#[test]
fn without_acks_nothing_is_answered_and_an_error_closes() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("quiet", 2).await;
        for partition in [0, 1] {
            client.send_unanswered(&topic, partition, records_of(&["x"])).await;
        }
        let fetched = client.fetch(&topic, &[(0, 0), (1, 0)], 2, 5000).await;
        assert!((0..2).all(|partition| values(&fetched, partition).len() <= 1));
        client.send_unanswered(&topic, 9, records_of(&["x"])).await;
        assert!(client.is_closed().await);
    });
}

fn session_fetch(topic: &Topic, session: (i32, i32), partitions: &[(i32, i64)]) -> FetchRequest {
    let partition = |(index, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    };
    let wanted = FetchTopic::default()
        .with_topic_id(topic.id)
        .with_partitions(partitions.iter().map(partition).collect());
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_id(session.0)
        .with_session_epoch(session.1)
        .with_topics(if partitions.is_empty() { Vec::new() } else { vec![wanted] })
}

#[test]
fn a_session_shows_what_is_new() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("session", 2).await;
        let full = client.ask(16, &session_fetch(&topic, (0, 0), &[(0, 0), (1, 0)])).await;
        let id = full.session_id;
        assert!(id > 0 && full.responses[0].partitions.len() == 2);
        let nothing = client.ask(16, &session_fetch(&topic, (id, 1), &[])).await;
        assert_eq!((checked(nothing.error_code), nothing.responses.len()), (Ok(()), 0));
        client.produce(&topic, 1, &["new"]).await.unwrap();
        let news = client.ask(16, &session_fetch(&topic, (id, 2), &[])).await;
        assert_eq!(values(&news, 1), ["new"]);
        assert_eq!(news.responses[0].partitions.len(), 1);
        let wrong = client.ask(16, &session_fetch(&topic, (id, 9), &[])).await;
        assert_eq!(checked(wrong.error_code), Err(ErrorCode::InvalidFetchSessionEpoch));
        let unknown = client.ask(16, &session_fetch(&topic, (id ^ 1, 1), &[])).await;
        assert_eq!(checked(unknown.error_code), Err(ErrorCode::FetchSessionIdNotFound));
    });
}

#[test]
fn fetches_are_refused_with_kafkas_codes() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("bounds", 1).await;
        client.produce(&topic, 0, &["x"]).await.unwrap();
        let stranger = Topic { name: "stranger".into(), id: Uuid::from_u128(77) };
        for (topic, partition, offset, expected) in [
            (&topic, 0, 2, ErrorCode::OffsetOutOfRange),
            (&topic, 0, -1, ErrorCode::OffsetOutOfRange),
            (&topic, 5, 0, ErrorCode::UnknownTopicOrPartition),
            (&stranger, 0, 0, ErrorCode::UnknownTopicId),
        ] {
            let response = client.fetch(topic, &[(partition, offset)], 1, 60_000).await;
            let fetched = &response.responses[0].partitions[0];
            assert_eq!(checked(fetched.error_code), Err(expected));
            assert_eq!(fetched.high_watermark, -1);
        }
    });
}

#[test]
fn bytes_are_bounded_but_the_first_batch_always_comes() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("bytes", 2).await;
        for partition in [0, 0, 1, 1] {
            client.produce(&topic, partition, &["x".repeat(1000).as_str()]).await.unwrap();
        }
        let one = records_of(&["x".repeat(1000).as_str()]).len() as i32;
        for (max_bytes, expected) in
            [(1, [1, 0]), (one, [1, 0]), (2 * one, [2, 0]), (3 * one, [2, 1]), (1 << 20, [2, 2])]
        {
            let request = session_fetch(&topic, (0, -1), &[(0, 0), (1, 0)]).with_max_bytes(max_bytes);
            let response = client.ask(16, &request).await;
            let counts = [0, 1].map(|partition| values(&response, partition).len());
            assert_eq!(counts, expected, "max.bytes {max_bytes}");
        }
    });
}

#[test]
fn the_broker_says_what_it_speaks() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("test"))
            .with_client_software_version(StrBytes::from_static_str("1.0"));
        let response = client.ask(3, &request).await;
        assert_eq!(checked(response.error_code), Ok(()));
        let keys: Vec<i16> = response.api_keys.iter().map(|api| api.api_key).collect();
        let served: Vec<i16> = SERVED.iter().map(|spec| spec.key).collect();
        assert_eq!(keys, served);
        assert!([0, 1, 3, 18].iter().all(|key| keys.contains(key)), "no client does without these");
        assert_eq!(response.api_keys[0].min_version, 0, "librdkafka needs it");
        let nameless = client.ask(3, &ApiVersionsRequest::default()).await;
        assert_eq!(checked(nameless.error_code), Err(ErrorCode::InvalidRequest));
        let future = [0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 0];
        client.send_raw(bytes::Bytes::copy_from_slice(&future)).await;
        let frame = client.receive_raw().await;
        assert_eq!(frame[..6], [0, 0, 0, 5, 0, 35], "correlation id and error, in version 0");
    });
}

#[test]
fn the_cluster_describes_itself() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let request = DescribeClusterRequest::default().with_endpoint_type(1);
        let response = client.ask(2, &request).await;
        assert_eq!((checked(response.error_code), response.controller_id), (Ok(()), BrokerId(1)));
        assert_eq!(response.brokers.len(), 1);
        assert!(!response.brokers[0].is_fenced && response.cluster_id.len() == 22);
        let controllers = client.ask(2, &request.with_endpoint_type(2)).await;
        assert_eq!(checked(controllers.error_code), Err(ErrorCode::MismatchedEndpointType));
        let all = client.ask(12, &MetadataRequest::default().with_topics(None)).await;
        assert_eq!((all.topics.len(), all.brokers[0].port), (0, 9092));
        let by_id = MetadataRequestTopic::default().with_topic_id(Uuid::from_u128(5)).with_name(None);
        let unknown = client.ask(12, &MetadataRequest::default().with_topics(Some(vec![by_id]))).await;
        assert_eq!(checked(unknown.topics[0].error_code), Err(ErrorCode::UnknownTopicId));
    });
}

#[test]
fn whoever_asks_is_told_what_he_may_do() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("open", 1).await;
        let request = DescribeClusterRequest::default().with_endpoint_type(1);
        let told = client.ask(2, &request.clone().with_include_cluster_authorized_operations(true)).await;
        // What Kafka 4.2 answers without an authorizer.
        assert_eq!(told.cluster_authorized_operations, 8096);
        assert_eq!(client.ask(2, &request).await.cluster_authorized_operations, i32::MIN);
        let request = MetadataRequest::default().with_topics(None);
        let told = client.ask(12, &request.clone().with_include_topic_authorized_operations(true)).await;
        assert_eq!(told.topics[0].topic_authorized_operations, 3576);
        assert_eq!(client.ask(12, &request).await.topics[0].topic_authorized_operations, i32::MIN);
        let request = MetadataRequest::default().with_topics(None);
        let told = client.ask(10, &request.with_include_cluster_authorized_operations(true)).await;
        assert_eq!(told.cluster_authorized_operations, 8096);
    });
}

#[test]
fn configurations_are_checked_shown_and_obeyed() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let config = |name: &'static str, value: &'static str| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_static_str(value)))
        };
        let create = |configs| {
            let topic = CreatableTopic::default()
                .with_name(name("configured"))
                .with_num_partitions(1)
                .with_replication_factor(1)
                .with_configs(configs);
            CreateTopicsRequest::default().with_topics(vec![topic])
        };
        let refused = client.ask(7, &create(vec![config("retention.ms", "soon")])).await;
        assert_eq!(checked(refused.topics[0].error_code), Err(ErrorCode::InvalidConfig));
        let small = create(vec![
            config("max.message.bytes", "500"),
            config("message.timestamp.type", "LogAppendTime"),
        ]);
        let created = client.ask(7, &small).await;
        assert_eq!(checked(created.topics[0].error_code), Ok(()));
        let topic = Topic { name: "configured".into(), id: created.topics[0].topic_id };
        let large = client.produce(&topic, 0, &["x".repeat(600).as_str()]).await;
        assert_eq!(large, Err(ErrorCode::MessageTooLarge));
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_static_str("configured"))
            .with_configuration_keys(None);
        let request =
            DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
        let response = client.ask(4, &request).await;
        let shown = |name: &str| {
            let configs = response.results[0].configs.iter();
            let config = configs.clone().find(|config| config.name.as_str() == name).expect("described");
            (config.value.as_deref().map(str::to_owned), config.config_source)
        };
        assert_eq!(shown("max.message.bytes"), (Some("500".into()), 1));
        assert_eq!(
            shown("flush.messages"),
            (Some("1".into()), 5),
            "the one default that differs from Kafka's"
        );
        assert_eq!(shown("segment.bytes"), (Some("1073741824".into()), 5));
    });
}

#[test]
fn a_topic_with_its_own_codec_or_clock_gets_its_batches_rewritten() {
    check_with(
        1,
        |options| {
            options.topic_defaults.log.compression_type =
                hayate_storage::config::CompressionType::Broker(hayate_storage::batch::Codec::Lz4);
            options.topic_defaults.log.message_timestamp_type =
                hayate_storage::batch::TimestampType::LogAppendTime;
        },
        |bench| async move {
            let _running = bench.start().await;
            let mut client = bench.client().await;
            let topic = client.create_topic("rewritten", 1).await;
            client.produce(&topic, 0, &["first", "second"]).await.unwrap();
            let fetched = client.fetch(&topic, &[(0, 0)], 1, 0).await;
            assert_eq!(values(&fetched, 0), ["first", "second"]);
            let header = hayate_storage::batch::BatchHeader::parse(&records_from(&fetched, 0)).unwrap();
            assert_eq!(header.codec(), Some(hayate_storage::batch::Codec::Lz4));
            assert_eq!(header.timestamp_type(), hayate_storage::batch::TimestampType::LogAppendTime);
        },
    );
}

#[test]
fn records_that_must_be_looked_at_keep_the_order_of_their_connection() {
    check_with(
        2,
        |options| {
            options.topic_defaults.log.compression_type =
                hayate_storage::config::CompressionType::Broker(hayate_storage::batch::Codec::Zstd);
        },
        |bench| async move {
            let _running = bench.start().await;
            let mut client = bench.client().await;
            let topic = client.create_topic("recoded", 2).await;
            for number in 0..20 {
                client.send_produce(&topic, number % 2, &[&number.to_string()]).await;
            }
            for number in 0..20 {
                assert_eq!(client.receive_produce().await, Ok(number / 2));
            }
            let fetched = client.fetch(&topic, &[(0, 0), (1, 0)], 1, 0).await;
            for partition in 0..2 {
                let expected: Vec<_> =
                    (0..20).filter(|n| n % 2 == partition).map(|n| n.to_string()).collect();
                assert_eq!(values(&fetched, partition), expected);
            }
        },
    );
}

#[test]
fn a_record_of_the_wrong_time_is_named() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("clocked", 1).await;
        let far = 1 << 60;
        let batch =
            BatchBuilder::new().record(T0, None, Some(b"good")).record(far, None, Some(b"bad")).build();
        let response = client.ask(13, &Client::produce_request(&topic, 0, batch)).await;
        let refused = &response.responses[0].partition_responses[0];
        assert_eq!(checked(refused.error_code), Err(ErrorCode::InvalidTimestamp));
        assert_eq!(refused.record_errors.iter().map(|error| error.batch_index).collect::<Vec<_>>(), [1]);
    });
}

/// Sends every version of a kind, and expects an answer each time.
pub(super) async fn ask_all<R: Request>(client: &mut Client, request: impl Fn(i16) -> R)
where
    R::Response: std::fmt::Debug,
{
    let versions = R::VERSIONS;
    for version in versions.min..=versions.max {
        client.ask(version, &request(version)).await;
    }
}

#[test]
fn every_version_of_every_kind_is_answered() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("versions", 1).await;
        client.produce(&topic, 0, &["x"]).await.unwrap();
        for known in [true, false] {
            let topic =
                if known { topic.clone() } else { Topic { name: "unknown".into(), id: Uuid::from_u128(99) } };
            ask_all(&mut client, |version| Client::produce_in(version, &topic, 0, records_of(&["y"]))).await;
            ask_all(&mut client, |version| fetch_in(version, &topic)).await;
            ask_all(&mut client, |_| list_request(&topic, -1)).await;
            ask_all(&mut client, |version| {
                let asked = MetadataRequestTopic::default().with_name(Some(name(&topic.name)));
                MetadataRequest::default()
                    .with_topics(Some(vec![asked]))
                    .with_allow_auto_topic_creation(known || version < 4)
            })
            .await;
            ask_all(&mut client, |_| {
                let partition = OffsetForLeaderPartition::default().with_partition(0);
                let asked = OffsetForLeaderTopic::default()
                    .with_topic(name(&topic.name))
                    .with_partitions(vec![partition]);
                OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked])
            })
            .await;
            ask_all(&mut client, |_| {
                let resource = DescribeConfigsResource::default()
                    .with_resource_type(if known { 2 } else { 77 })
                    .with_resource_name(StrBytes::from_string(topic.name.clone()))
                    .with_configuration_keys(None);
                DescribeConfigsRequest::default().with_resources(vec![resource])
            })
            .await;
            ask_all(&mut client, |_| {
                let partitions = if known { 1 } else { -7 };
                let new = CreatableTopic::default()
                    .with_name(name(&format!("new-{known}")))
                    .with_num_partitions(partitions)
                    .with_replication_factor(1);
                CreateTopicsRequest::default().with_topics(vec![new])
            })
            .await;
            ask_all(&mut client, |version| delete_in(version, &format!("new-{known}"))).await;
            super::admin::ask_every_version(&mut client, &topic).await;
            super::replicas::ask_every_version(&mut client, &topic).await;
        }
        for resource_type in [2, 4, 8, 77] {
            ask_all(&mut client, |_| incremental_alter_in(resource_type)).await;
            ask_all(&mut client, |_| alter_in(resource_type)).await;
        }
        ask_all(&mut client, |_| ListConfigResourcesRequest::default()).await;
        ask_all(&mut client, |_| DescribeQuorumRequest::default()).await;
        ask_all(&mut client, |_| UpdateFeaturesRequest::default()).await;
        ask_all(&mut client, |_| GetTelemetrySubscriptionsRequest::default()).await;
        ask_all(&mut client, |_| PushTelemetryRequest::default()).await;
        ask_all(&mut client, |_| ApiVersionsRequest::default()).await;
        ask_all(&mut client, |_| InitProducerIdRequest::default().with_transactional_id(None)).await;
        ask_all(&mut client, |version| {
            DescribeClusterRequest::default().with_endpoint_type(1).with_include_fenced_brokers(version >= 2)
        })
        .await;
    });
}

fn fetch_in(version: i16, topic: &Topic) -> FetchRequest {
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1000);
    let wanted = match version {
        13.. => FetchTopic::default().with_topic_id(topic.id),
        _ => FetchTopic::default().with_topic(name(&topic.name)),
    };
    FetchRequest::default().with_max_bytes(1000).with_topics(vec![wanted.with_partitions(vec![partition])])
}

fn incremental_alter_in(resource_type: i8) -> IncrementalAlterConfigsRequest {
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(StrBytes::from_static_str("1"));
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn alter_in(resource_type: i8) -> AlterConfigsRequest {
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(StrBytes::from_static_str("1"));
    AlterConfigsRequest::default().with_resources(vec![resource])
}

fn delete_in(version: i16, topic: &str) -> DeleteTopicsRequest {
    match version {
        6.. => {
            let state = DeleteTopicState::default().with_name(Some(name(topic)));
            DeleteTopicsRequest::default().with_topics(vec![state])
        }
        _ => DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]),
    }
}
