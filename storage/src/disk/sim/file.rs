//! One simulated file: what a reader sees, what the device holds for good, and the changes in between, which a crash
//! keeps, loses or tears one by one. Pure but for the dice that it is handed.

use super::content::{Content, Extent};
use crate::disk::SECTOR_BYTES;
use hayate_rt::sim::Sim;
use std::cell::{RefCell, RefMut};

/// A file, whatever its names are.
pub(super) struct FileNode {
    /// Never used twice on one disk.
    pub(super) id: u64,
    state: RefCell<FileState>,
}

/// What the bytes and the length of a file are, were and may become.
#[derive(Default)]
pub(super) struct FileState {
    /// What survives any crash.
    durable: Content,
    /// What a reader sees.
    visible: Content,
    /// What made `visible` of `durable`, in order.
    pending: Vec<Pending>,
    /// Writes that were handed in and have not reached the device's cache.
    flying: Vec<Flying>,
    changes: u64,
    pub(super) modified_ms: i64,
}

struct Pending {
    sequence: u64,
    change: Change,
}

enum Change {
    Write(Extent),
    SetLen(u64),
}

struct Flying {
    ticket: u64,
    extent: Extent,
}

/// What a crash does to the unsynced changes of one file.
#[derive(Clone, Copy)]
enum Fate {
    AllLost,
    AllKept,
    Each,
}

/// Where garbage may appear: one sector, chosen evenly among all unsynced writes of a crash.
#[derive(Default)]
pub(super) struct GarbageLottery {
    entered: u64,
    pub(super) winner: Option<(std::rc::Rc<FileNode>, u64)>,
}

impl FileNode {
    pub(super) fn new(id: u64) -> FileNode {
        FileNode { id, state: RefCell::default() }
    }

    pub(super) fn state(&self) -> RefMut<'_, FileState> {
        self.state.borrow_mut()
    }
}

impl FileState {
    pub(super) fn len(&self) -> u64 {
        self.visible.len()
    }

    pub(super) fn visible(&self) -> &Content {
        &self.visible
    }

    pub(super) fn durable(&self) -> &Content {
        &self.durable
    }

    /// How many changes a reader has seen: what a sync that begins now will cover.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Hands a write in.
    ///
    /// # Panics
    /// When it overlaps another one in flight: the device may order them either way, so no caller may mean that.
    pub(super) fn take_off(&mut self, ticket: u64, extent: &Extent) {
        let sectors = extent.sectors();
        for other in &self.flying {
            let taken = other.extent.sectors();
            assert!(
                taken.end <= sectors.start || sectors.end <= taken.start,
                "two writes in flight overlap: sectors {sectors:?} and {taken:?}",
            );
        }
        self.flying.push(Flying { ticket, extent: extent.clone() });
    }

    /// Notes that a write's effect happens now.
    pub(super) fn land(&mut self, ticket: u64) {
        self.flying.retain(|flying| flying.ticket != ticket);
    }

    /// A write reaches the device's cache.
    pub(super) fn write(&mut self, extent: Extent) {
        self.visible.write(&extent);
        self.push(Change::Write(extent));
    }

    /// The length changes.
    pub(super) fn set_len(&mut self, len: u64) {
        self.visible.set_len(len);
        self.push(Change::SetLen(len));
    }

    fn push(&mut self, change: Change) {
        self.changes += 1;
        self.pending.push(Pending { sequence: self.changes, change });
    }

    /// Some sectors of a failed write reach the cache.
    pub(super) fn write_partly(&mut self, sim: &Sim, mut extent: Extent) {
        let sectors = extent.sectors();
        let blocks = (sectors.end - sectors.start) / super::SECTORS_IN_BLOCK;
        extent.cut(sectors.start / super::SECTORS_IN_BLOCK + sim.random_below(blocks + 1));
        if !extent.is_empty() {
            self.write(extent);
        }
    }

    /// A write with `O_DSYNC`: its own bytes and the length become durable, earlier cached bytes do not.
    pub(super) fn write_durably(&mut self, extent: Extent) {
        self.harden_length();
        self.visible.write(&extent);
        self.durable.write(&extent);
        let earlier = std::mem::take(&mut self.pending);
        for Pending { sequence, change } in earlier {
            let Change::Write(older) = change else { unreachable!("lengths were hardened above") };
            let left = older.without(&extent).into_iter();
            self.pending.extend(left.map(|part| Pending { sequence, change: Change::Write(part) }));
        }
    }

    /// Makes the length durable, and with it the truncations before; bytes below it that were only cached stay so.
    fn harden_length(&mut self) {
        let mut writes: Vec<Pending> = Vec::with_capacity(self.pending.len());
        for pending in self.pending.drain(..) {
            match pending.change {
                Change::Write(_) => writes.push(pending),
                Change::SetLen(len) => {
                    self.durable.set_len(len);
                    for earlier in &mut writes {
                        earlier.cut(super::content::blocks_of(len));
                    }
                }
            }
        }
        writes.retain(|pending| !pending.is_void());
        self.pending = writes;
    }

    /// Makes durable what a reader saw after `changes` changes.
    pub(super) fn sync(&mut self, changes: u64) {
        for change in self.take_until(changes) {
            match change {
                Change::Write(extent) => self.durable.write(&extent),
                Change::SetLen(len) => self.durable.set_len(len),
            }
        }
    }

    /// A sync fails: each change it should have covered is either still pending, or will never become durable although
    /// readers go on seeing it and later syncs succeed. Returns how many are doomed like that.
    pub(super) fn fail_sync(&mut self, sim: &Sim, changes: u64) -> usize {
        let before = self.pending.len();
        self.pending.retain(|pending| pending.sequence > changes || sim.chance(1, 2));
        before - self.pending.len()
    }

    fn take_until(&mut self, changes: u64) -> Vec<Change> {
        let covered = self.pending.partition_point(|pending| pending.sequence <= changes);
        self.pending.drain(..covered).map(|pending| pending.change).collect()
    }

    /// Reads at a block boundary; returns how many bytes there are. Where a write is in flight, each sector is the old
    /// or the new one.
    pub(super) fn read(&self, sim: &Sim, pos: u64, buf: &mut [u8]) -> usize {
        let mut mixed: Option<Content> = None;
        for flying in &self.flying {
            let read = pos / SECTOR_BYTES as u64..(pos + buf.len() as u64) / SECTOR_BYTES as u64;
            let written = flying.extent.sectors();
            let new_of_two = sim.random_below(3);
            for sector in read.start.max(written.start)..read.end.min(written.end) {
                if sim.chance(new_of_two, 2) {
                    let content = mixed.get_or_insert_with(|| self.visible.clone());
                    content.write_sector(&flying.extent, sector);
                }
            }
        }
        mixed.as_ref().unwrap_or(&self.visible).read(pos, buf)
    }

    /// The power fails: what was unsynced or in flight is kept, lost or torn; readers see what is left.
    pub(super) fn crash(&mut self, sim: &Sim, node: &std::rc::Rc<FileNode>, lottery: &mut GarbageLottery) {
        for flying in std::mem::take(&mut self.flying) {
            self.push(Change::Write(flying.extent));
        }
        let pending = std::mem::take(&mut self.pending);
        let fate = Fate::draw(sim);
        for Pending { change, .. } in pending {
            match change {
                Change::Write(extent) => self.crash_write(sim, fate, &extent, node, lottery),
                Change::SetLen(len) if fate.keeps(sim) => self.durable.set_len(len),
                Change::SetLen(_) => sim.count("fault disk lost length"),
            }
        }
        self.visible = self.durable.clone();
    }

    fn crash_write(
        &mut self,
        sim: &Sim,
        fate: Fate,
        extent: &Extent,
        node: &std::rc::Rc<FileNode>,
        lottery: &mut GarbageLottery,
    ) {
        if extent.end() > self.durable.len() {
            if fate.keeps(sim) {
                self.durable.set_len(extent.end());
            } else {
                sim.count("fault disk lost length");
            }
        }
        self.keep_sectors(sim, fate, extent);
        lottery.enter(sim, node, extent);
    }

    /// Keeps all, none or some of the sectors of an unsynced write.
    fn keep_sectors(&mut self, sim: &Sim, fate: Fate, extent: &Extent) {
        let sectors = extent.sectors();
        let torn_at = sectors.start + sim.random_below(sectors.end - sectors.start + 1);
        let how = match fate {
            Fate::AllLost => 0,
            Fate::AllKept => 1,
            Fate::Each => sim.random_below(5),
        };
        match how {
            0 => sim.count("fault disk lost write"),
            1 => sectors.for_each(|sector| self.durable.write_sector(extent, sector)),
            2 => {
                sim.count("fault disk torn write");
                (sectors.start..torn_at).for_each(|sector| self.durable.write_sector(extent, sector));
            }
            3 => {
                sim.count("fault disk torn write");
                (torn_at..sectors.end).for_each(|sector| self.durable.write_sector(extent, sector));
            }
            _ => {
                sim.count("fault disk torn write");
                let kept = sectors.filter(|_| sim.chance(1, 2));
                kept.for_each(|sector| self.durable.write_sector(extent, sector));
            }
        }
    }

    /// The process dies, the machine lives: what was in flight happens or does not, and nothing is forgotten.
    pub(super) fn abandon(&mut self, sim: &Sim) {
        for flying in std::mem::take(&mut self.flying) {
            if sim.chance(1, 2) {
                self.write(flying.extent);
            }
        }
    }

    /// Overwrites one sector for readers and for good.
    pub(super) fn spoil(&mut self, sector: u64, bytes: &[u8]) {
        self.visible.put_sector(sector, bytes);
        self.durable.put_sector(sector, bytes);
    }

    /// Inverts one byte for readers and for good.
    pub(super) fn invert(&mut self, pos: u64) {
        self.visible.invert(pos);
        if pos < self.durable.len() {
            self.durable.invert(pos);
        }
    }
}

impl Pending {
    fn cut(&mut self, block: u64) {
        if let Change::Write(extent) = &mut self.change {
            extent.cut(block);
        }
    }

    fn is_void(&self) -> bool {
        matches!(&self.change, Change::Write(extent) if extent.is_empty())
    }
}

impl Fate {
    fn draw(sim: &Sim) -> Fate {
        match sim.random_below(6) {
            0 => Fate::AllLost,
            1 => Fate::AllKept,
            _ => Fate::Each,
        }
    }

    fn keeps(self, sim: &Sim) -> bool {
        match self {
            Fate::AllLost => false,
            Fate::AllKept => true,
            Fate::Each => sim.chance(1, 2),
        }
    }
}

impl GarbageLottery {
    fn enter(&mut self, sim: &Sim, node: &std::rc::Rc<FileNode>, extent: &Extent) {
        let sectors = extent.sectors();
        if sectors.is_empty() {
            return;
        }
        self.entered += 1;
        if sim.chance(1, self.entered) {
            let sector = sectors.start + sim.random_below(sectors.end - sectors.start);
            self.winner = Some((node.clone(), sector));
        }
    }
}
