//! `omb`: workload files of the OpenMessaging Benchmark, and driver files of its Kafka driver, run as they are. A file becomes the options of a load;
//! what has no counterpart is said, never dropped in silence.

mod files;

use crate::PerfError;
use crate::cli::Job;
use crate::cli::options::{many, option};
use crate::plan::{self, Plan};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use files::{Driver, Load, Workload};
use std::fs;
use std::path::{Path, PathBuf};

const AFTER: &str = "\
What stands behind `--` are options of `hayate-perf e2e` (or `produce`, for a workload without subscriptions); they win over the files: \
`omb w.yaml --driver kafka.yaml -- --duration 30 --warm-up 5 --cores 1`.
";

/// Loads that are asked for, in order.
#[derive(Clone, Debug)]
pub struct Asked {
    loads: Vec<(Load, Plan)>,
}

/// The subcommand.
pub fn command() -> Command {
    Command::new("omb").about("Run workload files of the OpenMessaging Benchmark").after_help(AFTER).args([
        Arg::new("workload")
            .value_name("WORKLOAD.yaml")
            .help("Workload files")
            .required(true)
            .num_args(1..)
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf)),
        option("driver", "DRIVER.yaml", "A file of the Kafka driver").value_parser(value_parser!(PathBuf)),
        Arg::new("load").value_name("OPTION").help("Options of the load").num_args(0..).last(true),
    ])
}

/// Reads what is asked for, and the files.
///
/// # Errors
/// What is mistaken, in one line.
pub fn read(matches: &ArgMatches) -> Result<Asked, String> {
    let driver = match matches.get_one::<PathBuf>("driver") {
        Some(path) => {
            Driver::read(&text_of(path)?).map_err(|mistake| format!("{}: {mistake}", path.display()))?
        }
        None => Driver::default(),
    };
    let files: Vec<PathBuf> = many(matches, "workload");
    let more: Vec<String> = many(matches, "load");
    let load = |path: &PathBuf| {
        let workload = Workload::read(&text_of(path)?);
        let load = workload.map(|workload| workload.load(&driver));
        let planned = load.and_then(|load| Ok((planned(&load, &more)?, load)));
        planned.map(|(plan, load)| (load, plan)).map_err(|mistake| format!("{}: {mistake}", path.display()))
    };
    let loads: Vec<(Load, Plan)> = files.iter().map(load).collect::<Result<_, String>>()?;
    if loads.len() > 1 && loads.iter().any(|(_, plan)| plan.json.is_some() || plan.hlog.is_some()) {
        return Err("--json and --hlog: one workload at a time".to_owned());
    }
    Ok(Asked { loads })
}

fn text_of(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn planned(load: &Load, more: &[String]) -> Result<Plan, String> {
    let command = plan::command(load.workload).args_override_self(true);
    let options = load.options.iter().map(|(name, value)| format!("--{name}={value}"));
    let words = std::iter::once(load.workload.name().to_owned()).chain(options).chain(more.iter().cloned());
    let matches = command.try_get_matches_from(words).map_err(|error| {
        let complaint = error.render().to_string();
        complaint.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })?;
    plan::read(load.workload, &matches)
}

impl Job for Asked {
    fn run(&self) -> Result<(), PerfError> {
        for (load, plan) in &self.loads {
            println!("{}", load.name);
            load.told.iter().for_each(|told| eprintln!("hayate-perf: {told}"));
            plan.run()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Driver, Workload, planned};
    use crate::plan;

    const WORKLOAD: &str = "\
name: 10 topics / 2 partitions / 1Kb
topics: 10
partitionsPerTopic: 2
keyDistributor: \"KEY_ROUND_ROBIN\"
messageSize: 1024
useRandomizedPayloads: true
randomBytesRatio: 0.5
randomizedPayloadPoolSize: 1000
subscriptionsPerTopic: 3
consumerPerSubscription: 2
producersPerTopic: 1
producerRate: 50000
consumerBacklogSizeGB: 0
testDurationMinutes: 15
";

    const DRIVER: &str = "\
name: Kafka
driverClass: io.openmessaging.benchmark.driver.kafka.KafkaBenchmarkDriver
replicationFactor: 1
reset: true
topicConfig: |
  min.insync.replicas=1
commonConfig: |
  bootstrap.servers=broker:9093
producerConfig: |
  acks=1
  linger.ms=1
  batch.size=131072
  buffer.memory=1
consumerConfig: |
  auto.offset.reset=earliest
  max.partition.fetch.bytes=10485760
";

    #[test]
    fn files_become_loads_and_what_has_no_counterpart_is_told() {
        let load =
            Workload::read(WORKLOAD).expect("a workload").load(&Driver::read(DRIVER).expect("a driver"));
        let plan = planned(&load, &[]).expect("a plan");
        assert_eq!((plan.workload, plan.rate), (plan::Workload::EndToEnd, Some(50_000.0)));
        assert_eq!((plan.topics, plan.partitions, plan.producers), (10, Some(2), 10));
        assert_eq!((plan.subscriptions, plan.consumers, plan.keys), (3, 20, 10_000));
        assert_eq!((plan.sizes.min, plan.sizes.max, plan.random), (1024, 1024, 0.5));
        assert_eq!((plan.duration.as_secs(), plan.warm_up.as_secs()), (900, 60));
        assert_eq!(
            (plan.bootstrap, plan.acks, plan.batch_bytes),
            (vec!["broker:9093".to_owned()], 1, 131_072)
        );
        assert_eq!((plan.linger.as_millis(), plan.partition_fetch_bytes_max), (1, 10_485_760));
        assert_eq!(plan.topic_configs, [("min.insync.replicas".to_owned(), "1".to_owned())]);
        assert_eq!(plan.replication_factor, 1);
        let told = load.told.join("\n");
        for what in ["buffer.memory", "randomizedPayloadPoolSize", "auto.offset.reset", "reset"] {
            assert!(told.contains(what), "{what}: {told}");
        }
    }

    #[test]
    fn options_of_the_command_line_win() {
        let load = Workload::read(WORKLOAD).expect("a workload").load(&Driver::default());
        let more = ["--duration", "2", "--rate=7", "--topic-config", "a=b"].map(str::to_owned);
        let plan = planned(&load, &more).expect("a plan");
        assert_eq!((plan.duration.as_secs(), plan.rate, plan.topic_configs.len()), (2, Some(7.0), 1));
        assert!(planned(&load, &["--nothing".to_owned()]).is_err());
    }

    #[test]
    fn what_cannot_be_done_is_said_before_it_begins() {
        let with = |from: &str, to: &str| Workload::read(&WORKLOAD.replace(from, to)).map(drop);
        for (from, to, why) in [
            ("topics: 10", "topics: many", "topics"),
            ("consumerBacklogSizeGB: 0", "consumerBacklogSizeGB: 5", "consumerBacklogSizeGB"),
            ("producerRate: 50000", "producerRate: 0", "search"),
            ("KEY_ROUND_ROBIN", "KEY_OF_MINE", "keyDistributor"),
            ("topics: 10", "topic: 10", "topics"),
            (WORKLOAD, "- a\n- b\n", "not a workload"),
            (WORKLOAD, "a: [", "YAML"),
        ] {
            let mistake = with(from, to).expect_err(to);
            assert!(mistake.contains(why) && !mistake.contains('\n'), "{to}: {mistake}");
        }
        let quiet = Workload::read(&WORKLOAD.replace("subscriptionsPerTopic: 3", "subscriptionsPerTopic: 0"));
        let load = quiet.expect("a workload").load(&Driver::default());
        assert_eq!(load.workload, plan::Workload::Produce);
        assert!(Driver::read("commonConfig: 5").is_err());
    }
}
