//! `hayate consume`: records out.

use super::UsageError;
use super::cluster;
use crate::commands::format::Format;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record.
    Beginning,
    /// Behind the newest.
    End,
    /// At this offset.
    At(i64),
    /// So many records before the end.
    Last(i64),
    /// With the first record at or after this time, in milliseconds since the Unix epoch.
    Time(i64),
}

/// How records are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As the format says.
    Format(Format),
    /// An object a line.
    Json,
}

/// Records are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consume {
    /// The topic.
    pub topic: String,
    /// Its partitions; none for all.
    pub partitions: Vec<i32>,
    /// Where reading begins in each.
    pub start: Start,
    /// Records to print at most, of all partitions together.
    pub max_messages: Option<u64>,
    /// Whether it ends where each partition ends.
    pub exit_at_end: bool,
    /// How they are printed.
    pub shown: Shown,
}

const AFTER: &str = "\
A format is text with these in it:
  %v  value              %k  key                %h  headers, as name=value by commas
  %V  bytes of value     %K  bytes of key       %t  topic
  %p  partition          %o  offset             %T  timestamp in milliseconds
  %%  a percent sign     \\n \\t \\r \\0 \\\\ \\xHH  bytes that cannot be typed
%s and %S stand for %v and %V, as in kcat. What is not there has -1 bytes. Bytes are printed as they are.

With --json each record is an object on a line: topic, partition, offset, timestamp, key, value, headers. What is no UTF-8 stands as
base64 under key_base64, value_base64, and in headers as {\"base64\":...}.
";

pub(super) fn command() -> Command {
    Command::new("consume")
        .about("Print the records of a topic")
        .after_help(AFTER)
        .args_override_self(true)
        .args([
            Arg::new("TOPIC").required(true),
            Arg::new("partition")
                .long("partition")
                .short('p')
                .value_name("N")
                .action(ArgAction::Append)
                .value_parser(cluster::number)
                .help("Only this partition; may be repeated"),
            Arg::new("offset")
                .long("offset")
                .short('o')
                .value_name("WHERE")
                .allow_hyphen_values(true)
                .value_parser(start)
                .help("beginning, end (default), an offset, -N for the last N records, @MS for a time"),
            Arg::new("from-beginning")
                .long("from-beginning")
                .action(ArgAction::SetTrue)
                .conflicts_with("offset")
                .help("The same as --offset beginning"),
            Arg::new("max-messages")
                .long("max-messages")
                .short('c')
                .value_name("N")
                .value_parser(messages)
                .help("End after so many records"),
            Arg::new("exit-at-end")
                .long("exit-at-end")
                .short('e')
                .action(ArgAction::SetTrue)
                .help("End where the partitions end"),
            Arg::new("format")
                .long("format")
                .short('f')
                .value_name("FORMAT")
                .value_parser(Format::parse)
                .help("How a record is printed; %v\\n without it"),
            Arg::new("json")
                .long("json")
                .short('J')
                .action(ArgAction::SetTrue)
                .conflicts_with("format")
                .help("Records as JSON"),
        ])
        .args(cluster::arguments())
}

fn start(text: &str) -> Result<Start, String> {
    let wrong = || "is none of beginning, end, an offset, -N and @MS".to_owned();
    match text {
        "beginning" | "earliest" => Ok(Start::Beginning),
        "end" | "latest" => Ok(Start::End),
        _ => match (text.strip_prefix('@'), text.parse::<i64>()) {
            (Some(time), _) => time.parse().ok().filter(|ms| *ms >= 0).map(Start::Time).ok_or_else(wrong),
            (None, Ok(offset @ 0..)) => Ok(Start::At(offset)),
            (None, Ok(back)) => back.checked_neg().map(Start::Last).ok_or_else(wrong),
            (None, Err(_)) => Err(wrong()),
        },
    }
}

fn messages(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "is no number from 0 on".to_owned())
}

pub(super) fn read(matches: &ArgMatches) -> Result<super::Command, UsageError> {
    let from_beginning = matches.get_flag("from-beginning").then_some(Start::Beginning);
    let start = matches.get_one("offset").copied().or(from_beginning).unwrap_or(Start::End);
    let shown = match matches.get_one::<Format>("format") {
        Some(format) => Shown::Format(format.clone()),
        None if matches.get_flag("json") => Shown::Json,
        None => Shown::Format(Format::default()),
    };
    let consume = Consume {
        topic: cluster::required(matches, "TOPIC"),
        partitions: cluster::all(matches, "partition"),
        start,
        max_messages: matches.get_one("max-messages").copied(),
        exit_at_end: matches.get_flag("exit-at-end"),
        shown,
    };
    Ok(super::Command::Consume(cluster::read(matches), consume))
}
