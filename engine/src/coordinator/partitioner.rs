//! Which partition of its internal topic coordinates a group or a transactional id: Java's hash of its name, as clients and tools of
//! Apache Kafka's expect it (`Utils.abs(id.hashCode()) % partitions`).

/// The partition that coordinates `id`, of `partitions`, 1 or more.
pub fn partition_of(id: &str, partitions: i32) -> i32 {
    let hash = id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    // Kafka's `Utils.abs`: the most negative number becomes 0.
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes are those that a JVM gives; the fourth is `Integer.MIN_VALUE`, the last has a character beyond the basic plane.
    #[test]
    fn names_hash_as_in_java() {
        for (id, partitions, expected) in [
            ("", 50, 0),
            ("a", 50, 97 % 50),
            ("console-consumer-1", 1, 0),
            ("polygenelubricants", 50, 0),
            ("hello", 1000, 99_162_322 % 1000),
            ("ünï", 1000, (252 * 961 + 110 * 31 + 239) % 1000),
            ("😀", 100_000, (0xd83d * 31 + 0xde00) % 100_000),
        ] {
            assert_eq!(partition_of(id, partitions), expected, "{id}");
        }
    }
}
