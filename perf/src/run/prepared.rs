//! A run before its first record: its connections, and what each of them is to do.

use super::{Times, caller};
use crate::PerfError;
use crate::clock::{Clock, SECOND};
use crate::cluster::{Cluster, EARLIEST, Found, LATEST};
use crate::link::Link;
use crate::load::thread::{Side, Worker};
use crate::load::{Place, Topics, consumer, producer};
use crate::pace::Pace;
use crate::payload::Payload;
use crate::plan::{Plan, Workload};
use hayate_storage::batch::ProducerId;
use hayate_storage::batch::scan::Checksums;
use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Between the last connection and the first record.
const LEAD: u64 = SECOND / 5;
/// Bytes that a fetch may bring: Kafka's `fetch.max.bytes`.
const FETCH_BYTES_MAX: i32 = 50 << 20;

/// A load whose connections are being opened.
pub struct Prepared<'a> {
    pub plan: &'a Plan,
    pub clock: Clock,
    cluster: Cluster,
    topics: Arc<Topics>,
    /// All partitions of all topics, each with its leader.
    spots: Vec<(Place, i32)>,
    /// The connections of each load thread, by its number: producers have the first ones.
    pub threads: BTreeMap<usize, Vec<Worker>>,
}

/// A connection, and the numbers of the spots that are its part.
type Connected = (Link, Vec<usize>);

/// Where consumers begin in each partition, and where there is enough.
struct Bounds {
    starts: BTreeMap<Place, i64>,
    ends: BTreeMap<Place, i64>,
}

impl<'a> Prepared<'a> {
    /// Of a plan and its topics.
    pub fn new(plan: &'a Plan, clock: Clock, cluster: Cluster, found: &[Found]) -> Prepared<'a> {
        let of_topic = |(topic, found): (usize, &Found)| {
            let spot =
                move |(partition, leader): (&i32, &i32)| (Place { topic, partition: *partition }, *leader);
            found.leaders.iter().map(spot).collect::<Vec<_>>()
        };
        let spots = found.iter().enumerate().flat_map(of_topic).collect();
        let topics = Arc::new(Topics::new(found.iter().map(|found| found.topic.clone()).collect()));
        Prepared { plan, clock, cluster, topics, spots, threads: BTreeMap::new() }
    }

    /// Opens all connections, and only then says when it begins.
    pub fn connect(&mut self, found: &[Found]) -> Result<Times, PerfError> {
        let (producers, consumers) = (self.producer_links()?, self.consumer_links()?);
        let bounds = self.bounds(found)?;
        // A broker may take long to give them, which must not be part of the run.
        let mut ids = self.producer_ids(producers.iter().map(|(_, links)| links.len()).sum())?;
        let times = self.times();
        for (number, links) in producers {
            for (link, spots) in links {
                let side = Side::Producer(self.producer(number, &link, spots, times, ids.pop())?);
                self.assign(number % self.plan.threads, Worker { link, side });
            }
        }
        for (number, links) in consumers {
            for (link, spots) in links {
                let side = Side::Consumer(self.consumer(&link, &spots, times, &bounds)?);
                self.assign(self.plan.threads + number % self.plan.threads, Worker { link, side });
            }
        }
        Ok(times)
    }

    fn assign(&mut self, thread: usize, worker: Worker) {
        self.threads.entry(thread).or_default().push(worker);
    }

    /// The connections of each producer, by its number.
    fn producer_links(&self) -> Result<Vec<(usize, Vec<Connected>)>, PerfError> {
        let count = if self.plan.workload.produces() { self.plan.producers } else { 0 };
        let of = |number| Ok((number, self.links(share(0..self.spots.len(), number, count))?));
        (0..count).map(of).collect()
    }

    /// The connections of each consumer, numbered through all subscriptions.
    fn consumer_links(&self) -> Result<Vec<(usize, Vec<Connected>)>, PerfError> {
        let each = self.plan.consumers;
        let count = if self.plan.workload.consumes() { each * self.plan.subscriptions } else { 0 };
        let of = |number| Ok((number, self.links((0..self.spots.len()).skip(number % each).step_by(each))?));
        (0..count).map(of).collect()
    }

    fn bounds(&mut self, found: &[Found]) -> Result<Bounds, PerfError> {
        let none = BTreeMap::new;
        Ok(match self.plan.workload {
            Workload::Produce => Bounds { starts: none(), ends: none() },
            Workload::Consume => {
                Bounds { starts: self.offsets(found, EARLIEST)?, ends: self.offsets(found, LATEST)? }
            }
            Workload::EndToEnd => Bounds { starts: self.offsets(found, LATEST)?, ends: none() },
        })
    }

    /// The offset of each partition of all topics at a time.
    fn offsets(&mut self, found: &[Found], time: i64) -> Result<BTreeMap<Place, i64>, PerfError> {
        let mut offsets = BTreeMap::new();
        for (topic, found) in found.iter().enumerate() {
            let told = self.cluster.offsets(found, time)?.into_iter();
            offsets.extend(told.map(|(partition, offset)| (Place { topic, partition }, offset)));
        }
        Ok(offsets)
    }

    fn times(&self) -> Times {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 4);
        // What a topic holds is read at once and once, and each record counts.
        let (lead, warm_up) = match self.plan.workload {
            Workload::Consume => (0, 0),
            Workload::Produce | Workload::EndToEnd => (LEAD, nanos(self.plan.warm_up)),
        };
        let start = self.clock.now() + lead;
        let measured_from = start + warm_up;
        Times { start, measured_from, end: measured_from + nanos(self.plan.duration) }
    }

    /// A connection to each leader of some spots.
    fn links(&self, spots: impl IntoIterator<Item = usize>) -> Result<Vec<Connected>, PerfError> {
        let mut by_leader: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for number in spots {
            by_leader.entry(self.spots[number].1).or_default().push(number);
        }
        let open = |(leader, spots)| Ok((Link::open(self.cluster.address(leader)?, &caller())?, spots));
        by_leader.into_iter().map(open).collect()
    }

    /// Ids for so many producers, if they are to be idempotent.
    fn producer_ids(&mut self, count: usize) -> Result<Vec<(ProducerId, i16)>, PerfError> {
        let count = if self.plan.idempotence { count } else { 0 };
        (0..count).map(|_| self.cluster.producer_id()).collect()
    }

    fn producer(
        &self,
        number: usize,
        link: &Link,
        spots: Vec<usize>,
        times: Times,
        id: Option<(ProducerId, i16)>,
    ) -> Result<producer::Producer, PerfError> {
        let plan = self.plan;
        let lanes_in_all = plan.producers.max(self.spots.len());
        let manner = producer::Manner {
            acks: plan.acks,
            batch_bytes: plan.batch_bytes,
            linger: u64::try_from(plan.linger.as_nanos()).unwrap_or(u64::MAX),
            in_flight_max: plan.in_flight_max,
            request_bytes_max: plan.request_bytes_max,
            timeout_ms: 30_000,
            codec: plan.codec,
            keys: plan.keys,
            end: times.end,
            measured_from: times.measured_from,
        };
        let lane = |spot: usize| {
            let at = self.spots[spot].0;
            let Some(rate) = plan.rate else { return (at, Pace::Closed { start: times.start }) };
            let per_second = rate / lanes_in_all as f64;
            // Lanes are out of step, so that records come one by one.
            let step = SECOND as f64 / rate;
            let is_sharer = lanes_in_all == plan.producers;
            let place = if is_sharer { number } else { spot };
            (at, Pace::Open { start: times.start + (step * place as f64) as u64, per_second })
        };
        let payload = Payload::new(plan.sizes, plan.random, plan.seed + number as u64);
        let lanes = spots.into_iter().map(lane);
        let version = self.version::<ProduceRequest>(link, 13)?;
        Ok(producer::Producer::new(self.topics.clone(), version, manner, id, payload, lanes))
    }

    fn consumer(
        &self,
        link: &Link,
        spots: &[usize],
        times: Times,
        bounds: &Bounds,
    ) -> Result<consumer::Consumer, PerfError> {
        let plan = self.plan;
        let manner = consumer::Manner {
            bytes_min: plan.fetch_bytes_min,
            wait_ms_max: plan.fetch_wait_ms_max,
            bytes_max: FETCH_BYTES_MAX,
            partition_bytes_max: plan.partition_fetch_bytes_max,
            checksums: if plan.check_crcs { Checksums::Verify } else { Checksums::Trust },
            measure: match plan.workload {
                Workload::EndToEnd => consumer::Measure::EndToEnd { from: times.measured_from },
                Workload::Consume | Workload::Produce => consumer::Measure::Fetches,
            },
        };
        let lane = |spot: &usize| {
            let place = self.spots[*spot].0;
            let start = bounds.starts.get(&place).copied().unwrap_or(0);
            (place, start, bounds.ends.get(&place).copied())
        };
        let version = self.version::<FetchRequest>(link, 18)?;
        let lanes = spots.iter().map(lane);
        Ok(consumer::Consumer::new(self.topics.clone(), version, manner, lanes))
    }

    /// The highest version that both sides know, one by names where a topic has no id.
    fn version<R: kafka_protocol::protocol::Request>(&self, link: &Link, max: i16) -> Result<i16, PerfError> {
        let max = if self.topics.have_ids() { max } else { 12 };
        let ours = hayate_net::wire::table::Versions { min: R::VERSIONS.min, max: max.min(R::VERSIONS.max) };
        let missing = || PerfError::Impossible(format!("{}: too old for this", link.address()));
        link.versions.common(R::KEY, ours).ok_or_else(missing)
    }
}

/// Number `number`'s part of the partitions when `count` share them; when there are more sharers than partitions, several have one.
fn share(partitions: std::ops::Range<usize>, number: usize, count: usize) -> Vec<usize> {
    let all = partitions.len();
    if count >= all {
        return partitions.skip(number % all.max(1)).take(1).collect();
    }
    partitions.skip(number).step_by(count).collect()
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn every_partition_has_a_sharer_and_every_sharer_a_partition() {
        for (partitions, count) in [(1, 1), (16, 1), (16, 5), (5, 16), (3, 3)] {
            let shares: Vec<Vec<usize>> =
                (0..count).map(|number| share(0..partitions, number, count)).collect();
            assert!(shares.iter().all(|share| !share.is_empty()), "{partitions} of {count}: {shares:?}");
            let mut all: Vec<usize> = shares.concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), partitions, "{partitions} of {count}: {shares:?}");
        }
    }
}
