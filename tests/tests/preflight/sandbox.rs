//! Processes that are worse off than this one: with low limits, without some system calls, with another view of the
//! kernel or the file systems. Everything is done between fork and exec, by system calls alone.

use hayate_tests::broker::Setup;
use nix::sys::resource::{Resource, setrlimit};
use std::ffi::{CStr, CString};
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

/// With `folder` on a file system in memory that has no direct IO, which only that process sees. `None` when this user may not mount one.
pub fn on_ramfs(setup: Setup, folder: &Path) -> Option<Setup> {
    let (view, folder) = (OwnView::new(), path_of(folder));
    also_if_allowed(setup, move || {
        view.enter()?;
        mount(c"none", &folder, Some(c"ramfs"), 0)
    })
}

/// On a machine that keeps io_uring from everybody (2) or from all but a group (1), as that process sees it: the switch reads so, and the
/// kernel refuses rings as it does then. The machine itself stays as it is. `None` when this user may not mount, or the kernel has no
/// such switch.
pub fn with_ring_switch(setup: Setup, folder: &Path, value: u32) -> Option<Setup> {
    let file = folder.join("io_uring_disabled");
    std::fs::write(&file, format!("{value}\n")).expect("the folder is writable");
    let (view, file) = (OwnView::new(), path_of(&file));
    also_if_allowed(setup, move || {
        view.enter()?;
        mount(&file, RING_SWITCH, None, libc::MS_BIND)?;
        forbid(libc::SYS_io_uring_setup as u32, libc::EPERM as u32)
    })
}

const RING_SWITCH: &CStr = c"/proc/sys/kernel/io_uring_disabled";

/// A view of the file systems that a process has for itself, and may change: root anyhow, others in a user namespace, in which they
/// keep their numbers.
#[derive(Clone)]
struct OwnView {
    users: String,
    groups: String,
}

impl OwnView {
    fn new() -> OwnView {
        let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
        OwnView { users: format!("{user} {user} 1"), groups: format!("{group} {group} 1") }
    }

    fn enter(&self) -> Result<()> {
        if unshare(libc::CLONE_NEWNS).is_err() {
            unshare(libc::CLONE_NEWUSER)?;
            write(c"/proc/self/setgroups", b"deny")?;
            write(c"/proc/self/uid_map", self.users.as_bytes())?;
            write(c"/proc/self/gid_map", self.groups.as_bytes())?;
            unshare(libc::CLONE_NEWNS)?;
        }
        mount(c"none", c"/", None, libc::MS_REC | libc::MS_PRIVATE)
    }
}

fn unshare(what: i32) -> Result<()> {
    // SAFETY: unshare takes a number and touches no memory of ours.
    checked(unsafe { libc::unshare(what) })
}

fn mount(source: &CStr, target: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) -> Result<()> {
    let kind = kind.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the texts outlive the call, and the null pointers stand where mount(2) takes them.
    checked(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind, flags, std::ptr::null()) })
}

/// Writes a file with one call.
fn write(path: &CStr, bytes: &[u8]) -> Result<()> {
    let file = nix::fcntl::open(path, nix::fcntl::OFlag::O_WRONLY, nix::sys::stat::Mode::empty())?;
    nix::unistd::write(&file, bytes)?;
    Ok(())
}

fn checked(result: i32) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

fn path_of(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path has no zero")
}

/// As [`also`], when a process of this user can be prepared so.
fn also_if_allowed(
    setup: Setup,
    prepare: impl FnMut() -> Result<()> + Clone + Send + Sync + 'static,
) -> Option<Setup> {
    let mut probe = std::process::Command::new("true");
    // SAFETY: every `prepare` of this module makes system calls only.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut probe, prepare.clone()) };
    probe.status().is_ok_and(|status| status.success()).then(|| also(setup, prepare))
}

fn also(setup: Setup, prepare: impl FnMut() -> Result<()> + Send + Sync + 'static) -> Setup {
    // SAFETY: every `prepare` of this module makes system calls only.
    unsafe { setup.before_exec(prepare) }
}
