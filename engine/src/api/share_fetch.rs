//! ShareFetch: a member settles what it has, and gets more. It waits while there is nothing, woken by what changes that.
//!
//! The connection's shard owns the request and its session; each partition's part goes to the shard that leads it, one shard after the
//! other, so that no more is acquired than was asked for. Source: Kafka's `KafkaApis.handleShareFetchRequest` and `DelayedShareFetch`.

use super::share::{Said, check_enabled, release, route, session_name, settle};
use super::{Later, RequestContext, done};
use crate::metrics::CopyPath;
use crate::placement::{PartitionKey, ShardId};
use crate::purgatory::{WakeSlot, wake_slot};
use crate::shard::calls::Outcomes;
use crate::share::leaders::{AcquiredPart, Fetching, ShareAnswer, ShareRequest};
use crate::share::partition::AckBatch;
use crate::share::sessions::{INITIAL_EPOCH, SessionName, ShareContext};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::share_fetch_request::{AcknowledgementBatch, FetchPartition};
use kafka_protocol::messages::share_fetch_response::{
    AcquiredRecords, LeaderIdAndEpoch, PartitionData, ShareFetchableTopicResponse,
};
use kafka_protocol::messages::{ShareFetchRequest, ShareFetchResponse};
use std::collections::BTreeMap;
use std::time::Duration;

/// What one partition of the answer says.
#[derive(Debug, Default)]
struct Told {
    fetched: Option<Result<AcquiredPart, ErrorCode>>,
    settled: Option<Result<(), ErrorCode>>,
}

/// Settles the session, in the order of the connection; the rest comes later.
pub(super) fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let request: ShareFetchRequest = context.decode(body)?;
    Ok(match session_of(&context, &request) {
        Ok((name, session)) => Box::pin(serve(context, name, session, request)),
        Err(code) => {
            context.count_error(code);
            done(context.answer(&ShareFetchResponse::default().with_error_code(code.code())))
        }
    })
}

fn session_of(
    context: &RequestContext,
    request: &ShareFetchRequest,
) -> Result<(SessionName, ShareContext), ErrorCode> {
    check_enabled(context)?;
    let name = session_name(request.group_id.as_ref().map(|id| id.as_str()), request.member_id.as_deref())?;
    let partitions = || parts_of(request).map(|(key, _)| key);
    let acknowledges = parts_of(request).any(|(_, partition)| !partition.acknowledgement_batches.is_empty());
    if request.share_session_epoch == INITIAL_EPOCH && acknowledges {
        return Err(ErrorCode::InvalidRequest);
    }
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let topic_id = topic.topic_id;
        topic.partitions.iter().map(move |partition| PartitionKey { topic_id, partition: *partition })
    });
    let (added, forgotten): (Vec<_>, Vec<_>) = (partitions().collect(), forgotten.collect());
    let connection = context.connection.number();
    let mut sessions = context.shard.share_sessions.borrow_mut();
    let session = sessions.fetch(&name, connection, request.share_session_epoch, &added, &forgotten)?;
    Ok((name, session))
}

fn parts_of(request: &ShareFetchRequest) -> impl Iterator<Item = (PartitionKey, &FetchPartition)> {
    request.topics.iter().flat_map(|topic| {
        let topic_id = topic.topic_id;
        topic.partitions.iter().map(move |partition| {
            (PartitionKey { topic_id, partition: partition.partition_index }, partition)
        })
    })
}

async fn serve(
    context: RequestContext,
    name: SessionName,
    session: ShareContext,
    request: ShareFetchRequest,
) -> Result<Answer, WireError> {
    let mut told: BTreeMap<PartitionKey, Told> = BTreeMap::new();
    let said: Vec<Said> = said_of(&request);
    let settled = settle(&context, &name, &said).await;
    for ((key, _), outcome) in said.iter().zip(settled) {
        told.entry(*key).or_default().settled = Some(outcome);
    }
    if session.ends {
        let partitions = context.shard.share_sessions.borrow_mut().end(&name);
        release(&context.shard, &name, &partitions).await;
    } else {
        let fetched = fetch(&context, &name, &session, &request).await;
        for (key, outcome) in session.partitions.iter().zip(fetched) {
            let is_news = !matches!(&outcome, Ok(part) if part.acquired.is_empty());
            if is_news || session.is_full {
                told.entry(*key).or_default().fetched = Some(outcome);
            }
        }
    }
    answer(&context, &name, told).await
}

fn said_of(request: &ShareFetchRequest) -> Vec<Said> {
    let with_batches =
        parts_of(request).filter(|(_, partition)| !partition.acknowledgement_batches.is_empty());
    let said = with_batches.map(|(key, partition)| {
        let batch = |batch: &AcknowledgementBatch| {
            AckBatch::of(batch.first_offset, batch.last_offset, &batch.acknowledge_types)
        };
        (key, partition.acknowledgement_batches.iter().map(batch).collect())
    });
    said.collect()
}

/// Acquires records until there are some, something is wrong, or the client's patience is over.
async fn fetch(
    context: &RequestContext,
    name: &SessionName,
    session: &ShareContext,
    request: &ShareFetchRequest,
) -> Outcomes<AcquiredPart> {
    let patience = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = context.begun + patience;
    let interrupted = context.connection.interrupted();
    loop {
        let (slot, waiter) = wake_slot();
        let now = context.shard.rt.now();
        let patient = now < deadline && !interrupted.is_set();
        let round = Round { name, session, request, watch: patient.then_some(slot) };
        let fetched = round.run(context).await;
        let is_something = |outcome: &Result<AcquiredPart, ErrorCode>| {
            outcome.as_ref().map_or(true, |part| !part.acquired.is_empty())
        };
        if !patient || session.partitions.is_empty() && session.is_full || fetched.iter().any(is_something) {
            return fetched;
        }
        let waiting = context.shard.rt.timeout(deadline.since(context.shard.rt.now()), waiter.woken());
        context.shard.fetch_waits(true);
        let _ = interrupted.unless(waiting).await;
        context.shard.fetch_waits(false);
    }
}

/// One attempt.
struct Round<'a> {
    name: &'a SessionName,
    session: &'a ShareContext,
    request: &'a ShareFetchRequest,
    watch: Option<WakeSlot>,
}

impl Round<'_> {
    async fn run(&self, context: &RequestContext) -> Outcomes<AcquiredPart> {
        let keys = &self.session.partitions;
        let mut outcomes: Outcomes<AcquiredPart> = vec![Err(ErrorCode::NotLeaderOrFollower); keys.len()];
        let bytes_max = context.shard.options.fetch_bytes_max.min(context.shard.answers.share_bytes());
        let bytes_max = usize::try_from(self.request.max_bytes).unwrap_or(0).min(bytes_max);
        let each = bytes_max / keys.len().max(1);
        let mut by_shard: Vec<(ShardId, Vec<usize>)> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            match route(&context.shard, *key) {
                Ok(shard) => match by_shard.iter_mut().find(|(of, _)| *of == shard) {
                    Some((_, places)) => places.push(place),
                    None => by_shard.push((shard, vec![place])),
                },
                Err(code) => outcomes[place] = Err(code),
            }
        }
        let mut left =
            i64::from(if self.request.max_records > 0 { self.request.max_records } else { i32::MAX });
        for (shard, places) in by_shard {
            let parts = places.iter().map(|place| (keys[*place], each)).collect();
            let fetched = self.ask(context, shard, parts, left).await;
            for (place, outcome) in places.into_iter().zip(fetched) {
                left -= outcome.as_ref().map_or(0, count);
                outcomes[place] = outcome;
            }
        }
        outcomes
    }

    async fn ask(
        &self,
        context: &RequestContext,
        shard: ShardId,
        parts: Vec<(PartitionKey, usize)>,
        records_max: i64,
    ) -> Outcomes<AcquiredPart> {
        let gone = vec![Err(ErrorCode::NotLeaderOrFollower); parts.len()];
        let request = ShareRequest::Fetch(Fetching {
            group: self.name.group.to_string(),
            member: self.name.member.to_string(),
            parts,
            records_max,
            piece: i64::from(self.request.batch_size.max(1)),
            watch: self.watch.clone(),
        });
        match context.shard.coordination.ask_shares_of(shard, request).await.answer().await {
            Ok(ShareAnswer::Fetch(outcomes)) => outcomes,
            Ok(_) | Err(_) => gone,
        }
    }
}

fn count(part: &AcquiredPart) -> i64 {
    part.acquired.iter().map(|run| run.last - run.first + 1).sum()
}

async fn answer(
    context: &RequestContext,
    name: &SessionName,
    told: BTreeMap<PartitionKey, Told>,
) -> Result<Answer, WireError> {
    // One answer with records is sent while the next is read: no connection holds more, however it pipelines.
    context.connection.turn(context.ticket).await;
    let bytes_of = |told: &Told| match &told.fetched {
        Some(Ok(part)) => part.records.len(),
        Some(Err(_)) | None => 0,
    };
    let bytes: usize = told.values().map(bytes_of).sum();
    if bytes > 0 && !context.connection.acquire_answer(context.ticket, bytes).await {
        return Ok(Answer::Close);
    }
    context.shard.metrics.fetched_bytes.add(bytes as u64);
    context.shard.metrics.count_copy(CopyPath::ShareFetch, bytes);
    let image = context.shard.view().image.clone();
    let settings = context.shard.options.groups.shares.of_group(&image, &name.group);
    let mut topics: Vec<ShareFetchableTopicResponse> = Vec::new();
    for (key, told) in told {
        let partition = partition_of(context, key, told);
        match topics.last_mut() {
            Some(topic) if topic.topic_id == key.topic_id => topic.partitions.push(partition),
            _ => topics.push(
                ShareFetchableTopicResponse::default()
                    .with_topic_id(key.topic_id)
                    .with_partitions(vec![partition]),
            ),
        }
    }
    let response = ShareFetchResponse::default().with_acquisition_lock_timeout_ms(settings.lock_ms);
    context.answer(&response.with_responses(topics))
}

fn partition_of(context: &RequestContext, key: PartitionKey, told: Told) -> PartitionData {
    let (fetched, failure) = match told.fetched {
        Some(Ok(part)) => (part, 0),
        Some(Err(code)) => (AcquiredPart::default(), code.code()),
        None => (AcquiredPart::default(), 0),
    };
    let refusal = told.settled.and_then(Result::err).map_or(0, ErrorCode::code);
    [failure, refusal].into_iter().for_each(|code| context.count_code(code));
    let acquired = fetched.acquired.iter().map(|run| {
        AcquiredRecords::default()
            .with_first_offset(run.first)
            .with_last_offset(run.last)
            .with_delivery_count(run.deliveries)
    });
    PartitionData::default()
        .with_partition_index(key.partition)
        .with_error_code(failure)
        .with_acknowledge_error_code(refusal)
        .with_current_leader(LeaderIdAndEpoch::default())
        .with_acquired_records(acquired.collect())
        .with_records(Some(fetched.records))
}
