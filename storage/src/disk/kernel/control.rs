//! Operations on names and on small whole files: plain blocking calls, for threads that are no shard's.
//!
//! They are rare, and most of them wait for the file system's journal, so a ring would gain nothing.

use crate::disk::{DirEntry, DiskError, DiskSpace, OpenMode, parent_of, temporary_of};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Gives a result of the standard library the context that callers see.
fn named<T>(op: &'static str, path: &Path, outcome: std::io::Result<T>) -> Result<T, DiskError> {
    outcome.map_err(|error| DiskError::from_io(op, path, &error))
}

/// Opens with direct IO; descriptors are never inherited (the standard library sets `O_CLOEXEC`).
pub(super) fn open(path: &Path, mode: OpenMode) -> Result<File, DiskError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECT);
    match mode {
        OpenMode::Read => &mut options,
        OpenMode::ReadWrite => options.write(true),
        OpenMode::CreateNew => options.write(true).create_new(true),
    };
    named("open", path, options.open(path))
}

/// Syncs the parent of each folder that it makes, and the parent of the last one even if another process made it.
pub(super) fn create_dir_all(path: &Path) -> Result<(), DiskError> {
    let mut ancestors: Vec<&Path> = path.ancestors().filter(|dir| !dir.as_os_str().is_empty()).collect();
    ancestors.reverse();
    for dir in ancestors {
        let made = match fs::create_dir(dir) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => false,
            // The root of a read-only or foreign file system is there, whatever making it says.
            Err(_) if dir.is_dir() => false,
            Err(error) => return Err(DiskError::from_io("create folder", dir, &error)),
        };
        if made || dir == path {
            sync_dir(parent_of(dir))?;
        }
    }
    Ok(())
}

pub(super) fn list(path: &Path) -> Result<Vec<DirEntry>, DiskError> {
    let mut entries = Vec::new();
    for entry in named("list", path, fs::read_dir(path))? {
        let entry = named("list", path, entry)?;
        match entry.metadata() {
            Ok(metadata) => entries.push(describe(&entry, &metadata)),
            // Removed since the folder was read.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(DiskError::from_io("look up", &entry.path(), &error)),
        }
    }
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn describe(entry: &fs::DirEntry, metadata: &fs::Metadata) -> DirEntry {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let is_dir = metadata.is_dir();
    DirEntry {
        name: entry.file_name().to_string_lossy().into_owned(),
        is_dir,
        len_bytes: if is_dir { 0 } else { metadata.len() },
        modified_ms: since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
    }
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), DiskError> {
    named("rename", from, fs::rename(from, to))
}

pub(super) fn remove_file(path: &Path) -> Result<(), DiskError> {
    named("remove", path, fs::remove_file(path))
}

pub(super) fn remove_dir_all(path: &Path) -> Result<(), DiskError> {
    named("remove", path, fs::remove_dir_all(path))
}

pub(super) fn sync_dir(path: &Path) -> Result<(), DiskError> {
    let dir = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
    named("sync folder", path, dir.and_then(|dir| dir.sync_all()))
}

pub(super) fn exists(path: &Path) -> Result<bool, DiskError> {
    named("look up", path, path.try_exists())
}

pub(super) fn read_small(path: &Path, max_bytes: usize) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::from_io("open", path, &error)),
    };
    let len_bytes = named("look up", path, file.metadata())?.len();
    if len_bytes > max_bytes as u64 {
        return Err(DiskError::TooLarge { path: path.to_path_buf(), len_bytes, max_bytes });
    }
    let mut bytes = Vec::with_capacity(len_bytes as usize);
    // A file that grows meanwhile is cut where its length was: a caller of `replace_small` never makes one.
    named("read", path, file.take(len_bytes).read_to_end(&mut bytes))?;
    Ok(Some(bytes))
}

pub(super) fn replace_small(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = temporary_of(path);
    let replaced = write_synced(&temporary, bytes).and_then(|()| rename(&temporary, path));
    if replaced.is_err() {
        // The error that matters is the first one; what stays behind is overwritten by the next attempt.
        drop(fs::remove_file(&temporary));
    }
    replaced?;
    sync_dir(parent_of(path))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let mut file = named("open", path, File::create(path))?;
    named("write", path, file.write_all(bytes))?;
    named("sync", path, file.sync_all())
}

/// Whether the file system has room for the first `len` bytes of a file, in whole or in what the file lacks.
pub(super) fn room_for(file: &File, path: &Path, len: u64) -> Result<(), DiskError> {
    let held = named("look up", path, file.metadata())?.blocks().saturating_mul(512);
    if len.saturating_sub(held) > space(path)?.free_bytes {
        return Err(DiskError::from_errno("allocate", path, libc::ENOSPC));
    }
    Ok(())
}

pub(super) fn space(path: &Path) -> Result<DiskSpace, DiskError> {
    let space = nix::sys::statvfs::statvfs(path);
    let space = space.map_err(|errno| DiskError::from_errno("look up space of", path, errno as i32))?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.fragment_size());
    Ok(DiskSpace { total_bytes: bytes(space.blocks()), free_bytes: bytes(space.blocks_available()) })
}
