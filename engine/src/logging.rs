//! Logs: to standard error, as text or JSON, with RFC 3339 times in UTC.
//!
//! `HAYATE_LOG` chooses what is logged (`info`, `debug`, `warn,hayate_storage=trace` and so on), `HAYATE_LOG_FORMAT` is `text` or
//! `json`. They are variables of the environment and no settings, because what is wrong with the settings is logged too. While
//! the process runs, levels are changed through its [`Loggers`].

mod levels;
mod loggers;

pub use levels::{Level, Levels, MODULES, ROOT};
pub use loggers::Loggers;

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// A variable of the environment that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingError {
    variable: &'static str,
    value: String,
    reason: String,
}

impl fmt::Display for LoggingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}: {}", self.variable, self.value, self.reason)
    }
}

impl std::error::Error for LoggingError {}

/// What the environment says.
#[derive(Debug)]
pub struct Logging {
    levels: Levels,
    format: LogFormat,
}

impl Logging {
    /// From the values of `HAYATE_LOG` and `HAYATE_LOG_FORMAT`; an empty one is as good as none.
    ///
    /// # Errors
    /// A filter that does not parse, or an unknown format.
    pub fn parse(filter: Option<&str>, format: Option<&str>) -> Result<Logging, LoggingError> {
        let filter = filter.unwrap_or_default();
        let wrong = |reason| LoggingError { variable: "HAYATE_LOG", value: filter.to_owned(), reason };
        let levels = Levels::parse(filter).map_err(wrong)?;
        let format = match format.unwrap_or_default() {
            "" | "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                let (variable, value) = ("HAYATE_LOG_FORMAT", other.to_owned());
                return Err(LoggingError { variable, value, reason: "it is text or json".to_owned() });
            }
        };
        Ok(Logging { levels, format })
    }

    /// Logs like this from now on, for the whole process; what is returned changes levels.
    ///
    /// # Panics
    /// When called a second time.
    pub fn start(self) -> Arc<Loggers> {
        let lines = tracing_subscriber::fmt::layer()
            .with_timer(UtcTime::rfc_3339())
            .with_thread_names(true)
            .with_writer(std::io::stderr);
        let lines = match self.format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let (loggers, threshold) = Loggers::new(self.levels);
        tracing_subscriber::registry().with(threshold).with(lines).init();
        Arc::new(loggers)
    }
}

/// Logs panics, with their place, in place of the standard library's message. Ends the process at once when `is_fatal` says so.
pub fn log_panics(is_fatal: fn() -> bool) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let cause = panic.payload_as_str().unwrap_or("no message");
        let thread = std::thread::current();
        tracing::error!(thread = thread.name().unwrap_or("unnamed"), place, cause, "panic");
        if is_fatal() {
            tracing::error!("a panic in code that owns durable state: aborting, the next start recovers");
            std::process::abort();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read() {
        let format = |text| Logging::parse(None, text).map(|logging| logging.format);
        assert_eq!(format(None), Ok(LogFormat::Text));
        assert_eq!(format(Some("")), Ok(LogFormat::Text));
        assert_eq!(format(Some("json")), Ok(LogFormat::Json));
        assert_eq!(format(Some("xml")).unwrap_err().to_string(), "HAYATE_LOG_FORMAT=xml: it is text or json");
        assert!(Logging::parse(Some("debug,hayate_net=trace"), None).is_ok());
        let bad = Logging::parse(Some("hayate=loud"), None).unwrap_err().to_string();
        assert!(bad.starts_with("HAYATE_LOG=hayate=loud: "), "{bad}");
    }
}
