//! The data folder: made if it is not there, locked for as long as the process lives, and able to do direct IO.
//!
//! The lock lies on `.lock`, as Kafka's does, and is one of an open file description: such a lock keeps out another Hayate,
//! and also a Kafka, whose own lock belongs to a process. The shards' rings hold it too, so that a killed broker lets go of the folder
//! only when the kernel has finished its last write.

use super::Refusal;
use super::linger::{LINGER_TIME_MAX, retry_while};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

const LOCK_FILE: &str = ".lock";
/// Written and read once to see whether direct IO works.
const PROBE_FILE: &str = ".hayate-probe";
const BLOCK_BYTES: usize = 4096;

/// Holds a data folder's lock until it is dropped, and whoever else holds its file lets go of that.
#[derive(Clone, Debug)]
pub struct FolderLock {
    file: Arc<File>,
}

impl FolderLock {
    /// For the rings that write into the folder: see [`Disk::hold`](hayate_storage::disk::Disk::hold).
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Makes `folder` if need be, locks it, and checks that it can do direct IO.
pub(super) fn take(folder: &Path) -> Result<FolderLock, Refusal> {
    make(folder)?;
    let lock = lock(folder)?;
    check_direct_io(folder)?;
    Ok(lock)
}

fn make(folder: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(folder).map_err(|error| {
        Refusal::new(
            format!("the data folder {} cannot be made ({error})", folder.display()),
            "give this user the right to, or set log.dirs",
        )
    })
}

fn lock(folder: &Path) -> Result<FolderLock, Refusal> {
    let path = folder.join(LOCK_FILE);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| {
        Refusal::new(
            format!("{} cannot be opened ({error})", path.display()),
            "give this user the right to write there, or set log.dirs",
        )
    })?;
    // SAFETY: all-zero is a valid `flock`: a lock of the whole file by nobody.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as libc::c_short;
    let locked = retry_while(
        LINGER_TIME_MAX,
        || fcntl(&file, FcntlArg::F_OFD_SETLK(&range)),
        |errno| matches!(errno, Errno::EAGAIN | Errno::EACCES),
    );
    match locked {
        Ok(_) => Ok(FolderLock { file: Arc::new(file) }),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(Refusal::new(
            format!("the data folder {} is in use by another broker", folder.display()),
            format!("stop that one (fuser {} shows it), or set log.dirs", path.display()),
        )),
        Err(errno) => Err(Refusal::new(
            format!("{} cannot be locked ({errno})", path.display()),
            "put the data folder on a local file system that knows locks, or set log.dirs",
        )),
    }
}

fn check_direct_io(folder: &Path) -> Result<(), Refusal> {
    let path = folder.join(PROBE_FILE);
    let probed = probe_direct_io(&path);
    // What matters is what the probe said; a file that stays behind is overwritten at the next start.
    drop(fs::remove_file(&path));
    probed.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP) => Refusal::new(
            format!("the file system of {} has no direct IO (O_DIRECT)", folder.display()),
            "put the data folder on ext4 or xfs, or set log.dirs",
        ),
        Some(libc::ENOSPC) => Refusal::new(
            format!("the disk of {} is full", folder.display()),
            "free space, or set log.dirs to another disk",
        ),
        _ => Refusal::new(
            format!("{} cannot be written ({error})", folder.display()),
            "give this user the right to write there, or set log.dirs",
        ),
    })
}

fn probe_direct_io(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT);
    let file = options.open(path)?;
    let mut block = Block::zeroed();
    file.write_all_at(block.bytes(), 0)?;
    file.read_exact_at(block.bytes(), 0)
}

/// A block of memory where direct IO wants it.
struct Block(*mut u8);

impl Block {
    const LAYOUT: Layout = match Layout::from_size_align(BLOCK_BYTES, BLOCK_BYTES) {
        Ok(layout) => layout,
        Err(_) => panic!("a block is a valid layout"),
    };

    fn zeroed() -> Block {
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc_zeroed(Block::LAYOUT) };
        if memory.is_null() {
            handle_alloc_error(Block::LAYOUT);
        }
        Block(memory)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the memory is ours, BLOCK_BYTES long and initialised, and the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.0, BLOCK_BYTES) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout, and freed once.
        unsafe { dealloc(self.0, Block::LAYOUT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let folder = std::env::temp_dir().join(format!("hayate-folder-{}", std::process::id()));
        let nested = folder.join("a/b");
        let first = take(&nested).unwrap();
        let refusal = take(&nested).unwrap_err();
        assert!(refusal.cause.contains("in use by another broker"), "{refusal}");
        drop(first);
        let again = take(&nested).unwrap();
        assert!(!nested.join(PROBE_FILE).exists());
        drop(again);
        fs::write(folder.join("file"), "x").unwrap();
        let refusal = take(&folder.join("file")).unwrap_err();
        assert!(refusal.cause.contains("cannot be made"), "{refusal}");
        fs::remove_dir_all(folder).unwrap();
    }
}
