//! The command line: what is asked for, and the texts that explain it. Reads no file and starts nothing.

use crate::config::{Given, Origin};
use std::fmt;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
Hayate, a Kafka-compatible broker.

    hayate [start] [OPTIONS]    start the broker
    hayate config [OPTIONS]     print every effective setting and where it comes from
    hayate metadata import [--dry-run] [OPTIONS]
                                take over the data folder of a Kafka 4.2 node that is stopped (a start does so too)
    hayate metadata export [--dry-run] [OPTIONS]
                                leave the data folder to a Kafka 4.2 node, after a clean stop of this broker
    hayate --version
    hayate --help

Options:
    --config FILE           read settings from FILE, a server.properties
    --override KEY=VALUE    set one of them; may be repeated, the last one counts
    --shards N              the same as --override shards=N
    --dry-run               of metadata: say what there is, and leave the folder as it is

Without a file the broker listens on 127.0.0.1:9092, keeps its data in ./hayate-data, runs one shard a core
and creates topics when they are first used.

Environment:
    HAYATE_LOG              what is logged: error, warn, info (default), debug, trace, or by module
    HAYATE_LOG_FORMAT       text (default) or json

Exit codes: 0 after a clean stop, 1 when the broker cannot start or go on, 2 for a mistake in the command line
or the settings.
";

/// What `--version` prints.
pub fn version() -> String {
    format!("hayate {}", env!("CARGO_PKG_VERSION"))
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start the broker.
    Start(Sources),
    /// Print the settings.
    Config(Sources),
    /// Make a folder this broker's or Kafka's.
    Metadata(Handover, Sources),
    /// Print [`HELP`].
    Help,
    /// Print [`version`].
    Version,
}

/// A folder goes from one broker to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Which way.
    pub to: Heir,
    /// Whether only to say what there is.
    pub dry_run: bool,
}

/// Whose a folder is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heir {
    /// This broker's: `import`.
    Hayate,
    /// Apache Kafka's: `export`.
    Kafka,
}

/// Where settings come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// `--config`
    pub file: Option<PathBuf>,
    /// `--override` and `--shards`, in their order.
    pub overrides: Vec<Given>,
}

/// A mistaken command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; see hayate --help", self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// [`UsageError`] at the first one that is not understood.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().peekable();
    let mut command = match arguments.peek().map(String::as_str) {
        Some("start") => Verb::Start,
        Some("config") => Verb::Config,
        Some("metadata") => Verb::Metadata(Handover { to: Heir::Hayate, dry_run: false }),
        _ => Verb::Unsaid,
    };
    if command != Verb::Unsaid {
        arguments.next();
    }
    if let Verb::Metadata(handover) = &mut command {
        handover.to = match arguments.next().as_deref() {
            Some("import") => Heir::Hayate,
            Some("export") => Heir::Kafka,
            Some("--help" | "-h") => return Ok(Command::Help),
            Some(other) => return Err(UsageError(format!("metadata {other} is not understood"))),
            None => return Err(UsageError("metadata needs import or export".to_owned())),
        };
    }
    let mut sources = Sources::default();
    while let Some(argument) = arguments.next() {
        let (option, mut attached) = match argument.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option.to_owned(), Some(value.to_owned())),
            _ => (argument, None),
        };
        let mut value = || {
            attached
                .take()
                .or_else(|| arguments.next())
                .ok_or_else(|| UsageError(format!("{option} needs a value")))
        };
        match option.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            "--dry-run" if let Verb::Metadata(handover) = &mut command => handover.dry_run = true,
            "--config" => sources.file = Some(value()?.into()),
            "--override" => sources.overrides.push(key_and_value(&value()?)?),
            "--shards" => sources.overrides.push(given("shards", &value()?, "--shards")),
            other => return Err(UsageError(format!("{other} is not understood"))),
        }
        if attached.is_some() {
            return Err(UsageError(format!("{option} takes no value")));
        }
    }
    Ok(match command {
        Verb::Unsaid | Verb::Start => Command::Start(sources),
        Verb::Config => Command::Config(sources),
        Verb::Metadata(handover) => Command::Metadata(handover, sources),
    })
}

/// What the first argument says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Unsaid,
    Start,
    Config,
    Metadata(Handover),
}

fn key_and_value(text: &str) -> Result<Given, UsageError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok(given(key.trim(), value, "--override")),
        Some(_) | None => Err(UsageError(format!("--override {text} is not of the form KEY=VALUE"))),
    }
}

fn given(key: &str, value: &str, option: &'static str) -> Given {
    Given { key: key.to_owned(), value: value.to_owned(), origin: Origin::CommandLine(option) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn sources(file: Option<&str>, overrides: &[(&str, &str, &'static str)]) -> Sources {
        let overrides = overrides.iter().map(|(key, value, option)| given(key, value, option)).collect();
        Sources { file: file.map(PathBuf::from), overrides }
    }

    fn handover(to: Heir, dry_run: bool) -> Command {
        Command::Metadata(Handover { to, dry_run }, Sources::default())
    }

    #[test]
    fn what_is_understood() {
        for (line, expected) in [
            ("", Command::Start(Sources::default())),
            ("start", Command::Start(Sources::default())),
            ("--help", Command::Help),
            ("config -h", Command::Help),
            ("-V", Command::Version),
            ("start --version", Command::Version),
            ("--config a.properties", Command::Start(sources(Some("a.properties"), &[]))),
            ("config --config=a=b", Command::Config(sources(Some("a=b"), &[]))),
            ("metadata import", handover(Heir::Hayate, false)),
            ("metadata export --dry-run", handover(Heir::Kafka, true)),
            (
                "start --override a=b=c --shards 3 --override=d=",
                Command::Start(sources(
                    None,
                    &[("a", "b=c", "--override"), ("shards", "3", "--shards"), ("d", "", "--override")],
                )),
            ),
        ] {
            assert_eq!(read(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not() {
        for (line, expected) in [
            ("stop", "stop is not understood"),
            ("start now", "now is not understood"),
            ("metadata", "metadata needs import or export"),
            ("metadata eat", "metadata eat is not understood"),
            ("start --dry-run", "--dry-run is not understood"),
            ("--port 1", "--port is not understood"),
            ("--config", "--config needs a value"),
            ("--override", "--override needs a value"),
            ("--override a", "--override a is not of the form KEY=VALUE"),
            ("--override =a", "--override =a is not of the form KEY=VALUE"),
        ] {
            assert_eq!(
                read(line).unwrap_err().to_string(),
                format!("{expected}; see hayate --help"),
                "{line}"
            );
        }
    }
}
