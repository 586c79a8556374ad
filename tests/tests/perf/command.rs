//! A command line of `hayate-perf`, run in this process.

use hayate_perf::cli::{Asked, parse};
use hayate_tests::broker::fresh_folder;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

/// Runs a command line, and gives what its document holds and how it ended.
pub fn perf(line: &str) -> (Value, Result<(), String>) {
    let folder: PathBuf = fresh_folder();
    let file = folder.join("result.json");
    fs::create_dir_all(&folder).expect("a folder");
    let words = format!("hayate-perf {line} --json {}", file.display());
    let job = match parse(words.split_whitespace().map(OsString::from)) {
        Ok(Asked::Do(job)) => job,
        other => panic!("{line}: {other:?}"),
    };
    let ended = job.run().map_err(|error| error.to_string());
    let document = fs::read_to_string(&file).ok().map(|text| serde_json::from_str(&text).expect("JSON"));
    fs::remove_dir_all(&folder).expect("the folder goes");
    (document.unwrap_or(Value::Null), ended)
}
