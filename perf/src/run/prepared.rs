//! A run before its first record: its connections, and what each of them is to do.

use super::{Times, caller};
use crate::PerfError;
use crate::clock::{Clock, SECOND};
use crate::cluster::{Cluster, EARLIEST, Found, LATEST};
use crate::link::Link;
use crate::load::thread::{Side, Worker};
use crate::load::{consumer, producer};
use crate::pace::Pace;
use crate::payload::Payload;
use crate::plan::{Plan, Workload};
use hayate_storage::batch::ProducerId;
use hayate_storage::batch::scan::Checksums;
use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between the last connection and the first record.
const LEAD: u64 = SECOND / 5;
/// Bytes that a fetch may bring: Kafka's `fetch.max.bytes`.
const FETCH_BYTES_MAX: i32 = 50 << 20;

/// A load whose connections are being opened.
pub struct Prepared<'a> {
    pub plan: &'a Plan,
    pub clock: Clock,
    pub cluster: Cluster,
    pub found: Found,
    /// The connections of each load thread, by its number: producers have the first ones.
    pub threads: BTreeMap<usize, Vec<Worker>>,
}

/// Partitions by their leader.
type ByLeader = BTreeMap<i32, Vec<i32>>;

impl<'a> Prepared<'a> {
    /// Opens all connections, and only then says when it begins.
    pub fn connect(&mut self) -> Result<Times, PerfError> {
        let mut links = Vec::new();
        if self.plan.workload.produces() {
            for number in 0..self.plan.producers {
                links.push((
                    number,
                    true,
                    self.links(share(self.found.leaders.keys().copied(), number, self.plan.producers))?,
                ));
            }
        }
        if self.plan.workload.consumes() {
            for number in 0..self.plan.consumers {
                links.push((
                    number,
                    false,
                    self.links(self.found.leaders.keys().copied().skip(number).step_by(self.plan.consumers))?,
                ));
            }
        }
        let starts = match self.plan.workload {
            Workload::Produce => BTreeMap::new(),
            Workload::Consume => self.cluster.offsets(&self.found, EARLIEST)?,
            Workload::EndToEnd => self.cluster.offsets(&self.found, LATEST)?,
        };
        let ends = match self.plan.workload {
            Workload::Consume => self.cluster.offsets(&self.found, LATEST)?,
            Workload::Produce | Workload::EndToEnd => BTreeMap::new(),
        };
        // A broker may take long to give them, which must not be part of the run.
        let count = links.iter().filter(|(_, produces, _)| *produces).map(|(.., links)| links.len()).sum();
        let mut ids = self.producer_ids(count)?;
        let times = self.times();
        for (number, produces, links) in links {
            for (link, partitions) in links {
                let side = match produces {
                    true => Side::Producer(self.producer(number, &link, partitions, times, ids.pop())?),
                    false => Side::Consumer(self.consumer(&link, &partitions, times, &starts, &ends)?),
                };
                let thread = number % self.plan.threads + if produces { 0 } else { self.plan.threads };
                self.threads.entry(thread).or_default().push(Worker { link, side });
            }
        }
        Ok(times)
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

    /// A connection to each leader of some partitions.
    fn links(&self, partitions: impl IntoIterator<Item = i32>) -> Result<Vec<(Link, Vec<i32>)>, PerfError> {
        let mut by_leader = ByLeader::new();
        for partition in partitions {
            by_leader.entry(self.found.leaders[&partition]).or_default().push(partition);
        }
        let open =
            |(leader, partitions)| Ok((Link::open(self.cluster.address(leader)?, &caller())?, partitions));
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
        partitions: Vec<i32>,
        times: Times,
        id: Option<(ProducerId, i16)>,
    ) -> Result<producer::Producer, PerfError> {
        let plan = self.plan;
        let lanes_in_all = plan.producers.max(self.found.leaders.len());
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
        let lane = |partition: i32| {
            let Some(rate) = plan.rate else { return (partition, Pace::Closed { start: times.start }) };
            let per_second = rate / lanes_in_all as f64;
            // Lanes are out of step, so that records come one by one.
            let step = SECOND as f64 / rate;
            let is_sharer = lanes_in_all == plan.producers;
            let place = if is_sharer { number } else { partition.unsigned_abs() as usize };
            (partition, Pace::Open { start: times.start + (step * place as f64) as u64, per_second })
        };
        let payload = Payload::new(plan.sizes, plan.random, plan.seed + number as u64);
        let (topic, lanes) = (self.found.topic.clone(), partitions.into_iter().map(lane));
        let version = self.version::<ProduceRequest>(link, 13)?;
        Ok(producer::Producer::new(topic, version, manner, id, payload, lanes))
    }

    fn consumer(
        &self,
        link: &Link,
        partitions: &[i32],
        times: Times,
        starts: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
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
        let lane =
            |number: &i32| (*number, starts.get(number).copied().unwrap_or(0), ends.get(number).copied());
        let version = self.version::<FetchRequest>(link, 18)?;
        let lanes = partitions.iter().map(lane);
        Ok(consumer::Consumer::new(self.found.topic.clone(), version, manner, lanes))
    }

    /// The highest version that both sides know, one by names where the topic has no id.
    fn version<R: kafka_protocol::protocol::Request>(&self, link: &Link, max: i16) -> Result<i16, PerfError> {
        let max = if self.found.topic.id.is_nil() { 12 } else { max };
        let ours = hayate_net::wire::table::Versions { min: R::VERSIONS.min, max: max.min(R::VERSIONS.max) };
        let missing = || PerfError::Impossible(format!("{}: too old for this", link.address()));
        link.versions.common(R::KEY, ours).ok_or_else(missing)
    }
}

/// Number `number`'s part of the partitions when `count` share them; when there are more sharers than partitions, several have one.
fn share(partitions: impl ExactSizeIterator<Item = i32> + Clone, number: usize, count: usize) -> Vec<i32> {
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
            let shares: Vec<Vec<i32>> = (0..count)
                .map(|number| share((0..partitions).collect::<Vec<_>>().into_iter(), number, count))
                .collect();
            assert!(shares.iter().all(|share| !share.is_empty()), "{partitions} of {count}: {shares:?}");
            let mut all: Vec<i32> = shares.concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), partitions as usize, "{partitions} of {count}: {shares:?}");
        }
    }
}
