//! ListOffsets: offsets by time, from the partitions' owners. After Kafka's `KafkaApis.handleListOffsetRequest`.

use super::RequestContext;
use super::topics::ask_owners;
use crate::partition::{Isolation, LookupTime, TimedOffset};
use crate::shard::calls::{LookupPart, PartitionCall};
use crate::shard::router::looked_up;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::batch::LeaderEpoch;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};
use std::collections::BTreeSet;

/// First version whose answers carry leader epochs.
const LEADER_EPOCH_SINCE: i16 = 4;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: ListOffsetsRequest = context.decode(body)?;
    let Some(isolation) = Isolation::from_level(request.isolation_level) else {
        let refuse = |_: &TopicName, _: &ListOffsetsPartition| Err(ErrorCode::InvalidRequest);
        return context.answer(&respond(&request, context.version(), refuse));
    };
    let found = look_up(&context, &request, isolation).await;
    let mut found = found.into_iter();
    let next =
        |_: &TopicName, _: &ListOffsetsPartition| found.next().unwrap_or(Err(ErrorCode::UnknownServerError));
    context.answer(&respond(&request, context.version(), next))
}

/// One outcome for each partition, in request order.
async fn look_up(
    context: &RequestContext,
    request: &ListOffsetsRequest,
    isolation: Isolation,
) -> Vec<Result<TimedOffset, ErrorCode>> {
    let view = context.shard.view();
    let twice = named_twice(request);
    let mut parts = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            parts.push(if twice.contains(&(topic.name.as_str(), partition.partition_index)) {
                Err(ErrorCode::InvalidRequest)
            } else {
                lookup_time(partition.timestamp, context.version()).and_then(|time| {
                    let route = view.route(view.topic_by_name(&topic.name)?, partition.partition_index)?;
                    let told = partition.current_leader_epoch;
                    let current_epoch = (told >= 0).then_some(LeaderEpoch(told));
                    Ok((route.shard, LookupPart { key: route.key, time, current_epoch, isolation }))
                })
            });
        }
    }
    ask_owners(context, parts, PartitionCall::Lookup, looked_up).await
}

/// Partitions that a request names more than once are refused, as Kafka does.
fn named_twice(request: &ListOffsetsRequest) -> BTreeSet<(&str, i32)> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for topic in &request.topics {
        for partition in &topic.partitions {
            let name = (topic.name.as_str(), partition.partition_index);
            if !seen.insert(name) {
                twice.insert(name);
            }
        }
    }
    twice
}

/// What a timestamp means, if the version knows it (`ReplicaManager.timestampMinSupportedVersion`).
fn lookup_time(timestamp_ms: i64, version: i16) -> Result<LookupTime, ErrorCode> {
    let (time, version_min) = match timestamp_ms {
        -1 => (LookupTime::Latest, 1),
        -2 => (LookupTime::Earliest, 1),
        -3 => (LookupTime::MaxTimestamp, 7),
        -4 => (LookupTime::EarliestLocal, 8),
        -5 => (LookupTime::LatestTiered, 9),
        0.. => (LookupTime::At(timestamp_ms), 1),
        i64::MIN..-5 => return Err(ErrorCode::UnsupportedVersion),
    };
    if version < version_min { Err(ErrorCode::UnsupportedVersion) } else { Ok(time) }
}

fn respond(
    request: &ListOffsetsRequest,
    version: i16,
    mut outcome: impl FnMut(&TopicName, &ListOffsetsPartition) -> Result<TimedOffset, ErrorCode>,
) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    // As in Kafka, a topic of no partitions does not come.
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let answer = |partition: &ListOffsetsPartition| {
            let (code, found) = match outcome(&topic.name, partition) {
                Ok(found) => (ErrorCode::None, found),
                Err(code) => (code, TimedOffset::NONE),
            };
            ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
                .with_timestamp(found.timestamp_ms)
                .with_offset(found.offset.0)
                .with_leader_epoch(if version >= LEADER_EPOCH_SINCE { found.leader_epoch.0 } else { -1 })
        };
        let partitions = topic.partitions.iter().map(answer).collect();
        topics.push(
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_times_need_their_version() {
        let cases = [
            (-1, 1, Ok(LookupTime::Latest)),
            (-2, 1, Ok(LookupTime::Earliest)),
            (-3, 6, Err(ErrorCode::UnsupportedVersion)),
            (-3, 7, Ok(LookupTime::MaxTimestamp)),
            (-4, 7, Err(ErrorCode::UnsupportedVersion)),
            (-4, 8, Ok(LookupTime::EarliestLocal)),
            (-5, 9, Ok(LookupTime::LatestTiered)),
            (-6, 10, Err(ErrorCode::UnsupportedVersion)),
            (i64::MIN, 10, Err(ErrorCode::UnsupportedVersion)),
            (0, 1, Ok(LookupTime::At(0))),
        ];
        for (timestamp_ms, version, expected) in cases {
            assert_eq!(lookup_time(timestamp_ms, version), expected, "{timestamp_ms} in version {version}");
        }
    }
}
