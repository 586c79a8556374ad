//! Fixtures that the test-suites share.

pub mod broker;
pub mod broker_sim;
pub mod campaign;
pub mod group_sim;
pub mod hot_paths;
pub mod store_sim;
