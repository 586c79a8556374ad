//! Pieces of command lines that several subcommands are made of.

use clap::{Arg, ArgMatches};
use std::time::Duration;

/// An option with a value.
pub fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// A span in seconds, which may be a fraction.
///
/// # Errors
/// What is wrong with it.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

/// A span in milliseconds, which may be a fraction.
///
/// # Errors
/// What is wrong with it.
pub fn millis(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of milliseconds".to_owned())?;
    Duration::try_from_secs_f64(number / 1e3).map_err(|error| error.to_string())
}

/// `NAME=VALUE`
///
/// # Errors
/// It is none.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// An option of the command line, or what stands for it in a workload that has none of that name.
pub fn get<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str, or: T) -> T {
    matches.try_get_one::<T>(name).ok().flatten().cloned().unwrap_or(or)
}

/// All values of an option that may be repeated.
pub fn many<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    matches.try_get_many::<T>(name).ok().flatten().map(|all| all.cloned().collect()).unwrap_or_default()
}
