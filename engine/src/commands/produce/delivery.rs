//! Sending records until they are acknowledged: to the leaders of their partitions, one batch of a partition at a time, again after
//! whatever may pass. With a producer id and sequence numbers a batch that is sent again is not there twice.

use super::super::CommandError;
use super::super::cluster::{Cluster, Leaders, millis, name};
use super::super::pause;
use super::Line;
use super::partitioner::Partitioner;
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_rt::kernel::now;
use hayate_storage::batch::records::Header;
use hayate_storage::batch::{BatchBuilder, ProducerId, sequence_plus};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The last version in which topics go by name.
const PRODUCE_VERSION_MAX: i16 = 12;
/// Bytes of records in a batch, unless it is one alone: less than brokers take by default, even if they do not compress.
const BATCH_BYTES: usize = 512 << 10;

/// Who sends, idempotently.
#[derive(Clone, Copy)]
struct Identity {
    id: ProducerId,
    epoch: i16,
}

/// Records of one partition, sent together.
struct Batch {
    lines: Vec<Line>,
    /// Of the first, when they are sent idempotently.
    sequence: i32,
}

/// What waits, by partition.
type Queues = BTreeMap<i32, VecDeque<Batch>>;

/// What became of a partition's first batch.
type Outcomes = Vec<(i32, Result<(), CommandError>)>;

/// The sending side of a topic.
pub(super) struct Delivery<'a> {
    cluster: &'a mut Cluster,
    topic: String,
    leaders: Leaders,
    identity: Option<Identity>,
    /// The next of each partition.
    sequences: BTreeMap<i32, i32>,
}

impl<'a> Delivery<'a> {
    /// Finds the topic, which the broker may create, and a producer id.
    ///
    /// # Errors
    /// That of the first broker, at once; of the topic when it does not come in time.
    pub(super) fn begin(cluster: &'a mut Cluster, topic: &str) -> Result<Delivery<'a>, CommandError> {
        cluster.any()?;
        let leaders = Leaders::new();
        let topic = topic.to_owned();
        let mut delivery = Delivery { cluster, topic, leaders, identity: None, sequences: BTreeMap::new() };
        delivery.insist(Delivery::look)?;
        if delivery.cluster.settings.idempotence && delivery.cluster.any()?.serves::<InitProducerIdRequest>()
        {
            delivery.identity = Some(delivery.insist(Delivery::introduce)?);
        }
        Ok(delivery)
    }

    /// Tries until it succeeds, fails for good, or the time is over.
    fn insist<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Delivery<'a>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let deadline = now() + self.cluster.settings.delivery_timeout;
        loop {
            match attempt(self) {
                Err(error) if error.is_passing() && now() < deadline => {
                    pause(self.cluster.settings.retry_backoff);
                }
                outcome => return outcome,
            }
        }
    }

    /// Who leads now.
    fn look(&mut self) -> Result<(), CommandError> {
        self.leaders = self.cluster.leaders(&self.topic, true)?;
        Ok(())
    }

    fn introduce(&mut self) -> Result<Identity, CommandError> {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let response = self.cluster.ask_any(&request)?;
        CommandError::check(|| "a producer id".to_owned(), response.error_code, None)?;
        Ok(Identity { id: ProducerId(response.producer_id.0), epoch: response.producer_epoch })
    }

    /// Puts records into batches of their partitions.
    ///
    /// # Errors
    /// A partition that does not exist.
    pub(super) fn place(
        &mut self,
        lines: Vec<Line>,
        partitioner: &mut Partitioner,
    ) -> Result<BTreeMap<i32, Vec<Vec<Line>>>, CommandError> {
        let led: Vec<i32> =
            self.leaders.iter().filter_map(|(number, leader)| leader.map(|_| *number)).collect();
        let turn = partitioner.in_turn(&led).or_else(|| self.leaders.keys().next().copied());
        let count = i32::try_from(self.leaders.len()).unwrap_or(i32::MAX);
        let mut placed: BTreeMap<i32, Vec<Vec<Line>>> = BTreeMap::new();
        let mut bytes: BTreeMap<i32, usize> = BTreeMap::new();
        for line in lines {
            let chosen = match (line.partition, &line.key) {
                (Some(partition), _) => Some(partition),
                (None, Some(key)) => Some(Partitioner::of_key(key, count)),
                (None, None) => turn,
            };
            let partition =
                chosen.filter(|partition| self.leaders.contains_key(partition)).ok_or_else(|| {
                    let topic = &self.topic;
                    CommandError::Impossible(format!(
                        "topic {topic} has no partition {}",
                        chosen.unwrap_or_default()
                    ))
                })?;
            let (batches, filled) =
                (placed.entry(partition).or_default(), bytes.entry(partition).or_default());
            if batches.is_empty() || *filled + line.bytes() > BATCH_BYTES {
                batches.push(Vec::new());
                *filled = 0;
            }
            *filled += line.bytes();
            batches.last_mut().expect("pushed above").push(line);
        }
        Ok(placed)
    }

    /// Sends, and returns when every record is acknowledged.
    ///
    /// # Errors
    /// The first refusal that will not pass, or the last one when the time is over.
    pub(super) fn deliver(&mut self, placed: BTreeMap<i32, Vec<Vec<Line>>>) -> Result<(), CommandError> {
        let mut queues: Queues = BTreeMap::new();
        for (partition, batches) in placed {
            queues.insert(
                partition,
                batches.into_iter().map(|lines| self.numbered(partition, lines)).collect(),
            );
        }
        let mut deadline = now() + self.cluster.settings.delivery_timeout;
        while !queues.is_empty() {
            let mut failed = None;
            for (partition, outcome) in self.round(&queues) {
                match outcome
                    .map(|()| pop(&mut queues, partition))
                    .or_else(|error| split(&mut queues, partition, error))
                {
                    Ok(()) => deadline = now() + self.cluster.settings.delivery_timeout,
                    Err(error) if error.is_passing() => failed = Some(error),
                    Err(error) => return Err(error),
                }
            }
            if let Some(error) = failed {
                if now() >= deadline {
                    return Err(error);
                }
                pause(self.cluster.settings.retry_backoff);
                // Who cannot be asked now is asked again.
                let _ = self.look();
            }
        }
        Ok(())
    }

    fn numbered(&mut self, partition: i32, lines: Vec<Line>) -> Batch {
        let next = self.sequences.entry(partition).or_default();
        let count = i32::try_from(lines.len()).unwrap_or(i32::MAX);
        let sequence = std::mem::replace(next, sequence_plus(*next, count));
        Batch { lines, sequence }
    }

    /// Sends the first batch of each partition, to all leaders, before it waits for any.
    fn round(&mut self, queues: &Queues) -> Outcomes {
        let mut by_leader: BTreeMap<i32, BTreeMap<i32, &Batch>> = BTreeMap::new();
        let mut outcomes = Vec::new();
        for (partition, queue) in queues {
            let Some(batch) = queue.front() else { continue };
            match self.leaders.get(partition).copied().flatten() {
                Some(leader) => drop(by_leader.entry(leader).or_default().insert(*partition, batch)),
                None => {
                    outcomes.push((*partition, Err(self.refused(*partition, ErrorCode::LeaderNotAvailable))))
                }
            }
        }
        let is_answered = self.cluster.settings.acks != 0;
        let mut sent = Vec::new();
        for (leader, batches) in by_leader {
            let request = self.request(&batches);
            let done = self.cluster.node(leader).and_then(|connection| {
                let sent = match is_answered {
                    true => connection.send(PRODUCE_VERSION_MAX, &request),
                    false => connection.send_unanswered(PRODUCE_VERSION_MAX, &request),
                };
                sent.map_err(CommandError::from)
            });
            let partitions: BTreeSet<i32> = batches.into_keys().collect();
            match done {
                Ok(()) if is_answered => sent.push((leader, partitions)),
                Ok(()) => outcomes.extend(partitions.into_iter().map(|partition| (partition, Ok(())))),
                Err(error) => self.lose(leader, &partitions, error, &mut outcomes),
            }
        }
        for (leader, partitions) in sent {
            let told = self.cluster.node(leader);
            match told.and_then(|connection| Ok(connection.receive::<ProduceRequest>()?)) {
                Ok(response) => outcomes.extend(self.judge(&response, &partitions)),
                Err(error) => self.lose(leader, &partitions, error, &mut outcomes),
            }
        }
        outcomes
    }

    /// Nothing is known of what was sent to a leader: the same goes for each partition.
    fn lose(
        &mut self,
        leader: i32,
        partitions: &BTreeSet<i32>,
        error: CommandError,
        outcomes: &mut Outcomes,
    ) {
        self.cluster.forget(leader);
        let mut error = Some(error);
        for partition in partitions {
            let again = || self.refused(*partition, ErrorCode::NetworkException);
            outcomes.push((*partition, Err(error.take().unwrap_or_else(again))));
        }
    }

    fn judge(&self, response: &ProduceResponse, partitions: &BTreeSet<i32>) -> Outcomes {
        let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let answers: BTreeMap<i32, _> = answers.map(|answer| (answer.index, answer)).collect();
        let judge = |partition: &i32| match answers.get(partition) {
            Some(answer) if answer.error_code == ErrorCode::DuplicateSequenceNumber.code() => Ok(()),
            Some(answer) => {
                let message = answer.error_message.as_deref();
                CommandError::check(|| self.called(*partition), answer.error_code, message)
            }
            None => Err(self.refused(*partition, ErrorCode::UnknownServerError)),
        };
        partitions.iter().map(|partition| (*partition, judge(partition))).collect()
    }

    fn request(&self, batches: &BTreeMap<i32, &Batch>) -> ProduceRequest {
        let data = batches.iter().map(|(partition, batch)| {
            PartitionProduceData::default().with_index(*partition).with_records(Some(self.encode(batch)))
        });
        let topic =
            TopicProduceData::default().with_name(name(&self.topic)).with_partition_data(data.collect());
        ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(self.cluster.settings.acks)
            .with_timeout_ms(millis(self.cluster.settings.request_timeout))
            .with_topic_data(vec![topic])
    }

    fn encode(&self, batch: &Batch) -> Bytes {
        let mut builder = BatchBuilder::new().codec(self.cluster.settings.codec);
        if let Some(Identity { id, epoch }) = self.identity {
            builder = builder.producer(id, epoch, batch.sequence);
        }
        for line in &batch.lines {
            let headers: Vec<Header<'_>> =
                line.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
            builder.append(line.timestamp_ms, line.key.as_deref(), line.value.as_deref(), &headers);
        }
        builder.build()
    }

    fn called(&self, partition: i32) -> String {
        format!("topic {} partition {partition}", self.topic)
    }

    fn refused(&self, partition: i32, code: ErrorCode) -> CommandError {
        CommandError::Refused { what: self.called(partition), code: code.code(), message: None }
    }
}

/// The first batch of a partition is acknowledged.
fn pop(queues: &mut Queues, partition: i32) {
    if let Some(queue) = queues.get_mut(&partition) {
        queue.pop_front();
        if queue.is_empty() {
            queues.remove(&partition);
        }
    }
}

/// A batch that is too large for the topic goes as two halves, unless it is a record.
fn split(queues: &mut Queues, partition: i32, error: CommandError) -> Result<(), CommandError> {
    let queue = queues.get_mut(&partition).filter(|_| error.code() == Some(ErrorCode::MessageTooLarge));
    let first = queue.and_then(|queue| Some((queue.pop_front_if(|batch| batch.lines.len() > 1)?, queue)));
    let Some((mut first, queue)) = first else { return Err(error) };
    let lines = first.lines.split_off(first.lines.len() / 2);
    let sequence = sequence_plus(first.sequence, i32::try_from(first.lines.len()).unwrap_or(0));
    queue.push_front(Batch { lines, sequence });
    queue.push_front(first);
    Ok(())
}
