//! `hayate-perf compare` with real brokers: interleaved turns, figures of each, and nothing left of what it started.

use hayate_perf::cli::{Asked, parse};
use hayate_tests::broker::{Broker, binary, fresh_folder};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// A comparison's folder, its result and how it ended.
struct Compared {
    folder: PathBuf,
    document: Value,
    tables: String,
    ended: Result<(), String>,
}

impl Compared {
    /// Of a file of this text, in which `FOLDER` is the folder.
    fn of(text: &str, options: &str) -> Compared {
        let folder = fresh_folder();
        let place = |name: &str| folder.join(name).display().to_string();
        fs::create_dir(folder.join("work")).expect("a folder");
        let text = format!("folder = '{}'\n{}", place("work"), text.replace("FOLDER", &place("")));
        fs::write(folder.join("compare.toml"), text).expect("the folder is writable");
        let line = format!(
            "hayate-perf compare {} --json {} --markdown {} {options}",
            place("compare.toml"),
            place("result.json"),
            place("result.md")
        );
        let ended = match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Asked::Do(job)) => job.run().map_err(|error| error.to_string()),
            other => panic!("{line}: {other:?}"),
        };
        let read =
            |name: &str| fs::read_to_string(folder.join(name)).expect("it is written, whatever happens");
        let document = serde_json::from_str(&read("result.json")).expect("JSON");
        Compared { document, tables: read("result.md"), ended, folder }
    }

    fn list(&self, name: &str) -> &Vec<Value> {
        self.document[name].as_array().expect("a list")
    }

    /// The processes whose numbers their targets have written, none of which may be left, and no folder of theirs.
    fn nothing_is_left(self, names: &[&str]) {
        for name in names {
            let pid = fs::read_to_string(self.folder.join(name)).expect("it was started");
            assert!(!Path::new("/proc").join(pid.trim()).exists(), "{name}");
        }
        let left = fs::read_dir(self.folder.join("work")).expect("a folder").count();
        assert_eq!(left, 0);
        fs::remove_dir_all(&self.folder).expect("the folder goes");
    }
}

/// A target that is the broker of the tests; it writes its process's number into a file of its name.
fn target(name: &str) -> String {
    format!(
        "[[target]]\nname = '{name}'\nprepare = \"test -f '{{config}}'\"\n\
         start = \"sh -c 'echo $$ >FOLDER/{name}; exec {} start --config {{config}}'\"\n\
         config = \"\"\"\nlog.dirs={{dir}}/data\nlisteners=PLAINTEXT://127.0.0.1:{{port}}\nhttp.listeners=127.0.0.1:{{port2}}\nshards=1\n\"\"\"\n",
        binary().display()
    )
}

const PRODUCE: &str = "produce --topic {topic} --partitions 2 --record-size 100 --warm-up 0 --duration 0.5";

/// How many of both targets' processes are stopped.
const STOPPED: &str = r#"sh -c "awk '/^State/ { count += (\$2 == \"T\") } END { print count + 0 }' /proc/$(cat FOLDER/a)/status /proc/$(cat FOLDER/b)/status""#;

/// A workload of produced records at a rate, and one of reading what went before.
fn workloads() -> String {
    format!(
        "[[workload]]\nname = 'produce'\nrun = '{PRODUCE} --rate 1000'\nlimit = 'echo 5'\nlimit_unit = 'records/s'\n\
         [[workload]]\nname = 'read'\nbefore = ['{PRODUCE} --rate 500']\nrun = 'consume --topic {{topic}}'\n"
    )
}

#[test]
fn two_targets_are_compared_turn_by_turn_and_ended() {
    let text = format!(
        "rounds = 9\nwarm_up_rounds = 1\npause_others = true\nbaseline = 'b'\n{}{}{}",
        target("a"),
        target("b"),
        workloads().replace("'echo 5'", &format!("'''{STOPPED}'''"))
    );
    let compared = Compared::of(&text, "--rounds 1");
    assert_eq!(compared.ended, Ok(()));
    let samples = compared.list("samples");
    let order: Vec<String> = samples
        .iter()
        .map(|sample| {
            format!("{}{}{}", sample["round"], sample["workload"], sample["target"]).replace('"', "")
        })
        .collect();
    let expected =
        ["0producea", "0produceb", "0readb", "0reada", "1produceb", "1producea", "1reada", "1readb"];
    assert_eq!(order, expected);
    for sample in samples {
        let figure = |name: &str| sample["figures"][name].as_f64().expect(name);
        assert!(
            figure("broker_cpu_seconds_per_gigabyte") >= 0.0 && figure("broker_peak_rss_mebibytes") > 1.0
        );
        match sample["workload"].as_str() {
            Some("produce") => {
                assert_eq!(sample["sides"]["produce"]["records"], 500, "{sample}");
                assert!((990.0..1010.0).contains(&figure("records_per_second")), "{sample}");
                assert!(
                    figure("produce_p50_ms") > 0.0 && figure("produce_p50_ms") <= figure("produce_max_ms")
                );
            }
            Some("read") => assert_eq!(sample["sides"]["consume"]["records"], 250, "{sample}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((compared.list("starts").len(), compared.list("limits").len()), (2, 1));
    assert!(compared.list("failures").is_empty());
    for title in [
        "**records/s**",
        "**MB/s**",
        "**broker CPU s/GB**",
        "produce latency p99.9",
        "| start |",
        "| produce | 2.00 records/s |",
    ] {
        assert!(compared.tables.contains(title), "{title}: {}", compared.tables);
    }
    compared.nothing_is_left(&["a", "b"]);
}

#[test]
fn a_target_that_does_not_start_is_told_and_nothing_is_left_running() {
    for (start, why) in [
        ("sh -c 'echo $$ >FOLDER/b; exec sleep 1000'", "target b does not serve within 500ms"),
        (
            "sh -c 'echo $$ >FOLDER/b; echo no such disk; exit 3'",
            "target b has ended (exit status: 3): no such disk",
        ),
    ] {
        let text = format!(
            "{}[[target]]\nname = 'b'\nready_seconds = 0.5\nstart = \"{start}\"\n{}",
            target("a"),
            workloads()
        );
        let compared = Compared::of(&text, "");
        assert!(compared.ended.as_ref().is_err_and(|error| error.contains(why)), "{:?}", compared.ended);
        compared.nothing_is_left(&["a", "b"]);
    }
}

#[test]
fn a_broker_that_dies_fails_its_turns_and_the_others_go_on() {
    // A process of its group kills it a second and a half after its start: in the middle of its turns.
    let dying = target("b").replace("exec ", "(sleep 1.5; kill -9 $$) & exec ");
    let text = format!("rounds = 3\n{}{dying}{}", target("a"), workloads());
    let compared = Compared::of(&text, "");
    let why = compared.ended.clone().expect_err("it died");
    assert!(why.contains("failed turns") && why.contains("b in round"), "{why}");
    let of =
        |name: &str, list: &str| compared.list(list).iter().filter(|each| each["target"] == name).count();
    assert_eq!((of("a", "samples"), of("a", "failures")), (6, 0));
    assert_eq!(of("b", "samples") + of("b", "failures"), 6);
    assert!(compared.tables.contains("left out: target b has ended"), "{}", compared.tables);
    compared.nothing_is_left(&["a", "b"]);
}

#[test]
fn a_cluster_that_runs_already_is_left_as_it_was() {
    let broker = Broker::start();
    let running = format!(
        "pause_others = true\n[[target]]\nname = 'there'\nbootstrap = '{}'\npid = {}\n",
        broker.bootstrap(),
        broker.pid()
    );
    let compared = Compared::of(&format!("{running}{}", workloads()), "--rounds 1 --only produce");
    assert_eq!(compared.ended, Ok(()));
    assert_eq!((compared.list("samples").len(), compared.list("starts").len()), (1, 0));
    assert!(compared.document["samples"][0]["figures"]["broker_peak_rss_mebibytes"].is_f64());
    // It goes on, and the topic of the turn is gone.
    assert_eq!(broker.page("/ready").status, 200);
    let topics = fs::read_dir(broker.data()).expect("a folder").filter_map(|entry| entry.ok());
    let left = topics.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with("hayate-perf-compare") && !name.contains("-delete")
    });
    assert_eq!(left.count(), 0);
    compared.nothing_is_left(&[]);
}
