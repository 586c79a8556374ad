//! Lives of simulated stores, coordinators of groups and brokers by their seeds, as many as are asked for, on every core: one command for a million.
//!
//! `simulate store|broker|transactions|groups [--mutant NAME] FROM..TO` prints each life that breaks a promise, then what all of them
//! met. The exit code is 0 when nothing broke and nothing was missed, 1 when something was, 2 for a mistaken command line.

use hayate_storage::mutants::Mutant;
use hayate_tests::campaign::{Campaign, Outcome};
use hayate_tests::{broker_sim, group_sim, store_sim};
use std::ops::Range;
use std::process::ExitCode;

const USAGE: &str = "usage: simulate store|broker|transactions|groups [--mutant NAME] FROM..TO
       simulate store|broker|transactions|groups [--mutant NAME] SEED     all that is known of one life";

/// What is lived, and what a campaign of it must meet.
#[derive(Clone, Copy)]
enum Subject {
    Store(Option<Mutant>),
    Broker,
    Transactions(Option<Mutant>),
    Groups(Option<Mutant>),
}

impl Subject {
    fn live(self, seed: u64) -> Outcome {
        match self {
            Subject::Store(mutant) => store_sim::run_seed(seed, mutant),
            Subject::Broker => broker_sim::run_seed(seed),
            Subject::Transactions(mutant) => broker_sim::transactions::run_seed(seed, mutant),
            Subject::Groups(mutant) => group_sim::run_seed(seed, mutant),
        }
    }

    fn must_reach(self) -> &'static [&'static str] {
        match self {
            Subject::Store(_) => store_sim::MUST_REACH,
            Subject::Broker => broker_sim::MUST_REACH,
            Subject::Transactions(_) => broker_sim::transactions::MUST_REACH,
            Subject::Groups(_) => group_sim::MUST_REACH,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((subject, seeds)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        let of = [
            ("the store", &Mutant::OF_STORE[..]),
            ("transactions", &Mutant::OF_TRANSACTIONS),
            ("groups", &Mutant::OF_GROUPS),
        ];
        for (subject, mutants) in of {
            let names: Vec<&str> = mutants.iter().map(|(name, _)| *name).collect();
            eprintln!("mutants of {subject}: {}", names.join(", "));
        }
        return ExitCode::from(2);
    };
    if seeds.end - seeds.start == 1 {
        let outcome = subject.live(seeds.start);
        println!("{outcome:#?}");
        return ExitCode::from(u8::from(outcome.broken.is_some()));
    }
    let say = |seed: u64, what: &str| println!("seed {seed}: {what}");
    let campaign = Campaign::run(seeds.clone(), &|seed| subject.live(seed), &say);
    let missed = campaign.missed(subject.must_reach());
    println!("{:#?}", campaign.counts);
    println!(
        "{} lives, {} broken, never reached: {missed:?}",
        seeds.end - seeds.start,
        campaign.broken.len()
    );
    ExitCode::from(u8::from(!campaign.broken.is_empty() || !missed.is_empty()))
}

fn parse(arguments: &[&str]) -> Option<(Subject, Range<u64>)> {
    let (subject, mutant, seeds) = match *arguments {
        [subject, seeds] => (subject, None, seeds),
        [subject, "--mutant", name, seeds] => (subject, Some(name), seeds),
        _ => return None,
    };
    let mutant = |known: &[(&str, Mutant)]| match mutant {
        None => Some(None),
        Some(name) => known.iter().find(|(known, _)| *known == name).map(|(_, mutant)| Some(*mutant)),
    };
    let subject = match subject {
        "store" => Subject::Store(mutant(&Mutant::OF_STORE)?),
        "broker" => mutant(&[]).map(|_| Subject::Broker)?,
        "transactions" => Subject::Transactions(mutant(&Mutant::OF_TRANSACTIONS)?),
        "groups" => Subject::Groups(mutant(&Mutant::OF_GROUPS)?),
        _ => return None,
    };
    Some((subject, parse_seeds(seeds)?))
}

fn parse_seeds(seeds: &str) -> Option<Range<u64>> {
    let seeds = match seeds.split_once("..") {
        Some((from, to)) => from.parse().ok()?..to.parse().ok()?,
        None => {
            let seed: u64 = seeds.parse().ok()?;
            seed..seed.checked_add(1)?
        }
    };
    (!seeds.is_empty()).then_some(seeds)
}
