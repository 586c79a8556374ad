//! What a comparison's file says, read and checked: no IO but variables of the environment that it names.

use super::words::{Values, fill, words};
use crate::cli::{self, Asked};
use crate::plan::Plan;
use serde::Deserialize;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::iter::once;

/// Rounds that a file may ask for.
pub const ROUNDS_MAX: i64 = 10_000;
/// Seconds that anything in a file may take.
const SECONDS_MAX: f64 = 86_400.0;
/// Where a started target is reached, unless it says otherwise.
const BOOTSTRAP: &str = "127.0.0.1:{port}";
/// Options of loads that the comparison itself sets.
const OURS: [&str; 4] = ["--bootstrap-server", "--pid", "--json", "--hlog"];

/// A comparison.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Counted rounds.
    #[serde(default = "rounds")]
    pub rounds: u32,
    /// Rounds before, which do not count.
    #[serde(default)]
    pub warm_up_rounds: u32,
    /// The page cache is written out before each turn, so that no target pays for another's writes.
    #[serde(default)]
    pub sync: bool,
    /// Brokers that are not measured are stopped (SIGSTOP) until their turn.
    #[serde(default)]
    pub pause_others: bool,
    /// How long a broker that was woken or started runs before its turn's loads: what it has missed is not theirs.
    #[serde(default)]
    pub settle_seconds: f64,
    /// Each turn has a broker that was just started, and is stopped after it.
    #[serde(default)]
    pub restart: bool,
    /// The target that the others are held against; the first one if it is not named.
    pub baseline: Option<String>,
    /// Where targets' folders are made; the system's folder for temporary files if it is not named.
    pub folder: Option<String>,
    /// Who is measured.
    #[serde(rename = "target", default)]
    pub targets: Vec<Target>,
    /// By what.
    #[serde(rename = "workload", default)]
    pub workloads: Vec<Workload>,
}

/// A way to have a cluster.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its name in the tables.
    pub name: String,
    /// What a reader must know of it.
    pub about: Option<String>,
    /// The command line that starts it; without one it runs already.
    pub start: Option<String>,
    /// A command line that is run to its end before.
    pub prepare: Option<String>,
    /// The text of its `{config}`.
    pub config: Option<String>,
    /// `host:port,…` where it is reached.
    pub bootstrap: Option<String>,
    /// Variables of the environment for its commands, besides those of this process.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How long it may take until it serves.
    #[serde(default = "ready_seconds")]
    pub ready_seconds: f64,
    /// How long it may take to end, before it is killed.
    #[serde(default = "stop_seconds")]
    pub stop_seconds: f64,
    /// The process of a target that runs already.
    pub pid: Option<u32>,
}

/// What each target is put to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name in the tables.
    pub name: String,
    /// The load that is measured: a command line of this program, without its name.
    pub run: String,
    /// Loads that go before it and are not measured, for example to fill a topic.
    #[serde(default)]
    pub before: Vec<String>,
    /// A command whose last number is a limit that the machine sets.
    pub limit: Option<String>,
    /// Its unit.
    pub limit_unit: Option<String>,
    /// How long that command may take.
    #[serde(default = "ready_seconds")]
    pub limit_seconds: f64,
}

fn rounds() -> u32 {
    5
}

fn ready_seconds() -> f64 {
    90.0
}

fn stop_seconds() -> f64 {
    60.0
}

impl Comparison {
    /// Reads and checks a file's text.
    ///
    /// # Errors
    /// What is mistaken, in one line.
    pub fn read(text: &str) -> Result<Comparison, String> {
        let comparison: Comparison = toml::from_str(text).map_err(|error| one_line(&error, text))?;
        comparison.check()?;
        Ok(comparison)
    }

    /// With these workloads alone, or with all when none is named.
    ///
    /// # Errors
    /// A name that no workload has.
    pub fn only(mut self, names: &[String]) -> Result<Comparison, String> {
        for name in names {
            if !self.workloads.iter().any(|workload| workload.name == *name) {
                let known: Vec<&str> = self.workloads.iter().map(|workload| workload.name.as_str()).collect();
                return Err(format!("no workload is called {name}: there is {}", known.join(", ")));
            }
        }
        self.workloads.retain(|workload| names.is_empty() || names.contains(&workload.name));
        Ok(self)
    }

    /// The place of the target that the others are held against.
    pub fn baseline(&self) -> usize {
        let named = |target: &Target| Some(&target.name) == self.baseline.as_ref();
        self.targets.iter().position(named).unwrap_or(0)
    }

    fn check(&self) -> Result<(), String> {
        if self.rounds == 0 || i64::from(self.rounds.max(self.warm_up_rounds)) > ROUNDS_MAX {
            return Err(format!("rounds: from 1 to {ROUNDS_MAX}"));
        }
        if !(0.0..=SECONDS_MAX).contains(&self.settle_seconds) {
            return Err(format!("settle_seconds: from 0 to {SECONDS_MAX}"));
        }
        distinct("target", self.targets.iter().map(|target| target.name.as_str()))?;
        distinct("workload", self.workloads.iter().map(|workload| workload.name.as_str()))?;
        self.folder.as_deref().map_or(Ok(String::new()), |folder| fill(folder, &Values::new()))?;
        if let Some(name) = &self.baseline
            && !self.targets.iter().any(|target| target.name == *name)
        {
            return Err(format!("baseline: no target is called {name}"));
        }
        for target in &self.targets {
            target.check(self.restart).map_err(|mistake| format!("target {}: {mistake}", target.name))?;
        }
        for workload in &self.workloads {
            workload.check().map_err(|mistake| format!("workload {}: {mistake}", workload.name))?;
        }
        Ok(())
    }
}

impl Target {
    /// Where it is reached, before placeholders are filled in.
    pub fn bootstrap(&self) -> &str {
        self.bootstrap.as_deref().unwrap_or(BOOTSTRAP)
    }

    fn check(&self, restart: bool) -> Result<(), String> {
        if !self.name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return Err("a name has letters, digits, dots, dashes and underscores".to_owned());
        }
        seconds("ready_seconds", self.ready_seconds)?;
        seconds("stop_seconds", self.stop_seconds)?;
        match &self.start {
            Some(start) => self.check_started(start),
            None => self.check_running(restart),
        }
    }

    fn check_started(&self, start: &str) -> Result<(), String> {
        if self.pid.is_some() {
            return Err("pid is for a target that runs already".to_owned());
        }
        let values = places(self.config.is_some());
        words(start, &values).map_err(|mistake| format!("start: {mistake}"))?;
        let prepared = self.prepare.as_deref().map_or(Ok(Vec::new()), |line| words(line, &values));
        prepared.map_err(|mistake| format!("prepare: {mistake}"))?;
        let texts = once(self.bootstrap()).chain(self.config.as_deref());
        texts
            .chain(self.env.values().map(String::as_str))
            .try_for_each(|text| fill(text, &values).map(|_| ()))
    }

    fn check_running(&self, restart: bool) -> Result<(), String> {
        if self.bootstrap.is_none() {
            return Err("say how to start it, or where it runs already (bootstrap)".to_owned());
        }
        if self.prepare.is_some() || self.config.is_some() || !self.env.is_empty() {
            return Err("prepare, config and env are for a target that has a start".to_owned());
        }
        if restart {
            return Err("restart needs a start".to_owned());
        }
        fill(self.bootstrap(), &Values::new()).map(|_| ())
    }
}

impl Workload {
    fn check(&self) -> Result<(), String> {
        if self.name.contains(['|', '\n']) {
            return Err("a name has no `|` and is one line".to_owned());
        }
        seconds("limit_seconds", self.limit_seconds)?;
        for line in self.before.iter().chain([&self.run]) {
            load(line, "topic").map_err(|mistake| format!("`{line}`: {mistake}"))?;
        }
        match (&self.limit, &self.limit_unit) {
            (Some(limit), Some(_)) => {
                let values = Values::from([("dir", String::new())]);
                words(limit, &values).map(|_| ()).map_err(|mistake| format!("limit: {mistake}"))
            }
            (Some(_), None) => Err("a limit needs its limit_unit".to_owned()),
            (None, Some(_)) => Err("limit_unit without a limit".to_owned()),
            (None, None) => Ok(()),
        }
    }

    /// Whether its records have intended times, so that latencies are a measure of the broker.
    pub fn is_paced(&self) -> bool {
        load(&self.run, "topic").is_ok_and(|plan| plan.rate.is_some())
    }
}

/// What may stand in the commands and texts of a target that is started; what for is known when it is.
fn places(has_config: bool) -> Values {
    let config = has_config.then_some("config");
    ["dir", "port", "port2", "port3"].into_iter().chain(config).map(|name| (name, "1".to_owned())).collect()
}

/// The load of a command line, on a topic.
///
/// # Errors
/// What is mistaken, in one line.
pub fn load(line: &str, topic: &str) -> Result<Plan, String> {
    let words = words(line, &Values::from([("topic", topic.to_owned())]))?;
    let is_ours = |word: &&String| {
        OURS.iter()
            .any(|ours| *word == ours || word.strip_prefix(ours).is_some_and(|rest| rest.starts_with('=')))
    };
    if let Some(word) = words.iter().find(is_ours) {
        return Err(format!("{word} is for the comparison to say"));
    }
    match cli::parse(once("hayate-perf".to_owned()).chain(words).map(OsString::from))? {
        Asked::Do(job) => {
            let job: Box<dyn Any> = job;
            let plan = job.downcast::<Plan>().map_err(|_| "not a load that can be compared".to_owned())?;
            match plan.topics {
                // Of a turn's topics one goes after it.
                1 => Ok(*plan),
                _ => Err("--topics: a load that is compared has one".to_owned()),
            }
        }
        Asked::Print(_) => Err("not a load".to_owned()),
    }
}

fn seconds(what: &str, value: f64) -> Result<(), String> {
    match value > 0.0 && value <= SECONDS_MAX {
        true => Ok(()),
        false => Err(format!("{what}: above 0 and at most {SECONDS_MAX}")),
    }
}

fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || !seen.insert(name) {
            return Err(format!("each {what} has a name of its own, not `{name}`"));
        }
    }
    if seen.is_empty() { Err(format!("there is no [[{what}]]")) } else { Ok(()) }
}

/// What is wrong with a file's form, and where.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let line = error
        .span()
        .map_or(1, |span| text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1);
    format!("line {line}: {}", error.message().lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Comparison;

    const TARGETS: &str = "[[target]]\nname = 'a'\nstart = 'broker {dir} {port} {config}'\nconfig = 'x={port2}'\n\
                           [[target]]\nname = 'b'\nbootstrap = 'h:1'\n";
    const WORKLOAD: &str = "[[workload]]\nname = 'w'\nrun = 'produce --topic {topic} --rate 5'\n";

    fn read(head: &str, tail: &str) -> Result<Comparison, String> {
        Comparison::read(&format!("{head}\n{TARGETS}{WORKLOAD}{tail}"))
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let read = read("", "").expect("it is right");
        assert_eq!((read.rounds, read.warm_up_rounds, read.baseline()), (5, 0, 0));
        assert_eq!((read.sync, read.pause_others, read.restart), (false, false, false));
        assert_eq!((read.targets[0].bootstrap(), read.targets[1].bootstrap()), ("127.0.0.1:{port}", "h:1"));
        assert!(read.workloads[0].is_paced());
    }

    #[test]
    fn what_is_said_counts() {
        let tail = "before = ['produce --topic {topic}']\nlimit = 'fio {dir}'\nlimit_unit = 'MB/s'\n\
                    [[workload]]\nname = 'v'\nrun = 'consume --topic {topic}'\n";
        let read = read("rounds = 2\nbaseline = 'b'\nsync = true", tail).expect("it is right");
        assert_eq!((read.rounds, read.baseline(), read.sync), (2, 1, true));
        assert!(!read.workloads[1].is_paced());
        let only = read.clone().only(&["v".to_owned()]).expect("there is one");
        assert_eq!(only.workloads.len(), 1);
        assert_eq!(read.clone().only(&[]).expect("all").workloads.len(), 2);
        assert!(read.only(&["u".to_owned()]).is_err_and(|mistake| mistake.contains("w, v")));
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        for (head, tail, why) in [
            ("rounds = 0", "", "rounds: from 1"),
            ("rounds = 'x'", "", "line 1"),
            ("settle_seconds = -1.0", "", "settle_seconds: from 0"),
            ("settle_seconds = nan", "", "settle_seconds: from 0"),
            ("speed = 1", "", "unknown field"),
            ("baseline = 'c'", "", "no target is called c"),
            ("restart = true", "", "target b: restart"),
            ("", "limit = 'fio'", "limit_unit"),
            ("", "limit_unit = 's'", "without a limit"),
            ("", "limit = 'fio {port}'\nlimit_unit = 's'", "{port} stands for nothing"),
            ("", "before = ['produce --speed 5']", "--speed"),
            ("", "before = ['produce --pid 5']", "--pid is for the comparison"),
            ("", "before = ['produce --json=a']", "--json=a is for the comparison"),
            ("", "before = ['compare x.toml']", "x.toml"),
            ("", "before = ['produce --topics 2']", "--topics"),
            ("", "before = ['--help']", "not a load"),
            ("", "before = ['produce --topic {dir}']", "{dir} stands for nothing"),
            ("", "[[workload]]\nname = 'w'\nrun = 'produce'", "a name of its own"),
            ("", "[[workload]]\nname = 'a|b'\nrun = 'produce'", "`|`"),
            ("", "[[target]]\nname = 'c'", "target c: say how"),
            ("", "[[target]]\nname = 'c/d'\nbootstrap = 'x'", "letters"),
            ("", "[[target]]\nname = 'c'\nbootstrap = 'x'\nprepare = 'y'", "a target that has a start"),
            ("", "[[target]]\nname = 'c'\nbootstrap = 'x:{port}'", "{port} stands for nothing"),
            ("", "[[target]]\nname = 'c'\nstart = 'x {config}'", "{config} stands for nothing"),
            ("", "[[target]]\nname = 'c'\nstart = \"x '\"", "quote"),
            ("", "[[target]]\nname = 'c'\nstart = 'x'\npid = 4", "runs already"),
            ("", "[[target]]\nname = 'c'\nstart = 'x'\nready_seconds = -1.0", "ready_seconds"),
            ("", "[[target]]\nname = 'c'\nstart = 'x {env:NO_SUCH_VARIABLE}'", "NO_SUCH_VARIABLE is not set"),
        ] {
            let mistake = read(head, tail).expect_err(&format!("{head} {tail}"));
            assert!(mistake.contains(why) && !mistake.contains('\n'), "{head} {tail}: {mistake}");
        }
        assert!(Comparison::read("").is_err_and(|mistake| mistake.contains("[[target]]")));
        assert!(Comparison::read(TARGETS).is_err_and(|mistake| mistake.contains("[[workload]]")));
    }
}
