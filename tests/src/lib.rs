//! Fixtures that the test-suites share.

pub mod broker;
