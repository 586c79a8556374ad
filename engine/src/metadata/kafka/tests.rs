//! The metadata of Kafka nodes in small: what is gone on from, what is refused, and that no bytes make it panic.

use super::*;
use crate::metadata::image::tests::record_over_few_names;
use crate::metadata::image::{ConfigResource, DIRECTORY_UNASSIGNED};
use crate::metadata::records::arbitrary::seeded;
use crate::metadata::records::*;
use crate::metadata::snapshot::file;
use hayate_storage::batch::control::{leader_change_batch, snapshot_footer_batch, snapshot_header_batch};
use hayate_storage::batch::scan::Checksums;
use hayate_storage::batch::{BatchBuilder, BatchScan, LeaderEpoch};
use proptest::collection::vec;
use proptest::prelude::*;

const NODE: NodeId = 1;
const HERE: Uuid = Uuid::from_u128(1000);
const TOPIC: Uuid = Uuid::from_u128(2000);
const EPOCH: LeaderEpoch = LeaderEpoch(3);
const NOW_MS: i64 = 1_700_000_000_000;

fn heir() -> Heir {
    Heir { node_id: NODE, directory_id: Some(HERE), versions: (7, 29) }
}

fn feature(name: &str, feature_level: i16) -> MetadataRecord {
    FeatureLevelRecord { name: name.to_owned(), feature_level }.into()
}

fn topic(name: &str, topic_id: Uuid) -> MetadataRecord {
    TopicRecord { name: name.to_owned(), topic_id }.into()
}

fn partition(partition_id: i32) -> PartitionRecord {
    PartitionRecord {
        partition_id,
        topic_id: TOPIC,
        replicas: vec![NODE],
        isr: vec![NODE],
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader: NODE,
        leader_recovery_state: 0,
        leader_epoch: 5,
        partition_epoch: 6,
        directories: vec![HERE],
        eligible_leader_replicas: None,
        last_known_elr: None,
    }
}

/// What Kafka's controlled shutdown makes of the only replica.
fn stopped(partition_id: i32) -> MetadataRecord {
    PartitionChangeRecord {
        isr: Some(Vec::new()),
        leader: NO_LEADER,
        eligible_leader_replicas: Some(vec![NODE]),
        last_known_elr: Some(vec![NODE]),
        ..PartitionChangeRecord::of(TOPIC, partition_id)
    }
    .into()
}

/// A log: its leader's first batch, then one batch of records after another.
fn log(batches: &[Vec<MetadataRecord>]) -> Vec<u8> {
    let mut bytes = leader_change_batch(Offset::ZERO, EPOCH, NOW_MS, NODE, &[NODE], &[NODE]).to_vec();
    let mut next = Offset(1);
    for records in batches {
        let batch = BatchBuilder::new().base_offset(next).leader_epoch(EPOCH);
        let values = records.iter().map(|record| record.encode().unwrap());
        bytes.extend_from_slice(
            &values.fold(batch, |batch, value| batch.record(NOW_MS, None, Some(&value))).build(),
        );
        next = next.plus(records.len() as i64);
    }
    bytes
}

fn read(mut metadata: KafkaMetadata, bytes: &[u8]) -> Result<KafkaMetadata, ReadError> {
    for batch in BatchScan::new(bytes, Checksums::Verify) {
        metadata.take(&batch)?;
    }
    Ok(metadata)
}

fn read_log(batches: &[Vec<MetadataRecord>]) -> Result<KafkaMetadata, ReadError> {
    read(KafkaMetadata::begin("cluster", None).unwrap(), &log(batches))
}

fn base() -> Vec<MetadataRecord> {
    vec![feature(METADATA_VERSION, 29), topic("t", TOPIC), partition(0).into(), partition(1).into()]
}

#[test]
fn partitions_that_lost_their_leader_at_the_stop_get_it_back() {
    let taken = read_log(&[base(), vec![stopped(0)]]).unwrap().hand_over(&heir()).unwrap();
    assert_eq!(taken.elected, 1);
    let partition = |id| taken.image.partition(&TOPIC, id).unwrap().clone();
    let back = partition(0);
    assert_eq!((back.leader, back.isr, back.elr, back.last_known_elr), (NODE, vec![NODE], vec![], vec![]));
    assert!(back.leader_epoch > partition(1).leader_epoch);
    assert_eq!(partition(1).leader_epoch, LeaderEpoch(5));
    // One record behind the six of the log.
    assert_eq!(taken.image.position(), Position { offset: Offset(6), epoch: EPOCH });
}

#[test]
fn a_transaction_that_was_left_open_never_happened() {
    let open = vec![BeginTransactionRecord { name: None }.into(), topic("half", Uuid::from_u128(9))];
    let taken = read_log(&[base(), open.clone()]).unwrap().hand_over(&heir()).unwrap();
    assert_eq!(taken.image.topic_count(), 1);
    assert_eq!(taken.image.position().offset, Offset(7));
    let ended = [open, vec![EndTransactionRecord {}.into()]].concat();
    let taken = read_log(&[base(), ended]).unwrap().hand_over(&heir()).unwrap();
    assert_eq!(taken.image.topic_count(), 2);
}

/// The bytes of a `bootstrap.checkpoint` with these records, as Kafka's `BatchFileWriter` writes them.
fn bootstrap_file(records: &[MetadataRecord]) -> Vec<u8> {
    let batch = BatchBuilder::new().base_offset(Offset(1)).leader_epoch(LeaderEpoch(0));
    let values = records.iter().map(|record| record.encode().unwrap());
    let batch = values.fold(batch, |batch, value| batch.record(NOW_MS, None, Some(&value))).build();
    let header = snapshot_header_batch(LeaderEpoch(0), NOW_MS, 0, &[]);
    let footer = snapshot_footer_batch(Offset(1 + records.len() as i64), LeaderEpoch(0), NOW_MS);
    [header, batch, footer].concat()
}

#[test]
fn a_log_that_no_controller_has_begun_begins_as_it_was_formatted() {
    let formatted = vec![feature(METADATA_VERSION, 25), feature("group.version", 1)];
    let bytes = bootstrap_file(&formatted);
    assert_eq!(bootstrap_records(&bytes), Ok((formatted, 25)));
    let begun = vec![BeginTransactionRecord { name: None }.into(), feature(METADATA_VERSION, 29)];
    // Nothing yet; a leader; a leader that was stopped in the middle of it.
    let nothing = || read(KafkaMetadata::begin("cluster", None).unwrap(), &[]);
    for (metadata, offset) in [(nothing(), 1), (read_log(&[]), 2), (read_log(&[begun]), 5)] {
        let mut metadata = metadata.unwrap();
        assert_eq!(metadata.is_new(), Ok(true));
        metadata.bootstrap(&bootstrap_records(&bytes).unwrap().0).unwrap();
        let taken = metadata.hand_over(&heir()).unwrap();
        let levels = [METADATA_VERSION, "group.version"].map(|name| taken.image.feature_level(name));
        assert_eq!((levels, taken.image.position().offset), ([25, 1], Offset(offset)));
    }
    assert_eq!(read_log(&[base()]).unwrap().is_new(), Ok(false));
    for at in 0..bytes.len() {
        assert!(bootstrap_records(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(
        bootstrap_records(&bootstrap_file(&[partition(0).into()])).is_err(),
        "of a topic that there is not"
    );
}

#[test]
fn a_snapshot_stands_for_the_log_up_to_its_end() {
    let before = read_log(&[base()]).unwrap().hand_over(&heir()).unwrap();
    let at = SnapshotId::of(before.image.position());
    let bytes = file::encode(&before.image, NOW_MS, NOW_MS).unwrap();
    let begin = || KafkaMetadata::begin("cluster", Some((at, &bytes))).unwrap();
    assert_eq!(begin().next(), Offset(5));
    let added = || vec![topic("u", Uuid::from_u128(9))];
    let whole = read(begin(), &log(&[base(), added()])).unwrap();
    assert_eq!(whole.hand_over(&heir()).unwrap().image.topic_count(), 2);
    // Batches that it accounts for may be gone, those behind it not.
    let gap = log(&[base(), added(), added()]);
    let starts: Vec<usize> = BatchScan::new(&gap, Checksums::Trust).map(|batch| batch.position).collect();
    assert!(read(begin(), &gap[starts[2]..starts[3]]).is_ok());
    assert_eq!(read(begin(), &gap[starts[3]..]).unwrap_err(), ReadError::Gap(Offset(6)));
    let torn = &bytes[..bytes.len() - 1];
    assert!(matches!(KafkaMetadata::begin("cluster", Some((at, torn))), Err(ReadError::Snapshot(_))));
}

/// What the records lead to is refused so.
fn check_refused(records: Vec<MetadataRecord>, expected: Refusal) {
    assert_eq!(read_log(&[records]).unwrap().hand_over(&heir()).unwrap_err(), expected);
}

#[test]
fn what_a_single_broker_cannot_go_on_from_is_refused() {
    let with =
        |partition: PartitionRecord| vec![feature(METADATA_VERSION, 29), topic("t", TOPIC), partition.into()];
    let elsewhere = || Refusal::Replicas(1, "t-0".to_owned());
    let two = vec![HERE, DIRECTORY_UNASSIGNED];
    check_refused(
        with(PartitionRecord { replicas: vec![2], directories: vec![HERE], ..partition(0) }),
        elsewhere(),
    );
    check_refused(
        with(PartitionRecord { replicas: vec![NODE, 2], directories: two, ..partition(0) }),
        elsewhere(),
    );
    check_refused(with(PartitionRecord { adding_replicas: vec![2], ..partition(0) }), elsewhere());
    let other = PartitionRecord { directories: vec![Uuid::from_u128(1001)], ..partition(0) };
    check_refused(with(other), Refusal::Directories(1, "t-0".to_owned()));
    check_refused(vec![feature(METADATA_VERSION, 30)], Refusal::Version(30, (7, 29)));
    check_refused(Vec::from([topic("t", TOPIC)]), Refusal::Version(0, (7, 29)));
    let unassigned = PartitionRecord { directories: vec![DIRECTORY_UNASSIGNED], ..partition(0) };
    assert!(read_log(&[with(unassigned)]).unwrap().hand_over(&heir()).is_ok());
    let exhausted = PartitionRecord { leader_epoch: i32::MAX, leader: NO_LEADER, ..partition(0) };
    let refused = read_log(&[with(exhausted)]).unwrap().hand_over(&heir()).unwrap_err();
    assert!(matches!(refused, Refusal::Unending(ApplyError::EpochExhausted(..))), "{refused}");
}

#[test]
fn a_quorum_of_several_is_refused() {
    let mut bytes =
        leader_change_batch(Offset::ZERO, EPOCH, NOW_MS, NODE, &[NODE, 2, 3], &[NODE, 2]).to_vec();
    let feature = feature(METADATA_VERSION, 29).encode().unwrap();
    let batch = BatchBuilder::new().base_offset(Offset(1)).leader_epoch(EPOCH);
    bytes.extend_from_slice(&batch.record(NOW_MS, None, Some(&feature)).build());
    let metadata = read(KafkaMetadata::begin("cluster", None).unwrap(), &bytes).unwrap();
    assert_eq!(metadata.hand_over(&heir()).unwrap_err(), Refusal::Voters(3));
}

#[test]
fn what_is_kept_and_not_acted_on_is_counted() {
    let config = |kind, resource: &str, name: &str, value: &str| ConfigRecord {
        resource_type: kind,
        resource_name: resource.to_owned(),
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let opaque = |api_key, body: &'static [u8]| {
        MetadataRecord::Opaque(OpaqueRecord { api_key, version: 0, body: bytes::Bytes::from_static(body) })
    };
    let mut records = base();
    records.extend([
        config(2, "t", "retention.ms", "1").into(),
        config(2, "t", "remote.storage.enable", "true").into(),
        config(4, "", "min.insync.replicas", "1").into(),
        config(32, "g", "consumer.session.timeout.ms", "50000").into(),
        config(32, "g", "streams.num.standby.replicas", "1").into(),
    ]);
    records.extend([
        opaque(18, b"a"),
        opaque(18, b"b"),
        opaque(19, b"a"),
        opaque(14, b"q"),
        opaque(11, b"s"),
    ]);
    let taken = read_log(&[records]).unwrap().hand_over(&heir()).unwrap();
    let survey = Survey::of(&taken.image);
    assert_eq!((survey.topics, survey.partitions, survey.topic_configs, survey.broker_configs), (1, 2, 2, 1));
    let counts: Vec<usize> = survey.left.iter().map(|(count, _)| *count).collect();
    assert_eq!(counts, [1, 1, 1, 1, 1], "{:?}", survey.left);
    let configs = taken.image.config(&ConfigResource::topic("t")).unwrap();
    assert_eq!(configs.get("retention.ms").map(String::as_str), Some("1"));
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn whatever_fits_is_handed_over_or_refused(records in vec(record_over_few_names(), 0..40)) {
        let mut metadata = KafkaMetadata::begin("cluster", None).unwrap();
        let mut next = 0;
        for record in records.into_iter().chain([feature(METADATA_VERSION, 29)]) {
            let value = record.encode().unwrap();
            let batch = BatchBuilder::new().base_offset(Offset(next)).leader_epoch(EPOCH);
            let bytes = batch.record(NOW_MS, None, Some(&value)).build();
            let scanned = BatchScan::new(&bytes, Checksums::Verify).next().unwrap();
            // What does not fit is refused, and leaves its offset to the next.
            next += i64::from(metadata.take(&scanned).is_ok());
        }
        if let Ok(taken) = metadata.hand_over(&heir()) {
            for (id, partition) in taken.image.topics().flat_map(|topic| &topic.partitions) {
                prop_assert_eq!(partition.leader, NODE, "{}", id);
                prop_assert_eq!(&partition.isr, &[NODE]);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200), control: bool) {
        let batch = BatchBuilder::new().leader_epoch(EPOCH).control(control);
        let (key, value) = bytes.split_at(bytes.len() / 8);
        let bytes = batch.record(NOW_MS, Some(key), Some(value)).build();
        let scanned = BatchScan::new(&bytes, Checksums::Verify).next().unwrap();
        let mut metadata = KafkaMetadata::begin("cluster", None).unwrap();
        let _ = metadata.take(&scanned);
        let _ = metadata.hand_over(&heir());
        let at = SnapshotId { end: Offset(1), epoch: EPOCH };
        let _ = KafkaMetadata::begin("cluster", Some((at, &bytes)));
    }
}
