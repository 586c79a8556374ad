//! `hayate-perf compare` as a process: a signal ends it, and what it started with it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// A comparison that waits for a target which never serves; that tells its process's number in `pid`.
fn start(folder: &Path) -> Child {
    let file = folder.join("compare.toml");
    let text = format!(
        "folder = '{0}'\n[[target]]\nname = 'a'\nstart = \"sh -c 'echo $$ >{0}/pid; exec sleep 1000'\"\n\
         [[workload]]\nname = 'w'\nrun = 'produce'\n",
        folder.display()
    );
    fs::write(&file, text).expect("the folder is writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayate-perf"));
    command.arg("compare").arg(&file).stdin(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("it can be run")
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it does not come");
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn a_signal_ends_it_and_all_that_it_started() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder: PathBuf =
            std::env::temp_dir().join(format!("hayate-perf-test-{}-{signal}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let compare = start(&folder);
        let told = || fs::read_to_string(folder.join("pid")).ok()?.trim().parse::<u32>().ok();
        let broker = until(told);
        kill(Pid::from_raw(i32::try_from(compare.id()).expect("a number")), signal).expect("it runs");
        let ended = compare.wait_with_output().expect("our child");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("interrupted"), "{said}");
        assert!(!Path::new(&format!("/proc/{broker}")).exists(), "{signal}");
        let left: Vec<_> = fs::read_dir(&folder).expect("a folder").filter_map(|entry| entry.ok()).collect();
        assert_eq!(left.len(), 2, "the file and the number are left alone: {left:?}");
        fs::remove_dir_all(&folder).expect("the folder goes");
    }
}

#[test]
fn the_examples_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compare");
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        // What is looked for last is missing: all else was read and checked, and nothing is started.
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayate-perf"));
        command.arg("compare").arg(&file).args(["--only", "none"]);
        command.envs([("HAYATE_BINARY", "hayate"), ("KAFKA_HOME", "kafka")]);
        let ended = command.output().expect("it can be run");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains("no workload is called none"), "{}: {said}", file.display());
    }
}
