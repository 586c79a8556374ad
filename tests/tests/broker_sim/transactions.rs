//! Transactions below their coordinator: batches and markers that are put into partitions by calls, and what clients are told of them.

use super::check;
use bytes::Bytes;
use hayate_engine::broker::RunningShard;
use hayate_engine::partition::verification::{FirstBatch, Guard};
use hayate_engine::partition::{AppendFailure, Durability};
use hayate_engine::shard::calls::{Append, AppendPart, PartitionCall, VerifyPart};
use hayate_engine::shard::router::{appended, verified};
use hayate_engine::shard::view::Route;
use hayate_net::error::ErrorCode;
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::{BatchBuilder, BatchHeader, Offset, ProducerId};
use hayate_storage::disk::Disk;
use hayate_storage::index::TxnIndex;
use hayate_storage::producers::TransactionVersion;
use hayate_tests::broker_sim::{BROKER, CLIENT, Client, Topic, checked, name, values};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    BrokerId, DescribeProducersRequest, ListOffsetsRequest, WriteTxnMarkersRequest,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const COMMIT: bool = true;
const ABORT: bool = false;
/// Far longer than anything takes here.
const PATIENCE_MS: i32 = 600_000;

/// A batch of a producer's transaction: one record a value.
fn batch(producer: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let builder = BatchBuilder::new().producer(ProducerId(producer), epoch, sequence).transactional(true);
    let record =
        |builder: BatchBuilder, value: &&str| builder.record(1_767_225_600_000, None, Some(value.as_bytes()));
    values.iter().fold(builder, record).build()
}

fn route(running: &[RunningShard], topic: &Topic, partition: i32) -> Route {
    let view = running[0].shard.view();
    view.route(view.topic_by_id(&topic.id).unwrap(), partition).unwrap()
}

/// Asks for the guard to append the batch with.
async fn verify(
    running: &[RunningShard],
    topic: &Topic,
    records: &Bytes,
) -> Result<Option<Guard>, AppendFailure> {
    let Route { shard, key } = route(running, topic, 0);
    let batch = FirstBatch::of(&BatchHeader::parse(records).unwrap());
    let call = PartitionCall::Verify(vec![VerifyPart { key, batch, version: TransactionVersion::Classic }]);
    verified(running[0].shard.router.call(shard, call).await).remove(0)
}

/// Appends it; the offset of its first record.
async fn append_with(
    running: &[RunningShard],
    topic: &Topic,
    records: Bytes,
    guard: Option<Guard>,
) -> Result<i64, ErrorCode> {
    let Route { shard, key } = route(running, topic, 0);
    let parts = vec![AppendPart { key, records, verdict: None, guard }];
    let append = Append { parts, produce_version: 13, durability: Durability::InSync };
    let answer = running[0].shard.router.call(shard, PartitionCall::Append(append)).await;
    appended(answer).0.remove(0).map(|at| at.base_offset.0).map_err(|failure| failure.code)
}

/// Verifies and appends.
async fn append(running: &[RunningShard], topic: &Topic, records: Bytes) -> i64 {
    let guard = verify(running, topic, &records).await.unwrap();
    append_with(running, topic, records, guard).await.unwrap()
}

fn markers(
    topic: &str,
    partition: i32,
    (producer, epoch, coordinator): (i64, i16, i32),
    commit: bool,
) -> WriteTxnMarkersRequest {
    let topic =
        WritableTxnMarkerTopic::default().with_name(name(topic)).with_partition_indexes(vec![partition]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(kafka_protocol::messages::ProducerId(producer))
        .with_producer_epoch(epoch)
        .with_coordinator_epoch(coordinator)
        .with_transaction_result(commit)
        .with_topics(vec![topic]);
    WriteTxnMarkersRequest::default().with_markers(vec![marker])
}

async fn mark(
    client: &mut Client,
    topic: &str,
    whose: (i64, i16, i32),
    commit: bool,
) -> Result<(), ErrorCode> {
    let response = client.ask(1, &markers(topic, 0, whose, commit)).await;
    assert_eq!(response.markers[0].producer_id.0, whose.0);
    checked(response.markers[0].topics[0].partitions[0].error_code)
}

/// A fetch of committed records from offset 0 of partition 0: of the whole partition, and its values.
async fn committed(client: &mut Client, topic: &Topic, max_wait_ms: i32) -> (PartitionData, Vec<String>) {
    let request = Client::fetch_request(topic, &[(0, 0)], 1, max_wait_ms).with_isolation_level(1);
    let response = client.ask(17, &request).await;
    let values = values(&response, 0);
    (response.responses[0].partitions[0].clone(), values)
}

fn aborted(fetched: &PartitionData) -> Vec<(i64, i64)> {
    let aborted = fetched.aborted_transactions.iter().flatten();
    aborted.map(|aborted| (aborted.producer_id.0, aborted.first_offset)).collect()
}

/// The latest offset, as a client of that isolation is told.
async fn latest(client: &mut Client, topic: &Topic, isolation: i8) -> i64 {
    let asked = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
    let asked = ListOffsetsTopic::default().with_name(name(&topic.name)).with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation)
        .with_topics(vec![asked]);
    let response = client.ask(10, &request).await;
    response.topics[0].partitions[0].offset
}

/// Producer, where its open transaction begins, and the epoch of the coordinator that ended its last one.
async fn producers(client: &mut Client, topic: &Topic) -> Vec<(i64, i64, i32)> {
    let asked = TopicRequest::default().with_name(name(&topic.name)).with_partition_indexes(vec![0]);
    let response = client.ask(0, &DescribeProducersRequest::default().with_topics(vec![asked])).await;
    let active = &response.topics[0].partitions[0].active_producers;
    let told = active
        .iter()
        .map(|active| (active.producer_id.0, active.current_txn_start_offset, active.coordinator_epoch));
    told.collect()
}

#[test]
fn readers_of_committed_records_are_told_what_was_aborted_and_no_more_than_is_decided() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("orders", 1).await;
        assert_eq!(append(&running, &topic, batch(7, 0, 0, &["a", "b"])).await, 0);
        assert_eq!(append(&running, &topic, batch(8, 0, 0, &["x"])).await, 2);
        assert_eq!(client.produce(&topic, 0, &["plain"]).await, Ok(3));
        let (fetched, seen) = committed(&mut client, &topic, 0).await;
        assert_eq!((fetched.last_stable_offset, fetched.high_watermark), (0, 4));
        assert_eq!((seen.len(), aborted(&fetched).len()), (0, 0));
        assert_eq!((latest(&mut client, &topic, 0).await, latest(&mut client, &topic, 1).await), (4, 0));
        assert_eq!(producers(&mut client, &topic).await, [(7, 0, -1), (8, 2, -1)]);

        assert_eq!(mark(&mut client, "orders", (8, 0, 5), ABORT).await, Ok(()));
        assert_eq!(latest(&mut client, &topic, 1).await, 0, "producer 7 is not done");
        assert_eq!(mark(&mut client, "orders", (7, 0, 5), COMMIT).await, Ok(()));
        assert_eq!(append(&running, &topic, batch(7, 0, 2, &["open"])).await, 6);
        let (fetched, seen) = committed(&mut client, &topic, 0).await;
        assert_eq!((fetched.last_stable_offset, fetched.high_watermark), (6, 7));
        assert_eq!(aborted(&fetched), [(8, 2)]);
        assert_eq!(seen[..4], ["a", "b", "x", "plain"], "clients leave out the aborted");
        assert_eq!(latest(&mut client, &topic, 1).await, 6);
        assert_eq!(producers(&mut client, &topic).await, [(7, 6, 5), (8, -1, 5)]);
        let uncommitted = client.fetch(&topic, &[(0, 0)], 1, 0).await;
        assert_eq!(uncommitted.responses[0].partitions[0].aborted_transactions, None);
        assert!(values(&uncommitted, 0).contains(&"open".to_owned()));
    });
}

#[test]
fn a_marker_wakes_those_who_wait_for_committed_records_and_open_ones_do_not() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("orders", 1).await;
        append(&running, &topic, batch(7, 0, 0, &["a"])).await;
        let (waiting, of) = (bench.clone(), topic.clone());
        let fetched = Rc::new(RefCell::new(None));
        let slot = fetched.clone();
        let wait = async move {
            let mut reader = waiting.client().await;
            *slot.borrow_mut() = Some(committed(&mut reader, &of, PATIENCE_MS).await.1);
        };
        Rt::sim(bench.sim.node(CLIENT)).spawn(Queue::Foreground, wait).detach();
        bench.sim.sleep(Duration::from_secs(1)).await;
        append(&running, &topic, batch(7, 0, 1, &["b"])).await;
        bench.sim.sleep(Duration::from_secs(1)).await;
        assert_eq!(*fetched.borrow(), None, "nothing is decided");
        let began = bench.sim.now();
        assert_eq!(mark(&mut client, "orders", (7, 0, 1), COMMIT).await, Ok(()));
        while fetched.borrow().is_none() {
            bench.sim.sleep(Duration::from_millis(10)).await;
        }
        assert!(bench.sim.now().since(began) < Duration::from_secs(5), "woken, not expired");
        assert_eq!(fetched.borrow().as_ref().unwrap()[..2], ["a", "b"]);
    });
}

#[test]
fn nothing_enters_a_transaction_that_its_coordinator_was_not_asked_about() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("orders", 1).await;
        let first = batch(7, 1, 0, &["a"]);
        assert_eq!(append_with(&running, &topic, first.clone(), None).await, Err(ErrorCode::InvalidTxnState));
        // The coordinator says yes, but its abort is here before the batch: it would hang in a transaction that nobody ends.
        let guard = verify(&running, &topic, &first).await.unwrap();
        assert!(guard.is_some());
        assert_eq!(mark(&mut client, "orders", (7, 1, 3), ABORT).await, Ok(()));
        assert_eq!(
            append_with(&running, &topic, first.clone(), guard).await,
            Err(ErrorCode::InvalidTxnState)
        );
        let again = verify(&running, &topic, &first).await.unwrap();
        assert_ne!(again, guard);
        assert_eq!(append_with(&running, &topic, first.clone(), again).await, Ok(1));
        // It is known now: nobody need be asked, and what comes twice is what it was.
        assert_eq!(verify(&running, &topic, &batch(7, 1, 1, &["b"])).await.unwrap(), None);
        assert_eq!(append_with(&running, &topic, batch(7, 1, 1, &["b"]), None).await, Ok(2));
        assert_eq!(append_with(&running, &topic, first.clone(), None).await, Ok(1));
        let stale = batch(7, 0, 0, &["zombie"]);
        let refused = verify(&running, &topic, &stale).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidProducerEpoch);
        assert_eq!(append_with(&running, &topic, stale, None).await, Err(ErrorCode::InvalidProducerEpoch));
        assert_eq!(mark(&mut client, "orders", (7, 1, 3), COMMIT).await, Ok(()));
        assert_eq!(
            append_with(&running, &topic, first, None).await,
            Ok(1),
            "a duplicate, whatever was decided"
        );
        assert_eq!(
            append_with(&running, &topic, batch(7, 1, 2, &["late"]), None).await,
            Err(ErrorCode::InvalidTxnState)
        );
    });
}

#[test]
fn markers_of_zombies_are_refused_and_others_are_heard_of() {
    check(1, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("orders", 1).await;
        let heard = Rc::new(RefCell::new(Vec::new()));
        let partition = running[0].shard.owner.partition(route(&running, &topic, 0).key).unwrap();
        let listener = heard.clone();
        partition.on_marker(Rc::new(move |producer, epoch, is_committed, offset| {
            listener.borrow_mut().push((producer.0, epoch, is_committed, offset.0));
        }));
        append(&running, &topic, batch(7, 2, 0, &["a"])).await;
        for (whose, expected) in [
            ((7, 1, 4), Err(ErrorCode::InvalidProducerEpoch)),
            ((7, 2, 4), Ok(())),
            ((7, 2, 3), Err(ErrorCode::TransactionCoordinatorFenced)),
            ((7, 3, 4), Ok(())),
            ((9, 0, 0), Ok(())),
        ] {
            assert_eq!(mark(&mut client, "orders", whose, ABORT).await, expected, "{whose:?}");
        }
        let expected = [(7, 2, false, 1), (7, 3, false, 2), (9, 0, false, 3)];
        assert_eq!(*heard.borrow(), expected);
        assert_eq!(
            mark(&mut client, "nowhere", (7, 9, 9), COMMIT).await,
            Err(ErrorCode::UnknownTopicOrPartition)
        );
        let elsewhere = client.ask(1, &markers("orders", 5, (7, 9, 9), COMMIT)).await;
        let code = elsewhere.markers[0].topics[0].partitions[0].error_code;
        assert_eq!(checked(code), Err(ErrorCode::UnknownTopicOrPartition));
        let nothing = client.ask(1, &WriteTxnMarkersRequest::default()).await;
        assert!(nothing.markers.is_empty());
    });
}

#[test]
fn what_is_open_and_what_was_aborted_outlives_a_crash() {
    check(2, |bench| async move {
        let running = bench.start().await;
        let mut client = bench.client().await;
        let topic = client.create_topic("orders", 1).await;
        append(&running, &topic, batch(7, 0, 0, &["a"])).await;
        append(&running, &topic, batch(8, 0, 0, &["x"])).await;
        assert_eq!(mark(&mut client, "orders", (7, 0, 1), ABORT).await, Ok(()));
        drop(running);
        bench.crash();
        let running = bench.start().await;
        let mut client = bench.client().await;
        let (fetched, seen) = committed(&mut client, &topic, PATIENCE_MS).await;
        assert_eq!((fetched.last_stable_offset, seen.len()), (1, 1));
        assert_eq!(aborted(&fetched), [(7, 0)]);
        assert_eq!(verify(&running, &topic, &batch(8, 0, 1, &["y"])).await.unwrap(), None, "still open");
        assert_eq!(mark(&mut client, "orders", (8, 0, 1), COMMIT).await, Ok(()));
        let (fetched, _) = committed(&mut client, &topic, 0).await;
        assert_eq!((fetched.last_stable_offset, aborted(&fetched)), (4, vec![(7, 0)]));
        bench.stop(running).await;
        let disk = Disk::sim(&bench.disk, &Rt::sim(bench.sim.node(BROKER)));
        let index = disk.read_small("/data/orders-0/00000000000000000000.txnindex", 1 << 10).await.unwrap();
        let index = TxnIndex::decode(&index.unwrap(), Offset(0)).unwrap();
        assert_eq!(index.entries().len(), 1);
    });
}
