//! DescribeTransactions and ListTransactions: what is known of transactional ids.
//!
//! A filter is read once for a request, which all coordinators are asked. After `TransactionStateManager.listTransactionStates`.

use super::entry::{Entry, Partitions};
use super::{Described, Listed, Transactions};
use crate::coordinator::records::txn::TxnState;
use hayate_net::error::ErrorCode;
use kafka_protocol::messages::describe_transactions_response::TopicData;
use kafka_protocol::messages::{ListTransactionsRequest, ProducerId, TopicName, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use regex::{Regex, RegexBuilder};
use std::collections::BTreeSet;

/// The most memory that the pattern of a filter may take, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

const STATES: [TxnState; 8] = [
    TxnState::Empty,
    TxnState::Ongoing,
    TxnState::PrepareCommit,
    TxnState::PrepareAbort,
    TxnState::CompleteCommit,
    TxnState::CompleteAbort,
    TxnState::Dead,
    TxnState::PrepareEpochFence,
];

/// A state as clients know it.
const fn state_name(state: TxnState) -> &'static str {
    match state {
        TxnState::Empty => "Empty",
        TxnState::Ongoing => "Ongoing",
        TxnState::PrepareCommit => "PrepareCommit",
        TxnState::PrepareAbort => "PrepareAbort",
        TxnState::CompleteCommit => "CompleteCommit",
        TxnState::CompleteAbort => "CompleteAbort",
        TxnState::Dead => "Dead",
        TxnState::PrepareEpochFence => "PrepareEpochFence",
    }
}

/// Which transactional ids a ListTransactions request is about.
#[derive(Debug)]
pub struct ListFilter {
    /// In one of these states; `None`: in any.
    states: Option<BTreeSet<TxnState>>,
    /// Of one of these producers; none: of any.
    producer_ids: BTreeSet<i64>,
    /// Whose transaction began longer ago than this, in milliseconds; below 0: any.
    duration_ms: i64,
    /// That this fits wholly.
    pattern: Option<Regex>,
}

impl ListFilter {
    /// Reads a request's filters; gives the states, too, that are none.
    ///
    /// # Errors
    /// `INVALID_REGULAR_EXPRESSION`.
    pub fn read(request: &ListTransactionsRequest) -> Result<(ListFilter, Vec<StrBytes>), ErrorCode> {
        let named: BTreeSet<&StrBytes> = request.state_filters.iter().collect();
        let is_known = |name: &&StrBytes| STATES.iter().any(|state| state_name(*state) == name.as_str());
        let (known, unknown): (Vec<&StrBytes>, Vec<&StrBytes>) = named.into_iter().partition(is_known);
        let states =
            STATES.into_iter().filter(|state| known.iter().any(|name| name.as_str() == state_name(*state)));
        let states = (!request.state_filters.is_empty()).then(|| states.collect());
        let pattern = request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty());
        let filter = ListFilter {
            states,
            producer_ids: request.producer_id_filters.iter().map(|id| id.0).collect(),
            duration_ms: request.duration_filter,
            pattern: pattern.map(whole).transpose()?,
        };
        Ok((filter, unknown.into_iter().cloned().collect()))
    }

    fn lets_through(&self, id: &str, entry: &Entry, now_ms: i64) -> bool {
        let value = &entry.value;
        let is_old = || now_ms.saturating_sub(value.start_ms) > self.duration_ms;
        (self.producer_ids.is_empty() || self.producer_ids.contains(&value.producer_id.0))
            && self.states.as_ref().is_none_or(|states| states.contains(&value.state))
            && (self.duration_ms < 0 || is_old())
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
    }
}

/// A pattern that must fit wholly.
fn whole(pattern: &str) -> Result<Regex, ErrorCode> {
    let compile = |pattern: &str| {
        let mut builder = RegexBuilder::new(pattern);
        let compiled = builder.size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build();
        compiled.map_err(|_| ErrorCode::InvalidRegularExpression)
    };
    // Alone first: what closes a group that it did not open would fit into the one around it.
    compile(pattern)?;
    compile(&format!(r"\A(?:{pattern})\z"))
}

impl Transactions {
    pub(super) fn describe(&self, transactional_id: &str) -> Described {
        let id = TransactionalId(StrBytes::from_string(transactional_id.to_owned()));
        let described = Described::default().with_transactional_id(id);
        if transactional_id.is_empty() {
            return described.with_error_code(ErrorCode::InvalidRequest.code());
        }
        let Some(entry) = self.entries.get(transactional_id) else {
            return described.with_error_code(ErrorCode::TransactionalIdNotFound.code());
        };
        // What has its marker is no part of it any more.
        let partitions = entry.markers.as_ref().map_or(&entry.value.partitions, |markers| markers.pending());
        described
            .with_producer_id(ProducerId(entry.value.producer_id.0))
            .with_producer_epoch(entry.value.producer_epoch)
            .with_transaction_state(StrBytes::from_static_str(state_name(entry.value.state)))
            .with_transaction_timeout_ms(entry.value.timeout_ms)
            .with_transaction_start_time_ms(entry.value.start_ms)
            .with_topics(topics(partitions))
    }

    pub(super) fn list_transactions(&self, now_ms: i64, filter: &ListFilter) -> Vec<Listed> {
        let entries = self.entries.iter();
        let through = entries.filter(|(id, entry)| filter.lets_through(id, entry, now_ms));
        through
            .map(|(id, entry)| {
                Listed::default()
                    .with_transactional_id(TransactionalId(StrBytes::from_string(id.clone())))
                    .with_producer_id(ProducerId(entry.value.producer_id.0))
                    .with_transaction_state(StrBytes::from_static_str(state_name(entry.value.state)))
            })
            .collect()
    }
}

fn topics(partitions: &Partitions) -> Vec<TopicData> {
    let topics = partitions.iter();
    topics
        .map(|(topic, numbers)| {
            TopicData::default()
                .with_topic(TopicName(StrBytes::from_string(topic.clone())))
                .with_partitions(numbers.iter().copied().collect())
        })
        .collect()
}
