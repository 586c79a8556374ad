//! The image under records that fit and records that do not, in any order.
//! The strategy here serves the tests of snapshots too.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::metadata::records::arbitrary::seeded;
use crate::metadata::records::*;

/// Records over few topics, partitions and brokers, so that many of them fit each other.
pub(crate) fn record_over_few_names() -> impl Strategy<Value = MetadataRecord> {
    let id = (0u128..4).prop_map(Uuid::from_u128);
    let name = prop::sample::select(vec!["a", "a.b", "a_b", "c.d.e"]).prop_map(str::to_owned);
    let nodes = vec(1i32..4, 0..3);
    let topics = prop_oneof![
        4 => (name.clone(), id.clone()).prop_map(|(name, topic_id)| TopicRecord { name, topic_id }.into()),
        1 => id.clone().prop_map(|topic_id| RemoveTopicRecord { topic_id }.into()),
        1 => prop_oneof![name.clone(), Just(String::new())]
            .prop_map(|topic_name| ClearElrRecord { topic_name }.into()),
    ];
    let partitions = (id.clone(), -1i32..3, nodes.clone(), option::of(nodes.clone()), 0i8..3).prop_map(
        |(topic_id, partition_id, replicas, eligible_leader_replicas, leader_recovery_state)| {
            PartitionRecord {
                partition_id,
                topic_id,
                isr: replicas.clone(),
                directories: replicas.iter().map(|_| DIRECTORY_UNASSIGNED).collect(),
                replicas,
                removing_replicas: vec![],
                adding_replicas: vec![],
                leader: 1,
                leader_recovery_state,
                leader_epoch: 0,
                partition_epoch: 0,
                eligible_leader_replicas,
                last_known_elr: None,
            }
            .into()
        },
    );
    let changes = (id, 0i32..3, option::of(nodes.clone()), option::of(nodes), -2i32..3).prop_map(
        |(topic_id, partition_id, isr, replicas, leader)| {
            PartitionChangeRecord {
                isr,
                replicas,
                leader,
                ..PartitionChangeRecord::of(topic_id, partition_id)
            }
            .into()
        },
    );
    prop_oneof![3 => topics, 4 => partitions, 3 => changes, 4 => about_the_rest(name)]
}

fn about_the_rest(name: impl Strategy<Value = String>) -> impl Strategy<Value = MetadataRecord> {
    let broker = (1i32..3, 0i64..2);
    prop_oneof![
        (0i8..6, name, option::of("[xy]")).prop_map(|(resource_type, resource_name, value)| {
            ConfigRecord { resource_type, resource_name, name: "k".into(), value }.into()
        }),
        ("[fg]", -1i16..3)
            .prop_map(|(name, feature_level)| FeatureLevelRecord { name, feature_level }.into()),
        (0i64..9).prop_map(|next| {
            ProducerIdsRecord { broker_id: 1, broker_epoch: 1, next_producer_id: next * 1000 }.into()
        }),
        broker.clone().prop_map(|(broker_id, broker_epoch)| {
            RegisterBrokerRecord {
                broker_id,
                is_migrating_zk_broker: false,
                incarnation_id: Uuid::from_u128(9),
                broker_epoch,
                endpoints: vec![],
                features: vec![],
                rack: None,
                fenced: true,
                in_controlled_shutdown: false,
                log_dirs: vec![],
            }
            .into()
        }),
        (broker.clone(), -2i8..3, 0i8..3).prop_map(
            |((broker_id, broker_epoch), fenced, in_controlled_shutdown)| {
                BrokerRegistrationChangeRecord {
                    broker_id,
                    broker_epoch,
                    fenced,
                    in_controlled_shutdown,
                    log_dirs: vec![],
                }
                .into()
            }
        ),
        broker
            .prop_map(|(broker_id, broker_epoch)| UnregisterBrokerRecord { broker_id, broker_epoch }.into()),
        prop::sample::select(vec![10u16, 11, 14, 18, 19, 22, 26, 99]).prop_map(|api_key| {
            MetadataRecord::Opaque(OpaqueRecord {
                api_key,
                version: 0,
                body: bytes::Bytes::from_static(b"x"),
            })
        }),
    ]
}

fn at(offset: i64) -> Position {
    Position { offset: Offset(offset), epoch: LeaderEpoch(1) }
}

fn topic(name: &str, id: u128) -> MetadataRecord {
    TopicRecord { name: name.into(), topic_id: Uuid::from_u128(id) }.into()
}

fn partition(topic: u128, partition_id: i32) -> MetadataRecord {
    PartitionRecord {
        partition_id,
        topic_id: Uuid::from_u128(topic),
        replicas: vec![1],
        isr: vec![1],
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: 1,
        leader_recovery_state: 0,
        leader_epoch: 4,
        partition_epoch: 6,
        directories: vec![],
        eligible_leader_replicas: None,
        last_known_elr: None,
    }
    .into()
}

/// A replay of `records` from offset 0; they must fit.
fn replayed(records: &[MetadataRecord]) -> Replay {
    let mut replay = Replay::new(MetadataImage::empty("cluster"));
    for (offset, record) in (0..).zip(records) {
        replay.apply(record, at(offset)).expect("fits");
    }
    replay
}

#[test]
fn a_named_leader_bumps_the_leader_epoch_and_anything_the_partition_epoch() {
    let topic_id = Uuid::from_u128(1);
    let mut replay = replayed(&[topic("a", 1), partition(1, 0)]);
    let mut epochs_after = |offset: i64, change: PartitionChangeRecord| {
        replay.apply(&change.into(), at(offset)).expect("fits");
        let partition = replay.image().partition(&topic_id, 0).expect("there");
        (partition.leader, partition.leader_epoch.0, partition.partition_epoch.0)
    };
    let change = || PartitionChangeRecord::of(topic_id, 0);
    assert_eq!(epochs_after(2, change()), (1, 4, 7));
    assert_eq!(epochs_after(3, PartitionChangeRecord { leader: 1, ..change() }), (1, 5, 8));
    assert_eq!(epochs_after(4, PartitionChangeRecord { leader: NO_LEADER, ..change() }), (-1, 6, 9));
}

#[test]
fn the_delta_tells_created_from_changed_and_forgets_what_came_and_went() {
    let mut replay = replayed(&[topic("a", 1), partition(1, 0), topic("b", 2), topic("c", 3)]);
    let (image, delta) = replay.take().expect("no transaction");
    assert_eq!(image.topic_count(), 3);
    assert_eq!(delta.created.len(), 3);
    assert!(delta.changed.is_empty());

    let ids = [1, 2, 3, 4].map(Uuid::from_u128);
    let next = [
        partition(1, 1),
        RemoveTopicRecord { topic_id: ids[1] }.into(),
        topic("d", 4),
        RemoveTopicRecord { topic_id: ids[3] }.into(),
    ];
    for (offset, record) in (4..).zip(&next) {
        replay.apply(record, at(offset)).expect("fits");
    }
    let (later, delta) = replay.take().expect("no transaction");
    assert_eq!(delta.changed, BTreeMap::from([(ids[0], BTreeSet::from([1]))]));
    assert_eq!(delta.removed.keys().copied().collect::<Vec<_>>(), [ids[1]]);
    assert!(delta.created.is_empty());
    assert!(replay.take().expect("no transaction").1.is_empty());
    // The earlier image still stands, and a topic that did not change is shared.
    assert_eq!(image.topic("a").expect("there").partitions.len(), 1);
    assert_eq!(later.topic("a").expect("there").partitions.len(), 2);
    let unchanged = |image: &MetadataImage| Arc::as_ptr(image.topic("c").expect("there"));
    assert_eq!(unchanged(&image), unchanged(&later));
}

#[test]
fn a_topic_takes_its_configurations_with_it() {
    let set = |resource: i8| ConfigRecord {
        resource_type: resource,
        resource_name: "a".into(),
        name: "k".into(),
        value: Some("v".into()),
    };
    let remove = RemoveTopicRecord { topic_id: Uuid::from_u128(1) };
    let replay = replayed(&[topic("a", 1), set(2).into(), set(32).into(), remove.into()]);
    let left: Vec<_> = replay.image().configs().map(|(resource, _)| resource.kind).collect();
    assert_eq!(left, [ConfigKind::Group]);
}

#[test]
fn names_collide_when_dots_count_as_underscores() {
    let remove = |id: u128| MetadataRecord::from(RemoveTopicRecord { topic_id: Uuid::from_u128(id) });
    let colliding = |records: &[MetadataRecord], name: &str| {
        replayed(records).image().colliding_topic(name).map(str::to_owned)
    };
    let records = [topic("a.b", 1), topic("ab", 2), topic("a_b", 3), remove(1), remove(3)];
    assert_eq!(colliding(&records[..2], "a_b").as_deref(), Some("a.b"));
    assert_eq!(colliding(&records[..2], "ab"), None);
    assert_eq!(colliding(&records[..4], "a.b").as_deref(), Some("a_b"));
    assert_eq!(colliding(&records, "a.b"), None);
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let begin = MetadataRecord::from(BeginTransactionRecord { name: None });
    let mut replay = replayed(&[topic("a", 1), begin.clone(), topic("b", 2)]);
    assert!(replay.take().is_none());
    assert!(replay.apply(&begin, at(3)).is_err());
    replay.apply(&AbortTransactionRecord { reason: None }.into(), at(3)).expect("fits");
    let (image, delta) = replay.take().expect("closed");
    assert_eq!((image.topic_count(), delta.created.len(), image.position()), (1, 1, at(3)));
    assert!(replay.apply(&EndTransactionRecord.into(), at(4)).is_err());

    for (offset, record) in (4..).zip([begin, topic("b", 2), EndTransactionRecord.into()]) {
        replay.apply(&record, at(offset)).expect("fits");
    }
    assert_eq!(replay.take().expect("closed").0.topic_count(), 2);
}

#[test]
fn the_log_goes_forward_only() {
    let mut replay = replayed(&[topic("a", 1)]);
    let again = replay.apply(&NoOpRecord.into(), at(0));
    assert_eq!(again, Err(ApplyError::OutOfOrder { last: at(0), at: at(0) }));
    let older = Position { offset: Offset(1), epoch: LeaderEpoch(0) };
    assert!(replay.skip(older).is_err());
    replay.skip(at(1)).expect("fits");
    assert_eq!(replay.image().position(), at(1));
}

#[test]
fn directories_are_one_a_replica_or_unknown() {
    let topic_id = Uuid::from_u128(1);
    let mut replay = replayed(&[topic("a", 1), partition(1, 0)]);
    assert_eq!(replay.image().partition(&topic_id, 0).expect("there").directories, [DIRECTORY_MIGRATING]);
    let two = PartitionChangeRecord {
        directories: Some(vec![DIRECTORY_UNASSIGNED; 2]),
        ..PartitionChangeRecord::of(topic_id, 0)
    };
    assert_eq!(replay.apply(&two.into(), at(2)), Err(ApplyError::Directories(topic_id, 0)));
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn a_record_is_applied_whole_or_refused_whole(records in vec(record_over_few_names(), 0..60)) {
        let mut image = MetadataImage::empty("cluster");
        let mut delta = ImageDelta::default();
        for record in &records {
            let (before, delta_before) = (image.clone(), delta.clone());
            if image.apply(record, &mut delta).is_err() {
                prop_assert_eq!(&image, &before);
                prop_assert_eq!(&delta, &delta_before);
            }
            for topic in image.topics() {
                prop_assert_eq!(image.topic_id(&topic.name), Some(topic.id));
            }
            prop_assert_eq!(image.topics().count(), image.topic_count());
        }
    }
}
