//! Fixtures that the test-suites share.

pub mod broker;
pub mod store_sim;
