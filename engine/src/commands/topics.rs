//! `hayate topics`. What it prints of topics has the form of Kafka's own tool, which people and scripts know.

use super::CommandError;
use super::cluster::{Cluster, millis, name, name_of, text};
use super::configs;
use crate::cli::{EntityKind, Topics};
use hayate_net::error::ErrorCode;
use hayate_net::wire::topic::topic_id_to_text;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest};
use std::io::Write;

pub(super) fn run(cluster: &mut Cluster, asked: &Topics, out: &mut impl Write) -> Result<(), CommandError> {
    match asked {
        Topics::List => list(cluster, out),
        Topics::Describe { topics } => describe(cluster, topics, out),
        Topics::Create { topics, partitions, replicas, configs, if_not_exists, validate_only } => {
            let topic = |topic: &String| {
                let config = |(key, value): &(String, String)| {
                    CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
                };
                CreatableTopic::default()
                    .with_name(name(topic))
                    .with_num_partitions(*partitions)
                    .with_replication_factor(*replicas)
                    .with_configs(configs.iter().map(config).collect())
            };
            let ignored = if_not_exists.then_some(ErrorCode::TopicAlreadyExists);
            create(cluster, topics.iter().map(topic).collect(), *validate_only, ignored)
        }
        Topics::Alter { topics, partitions, validate_only } => {
            alter(cluster, topics, *partitions, *validate_only)
        }
        Topics::Delete { topics, if_exists } => delete(cluster, topics, *if_exists),
    }
}

fn list(cluster: &mut Cluster, out: &mut impl Write) -> Result<(), CommandError> {
    let response = cluster.metadata(None, false)?;
    let mut names: Vec<&str> = response.topics.iter().map(name_of).collect();
    names.sort_unstable();
    names.into_iter().try_for_each(|name| writeln!(out, "{name}")).map_err(CommandError::Output)
}

fn describe(cluster: &mut Cluster, topics: &[String], out: &mut impl Write) -> Result<(), CommandError> {
    let mut response = cluster.metadata((!topics.is_empty()).then_some(topics), false)?;
    response.topics.sort_by(|one, other| name_of(one).cmp(name_of(other)));
    let mut failures = Vec::new();
    for topic in &mut response.topics {
        let name = name_of(topic).to_owned();
        if let Err(error) = CommandError::check(|| format!("topic {name}"), topic.error_code, None) {
            failures.push(error);
            continue;
        }
        topic.partitions.sort_by_key(|partition| partition.partition_index);
        let configs = configs::set_for(cluster, EntityKind::Topic, &name)?;
        show(topic, &configs, out).map_err(CommandError::Output)?;
    }
    CommandError::all(failures)
}

fn show(topic: &MetadataResponseTopic, configs: &str, out: &mut impl Write) -> std::io::Result<()> {
    let name = name_of(topic);
    let replicas = topic.partitions.first().map_or(0, |partition| partition.replica_nodes.len());
    writeln!(
        out,
        "Topic: {name}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {replicas}\tConfigs: {configs}",
        topic_id_to_text(topic.topic_id),
        topic.partitions.len(),
    )?;
    topic.partitions.iter().try_for_each(|partition| show_partition(name, partition, out))
}

fn show_partition(
    topic: &str,
    partition: &MetadataResponsePartition,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let ids = |nodes: &[BrokerId]| nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(",");
    let leader = match partition.leader_id.0 {
        id @ 0.. => id.to_string(),
        _ => "none".to_owned(),
    };
    writeln!(
        out,
        "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
        partition.partition_index,
        ids(&partition.replica_nodes),
        ids(&partition.isr_nodes),
    )
}

/// Failures among answers: what each is about, its code and message.
fn failures<'a>(
    answers: impl Iterator<Item = (&'a str, i16, Option<&'a str>)>,
    ignored: Option<ErrorCode>,
) -> Result<(), CommandError> {
    let answers = answers.filter(|(_, code, _)| ignored.is_none_or(|ignored| ignored.code() != *code));
    let failed = answers.filter_map(|(topic, code, message)| {
        CommandError::check(|| format!("topic {topic}"), code, message).err()
    });
    CommandError::all(failed.collect())
}

fn create(
    cluster: &mut Cluster,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
    ignored: Option<ErrorCode>,
) -> Result<(), CommandError> {
    let request = CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(millis(cluster.settings.request_timeout))
        .with_validate_only(validate_only);
    let response = cluster.ask_any(&request)?;
    let answers =
        response.topics.iter().map(|one| (one.name.0.as_str(), one.error_code, one.error_message.as_deref()));
    failures(answers, ignored)
}

fn alter(
    cluster: &mut Cluster,
    topics: &[String],
    partitions: i32,
    validate_only: bool,
) -> Result<(), CommandError> {
    let topic = |topic: &String| {
        CreatePartitionsTopic::default().with_name(name(topic)).with_count(partitions).with_assignments(None)
    };
    let request = CreatePartitionsRequest::default()
        .with_topics(topics.iter().map(topic).collect())
        .with_timeout_ms(millis(cluster.settings.request_timeout))
        .with_validate_only(validate_only);
    let response = cluster.ask_any(&request)?;
    let answers = response
        .results
        .iter()
        .map(|one| (one.name.0.as_str(), one.error_code, one.error_message.as_deref()));
    failures(answers, None)
}

fn delete(cluster: &mut Cluster, topics: &[String], if_exists: bool) -> Result<(), CommandError> {
    let state = |topic: &String| DeleteTopicState::default().with_name(Some(name(topic)));
    let request = DeleteTopicsRequest::default()
        .with_topics(topics.iter().map(state).collect())
        .with_timeout_ms(millis(cluster.settings.request_timeout));
    let response = cluster.ask_any(&request)?;
    let answers = response.responses.iter().map(|one| {
        let topic = one.name.as_ref().map_or("", |name| name.0.as_str());
        (topic, one.error_code, one.error_message.as_deref())
    });
    failures(answers, if_exists.then_some(ErrorCode::UnknownTopicOrPartition))
}
