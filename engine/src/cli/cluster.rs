//! What all commands share that talk to a cluster: where it is, and the forms of values.

use clap::{Arg, ArgMatches, value_parser};
use std::path::PathBuf;

/// Where a cluster is, and how to talk to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect {
    /// `--bootstrap-server`: brokers, by commas.
    pub bootstrap: Option<String>,
    /// `--command-config`: a file of a client's settings.
    pub file: Option<PathBuf>,
}

pub(super) fn arguments() -> [Arg; 2] {
    [
        Arg::new("bootstrap-server")
            .long("bootstrap-server")
            .short('b')
            .value_name("HOST:PORT")
            .help("Brokers to begin with, by commas; 127.0.0.1:9092 if the settings name none"),
        Arg::new("command-config")
            .long("command-config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Read a client's settings from FILE: bootstrap.servers, client.id, request.timeout.ms and so on"),
    ]
}

pub(super) fn read(matches: &ArgMatches) -> Connect {
    Connect {
        bootstrap: matches.get_one::<String>("bootstrap-server").cloned(),
        file: matches.get_one::<PathBuf>("command-config").cloned(),
    }
}

/// A required argument.
pub(super) fn required(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

/// All values of an argument that may be repeated.
pub(super) fn all<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    matches.get_many::<T>(name).into_iter().flatten().cloned().collect()
}

/// `KEY=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("is not of the form KEY=VALUE".to_owned()),
    }
}

/// A count of partitions or of records.
pub(super) fn count(text: &str) -> Result<i32, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| format!("is no number from 1 to {}", i32::MAX))
}

/// The number of a partition or a broker.
pub(super) fn number(text: &str) -> Result<i32, String> {
    text.parse()
        .ok()
        .filter(|number| *number >= 0)
        .ok_or_else(|| format!("is no number from 0 to {}", i32::MAX))
}
