//! `search`: the highest rate at which a load keeps its latency. Doubles until the latency breaks, then halves the gap, then repeats the
//! last good rate: what does not hold twice does not count.

use crate::PerfError;
use crate::cli::Job;
use crate::cli::options::{get, millis, option, seconds};
use crate::gauge::Gauge;
use crate::plan::{self, Plan, Workload};
use crate::report::{Document, side};
use crate::run::{Outcome, measure};
use clap::{ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use serde_json::{Value, json};
use std::time::Duration;

/// Between two rates.
const GROWTH: f64 = 2.0;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The load; its rate is what the search begins with.
    load: Plan,
    /// The percentile that is looked at, up to 100.
    percentile: f64,
    /// What it may be.
    limit: Duration,
    /// How close the answer is to the lowest rate that breaks it: a share of it, above 0.
    precision: f64,
    /// No higher rate is tried, in records a second.
    rate_max: f64,
    /// Between two trials.
    pause: Duration,
}

/// The subcommand.
pub fn command() -> Command {
    plan::command(Workload::EndToEnd)
        .name("search")
        .about("Find the highest rate that keeps a latency")
        .mut_arg("rate", |arg| {
            arg.help("Records a second to begin with").value_name("N").default_value("1000")
        })
        .args([
            option("of", "e2e|produce", "Which latency")
                .default_value("e2e")
                .value_parser(PossibleValuesParser::new(["e2e", "produce"])),
            option("limit-ms", "MS", "What the percentile may be").default_value("10").value_parser(millis),
            option("percentile", "P", "The percentile").default_value("99").value_parser(percentile),
            option("precision", "SHARE", "How close to the limit the search ends")
                .default_value("0.05")
                .value_parser(precision),
            option("max-rate", "N", "No higher rate is tried")
                .default_value("100000000")
                .value_parser(value_parser!(f64)),
            option("pause", "SECONDS", "Between two trials").default_value("2").value_parser(seconds),
        ])
}

fn percentile(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number")?;
    if number > 0.0 && number <= 100.0 { Ok(number) } else { Err("above 0, up to 100".to_owned()) }
}

fn precision(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.001..=0.5).contains(&number) { Ok(number) } else { Err("from 0.001 to 0.5".to_owned()) }
}

/// Reads what is asked for.
///
/// # Errors
/// What is mistaken, in one line.
pub fn read(matches: &ArgMatches) -> Result<Asked, String> {
    let of = get(matches, "of", String::new());
    let workload = if of == "produce" { Workload::Produce } else { Workload::EndToEnd };
    let load = plan::read(workload, matches)?;
    if load.rate.is_none() {
        return Err("--rate max: a search begins with a rate".to_owned());
    }
    if load.hlog.is_some() {
        return Err("--hlog: a search keeps no interval log; run the rate that it finds".to_owned());
    }
    Ok(Asked {
        load,
        percentile: get(matches, "percentile", 99.0),
        limit: get(matches, "limit-ms", Duration::ZERO),
        precision: get(matches, "precision", 0.05),
        rate_max: get(matches, "max-rate", f64::MAX),
        pause: get(matches, "pause", Duration::ZERO),
    })
}

/// Which rate is next: pure.
#[derive(Clone, Debug)]
struct Search {
    next: f64,
    /// The highest that was good, and whether it was so twice.
    good: Option<(f64, bool)>,
    /// The lowest that was not.
    bad: Option<f64>,
    precision: f64,
    rate_max: f64,
}

impl Search {
    fn from(rate: f64, precision: f64, rate_max: f64) -> Search {
        Search { next: rate.min(rate_max), good: None, bad: None, precision, rate_max }
    }

    /// The next rate to try; `None` at the end.
    fn next(&self) -> Option<f64> {
        match (self.good, self.bad) {
            // Not even a record a second.
            (None, Some(bad)) if bad <= 1.0 => None,
            (Some((_, true)), Some(_)) if self.is_close() => None,
            (Some((rate, true)), None) if rate >= self.rate_max => None,
            _ => Some(self.next),
        }
    }

    fn is_close(&self) -> bool {
        self.good.zip(self.bad).is_some_and(|((good, _), bad)| good >= bad * (1.0 - self.precision))
    }

    /// The rate was tried.
    fn heard(&mut self, rate: f64, is_good: bool) {
        if is_good {
            let is_repeated = self.good.is_some_and(|(good, _)| good == rate);
            self.good = Some((rate, is_repeated));
        } else {
            self.bad = Some(self.bad.map_or(rate, |bad| bad.min(rate)));
            // It was good once: lower ones may not be good twice either, and are tried anew.
            self.good = self.good.filter(|(good, _)| *good < rate);
        }
        self.next = match (self.good, self.bad) {
            (Some((good, _)), Some(bad)) if !self.is_close() => (good * bad).sqrt(),
            (Some((good, _)), None) if good < self.rate_max => (good * GROWTH).min(self.rate_max),
            // Once more.
            (Some((good, _)), _) => good,
            (None, Some(bad)) => (bad / GROWTH).max(1.0),
            (None, None) => self.next,
        };
    }

    fn best(&self) -> Option<f64> {
        self.good.map(|(rate, _)| rate)
    }
}

impl Job for Asked {
    fn run(&self) -> Result<(), PerfError> {
        let mut search = Search::from(self.load.rate.unwrap_or(1.0), self.precision, self.rate_max);
        let mut document = Document::default();
        let mut trials = Vec::new();
        let mut ended = Ok(());
        while let Some(rate) = search.next() {
            match self.trial(rate) {
                Ok(trial) => {
                    search.heard(rate, trial.is_good);
                    trials.push(trial.told);
                }
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
            std::thread::sleep(self.pause);
        }
        document.set("workload", json!("search"));
        document.set("command", json!(std::env::args().collect::<Vec<_>>()));
        document.set("plan", json!(format!("{self:?}")));
        document.set("environment", crate::machine::environment());
        document.set("percentile", json!(self.percentile));
        document.set("limit_ms", json!(self.limit.as_secs_f64() * 1e3));
        document.set("rate", json!(search.best()));
        document.set("trials", Value::Array(trials));
        if let Some(path) = &self.load.json {
            document.write(path)?;
        }
        ended?;
        let rate = search.best().ok_or_else(|| {
            PerfError::Incomplete(format!("not even the lowest rate keeps {}", self.promise()))
        })?;
        println!("highest rate that keeps {}: {rate:.0} records/s", self.promise());
        Ok(())
    }
}

/// What a rate has come to.
struct Trial {
    is_good: bool,
    told: Value,
}

impl Asked {
    fn promise(&self) -> String {
        format!("p{} of {} within {:?}", self.percentile, self.load.workload.name(), self.limit)
    }

    fn trial(&self, rate: f64) -> Result<Trial, PerfError> {
        let plan = Plan { rate: Some(rate), ..self.load.clone() };
        let mut outcome = measure(&plan)?;
        // A load that cannot go on at all is no matter of its rate.
        if let Some(error) = outcome.wrong.take_if(|error| !matches!(error, PerfError::Incomplete(_))) {
            return Err(error);
        }
        let latency =
            Duration::from_nanos(self.judged(&outcome).latencies.value_at_percentile(self.percentile));
        let sides: serde_json::Map<String, Value> =
            outcome.sides().map(|(name, gauge)| (name.to_owned(), side(gauge, outcome.seconds()))).collect();
        let verdict = outcome.verdict(&plan);
        let is_good = verdict.is_ok() && latency <= self.limit;
        let word = match &verdict {
            Ok(()) if is_good => "kept".to_owned(),
            Ok(()) => "too slow".to_owned(),
            Err(error) => error.to_string(),
        };
        println!("{rate:.0} records/s: p{} {latency:.2?}: {word}", self.percentile);
        Ok(Trial { is_good, told: json!({ "rate": rate, "verdict": word, "sides": sides }) })
    }

    fn judged<'a>(&self, outcome: &'a Outcome) -> &'a Gauge {
        match self.load.workload {
            Workload::Produce => &outcome.produced,
            Workload::Consume | Workload::EndToEnd => &outcome.consumed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Search;

    /// Searches where every rate up to `limit` is good, but for trials that fail by chance.
    fn found(limit: f64, begin: f64, rate_max: f64, chance: &[usize]) -> (Option<f64>, usize) {
        let mut search = Search::from(begin, 0.05, rate_max);
        for number in 0..100 {
            let Some(rate) = search.next() else { return (search.best(), number) };
            search.heard(rate, rate <= limit && !chance.contains(&number));
        }
        panic!("it does not end: {search:?}");
    }

    #[test]
    fn it_ends_close_below_the_limit_in_few_trials() {
        for (limit, begin) in
            [(123_456.0, 1000.0), (999.0, 1000.0), (3.0, 1000.0), (1e6, 1e6), (50_000.0, 49_999.0)]
        {
            let (best, trials) = found(limit, begin, 1e8, &[]);
            let best = best.expect("a rate");
            assert!(best <= limit && best >= limit * 0.95, "{best} of {limit}");
            assert!(trials < 30, "{trials}");
        }
    }

    #[test]
    fn it_ends_at_the_highest_rate_that_is_wanted_and_where_nothing_is_good() {
        assert_eq!(found(1e9, 1000.0, 5000.0, &[]).0, Some(5000.0));
        assert_eq!(found(0.0, 1000.0, 5000.0, &[]).0, None);
    }

    #[test]
    fn what_is_good_once_and_not_twice_does_not_count() {
        let (sure, trials) = found(100_000.0, 1000.0, 1e8, &[]);
        let (best, _) = found(100_000.0, 1000.0, 1e8, &[trials - 1]);
        assert!(best < sure, "{best:?} of {sure:?}");
    }
}
