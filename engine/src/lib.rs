//! The broker: shards, partitions, requests and metadata.

pub mod api;
pub mod broker;
pub mod config;
pub mod metadata;
pub mod metrics;
pub mod partition;
pub mod placement;
pub mod purgatory;
pub mod shard;
