//! A snapshot holds the whole image, in Kafka's order, and survives the codec.
//! `fixtures.txt` says how its bytes were made.

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::metadata::image::Replay;
use crate::metadata::image::tests::record_over_few_names;
use crate::metadata::records::arbitrary::seeded;
use hayate_storage::batch::{LeaderEpoch, Offset};

fn at(offset: i64) -> Position {
    Position { offset: Offset(offset), epoch: LeaderEpoch(3) }
}

/// The image after those of `records` that fit.
pub(crate) fn image_of(records: &[MetadataRecord]) -> MetadataImage {
    let mut replay = Replay::new(MetadataImage::empty("cluster"));
    for (offset, record) in (0..).zip(records) {
        // Whatever does not fit is refused and changes nothing: that is the image's own test.
        let _ = replay.apply(record, at(offset));
    }
    replay.image().clone()
}

/// The records on the lines of the fixtures with that mark.
fn fixtures(mark: &str) -> Vec<MetadataRecord> {
    let lines =
        include_str!("fixtures.txt").lines().filter_map(|line| line.strip_prefix(mark)?.strip_prefix(' '));
    lines
        .map(|hex| {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            let record = MetadataRecord::decode(&bytes).expect("decodes");
            assert_eq!(record.encode().expect("encodes"), bytes, "not as Kafka writes it");
            record
        })
        .collect()
}

#[test]
fn a_log_leads_to_the_snapshot_that_kafka_takes_of_it() {
    let mut replay = Replay::new(MetadataImage::empty("cluster"));
    for (offset, record) in (0..).zip(&fixtures("log")) {
        replay.apply(record, at(offset)).expect("fits");
    }
    let snapshot = to_records(replay.image());
    for (ours, theirs) in snapshot.iter().zip(&fixtures("snapshot")) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(snapshot.len(), fixtures("snapshot").len());
}

#[test]
fn the_version_of_the_metadata_comes_first() {
    let feature = |name: &str| FeatureLevelRecord { name: name.into(), feature_level: 1 }.into();
    let topic = TopicRecord { name: "t".into(), topic_id: Uuid::from_u128(1) };
    let image = image_of(&[feature("group.version"), topic.clone().into(), feature(METADATA_VERSION)]);
    assert_eq!(to_records(&image), [feature(METADATA_VERSION), feature("group.version"), topic.into()]);
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn an_image_comes_back_from_its_snapshot(records in vec(record_over_few_names(), 0..80)) {
        let image = image_of(&records);
        let snapshot = to_records(&image);
        let through_the_codec: Vec<_> = snapshot
            .iter()
            .map(|record| MetadataRecord::decode(&record.encode().expect("encodes")).expect("decodes"))
            .collect();
        prop_assert_eq!(&snapshot, &through_the_codec);
        let back = from_records("cluster", &snapshot, image.position()).expect("fits");
        prop_assert_eq!(&back, &image);
        prop_assert_eq!(to_records(&back), snapshot);
    }
}
