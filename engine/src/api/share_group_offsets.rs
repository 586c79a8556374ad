//! DescribeShareGroupOffsets, AlterShareGroupOffsets and DeleteShareGroupOffsets: where share groups are. Source: Kafka's `KafkaApis` and
//! `GroupCoordinatorService`.

use super::coordinators::{ask_group, give_way};
use super::find_coordinator::ensure;
use super::{RequestContext, share, text};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use crate::coordinator::records::share_state::SharePartitionKey;
use crate::coordinator::share_state::{Ask, NO_OFFSET, ShareStateAnswer, ShareStateRequest};
use crate::coordinator::topics::SHARE_TOPIC;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
use kafka_protocol::messages::describe_share_group_offsets_response::{
    DescribeShareGroupOffsetsResponseGroup, DescribeShareGroupOffsetsResponsePartition,
    DescribeShareGroupOffsetsResponseTopic,
};
use kafka_protocol::messages::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse, DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse,
    TopicName,
};
use uuid::Uuid;

/// A topic whose offsets are asked for.
struct Named {
    name: String,
    id: Option<Uuid>,
    partitions: Vec<i32>,
}

pub(super) async fn describe(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeShareGroupOffsetsRequest = context.decode(body)?;
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in &request.groups {
        let answer = DescribeShareGroupOffsetsResponseGroup::default().with_group_id(group.group_id.clone());
        groups.push(match topics_of(&context, group).await {
            Ok(topics) => answer.with_topics(describe_topics(&context, &group.group_id, topics).await),
            Err(code) => {
                context.count_error(code);
                answer.with_error_code(code.code()).with_error_message(Some(text(words(code))))
            }
        });
    }
    context.answer(&DescribeShareGroupOffsetsResponse::default().with_groups(groups))
}

/// The topics that are named, or all of which the group has state.
async fn topics_of(
    context: &RequestContext,
    group: &DescribeShareGroupOffsetsRequestGroup,
) -> Result<Vec<Named>, ErrorCode> {
    share::check_enabled(context)?;
    let request = GroupRequest::SharePartitions { group: group.group_id.to_string() };
    let asked = ask_group(context, &group.group_id, request).await;
    let known = asked.answer(context, |answer| match answer {
        GroupAnswer::SharePartitions(known) => Some(known),
        _ => None,
    });
    let known = known.await?.map_err(|_| ErrorCode::GroupIdNotFound)?;
    let image = context.shard.view().image.clone();
    Ok(match &group.topics {
        Some(topics) => {
            let named = topics.iter().map(|topic| Named {
                name: topic.topic_name.to_string(),
                id: image.topic(&topic.topic_name).map(|topic| topic.id),
                partitions: topic.partitions.clone(),
            });
            named.collect()
        }
        None => known
            .into_iter()
            .map(|(id, (name, partitions))| Named { name, id: Some(id), partitions })
            .collect(),
    })
}

async fn describe_topics(
    context: &RequestContext,
    group: &str,
    topics: Vec<Named>,
) -> Vec<DescribeShareGroupOffsetsResponseTopic> {
    let mut described = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (place, partition) in topic.partitions.iter().enumerate() {
            give_way(context, place).await;
            partitions.push(describe_partition(context, group, topic.id, *partition).await);
        }
        described.push(
            DescribeShareGroupOffsetsResponseTopic::default()
                .with_topic_name(TopicName(text(topic.name)))
                .with_topic_id(topic.id.unwrap_or_default())
                .with_partitions(partitions),
        );
    }
    described
}

async fn describe_partition(
    context: &RequestContext,
    group: &str,
    topic: Option<Uuid>,
    partition: i32,
) -> DescribeShareGroupOffsetsResponsePartition {
    let answer = DescribeShareGroupOffsetsResponsePartition::default().with_partition_index(partition);
    match summary(context, group, topic, partition).await {
        Ok((start_offset, leader_epoch)) => {
            answer.with_start_offset(start_offset).with_leader_epoch(leader_epoch)
        }
        Err(code) => {
            context.count_error(code);
            let answer = answer.with_start_offset(NO_OFFSET).with_error_code(code.code());
            answer.with_error_message(Some(text(words(code))))
        }
    }
}

async fn summary(
    context: &RequestContext,
    group: &str,
    topic: Option<Uuid>,
    partition: i32,
) -> Result<(i64, i32), ErrorCode> {
    let topic_id = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let key = SharePartitionKey { group: group.to_owned(), topic_id, partition };
    let request = ShareStateRequest { key, ask: Ask::Summary };
    match context.shard.coordination.ask_share_state(request).await?.answer().await? {
        ShareStateAnswer::Summary { start_offset, leader_epoch, .. } => Ok((start_offset, leader_epoch)),
        ShareStateAnswer::Refused(code, _) => Err(code),
        ShareStateAnswer::Done | ShareStateAnswer::State { .. } => Err(ErrorCode::UnknownServerError),
    }
}

/// Kafka's words.
fn words(code: ErrorCode) -> String {
    match code {
        ErrorCode::UnknownTopicOrPartition => "This server does not host this topic-partition.".to_owned(),
        _ => kafka_protocol::ResponseError::try_from_code(code.code())
            .map_or_else(String::new, |it| it.to_string()),
    }
}

pub(super) async fn alter(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: AlterShareGroupOffsetsRequest = context.decode(body)?;
    let refused = |code: ErrorCode| {
        AlterShareGroupOffsetsResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(text(words(code))))
    };
    let response = altered(&context, request).await.unwrap_or_else(refused);
    context.count_code(response.error_code);
    context.answer(&response)
}

async fn altered(
    context: &RequestContext,
    request: AlterShareGroupOffsetsRequest,
) -> Result<AlterShareGroupOffsetsResponse, ErrorCode> {
    share::check_enabled(context)?;
    ensure(&context.shard, SHARE_TOPIC).await?;
    let group = request.group_id.to_string();
    let asked = ask_group(context, &group, GroupRequest::AlterShareOffsets { request }).await;
    let altered = asked.answer(context, |answer| match answer {
        GroupAnswer::AlterShareOffsets(response) => Some(response),
        _ => None,
    });
    altered.await
}

pub(super) async fn delete(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DeleteShareGroupOffsetsRequest = context.decode(body)?;
    let refused = |code: ErrorCode| {
        DeleteShareGroupOffsetsResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(text(words(code))))
    };
    let response = deleted(&context, request).await.unwrap_or_else(refused);
    context.count_code(response.error_code);
    context.answer(&response)
}

async fn deleted(
    context: &RequestContext,
    request: DeleteShareGroupOffsetsRequest,
) -> Result<DeleteShareGroupOffsetsResponse, ErrorCode> {
    share::check_enabled(context)?;
    let group = request.group_id.to_string();
    let asked = ask_group(context, &group, GroupRequest::DeleteShareOffsets { request }).await;
    let deleted = asked.answer(context, |answer| match answer {
        GroupAnswer::DeleteShareOffsets(response) => Some(response),
        _ => None,
    });
    deleted.await
}
