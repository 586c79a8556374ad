//! The command line: what is asked for, and the texts that explain it. Reads no file and starts nothing.
//!
//! Parsing, help and completions are clap's; each command has a file of its own below. Mistakes are said in one line that begins with
//! what was mistaken.

mod cluster;
mod configs;
mod consume;
mod metadata;
mod mistake;
mod produce;
mod server;
mod topics;

pub use cluster::Connect;
pub use configs::{Change, Configs, Entity, EntityKind};
pub use consume::{Consume, Shown, Start};
pub use metadata::{Handover, Heir};
pub use mistake::UsageError;
pub use produce::Produce;
pub(crate) use produce::acks_of;
pub use server::Sources;
pub use topics::Topics;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, value_parser};
use clap_complete::Shell;
use std::ffi::OsString;

/// Under the list of commands and options.
const AFTER: &str = "\
Without a command the broker starts. Without a file it listens on 127.0.0.1:9092, keeps its data in ./hayate-data, runs one
shard a core and creates topics when they are first used.

Environment:
  HAYATE_LOG         What a broker logs: off, error, warn, info (default), debug, trace, or by module: info,hayate_storage=debug
  HAYATE_LOG_FORMAT  text (default) or json

Exit codes: 0 when all is done, 1 when the broker cannot start or go on or a request failed, 2 for a mistake in the command line
or the settings.
";

/// What `--version` prints.
pub fn version() -> String {
    format!("hayate {}", env!("CARGO_PKG_VERSION"))
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Start the broker.
    Start(Sources),
    /// Print the settings.
    Config(Sources),
    /// Make a folder this broker's or Kafka's.
    Metadata(Handover, Sources),
    /// Print this text.
    Print(String),
    /// Topics of a cluster.
    Topics(Connect, Topics),
    /// Records into a topic.
    Produce(Connect, Produce),
    /// Records out of a topic.
    Consume(Connect, Consume),
    /// Configurations of a cluster.
    Configs(Connect, Configs),
}

fn command() -> clap::Command {
    clap::Command::new("hayate")
        .about("Hayate, a Kafka-compatible broker.")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage(
            "hayate [start] [OPTIONS]\n       hayate config [OPTIONS]\n       hayate <COMMAND> [OPTIONS]",
        )
        .after_help(AFTER)
        .propagate_version(true)
        .disable_help_subcommand(true)
        .infer_subcommands(false)
        .args_conflicts_with_subcommands(true)
        .args_override_self(true)
        .args(server::arguments())
        .subcommand(server::start())
        .subcommand(server::config())
        .subcommand(metadata::command())
        .subcommand(topics::command())
        .subcommand(produce::command())
        .subcommand(consume::command())
        .subcommand(configs::command())
        .subcommand(completions())
}

fn completions() -> clap::Command {
    clap::Command::new("completions")
        .about("Print the completions of this command line for a shell")
        .after_help("For instance: hayate completions bash > /etc/bash_completion.d/hayate")
        .arg(Arg::new("SHELL").required(true).value_parser(value_parser!(Shell)))
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// [`UsageError`] for what is not understood.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let named = [OsString::from("hayate")].into_iter().chain(arguments.iter().cloned());
    match command().try_get_matches_from(named) {
        Ok(matches) => read(&matches),
        Err(error) => match error.kind() {
            ErrorKind::DisplayVersion => Ok(Command::Print(format!("{}\n", version()))),
            ErrorKind::DisplayHelp => Ok(Command::Print(error.render().to_string())),
            _ => Err(UsageError::new(&error, &command(), &arguments)),
        },
    }
}

fn read(matches: &ArgMatches) -> Result<Command, UsageError> {
    Ok(match matches.subcommand() {
        None => Command::Start(server::read(matches)),
        Some(("start", matches)) => Command::Start(server::read(matches)),
        Some(("config", matches)) => Command::Config(server::read(matches)),
        Some(("metadata", matches)) => {
            let (handover, sources) = metadata::read(matches);
            Command::Metadata(handover, sources)
        }
        Some(("topics", matches)) => topics::read(matches),
        Some(("produce", matches)) => produce::read(matches)?,
        Some(("consume", matches)) => consume::read(matches)?,
        Some(("configs", matches)) => configs::read(matches)?,
        Some(("completions", matches)) => Command::Print(script(matches)),
        Some((other, _)) => unreachable!("{other} is no command"),
    })
}

fn script(matches: &ArgMatches) -> String {
    let shell = matches.get_one::<Shell>("SHELL").copied();
    let mut script = Vec::new();
    clap_complete::generate(shell.unwrap_or(Shell::Bash), &mut command(), "hayate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests;
