//! A member of a classic group: what it told when it joined, what it was assigned, and the request of it that waits.
//!
//! It knows nothing of its group. After `ClassicGroupMember` of Apache Kafka 4.2.

use super::Waiting;
use super::timers::Handle;
use crate::coordinator::records::MemberMetadata;
use bytes::Bytes;
use kafka_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use std::collections::BTreeSet;

/// A way to assign that a member supports, and what it tells the leader with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) name: Box<str>,
    pub(super) metadata: Bytes,
}

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name over restarts, of a static member.
    pub(super) instance: Option<Box<str>>,
    pub(super) client_id: Box<str>,
    pub(super) client_host: Box<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// In the order of its preference, each name once.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// Its JoinGroup that waits for the others.
    pub(super) joining: Option<Waiting>,
    /// Its SyncGroup that waits for the leader's.
    pub(super) syncing: Option<Waiting>,
    /// It has not been answered a JoinGroup yet, so that it may not even know its id.
    pub(super) is_new: bool,
    /// When it is taken for lost.
    pub(super) session: Option<Handle>,
}

impl Member {
    /// A member as it joins.
    pub(super) fn joining(request: &JoinGroupRequest, client_id: &str, client_host: &str) -> Member {
        Member {
            instance: request.group_instance_id.as_deref().map(Into::into),
            client_id: client_id.into(),
            client_host: client_host.into(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: protocols_of(&request.protocols),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: true,
            session: None,
        }
    }

    /// A member as a record has it: of its protocols the record knows the group's.
    pub(super) fn of_record(record: &MemberMetadata, protocol: &str) -> Member {
        let mut member = Member {
            instance: None,
            client_id: Box::default(),
            client_host: Box::default(),
            rebalance_timeout_ms: 0,
            session_timeout_ms: 0,
            protocols: vec![Protocol { name: protocol.into(), metadata: record.subscription.clone() }],
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: false,
            session: None,
        };
        member.follow(record);
        member
    }

    /// Takes over what a record says of the member, bar its protocols.
    pub(super) fn follow(&mut self, record: &MemberMetadata) {
        self.instance = record.group_instance_id.as_deref().map(Into::into);
        self.client_id = record.client_id.as_str().into();
        self.client_host = record.client_host.as_str().into();
        self.session_timeout_ms = record.session_timeout_ms;
        self.rebalance_timeout_ms = match record.rebalance_timeout_ms {
            -1 => record.session_timeout_ms,
            told => told,
        };
        self.assignment = record.assignment.clone();
    }

    /// The same static member under another id: nothing of it waits yet.
    pub(super) fn successor(&self) -> Member {
        Member {
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            protocols: self.protocols.clone(),
            assignment: self.assignment.clone(),
            joining: None,
            syncing: None,
            is_new: false,
            session: None,
        }
    }

    /// What is recorded of the member in a group that has agreed on `protocol`.
    pub(super) fn to_record(&self, id: &str, protocol: &str, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            member_id: id.into(),
            group_instance_id: self.instance.as_deref().map(Into::into),
            client_id: self.client_id.as_ref().into(),
            client_host: self.client_host.as_ref().into(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    /// What it tells with a protocol; nothing if it does not support it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|supported| *supported.name == *protocol);
        found.map(|supported| supported.metadata.clone()).unwrap_or_default()
    }

    /// Does a request tell what the member told before?
    pub(super) fn matches(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        let told = self.protocols.iter().map(|protocol| (&*protocol.name, &protocol.metadata));
        told.eq(protocols.iter().map(|protocol| (&*protocol.name, &protocol.metadata)))
    }

    /// Does it owe no heartbeat? While its request waits here it cannot send one; but one that has never been answered
    /// is not waited for beyond its time, for its client may have given up and asked again under another id.
    pub(super) fn excused(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }
}

/// Copies a request's protocols: each name once, the first time it is told.
pub(super) fn protocols_of(request: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let mut names = BTreeSet::new();
    let told = request.iter().filter(|told| names.insert(told.name.as_str()));
    let copy = |told: &JoinGroupRequestProtocol| Protocol {
        name: told.name.as_str().into(),
        metadata: Bytes::copy_from_slice(&told.metadata),
    };
    told.map(copy).collect()
}
