//! Fetch: the connection's shard owns the request. It asks the owners what is readable, decides on min and max bytes, hands
//! out budgets in request order, and has the owners read; while too little is there it waits, woken by what changes that.
//! After Kafka's `KafkaApis.handleFetchRequest`, `ReplicaManager.fetchMessages` and `DelayedFetch`.

mod plan;
mod request;

use super::{Later, RequestContext, done};
use crate::metrics::{Stage, Visit};
use crate::partition::{Isolation, Probed};
use crate::purgatory::{WakeSlot, wake_slot};
use crate::shard::calls::{
    FetchPart, PartitionAnswer, PartitionCall, Probe, ReadPart, ReadPartAnswer, WatchOrder,
};
use crate::shard::router::{DispatchedGroups, Grouped, probed, read};
use crate::shard::sessions::{FetchContext, SessionAnswer, SessionTopic};
use crate::shard::view::Route;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_net::wire::fetch::{
    AbortedTransaction, EpochEnd, FetchResponse, FetchedPartition, FetchedTopic, encode_response, parse,
};
use hayate_net::wire::topic::TopicRef;
use hayate_rt::MonoTime;
use hayate_rt::timer::Elapsed;
use kafka_protocol::protocol::StrBytes;
use plan::{Budgets, Decision};
use request::Bounds;
use std::collections::BTreeSet;

/// One partition of the request: where it is, or why it is not read.
type Target = Result<(Route, FetchPart), ErrorCode>;

/// Settles the session, in the order of the connection; the fetch itself comes later.
pub(super) fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    let decoded_bytes_max = context.spec.decoded_bytes_max(body.len());
    let request = parse(context.version(), body, decoded_bytes_max)?;
    let Some(isolation) = Isolation::from_level(request.isolation_level) else {
        return Ok(done(answer_error(&context, ErrorCode::InvalidRequest)));
    };
    // Whatever answers are asked to hold, several peers' fit at a time.
    let bytes_max = context.shard.options.fetch_bytes_max.min(context.shard.answers.share_bytes());
    let bounds = Bounds::of(&request, bytes_max, isolation);
    let is_replica = request::is_replica(&request);
    let session = request::session_request(request, context.version());
    let begun = context.shard.sessions.borrow_mut().begin(session, context.begun);
    Ok(match begun {
        Ok(session) => Box::pin(serve(context, session, bounds, is_replica)),
        Err(code) => done(answer_error(&context, code)),
    })
}

async fn serve(
    context: RequestContext,
    session: FetchContext,
    bounds: Bounds,
    is_replica: bool,
) -> Result<Answer, WireError> {
    let targets = targets(&context, &session, bounds.isolation, is_replica);
    let probes = wait_for_enough(&context, &targets, &bounds).await;
    // One answer with records is sent while the next is read: no connection holds more, however it pipelines.
    context.wait_in(Stage::Read, Stage::Respond, context.connection.turn(context.ticket)).await;
    let budgets = Budgets::plan(session.wanted(), &probes, bounds.max_bytes);
    let bytes = budgets.bytes(&probes);
    let room = context.connection.acquire_answer(context.ticket, bytes);
    if bytes > 0 && !context.wait_in(Stage::Read, Stage::Respond, room).await {
        return Ok(Answer::Close);
    }
    let reads = read_all(&context, &targets, &budgets).await;
    let (rt, now) = (&context.shard.rt, context.shard.rt.now());
    context.time(|stages| stages.until(Stage::Read, now));
    let answers = assemble(&session, probes, reads, bounds.max_bytes, bounds.isolation);
    let finished = context.shard.sessions.borrow_mut().finish(session, answers, || rt.random_u64(), now);
    match finished {
        Ok(answer) => encode(&context, ErrorCode::None, answer),
        Err(code) => answer_error(&context, code),
    }
}

/// Where each wanted partition is. This node has no followers yet, so that a fetch by a replica finds no leader here.
fn targets(
    context: &RequestContext,
    session: &FetchContext,
    isolation: Isolation,
    is_replica: bool,
) -> Vec<Target> {
    let view = context.shard.view();
    let target = |(key, wanted): &(crate::shard::sessions::SessionKey, crate::shard::sessions::Wanted)| {
        let topic = match &key.topic {
            SessionTopic::Name(name) => view.topic_by_name(name),
            SessionTopic::Id(id) => view.topic_by_id(id),
        }?;
        let route = view.route(topic, key.partition)?;
        if is_replica {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let counted_bytes_max = u64::try_from(wanted.max_bytes).unwrap_or(0).max(1);
        let from = request::fetch_from(wanted, isolation);
        Ok((route, FetchPart { key: route.key, from, counted_bytes_max }))
    };
    session.wanted().iter().map(target).collect()
}

/// Probes until there is enough to answer, something went wrong, or the client's patience is over.
async fn wait_for_enough(
    context: &RequestContext,
    targets: &[Target],
    bounds: &Bounds,
) -> Vec<Result<Probed, ErrorCode>> {
    let deadline = context.begun + bounds.max_wait;
    let shards: BTreeSet<_> = targets.iter().flatten().map(|(route, _)| route.shard).collect();
    let mut delayed = false;
    loop {
        let (slot, waiter) = wake_slot();
        let patient = is_patient(context, deadline);
        let probes =
            probe_all(context, targets, bounds, patient.then_some((slot, shards.len() as u64))).await;
        let decision = plan::decide(targets, &probes, bounds);
        if !patient || decision == Decision::Answer {
            return probes;
        }
        if !std::mem::replace(&mut delayed, true) {
            context.shard.rt.reached("fetch delayed");
        }
        let now = context.shard.rt.now();
        context.time(|stages| stages.until(Stage::Read, now));
        let left = deadline.since(now);
        let waiting = context.shard.rt.timeout(left, waiter.woken());
        context.shard.fetch_waits(true);
        let woken = context.connection.interrupted().unless(waiting).await;
        context.shard.fetch_waits(false);
        context.time(|stages| stages.until(Stage::Wait, context.shard.rt.now()));
        if woken == Some(Err(Elapsed)) {
            context.shard.metrics.expired_fetches.add(1);
        }
    }
}

fn is_patient(context: &RequestContext, deadline: MonoTime) -> bool {
    context.shard.rt.now() < deadline && !context.connection.interrupted().is_set()
}

async fn probe_all(
    context: &RequestContext,
    targets: &[Target],
    bounds: &Bounds,
    watch: Option<(WakeSlot, u64)>,
) -> Vec<Result<Probed, ErrorCode>> {
    let mut groups = Grouped::new(targets.len());
    for (place, target) in targets.iter().enumerate() {
        if let Ok((route, part)) = target {
            groups.push(route.shard, place, *part);
        }
    }
    let order = |(slot, shards): &(WakeSlot, u64)| WatchOrder {
        slot: slot.clone(),
        min_bytes: bounds.min_bytes,
        shards: *shards,
    };
    let call = |parts| PartitionCall::Probe(Probe { parts, watch: watch.as_ref().map(order) });
    let dispatched = groups.dispatch(&context.shard.router, call).await;
    let outcomes = collect(context, dispatched, probed).await;
    let merge = |(target, outcome): (&Target, Option<Result<Probed, ErrorCode>>)| match (target, outcome) {
        (Err(code), _) => Err(*code),
        (Ok(_), Some(outcome)) => outcome,
        (Ok(_), None) => Err(ErrorCode::UnknownServerError),
    };
    targets.iter().zip(outcomes).map(merge).collect()
}

async fn read_all(
    context: &RequestContext,
    targets: &[Target],
    budgets: &Budgets,
) -> Vec<Option<Result<ReadPartAnswer, ErrorCode>>> {
    let mut groups = Grouped::new(targets.len());
    for (place, (target, budget)) in targets.iter().zip(budgets.iter()).enumerate() {
        if let (Ok((route, part)), Some(budget)) = (target, budget) {
            let (max_bytes, at_least_one) = (budget.max_bytes, budget.at_least_one);
            groups.push(route.shard, place, ReadPart { part: *part, max_bytes, at_least_one });
        }
    }
    let dispatched = groups.dispatch(&context.shard.router, PartitionCall::Read).await;
    collect(context, dispatched, read).await
}

/// Waits for the owners' answers, and notes the time that went into the longest way to another shard.
async fn collect<T>(
    context: &RequestContext,
    dispatched: DispatchedGroups,
    take: impl Fn(PartitionAnswer) -> Vec<T>,
) -> Vec<Option<T>> {
    let mut longest: Option<Visit> = None;
    let note = |answer, visit: Option<Visit>| {
        longest = [longest, visit].into_iter().flatten().max_by_key(Visit::hop);
        take(answer)
    };
    let outcomes = dispatched.collect_visits(note).await;
    if let Some(visit) = longest {
        context.time(|stages| stages.visited(&visit));
    }
    outcomes
}

/// The partitions' answers, in request order. A first batch larger than its budget takes from those behind it.
fn assemble(
    session: &FetchContext,
    probes: Vec<Result<Probed, ErrorCode>>,
    reads: Vec<Option<Result<ReadPartAnswer, ErrorCode>>>,
    max_bytes: usize,
    isolation: Isolation,
) -> Vec<FetchedPartition> {
    let mut left_bytes = max_bytes;
    let mut answers = Vec::with_capacity(probes.len());
    for (((key, _), probe), outcome) in session.wanted().iter().zip(probes).zip(reads) {
        let outcome = match (probe, outcome) {
            (Err(code), _) | (Ok(_), Some(Err(code))) => Err(code),
            (Ok(probed), None) => Ok(ReadPartAnswer { probed, records: Vec::new(), aborted: Vec::new() }),
            (Ok(_), Some(Ok(answer))) => Ok(answer),
        };
        answers.push(match outcome {
            Err(code) => refused(key.partition, code),
            Ok(mut answer) => {
                let bytes: usize = answer.records.iter().map(Bytes::len).sum();
                let is_first = left_bytes == max_bytes;
                if is_first || bytes <= left_bytes {
                    left_bytes = left_bytes.saturating_sub(bytes);
                } else {
                    (answer.records, answer.aborted) = (Vec::new(), Vec::new());
                }
                fetched(key.partition, answer, isolation)
            }
        });
    }
    answers
}

/// What is not there at all has no aborted transactions either; of what is there and cannot be read, Kafka does not say.
fn refused(index: i32, code: ErrorCode) -> FetchedPartition {
    let is_unknown = matches!(code, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId);
    let aborted_transactions = is_unknown.then(Vec::new);
    FetchedPartition { aborted_transactions, ..FetchedPartition::failed(index, code) }
}

fn fetched(index: i32, answer: ReadPartAnswer, isolation: Isolation) -> FetchedPartition {
    let ReadPartAnswer { probed, records, aborted } = answer;
    let aborted = aborted.iter().map(|aborted| AbortedTransaction {
        producer_id: aborted.producer_id.0,
        first_offset: aborted.first_offset.0,
    });
    FetchedPartition {
        high_watermark: probed.high_watermark.0,
        last_stable_offset: probed.last_stable.0,
        log_start_offset: probed.log_start.0,
        diverging_epoch: probed.diverging.map(|(epoch, end)| EpochEnd { epoch: epoch.0, end_offset: end.0 }),
        aborted_transactions: (isolation == Isolation::Committed).then(|| aborted.collect()),
        records,
        ..FetchedPartition::empty(index)
    }
}

fn answer_error(context: &RequestContext, code: ErrorCode) -> Result<Answer, WireError> {
    encode(context, code, SessionAnswer { session_id: 0, partitions: Vec::new() })
}

fn encode(context: &RequestContext, error: ErrorCode, answer: SessionAnswer) -> Result<Answer, WireError> {
    let mut topics: Vec<FetchedTopic> = Vec::new();
    let mut last: Option<SessionTopic> = None;
    context.count_error(error);
    for (key, partition) in answer.partitions {
        context.count_error(partition.error);
        let records_bytes: usize = partition.records.iter().map(Bytes::len).sum();
        context.shard.metrics.fetched_bytes.add(records_bytes as u64);
        match topics.last_mut() {
            Some(topic) if last.as_ref() == Some(&key.topic) => topic.partitions.push(partition),
            _ => {
                topics.push(FetchedTopic { topic: topic_ref(&key.topic), partitions: vec![partition] });
                last = Some(key.topic);
            }
        }
    }
    // Below version 7 there is neither a session nor an error of the whole.
    let session_id = if context.version() >= 7 { answer.session_id } else { 0 };
    let response = FetchResponse { error, session_id, topics, ..FetchResponse::default() };
    let frame = encode_response(context.head.correlation_id, context.version(), response)?;
    Ok(Answer::Frame(frame.into()))
}

fn topic_ref(topic: &SessionTopic) -> TopicRef {
    match topic {
        SessionTopic::Name(name) => TopicRef::Name(StrBytes::from_string(name.to_string())),
        SessionTopic::Id(id) => TopicRef::Id(*id),
    }
}
