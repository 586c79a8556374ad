//! Lines that are understood, and what is said to those that are not.

use super::server::given;
use super::*;
use std::path::PathBuf;

fn read(line: &str) -> Result<Command, UsageError> {
    parse(line.split_whitespace().map(OsString::from))
}

fn sources(file: Option<&str>, overrides: &[(&str, &str, &'static str)]) -> Sources {
    let overrides = overrides.iter().map(|(key, value, option)| given(key, value, option)).collect();
    Sources { file: file.map(PathBuf::from), overrides }
}

#[test]
fn starts_and_settings() {
    for (line, expected) in [
        ("", Command::Start(Sources::default())),
        ("start", Command::Start(Sources::default())),
        ("--config a.properties", Command::Start(sources(Some("a.properties"), &[]))),
        ("start --config a --config b", Command::Start(sources(Some("b"), &[]))),
        ("config --config=a=b", Command::Config(sources(Some("a=b"), &[]))),
        (
            "start --override a=b=c --shards 3 --override=d=",
            Command::Start(sources(
                None,
                &[("a", "b=c", "--override"), ("shards", "3", "--shards"), ("d", "", "--override")],
            )),
        ),
        (
            "--shards 3 --override a=b",
            Command::Start(sources(None, &[("shards", "3", "--shards"), ("a", "b", "--override")])),
        ),
    ] {
        assert_eq!(read(line), Ok(expected), "{line}");
    }
}

#[test]
fn folders_change_hands() {
    for (line, to, dry_run) in
        [("metadata import", Heir::Hayate, false), ("metadata export --dry-run", Heir::Kafka, true)]
    {
        let expected = Command::Metadata(Handover { to, dry_run }, Sources::default());
        assert_eq!(read(line), Ok(expected), "{line}");
    }
    let from_file = Command::Metadata(Handover { to: Heir::Hayate, dry_run: false }, sources(Some("a"), &[]));
    assert_eq!(read("metadata import --config a"), Ok(from_file));
}

#[test]
fn texts_are_printed() {
    for line in ["-V", "--version", "start --version", "topics create -V"] {
        assert_eq!(read(line), Ok(Command::Print(format!("{}\n", version()))), "{line}");
    }
    for (line, words) in [
        ("--help", ["hayate config", "completions"]),
        ("config -h", ["--override <KEY=VALUE>", "--shards <N>"]),
        ("topics --help", ["describe", "alter"]),
        ("topics create --help", ["--replication-factor <N>", "--bootstrap-server <HOST:PORT>"]),
        ("produce --help", ["--key-separator <TEXT>", "[possible values: none, gzip, snappy, lz4, zstd]"]),
        ("consume --help", ["--offset <WHERE>", "%T  timestamp in milliseconds"]),
        ("configs alter --help", ["--subtract <KEY=WORD>", "broker-logger ID"]),
    ] {
        let Ok(Command::Print(text)) = read(line) else { panic!("{line}") };
        assert!(words.iter().all(|word| text.contains(word)), "{line}: {text}");
    }
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let Ok(Command::Print(script)) = read(&format!("completions {shell}")) else { panic!("{shell}") };
        for word in ["validate-only", "replication-factor", "consume", "exit-at-end"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

fn connect(bootstrap: Option<&str>, file: Option<&str>) -> Connect {
    Connect { bootstrap: bootstrap.map(str::to_owned), file: file.map(PathBuf::from) }
}

#[test]
fn topics_are_named() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (line, expected) in [
        ("list", Topics::List),
        ("describe a b", Topics::Describe { topics: names(&["a", "b"]) }),
        (
            "create a --partitions 3 --config x=y --if-not-exists",
            Topics::Create {
                topics: names(&["a"]),
                partitions: 3,
                replicas: -1,
                configs: vec![("x".to_owned(), "y".to_owned())],
                if_not_exists: true,
                validate_only: false,
            },
        ),
        (
            "alter a --partitions 4",
            Topics::Alter { topics: names(&["a"]), partitions: 4, validate_only: false },
        ),
        ("delete --if-exists a", Topics::Delete { topics: names(&["a"]), if_exists: true }),
    ] {
        assert_eq!(
            read(&format!("topics {line}")),
            Ok(Command::Topics(Connect::default(), expected)),
            "{line}"
        );
    }
    let there = connect(Some("h:1,i:2"), Some("f"));
    assert_eq!(read("topics list -b h:1,i:2 --command-config f"), Ok(Command::Topics(there, Topics::List)));
}

#[test]
fn records_come_and_go() {
    let Ok(Command::Produce(_, produce)) = read("produce t -K : -p 2 -H a=b -H c= --acks 1 -z lz4 -D \\0 -Z")
    else {
        panic!()
    };
    assert_eq!((produce.topic.as_str(), produce.partition, produce.acks), ("t", Some(2), Some(1)));
    assert_eq!((produce.key_separator.as_deref(), produce.delimiter), (Some(&b":"[..]), 0));
    assert_eq!((produce.headers.len(), produce.empty_as_null), (2, true));
    for (line, start) in [
        ("", Start::End),
        ("--from-beginning", Start::Beginning),
        ("-o beginning", Start::Beginning),
        ("--offset 17", Start::At(17)),
        ("--offset -17", Start::Last(17)),
        ("--offset @1700000000000", Start::Time(1_700_000_000_000)),
    ] {
        let Ok(Command::Consume(_, consume)) = read(&format!("consume t {line} -p 1 -p 4 -c 5 -e -f %v"))
        else {
            panic!("{line}")
        };
        assert_eq!(consume.start, start, "{line}");
        assert_eq!(
            (consume.partitions, consume.max_messages, consume.exit_at_end),
            (vec![1, 4], Some(5), true)
        );
    }
}

#[test]
fn configurations_are_changed_in_their_order() {
    let Ok(Command::Configs(_, Configs::Alter { entity, changes, validate_only })) =
        read("configs alter topic t --delete a --set b=1 --append c=x --delete d --validate-only")
    else {
        panic!()
    };
    assert_eq!((entity.kind, entity.name.as_str(), validate_only), (EntityKind::Topic, "t", true));
    let text = |text: &str| text.to_owned();
    let expected = [
        Change::Delete(text("a")),
        Change::Set(text("b"), text("1")),
        Change::Append(text("c"), text("x")),
        Change::Delete(text("d")),
    ];
    assert_eq!(changes, expected);
    assert!(
        read("configs describe broker").is_ok() && read("configs describe broker-logger 1 --all").is_ok()
    );
}

#[test]
fn mistakes_are_said_in_a_line() {
    for (line, expected) in [
        ("stop", "stop is not understood; see hayate --help"),
        ("topic list", "topic is not understood; is topics meant?; see hayate --help"),
        (
            "consume t --exit-at-ned",
            "--exit-at-ned is not understood; is --exit-at-end meant?; see hayate consume --help",
        ),
        ("start now", "now is not understood; see hayate start --help"),
        ("metadata", "one of import, export is missing; see hayate metadata --help"),
        ("metadata eat", "eat is not understood; see hayate metadata --help"),
        ("start --dry-run", "--dry-run is not understood; see hayate start --help"),
        ("--port 1", "--port is not understood; see hayate --help"),
        ("--config", "--config needs a value; see hayate --help"),
        ("--override a", "--override a is not of the form KEY=VALUE; see hayate --help"),
        ("config --override =a", "--override =a is not of the form KEY=VALUE; see hayate config --help"),
        ("topics", "one of list, describe, create, alter, delete is missing; see hayate topics --help"),
        ("topics create", "<TOPIC>... is missing; see hayate topics create --help"),
        (
            "topics create a --partitions 0",
            "--partitions 0 is no number from 1 to 2147483647; see hayate topics create --help",
        ),
        (
            "consume t --offset soon",
            "--offset soon is none of beginning, end, an offset, -N and @MS; see hayate consume --help",
        ),
        ("consume t -f %q", "--format %q has %q, which stands for nothing; see hayate consume --help"),
        ("consume t --json -f %v", "--json cannot stand beside --format <FORMAT>; see hayate consume --help"),
        ("produce t --acks 2", "--acks 2 is none of all, -1, 1, 0; see hayate produce --help"),
        ("configs describe topic", "topic needs a NAME; see hayate configs describe --help"),
        (
            "configs describe broker one",
            "broker one is no number from 0 to 2147483647; see hayate configs describe --help",
        ),
        (
            "configs alter topic t",
            "one of --set, --delete, --append, --subtract is missing; see hayate configs alter --help",
        ),
    ] {
        assert_eq!(read(line).unwrap_err().to_string(), expected, "{line}");
    }
}
