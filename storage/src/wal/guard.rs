//! Guards the blocks that are about to be rewritten: a segment's partial last block, once it has been written, is written
//! again when the segment grows, and a crash may damage it. Its bytes so far lie here until the rewrite is durable.
//!
//! A file of slots beside the WAL, outside it, because a full WAL is emptied by just such writes.
//!
//! ```text
//!  slot, 8192   │ header block │ the block's bytes, padded │
//!  header        0 magic "HTGD" │ 4 bytes u32 │ 8 topic id, 16 │ 24 partition i32 │ 28 crc32c of the bytes
//!               32 segment base i64 │ 40 position u64 │ 48 crc32c of 0..48
//! ```
//! All integers are little-endian.

use super::format::LogId;
use crate::batch::Offset;
use crate::disk::{AlignedBuf, BLOCK_BYTES, Disk, DiskError, Durability, File};
use bytes::Bytes;
use hayate_rt::notify::Notify;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

/// The file's name, in the folder of a shard's WAL.
pub const GUARD_FILE: &str = "tails";
/// The file that recovery uses, so that it keeps the other as it is.
pub const RECOVERY_GUARD_FILE: &str = "tails.recovery";
const MAGIC: &[u8; 4] = b"HTGD";
const HEADER_BYTES: usize = 52;
const SLOT_BYTES: usize = 2 * BLOCK_BYTES;
/// Blocks that can be rewritten at once.
const SLOTS: usize = 16;

/// The bytes of a block before it was rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Whose block.
    pub log: LogId,
    /// Base offset of the segment.
    pub segment: Offset,
    /// Where the block begins.
    pub pos: u64,
    /// What it held: less than a block.
    pub bytes: Bytes,
}

/// The guard of one shard.
pub struct TailGuard {
    file: File,
    slots: RefCell<Vec<Slot>>,
    freed: Notify,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    taken: bool,
    /// Whose bytes the slot holds on disk, needed or not.
    holds: Option<LogId>,
}

/// A block under guard, until [`Guard::release`]. One that is dropped instead, because a write or its flush failed or was given up,
/// stays under guard for good: what was under way may still reach the disk.
#[must_use = "a guard that is not released takes its slot for good"]
pub struct Guard {
    owner: Rc<TailGuard>,
    slot: usize,
}

impl Guard {
    /// The rewrite is durable, or none was begun: the slot may be used for another block.
    pub fn release(self) {
        self.owner.slots.borrow_mut()[self.slot].taken = false;
        self.owner.freed.notify();
    }
}

impl TailGuard {
    /// Makes the file, empty and durable.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn create(disk: &Disk, path: &Path) -> Result<TailGuard, DiskError> {
        let file = super::make_file(disk, path, (SLOTS * SLOT_BYTES) as u64).await?;
        Ok(TailGuard { file, slots: RefCell::new(vec![Slot::default(); SLOTS]), freed: Notify::default() })
    }

    /// Puts a block's bytes under guard, durably; waits for a slot.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn protect(self: &Rc<Self>, guarded: &Guarded) -> Result<Guard, DiskError> {
        let slot = self.take().await;
        let guard = Guard { owner: self.clone(), slot };
        self.slots.borrow_mut()[slot].holds = Some(guarded.log);
        self.file.write_at((slot * SLOT_BYTES) as u64, encode(guarded)?, Durability::Durable).await?;
        Ok(guard)
    }

    async fn take(&self) -> usize {
        loop {
            let freed = self.freed.notified();
            let free = self.slots.borrow().iter().position(|slot| !slot.taken);
            if let Some(at) = free {
                self.slots.borrow_mut()[at].taken = true;
                return at;
            }
            freed.await;
        }
    }

    /// Forgets, durably, what the slots hold of a log that is about to be cut: its old bytes must not come back.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn forget(self: &Rc<Self>, log: LogId) -> Result<(), DiskError> {
        for slot in 0..SLOTS {
            let stale = {
                let mut slots = self.slots.borrow_mut();
                let stale = slots[slot].holds == Some(log) && !slots[slot].taken;
                slots[slot].taken |= stale;
                stale
            };
            if stale {
                let taken = Guard { owner: self.clone(), slot };
                let blank = AlignedBuf::zeroed(BLOCK_BYTES)?.into_bytes();
                self.file.write_at((slot * SLOT_BYTES) as u64, blank, Durability::Durable).await?;
                self.slots.borrow_mut()[slot].holds = None;
                taken.release();
            }
        }
        Ok(())
    }
}

fn encode(guarded: &Guarded) -> Result<Bytes, DiskError> {
    assert!(guarded.bytes.len() < BLOCK_BYTES, "a whole block is not rewritten");
    let mut memory = AlignedBuf::zeroed(SLOT_BYTES)?;
    let slot = memory.as_mut_slice();
    slot[..4].copy_from_slice(MAGIC);
    slot[4..8].copy_from_slice(&(guarded.bytes.len() as u32).to_le_bytes());
    slot[8..24].copy_from_slice(&guarded.log.topic_id);
    slot[24..28].copy_from_slice(&guarded.log.partition.to_le_bytes());
    slot[28..32].copy_from_slice(&crc32c::crc32c(&guarded.bytes).to_le_bytes());
    slot[32..40].copy_from_slice(&guarded.segment.0.to_le_bytes());
    slot[40..48].copy_from_slice(&guarded.pos.to_le_bytes());
    let crc = crc32c::crc32c(&slot[..48]);
    slot[48..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    slot[BLOCK_BYTES..BLOCK_BYTES + guarded.bytes.len()].copy_from_slice(&guarded.bytes);
    Ok(memory.into_bytes())
}

/// Reads a guard file back: the slots that hold something whole.
pub fn decode(file: &Bytes) -> Vec<Guarded> {
    let slots = (0..file.len() / SLOT_BYTES).map(|at| file.slice(at * SLOT_BYTES..(at + 1) * SLOT_BYTES));
    slots.filter_map(|slot| decode_slot(&slot)).collect()
}

fn decode_slot(slot: &Bytes) -> Option<Guarded> {
    let header: &[u8; HEADER_BYTES] = slot.first_chunk()?;
    let (body, crc) = header.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) || header[..4] != *MAGIC {
        return None;
    }
    let mut topic_id = [0; 16];
    topic_id.copy_from_slice(&header[8..24]);
    let partition = i32::from_le_bytes(header[24..28].try_into().ok()?);
    let len = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
    let bytes = slot.get(BLOCK_BYTES..BLOCK_BYTES + len.min(BLOCK_BYTES))?;
    let check = u32::from_le_bytes(header[28..32].try_into().ok()?);
    (crc32c::crc32c(bytes) == check).then(|| Guarded {
        log: LogId { topic_id, partition },
        segment: Offset(i64::from_le_bytes([
            header[32], header[33], header[34], header[35], header[36], header[37], header[38], header[39],
        ])),
        pos: u64::from_le_bytes([
            header[40], header[41], header[42], header[43], header[44], header[45], header[46], header[47],
        ]),
        bytes: slot.slice_ref(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_round_trips_and_damage_is_noticed() {
        let log = LogId { topic_id: [3; 16], partition: 5 };
        let guarded =
            Guarded { log, segment: Offset(70), pos: 8192, bytes: Bytes::from_static(b"tail of a block") };
        let slot = encode(&guarded).unwrap();
        assert_eq!(decode(&slot), [guarded]);
        for at in (0..HEADER_BYTES).chain(BLOCK_BYTES..BLOCK_BYTES + 15) {
            let mut damaged = slot.to_vec();
            damaged[at] ^= 4;
            assert!(decode(&Bytes::from(damaged)).is_empty(), "byte {at}");
        }
        assert!(decode(&Bytes::from(vec![0; SLOT_BYTES * 3])).is_empty());
    }
}
