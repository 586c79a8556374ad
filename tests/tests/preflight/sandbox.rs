//! Processes that are worse off than this one: with low limits, without some system calls, with another view of the
//! kernel or the file systems. Everything is done between fork and exec, by system calls alone.

use hayate_tests::broker::Setup;
use nix::sys::resource::{Resource, setrlimit};
use std::ffi::CString;
use std::io::{Error, Result};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// With a limit.
pub fn with_limit(setup: Setup, resource: Resource, soft: u64, hard: u64) -> Setup {
    also(setup, move || setrlimit(resource, soft, hard).map_err(Error::from))
}

/// With a kernel that says that it is of version 2.6.
pub fn with_old_kernel(setup: Setup) -> Setup {
    const UNAME26: libc::c_ulong = 0x002_0000;
    also(setup, || {
        // SAFETY: personality takes a number and touches no memory of ours.
        let before = unsafe { libc::personality(UNAME26) };
        if before < 0 { Err(Error::last_os_error()) } else { Ok(()) }
    })
}

/// With a filter that answers `errno` to io_uring_setup.
pub fn without_rings(setup: Setup, errno: i32) -> Setup {
    also(setup, move || forbid(libc::SYS_io_uring_setup as u32, errno as u32))
}

/// Installs a filter that answers `errno` to the system call `number`, and lets all others through.
fn forbid(number: u32, errno: u32) -> Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut program = [
        // The first word of what a filter sees is the system call's number.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: number,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the first call touches no memory; the second reads `filter` and the program that it points to, both of
    // which outlive it.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0
    };
    if refused { Err(Error::last_os_error()) } else { Ok(()) }
}

/// With `folder` on a file system in memory that has no direct IO, which only that process sees. `None` when this user
/// may not mount one.
pub fn on_ramfs(setup: Setup, folder: &Path) -> Option<Setup> {
    let path = CString::new(folder.as_os_str().as_bytes()).expect("a path has no zero");
    let mut probe = std::process::Command::new("true");
    let prepare = move || mount_ramfs(&path);
    // SAFETY: `mount_ramfs` makes system calls only.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut probe, prepare.clone()) };
    probe.status().is_ok_and(|status| status.success()).then(|| also(setup, prepare))
}

fn mount_ramfs(path: &CString) -> Result<()> {
    let none = std::ptr::null();
    // SAFETY: the paths are C strings that outlive the calls, and the null pointers stand where mount(2) takes them.
    let refused = unsafe {
        libc::unshare(libc::CLONE_NEWNS) != 0
            || libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) != 0
            || libc::mount(c"none".as_ptr(), path.as_ptr(), c"ramfs".as_ptr(), 0, none.cast()) != 0
    };
    if refused { Err(Error::last_os_error()) } else { Ok(()) }
}

fn also(setup: Setup, prepare: impl FnMut() -> Result<()> + Send + Sync + 'static) -> Setup {
    // SAFETY: every `prepare` of this module makes system calls only.
    unsafe { setup.before_exec(prepare) }
}

/// Turns io_uring off for the machine until it is dropped.
pub struct RingSwitch {
    before: String,
}

const RING_SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

impl RingSwitch {
    /// `None` when this user may not, or when it is not asked for: it would stop every other broker of the machine
    /// from starting, so `HAYATE_TEST_MACHINE=own` must say that the machine is ours alone.
    pub fn off() -> Option<RingSwitch> {
        if std::env::var("HAYATE_TEST_MACHINE").as_deref() != Ok("own") {
            return None;
        }
        let before = std::fs::read_to_string(RING_SWITCH).ok()?;
        std::fs::write(RING_SWITCH, "2").ok()?;
        Some(RingSwitch { before })
    }
}

impl Drop for RingSwitch {
    fn drop(&mut self) {
        std::fs::write(RING_SWITCH, &self.before).expect("what was written once can be written again");
    }
}
