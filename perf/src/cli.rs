//! The command line of `hayate-perf`: its subcommands. Connects to nothing.

pub mod options;

use crate::PerfError;
use crate::commit::{self, Commit};
use crate::compare;
use crate::connections::{self, Connections};
use crate::explain::{self, Explain};
use crate::omb;
use crate::partitions::{self, Partitions};
use crate::plan::{self, Workload};
use crate::rebalance::{self, Rebalance};
use crate::search;
use clap::error::ErrorKind;
use clap::{ArgMatches, Command};
use std::any::Any;
use std::ffi::OsString;
use std::fmt::Debug;

const AFTER: &str = "\
A load is open-loop: with --rate each record has a time at which it is meant to be sent, and latency counts from then, however late it
is sent. `--rate max` sends as fast as answers allow; its latencies count from the sending and are no measure of a broker.

Exit codes: 0 when the run came to its end and all was answered well, 1 when not (what was measured by then is kept), 2 for a
mistake in the command line.
";

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// Something to be done.
    Do(Box<dyn Job>),
    /// This text.
    Print(String),
}

/// What a subcommand asks for.
pub trait Job: Any + Debug {
    /// Does it.
    ///
    /// # Errors
    /// [`PerfError`]; what was measured by then is written all the same.
    fn run(&self) -> Result<(), PerfError>;
}

/// A subcommand, and who reads its options.
struct Subcommand {
    command: Command,
    read: fn(&ArgMatches) -> Result<Box<dyn Job>, String>,
}

fn subcommands() -> Vec<Subcommand> {
    vec![
        Subcommand {
            command: plan::command(Workload::Produce),
            read: |matches| Ok(Box::new(plan::read(Workload::Produce, matches)?)),
        },
        Subcommand {
            command: plan::command(Workload::Consume),
            read: |matches| Ok(Box::new(plan::read(Workload::Consume, matches)?)),
        },
        Subcommand {
            command: plan::command(Workload::EndToEnd),
            read: |matches| Ok(Box::new(plan::read(Workload::EndToEnd, matches)?)),
        },
        Subcommand { command: omb::command(), read: |matches| Ok(Box::new(omb::read(matches)?)) },
        Subcommand { command: search::command(), read: |matches| Ok(Box::new(search::read(matches)?)) },
        Subcommand { command: compare::command(), read: |matches| Ok(Box::new(compare::read(matches)?)) },
        Subcommand { command: commit::command(), read: |matches| Ok(Box::new(Commit::read(matches)?)) },
        Subcommand {
            command: connections::command(),
            read: |matches| Ok(Box::new(Connections::read(matches)?)),
        },
        Subcommand {
            command: partitions::command(),
            read: |matches| Ok(Box::new(Partitions::read(matches)?)),
        },
        Subcommand { command: rebalance::command(), read: |matches| Ok(Box::new(Rebalance::read(matches)?)) },
        Subcommand { command: explain::command(), read: |matches| Ok(Box::new(Explain::read(matches)?)) },
    ]
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// What is mistaken, in one line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
    let (commands, reads): (Vec<Command>, Vec<_>) =
        subcommands().into_iter().map(|subcommand| (subcommand.command, subcommand.read)).unzip();
    let names: Vec<String> = commands.iter().map(|command| command.get_name().to_owned()).collect();
    match command().subcommands(commands).try_get_matches_from(arguments) {
        Ok(matches) => {
            let (name, matches) = matches.subcommand().ok_or("name a subcommand")?;
            let number = names.iter().position(|known| known == name).ok_or("no such subcommand")?;
            Ok(Asked::Do(reads[number](matches)?))
        }
        Err(error) => match error.kind() {
            ErrorKind::DisplayVersion => {
                Ok(Asked::Print(format!("hayate-perf {}\n", env!("CARGO_PKG_VERSION"))))
            }
            ErrorKind::DisplayHelp => Ok(Asked::Print(error.render().to_string())),
            _ => Err(one_line(&error.render().to_string())),
        },
    }
}

/// The first line of clap's complaint, without its label.
fn one_line(complaint: &str) -> String {
    let line = complaint.lines().next().unwrap_or_default();
    format!("{} (--help tells more)", line.trim_start_matches("error: "))
}

fn command() -> Command {
    Command::new("hayate-perf")
        .about("Load for any cluster that speaks Kafka's protocol, and what became of it.")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(AFTER)
        .subcommand_required(true)
        .disable_help_subcommand(true)
}

#[cfg(test)]
mod tests {
    use super::{Asked, parse};
    use crate::plan::{Plan, Workload};
    use std::ffi::OsString;

    fn asked(line: &str) -> Result<Asked, String> {
        parse(std::iter::once("hayate-perf").chain(line.split_whitespace()).map(OsString::from))
    }

    fn plan(line: &str) -> Plan {
        match asked(line) {
            Ok(Asked::Do(job)) => {
                let job: Box<dyn std::any::Any> = job;
                *job.downcast().expect("a load")
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_is_as_kafkas_clients_have_it() {
        let plan = plan("produce");
        assert_eq!((plan.acks, plan.idempotence, plan.batch_bytes, plan.in_flight_max), (-1, true, 16384, 5));
        assert_eq!((plan.linger.as_millis(), plan.request_bytes_max, plan.rate), (5, 1 << 20, None));
        assert_eq!((plan.workload, plan.bootstrap), (Workload::Produce, vec!["127.0.0.1:9092".to_owned()]));
    }

    #[test]
    fn options_are_read() {
        let plan = plan(
            "e2e --bootstrap-server a:1,b:2 --rate 50000 --record-size 100..200 --acks 1 --linger-ms 0.5 --cores 1,3 --pid 7 --pid 8",
        );
        assert_eq!((plan.workload, plan.bootstrap.len(), plan.rate), (Workload::EndToEnd, 2, Some(50_000.0)));
        assert_eq!((plan.sizes.min, plan.sizes.max, plan.acks, plan.idempotence), (100, 200, 1, false));
        assert_eq!((plan.linger.as_micros(), plan.cores, plan.pids), (500, vec![1, 3], vec![7, 8]));
    }

    #[test]
    fn one_topic_has_its_name_and_several_have_numbers() {
        for (line, due) in [
            ("consume --topic t", vec!["t"]),
            ("consume --topic t --topics 1", vec!["t"]),
            ("produce --topic t --topics 3", vec!["t-0", "t-1", "t-2"]),
        ] {
            assert_eq!(plan(line).topic_names(), due, "{line}");
        }
        let plan = plan("e2e --rate 1 --subscriptions 2 --consumers 3");
        assert_eq!((plan.subscriptions, plan.consumers), (2, 3));
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        for line in [
            "",
            "nothing",
            "produce --rate 0",
            "produce --rate fast",
            "produce --record-size 3",
            "produce --random 1.5",
            "produce --acks 2",
            "produce --partitions 0",
            "consume --rate 5",
            "e2e",
            "produce --acks 0",
            "search --rate max",
            "search --hlog file",
            "search --of consume",
            "search --percentile 101",
            "search --precision 0",
            "produce --topics 0",
            "produce --subscriptions 2",
            "consume --subscriptions 0",
            "explain --percentile 100",
            "explain --for -1",
            "explain --for 1e9",
        ] {
            let mistake = asked(line).expect_err(line);
            assert!(!mistake.contains('\n') && !mistake.is_empty(), "{line}: {mistake}");
        }
        assert!(matches!(asked("--help"), Ok(Asked::Print(_))));
        assert!(matches!(asked("produce --help"), Ok(Asked::Print(_))));
        assert!(matches!(asked("--version"), Ok(Asked::Print(_))));
    }
}
