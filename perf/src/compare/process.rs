//! A command that runs in a process group of its own, its output in a file. Whatever happens, the group ends with it.

use super::interrupt::Interrupt;
use super::processes;
use crate::PerfError;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a process that is waited for is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a killed group may take to be gone.
const KILLED_PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a log that are told.
const LAST_WORDS_MAX: usize = 300;

/// A running command, and what it started.
pub struct Process {
    what: String,
    /// When it was started.
    pub began: Instant,
    child: Child,
    group: Pid,
    log: PathBuf,
    /// How long it may take to end by itself.
    stop_patience: Duration,
    /// The group is gone, and its number may be another's.
    gone: bool,
}

impl Process {
    /// Starts a command; `what` it is for messages.
    ///
    /// # Errors
    /// It cannot be started, or the log cannot be written.
    pub fn start(
        what: &str,
        words: &[String],
        env: &BTreeMap<String, String>,
        log: &Path,
        stop_patience: Duration,
    ) -> Result<Process, PerfError> {
        let failed =
            |error| PerfError::Impossible(format!("{what} cannot be started: {}: {error}", words.join(" ")));
        let out = File::create(log).map_err(failed)?;
        let (program, arguments) =
            words.split_first().ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let mut command = Command::new(program);
        command.args(arguments).envs(env).stdin(Stdio::null()).stderr(out.try_clone().map_err(failed)?);
        let began = Instant::now();
        let child = command.stdout(out).process_group(0).spawn().map_err(failed)?;
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        Ok(Process {
            what: what.to_owned(),
            began,
            child,
            group,
            log: log.to_owned(),
            stop_patience,
            gone: false,
        })
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The living processes of its group.
    pub fn group(&self) -> Vec<u32> {
        processes::group(self.group.as_raw())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Fails when it has ended, with how and its last words.
    ///
    /// # Errors
    /// [`PerfError::Impossible`].
    pub fn check(&mut self) -> Result<(), PerfError> {
        match self.ended() {
            Some(status) => {
                Err(PerfError::Impossible(format!("{} has ended ({status}){}", self.what, self.last_words())))
            }
            None => Ok(()),
        }
    }

    /// Waits until it has done its work; what it said.
    ///
    /// # Errors
    /// It failed, takes too long, or a signal has come.
    pub fn finish(mut self, patience: Duration, interrupt: &Interrupt) -> Result<String, PerfError> {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            interrupt.check()?;
            if Instant::now() >= deadline {
                let words = self.last_words();
                return Err(PerfError::Impossible(format!(
                    "{} takes more than {patience:?}{words}",
                    self.what
                )));
            }
            std::thread::sleep(LOOK_EVERY);
        };
        match status.success() {
            true => Ok(fs::read_to_string(&self.log).unwrap_or_default()),
            false => {
                Err(PerfError::Impossible(format!("{} failed ({status}){}", self.what, self.last_words())))
            }
        }
    }

    /// Sends a signal to all of the group.
    pub fn signal(&self, signal: Signal) {
        if !self.gone {
            let _ = killpg(self.group, signal);
        }
    }

    /// Ends the group: asks it to, and kills it when it takes too long.
    pub fn stop(&mut self) {
        if self.gone {
            return;
        }
        self.signal(Signal::SIGTERM);
        self.signal(Signal::SIGCONT);
        if !self.is_gone_within(self.stop_patience) {
            eprintln!(
                "hayate-perf: {} does not end within {:?} and is killed",
                self.what, self.stop_patience
            );
            self.signal(Signal::SIGKILL);
            self.is_gone_within(KILLED_PATIENCE);
        }
    }

    fn is_gone_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            self.gone = self.ended().is_some() && self.group().is_empty();
            if self.gone || Instant::now() >= deadline {
                return self.gone;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The end of its log, as the end of a message; empty when it said nothing.
    pub fn last_words(&self) -> String {
        last_words(&fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The last line that stands on its own: what is indented, such as a stack trace, belongs to one before.
fn last_words(log: &str) -> String {
    let stands = |line: &&str| !line.trim().is_empty() && !line.starts_with([' ', '\t']);
    let line = log.lines().rev().find(stands).unwrap_or_default();
    let told: String = line.chars().take(LAST_WORDS_MAX).collect();
    if told.is_empty() { told } else { format!(": {told}") }
}

#[cfg(test)]
mod tests {
    use super::{LOOK_EVERY, Process, last_words};
    use crate::compare::interrupt::Interrupt;
    use crate::compare::processes;
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A shell's script as a process, and its log.
    fn sh(name: &str, script: &str, stop_patience: Duration) -> (Process, PathBuf) {
        let log = std::env::temp_dir().join(format!("hayate-perf-process-{}-{name}", std::process::id()));
        let words = ["sh", "-c", script].map(str::to_owned);
        let env = BTreeMap::from([("WORD".to_owned(), "said".to_owned())]);
        (Process::start("the test", &words, &env, &log, stop_patience).expect("there is a shell"), log)
    }

    #[test]
    fn what_a_command_says_is_given_and_a_failure_has_its_last_words() {
        let interrupt = Interrupt::listen().expect("signals");
        for (name, script, patience, told) in [
            ("well", "echo $WORD", PATIENCE, Ok("said\n")),
            (
                "badly",
                "echo no; echo '  trace' >&2; exit 3",
                PATIENCE,
                Err("the test failed (exit status: 3): no"),
            ),
            ("slowly", "sleep 100", Duration::from_millis(50), Err("takes more than 50ms")),
        ] {
            let (process, log) = sh(name, script, PATIENCE);
            let group = process.group;
            let ended = process.finish(patience, &interrupt).map_err(|error| error.to_string());
            match told {
                Ok(told) => assert_eq!(ended.as_deref(), Ok(told), "{name}"),
                Err(why) => {
                    assert!(ended.as_ref().is_err_and(|error| error.contains(why)), "{name}: {ended:?}")
                }
            }
            assert!(processes::group(group.as_raw()).is_empty(), "{name}");
            std::fs::remove_file(log).expect("a log");
        }
    }

    #[test]
    fn a_group_ends_with_its_process_even_if_it_does_not_want_to() {
        for (name, script) in [
            ("children", "sleep 100 & echo here; sleep 100"),
            ("deaf", "trap '' TERM; echo here; while true; do sleep 0.01; done"),
        ] {
            let (process, log) = sh(name, script, Duration::from_millis(300));
            let group = process.group.as_raw();
            while std::fs::read_to_string(&log).is_ok_and(|said| said.is_empty()) {
                std::thread::sleep(LOOK_EVERY);
            }
            assert!(processes::group(group).contains(&process.pid()));
            drop(process);
            assert!(processes::group(group).is_empty(), "{name}");
            std::fs::remove_file(log).expect("a log");
        }
    }

    #[test]
    fn what_is_stopped_is_ended_too() {
        let (process, log) = sh("stopped", "sleep 100", PATIENCE);
        let group = process.group.as_raw();
        process.signal(nix::sys::signal::Signal::SIGSTOP);
        drop(process);
        assert!(processes::group(group).is_empty());
        std::fs::remove_file(log).expect("a log");
    }

    #[test]
    fn last_words_are_one_line() {
        for (log, told) in [("", ""), ("a\nb\n\n", ": b"), ("Exception: x\n\tat y\n", ": Exception: x")] {
            assert_eq!(last_words(log), told, "{log}");
        }
        assert!(last_words(&"x".repeat(1000)).len() < 310);
    }

    #[test]
    fn what_is_no_program_is_said() {
        let words = ["/no/such/program".to_owned()];
        let log = std::env::temp_dir().join(format!("hayate-perf-process-{}-none", std::process::id()));
        let started = Process::start("target a", &words, &BTreeMap::new(), &log, PATIENCE);
        let why = started.err().expect("there is none").to_string();
        assert!(why.contains("target a cannot be started: /no/such/program"), "{why}");
        std::fs::remove_file(log).expect("a log");
    }
}
