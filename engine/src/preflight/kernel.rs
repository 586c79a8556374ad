//! Whether this kernel lets this process have io_uring, as the shards need it; and if not, why.
//!
//! A ring is asked for with the flags that storage uses, because version numbers say little of patched kernels. The
//! newest of them (`IORING_SETUP_SINGLE_ISSUER`) came with Linux 6.0; everything else that is used is older, and the two
//! operations that are newer have a way around them.

use super::{Refusal, System};
use nix::errno::Errno;
use std::os::fd::{FromRawFd, OwnedFd};

/// The first version of Linux that has all that is needed.
const LINUX_MIN: (u32, u32) = (6, 0);

/// `IORING_SETUP_SUBMIT_ALL`, `_COOP_TASKRUN` and `_SINGLE_ISSUER` of `linux/io_uring.h`.
const SETUP_FLAGS: u32 = 1 << 7 | 1 << 8 | 1 << 12;

/// `struct io_uring_params`: 120 bytes, of which the third word holds the flags.
#[repr(C)]
struct RingParams {
    entries: [u32; 2],
    flags: u32,
    rest: [u32; 27],
}

const _: () = assert!(size_of::<RingParams>() == 120);

/// # Errors
/// What keeps the shards from their rings.
pub(super) fn check(system: &System) -> Result<(), Refusal> {
    match make_ring() {
        Ok(()) => Ok(()),
        Err(errno) => Err(explain(errno, system.kernel_release(), system.ring_sysctl())),
    }
}

fn make_ring() -> Result<(), Errno> {
    let mut params = RingParams { entries: [0; 2], flags: SETUP_FLAGS, rest: [0; 27] };
    // SAFETY: the kernel reads and writes the 120 bytes of `params`, which outlives the call, and nothing else.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut params) };
    let ring = i32::try_from(Errno::result(ring)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(ring) });
    Ok(())
}

/// The refusal for what io_uring_setup answered. `sysctl` is `kernel.io_uring_disabled`, if there is such a file.
fn explain(errno: Errno, release: &str, sysctl: Option<u32>) -> Refusal {
    let (major, minor) = LINUX_MIN;
    let is_old = version(release).is_some_and(|version| version < LINUX_MIN);
    match (errno, sysctl) {
        (Errno::ENOSYS | Errno::EINVAL, _) if is_old => Refusal::new(
            format!("kernel {release} is too old: its io_uring lacks what is needed"),
            format!("boot Linux {major}.{minor} or newer"),
        ),
        (Errno::EPERM, Some(2)) => Refusal::new(
            "io_uring is switched off on this machine (kernel.io_uring_disabled=2)",
            "run: sysctl kernel.io_uring_disabled=0",
        ),
        (Errno::EPERM, Some(1)) => Refusal::new(
            "io_uring is reserved for a group on this machine (kernel.io_uring_disabled=1)",
            "run: sysctl kernel.io_uring_disabled=0, or put the user into the group of kernel.io_uring_group",
        ),
        (Errno::EPERM | Errno::ENOSYS | Errno::EACCES, _) => Refusal::new(
            format!("io_uring is blocked for this process ({errno}), as containers' seccomp filters do"),
            "allow io_uring_setup, io_uring_enter and io_uring_register: docker run --security-opt seccomp=FILE, or \
             seccomp=unconfined",
        ),
        (Errno::ENOMEM, _) => Refusal::new(
            "there is no memory for io_uring (ENOMEM)",
            "raise the hard limit of locked memory: ulimit -l 8192, or free memory",
        ),
        (errno, _) => Refusal::new(
            format!("io_uring does not work here on kernel {release} ({errno})"),
            format!("Linux {major}.{minor} or newer is needed, without a filter on io_uring_setup"),
        ),
    }
}

/// The first two numbers of a kernel's release, such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        for (errno, release, sysctl, expected) in [
            (Errno::ENOSYS, "4.18.0-553.el8", None, "kernel 4.18.0-553.el8 is too old"),
            (Errno::EINVAL, "5.15.0-100-generic", Some(0), "boot Linux 6.0 or newer"),
            (Errno::EPERM, "6.8.0", Some(2), "sysctl kernel.io_uring_disabled=0"),
            (Errno::EPERM, "6.8.0", Some(1), "reserved for a group"),
            (Errno::EPERM, "6.8.0", Some(0), "blocked for this process (EPERM"),
            (Errno::EPERM, "5.10.0", None, "blocked for this process"),
            (Errno::ENOSYS, "6.8.0", Some(0), "seccomp"),
            (Errno::ENOMEM, "6.8.0", Some(0), "ulimit -l"),
            (Errno::EINVAL, "6.8.0", Some(0), "does not work here on kernel 6.8.0"),
        ] {
            let refusal = explain(errno, release, sysctl).to_string();
            assert!(refusal.contains(expected), "{errno} {release} {sysctl:?}: {refusal}");
            assert!(!refusal.contains('\n'));
        }
    }

    #[test]
    fn versions_of_kernels() {
        for (release, expected) in [
            ("6.1.0-18-amd64", Some((6, 1))),
            ("5.4", Some((5, 4))),
            ("6.18-rc1", Some((6, 18))),
            ("x", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }
}
