//! The files of one shard's WAL: which is being written, which hold groups that are still needed, which may be used next.
//!
//! ```text
//!  free (prepared) ──▶ active (one) ──▶ held (oldest first) ──▶ free
//!        ▲ take into use: header     full        released: everything in it is in flushed segments
//! ```

use super::WalNeed;
use super::format::FileHeader;
use crate::disk::{AlignedBuf, BLOCK_BYTES, Disk, DiskError, Durability, File, OpenMode};
use bytes::Bytes;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Zeros are written in pieces of this size.
const ZERO_PIECE_BYTES: usize = 1 << 20;

/// Sizes of a WAL.
#[derive(Clone, Copy, Debug)]
pub struct WalConfig {
    /// Bytes of the first file: small, so that an empty start is quick.
    pub first_file_bytes: u64,
    /// Bytes of each further file.
    pub file_bytes: u64,
    /// How many files there may be, 2 or more.
    pub files_max: usize,
    /// The most frame bytes that a group carries, a first larger frame excepted.
    pub group_bytes_max: usize,
}

impl Default for WalConfig {
    fn default() -> WalConfig {
        WalConfig { first_file_bytes: 4 << 20, file_bytes: 64 << 20, files_max: 4, group_bytes_max: 1 << 20 }
    }
}

struct WalFile {
    file: File,
    bytes: u64,
    sequence: u64,
}

/// The files of one WAL.
pub struct WalFiles {
    disk: Disk,
    folder: PathBuf,
    config: WalConfig,
    wal_id: u64,
    made: usize,
    next_sequence: u64,
    active: Option<WalFile>,
    position: u64,
    held: VecDeque<WalFile>,
    /// Oldest use first, so that the headers on disk are always a run of sequences without a gap.
    free: VecDeque<WalFile>,
}

impl WalFiles {
    /// Makes the folder and the first file; nothing of an earlier WAL may be left in it.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn create(
        disk: &Disk,
        folder: &Path,
        wal_id: u64,
        config: WalConfig,
    ) -> Result<WalFiles, DiskError> {
        disk.create_dir_all(folder).await?;
        let mut files = WalFiles {
            disk: disk.clone(),
            folder: folder.to_owned(),
            config,
            wal_id,
            made: 0,
            next_sequence: 1,
            active: None,
            position: 0,
            held: VecDeque::new(),
            free: VecDeque::new(),
        };
        let first = files.prepare().await?;
        files.free.push_back(first);
        files.use_next(1).await?;
        Ok(files)
    }

    /// Names this life of the WAL.
    pub fn wal_id(&self) -> u64 {
        self.wal_id
    }

    /// What is needed of this WAL when `oldest` is the oldest use of a file that holds something needed.
    pub fn need(&self, oldest: Option<u64>) -> WalNeed {
        let active = self.active_sequence();
        WalNeed { wal_id: self.wal_id, sequence: oldest.map_or(active, |oldest| oldest.min(active)) }
    }

    /// Sequence of the file being written.
    pub fn active_sequence(&self) -> u64 {
        self.active.as_ref().map_or(0, |file| file.sequence)
    }

    /// Where the next group of `bytes` goes, if the active file has room for it.
    pub fn place(&mut self, bytes: usize) -> Option<(File, u64)> {
        let active = self.active.as_ref()?;
        if self.position + bytes as u64 > active.bytes {
            return None;
        }
        let position = self.position;
        self.position += bytes as u64;
        Some((active.file.clone(), position))
    }

    /// Whether the active file has room for a group of `bytes`.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.active.as_ref().is_some_and(|active| self.position + bytes as u64 <= active.bytes)
    }

    /// The largest group that a file can take.
    pub fn group_bytes_limit(&self) -> usize {
        (self.config.first_file_bytes.min(self.config.file_bytes)) as usize - BLOCK_BYTES
    }

    /// Whether the active file is so full that the next should be prepared.
    pub fn wants_preparing(&self) -> bool {
        let filled = self.active.as_ref().is_none_or(|active| self.position * 2 > active.bytes);
        filled && self.free.is_empty() && self.made < self.config.files_max
    }

    /// Whether a prepared file waits to be used.
    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether another file may be made.
    pub fn can_grow(&self) -> bool {
        self.made < self.config.files_max
    }

    /// Names the next file to be made. The caller makes it with [`make_file`] and hands it to [`WalFiles::add_free`].
    pub fn begin_file(&mut self) -> (Disk, PathBuf, u64) {
        let bytes = if self.made == 0 { self.config.first_file_bytes } else { self.config.file_bytes };
        let path = self.folder.join(format!("{:04}.wal", self.made));
        self.made += 1;
        (self.disk.clone(), path, bytes)
    }

    /// Takes back a name whose file could not be made.
    pub fn abandon_file(&mut self) {
        self.made -= 1;
    }

    /// Adds a prepared file.
    pub fn add_free(&mut self, file: File, bytes: u64) {
        self.free.push_back(WalFile { file, bytes, sequence: 0 });
    }

    async fn prepare(&mut self) -> Result<WalFile, DiskError> {
        let (disk, path, bytes) = self.begin_file();
        let file = make_file(&disk, &path, bytes).await?;
        Ok(WalFile { file, bytes, sequence: 0 })
    }

    /// What taking the next file into use takes: its descriptor and header. `None` when no file is free.
    pub fn next_use(&self, first_lsn: u64) -> Option<(File, FileHeader)> {
        let next = self.free.front()?;
        let header = FileHeader {
            wal_id: self.wal_id,
            sequence: self.next_sequence,
            first_lsn,
            file_bytes: next.bytes,
        };
        Some((next.file.clone(), header))
    }

    /// Makes the next file the active one, after its header was made durable.
    pub fn switch(&mut self) {
        let Some(mut next) = self.free.pop_front() else { return };
        next.sequence = self.next_sequence;
        self.next_sequence += 1;
        self.position = BLOCK_BYTES as u64;
        if let Some(full) = self.active.replace(next) {
            self.held.push_back(full);
        }
    }

    async fn use_next(&mut self, first_lsn: u64) -> Result<(), DiskError> {
        if let Some((file, header)) = self.next_use(first_lsn) {
            write_header(&file, &header).await?;
            self.switch();
        }
        Ok(())
    }

    /// Sequence of the newest file that is full and still held.
    pub fn newest_held(&self) -> Option<u64> {
        self.held.back().map(|file| file.sequence)
    }

    /// Gives back every held file up to `sequence`: nothing in them is needed any more. Whether there was one.
    pub fn release(&mut self, sequence: u64) -> bool {
        let held = self.held.len();
        while self.held.front().is_some_and(|file| file.sequence <= sequence) {
            self.free.extend(self.held.pop_front());
        }
        self.held.len() < held
    }
}

/// Writes a file header, durably.
///
/// # Errors
/// Those of the disk.
pub async fn write_header(file: &File, header: &FileHeader) -> Result<(), DiskError> {
    let mut block = AlignedBuf::zeroed(BLOCK_BYTES)?;
    let bytes = header.encode();
    block.as_mut_slice()[..bytes.len()].copy_from_slice(&bytes);
    file.write_at(0, block.into_bytes(), Durability::Durable).await
}

/// Makes a WAL file of zeros, durably: `bytes` is a multiple of a block.
///
/// # Errors
/// Those of the disk; the unfinished file is removed.
pub async fn make_file(disk: &Disk, path: &Path, bytes: u64) -> Result<File, DiskError> {
    let made = write_zeros(disk, path, bytes).await;
    if made.is_err() {
        // Best effort: the next attempt replaces it, and a file without a header holds nothing.
        let _ = disk.remove_file(path).await;
    }
    made
}

async fn write_zeros(disk: &Disk, path: &Path, bytes: u64) -> Result<File, DiskError> {
    if disk.exists(path).await? {
        disk.remove_file(path).await?;
    }
    let file = disk.open(path, OpenMode::CreateNew).await?;
    let zeros: Bytes = AlignedBuf::zeroed(ZERO_PIECE_BYTES.min(bytes as usize))?.into_bytes();
    let mut at = 0;
    while at < bytes {
        let piece = zeros.len().min((bytes - at) as usize);
        file.write_at(at, zeros.slice(..piece), Durability::Cached).await?;
        at += piece as u64;
    }
    file.sync().await?;
    if let Some(folder) = path.parent() {
        disk.sync_dir(folder).await?;
    }
    Ok(file)
}
