//! Durable storage of partitions: write-ahead log, segments, recovery, and what a record batch is. Knows nothing of the network.

pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod disk;
pub mod epochs;
pub mod index;
pub mod names;
pub mod producers;
pub mod retention;
