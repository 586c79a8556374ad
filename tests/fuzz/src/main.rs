//! `fuzz`: runs targets over random inputs that a seed decides, or one input again. Limits its own address space, so that a parser which
//! believes a length fails here and not on a machine that serves.

use hayate_fuzz::campaign::{self, Outcome, Plan};
use hayate_fuzz::{Target, find, input, targets};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: fuzz TARGET|all COUNT [--seed N] [--from N] [--threads N] [--address-space MIB] [--failures FOLDER]
       fuzz replay TARGET SEED NUMBER
       fuzz file TARGET PATH
       fuzz list";

/// MiB of address space that a run may take unless it is told otherwise.
const ADDRESS_SPACE_MIB: u64 = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["list"] => Ok(list()),
        ["replay", name, seed, number] => replay(name, seed, number),
        ["file", name, path] => file(name, path),
        [name, count, ref options @ ..] => many(name, count, options),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn list() -> bool {
    targets::ALL.iter().for_each(|target| println!("{}", target.name));
    true
}

fn known(name: &str) -> Result<&'static Target, String> {
    find(name).ok_or_else(|| format!("no target is called {name}; fuzz list names them"))
}

fn number(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is no number\n{USAGE}"))
}

fn replay(name: &str, seed: &str, at: &str) -> Result<bool, String> {
    let target = known(name)?;
    Ok(examine(target, &input::nth(target, number(seed)?, number(at)?)))
}

fn file(name: &str, path: &str) -> Result<bool, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(examine(known(name)?, &bytes))
}

/// Runs one input, with its bytes and the panic's own words.
fn examine(target: &Target, bytes: &[u8]) -> bool {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{} bytes: {hex}", bytes.len());
    let outcome = campaign::examine(target, bytes);
    println!("{outcome:?}");
    outcome.is_ok()
}

/// The plan, and MiB of address space.
fn options(count: &str, options: &[&str]) -> Result<(Plan, u64), String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut plan = Plan { seed: 1, first: 0, count: number(count)?, threads, failures: failures_folder() };
    let mut address_space_mib = ADDRESS_SPACE_MIB;
    for pair in options.chunks(2) {
        match *pair {
            ["--seed", value] => plan.seed = number(value)?,
            ["--from", value] => plan.first = number(value)?,
            ["--threads", value] => plan.threads = number(value)?.clamp(1, 1024) as usize,
            ["--address-space", value] => address_space_mib = number(value)?,
            ["--failures", value] => plan.failures = PathBuf::from(value),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok((plan, address_space_mib))
}

/// Beside the binary, so within the build's folder.
fn failures_folder() -> PathBuf {
    let binary = std::env::current_exe().unwrap_or_default();
    binary.with_file_name("fuzz-failures")
}

fn many(name: &str, count: &str, given: &[&str]) -> Result<bool, String> {
    let (plan, address_space_mib) = options(count, given)?;
    let chosen: Vec<&'static Target> = match name {
        "all" => targets::ALL.iter().collect(),
        name => vec![known(name)?],
    };
    limit_address_space(address_space_mib)?;
    campaign::note_panics();
    println!(
        "seed {}, {} threads, at most {address_space_mib} MiB of address space",
        plan.seed, plan.threads
    );
    let mut good = true;
    for target in chosen {
        let outcome = campaign::run(target, &plan);
        println!("{:<20} {outcome}", target.name);
        good &= judge(target, &plan, &outcome);
    }
    Ok(good)
}

fn judge(target: &Target, plan: &Plan, outcome: &Outcome) -> bool {
    for (number, failure) in &outcome.failures {
        println!("FAILED {}, input {number}: {}", target.name, failure.reason);
        println!("  again: fuzz replay {} {} {number}", target.name, plan.seed);
        match campaign::keep(plan, target, *number, &failure.bytes) {
            Ok(path) => println!("  kept:  {}", path.display()),
            Err(error) => println!("  it could not be kept: {error}"),
        }
    }
    if outcome.inputs >= 1000 && !outcome.shows_both() {
        println!("FAILED {}: {} of {} accepted", target.name, outcome.accepted, outcome.inputs);
        return false;
    }
    outcome.failures.is_empty()
}

/// No allocation may take this process beyond it.
fn limit_address_space(mib: u64) -> Result<(), String> {
    let bytes = mib << 20;
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the struct is initialised and lives through the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) } {
        0 => Ok(()),
        _ => Err(format!("the address space cannot be limited: {}", std::io::Error::last_os_error())),
    }
}
