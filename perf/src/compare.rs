//! `hayate-perf compare FILE`: several clusters under the same loads, turn by turn, in one run on one machine.
//!
//! [`file`] says what is compared, [`turns`] in which order, [`contest`] does it with [`broker`]s that it starts and stops, [`figures`]
//! makes medians and ratios of what came of it, [`table`] and [`document`] tell them. What can be is free of IO.

mod broker;
mod contest;
mod document;
pub mod figures;
pub mod file;
mod folder;
mod interrupt;
mod process;
mod processes;
mod results;
mod table;
pub mod turns;
mod words;

use crate::PerfError;
use crate::cli::Job;
use crate::cli::options::{get, many, option};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use contest::Contest;
use file::Comparison;
use folder::Folder;
use interrupt::Interrupt;
use results::Results;
use std::path::{Path, PathBuf};

const AFTER: &str = "\
The file, in TOML, names targets and workloads; perf/compare/ of Hayate's source has examples. Mistakes in it are told before anything is
started. Every broker that is started is stopped again and its folder removed, however the run ends. A turn that fails is told, and the
rest goes on.
";

/// A comparison that is asked for.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The file's text, for the document.
    text: String,
    /// What it says, with what the command line changes.
    comparison: Comparison,
    /// Where the JSON document goes.
    json: Option<PathBuf>,
    /// Where the tables go.
    markdown: Option<PathBuf>,
}

/// The subcommand.
pub fn command() -> Command {
    Command::new("compare")
        .about(
            "Several targets under the same loads, in interleaved rounds: medians, ratios and their spread",
        )
        .after_help(AFTER)
        .args([
            Arg::new("file")
                .value_name("FILE")
                .help("What is compared")
                .required(true)
                .value_parser(value_parser!(PathBuf)),
            option("json", "FILE", "Write every sample and the summary as JSON")
                .value_parser(value_parser!(PathBuf)),
            option("markdown", "FILE", "Write the tables as Markdown").value_parser(value_parser!(PathBuf)),
            option("only", "WORKLOAD", "Only this workload; may be repeated").action(ArgAction::Append),
            option("rounds", "N", "Counted rounds, in place of the file's")
                .value_parser(value_parser!(u32).range(1..=file::ROUNDS_MAX)),
        ])
}

/// Reads what is asked for, and the file.
///
/// # Errors
/// What is mistaken, in one line.
pub fn read(matches: &ArgMatches) -> Result<Compare, String> {
    let path = get(matches, "file", PathBuf::new());
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let comparison = Comparison::read(&text)
        .and_then(|comparison| comparison.only(&many::<String>(matches, "only")))
        .map_err(|mistake| format!("{}: {mistake}", path.display()))?;
    let rounds = get(matches, "rounds", comparison.rounds);
    Ok(Compare {
        text,
        comparison: Comparison { rounds, ..comparison },
        json: matches.get_one("json").cloned(),
        markdown: matches.get_one("markdown").cloned(),
    })
}

impl Job for Compare {
    fn run(&self) -> Result<(), PerfError> {
        let interrupt = Interrupt::listen()?;
        let folder = Folder::create(&self.comparison)?;
        let mut results = Results::begin(&self.comparison, folder.path());
        for warning in results.warnings() {
            eprintln!("hayate-perf: {warning}");
        }
        let ended = Contest::new(&self.comparison, &interrupt, &folder).hold(&mut results);
        drop(folder);
        let told = table::markdown(&results);
        if !results.samples.is_empty() {
            print!("{told}");
        }
        let json =
            self.json.as_deref().map_or(Ok(()), |path| document::document(&results, &self.text).write(path));
        let markdown = self.markdown.as_deref().map_or(Ok(()), |path| write(path, &told));
        ended.and(json).and(markdown).and_then(|()| results.verdict())
    }
}

fn write(path: &Path, text: &str) -> Result<(), PerfError> {
    let failed = |cause| PerfError::File { path: path.display().to_string(), cause };
    std::fs::write(path, text).map_err(failed)
}
