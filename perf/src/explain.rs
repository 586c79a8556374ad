//! `hayate-perf explain`: where the time of a broker's requests went, from the page `/stages` of its HTTP listener.
//!
//! The page is read at the beginning and at the end of a span, and what was counted between is told: a table of stages and a sentence on
//! what is slow at a percentile. Starts no load: that is another process's.

mod figures;
mod page;
mod told;

use crate::PerfError;
use crate::cli::Job;
use crate::cli::options::{option, seconds};
use crate::report::Document;
use clap::{ArgMatches, Command};
use figures::{Kinds, Request};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Spans that are longer are a mistake.
const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);

/// What is to be explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Explain {
    /// Host and port of the broker's HTTP listener.
    address: String,
    /// Kafka's name of the kind of request.
    request: String,
    /// Above 0, below 100.
    percentile: f64,
    /// Zero: since the broker's start.
    span: Duration,
    json: Option<PathBuf>,
}

/// The subcommand.
pub fn command() -> Command {
    Command::new("explain")
        .about("Where the time of a Hayate broker's requests goes, by stage.")
        .arg(
            option("bootstrap-http", "HOST:PORT", "the broker's http.listeners")
                .default_value("127.0.0.1:9644"),
        )
        .arg(option("request", "KIND", "the kind of request, by Kafka's name").default_value("Produce"))
        .arg(
            option("percentile", "P", "what is slow at this percentile")
                .value_parser(percentile)
                .default_value("99"),
        )
        .arg(
            option("for", "SECONDS", "how long to look on; 0: all since the broker's start")
                .value_parser(seconds)
                .default_value("10"),
        )
        .arg(
            option("json", "FILE", "write the figures there, too").value_parser(clap::value_parser!(PathBuf)),
        )
}

fn percentile(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number < 100.0 {
        return Ok(number);
    }
    Err("not between 0 and 100".to_owned())
}

impl Explain {
    /// Reads the options.
    ///
    /// # Errors
    /// What is mistaken.
    pub fn read(matches: &ArgMatches) -> Result<Explain, String> {
        let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
        let span = matches.get_one::<Duration>("for").copied().unwrap_or_default();
        if span > SPAN_MAX {
            return Err("--for: more than a day".to_owned());
        }
        Ok(Explain {
            address: text("bootstrap-http"),
            request: text("request"),
            percentile: matches.get_one("percentile").copied().unwrap_or(99.0),
            span,
            json: matches.get_one("json").cloned(),
        })
    }

    /// What was counted in the span.
    fn look(&self) -> Result<Kinds, PerfError> {
        let before = page::stages(&self.address)?;
        if self.span.is_zero() {
            return Ok(before);
        }
        std::thread::sleep(self.span);
        let after = page::stages(&self.address)?;
        figures::between(&before, &after).ok_or_else(|| {
            PerfError::Impossible(format!("{}: the broker was started anew meanwhile", self.address))
        })
    }

    /// The kind that was asked for.
    fn pick<'a>(&self, kinds: &'a Kinds) -> Result<(&'a str, &'a Request), PerfError> {
        let found = kinds.iter().find(|(name, _)| name.eq_ignore_ascii_case(&self.request));
        if let Some((name, request)) = found {
            return Ok((name, request));
        }
        let others: Vec<&str> = kinds.keys().map(String::as_str).collect();
        let others = if others.is_empty() { "none at all".to_owned() } else { others.join(", ") };
        let which = &self.request;
        Err(PerfError::Impossible(format!(
            "no {which} request was answered in that time; there were: {others}"
        )))
    }
}

impl Job for Explain {
    fn run(&self) -> Result<(), PerfError> {
        let kinds = self.look()?;
        let (name, request) = self.pick(&kinds)?;
        let mut percentiles = vec![50.0, 99.0, 99.9, self.percentile];
        percentiles.sort_by(f64::total_cmp);
        percentiles.dedup();
        print!("{}", told::heading(name, request, self.span));
        print!("{}", told::table(request, &percentiles));
        print!("{}", told::sentence(name, request, self.percentile));
        let Some(path) = &self.json else { return Ok(()) };
        let mut document = Document::default();
        document.set("request", json!(name));
        document.set("seconds", json!(self.span.as_secs_f64()));
        document.set("percentile", json!(self.percentile));
        document.set("dominating", json!(told::dominating(request, self.percentile)));
        document.set("total", told::json(&request.total, &percentiles));
        let stages =
            request.stages.iter().map(|(stage, times)| (stage.clone(), told::json(times, &percentiles)));
        document.set("stages", stages.collect());
        document.write(path)
    }
}
