//! The kernel half of the disk seam: file contents go through an io_uring of the shard's own ([`ring`]), because
//! glommio's files lack writes of a part of a shared buffer, a flush linked to its write, and `O_DSYNC` for one write.
//! Names and small files are rare and go through blocking calls off the shard's thread ([`control`]).
//!
//! Every count that the kernel returns is checked: what a transfer left out is asked for again, until the kernel says
//! why, and is an error if it moves no further.

mod control;
mod ring;

#[cfg(test)]
mod tests;

use super::mem::Unfilled;
use super::{
    BLOCK_BYTES, DSYNC_BYTES_MAX, DirEntry, DiskError, DiskSpace, Durability, OpenMode, blocks_around,
};
use bytes::{Buf, Bytes};
use hayate_rt::Rt;
use ring::{Done, Op, Request, Ring, WriteSync};
use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// How often a request is repeated that the kernel was too busy for.
const BUSY_RETRIES_MAX: u32 = 100;

/// A shard's access to the machine's disks.
#[derive(Clone)]
pub(crate) struct KernelDisk {
    rt: Rt,
    ring: Ring,
    dsync_bytes_max: Rc<Cell<usize>>,
}

/// An open file of the machine's disks.
pub(crate) struct KernelFile {
    rt: Rt,
    ring: Ring,
    dsync_bytes_max: Rc<Cell<usize>>,
    file: Arc<std::fs::File>,
    path: Arc<Path>,
}

impl KernelDisk {
    pub(crate) fn new(rt: &Rt) -> Result<KernelDisk, DiskError> {
        let dsync_bytes_max = Rc::new(Cell::new(DSYNC_BYTES_MAX));
        Ok(KernelDisk { rt: rt.clone(), ring: Ring::new(rt)?, dsync_bytes_max })
    }

    pub(crate) fn hold(&self, file: BorrowedFd<'_>) -> Result<(), DiskError> {
        self.ring.hold(file)
    }

    pub(crate) fn set_dsync_bytes_max(&self, bytes: usize) {
        self.dsync_bytes_max.set(bytes);
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
        Ok(KernelFile {
            rt: self.rt.clone(),
            ring: self.ring.clone(),
            dsync_bytes_max: self.dsync_bytes_max.clone(),
            file: Arc::new(file),
            path: path.into(),
        })
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

    pub(crate) async fn replace(&self, path: &Path, bytes: Bytes) -> Result<(), DiskError> {
        self.off(path, move |path| control::replace_small(path, &bytes)).await
    }

    pub(crate) async fn space(&self, path: &Path) -> Result<DiskSpace, DiskError> {
        self.off(path, control::space).await
    }
}

impl KernelFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, op: &'static str, errno: i32) -> DiskError {
        DiskError::from_errno(op, &self.path, errno)
    }

    /// The kernel's answer to `request`, repeated while the kernel was merely busy or interrupted.
    async fn answer(&self, mut request: Request) -> Done {
        let mut tries = 0;
        loop {
            let done = self.ring.run(Op { file: self.file.clone(), request }).await;
            let busy = matches!(-done.result, libc::EAGAIN | libc::EINTR);
            if !busy || tries == BUSY_RETRIES_MAX {
                return done;
            }
            tries += 1;
            request = done.op.request;
            self.rt.yield_now().await;
        }
    }

    /// What the kernel says to a request that moves no bytes.
    async fn outcome(&self, op: &'static str, request: Request) -> Result<(), DiskError> {
        self.moved(op, self.answer(request).await.result).map(drop)
    }

    /// The count in a result of the kernel.
    fn moved(&self, op: &'static str, result: i32) -> Result<usize, DiskError> {
        usize::try_from(result).map_err(|_| self.error(op, -result))
    }

    pub(crate) async fn write_at(
        &self,
        mut pos: u64,
        mut data: Bytes,
        durability: Durability,
    ) -> Result<(), DiskError> {
        let sync = match durability {
            Durability::Cached => WriteSync::No,
            Durability::Durable if data.len() <= self.dsync_bytes_max.get() => WriteSync::Dsync,
            Durability::Durable => WriteSync::Linked,
        };
        loop {
            let done = self.answer(Request::Write { data: data.clone(), pos, sync }).await;
            let moved = self.moved("write", done.result)?;
            if moved == data.len() {
                return if sync == WriteSync::Linked { self.flushed(&done).await } else { Ok(()) };
            }
            let whole = moved / BLOCK_BYTES * BLOCK_BYTES;
            if whole == 0 {
                return Err(self.short("write", pos, data.len(), moved));
            }
            // Whatever stopped the kernel, asking for the rest makes it say so.
            data.advance(whole);
            pos += whole as u64;
        }
    }

    /// What the flush behind a whole write says.
    async fn flushed(&self, done: &Done) -> Result<(), DiskError> {
        if done.flush_in_doubt || matches!(-done.flush_result, libc::ECANCELED | libc::EAGAIN | libc::EINTR) {
            return self.sync().await;
        }
        self.moved("sync", done.flush_result).map(drop)
    }

    fn short(&self, op: &'static str, pos_bytes: u64, wanted_bytes: usize, moved_bytes: usize) -> DiskError {
        DiskError::Short { op, path: self.path.to_path_buf(), pos_bytes, wanted_bytes, moved_bytes }
    }

    pub(crate) async fn read_at(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        let Some((start, bytes)) = blocks_around(pos, len) else {
            return Err(self.error("read", libc::EINVAL));
        };
        let (buf, filled) = self.read_blocks(start, Unfilled::new(bytes)?).await?;
        // SAFETY: the kernel wrote the first `filled` bytes, and has answered: it writes no more.
        let blocks = unsafe { buf.into_bytes(filled) };
        let skipped = (pos - start) as usize;
        let end = (skipped + len).min(filled);
        Ok(blocks.slice(skipped.min(end)..end))
    }

    /// Fills `buf` from block-aligned `start`; how many bytes there are, fewer than asked at the end of the file only.
    async fn read_blocks(&self, start: u64, mut buf: Unfilled) -> Result<(Unfilled, usize), DiskError> {
        let wanted = buf.len();
        let mut filled = 0;
        loop {
            let pos = start + filled as u64;
            let done = self.answer(Request::Read { buf, filled, pos }).await;
            let moved = self.moved("read", done.result)?;
            let Request::Read { buf: returned, .. } = done.op.request else {
                unreachable!("a request comes back as it went in")
            };
            buf = returned;
            if filled + moved == wanted || moved == 0 || pos + moved as u64 >= self.len().await? {
                return Ok((buf, filled + moved));
            }
            let whole = moved / BLOCK_BYTES * BLOCK_BYTES;
            if whole == 0 {
                return Err(self.short("read", pos, wanted - filled, moved));
            }
            filled += whole;
        }
    }

    pub(crate) async fn sync(&self) -> Result<(), DiskError> {
        self.outcome("sync", Request::Sync).await
    }

    pub(crate) async fn truncate(&self, len: u64) -> Result<(), DiskError> {
        if self.ring.can_truncate() {
            return self.outcome("truncate", Request::Truncate { len }).await;
        }
        let file = self.file.clone();
        let outcome = self.rt.offload(move || file.set_len(len)).await;
        outcome.map_err(|error| DiskError::from_io("truncate", &self.path, &error))
    }

    /// Asks for the space first: when it runs out midway, the kernel leaves the file longer and the disk full.
    pub(crate) async fn allocate(&self, len: u64) -> Result<(), DiskError> {
        let (file, path) = (self.file.clone(), self.path.clone());
        self.rt.offload(move || control::room_for(&file, &path, len)).await?;
        self.outcome("allocate", Request::Allocate { len }).await
    }

    /// Asks at once: the length of an open file is in memory.
    pub(crate) async fn len(&self) -> Result<u64, DiskError> {
        let metadata = self.file.metadata();
        metadata.map(|data| data.len()).map_err(|error| DiskError::from_io("look up", &self.path, &error))
    }

    pub(crate) async fn close(this: Rc<KernelFile>) {
        if let Ok(last) = Rc::try_unwrap(this) {
            let file = last.file;
            last.rt.offload(move || drop(file)).await;
        }
    }
}
