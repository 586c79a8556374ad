//! The bytes of a simulated file: sparse, in blocks that its several states share. Knows nothing of durability.

use crate::disk::{BLOCK_BYTES, SECTOR_BYTES};
use std::collections::BTreeMap;
use std::rc::Rc;

/// One block; immutable once shared.
type Block = Rc<[u8; BLOCK_BYTES]>;

/// Sectors in a block.
const SECTORS: u64 = (BLOCK_BYTES / SECTOR_BYTES) as u64;

/// A file's length and bytes. A block that is absent is zero.
#[derive(Clone, Default)]
pub(super) struct Content {
    len: u64,
    blocks: BTreeMap<u64, Block>,
}

/// Whole blocks of a write, cut off from the buffer that they came from. `None` is a block of zeroes.
#[derive(Clone)]
pub(super) struct Extent {
    first_block: u64,
    blocks: Vec<Option<Block>>,
    /// How many leading blocks count: less after a truncation.
    end_block: u64,
}

/// How many blocks hold `len` bytes.
pub(super) fn blocks_of(len: u64) -> u64 {
    len.div_ceil(BLOCK_BYTES as u64)
}

fn own_block(bytes: &[u8]) -> Option<Block> {
    if bytes.iter().all(|&byte| byte == 0) {
        return None;
    }
    let mut block = [0; BLOCK_BYTES];
    block[..bytes.len()].copy_from_slice(bytes);
    Some(Rc::new(block))
}

impl Extent {
    /// The blocks of `data` at block-aligned `pos`; a last block that is not full is filled with zeroes.
    pub(super) fn new(pos: u64, data: &[u8]) -> Extent {
        let first_block = pos / BLOCK_BYTES as u64;
        let blocks: Vec<_> = data.chunks(BLOCK_BYTES).map(own_block).collect();
        let end_block = first_block + blocks.len() as u64;
        Extent { first_block, blocks, end_block }
    }

    /// Where the bytes end in the file.
    pub(super) fn end(&self) -> u64 {
        self.end_block * BLOCK_BYTES as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end_block <= self.first_block
    }

    /// The sectors covered, by their number in the file.
    pub(super) fn sectors(&self) -> std::ops::Range<u64> {
        self.first_block * SECTORS..self.end_block.max(self.first_block) * SECTORS
    }

    /// Forgets what lies at or beyond `block`.
    pub(super) fn cut(&mut self, block: u64) {
        self.end_block = self.end_block.min(block);
    }

    fn covered(&self) -> impl Iterator<Item = (u64, &Option<Block>)> {
        (self.first_block..self.end_block).zip(&self.blocks)
    }

    /// What is left of this extent outside `other`: the part before it and the part behind it.
    pub(super) fn without(self, other: &Extent) -> Vec<Extent> {
        if self.end_block <= other.first_block || other.end_block <= self.first_block {
            return vec![self];
        }
        let mut before = self.clone();
        before.cut(other.first_block);
        let skipped = other.end_block.saturating_sub(self.first_block) as usize;
        let behind = Extent {
            first_block: other.end_block,
            blocks: self.blocks.into_iter().skip(skipped).collect(),
            end_block: self.end_block,
        };
        [before, behind].into_iter().filter(|part| !part.is_empty()).collect()
    }

    /// The bytes of one covered sector.
    fn sector(&self, sector: u64) -> &[u8] {
        let block = (sector / SECTORS - self.first_block) as usize;
        match &self.blocks[block] {
            Some(bytes) => &bytes[in_block(sector)],
            None => &[0; SECTOR_BYTES],
        }
    }
}

/// The place of a sector in its block.
fn in_block(sector: u64) -> std::ops::Range<usize> {
    let start = (sector % SECTORS) as usize * SECTOR_BYTES;
    start..start + SECTOR_BYTES
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Cuts, or extends with zeroes.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            drop(self.blocks.split_off(&blocks_of(len)));
            let kept = (len % BLOCK_BYTES as u64) as usize;
            let last = len / BLOCK_BYTES as u64;
            if kept > 0
                && let Some(block) = self.blocks.get_mut(&last)
            {
                Rc::make_mut(block)[kept..].fill(0);
            }
        }
        self.len = len;
    }

    /// Writes the blocks and extends the length to hold them.
    pub(super) fn write(&mut self, extent: &Extent) {
        for (index, block) in extent.covered() {
            self.put(index, block.clone());
        }
        if !extent.is_empty() {
            self.len = self.len.max(extent.end());
        }
    }

    /// Writes one sector of `extent`, if the length holds it at all.
    pub(super) fn write_sector(&mut self, extent: &Extent, sector: u64) {
        self.put_sector(sector, extent.sector(sector));
    }

    /// Writes one sector, if the length holds it at all; never beyond the length.
    pub(super) fn put_sector(&mut self, sector: u64, bytes: &[u8]) {
        let start = sector * SECTOR_BYTES as u64;
        if start >= self.len {
            return;
        }
        let fits = usize::try_from(self.len - start).map_or(SECTOR_BYTES, |left| left.min(SECTOR_BYTES));
        let block = self.blocks.entry(sector / SECTORS).or_insert_with(|| Rc::new([0; BLOCK_BYTES]));
        Rc::make_mut(block)[in_block(sector)][..fits].copy_from_slice(&bytes[..fits]);
    }

    fn put(&mut self, index: u64, block: Option<Block>) {
        match block {
            Some(block) => drop(self.blocks.insert(index, block)),
            None => drop(self.blocks.remove(&index)),
        }
    }

    /// Fills `buf` from block-aligned `pos`; returns how many bytes the file has there.
    pub(super) fn read(&self, pos: u64, buf: &mut [u8]) -> usize {
        let available = usize::try_from(self.len.saturating_sub(pos)).unwrap_or(usize::MAX).min(buf.len());
        let chunks = buf[..available].chunks_mut(BLOCK_BYTES);
        for (index, chunk) in (pos / BLOCK_BYTES as u64..).zip(chunks) {
            match self.blocks.get(&index) {
                Some(block) => chunk.copy_from_slice(&block[..chunk.len()]),
                None => chunk.fill(0),
            }
        }
        available
    }

    /// All bytes.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).expect("simulated files fit in memory")];
        self.read(0, &mut bytes);
        bytes
    }

    /// Inverts one byte below the length.
    pub(super) fn invert(&mut self, pos: u64) {
        assert!(pos < self.len, "byte {pos} of a file of {} bytes", self.len);
        let block = self.blocks.entry(pos / BLOCK_BYTES as u64).or_insert_with(|| Rc::new([0; BLOCK_BYTES]));
        let byte = &mut Rc::make_mut(block)[(pos % BLOCK_BYTES as u64) as usize];
        *byte = !*byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = BLOCK_BYTES as u64;

    #[test]
    fn truncation_zeroes_what_a_later_extension_shows_again() {
        let mut content = Content::default();
        content.write(&Extent::new(0, &[7; 2 * BLOCK_BYTES]));
        content.set_len(100);
        content.set_len(2 * BLOCK);
        let bytes = content.to_vec();
        assert!(bytes[..100].iter().all(|&byte| byte == 7) && bytes[100..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn zero_blocks_take_no_memory() {
        let mut content = Content::default();
        content.write(&Extent::new(0, &[0; 64 * BLOCK_BYTES]));
        assert_eq!((content.len(), content.blocks.len()), (64 * BLOCK, 0));
    }

    #[test]
    fn an_extent_without_its_middle_leaves_both_ends() {
        let whole = Extent::new(0, &[1; 5 * BLOCK_BYTES]);
        let parts = whole.without(&Extent::new(BLOCK, &[2; 2 * BLOCK_BYTES]));
        let spans: Vec<_> = parts.iter().map(|part| (part.first_block, part.end_block)).collect();
        assert_eq!(spans, [(0, 1), (3, 5)]);
        assert_eq!(parts[1].sector(3 * SECTORS), [1; SECTOR_BYTES]);
    }

    #[test]
    fn a_sector_never_extends_the_file() {
        let mut content = Content::default();
        content.set_len(SECTOR_BYTES as u64 + 10);
        content.put_sector(1, &[9; SECTOR_BYTES]);
        content.put_sector(2, &[9; SECTOR_BYTES]);
        assert_eq!(content.to_vec()[SECTOR_BYTES..], [9; 10]);
    }
}
