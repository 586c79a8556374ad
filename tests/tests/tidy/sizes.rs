//! Ratchets: functions of at most 70 lines, files of at most 800 lines before their tests, and half of all functions
//! no longer than 12. What is longer stands in `ratchet.txt` with its size and a reason, and that list may only
//! shrink: an entry that is larger than the code, or no longer needed, fails too. After TigerBeetle's tidy.

use std::collections::BTreeMap;

use crate::source::{Function, Source};
use crate::tree::{Finding, assert_none, assert_one, tree};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MEDIAN_MAX: usize = 12;

const RATCHET: &str = "tests/tests/tidy/ratchet.txt";

/// What is longer than the limit: (path, `file` or `fn NAME`) → lines.
type Excess = BTreeMap<(String, String), usize>;

/// The functions of a file that stand before its test module.
fn functions_before_tests(source: &Source) -> Vec<Function> {
    let end = source.lines_before_tests();
    source.functions().into_iter().filter(|function| function.line <= end).collect()
}

fn excess(source: &Source) -> Excess {
    let functions = functions_before_tests(source).into_iter();
    let functions =
        functions.map(|function| (format!("fn {}", function.name), function.lines, FUNCTION_LINES_MAX));
    let file = ("file".to_string(), source.lines_before_tests(), FILE_LINES_MAX);
    let long = functions.chain([file]).filter(|(_, lines, limit)| lines > limit);
    long.map(|(kind, lines, _)| ((source.path.clone(), kind), lines)).collect()
}

/// Reads `path | kind | lines | reason` lines; `#` begins a comment.
fn parse_ratchet(text: &str) -> Result<Excess, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let [path, kind, size, reason] = fields[..] else { return Err(format!("four fields: {line}")) };
            let size = size.parse().map_err(|_| format!("the third field is a number of lines: {line}"))?;
            if reason.is_empty() {
                Err(format!("no reason: {line}"))
            } else {
                Ok(((path.into(), kind.into()), size))
            }
        })
        .collect()
}

/// Compares what is too long with what may be.
fn compare(found: &Excess, allowed: &Excess) -> Vec<Finding> {
    let grown = found.iter().filter_map(|(key, &lines)| {
        let message = match allowed.get(key) {
            None => format!("{} has {lines} lines: split it", key.1),
            Some(&size) if lines > size => format!("{} grew from {size} to {lines} lines: split it", key.1),
            Some(_) => return None,
        };
        Some(Finding::new(&key.0, message))
    });
    let stale = allowed.iter().filter_map(|(key, &size)| {
        let lines = found.get(key).copied();
        let message = match lines {
            None => format!("{} is within its limit: remove its entry", key.1),
            Some(lines) if lines < size => {
                format!("{} shrank to {lines}: lower its entry from {size}", key.1)
            }
            Some(_) => return None,
        };
        Some(Finding::new(RATCHET, format!("{}: {message}", key.0)))
    });
    grown.chain(stale).collect()
}

fn median(mut values: Vec<usize>) -> usize {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[test]
fn functions_and_files_stay_small() {
    let found = tree().sources.iter().flat_map(excess).collect();
    let allowed = parse_ratchet(tree().text(RATCHET)).expect(RATCHET);
    assert_none(compare(&found, &allowed));
}

#[test]
fn half_of_all_functions_are_very_small() {
    let functions = tree().sources.iter().flat_map(functions_before_tests);
    let median = median(functions.map(|function| function.lines).collect());
    assert!(median <= FUNCTION_LINES_MEDIAN_MAX, "the median function has {median} lines");
}

#[test]
fn what_is_too_long_is_found() {
    let long = format!("fn a() {{\n{}}}\n", "    b();\n".repeat(FUNCTION_LINES_MAX));
    let keys = |text: &str| excess(&Source::new("a.rs", text)).into_iter().collect::<Vec<_>>();
    assert_eq!(keys(&long), [(("a.rs".into(), "fn a".into()), FUNCTION_LINES_MAX + 2)]);
    assert_eq!(keys(&"x;\n".repeat(801)), [(("a.rs".into(), "file".into()), 801)]);
    assert_eq!(keys(&format!("#[cfg(test)]\nmod tests {{\n{long}}}\n")), []);
    assert_eq!(median(vec![9, 1, 5]), 5);
}

#[test]
fn the_list_may_only_shrink() {
    let list = |size: &str| parse_ratchet(&format!("# x\na.rs | fn b | {size} | a table\n"));
    let found: Excess = [(("a.rs".to_string(), "fn b".to_string()), 80)].into();
    assert_none(compare(&found, &list("80").expect("parses")));
    assert_one(compare(&found, &list("79").expect("parses")), "grew from 79 to 80");
    assert_one(compare(&found, &list("81").expect("parses")), "lower its entry");
    assert_one(compare(&found, &Excess::new()), "split it");
    assert_one(compare(&Excess::new(), &list("80").expect("parses")), "remove its entry");
    assert!(list("many").is_err());
    assert!(parse_ratchet("a.rs | file | 900 |").is_err());
}
