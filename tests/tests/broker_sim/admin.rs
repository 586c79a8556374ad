//! What administrators ask of a whole simulated broker: more partitions, fewer records, and how things stand.

use super::configs::{ALL_BROKERS, alter};
use super::requests::ask_all;
use super::{check, check_with, producer_id};
use hayate_net::error::ErrorCode;
use hayate_rt::Rt;
use hayate_storage::batch::{BatchBuilder, ProducerId};
use hayate_storage::disk::sim::FaultPlan;
use hayate_tests::broker_sim::{CLIENT, Client, Topic, checked, name, records_of, values};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    describe_producers_request,
};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

const T0: i64 = 1_767_225_600_000;

/// The brokers of each new partition, if the client says them.
type Placed<'a> = Option<&'a [&'a [i32]]>;

fn growth(topic: &str, count: i32, assignments: Placed<'_>) -> CreatePartitionsTopic {
    let assignment = |brokers: &&[i32]| {
        let brokers = brokers.iter().copied().map(BrokerId).collect();
        CreatePartitionsAssignment::default().with_broker_ids(brokers)
    };
    CreatePartitionsTopic::default()
        .with_name(name(topic))
        .with_count(count)
        .with_assignments(assignments.map(|list| list.iter().map(assignment).collect()))
}

/// The outcome of each topic, by name.
async fn grow(
    client: &mut Client,
    topics: Vec<CreatePartitionsTopic>,
    validate_only: bool,
) -> Vec<(String, Result<(), ErrorCode>)> {
    let request = CreatePartitionsRequest::default().with_topics(topics).with_validate_only(validate_only);
    let response = client.ask(3, &request).await;
    let outcome =
        |result: &kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult| {
            (result.name.to_string(), checked(result.error_code))
        };
    let mut outcomes: Vec<_> = response.results.iter().map(outcome).collect();
    outcomes.sort_by(|(one, _), (other, _)| one.cmp(other));
    outcomes
}

async fn partition_count(client: &mut Client, topic: &str) -> usize {
    client.metadata_of(topic, false).await.expect("there").1
}

#[test]
fn new_partitions_are_served_by_all_shards_at_once_and_outlive_a_crash() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("grows", 2).await;
        let mut producer = bench.client().await;
        assert_eq!(producer.produce(&topic, 1, &["old"]).await, Ok(0));
        let grown = grow(&mut client, vec![growth("grows", 6, None)], false).await;
        assert_eq!(grown, [("grows".to_owned(), Ok(()))]);
        // One that knows nothing of them goes on, and whoever does finds them at once.
        assert_eq!(producer.produce(&topic, 1, &["new"]).await, Ok(1));
        for partition in 2..6 {
            assert_eq!(producer.produce(&topic, partition, &["first"]).await, Ok(0));
        }
        assert_eq!(partition_count(&mut client, "grows").await, 6);
        assert!(running.iter().all(|running| running.shard.owner.partitions().len() == 3));
        drop(running);
        bench.crash();
        let running = bench.start().await;
        let mut client = bench.client().await;
        assert_eq!(partition_count(&mut client, "grows").await, 6);
        let fetched = client.fetch(&topic, &[(1, 0), (2, 0), (5, 0)], 1, 0).await;
        assert_eq!(values(&fetched, 1), ["old", "new"]);
        assert_eq!((values(&fetched, 2), values(&fetched, 5)), (vec!["first".into()], vec!["first".into()]));
        assert_eq!(client.produce(&topic, 5, &["again"]).await, Ok(1));
        bench.stop(running).await;
    });
}

#[test]
fn growth_is_refused_with_kafkas_codes() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("fixed", 2).await;
        let cases: [(&str, i32, Placed<'_>, ErrorCode); 9] = [
            ("fixed", 2, None, ErrorCode::InvalidPartitions),
            ("fixed", 1, None, ErrorCode::InvalidPartitions),
            ("fixed", -1, None, ErrorCode::InvalidPartitions),
            ("fixed", i32::MAX, None, ErrorCode::PolicyViolation),
            ("unknown", 3, None, ErrorCode::UnknownTopicOrPartition),
            ("fixed", 3, Some(&[]), ErrorCode::InvalidReplicaAssignment),
            ("fixed", 3, Some(&[&[1, 1]]), ErrorCode::InvalidReplicaAssignment),
            ("fixed", 3, Some(&[&[9]]), ErrorCode::InvalidReplicaAssignment),
            ("fixed", 3, Some(&[&[]]), ErrorCode::InvalidReplicaAssignment),
        ];
        for (topic, count, assignments, code) in cases {
            let refused = grow(&mut client, vec![growth(topic, count, assignments)], false).await;
            assert_eq!(refused, [(topic.to_owned(), Err(code))], "{count} {assignments:?}");
        }
        let twice = vec![growth("fixed", 3, None), growth("fixed", 4, None)];
        let refused = grow(&mut client, twice, false).await;
        assert_eq!(refused, [("fixed".to_owned(), Err(ErrorCode::InvalidRequest))]);
        assert_eq!(grow(&mut client, vec![growth("fixed", 4, None)], true).await[0].1, Ok(()));
        assert_eq!(partition_count(&mut client, "fixed").await, 2, "nothing of that was done");
        let placed = growth("fixed", 4, Some(&[&[1], &[1]]));
        assert_eq!(grow(&mut client, vec![placed], false).await[0].1, Ok(()));
        assert_eq!(partition_count(&mut client, "fixed").await, 4);
    });
}

fn deletion(topic: &Topic, offsets: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partition = |(index, offset): &(i32, i64)| {
        DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset)
    };
    let asked = DeleteRecordsTopic::default()
        .with_name(name(&topic.name))
        .with_partitions(offsets.iter().map(partition).collect());
    DeleteRecordsRequest::default().with_topics(vec![asked])
}

/// Deletes before each partition's offset; where the logs start then.
async fn delete(
    client: &mut Client,
    topic: &Topic,
    offsets: &[(i32, i64)],
) -> Vec<(i32, Result<i64, ErrorCode>)> {
    let response = client.ask(2, &deletion(topic, offsets)).await;
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let outcomes = partitions.map(|partition| {
        assert!(partition.error_code == 0 || partition.low_watermark == -1);
        (partition.partition_index, checked(partition.error_code).map(|()| partition.low_watermark))
    });
    outcomes.collect()
}

/// Partition 0 starts at 4, partition 1 is empty up to 10.
async fn check_trimmed(client: &mut Client, topic: &Topic) {
    assert_eq!((client.earliest(topic, 0).await, client.earliest(topic, 1).await), (4, 10));
    for (partition, offset) in [(0, 3), (0, 0), (1, 9)] {
        let refused = client.fetch(topic, &[(partition, offset)], 1, 0).await;
        let refused = checked(refused.responses[0].partitions[0].error_code);
        assert_eq!(refused, Err(ErrorCode::OffsetOutOfRange), "{partition} from {offset}");
    }
    let fetched = client.fetch(topic, &[(0, 4), (1, 10)], 1, 0).await;
    assert_eq!(values(&fetched, 0), ["4", "5", "6", "7", "8", "9"]);
    assert_eq!(values(&fetched, 1), [""; 0]);
    assert_eq!(fetched.responses[0].partitions[0].log_start_offset, 4);
}

#[test]
fn deleted_records_stay_deleted_through_crashes_and_stops() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("trimmed", 2).await;
        for number in 0..10 {
            for partition in 0..2 {
                client.produce(&topic, partition, &[&number.to_string()]).await.unwrap();
            }
        }
        let outcomes = delete(&mut client, &topic, &[(0, 4), (1, -1), (7, 0)]).await;
        let unknown = Err(ErrorCode::UnknownTopicOrPartition);
        assert_eq!(outcomes, [(0, Ok(4)), (1, Ok(10)), (7, unknown)]);
        check_trimmed(&mut client, &topic).await;
        // Answered means durable.
        drop(running);
        bench.crash();
        let running = bench.start().await;
        let mut client = bench.client().await;
        check_trimmed(&mut client, &topic).await;
        bench.stop(running).await;
        let _running = bench.start().await;
        let mut client = bench.client().await;
        check_trimmed(&mut client, &topic).await;
        assert_eq!(client.produce(&topic, 1, &["next"]).await, Ok(10));
    });
}

#[test]
fn records_of_many_partitions_are_deleted_by_one_checkpoint_a_shard() {
    check_with(
        2,
        |_| {},
        |bench| async move {
            let running = bench.start().await;
            let mut client = bench.client().await;
            let topic = client.create_topic("wide", 40).await;
            for partition in 0..40 {
                client.produce(&topic, partition, &["old"]).await.unwrap();
            }
            let checkpoints = || bench.sim.counts().get("writing a checkpoint").copied().unwrap_or(0);
            let before = checkpoints();
            let all: Vec<_> = (0..40).map(|partition| (partition, -1)).collect();
            let outcomes = delete(&mut client, &topic, &all).await;
            assert!(outcomes.iter().all(|(_, outcome)| *outcome == Ok(1)), "{outcomes:?}");
            assert_eq!(checkpoints() - before, 2);
            drop(running);
            bench.crash();
            let _running = bench.start().await;
            let mut client = bench.client().await;
            for partition in 0..40 {
                assert_eq!(client.earliest(&topic, partition).await, 1);
            }
        },
    );
}

#[test]
fn deletions_are_refused_with_kafkas_codes() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("bounds", 1).await;
        for number in 0..3 {
            client.produce(&topic, 0, &[&number.to_string()]).await.unwrap();
        }
        for (offset, expected) in [
            (4, Err(ErrorCode::OffsetOutOfRange)),
            (-2, Err(ErrorCode::OffsetOutOfRange)),
            (i64::MAX, Err(ErrorCode::OffsetOutOfRange)),
            (0, Ok(0)),
            (2, Ok(2)),
            (1, Ok(2)),
            (-1, Ok(3)),
        ] {
            assert_eq!(delete(&mut client, &topic, &[(0, offset)]).await, [(0, expected)], "{offset}");
        }
        let twice = delete(&mut client, &topic, &[(0, 9), (0, 3)]).await;
        assert_eq!(twice, [(0, Ok(3))], "the last one counts");
        let policies: [(&str, &'static str, Result<i64, ErrorCode>); 4] = [
            ("compacted", "compact", Err(ErrorCode::PolicyViolation)),
            ("both", "compact,delete", Ok(0)),
            ("neither", "", Ok(0)),
            ("__consumer_offsets", "delete", Err(ErrorCode::InvalidTopicException)),
        ];
        for (topic, policy, expected) in policies {
            let topic = create_with(&mut client, topic, "cleanup.policy", policy).await;
            assert_eq!(delete(&mut client, &topic, &[(0, -1)]).await, [(0, expected)], "{policy}");
        }
        let stranger = Topic { name: "stranger".into(), id: uuid::Uuid::nil() };
        let unknown = delete(&mut client, &stranger, &[(0, 0)]).await;
        assert_eq!(unknown, [(0, Err(ErrorCode::UnknownTopicOrPartition))]);
    });
}

/// A topic of one partition with one setting.
async fn create_with(client: &mut Client, topic: &str, key: &'static str, value: &'static str) -> Topic {
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str(key))
        .with_value(Some(StrBytes::from_static_str(value)));
    let new = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let created = client.ask(7, &CreateTopicsRequest::default().with_topics(vec![new])).await;
    assert_eq!(checked(created.topics[0].error_code), Ok(()), "{topic}");
    Topic { name: topic.to_owned(), id: created.topics[0].topic_id }
}

async fn log_dir(
    client: &mut Client,
    version: i16,
    topics: Option<Vec<DescribableLogDirTopic>>,
) -> DescribeLogDirsResult {
    let response = client.ask(version, &DescribeLogDirsRequest::default().with_topics(topics)).await;
    assert_eq!((checked(response.error_code), response.results.len()), (Ok(()), 1));
    response.results[0].clone()
}

/// Topic, partition and bytes of every log.
fn sizes(result: &DescribeLogDirsResult) -> Vec<(String, i32, i64)> {
    let mut sizes = Vec::new();
    for topic in &result.topics {
        for partition in &topic.partitions {
            assert!(!partition.is_future_key && partition.offset_lag == 0);
            sizes.push((topic.name.to_string(), partition.partition_index, partition.partition_size));
        }
    }
    sizes
}

#[test]
fn the_data_folder_tells_what_it_holds() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let empty = log_dir(&mut client, 4, None).await;
        assert_eq!((checked(empty.error_code), empty.topics.len()), (Ok(()), 0));
        assert_eq!(empty.log_dir.as_str(), "/data");
        assert!(0 < empty.usable_bytes && empty.usable_bytes < empty.total_bytes);
        let (one, two) = (client.create_topic("one", 1).await, client.create_topic("two", 2).await);
        let bytes = records_of(&["x"]).len() as i64;
        client.produce(&one, 0, &["x"]).await.unwrap();
        for _ in 0..3 {
            client.produce(&two, 1, &["x"]).await.unwrap();
        }
        let all = log_dir(&mut client, 1, None).await;
        assert_eq!(
            sizes(&all),
            [("one".into(), 0, bytes), ("two".into(), 0, 0), ("two".into(), 1, 3 * bytes)]
        );
        assert_eq!((all.total_bytes, all.usable_bytes), (-1, -1), "before version 4");
        let asked = |topic: &str, partitions: &[i32]| {
            DescribableLogDirTopic::default().with_topic(name(topic)).with_partitions(partitions.to_vec())
        };
        let asked =
            vec![asked("two", &[1, 1, 5, -1]), asked("none", &[0]), asked("two", &[1]), asked("one", &[])];
        let some = log_dir(&mut client, 4, Some(asked)).await;
        assert_eq!(sizes(&some), [("two".into(), 1, 3 * bytes)]);
    });
}

#[test]
fn a_folder_that_is_offline_tells_that() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("lost", 2).await;
        bench.disk.set_plan(FaultPlan { write_errors_per_million: 1_000_000, ..FaultPlan::default() });
        assert_eq!(client.produce(&topic, 0, &["lost"]).await, Err(ErrorCode::KafkaStorageError));
        bench.disk.set_plan(FaultPlan::default());
        Rt::sim(bench.sim.node(CLIENT)).sleep(Duration::from_millis(10)).await;
        let offline = log_dir(&mut client, 4, None).await;
        assert_eq!(checked(offline.error_code), Err(ErrorCode::KafkaStorageError));
        assert_eq!((offline.log_dir.as_str(), offline.topics.len()), ("/data", 0));
        assert_eq!((offline.total_bytes, offline.usable_bytes), (-1, -1));
    });
}

#[test]
fn segments_of_deleted_records_go() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = create_with(&mut client, "bulky", "segment.bytes", "1048576").await;
        let large = "x".repeat(600_000);
        for _ in 0..5 {
            client.produce(&topic, 0, &[&large]).await.unwrap();
        }
        bench.stop(running).await;
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let size = |result: &DescribeLogDirsResult| sizes(result)[0].2;
        assert!(size(&log_dir(&mut client, 4, None).await) > 3_000_000);
        assert_eq!(delete(&mut client, &topic, &[(0, 4)]).await, [(0, Ok(4))]);
        assert!(size(&log_dir(&mut client, 4, None).await) < 700_000);
        let fetched = client.fetch(&topic, &[(0, 4)], 1, 0).await;
        assert_eq!(values(&fetched, 0), [large]);
    });
}

fn producers_of(topic: &str, partitions: &[i32]) -> DescribeProducersRequest {
    let asked = describe_producers_request::TopicRequest::default()
        .with_name(name(topic))
        .with_partition_indexes(partitions.to_vec());
    DescribeProducersRequest::default().with_topics(vec![asked])
}

/// Id, epoch, last sequence and last timestamp of each producer of a partition.
async fn producers(client: &mut Client, topic: &Topic, partition: i32) -> Vec<(i64, i32, i32, i64)> {
    let response = client.ask(0, &producers_of(&topic.name, &[partition, partition])).await;
    assert_eq!(response.topics[0].partitions.len(), 1);
    let described = &response.topics[0].partitions[0];
    assert_eq!((checked(described.error_code), &described.error_message), (Ok(()), &None));
    let one = |state: &kafka_protocol::messages::describe_producers_response::ProducerState| {
        assert_eq!((state.coordinator_epoch, state.current_txn_start_offset), (-1, -1));
        (state.producer_id.0, state.producer_epoch, state.last_sequence, state.last_timestamp)
    };
    described.active_producers.iter().map(one).collect()
}

#[test]
fn how_long_producers_are_remembered_changes_while_the_broker_runs() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("written", 1).await;
        let id = producer_id(&mut client).await;
        let batch = BatchBuilder::new().producer(ProducerId(id), 0, 0).record(T0, None, Some(b"x")).build();
        client.produce_records(&topic, 0, batch).await.unwrap();
        let passes = running[0].shard.options.retention_check_every * 2;
        Rt::sim(bench.sim.node(CLIENT)).sleep(passes).await;
        let mut client = bench.client().await;
        assert_eq!(producers(&mut client, &topic, 0).await.len(), 1);
        let shorter = [("producer.id.expiration.ms", Some("1000"))];
        assert_eq!(alter(&mut client, ALL_BROKERS, &shorter).await, Ok(()));
        Rt::sim(bench.sim.node(CLIENT)).sleep(passes).await;
        let mut client = bench.client().await;
        assert_eq!(producers(&mut client, &topic, 0).await, []);
    });
}

#[test]
fn producers_of_a_partition_are_told_of_also_after_a_crash() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("written", 2).await;
        let id = producer_id(&mut client).await;
        let other = producer_id(&mut client).await;
        client.produce(&topic, 0, &["of nobody"]).await.unwrap();
        for (id, partition, sequence) in [(id, 0, 0), (id, 0, 2), (other, 0, 0), (id, 1, 0)] {
            let batch = BatchBuilder::new().producer(ProducerId(id), 0, sequence);
            let at = T0 + i64::from(sequence);
            let batch = batch.record(at, None, Some(b"x")).record(at + 1, None, Some(b"y")).build();
            client.produce_records(&topic, partition, batch).await.unwrap();
        }
        let mut expected = [(id, 0, 3, T0 + 3), (other, 0, 1, T0 + 1)];
        expected.sort_unstable();
        assert_eq!(producers(&mut client, &topic, 0).await, expected);
        assert_eq!(producers(&mut client, &topic, 1).await, [(id, 0, 1, T0 + 1)]);
        drop(running);
        bench.crash();
        let _running = bench.start().await;
        let mut client = bench.client().await;
        assert_eq!(producers(&mut client, &topic, 0).await, expected);
        let unknown = ErrorCode::UnknownTopicOrPartition;
        for (topic, partition, code, has_message) in [
            ("written", 2, unknown, false),
            ("written", -1, unknown, false),
            ("none", 0, unknown, true),
            ("n/one", 0, ErrorCode::InvalidTopicException, true),
        ] {
            let response = client.ask(0, &producers_of(topic, &[partition])).await;
            let refused = &response.topics[0].partitions[0];
            assert_eq!(checked(refused.error_code), Err(code), "{topic} {partition}");
            assert_eq!(refused.error_message.is_some(), has_message);
        }
    });
}

type Described = (String, Result<Vec<i32>, ErrorCode>);

fn described(response: &DescribeTopicPartitionsResponse) -> (Vec<Described>, Option<(String, i32)>) {
    let topics = response.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        (topic.name.as_ref().unwrap().to_string(), checked(topic.error_code).map(|()| partitions))
    });
    let cursor = response.next_cursor.as_ref();
    (topics.collect(), cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index)))
}

fn page(topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> DescribeTopicPartitionsRequest {
    let cursor = cursor.map(|(topic, partition)| {
        Cursor::default().with_topic_name(name(topic)).with_partition_index(partition)
    });
    let topics = topics.iter().map(|topic| TopicRequest::default().with_name(name(topic))).collect();
    DescribeTopicPartitionsRequest::default()
        .with_topics(topics)
        .with_response_partition_limit(limit)
        .with_cursor(cursor)
}

fn ok(topic: &str, partitions: &[i32]) -> Described {
    (topic.to_owned(), Ok(partitions.to_vec()))
}

fn refused(topic: &str, code: ErrorCode) -> Described {
    (topic.to_owned(), Err(code))
}

#[test]
fn topics_are_described_page_by_page() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        for (topic, partitions) in [("b", 2), ("a", 3), ("c", 1)] {
            client.create_topic(topic, partitions).await;
        }
        let at = |topic: &str, partition| Some((topic.to_owned(), partition));
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let cases = [
            (page(&[], 2000, None), vec![ok("a", &[0, 1, 2]), ok("b", &[0, 1]), ok("c", &[0])], None),
            (page(&[], 4, None), vec![ok("a", &[0, 1, 2]), ok("b", &[0])], at("b", 1)),
            (page(&[], 4, Some(("b", 1))), vec![ok("b", &[1]), ok("c", &[0])], None),
            (page(&[], 3, None), vec![ok("a", &[0, 1, 2])], at("b", 0)),
            (page(&[], 0, None), vec![ok("a", &[0])], at("a", 1)),
            (page(&[], -5, Some(("a", 2))), vec![ok("a", &[2])], at("b", 0)),
            (page(&[], 9, Some(("b", 7))), vec![ok("b", &[]), ok("c", &[0])], None),
            (page(&[], 9, Some(("bb", 7))), vec![ok("c", &[0])], None),
            (page(&["c", "a", "c"], 9, None), vec![ok("a", &[0, 1, 2]), ok("c", &[0])], None),
            (page(&["c", "a"], 9, Some(("c", 0))), vec![ok("c", &[0])], None),
            (
                page(&["no", "b", "n/o"], 9, None),
                vec![
                    ok("b", &[0, 1]),
                    refused("n/o", ErrorCode::InvalidTopicException),
                    refused("no", unknown),
                ],
                None,
            ),
        ];
        for (request, topics, cursor) in cases {
            let response = client.ask(0, &request).await;
            assert_eq!(described(&response), (topics, cursor), "{request:?}");
            assert!(response.topics.iter().all(|topic| topic.topic_authorized_operations == 3576));
            for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                assert_eq!((partition.leader_id, partition.leader_epoch), (BrokerId(1), 0));
                assert_eq!(
                    (&partition.replica_nodes, &partition.isr_nodes),
                    (&vec![BrokerId(1)], &vec![BrokerId(1)])
                );
                assert_eq!(
                    (&partition.eligible_leader_replicas, &partition.last_known_elr),
                    (&Some(vec![]), &Some(vec![]))
                );
                assert!(partition.offline_replicas.is_empty());
            }
        }
        for cursor in [("b", -1), ("aa", 0)] {
            let response = client.ask(0, &page(&["b", "c", "b"], 9, Some(cursor))).await;
            let invalid = ErrorCode::InvalidRequest;
            assert_eq!(described(&response), (vec![refused("b", invalid), refused("c", invalid)], None));
        }
        let response = client.ask(0, &page(&[], 9, Some(("b", -1)))).await;
        assert_eq!(described(&response), (vec![], None));
    });
}

#[test]
fn the_brokers_limit_of_a_page_holds_too() {
    check_with(
        1,
        |options| options.described_partitions_max = 2,
        |bench| async move {
            let _running = bench.start().await;
            let mut client = bench.client().await;
            client.create_topic("long", 5).await;
            let (mut from, mut seen) = (None, Vec::new());
            loop {
                let cursor =
                    from.as_ref().map(|(topic, partition): &(String, i32)| (topic.as_str(), *partition));
                let (topics, next) = described(&client.ask(0, &page(&[], 100, cursor)).await);
                let partitions = topics[0].1.clone().unwrap();
                assert!(partitions.len() <= 2);
                seen.extend(partitions);
                match next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, [0, 1, 2, 3, 4]);
        },
    );
}

/// Every version of the kinds tested here, of one topic.
pub(super) async fn ask_every_version(client: &mut Client, topic: &Topic) {
    ask_all(client, |_| deletion(topic, &[(0, -1), (9, 0)])).await;
    ask_all(client, |_| {
        let asked = DescribableLogDirTopic::default().with_topic(name(&topic.name)).with_partitions(vec![0]);
        DescribeLogDirsRequest::default().with_topics(Some(vec![asked]))
    })
    .await;
    ask_all(client, |version| {
        let grown = growth(&topic.name, 2 + i32::from(version), None);
        CreatePartitionsRequest::default().with_topics(vec![grown]).with_validate_only(version > 0)
    })
    .await;
    ask_all(client, |_| producers_of(&topic.name, &[0, 9])).await;
    ask_all(client, |_| page(&[&topic.name], 1, None)).await;
}
