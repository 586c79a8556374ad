//! OffsetCommit and TxnOffsetCommit: what a group or a transaction has processed.
//!
//! Source: Kafka's schemas and `OffsetMetadataManager.commitOffset`, `commitTransactionalOffset`. As in Kafka, any offset
//! is taken, a negative one too: what it means is between the client and itself.

use super::{OffsetLimits, Offsets, Verdict};
use crate::coordinator::records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use crate::coordinator::{Effects, Moment, Write};
use crate::partition::verification::Guard;
use hayate_storage::batch::ProducerId;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// One partition's commit, from either request.
struct Commit<'a> {
    group: &'a str,
    topic: &'a str,
    topic_id: Uuid,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&'a StrBytes>,
    expire_timestamp_ms: i64,
}

impl Commit<'_> {
    /// The record that it becomes.
    fn record(
        &self,
        moment: &Moment,
        limits: &OffsetLimits,
    ) -> Result<(OffsetCommitKey, OffsetCommitValue), ResponseError> {
        let metadata = self.metadata.map_or("", |metadata| metadata.as_str());
        if is_longer(metadata, limits.metadata_max) {
            return Err(ResponseError::OffsetMetadataTooLarge);
        }
        let key = OffsetCommitKey {
            group: self.group.to_string(),
            topic: self.topic.to_string(),
            partition: self.partition,
        };
        let value = OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: metadata.to_string(),
            commit_timestamp_ms: moment.wall_ms,
            expire_timestamp_ms: self.expire_timestamp_ms,
            topic_id: self.topic_id,
        };
        Ok((key, value))
    }
}

impl Offsets {
    /// Answers OffsetCommit, and writes what it commits. `verdict` is the group's: a refusal is each partition's.
    ///
    /// A partition whose metadata are too large fails alone, with `OFFSET_METADATA_TOO_LARGE`.
    pub fn commit<A, O>(
        &mut self,
        moment: &Moment,
        request: &OffsetCommitRequest,
        verdict: Verdict,
        limits: &OffsetLimits,
        effects: &mut Effects<GroupRecord, A, O>,
    ) -> OffsetCommitResponse {
        if let Err(error) = verdict {
            return commit_refused(request, error);
        }
        let expire_timestamp_ms = expire_timestamp_ms(request.retention_time_ms, moment.wall_ms);
        commit_answer(request, |topic, at| {
            let partition = &topic.partitions[at];
            let commit = Commit {
                group: &request.group_id,
                topic: &topic.name,
                topic_id: topic.topic_id,
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref(),
                expire_timestamp_ms,
            };
            let (key, value) = commit.record(moment, limits)?;
            self.counters.committed += 1;
            self.write(key, Some(value), effects);
            Ok(())
        })
    }

    /// Answers TxnOffsetCommit, and writes what the transaction will commit, as part of it. Refusals as for a commit.
    pub fn txn_commit<A, O>(
        &mut self,
        moment: &Moment,
        request: &TxnOffsetCommitRequest,
        guard: Option<Guard>,
        verdict: Verdict,
        limits: &OffsetLimits,
        effects: &mut Effects<GroupRecord, A, O>,
    ) -> TxnOffsetCommitResponse {
        if let Err(error) = verdict {
            return txn_commit_refused(request, error);
        }
        let producer = ProducerId(request.producer_id.0);
        let mut records = Vec::new();
        let answer = txn_commit_answer(request, |topic, at| {
            let partition = &topic.partitions[at];
            let commit = Commit {
                group: &request.group_id,
                topic: &topic.name,
                topic_id: Uuid::nil(),
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref(),
                expire_timestamp_ms: -1,
            };
            let (key, value) = commit.record(moment, limits)?;
            self.counters.committed += 1;
            self.apply(Some(producer), &key, Some(&value));
            records.push(GroupRecord::OffsetCommit(key, Some(value)));
            Ok(())
        });
        if !records.is_empty() {
            effects.writes.push(Write { producer: Some((producer, request.producer_epoch)), guard, records });
        }
        answer
    }
}

/// The answer to an OffsetCommit that is refused whole.
pub fn commit_refused(request: &OffsetCommitRequest, error: ResponseError) -> OffsetCommitResponse {
    commit_answer(request, |_, _| Err(error))
}

/// The answer to a TxnOffsetCommit that is refused whole.
pub fn txn_commit_refused(request: &TxnOffsetCommitRequest, error: ResponseError) -> TxnOffsetCommitResponse {
    txn_commit_answer(request, |_, _| Err(error))
}

/// Answers each partition with what `each` says of it, told its topic and its place there.
fn commit_answer(
    request: &OffsetCommitRequest,
    mut each: impl FnMut(&OffsetCommitRequestTopic, usize) -> Verdict,
) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().enumerate().map(|(at, partition)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(each(topic, at)))
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// As [`commit_answer`].
fn txn_commit_answer(
    request: &TxnOffsetCommitRequest,
    mut each: impl FnMut(&TxnOffsetCommitRequestTopic, usize) -> Verdict,
) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().enumerate().map(|(at, partition)| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(each(topic, at)))
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn code(verdict: Verdict) -> i16 {
    verdict.map_or_else(|error| error.code(), |()| 0)
}

/// When an offset expires that is committed with a retention of its own (versions 2 to 4); −1 if it has none.
fn expire_timestamp_ms(retention_time_ms: i64, now_ms: i64) -> i64 {
    if retention_time_ms == -1 { -1 } else { now_ms.saturating_add(retention_time_ms) }
}

/// Kafka counts metadata as Java counts strings. No text has more UTF-16 units than bytes.
fn is_longer(text: &str, units_max: usize) -> bool {
    text.len() > units_max && text.encode_utf16().count() > units_max
}
