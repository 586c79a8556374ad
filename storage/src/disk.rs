//! The disk seam: files and folders, with direct IO and explicit durability.
//!
//! An enum with two real halves: `kernel` (an io_uring of the shard's own) and `sim` (a simulated disk that loses,
//! tears and reorders whatever was not synced, under the seeded simulator). Code above cannot tell them apart, and
//! nothing above names either. The seam knows nothing of logs, segments or records.
//!
//! What is durable when: the bytes and the length of a file after [`File::sync`] or a [`Durability::Durable`] write
//! (whose own bytes alone are promised); names after [`Disk::sync_dir`] of the folder that holds them. A dropped
//! future of an operation that changes something may still take effect: each operation owns its buffers until the
//! disk is done with them.

pub mod error;
mod kernel;
pub mod mem;
#[cfg(feature = "sim")]
pub mod sim;

pub use error::DiskError;
pub use mem::AlignedBuf;

use bytes::Bytes;
use hayate_rt::Rt;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;

/// What positions, lengths and addresses of writes are multiples of.
pub const BLOCK_BYTES: usize = 4096;

/// What the device writes whole or not at all: nothing larger is assumed to survive a power failure in one piece.
pub const SECTOR_BYTES: usize = 512;

/// The longest durable write that goes out as one `O_DSYNC` write by default: none; see [`Disk::set_dsync_bytes_max`].
///
/// On a machine at rest `O_DSYNC` is faster for small writes (measured: 9,025 against 6,694 writes of 4 KiB a second).
/// On a busy one it is far slower (p50 of 4.0 ms against 0.16 ms, queue depth 1, ext4, Linux 6.18): its flush is
/// finished by a kernel worker that is bound to the core of the interrupt and waits there for a tick, while the worker
/// of a linked `fdatasync` moves to another core.
pub const DSYNC_BYTES_MAX: usize = 0;

/// How a file is opened. All modes bypass the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A file that does not exist yet, for reading and writing. Its name is durable after [`Disk::sync_dir`].
    CreateNew,
}

/// What a completed write promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Later reads see the bytes; a crash may take them back until the file is synced.
    Cached,
    /// The bytes survive a crash. Says nothing of earlier cached writes.
    Durable,
}

/// What a folder holds under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name within the folder; what is not UTF-8 is replaced by U+FFFD.
    pub name: String,
    /// A folder; otherwise a file.
    pub is_dir: bool,
    /// The file's length; 0 for a folder.
    pub len_bytes: u64,
    /// When the file's bytes changed last, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

/// How large a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total_bytes: u64,
    /// What this process may still take of it.
    pub free_bytes: u64,
}

/// A shard's access to its files. Cheap to clone; bound to the thread that made it.
#[derive(Clone)]
pub struct Disk {
    inner: DiskInner,
}

#[derive(Clone)]
enum DiskInner {
    Kernel(kernel::KernelDisk),
    #[cfg(feature = "sim")]
    Sim(sim::Mount),
}

/// An open file. Cheap to clone; closed when the last clone is dropped, or without blocking by [`File::close`].
#[derive(Clone)]
pub struct File {
    inner: FileInner,
}

#[derive(Clone)]
enum FileInner {
    Kernel(Rc<kernel::KernelFile>),
    #[cfg(feature = "sim")]
    Sim(Rc<sim::SimFile>),
}

/// Evaluates one expression for whichever half is there.
macro_rules! either {
    ($kind:ident, $inner:expr, $bound:ident => $body:expr) => {
        match $inner {
            $kind::Kernel($bound) => $body,
            #[cfg(feature = "sim")]
            $kind::Sim($bound) => $body,
        }
    };
}

impl Disk {
    /// The machine's disks, through an io_uring of the calling shard's own.
    ///
    /// # Errors
    /// [`DiskError::Unavailable`] when the kernel refuses the ring.
    ///
    /// # Panics
    /// Outside a glommio executor.
    pub fn kernel(rt: &Rt) -> Result<Disk, DiskError> {
        Ok(Disk { inner: DiskInner::Kernel(kernel::KernelDisk::new(rt)?) })
    }

    /// A simulated node's disk, as a shard of the node's present incarnation sees it.
    ///
    /// # Panics
    /// When `rt` is not a runtime of the simulator.
    #[cfg(feature = "sim")]
    pub fn sim(node_disk: &sim::SimDisk, rt: &Rt) -> Disk {
        Disk { inner: DiskInner::Sim(node_disk.mount(rt)) }
    }

    /// Keeps `file` open until the last request of this shard is done, after the process's death too: the kernel finishes what a
    /// killed process has under way, and only a lock that lasts as long keeps the next process away from the same files. To be
    /// called once.
    ///
    /// # Errors
    /// [`DiskError::Unavailable`] when the kernel refuses.
    pub fn hold(&self, file: BorrowedFd<'_>) -> Result<(), DiskError> {
        match &self.inner {
            DiskInner::Kernel(disk) => disk.hold(file),
            // A simulated crash ends what is under way by itself.
            #[cfg(feature = "sim")]
            DiskInner::Sim(_) => Ok(()),
        }
    }

    /// Sets how long a durable write may be to go out as one `O_DSYNC` write; a longer one is a write linked with an
    /// `fdatasync`. Counts for all files of this shard, those that are open too. Zero: never.
    pub fn set_dsync_bytes_max(&self, bytes: usize) {
        either!(DiskInner, &self.inner, disk => disk.set_dsync_bytes_max(bytes));
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::AlreadyExists`] with [`OpenMode::CreateNew`], or what the kernel says.
    pub async fn open(&self, path: impl AsRef<Path>, mode: OpenMode) -> Result<File, DiskError> {
        let inner = match &self.inner {
            DiskInner::Kernel(disk) => FileInner::Kernel(Rc::new(disk.open(path.as_ref(), mode).await?)),
            #[cfg(feature = "sim")]
            DiskInner::Sim(mount) => FileInner::Sim(Rc::new(mount.open(path.as_ref(), mode).await?)),
        };
        Ok(File { inner })
    }

    /// Creates a folder and its missing parents, durably. Succeeds when it is there already.
    ///
    /// # Errors
    /// What the kernel says; [`DiskError::AlreadyExists`] when a file is in the way.
    pub async fn create_dir_all(&self, path: impl AsRef<Path>) -> Result<(), DiskError> {
        either!(DiskInner, &self.inner, disk => disk.create_dir_all(path.as_ref()).await)
    }

    /// What a folder holds, in the order of the names' bytes.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], or what the kernel says.
    pub async fn list(&self, path: impl AsRef<Path>) -> Result<Vec<DirEntry>, DiskError> {
        either!(DiskInner, &self.inner, disk => disk.list(path.as_ref()).await)
    }

    /// Renames a file or folder, atomically replacing a file of the new name. Durable after [`Disk::sync_dir`] of the
    /// folders concerned.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], or what the kernel says.
    pub async fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), DiskError> {
        either!(DiskInner, &self.inner, disk => disk.rename(from.as_ref(), to.as_ref()).await)
    }

    /// Removes a file. Durable after [`Disk::sync_dir`]. Open handles on it go on working.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], or what the kernel says.
    pub async fn remove_file(&self, path: impl AsRef<Path>) -> Result<(), DiskError> {
        either!(DiskInner, &self.inner, disk => disk.remove_file(path.as_ref()).await)
    }

    /// Removes a folder with all that is in it. Not atomic: a crash may leave a part. Durable after
    /// [`Disk::sync_dir`] of its parent.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], or what the kernel says.
    pub async fn remove_dir_all(&self, path: impl AsRef<Path>) -> Result<(), DiskError> {
        either!(DiskInner, &self.inner, disk => disk.remove_dir_all(path.as_ref()).await)
    }

    /// Makes the names in a folder durable: those created, renamed and removed so far.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], or what the kernel says.
    pub async fn sync_dir(&self, path: impl AsRef<Path>) -> Result<(), DiskError> {
        either!(DiskInner, &self.inner, disk => disk.sync_dir(path.as_ref()).await)
    }

    /// Whether there is a file or folder of that name.
    ///
    /// # Errors
    /// What the kernel says, when it cannot tell.
    pub async fn exists(&self, path: impl AsRef<Path>) -> Result<bool, DiskError> {
        either!(DiskInner, &self.inner, disk => disk.exists(path.as_ref()).await)
    }

    /// The whole of a small file, or `None` when there is none.
    ///
    /// # Errors
    /// [`DiskError::TooLarge`] when it has more than `max_bytes`, before anything is allocated; or what the kernel says.
    pub async fn read_small(
        &self,
        path: impl AsRef<Path>,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        either!(DiskInner, &self.inner, disk => disk.read_small(path.as_ref(), max_bytes).await)
    }

    /// Replaces the whole of a small file, atomically and durably: a temporary file of the name + `.tmp` is written,
    /// synced and renamed, and the folder is synced. A crash leaves the old bytes or the new ones, and at worst the
    /// temporary file. One replacement of a path at a time.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] and what else the kernel says; the old bytes are then still there, or the new ones if
    /// only the last sync failed.
    pub async fn replace_small(&self, path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), DiskError> {
        self.replace(path, Bytes::copy_from_slice(bytes)).await
    }

    /// [`Disk::replace_small`] for bytes that are too many to be copied on the shard's thread.
    ///
    /// # Errors
    /// As there.
    pub async fn replace(&self, path: impl AsRef<Path>, bytes: Bytes) -> Result<(), DiskError> {
        either!(DiskInner, &self.inner, disk => disk.replace(path.as_ref(), bytes).await)
    }

    /// How large the file system is that holds `path`, and what it would still take from this process.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], or what the kernel says.
    pub async fn space(&self, path: impl AsRef<Path>) -> Result<DiskSpace, DiskError> {
        either!(DiskInner, &self.inner, disk => disk.space(path.as_ref()).await)
    }
}

impl File {
    /// Writes `data` at `pos`; returns when the device has all of it, and holds it for good if `durability` says so.
    /// Two writes in flight to one file are unordered, and must not overlap.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`], [`DiskError::Short`], or what the kernel says; part of the data may then be written.
    ///
    /// # Panics
    /// When `pos`, or the length or address of `data`, is not a multiple of [`BLOCK_BYTES`].
    pub async fn write_at(&self, pos: u64, data: Bytes, durability: Durability) -> Result<(), DiskError> {
        if data.is_empty() {
            return Ok(());
        }
        let aligned = |value: usize| value.is_multiple_of(BLOCK_BYTES);
        assert!(
            pos.is_multiple_of(BLOCK_BYTES as u64) && aligned(data.len()) && aligned(data.as_ptr() as usize),
            "direct write of {} bytes from {:p} at {pos} is not aligned",
            data.len(),
            data.as_ptr(),
        );
        either!(FileInner, &self.inner, file => file.write_at(pos, data, durability).await)
    }

    /// Reads `len` bytes at `pos`, fewer only at the end of the file, without a copy. Any position and length; whole
    /// blocks around them are read, and stay allocated as long as the result. The caller bounds `len`: it is allocated.
    ///
    /// # Errors
    /// [`DiskError::OutOfMemory`], [`DiskError::Short`], or what the kernel says.
    pub async fn read_at(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        either!(FileInner, &self.inner, file => file.read_at(pos, len).await)
    }

    /// Makes durable what was written before this call began, and the length. After an error, nothing is known of what
    /// was not yet durable, and a later success does not bring it back.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn sync(&self) -> Result<(), DiskError> {
        either!(FileInner, &self.inner, file => file.sync().await)
    }

    /// Cuts or extends the file to `len` bytes; what is added reads as zeroes. Durable after [`File::sync`].
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn truncate(&self, len: u64) -> Result<(), DiskError> {
        either!(FileInner, &self.inner, file => file.truncate(len).await)
    }

    /// Reserves space for `len` bytes from the start and makes the file at least as long; what is added reads as
    /// zeroes. Durable after [`File::sync`]. The first write to reserved space is slower than to written space.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] when there is not room for all of it; rarely, when others take the room meanwhile, the file
    /// may then be longer than before, by zeroes: cut it. Or what the kernel says.
    pub async fn allocate(&self, len: u64) -> Result<(), DiskError> {
        either!(FileInner, &self.inner, file => file.allocate(len).await)
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the kernel says.
    #[allow(clippy::len_without_is_empty, reason = "it costs an operation: callers compare what they got")]
    pub async fn len(&self) -> Result<u64, DiskError> {
        either!(FileInner, &self.inner, file => file.len().await)
    }

    /// Closes this handle. Giving up the last one on a removed file frees its space, which can take long: this does it
    /// off the shard's thread, where a mere drop would not.
    pub async fn close(self) {
        match self.inner {
            FileInner::Kernel(file) => kernel::KernelFile::close(file).await,
            #[cfg(feature = "sim")]
            FileInner::Sim(_) => {}
        }
    }

    /// The path that the file was opened by; a rename since then does not show.
    pub fn path(&self) -> &Path {
        either!(FileInner, &self.inner, file => file.path())
    }
}

/// The folder that holds `path`.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// The temporary file that [`Disk::replace_small`] writes beside `path`.
fn temporary_of(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".tmp");
    name.into()
}

/// The whole blocks around `len` bytes at `pos`: where they start, and how long they are. `None` when that exceeds
/// what a file or memory can hold.
fn blocks_around(pos: u64, len: usize) -> Option<(u64, usize)> {
    let block = BLOCK_BYTES as u64;
    let start = pos / block * block;
    let end = pos.checked_add(len as u64)?.checked_next_multiple_of(block)?;
    i64::try_from(end).ok()?;
    Some((start, usize::try_from(end - start).ok()?))
}

#[cfg(test)]
mod tests;
