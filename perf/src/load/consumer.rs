//! One consumer on one connection: where it stands in each partition of the load's topics, and what was read. Pure: the time is given. It looks into records only
//! when it reads when they were meant to be sent; else it counts by the batches' headers.

use super::{Place, Topics};
use crate::gauge::Gauge;
use crate::payload::stamped;
use hayate_storage::batch::BatchScan;
use hayate_storage::batch::records::{Records, RecordsError, body};
use hayate_storage::batch::scan::{Checksums, ScanEnd, Scanned};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// First version of Fetch that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// Bytes that the records of one batch may take when it is unpacked.
const UNPACKED_BYTES_MAX: usize = 256 << 20;
/// What a fetch without a session has for its epoch.
const NO_SESSION: i32 = -1;

/// How consumers fetch; the names are Kafka's settings.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// `fetch.min.bytes`
    pub bytes_min: i32,
    /// `fetch.max.wait.ms`
    pub wait_ms_max: i32,
    /// `fetch.max.bytes`
    pub bytes_max: i32,
    /// `max.partition.fetch.bytes`
    pub partition_bytes_max: i32,
    /// `check.crcs`
    pub checksums: Checksums,
    /// What its latencies are.
    pub measure: Measure,
}

/// What a consumer measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// How long fetches take.
    Fetches,
    /// For each record, from when it was meant to be sent until it is here; none that was meant before that time, in nanoseconds.
    EndToEnd {
        /// Nanoseconds of the run's clock.
        from: u64,
    },
}

struct Lane {
    place: Place,
    offset: i64,
    /// Where there is enough; `None`: never.
    end: Option<i64>,
}

/// A consumer's part of one connection.
pub struct Consumer {
    topics: Arc<Topics>,
    version: i16,
    manner: Manner,
    lanes: Vec<Lane>,
    lane_of: BTreeMap<Place, usize>,
    /// When the fetch that is under way was sent.
    asked_at: Option<u64>,
    /// The lane that is asked for first.
    turn: usize,
}

impl Consumer {
    /// With lanes of partition, first offset, and where there is enough; `version` is that of Fetch.
    pub fn new(
        topics: Arc<Topics>,
        version: i16,
        manner: Manner,
        lanes: impl IntoIterator<Item = (Place, i64, Option<i64>)>,
    ) -> Consumer {
        let lanes = lanes.into_iter().map(|(place, offset, end)| Lane { place, offset, end });
        let lanes: Vec<Lane> = lanes.collect();
        let lane_of = lanes.iter().enumerate().map(|(number, lane)| (lane.place, number)).collect();
        Consumer { topics, version, manner, lanes, lane_of, asked_at: None, turn: 0 }
    }

    /// The version of its requests.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The next fetch, if none is under way and there is something to read.
    pub fn next(&mut self, now: u64) -> Option<FetchRequest> {
        if self.asked_at.is_some() || self.is_done() {
            return None;
        }
        self.asked_at = Some(now);
        self.turn = (self.turn + 1) % self.lanes.len();
        let request = FetchRequest::default()
            .with_max_wait_ms(self.manner.wait_ms_max)
            .with_min_bytes(self.manner.bytes_min)
            .with_max_bytes(self.manner.bytes_max)
            .with_session_epoch(NO_SESSION)
            .with_topics(self.asked());
        Some(if self.version < 15 { request.with_replica_id(BrokerId(-1)) } else { request })
    }

    /// What the next fetch asks for. A topic whose lanes are apart in turn stands in it twice at most: where the turn begins, and at the end.
    fn asked(&self) -> Vec<FetchTopic> {
        let (ahead, behind) = self.lanes.split_at(self.turn);
        let mut asked: Vec<(usize, Vec<FetchPartition>)> = Vec::new();
        for lane in behind.iter().chain(ahead).filter(|lane| !lane.is_done()) {
            let partition = FetchPartition::default()
                .with_partition(lane.place.partition)
                .with_current_leader_epoch(-1)
                .with_fetch_offset(lane.offset)
                .with_partition_max_bytes(self.manner.partition_bytes_max);
            match asked.last_mut() {
                Some((topic, partitions)) if *topic == lane.place.topic => partitions.push(partition),
                Some(_) | None => asked.push((lane.place.topic, vec![partition])),
            }
        }
        asked.into_iter().map(|(topic, partitions)| self.named(topic).with_partitions(partitions)).collect()
    }

    fn named(&self, topic: usize) -> FetchTopic {
        let topic = self.topics.get(topic);
        match self.version {
            TOPIC_IDS_SINCE.. => FetchTopic::default().with_topic_id(topic.id),
            _ => FetchTopic::default().with_topic(topic.topic_name()),
        }
    }

    /// The answer to the fetch that is under way. Returns the records that it brought.
    ///
    /// # Errors
    /// It makes no sense, in words.
    pub fn on_answer(
        &mut self,
        now: u64,
        response: &FetchResponse,
        gauge: &mut Gauge,
    ) -> Result<u64, String> {
        let asked_at = self.asked_at.take().ok_or("an answer that nobody asked for")?;
        if self.manner.measure == Measure::Fetches {
            gauge.note(now.saturating_sub(asked_at), 1);
        }
        if response.error_code != 0 {
            *gauge.refused.entry(response.error_code).or_default() += 1;
        }
        let mut read = 0;
        for answer in &response.responses {
            let topic = self.topics.find(answer.topic_id, &answer.topic)?;
            for partition in &answer.partitions {
                read += self.read(now, topic, partition, gauge)?;
            }
        }
        Ok(read)
    }

    fn read(
        &mut self,
        now: u64,
        topic: usize,
        partition: &PartitionData,
        gauge: &mut Gauge,
    ) -> Result<u64, String> {
        let index = partition.partition_index;
        let lane = self.lane_of.get(&Place { topic, partition: index });
        let lane = lane.ok_or_else(|| format!("an answer about partition {index}"))?;
        let lane = &mut self.lanes[*lane];
        if partition.error_code != 0 {
            *gauge.refused.entry(partition.error_code).or_default() += 1;
        }
        let mut scan =
            BatchScan::new(partition.records.as_deref().unwrap_or_default(), self.manner.checksums);
        let mut count = 0;
        for batch in scan.by_ref() {
            count += lane.take(now, &batch, self.manner.measure, gauge)?;
        }
        match scan.end() {
            // The last batch may be cut where the answer is full.
            Some(ScanEnd::Clean | ScanEnd::Torn { .. }) | None => Ok(count),
            Some(end @ (ScanEnd::Blank { .. } | ScanEnd::Corrupt { .. })) => {
                Err(format!("partition {index}, behind offset {}: {end:?}", lane.offset))
            }
        }
    }

    /// Whether there is enough of every partition.
    pub fn is_done(&self) -> bool {
        self.lanes.iter().all(Lane::is_done)
    }
}

impl Lane {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.offset >= end)
    }

    /// Goes on behind a batch, and tells how many of its records are new: it may begin before what was asked for.
    fn take(
        &mut self,
        now: u64,
        batch: &Scanned<'_>,
        measure: Measure,
        gauge: &mut Gauge,
    ) -> Result<u64, String> {
        let (header, next) = (&batch.header, batch.header.next_offset().0);
        if next <= self.offset {
            return Ok(0);
        }
        let due = std::mem::replace(&mut self.offset, next);
        if header.attributes.is_control() {
            return Ok(0);
        }
        let count = u64::from(header.records_count.max(0).unsigned_abs()).min((next - due).unsigned_abs());
        match measure {
            Measure::Fetches => {
                gauge.records += count;
                gauge.bytes += batch.bytes.len() as u64;
            }
            Measure::EndToEnd { from } => note_all(now, batch, due, from, gauge)?,
        }
        Ok(count)
    }
}

/// Notes each record from offset `due` on by the time that stands in it.
fn note_all(now: u64, batch: &Scanned<'_>, due: i64, from: u64, gauge: &mut Gauge) -> Result<(), String> {
    let unreadable = |error: RecordsError| format!("a batch cannot be read: {error:?}");
    let plain = body(batch.bytes, &batch.header, UNPACKED_BYTES_MAX).map_err(unreadable)?;
    for record in Records::new(&batch.header, &plain).map_err(unreadable)? {
        let record = record.map_err(unreadable)?;
        let value = record.value.unwrap_or_default();
        let meant_at = stamped(value).ok_or("a record that this load has not written")?;
        if record.offset.0 >= due && meant_at >= from {
            gauge.note(now.saturating_sub(meant_at), 1);
            gauge.records += 1;
            gauge.bytes += value.len() as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Consumer, Manner, Measure};
    use crate::gauge::Gauge;
    use crate::load::{Place, Topic, Topics};
    use crate::payload::stamp;
    use bytes::{Bytes, BytesMut};
    use hayate_storage::batch::scan::Checksums;
    use hayate_storage::batch::{BatchBuilder, Codec, Offset};
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::{FetchResponse, TopicName};
    use kafka_protocol::protocol::StrBytes;
    use std::sync::Arc;

    const MS: u64 = 1_000_000;

    fn consumer(measure: Measure, lanes: Vec<(i32, i64, Option<i64>)>) -> Consumer {
        let manner = Manner {
            bytes_min: 1,
            wait_ms_max: 500,
            bytes_max: 50 << 20,
            partition_bytes_max: 1 << 20,
            checksums: Checksums::Verify,
            measure,
        };
        let topic = |name: &str| Topic { name: name.to_owned(), id: uuid::Uuid::nil() };
        let topics = Arc::new(Topics::new(vec![topic("t"), topic("u")]));
        // Partitions from 100 on are the second topic's.
        let place = |number: i32| Place { topic: usize::from(number >= 100), partition: number % 100 };
        let lanes = lanes.into_iter().map(|(number, offset, end)| (place(number), offset, end));
        Consumer::new(topics, 12, manner, lanes)
    }

    /// A batch of records that were meant to be sent at these times.
    fn batch(base: i64, codec: Codec, times: &[u64]) -> Bytes {
        let builder = BatchBuilder::new().codec(codec).base_offset(Offset(base));
        let add = |builder: BatchBuilder, at: &u64| {
            let mut value = [b'v'; 20];
            stamp(&mut value, *at);
            builder.record(0, None, Some(&value))
        };
        times.iter().fold(builder, add).build()
    }

    fn answer(partition: i32, records: Bytes, code: i16) -> FetchResponse {
        let data = PartitionData::default()
            .with_partition_index(partition)
            .with_error_code(code)
            .with_records(Some(records));
        about("t", data)
    }

    fn about(name: &'static str, data: PartitionData) -> FetchResponse {
        let topic = FetchableTopicResponse::default().with_topic(TopicName(StrBytes::from_static_str(name)));
        FetchResponse::default().with_responses(vec![topic.with_partitions(vec![data])])
    }

    #[test]
    fn topics_are_told_apart_and_stand_together_in_a_fetch() {
        let mut one = consumer(Measure::Fetches, vec![(0, 0, None), (1, 0, None), (100, 5, None)]);
        let names = |one: &mut Consumer| -> Vec<(String, usize)> {
            let request = one.next(0).expect("a fetch");
            request.topics.iter().map(|each| (each.topic.to_string(), each.partitions.len())).collect()
        };
        let (t, u) = (|count| ("t".to_owned(), count), ("u".to_owned(), 1));
        assert_eq!(names(&mut one), [t(1), u.clone(), t(1)]);
        let records = PartitionData::default().with_records(Some(batch(5, Codec::None, &[1, 2])));
        assert_eq!(one.on_answer(1, &about("u", records), &mut Gauge::default()), Ok(2));
        assert_eq!(names(&mut one), [u, t(2)]);
        assert_eq!(one.lanes.iter().map(|lane| lane.offset).collect::<Vec<_>>(), [0, 0, 7]);
        assert!(one.on_answer(1, &about("v", PartitionData::default()), &mut Gauge::default()).is_err());
    }

    fn asked(one: &mut Consumer, now: u64) -> Vec<(i32, i64)> {
        let request = one.next(now).expect("a fetch");
        let partitions = request.topics[0].partitions.iter();
        partitions.map(|each| (each.partition, each.fetch_offset)).collect()
    }

    #[test]
    fn latencies_are_the_records_own_and_what_was_read_is_not_read_again() {
        for codec in [Codec::None, Codec::Lz4] {
            let mut one = consumer(Measure::EndToEnd { from: 10 * MS }, vec![(0, 2, None)]);
            assert_eq!(asked(&mut one, 0), [(0, 2)]);
            assert!(one.next(0).is_none(), "one at a time");
            let mut gauge = Gauge::default();
            let records = batch(0, codec, &[10 * MS, 10 * MS, 9 * MS, 20 * MS]);
            assert_eq!(one.on_answer(30 * MS, &answer(0, records, 0), &mut gauge), Ok(2));
            assert_eq!((gauge.records, gauge.latencies.len(), gauge.bytes), (1, 1, 20));
            assert!(gauge.latencies.max().abs_diff(10 * MS) < MS / 50);
            assert_eq!(asked(&mut one, 0), [(0, 4)]);
        }
    }

    #[test]
    fn it_ends_where_there_is_enough_and_a_batch_may_be_cut() {
        let mut one = consumer(Measure::Fetches, vec![(0, 0, Some(3)), (1, 0, Some(0))]);
        assert_eq!(asked(&mut one, 5), [(0, 0)]);
        let whole = batch(0, Codec::None, &[1, 2]);
        let mut cut = BytesMut::from(&whole[..]);
        cut.extend_from_slice(&batch(2, Codec::None, &[3])[..70]);
        let mut gauge = Gauge::default();
        assert_eq!(one.on_answer(25, &answer(0, cut.freeze(), 0), &mut gauge), Ok(2));
        assert_eq!((gauge.records, gauge.bytes, gauge.latencies.max()), (2, whole.len() as u64, 20));
        assert_eq!(asked(&mut one, 30), [(0, 2)]);
        one.on_answer(31, &answer(0, batch(2, Codec::None, &[3]), 0), &mut gauge).expect("good");
        assert!(one.is_done() && one.next(32).is_none());
    }

    #[test]
    fn errors_are_counted_and_nonsense_is_told() {
        let mut one = consumer(Measure::Fetches, vec![(0, 0, None)]);
        let mut gauge = Gauge::default();
        assert!(one.on_answer(0, &FetchResponse::default(), &mut gauge).is_err());
        asked(&mut one, 0);
        assert_eq!(one.on_answer(0, &answer(0, Bytes::new(), 6), &mut gauge), Ok(0));
        assert_eq!(gauge.refused.get(&6), Some(&1));
        let mut bad = BytesMut::from(&batch(0, Codec::None, &[1])[..]);
        bad[70] ^= 1;
        asked(&mut one, 0);
        assert!(one.on_answer(0, &answer(0, bad.freeze(), 0), &mut gauge).is_err());
        asked(&mut one, 0);
        assert!(one.on_answer(0, &answer(7, Bytes::new(), 0), &mut gauge).is_err());
    }
}
