//! Deliberate defects, chosen at run time, that the simulator must catch: they prove that its properties bite.
//!
//! Without the feature `mutants` the question is a constant `false` and the defects are compiled out.

/// One defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// An append is acknowledged when its group is built, before it is on disk.
    AckBeforeFlush,
    /// Recovery believes every frame whose header can be read.
    NoCrcAtRecovery,
    /// Recovery believes groups of an earlier use of a WAL file.
    StaleTailAccepted,
    /// The WAL is released once the segment is written, without its flush.
    ReleaseBeforeFlush,
    /// Recovery replays the good frames of a damaged group.
    TornGroupHalfReplayed,
}

impl Mutant {
    /// All of them, by the name that selects them.
    pub const ALL: [(&'static str, Mutant); 5] = [
        ("ack-before-flush", Mutant::AckBeforeFlush),
        ("no-crc-at-recovery", Mutant::NoCrcAtRecovery),
        ("stale-tail-accepted", Mutant::StaleTailAccepted),
        ("release-before-flush", Mutant::ReleaseBeforeFlush),
        ("torn-group-half-replayed", Mutant::TornGroupHalfReplayed),
    ];
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Chooses the defect of this thread's stores.
#[cfg(feature = "mutants")]
pub fn activate(mutant: Option<Mutant>) {
    ACTIVE.set(mutant);
}

/// Whether a defect is chosen.
#[inline]
pub fn is_active(mutant: Mutant) -> bool {
    #[cfg(feature = "mutants")]
    return ACTIVE.get() == Some(mutant);
    #[cfg(not(feature = "mutants"))]
    {
        let _ = mutant;
        false
    }
}
