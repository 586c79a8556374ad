//! What keeps a broker from starting is said in one line, with what to do about it, and exit code 1. Each case is made
//! for a real process: by limits, a filter on system calls, another broker, a view of the file systems of its own. The machine stays as
//! it is.

#[path = "preflight/sandbox.rs"]
mod sandbox;

use hayate_tests::broker::{Broker, Setup, fresh_folder};
use nix::sys::resource::Resource;
use std::net::TcpListener;
use std::time::Duration;

/// A start must fail like this.
#[track_caller]
fn check(setup: Setup, cause: &str, remedy: &str) {
    let (code, log) = setup.fail();
    let line = log.lines().last().unwrap_or_default();
    assert_eq!(code, Some(1), "{log}");
    assert!(line.starts_with("hayate: ") && line.contains(cause) && line.contains(remedy), "{log}");
}

#[test]
fn a_port_in_use() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let cause = format!("{taken} is in use");
    check(Setup::default().set("listeners", format!("PLAINTEXT://{taken}")), &cause, "or set listeners");
    check(Setup::default().set("http.listeners", taken), &cause, "or set http.listeners");
    let broker = Broker::start();
    let taken = broker.addresses().kafka;
    let second = Setup::default().set("listeners", format!("PLAINTEXT://{taken}"));
    check(second, &format!("{taken} is in use"), "stop what listens there");
}

#[test]
fn a_folder_of_another_broker() {
    let mut broker = Broker::start();
    let folder = broker.data().parent().unwrap().to_path_buf();
    check(Setup::default().in_folder(&folder), "in use by another broker", "or set log.dirs");
    broker.kill();
    let lock = std::fs::File::options().write(true).open(broker.data().join(".lock")).unwrap();
    let range =
        libc::flock { l_type: libc::F_WRLCK as libc::c_short, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    // The kernel takes the killed broker's rings down in its own time, and they hold the lock.
    let locked = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_SETLK(&range)).is_ok()
    });
    assert!(locked, "nobody holds it");
    check(Setup::default().in_folder(&folder), "in use by another broker", "stop that one");
    drop(lock);
    broker.restart();
}

#[test]
fn a_folder_of_another_node_or_a_damaged_identity() {
    let folder = fresh_folder();
    let identity = folder.join("data/meta.properties");
    Setup::default().in_folder(&folder).start().stop();
    let first = std::fs::read_to_string(&identity).unwrap();
    Setup::default().in_folder(&folder).start().kill();
    assert_eq!(std::fs::read_to_string(&identity).unwrap(), first, "the cluster's id is made once");
    check(Setup::default().in_folder(&folder).set("node.id", 2), "belongs to node 1", "set node.id");
    std::fs::write(&identity, "version=1\ncluster.id=x\n").unwrap();
    check(Setup::default().in_folder(&folder), "meta.properties has no node.id", "");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn too_little_memory_to_lock() {
    let setup = sandbox::with_limit(Setup::default(), Resource::RLIMIT_MEMLOCK, 64 << 10, 64 << 10);
    check(setup, "only 64 KiB of memory may be locked", "ulimit -l");
}

#[test]
fn too_few_files() {
    let setup = sandbox::with_limit(Setup::default(), Resource::RLIMIT_NOFILE, 200, 200);
    check(setup, "only 200 files may be open", "ulimit -n");
}

#[test]
fn low_limits_are_raised_as_far_as_they_go() {
    let setup = sandbox::with_limit(Setup::default(), Resource::RLIMIT_NOFILE, 100, 2000);
    let setup = sandbox::with_limit(setup, Resource::RLIMIT_MEMLOCK, 4096, 8 << 20);
    let broker = setup.start();
    assert!(broker.log().contains("open_files=2000"), "{}", broker.log());
    assert!(broker.log().contains("few files may be open"), "{}", broker.log());
    assert_eq!(broker.metrics()["process_max_fds"], 2000.0);
}

#[test]
fn a_ring_that_a_filter_forbids() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        let setup = sandbox::without_rings(Setup::default(), errno);
        check(setup, "io_uring is blocked for this process", "seccomp");
    }
}

#[test]
fn a_kernel_that_is_too_old() {
    let setup = sandbox::without_rings(Setup::default(), libc::ENOSYS);
    check(sandbox::with_old_kernel(setup), "kernel 2.6.", "boot Linux 6.0 or newer");
}

#[test]
fn a_ring_that_the_machine_forbids() {
    for value in [1, 2] {
        let folder = fresh_folder();
        let cause = format!("kernel.io_uring_disabled={value}");
        match sandbox::with_ring_switch(Setup::default(), &folder, value) {
            Some(setup) => check(setup, &cause, "sysctl kernel.io_uring_disabled=0"),
            None => {
                eprintln!("skipped: a machine with {cause} cannot be made here, only its refusal of rings");
                check(sandbox::without_rings(Setup::default(), libc::EPERM), "io_uring is", "io_uring");
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_file_system_without_direct_io() {
    let folder = fresh_folder();
    let Some(setup) = sandbox::on_ramfs(Setup::default().in_folder(&folder), &folder) else {
        eprintln!("skipped: a file system cannot be mounted here");
        return;
    };
    check(setup, "has no direct IO", "ext4 or xfs");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_or_written() {
    let folder = fresh_folder();
    std::fs::write(folder.join("data"), "a file").unwrap();
    check(Setup::default().in_folder(&folder), "cannot be made", "set log.dirs");
    std::fs::remove_dir_all(folder).unwrap();
}
