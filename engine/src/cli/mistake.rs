//! A mistaken command line, in one line that begins with what was mistaken. What clap found is told in our words.

use crate::config::nearest::nearest;
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;
use std::fmt;

/// A mistaken command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    what: String,
    /// The commands that were understood, from the program's name on.
    path: String,
}

impl fmt::Display for UsageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; see {} --help", self.what, self.path)
    }
}

impl std::error::Error for UsageError {}

impl UsageError {
    pub(super) fn new(error: &clap::Error, command: &Command, arguments: &[OsString]) -> UsageError {
        let (path, command) = path(command, arguments);
        UsageError { what: words(error, command), path }
    }

    /// Of values that parse and do not go together.
    pub(super) fn of(command: &str, what: impl Into<String>) -> UsageError {
        UsageError { what: what.into(), path: format!("hayate {command}") }
    }
}

/// The commands that were understood, and the last of them.
fn path<'a>(mut command: &'a Command, arguments: &[OsString]) -> (String, &'a Command) {
    let mut path = command.get_name().to_owned();
    for argument in arguments {
        match argument.to_str().and_then(|name| command.find_subcommand(name)) {
            Some(found) => command = found,
            None => break,
        }
        path = format!("{path} {}", command.get_name());
    }
    (path, command)
}

fn words(error: &clap::Error, command: &Command) -> String {
    let argument = context(error, ContextKind::InvalidArg);
    // What an option is called: without its value's name.
    let option = argument.split([' ', '=']).next().unwrap_or_default();
    let value = context(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::InvalidSubcommand => unknown(&context(error, ContextKind::InvalidSubcommand), command),
        ErrorKind::UnknownArgument => unknown(&argument, command),
        ErrorKind::InvalidValue if value.is_empty() => format!("{option} needs a value"),
        ErrorKind::InvalidValue => {
            format!("{option} {value} is none of {}", context(error, ContextKind::ValidValue))
        }
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string);
            format!("{option} {value} {}", reason.unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
        ErrorKind::MissingSubcommand => {
            format!("one of {} is missing", context(error, ContextKind::ValidSubcommand))
        }
        ErrorKind::ArgumentConflict => {
            format!("{argument} cannot stand beside {}", context(error, ContextKind::PriorArg))
        }
        _ => first_line(error),
    }
}

fn unknown(what: &str, command: &Command) -> String {
    let commands = command.get_subcommands().map(|command| command.get_name().to_owned());
    let options = command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?)));
    let known: Vec<String> = commands.chain(options).collect();
    let hint = nearest(what, known.iter().map(String::as_str));
    let hint = hint.map_or(String::new(), |hint| format!("; is {hint} meant?"));
    format!("{what} is not understood{hint}")
}

/// What the error says of something, by commas.
fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
