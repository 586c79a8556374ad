//! `hayate consume`: records out, from the leaders of their partitions, in order within each. Each round asks every leader and prints what
//! came; what is held is one answer a leader.

use super::cluster::{Cluster, Leaders, millis, name};
use super::{CommandError, json, pause};
use crate::cli::{Consume, Shown, Start};
use hayate_net::error::ErrorCode;
use hayate_rt::kernel::now;
use hayate_storage::batch::records::{Record, Records, body};
use hayate_storage::batch::scan::{BatchScan, Checksums, Scanned};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// The last version in which topics go by name.
const FETCH_VERSION_MAX: i16 = 12;
/// Bytes of one answer, and of one partition in it.
const FETCH_BYTES_MAX: i32 = 8 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;
/// How long a broker waits for records.
const WAIT: Duration = Duration::from_millis(500);
/// Bytes that a batch may have when it is decompressed.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// Kafka's special times.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

pub(super) fn run(cluster: &mut Cluster, asked: &Consume, out: &mut impl Write) -> Result<(), CommandError> {
    cluster.any()?;
    let leaders = cluster.leaders(&asked.topic, false)?;
    let mut wanted: Vec<i32> = asked.partitions.clone();
    if let Some(missing) = wanted.iter().find(|partition| !leaders.contains_key(partition)) {
        return Err(CommandError::Impossible(format!("topic {} has no partition {missing}", asked.topic)));
    }
    if wanted.is_empty() {
        wanted.extend(leaders.keys());
    }
    let left = asked.max_messages.unwrap_or(u64::MAX);
    let mut reader = Reader { cluster, asked, leaders, positions: BTreeMap::new(), left };
    reader.positions = reader.insist(|reader| reader.begin(&wanted))?;
    while reader.left > 0 && !reader.positions.is_empty() {
        let printed = reader.insist(|reader| reader.round(out));
        out.flush().map_err(CommandError::Output)?;
        printed?;
    }
    Ok(())
}

struct Reader<'a> {
    cluster: &'a mut Cluster,
    asked: &'a Consume,
    leaders: Leaders,
    /// The next offset of each partition that is not read to its end.
    positions: BTreeMap<i32, i64>,
    /// Records that may still be printed.
    left: u64,
}

impl Reader<'_> {
    /// Tries until it succeeds, fails for good, or has failed for as long as a producer would try.
    fn insist<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let deadline = now() + self.cluster.settings.delivery_timeout;
        loop {
            match attempt(self) {
                Err(error) if error.is_passing() && now() < deadline => {
                    pause(self.cluster.settings.retry_backoff);
                    if let Ok(leaders) = self.cluster.leaders(&self.asked.topic, false) {
                        self.leaders = leaders;
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Where each partition is read from.
    fn begin(&mut self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, CommandError> {
        let partitions = partitions.iter().copied();
        partitions.map(|partition| Ok((partition, self.begin_of(partition)?))).collect()
    }

    fn begin_of(&mut self, partition: i32) -> Result<i64, CommandError> {
        match self.asked.start {
            Start::Beginning => self.offset(partition, EARLIEST),
            Start::End => self.offset(partition, LATEST),
            Start::At(offset) => Ok(offset),
            Start::Last(count) => {
                let (earliest, latest) = (self.offset(partition, EARLIEST)?, self.offset(partition, LATEST)?);
                Ok(latest.saturating_sub(count).max(earliest))
            }
            Start::Time(ms) => match self.offset(partition, ms)? {
                offset @ 0.. => Ok(offset),
                _ => self.offset(partition, LATEST),
            },
        }
    }

    /// The offset of a time; −1 when no record is so late.
    fn offset(&mut self, partition: i32, timestamp: i64) -> Result<i64, CommandError> {
        let leader = self.leader(partition)?;
        let one = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(name(&self.asked.topic)).with_partitions(vec![one]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic])
            .with_timeout_ms(millis(self.cluster.settings.request_timeout));
        let asked = self.cluster.node(leader).and_then(|connection| Ok(connection.ask(&request)?));
        let response = asked.inspect_err(|_| self.cluster.forget(leader))?;
        let mut answers = response.topics.iter().flat_map(|topic| &topic.partitions);
        let answer = answers.find(|answer| answer.partition_index == partition);
        let missing = || self.refused(partition, ErrorCode::UnknownServerError);
        let answer = answer.ok_or_else(missing)?;
        CommandError::check(|| self.called(partition), answer.error_code, None)?;
        Ok(answer.offset)
    }

    fn leader(&self, partition: i32) -> Result<i32, CommandError> {
        let leader = self.leaders.get(&partition).copied().flatten();
        leader.ok_or_else(|| self.refused(partition, ErrorCode::LeaderNotAvailable))
    }

    /// Asks every leader, then prints what each answers.
    fn round(&mut self, out: &mut impl Write) -> Result<(), CommandError> {
        let mut by_leader: BTreeMap<i32, Vec<FetchPartition>> = BTreeMap::new();
        for (partition, offset) in &self.positions {
            let wanted = FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(PARTITION_BYTES_MAX);
            by_leader.entry(self.leader(*partition)?).or_default().push(wanted);
        }
        let leaders: Vec<i32> = by_leader.keys().copied().collect();
        let mut failed = None;
        let mut asked = Vec::new();
        for (leader, wanted) in by_leader {
            let request = self.request(wanted);
            match self.cluster.node(leader).and_then(|node| Ok(node.send(FETCH_VERSION_MAX, &request)?)) {
                Ok(()) => asked.push(leader),
                Err(error) => failed = Some((leader, error)),
            }
        }
        for leader in asked {
            let answer = self.cluster.node(leader).and_then(|node| Ok(node.receive::<FetchRequest>()?));
            let printed = answer
                .map_err(|error| (leader, error))
                .and_then(|response| self.print(&response, out).map_err(|error| (leader, error)));
            if let Err(error) = printed {
                failed = Some(error);
                break;
            }
        }
        match failed {
            None => Ok(()),
            Some((_, error)) => {
                // Others may have been asked whose answers nobody takes any more.
                leaders.into_iter().for_each(|leader| self.cluster.forget(leader));
                Err(error)
            }
        }
    }

    fn request(&self, wanted: Vec<FetchPartition>) -> FetchRequest {
        let topic = FetchTopic::default().with_topic(name(&self.asked.topic)).with_partitions(wanted);
        let wait = if self.asked.exit_at_end { Duration::ZERO } else { WAIT };
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(millis(wait))
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES_MAX)
            .with_session_epoch(-1)
            .with_topics(vec![topic])
    }

    fn print(&mut self, response: &FetchResponse, out: &mut impl Write) -> Result<(), CommandError> {
        CommandError::check(|| format!("topic {}", self.asked.topic), response.error_code, None)?;
        let answers = response.responses.iter().flat_map(|topic| &topic.partitions);
        answers.into_iter().try_for_each(|answer| self.print_partition(answer, out))
    }

    fn print_partition(&mut self, answer: &PartitionData, out: &mut impl Write) -> Result<(), CommandError> {
        let partition = answer.partition_index;
        let Some(&position) = self.positions.get(&partition) else { return Ok(()) };
        CommandError::check(
            || format!("{} offset {position}", self.called(partition)),
            answer.error_code,
            None,
        )?;
        let records = answer.records.clone().unwrap_or_default();
        let mut next = position;
        for batch in BatchScan::new(&records, Checksums::Verify) {
            self.print_batch(partition, next, &batch, out)?;
            next = next.max(batch.header.next_offset().0);
            self.positions.insert(partition, next);
            if self.left == 0 {
                return Ok(());
            }
        }
        if next == position && !records.is_empty() {
            return Err(damaged(&self.called(partition), position));
        }
        if self.asked.exit_at_end && next >= answer.high_watermark {
            self.positions.remove(&partition);
        }
        Ok(())
    }

    /// Prints the records of a batch from an offset on.
    fn print_batch(
        &mut self,
        partition: i32,
        from: i64,
        batch: &Scanned<'_>,
        out: &mut impl Write,
    ) -> Result<(), CommandError> {
        if batch.header.is_control() {
            return Ok(());
        }
        let called = self.called(partition);
        let damaged = || damaged(&called, batch.header.base_offset.0);
        let body = body(batch.bytes, &batch.header, BATCH_BYTES_MAX).map_err(|_| damaged())?;
        for record in Records::new(&batch.header, &body).map_err(|_| damaged())? {
            let record = record.map_err(|_| damaged())?;
            if record.offset.0 < from {
                continue;
            }
            if self.left == 0 {
                break;
            }
            self.print_record(partition, &record, out).map_err(CommandError::Output)?;
            self.left -= 1;
        }
        Ok(())
    }

    fn print_record(&self, partition: i32, record: &Record<'_>, out: &mut impl Write) -> std::io::Result<()> {
        match &self.asked.shown {
            Shown::Format(format) => format.write(&self.asked.topic, partition, record, out),
            Shown::Json => json::write(&self.asked.topic, partition, record, out),
        }
    }

    fn called(&self, partition: i32) -> String {
        format!("topic {} partition {partition}", self.asked.topic)
    }

    fn refused(&self, partition: i32, code: ErrorCode) -> CommandError {
        CommandError::Refused { what: self.called(partition), code: code.code(), message: None }
    }
}

fn damaged(partition: &str, offset: i64) -> CommandError {
    CommandError::Impossible(format!("{partition}: the batch at offset {offset} is damaged"))
}
