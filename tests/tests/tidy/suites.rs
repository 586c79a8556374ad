//! The test runner, its scripts and its document agree: each script in `tests/suites/` belongs to a suite that
//! `tests/run` lists, each suite's script exists, and `tests/README.md` has one row for each suite.

use std::collections::BTreeSet;

use crate::tree::{Finding, assert_none, assert_one, root, tree};

/// The suites of the runner's text: lines `  "name|what|tools|ci|full"`.
fn suites(runner: &str) -> Vec<(&str, &str)> {
    let rows = runner.lines().filter_map(|line| line.strip_prefix("  \"")?.strip_suffix('"'));
    rows.filter(|row| row.split('|').count() == 5).filter_map(|row| row.split_once('|')).collect()
}

/// Scripts that no suite runs, and scripts that a suite runs and nobody wrote.
fn scripts(runner: &str, present: &BTreeSet<String>) -> Vec<Finding> {
    let runs = |script: &String| suites(runner).iter().any(|(_, rest)| rest.contains(script.as_str()));
    let unused = present.iter().filter(|script| !runs(script));
    let unused = unused.map(|script| Finding::new(script, "no suite of tests/run runs it"));
    let named = suites(runner).into_iter().flat_map(|(_, rest)| rest.split(['|', ' ']));
    let absent = named.filter(|word| word.starts_with("tests/suites/") && !present.contains(*word));
    unused.chain(absent.map(|script| Finding::new("tests/run", format!("{script} does not exist")))).collect()
}

/// Suites without a row in the document's table, and rows without a suite.
fn rows(runner: &str, document: &str) -> Vec<Finding> {
    let suites: BTreeSet<&str> = suites(runner).into_iter().map(|(name, _)| name).collect();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: BTreeSet<&str> = rows.collect();
    let missing = suites.difference(&rows).map(|name| format!("has no row for the suite {name}"));
    let stale = rows.difference(&suites).map(|name| format!("has a row for {name}, which is no suite"));
    missing.chain(stale).map(|message| Finding::new("tests/README.md", message)).collect()
}

fn present() -> BTreeSet<String> {
    let Ok(folder) = std::fs::read_dir(root().join("tests/suites")) else { return BTreeSet::new() };
    let names = folder.map(|entry| entry.expect("readable entry").file_name());
    let names = names.map(|name| format!("tests/suites/{}", name.to_string_lossy()));
    names.filter(|name| name.ends_with(".sh")).collect()
}

#[test]
fn every_script_belongs_to_a_suite() {
    assert_none(scripts(tree().text("tests/run"), &present()));
    let runner = "  \"kill|x|cargo|tests/suites/kill.sh --ci|tests/suites/kill.sh\"\n";
    let kill = BTreeSet::from(["tests/suites/kill.sh".to_string()]);
    assert_none(scripts(runner, &kill));
    assert_one(scripts("", &kill), "no suite");
    assert_eq!(scripts(runner, &BTreeSet::new()).len(), 2);
}

#[test]
fn every_suite_has_a_row() {
    assert!(!suites(tree().text("tests/run")).is_empty());
    assert_none(rows(tree().text("tests/run"), tree().text("tests/README.md")));
    assert_one(rows("  \"a|b|c|d|e\"\n", "| name |\n"), "no row for the suite a");
    assert_one(rows("", "| `a` | b |\n"), "row for a");
}
