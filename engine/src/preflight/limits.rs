//! The limits of the process: locked memory and descriptors, raised as far as they go.

use super::Refusal;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the runtime's rings need; it refuses to start with less.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// Fewer descriptors do not suffice for the shards, a few partitions and a few connections.
const NOFILE_MIN: u64 = 512;
/// With fewer, many partitions or connections may exhaust them.
const NOFILE_ADVISED: u64 = 16_384;

/// The limits in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory that may be locked.
    pub memlock_bytes: u64,
    /// Descriptors that may be open.
    pub open_files: u64,
}

/// Raises each limit to what the system allows; what cannot be raised stays.
pub(super) fn raise() -> Limits {
    Limits {
        memlock_bytes: raise_one(Resource::RLIMIT_MEMLOCK),
        open_files: raise_one(Resource::RLIMIT_NOFILE),
    }
}

fn raise_one(resource: Resource) -> u64 {
    let Ok((soft, hard)) = getrlimit(resource) else { return u64::MAX };
    match setrlimit(resource, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.memlock_bytes < MEMLOCK_BYTES_MIN {
            let kib = self.memlock_bytes >> 10;
            return Err(Refusal::new(
                format!(
                    "only {kib} KiB of memory may be locked, and io_uring needs {} KiB",
                    MEMLOCK_BYTES_MIN >> 10
                ),
                "raise the hard limit: ulimit -l 8192, LimitMEMLOCK=8M in a systemd unit, or docker run --ulimit \
                 memlock=8388608",
            ));
        }
        if self.open_files < NOFILE_MIN {
            return Err(Refusal::new(
                format!(
                    "only {} files may be open, and a broker needs {NOFILE_MIN} at least",
                    self.open_files
                ),
                "raise the hard limit: ulimit -n 100000, LimitNOFILE=100000 in a systemd unit, or docker run --ulimit \
                 nofile=100000",
            ));
        }
        if self.open_files < NOFILE_ADVISED {
            tracing::warn!(
                open_files = self.open_files,
                advised = NOFILE_ADVISED,
                "few files may be open: many partitions or connections will exhaust them; raise the hard limit of nofile"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_low_is_named() {
        let check = |memlock_bytes, open_files| {
            Limits { memlock_bytes, open_files }.check().map_err(|refusal| refusal.to_string())
        };
        assert_eq!(check(512 << 10, 512), Ok(()));
        assert_eq!(check(u64::MAX, u64::MAX), Ok(()));
        let memlock = check(65_536, 512).unwrap_err();
        assert!(memlock.starts_with("only 64 KiB of memory may be locked") && memlock.contains("ulimit -l"));
        let nofile = check(512 << 10, 511).unwrap_err();
        assert!(nofile.starts_with("only 511 files may be open") && nofile.contains("LimitNOFILE"));
    }
}
