//! Lives of the simulated store by their seeds, as many as are asked for, on every core: one command for a million.
//!
//! `simulate [--mutant NAME] FROM..TO` prints each life that breaks a promise, then what all of them met. The exit code is 0
//! when nothing broke, 1 when something did, 2 for a mistaken command line.

use hayate_storage::mutants::Mutant;
use hayate_tests::store_sim::{Campaign, run_campaign, run_seed};
use std::ops::Range;
use std::process::ExitCode;

const USAGE: &str = "usage: simulate [--mutant NAME] FROM..TO | simulate [--mutant NAME] SEED";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((mutant, seeds)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if seeds.end - seeds.start == 1 {
        let outcome = run_seed(seeds.start, mutant);
        println!("{outcome:#?}");
        return ExitCode::from(u8::from(outcome.broken.is_some()));
    }
    let Campaign { broken, counts } =
        run_campaign(seeds.clone(), mutant, &|seed, what| println!("seed {seed}: {what}"));
    println!("{counts:#?}");
    println!("{} lives, {} broken", seeds.end - seeds.start, broken.len());
    ExitCode::from(u8::from(!broken.is_empty()))
}

fn parse(arguments: &[String]) -> Option<(Option<Mutant>, Range<u64>)> {
    let (mutant, seeds) = match arguments {
        [seeds] => (None, seeds),
        [flag, name, seeds] if flag == "--mutant" => {
            let (_, mutant) = Mutant::ALL.into_iter().find(|(known, _)| known == name)?;
            (Some(mutant), seeds)
        }
        _ => return None,
    };
    let seeds = match seeds.split_once("..") {
        Some((from, to)) => from.parse().ok()?..to.parse().ok()?,
        None => {
            let seed: u64 = seeds.parse().ok()?;
            seed..seed + 1
        }
    };
    (!seeds.is_empty()).then_some((mutant, seeds))
}
