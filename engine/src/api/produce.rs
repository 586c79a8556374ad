//! Produce: records to the owners of their partitions, in the order of the connection; answered when they are as safe as
//! `acks` asks. After Kafka's `KafkaApis.handleProduceRequest`.

use super::enlist::{First, Rules, as_produce_failure, enlist};
use super::{Later, RequestContext, done, topics};
use crate::metrics::{SlowestAppend, Stage};
use crate::partition::judge::{Verdict, is_large, judge, needs_judging};
use crate::partition::refusal::{fault_words, summary};
use crate::partition::verification::{FirstBatch, Guard};
use crate::partition::{AppendFailure, Durability, PartitionSettings};
use crate::shard::calls::{Append, AppendPart, AppendedAt, PartitionCall};
use crate::shard::router::{DispatchedGroups, Grouped, appended};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_net::wire::produce::{
    PartitionOutcome, ProduceRequest, ProduceResponse, ProduceTopic, RecordError, TopicOutcome,
    encode_response, parse,
};
use hayate_net::wire::topic::TopicRef;
use hayate_storage::batch::BatchHeader;
use hayate_storage::batch::faults::RecordFaults;
use hayate_storage::mutants::Mutant;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// What the lists of the smallest request may take.
const LISTS_BYTES_MIN: u64 = 4 << 10;

/// What the words on the records at fault of one request may take, beside those on the first of each partition.
const FAULTS_BYTES_MAX: usize = 64 << 10;

/// Where the outcome of one partition of the request comes from.
enum Place {
    /// Decided before it was sent.
    Refused(AppendFailure),
    /// From the owner.
    Sent,
}

/// A request on its way.
struct Sent {
    request: ProduceRequest,
    places: Vec<Place>,
    groups: DispatchedGroups,
}

/// Heap bytes that the lists of topics and partitions may take, beside the records of a body of that size. Any batch is larger than what says
/// where it goes; only a body without records could be mostly lists.
fn lists_bytes_max(body_bytes: usize) -> u64 {
    LISTS_BYTES_MIN + 2 * body_bytes as u64
}

/// Dispatches the records; what is left is to wait for their safety.
pub(super) async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let request = parse(context.version(), &body, lists_bytes_max(body.len()))?;
    drop(body);
    let Some(durability) = Durability::from_acks(request.acks) else {
        return Ok(done(refuse_all(&context, &request, ErrorCode::InvalidRequiredAcks)));
    };
    let batches = match transactional(&request) {
        Ok(batches) => batches,
        Err(code) => return Ok(done(refuse_all(&context, &request, code))),
    };
    let entries = if batches.is_empty() { Entries::new() } else { enter(&context, &request, &batches).await };
    let sent = dispatch(&context, request, durability, entries).await;
    if durability == Durability::None {
        return Ok(Box::pin(finish_unanswered(context, sent)));
    }
    Ok(Box::pin(finish(context, sent)))
}

/// The batches that are part of a transaction, by their place in the request.
///
/// # Errors
/// 53 when the request names no transactional id, in whose name they would be written; 49 when they are of several producers.
fn transactional(request: &ProduceRequest) -> Result<Vec<(usize, FirstBatch)>, ErrorCode> {
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    let headers =
        partitions.map(|part| part.records.as_ref().and_then(|batch| BatchHeader::parse(batch).ok()));
    let batches: Vec<(usize, FirstBatch)> = headers
        .enumerate()
        .filter_map(|(place, header)| {
            let header = header.filter(BatchHeader::is_transactional)?;
            Some((place, FirstBatch::of(&header)))
        })
        .collect();
    let Some((_, first)) = batches.first() else { return Ok(batches) };
    if request.transactional_id.is_none() {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let producer = |batch: &FirstBatch| (batch.producer_id, batch.producer_epoch);
    let is_of_one = batches.iter().all(|(_, batch)| producer(batch) == producer(first));
    if is_of_one { Ok(batches) } else { Err(ErrorCode::InvalidProducerIdMapping) }
}

/// What the batches of transactions are appended with, or why they are not, by their place in the request.
type Entries = BTreeMap<usize, Result<Option<Guard>, AppendFailure>>;

/// Asks about those of the batches that begin a transaction in their partition. Later requests of the connection wait for it, so that
/// none goes ahead.
async fn enter(
    context: &RequestContext,
    request: &ProduceRequest,
    batches: &[(usize, FirstBatch)],
) -> Entries {
    let view = context.shard.view();
    let named = request.topics.iter().flat_map(|topic| {
        let found = topics::find(&view, &topic.topic);
        topic.partitions.iter().map(move |partition| (found, partition.index))
    });
    let named: Vec<_> = named.collect();
    let mut places = Vec::with_capacity(batches.len());
    let mut firsts = Vec::with_capacity(batches.len());
    for (place, batch) in batches {
        // What is not there is refused when it is dispatched.
        let (Ok(topic), index) = named[*place] else { continue };
        let Ok(route) = view.route(topic, index) else { continue };
        places.push(*place);
        firsts.push(First { topic: &topic.name, route, batch: *batch });
    }
    let rules = Rules::of_produce(context.version());
    let id = request.transactional_id.as_ref().map_or("", |id| id.as_str());
    let entries = enlist(context, id, rules, &firsts).await.into_iter();
    let entries = entries.map(|entry| entry.map_err(|failure| as_produce_failure(failure, rules)));
    places.into_iter().zip(entries).collect()
}

async fn dispatch(
    context: &RequestContext,
    mut request: ProduceRequest,
    durability: Durability,
    mut entries: Entries,
) -> Sent {
    let view = context.shard.view();
    let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut groups = Grouped::new(count);
    let mut places = Vec::with_capacity(count);
    for topic in &mut request.topics {
        let found = topics::find(&view, &topic.topic);
        let settings = found.ok().map(|topic| context.shard.settings.of(&view, topic)).unwrap_or_default();
        for partition in &mut topic.partitions {
            let records = partition.records.take();
            let route = found.and_then(|topic| view.route(topic, partition.index));
            let entry = entries.remove(&places.len()).unwrap_or(Ok(None));
            let part = match (route, records, entry) {
                (Ok(route), Some(records), Ok(guard)) => {
                    let verdict = judge_early(context, &records, &settings).await.map(Box::new);
                    Ok((route.shard, AppendPart { key: route.key, records, verdict, guard }))
                }
                (Ok(_), _, Err(failure)) => Err(failure),
                (Ok(_), None, _) => Err(ErrorCode::InvalidRecord.into()),
                (Err(code), _, _) => Err(code.into()),
            };
            places.push(match part {
                Ok((shard, part)) => {
                    groups.push(shard, places.len(), part);
                    Place::Sent
                }
                Err(failure) => Place::Refused(failure),
            });
        }
    }
    let produce_version = context.version();
    context.wait_in(Stage::Validate, Stage::FlushQueue, context.shard.owner.writable()).await;
    let call = |parts| PartitionCall::Append(Append { parts, produce_version, durability });
    let groups = groups.dispatch(&context.shard.router, call).await;
    Sent { request, places, groups }
}

/// The verdict on records that must be looked at, before they go to their partition; later requests of the connection wait for it.
async fn judge_early(
    context: &RequestContext,
    records: &Bytes,
    settings: &Rc<PartitionSettings>,
) -> Option<Verdict> {
    let (version, now_ms) = (context.version(), context.shard.rt.wall_ms());
    if !needs_judging(records, settings, version, now_ms) {
        return None;
    }
    if !is_large(records, settings) {
        return Some(judge(records, settings, version, now_ms));
    }
    let (records, settings) = (records.clone(), PartitionSettings::clone(settings));
    let judging = context.shard.rt.compute(move || judge(&records, &settings, version, now_ms));
    Some(judging.await.unwrap_or_else(|panicked| panic!("judging records: {panicked:?}")))
}

/// Waits for what became of the records, one outcome a part, and notes where the time went.
async fn collect(
    context: &RequestContext,
    groups: DispatchedGroups,
) -> Vec<Option<Result<AppendedAt, AppendFailure>>> {
    let mut slowest = SlowestAppend::default();
    let take = |answer, visit| {
        let (outcomes, times) = appended(answer);
        slowest.note(times, visit);
        outcomes
    };
    let outcomes = groups.collect_visits(take).await;
    context.time(|stages| stages.appended(&slowest));
    outcomes
}

async fn finish(context: RequestContext, sent: Sent) -> Result<Answer, WireError> {
    let mut outcomes = collect(&context, sent.groups).await.into_iter();
    let mut places = sent.places.into_iter();
    let mut refusals = Refusals { context: &context, room_bytes: FAULTS_BYTES_MAX };
    let mut outcome = |topic: &TopicRef, index| match (places.next(), outcomes.next().flatten()) {
        (Some(Place::Refused(failure)), _) => refusals.outcome(topic, index, failure),
        (_, Some(Ok(at))) => appended_outcome(index, &at),
        (_, Some(Err(failure))) => refusals.outcome(topic, index, failure),
        (_, None) => unreachable!("every partition was refused or sent"),
    };
    let topics = sent.request.topics.into_iter().map(|topic: ProduceTopic| TopicOutcome {
        partitions: topic.partitions.iter().map(|partition| outcome(&topic.topic, partition.index)).collect(),
        topic: topic.topic,
    });
    answer(&context, topics.collect())
}

/// With acks 0 there is no response; an error closes the connection, so that the producer looks again.
async fn finish_unanswered(context: RequestContext, sent: Sent) -> Result<Answer, WireError> {
    let refused = sent.places.iter().any(|place| matches!(place, Place::Refused(_)));
    let outcomes = collect(&context, sent.groups).await;
    let failed = outcomes.iter().flatten().any(Result::is_err);
    Ok(if refused || failed { Answer::Close } else { Answer::Silence })
}

fn appended_outcome(index: i32, at: &AppendedAt) -> PartitionOutcome {
    PartitionOutcome::appended(index, at.base_offset.0, at.log_append_time_ms, at.log_start_offset.0)
}

/// Telling what was refused.
struct Refusals<'a> {
    context: &'a RequestContext,
    /// What the words on records at fault may still take, beside those on the first of each partition.
    room_bytes: usize,
}

impl Refusals<'_> {
    fn outcome(&mut self, topic: &TopicRef, index: i32, failure: AppendFailure) -> PartitionOutcome {
        let mut outcome = PartitionOutcome {
            log_start_offset: failure.log_start_offset.0,
            error_message: failure.message,
            ..PartitionOutcome::failed(index, failure.code)
        };
        if let Some(faults) = failure.records {
            let view = self.context.shard.view();
            let name = topics::find(&view, topic).map_or("", |topic| &topic.name);
            outcome.error_message = Some(summary(&faults, name, index));
            outcome.record_errors = self.record_errors(&faults, name, index);
        }
        outcome
    }

    /// The first record at fault, and of the others as many as there is room for.
    fn record_errors(&mut self, faults: &RecordFaults, topic: &str, partition: i32) -> Vec<RecordError> {
        let mut errors = Vec::new();
        for fault in &faults.listed {
            let message = fault_words(faults, fault, topic, partition);
            if !errors.is_empty() {
                let Some(room_bytes) = self.room_bytes.checked_sub(message.len()) else { break };
                self.room_bytes = room_bytes;
            }
            errors.push(RecordError { batch_index: fault.index, message: Some(message) });
        }
        errors
    }
}

fn refuse_all(
    context: &RequestContext,
    request: &ProduceRequest,
    code: ErrorCode,
) -> Result<Answer, WireError> {
    if request.acks == 0 {
        return Ok(Answer::Close);
    }
    let view = context.shard.view();
    let topics = request.topics.iter().map(|topic| {
        // What is not there is told first, as in Kafka.
        let code = topics::find(&view, &topic.topic).err().unwrap_or(code);
        let failed = topic.partitions.iter().map(|partition| PartitionOutcome::failed(partition.index, code));
        TopicOutcome { topic: topic.topic.clone(), partitions: failed.collect() }
    });
    answer(context, topics.collect())
}

/// The answer, in which a topic of no partitions does not come.
fn answer(context: &RequestContext, mut topics: Vec<TopicOutcome>) -> Result<Answer, WireError> {
    topics.retain(|topic| !topic.partitions.is_empty());
    context.panic_if(Mutant::PanicInAnswer);
    let outcomes = topics.iter().flat_map(|topic| &topic.partitions);
    outcomes.for_each(|outcome| context.count_error(outcome.error));
    let response = ProduceResponse { topics, ..ProduceResponse::default() };
    let frame = encode_response(context.head.correlation_id, context.version(), &response)?;
    Ok(Answer::Frame(VecDeque::from([frame])))
}
