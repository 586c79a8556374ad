//! `hayate metadata`: a data folder goes from one broker to another.

use super::server::{self, Sources};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// A folder goes from one broker to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Which way.
    pub to: Heir,
    /// Whether only to say what there is.
    pub dry_run: bool,
}

/// Whose a folder is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heir {
    /// This broker's: `import`.
    Hayate,
    /// Apache Kafka's: `export`.
    Kafka,
}

pub(super) fn command() -> Command {
    let import = Command::new("import")
        .about("Take over the data folder of a Kafka 4.2 node that is stopped; a start does so too");
    let export = Command::new("export")
        .about("Leave the data folder to a Kafka 4.2 node, after a clean stop of this broker");
    let complete = |command: Command| {
        let dry_run = Arg::new("dry-run")
            .long("dry-run")
            .action(ArgAction::SetTrue)
            .help("Say what there is, and leave the folder as it is");
        command.args_override_self(true).arg(dry_run).args(server::arguments())
    };
    Command::new("metadata")
        .about("Take over a data folder of Kafka's, or leave one to it")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([import, export].map(complete))
}

pub(super) fn read(matches: &ArgMatches) -> (Handover, Sources) {
    let (name, matches) = matches.subcommand().expect("clap requires one");
    let to = if name == "export" { Heir::Kafka } else { Heir::Hayate };
    (Handover { to, dry_run: matches.get_flag("dry-run") }, server::read(matches))
}
