//! Share groups (KIP-932): their partitions at the shards that lead them, and the sessions of their members.
//!
//! [`partition`] and [`sessions`] are pure. [`leaders`] drives the share partitions of a shard: it reads the log, keeps the time of locks,
//! and has what was settled written by the share coordinator, which is called as coordinators are: who waits holds no credit.
//! Membership is the group coordinator's business; who fetches here is believed, as in Kafka.

pub mod leaders;
pub mod partition;
pub mod scan;
pub mod sessions;
pub mod settings;
pub mod states;
