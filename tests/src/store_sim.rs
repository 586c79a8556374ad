//! The store of one shard under the simulator: random work and faults, crashes at random moments, and after each the
//! question whether everything that was promised is there.
//!
//! Promised is: what was acknowledged is read back, in order, once; what a reader has seen neither disappears nor changes; an
//! idempotent producer's repeated batch is recognised; a reader of committed records sees those of committed transactions, all and alone. One seed is one life of a node: several runs, each ended by a crash, a kill or a
//! clean stop. Everything that a run did is counted, so that a campaign can prove what it has covered.

mod life;
mod model;
mod transactions;
mod work;

pub use life::{Life, run_seed};

/// Faults and states that a campaign must have reached, each at least once.
pub const MUST_REACH: &[&str] = &[
    "torn tail",
    "crash in recovering",
    "crash in materialising",
    "crash in rolling",
    "crash in writing a group",
    "crash in writing a checkpoint",
    "crash in direct append",
    "crash in truncating",
    "disk full",
    "space again",
    "WAL full",
    "WAL released",
    "WAL file switched",
    "block guarded",
    "segment rolled",
    "log folder offline",
    "duplicate recognised",
    "cold read",
    "start advanced",
    "log cut by epoch",
    "clean stop",
    "committed",
    "aborted",
    "committed read",
];
