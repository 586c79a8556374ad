//! `hayate-perf partitions`: what a number of partitions costs, at one rate of records: time to leaders, latency of producing, CPU time.

use crate::PerfError;
use crate::cli::Job;
use crate::cli::options::{get, many, millis, option, pair, seconds};
use crate::gauge::Gauge;
use crate::machine::{Watched, environment};
use crate::payload::Sizes;
use crate::plan::{self, Plan, Workload};
use crate::report;
use crate::run::measure;
use crate::trial::admin::Admin;
use crate::trial::{Common, document, finite_rate};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long leaders are awaited, and how often brokers are asked.
const LEADERS_PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(1);
/// Percentiles of the table.
const TOLD: [(&str, f64); 3] = [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)];

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Partitions {
    common: Common,
    /// The topics' names begin with it.
    topic: String,
    replication_factor: i16,
    topic_configs: Vec<(String, String)>,
    counts: Vec<i32>,
    /// Records a second of all partitions together.
    rate: f64,
    sizes: Sizes,
    linger: Duration,
    producers: u64,
    warm_up: Duration,
    duration: Duration,
    keep: bool,
}

/// The subcommand.
pub fn command() -> Command {
    Command::new("partitions")
        .about("Produce at one rate to topics of more and more partitions; what their number costs")
        .args(Common::args())
        .args([
            option("topic", "NAME", "Topics are NAME-COUNT; they must not be there")
                .default_value("hayate-perf-partitions"),
            option("replication-factor", "N", "Of the topics; -1: the broker's default")
                .default_value("-1")
                .allow_negative_numbers(true)
                .value_parser(value_parser!(i16)),
            option("topic-config", "NAME=VALUE", "A setting of the topics; may be repeated")
                .action(ArgAction::Append)
                .value_parser(pair),
            option("counts", "N,…", "Partitions of each topic, one after the other; ratios are to the first")
                .default_value("1,10,100,1000")
                .value_delimiter(',')
                .value_parser(value_parser!(i32).range(1..=100_000)),
            option("rate", "N", "Records a second, of all partitions together")
                .default_value("1000")
                .value_parser(finite_rate),
            option("record-size", "N|MIN..MAX", "Bytes of values")
                .default_value("1024")
                .value_parser(value_parser!(Sizes)),
            option("linger-ms", "MS", "Kafka's; may be a fraction").default_value("5").value_parser(millis),
            option("producers", "N", "Producers, each with connections of its own")
                .default_value("1")
                .value_parser(value_parser!(u64).range(1..=4096)),
            option("duration", "SECONDS", "How long is measured, of each count")
                .default_value("10")
                .value_parser(seconds),
            option("warm-up", "SECONDS", "How long it goes before").default_value("2").value_parser(seconds),
            Arg::new("keep").long("keep").action(ArgAction::SetTrue).help("Do not delete the topics"),
        ])
}

/// What became of one count.
struct Row {
    count: i32,
    leaders_seconds: f64,
    produced: Gauge,
    seconds: f64,
    processes: Vec<Watched>,
}

impl Row {
    fn ms(&self, percentile: f64) -> f64 {
        self.produced.latencies.value_at_percentile(percentile) as f64 / 1e6
    }

    fn cpu_seconds(&self) -> Option<f64> {
        self.processes.iter().map(Watched::cpu_seconds).sum()
    }

    fn told(&self, first: &Gauge) -> Value {
        json!({
            "partitions": self.count,
            "leaders_seconds": self.leaders_seconds,
            "produce": report::side(&self.produced, self.seconds),
            "p50_ratio": ratio(&self.produced, first),
            "processes": self.processes.iter().map(Watched::whole).collect::<Vec<_>>(),
        })
    }

    fn line(&self, first: &Gauge) -> String {
        let latencies: Vec<String> =
            TOLD.iter().map(|(name, percentile)| format!("{name} {:.3} ms", self.ms(*percentile))).collect();
        let ratio = ratio(&self.produced, first);
        let ratio = ratio.map_or_else(String::new, |ratio| format!(" ({ratio:.2}× p50)"));
        let cpu = self.cpu_seconds().filter(|_| !self.processes.is_empty());
        let cpu = cpu.map_or_else(String::new, |seconds| format!(", {seconds:.2} CPU seconds"));
        format!(
            "{:6} partitions: leaders after {:.3} s, {}{ratio}{cpu}\n",
            self.count,
            self.leaders_seconds,
            latencies.join(", ")
        )
    }
}

/// How the median is to that of the first count.
fn ratio(gauge: &Gauge, first: &Gauge) -> Option<f64> {
    if gauge.latencies.is_empty() || first.latencies.is_empty() {
        return None;
    }
    let median = |gauge: &Gauge| gauge.latencies.value_at_percentile(50.0) as f64;
    Some(median(gauge) / median(first).max(1.0))
}

impl Partitions {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// What is mistaken, in one line.
    pub fn read(matches: &ArgMatches) -> Result<Partitions, String> {
        let counts: Vec<i32> = many(matches, "counts");
        let mut once = counts.clone();
        once.sort_unstable();
        once.dedup();
        if once.len() != counts.len() {
            return Err("--counts: each but once".to_owned());
        }
        let duration = get(matches, "duration", Duration::ZERO);
        if duration.is_zero() {
            return Err("--duration 0: there is nothing to measure".to_owned());
        }
        Ok(Partitions {
            common: Common::read(matches),
            topic: get(matches, "topic", String::new()),
            replication_factor: get(matches, "replication-factor", -1),
            topic_configs: many(matches, "topic-config"),
            counts,
            rate: get(matches, "rate", 1.0),
            sizes: get(matches, "record-size", Sizes { min: 1024, max: 1024 }),
            linger: get(matches, "linger-ms", Duration::ZERO),
            producers: get(matches, "producers", 1),
            warm_up: get(matches, "warm-up", Duration::ZERO),
            duration,
            keep: matches.get_flag("keep"),
        })
    }

    fn name(&self, count: i32) -> String {
        format!("{}-{count}", self.topic)
    }

    /// The load of one count, as its own command line would have it.
    fn producing(&self, count: i32) -> Result<Plan, PerfError> {
        let mut words = vec![
            "produce".to_owned(),
            format!("--bootstrap-server={}", self.common.bootstrap.join(",")),
            format!("--topic={}", self.name(count)),
            format!("--partitions={count}"),
            format!("--rate={}", self.rate),
            format!("--record-size={}", self.sizes),
            format!("--linger-ms={}", self.linger.as_secs_f64() * 1e3),
            format!("--producers={}", self.producers),
            format!("--warm-up={}", self.warm_up.as_secs_f64()),
            format!("--duration={}", self.duration.as_secs_f64()),
        ];
        words.extend(self.common.pids.iter().map(|pid| format!("--pid={pid}")));
        let matches = plan::command(Workload::Produce).try_get_matches_from(words);
        let read = matches.map_err(|error| error.to_string());
        let read = read.and_then(|matches| plan::read(Workload::Produce, &matches));
        read.map_err(PerfError::Impossible)
    }

    /// Makes a topic, measures producing to it, and deletes it whatever came of that. What was measured stays whatever was wrong with it.
    fn count(&self, admins: &mut [Admin], count: i32) -> (Option<Row>, Result<(), PerfError>) {
        let name = self.name(count);
        let began = Instant::now();
        let made = admins[0].create_topic(&name, count, self.replication_factor, &self.topic_configs);
        if let Err(error) = made {
            return (None, Err(error));
        }
        let (row, judged) = match self.with_topic(admins, count, began) {
            Ok((row, judged)) => (Some(row), judged),
            Err(error) => (None, Err(error)),
        };
        let deleted = if self.keep { Ok(()) } else { admins[0].delete_topic(&name) };
        (row, judged.and(deleted))
    }

    fn with_topic(
        &self,
        admins: &mut [Admin],
        count: i32,
        began: Instant,
    ) -> Result<(Row, Result<(), PerfError>), PerfError> {
        let name = self.name(count);
        for admin in admins {
            while !admin.has_leaders(&name, count)? {
                if began.elapsed() > LEADERS_PATIENCE {
                    let late = format!("topic {name}: not every partition has a leader");
                    return Err(PerfError::Impossible(late));
                }
                std::thread::sleep(PAUSE);
            }
        }
        let leaders_seconds = began.elapsed().as_secs_f64();
        eprintln!("{count} partitions: all have leaders after {leaders_seconds:.3} s");
        let plan = self.producing(count)?;
        let outcome = measure(&plan)?;
        let row = Row {
            count,
            leaders_seconds,
            produced: outcome.produced.clone(),
            seconds: outcome.seconds(),
            processes: outcome.processes.clone(),
        };
        Ok((row, outcome.verdict(&plan)))
    }

    /// A connection to whoever answers, and one to each broker: a new topic is known to some before others.
    fn admins(&self) -> Result<Vec<Admin>, PerfError> {
        let mut first = Admin::open(&self.common.bootstrap)?;
        let brokers = first.brokers()?;
        let all = brokers.iter().map(|broker| Admin::open(std::slice::from_ref(broker)));
        std::iter::once(Ok(first)).chain(all).collect()
    }
}

impl Job for Partitions {
    fn run(&self) -> Result<(), PerfError> {
        let mut document = document("partitions", self, environment());
        let mut admins = self.admins()?;
        let (mut rows, mut ended) = (Vec::new(), Ok(()));
        for count in &self.counts {
            let (row, judged) = self.count(&mut admins, *count);
            rows.extend(row);
            ended = judged;
            if ended.is_err() {
                break;
            }
        }
        let first = rows.first().map(|row: &Row| row.produced.clone()).unwrap_or_default();
        print!("{}", rows.iter().map(|row| row.line(&first)).collect::<String>());
        document.set("counts", rows.iter().map(|row| row.told(&first)).collect());
        self.common.write(&document)?;
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::{Partitions, Row, command, ratio};
    use crate::gauge::Gauge;

    fn read(line: &str) -> Result<Partitions, String> {
        let words = std::iter::once("partitions").chain(line.split_whitespace());
        Partitions::read(&command().try_get_matches_from(words).map_err(|error| error.to_string())?)
    }

    fn gauge(ms: u64) -> Gauge {
        let mut gauge = Gauge { records: 10, ..Gauge::default() };
        gauge.note(ms * 1_000_000, 10);
        gauge
    }

    #[test]
    fn each_count_has_a_topic_and_the_same_load() {
        let asked =
            read("--counts 1,50 --rate 300 --duration 2 --linger-ms 0.5 --pid 7 --topic t").expect("good");
        for count in [1, 50] {
            let plan = asked.producing(count).expect("readable");
            assert_eq!((plan.topic.as_str(), plan.partitions), (format!("t-{count}").as_str(), Some(count)));
            assert_eq!((plan.rate, plan.linger.as_micros(), &plan.pids[..]), (Some(300.0), 500, &[7][..]));
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for line in ["--counts 0", "--counts 1,1", "--counts x", "--rate max", "--rate 0", "--duration 0"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn ratios_are_to_the_first_count() {
        assert!(ratio(&gauge(30), &gauge(10)).is_some_and(|ratio| (ratio - 3.0).abs() < 0.01));
        assert_eq!(ratio(&gauge(30), &Gauge::default()), None);
        let row =
            Row { count: 7, leaders_seconds: 0.25, produced: gauge(30), seconds: 1.0, processes: Vec::new() };
        let line = row.line(&gauge(10));
        assert!(
            line.contains("7 partitions: leaders after 0.250 s, p50 30.") && line.contains("(3.00×"),
            "{line}"
        );
        assert_eq!(row.told(&gauge(10))["produce"]["records"], 10);
    }
}
