//! Share groups on a whole simulated broker: members share records, settle them, keep them too long, and what they have settled outlives
//! crashes.

use super::check_with;
use hayate_engine::broker::BrokerOptions;
use hayate_net::error::ErrorCode;
use hayate_rt::Rt;
use hayate_tests::broker_sim::{Bench, CLIENT, Client, Topic, checked, name};
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::share_acknowledge_request::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch,
};
use kafka_protocol::messages::share_fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::share_fetch_response::AcquiredRecords;
use kafka_protocol::messages::{
    AlterShareGroupOffsetsRequest, DeleteGroupsRequest, DescribeShareGroupOffsetsRequest,
    FindCoordinatorRequest, GroupId, IncrementalAlterConfigsRequest, ShareAcknowledgeRequest,
    ShareFetchRequest, ShareGroupHeartbeatRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const GROUP: &str = "g";

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group() -> GroupId {
    GroupId(text(GROUP))
}

/// Few partitions, so that a start is quick, and short locks.
fn few(options: &mut BrokerOptions) {
    options.internal_topics.offsets.partitions = 2;
    options.internal_topics.share.partitions = 3;
    options.groups.shares.lock_ms = 5_000;
    options.share_states.updates_per_snapshot = 3;
}

/// Begins where the topics do.
async fn begin_early(client: &mut Client) {
    let setting = AlterableConfig::default()
        .with_name(text("share.auto.offset.reset"))
        .with_config_operation(0)
        .with_value(Some(text("earliest")));
    let resource = AlterConfigsResource::default()
        .with_resource_type(32)
        .with_resource_name(text(GROUP))
        .with_configs(vec![setting]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response = client.ask(1, &request).await;
    assert_eq!(checked(response.responses[0].error_code), Ok(()));
}

/// A member with its connection, its epoch in the group and its session.
struct Member {
    client: Client,
    id: &'static str,
    epoch: i32,
    session: i32,
    assigned: usize,
}

impl Member {
    /// Joins, and waits until it has been assigned so many partitions, or more.
    async fn join(bench: &Bench, rt: &Rt, id: &'static str, partitions: usize) -> Member {
        let mut member = Member { client: bench.client().await, id, epoch: 0, session: 0, assigned: 0 };
        loop {
            let beaten = member.beat().await;
            if beaten == Ok(()) && member.assigned >= partitions {
                return member;
            }
            rt.sleep(Duration::from_millis(200)).await;
        }
    }

    async fn beat(&mut self) -> Result<(), ErrorCode> {
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(GROUP)]);
        self.client.ask(6, &find).await;
        let topics = (self.epoch == 0).then(|| vec![name("t")]);
        let request = ShareGroupHeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(text(self.id))
            .with_member_epoch(self.epoch)
            .with_subscribed_topic_names(topics);
        let response = self.client.ask(1, &request).await;
        checked(response.error_code)?;
        self.epoch = response.member_epoch;
        if let Some(assignment) = response.assignment {
            self.assigned = assignment.topic_partitions.iter().map(|topic| topic.partitions.len()).sum();
        }
        Ok(())
    }

    /// What it gets now, by partition.
    async fn fetch(
        &mut self,
        topic: &Topic,
        partitions: i32,
    ) -> Result<BTreeMap<i32, Vec<AcquiredRecords>>, ErrorCode> {
        let parts = (0..partitions).map(|number| FetchPartition::default().with_partition_index(number));
        let topics = FetchTopic::default().with_topic_id(topic.id).with_partitions(parts.collect());
        let topics = if self.session == 0 { vec![topics] } else { Vec::new() };
        let request = ShareFetchRequest::default()
            .with_group_id(Some(group()))
            .with_member_id(Some(text(self.id)))
            .with_share_session_epoch(self.session)
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_max_records(10)
            .with_batch_size(5)
            .with_topics(topics);
        let response = self.client.ask(1, &request).await;
        checked(response.error_code)?;
        self.session += 1;
        let mut got = BTreeMap::new();
        for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
            checked(partition.error_code)?;
            assert_eq!(
                partition.acquired_records.is_empty(),
                partition.records.as_ref().is_none_or(|it| it.is_empty())
            );
            got.insert(partition.partition_index, partition.acquired_records.clone());
        }
        Ok(got)
    }

    /// Says the same of a run of offsets.
    async fn settle(
        &mut self,
        topic: &Topic,
        partition: i32,
        run: (i64, i64),
        kind: i8,
    ) -> Result<(), ErrorCode> {
        let batch = AcknowledgementBatch::default()
            .with_first_offset(run.0)
            .with_last_offset(run.1)
            .with_acknowledge_types(vec![kind]);
        let partition = AcknowledgePartition::default()
            .with_partition_index(partition)
            .with_acknowledgement_batches(vec![batch]);
        let topic = AcknowledgeTopic::default().with_topic_id(topic.id).with_partitions(vec![partition]);
        let request = ShareAcknowledgeRequest::default()
            .with_group_id(Some(group()))
            .with_member_id(Some(text(self.id)))
            .with_share_session_epoch(self.session)
            .with_topics(vec![topic]);
        let response = self.client.ask(1, &request).await;
        checked(response.error_code)?;
        self.session += 1;
        checked(response.responses[0].partitions[0].error_code)
    }
}

/// Runs of one partition, with how often they have been delivered.
fn runs(got: &BTreeMap<i32, Vec<AcquiredRecords>>, partition: i32) -> Vec<(i64, i64, i16)> {
    let runs = got.get(&partition).into_iter().flatten();
    runs.map(|run| (run.first_offset, run.last_offset, run.delivery_count)).collect()
}

/// Where the group is in partition 0 of `t`.
async fn start_offset(client: &mut Client) -> i64 {
    use kafka_protocol::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
    let asked = DescribeShareGroupOffsetsRequestGroup::default().with_group_id(group()).with_topics(None);
    let request = DescribeShareGroupOffsetsRequest::default().with_groups(vec![asked]);
    let response = client.ask(0, &request).await;
    assert_eq!(checked(response.groups[0].error_code), Ok(()));
    response.groups[0].topics[0].partitions[0].start_offset
}

#[test]
fn records_are_shared_settled_and_kept_too_long_and_a_crash_forgets_nothing_settled() {
    check_with(2, few, |bench| async move {
        let _running = bench.start().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let mut admin = bench.client().await;
        let topic = admin.create_topic("t", 1).await;
        begin_early(&mut admin).await;
        for values in [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]] {
            admin.produce(&topic, 0, &values).await.unwrap();
        }
        let mut first = Member::join(&bench, &rt, "first", 1).await;
        let mut second = Member::join(&bench, &rt, "second", 1).await;
        let got = first.fetch(&topic, 1).await.unwrap();
        assert_eq!(runs(&got, 0), [(0, 2, 1), (3, 5, 1), (6, 8, 1)]);
        assert_eq!(runs(&second.fetch(&topic, 1).await.unwrap(), 0), []);
        // Accepted, rejected, given back.
        assert_eq!(first.settle(&topic, 0, (0, 1), 1).await, Ok(()));
        assert_eq!(first.settle(&topic, 0, (2, 2), 3).await, Ok(()));
        assert_eq!(first.settle(&topic, 0, (3, 4), 2).await, Ok(()));
        assert_eq!(second.settle(&topic, 0, (5, 5), 1).await, Err(ErrorCode::InvalidRecordState));
        assert_eq!(runs(&second.fetch(&topic, 1).await.unwrap(), 0), [(3, 4, 2)]);
        assert_eq!(start_offset(&mut admin).await, 3);
        // Kept too long.
        rt.sleep(Duration::from_secs(6)).await;
        assert_eq!(first.settle(&topic, 0, (5, 8), 1).await, Err(ErrorCode::InvalidRecordState));
        assert_eq!(second.settle(&topic, 0, (3, 3), 1).await, Err(ErrorCode::InvalidRecordState));
        assert_eq!(runs(&second.fetch(&topic, 1).await.unwrap(), 0), [(3, 4, 3), (5, 8, 2)]);
        assert_eq!(second.settle(&topic, 0, (5, 6), 1).await, Ok(()));
        bench.crash();

        let running = bench.start().await;
        let mut third = Member::join(&bench, &rt, "third", 1).await;
        let got = third.fetch(&topic, 1).await.unwrap();
        // What was acquired last is free again; how often that was is known as far as it was written.
        let got: Vec<_> = runs(&got, 0).iter().map(|(first, last, _)| (*first, *last)).collect();
        assert_eq!(got, [(3, 4), (7, 8)]);
        assert_eq!(third.settle(&topic, 0, (3, 4), 1).await, Ok(()));
        // A session that ends with its connection gives back what it has.
        drop(third);
        rt.sleep(Duration::from_secs(1)).await;
        let mut fourth = Member::join(&bench, &rt, "fourth", 1).await;
        let got = fourth.fetch(&topic, 1).await.unwrap();
        assert_eq!(runs(&got, 0).iter().map(|run| (run.0, run.1)).collect::<Vec<_>>(), [(7, 8)]);
        assert_eq!(fourth.settle(&topic, 0, (7, 8), 1).await, Ok(()));
        assert_eq!(start_offset(&mut bench.client().await).await, 9);
        bench.stop(running).await;
    });
}

#[test]
fn offsets_of_an_idle_group_are_altered_and_the_group_is_deleted_with_its_state() {
    check_with(3, few, |bench| async move {
        let running = bench.start().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let mut admin = bench.client().await;
        let topic = admin.create_topic("t", 1).await;
        begin_early(&mut admin).await;
        admin.produce(&topic, 0, &["a", "b"]).await.unwrap();
        let mut member = Member::join(&bench, &rt, "m", 1).await;
        assert_eq!(runs(&member.fetch(&topic, 1).await.unwrap(), 0), [(0, 1, 1)]);
        assert_eq!(member.settle(&topic, 0, (0, 1), 1).await, Ok(()));
        assert_eq!(alter(&mut admin, 0).await, Err(ErrorCode::NonEmptyGroup));
        assert_eq!(delete(&mut admin).await, Err(ErrorCode::NonEmptyGroup));
        member.epoch = -1;
        assert_eq!(member.beat().await, Ok(()));
        assert_eq!(alter(&mut admin, 1).await, Ok(()));
        let mut again = Member::join(&bench, &rt, "again", 1).await;
        assert_eq!(runs(&again.fetch(&topic, 1).await.unwrap(), 0), [(1, 1, 1)]);
        again.epoch = -1;
        assert_eq!(again.beat().await, Ok(()));
        assert_eq!(delete(&mut admin).await, Ok(()));
        assert_eq!(delete(&mut admin).await, Err(ErrorCode::GroupIdNotFound));
        let mut anew = Member::join(&bench, &rt, "anew", 1).await;
        assert_eq!(runs(&anew.fetch(&topic, 1).await.unwrap(), 0), [(0, 1, 1)]);
        bench.stop(running).await;
    });
}

async fn alter(admin: &mut Client, offset: i64) -> Result<(), ErrorCode> {
    use kafka_protocol::messages::alter_share_group_offsets_request::{
        AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
    };
    let partition =
        AlterShareGroupOffsetsRequestPartition::default().with_partition_index(0).with_start_offset(offset);
    let topic = AlterShareGroupOffsetsRequestTopic::default()
        .with_topic_name(name("t"))
        .with_partitions(vec![partition]);
    let request = AlterShareGroupOffsetsRequest::default().with_group_id(group()).with_topics(vec![topic]);
    let response = admin.ask(0, &request).await;
    checked(response.error_code)?;
    checked(response.responses[0].partitions[0].error_code)
}

async fn delete(admin: &mut Client) -> Result<(), ErrorCode> {
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    let results: Vec<DeletableGroupResult> = admin.ask(2, &request).await.results;
    checked(results[0].error_code)
}

/// A log of what members were told over a life: offsets of each partition that are settled for good.
#[derive(Default)]
struct Told {
    settled: BTreeSet<(i32, i64)>,
    produced: BTreeSet<(i32, i64)>,
}

#[test]
fn over_crashes_nothing_settled_comes_again_and_everything_comes() {
    check_with(2, few, |bench| async move {
        let mut running = bench.start().await;
        let rt = Rt::sim(bench.sim.node(CLIENT));
        let mut admin = bench.client().await;
        let topic = admin.create_topic("t", 2).await;
        begin_early(&mut admin).await;
        let mut told = Told::default();
        for life in 0..3 {
            produce(&bench, &topic, &mut told).await;
            let mut members = Vec::new();
            for id in [["a", "b"], ["c", "d"], ["e", "f"]][life] {
                members.push(Member::join(&bench, &rt, id, 1).await);
            }
            for _ in 0..8 {
                let member = (rt.random_below(2)) as usize;
                step(&rt, &mut members[member], &topic, &mut told).await;
            }
            match rt.random_below(2) {
                0 => bench.crash(),
                _ => bench.kill(),
            }
            drop(running);
            running = bench.start().await;
        }
        let mut last = Member::join(&bench, &rt, "last", 1).await;
        for _ in 0..200 {
            if told.settled == told.produced {
                break;
            }
            for (partition, runs) in last.fetch(&topic, 2).await.unwrap() {
                for run in runs {
                    told.come(partition, &run);
                    let outcome =
                        last.settle(&topic, partition, (run.first_offset, run.last_offset), 1).await;
                    assert_eq!(outcome, Ok(()));
                    told.settle(partition, &run);
                }
            }
        }
        assert_eq!(told.settled, told.produced, "every record comes");
        bench.stop(running).await;
    });
}

impl Told {
    fn come(&self, partition: i32, run: &AcquiredRecords) {
        for offset in run.first_offset..=run.last_offset {
            assert!(!self.settled.contains(&(partition, offset)), "{partition}-{offset} comes again");
        }
    }

    fn settle(&mut self, partition: i32, run: &AcquiredRecords) {
        self.settled.extend((run.first_offset..=run.last_offset).map(|offset| (partition, offset)));
    }
}

async fn produce(bench: &Bench, topic: &Topic, told: &mut Told) {
    let mut producer = bench.client().await;
    for partition in 0..2 {
        for _ in 0..4 {
            let base = producer.produce(topic, partition, &["x", "y", "z"]).await.unwrap();
            told.produced.extend((base..base + 3).map(|offset| (partition, offset)));
        }
    }
}

/// A member fetches, and settles some of what it gets.
async fn step(rt: &Rt, member: &mut Member, topic: &Topic, told: &mut Told) {
    for (partition, runs) in member.fetch(topic, 2).await.unwrap() {
        for run in runs {
            told.come(partition, &run);
            let offsets = (run.first_offset, run.last_offset);
            match rt.random_below(4) {
                0 => {}
                1 => assert_eq!(member.settle(topic, partition, offsets, 2).await, Ok(())),
                _ => {
                    assert_eq!(member.settle(topic, partition, offsets, 1).await, Ok(()));
                    told.settle(partition, &run);
                }
            }
        }
    }
}
