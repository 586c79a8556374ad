//! LeaveGroup of a classic group: a member leaves, or an administrator takes some out, static ones by their instance id.
//!
//! After `GroupMetadataManager.classicGroupLeaveToClassicGroup` of Apache Kafka 4.2; KIP-345.

use super::Step;
use super::classic::{ClassicGroup, ClassicState};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

/// First version that names several members.
const BATCHES_SINCE: i16 = 3;

/// The members that a request names.
pub(super) fn named(request: &LeaveGroupRequest, version: i16) -> Vec<MemberIdentity> {
    if version >= BATCHES_SINCE {
        return request.members.clone();
    }
    vec![MemberIdentity::default().with_member_id(request.member_id.clone())]
}

/// Before there were batches, the one member's outcome was the whole answer.
pub(super) fn answer(mut members: Vec<MemberResponse>, version: i16) -> LeaveGroupResponse {
    if version >= BATCHES_SINCE {
        return LeaveGroupResponse::default().with_members(members);
    }
    let code = members.pop().map_or(0, |member| member.error_code);
    LeaveGroupResponse::default().with_error_code(code)
}

pub(super) fn outcome(member: &MemberIdentity, outcome: Result<(), ResponseError>) -> MemberResponse {
    MemberResponse::default()
        .with_member_id(member.member_id.clone())
        .with_group_instance_id(member.group_instance_id.clone())
        .with_error_code(outcome.err().map_or(0, |error| error.code()))
}

/// The answer where there is no such group.
pub(super) fn no_group(request: &LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let members = named(request, version);
    let refused = members.iter().map(|member| outcome(member, Err(ResponseError::UnknownMemberId)));
    answer(refused.collect(), version)
}

impl ClassicGroup {
    /// Members leave.
    pub(super) fn leave(
        &mut self,
        request: &LeaveGroupRequest,
        version: i16,
        step: &mut Step<'_>,
    ) -> LeaveGroupResponse {
        let members = named(request, version);
        let outcomes: Vec<_> = members.iter().map(|member| self.take_out(member, step)).collect();
        if outcomes.iter().any(Result::is_ok) {
            match self.state {
                ClassicState::Empty => {}
                ClassicState::Preparing { .. } | ClassicState::Completing | ClassicState::Stable => {
                    self.rebalance_or_complete(step);
                }
            }
        }
        answer(members.iter().zip(outcomes).map(|(member, left)| outcome(member, left)).collect(), version)
    }

    fn take_out(&mut self, member: &MemberIdentity, step: &mut Step<'_>) -> Result<(), ResponseError> {
        let (id, instance) = (member.member_id.as_str(), member.group_instance_id.as_deref());
        if id.is_empty() {
            // An administrator does not know the ids of members.
            let known = instance.and_then(|instance| self.of_instance(instance)).cloned();
            let known = known.ok_or(ResponseError::UnknownMemberId)?;
            self.expel(&known, step);
        } else if self.is_pending(id) {
            self.remove(id, step.timers);
        } else {
            self.validate_member(id, instance)?;
            self.expel(id, step);
        }
        Ok(())
    }
}
