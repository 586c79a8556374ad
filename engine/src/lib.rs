//! The broker: shards, partitions, requests and metadata.

pub mod metadata;
pub mod metrics;
