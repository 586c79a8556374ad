//! The Kafka-Connect-compatible runtime. Nothing is built yet: no connector can be run.
