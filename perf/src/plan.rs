//! What a load is to be: sides, rates, sizes, manners. Read from a command line; options that are Kafka's settings have their names.

use crate::PerfError;
use crate::cli::Job;
use crate::cli::options::{get, many, millis, option, pair, seconds};
use crate::payload::Sizes;
use crate::run::run;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use hayate_storage::batch::Codec;
use std::path::PathBuf;
use std::time::Duration;

/// Which sides a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Producers alone.
    Produce,
    /// Consumers alone, of what is there.
    Consume,
    /// Both: from when a record was meant to be sent until it was read.
    EndToEnd,
}

impl Workload {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Produce => "produce",
            Workload::Consume => "consume",
            Workload::EndToEnd => "e2e",
        }
    }

    /// Whether it produces.
    pub fn produces(self) -> bool {
        match self {
            Workload::Produce | Workload::EndToEnd => true,
            Workload::Consume => false,
        }
    }

    /// Whether it consumes.
    pub fn consumes(self) -> bool {
        match self {
            Workload::Consume | Workload::EndToEnd => true,
            Workload::Produce => false,
        }
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its sides.
    pub workload: Workload,
    /// `host:port` of brokers to begin with.
    pub bootstrap: Vec<String>,
    /// The topic, or what the names of several begin with.
    pub topic: String,
    /// How many topics.
    pub topics: usize,
    /// Its partitions, for a topic that is made.
    pub partitions: Option<i32>,
    /// Its replication factor, for a topic that is made.
    pub replication_factor: i16,
    /// Its settings, for a topic that is made.
    pub topic_configs: Vec<(String, String)>,
    /// Records a second of all producers together; `None`: as many as can be.
    pub rate: Option<f64>,
    /// Sizes of values.
    pub sizes: Sizes,
    /// Share of a value that is noise, 0 to 1.
    pub random: f64,
    /// Different keys, 0 for none.
    pub keys: u64,
    /// `acks`
    pub acks: i16,
    /// `enable.idempotence`
    pub idempotence: bool,
    /// `batch.size`
    pub batch_bytes: usize,
    /// `linger.ms`
    pub linger: Duration,
    /// `max.in.flight.requests.per.connection`
    pub in_flight_max: usize,
    /// `max.request.size`
    pub request_bytes_max: usize,
    /// `compression.type`
    pub codec: Codec,
    /// Producers, each with connections of its own.
    pub producers: usize,
    /// Subscriptions, each of which reads everything with consumers of its own.
    pub subscriptions: usize,
    /// Consumers of each subscription, each with connections of its own.
    pub consumers: usize,
    /// `fetch.min.bytes`
    pub fetch_bytes_min: i32,
    /// `fetch.max.wait.ms`
    pub fetch_wait_ms_max: i32,
    /// `max.partition.fetch.bytes`
    pub partition_fetch_bytes_max: i32,
    /// `check.crcs`
    pub check_crcs: bool,
    /// Load threads of each side.
    pub threads: usize,
    /// Cores that load threads are pinned to, in turn.
    pub cores: Vec<usize>,
    /// How long it goes before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub duration: Duration,
    /// Where values begin that are drawn.
    pub seed: u64,
    /// Processes whose CPU time and memory are told.
    pub pids: Vec<u32>,
    /// Where the JSON document goes.
    pub json: Option<PathBuf>,
    /// Where the interval log goes.
    pub hlog: Option<PathBuf>,
}

impl Plan {
    /// The names of its topics: NAME, or NAME-0, NAME-1 … where there are several.
    pub fn topic_names(&self) -> Vec<String> {
        match self.topics {
            0 | 1 => vec![self.topic.clone()],
            several => (0..several).map(|number| format!("{}-{number}", self.topic)).collect(),
        }
    }
}

impl Job for Plan {
    fn run(&self) -> Result<(), PerfError> {
        run(self)
    }
}

/// The subcommand of a workload.
pub fn command(workload: Workload) -> Command {
    let about = match workload {
        Workload::Produce => "Produce; from when a record was meant to be sent until it is acknowledged",
        Workload::Consume => "Read what a topic holds, once, as fast as it comes",
        Workload::EndToEnd => "Produce and consume; from when a record was meant to be sent until it is read",
    };
    let mut command = Command::new(workload.name()).about(about).args(common());
    if workload.produces() {
        command = command.args(producing());
    }
    if workload.consumes() {
        command = command.args(consuming());
    }
    command
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(f64::INFINITY),
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        Ok(_) | Err(_) => Err("a number of records a second above 0, or max".to_owned()),
    }
}

fn acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        "0" => Err("without answers there is nothing to measure: all or 1".to_owned()),
        _ => Err("all or 1".to_owned()),
    }
}

fn codec(text: &str) -> Result<Codec, String> {
    match text {
        "none" => Ok(Codec::None),
        "gzip" => Ok(Codec::Gzip),
        "snappy" => Ok(Codec::Snappy),
        "lz4" => Ok(Codec::Lz4),
        "zstd" => Ok(Codec::Zstd),
        _ => Err("none, gzip, snappy, lz4 or zstd".to_owned()),
    }
}

fn common() -> Vec<Arg> {
    let count = || value_parser!(u64).range(1..=4096);
    vec![
        option("bootstrap-server", "HOST:PORT,…", "Brokers to begin with").default_value("127.0.0.1:9092"),
        option("topic", "NAME", "The topic").default_value("hayate-perf"),
        option("topics", "N", "Topics; several are named NAME-0, NAME-1 …")
            .default_value("1")
            .value_parser(count()),
        option("threads", "N", "Load threads of each side").default_value("1").value_parser(count()),
        option("cores", "N,…", "Cores that load threads are pinned to, in turn")
            .value_delimiter(',')
            .value_parser(value_parser!(usize)),
        option("duration", "SECONDS", "How long is measured").default_value("10").value_parser(seconds),
        option("warm-up", "SECONDS", "How long it goes before").default_value("2").value_parser(seconds),
        option("pid", "PID", "A process whose CPU time and memory are told; may be repeated")
            .action(ArgAction::Append)
            .value_parser(value_parser!(u32)),
        option("json", "FILE", "Write the result as JSON").value_parser(value_parser!(PathBuf)),
        option("hlog", "FILE", "Write latencies as an HdrHistogram interval log")
            .value_parser(value_parser!(PathBuf)),
    ]
}

fn producing() -> Vec<Arg> {
    let count = || value_parser!(u64).range(1..=4096);
    let bytes = || value_parser!(u64).range(1..=1 << 30);
    vec![
        option("partitions", "N", "Partitions of each topic: made with so many, or refused with others")
            .value_parser(value_parser!(i32).range(1..=100_000)),
        option("replication-factor", "N", "Of a topic that is made; -1: the broker's default")
            .default_value("-1")
            .allow_negative_numbers(true)
            .value_parser(value_parser!(i16)),
        option("topic-config", "NAME=VALUE", "A setting of a topic that is made; may be repeated")
            .action(ArgAction::Append)
            .value_parser(pair),
        option("rate", "N|max", "Records a second, of all producers").default_value("max").value_parser(rate),
        option("record-size", "N|MIN..MAX", "Bytes of values")
            .default_value("1024")
            .value_parser(value_parser!(Sizes)),
        option("random", "SHARE", "Share of a value that cannot be compressed, 0 to 1")
            .default_value("1")
            .value_parser(value_parser!(f64)),
        option("keys", "N", "Different keys of 8 bytes, 0 for none")
            .default_value("0")
            .value_parser(value_parser!(u64)),
        option("acks", "all|1", "Kafka's").default_value("all").value_parser(acks),
        option("idempotence", "BOOL", "Kafka's enable.idempotence; only with acks=all")
            .default_value("true")
            .value_parser(value_parser!(bool)),
        option("batch-size", "BYTES", "Kafka's").default_value("16384").value_parser(bytes()),
        option("linger-ms", "MS", "Kafka's; may be a fraction").default_value("5").value_parser(millis),
        option("max-in-flight", "N", "Kafka's max.in.flight.requests.per.connection")
            .default_value("5")
            .value_parser(count()),
        option("max-request-size", "BYTES", "Kafka's").default_value("1048576").value_parser(bytes()),
        option("compression-type", "CODEC", "Kafka's").default_value("none").value_parser(codec),
        option("producers", "N", "Producers, each with connections of its own")
            .default_value("1")
            .value_parser(count()),
        option("seed", "N", "Of the values").default_value("1").value_parser(value_parser!(u64)),
    ]
}

fn consuming() -> Vec<Arg> {
    let bytes = || value_parser!(i32).range(1..);
    vec![
        option("subscriptions", "N", "Each reads everything, with consumers of its own")
            .default_value("1")
            .value_parser(value_parser!(u64).range(1..=4096)),
        option("consumers", "N", "Consumers of each subscription, each with connections of its own")
            .default_value("1")
            .value_parser(value_parser!(u64).range(1..=4096)),
        option("fetch-min-bytes", "BYTES", "Kafka's").default_value("1").value_parser(bytes()),
        option("fetch-max-wait-ms", "MS", "Kafka's")
            .default_value("500")
            .value_parser(value_parser!(i32).range(0..)),
        option("max-partition-fetch-bytes", "BYTES", "Kafka's")
            .default_value("1048576")
            .value_parser(bytes()),
        option("check-crcs", "BOOL", "Kafka's").default_value("true").value_parser(value_parser!(bool)),
    ]
}

/// Reads what is asked for of a workload.
///
/// # Errors
/// What is mistaken, in one line.
pub fn read(workload: Workload, matches: &ArgMatches) -> Result<Plan, String> {
    let size = |name: &str| usize::try_from(get(matches, name, 1_u64)).unwrap_or(usize::MAX);
    let text = |name: &str| get(matches, name, String::new());
    let rate = get(matches, "rate", f64::INFINITY);
    let acks = get(matches, "acks", -1_i16);
    let sizes = get(matches, "record-size", Sizes { min: 1024, max: 1024 });
    let random = get(matches, "random", 1.0_f64);
    if !(0.0..=1.0).contains(&random) {
        return Err(format!("--random {random}: a share goes from 0 to 1"));
    }
    if workload == Workload::EndToEnd && rate.is_infinite() {
        return Err("e2e needs a --rate".to_owned());
    }
    Ok(Plan {
        workload,
        bootstrap: text("bootstrap-server").split(',').map(|word| word.trim().to_owned()).collect(),
        topic: text("topic"),
        topics: size("topics"),
        partitions: matches.try_get_one("partitions").ok().flatten().copied(),
        replication_factor: get(matches, "replication-factor", -1),
        topic_configs: many(matches, "topic-config"),
        rate: rate.is_finite().then_some(rate),
        sizes,
        random,
        keys: get(matches, "keys", 0),
        acks,
        idempotence: acks == -1 && get(matches, "idempotence", true),
        batch_bytes: size("batch-size"),
        linger: get(matches, "linger-ms", Duration::ZERO),
        in_flight_max: size("max-in-flight"),
        request_bytes_max: size("max-request-size"),
        codec: get(matches, "compression-type", Codec::None),
        producers: size("producers"),
        subscriptions: size("subscriptions"),
        consumers: size("consumers"),
        fetch_bytes_min: get(matches, "fetch-min-bytes", 1),
        fetch_wait_ms_max: get(matches, "fetch-max-wait-ms", 500),
        partition_fetch_bytes_max: get(matches, "max-partition-fetch-bytes", 1 << 20),
        check_crcs: get(matches, "check-crcs", true),
        threads: size("threads"),
        cores: many(matches, "cores"),
        warm_up: get(matches, "warm-up", Duration::ZERO),
        duration: get(matches, "duration", Duration::from_secs(10)),
        seed: get(matches, "seed", 1),
        pids: many(matches, "pid"),
        json: matches.try_get_one("json").ok().flatten().cloned(),
        hlog: matches.try_get_one("hlog").ok().flatten().cloned(),
    })
}
