//! The binary's command line: what it prints, and its exit codes.

use hayate_tests::broker::{binary, fresh_folder};
use std::process::{Command, Output};

fn hayate(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[track_caller]
fn check_mistake(arguments: &[&str], expected: &str) {
    let output = hayate(arguments);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {said}");
    assert!(
        said.lines().all(|line| line.starts_with("hayate: ")) && said.contains(expected),
        "{arguments:?}: {said}"
    );
}

#[test]
fn help_and_version_go_to_standard_output() {
    for option in ["--help", "-h"] {
        let output = hayate(&[option]);
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        for word in
            ["--config <FILE>", "--override <KEY=VALUE>", "--shards <N>", "hayate config", "HAYATE_LOG"]
        {
            assert!(help.contains(word), "{word}");
        }
    }
    let output = hayate(&["--version"]);
    assert_eq!(text(&output.stdout), format!("hayate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn mistakes_end_with_2() {
    check_mistake(&["stop"], "stop is not understood; see hayate --help");
    check_mistake(&["--shards"], "--shards needs a value");
    check_mistake(&["start", "--shards", "many"], "shards=many (--shards): Not a number of type INT");
    check_mistake(
        &["--override", "num.partitions=0"],
        "num.partitions=0 (--override): Value must be at least 1",
    );
    check_mistake(&["config", "--config", "/no/such/file"], "--config /no/such/file: No such file");
    check_mistake(&["--override", "listeners=SSL://127.0.0.1:0"], "only PLAINTEXT is built yet");
}

#[test]
fn everything_wrong_in_a_file_is_said_with_its_line() {
    let file = fresh_folder().join("server.properties");
    std::fs::write(&file, "# mine\nnode.id=x\n\nlog.segment.bytes=1\n").unwrap();
    let path = file.to_str().unwrap();
    check_mistake(&["--config", path], &format!("node.id=x ({path}, line 2): Not a number of type INT"));
    check_mistake(
        &["--config", path],
        &format!("log.segment.bytes=1 ({path}, line 4): Value must be at least 1048576"),
    );
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

#[test]
fn config_prints_what_counts_and_where_it_comes_from() {
    let folder = fresh_folder();
    let file = folder.join("server.properties");
    std::fs::write(&file, "num.partitions=3\nnode.id=4\nnum.partition=9\n").unwrap();
    let path = file.to_str().unwrap();
    let arguments = ["config", "--config", path, "--override", "node.id=5", "--shards", "1"];
    let output = hayate(&arguments);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    for expected in [
        format!("# {path}, line 1\nnum.partitions=3\n"),
        "# --override\nnode.id=5\n".to_owned(),
        "# --shards\nshards=1\n".to_owned(),
        "# default\nlog.flush.interval.messages=1\n".to_owned(),
    ] {
        assert!(shown.contains(&expected), "{expected}: {shown}");
    }
    let warning = format!(
        "hayate: num.partition ({path}, line 3) is unknown and has no effect; is num.partitions meant?\n"
    );
    assert_eq!(text(&output.stderr), warning);
    std::fs::write(&file, &shown).unwrap();
    let again = text(&hayate(&["config", "--config", path]).stdout);
    let values = |shown: &str| {
        shown.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&shown), "what is printed can be read back");
    std::fs::remove_dir_all(folder).unwrap();
}
