//! Transactions end to end on a whole simulated broker: records of several shards and a group's offsets are committed or aborted together,
//! whoever is shut out, takes too long, comes late or loses power meanwhile. Clients of both protocols: those that add their partitions
//! and keep their epoch, and those of KIP-890.

use super::{check, check_with};
use hayate_engine::broker::{BrokerOptions, RunningShard};
use hayate_net::error::ErrorCode;
use hayate_storage::batch::LeaderEpoch;
use hayate_storage::batch::scan::{BatchScan, Checksums};
use hayate_storage::mutants::Mutant;
use hayate_tests::broker_sim::producer::{
    BOTH, Producer, Protocol, committed_fetch, committed_values, kafka_id, offset_fetch, offset_of, text,
};
use hayate_tests::broker_sim::transactions::{MUST_REACH, run_seed};
use hayate_tests::broker_sim::{Bench, Client, Topic, checked, name, records_from};
use hayate_tests::campaign::Campaign;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, GroupId, ListTransactionsRequest, OffsetCommitRequest,
    WriteTxnMarkersRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const COMMIT: bool = true;
const ABORT: bool = false;
/// The group whose offsets take part.
const GROUP: &str = "readers";
/// How long a transaction of these tests may be open.
const TIMEOUT_MS: i32 = 30_000;

/// Few partitions, so that a start is quick.
fn few(options: &mut BrokerOptions) {
    options.internal_topics.offsets.partitions = 3;
    options.internal_topics.transactions.partitions = 3;
}

async fn begin(bench: &Bench, protocol: Protocol, id: &'static str) -> Producer {
    Producer::begin(bench, protocol, (id, GROUP), TIMEOUT_MS).await.unwrap()
}

/// What a reader of committed records sees of a partition.
async fn committed(client: &mut Client, topic: &Topic, partition: i32) -> Vec<String> {
    committed_values(&client.ask(17, &committed_fetch(topic, partition)).await, partition)
}

/// The offset that the group has committed for partition 0; −1 for none.
async fn committed_offset(client: &mut Client, topic: &Topic, stable: bool) -> Result<i64, ErrorCode> {
    offset_of(&client.ask(8, &offset_fetch(GROUP, topic, stable)).await)
}

/// As [`committed_offset`], once the group's coordinator has loaded and no transaction may change it.
async fn stable_offset(bench: &Bench, client: &mut Client, topic: &Topic) -> i64 {
    loop {
        match committed_offset(client, topic, true).await {
            Ok(offset) => return offset,
            Err(ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnstableOffsetCommit) => {
                bench.sim.sleep(Duration::from_millis(5)).await;
            }
            Err(code) => panic!("{code:?}"),
        }
    }
}

/// What a partition's readers are told of its ends: the last stable offset, and the high watermark.
async fn ends(client: &mut Client, topic: &Topic, partition: i32) -> (i64, i64) {
    let response = client.ask(17, &committed_fetch(topic, partition)).await;
    let fetched = &response.responses[0].partitions[0];
    (fetched.last_stable_offset, fetched.high_watermark)
}

fn shards_of(running: &[RunningShard], topic: &Topic) -> Vec<usize> {
    let view = running[0].shard.view();
    let image = view.topic_by_id(&topic.id).unwrap();
    (0..2).map(|partition| view.route(image, partition).unwrap().shard.index()).collect()
}

#[test]
fn records_of_two_shards_and_offsets_are_committed_or_aborted_together() {
    check_with(2, few, |bench| async move {
        let running = bench.start().await;
        let mut reader = bench.client().await;
        for (protocol, id) in BOTH.into_iter().zip(["first", "second"]) {
            let topic = reader.create_topic(id, 2).await;
            let shards = shards_of(&running, &topic);
            assert_ne!(shards[0], shards[1]);
            let mut producer = begin(&bench, protocol, id).await;
            let mut expected = Vec::new();
            for round in 0..3 {
                let (value, is_committed) = (format!("{round}"), round != 1);
                producer.send(&topic, 0, &[&value, &value]).await.unwrap();
                producer.send(&topic, 1, &[&value]).await.unwrap();
                producer.send(&topic, 0, &["more"]).await.unwrap();
                let before = committed_offset(&mut reader, &topic, false).await;
                assert_eq!(producer.commit_offset(&topic, 100 + round).await, Ok(()));
                assert_eq!(committed(&mut reader, &topic, 0).await, expected);
                assert_eq!(
                    committed_offset(&mut reader, &topic, true).await,
                    Err(ErrorCode::UnstableOffsetCommit)
                );
                let before = before.unwrap_or(-1);
                assert_eq!(committed_offset(&mut reader, &topic, false).await, Ok(before));
                assert_eq!(producer.end(is_committed).await, Ok(()));
                if is_committed {
                    expected.extend([value.clone(), value.clone(), "more".to_owned()]);
                }
                let state = producer.settled().await.unwrap();
                assert_eq!(state, if is_committed { "CompleteCommit" } else { "CompleteAbort" });
                assert_eq!(committed(&mut reader, &topic, 0).await, expected);
                let expected_1: Vec<_> = expected.chunks(3).map(|three| three[0].clone()).collect();
                assert_eq!(committed(&mut reader, &topic, 1).await, expected_1);
                let committed = if is_committed { 100 + round } else { before };
                assert_eq!(committed_offset(&mut reader, &topic, true).await, Ok(committed));
            }
        }
        bench.stop(running).await;
    });
}

#[test]
fn whoever_begins_again_at_once_waits_for_the_last_end_and_need_not_come_again() {
    check_with(2, few, |bench| async move {
        let _running = bench.start().await;
        let mut reader = bench.client().await;
        for (protocol, id) in BOTH.into_iter().zip(["first", "second"]) {
            let topic = reader.create_topic(id, 2).await;
            let mut producer = begin(&bench, protocol, id).await;
            for number in 0..20 {
                let before = producer.retries.get();
                producer.send(&topic, number % 2, &["x"]).await.unwrap();
                producer.commit_offset(&topic, number.into()).await.unwrap();
                assert_eq!(producer.retries.get(), before, "{protocol:?}, transaction {number}");
                producer.end(number % 3 > 0).await.unwrap();
            }
        }
    });
}

#[test]
fn a_successor_shuts_a_producer_out_and_aborts_its_transaction() {
    check_with(2, few, |bench| async move {
        let _running = bench.start().await;
        for (protocol, id) in BOTH.into_iter().zip(["first", "second"]) {
            let mut reader = bench.client().await;
            let topic = reader.create_topic(id, 2).await;
            let mut zombie = begin(&bench, protocol, id).await;
            zombie.send(&topic, 0, &["lost"]).await.unwrap();
            zombie.commit_offset(&topic, 7).await.unwrap();
            let mut successor = begin(&bench, protocol, id).await;
            assert_eq!(successor.who.0, zombie.who.0);
            assert!(successor.who.1 > zombie.who.1);
            let late = zombie.batch(0, &["zombie"]);
            let refused = zombie.produce(zombie.produce_version(), &topic, 0, late).await;
            assert_eq!(refused, Err(ErrorCode::InvalidProducerEpoch));
            let refused = zombie.commit_offset(&topic, 9).await;
            assert!(
                matches!(refused, Err(ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch)),
                "{refused:?}"
            );
            assert_eq!(zombie.end(COMMIT).await, Err(ErrorCode::ProducerFenced));
            successor.send(&topic, 0, &["kept"]).await.unwrap();
            assert_eq!(successor.end(COMMIT).await, Ok(()));
            assert_eq!(successor.settled().await.unwrap(), "CompleteCommit");
            assert_eq!(committed(&mut reader, &topic, 0).await, ["kept"]);
            assert_eq!(stable_offset(&bench, &mut reader, &topic).await, -1);
        }
    });
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_also_across_a_crash() {
    check_with(2, few, |bench| async move {
        let mut running = bench.start().await;
        for (crashes, (protocol, id)) in [false, true, false, true]
            .into_iter()
            .zip([BOTH[0], BOTH[0], BOTH[1], BOTH[1]].into_iter().zip(["a", "b", "c", "d"]))
        {
            let mut reader = bench.client().await;
            let topic = reader.create_topic(id, 2).await;
            let mut producer = begin(&bench, protocol, id).await;
            producer.send(&topic, 0, &["slow"]).await.unwrap();
            producer.send(&topic, 1, &["slow"]).await.unwrap();
            producer.commit_offset(&topic, 5).await.unwrap();
            let began = bench.sim.now();
            if crashes {
                drop(running);
                bench.crash();
                running = bench.start().await;
                reader = bench.client().await;
                producer.client = bench.client().await;
            }
            assert_eq!(producer.settled().await.unwrap(), "CompleteAbort");
            let took = bench.sim.now().since(began).as_millis();
            assert!(
                (20_000..50_000).contains(&took),
                "its timeout, and the interval of the search: {took} ms"
            );
            for partition in 0..2 {
                let (stable, end) = ends(&mut reader, &topic, partition).await;
                assert_eq!((stable, end), (2, 2), "a record and its marker");
                assert_eq!(committed(&mut reader, &topic, partition).await.len(), 0);
            }
            assert_eq!(stable_offset(&bench, &mut reader, &topic).await, -1);
            let expected = match protocol {
                Protocol::First => ErrorCode::ProducerFenced,
                // As the end that was asked for before, which was not this one.
                Protocol::Second => ErrorCode::InvalidTxnState,
            };
            assert_eq!(producer.end(COMMIT).await, Err(expected));
        }
    });
}

/// The epoch of the leader that wrote the last batch of a partition, if that is a marker, and of the one that wrote the first.
async fn epochs(client: &mut Client, topic: &Topic, partition: i32) -> (LeaderEpoch, LeaderEpoch) {
    let response = client.fetch(topic, &[(partition, 0)], 1, 0).await;
    let records = records_from(&response, partition);
    let headers: Vec<_> = BatchScan::new(&records, Checksums::Verify).map(|batch| batch.header).collect();
    let (first, last) = (headers.first().unwrap(), headers.last().unwrap());
    assert!(last.is_control());
    (first.partition_leader_epoch, last.partition_leader_epoch)
}

#[test]
fn a_crash_between_the_decision_and_its_markers_tears_no_transaction() {
    let (resumed, lost) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let counts = (resumed.clone(), lost.clone());
    check_with(2, few, move |bench| {
        let (resumed, lost) = counts.clone();
        async move {
            let mut running = bench.start().await;
            for round in 0..10u64 {
                let id: &'static str = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"]
                    [usize::try_from(round).unwrap()];
                let protocol = BOTH[usize::try_from(round % 2).unwrap()];
                let mut reader = bench.client().await;
                let topic = reader.create_topic(id, 2).await;
                let mut producer = begin(&bench, protocol, id).await;
                producer.send(&topic, 0, &["x"]).await.unwrap();
                producer.send(&topic, 1, &["x"]).await.unwrap();
                producer.commit_offset(&topic, 5).await.unwrap();
                let request = producer.end_request(COMMIT);
                producer.client.send_unheard(producer.end_version(), &request).await;
                bench.sim.sleep(Duration::from_micros(150 * (round + 1))).await;
                drop(running);
                bench.crash();
                running = bench.start().await;
                (reader, producer.client) = (bench.client().await, bench.client().await);
                let is_committed = producer.settled().await.unwrap() == "CompleteCommit";
                let expected = if is_committed { vec!["x".to_owned()] } else { Vec::new() };
                for partition in 0..2 {
                    assert_eq!(committed(&mut reader, &topic, partition).await, expected, "{id}");
                    let (began, ended) = epochs(&mut reader, &topic, partition).await;
                    resumed.set(resumed.get() + u32::from(is_committed && ended > began));
                }
                let expected = if is_committed { 5 } else { -1 };
                assert_eq!(stable_offset(&bench, &mut reader, &topic).await, expected, "{id}");
                lost.set(lost.get() + u32::from(!is_committed));
            }
        }
    });
    assert!(resumed.get() > 0, "no crash came between the decision and a marker");
    assert!(lost.get() > 0, "no crash came before the decision");
}

#[test]
fn a_produce_that_comes_after_its_abort_leaves_no_hanging_transaction_as_jepsen_found_kip_890() {
    check_with(2, few, |bench| async move {
        let _running = bench.start().await;
        for (protocol, id) in BOTH.into_iter().zip(["first", "second"]) {
            let mut reader = bench.client().await;
            let topic = reader.create_topic(id, 2).await;
            let mut producer = begin(&bench, protocol, id).await;
            producer.send(&topic, 0, &["a"]).await.unwrap();
            // The second request of the transaction is held up on its way: its abort overtakes it.
            if protocol == Protocol::First {
                producer.add(&topic.name, 1).await.unwrap();
            }
            let (late, version) = (producer.batch(1, &["late"]), producer.produce_version());
            assert_eq!(producer.end(ABORT).await, Ok(()));
            assert_eq!(producer.settled().await.unwrap(), "CompleteAbort");
            let refused = producer.produce(version, &topic, 1, late.clone()).await;
            let expected = match protocol {
                Protocol::First => ErrorCode::TransactionAbortable,
                Protocol::Second => ErrorCode::InvalidProducerEpoch,
            };
            assert_eq!(refused, Err(expected));
            // Nor does it slip into the next transaction, if that is to be told from the last.
            if protocol == Protocol::Second {
                producer.send(&topic, 1, &["next"]).await.unwrap();
                assert_eq!(
                    producer.produce(version, &topic, 1, late).await,
                    Err(ErrorCode::InvalidProducerEpoch)
                );
                assert_eq!(producer.end(COMMIT).await, Ok(()));
                assert_eq!(producer.settled().await.unwrap(), "CompleteCommit");
                assert_eq!(committed(&mut reader, &topic, 1).await, ["next"]);
            }
            for partition in 0..2 {
                let (stable, end) = ends(&mut reader, &topic, partition).await;
                assert_eq!(stable, end, "partition {partition} hangs");
            }
        }
    });
}

#[test]
fn what_belongs_to_no_transaction_is_refused_with_kafkas_codes() {
    check_with(2, few, |bench| async move {
        let _running = bench.start().await;
        let mut reader = bench.client().await;
        let topic = reader.create_topic("orders", 2).await;
        let mut producer = begin(&bench, Protocol::First, "known").await;
        let who = producer.who;
        assert_eq!(producer.end(COMMIT).await, Err(ErrorCode::InvalidTxnState), "nothing has begun");
        // A partition that was not added, by what the client's version knows.
        let records = producer.batch(0, &["a"]);
        for (version, code) in [(10, ErrorCode::InvalidTxnState), (11, ErrorCode::TransactionAbortable)] {
            assert_eq!(producer.produce(version, &topic, 0, records.clone()).await, Err(code));
        }
        let nameless = reader.produce_records(&topic, 0, records.clone()).await;
        assert_eq!(nameless, Err(ErrorCode::TransactionalIdAuthorizationFailed));
        for (id, stranger, code) in [
            ("unknown", who, ErrorCode::InvalidProducerIdMapping),
            ("known", (who.0 + 1, 0), ErrorCode::InvalidProducerIdMapping),
            ("known", (who.0, who.1 + 1), ErrorCode::ProducerFenced),
            ("", who, ErrorCode::InvalidRequest),
        ] {
            (producer.id, producer.who) = (id, stranger);
            assert_eq!(producer.add("orders", 0).await, Err(code), "{id:?} as {stranger:?}");
            assert_eq!(producer.end(ABORT).await, Err(code), "{id:?} as {stranger:?}");
        }
        (producer.id, producer.who) = ("known", who);
        assert_eq!(producer.add("orders", 9).await, Err(ErrorCode::UnknownTopicOrPartition));
        assert_eq!(producer.init(900_001).await, Err(ErrorCode::InvalidTransactionTimeout));
        assert_eq!(producer.init(0).await, Err(ErrorCode::InvalidTransactionTimeout));
        let mut commit = producer.offset_commit(&topic, 3);
        commit.topics[0].partitions[0].partition_index = 9;
        let response = producer.client.ask(3, &commit).await;
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(response.topics[0].partitions[0].error_code, unknown);
        let commit = producer.offset_commit(&topic, 3);
        let response = producer.client.ask(3, &commit).await;
        let not_added = ErrorCode::InvalidTxnState.code();
        assert_eq!(response.topics[0].partitions[0].error_code, not_added, "its offsets were not added");
        let response = producer.client.ask(4, &commit).await;
        let abortable = ErrorCode::TransactionAbortable.code();
        assert_eq!(response.topics[0].partitions[0].error_code, abortable);
        assert_eq!(ends(&mut reader, &topic, 0).await, (0, 0), "nothing was appended");
        assert_eq!(committed_offset(&mut reader, &topic, true).await, Ok(-1));
    });
}

#[test]
fn administrators_see_transactions_and_end_one_that_they_think_hangs() {
    check_with(2, few, |bench| async move {
        let _running = bench.start().await;
        let mut admin = bench.client().await;
        let versions = admin
            .ask(
                4,
                &ApiVersionsRequest::default()
                    .with_client_software_name(text("a"))
                    .with_client_software_version(text("1")),
            )
            .await;
        let supported =
            versions.supported_features.iter().find(|known| &*known.name == "transaction.version");
        assert_eq!(supported.map(|known| (known.min_version, known.max_version)), Some((0, 2)));
        let finalized =
            versions.finalized_features.iter().find(|known| &*known.name == "transaction.version");
        assert_eq!(finalized.map(|known| known.max_version_level), Some(2));
        let topic = admin.create_topic("orders", 2).await;
        let mut one = begin(&bench, Protocol::First, "one").await;
        let mut two = begin(&bench, Protocol::Second, "two").await;
        one.send(&topic, 0, &["a"]).await.unwrap();
        two.send(&topic, 1, &["b"]).await.unwrap();
        two.end(COMMIT).await.unwrap();
        two.settled().await.unwrap();
        let described = one.described().await.unwrap();
        assert_eq!(described.transaction_state.as_str(), "Ongoing");
        assert_eq!((described.producer_id.0, described.producer_epoch), one.who);
        assert_eq!(described.topics[0].partitions, [0]);
        let list = |states: &[&str]| {
            let states = states.iter().map(|state| text(state)).collect();
            ListTransactionsRequest::default().with_state_filters(states).with_duration_filter(-1)
        };
        let all = admin.ask(2, &list(&[])).await;
        let mut ids: Vec<_> =
            all.transaction_states.iter().map(|state| state.transactional_id.to_string()).collect();
        ids.sort();
        assert_eq!(ids, ["one", "two"]);
        let open = admin.ask(2, &list(&["Ongoing", "Nonsense"])).await;
        assert_eq!((open.transaction_states.len(), open.unknown_state_filters.len()), (1, 1));
        let bad = list(&[]).with_transactional_id_pattern(Some(text("(")));
        assert_eq!(checked(admin.ask(2, &bad).await.error_code), Err(ErrorCode::InvalidRegularExpression));
        // kafka-transactions abort writes the marker itself, as of a coordinator of an epoch that it was told of.
        let marked =
            WritableTxnMarkerTopic::default().with_name(name("orders")).with_partition_indexes(vec![0]);
        let marker = WritableTxnMarker::default()
            .with_producer_id(kafka_id(one.who.0))
            .with_producer_epoch(one.who.1)
            .with_coordinator_epoch(-1)
            .with_transaction_result(ABORT)
            .with_topics(vec![marked]);
        let forced = admin.ask(1, &WriteTxnMarkersRequest::default().with_markers(vec![marker])).await;
        assert_eq!(checked(forced.markers[0].topics[0].partitions[0].error_code), Ok(()));
        assert_eq!(ends(&mut admin, &topic, 0).await, (2, 2));
    });
}

/// Three MiB of commits for the group, so that its coordinator takes a while to load.
async fn fill(client: &mut Client, topic: &Topic) {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(1)
        .with_committed_metadata(Some(StrBytes::from_string("m".repeat(4000))));
    let named = OffsetCommitRequestTopic::default()
        .with_name(name(&topic.name))
        .with_partitions(vec![partition; 250]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![named]);
    for _ in 0..3 {
        let response = client.ask(8, &request).await;
        assert_eq!(checked(response.topics[0].partitions[0].error_code), Ok(()));
    }
}

#[test]
fn a_marker_that_comes_while_a_group_coordinator_loads_is_not_missed() {
    let met = Rc::new(Cell::new(0));
    let counts = met.clone();
    check_with(2, few, move |bench| {
        let met = counts.clone();
        async move {
            let running = bench.start().await;
            let mut client = bench.client().await;
            let topic = client.create_topic("orders", 2).await;
            let mut producer = begin(&bench, Protocol::First, "t").await;
            fill(&mut client, &topic).await;
            producer.commit_offset(&topic, 77).await.unwrap();
            drop(running);
            bench.crash();
            let _running = bench.start().await;
            let mut client = bench.client().await;
            let marked = WritableTxnMarkerTopic::default()
                .with_name(name("__consumer_offsets"))
                .with_partition_indexes(vec![0, 1, 2]);
            let marker = WritableTxnMarker::default()
                .with_producer_id(kafka_id(producer.who.0))
                .with_producer_epoch(producer.who.1)
                .with_coordinator_epoch(99)
                .with_transaction_result(COMMIT)
                .with_topics(vec![marked]);
            let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
            let before = committed_offset(&mut client, &topic, false).await;
            client.ask(1, &request).await;
            let after = committed_offset(&mut client, &topic, false).await;
            let loading = Err(ErrorCode::CoordinatorLoadInProgress);
            met.set(met.get() + u32::from(before == loading && after == loading));
            assert_eq!(stable_offset(&bench, &mut client, &topic).await, 77);
        }
    });
    assert!(met.get() > 0, "no marker came during a load");
}

#[test]
fn deleting_records_of_an_open_transaction_wakes_those_who_wait_for_its_end() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut admin = bench.client().await;
        let topic = admin.create_topic("orders", 2).await;
        let mut producer = begin(&bench, Protocol::Second, "t").await;
        producer.send(&topic, 0, &["a"]).await.unwrap();
        assert_eq!(admin.produce(&topic, 0, &["plain"]).await, Ok(1));
        let mut reader = bench.client().await;
        let patient = Client::fetch_request(&topic, &[(0, 0)], 1, 600_000).with_isolation_level(1);
        reader.send_unheard(17, &patient).await;
        bench.sim.sleep(Duration::from_secs(1)).await;
        let began = bench.sim.now();
        assert_eq!(admin.try_delete_records(&topic, 0, 2).await, Some(Ok(2)));
        let woken = reader.heard::<FetchRequest>().await;
        let code = woken.responses[0].partitions[0].error_code;
        assert_eq!(checked(code), Err(ErrorCode::OffsetOutOfRange), "what it waited for is gone");
        assert!(bench.sim.now().since(began) < Duration::from_secs(5), "woken, not expired");
    });
}

/// Lives at CI size. `simulate transactions FROM..TO` lives as many as one wants.
const SEEDS: u64 = 40;

#[test]
fn no_life_tears_a_transaction_or_lets_one_hang() {
    let campaign = Campaign::run(0..SEEDS, &|seed| run_seed(seed, None), &|_, _| ());
    println!("{:#?}", campaign.counts);
    assert!(campaign.broken.is_empty(), "{:#?}", campaign.broken);
    let missed = campaign.missed(MUST_REACH);
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

#[test]
fn a_life_of_transactions_is_the_same_twice() {
    for seed in 0..3 {
        let (first, second) = (run_seed(seed, None), run_seed(seed, None));
        assert_eq!((first.trace, first.steps), (second.trace, second.steps), "seed {seed}");
    }
}

#[test]
fn every_defect_of_transactions_is_caught() {
    for (name, mutant) in Mutant::OF_TRANSACTIONS {
        let campaign = Campaign::run(0..SEEDS, &|seed| run_seed(seed, Some(mutant)), &|_, _| ());
        println!("{name}: caught by {} of {SEEDS} lives", campaign.broken.len());
        assert!(!campaign.broken.is_empty(), "{name} survives");
    }
}
