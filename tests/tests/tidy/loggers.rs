//! The list of loggers is true: each module that logs is on it, so that its level can be changed, and no other.

use crate::source::{Source, words};
use crate::tree::{Finding, assert_none, assert_one, tree};

const LIST: &str = "engine/src/logging/levels.rs";
/// Folders of crates that a broker is made of, with their names in paths.
const CRATES: [(&str, &str); 5] = [
    ("engine/rt/src/", "hayate_rt"),
    ("engine/src/", "hayate_engine"),
    ("storage/src/", "hayate_storage"),
    ("net/src/", "hayate_net"),
    ("connect/src/", "hayate_connect"),
];

/// The module that a file is, as its lines in the log name it.
fn module(path: &str) -> Option<String> {
    let (folder, name) = CRATES.into_iter().find(|(folder, _)| path.starts_with(folder))?;
    let below = path.strip_prefix(folder)?.strip_suffix(".rs")?;
    Some(if below == "lib" { name.to_owned() } else { format!("{name}::{}", below.replace('/', "::")) })
}

/// Whether code before the tests says something to the log.
fn logs(source: &Source) -> bool {
    let shipped: String =
        source.code.lines().take(source.lines_before_tests()).map(|line| format!("{line}\n")).collect();
    let macros = ["error", "warn", "info", "debug", "trace"];
    let is_call =
        |at: usize| macros.iter().any(|name| shipped[at..].starts_with(&format!("tracing::{name}!")));
    words(&shipped, "tracing").any(is_call)
}

/// What is missing on the list, and what is there and logs nothing.
fn compare(list: &[&str], mut logging: Vec<String>) -> Vec<Finding> {
    logging.sort();
    let missing = logging.iter().filter(|module| !list.contains(&module.as_str()));
    let missing = missing.map(|module| Finding::new(LIST, format!("{module} logs: list it")));
    let silent = list.iter().filter(|module| !logging.iter().any(|logging| logging == *module));
    missing
        .chain(silent.map(|module| Finding::new(LIST, format!("{module} does not log: remove it"))))
        .collect()
}

#[test]
fn every_module_that_logs_is_a_logger() {
    let logging = tree().sources.iter().filter(|source| logs(source));
    let logging = logging.filter_map(|source| module(&source.path)).collect();
    assert_none(compare(hayate_engine::logging::MODULES, logging));
    assert_one(compare(&[], vec!["a".to_owned()]), "a logs");
    assert_one(compare(&["a"], vec![]), "a does not log");
}

#[test]
fn modules_are_named_as_in_the_log() {
    assert_eq!(module("engine/rt/src/kernel.rs").as_deref(), Some("hayate_rt::kernel"));
    assert_eq!(module("engine/src/shard/owner.rs").as_deref(), Some("hayate_engine::shard::owner"));
    assert_eq!(module("net/src/lib.rs").as_deref(), Some("hayate_net"));
    assert_eq!(module("tests/src/lib.rs"), None);
    assert!(logs(&Source::new("a.rs", "fn a() { tracing::info!(x, \"y\"); }")));
    assert!(!logs(&Source::new(
        "a.rs",
        "// tracing::info!\nfn a() {}\n#[cfg(test)]\nmod tests { fn b() { tracing::warn!(); } }"
    )));
}
