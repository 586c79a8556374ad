//! The kernel half of the disk seam.

mod control;

use super::{BLOCK_BYTES, DirEntry, DiskError, Durability, OpenMode};
use bytes::Bytes;
use hayate_rt::Rt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// A shard's access to the machine's disks.
#[derive(Clone)]
pub(crate) struct KernelDisk {
    rt: Rt,
}

/// An open file of the machine's disks.
pub(crate) struct KernelFile {
    rt: Rt,
    file: Arc<std::fs::File>,
    path: Arc<Path>,
}

impl KernelDisk {
    pub(crate) fn new(rt: &Rt) -> Result<KernelDisk, DiskError> {
        Ok(KernelDisk { rt: rt.clone() })
    }

    /// Runs a blocking call on `path` off the shard's thread.
    async fn off<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&Path) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let path = path.to_path_buf();
        self.rt.offload(move || work(&path)).await
    }

    pub(crate) async fn open(&self, path: &Path, mode: OpenMode) -> Result<KernelFile, DiskError> {
        let file = self.off(path, move |path| control::open(path, mode)).await?;
        Ok(KernelFile { rt: self.rt.clone(), file: Arc::new(file), path: path.into() })
    }

    pub(crate) async fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        self.off(path, control::create_dir_all).await
    }

    pub(crate) async fn list(&self, path: &Path) -> Result<Vec<DirEntry>, DiskError> {
        self.off(path, control::list).await
    }

    pub(crate) async fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let to: PathBuf = to.to_path_buf();
        self.off(from, move |from| control::rename(from, &to)).await
    }

    pub(crate) async fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.off(path, control::remove_file).await
    }

    pub(crate) async fn remove_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        self.off(path, control::remove_dir_all).await
    }

    pub(crate) async fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.off(path, control::sync_dir).await
    }

    pub(crate) async fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        self.off(path, control::exists).await
    }

    pub(crate) async fn read_small(
        &self,
        path: &Path,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        self.off(path, move |path| control::read_small(path, max_bytes)).await
    }

    pub(crate) async fn replace_small(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let bytes = bytes.to_vec();
        self.off(path, move |path| control::replace_small(path, &bytes)).await
    }

    pub(crate) async fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
        self.off(path, control::free_bytes).await
    }
}

impl KernelFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    async fn off<T: Send + 'static>(
        &self,
        op: &'static str,
        work: impl FnOnce(&std::fs::File) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, DiskError> {
        let file = self.file.clone();
        let outcome = self.rt.offload(move || work(&file)).await;
        outcome.map_err(|error| DiskError::from_io(op, &self.path, &error))
    }

    pub(crate) async fn write_at(
        &self,
        pos: u64,
        data: Bytes,
        durability: Durability,
    ) -> Result<(), DiskError> {
        let write = move |file: &std::fs::File| {
            file.write_all_at(&data, pos)?;
            if durability == Durability::Durable { file.sync_data() } else { Ok(()) }
        };
        self.off("write", write).await
    }

    pub(crate) async fn read_at(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        let Some((start, bytes)) = super::blocks_around(pos, len) else {
            return Err(DiskError::from_errno("read", &self.path, libc::EINVAL));
        };
        let mut buf = super::AlignedBuf::zeroed(bytes)?;
        let read = move |file: &std::fs::File| {
            let mut filled = 0;
            while filled < buf.len() && filled.is_multiple_of(BLOCK_BYTES) {
                match file.read_at(&mut buf.as_mut_slice()[filled..], start + filled as u64)? {
                    0 => break,
                    moved => filled += moved,
                }
            }
            Ok((buf.into_bytes(), filled))
        };
        let (bytes, filled) = self.off("read", read).await?;
        let skipped = (pos - start) as usize;
        let end = (skipped + len).min(filled);
        Ok(bytes.slice(skipped.min(end)..end))
    }

    pub(crate) async fn sync(&self) -> Result<(), DiskError> {
        self.off("sync", |file| file.sync_data()).await
    }

    pub(crate) async fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.off("truncate", move |file| file.set_len(len)).await
    }

    pub(crate) async fn allocate(&self, len: u64) -> Result<(), DiskError> {
        let len = libc::off_t::try_from(len).unwrap_or(libc::off_t::MAX);
        let allocate = move |file: &std::fs::File| {
            nix::fcntl::fallocate(file, nix::fcntl::FallocateFlags::empty(), 0, len)?;
            Ok(())
        };
        self.off("allocate", allocate).await
    }

    pub(crate) async fn len(&self) -> Result<u64, DiskError> {
        let metadata = self.file.metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|error| DiskError::from_io("look up", &self.path, &error))
    }

    pub(crate) async fn close(this: Rc<KernelFile>) {
        if let Ok(last) = Rc::try_unwrap(this) {
            last.rt.offload(move || drop(last.file)).await;
        }
    }
}
