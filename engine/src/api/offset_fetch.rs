//! OffsetFetch: how far groups have read; several groups since version 8, each of its own coordinator. Source: Kafka's
//! `KafkaApis.handleOffsetFetchRequest`.

use super::coordinators::{Asked, ask_group, later};
use super::{Later, RequestContext, topics};
use crate::coordinator::group::{GroupAnswer, GroupRequest};
use crate::coordinator::offsets::{fetch_answer, fetch_refused, fetch_requests};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_net::wire::{codec, offsets};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::OffsetFetchResponse;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};

/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = offsets::VERSION;

/// One group of the request, and its question.
struct Part {
    group: OffsetFetchRequestGroup,
    refused: Vec<OffsetFetchResponseTopics>,
    asked: Asked<GroupAnswer>,
}

pub(super) async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let (version, decoded_bytes_max) = (context.version(), context.decoded_bytes_max(&body));
    let request = codec::decode_offset_fetch(version, body, decoded_bytes_max)?;
    let require_stable = request.require_stable;
    let mut parts = Vec::new();
    for mut group in fetch_requests(request, version) {
        let refused = take_unknown_ids(&context, &mut group);
        let ask = GroupRequest::OffsetFetch { request: group.clone(), require_stable, version };
        let asked = ask_group(&context, &group.group_id, ask).await;
        parts.push(Part { group, refused, asked });
    }
    Ok(later(async move {
        let mut groups = Vec::with_capacity(parts.len());
        for part in parts {
            groups.push(finish(&context, part).await);
        }
        answer(&context, &fetch_answer(groups, version))
    }))
}

fn answer(context: &RequestContext, response: &OffsetFetchResponse) -> Result<Answer, WireError> {
    match context.version() {
        offsets::VERSION => {
            context.send(offsets::encode_fetch_response(context.head.correlation_id, response)?)
        }
        _ => context.answer(response),
    }
}

async fn finish(context: &RequestContext, part: Part) -> OffsetFetchResponseGroup {
    let Part { group, refused, asked } = part;
    let fetched = asked.answer(context, |answer| match answer {
        GroupAnswer::OffsetFetch(response) => Some(response),
        _ => None,
    });
    let mut answer = match fetched.await {
        Ok(answer) => answer,
        Err(code) => {
            let error =
                ResponseError::try_from_code(code.code()).unwrap_or(ResponseError::UnknownServerError);
            fetch_refused(&group, error, context.version())
        }
    };
    context.count_code(answer.error_code);
    if context.version() >= TOPIC_IDS_SINCE {
        name_by_id(context, &mut answer);
    }
    if answer.error_code == ErrorCode::None.code() {
        // Also one that was asked for by an id of zeros.
        answer.topics.extend(refused);
    }
    answer
}

/// Takes out the topics whose id is unknown, and answers them; gives the rest their names.
fn take_unknown_ids(
    context: &RequestContext,
    group: &mut OffsetFetchRequestGroup,
) -> Vec<OffsetFetchResponseTopics> {
    if context.version() < TOPIC_IDS_SINCE {
        return Vec::new();
    }
    let view = context.shard.view();
    let mut refused = Vec::new();
    for topic in group.topics.iter_mut().flatten() {
        match view.image.topic_by_id(&topic.topic_id) {
            Some(image) => topic.name = topics::topic_name(&image.name),
            None => {
                let partitions = topic.partition_indexes.drain(..).map(|index| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(index)
                        .with_committed_offset(-1)
                        .with_committed_leader_epoch(-1)
                        .with_metadata(Some(super::text("")))
                        .with_error_code(ErrorCode::UnknownTopicId.code())
                });
                let partitions = partitions.collect();
                let unknown = OffsetFetchResponseTopics::default().with_topic_id(topic.topic_id);
                refused.push(unknown.with_partitions(partitions));
            }
        }
    }
    if let Some(topics) = &mut group.topics {
        topics.retain(|topic| !topic.name.is_empty());
    }
    refused
}

/// Where all topics were asked for, those that have no id any more cannot be told.
fn name_by_id(context: &RequestContext, answer: &mut OffsetFetchResponseGroup) {
    let view = context.shard.view();
    for topic in answer.topics.iter_mut().filter(|topic| topic.topic_id.is_nil()) {
        topic.topic_id = view.image.topic_id(&topic.name).unwrap_or_default();
    }
    answer.topics.retain(|topic| !topic.topic_id.is_nil());
}
