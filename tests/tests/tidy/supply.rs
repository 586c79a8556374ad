//! What comes from outside: every locked package is from crates.io, none is banned, each licence is one that
//! deny.toml allows. The lists stand in deny.toml alone; cargo-deny, slow to build, reads them too at full size.

use std::collections::BTreeSet;
use std::process::Command;

use crate::tree::{Finding, assert_none, assert_one, root, tree};

/// The strings of `key = [ … ]` in `[section]` of a TOML file in deny.toml's style: an entry is a string, or a table
/// whose first string is its name. Comments count as nothing.
fn list(toml: &str, section: &str, key: &str) -> Vec<String> {
    let header = format!("[{section}]");
    let lines = toml.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let in_section = lines.skip_while(|line| *line != header).skip(1).take_while(|line| !is_header(line));
    let from_key =
        in_section.skip_while(|line| line.split('=').next().is_none_or(|name| name.trim() != key)).skip(1);
    let entries = from_key.take_while(|line| *line != "]");
    entries.filter_map(|line| line.split('"').nth(1)).map(str::to_string).collect()
}

fn is_header(line: &str) -> bool {
    line.starts_with('[') && line.ends_with(']') && !line.contains('=')
}

/// Locked packages, each as (name, source); ours have no source.
fn locked(lock: &str) -> Vec<(&str, Option<&str>)> {
    lock.split("[[package]]")
        .skip(1)
        .map(|package| {
            let line = |key: &str| package.lines().find(|line| line.starts_with(key));
            let get = |key: &str| line(key).and_then(|line| line.split('"').nth(1));
            (get("name = ").unwrap_or_default(), get("source = "))
        })
        .collect()
}

/// The registry's packages of a lock file, each as its name, version and checksum.
fn pinned(lock: &str) -> BTreeSet<[&str; 3]> {
    let packages = lock.split("[[package]]").skip(1).filter(|package| package.contains("\nsource = "));
    packages
        .map(|package| {
            let get = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            [get("name = "), get("version = "), get("checksum = ")]
        })
        .collect()
}

/// Packages of the fuzz workspace that the main one does not have so: they would be judged by nobody, and compiled twice.
fn unlike_the_roots(fuzz: &str, root: &str) -> Vec<Finding> {
    let (fuzz, root) = (pinned(fuzz), pinned(root));
    let stranger = |[name, version, _]: &[&str; 3]| {
        Finding::new("tests/fuzz/Cargo.lock", format!("{name} {version} is not in the root's"))
    };
    fuzz.difference(&root).map(stranger).collect()
}

/// Packages from anywhere but the default registry.
fn foreign_sources(lock: &str) -> Vec<Finding> {
    let foreign = locked(lock).into_iter().filter(|(_, source)| {
        source
            .is_some_and(|source| !(source.starts_with("registry+") && source.ends_with("/crates.io-index")))
    });
    foreign.map(|(name, _)| Finding::new("Cargo.lock", format!("{name} is not from crates.io"))).collect()
}

fn banned(lock: &str, bans: &[String]) -> Vec<Finding> {
    let found = locked(lock).into_iter().filter(|(name, _)| bans.iter().any(|ban| ban == name));
    found
        .map(|(name, _)| Finding::new("Cargo.lock", format!("{name} is banned: deny.toml says why")))
        .collect()
}

/// Whether an SPDX expression (also in the old form `MIT/Apache-2.0`) can be met with the allowed licences.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.trim().replace('/', " OR ");
    if let Some(parts) = split(&expression, " OR ") {
        return parts.iter().any(|part| is_allowed(part, allowed));
    }
    if let Some(parts) = split(&expression, " AND ") {
        return parts.iter().all(|part| is_allowed(part, allowed));
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_allowed(inner, allowed),
        None => allowed.contains(&expression),
    }
}

/// The parts of an expression between `operator`s outside parentheses; `None` when there is no such operator.
fn split<'a>(expression: &'a str, operator: &str) -> Option<Vec<&'a str>> {
    let depth = |text: &str| text.matches('(').count() - text.matches(')').count();
    let cuts =
        expression.match_indices(operator).map(|(at, _)| at).filter(|&at| depth(&expression[..at]) == 0);
    let (mut parts, mut from) = (Vec::new(), 0);
    for at in cuts {
        parts.push(&expression[from..at]);
        from = at + operator.len();
    }
    parts.push(&expression[from..]);
    (parts.len() > 1).then_some(parts)
}

/// Packages, as lines `name version…|licence`, whose licence is not allowed and that are no exception.
fn licences(packages: &str, allowed: &[String], exceptions: &[String]) -> Vec<Finding> {
    let packages = packages.lines().filter_map(|line| line.split_once('|'));
    let wrong = packages.filter(|(package, licence)| {
        let name = package.split(' ').next().unwrap_or_default();
        let licence = licence.trim_end_matches(" (*)");
        !exceptions.iter().any(|exception| exception == name) && !is_allowed(licence, allowed)
    });
    wrong
        .map(|(package, licence)| Finding::new("Cargo.lock", format!("{package} is under {licence:?}")))
        .collect()
}

/// Every package that is built for this machine, as `cargo tree` knows it.
fn packages() -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = ["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}|{l}"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().expect("cargo tree starts");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo tree speaks UTF-8")
}

#[test]
fn every_package_is_from_the_registry() {
    assert_none(foreign_sources(tree().text("Cargo.lock")));
    let lock = "[[package]]\nname = \"a\"\nsource = \"registry+https://x/crates.io-index\"\n\
                [[package]]\nname = \"b\"\nsource = \"git+https://x/b\"\n[[package]]\nname = \"c\"\n";
    assert_one(foreign_sources(lock), "b is not");
}

#[test]
fn what_fuzzing_stands_on_is_a_part_of_what_the_broker_does() {
    let root = tree().text("Cargo.lock");
    assert_none(unlike_the_roots(tree().text("tests/fuzz/Cargo.lock"), root));
    let package = |version| {
        format!(
            "[[package]]\nname = \"a\"\nversion = \"{version}\"\nsource = \"registry\"\nchecksum = \"0\"\n"
        )
    };
    assert_one(unlike_the_roots(&package("2"), &package("1")), "is not in the root's");
}

#[test]
fn no_package_is_banned() {
    let bans = list(tree().text("deny.toml"), "bans", "deny");
    assert!(bans.contains(&"tokio".to_string()), "{bans:?}");
    assert_none(banned(tree().text("Cargo.lock"), &bans));
    assert_one(banned("[[package]]\nname = \"tokio\"\n", &bans), "tokio is banned");
}

#[test]
fn every_licence_is_allowed() {
    let allowed = list(tree().text("deny.toml"), "licenses", "allow");
    let exceptions = list(tree().text("deny.toml"), "licenses", "exceptions");
    assert!(allowed.len() > 3 && exceptions.len() == 1, "{allowed:?} {exceptions:?}");
    assert_none(licences(&packages(), &allowed, &exceptions));
    let check = |licence: &str, findings| {
        assert_eq!(licences(&format!("a v1|{licence}"), &allowed, &exceptions).len(), findings, "{licence}");
    };
    check("MIT", 0);
    check("(MIT OR GPL-3.0) AND Unicode-3.0 (*)", 0);
    check("GPL-2.0/MIT", 0);
    check("MIT AND GPL-3.0", 1);
    check("", 1);
    assert_none(licences("bitmaps v3|MPL-2.0+", &allowed, &exceptions));
}
