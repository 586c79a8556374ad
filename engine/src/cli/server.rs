//! `hayate start` and `hayate config`: where a broker's settings come from.

use crate::config::{Given, Origin};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;

/// Where settings come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// `--config`
    pub file: Option<PathBuf>,
    /// `--override` and `--shards`, in their order.
    pub overrides: Vec<Given>,
}

pub(super) fn start() -> Command {
    Command::new("start").about("Start the broker").args_override_self(true).args(arguments())
}

pub(super) fn config() -> Command {
    let about = "Print every effective setting and where it comes from";
    Command::new("config").about(about).args_override_self(true).args(arguments())
}

pub(super) fn arguments() -> [Arg; 3] {
    [
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Read settings from FILE, a server.properties"),
        Arg::new("override")
            .long("override")
            .value_name("KEY=VALUE")
            .action(ArgAction::Append)
            .value_parser(super::cluster::pair)
            .help("Set one of them; may be repeated, the last one counts"),
        Arg::new("shards").long("shards").value_name("N").help("The same as --override shards=N"),
    ]
}

pub(super) fn read(matches: &ArgMatches) -> Sources {
    let file = matches.get_one::<PathBuf>("config").cloned();
    let places = |name| matches.indices_of(name).into_iter().flatten();
    let overrides = matches.get_many::<(String, String)>("override").into_iter().flatten();
    let overrides = overrides.map(|(key, value)| given(key.trim(), value, "--override"));
    let shards = matches.get_many::<String>("shards").into_iter().flatten();
    let shards = shards.map(|value| given("shards", value, "--shards"));
    let mut all: Vec<(usize, Given)> =
        places("override").zip(overrides).chain(places("shards").zip(shards)).collect();
    all.sort_by_key(|(place, _)| *place);
    Sources { file, overrides: all.into_iter().map(|(_, given)| given).collect() }
}

pub(super) fn given(key: &str, value: &str, option: &'static str) -> Given {
    Given { key: key.to_owned(), value: value.to_owned(), origin: Origin::CommandLine(option) }
}
