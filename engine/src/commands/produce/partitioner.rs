//! Which partition a record goes to, as Kafka's Java clients choose: by a hash of its key, so that a key's records stay together whoever
//! sends them, and in turn where there is no key.
//!
//! The hash is MurmurHash2 for 32 bits (Austin Appleby, public domain) with Kafka's seed.

/// Kafka's seed.
const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// Chooses partitions.
pub(super) struct Partitioner {
    turn: u64,
}

impl Partitioner {
    /// Begins the turns somewhere.
    pub(super) fn new(turn: u64) -> Partitioner {
        Partitioner { turn }
    }

    /// The partition of records with this key, of `partitions`, 1 or more.
    pub(super) fn of_key(key: &[u8], partitions: i32) -> i32 {
        (murmur2(key) & 0x7fff_ffff).cast_signed() % partitions.max(1)
    }

    /// One of `partitions` for records without a key; a batch of them goes to one, the next to the next.
    pub(super) fn in_turn(&mut self, partitions: &[i32]) -> Option<i32> {
        self.turn = self.turn.wrapping_add(1);
        let place = self.turn.checked_rem(partitions.len() as u64)?;
        partitions.get(usize::try_from(place).ok()?).copied()
    }
}

fn murmur2(bytes: &[u8]) -> u32 {
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut word = u32::from_le_bytes(word.try_into().expect("four bytes")).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let rest = rest.iter().rev().fold(0, |rest: u32, byte| rest << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of Kafka's own tests of its hash.
    #[test]
    fn keys_are_hashed_as_by_kafka() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert!((0..7).contains(&Partitioner::of_key(b"21", 7)));
    }

    #[test]
    fn turns_go_round() {
        let mut partitioner = Partitioner::new(u64::MAX);
        let turns: Vec<_> = (0..4).map(|_| partitioner.in_turn(&[3, 5, 8])).collect();
        assert_eq!(turns, [Some(3), Some(5), Some(8), Some(3)]);
        assert_eq!(partitioner.in_turn(&[]), None);
    }
}
