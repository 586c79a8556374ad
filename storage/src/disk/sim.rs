//! The simulated half of the disk seam: a disk that does all that a real one is allowed to do to unsynced data.
//!
//! A [`SimDisk`] belongs to a simulated node and outlives its crashes. Each operation takes virtual time, has its effect
//! at one moment and is answered at that moment or a later one, so that a crash can fall between the two. Two
//! operations in flight finish in any order. [`SimDisk::crash`] is a power failure; [`SimDisk::kill`] only ends the
//! process. Faults come from a [`FaultPlan`] and from the simulation's seed, and are counted under `fault disk …`. The
//! model follows what direct IO on Linux promises and no more: no journal, no order between writes, 512-byte atomicity,
//! and a failed flush after which nothing is known ("fsyncgate", 2018).

mod content;
mod file;
mod ops;
mod tree;

#[cfg(test)]
mod tests;

pub(super) use ops::{Mount, SimFile};

use super::{BLOCK_BYTES, DiskSpace, SECTOR_BYTES};
use bytes::Bytes;
use file::GarbageLottery;
use hayate_rt::Rt;
use hayate_rt::sim::{NodeId, Sim};
use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tree::{Node, Tree};

/// Sectors in a block.
const SECTORS_IN_BLOCK: u64 = (BLOCK_BYTES / SECTOR_BYTES) as u64;

/// The longest write that is `O_DSYNC` here, unless set otherwise: not the real default, so that runs meet both ways of
/// making a write durable. It promises less than a linked flush, which takes earlier writes along.
const DSYNC_BYTES_MAX_SIMULATED: usize = 32 * 1024;

/// How a disk misbehaves while it runs, and how long it takes.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    /// How many writes in a million fail with EIO; some of their blocks may have been written.
    pub write_errors_per_million: u64,
    /// How many syncs in a million fail with EIO; what they should have made durable may be lost for good.
    pub sync_errors_per_million: u64,
    /// How many reads in a million fail with EIO.
    pub read_errors_per_million: u64,
    /// How many bytes fit, in whole blocks of all files together.
    pub capacity_bytes: Option<u64>,
    /// How long a write takes, in microseconds, beside a nanosecond a byte.
    pub write_us: RangeInclusive<u64>,
    /// How long a read takes, in microseconds, beside a nanosecond a byte.
    pub read_us: RangeInclusive<u64>,
    /// How long a sync takes, in microseconds.
    pub sync_us: RangeInclusive<u64>,
    /// How long an operation on names takes, in microseconds.
    pub names_us: RangeInclusive<u64>,
    /// How many syncs in a million take [`FaultPlan::slow_sync`] more.
    pub slow_syncs_per_million: u64,
    /// What a slow sync takes more.
    pub slow_sync: Duration,
    /// At each crash, one sector of one unsynced write turns to garbage: more than a sound device does.
    pub garbage_sector: bool,
}

impl Default for FaultPlan {
    /// A sound, fast disk: only a crash takes anything away.
    fn default() -> FaultPlan {
        FaultPlan {
            write_errors_per_million: 0,
            sync_errors_per_million: 0,
            read_errors_per_million: 0,
            capacity_bytes: None,
            write_us: 20..=200,
            read_us: 20..=200,
            sync_us: 50..=400,
            names_us: 20..=300,
            slow_syncs_per_million: 0,
            slow_sync: Duration::from_millis(500),
            garbage_sector: false,
        }
    }
}

/// The disk of one simulated node. Cheap to clone; all clones are one disk.
#[derive(Clone)]
pub struct SimDisk {
    device: Rc<Device>,
}

struct Device {
    sim: Sim,
    node: NodeId,
    plan: RefCell<FaultPlan>,
    tree: RefCell<Tree>,
    /// Counts crashes: what was mounted before one is dead.
    generation: Cell<u64>,
    tickets: Cell<u64>,
    dsync_bytes_max: Cell<usize>,
    /// The buffers that reads returned, once they are kept.
    read: RefCell<Option<Vec<Bytes>>>,
}

impl SimDisk {
    /// An empty disk for `node`.
    pub fn new(sim: &Sim, node: NodeId, plan: FaultPlan) -> SimDisk {
        let device = Device {
            sim: sim.clone(),
            node,
            plan: RefCell::new(plan),
            tree: RefCell::new(Tree::new()),
            generation: Cell::new(0),
            tickets: Cell::new(0),
            dsync_bytes_max: Cell::new(DSYNC_BYTES_MAX_SIMULATED),
            read: RefCell::default(),
        };
        SimDisk { device: Rc::new(device) }
    }

    pub(super) fn mount(&self, rt: &Rt) -> Mount {
        let node = rt.as_sim().expect("a simulated disk serves simulated nodes");
        assert_eq!(node.id(), self.device.node, "a disk serves its own node only");
        Mount::new(self.device.clone(), rt)
    }

    /// The power fails: to be called right after [`Sim::crash`] of the node. Unsynced and in-flight changes are kept,
    /// lost or torn, each for itself; what is mounted before never answers again.
    pub fn crash(&self) {
        let device = &self.device;
        let harsh = device.plan.borrow().garbage_sector;
        let mut lottery = GarbageLottery::default();
        let files = device.tree.borrow_mut().crash(&device.sim);
        for file in files {
            file.state().crash(&device.sim, &file, &mut lottery);
        }
        if harsh && let Some((file, sector)) = lottery.winner {
            device.spoil_sector(&file, sector);
        }
        device.next_generation();
    }

    /// The process dies and the machine lives: to be called right after [`Sim::crash`] of the node. Each change in
    /// flight happens or does not; nothing else is lost, and nothing becomes durable.
    pub fn kill(&self) {
        let files = self.device.tree.borrow().files();
        for file in files {
            file.state().abandon(&self.device.sim);
        }
        self.device.next_generation();
    }

    /// Changes how the disk misbehaves from now on.
    pub fn set_plan(&self, plan: FaultPlan) {
        *self.device.plan.borrow_mut() = plan;
    }

    /// Keeps every buffer that is read into from now on, and so its memory: no later buffer can have its address.
    pub fn keep_read(&self) {
        self.device.read.borrow_mut().get_or_insert_default();
    }

    /// Takes the buffers that were read into, whole blocks as the disk filled them.
    pub fn take_read(&self) -> Vec<Bytes> {
        self.device.read.borrow_mut().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Makes room, or takes it away; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.device.plan.borrow_mut().capacity_bytes = bytes;
    }

    /// The bytes that a file would certainly have after a crash; `None` when it might not even exist.
    pub fn read_durable(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        match self.device.tree.borrow().find_durable(path.as_ref())? {
            Node::File(file) => Some(file.state().durable().to_vec()),
            Node::Dir(_) => None,
        }
    }

    /// The bytes that a process sees now.
    pub fn read_visible(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let file = self.device.tree.borrow().find_file(path.as_ref()).ok()?;
        let bytes = file.state().visible().to_vec();
        Some(bytes)
    }

    /// Inverts the byte at `pos` of a file, for readers and for good: bit rot.
    ///
    /// # Panics
    /// When there is no such file or byte.
    pub fn corrupt(&self, path: impl AsRef<Path>, pos: u64) {
        let file = self.device.tree.borrow().find_file(path.as_ref());
        file.expect("only a file that is there can rot").state().invert(pos);
        self.device.sim.count("fault disk corrupted byte");
    }

    /// How many bytes are taken, in whole blocks of all files.
    pub fn used_bytes(&self) -> u64 {
        self.device.used_bytes()
    }
}

impl Device {
    fn next_generation(&self) {
        self.generation.set(self.generation.get() + 1);
        self.sim.note(0xd15c, self.generation.get());
    }

    fn spoil_sector(&self, file: &file::FileNode, sector: u64) {
        let mut garbage = [0; SECTOR_BYTES];
        for word in garbage.chunks_mut(8) {
            word.copy_from_slice(&self.sim.random_u64().to_le_bytes()[..word.len()]);
        }
        file.state().spoil(sector, &garbage);
        self.sim.count("fault disk garbage sector");
    }

    fn used_bytes(&self) -> u64 {
        let files = self.tree.borrow().files();
        files.iter().map(|file| content::blocks_of(file.state().len()) * BLOCK_BYTES as u64).sum()
    }

    /// How many more bytes fit.
    fn free_bytes(&self) -> u64 {
        self.space().free_bytes
    }

    fn space(&self) -> DiskSpace {
        let used_bytes = self.used_bytes();
        match self.plan.borrow().capacity_bytes {
            Some(total_bytes) => {
                DiskSpace { total_bytes, free_bytes: total_bytes.saturating_sub(used_bytes) }
            }
            None => DiskSpace { total_bytes: (1 << 39) + used_bytes, free_bytes: 1 << 39 },
        }
    }

    fn next_ticket(&self) -> u64 {
        self.tickets.set(self.tickets.get() + 1);
        self.tickets.get()
    }
}
