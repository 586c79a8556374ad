//! What the kernel tells of the machine and of this process, most of it in files. All are read below one root, so that a
//! test can make a machine of its own.

use crate::config::Machine;
use crate::metrics::ProcessFigures;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;

/// What is assumed when the kernel does not tell.
const MEMORY_BYTES_FALLBACK: u64 = 1 << 30;

/// The machine, seen through its files.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
    release: String,
}

impl Default for System {
    fn default() -> System {
        let names = nix::sys::utsname::uname().ok();
        let release = names.map(|names| names.release().to_string_lossy().into_owned());
        System {
            root: PathBuf::from("/"),
            release: release.unwrap_or_else(|| "of unknown version".to_owned()),
        }
    }
}

impl System {
    /// A machine whose files lie below `root`, with this release of the kernel.
    pub fn at(root: impl Into<PathBuf>, release: &str) -> System {
        System { root: root.into(), release: release.to_owned() }
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim_end().to_owned())
    }

    /// The kernel's release, such as `6.1.0-18-amd64`.
    pub fn kernel_release(&self) -> &str {
        &self.release
    }

    /// `kernel.io_uring_disabled`: 0 for everybody may, 1 for some, 2 for nobody; `None` where there is no such switch.
    pub fn ring_sysctl(&self) -> Option<u32> {
        self.read("proc/sys/kernel/io_uring_disabled")?.parse().ok()
    }

    /// What the defaults of the settings depend on. `cores` are those in the affinity mask; a quota of the process's
    /// group lowers them.
    pub fn machine(&self, cores: usize) -> Machine {
        let quota = self.cpu_quota().unwrap_or(usize::MAX);
        Machine { cores: cores.min(quota).max(1), memory_bytes: self.memory_bytes() }
    }

    /// The machine's name as others may know it: what the address of its own name is called, as Java's
    /// `InetAddress.getCanonicalHostName` has it. May ask name servers, and take as long as they do.
    pub fn canonical_host(&self) -> String {
        let own = self.read("proc/sys/kernel/hostname").filter(|name| !name.is_empty());
        let own = own.unwrap_or_else(|| "localhost".to_owned());
        let Some(address) = address_of(&own) else { return own };
        match dns_lookup::lookup_addr(&address) {
            // A name that does not lead back is no better than the address.
            Ok(name) if address_of(&name).is_some() => name,
            Ok(_) | Err(_) => address.to_string(),
        }
    }

    fn memory_bytes(&self) -> u64 {
        let info = self.read("proc/meminfo").unwrap_or_default();
        let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|total| total.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let machine = kib.map_or(MEMORY_BYTES_FALLBACK, |kib| kib.saturating_mul(1024));
        machine.min(self.memory_limit().unwrap_or(u64::MAX))
    }

    /// The folders of this process's control group and those above it, in version 2 of control groups.
    fn groups(&self) -> Vec<String> {
        let own = self.read("proc/self/cgroup").unwrap_or_default();
        let mut path =
            own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_end_matches('/');
        let mut folders = Vec::new();
        loop {
            folders.push(format!("sys/fs/cgroup{path}"));
            match path.rsplit_once('/') {
                Some((above, _)) => path = above,
                None => return folders,
            }
        }
    }

    /// The least memory limit of the control groups.
    fn memory_limit(&self) -> Option<u64> {
        let limits = self.groups().into_iter().filter_map(|group| self.read(&format!("{group}/memory.max")));
        limits.filter_map(|text| text.parse().ok()).min()
    }

    /// The least CPU quota of the control groups, in whole cores, rounded up.
    fn cpu_quota(&self) -> Option<usize> {
        let quotas = self.groups().into_iter().filter_map(|group| {
            let text = self.read(&format!("{group}/cpu.max"))?;
            let (quota, period) = text.split_once(' ')?;
            let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
            usize::try_from(quota.checked_div(period)? + u64::from(quota % period > 0)).ok()
        });
        quotas.min()
    }

    /// What the process has used and holds.
    pub fn process(&self) -> ProcessFigures {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        let nanos = |time: TimeVal| (time.tv_sec() * 1_000_000_000 + time.tv_usec() * 1000).unsigned_abs();
        let cpu_nanos = usage.map_or(0, |usage| nanos(usage.user_time()) + nanos(usage.system_time()));
        let open_fds =
            fs::read_dir(self.root.join("proc/self/fd")).map_or(0, |entries| entries.count() as u64);
        ProcessFigures {
            cpu_nanos,
            resident_bytes: self.resident_bytes().unwrap_or(0),
            open_fds,
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
            start_time_seconds: self.start_time_seconds().unwrap_or(0),
        }
    }

    fn resident_bytes(&self) -> Option<u64> {
        let status = self.read("proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        resident.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
    }

    /// The machine's start plus the ticks, of which there are 100 a second in every file, until the process's.
    fn start_time_seconds(&self) -> Option<u64> {
        let machine = self.read("proc/stat")?;
        let machine: u64 =
            machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let process = self.read("proc/self/stat")?;
        // Behind the program's name, which may hold anything, the start is the 20th field.
        let ticks: u64 = process.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some(machine + ticks / 100)
    }
}

fn address_of(host: &str) -> Option<IpAddr> {
    let addresses: Vec<IpAddr> = (host, 0).to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], look: impl FnOnce(System)) {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("hayate-machine-{}-{count}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        look(System::at(&root, "5.4.0"));
        let _ = fs::remove_dir_all(root);
    }

    #[test]
    fn limits_of_control_groups_lower_what_the_machine_has() {
        let files = [
            ("proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 1 kB\n"),
            ("proc/self/cgroup", "1:cpu:/x\n0::/a/b\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "1000000\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
        ];
        check(&files, |system| {
            let expected = Machine { cores: 2, memory_bytes: 1_000_000 };
            assert_eq!(system.machine(8), expected);
            assert_eq!(system.machine(1).cores, 1);
        });
        check(&files[..2], |system| {
            let machine = system.machine(8);
            assert_eq!((machine.cores, machine.memory_bytes), (8, 8_000_000 * 1024));
        });
        check(&[("sys/fs/cgroup/cpu.max", "50000 100000")], |system| assert_eq!(system.machine(8).cores, 1));
        check(&[("sys/fs/cgroup/cpu.max", "50000 0")], |system| assert_eq!(system.machine(8).cores, 8));
    }

    #[test]
    fn a_machine_that_tells_nothing_has_defaults() {
        check(&[], |system| {
            let machine = system.machine(0);
            assert_eq!((machine.cores, machine.memory_bytes), (1, MEMORY_BYTES_FALLBACK));
            assert_eq!(system.ring_sysctl(), None);
            assert!(!system.canonical_host().is_empty());
        });
        check(&[("proc/sys/kernel/hostname", "no-such-host.invalid\n")], |system| {
            assert_eq!(system.canonical_host(), "no-such-host.invalid", "a name without an address is kept");
        });
        check(&[("proc/sys/kernel/io_uring_disabled", "2\n")], |system| {
            assert_eq!((system.ring_sysctl(), system.kernel_release()), (Some(2), "5.4.0"));
        });
    }

    #[test]
    fn this_process_is_seen() {
        let process = System::default().process();
        assert!(process.resident_bytes > 1 << 20 && process.open_fds > 2 && process.max_fds > 2);
        assert!(process.start_time_seconds > 1_500_000_000);
    }
}
