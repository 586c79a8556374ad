//! Durable storage of partitions: write-ahead log, segments, recovery, and what a record batch is. Knows nothing of the network.

pub mod batch;
pub mod checkpoint;
pub mod chunk;
pub mod config;
pub mod disk;
pub mod epochs;
pub mod error;
pub mod foreign;
pub mod index;
pub mod kafka_folder;
pub mod log;
pub mod mutants;
pub mod names;
pub mod producers;
pub mod recovery;
pub mod retention;
mod segment;
pub mod store;
pub mod wal;
