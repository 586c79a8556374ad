//! `hayate topics`: list, describe, create, alter and delete.

use super::cluster::{self, Connect};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// What to do with topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// Print their names.
    List,
    /// Print these, or all, with their partitions.
    Describe {
        /// Their names; none for all.
        topics: Vec<String>,
    },
    /// Create some.
    Create {
        /// Their names.
        topics: Vec<String>,
        /// Partitions of each; −1 for the broker's default.
        partitions: i32,
        /// Replicas of each partition; −1 for the broker's default.
        replicas: i16,
        /// Configurations of each.
        configs: Vec<(String, String)>,
        /// Those that exist are none of our business.
        if_not_exists: bool,
        /// Only say whether it could be done.
        validate_only: bool,
    },
    /// Give them more partitions.
    Alter {
        /// Their names.
        topics: Vec<String>,
        /// Partitions that each is to have.
        partitions: i32,
        /// Only say whether it could be done.
        validate_only: bool,
    },
    /// Delete some.
    Delete {
        /// Their names.
        topics: Vec<String>,
        /// Those that do not exist are none of our business.
        if_exists: bool,
    },
}

pub(super) fn command() -> Command {
    let list = Command::new("list").about("Print the names of all topics");
    let describe = Command::new("describe")
        .about("Print topics, with their partitions and what is set for them")
        .arg(topics().help("Their names; all topics without one"));
    let create = Command::new("create").about("Create topics").args([
        topics().required(true).help("Their names"),
        partitions().help("Partitions of each; the broker's default without it"),
        Arg::new("replication-factor")
            .long("replication-factor")
            .value_name("N")
            .value_parser(replicas)
            .help("Replicas of each partition; the broker's default without it"),
        Arg::new("config")
            .long("config")
            .value_name("KEY=VALUE")
            .action(ArgAction::Append)
            .value_parser(cluster::pair)
            .help("A configuration of each; may be repeated"),
        flag("if-not-exists", "Leave topics that exist as they are"),
        flag("validate-only", "Only say whether it could be done"),
    ]);
    let alter = Command::new("alter").about("Give topics more partitions").args([
        topics().required(true).help("Their names"),
        partitions().required(true).help("Partitions that each is to have"),
        flag("validate-only", "Only say whether it could be done"),
    ]);
    let delete = Command::new("delete").about("Delete topics, with their records").args([
        topics().required(true).help("Their names"),
        flag("if-exists", "Pass over topics that do not exist"),
    ]);
    let commands = [list, describe, create, alter, delete];
    Command::new("topics")
        .about("List, describe, create, alter and delete topics")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands(commands.map(|command| command.args_override_self(true).args(cluster::arguments())))
}

fn topics() -> Arg {
    Arg::new("TOPIC").num_args(1..)
}

fn partitions() -> Arg {
    Arg::new("partitions").long("partitions").value_name("N").value_parser(cluster::count)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn replicas(text: &str) -> Result<i16, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| format!("is no number from 1 to {}", i16::MAX))
}

pub(super) fn read(matches: &ArgMatches) -> super::Command {
    let (name, matches) = matches.subcommand().expect("clap requires one");
    let connect: Connect = cluster::read(matches);
    let topics = || cluster::all(matches, "TOPIC");
    let partitions = || matches.get_one::<i32>("partitions").copied().unwrap_or(-1);
    let asked = match name {
        "list" => Topics::List,
        "describe" => Topics::Describe { topics: topics() },
        "create" => Topics::Create {
            topics: topics(),
            partitions: partitions(),
            replicas: matches.get_one::<i16>("replication-factor").copied().unwrap_or(-1),
            configs: cluster::all(matches, "config"),
            if_not_exists: matches.get_flag("if-not-exists"),
            validate_only: matches.get_flag("validate-only"),
        },
        "alter" => Topics::Alter {
            topics: topics(),
            partitions: partitions(),
            validate_only: matches.get_flag("validate-only"),
        },
        "delete" => Topics::Delete { topics: topics(), if_exists: matches.get_flag("if-exists") },
        other => unreachable!("{other} is no command"),
    };
    super::Command::Topics(connect, asked)
}
