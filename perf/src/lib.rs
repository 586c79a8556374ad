//! The perf harness `hayate-perf`: load for any cluster that speaks Kafka's protocol, and figures of what became of it.
//!
//! A load is open-loop unless it is told to be as fast as it can: each record has a time at which it is meant to be sent, whatever the
//! broker does, and its latency counts from then (no coordinated omission). Load threads are a loop over sockets and one clock: the runtime
//! of the broker counts in milliseconds, which is too coarse here. Knows record batches of `hayate_storage`, and nothing of the broker.

pub mod cli;
pub mod clock;
pub mod cluster;
pub mod commit;
pub mod compare;
pub mod connections;
pub mod error;
pub mod explain;
pub mod gauge;
pub mod link;
pub mod load;
pub mod machine;
pub mod omb;
pub mod pace;
pub mod partitions;
pub mod payload;
pub mod plan;
pub mod rebalance;
pub mod report;
pub mod run;
pub mod search;
pub mod trial;

pub use error::PerfError;
