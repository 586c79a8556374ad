//! ARCHITECTURE.md is a map of the house, and a map may not be stale: every path that it names exists, and every
//! module of a crate's first level is named in it. In the other documents, paths into the checkout exist too.

use std::collections::BTreeSet;

use crate::source::line_of;
use crate::tree::{Finding, assert_none, assert_one, root, tree};

const MAP: &str = "ARCHITECTURE.md";

/// The text between single backticks outside code blocks, each with its line.
fn spans(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut in_block, mut at) = (Vec::new(), false, 0);
    for line in text.split_inclusive('\n') {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        if !in_block && !fence {
            let number = line_of(text, at);
            found.extend(line.split('`').skip(1).step_by(2).map(|span| (number, span)));
        }
        at += line.len();
    }
    found
}

/// Whether a span of the map is a path of the checkout: it holds a slash or ends in `.rs`, and nothing that no path
/// of ours holds. `/metrics` and `./data` are not in the checkout.
fn is_path(span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    plain && !span.starts_with(['/', '.']) && (span.contains('/') || span.ends_with(".rs"))
        || span == ".ci/run"
}

/// Paths that a document names and nothing has. `applies` chooses the spans to hold to the rule.
fn dead_paths(document: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let dead = spans(text).into_iter().filter(|(_, span)| is_path(span) && !exists(span));
    dead.map(|(line, span)| Finding::at(document, line, format!("`{span}` does not exist"))).collect()
}

/// `storage/src/wal.rs` for every file of every crate's first level, but the roots.
fn modules<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    paths
        .filter(|path| {
            let below_src = path.split_once("/src/").map(|(_, below)| below);
            let is_root = path.ends_with("/lib.rs") || path.ends_with("/main.rs");
            path.ends_with(".rs") && !is_root && below_src.is_some_and(|below| !below.contains('/'))
        })
        .collect()
}

/// Modules that the map leaves out.
fn unmapped<'a>(text: &str, modules: impl IntoIterator<Item = &'a str>) -> Vec<Finding> {
    let named: BTreeSet<&str> = spans(text).into_iter().map(|(_, span)| span).collect();
    let missing = modules.into_iter().filter(|path| !named.contains(path));
    missing.map(|path| Finding::new(MAP, format!("has no line for `{path}`"))).collect()
}

fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// Whether a path begins with something at the top of the checkout: then it is meant to lie in the checkout.
fn begins_here(path: &str) -> bool {
    path.split('/').next().is_some_and(exists)
}

#[test]
fn every_path_on_the_map_exists() {
    assert_none(dead_paths(MAP, tree().text(MAP), exists));
    let text = "`net/src/gone.rs` `wal.rs` `/metrics` `a b/c` `./data` `storage/`\n```\n`x/y`\n```\n";
    let found = dead_paths(MAP, text, |path| path == "storage/");
    let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(messages, ["`net/src/gone.rs` does not exist", "`wal.rs` does not exist"]);
}

#[test]
fn every_module_is_on_the_map() {
    let paths = tree().sources.iter().map(|source| source.path.as_str());
    assert_none(unmapped(tree().text(MAP), modules(paths)));
    let paths = ["a/src/lib.rs", "a/src/wal.rs", "a/src/wal/group.rs", "a/src/log.rs", "a/benches/b.rs"];
    assert_one(unmapped("- `a/src/log.rs`: x", modules(paths.into_iter())), "`a/src/wal.rs`");
}

#[test]
fn paths_in_other_documents_exist() {
    let documents = tree().files.iter().filter(|file| file.path.ends_with(".md") && file.path != MAP);
    let exists = |path: &str| !begins_here(path) || exists(path);
    assert_none(documents.flat_map(|file| dead_paths(&file.path, &file.text, exists)).collect());
    assert_one(dead_paths("README.md", "`tests/gone` `text/plain`", exists), "`tests/gone`");
}
