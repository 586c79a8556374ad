//! `hayate configs`: describe and alter, of topics, brokers, their logs and whatever else has configurations.

use super::UsageError;
use super::cluster;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// The kind of what has configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityKind {
    /// A topic.
    Topic,
    /// A broker, or all of them.
    Broker,
    /// The levels of a broker's log.
    BrokerLogger,
    /// A subscription to clients' metrics.
    ClientMetrics,
    /// A group.
    Group,
}

impl EntityKind {
    const ALL: [EntityKind; 5] = [
        EntityKind::Topic,
        EntityKind::Broker,
        EntityKind::BrokerLogger,
        EntityKind::ClientMetrics,
        EntityKind::Group,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            EntityKind::Topic => "topic",
            EntityKind::Broker => "broker",
            EntityKind::BrokerLogger => "broker-logger",
            EntityKind::ClientMetrics => "client-metrics",
            EntityKind::Group => "group",
        }
    }

    /// Kafka's number.
    pub const fn number(self) -> i8 {
        match self {
            EntityKind::Topic => 2,
            EntityKind::Broker => 4,
            EntityKind::BrokerLogger => 8,
            EntityKind::ClientMetrics => 16,
            EntityKind::Group => 32,
        }
    }
}

/// What has configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Its kind.
    pub kind: EntityKind,
    /// Its name; empty for all brokers.
    pub name: String,
}

/// One change, with Kafka's names of the operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A value is set.
    Set(String, String),
    /// What was set is taken back.
    Delete(String),
    /// A word is added to a list.
    Append(String, String),
    /// A word is taken from a list.
    Subtract(String, String),
}

/// What to do with configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configs {
    /// Print them.
    Describe {
        /// Whose.
        entity: Entity,
        /// Which; none for all.
        keys: Vec<String>,
        /// Also what nobody has set.
        all: bool,
    },
    /// Change them.
    Alter {
        /// Whose.
        entity: Entity,
        /// How, in this order.
        changes: Vec<Change>,
        /// Only say whether it could be done.
        validate_only: bool,
    },
}

const NAMES: &str = "\
KIND and NAME say whose configurations are meant:
  topic NAME           what is set for a topic
  broker [ID]          what is set for one broker, or for all
  broker-logger ID     the levels of a broker's log, by module; root is that of all others
  client-metrics NAME  a subscription to clients' metrics
  group NAME           a group
";

pub(super) fn command() -> Command {
    let describe = Command::new("describe").about("Print what is set").args([
        Arg::new("all").long("all").action(ArgAction::SetTrue).help("Also what nobody has set"),
        Arg::new("key")
            .long("key")
            .value_name("KEY")
            .action(ArgAction::Append)
            .help("Only this; may be repeated"),
    ]);
    let change = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
    };
    let alter = Command::new("alter").about("Change what is set; for loggers until the broker ends").args([
        change("set", "KEY=VALUE", "Set a value; may be repeated").value_parser(cluster::pair),
        change("delete", "KEY", "Take back what was set; may be repeated"),
        change("append", "KEY=WORD", "Add a word to a list; may be repeated").value_parser(cluster::pair),
        change("subtract", "KEY=WORD", "Take a word from a list; may be repeated")
            .value_parser(cluster::pair),
        Arg::new("validate-only")
            .long("validate-only")
            .action(ArgAction::SetTrue)
            .help("Only say whether it could be done"),
    ]);
    let entity = [
        Arg::new("KIND")
            .required(true)
            .value_parser(PossibleValuesParser::new(EntityKind::ALL.map(EntityKind::name))),
        Arg::new("NAME"),
    ];
    let complete = |command: Command| {
        command.after_help(NAMES).args_override_self(true).args(entity.clone()).args(cluster::arguments())
    };
    Command::new("configs")
        .about("Describe and alter configurations of topics, brokers and their logs")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([describe, alter].map(complete))
}

pub(super) fn read(matches: &ArgMatches) -> Result<super::Command, UsageError> {
    let (name, matches) = matches.subcommand().expect("clap requires one");
    let entity = entity(matches).map_err(|what| UsageError::of(&format!("configs {name}"), what))?;
    let asked = match name {
        "describe" => {
            Configs::Describe { entity, keys: cluster::all(matches, "key"), all: matches.get_flag("all") }
        }
        _ => {
            let changes = changes(matches);
            if changes.is_empty() {
                let what = "one of --set, --delete, --append, --subtract is missing";
                return Err(UsageError::of("configs alter", what));
            }
            Configs::Alter { entity, changes, validate_only: matches.get_flag("validate-only") }
        }
    };
    Ok(super::Command::Configs(cluster::read(matches), asked))
}

fn entity(matches: &ArgMatches) -> Result<Entity, String> {
    let kind = cluster::required(matches, "KIND");
    let kind = EntityKind::ALL.into_iter().find(|known| known.name() == kind).expect("clap knows them");
    let name = cluster::required(matches, "NAME");
    if name.is_empty() && kind != EntityKind::Broker {
        return Err(format!("{} needs a NAME", kind.name()));
    }
    let is_numbered = matches!(kind, EntityKind::Broker | EntityKind::BrokerLogger) && !name.is_empty();
    if is_numbered && let Err(reason) = cluster::number(&name) {
        return Err(format!("{} {name} {reason}", kind.name()));
    }
    Ok(Entity { kind, name })
}

/// In the order in which they stand.
fn changes(matches: &ArgMatches) -> Vec<Change> {
    let places = |name| matches.indices_of(name).into_iter().flatten();
    let mut all: Vec<(usize, Change)> = Vec::new();
    let mut pairs = |name, change: fn(String, String) -> Change| {
        let pairs = cluster::all::<(String, String)>(matches, name).into_iter();
        all.extend(places(name).zip(pairs.map(|(key, value)| change(key, value))));
    };
    pairs("set", Change::Set);
    pairs("append", Change::Append);
    pairs("subtract", Change::Subtract);
    let keys = cluster::all::<String>(matches, "delete").into_iter();
    all.extend(places("delete").zip(keys.map(Change::Delete)));
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, change)| change).collect()
}
