//! The cluster's metadata: what topics, configurations, brokers and epochs there are, and the one way to change them.
//!
//! Pure: nothing here reads a clock, a file or a channel, draws a random number or awaits. A command and the image
//! give records; the records go through raft's log; what is committed, live or replayed, is applied to the image by one
//! path; shards hold that image as an `Arc`. The records are Apache Kafka's own KRaft metadata records ([`records`]), so
//! that a KRaft snapshot can be taken over or handed out.
//! Design: KIP-500, KIP-595, KIP-630, KIP-631; Kafka's `metadata` module.

pub mod controller;
pub mod features;
pub mod image;
pub mod kafka;
pub mod quorum;
pub mod records;
pub mod snapshot;

#[cfg(test)]
mod tests;
