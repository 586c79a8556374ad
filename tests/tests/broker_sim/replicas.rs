//! Electing leaders and moving replicas, where there is one broker: held to what a single Kafka answers.

use super::check;
use super::requests::ask_all;
use hayate_net::error::ErrorCode;
use hayate_tests::broker_sim::{Client, Topic, checked, name};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest, ListPartitionReassignmentsRequest,
};

/// A partition's number and what became of it.
type Outcome = (i32, Result<(), ErrorCode>);

fn election(election_type: i8, topics: Option<&[(&str, &[i32])]>) -> ElectLeadersRequest {
    let topic = |(topic, partitions): &(&str, &[i32])| {
        TopicPartitions::default().with_topic(name(topic)).with_partitions(partitions.to_vec())
    };
    let topics = topics.map(|topics| topics.iter().map(topic).collect());
    ElectLeadersRequest::default().with_election_type(election_type).with_topic_partitions(topics)
}

async fn elect(client: &mut Client, request: ElectLeadersRequest) -> (i16, Vec<(String, Vec<Outcome>)>) {
    let response = client.ask(2, &request).await;
    let topics = response.replica_election_results.iter().map(|topic| {
        let results = topic.partition_result.iter();
        let outcomes = results.map(|result| (result.partition_id, checked(result.error_code)));
        (topic.topic.to_string(), outcomes.collect())
    });
    (response.error_code, topics.collect())
}

#[test]
fn leaders_are_where_they_should_be() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("led", 3).await;
        client.create_topic("too", 1).await;
        let not_needed = Err(ErrorCode::ElectionNotNeeded);
        let unknown = Err(ErrorCode::UnknownTopicOrPartition);
        for kind in [0, 1] {
            let named = election(kind, Some(&[("led", &[2, 0, 3]), ("none", &[0])]));
            let expected = vec![
                ("led".to_owned(), vec![(2, not_needed), (0, not_needed), (3, unknown)]),
                ("none".to_owned(), vec![(0, unknown)]),
            ];
            assert_eq!(elect(&mut client, named).await, (0, expected));
            let (code, mut all) = elect(&mut client, election(kind, None)).await;
            all.sort_by(|one, other| one.0.cmp(&other.0));
            assert_eq!((code, all), (0, vec![("led".to_owned(), vec![]), ("too".to_owned(), vec![])]));
        }
        let invalid = ErrorCode::InvalidRequest;
        let refused = elect(&mut client, election(7, Some(&[("led", &[0])]))).await;
        assert_eq!(refused, (invalid.code(), vec![("led".to_owned(), vec![(0, Err(invalid))])]));
    });
}

fn reassignment(topic: &str, partitions: &[(i32, Option<&[i32]>)]) -> AlterPartitionReassignmentsRequest {
    let partition = |(index, replicas): &(i32, Option<&[i32]>)| {
        let replicas = replicas.map(|replicas| replicas.iter().copied().map(BrokerId).collect());
        ReassignablePartition::default().with_partition_index(*index).with_replicas(replicas)
    };
    let partitions = partitions.iter().map(partition).collect();
    let topic = ReassignableTopic::default().with_name(name(topic)).with_partitions(partitions);
    AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
}

async fn reassign(client: &mut Client, topic: &str, partitions: &[(i32, Option<&[i32]>)]) -> Vec<Outcome> {
    let response = client.ask(1, &reassignment(topic, partitions)).await;
    assert_eq!(response.error_code, 0);
    let results = response.responses[0].partitions.iter();
    results.map(|result| (result.partition_index, checked(result.error_code))).collect()
}

fn under_way(topics: Option<&[&str]>) -> ListPartitionReassignmentsRequest {
    let topic = |topic: &&str| {
        ListPartitionReassignmentsTopics::default().with_name(name(topic)).with_partition_indexes(vec![0, 9])
    };
    ListPartitionReassignmentsRequest::default()
        .with_topics(topics.map(|topics| topics.iter().map(topic).collect()))
}

#[test]
fn replicas_stay_where_they_are() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("stay", 2).await;
        let node =
            client.ask(12, &kafka_protocol::messages::MetadataRequest::default().with_topics(None)).await;
        let node = node.brokers[0].node_id.0;
        let here = [node];
        let invalid = Err(ErrorCode::InvalidReplicaAssignment);
        let wanted: [(i32, Option<&[i32]>); 5] =
            [(0, Some(&here)), (1, Some(&[])), (0, Some(&[99])), (1, None), (7, Some(&here))];
        let expected = vec![
            (0, Ok(())),
            (1, invalid),
            (0, invalid),
            (1, Err(ErrorCode::NoReassignmentInProgress)),
            (7, Err(ErrorCode::UnknownTopicOrPartition)),
        ];
        assert_eq!(reassign(&mut client, "stay", &wanted).await, expected);
        for topics in [None, Some(&["stay", "none"][..]), Some(&[][..])] {
            let response = client.ask(0, &under_way(topics)).await;
            assert_eq!((response.error_code, response.topics.len()), (0, 0));
        }
        client.produce(&topic, 0, &["still served"]).await.unwrap();
    });
}

/// Every version of the kinds tested here, of one topic.
pub(super) async fn ask_every_version(client: &mut Client, topic: &Topic) {
    let named = |_| election(0, Some(&[(&topic.name, &[0])]));
    ask_all(client, |version| if version == 0 { election(0, None) } else { named(version) }).await;
    ask_all(client, |_| reassignment(&topic.name, &[(0, Some(&[1])), (1, None)])).await;
    ask_all(client, |_| under_way(Some(&[&topic.name]))).await;
}
