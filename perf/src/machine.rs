//! The machine of a run and the processes on it: what stands beside the figures, from the kernel's own files.

use serde_json::{Value, json};
use std::fmt;
use std::fs;

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessUse {
    /// User and system time so far, in seconds.
    pub cpu_seconds: f64,
    /// Memory it has, in bytes.
    pub rss_bytes: u64,
    /// The most memory it had at a time, in bytes.
    pub peak_rss_bytes: u64,
}

/// A process that is watched while a load runs.
#[derive(Clone, Debug)]
pub struct Watched {
    pid: u32,
    before: Option<ProcessUse>,
    last: Option<ProcessUse>,
}

impl Watched {
    /// Begins with what it has used by now.
    pub fn begin(pid: u32) -> Watched {
        let before = process_use(pid);
        Watched { pid, before, last: before }
    }

    /// Counts its CPU time from now on.
    pub fn count_from_now(&mut self) {
        self.before = process_use(self.pid);
    }

    /// What it has used since this was last asked, `seconds` ago: cores and bytes.
    pub fn interval(&mut self, seconds: f64) -> Value {
        let Some(now) = process_use(self.pid) else { return json!({ "pid": self.pid, "gone": true }) };
        let before = self.last.replace(now).unwrap_or(now);
        let cores = (now.cpu_seconds - before.cpu_seconds) / seconds;
        json!({ "pid": self.pid, "cores": cores, "rss_bytes": now.rss_bytes })
    }

    /// CPU seconds since it is watched.
    pub fn cpu_seconds(&self) -> Option<f64> {
        // It may have been looked at last before it was counted from.
        Some((self.last?.cpu_seconds - self.before?.cpu_seconds).max(0.0))
    }

    /// The most memory it had at a time, in bytes.
    pub fn peak_rss_bytes(&self) -> Option<u64> {
        self.last.map(|last| last.peak_rss_bytes)
    }

    /// What it has used since it is watched.
    pub fn whole(&self) -> Value {
        match (self.cpu_seconds(), self.peak_rss_bytes()) {
            (Some(cpu), Some(peak)) => {
                json!({ "pid": self.pid, "cpu_seconds": cpu, "peak_rss_bytes": peak })
            }
            _ => json!({ "pid": self.pid, "gone": true }),
        }
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cpu_seconds(), self.peak_rss_bytes()) {
            (Some(cpu), Some(peak)) => {
                let mebibytes = peak as f64 / f64::from(1 << 20);
                write!(out, "process {}: {cpu:.2} CPU seconds, {mebibytes:.1} MiB at most", self.pid)
            }
            _ => write!(out, "process {}: there is none", self.pid),
        }
    }
}

/// What a process has used; `None` when there is none of that id.
pub fn process_use(pid: u32) -> Option<ProcessUse> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ticks_per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(ProcessUse {
        cpu_seconds: cpu_ticks(&stat)? as f64 / ticks_per_second as f64,
        rss_bytes: field_kib(&status, "VmRSS:")? * 1024,
        peak_rss_bytes: field_kib(&status, "VmHWM:")? * 1024,
    })
}

/// User and system time of a line of `/proc/PID/stat`; the name in it may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    // Fields 14 and 15 of proc_pid_stat(5); the first behind the name is field 3.
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn field_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Kernel, cores, memory and load of this machine.
pub fn environment() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    json!({
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "cpu": model.map(|(_, model)| model.trim()),
        // Of the machine: this process may be pinned.
        "cores": cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        "memory_bytes": field_kib(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024,
        "load_average_before": read("/proc/loadavg").split_whitespace().next().and_then(|load| load.parse::<f64>().ok()),
        "hayate_perf": env!("CARGO_PKG_VERSION"),
    })
}

#[cfg(test)]
mod tests {
    use super::{Watched, cpu_ticks, field_kib, process_use};

    #[test]
    fn fields_are_found_whatever_a_process_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (a"), None);
        assert_eq!(field_kib("VmPeak:\t  9 kB\nVmHWM:\t  1234 kB\n", "VmHWM:"), Some(1234));
    }

    #[test]
    fn what_was_used_before_it_counts_is_not_counted() {
        let us = std::process::id();
        let now = || process_use(us).expect("it runs").cpu_seconds;
        let (mut whole, mut part, from) = (Watched::begin(us), Watched::begin(us), now());
        while now() - from < 0.1 {}
        part.count_from_now();
        assert_eq!(part.cpu_seconds(), Some(0.0));
        while now() - from < 0.15 {}
        let _ = (whole.interval(1.0), part.interval(1.0));
        let (whole, part) = (whole.cpu_seconds().expect("it runs"), part.cpu_seconds().expect("it runs"));
        assert!(part >= 0.03 && whole - part >= 0.09, "{whole} {part}");
    }

    #[test]
    fn this_process_has_used_something_and_no_process_nothing() {
        let used = process_use(std::process::id()).expect("it runs");
        assert!(used.peak_rss_bytes > 1 << 20, "{used:?}");
        assert_eq!(process_use(u32::MAX), None);
    }
}
