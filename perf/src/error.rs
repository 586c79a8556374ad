//! Why a run failed: one sum type, its line for people.

use hayate_net::client::ClientError;
use hayate_net::client::blocking::ConnectionError;
use hayate_net::error::ErrorCode;
use std::fmt;
use std::io;

/// Why a run failed.
#[derive(Debug)]
pub enum PerfError {
    /// A connection cannot be had, or is of no more use.
    Connection(ConnectionError),
    /// The broker refused.
    Refused {
        /// What about.
        what: String,
        /// Kafka's code.
        code: i16,
    },
    /// What cannot be done, whatever the broker says.
    Impossible(String),
    /// A connection of the load broke.
    Broke {
        /// The broker.
        address: String,
        /// Why.
        cause: String,
    },
    /// The load went on to its end, but not everything was answered well.
    Incomplete(String),
    /// A file cannot be written.
    File {
        /// Its path.
        path: String,
        /// Why.
        cause: io::Error,
    },
}

impl PerfError {
    /// The result of something that the broker gave a code for.
    ///
    /// # Errors
    /// [`PerfError::Refused`] for any code but that for none.
    pub fn check(what: impl FnOnce() -> String, code: i16) -> Result<(), PerfError> {
        if code == 0 { Ok(()) } else { Err(PerfError::Refused { what: what(), code }) }
    }

    /// Whether the same request may soon be answered well.
    pub fn is_passing(&self) -> bool {
        match self {
            PerfError::Refused { code, .. } => {
                ErrorCode::from_code(*code).is_some_and(|known| known.is_retriable())
            }
            PerfError::Connection(_)
            | PerfError::Impossible(_)
            | PerfError::Broke { .. }
            | PerfError::Incomplete(_)
            | PerfError::File { .. } => false,
        }
    }
}

/// Kafka's name of a code, or the number.
pub fn code_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |known| known.name().to_owned())
}

impl fmt::Display for PerfError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PerfError::Connection(error) => error.fmt(out),
            PerfError::Refused { what, code } => write!(out, "{what}: {}", code_name(*code)),
            PerfError::Impossible(what) | PerfError::Incomplete(what) => out.write_str(what),
            PerfError::Broke { address, cause } => write!(out, "{address}: {cause}"),
            PerfError::File { path, cause } => write!(out, "{path}: {cause}"),
        }
    }
}

impl std::error::Error for PerfError {}

impl From<ConnectionError> for PerfError {
    fn from(error: ConnectionError) -> PerfError {
        PerfError::Connection(error)
    }
}

/// What a connection of the load says when its protocol fails.
pub fn broke(address: &str, cause: &ClientError) -> PerfError {
    PerfError::Broke { address: address.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::PerfError;

    #[test]
    fn refusals_pass_when_clients_would_try_again() {
        let refused = |code| PerfError::Refused { what: String::new(), code };
        // NOT_LEADER_OR_FOLLOWER, COORDINATOR_LOAD_IN_PROGRESS; INVALID_TOPIC_EXCEPTION, and a code that nobody knows.
        for (code, passes) in [(6, true), (14, true), (17, false), (31_000, false)] {
            assert_eq!(refused(code).is_passing(), passes, "{code}");
        }
        assert!(!PerfError::Impossible(String::new()).is_passing());
    }
}
