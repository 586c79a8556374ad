//! What groups say to requests for their offsets, which are kept apart from them.
//!
//! After `OffsetMetadataManager.validateOffsetCommit`, `validateTransactionalOffsetCommit` and `validateOffsetFetch` of Apache Kafka 4.2.

use super::classic::ClassicState;
use super::{Group, GroupAnswer, GroupRequest, Groups};
use crate::coordinator::offsets::Verdict;
use crate::coordinator::{EffectsOf, Moment, Token};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{OffsetCommitRequest, TxnOffsetCommitRequest};
use uuid::Uuid;

/// First version of OffsetCommit that says that a group is not there (KIP-848).
const NOT_FOUND_SINCE: i16 = 9;

impl Groups {
    pub(super) fn handle_offsets(
        &mut self,
        moment: &Moment,
        token: Token,
        request: GroupRequest,
        effects: &mut EffectsOf<Groups>,
    ) {
        let limits = self.config.offsets;
        let answer = match request {
            GroupRequest::OffsetCommit { request, version } => {
                let verdict = self.may_commit(moment, &request, version, effects);
                GroupAnswer::OffsetCommit(self.offsets.commit(moment, &request, verdict, &limits, effects))
            }
            GroupRequest::TxnOffsetCommit { request, guard } => {
                let verdict = self.may_commit_in_transaction(moment, &request);
                GroupAnswer::TxnOffsetCommit(
                    self.offsets.txn_commit(moment, &request, guard, verdict, &limits, effects),
                )
            }
            GroupRequest::OffsetFetch { request, require_stable, version } => {
                let verdict = match self.groups.get(request.group_id.as_str()) {
                    Some(Group::Classic(_)) => Ok(()),
                    Some(Group::Consumer(group)) => {
                        group.validate_offset_fetch(request.member_id.as_deref(), request.member_epoch)
                    }
                    Some(Group::Share(_)) | None => Err(ResponseError::GroupIdNotFound),
                };
                GroupAnswer::OffsetFetch(self.offsets.fetch(&request, require_stable, verdict, version))
            }
            GroupRequest::OffsetDelete { request } => {
                let Groups { groups, offsets, .. } = self;
                let group = groups.get(request.group_id.as_str());
                let verdict = match group {
                    Some(Group::Classic(group)) => group.validate_offset_delete(),
                    Some(Group::Consumer(_)) => Ok(()),
                    Some(Group::Share(_)) | None => Err(ResponseError::GroupIdNotFound),
                };
                let subscribed = |topic: &str| match group {
                    Some(Group::Classic(group)) => {
                        group.state != ClassicState::Empty && group.is_subscribed(topic)
                    }
                    Some(Group::Consumer(group)) => group.is_subscribed(topic),
                    Some(Group::Share(_)) | None => false,
                };
                GroupAnswer::OffsetDelete(offsets.delete(&request, verdict, subscribed, effects))
            }
            GroupRequest::Join { .. }
            | GroupRequest::Sync { .. }
            | GroupRequest::Heartbeat { .. }
            | GroupRequest::Leave { .. }
            | GroupRequest::ConsumerHeartbeat { .. }
            | GroupRequest::ConsumerDescribe { .. }
            | GroupRequest::List { .. }
            | GroupRequest::Describe { .. }
            | GroupRequest::Delete { .. }
            | GroupRequest::ShareHeartbeat { .. }
            | GroupRequest::ShareDescribe { .. }
            | GroupRequest::SharePartitions { .. }
            | GroupRequest::AlterShareOffsets { .. }
            | GroupRequest::DeleteShareOffsets { .. } => unreachable!("these are no offsets"),
        };
        effects.answer(token, answer);
    }

    /// A commit is a sign of life, too.
    fn may_commit(
        &mut self,
        moment: &Moment,
        request: &OffsetCommitRequest,
        version: i16,
        effects: &mut EffectsOf<Groups>,
    ) -> Verdict {
        let generation = request.generation_id_or_member_epoch;
        let missing = if version >= NOT_FOUND_SINCE {
            ResponseError::GroupIdNotFound
        } else {
            ResponseError::IllegalGeneration
        };
        self.may_be_made(moment, &request.group_id, generation, missing)?;
        if let Some(group) = self.consumer(&request.group_id) {
            let instance = request.group_instance_id.as_deref();
            return group.validate_offset_commit(&request.member_id, instance, generation, false, version);
        }
        let Some((group, mut step)) = self.classic(&request.group_id, moment, effects) else {
            return Err(ResponseError::GroupIdNotFound);
        };
        let instance = request.group_instance_id.as_deref();
        group.validate_offset_commit(&request.member_id, instance, generation, false)?;
        if matches!(group.state, ClassicState::Stable | ClassicState::Preparing { .. }) {
            group.keep_alive(&request.member_id, &mut step);
        }
        Ok(())
    }

    fn may_commit_in_transaction(&mut self, moment: &Moment, request: &TxnOffsetCommitRequest) -> Verdict {
        // Its records are one batch, as Kafka's, which the topic must take.
        if batch_bytes(request) > self.config.record_bytes_max {
            return Err(ResponseError::UnknownServerError);
        }
        let generation = request.generation_id;
        self.may_be_made(moment, &request.group_id, generation, ResponseError::IllegalGeneration)?;
        match self.groups.get(request.group_id.as_str()) {
            Some(Group::Classic(group)) => {
                let instance = request.group_instance_id.as_deref();
                group.validate_offset_commit(&request.member_id, instance, generation, true)
            }
            Some(Group::Consumer(group)) => {
                let instance = request.group_instance_id.as_deref();
                let verdict =
                    group.validate_offset_commit(&request.member_id, instance, generation, true, i16::MAX);
                // Producers know generations alone.
                verdict.map_err(|error| match error {
                    ResponseError::StaleMemberEpoch => ResponseError::IllegalGeneration,
                    error => error,
                })
            }
            Some(Group::Share(_)) | None => Err(ResponseError::GroupIdNotFound),
        }
    }

    /// Who uses no membership commits to a group that need not exist.
    fn may_be_made(&mut self, moment: &Moment, id: &str, generation: i32, missing: ResponseError) -> Verdict {
        if !self.groups.contains_key(id) && generation >= 0 {
            return Err(missing);
        }
        self.ensure_simple(id, Some(moment.wall_ms));
        Ok(())
    }

    /// Topics were deleted, by name and id: what was committed of them goes.
    pub fn topics_deleted(
        &mut self,
        moment: &Moment,
        topics: &[(String, Uuid)],
        effects: &mut EffectsOf<Groups>,
    ) {
        self.offsets.topics_deleted(topics, effects);
        self.share_topics_deleted(moment, topics, effects);
    }
}

/// At most this large are the records of a commit in a transaction.
fn batch_bytes(request: &TxnOffsetCommitRequest) -> usize {
    const FIXED: usize = 96;
    let partitions = request.topics.iter().flat_map(|topic| {
        let names = FIXED + request.group_id.len() + topic.name.len();
        topic.partitions.iter().map(move |partition| {
            names + partition.committed_metadata.as_ref().map_or(0, |metadata| metadata.len())
        })
    });
    partitions.sum()
}
