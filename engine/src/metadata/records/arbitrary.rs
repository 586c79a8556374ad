//! Proptest strategies for metadata records of every kind, for the tests of this module and its neighbours.
//!
//! They make what the codec can carry, not what makes sense to a cluster.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use uuid::Uuid;

use super::*;

/// Cases drawn from one seed, so that a run repeats; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` ask for others.
pub(crate) fn seeded() -> ProptestConfig {
    let told = ProptestConfig::default();
    let rng_seed = match told.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    ProptestConfig { rng_seed, failure_persistence: None, ..told }
}

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-zé_.-]{0,12}").expect("a valid expression")
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn nodes() -> impl Strategy<Value = Vec<i32>> {
    vec(any::<i32>(), 0..4)
}

fn endpoint() -> impl Strategy<Value = BrokerEndpoint> {
    (text(), text(), any::<u16>(), any::<i16>()).prop_map(|(name, host, port, security_protocol)| {
        BrokerEndpoint { name, host, port, security_protocol }
    })
}

fn feature() -> impl Strategy<Value = BrokerFeature> {
    (text(), any::<i16>(), any::<i16>()).prop_map(|(name, min_supported_version, max_supported_version)| {
        BrokerFeature { name, min_supported_version, max_supported_version }
    })
}

fn partition() -> impl Strategy<Value = MetadataRecord> {
    let numbers = (any::<i32>(), any::<i32>(), any::<i8>(), any::<i32>(), any::<i32>());
    let lists = (nodes(), nodes(), nodes(), nodes(), vec(id(), 0..4));
    (id(), numbers, lists, option::of(nodes()), option::of(nodes())).prop_map(
        |(topic_id, numbers, lists, eligible_leader_replicas, last_known_elr)| {
            let (partition_id, leader, leader_recovery_state, leader_epoch, partition_epoch) = numbers;
            let (replicas, isr, removing_replicas, adding_replicas, directories) = lists;
            PartitionRecord {
                partition_id,
                topic_id,
                replicas,
                isr,
                removing_replicas,
                adding_replicas,
                leader,
                leader_recovery_state,
                leader_epoch,
                partition_epoch,
                directories,
                eligible_leader_replicas,
                last_known_elr,
            }
            .into()
        },
    )
}

fn partition_change() -> impl Strategy<Value = MetadataRecord> {
    let lists = (option::of(nodes()), option::of(nodes()), option::of(nodes()), option::of(nodes()));
    let elr = (option::of(nodes()), option::of(nodes()), option::of(vec(id(), 0..4)));
    (any::<i32>(), id(), any::<i32>(), any::<i8>(), lists, elr).prop_map(
        |(partition_id, topic_id, leader, leader_recovery_state, lists, elr)| {
            let (isr, replicas, removing_replicas, adding_replicas) = lists;
            let (eligible_leader_replicas, last_known_elr, directories) = elr;
            PartitionChangeRecord {
                partition_id,
                topic_id,
                isr,
                leader,
                replicas,
                removing_replicas,
                adding_replicas,
                leader_recovery_state,
                directories,
                eligible_leader_replicas,
                last_known_elr,
            }
            .into()
        },
    )
}

fn register_broker() -> impl Strategy<Value = MetadataRecord> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let lists = (vec(endpoint(), 0..3), vec(feature(), 0..3), vec(id(), 0..3));
    (any::<i32>(), id(), any::<i64>(), option::of(text()), flags, lists).prop_map(
        |(broker_id, incarnation_id, broker_epoch, rack, flags, (endpoints, features, log_dirs))| {
            let (is_migrating_zk_broker, fenced, in_controlled_shutdown) = flags;
            RegisterBrokerRecord {
                broker_id,
                is_migrating_zk_broker,
                incarnation_id,
                broker_epoch,
                endpoints,
                features,
                rack,
                fenced,
                in_controlled_shutdown,
                log_dirs,
            }
            .into()
        },
    )
}

fn register_controller() -> impl Strategy<Value = MetadataRecord> {
    (any::<i32>(), id(), any::<bool>(), vec(endpoint(), 0..3), vec(feature(), 0..3)).prop_map(
        |(controller_id, incarnation_id, zk_migration_ready, endpoints, features)| {
            RegisterControllerRecord {
                controller_id,
                incarnation_id,
                zk_migration_ready,
                endpoints,
                features,
            }
            .into()
        },
    )
}

fn about_brokers() -> impl Strategy<Value = MetadataRecord> {
    let known = (any::<i32>(), any::<i64>());
    prop_oneof![
        register_broker(),
        register_controller(),
        known.prop_map(|(broker_id, broker_epoch)| UnregisterBrokerRecord { broker_id, broker_epoch }.into()),
        known.prop_map(|(broker_id, broker_epoch)| FenceBrokerRecord { broker_id, broker_epoch }.into()),
        known.prop_map(|(broker_id, broker_epoch)| UnfenceBrokerRecord { broker_id, broker_epoch }.into()),
        (known, any::<i8>(), any::<i8>(), vec(id(), 0..3)).prop_map(
            |((broker_id, broker_epoch), fenced, in_controlled_shutdown, log_dirs)| {
                BrokerRegistrationChangeRecord {
                    broker_id,
                    broker_epoch,
                    fenced,
                    in_controlled_shutdown,
                    log_dirs,
                }
                .into()
            }
        ),
    ]
}

fn about_the_cluster() -> impl Strategy<Value = MetadataRecord> {
    prop_oneof![
        (any::<i8>(), text(), text(), option::of(text())).prop_map(
            |(resource_type, resource_name, name, value)| {
                ConfigRecord { resource_type, resource_name, name, value }.into()
            }
        ),
        (text(), any::<i16>())
            .prop_map(|(name, feature_level)| FeatureLevelRecord { name, feature_level }.into()),
        (any::<i32>(), any::<i64>(), any::<i64>()).prop_map(|(broker_id, broker_epoch, next_producer_id)| {
            ProducerIdsRecord { broker_id, broker_epoch, next_producer_id }.into()
        }),
        any::<i8>().prop_map(|zk_migration_state| ZkMigrationStateRecord { zk_migration_state }.into()),
        Just(NoOpRecord.into()),
        option::of(text()).prop_map(|name| BeginTransactionRecord { name }.into()),
        Just(EndTransactionRecord.into()),
        option::of(text()).prop_map(|reason| AbortTransactionRecord { reason }.into()),
    ]
}

fn opaque() -> impl Strategy<Value = MetadataRecord> {
    let unknown = prop::sample::select(vec![10u16, 11, 14, 18, 19, 22, 26, 4000]);
    (unknown, 0u16..3, vec(any::<u8>(), 0..32)).prop_map(|(api_key, version, body)| {
        MetadataRecord::Opaque(OpaqueRecord { api_key, version, body: Bytes::from(body) })
    })
}

/// Any record of any kind.
pub(crate) fn record() -> impl Strategy<Value = MetadataRecord> {
    prop_oneof![
        (text(), id()).prop_map(|(name, topic_id)| TopicRecord { name, topic_id }.into()),
        id().prop_map(|topic_id| RemoveTopicRecord { topic_id }.into()),
        text().prop_map(|topic_name| ClearElrRecord { topic_name }.into()),
        partition(),
        partition_change(),
        about_brokers(),
        about_the_cluster(),
        opaque(),
    ]
}
