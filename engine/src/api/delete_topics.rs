//! DeleteTopics, by name or by id: the controller decides, and the answer waits until no shard serves them any more.

use super::topics::topic_name;
use super::{RequestContext, text};
use crate::metadata::controller::{ApiError, Command, DeletableTopic, DeleteTopicResult, Reply};
use crate::shard::calls::{ControlAnswer, ControlCall};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use uuid::Uuid;

/// First version in which the answer may say that deletion is disabled (73); before it, 42.
const DISABLED_CODE_SINCE: i16 = 3;
/// First version in which topics are named one by one, by name or id.
const STATES_SINCE: i16 = 6;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DeleteTopicsRequest = context.decode(body)?;
    let topics = asked(&request, context.version());
    let command = Command::DeleteTopics(topics.clone());
    let results = match context.shard.control(ControlCall::Command(command)).await {
        ControlAnswer::Replied(Reply::DeleteTopics(Ok(results))) => {
            results.into_iter().map(describe).collect()
        }
        ControlAnswer::Replied(Reply::DeleteTopics(Err(error))) => {
            let code = whole_code(&error, context.version());
            topics.iter().map(|topic| refused(topic, code)).collect()
        }
        _ => topics.iter().map(|topic| refused(topic, ErrorCode::NotController.code())).collect(),
    };
    context.answer(&DeleteTopicsResponse::default().with_responses(results))
}

fn asked(request: &DeleteTopicsRequest, version: i16) -> Vec<DeletableTopic> {
    if version < STATES_SINCE {
        let by_name = |name: &kafka_protocol::messages::TopicName| DeletableTopic {
            name: Some(name.to_string()),
            topic_id: Uuid::nil(),
        };
        return request.topic_names.iter().map(by_name).collect();
    }
    let state = |topic: &kafka_protocol::messages::delete_topics_request::DeleteTopicState| DeletableTopic {
        name: topic.name.as_ref().map(|name| name.to_string()),
        topic_id: topic.topic_id,
    };
    request.topics.iter().map(state).collect()
}

fn whole_code(error: &ApiError, version: i16) -> i16 {
    let code = error.code.code();
    let disabled = code == ErrorCode::TopicDeletionDisabled.code();
    if disabled && version < DISABLED_CODE_SINCE { ErrorCode::InvalidRequest.code() } else { code }
}

fn refused(topic: &DeletableTopic, code: i16) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(topic.name.as_deref().map(topic_name))
        .with_topic_id(topic.topic_id)
        .with_error_code(code)
}

fn describe(result: DeleteTopicResult) -> DeletableTopicResult {
    let described = DeletableTopicResult::default()
        .with_name(result.name.as_deref().map(topic_name))
        .with_topic_id(result.topic_id);
    match result.error {
        None => described,
        Some(error) => {
            described.with_error_code(error.code.code()).with_error_message(error.message.map(text))
        }
    }
}
