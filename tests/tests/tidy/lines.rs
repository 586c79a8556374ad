//! Rules about single lines: how a Rust file opens, what code and comments may not hold, and what no file of the
//! repository says. Each is a function from one file to findings; none knows the tree.

use crate::source::{Source, has_word, line_of, words};
use crate::tree::{Finding, assert_none, assert_one, tree};

/// Every Rust file opens by saying what lives in it.
fn opens_with_doc(source: &Source) -> Vec<Finding> {
    let opens = source.text.starts_with("//!");
    if opens { Vec::new() } else { vec![Finding::at(&source.path, 1, "open with `//!`: what lives here")] }
}

/// What is not there yet is left out, not stubbed; a test that may not run is no test.
fn no_stubs(source: &Source) -> Vec<Finding> {
    let macros = ["todo!", "unimplemented!", "dbg!"].into_iter().flat_map(|stub| {
        source.code.match_indices(stub).map(move |(at, _)| (at, format!("`{stub}` stands for missing work")))
    });
    let ignored = ["#[ignore", "#![ignore"].into_iter().flat_map(|attribute| {
        source.code.match_indices(attribute).map(|(at, _)| (at, "an ignored test shows nothing".to_string()))
    });
    let notes = ["TODO", "FIXME", "XXX", "HACK"].into_iter().flat_map(|note| {
        words(&source.comments, note).map(move |at| (at, format!("{note}: do it, or say what is not there")))
    });
    let all = macros.chain(ignored).chain(notes);
    all.map(|(at, message)| Finding::at(&source.path, line_of(&source.text, at), message)).collect()
}

/// `foo.rs` beside `foo/`, so that a file's name says what it holds.
fn no_mod_rs(source: &Source) -> Vec<Finding> {
    let is_mod = source.path.ends_with("/mod.rs");
    if is_mod { vec![Finding::new(&source.path, "name it after its module: `foo.rs`")] } else { Vec::new() }
}

/// What a module exports is read at its head, not guessed.
fn no_glob_exports(source: &Source) -> Vec<Finding> {
    let exports = words(&source.code, "pub").filter(|&at| {
        let statement = source.code[at..].split(';').next().unwrap_or_default();
        let after = statement[3..].trim_start();
        let after =
            if after.starts_with('(') { after.split_once(')').map_or("", |(_, rest)| rest) } else { after };
        after.trim_start().starts_with("use ") && after.contains('*')
    });
    exports.map(|at| Finding::at(&source.path, line_of(&source.text, at), "name what is exported")).collect()
}

/// A lint is switched off only with a reason.
fn reasoned_allows(source: &Source) -> Vec<Finding> {
    let openings = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
    let bare =
        openings.into_iter().flat_map(|opening| source.code.match_indices(opening)).filter(|(at, _)| {
            let attribute = source.code[*at..].split(']').next().unwrap_or_default();
            !has_word(attribute, "reason")
        });
    bare.map(|(at, _)| Finding::at(&source.path, line_of(&source.text, at), "add `reason = \"…\"`")).collect()
}

/// No place on some machine, and nothing outside the checkout, is named in it. The words are put together here so
/// that this file may pass.
fn no_machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let places = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["../", "shared"], ["/tmp/", "hayate/"]];
    let found = places.into_iter().map(|halves| halves.concat()).flat_map(|place| {
        let at: Vec<usize> =
            text.match_indices(&place).map(|(at, _)| at).filter(|&at| is_start(text, at)).collect();
        at.into_iter().map(move |at| (at, format!("`{place}` exists on one machine only")))
    });
    found.map(|(at, message)| Finding::at(path, line_of(text, at), message)).collect()
}

/// Whether a path may begin at `at`: no letter, digit or dot stands before it (`framework/` is no place).
fn is_start(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    before.is_none_or(|c| !c.is_alphanumeric() && !"._-}".contains(c))
}

fn over_sources(rule: fn(&Source) -> Vec<Finding>) {
    assert_none(tree().sources.iter().flat_map(rule).collect());
}

#[test]
fn every_file_opens_with_what_lives_in_it() {
    over_sources(opens_with_doc);
    assert_one(opens_with_doc(&Source::new("a.rs", "use x;\n//! late\n")), "open with");
}

#[test]
fn no_file_holds_a_stub() {
    over_sources(no_stubs);
    let check = |text: &str, expected| assert_one(no_stubs(&Source::new("a.rs", text)), expected);
    check("fn a() { todo!() }", "`todo!`");
    check("fn a() { unimplemented!(\"x\") }", "`unimplemented!`");
    check("#[test]\n#[ignore = \"slow\"]\nfn a() {}", "ignored");
    check("// TODO: later", "TODO");
    assert_none(no_stubs(&Source::new("a.rs", "let a = \"TODO todo!\"; // HACKS")));
}

#[test]
fn no_module_is_named_mod() {
    over_sources(no_mod_rs);
    assert_one(no_mod_rs(&Source::new("net/src/wire/mod.rs", "")), "after its module");
}

#[test]
fn no_module_exports_a_glob() {
    over_sources(no_glob_exports);
    let check = |text: &str| assert_one(no_glob_exports(&Source::new("a.rs", text)), "name what");
    check("pub use a::*;");
    check("pub(crate) use a::{\n    b::*,\n};");
    assert_none(no_glob_exports(&Source::new("a.rs", "use a::*; pub use b; pub fn c() -> *const u8 {}")));
}

#[test]
fn no_lint_is_silenced_without_reason() {
    over_sources(reasoned_allows);
    assert_one(reasoned_allows(&Source::new("a.rs", "#[allow(dead_code)]\nfn a() {}")), "reason");
    assert_none(reasoned_allows(&Source::new("a.rs", "#[allow(\n dead_code, reason = \"x\")]\nfn a() {}")));
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    assert_none(tree().files.iter().flat_map(|file| no_machine_paths(&file.path, &file.text)).collect());
    let bad = ["see ", "/wo", "rk/main"].concat();
    assert_one(no_machine_paths("README.md", &bad), "one machine");
    assert_none(no_machine_paths("a.md", "framework/a, $x/root.rs"));
}
