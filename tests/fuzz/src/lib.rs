//! Fuzzing of everything that reads bytes of a peer, a file or a disk.
//!
//! A target is a plain function over bytes that panics when a parser breaks a promise: what it accepts can be written again, it takes
//! no more memory than it said, and no longer than its input's size explains. The same function serves bounded random runs
//! (`src/main.rs`, repeatable by seed) and coverage-guided ones (`src/guided.rs`).

#![allow(clippy::ptr_arg, reason = "changes and mends stand in tables, so all have one signature")]

pub mod campaign;
pub mod input;
pub mod memory;
pub mod mutate;
pub mod targets;

use hayate_rt::random::Prng;

/// Something that is fuzzed.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Of a run's inputs it gets one in so many: some parsers are slow.
    pub one_in: u64,
    /// A valid input, drawn from the source.
    pub sample: fn(&mut Prng) -> Vec<u8>,
    /// Mends what a change broke and every parser checks first, lengths and checksums, so that the change is reached.
    pub mend: fn(&mut Vec<u8>),
    /// Parses; true when the input was accepted.
    ///
    /// # Panics
    /// When a promise is broken.
    pub run: fn(&[u8]) -> bool,
}

/// The target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    targets::ALL.iter().find(|target| target.name == name)
}
