//! What can go wrong on a disk, told as cause and remedy. Knows nothing of logs or of Kafka's error codes: the layers
//! above decide what a failure means to them. One enum for both halves of the seam, so that the simulator exercises
//! exactly the branches that the kernel can take.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on a disk failed. Cheap to clone compared with what failed; shared by all waiters of one flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// No space left, or the quota is used up (ENOSPC, EDQUOT). Part of the data may have been written.
    NoSpace {
        /// What was tried.
        op: &'static str,
        /// On which file or folder.
        path: PathBuf,
    },
    /// The file or folder, or one of its parents, does not exist (ENOENT).
    NotFound {
        /// What was tried.
        op: &'static str,
        /// What is missing.
        path: PathBuf,
    },
    /// There is such a file already (EEXIST).
    AlreadyExists {
        /// What was tried.
        op: &'static str,
        /// What is there.
        path: PathBuf,
    },
    /// A file that should be small is not.
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its length.
        len_bytes: u64,
        /// What the caller would take.
        max_bytes: usize,
    },
    /// A transfer moved fewer bytes than asked, not for want of space and not at the end of the file.
    Short {
        /// What was tried.
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// Where in the file.
        pos_bytes: u64,
        /// How much was asked for.
        wanted_bytes: usize,
        /// How much was moved.
        moved_bytes: usize,
    },
    /// Memory for a buffer was refused.
    OutOfMemory {
        /// How much was asked for.
        bytes: usize,
    },
    /// The kernel refuses the interface that the broker's file IO stands on.
    Unavailable {
        /// Which interface.
        what: &'static str,
        /// The kernel's error number.
        errno: i32,
    },
    /// Anything else that the kernel reports.
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The kernel's error number.
        errno: i32,
    },
}

impl DiskError {
    /// The error of `op` on `path` that the kernel reports as `errno`.
    pub(crate) fn from_errno(op: &'static str, path: &Path, errno: i32) -> DiskError {
        let path = path.to_path_buf();
        match errno {
            libc::ENOSPC | libc::EDQUOT => DiskError::NoSpace { op, path },
            libc::ENOENT => DiskError::NotFound { op, path },
            libc::EEXIST => DiskError::AlreadyExists { op, path },
            errno => DiskError::Io { op, path, errno },
        }
    }

    /// The error of `op` on `path` that the standard library reports.
    pub(crate) fn from_io(op: &'static str, path: &Path, error: &io::Error) -> DiskError {
        DiskError::from_errno(op, path, error.raw_os_error().unwrap_or(libc::EIO))
    }

    /// Whether freeing space lets the same operation succeed.
    pub fn is_no_space(&self) -> bool {
        matches!(self, DiskError::NoSpace { .. })
    }

    /// Whether the file or folder does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, DiskError::NotFound { .. })
    }
}

/// The remedy for an error number, or nothing where the number says it all.
fn remedy(errno: i32) -> &'static str {
    match errno {
        libc::EACCES | libc::EPERM => ": check who owns the data folder and whether it is writable",
        libc::EROFS => ": the file system is mounted read-only, often after an error: see the kernel's log",
        libc::EIO => ": the device failed: see the kernel's log, check the disk, then restart",
        libc::EINVAL => ": the file system may not support direct IO (O_DIRECT): use ext4 or xfs",
        libc::EMFILE | libc::ENFILE => ": raise the limit of open files (ulimit -n)",
        libc::EFBIG => ": raise the limit of file sizes (ulimit -f)",
        _ => "",
    }
}

/// What to do when the kernel refuses io_uring.
fn ring_remedy(errno: i32) -> &'static str {
    match errno {
        libc::EPERM | libc::EACCES => {
            "allow it: sysctl kernel.io_uring_disabled=0, and the container's seccomp profile"
        }
        libc::ENOMEM => "raise the limit of locked memory (ulimit -l)",
        libc::ENOSYS | libc::EINVAL => "use Linux 5.19 or later",
        _ => "see the kernel's log",
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskError::NoSpace { op, path } => {
                write!(f, "{op} {}: no space left on the device: free some or add a disk", path.display())
            }
            DiskError::NotFound { op, path } => write!(f, "{op} {}: no such file or folder", path.display()),
            DiskError::AlreadyExists { op, path } => write!(f, "{op} {}: exists already", path.display()),
            DiskError::TooLarge { path, len_bytes, max_bytes } => {
                let path = path.display();
                write!(f, "{path} has {len_bytes} bytes, more than the {max_bytes} that are plausible for it")
            }
            DiskError::Short { op, path, pos_bytes, wanted_bytes, moved_bytes } => {
                let path = path.display();
                write!(f, "{op} {path} at {pos_bytes}: only {moved_bytes} of {wanted_bytes} bytes were moved")
            }
            DiskError::OutOfMemory { bytes } => {
                write!(f, "no memory for a buffer of {bytes} bytes: lower memory.budget or add memory")
            }
            DiskError::Unavailable { what, errno } => {
                let cause = io::Error::from_raw_os_error(*errno);
                write!(f, "the kernel refuses {what} ({cause}): {}", ring_remedy(*errno))
            }
            DiskError::Io { op, path, errno } => {
                let cause = io::Error::from_raw_os_error(*errno);
                write!(f, "{op} {}: {cause}{}", path.display(), remedy(*errno))
            }
        }
    }
}

impl std::error::Error for DiskError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_map_to_what_callers_ask_about() {
        let of = |errno| DiskError::from_errno("write", Path::new("/d/f"), errno);
        assert!(of(libc::ENOSPC).is_no_space() && of(libc::EDQUOT).is_no_space());
        assert!(of(libc::ENOENT).is_not_found());
        assert!(!of(libc::EIO).is_no_space() && !of(libc::EIO).is_not_found());
    }

    #[test]
    fn messages_name_the_file_the_cause_and_the_remedy() {
        let full = DiskError::from_errno("write", Path::new("/d/f"), libc::ENOSPC).to_string();
        assert!(full.contains("/d/f") && full.contains("no space") && full.contains("free some"), "{full}");
        let ring = DiskError::Unavailable { what: "io_uring", errno: libc::EPERM }.to_string();
        assert!(ring.contains("kernel.io_uring_disabled"), "{ring}");
    }
}
