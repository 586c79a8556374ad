//! Why a member of a consumer group is refused: a code, and the words that its client logs.

use kafka_protocol::ResponseError;

/// A refusal. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::coordinator::group) struct Refusal {
    /// The code.
    pub(in crate::coordinator::group) error: ResponseError,
    /// The words.
    pub(in crate::coordinator::group) message: String,
}

impl Refusal {
    /// One of these.
    pub(in crate::coordinator::group) fn new(error: ResponseError, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }
}
