//! The command line: what is asked for, and the texts that explain it. Reads no file and starts nothing.

use crate::config::{Given, Origin};
use std::fmt;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
Hayate, a Kafka-compatible broker.

    hayate [start] [OPTIONS]    start the broker
    hayate config [OPTIONS]     print every effective setting and where it comes from
    hayate --version
    hayate --help

Options:
    --config FILE           read settings from FILE, a server.properties
    --override KEY=VALUE    set one of them; may be repeated, the last one counts
    --shards N              the same as --override shards=N

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
    /// Print [`HELP`].
    Help,
    /// Print [`version`].
    Version,
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
    let command = match arguments.peek().map(String::as_str) {
        Some("start") => {
            arguments.next();
            Command::Start
        }
        Some("config") => {
            arguments.next();
            Command::Config
        }
        _ => Command::Start,
    };
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
            "--config" => sources.file = Some(value()?.into()),
            "--override" => sources.overrides.push(key_and_value(&value()?)?),
            "--shards" => sources.overrides.push(given("shards", &value()?, "--shards")),
            other => return Err(UsageError(format!("{other} is not understood"))),
        }
        if attached.is_some() {
            return Err(UsageError(format!("{option} takes no value")));
        }
    }
    Ok(command(sources))
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
