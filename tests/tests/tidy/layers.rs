//! Who may know whom: between our crates, from us to the crates we did not write, and which words of the outside
//! world stay in which rooms of the source. The tables here are the rule; ARCHITECTURE.md explains them.

use crate::source::Source;
use crate::tree::{File, Finding, assert_none, assert_one, tree};

/// A crate of ours, by its folder, and the crates of ours that it may depend on.
const KNOWS: [(&str, &[&str]); 8] = [
    ("engine/rt", &[]),
    ("storage", &["hayate-rt"]),
    ("net", &["hayate-rt"]),
    ("engine", &["hayate-rt", "hayate-storage", "hayate-net", "hayate-connect"]),
    ("connect", &["hayate-rt", "hayate-net"]),
    // Of storage the record batches alone.
    ("perf", &["hayate-rt", "hayate-net", "hayate-storage"]),
    // A foreign client: what it knows of the broker is its address.
    ("tests/clients/rskafka", &[]),
    (
        "tests",
        &["hayate-rt", "hayate-storage", "hayate-net", "hayate-engine", "hayate-connect", "hayate-perf"],
    ),
];

/// An outer crate with few friends, and the folders of the crates that may depend on it. `tests` always may.
const HOMES: [(&str, &[&str]); 9] = [
    ("glommio", &["engine/rt", "storage", "net", "engine"]),
    ("io-uring", &["storage"]),
    // Records are opaque bytes outside storage: nobody else can check, open or make one.
    ("crc32c", &["storage", "engine"]),
    ("flate2", &["storage"]),
    ("snap", &["storage"]),
    ("lz4_flex", &["storage"]),
    ("zstd", &["storage"]),
    // Storage knows nothing of the network.
    ("kafka-protocol", &["net", "engine", "connect", "perf"]),
    ("raft", &["engine"]),
];

/// A name and the rooms, as path prefixes, in which code that is shipped may say it.
const ROOMS: [(&str, &[&str], &str); 4] = [
    (
        "glommio",
        &["engine/rt/src/kernel", "storage/src/disk/kernel", "net/src/socket/kernel", "engine/src/process"],
        "the runtime stays behind the seams, in their kernel halves",
    ),
    ("io_uring", &["storage/src/disk/kernel"], "rings are a matter of the disk's kernel half"),
    (
        "std::fs",
        &[
            "storage/src/disk/kernel",
            "engine/src/process.rs",
            "engine/src/config",
            "engine/src/preflight",
            "perf/",
        ],
        "blocks a shard and escapes the simulated disk: go through the disk seam",
    ),
    ("hayate_connect", &["engine/src/main.rs"], "the broker does not know Connect; its main starts it"),
];

/// The crates that a manifest names in any of its dependency tables, with their lines.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let (mut in_table, mut found) = (false, Vec::new());
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            in_table = header.ends_with("dependencies");
            if let Some((table, name)) = header.rsplit_once('.')
                && table.ends_with("dependencies")
            {
                found.push((index + 1, name.to_string()));
            }
        } else if in_table && !line.starts_with('#') && line.contains('=') {
            let end = line.find(['.', '=', ' ']).unwrap_or(line.len());
            found.push((index + 1, line[..end].trim_matches('"').to_string()));
        }
    }
    found
}

fn folder(manifest_path: &str) -> &str {
    manifest_path.strip_suffix("/Cargo.toml").unwrap_or("")
}

fn manifests() -> impl Iterator<Item = &'static File> {
    let all = tree().files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    // The fuzz workspace is a suite: like the tests, it may know everything.
    all.filter(|file| !file.path.starts_with("tests/fuzz/"))
}

/// Dependencies between our own crates follow `KNOWS`.
fn inner_layers(path: &str, manifest: &str) -> Vec<Finding> {
    let Some((_, allowed)) = KNOWS.iter().find(|(crate_folder, _)| *crate_folder == folder(path)) else {
        return vec![Finding::new(path, "a crate that the table of layers does not know")];
    };
    let ours = dependencies(manifest).into_iter().filter(|(_, name)| name.starts_with("hayate-"));
    let wrong = ours.filter(|(_, name)| !allowed.contains(&name.as_str()));
    wrong.map(|(line, name)| Finding::at(path, line, format!("must not know {name}"))).collect()
}

/// Outer crates are used where `HOMES` says.
fn outer_layers(path: &str, manifest: &str) -> Vec<Finding> {
    let wrong = dependencies(manifest).into_iter().filter(|(_, name)| {
        let home = HOMES.iter().find(|(outer, _)| outer == name);
        home.is_some_and(|(_, folders)| folder(path) != "tests" && !folders.contains(&folder(path)))
    });
    wrong.map(|(line, name)| Finding::at(path, line, format!("{name} has its home elsewhere"))).collect()
}

/// Names of the outside world are said in their rooms only. Tests and benchmarks may start what they need.
fn rooms(source: &Source) -> Vec<Finding> {
    let shipped = if is_test(&source.path) { 0 } else { source.lines_before_tests() };
    let strangers =
        ROOMS.iter().filter(|(_, rooms, _)| !rooms.iter().any(|room| source.path.starts_with(room)));
    let found = strangers.flat_map(|(name, _, reason)| {
        let lines = source.lines_naming(name).into_iter().filter(|&line| line <= shipped);
        lines.map(move |line| Finding::at(&source.path, line, format!("names {name}: {reason}")))
    });
    found.collect()
}

/// Whether a file holds tests, fixtures or benchmarks alone.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.split('/').any(|folder| folder == "tests" || folder == "benches")
}

#[test]
fn our_crates_know_only_those_below_them() {
    assert_none(manifests().flat_map(|file| inner_layers(&file.path, &file.text)).collect());
    let check = |path, text, expected| assert_one(inner_layers(path, text), expected);
    check(
        "storage/Cargo.toml",
        "[dependencies]\nhayate-rt.workspace = true\nhayate-net = { path = \"x\" }",
        "hayate-net",
    );
    check("net/Cargo.toml", "[dev-dependencies.hayate-tests]\npath = \"x\"", "hayate-tests");
    check(
        "engine/Cargo.toml",
        "[target.'cfg(unix)'.dependencies]\nhayate-perf.workspace = true",
        "hayate-perf",
    );
    check("common/Cargo.toml", "", "does not know");
}

#[test]
fn outer_crates_are_used_at_home() {
    assert_none(manifests().flat_map(|file| outer_layers(&file.path, &file.text)).collect());
    assert_one(outer_layers("net/Cargo.toml", "[dependencies]\ncrc32c.workspace = true"), "crc32c");
    assert_none(outer_layers("net/Cargo.toml", "[features]\ncrc32c = []"));
}

#[test]
fn names_of_the_outside_world_stay_in_their_rooms() {
    assert_none(tree().sources.iter().flat_map(rooms).collect());
    let check = |path, text, expected| assert_one(rooms(&Source::new(path, text)), expected);
    check("storage/src/wal.rs", "use glommio::io::DmaFile;", "names glommio");
    check("storage/src/disk/sim.rs", "let _ = io_uring::IoUring::new(8);", "names io_uring");
    check("engine/src/shard.rs", "use hayate_connect::worker;", "names hayate_connect");
    check("storage/src/log.rs", "fn a() { std::fs::remove_file(path) }", "names std::fs");
    assert_none(rooms(&Source::new("net/src/socket/tests.rs", "use glommio::LocalExecutor;")));
    assert_none(rooms(&Source::new(
        "net/src/conn.rs",
        "#[cfg(test)]\nmod tests {\n    use glommio::x;\n}\n",
    )));
    assert_none(rooms(&Source::new("storage/src/disk/kernel/ring.rs", "use glommio::x; use io_uring::y;")));
    assert_none(rooms(&Source::new("storage/src/wal.rs", "// glommio cannot do this\n\"glommio\"")));
}
