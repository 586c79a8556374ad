//! FindCoordinator: which broker leads the partition that coordinates a group, a transactional id or a share group's partition. The internal
//! topic is created when it is first asked for. After Kafka's `KafkaApis.getCoordinator`.

use super::{RequestContext, metadata, text};
use crate::coordinator::partitioner::partition_of;
use crate::coordinator::topics::{OFFSETS_TOPIC, SHARE_TOPIC, TRANSACTIONS_TOPIC};
use crate::metadata::controller::{Command, CreateTopics};
use crate::metadata::image::NodeId;
use crate::shard::Shard;
use crate::shard::calls::ControlCall;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

/// First version that asks for several keys.
const BATCHES_SINCE: i16 = 4;
/// Coordinator types (KIP-98).
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// First version with share coordinators (KIP-932).
const SHARE_SINCE: i16 = 6;

/// Where a coordinator is.
struct Found {
    node: NodeId,
    host: String,
    port: u16,
}

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: FindCoordinatorRequest = context.decode(body)?;
    let topic = match request.key_type {
        GROUP => Ok(OFFSETS_TOPIC),
        TRANSACTION => Ok(TRANSACTIONS_TOPIC),
        SHARE if context.version() >= SHARE_SINCE => Ok(SHARE_TOPIC),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let topic = match topic {
        Ok(topic) => ensure(&context.shard, topic).await.map(|()| topic),
        Err(code) => Err(code),
    };
    let is_share = request.key_type == SHARE;
    let find = |key: &StrBytes| match topic {
        Ok(_) if is_share && !names_share_partition(key) => Err(ErrorCode::InvalidRequest),
        Ok(topic) => find(&context, topic, key),
        Err(code) => Err(code),
    };
    if context.version() < BATCHES_SINCE {
        let found = find(&request.key);
        found.as_ref().err().into_iter().for_each(|code| context.count_error(*code));
        return context.answer(&single(found));
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        let found = find(key);
        found.as_ref().err().into_iter().for_each(|code| context.count_error(*code));
        of_key(key, found, words_of_kind(request.key_type))
    });
    context.answer(&FindCoordinatorResponse::default().with_coordinators(coordinators.collect()))
}

/// Whether a key has a group, a topic's id and a partition (Kafka's `SharePartitionKey.validate`).
fn names_share_partition(key: &str) -> bool {
    let mut words = key.rsplitn(3, ':');
    let partition = words.next().and_then(|word| word.parse::<i32>().ok());
    let topic = words.next().filter(|word| word.len() == 22);
    let group = words.next().filter(|word| !word.trim().is_empty());
    partition.is_some() && topic.is_some() && group.is_some()
}

/// Creates the internal topic if there is none.
pub(super) async fn ensure(shard: &Shard, topic: &str) -> Result<(), ErrorCode> {
    if shard.view().image.topic(topic).is_some() {
        return Ok(());
    }
    let topics = vec![metadata::new_topic(shard, topic)];
    let command = Command::CreateTopics(CreateTopics { topics, validate_only: false });
    shard.control(ControlCall::Command(command)).await;
    shard.view().image.topic(topic).map(|_| ()).ok_or(ErrorCode::CoordinatorNotAvailable)
}

fn find(context: &RequestContext, topic: &str, key: &str) -> Result<Found, ErrorCode> {
    let view = context.shard.view();
    let topic = view.image.topic(topic).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let partition =
        topic.partitions.get(&partition_of(key, count)).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let node = partition.leader().ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let broker = view.image.broker(node).filter(|broker| broker.is_active());
    let endpoint = broker.and_then(|broker| broker.endpoint(context.listener()));
    let endpoint = endpoint.ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok(Found { node, host: endpoint.host.clone(), port: endpoint.port })
}

fn single(found: Result<Found, ErrorCode>) -> FindCoordinatorResponse {
    match found {
        Ok(found) => FindCoordinatorResponse::default()
            .with_error_message(Some(text("NONE")))
            .with_node_id(BrokerId(found.node))
            .with_host(text(found.host))
            .with_port(i32::from(found.port)),
        Err(code) => FindCoordinatorResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(text(words(code))))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}

/// Kafka's words.
fn words(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::CoordinatorNotAvailable => "The coordinator is not available.",
        _ => {
            "This most likely occurs because of a request being malformed by the client library or the message was sent to an \
             incompatible broker. See the broker logs for more details."
        }
    }
}

/// What Kafka says of each of several keys: words only where nobody knows their kind, for then the whole request is wrong.
fn words_of_kind(kind: i8) -> &'static str {
    match kind {
        GROUP | TRANSACTION | SHARE => "",
        _ => words(ErrorCode::InvalidRequest),
    }
}

fn of_key(key: &StrBytes, found: Result<Found, ErrorCode>, message: &str) -> Coordinator {
    let coordinator = Coordinator::default().with_key(key.clone()).with_error_message(Some(text(message)));
    match found {
        Ok(found) => coordinator
            .with_node_id(BrokerId(found.node))
            .with_host(text(found.host))
            .with_port(i32::from(found.port)),
        Err(code) => coordinator.with_error_code(code.code()).with_node_id(BrokerId(-1)).with_port(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::words_of_kind;

    #[test]
    fn only_a_kind_that_nobody_knows_has_words() {
        let kinds: Vec<i8> = (-1..5).filter(|kind| !words_of_kind(*kind).is_empty()).collect();
        assert_eq!(kinds, [-1, 3, 4]);
    }
}
