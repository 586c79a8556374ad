//! Deliberate defects, chosen at run time, of this crate and of those above it. Some break promises: the simulator must catch them,
//! which proves that its properties bite. The others panic, to show what a panic takes with it.
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
    /// Committed readers see up to the high watermark, whatever is open.
    StableTooFar,
    /// What is durable of producers lacks the ends of their transactions.
    MarkerForgotten,
    /// Recovery learns of no aborted transaction.
    AbortForgotten,
    /// A loaded coordinator orders no markers for what was decided before.
    DecisionForgotten,
    /// A partition takes the first records of a transaction that nobody was asked about.
    UnverifiedTaken,
    /// A group's offsets are committed however their transaction ended.
    AbortedOffsetsKept,
    /// What a coordinator tells does not wait until what it has written is safe.
    CommitUnflushed,
    /// Offsets are committed in whatever generation.
    StaleGenerationTaken,
    /// A coordinator that loads takes in no marker.
    MarkerLost,
    /// A session never ends.
    MemberKept,
    /// The broker panics while it decodes a request of the client `TRIGGER`.
    PanicInDecoding,
    /// The broker panics while it answers a request of the client `TRIGGER`.
    PanicInAnswer,
    /// A partition of the topic `TRIGGER` panics when it is to append.
    PanicInPartition,
    /// The WAL's writer panics over a batch of the topic `TRIGGER`.
    PanicInLog,
    /// The controller panics when it is to create the topic `TRIGGER`.
    PanicInMetadata,
}

impl Mutant {
    /// Those that the simulated store must catch, by the name that selects them.
    pub const OF_STORE: [(&'static str, Mutant); 8] = [
        ("ack-before-flush", Mutant::AckBeforeFlush),
        ("no-crc-at-recovery", Mutant::NoCrcAtRecovery),
        ("stale-tail-accepted", Mutant::StaleTailAccepted),
        ("release-before-flush", Mutant::ReleaseBeforeFlush),
        ("torn-group-half-replayed", Mutant::TornGroupHalfReplayed),
        ("stable-too-far", Mutant::StableTooFar),
        ("marker-forgotten", Mutant::MarkerForgotten),
        ("abort-forgotten", Mutant::AbortForgotten),
    ];

    /// Those that lives of transactions must catch, by the name that selects them.
    pub const OF_TRANSACTIONS: [(&'static str, Mutant); 4] = [
        ("decision-forgotten", Mutant::DecisionForgotten),
        ("unverified-taken", Mutant::UnverifiedTaken),
        ("aborted-offsets-kept", Mutant::AbortedOffsetsKept),
        ("stable-too-far", Mutant::StableTooFar),
    ];

    /// Those that lives of groups must catch, by the name that selects them.
    pub const OF_GROUPS: [(&'static str, Mutant); 5] = [
        ("commit-unflushed", Mutant::CommitUnflushed),
        ("stale-generation-taken", Mutant::StaleGenerationTaken),
        ("marker-lost", Mutant::MarkerLost),
        ("member-kept", Mutant::MemberKept),
        ("aborted-offsets-kept", Mutant::AbortedOffsetsKept),
    ];

    /// Those that panic in a broker, by the name that selects them.
    pub const OF_BROKER: [(&'static str, Mutant); 5] = [
        ("panic-in-decoding", Mutant::PanicInDecoding),
        ("panic-in-answer", Mutant::PanicInAnswer),
        ("panic-in-partition", Mutant::PanicInPartition),
        ("panic-in-log", Mutant::PanicInLog),
        ("panic-in-metadata", Mutant::PanicInMetadata),
    ];
}

/// The client, or the topic, whose requests meet a panic.
#[cfg(feature = "mutants")]
pub const TRIGGER: &str = "deliberate-panic";

#[cfg(feature = "mutants")]
static OF_PROCESS: std::sync::OnceLock<Mutant> = std::sync::OnceLock::new();

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Chooses the defect of this thread's stores.
#[cfg(feature = "mutants")]
pub fn activate(mutant: Option<Mutant>) {
    ACTIVE.set(mutant);
}

/// Chooses the defect of all threads that choose none, for as long as the process lives.
///
/// # Panics
/// When called a second time.
#[cfg(feature = "mutants")]
pub fn activate_in_process(mutant: Mutant) {
    OF_PROCESS.set(mutant).expect("a process has one defect");
}

/// Whether a defect is chosen.
#[inline]
pub fn is_active(mutant: Mutant) -> bool {
    #[cfg(feature = "mutants")]
    return ACTIVE.get().as_ref().or(OF_PROCESS.get()) == Some(&mutant);
    #[cfg(not(feature = "mutants"))]
    {
        let _ = mutant;
        false
    }
}

/// Panics when the defect is chosen and `name`, a client's or a topic's, is the one that meets it.
#[inline]
pub fn panic_if(mutant: Mutant, name: &[u8]) {
    #[cfg(feature = "mutants")]
    assert!(!(is_active(mutant) && name == TRIGGER.as_bytes()), "{mutant:?}, on purpose");
    #[cfg(not(feature = "mutants"))]
    let _ = (mutant, name);
}
