//! What administrators ask of groups: which there are, how they are, and that they go.
//!
//! After `GroupMetadataManager.listGroups`, `describeGroups`, `classicGroupDelete` and `cleanupGroupMetadata` of Apache Kafka 4.2;
//! KIP-518 and KIP-848 (filters by state and type).

use super::classic::{ClassicGroup, ClassicState, OffsetExpiry};
use super::modern::{CONSUMER, ConsumerState};
use super::{Group, Groups, text};
use crate::coordinator::offsets::Expiry;
use crate::coordinator::records::GroupRecord;
use crate::coordinator::{EffectsOf, Moment};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;
use std::rc::Rc;

/// First version of DescribeGroups that says that a group is not there (KIP-1043).
const NOT_FOUND_SINCE: i16 = 6;
/// What a group is called that is not there.
const DEAD: &str = "Dead";

impl Groups {
    pub(super) fn list(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let wants = |filter: &[StrBytes], what: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(what))
        };
        let listed = self.groups.values().filter_map(|group| {
            let (id, protocol_type, state, kind) = match group {
                Group::Classic(group) => {
                    let protocol_type = group.protocol_type.as_deref().unwrap_or_default();
                    (&group.id, protocol_type, group.state.name(), "classic")
                }
                Group::Consumer(group) => (&group.id, CONSUMER, group.state().name(), "consumer"),
                Group::Share(group) => (&group.id, "share", group.state(), "share"),
            };
            let fits = wants(&request.states_filter, state) && wants(&request.types_filter, kind);
            fits.then(|| {
                ListedGroup::default()
                    .with_group_id(GroupId(text(id)))
                    .with_protocol_type(text(protocol_type))
                    .with_group_state(text(state))
                    .with_group_type(text(kind))
            })
        });
        ListGroupsResponse::default().with_groups(listed.collect())
    }

    pub(super) fn describe(&self, id: &str, version: i16) -> DescribedGroup {
        let described = DescribedGroup::default().with_group_id(GroupId(text(id)));
        match self.groups.get(id) {
            Some(Group::Classic(group)) => describe(group, described),
            other if version >= NOT_FOUND_SINCE => {
                let message = match other {
                    Some(_) => format!("Group {id} is not a classic group."),
                    None => format!("Group {id} not found."),
                };
                described
                    .with_group_state(text(DEAD))
                    .with_error_code(ResponseError::GroupIdNotFound.code())
                    .with_error_message(Some(text(&message)))
            }
            Some(_) | None => described.with_group_state(text(DEAD)),
        }
    }

    pub(super) fn delete(&mut self, id: &str, effects: &mut EffectsOf<Groups>) -> DeletableGroupResult {
        let refusal = match self.groups.get(id) {
            None => Some(ResponseError::GroupIdNotFound),
            Some(Group::Classic(group)) if group.state != ClassicState::Empty => {
                Some(ResponseError::NonEmptyGroup)
            }
            Some(Group::Consumer(group)) if group.state() != ConsumerState::Empty => {
                Some(ResponseError::NonEmptyGroup)
            }
            Some(Group::Classic(_) | Group::Consumer(_)) => None,
            // A share group is deleted with its states.
            Some(Group::Share(_)) => Some(ResponseError::GroupIdNotFound),
        };
        if refusal.is_none() {
            self.offsets.delete_group(id, effects);
            self.forget(id, effects);
        }
        let code = refusal.map_or(0, |error| error.code());
        DeletableGroupResult::default().with_group_id(GroupId(text(id))).with_error_code(code)
    }

    /// Writes that the group is no more.
    pub(super) fn forget(&mut self, id: &str, effects: &mut EffectsOf<Groups>) {
        let written = match self.consumer(id) {
            Some(group) => group.tombstones(),
            None => vec![GroupRecord::GroupMetadata(id.to_owned(), None)],
        };
        self.write_all(written, effects);
    }

    /// Deletes offsets that have expired, and groups that have neither members nor offsets any more.
    pub(super) fn expire(&mut self, moment: &Moment, effects: &mut EffectsOf<Groups>) {
        let ids: Vec<Rc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            let Some(group) = self.groups.get(&id) else { continue };
            let (expiry, is_empty) = match group {
                Group::Classic(group) => (expiry_of(group), group.state == ClassicState::Empty),
                Group::Consumer(group) => (Expiry::SinceCommit, group.members.is_empty()),
                // It commits no offsets, and goes by request alone.
                Group::Share(_) => continue,
            };
            // An empty group subscribes to nothing.
            let subscribed = |topic: &str| match group {
                Group::Classic(group) => group.state == ClassicState::Stable && group.is_subscribed(topic),
                Group::Consumer(group) => group.is_subscribed(topic),
                Group::Share(_) => false,
            };
            let limits = &self.config.offsets;
            let bare = self.offsets.expire(moment, &id, expiry, subscribed, limits, effects);
            if bare && is_empty {
                self.forget(&id, effects);
            }
        }
    }
}

fn expiry_of(group: &ClassicGroup) -> Expiry {
    match group.offset_expiry() {
        OffsetExpiry::Never => Expiry::Never,
        OffsetExpiry::SinceCommit => Expiry::SinceCommit,
        OffsetExpiry::Since(since_ms) => Expiry::Since(since_ms),
    }
}

fn describe(group: &ClassicGroup, described: DescribedGroup) -> DescribedGroup {
    let protocol = match group.state {
        ClassicState::Stable => group.protocol.as_deref(),
        ClassicState::Empty | ClassicState::Preparing { .. } | ClassicState::Completing => None,
    };
    let members = group.members.iter().map(|(id, member)| {
        let described = DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(member.instance.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_assignment(member.assignment.clone());
        match protocol {
            Some(protocol) => described.with_member_metadata(member.metadata(protocol)),
            None => described,
        }
    });
    described
        .with_group_state(text(group.state.name()))
        .with_protocol_type(text(group.protocol_type.as_deref().unwrap_or_default()))
        .with_protocol_data(text(protocol.unwrap_or_default()))
        .with_members(members.collect())
}
