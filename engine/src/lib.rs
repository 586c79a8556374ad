//! The broker: shards, partitions, requests and metadata.
