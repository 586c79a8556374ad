//! Kafka's wire protocol: which requests there are (`table`), what their bodies may be (`guard`), and how they become
//! values and frames (`codec`, for the hot path our own `produce` and `fetch`, and `offsets` for what the crate lacks). Pure: no IO, no clock, no task.
//! Records are opaque bytes here.

pub mod api_versions;
pub mod codec;
pub mod fetch;
pub mod guard;
pub mod offsets;
pub mod produce;
pub(crate) mod reader;
pub(crate) mod rope;
pub mod table;
pub mod topic;
pub(crate) mod writer;
