//! The perf harness. Nothing is built yet: comparisons are run by the scripts in this folder.
