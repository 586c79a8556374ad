//! Why a command failed: one sum type, its line for people, and the exit code that goes with it.

use hayate_net::client::blocking::ConnectionError;
use hayate_net::error::ErrorCode;
use std::fmt;
use std::io;

/// Why a command failed.
#[derive(Debug)]
pub enum CommandError {
    /// The settings cannot be used.
    Settings(String),
    /// A connection cannot be had, or is of no more use.
    Connection(ConnectionError),
    /// The broker refused.
    Refused {
        /// What about: a topic, a partition, a resource.
        what: String,
        /// Kafka's code.
        code: i16,
        /// In the broker's words.
        message: Option<String>,
    },
    /// What cannot be done, whatever the broker says.
    Impossible(String),
    /// Standard input is unusable.
    Input(String),
    /// Standard output is.
    Output(io::Error),
    /// Several things failed that do not depend on each other.
    Several(Vec<CommandError>),
}

impl CommandError {
    /// The result of something that the broker gave a code for.
    ///
    /// # Errors
    /// [`CommandError::Refused`] for any code but that for none.
    pub fn check(
        what: impl FnOnce() -> String,
        code: i16,
        message: Option<&str>,
    ) -> Result<(), CommandError> {
        if code == ErrorCode::None.code() {
            return Ok(());
        }
        Err(CommandError::Refused { what: what(), code, message: message.map(str::to_owned) })
    }

    /// Nothing, or what failed.
    ///
    /// # Errors
    /// What `failures` hold.
    pub(super) fn all(mut failures: Vec<CommandError>) -> Result<(), CommandError> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(CommandError::Several(failures)),
        }
    }

    /// The broker's code, if it is about one.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            CommandError::Refused { code, .. } => ErrorCode::from_code(*code),
            _ => None,
        }
    }

    /// Whether the same may succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            CommandError::Connection(error) => error.is_passing(),
            CommandError::Refused { .. } => self.code().is_some_and(ErrorCode::is_retriable),
            CommandError::Settings(_)
            | CommandError::Impossible(_)
            | CommandError::Input(_)
            | CommandError::Output(_)
            | CommandError::Several(_) => false,
        }
    }

    /// For people: a line for each thing that failed.
    pub fn lines(&self) -> Vec<String> {
        match self {
            CommandError::Several(failures) => failures.iter().flat_map(CommandError::lines).collect(),
            one => vec![one.to_string()],
        }
    }

    /// Whether it is the user's mistake.
    pub fn is_mistake(&self) -> bool {
        matches!(self, CommandError::Settings(_))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Settings(what) | CommandError::Impossible(what) | CommandError::Input(what) => {
                out.write_str(what)
            }
            CommandError::Connection(error) => error.fmt(out),
            CommandError::Refused { what, code, message } => {
                match ErrorCode::from_code(*code) {
                    Some(known) => write!(out, "{what}: {}", known.name())?,
                    None => write!(out, "{what}: error {code}")?,
                }
                match message {
                    Some(message) if !message.is_empty() => write!(out, ": {message}"),
                    Some(_) | None => Ok(()),
                }
            }
            CommandError::Output(cause) => write!(out, "standard output: {cause}"),
            CommandError::Several(_) => out.write_str(&self.lines().join("\n")),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<ConnectionError> for CommandError {
    fn from(error: ConnectionError) -> CommandError {
        CommandError::Connection(error)
    }
}
