//! Metadata: brokers, topics and who leads their partitions; topics that are asked for and missing are created where that
//! is allowed. After Kafka's `KafkaApis.handleTopicMetadataRequest`.

use super::topics::{
    CLUSTER_OPERATIONS, INTERNAL_TOPICS, TOPIC_OPERATIONS, broker_ids, offline_replicas, topic_name,
};
use super::{RequestContext, text};
use crate::metadata::controller::{Command, CreateTopics, NewTopic, Reply};
use crate::metadata::image::{PartitionImage, TopicImage};
use crate::shard::Shard;
use crate::shard::calls::{ControlAnswer, ControlCall};
use crate::shard::view::ClusterView;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::names::validate_topic_name;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// First version in which topics can be asked for by id.
const TOPIC_IDS_SINCE: i16 = 12;

/// First version in which a missing listener has an error of its own.
const LISTENER_ERRORS_SINCE: i16 = 6;

/// What is asked for.
enum Wanted {
    All,
    Names(Vec<String>),
    Ids(Vec<Uuid>),
}

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: MetadataRequest = context.decode(body)?;
    let version = context.version();
    // Below version 4 the client cannot say, and creation is allowed.
    let may_create = version < 4 || request.allow_auto_topic_creation;
    let tell_of_cluster = request.include_cluster_authorized_operations;
    let tell_of_topics = request.include_topic_authorized_operations;
    if is_contradictory(&request, version) {
        return context.answer(&refused(request));
    }
    let mut topics = match wanted(request, version) {
        Wanted::All => all_topics(&context.shard.view()),
        Wanted::Ids(ids) => by_id(&context.shard.view(), &ids),
        Wanted::Names(names) => by_name(&context, names, may_create).await,
    };
    if tell_of_topics {
        // As Kafka: also of a topic that is not there, if it has a name.
        let named = topics.iter_mut().filter(|topic| topic.name.is_some());
        named.for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
    }
    let view = context.shard.view();
    hide_unreachable(&mut topics, &view, context.listener(), version);
    let mut response = MetadataResponse::default()
        .with_brokers(brokers(&view, context.listener()))
        .with_cluster_id(Some(text(view.image.cluster_id())))
        .with_controller_id(BrokerId(view.image.controller().unwrap_or(-1)))
        .with_topics(topics);
    if tell_of_cluster {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    context.answer(&response)
}

/// Whether it has ids where there are none yet, or topics with neither name nor id.
fn is_contradictory(request: &MetadataRequest, version: i16) -> bool {
    let has_ids = request.topics.iter().flatten().any(|topic| !topic.topic_id.is_nil());
    let has_nameless = request.topics.iter().flatten().any(|topic| topic.name.is_none());
    if version < TOPIC_IDS_SINCE { has_ids || has_nameless } else { has_nameless && !has_ids }
}

/// As Kafka refuses the whole: through each topic that is named.
fn refused(request: MetadataRequest) -> MetadataResponse {
    let code = ErrorCode::InvalidRequest.code();
    let refuse = |topic: MetadataRequestTopic| {
        MetadataResponseTopic::default()
            .with_error_code(code)
            .with_name(Some(topic.name.unwrap_or_default()))
            .with_topic_id(topic.topic_id)
    };
    let topics = request.topics.into_iter().flatten().map(refuse).collect();
    MetadataResponse::default().with_error_code(code).with_topics(topics)
}

/// What is asked for, each once: a frame that repeats a topic must not grow into as many answers.
fn wanted(request: MetadataRequest, version: i16) -> Wanted {
    let Some(topics) = request.topics else { return Wanted::All };
    if topics.is_empty() && version == 0 {
        return Wanted::All;
    }
    if topics.iter().any(|topic| !topic.topic_id.is_nil()) {
        let ids: BTreeSet<Uuid> = topics.iter().map(|topic| topic.topic_id).collect();
        return Wanted::Ids(ids.into_iter().filter(|id| !id.is_nil()).collect());
    }
    let names: BTreeSet<String> =
        topics.into_iter().filter_map(|topic| topic.name.map(|name| name.to_string())).collect();
    Wanted::Names(names.into_iter().collect())
}

fn all_topics(view: &ClusterView) -> Vec<MetadataResponseTopic> {
    view.image.topics().map(|topic| describe(view, topic)).collect()
}

fn by_id(view: &ClusterView, ids: &[Uuid]) -> Vec<MetadataResponseTopic> {
    let describe = |id: &Uuid| match view.topic_by_id(id) {
        Ok(topic) => describe(view, topic),
        Err(code) => {
            MetadataResponseTopic::default().with_error_code(code.code()).with_name(None).with_topic_id(*id)
        }
    };
    ids.iter().map(describe).collect()
}

async fn by_name(
    context: &RequestContext,
    names: Vec<String>,
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    let view = context.shard.view();
    let missing: Vec<&String> = names.iter().filter(|name| view.image.topic(name).is_none()).collect();
    let may_create = may_create && context.shard.options.auto_create_topics;
    let refused =
        if may_create && !missing.is_empty() { create(context, &missing).await } else { BTreeMap::new() };
    let view = context.shard.view();
    let describe = |name: &String| match view.image.topic(name) {
        Some(topic) => describe(&view, topic),
        None => {
            let code = match validate_topic_name(name) {
                Ok(()) => refused.get(name).copied().unwrap_or(ErrorCode::UnknownTopicOrPartition),
                Err(_) => ErrorCode::InvalidTopicException,
            };
            MetadataResponseTopic::default()
                .with_error_code(code.code())
                .with_name(Some(topic_name(name)))
                .with_is_internal(INTERNAL_TOPICS.contains(&name.as_str()))
        }
    };
    names.iter().map(describe).collect()
}

/// Creates topics with the broker's defaults; says why some were not.
async fn create(context: &RequestContext, names: &[&String]) -> BTreeMap<String, ErrorCode> {
    let valid = names.iter().filter(|name| validate_topic_name(name).is_ok());
    let topics: Vec<NewTopic> = valid.map(|name| new_topic(&context.shard, name)).collect();
    if topics.is_empty() {
        return BTreeMap::new();
    }
    let command = Command::CreateTopics(CreateTopics { topics, validate_only: false });
    let ControlAnswer::Replied(Reply::CreateTopics(results)) =
        context.shard.control(ControlCall::Command(command)).await
    else {
        return BTreeMap::new();
    };
    let refused = results.into_iter().filter_map(|result| {
        let error = result.outcome.err()?;
        Some((result.name, ErrorCode::from_code(error.code.code())?))
    });
    // One that exists was created by somebody else meanwhile, and will be seen.
    refused.filter(|(_, code)| *code != ErrorCode::TopicAlreadyExists).collect()
}

/// A topic as it is created for whoever needs it.
pub(super) fn new_topic(shard: &Shard, name: &str) -> NewTopic {
    let (topic_id, seed) = (Uuid::from_bytes(shard.rt.uuid()), shard.rt.random_u64());
    if let Some(internal) = shard.options.internal_topics.find(name) {
        let alive = shard.view().image.brokers().filter(|(_, broker)| broker.is_active()).count();
        return internal.to_create(name, alive, topic_id, seed);
    }
    NewTopic {
        name: name.to_owned(),
        topic_id,
        num_partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Vec::new(),
        placement_seed: seed,
    }
}

fn describe(view: &ClusterView, topic: &TopicImage) -> MetadataResponseTopic {
    let partitions =
        topic.partitions.iter().map(|(index, partition)| describe_partition(view, *index, partition));
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_is_internal(INTERNAL_TOPICS.contains(&topic.name.as_ref()))
        .with_partitions(partitions.collect())
}

fn describe_partition(
    view: &ClusterView,
    index: i32,
    partition: &PartitionImage,
) -> MetadataResponsePartition {
    let code = match partition.leader() {
        Some(_) => ErrorCode::None,
        None => ErrorCode::LeaderNotAvailable,
    };
    MetadataResponsePartition::default()
        .with_error_code(code.code())
        .with_partition_index(index)
        .with_leader_id(BrokerId(partition.leader))
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(broker_ids(&partition.replicas))
        .with_isr_nodes(broker_ids(&partition.isr))
        .with_offline_replicas(offline_replicas(view, partition))
}

/// Where the client can reach no leader, because nobody is advertised on its listener, it is told so.
fn hide_unreachable(topics: &mut [MetadataResponseTopic], view: &ClusterView, listener: &str, version: i16) {
    let is_reachable =
        |id: i32| view.image.broker(id).is_none_or(|broker| broker.endpoint(listener).is_some());
    let code = if version >= LISTENER_ERRORS_SINCE {
        ErrorCode::ListenerNotFound
    } else {
        ErrorCode::LeaderNotAvailable
    };
    for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if !is_reachable(partition.leader_id.0) {
            partition.error_code = code.code();
            partition.leader_id = BrokerId(-1);
        }
    }
}

fn brokers(view: &ClusterView, listener: &str) -> Vec<MetadataResponseBroker> {
    let alive = view.image.brokers().filter(|(_, broker)| broker.is_active());
    let describe = |(id, broker): (i32, &std::sync::Arc<crate::metadata::image::BrokerImage>)| {
        let endpoint = broker.endpoint(listener)?;
        let described = MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(text(endpoint.host.clone()))
            .with_port(i32::from(endpoint.port))
            .with_rack(broker.rack.clone().map(text));
        Some(described)
    };
    alive.filter_map(describe).collect()
}
