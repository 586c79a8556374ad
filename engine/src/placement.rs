//! Which shard owns which partition: a fact of this node alone, kept in a small text file beside the logs.
//!
//! Assignment goes to the least loaded shard; a changed shard count moves as few partitions as balance needs, and
//! moves no data, since logs do not lie by shard. Pure: reading and replacing the file is the caller's. A damaged
//! or missing file costs nothing but the old assignment.
//!
//! ```text
//! hayate placement 1
//! shards 2
//! O6f5…PQ 0 1            topic id as Kafka prints it, partition, shard; sorted
//! crc32c 1a2b3c4d        of everything above
//! ```

use hayate_net::wire::topic::{topic_id_from_text, topic_id_to_text};
use hayate_storage::batch::crc::crc32c;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use uuid::Uuid;

/// Name of the file, in the first data folder.
pub const FILE_NAME: &str = "hayate.placement";
/// The file is not read beyond this size: some 40 bytes a partition.
pub const FILE_BYTES_MAX: usize = 64 << 20;
const HEADLINE: &str = "hayate placement 1";

/// The number of a shard of this process, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard that runs the metadata quorum and the controller.
    pub const FIRST: ShardId = ShardId(0);

    /// As an index into what is held for each shard.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A partition by its topic's id, which unlike a name is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionKey {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// Why a placement file is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlacementError {
    /// Its checksum does not match: damaged, or edited by hand.
    Checksum,
    /// Not a placement file of this version.
    Unknown,
    /// A line does not parse.
    Line(usize),
}

impl fmt::Display for PlacementError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlacementError::Checksum => write!(out, "{FILE_NAME} is damaged: its checksum does not match"),
            PlacementError::Unknown => write!(out, "{FILE_NAME} is of an unknown version"),
            PlacementError::Line(number) => write!(out, "{FILE_NAME} is damaged in line {number}"),
        }
    }
}

impl std::error::Error for PlacementError {}

/// The owner of each partition that this node hosts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    owners: BTreeMap<PartitionKey, ShardId>,
    /// Partitions of each shard.
    loads: Vec<usize>,
}

impl Placement {
    /// No partitions yet.
    ///
    /// # Panics
    /// Without a shard.
    pub fn new(shards: u16) -> Placement {
        assert!(shards > 0, "partitions need a shard");
        Placement { owners: BTreeMap::new(), loads: vec![0; usize::from(shards)] }
    }

    /// How many shards it spreads over.
    pub fn shards(&self) -> u16 {
        u16::try_from(self.loads.len()).expect("made from a u16")
    }

    /// The owner of a partition, if this node hosts it.
    pub fn owner(&self, key: PartitionKey) -> Option<ShardId> {
        self.owners.get(&key).copied()
    }

    /// All partitions and their owners, by key.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionKey, ShardId)> + '_ {
        self.owners.iter().map(|(&key, &shard)| (key, shard))
    }

    /// Makes `hosted` the set of partitions: new ones go to the least loaded shards, lost ones leave. Returns whether
    /// anything changed.
    pub fn reconcile(&mut self, hosted: &BTreeSet<PartitionKey>) -> bool {
        let lost: Vec<PartitionKey> =
            self.owners.keys().filter(|key| !hosted.contains(*key)).copied().collect();
        for key in &lost {
            self.remove(*key);
        }
        let new: Vec<PartitionKey> =
            hosted.iter().filter(|key| !self.owners.contains_key(*key)).copied().collect();
        for key in &new {
            self.assign(*key);
        }
        !(lost.is_empty() && new.is_empty())
    }

    /// Gives a new partition to the least loaded shard, the first of several.
    pub fn assign(&mut self, key: PartitionKey) -> ShardId {
        let shard = self.least_loaded();
        assert!(self.owners.insert(key, shard).is_none(), "a partition is placed once");
        self.loads[shard.index()] += 1;
        shard
    }

    /// Forgets a partition.
    pub fn remove(&mut self, key: PartitionKey) {
        if let Some(shard) = self.owners.remove(&key) {
            self.loads[shard.index()] -= 1;
        }
    }

    fn least_loaded(&self) -> ShardId {
        let (index, _) =
            self.loads.iter().enumerate().min_by_key(|(_, load)| **load).expect("one shard at least");
        ShardId(index as u16)
    }

    /// The same partitions over another number of shards; only those move that balance (within one) asks for.
    pub fn resized(&self, shards: u16) -> Placement {
        let mut resized = Placement::new(shards);
        let share = self.owners.len() / usize::from(shards);
        let mut larger_shares = self.owners.len() % usize::from(shards);
        let mut homeless = Vec::new();
        for (&key, &shard) in &self.owners {
            let load = resized.loads.get(shard.index()).copied();
            let stays = load.is_some_and(|load| load < share || (load == share && larger_shares > 0));
            if !stays {
                homeless.push(key);
                continue;
            }
            larger_shares -= usize::from(load == Some(share));
            resized.owners.insert(key, shard);
            resized.loads[shard.index()] += 1;
        }
        for key in homeless {
            resized.assign(key);
        }
        resized
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let mut text = format!("{HEADLINE}\nshards {}\n", self.loads.len());
        for (key, shard) in &self.owners {
            text.push_str(&format!("{} {} {shard}\n", topic_id_to_text(key.topic_id), key.partition));
        }
        text.push_str(&format!("crc32c {:08x}\n", crc32c(text.as_bytes())));
        text
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// [`PlacementError`]; the caller starts anew then, which costs nothing but the old assignment.
    pub fn parse(text: &str) -> Result<Placement, PlacementError> {
        let text = checked(text)?;
        let mut lines = text.lines();
        if lines.next() != Some(HEADLINE) {
            return Err(PlacementError::Unknown);
        }
        let shards = lines.next().and_then(|line| line.strip_prefix("shards ")?.parse().ok());
        let shards = shards.filter(|&shards| shards > 0).ok_or(PlacementError::Line(2))?;
        let mut placement = Placement::new(shards);
        for (number, line) in lines.enumerate() {
            placement.add_line(line).ok_or(PlacementError::Line(number + 3))?;
        }
        Ok(placement)
    }

    fn add_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let topic_id = topic_id_from_text(words.next()?)?;
        let partition: i32 = words.next()?.parse().ok()?;
        let shard = ShardId(words.next()?.parse().ok()?);
        let key = PartitionKey { topic_id, partition };
        *self.loads.get_mut(shard.index())? += 1;
        (words.next().is_none() && self.owners.insert(key, shard).is_none()).then_some(())
    }
}

/// The text above the checksum, if the checksum is right.
fn checked(text: &str) -> Result<&str, PlacementError> {
    let lines = text.strip_suffix('\n').ok_or(PlacementError::Checksum)?;
    let at = lines.rfind('\n').ok_or(PlacementError::Checksum)? + 1;
    let (body, line) = lines.split_at(at);
    let right = line == format!("crc32c {:08x}", crc32c(body.as_bytes()));
    right.then_some(body).ok_or(PlacementError::Checksum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: u32) -> PartitionKey {
        PartitionKey { topic_id: Uuid::from_u128(u128::from(number) << 64 | 7), partition: number as i32 % 5 }
    }

    fn placed(shards: u16, partitions: u32) -> Placement {
        let mut placement = Placement::new(shards);
        for number in 0..partitions {
            placement.assign(key(number));
        }
        placement
    }

    fn moved(before: &Placement, after: &Placement) -> usize {
        before.iter().filter(|(key, shard)| after.owner(*key) != Some(*shard)).count()
    }

    #[test]
    fn partitions_go_to_the_least_loaded_shard() {
        let mut placement = placed(3, 7);
        assert_eq!(placement.loads, [3, 2, 2]);
        placement.remove(key(1));
        placement.remove(key(4));
        assert_eq!(placement.assign(key(100)), ShardId(1));
    }

    #[test]
    fn a_changed_shard_count_moves_what_balance_needs_and_no_more() {
        let four = placed(4, 100);
        let five = four.resized(5);
        assert_eq!(five.loads, [20; 5]);
        assert_eq!(moved(&four, &five), 20);
        let three = four.resized(3);
        assert_eq!(three.loads, [34, 33, 33]);
        assert_eq!(moved(&four, &three), 25, "only those of the shard that is gone");
        assert_eq!(four.resized(4), four);
    }

    #[test]
    fn reconciling_adds_and_drops() {
        let mut placement = placed(2, 4);
        let hosted: BTreeSet<_> = (2..6).map(key).collect();
        assert!(placement.reconcile(&hosted));
        assert!(placement.iter().map(|(key, _)| key).eq(hosted.iter().copied()));
        assert_eq!(placement.loads, [2, 2]);
        assert!(!placement.reconcile(&hosted));
    }

    #[test]
    fn a_damaged_file_is_refused_at_every_byte() {
        let text = placed(2, 3).render();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let damaged = String::from_utf8(bytes).unwrap();
            assert!(Placement::parse(&damaged).is_err(), "byte {at}: {damaged}");
            assert!(Placement::parse(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let text = "hayate placement 2\nshards 1\n";
        let text = format!("{text}crc32c {:08x}\n", crc32c(text.as_bytes()));
        assert_eq!(Placement::parse(&text), Err(PlacementError::Unknown));
    }

    proptest! {
        #[test]
        fn render_and_parse_are_inverse(shards in 1u16..40, partitions in 0u32..200, removed in 0u32..200) {
            let mut placement = placed(shards, partitions);
            placement.remove(key(removed));
            prop_assert_eq!(Placement::parse(&placement.render()), Ok(placement));
        }

        #[test]
        fn resizing_balances_within_one(before in 1u16..12, after in 1u16..12, partitions in 0u32..300) {
            let resized = placed(before, partitions).resized(after);
            let (least, most) = (resized.loads.iter().min().unwrap(), resized.loads.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", resized.loads);
            prop_assert_eq!(resized.loads.iter().sum::<usize>(), partitions as usize);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = Placement::parse(&text);
        }
    }
}
