//! The broker: shards, partitions, requests and metadata.

pub mod api;
pub mod broker;
pub mod cli;
pub mod commands;
pub mod config;
pub mod coordinator;
pub mod http;
pub mod logging;
pub mod metadata;
pub mod metrics;
pub mod partition;
pub mod placement;
pub mod preflight;
mod primitives;
pub mod process;
pub mod purgatory;
pub mod shard;
pub mod share;
pub mod telemetry;
