//! What the kernel tells of processes besides their use: who is in a group, who listens on a port, what was the most memory since when.

use std::collections::BTreeSet;
use std::fs;

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// The living processes of a group.
pub fn group(group: i32) -> Vec<u32> {
    let Ok(folder) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        living_in(&stat) == Some(group)
    })
    .collect()
}

/// The group of a process that has not ended, by its line of `/proc/PID/stat`.
fn living_in(stat: &str) -> Option<i32> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace();
    // State, parent, group: fields 3 to 5 of proc_pid_stat(5).
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(1)?.parse().ok() }
}

/// Which of these processes listens on a TCP port.
pub fn listener(pids: &[u32], port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: BTreeSet<String> = tables.iter().flat_map(|table| listening(table, port)).collect();
    pids.iter().copied().find(|pid| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        links.into_iter().any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
    })
}

/// The sockets that listen on a port, as a process's files name them.
fn listening(table: &str, port: u16) -> impl Iterator<Item = String> {
    let port = format!(":{port:04X}");
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == LISTENS;
        listens.then(|| Some(format!("socket:[{}]", fields.get(9)?))).flatten()
    })
}

/// The most memory a process has had counts from now on. Where the kernel refuses, it goes on counting from the process's start.
pub fn reset_peak_memory(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// The kind of file system that a path lies on, by the text of `/proc/mounts`.
pub fn file_system<'a>(mounts: &'a str, path: &str) -> Option<&'a str> {
    let of = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        let below = path.strip_prefix(place)?;
        (place == "/" || below.is_empty() || below.starts_with('/')).then_some((place.len(), kind))
    });
    // Of several on one place, the last one is seen.
    of.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::{file_system, group, listener, listening, living_in};
    use std::net::TcpListener;

    #[test]
    fn who_has_ended_is_in_no_group() {
        assert_eq!(living_in("7 (a) b) S 1 42 7 0"), Some(42));
        assert_eq!(living_in("7 (a) Z 1 42 7 0"), None);
        assert_eq!(living_in(""), None);
        let ours = nix::unistd::getpgrp().as_raw();
        assert!(group(ours).contains(&std::process::id()));
    }

    #[test]
    fn who_listens_on_a_port_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 77 1\n   \
                     1: 0100007F:1F90 0100007F:0001 01 0:0 0:0 0 0 0 78 1\n   2: 0100007F:0050 00000000:0000 0A 0:0 0:0 0 0 0 79 1\n";
        assert_eq!(listening(table, 8080).collect::<Vec<_>>(), ["socket:[77]"]);
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("bound").port();
        let us = std::process::id();
        assert_eq!((listener(&[1, us], port), listener(&[], port)), (Some(us), None));
    }

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "d / ext4 rw 0 0\nt /a tmpfs rw 0 0\nx /a/b xfs rw 0 0\n";
        for (path, kind) in
            [("/", "ext4"), ("/ab", "ext4"), ("/a", "tmpfs"), ("/a/bc", "tmpfs"), ("/a/b/c", "xfs")]
        {
            assert_eq!(file_system(mounts, path), Some(kind), "{path}");
        }
        assert_eq!(file_system("", "/"), None);
    }
}
