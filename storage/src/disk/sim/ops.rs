//! The operations of a simulated disk: how long they take, when their effect happens, and which fault hits them.

use super::content::{Extent, blocks_of};
use super::file::FileNode;
use super::tree::{DirNode, Node, Tree};
use super::{Device, FaultPlan};
use crate::disk::mem::AlignedBuf;
use crate::disk::{
    BLOCK_BYTES, DirEntry, DiskError, DiskSpace, Durability, OpenMode, blocks_around, parent_of, temporary_of,
};
use bytes::Bytes;
use hayate_rt::Rt;
use hayate_rt::sim::NodeRt;
use std::cell::RefCell;
use std::future::Future;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A simulated disk as one shard of one incarnation of its node sees it.
#[derive(Clone)]
pub(crate) struct Mount {
    device: Rc<Device>,
    rt: Rt,
    node: NodeRt,
    generation: u64,
}

/// An open file of a simulated disk.
pub(crate) struct SimFile {
    mount: Mount,
    file: Rc<FileNode>,
    path: PathBuf,
    writable: bool,
}

/// What an operation is, in the trace.
#[derive(Clone, Copy)]
enum Op {
    Open = 1,
    Write,
    Read,
    Sync,
    SetLen,
    Names,
    SyncDir,
    Look,
}

/// The answer of an operation that runs on whether or not anybody waits for it.
struct Answer<T> {
    slot: Rc<RefCell<Slot<T>>>,
}

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    fn fill(slot: &RefCell<Slot<T>>, value: T) {
        let waker = {
            let mut slot = slot.borrow_mut();
            slot.value = Some(value);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.slot.borrow_mut();
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Mount {
    pub(super) fn new(device: Rc<Device>, rt: &Rt) -> Mount {
        let node = rt.as_sim().expect("a simulated disk serves simulated nodes").clone();
        let generation = device.generation.get();
        Mount { device, rt: rt.clone(), node, generation }
    }

    pub(crate) fn set_dsync_bytes_max(&self, bytes: usize) {
        self.device.dsync_bytes_max.set(bytes);
    }

    /// Whether the machine and the process that mounted this still run.
    fn is_alive(&self) -> bool {
        self.generation == self.device.generation.get()
    }

    fn span(&self, micros: impl Fn(&FaultPlan) -> RangeInclusive<u64>, bytes: usize) -> Duration {
        let range = micros(&self.device.plan.borrow());
        let width = range.end().saturating_sub(*range.start()) + 1;
        let nanos = (range.start() * 1000) + self.device.sim.random_below(width * 1000);
        Duration::from_nanos(nanos + bytes as u64)
    }

    fn sync_span(&self) -> Duration {
        let (slow_per_million, slow) = {
            let plan = self.device.plan.borrow();
            (plan.slow_syncs_per_million, plan.slow_sync)
        };
        let span = self.span(|plan| plan.sync_us.clone(), 0);
        if slow_per_million > 0 && self.device.sim.chance(slow_per_million, 1_000_000) {
            self.device.sim.count("fault disk slow sync");
            return span + slow;
        }
        span
    }

    /// Whether a fault of this rate strikes now.
    fn strikes(&self, per_million: impl Fn(&FaultPlan) -> u64, what: &str) -> bool {
        let per_million = per_million(&self.device.plan.borrow());
        let strikes = per_million > 0 && self.device.sim.chance(per_million, 1_000_000);
        if strikes {
            self.device.sim.count(what);
        }
        strikes
    }

    /// Has `effect` happen after `span` and answers then or a little later, even if nobody waits for it any more.
    /// Never answers once the node has crashed.
    fn perform<T: 'static>(
        &self,
        op: Op,
        detail: u64,
        span: Duration,
        effect: impl FnOnce(&Mount) -> T + 'static,
    ) -> Answer<T> {
        let slot = Rc::new(RefCell::new(Slot { value: None, waker: None }));
        if !self.is_alive() {
            return Answer { slot };
        }
        self.device.sim.note(op as u64, detail);
        let (mount, filled) = (self.clone(), slot.clone());
        self.node.schedule(span, move || {
            let value = effect(&mount);
            let late_us = mount.device.sim.random_below(40);
            if late_us > 20 {
                mount.node.schedule(Duration::from_micros(late_us), move || Slot::fill(&filled, value));
            } else {
                Slot::fill(&filled, value);
            }
        });
        Answer { slot }
    }

    /// Performs an operation on names, and gives its error number the context that callers see.
    async fn names<T: 'static>(
        &self,
        op: Op,
        what: &'static str,
        path: &Path,
        effect: impl FnOnce(&Mount, &mut Tree) -> Result<T, i32> + 'static,
    ) -> Result<T, DiskError> {
        let span = self.span(|plan| plan.names_us.clone(), 0);
        let detail = path.as_os_str().len() as u64;
        let outcome = self.perform(op, detail, span, move |mount| {
            let mut tree = mount.device.tree.borrow_mut();
            effect(mount, &mut tree)
        });
        outcome.await.map_err(|errno| DiskError::from_errno(what, path, errno))
    }

    pub(crate) async fn open(&self, path: &Path, mode: OpenMode) -> Result<SimFile, DiskError> {
        let wanted = path.to_path_buf();
        let open = move |mount: &Mount, tree: &mut Tree| match mode {
            OpenMode::Read | OpenMode::ReadWrite => tree.find_file(&wanted),
            OpenMode::CreateNew => create_file(mount, tree, &wanted),
        };
        let file = self.names(Op::Open, "open", path, open).await?;
        let writable = mode != OpenMode::Read;
        Ok(SimFile { mount: self.clone(), file, path: path.to_path_buf(), writable })
    }

    pub(crate) async fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        let mut ancestors: Vec<PathBuf> = path.ancestors().map(Path::to_path_buf).collect();
        ancestors.reverse();
        for dir in ancestors {
            let there = self.dir_is_there(&dir).await?;
            if !there {
                self.make_dir(&dir).await?;
            }
            if !there || dir == path {
                self.sync_dir(parent_of(&dir)).await?;
            }
        }
        Ok(())
    }

    async fn dir_is_there(&self, path: &Path) -> Result<bool, DiskError> {
        let wanted = path.to_path_buf();
        let look = move |_: &Mount, tree: &mut Tree| match tree.find(&wanted) {
            Ok(Node::Dir(_)) => Ok(true),
            Ok(Node::File(_)) => Err(libc::EEXIST),
            Err(libc::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        };
        self.names(Op::Look, "create folder", path, look).await
    }

    async fn make_dir(&self, path: &Path) -> Result<(), DiskError> {
        let wanted = path.to_path_buf();
        let make = move |_: &Mount, tree: &mut Tree| match tree.create_dir(&wanted) {
            // Another shard was faster.
            Err(libc::EEXIST) => Ok(()),
            outcome => outcome,
        };
        self.names(Op::Names, "create folder", path, make).await
    }

    pub(crate) async fn list(&self, path: &Path) -> Result<Vec<DirEntry>, DiskError> {
        let wanted = path.to_path_buf();
        let list = move |_: &Mount, tree: &mut Tree| {
            let entries = tree.find_dir(&wanted)?.entries();
            Ok(entries.into_iter().map(|(name, node)| describe(name, &node)).collect())
        };
        self.names(Op::Look, "list", path, list).await
    }

    pub(crate) async fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let (source, target) = (from.to_path_buf(), to.to_path_buf());
        self.names(Op::Names, "rename", from, move |_, tree| tree.rename(&source, &target)).await
    }

    pub(crate) async fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        let wanted = path.to_path_buf();
        self.names(Op::Names, "remove", path, move |_, tree| tree.remove(&wanted, false)).await
    }

    /// One name after the other, deepest first, so that a crash can fall between.
    pub(crate) async fn remove_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        let wanted = path.to_path_buf();
        let plan = move |_: &Mount, tree: &mut Tree| {
            let mut names = Vec::new();
            let dir = tree.find_dir(&wanted)?;
            collect_below(&wanted, &dir, &mut names);
            names.push((wanted, true));
            Ok(names)
        };
        for (name, is_dir) in self.names(Op::Look, "remove", path, plan).await? {
            let gone = name.clone();
            let remove = move |_: &Mount, tree: &mut Tree| tree.remove(&gone, is_dir);
            self.names(Op::Names, "remove", &name, remove).await?;
        }
        Ok(())
    }

    pub(crate) async fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        let wanted = path.to_path_buf();
        let sync = move |mount: &Mount, tree: &mut Tree| {
            let dir = tree.find_dir(&wanted)?;
            if mount.strikes(|plan| plan.sync_errors_per_million, "fault disk sync error") {
                return Err(libc::EIO);
            }
            tree.sync_dir(&dir);
            Ok(())
        };
        self.names(Op::SyncDir, "sync folder", path, sync).await
    }

    pub(crate) async fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        let wanted = path.to_path_buf();
        let look = move |_: &Mount, tree: &mut Tree| match tree.find(&wanted) {
            Ok(_) => Ok(true),
            Err(libc::ENOENT | libc::ENOTDIR) => Ok(false),
            Err(errno) => Err(errno),
        };
        self.names(Op::Look, "look up", path, look).await
    }

    pub(crate) async fn read_small(
        &self,
        path: &Path,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        let file = match self.open(path, OpenMode::Read).await {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let len_bytes = file.file.state().len();
        match usize::try_from(len_bytes) {
            Ok(len) if len <= max_bytes => {
                Ok(Some(if len == 0 { Vec::new() } else { file.read_at(0, len).await?.to_vec() }))
            }
            _ => Err(DiskError::TooLarge { path: path.to_path_buf(), len_bytes, max_bytes }),
        }
    }

    pub(crate) async fn replace(&self, path: &Path, bytes: Bytes) -> Result<(), DiskError> {
        let temporary = temporary_of(path);
        let wanted = temporary.clone();
        let create = move |mount: &Mount, tree: &mut Tree| match tree.find_file(&wanted) {
            Err(libc::ENOENT) => create_file(mount, tree, &wanted),
            found => found,
        };
        let file = self.names(Op::Open, "open", &temporary, create).await?;
        let file = SimFile { mount: self.clone(), file, path: temporary.clone(), writable: true };
        file.truncate(0).await?;
        if !bytes.is_empty() {
            let padded = bytes.len().next_multiple_of(BLOCK_BYTES);
            file.write(Extent::new(0, &bytes), padded, Durability::Cached).await?;
            file.truncate(bytes.len() as u64).await?;
        }
        file.sync().await?;
        self.rename(&temporary, path).await?;
        self.sync_dir(parent_of(path)).await
    }

    pub(crate) async fn space(&self, path: &Path) -> Result<DiskSpace, DiskError> {
        let wanted = path.to_path_buf();
        let device = self.device.clone();
        let look = move |_: &Mount, tree: &mut Tree| tree.find(&wanted).map(drop);
        self.names(Op::Look, "look up space of", path, look).await?;
        Ok(device.space())
    }
}

fn create_file(mount: &Mount, tree: &mut Tree, path: &Path) -> Result<Rc<FileNode>, i32> {
    let file = tree.create_file(path)?;
    file.state().modified_ms = mount.rt.wall_ms();
    Ok(file)
}

fn describe(name: String, node: &Node) -> DirEntry {
    match node {
        Node::File(file) => {
            let state = file.state();
            DirEntry { name, is_dir: false, len_bytes: state.len(), modified_ms: state.modified_ms }
        }
        Node::Dir(_) => DirEntry { name, is_dir: true, len_bytes: 0, modified_ms: 0 },
    }
}

/// The names below a folder, each before the folder that holds it.
fn collect_below(path: &Path, dir: &DirNode, names: &mut Vec<(PathBuf, bool)>) {
    for (name, node) in dir.entries() {
        let path = path.join(name);
        match node {
            Node::File(_) => names.push((path, false)),
            Node::Dir(below) => {
                collect_below(&path, &below, names);
                names.push((path, true));
            }
        }
    }
}

impl SimFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, op: &'static str, errno: i32) -> DiskError {
        DiskError::from_errno(op, &self.path, errno)
    }

    /// Where in the trace this file and a position are.
    fn detail(&self, pos: u64) -> u64 {
        self.file.id.rotate_left(40) ^ pos
    }

    pub(crate) async fn write_at(
        &self,
        pos: u64,
        data: Bytes,
        durability: Durability,
    ) -> Result<(), DiskError> {
        self.write(Extent::new(pos, &data), data.len(), durability).await
    }

    async fn write(&self, extent: Extent, bytes: usize, durability: Durability) -> Result<(), DiskError> {
        if !self.writable {
            return Err(self.error("write", libc::EBADF));
        }
        let synchronous =
            durability == Durability::Durable && bytes <= self.mount.device.dsync_bytes_max.get();
        self.write_once(extent, bytes, synchronous).await?;
        if durability == Durability::Durable && !synchronous {
            self.sync().await?;
        }
        Ok(())
    }

    async fn write_once(&self, extent: Extent, bytes: usize, synchronous: bool) -> Result<(), DiskError> {
        let mut span = self.mount.span(|plan| plan.write_us.clone(), bytes);
        if synchronous {
            span += self.mount.sync_span();
        }
        let ticket = self.mount.device.next_ticket();
        if self.mount.is_alive() {
            self.file.state().take_off(ticket, &extent);
        }
        let (file, detail) = (self.file.clone(), self.detail(extent.sectors().start));
        let written = self.mount.perform(Op::Write, detail, span, move |mount| {
            file.state().land(ticket);
            apply_write(mount, &file, extent, synchronous)
        });
        written.await.map_err(|errno| self.error("write", errno))
    }

    pub(crate) async fn read_at(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        let Some((start, blocks_bytes)) = blocks_around(pos, len) else {
            return Err(self.error("read", libc::EINVAL));
        };
        let mut buf = AlignedBuf::zeroed(blocks_bytes)?;
        let span = self.mount.span(|plan| plan.read_us.clone(), blocks_bytes);
        let file = self.file.clone();
        let read = self.mount.perform(Op::Read, self.detail(pos), span, move |mount| {
            if mount.strikes(|plan| plan.read_errors_per_million, "fault disk read error") {
                return Err(libc::EIO);
            }
            let available = file.state().read(&mount.device.sim, start, buf.as_mut_slice());
            Ok((buf.into_bytes(), available))
        });
        let (bytes, available) = read.await.map_err(|errno| self.error("read", errno))?;
        if let Some(kept) = self.mount.device.read.borrow_mut().as_mut() {
            kept.push(bytes.clone());
        }
        let skipped = (pos - start) as usize;
        let end = (skipped + len).min(available);
        Ok(bytes.slice(skipped.min(end)..end))
    }

    pub(crate) async fn sync(&self) -> Result<(), DiskError> {
        let changes = self.file.state().changes();
        let (file, span) = (self.file.clone(), self.mount.sync_span());
        let synced = self.mount.perform(Op::Sync, self.detail(changes), span, move |mount| {
            if mount.strikes(|plan| plan.sync_errors_per_million, "fault disk sync error") {
                let doomed = file.state().fail_sync(&mount.device.sim, changes);
                if doomed > 0 {
                    mount.device.sim.count("fault disk doomed by failed sync");
                }
                return Err(libc::EIO);
            }
            file.state().sync(changes);
            Ok(())
        });
        synced.await.map_err(|errno| self.error("sync", errno))
    }

    pub(crate) async fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.set_len("truncate", move |_, _| (len, Ok(()))).await
    }

    pub(crate) async fn allocate(&self, len: u64) -> Result<(), DiskError> {
        let grow = move |mount: &Mount, old: u64| {
            let free = mount.device.free_bytes();
            let more = blocks_of(len).saturating_sub(blocks_of(old)) * BLOCK_BYTES as u64;
            if more <= free {
                return (len.max(old), Ok(()));
            }
            mount.device.sim.count("fault disk no space");
            // Others may have taken the room halfway through.
            let limited = mount.device.plan.borrow().capacity_bytes.is_some();
            let partly = limited && mount.device.sim.chance(1, 4);
            (
                if partly { old + free / BLOCK_BYTES as u64 * BLOCK_BYTES as u64 } else { old },
                Err(libc::ENOSPC),
            )
        };
        self.set_len("allocate", grow).await
    }

    /// Changes the length to what `decide` makes of the present one, and answers what it says.
    async fn set_len(
        &self,
        op: &'static str,
        decide: impl FnOnce(&Mount, u64) -> (u64, Result<(), i32>) + 'static,
    ) -> Result<(), DiskError> {
        if !self.writable {
            return Err(self.error(op, libc::EBADF));
        }
        let (file, span) = (self.file.clone(), self.mount.span(|plan| plan.names_us.clone(), 0));
        let changed = self.mount.perform(Op::SetLen, self.detail(0), span, move |mount| {
            let old = file.state().len();
            let (len, outcome) = decide(mount, old);
            let mut state = file.state();
            if len != old {
                state.set_len(len);
                state.modified_ms = mount.rt.wall_ms();
            }
            outcome
        });
        changed.await.map_err(|errno| self.error(op, errno))
    }

    pub(crate) async fn len(&self) -> Result<u64, DiskError> {
        let file = self.file.clone();
        Ok(self.mount.perform(Op::Look, self.detail(0), Duration::ZERO, move |_| file.state().len()).await)
    }
}

/// A write's effect: all of it, or as much as the space or a failing device takes.
fn apply_write(mount: &Mount, file: &FileNode, mut extent: Extent, synchronous: bool) -> Result<(), i32> {
    let sim = &mount.device.sim;
    file.state().modified_ms = mount.rt.wall_ms();
    if mount.strikes(|plan| plan.write_errors_per_million, "fault disk write error") {
        file.state().write_partly(sim, extent);
        return Err(libc::EIO);
    }
    if synchronous && mount.strikes(|plan| plan.sync_errors_per_million, "fault disk sync error") {
        file.state().write_partly(sim, extent);
        return Err(libc::EIO);
    }
    let fits = fitting_block(mount, file, &extent);
    let whole = fits.is_none();
    if let Some(block) = fits {
        extent.cut(block);
    }
    if !extent.is_empty() {
        let mut state = file.state();
        if synchronous && whole { state.write_durably(extent) } else { state.write(extent) }
    }
    if whole { Ok(()) } else { Err(libc::ENOSPC) }
}

/// The block at which space runs out for a write, if it does.
fn fitting_block(mount: &Mount, file: &FileNode, extent: &Extent) -> Option<u64> {
    mount.device.plan.borrow().capacity_bytes?;
    let held = blocks_of(file.state().len());
    let last = held + mount.device.free_bytes() / BLOCK_BYTES as u64;
    let needed = blocks_of(extent.end());
    if needed <= held || needed <= last {
        return None;
    }
    mount.device.sim.count("fault disk no space");
    Some(last)
}
