//! `hayate produce`: lines in.

use super::UsageError;
use super::cluster;
use crate::commands::format::unescape;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Lines of standard input become records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produce {
    /// The topic.
    pub topic: String,
    /// The partition; `None` to choose by key, and in turn without one.
    pub partition: Option<i32>,
    /// Each line is a record as JSON.
    pub json: bool,
    /// What stands between key and value, if lines have keys.
    pub key_separator: Option<Vec<u8>>,
    /// What ends a line: one byte.
    pub delimiter: u8,
    /// Headers of every record.
    pub headers: Vec<(String, String)>,
    /// Empty keys and values are none.
    pub empty_as_null: bool,
    /// −1 for all; `None` as the settings say, or all.
    pub acks: Option<i16>,
    /// The codec's name; `None` as the settings say, or none.
    pub compression: Option<String>,
}

const AFTER: &str = "\
With --json each line is an object with any of: key, value (text or null), key_base64, value_base64 (bytes), headers (an object
of text, or an array of pairs), partition, timestamp (milliseconds). That is what hayate consume --json prints.

Records are sent until each is acknowledged, once and in their order within a partition, or the delivery.timeout.ms of the settings
(120000) is over.
";

pub(super) fn command() -> Command {
    Command::new("produce")
        .about("Send the lines of standard input to a topic")
        .after_help(AFTER)
        .args_override_self(true)
        .args([
            Arg::new("TOPIC").required(true),
            Arg::new("partition")
                .long("partition")
                .short('p')
                .value_name("N")
                .value_parser(cluster::number)
                .help("The partition; without it by key as Java's clients choose, and in turn where there is none"),
            Arg::new("key-separator")
                .long("key-separator")
                .short('K')
                .value_name("TEXT")
                .value_parser(unescape)
                .conflicts_with("json")
                .help("What stands between key and value; lines have no key without it"),
            Arg::new("delimiter")
                .long("delimiter")
                .short('D')
                .value_name("BYTE")
                .value_parser(delimiter)
                .help("What ends a record, if not \\n"),
            Arg::new("header")
                .long("header")
                .short('H')
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .value_parser(cluster::pair)
                .help("A header of every record; may be repeated"),
            Arg::new("empty-as-null")
                .long("empty-as-null")
                .short('Z')
                .action(ArgAction::SetTrue)
                .help("An empty key or value is none"),
            Arg::new("json").long("json").short('J').action(ArgAction::SetTrue).help("Lines are records as JSON"),
        ])
        .args(delivery())
        .args(cluster::arguments())
}

fn delivery() -> [Arg; 2] {
    [
        Arg::new("acks")
            .long("acks")
            .value_name("ACKS")
            .value_parser(PossibleValuesParser::new(["all", "-1", "1", "0"]))
            .allow_hyphen_values(true)
            .help("Who must have a record before it counts as sent: all (default), 1 or 0"),
        Arg::new("compression")
            .long("compression")
            .short('z')
            .value_name("CODEC")
            .value_parser(PossibleValuesParser::new(["none", "gzip", "snappy", "lz4", "zstd"]))
            .help("How batches are compressed; none without it"),
    ]
}

fn delimiter(text: &str) -> Result<u8, String> {
    match unescape(text)?[..] {
        [byte] => Ok(byte),
        _ => Err("is not one byte".to_owned()),
    }
}

/// The number of Kafka's words for acknowledgements.
pub(crate) fn acks_of(word: &str) -> Option<i16> {
    match word {
        "all" | "-1" => Some(-1),
        "1" => Some(1),
        "0" => Some(0),
        _ => None,
    }
}

pub(super) fn read(matches: &ArgMatches) -> Result<super::Command, UsageError> {
    let key_separator = matches.get_one::<Vec<u8>>("key-separator").cloned();
    if key_separator.as_ref().is_some_and(Vec::is_empty) {
        return Err(UsageError::of("produce", "--key-separator is empty"));
    }
    let produce = Produce {
        topic: cluster::required(matches, "TOPIC"),
        partition: matches.get_one("partition").copied(),
        json: matches.get_flag("json"),
        key_separator,
        delimiter: matches.get_one("delimiter").copied().unwrap_or(b'\n'),
        headers: cluster::all(matches, "header"),
        empty_as_null: matches.get_flag("empty-as-null"),
        acks: matches.get_one::<String>("acks").and_then(|word| acks_of(word)),
        compression: matches.get_one::<String>("compression").cloned(),
    };
    Ok(super::Command::Produce(cluster::read(matches), produce))
}
