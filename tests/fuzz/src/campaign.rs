//! Many inputs on every core: counts what was accepted, catches what panics, hangs or takes too long, keeps the inputs that did, and says
//! how to repeat each.

use crate::memory::{self, Current, Taken};
use crate::{Target, input};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One input may take so long; parsers of 64 KiB take a thousandth of it.
const INPUT_TIME_MAX: Duration = Duration::from_millis(500);
/// An input that takes longer is not waited for: the process ends, and names it.
const HANG_TIME: Duration = Duration::from_secs(60);
/// Inputs that a thread takes at a time.
const PIECE: u64 = 256;
/// A target with so many failures is left.
const FAILURES_MAX: usize = 5;
/// What is kept of a panic's words.
const REASON_CHARS_MAX: usize = 400;
/// Times that a slow input gets to be fast: the machine may have been busy.
const SECOND_CHANCES: usize = 3;

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides every input together with its number.
    pub seed: u64,
    /// The first number.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Threads.
    pub threads: usize,
    /// Where inputs are kept that failed.
    pub failures: PathBuf,
}

/// What a run of one target found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Inputs that were tried.
    pub inputs: u64,
    /// Those that were accepted.
    pub accepted: u64,
    /// The most memory that one held.
    pub held_bytes_max: usize,
    /// How long it took.
    pub took: Duration,
    /// What broke a promise, by input.
    pub failures: BTreeMap<u64, Failure>,
}

/// Why an input failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where it panicked and what was said, or how long it took.
    pub reason: String,
    /// The input.
    pub bytes: Vec<u8>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { inputs, accepted, held_bytes_max, took, failures } = self;
        let per_second = *inputs as f64 / took.as_secs_f64().max(1e-9);
        let accepted = 100.0 * *accepted as f64 / (*inputs).max(1) as f64;
        write!(
            out,
            "{inputs} inputs in {:.1} s, {per_second:.0} a second, {accepted:.0} % accepted, at most {} KiB held, {} failed",
            took.as_secs_f64(),
            held_bytes_max >> 10,
            failures.len()
        )
    }
}

impl Outcome {
    /// Whether both answers were given: a run in which all or none is accepted shows little.
    pub fn shows_both(&self) -> bool {
        self.accepted > 0 && self.accepted < self.inputs
    }
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Lets panics be noted for [`examine`] instead of printed.
pub fn note_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let said: String = panic.to_string().chars().take(REASON_CHARS_MAX).collect();
        PANIC.with(|note| *note.borrow_mut() = said.replace('\n', " "));
    }));
}

/// Runs a target over one input: whether it was accepted and what it held, or why it failed.
///
/// # Errors
/// Where it panicked, or how long it took.
pub fn examine(target: &Target, bytes: &[u8]) -> Result<(bool, Taken), String> {
    let began = Instant::now();
    let run = || catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let (accepted, taken) = memory::taken(run);
    let accepted = accepted.map_err(|_| PANIC.with(|note| note.borrow().clone()))?;
    let first = began.elapsed();
    if first > INPUT_TIME_MAX {
        let again = (0..SECOND_CHANCES).map(|_| timed(target, bytes)).min().unwrap_or(first);
        if again > INPUT_TIME_MAX {
            return Err(format!("took {again:.1?} at best for {} bytes", bytes.len()));
        }
    }
    Ok((accepted, taken))
}

fn timed(target: &Target, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    (target.run)(bytes);
    began.elapsed()
}

/// What the threads of a run share.
struct Shared<'a> {
    target: &'static Target,
    plan: &'a Plan,
    next: AtomicU64,
    given_up: AtomicBool,
    outcome: Mutex<Outcome>,
    /// For each thread, the number that it is at, and since when: milliseconds from the start, 0 for none.
    places: Vec<(AtomicU64, AtomicU64)>,
    began: Instant,
}

/// Runs a target over the plan's inputs.
pub fn run(target: &'static Target, plan: &Plan) -> Outcome {
    let place = |_| (AtomicU64::new(0), AtomicU64::new(0));
    let shared = Shared {
        target,
        plan,
        next: AtomicU64::new(plan.first),
        given_up: AtomicBool::new(false),
        outcome: Mutex::default(),
        places: (0..plan.threads).map(place).collect(),
        began: Instant::now(),
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.threads)
            .map(|at| {
                scope.spawn({
                    let shared = &shared;
                    move || shared.work(at)
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(2));
            shared.look_for_hangs();
        }
    });
    let mut outcome = shared.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcome.took = shared.began.elapsed();
    outcome
}

impl Shared<'_> {
    fn work(&self, at: usize) {
        let end = self.plan.first.saturating_add(self.plan.count.div_ceil(self.target.one_in));
        while !self.given_up.load(Ordering::Relaxed) {
            let from = self.next.fetch_add(PIECE, Ordering::Relaxed);
            if from >= end {
                break;
            }
            let mut piece = Outcome::default();
            for number in from..(from + PIECE).min(end) {
                self.one(at, number, &mut piece);
            }
            self.add(piece);
        }
        memory::note_current(None);
    }

    fn one(&self, at: usize, number: u64, piece: &mut Outcome) {
        let Shared { target, plan, .. } = self;
        memory::note_current(Some(Current { target: target.name, seed: plan.seed, number }));
        let (place, since) = &self.places[at];
        place.store(number, Ordering::Relaxed);
        since.store(self.began.elapsed().as_millis() as u64 + 1, Ordering::Release);
        let bytes = input::nth(target, plan.seed, number);
        piece.inputs += 1;
        match examine(target, &bytes) {
            Ok((accepted, taken)) => {
                piece.accepted += u64::from(accepted);
                piece.held_bytes_max = piece.held_bytes_max.max(taken.held_bytes_max);
            }
            Err(reason) => {
                piece.failures.insert(number, Failure { reason, bytes });
            }
        }
        since.store(0, Ordering::Release);
    }

    fn add(&self, piece: Outcome) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.inputs += piece.inputs;
        outcome.accepted += piece.accepted;
        outcome.held_bytes_max = outcome.held_bytes_max.max(piece.held_bytes_max);
        outcome.failures.extend(piece.failures);
        if outcome.failures.len() >= FAILURES_MAX {
            self.given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Ends the process when an input hangs: its thread cannot be stopped.
    fn look_for_hangs(&self) {
        let now = self.began.elapsed().as_millis() as u64;
        for (number, since) in &self.places {
            let since = since.load(Ordering::Acquire);
            if since > 0 && now.saturating_sub(since) > HANG_TIME.as_millis() as u64 {
                let (name, seed, number) = (self.target.name, self.plan.seed, number.load(Ordering::Relaxed));
                let _ = keep(self.plan, self.target, number, &input::nth(self.target, seed, number));
                eprintln!("FAILED {name}: input {number} hangs; fuzz replay {name} {seed} {number}");
                std::process::exit(1);
            }
        }
    }
}

/// Keeps an input that failed, as a file of its own.
///
/// # Errors
/// The folder cannot be written.
pub fn keep(plan: &Plan, target: &Target, number: u64, bytes: &[u8]) -> std::io::Result<PathBuf> {
    let folder: &Path = &plan.failures;
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}-{}-{number}.bin", target.name, plan.seed));
    std::fs::write(&path, bytes)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaks_on_nine(bytes: &[u8]) -> bool {
        assert!(!bytes.contains(&9), "a nine");
        bytes.len() > 3
    }

    static BROKEN: Target = Target {
        name: "broken",
        one_in: 1,
        sample: |prng| (0..8).map(|_| prng.below(9) as u8).collect(),
        mend: |_| (),
        run: breaks_on_nine,
    };

    #[test]
    fn what_fails_is_found_named_and_comes_again() {
        note_panics();
        let failures = std::env::temp_dir().join(format!("hayate-fuzz-{}", std::process::id()));
        let plan = Plan { seed: 3, first: 0, count: 20_000, threads: 2, failures };
        let outcome = run(&BROKEN, &plan);
        assert!(!outcome.failures.is_empty() && outcome.shows_both(), "{outcome}");
        for (number, failure) in &outcome.failures {
            assert!(failure.reason.contains("a nine"), "{failure:?}");
            assert!(failure.bytes.contains(&9));
            assert_eq!(input::nth(&BROKEN, plan.seed, *number), failure.bytes);
            let path = keep(&plan, &BROKEN, *number, &failure.bytes).expect("writable");
            assert_eq!(std::fs::read(path).expect("kept"), failure.bytes);
        }
        let _ = std::fs::remove_dir_all(&plan.failures);
    }

    #[test]
    fn a_run_is_the_same_whatever_the_threads() {
        let plan = |threads| Plan { seed: 1, first: 10, count: 3000, threads, failures: PathBuf::new() };
        let target = crate::find("frames").expect("a target");
        let (one, three) = (run(target, &plan(1)), run(target, &plan(3)));
        assert_eq!((one.inputs, one.accepted), (3000, three.accepted));
    }
}
