//! Times and errors by kind of request. A kind's figures are made when its first request comes, so that a shard pays
//! for the kinds that are used.

use super::cells::{Counter, Histogram};
use super::fine::FineHistogram;
use super::stages::{Stage, Stages};
use hayate_net::error::ErrorCode;
use std::sync::OnceLock;

/// API keys that have figures of their own: 0 to this, exclusive. Kafka 4 uses 0 to 93; what is above shares a place.
const KINDS: usize = 128;
/// Error codes that are counted: −1 to this, exclusive. Kafka 4 uses −1 to 133.
const CODES_END: i16 = 160;

/// Where the time of one request went, in nanoseconds. The sum is its whole time, from the last byte of its frame to
/// the last byte of its answer handed to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTimes {
    /// Until it had its place in the order of its partitions: decoding, validating, waiting for a credit.
    pub dispatch_nanos: u64,
    /// From there until its answer was ready: flushes, disk reads, a fetch's wait for bytes, other shards.
    pub wait_nanos: u64,
    /// From there until the answer was handed to the kernel: earlier answers of the connection, a slow reader.
    pub send_nanos: u64,
}

/// The figures of one kind of request on one shard.
#[derive(Debug)]
pub struct RequestFigures {
    /// Of the whole request.
    pub(super) total: Histogram,
    /// [`RequestTimes::dispatch_nanos`].
    pub(super) dispatch: Histogram,
    /// [`RequestTimes::wait_nanos`].
    pub(super) wait: Histogram,
    /// [`RequestTimes::send_nanos`].
    pub(super) send: Histogram,
    /// Of the whole request again, finely.
    pub(super) fine_total: FineHistogram,
    /// By [`Stage`]; made when the stage is first reached.
    stages: [OnceLock<Box<FineHistogram>>; Stage::ALL.len()],
    errors: Vec<Counter>,
}

impl RequestFigures {
    fn new() -> Box<RequestFigures> {
        let errors = (-1..CODES_END).map(|_| Counter::default()).collect();
        let (total, dispatch) = (Histogram::default(), Histogram::default());
        Box::new(RequestFigures {
            total,
            dispatch,
            wait: Histogram::default(),
            send: Histogram::default(),
            fine_total: FineHistogram::default(),
            stages: [const { OnceLock::new() }; Stage::ALL.len()],
            errors,
        })
    }

    pub(super) fn done(&self, times: &RequestTimes, stages: &Stages) {
        self.dispatch.record(times.dispatch_nanos);
        self.wait.record(times.wait_nanos);
        self.send.record(times.send_nanos);
        let total_nanos = times.dispatch_nanos + times.wait_nanos + times.send_nanos;
        self.total.record(total_nanos);
        self.fine_total.record(total_nanos);
        for (stage, nanos) in stages.reached() {
            self.stages[stage as usize].get_or_init(Box::default).record(nanos);
        }
    }

    /// The times in a stage; `None` when no request has reached it.
    pub(super) fn stage(&self, stage: Stage) -> Option<&FineHistogram> {
        self.stages[stage as usize].get().map(Box::as_ref)
    }

    pub(super) fn error(&self, code: ErrorCode) {
        let place = usize::try_from(code.code() + 1).ok().filter(|place| *place < self.errors.len());
        self.errors[place.unwrap_or_default()].add(1);
    }

    /// The codes that were counted, with how often.
    pub(super) fn errors(&self) -> impl Iterator<Item = (i16, u64)> {
        let counted = (-1..CODES_END).zip(self.errors.iter().map(Counter::get));
        counted.filter(|(_, count)| *count > 0)
    }
}

/// Figures by API key.
#[derive(Debug)]
pub(super) struct RequestKinds {
    kinds: [OnceLock<Box<RequestFigures>>; KINDS],
}

impl Default for RequestKinds {
    fn default() -> RequestKinds {
        RequestKinds { kinds: [const { OnceLock::new() }; KINDS] }
    }
}

impl RequestKinds {
    /// The figures of a kind. Keys that Kafka does not have share the last place.
    pub(super) fn of(&self, api_key: i16) -> &RequestFigures {
        let place = usize::try_from(api_key).map_or(KINDS - 1, |place| place.min(KINDS - 1));
        self.kinds[place].get_or_init(RequestFigures::new)
    }

    /// The kinds of which there was a request.
    pub(super) fn used(&self) -> impl Iterator<Item = (i16, &RequestFigures)> {
        let used = self.kinds.iter().enumerate().filter_map(|(key, figures)| Some((key, figures.get()?)));
        used.map(|(key, figures)| (key as i16, figures.as_ref()))
    }
}
