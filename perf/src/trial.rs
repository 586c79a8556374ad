//! What the subcommands have in common that try one thing out (commits, connections, partitions, rebalances): options, a document, the
//! broker's answers to single questions, waiting for many sockets.

pub mod admin;
pub mod counted;
pub mod wait;

use crate::PerfError;
use crate::cli::options::{get, many, option};
use crate::machine::Watched;
use crate::report::Document;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use serde_json::json;
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

/// Where a trial goes, and where what it tells goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// `host:port` of brokers to begin with.
    pub bootstrap: Vec<String>,
    /// Processes whose CPU time and memory are told.
    pub pids: Vec<u32>,
    /// Where the JSON document goes.
    pub json: Option<PathBuf>,
}

impl Common {
    /// Its options.
    pub fn args() -> Vec<Arg> {
        vec![
            option("bootstrap-server", "HOST:PORT,…", "Brokers to begin with")
                .default_value("127.0.0.1:9092"),
            option("pid", "PID", "A process whose CPU time and memory are told; may be repeated")
                .action(ArgAction::Append)
                .value_parser(value_parser!(u32)),
            option("json", "FILE", "Write the result as JSON").value_parser(value_parser!(PathBuf)),
        ]
    }

    /// Reads them.
    pub fn read(matches: &ArgMatches) -> Common {
        let bootstrap = get(matches, "bootstrap-server", String::new());
        Common {
            bootstrap: bootstrap.split(',').map(|word| word.trim().to_owned()).collect(),
            pids: many(matches, "pid"),
            json: matches.get_one("json").cloned(),
        }
    }

    /// The processes to watch, from now on.
    pub fn watched(&self) -> Vec<Watched> {
        self.pids.iter().map(|pid| Watched::begin(*pid)).collect()
    }

    /// Writes a document, if one is asked for.
    ///
    /// # Errors
    /// [`PerfError::File`].
    pub fn write(&self, document: &Document) -> Result<(), PerfError> {
        self.json.as_deref().map_or(Ok(()), |path| document.write(path))
    }
}

/// A document with what stands in that of every trial; `environment` is the machine, as it was before.
pub fn document(workload: &str, plan: &dyn Debug, environment: serde_json::Value) -> Document {
    let mut document = Document::default();
    document.set("workload", json!(workload));
    document.set("plan", json!(format!("{plan:?}")));
    document.set("command", json!(std::env::args().collect::<Vec<_>>()));
    document.set("environment", environment);
    document
}

/// A span in nanoseconds.
pub fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// A rate a second, 0 or more, or infinity for `max`.
///
/// # Errors
/// What it should be.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(f64::INFINITY),
        Ok(rate) if rate >= 0.0 && rate.is_finite() => Ok(rate),
        Ok(_) | Err(_) => Err("a number a second, not below 0, or max".to_owned()),
    }
}

/// A finite rate above 0.
///
/// # Errors
/// What it should be.
pub fn finite_rate(text: &str) -> Result<f64, String> {
    match rate(text) {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        Ok(_) | Err(_) => Err("a number a second above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{finite_rate, rate};

    #[test]
    fn rates_are_read() {
        for (text, any, finite) in
            [("0", true, false), ("max", true, false), ("0.5", true, true), ("9", true, true)]
        {
            assert_eq!((rate(text).is_ok(), finite_rate(text).is_ok()), (any, finite), "{text}");
        }
        for text in ["-1", "inf", "NaN", "", "x"] {
            assert!(rate(text).is_err() && finite_rate(text).is_err(), "{text}");
        }
    }
}
