//! One producer on one connection: which records go into which request, and what their answers say. Pure: the time is given.
//!
//! A producer has lanes, one a partition of one of the load's topics, each with its own pace. A lane's records are gathered into a batch until it is full or the first
//! of them has waited for `linger`; a request carries at most one batch of each lane, as Kafka's client does.

use super::{Place, Topics};
use crate::gauge::Gauge;
use crate::pace::Pace;
use crate::payload::{Payload, stamp};
use bytes::{Bytes, BytesMut};
use hayate_net::wire::produce::{ProducePartition, ProduceRequest, ProduceTopic};
use hayate_storage::batch::{BatchBuilder, Codec, ProducerId, sequence_plus};
use kafka_protocol::messages::ProduceResponse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// First version of Produce that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// Buffers that a lane keeps to write into again.
const SPARE_MAX: usize = 8;

/// How producers produce; the names are Kafka's settings.
#[derive(Clone, Debug)]
pub struct Manner {
    /// `acks`: 1 or −1. Without answers there is nothing to measure.
    pub acks: i16,
    /// `batch.size`, bytes of values and what surrounds them.
    pub batch_bytes: usize,
    /// `linger.ms`, in nanoseconds.
    pub linger: u64,
    /// `max.in.flight.requests.per.connection`, 1 or more.
    pub in_flight_max: usize,
    /// `max.request.size`, bytes of all batches of a request.
    pub request_bytes_max: usize,
    /// `request.timeout.ms`
    pub timeout_ms: i32,
    /// `compression.type`
    pub codec: Codec,
    /// Different keys, 0 for none.
    pub keys: u64,
    /// From when on nothing new is sent, in nanoseconds.
    pub end: u64,
    /// Records that were meant to be sent before are not measured.
    pub measured_from: u64,
}

struct Lane {
    place: Place,
    pace: Pace,
    /// Records that were put into batches.
    sent: u64,
    sequence: i32,
    spare: Vec<BytesMut>,
}

/// Records of one lane in a request that is under way.
struct Part {
    lane: usize,
    first: u64,
    count: u32,
    value_bytes: u64,
    /// When it was made, which is what counts for a lane without times.
    made_at: u64,
    batch: Bytes,
}

/// A producer's part of one connection.
pub struct Producer {
    topics: Arc<Topics>,
    version: i16,
    manner: Manner,
    id: Option<(ProducerId, i16)>,
    payload: Payload,
    lanes: Vec<Lane>,
    /// The lane that is looked at first.
    turn: usize,
    in_flight: VecDeque<Vec<Part>>,
}

impl Producer {
    /// With lanes of these partitions; `version` is that of Produce, `id` that of an idempotent producer.
    pub fn new(
        topics: Arc<Topics>,
        version: i16,
        manner: Manner,
        id: Option<(ProducerId, i16)>,
        payload: Payload,
        lanes: impl IntoIterator<Item = (Place, Pace)>,
    ) -> Producer {
        let lanes = lanes.into_iter().map(|(place, pace)| Lane {
            place,
            pace,
            sent: 0,
            sequence: 0,
            spare: Vec::new(),
        });
        let lanes = lanes.collect();
        Producer { topics, version, manner, id, payload, lanes, turn: 0, in_flight: VecDeque::new() }
    }

    /// The version of its requests.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The next request, if one is to be sent now; `wall_ms` is what its records carry.
    pub fn next(&mut self, now: u64, wall_ms: i64) -> Option<ProduceRequest> {
        if self.in_flight.len() >= self.manner.in_flight_max {
            return None;
        }
        let (mut parts, mut bytes) = (Vec::new(), 0);
        for step in 0..self.lanes.len() {
            let lane = (self.turn + step) % self.lanes.len();
            if bytes >= self.manner.request_bytes_max {
                self.turn = lane;
                break;
            }
            if let Some(part) = self.batch(lane, now, wall_ms) {
                bytes += part.batch.len();
                parts.push(part);
            }
        }
        if parts.is_empty() {
            return None;
        }
        let topics = self.by_topic(&parts);
        let (acks, timeout_ms) = (self.manner.acks, self.manner.timeout_ms);
        self.in_flight.push_back(parts);
        Some(ProduceRequest { transactional_id: None, acks, timeout_ms, topics })
    }

    /// Batches as a request holds them.
    fn by_topic(&self, parts: &[Part]) -> Vec<ProduceTopic> {
        let mut by_topic: BTreeMap<usize, Vec<ProducePartition>> = BTreeMap::new();
        for part in parts {
            let Place { topic, partition: index } = self.lanes[part.lane].place;
            let partition = ProducePartition { index, records: Some(part.batch.clone()) };
            by_topic.entry(topic).or_default().push(partition);
        }
        let by_id = self.version >= TOPIC_IDS_SINCE;
        let named =
            |(topic, partitions)| ProduceTopic { topic: self.topics.get(topic).reference(by_id), partitions };
        by_topic.into_iter().map(named).collect()
    }

    /// A lane's next batch, if it is full or due.
    fn batch(&mut self, number: usize, now: u64, wall_ms: i64) -> Option<Part> {
        let lane = &mut self.lanes[number];
        let due = lane.pace.due(now, self.manner.end).saturating_sub(lane.sent);
        if due == 0 || !is_ready(lane, due, now, &self.manner, &self.payload) {
            return None;
        }
        let first = lane.sent;
        let mut builder = BatchBuilder::with_buffer(lane.spare.pop().unwrap_or_default());
        builder = builder.codec(self.manner.codec);
        if let Some((id, epoch)) = self.id {
            builder = builder.producer(id, epoch, lane.sequence);
        }
        let (mut count, mut value_bytes) = (0_u32, 0);
        while u64::from(count) < due
            && (count == 0 || builder.plain_bytes() + self.payload.peek_bytes() <= self.manner.batch_bytes)
        {
            let record = first + u64::from(count);
            let value = self.payload.draw();
            stamp(value, lane.pace.intended(record, now));
            let key = (self.manner.keys > 0).then(|| (record % self.manner.keys).to_be_bytes());
            builder.append(wall_ms, key.as_ref().map(<[u8; 8]>::as_slice), Some(value), &[]);
            value_bytes += value.len() as u64;
            count += 1;
        }
        lane.sent += u64::from(count);
        lane.sequence = sequence_plus(lane.sequence, count.cast_signed());
        Some(Part { lane: number, first, count, value_bytes, made_at: now, batch: builder.build() })
    }

    /// The answer to the oldest request that awaits one. Returns the records that were acknowledged.
    ///
    /// # Errors
    /// The answer is to another request, in words.
    pub fn on_answer(
        &mut self,
        now: u64,
        response: &ProduceResponse,
        gauge: &mut Gauge,
    ) -> Result<u64, String> {
        let parts = self.in_flight.pop_front().ok_or("an answer that nobody asked for")?;
        let told = codes(&self.topics, response)?;
        let mut acknowledged = 0;
        for part in parts {
            let place = self.lanes[part.lane].place;
            let missing =
                || format!("an answer without {}-{}", self.topics.get(place.topic).name, place.partition);
            match *told.get(&place).ok_or_else(missing)? {
                0 => acknowledged += self.note(now, &part, gauge),
                code => *gauge.refused.entry(code).or_default() += u64::from(part.count),
            }
            self.recycle(part);
        }
        Ok(acknowledged)
    }

    /// Notes the records of an acknowledged batch, each by its own time.
    fn note(&self, now: u64, part: &Part, gauge: &mut Gauge) -> u64 {
        let lane = &self.lanes[part.lane];
        let count = u64::from(part.count);
        if lane.pace.intended(part.first, part.made_at) < self.manner.measured_from {
            return count;
        }
        match lane.pace {
            Pace::Closed { .. } => gauge.note(now.saturating_sub(part.made_at), count),
            Pace::Open { .. } => {
                for record in part.first..part.first + count {
                    gauge.note(now.saturating_sub(lane.pace.intended(record, now)), 1);
                }
            }
        }
        gauge.records += count;
        gauge.bytes += part.value_bytes;
        count
    }

    /// Takes back the memory of a batch that nobody reads any more.
    fn recycle(&mut self, part: Part) {
        let spare = &mut self.lanes[part.lane].spare;
        if spare.len() < SPARE_MAX
            && let Ok(buffer) = part.batch.try_into_mut()
        {
            spare.push(buffer);
        }
    }

    /// When it wants to be asked again, unless an answer comes before; `None` while it waits for one.
    pub fn wake_at(&self, now: u64) -> Option<u64> {
        let is_over = |lane: &Lane| lane.sent >= lane.pace.due(now, self.manner.end);
        let has_all = now >= self.manner.end && self.lanes.iter().all(is_over);
        if has_all || self.in_flight.len() >= self.manner.in_flight_max {
            return None;
        }
        self.lanes.iter().filter_map(|lane| ready_at(lane, &self.manner, &self.payload)).min()
    }

    /// Whether nothing is to come and nothing is under way.
    pub fn is_done(&self, now: u64) -> bool {
        let is_sent = |lane: &Lane| lane.sent >= lane.pace.due(now, self.manner.end);
        now >= self.manner.end && self.in_flight.is_empty() && self.lanes.iter().all(is_sent)
    }

    /// Records that were sent, and not acknowledged yet.
    pub fn unanswered(&self) -> u64 {
        self.in_flight.iter().flatten().map(|part| u64::from(part.count)).sum()
    }
}

/// What an answer says of each partition.
fn codes(topics: &Topics, response: &ProduceResponse) -> Result<BTreeMap<Place, i16>, String> {
    let mut codes = BTreeMap::new();
    for answer in &response.responses {
        let topic = topics.find(answer.topic_id, &answer.name)?;
        for told in &answer.partition_responses {
            codes.insert(Place { topic, partition: told.index }, told.error_code);
        }
    }
    Ok(codes)
}

/// How many of the next records fill a batch, about.
fn records_of_full_batch(manner: &Manner, payload: &Payload) -> u64 {
    (manner.batch_bytes / (payload.peek_bytes() + 8)).max(1) as u64
}

fn is_ready(lane: &Lane, due: u64, now: u64, manner: &Manner, payload: &Payload) -> bool {
    let waited = now.saturating_sub(lane.pace.intended(lane.sent, now));
    let is_last = now >= manner.end;
    matches!(lane.pace, Pace::Closed { .. })
        || is_last
        || waited >= manner.linger
        || due >= records_of_full_batch(manner, payload)
}

fn ready_at(lane: &Lane, manner: &Manner, payload: &Payload) -> Option<u64> {
    let first = lane.pace.intended(lane.sent, 0);
    if first >= manner.end {
        return None;
    }
    let full = lane.pace.intended(lane.sent + records_of_full_batch(manner, payload) - 1, 0);
    Some(full.min(first.saturating_add(manner.linger)).min(manner.end))
}

#[cfg(test)]
mod tests {
    use super::{Manner, Producer};
    use crate::clock::SECOND;
    use crate::gauge::Gauge;
    use crate::load::{Place, Topic, Topics};
    use crate::pace::Pace;
    use crate::payload::{Payload, Sizes, stamped};
    use hayate_net::wire::produce::ProduceRequest;
    use hayate_storage::batch::records::{Records, body};
    use hayate_storage::batch::{BatchHeader, Codec, ProducerId};
    use kafka_protocol::messages::ProduceResponse;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
    use kafka_protocol::protocol::StrBytes;
    use std::sync::Arc;

    const MS: u64 = 1_000_000;

    fn manner() -> Manner {
        Manner {
            acks: -1,
            batch_bytes: 1000,
            linger: 5 * MS,
            in_flight_max: 2,
            request_bytes_max: 1 << 20,
            timeout_ms: 30_000,
            codec: Codec::None,
            keys: 0,
            end: 10 * SECOND,
            measured_from: 0,
        }
    }

    fn producer(manner: Manner, lanes: Vec<(i32, Pace)>) -> Producer {
        let payload = Payload::new(Sizes { min: 100, max: 100 }, 1.0, 1);
        let lanes = lanes.into_iter().map(|(partition, pace)| (Place { topic: 0, partition }, pace));
        Producer::new(topics(&["t"]), 12, manner, Some((ProducerId(9), 0)), payload, lanes)
    }

    fn topics(names: &[&str]) -> Arc<Topics> {
        let topic = |name: &&str| Topic { name: (*name).to_owned(), id: uuid::Uuid::nil() };
        Arc::new(Topics::new(names.iter().map(topic).collect()))
    }

    fn open(per_second: f64) -> Pace {
        Pace::Open { start: 0, per_second }
    }

    fn answer(request: &ProduceRequest, code: i16) -> ProduceResponse {
        let partition = |index| PartitionProduceResponse::default().with_index(index).with_error_code(code);
        let partitions = request.topics[0].partitions.iter().map(|each| partition(each.index));
        ProduceResponse::default().with_responses(vec![about("t", partitions.collect())])
    }

    fn about(name: &'static str, partitions: Vec<PartitionProduceResponse>) -> TopicProduceResponse {
        let name = TopicName(StrBytes::from_static_str(name));
        TopicProduceResponse::default().with_name(name).with_partition_responses(partitions)
    }

    #[test]
    fn a_request_holds_several_topics_and_answers_are_told_apart() {
        let lane = |topic, partition| (Place { topic, partition }, Pace::Closed { start: 0 });
        let payload = Payload::new(Sizes { min: 100, max: 100 }, 1.0, 1);
        let lanes = [lane(0, 0), lane(1, 0), lane(0, 1)];
        let mut one = Producer::new(topics(&["a", "b"]), 12, manner(), None, payload, lanes);
        let request = one.next(0, 0).expect("at once");
        let sent: Vec<usize> = request.topics.iter().map(|topic| topic.partitions.len()).collect();
        assert_eq!(sent, [2, 1]);
        let partition =
            |index, code| PartitionProduceResponse::default().with_index(index).with_error_code(code);
        let answers =
            vec![about("b", vec![partition(0, 6)]), about("a", vec![partition(0, 0), partition(1, 0)])];
        let mut gauge = Gauge::default();
        let response = ProduceResponse::default().with_responses(answers);
        assert_eq!(one.on_answer(1, &response, &mut gauge), Ok(16));
        assert_eq!(gauge.refused.into_iter().collect::<Vec<_>>(), [(6, 8)]);
        one.next(1, 0).expect("at once");
        let strange = ProduceResponse::default().with_responses(vec![about("c", vec![])]);
        assert!(one.on_answer(2, &strange, &mut Gauge::default()).is_err());
    }

    /// Partition, records, base sequence, and the stamps of the values.
    fn content(request: &ProduceRequest) -> Vec<(i32, i32, i32, Vec<u64>)> {
        let partitions = request.topics[0].partitions.iter().map(|partition| {
            let batch = partition.records.as_ref().expect("records");
            let header = BatchHeader::parse(batch).expect("a batch");
            let plain = body(batch, &header, 1 << 20).expect("readable");
            let stamps = Records::new(&header, &plain)
                .expect("countable")
                .map(|record| stamped(record.expect("a record").value.expect("a value")).expect("a stamp"));
            (partition.index, header.records_count, header.base_sequence, stamps.collect())
        });
        partitions.collect()
    }

    #[test]
    fn a_batch_waits_for_linger_and_holds_what_is_due_by_then() {
        let mut one = producer(manner(), vec![(3, open(1000.0))]);
        assert_eq!(one.wake_at(0), Some(5 * MS));
        assert!(one.next(5 * MS - 1, 0).is_none());
        let request = one.next(5 * MS, 0).expect("due");
        assert_eq!(content(&request), [(3, 6, 0, (0..6).map(|ms| ms * MS).collect())]);
        assert_eq!(one.wake_at(0), Some(11 * MS));
        let request = one.next(11 * MS, 0).expect("due");
        assert_eq!(content(&request), [(3, 6, 6, (6..12).map(|ms| ms * MS).collect())]);
        assert_eq!(one.wake_at(0), None, "two are under way");
        assert!(one.next(20 * MS, 0).is_none());
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let mut one = producer(manner(), vec![(0, open(100_000.0))]);
        let at = one.wake_at(0).expect("a time");
        assert!(at < 5 * MS, "{at}");
        let request = one.next(at, 0).expect("full");
        assert!((8..=9).contains(&content(&request)[0].1));
    }

    #[test]
    fn latencies_count_from_when_records_were_meant_to_be_sent() {
        let mut one = producer(manner(), vec![(0, open(1000.0))]);
        let request = one.next(5 * MS, 0).expect("due");
        let mut gauge = Gauge::default();
        assert_eq!(one.on_answer(50 * MS, &answer(&request, 0), &mut gauge), Ok(6));
        assert_eq!((gauge.records, gauge.bytes, gauge.latencies.len()), (6, 600, 6));
        let about = |at: u64, due: u64| at.abs_diff(due) <= due / 500;
        assert!(about(gauge.latencies.max(), 50 * MS) && about(gauge.latencies.min(), 45 * MS));
    }

    #[test]
    fn what_is_refused_is_counted_by_its_code_and_what_warms_up_is_not_measured() {
        let mut one = producer(Manner { measured_from: SECOND, ..manner() }, vec![(0, open(1000.0))]);
        let mut gauge = Gauge::default();
        let request = one.next(5 * MS, 0).expect("due");
        assert_eq!(one.on_answer(6 * MS, &answer(&request, 0), &mut gauge), Ok(6));
        assert!(gauge.is_empty());
        let request = one.next(20 * MS, 0).expect("due");
        assert_eq!(one.on_answer(21 * MS, &answer(&request, 6), &mut gauge), Ok(0));
        assert_eq!(gauge.refused.into_iter().collect::<Vec<_>>(), [(6, 8)]);
    }

    #[test]
    fn a_closed_loop_fills_what_it_may_and_ends_in_time() {
        let mut one =
            producer(manner(), vec![(0, Pace::Closed { start: 0 }), (1, Pace::Closed { start: 0 })]);
        let first = one.next(0, 0).expect("at once");
        assert_eq!(content(&first).iter().map(|part| (part.0, part.1)).collect::<Vec<_>>(), [(0, 8), (1, 8)]);
        let second = one.next(0, 0).expect("another");
        assert!(one.next(0, 0).is_none(), "two are under way");
        let mut gauge = Gauge::default();
        for request in [first, second] {
            one.on_answer(MS, &answer(&request, 0), &mut gauge).expect("the answer");
        }
        assert_eq!(one.wake_at(10 * SECOND), None, "nothing is to come");
        assert!(!one.is_done(MS) && one.next(10 * SECOND, 0).is_none() && one.is_done(10 * SECOND));
        assert_eq!(gauge.latencies.len(), 32);
    }

    #[test]
    fn a_request_is_bounded_and_lanes_take_turns() {
        let lanes = (0..4).map(|partition| (partition, Pace::Closed { start: 0 })).collect();
        let mut one = producer(Manner { request_bytes_max: 1500, in_flight_max: 3, ..manner() }, lanes);
        let partitions = |request: ProduceRequest| -> Vec<i32> {
            request.topics[0].partitions.iter().map(|partition| partition.index).collect()
        };
        assert_eq!(partitions(one.next(0, 0).expect("a request")), [0, 1]);
        assert_eq!(partitions(one.next(0, 0).expect("a request")), [2, 3]);
        assert_eq!(partitions(one.next(0, 0).expect("a request")), [0, 1]);
    }

    #[test]
    fn an_answer_to_something_else_is_an_error() {
        let mut one = producer(manner(), vec![(0, open(1000.0))]);
        let mut gauge = Gauge::default();
        assert!(one.on_answer(0, &ProduceResponse::default(), &mut gauge).is_err());
        one.next(5 * MS, 0).expect("due");
        assert!(one.on_answer(6 * MS, &ProduceResponse::default(), &mut gauge).is_err());
    }
}
