//! AddPartitionsToTxn and AddOffsetsToTxn: partitions join a transaction, which begins with the first; and what a
//! partition's leader is told when it asks whether they have.
//!
//! Clients ask for one transaction (up to version 3), leaders for several (KIP-890): the coordinator sees one at a time, as
//! they may have different coordinators. After `TransactionCoordinator.handleAddPartitionsToTransaction`.

use super::entry::{EPOCH_BUMPING, Entry, Partitions};
use super::{Claim, Moment, Transactions, TxnEffects};
use crate::metadata::image::MetadataImage;
use hayate_net::error::ErrorCode;
use hayate_storage::batch::ProducerId;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    TopicName,
};
use std::collections::BTreeMap;

/// The version from which on leaders ask, not clients.
const LEADERS_SINCE: i16 = 4;

/// The version of both requests from which on clients know `PRODUCER_FENCED`.
const FENCED_SINCE: i16 = 2;

/// The topic of the groups' offsets.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The largest record of a transactional id, in bytes: with what a batch adds it stays below Kafka's default limit of
/// 1 MiB, which bounds there how many partitions a transaction may have.
const RECORD_BYTES_MAX: usize = 1_000_000;

/// The one transaction of a client's request, of versions up to 3.
pub fn from_client(request: &AddPartitionsToTxnRequest) -> AddPartitionsToTxnTransaction {
    AddPartitionsToTxnTransaction::default()
        .with_transactional_id(request.v3_and_below_transactional_id.clone())
        .with_producer_id(request.v3_and_below_producer_id)
        .with_producer_epoch(request.v3_and_below_producer_epoch)
        .with_topics(request.v3_and_below_topics.clone())
}

/// The response to the transactions of a request.
pub fn to_client(version: i16, results: Vec<AddPartitionsToTxnResult>) -> AddPartitionsToTxnResponse {
    let response = AddPartitionsToTxnResponse::default();
    if version >= LEADERS_SINCE {
        return response.with_results_by_transaction(results);
    }
    let topics = results.into_iter().flat_map(|result| result.topic_results);
    response.with_results_by_topic_v3_and_below(topics.collect())
}

/// The same answer for all partitions of a transaction, in the shape of the request.
pub fn refused(transaction: &AddPartitionsToTxnTransaction, code: ErrorCode) -> AddPartitionsToTxnResult {
    let topics = transaction.topics.iter();
    let topics = topics
        .map(|topic| topic_result(&topic.name, topic.partitions.iter().map(|partition| (*partition, code))));
    result_of(transaction, topics.collect())
}

/// An answer for each partition of a transaction, each once.
fn answered(
    transaction: &AddPartitionsToTxnTransaction,
    code: impl Fn(&str, i32) -> ErrorCode,
) -> AddPartitionsToTxnResult {
    let mut topics = BTreeMap::new();
    for topic in &transaction.topics {
        let codes: &mut BTreeMap<i32, ErrorCode> = topics.entry(&topic.name).or_default();
        codes.extend(topic.partitions.iter().map(|partition| (*partition, code(&topic.name, *partition))));
    }
    let topics = topics.into_iter().map(|(name, codes)| topic_result(name, codes.into_iter()));
    result_of(transaction, topics.collect())
}

fn topic_result(
    name: &TopicName,
    codes: impl Iterator<Item = (i32, ErrorCode)>,
) -> AddPartitionsToTxnTopicResult {
    let results = codes.map(|(partition, code)| {
        AddPartitionsToTxnPartitionResult::default()
            .with_partition_index(partition)
            .with_partition_error_code(code.code())
    });
    AddPartitionsToTxnTopicResult::default()
        .with_name(name.clone())
        .with_results_by_partition(results.collect())
}

fn result_of(
    transaction: &AddPartitionsToTxnTransaction,
    topics: Vec<AddPartitionsToTxnTopicResult>,
) -> AddPartitionsToTxnResult {
    AddPartitionsToTxnResult::default()
        .with_transactional_id(transaction.transactional_id.clone())
        .with_topic_results(topics)
}

/// If one partition is not there, none joins: the answer then.
fn unknown_partitions(
    image: &MetadataImage,
    transaction: &AddPartitionsToTxnTransaction,
) -> Option<AddPartitionsToTxnResult> {
    let mut topics = transaction.topics.iter();
    let is_whole =
        |name: &str, partitions: &[i32]| partitions.iter().all(|number| is_there(image, name, *number));
    if topics.all(|topic| is_whole(&topic.name, &topic.partitions)) {
        return None;
    }
    Some(answered(transaction, |topic, partition| {
        if is_there(image, topic, partition) {
            ErrorCode::OperationNotAttempted
        } else {
            ErrorCode::UnknownTopicOrPartition
        }
    }))
}

/// Whether a partition is there.
pub(super) fn is_there(image: &MetadataImage, topic: &str, partition: i32) -> bool {
    image.topic(topic).is_some_and(|topic| topic.partitions.contains_key(&partition))
}

impl Transactions {
    pub(super) fn add_partitions(
        &mut self,
        moment: &Moment,
        version: i16,
        transaction: &AddPartitionsToTxnTransaction,
        effects: &mut TxnEffects,
    ) -> AddPartitionsToTxnResult {
        if let Some(unknown) = unknown_partitions(&moment.image, transaction) {
            return unknown;
        }
        let claim = Claim {
            transactional_id: &transaction.transactional_id,
            producer_id: ProducerId(transaction.producer_id.0),
            epoch: transaction.producer_epoch,
        };
        if transaction.verify_only {
            return self.verify(claim, transaction);
        }
        let named = transaction.topics.iter();
        let named = named.map(|topic| (topic.name.as_str(), topic.partitions.as_slice()));
        let client_version = if version >= LEADERS_SINCE { EPOCH_BUMPING } else { 0 };
        let code = self.add(moment, claim, named, client_version, effects).err().unwrap_or_default();
        refused(transaction, self.told_code(version, FENCED_SINCE, code))
    }

    pub(super) fn add_offsets(
        &mut self,
        moment: &Moment,
        version: i16,
        request: &AddOffsetsToTxnRequest,
        partition: i32,
        effects: &mut TxnEffects,
    ) -> AddOffsetsToTxnResponse {
        let claim = Claim {
            transactional_id: &request.transactional_id,
            producer_id: ProducerId(request.producer_id.0),
            epoch: request.producer_epoch,
        };
        let partitions: &[i32] = &[partition];
        // Clients whose epochs are bumped leave this to the group's coordinator.
        let code = self
            .add(moment, claim, [(OFFSETS_TOPIC, partitions)].into_iter(), 0, effects)
            .err()
            .unwrap_or_default();
        let code = self.told_code(version, FENCED_SINCE, code);
        AddOffsetsToTxnResponse::default().with_error_code(code.code())
    }

    pub(super) fn add<'a>(
        &mut self,
        moment: &Moment,
        claim: Claim<'_>,
        named: impl Iterator<Item = (&'a str, &'a [i32])> + Clone,
        client_version: i16,
        effects: &mut TxnEffects,
    ) -> Result<(), ErrorCode> {
        let id = claim.transactional_id;
        let entry = self.claimed(claim)?;
        let has = |(topic, partitions): (&str, &[i32])| {
            let known = entry.value.partitions.get(topic);
            partitions.iter().all(|partition| known.is_some_and(|known| known.contains(partition)))
        };
        if entry.is_ongoing() && named.clone().all(has) {
            return Ok(());
        }
        let mut partitions = entry.value.partitions.clone();
        for (topic, numbers) in named {
            partitions.entry(topic.to_owned()).or_default().extend(numbers);
        }
        partitions.retain(|_, numbers| !numbers.is_empty());
        if record_bytes(id, &partitions) > RECORD_BYTES_MAX {
            return Err(ErrorCode::UnknownServerError);
        }
        let step = entry.extended(partitions, client_version, moment.wall_ms);
        self.write(moment, id, step, effects);
        Ok(())
    }

    /// The entry of a transactional id whose present producer asks, and to which a partition can be added.
    fn claimed(&self, claim: Claim<'_>) -> Result<&Entry, ErrorCode> {
        if claim.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let entry = self.entries.get(claim.transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        if entry.preparing().is_some() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        is_present(entry, claim)?;
        // Nobody was ever told this one: a transaction of it could not be ended.
        if claim.epoch == i16::MAX {
            return Err(ErrorCode::ProducerFenced);
        }
        Ok(entry)
    }

    /// Tells a leader which partitions are part of the transaction; it appends nothing to the others.
    fn verify(
        &mut self,
        claim: Claim<'_>,
        transaction: &AddPartitionsToTxnTransaction,
    ) -> AddPartitionsToTxnResult {
        let entry = match self.verifiable(claim) {
            Ok(entry) => entry,
            Err(code) => {
                let code = self.told_code(FENCED_SINCE, FENCED_SINCE, code);
                return refused(transaction, code);
            }
        };
        answered(transaction, |topic, partition| {
            let known = entry.value.partitions.get(topic);
            if known.is_some_and(|known| known.contains(&partition)) {
                ErrorCode::None
            } else {
                ErrorCode::TransactionAbortable
            }
        })
    }

    fn verifiable(&self, claim: Claim<'_>) -> Result<&Entry, ErrorCode> {
        if claim.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let entry = self.entries.get(claim.transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        is_present(entry, claim)?;
        if entry.preparing().is_some() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        Ok(entry)
    }
}

fn is_present(entry: &Entry, claim: Claim<'_>) -> Result<(), ErrorCode> {
    if entry.value.producer_id != claim.producer_id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if entry.value.producer_epoch != claim.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    Ok(())
}

/// At most this large is the record of a transactional id with these partitions.
fn record_bytes(id: &str, partitions: &Partitions) -> usize {
    const FIXED: usize = 128;
    const TOPIC: usize = 16;
    let topics = partitions.iter().map(|(topic, numbers)| TOPIC + topic.len() + 4 * numbers.len());
    FIXED + id.len() + topics.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::{ErrorCode, TopicName, answered, refused};
    use kafka_protocol::messages::add_partitions_to_txn_request::{
        AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
    };
    use kafka_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;
    use kafka_protocol::protocol::StrBytes;

    fn told(result: &AddPartitionsToTxnResult) -> Vec<(&str, Vec<i32>)> {
        let topics = result.topic_results.iter();
        topics
            .map(|topic| {
                let partitions = topic.results_by_partition.iter().map(|partition| partition.partition_index);
                (topic.name.as_str(), partitions.collect())
            })
            .collect()
    }

    #[test]
    fn one_answer_for_all_has_the_shape_of_the_request_and_answers_of_their_own_name_each_once() {
        let topics = [("b", vec![1, 1]), ("a", vec![0]), ("b", vec![2])].map(|(name, partitions)| {
            let name = TopicName(StrBytes::from_static_str(name));
            AddPartitionsToTxnTopic::default().with_name(name).with_partitions(partitions)
        });
        let transaction = AddPartitionsToTxnTransaction::default().with_topics(topics.to_vec());
        assert_eq!(
            told(&refused(&transaction, ErrorCode::None)),
            [("b", vec![1, 1]), ("a", vec![0]), ("b", vec![2])]
        );
        let each = answered(&transaction, |_, _| ErrorCode::None);
        assert_eq!(told(&each), [("a", vec![0]), ("b", vec![1, 2])]);
    }
}
