//! The checkout as the rules see it: the text of every file that belongs to the project, by path from its root.
//! Knows no rule. Folders that tools make (`target`, caches, a broker's data) are left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::source::Source;

const FOLDERS_OF_TOOLS: [&str; 6] =
    ["target", ".git", ".cache", "hayate-data", "node_modules", "__pycache__"];

/// One text file: its path from the root with `/`, and its content.
pub struct File {
    pub path: String,
    pub text: String,
}

/// Every text file and, apart, every Rust file with its code and comments told apart.
pub struct Tree {
    pub files: Vec<File>,
    pub sources: Vec<Source>,
}

impl Tree {
    /// The text of the file at `path`; fails the test when there is none.
    pub fn text(&self, path: &str) -> &str {
        let file = self.files.iter().find(|file| file.path == path);
        &file.unwrap_or_else(|| panic!("{path} is missing")).text
    }
}

/// A broken rule: where, and what is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// `path` or `path:line`.
    pub place: String,
    pub message: String,
}

impl Finding {
    pub fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }

    pub fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self::new(format!("{path}:{line}"), message)
    }
}

/// Fails the calling test with one line a finding.
#[track_caller]
pub fn assert_none(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(|f| format!("  {}: {}", f.place, f.message)).collect();
    assert!(lines.is_empty(), "{} found:\n{}", lines.len(), lines.join("\n"));
}

/// Fails unless the rule found exactly one thing, and its message holds `expected`: for the bad examples.
#[track_caller]
pub fn assert_one(findings: Vec<Finding>, expected: &str) {
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].message.contains(expected), "{findings:?}");
}

/// The folder that holds the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ lies in the workspace").to_path_buf()
}

/// The checkout, read once a process.
pub fn tree() -> &'static Tree {
    static TREE: OnceLock<Tree> = OnceLock::new();
    TREE.get_or_init(|| {
        let mut files = Vec::new();
        collect(&root(), "", &mut files);
        assert!(files.len() > 10, "the checkout was not found");
        let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
        let sources = rust.map(|file| Source::new(&file.path, &file.text)).collect();
        Tree { files, sources }
    })
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    let entries = fs::read_dir(folder).expect("a folder of the checkout is readable");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("readable entry")).collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("file type");
        if kind.is_dir() && !FOLDERS_OF_TOOLS.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(File { path, text });
        }
    }
}
