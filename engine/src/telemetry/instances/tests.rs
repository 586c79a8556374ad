//! Clients that come, push, come too early and go.

use super::super::otlp::tests::{gauge, message, sum, whole};
use super::*;
use crate::metadata::image::{ImageDelta, MetadataImage, Position, Replay};
use crate::metadata::records::ConfigRecord;
use hayate_storage::batch::compress::{Level, compress};
use hayate_storage::batch::{LeaderEpoch, Offset};

const ID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1122_3344_5566_7788);

fn at(ms: u64) -> MonoTime {
    MonoTime::default() + Duration::from_millis(ms)
}

fn limits() -> Limits {
    Limits { instances_max: 3, series_max: 10, push_bytes_max: 10_000 }
}

/// An image with one subscription to these metrics at this interval.
fn image(metrics: &str, interval_ms: i32) -> MetadataImage {
    let mut replay = Replay::new(MetadataImage::empty("cluster"));
    let set = [("metrics", metrics.to_owned()), ("interval.ms", interval_ms.to_string())];
    for (offset, (name, value)) in (0..).zip(set) {
        let record = ConfigRecord {
            resource_type: 16,
            resource_name: "all".to_owned(),
            name: name.to_owned(),
            value: Some(value),
        };
        let position = Position { offset: Offset(offset), epoch: LeaderEpoch(1) };
        replay.apply(&record.into(), position).expect("fits");
    }
    let (image, delta): (_, ImageDelta) = replay.take().expect("no transaction");
    assert_eq!(delta.configs.len(), 1);
    image.as_ref().clone()
}

fn subscribed(limits: Limits) -> Instances {
    let mut instances = Instances::new(limits);
    instances.follow(1, &image("org.apache.kafka.", 1000));
    instances
}

fn get(instances: &mut Instances, id: Uuid, ms: u64) -> Result<Grant, ErrorCode> {
    instances.get(id, ClientAttributes::default(), 7, at(ms))
}

fn push(instances: &mut Instances, push: &Push<'_>, ms: u64) -> Result<(), ErrorCode> {
    instances.push(push, ClientAttributes::default(), 7, at(ms))
}

fn of(subscription_id: i32, metrics: &[u8]) -> Push<'_> {
    Push { instance_id: ID, subscription_id, is_terminating: false, compression: 0, metrics }
}

fn take_changed(instances: &mut Instances) -> Option<Vec<Arc<ClientFigures>>> {
    let changed = instances.changed();
    instances.published();
    changed
}

#[test]
fn subscriptions_have_the_number_that_kafka_gives_them() {
    // Kafka 4.2.1: CRC-32C of "[org.apache.kafka.]1000", and Uuid.hashCode().
    let grant = get(&mut subscribed(limits()), ID, 0).expect("first");
    let crc = crc32c::crc32c(b"[org.apache.kafka.]1000");
    let hash = 0x1234_5678 ^ 0x9abc_def0 ^ 0x1122_3344 ^ 0x5566_7788;
    assert_eq!(grant.subscription_id, (crc ^ hash).cast_signed());
    assert_eq!(
        (grant.asked.metrics.as_slice(), grant.asked.interval_ms),
        (&["org.apache.kafka.".to_owned()][..], 1000)
    );
    let unsubscribed = get(&mut Instances::new(limits()), ID, 0).expect("first");
    assert_eq!((unsubscribed.asked.metrics.len(), unsubscribed.asked.interval_ms), (0, 300_000));
}

#[test]
fn clients_keep_to_their_interval() {
    let mut instances = subscribed(limits());
    let number = get(&mut instances, ID, 5000).expect("first").subscription_id;
    assert_eq!(get(&mut instances, ID, 5999), Err(ErrorCode::ThrottlingQuotaExceeded));
    assert_eq!(push(&mut instances, &of(number, &[]), 5100), Ok(()), "the first push may come early");
    assert_eq!(push(&mut instances, &of(number, &[]), 6099), Err(ErrorCode::ThrottlingQuotaExceeded));
    assert_eq!(push(&mut instances, &of(number, &[]), 6100), Ok(()));
    assert_eq!(get(&mut instances, ID, 7099), Err(ErrorCode::ThrottlingQuotaExceeded));
    assert!(get(&mut instances, ID, 7100).is_ok());
    let last = Push { is_terminating: true, ..of(number, &[]) };
    assert_eq!(push(&mut instances, &last, 7101), Ok(()));
    assert_eq!(push(&mut instances, &of(number, &[]), 9000), Err(ErrorCode::InvalidRequest));
    assert_eq!(instances.counts().throttled, 3);
}

#[test]
fn the_last_push_may_come_at_any_time() {
    let mut instances = subscribed(limits());
    let number = get(&mut instances, ID, 0).expect("first").subscription_id;
    assert_eq!(push(&mut instances, &of(number, &[]), 1), Ok(()));
    let last = Push { is_terminating: true, ..of(number, &[]) };
    assert_eq!(push(&mut instances, &last, 2), Ok(()));
}

#[test]
fn bad_pushes_are_refused_as_kafka_refuses_them() {
    let tall = vec![0; 10_001];
    for (change, expected) in [
        (Push { instance_id: Uuid::nil(), ..of(0, &[]) }, ErrorCode::InvalidRequest),
        (Push { instance_id: Uuid::from_u128(99), ..of(0, &[]) }, ErrorCode::InvalidRequest),
        (Push { subscription_id: 1, ..of(0, &[]) }, ErrorCode::UnknownSubscriptionId),
        (Push { compression: 5, ..of(0, &[]) }, ErrorCode::UnsupportedCompressionType),
        (Push { compression: -1, ..of(0, &[]) }, ErrorCode::UnsupportedCompressionType),
        (of(0, &tall), ErrorCode::TelemetryTooLarge),
        (of(0, b"\xff"), ErrorCode::InvalidRecord),
        (Push { compression: 4, ..of(0, b"no zstd") }, ErrorCode::InvalidRecord),
    ] {
        let mut instances = subscribed(limits());
        let number = get(&mut instances, ID, 0).expect("first").subscription_id;
        let change = Push { subscription_id: number ^ change.subscription_id, ..change };
        assert_eq!(push(&mut instances, &change, 1), Err(expected));
        let may_ask =
            matches!(expected, ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType);
        assert_eq!(get(&mut instances, ID, 2).is_ok(), may_ask, "after {expected:?}");
    }
}

#[test]
fn every_compression_is_read_and_none_unpacks_to_more_than_allowed() {
    let plain = message(&[gauge("open", &[whole(3, &[])])]);
    let long = vec![0; 20_000];
    for codec in Codec::ALL {
        let mut instances = subscribed(limits());
        let number = get(&mut instances, ID, 0).expect("first").subscription_id;
        let packed = compress(codec, Level::Default, &plain);
        let good = Push { compression: codec as i8, ..of(number, &packed) };
        assert_eq!(push(&mut instances, &good, 1), Ok(()), "{codec:?}");
        let figures = take_changed(&mut instances).expect("changed");
        assert_eq!((figures.len(), figures[0].gauges.len()), (1, 1));
        let bomb = compress(codec, Level::Default, &long);
        let bomb = Push { compression: codec as i8, ..of(number, &bomb) };
        assert_eq!(push(&mut instances, &bomb, 2000), Err(ErrorCode::TelemetryTooLarge), "{codec:?}");
        assert!(take_changed(&mut instances).is_none());
    }
}

#[test]
fn a_push_that_cannot_be_read_to_its_end_changes_nothing() {
    let mut instances = subscribed(limits());
    let number = get(&mut instances, ID, 0).expect("first").subscription_id;
    let good = message(&[sum("sent", 1, 1, &[whole(3, &[])])]);
    assert_eq!(push(&mut instances, &of(number, &good), 1), Ok(()));
    let before = take_changed(&mut instances);
    let cut = [good.clone(), good[..good.len() - 1].to_vec()].concat();
    assert_eq!(push(&mut instances, &of(number, &cut), 2000), Err(ErrorCode::InvalidRecord));
    assert_eq!(push(&mut instances, &of(number, &good), 4000), Ok(()));
    let (before, after) = (before.expect("changed"), take_changed(&mut instances).expect("changed"));
    let sum_of = |figures: &[Arc<ClientFigures>]| figures[0].sums.values().sum::<f64>();
    assert_eq!((sum_of(&before), sum_of(&after)), (3.0, 6.0));
    assert_eq!((instances.counts().pushes, instances.counts().unreadable), (2, 1));
}

#[test]
fn other_subscriptions_are_told_at_once() {
    let mut instances = subscribed(limits());
    let number = get(&mut instances, ID, 0).expect("first").subscription_id;
    instances.follow(2, &image("org.apache.kafka.", 1000));
    assert_eq!(get(&mut instances, ID, 1), Err(ErrorCode::ThrottlingQuotaExceeded), "nothing is different");
    instances.follow(3, &image("*", 500));
    assert_eq!(push(&mut instances, &of(number, &[]), 2), Err(ErrorCode::UnknownSubscriptionId));
    let grant = get(&mut instances, ID, 3).expect("something else is asked");
    assert_ne!(grant.subscription_id, number);
    assert_eq!((grant.asked.metrics.as_slice(), grant.asked.interval_ms), (&["*".to_owned()][..], 500));
}

#[test]
fn clients_and_their_series_are_bounded_and_the_silent_go_first() {
    let mut instances = subscribed(limits());
    let id = |number: u128| Uuid::from_u128(1000 + number);
    let points: Vec<_> = (0..8).map(|node| whole(node, &[("node", &node.to_string())])).collect();
    let bytes = message(&[gauge("nodes", &points)]);
    for number in 0..3 {
        let subscription_id = get(&mut instances, id(number), number as u64).expect("first").subscription_id;
        let full = Push { instance_id: id(number), ..of(subscription_id, &bytes) };
        assert_eq!(push(&mut instances, &full, 10), Ok(()));
    }
    let lens = |instances: &mut Instances| -> Vec<usize> {
        take_changed(instances).expect("changed").iter().map(|figures| figures.len()).collect()
    };
    assert_eq!(lens(&mut instances), [8, 2], "the third has none left");
    assert_eq!(instances.counts().left_out_points, 6 + 8);
    assert!(get(&mut instances, id(9), 20).is_ok());
    assert!(!instances.is_known(id(0)) && instances.len() == 3);
    assert_eq!(lens(&mut instances), [2]);
}

#[test]
fn clients_go_with_their_connection_or_when_silent() {
    let mut instances = subscribed(limits());
    instances.get(ID, ClientAttributes::default(), 1, at(0)).expect("first");
    instances.get(Uuid::from_u128(500), ClientAttributes::default(), 2, at(0)).expect("first");
    instances.forget_connection(1);
    assert!(!instances.is_known(ID) && instances.len() == 1);
    instances.expire(at(60_000));
    assert_eq!(instances.len(), 1);
    instances.expire(at(60_001));
    assert!(instances.is_empty() && instances.by_turn.is_empty() && instances.by_connection.is_empty());
}
