//! OffsetForLeaderEpoch: where leader epochs ended, for clients that check whether their position was cut away (KIP-320).

use super::RequestContext;
use super::topics::ask_owners;
use crate::shard::calls::{EpochPart, PartitionCall};
use crate::shard::router::epoch_ends;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::batch::{LeaderEpoch, Offset};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

type Outcome = Result<(LeaderEpoch, Offset), ErrorCode>;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: OffsetForLeaderEpochRequest = context.decode(body)?;
    let mut outcomes = ask(&context, &request).await.into_iter();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|partition| {
            let outcome = outcomes.next().unwrap_or(Err(ErrorCode::UnknownServerError));
            answer(partition.partition, outcome)
        });
        let partitions = partitions.collect();
        topics
            .push(OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions));
    }
    context.answer(&OffsetForLeaderEpochResponse::default().with_topics(topics))
}

async fn ask(context: &RequestContext, request: &OffsetForLeaderEpochRequest) -> Vec<Outcome> {
    let view = context.shard.view();
    let mut parts = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let found = view.topic_by_name(&topic.topic);
            let route = found.and_then(|topic| view.route(topic, partition.partition));
            let told = partition.current_leader_epoch;
            let current_epoch = (told >= 0).then_some(LeaderEpoch(told));
            let epoch = LeaderEpoch(partition.leader_epoch);
            parts.push(route.map(|route| (route.shard, EpochPart { key: route.key, epoch, current_epoch })));
        }
    }
    ask_owners(context, parts, PartitionCall::EpochEnds, epoch_ends).await
}

fn answer(partition: i32, outcome: Outcome) -> EpochEndOffset {
    let (code, (epoch, end)) = match outcome {
        Ok(end) => (ErrorCode::None, end),
        Err(code) => (code, (LeaderEpoch::NONE, Offset::NONE)),
    };
    EpochEndOffset::default()
        .with_partition(partition)
        .with_error_code(code.code())
        .with_leader_epoch(epoch.0)
        .with_end_offset(end.0)
}
