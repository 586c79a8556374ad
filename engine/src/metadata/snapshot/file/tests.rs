//! A snapshot's file holds the whole image, says when it is not whole, and is named as Kafka names it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::tests::image_of;
use super::*;
use crate::metadata::image::tests::record_over_few_names;
use crate::metadata::records::arbitrary::seeded;
use crate::metadata::records::{ConfigRecord, FeatureLevelRecord};

const NOW_MS: i64 = 1_700_000_000_000;

/// A few records of different kinds.
fn small_image() -> MetadataImage {
    let config = |name: &str| ConfigRecord {
        resource_type: 2,
        resource_name: "orders".into(),
        name: name.into(),
        value: Some("1".into()),
    };
    image_of(&[
        FeatureLevelRecord { name: "metadata.version".into(), feature_level: 29 }.into(),
        config("retention.ms").into(),
        config("segment.ms").into(),
    ])
}

fn encoded(image: &MetadataImage, batch_bytes_max: usize) -> Bytes {
    encode_in(image, &QuorumRecords::default(), NOW_MS - 1, NOW_MS, batch_bytes_max).expect("encodes")
}

/// Base offsets and counts of the batches.
fn batches(bytes: &[u8]) -> Vec<(i64, i32)> {
    let scan = BatchScan::new(bytes, Checksums::Verify);
    scan.map(|batch| (batch.header.base_offset.0, batch.header.records_count)).collect()
}

#[test]
fn batches_are_bounded_and_follow_each_other_from_zero() {
    let image = small_image();
    for (batch_bytes_max, expected) in [
        (BATCH_BYTES_MAX, vec![(0, 1), (1, 3), (4, 1)]),
        (180, vec![(0, 1), (1, 2), (3, 1), (4, 1)]),
        (1, vec![(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]),
    ] {
        let bytes = encoded(&image, batch_bytes_max);
        assert_eq!(batches(&bytes), expected, "{batch_bytes_max}");
        assert_eq!(decode("cluster", &bytes, image.position()).as_ref(), Ok(&image));
    }
    let empty = MetadataImage::empty("cluster");
    let bytes = encoded(&empty, BATCH_BYTES_MAX);
    assert_eq!(batches(&bytes), [(0, 1), (1, 1)]);
    assert_eq!(decode("cluster", &bytes, empty.position()), Ok(empty));
}

/// The first snapshot of a quorum as `kafka-storage format --standalone` of Kafka 4.2.1 writes it.
const OF_A_NEW_QUORUM: &str = "\
    00000000000000000000009a000000000201ae3a80002000000002000001a20da959e5000001a20d \
    a959e5ffffffffffffffffffffffffffff000000032a0000000800000003160000000001a20da959 \
    e200001e00000208000000050a000000010000820100000408000000066e000002000000011825c2 \
    40f6524c1eb431541abe16fb6d020b434f4e54524f4c4c45520a3132372e302e302e3162b7000000 \
    00010000000000000000000000030000003f00000000028aa637df002000000000000001a20da959 \
    ea000001a20da959eaffffffffffffffffffffffffffff000000011a000000080000000406000000 \
    00";

#[test]
fn what_kafka_keeps_of_its_quorum_is_read_and_written() {
    let hex = OF_A_NEW_QUORUM.replace(' ', "");
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
    let at = Position { offset: Offset(-1), epoch: LeaderEpoch(0) };
    let (image, quorum) = decode_with("cluster", &bytes, at).expect("decodes");
    assert_eq!(image, MetadataImage::empty("cluster"));
    assert_eq!((quorum.version.as_ref().unwrap().len(), quorum.voters.as_ref().unwrap().len()), (5, 55));
    let image = small_image();
    let bytes = encode_with(&image, &quorum, NOW_MS - 1, NOW_MS).expect("encodes");
    assert_eq!(batches(&bytes), [(0, 3), (3, 3), (6, 1)]);
    assert_eq!(decode_with("cluster", &bytes, image.position()), Ok((image, quorum)));
}

#[test]
fn one_that_is_cut_anywhere_is_refused() {
    let image = small_image();
    let bytes = encoded(&image, 1);
    for cut in 0..bytes.len() {
        assert!(decode("cluster", &bytes[..cut], image.position()).is_err(), "cut at {cut}");
    }
    let twice = [&bytes[..], &bytes[..]].concat();
    assert!(decode("cluster", &twice, image.position()).is_err());
    let padded = [&bytes[..], &[0]].concat();
    assert!(decode("cluster", &padded, image.position()).is_err());
}

#[test]
fn a_byte_that_is_wrong_anywhere_is_noticed() {
    let image = small_image();
    let bytes = encoded(&image, 1);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            assert!(decode("cluster", &damaged, image.position()).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn batches_that_are_whole_and_out_of_place_are_refused() {
    let image = small_image();
    let (at, epoch) = (image.position(), image.position().epoch);
    let records = BatchBuilder::new().leader_epoch(epoch);
    let record = records.clone().record(NOW_MS, None, None);
    let header = snapshot_header_batch(epoch, NOW_MS, NOW_MS, &[]);
    let nameless = records.clone().control(true).record(NOW_MS, None, None);
    let double = records.control(true).record(NOW_MS, Some(&[0, 0, 0, 3]), None);
    let double = double.record(NOW_MS, Some(&[0, 0, 0, 3]), None).build();
    for (bytes, expected) in [
        (record.clone().build().to_vec(), SnapshotError::Layout(Offset(0))),
        (nameless.build().to_vec(), SnapshotError::Layout(Offset(0))),
        (double.to_vec(), SnapshotError::Layout(Offset(0))),
        (snapshot_footer_batch(Offset(0), epoch, 1).to_vec(), SnapshotError::Layout(Offset(0))),
        (header.to_vec(), SnapshotError::Unfinished),
        ([&header[..], &header[..]].concat(), SnapshotError::Order(Offset(0))),
        (
            [&header[..], &record.base_offset(Offset(1)).build()[..]].concat(),
            SnapshotError::Layout(Offset(1)),
        ),
    ] {
        assert_eq!(decode("cluster", &bytes, at), Err(expected));
    }
    let of_another = Position { epoch: LeaderEpoch(epoch.0 + 1), ..at };
    let bytes = encoded(&image, BATCH_BYTES_MAX);
    assert_eq!(decode("cluster", &bytes, of_another), Err(SnapshotError::Order(Offset(0))));
}

#[test]
fn names_are_kafkas() {
    let id = SnapshotId::of(Position { offset: Offset(41), epoch: LeaderEpoch(3) });
    assert_eq!(id.to_string(), "00000000000000000042-0000000003.checkpoint");
    assert_eq!(SnapshotId::parse(&id.to_string()), Some(id));
    for name in [
        "",
        ".checkpoint",
        "00000000000000000042-0000000003.checkpoint.tmp",
        "00000000000000000042-0000000003.checkpoint.deleted",
        "0000000000000000042-0000000003.checkpoint",
        "00000000000000000042-+000000003.checkpoint",
        "00000000000000000042-9999999999.checkpoint",
        "99999999999999999999-0000000003.checkpoint",
        "00000000000000000042.log",
    ] {
        assert_eq!(SnapshotId::parse(name), None, "{name}");
    }
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn an_image_comes_back_from_its_file(
        records in vec(record_over_few_names(), 0..80),
        batch_bytes_max in 0usize..2000,
    ) {
        let image = image_of(&records);
        let bytes = encoded(&image, batch_bytes_max);
        prop_assert_eq!(decode("cluster", &bytes, image.position()), Ok(image));
    }
}
