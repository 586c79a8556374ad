//! A transactional producer of either protocol over a simulated socket, and what readers of committed records see.
//!
//! It asks again where clients do. A connection that is lost, or an answer that does not come, is `NETWORK_EXCEPTION`: what became of
//! the request is not known.

use super::{Bench, CLIENT, Client, Topic, checked, name, records_from, values};
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_rt::Rt;
use hayate_storage::batch::scan::{BatchScan, Checksums};
use hayate_storage::batch::{BatchBuilder, ProducerId};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    FetchRequest, FetchResponse, FindCoordinatorRequest, GroupId, InitProducerIdRequest, OffsetFetchRequest,
    OffsetFetchResponse, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Text for a request.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A transactional id for a request.
pub fn transactional_id(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}

/// A producer id for a request.
pub fn kafka_id(id: i64) -> kafka_protocol::messages::ProducerId {
    kafka_protocol::messages::ProducerId(id)
}

/// Whether a client asks again.
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotCoordinator
            | ErrorCode::NotEnoughReplicas
    )
}

/// Which protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// It adds its partitions, and its epoch stays.
    First,
    /// KIP-890.
    Second,
}

/// Both of them.
pub const BOTH: [Protocol; 2] = [Protocol::First, Protocol::Second];

/// A transactional producer, of two partitions and a group's offsets.
pub struct Producer {
    bench: Bench,
    /// Its connection.
    pub client: Client,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its transactional id.
    pub id: &'static str,
    /// The group whose offsets take part.
    pub group: &'static str,
    /// Its producer id and epoch.
    pub who: (i64, i16),
    /// How often it had to come again.
    pub retries: Cell<u32>,
    /// The next sequence of each partition.
    sequences: [i32; 2],
    added: BTreeSet<i32>,
}

impl Producer {
    /// Finds its coordinators, and begins. Its transactions may be open for `timeout_ms`.
    ///
    /// # Errors
    /// Kafka's codes.
    pub async fn begin(
        bench: &Bench,
        protocol: Protocol,
        (id, group): (&'static str, &'static str),
        timeout_ms: i32,
    ) -> Result<Producer, ErrorCode> {
        let client = bench.try_client().await.ok_or(ErrorCode::NetworkException)?;
        let (who, added) = ((-1, -1), BTreeSet::new());
        let (sequences, retries) = ([0; 2], Cell::new(0));
        let mut producer =
            Producer { bench: bench.clone(), client, protocol, id, group, who, retries, sequences, added };
        for (key_type, key) in [(1, id), (0, group)] {
            let find = FindCoordinatorRequest::default()
                .with_key_type(key_type)
                .with_coordinator_keys(vec![text(key)]);
            let found = producer.ask(6, &find).await?;
            checked(found.coordinators[0].error_code)?;
        }
        producer.who = producer.init(timeout_ms).await?;
        Ok(producer)
    }

    async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, ErrorCode> {
        let rt = Rt::sim(self.bench.sim.node(CLIENT));
        let answered = rt.timeout(PATIENCE, self.client.try_ask(version, request)).await;
        answered.ok().flatten().ok_or(ErrorCode::NetworkException)
    }

    /// Begins anew; the identity that it gets.
    ///
    /// # Errors
    /// Kafka's codes.
    pub async fn init(&mut self, timeout_ms: i32) -> Result<(i64, i16), ErrorCode> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional_id(self.id)))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id(kafka_id(-1))
            .with_producer_epoch(-1);
        loop {
            let response = self.ask(5, &request).await?;
            match checked(response.error_code) {
                Err(code) if passes(code) => self.pause().await,
                outcome => return outcome.map(|()| (response.producer_id.0, response.producer_epoch)),
            }
        }
    }

    async fn pause(&self) {
        self.retries.set(self.retries.get() + 1);
        self.bench.sim.sleep(Duration::from_millis(7)).await;
    }

    /// A batch of its transaction, as the next one of the partition.
    pub fn batch(&self, partition: i32, values: &[&str]) -> Bytes {
        let sequence = self.sequences[usize::try_from(partition).unwrap()];
        let builder = BatchBuilder::new().producer(ProducerId(self.who.0), self.who.1, sequence);
        let record = |builder: BatchBuilder, value: &&str| {
            builder.record(1_767_225_600_000, None, Some(value.as_bytes()))
        };
        values.iter().fold(builder.transactional(true), record).build()
    }

    /// A batch that it made before is in the partition: the next one follows it.
    pub fn skip(&mut self, partition: usize) {
        // Under the second protocol each end begins new sequences, and the batch was of the ones before.
        if self.protocol == Protocol::First {
            self.sequences[partition] += 1;
        }
    }

    /// A version of Produce that the protocol uses.
    pub fn produce_version(&self) -> i16 {
        if self.protocol == Protocol::Second { 13 } else { 11 }
    }

    /// Sends a batch.
    ///
    /// # Errors
    /// Kafka's codes.
    pub async fn produce(
        &mut self,
        version: i16,
        topic: &Topic,
        partition: i32,
        records: Bytes,
    ) -> Result<i64, ErrorCode> {
        let request = Client::produce_in(version, topic, partition, records)
            .with_transactional_id(Some(transactional_id(self.id)));
        loop {
            let response = self.ask(version, &request).await?;
            let told = &response.responses[0].partition_responses[0];
            match checked(told.error_code) {
                Err(code) if passes(code) => self.pause().await,
                outcome => return outcome.map(|()| told.base_offset),
            }
        }
    }

    /// Adds a partition to its transaction.
    ///
    /// # Errors
    /// Kafka's codes.
    pub async fn add(&mut self, topic: &str, partition: i32) -> Result<(), ErrorCode> {
        let topic =
            AddPartitionsToTxnTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional_id(self.id))
            .with_v3_and_below_producer_id(kafka_id(self.who.0))
            .with_v3_and_below_producer_epoch(self.who.1)
            .with_v3_and_below_topics(vec![topic]);
        loop {
            let response = self.ask(3, &request).await?;
            let told = &response.results_by_topic_v3_and_below[0].results_by_partition[0];
            match checked(told.partition_error_code) {
                Err(code) if passes(code) => self.pause().await,
                outcome => return outcome,
            }
        }
    }

    /// Writes records in its transaction.
    ///
    /// # Errors
    /// Kafka's codes.
    pub async fn send(&mut self, topic: &Topic, partition: i32, values: &[&str]) -> Result<i64, ErrorCode> {
        if self.protocol == Protocol::First && !self.added.contains(&partition) {
            self.add(&topic.name, partition).await?;
            self.added.insert(partition);
        }
        let records = self.batch(partition, values);
        let offset = self.produce(self.produce_version(), topic, partition, records).await?;
        self.sequences[usize::try_from(partition).unwrap()] += i32::try_from(values.len()).unwrap();
        Ok(offset)
    }

    /// Has its transaction commit that the group has read so far.
    ///
    /// # Errors
    /// Kafka's codes.
    pub async fn commit_offset(&mut self, topic: &Topic, offset: i64) -> Result<(), ErrorCode> {
        if self.protocol == Protocol::First {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(transactional_id(self.id))
                .with_producer_id(kafka_id(self.who.0))
                .with_producer_epoch(self.who.1)
                .with_group_id(GroupId(text(self.group)));
            while let Err(code) = checked(self.ask(3, &request).await?.error_code) {
                if !passes(code) {
                    return Err(code);
                }
                self.pause().await;
            }
        }
        let request = self.offset_commit(topic, offset);
        let version = if self.protocol == Protocol::Second { 5 } else { 3 };
        loop {
            let response = self.ask(version, &request).await?;
            match checked(response.topics[0].partitions[0].error_code) {
                Err(code) if passes(code) => self.pause().await,
                outcome => return outcome,
            }
        }
    }

    /// The request that commits the offset of partition 0.
    pub fn offset_commit(&self, topic: &Topic, offset: i64) -> TxnOffsetCommitRequest {
        let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(name(&topic.name))
            .with_partitions(vec![partition]);
        TxnOffsetCommitRequest::default()
            .with_transactional_id(transactional_id(self.id))
            .with_group_id(GroupId(text(self.group)))
            .with_producer_id(kafka_id(self.who.0))
            .with_producer_epoch(self.who.1)
            .with_generation_id(-1)
            .with_topics(vec![topic])
    }

    /// The request that ends its transaction.
    pub fn end_request(&self, committed: bool) -> EndTxnRequest {
        EndTxnRequest::default()
            .with_transactional_id(transactional_id(self.id))
            .with_producer_id(kafka_id(self.who.0))
            .with_producer_epoch(self.who.1)
            .with_committed(committed)
    }

    /// The version of it that the protocol uses.
    pub fn end_version(&self) -> i16 {
        if self.protocol == Protocol::Second { 5 } else { 3 }
    }

    /// Ends its transaction.
    ///
    /// # Errors
    /// Kafka's codes.
    pub async fn end(&mut self, committed: bool) -> Result<(), ErrorCode> {
        let request = self.end_request(committed);
        loop {
            let response = self.ask(self.end_version(), &request).await?;
            match checked(response.error_code) {
                Err(code) if passes(code) => self.pause().await,
                Err(code) => return Err(code),
                Ok(()) if self.protocol == Protocol::Second => {
                    let who = (response.producer_id.0, response.producer_epoch);
                    assert!(who.0 != self.who.0 || who.1 == self.who.1 + 1, "each end bumps the epoch");
                    (self.who, self.sequences, self.added) = (who, [0; 2], BTreeSet::new());
                    return Ok(());
                }
                Ok(()) => {
                    self.added.clear();
                    return Ok(());
                }
            }
        }
    }

    /// How its transactional id stands.
    ///
    /// # Errors
    /// 13.
    pub async fn described(&mut self) -> Result<TransactionState, ErrorCode> {
        let request =
            DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional_id(self.id)]);
        Ok(self.ask(0, &request).await?.transaction_states.remove(0))
    }

    /// Waits until what was decided is carried out, or what takes too long is aborted; the state then.
    ///
    /// # Errors
    /// 13.
    pub async fn settled(&mut self) -> Result<String, ErrorCode> {
        loop {
            let described = self.described().await?;
            let state = described.transaction_state.to_string();
            if state.starts_with("Complete") {
                assert!(described.topics.is_empty(), "nothing is open any more: {described:?}");
                return Ok(state);
            }
            self.pause().await;
        }
    }
}

/// A fetch of committed records from the beginning of a partition.
pub fn committed_fetch(topic: &Topic, partition: i32) -> FetchRequest {
    Client::fetch_request(topic, &[(partition, 0)], 1, 0).with_isolation_level(1)
}

/// What a reader of committed records makes of the answer: what clients do with the list of aborted transactions, done here.
pub fn committed_values(response: &FetchResponse, partition: i32) -> Vec<String> {
    let fetched = &response.responses[0].partitions[0];
    assert_eq!(checked(fetched.error_code), Ok(()));
    let mut aborted: Vec<(i64, i64)> = fetched
        .aborted_transactions
        .iter()
        .flatten()
        .map(|aborted| (aborted.producer_id.0, aborted.first_offset))
        .collect();
    let records = records_from(response, partition);
    let mut seen = Vec::new();
    for batch in BatchScan::new(&records, Checksums::Verify) {
        let producer = batch.header.producer_id.0;
        let begins = |(of, from): &(i64, i64)| *of == producer && *from <= batch.header.base_offset.0;
        let place = aborted.iter().position(begins);
        if batch.header.is_control() {
            place.map(|place| aborted.remove(place));
        } else if place.is_none() {
            let mut alone = response.clone();
            alone.responses[0].partitions[0].records = Some(Bytes::copy_from_slice(batch.bytes));
            seen.extend(values(&alone, partition));
        }
    }
    seen
}

/// Asks for the offset that a group has committed for partition 0; withheld, if `stable`, while a transaction may change it.
pub fn offset_fetch(group: &str, topic: &Topic, stable: bool) -> OffsetFetchRequest {
    let asked =
        OffsetFetchRequestTopics::default().with_name(name(&topic.name)).with_partition_indexes(vec![0]);
    let asked =
        OffsetFetchRequestGroup::default().with_group_id(GroupId(text(group))).with_topics(Some(vec![asked]));
    OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(stable)
}

/// The answer to it; −1 for none.
///
/// # Errors
/// Kafka's codes.
pub fn offset_of(response: &OffsetFetchResponse) -> Result<i64, ErrorCode> {
    checked(response.groups[0].error_code)?;
    let partition = &response.groups[0].topics[0].partitions[0];
    checked(partition.error_code).map(|()| partition.committed_offset)
}
