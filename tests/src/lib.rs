//! Fixtures that the test-suites share.
