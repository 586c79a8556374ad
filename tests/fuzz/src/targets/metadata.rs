//! The cluster's metadata: single records, snapshots of all, and entries of the log.

use crate::memory::taken;
use crate::targets::batches::mend as mend_batches;
use crate::targets::{id, noise, topic_name, word};
use bytes::Bytes;
use hayate_engine::metadata::image::Position;
use hayate_engine::metadata::quorum::{decode_payload, encode_payload};
use hayate_engine::metadata::records::{
    BrokerEndpoint, BrokerFeature, ConfigRecord, FeatureLevelRecord, MetadataRecord, OpaqueRecord,
    PartitionChangeRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord,
    RegisterControllerRecord, RemoveTopicRecord, TopicRecord,
};
use hayate_engine::metadata::snapshot::{self, file};
use hayate_rt::random::Prng;
use hayate_storage::batch::control::{snapshot_footer_batch, snapshot_header_batch};
use hayate_storage::batch::{BatchBuilder, LeaderEpoch, Offset};
use uuid::Uuid;

const GROWTH_MAX: usize = 64;
const BASE_BYTES: usize = 16 << 10;
const POSITION: Position = Position { offset: Offset(99), epoch: LeaderEpoch(3) };
/// Unpacked records of a snapshot may take so much for each byte of it: compressed ones are read too.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

fn uuid(prng: &mut Prng) -> Uuid {
    Uuid::from_bytes(id(prng))
}

fn nodes(prng: &mut Prng) -> Vec<i32> {
    (0..prng.below(4)).map(|_| prng.below(9) as i32).collect()
}

fn endpoints(prng: &mut Prng) -> Vec<BrokerEndpoint> {
    let endpoint =
        |_| BrokerEndpoint { name: word(prng, 9), host: word(prng, 9), port: 9092, security_protocol: 0 };
    (0..2).map(endpoint).collect()
}

fn features(prng: &mut Prng) -> Vec<BrokerFeature> {
    vec![BrokerFeature { name: word(prng, 9), min_supported_version: 0, max_supported_version: 25 }]
}

fn partition(prng: &mut Prng, topic_id: Uuid, partition_id: i32) -> MetadataRecord {
    let replicas = vec![1];
    let directories = vec![uuid(prng); replicas.len()];
    PartitionRecord {
        partition_id,
        topic_id,
        isr: replicas.clone(),
        replicas,
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader: 1,
        leader_recovery_state: 0,
        leader_epoch: prng.below(9) as i32,
        partition_epoch: prng.below(9) as i32,
        directories,
        eligible_leader_replicas: prng.chance(1, 3).then(|| nodes(prng)),
        last_known_elr: prng.chance(1, 3).then(|| nodes(prng)),
    }
    .into()
}

fn config(prng: &mut Prng) -> MetadataRecord {
    let value = prng.chance(4, 5).then(|| word(prng, 20));
    ConfigRecord { resource_type: 4, resource_name: "1".to_owned(), name: word(prng, 9), value }.into()
}

fn broker(prng: &mut Prng) -> MetadataRecord {
    RegisterBrokerRecord {
        broker_id: prng.below(9) as i32,
        is_migrating_zk_broker: false,
        incarnation_id: uuid(prng),
        broker_epoch: prng.below(99).cast_signed(),
        endpoints: endpoints(prng),
        features: features(prng),
        rack: prng.chance(1, 2).then(|| word(prng, 5)),
        fenced: prng.chance(1, 2),
        in_controlled_shutdown: false,
        log_dirs: (0..prng.below(3)).map(|_| uuid(prng)).collect(),
    }
    .into()
}

fn controller(prng: &mut Prng) -> MetadataRecord {
    RegisterControllerRecord {
        controller_id: prng.below(9) as i32,
        incarnation_id: uuid(prng),
        zk_migration_ready: false,
        endpoints: endpoints(prng),
        features: features(prng),
    }
    .into()
}

fn any_record(prng: &mut Prng) -> MetadataRecord {
    let topic_id = uuid(prng);
    match prng.below(10) {
        0 => TopicRecord { name: topic_name(prng), topic_id }.into(),
        1 => partition(prng, topic_id, 0),
        2 => {
            PartitionChangeRecord { isr: Some(nodes(prng)), ..PartitionChangeRecord::of(topic_id, 2) }.into()
        }
        3 => config(prng),
        4 => broker(prng),
        5 => controller(prng),
        6 => FeatureLevelRecord { name: word(prng, 9), feature_level: prng.below(30) as i16 }.into(),
        7 => ProducerIdsRecord {
            broker_id: 1,
            broker_epoch: 2,
            next_producer_id: prng.below(1 << 40).cast_signed(),
        }
        .into(),
        8 => RemoveTopicRecord { topic_id }.into(),
        _ => MetadataRecord::Opaque(OpaqueRecord { api_key: 18, version: 0, body: noise(prng, 20).into() }),
    }
}

/// The value of a record of any kind.
pub fn record(prng: &mut Prng) -> Vec<u8> {
    any_record(prng).encode().expect("encodable").to_vec()
}

/// What replay does with a record's value.
pub fn read_record(bytes: &[u8]) -> bool {
    let (decoded, took) = taken(|| MetadataRecord::decode(bytes));
    assert!(
        took.held_bytes_max <= BASE_BYTES + GROWTH_MAX * bytes.len(),
        "{took:?} for {} bytes",
        bytes.len()
    );
    let Ok(decoded) = decoded else { return false };
    if let Ok(written) = decoded.encode() {
        assert_eq!(MetadataRecord::decode(&written), Ok(decoded), "a record does not come back");
    }
    true
}

/// A snapshot with topics, partitions and configurations that fit one another.
pub fn snapshot(prng: &mut Prng) -> Vec<u8> {
    let mut records = vec![
        FeatureLevelRecord { name: "metadata.version".to_owned(), feature_level: 25 }.into(),
        broker(prng),
    ];
    for number in 0..prng.below(3) {
        let topic_id = uuid(prng);
        records.push(TopicRecord { name: format!("t{number}{}", word(prng, 3)), topic_id }.into());
        records.extend((0..prng.below(3) as i32).map(|number| partition(prng, topic_id, number)));
    }
    records.push(config(prng));
    let mut batch = BatchBuilder::new().base_offset(Offset(1)).leader_epoch(POSITION.epoch);
    for record in &records {
        batch.append(5, None, Some(&record.encode().expect("encodable")), &[]);
    }
    let end = Offset(1 + records.len() as i64);
    let mut bytes = snapshot_header_batch(POSITION.epoch, 5, 4, &[]).to_vec();
    bytes.extend(batch.build());
    bytes.extend(snapshot_footer_batch(end, POSITION.epoch, 5));
    mend_batches(&mut bytes);
    bytes
}

/// What a start does with a snapshot.
pub fn read_snapshot(bytes: &[u8]) -> bool {
    let (image, took) = taken(|| file::decode("cluster", bytes, POSITION));
    assert!(took.held_bytes_max <= UNPACKED_BYTES_MAX, "{took:?} for {} bytes", bytes.len());
    let Ok(image) = image else { return false };
    let again = snapshot::from_records("cluster", &snapshot::to_records(&image), POSITION);
    assert_eq!(again.as_ref(), Ok(&image), "an image does not come back");
    if let Ok(written) = file::encode(&image, 4, 5) {
        assert_eq!(file::decode("cluster", &written, POSITION), Ok(image));
    }
    true
}

/// An entry's payload.
pub fn entry(prng: &mut Prng) -> Vec<u8> {
    let records: Vec<Bytes> = (0..prng.below(4)).map(|_| noise(prng, 30).into()).collect();
    encode_payload(&records)
}

/// What the quorum does with a payload.
pub fn read_entry(bytes: &[u8]) -> bool {
    let payload = Bytes::copy_from_slice(bytes);
    let (records, took) = taken(|| decode_payload(&payload));
    assert!(took.held_bytes_max <= 64 + 16 * bytes.len(), "{took:?} for {} bytes", bytes.len());
    let Ok(records) = records else { return false };
    assert_eq!(encode_payload(&records), bytes, "a payload does not come back");
    true
}
