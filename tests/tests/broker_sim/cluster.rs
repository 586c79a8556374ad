//! What is asked of the cluster as a whole: the metadata quorum, and the features with their levels.

use super::check;
use hayate_net::error::ErrorCode;
use hayate_rt::Rt;
use hayate_tests::broker_sim::{CLIENT, Client, checked, name};
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::describe_quorum_response::PartitionData as Described;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, UpdateFeaturesRequest,
    UpdateFeaturesResponse,
};
use kafka_protocol::protocol::StrBytes;

const LOG: &str = "__cluster_metadata";
const METADATA_VERSION: &str = "metadata.version";

fn quorum_of(topics: &[(&str, &[i32])]) -> DescribeQuorumRequest {
    let topic = |(topic, partitions): &(&str, &[i32])| {
        let partition = |index: &i32| PartitionData::default().with_partition_index(*index);
        TopicData::default()
            .with_topic_name(name(topic))
            .with_partitions(partitions.iter().map(partition).collect())
    };
    DescribeQuorumRequest::default().with_topics(topics.iter().map(topic).collect())
}

async fn quorum(client: &mut Client, version: i16) -> DescribeQuorumResponse {
    client.ask(version, &quorum_of(&[(LOG, &[0])])).await
}

fn the_log(response: &DescribeQuorumResponse) -> &Described {
    assert_eq!((checked(response.error_code), response.topics.len()), (Ok(()), 1));
    let log = &response.topics[0].partitions[0];
    assert_eq!((checked(log.error_code), log.partition_index), (Ok(()), 0));
    log
}

#[test]
fn the_quorum_is_described_with_its_only_voter() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        for version in 0..=2 {
            let asked_ms = rt.wall_ms();
            let response = quorum(&mut client, version).await;
            let log = the_log(&response);
            assert_eq!((log.leader_id, log.observers.len(), log.current_voters.len()), (BrokerId(1), 0, 1));
            let voter = &log.current_voters[0];
            assert_eq!((voter.replica_id, voter.log_end_offset), (BrokerId(1), log.high_watermark));
            if version >= 1 {
                assert_eq!(voter.last_caught_up_timestamp, voter.last_fetch_timestamp);
                assert!((voter.last_fetch_timestamp - asked_ms).abs() < 60_000);
            }
            if version >= 2 {
                assert!(!voter.replica_directory_id.is_nil());
                let node = &response.nodes[0];
                assert_eq!((response.nodes.len(), node.node_id, node.listeners.len()), (1, BrokerId(1), 1));
                assert_eq!((node.listeners[0].name.as_str(), node.listeners[0].port), ("PLAINTEXT", 9092));
            }
        }
    });
}

#[test]
fn the_quorum_is_that_of_the_metadata_log() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let before = the_log(&quorum(&mut client, 2).await).clone();
        client.create_topic("grows", 3).await;
        let after = the_log(&quorum(&mut client, 2).await).clone();
        assert_eq!(after.high_watermark, before.high_watermark + 4, "one topic and three partitions");
        assert_eq!((after.leader_epoch, before.leader_epoch), (1, 1));
        drop(running);
        bench.crash();
        let _running = bench.start().await;
        let again = the_log(&quorum(&mut bench.client().await, 2).await).clone();
        assert_eq!(again.leader_epoch, 2, "a new leader, though the same node");
        assert!(again.high_watermark > after.high_watermark);
        let directory = |log: &Described| log.current_voters[0].replica_directory_id;
        assert_eq!(directory(&again), directory(&after));
    });
}

#[test]
fn no_other_log_has_a_quorum() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let cases: [&[(&str, &[i32])]; 5] = [
            &[("orders", &[0])],
            &[(LOG, &[1])],
            &[(LOG, &[0, 1])],
            &[(LOG, &[0]), (LOG, &[0])],
            &[(LOG, &[])],
        ];
        for (case, version) in cases.iter().flat_map(|case| (0..=2).map(move |version| (case, version))) {
            let response = client.ask(version, &quorum_of(case)).await;
            assert_eq!((checked(response.error_code), response.nodes.len()), (Ok(()), 0));
            let named: Vec<_> = response.topics.iter().map(|topic| topic.topic_name.as_str()).collect();
            assert_eq!(named, case.iter().map(|(topic, _)| *topic).collect::<Vec<_>>());
            for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                assert_eq!(checked(partition.error_code), Err(ErrorCode::UnknownTopicOrPartition));
            }
        }
        assert!(client.ask(2, &quorum_of(&[])).await.topics.is_empty());
    });
}

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

fn update(updates: &[(&str, i16, i8)], validate_only: bool) -> UpdateFeaturesRequest {
    let key = |(feature, level, upgrade_type): &(&str, i16, i8)| {
        FeatureUpdateKey::default()
            .with_feature(StrBytes::from_string((*feature).to_owned()))
            .with_max_version_level(*level)
            .with_upgrade_type(*upgrade_type)
    };
    UpdateFeaturesRequest::default()
        .with_feature_updates(updates.iter().map(key).collect())
        .with_validate_only(validate_only)
}

async fn change(client: &mut Client, level: i16, upgrade_type: i8) -> UpdateFeaturesResponse {
    client.ask(2, &update(&[(METADATA_VERSION, level, upgrade_type)], false)).await
}

/// The finalized level of `metadata.version`, and the epoch that goes with it.
async fn finalized(client: &mut Client) -> (i16, i64) {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1.0"));
    let response = client.ask(4, &request).await;
    let mut supported = response.supported_features.iter();
    let supported = supported.find(|feature| feature.name.as_str() == METADATA_VERSION).expect("a level");
    assert_eq!((supported.min_version, supported.max_version), (7, 29));
    let mut finalized = response.finalized_features.iter();
    let feature = finalized.find(|feature| feature.name.as_str() == METADATA_VERSION).expect("a level");
    assert_eq!(feature.min_version_level, feature.max_version_level);
    (feature.max_version_level, response.finalized_features_epoch)
}

#[test]
fn a_changed_level_is_announced_at_once_and_kept() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let (mut client, mut other) = (bench.client().await, bench.client().await);
        let (level, epoch) = finalized(&mut other).await;
        assert_eq!(level, 29);
        let tried = client.ask(2, &update(&[(METADATA_VERSION, 23, SAFE_DOWNGRADE)], true)).await;
        assert_eq!((checked(tried.error_code), finalized(&mut other).await), (Ok(()), (29, epoch)));
        let done = change(&mut client, 23, SAFE_DOWNGRADE).await;
        assert_eq!((checked(done.error_code), done.error_message), (Ok(()), None));
        assert_eq!(finalized(&mut other).await, (23, epoch + 1));
        drop(running);
        bench.crash();
        let _running = bench.start().await;
        let mut client = bench.client().await;
        assert_eq!(finalized(&mut client).await.0, 23);
        client.create_topic("still", 1).await;
        assert_eq!(checked(change(&mut client, 29, UPGRADE).await.error_code), Ok(()));
        assert_eq!(finalized(&mut client).await.0, 29);
    });
}

#[test]
fn levels_that_make_no_sense_are_refused_in_kafkas_words() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let unsupported = "Local controller 1 only supports versions 7-29";
        let lacking = "Local controller 1 does not support this feature.";
        let upward = "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                      unsafe downgrade.";
        let update_of =
            |feature, level, why| format!("Invalid update version {level} for feature {feature}. {why}");
        let metadata = |level, why| update_of(METADATA_VERSION, level, why);
        let below = |why| format!("Unsupported metadata.version downgrade from 29 to 22. {why}");
        let deletes =
            "Refusing to perform the requested downgrade because it might delete metadata information.";
        let unsafely = "Unsafe metadata downgrade is not supported in this version.";
        let no_type = "The controller does not support the given upgrade type.";
        for (feature, level, upgrade_type, expected) in [
            (METADATA_VERSION, 30, UPGRADE, metadata(30, unsupported)),
            (METADATA_VERSION, 6, UNSAFE_DOWNGRADE, metadata(6, unsupported)),
            (METADATA_VERSION, 0, UNSAFE_DOWNGRADE, metadata(0, unsupported)),
            (METADATA_VERSION, -1, UPGRADE, metadata(-1, "A feature version cannot be less than 0.")),
            (METADATA_VERSION, 28, UPGRADE, metadata(28, upward)),
            (METADATA_VERSION, 28, 9, metadata(28, no_type)),
            (METADATA_VERSION, 22, SAFE_DOWNGRADE, below(deletes)),
            (METADATA_VERSION, 22, UNSAFE_DOWNGRADE, below(unsafely)),
            ("streams.version", 1, UPGRADE, update_of("streams.version", 1, lacking)),
            ("no.such", 1, UPGRADE, update_of("no.such", 1, lacking)),
            ("no.such", 0, UPGRADE, update_of("no.such", 0, "Feature no.such not found.")),
        ] {
            for version in 1..=2 {
                // The good one beside it is not changed either.
                let updates = [("streams.version", 0, UPGRADE), (feature, level, upgrade_type)];
                let response = client.ask(version, &update(&updates, false)).await;
                let message = format!(
                    "The update failed for all features since the following feature had an error: {expected}"
                );
                assert_eq!(checked(response.error_code), Err(ErrorCode::InvalidUpdateVersion));
                assert_eq!(response.error_message.as_deref(), Some(message.as_str()));
                assert!(response.results.is_empty());
            }
        }
        assert_eq!(finalized(&mut client).await.0, 29);
    });
}

#[test]
fn old_versions_hear_of_each_feature() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        for version in 0..=2 {
            let updates = [(METADATA_VERSION, 29, UPGRADE), ("streams.version", 0, UPGRADE)];
            let response = client.ask(version, &update(&updates, false)).await;
            assert_eq!(checked(response.error_code), Ok(()));
            let results: Vec<_> = response
                .results
                .iter()
                .map(|result| (result.feature.as_str(), checked(result.error_code)))
                .collect();
            let each = [(METADATA_VERSION, Ok(())), ("streams.version", Ok(()))];
            assert_eq!(results, if version <= 1 { &each[..] } else { &[] });
        }
    });
}
